"""Rows of others find their place among the data's rows, exactly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import NumeraiError
from numerai_compute.modelling import alignment
from numerai_compute.modelling.alignment import DataRows, IdIndex, Source, eras_of


def text(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


@pytest.mark.slow
@given(st.data(), st.sampled_from([1, 3, 8, 16, 17, None]))
def test_every_id_is_found_where_it_is(data: st.DataObject, width: int | None) -> None:
    """Of one length, of several lengths, and of another length than those that are looked for."""
    letters = st.text("abé", min_size=width or 0, max_size=width or 6)
    ids = data.draw(st.lists(letters, unique=True, max_size=40))
    asked = data.draw(st.lists(st.sampled_from(ids) if ids else letters, max_size=40)) + data.draw(
        st.lists(letters, max_size=5)
    )
    expected = [ids.index(one) if one in ids else -1 for one in asked]
    index = IdIndex(text(["", *ids]).slice(1))  # what is cut out of a longer array begins elsewhere in its buffers
    assert index.duplicate is None
    assert index.find(text(asked)).tolist() == expected


@pytest.mark.slow
@given(st.lists(st.text("ab", min_size=3, max_size=3), max_size=12))
def test_an_id_that_is_there_twice_is_noticed(ids: list[str]) -> None:
    index = IdIndex(text(ids))
    assert (index.duplicate is None) == (len(set(ids)) == len(ids))
    if index.duplicate is not None:
        assert ids.count(ids[index.duplicate]) > 1


def test_ids_that_fall_on_one_place_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that says the same of all: nothing but the words themselves tells them apart."""
    monkeypatch.setattr(alignment, "_hashes", lambda words: np.zeros(len(words), dtype=np.uint64))
    ids = [f"id{number:06d}" for number in range(50)]
    index = IdIndex(text(ids))
    assert index.duplicate is None
    assert index.find(text([*reversed(ids), "stranger"])).tolist() == [*range(49, -1, -1), -1]
    assert IdIndex(text([*ids, ids[7]])).duplicate in (7, 50)


@pytest.mark.parametrize("form", ["n{:015x}", "{:08d}", "{:08d}n", "{:016x}n"])
def test_ids_that_differ_in_a_few_places_fall_on_places_of_their_own(form: str) -> None:
    """Of ids that are random throughout 86 % do, in a table of this size."""
    words = alignment._words(text([form.format(number) for number in range(10_000)]))
    assert words is not None
    for shift in alignment._SHIFTS:
        assert len(np.unique(alignment._keys(alignment._hashes(words), shift, 15))) > 8_400, shift


@pytest.mark.slow
def test_many_ids_are_found_in_any_order() -> None:
    random = np.random.default_rng(2)
    ids = np.array([f"n{number:015x}" for number in random.permutation(200_000)])
    order = random.permutation(len(ids))
    assert (IdIndex(text(ids.tolist())).find(text(ids[order].tolist())) == order).all()


ROWS = DataRows("validation.parquet", text(["a", "b", "c", "d"]), eras_of(text(["1", "1", "2", "2"]), "it"))


def test_values_take_the_order_of_the_data() -> None:
    source = Source("mine.csv", text(["d", "x", "a", "c"]), text(["2", "2", "1", "2"]))
    column = source.column(ROWS, source.places(ROWS), np.array([4.0, 9.0, 1.0, np.nan]))
    assert np.array_equal(column.values, [1, np.nan, np.nan, 4], equal_nan=True)
    assert column.rows.tolist() == [1, 3]  # the stranger counts, as it does for numerai-tools


def test_tickers_are_found_in_their_era() -> None:
    rows = DataRows("signals", text(["A", "B", "B", "A"]), eras_of(text(["1", "1", "2", "2"]), "it"), per_era=True)
    source = Source("mine.csv", text(["A", "B", "A", "C", "A"]), text(["2", "2", "1", "1", "3"]))
    assert source.places(rows).tolist() == [3, 2, 0, -1, -1]
    with pytest.raises(NumeraiError, match="no column `era`"):
        Source("mine.csv", text(["A"])).places(rows)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source("mine.csv", text(["x", "y"])), "No id of mine.csv is in validation.parquet"),
        (Source("mine.csv", text([])), "No id of mine.csv"),
        (Source("mine.csv", text(["a", "b", "a"])), "mine.csv has the id a twice"),
        (Source("mine.csv", text(["a", "c"]), text(["1", "1"])), "has c in era 1, and validation.parquet has it in 2"),
    ],
)
def test_what_does_not_match_is_one_clear_message(source: Source, words: str) -> None:
    with pytest.raises(NumeraiError, match=words):
        source.places(ROWS)


def test_data_with_an_id_twice_are_refused() -> None:
    rows = DataRows("validation.parquet", text(["a", "b", "a"]), eras_of(text(["1", "1", "2"]), "it"))
    with pytest.raises(NumeraiError, match=r"validation.parquet has the id a twice"):
        Source("mine.csv", text(["a"])).places(rows)


def test_eras_must_stand_together() -> None:
    assert eras_of(text(["2", "2", "1"]), "it").names == ("2", "1")
    with pytest.raises(NumeraiError, match="era 1 do not stand together in it"):
        eras_of(text(["1", "2", "1"]), "it")
    with pytest.raises(NumeraiError, match="it has no rows"):
        eras_of(text([]), "it")
