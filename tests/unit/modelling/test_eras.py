"""Splits in time: no era on both sides, a purge between them, and Numerai's own walk-forward blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import UsageError
from numerai_compute.modelling.eras import (
    Split,
    check_apart,
    era_number,
    every,
    in_order,
    purge_of,
    split,
    walk_forward,
)


def eras(first: int, last: int) -> list[str]:
    return [f"{number:04d}" for number in range(first, last + 1)]


def numbers(names: tuple[str, ...]) -> tuple[int, int]:
    return era_number(names[0]), era_number(names[-1])


def test_eras_are_compared_as_numbers() -> None:
    assert in_order(["10", "9", "0011", "10", "era2"]) == ["era2", "9", "10", "0011"]
    assert era_number("2024-01-12") - era_number("2024-01-05") == 1


@pytest.mark.parametrize("bad", ["X", "", "1.5", "2024-13-01", "-3", "era"])
def test_what_is_no_era_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="is no era") as refused:
        era_number(bad)
    assert refused.value.code == "bad-era"


@pytest.mark.parametrize(
    ("targets", "purge"),
    [
        (("target",), 8),
        (("target_ender_20",), 8),
        (("target_ender_60",), 16),
        (("target_teager2b_20", "target_cyrusd_60"), 16),
        (("target_binned_return_60",), 16),
        (("target_nomi_v4_20",), 8),
        (("target_factor_feat_neutral_20d",), 8),
    ],
)
def test_the_purge_follows_from_the_days_in_the_targets_name(targets: tuple[str, ...], purge: int) -> None:
    assert purge_of(*targets) == purge


def test_walking_forward_gives_the_windows_that_numerai_publishes() -> None:
    """Source: the table in docs.numer.ai/numerai-tournament/models."""
    windows = walk_forward(eras(1, 1198), purge=8)
    assert [(*numbers(each.train), *numbers(each.validation)) for each in windows[:4]] == [
        (1, 148, 157, 312),
        (1, 304, 313, 468),
        (1, 460, 469, 624),
        (1, 616, 625, 780),
    ]
    assert numbers(windows[-1].validation) == (1093, 1198)
    assert numbers(walk_forward(eras(1, 400), purge=16)[0].train) == (1, 140)


def test_holding_out_the_last_eras_leaves_a_purge_before_them() -> None:
    halves = split(eras(1, 100), 20, purge=8)
    assert (numbers(halves.train), numbers(halves.validation)) == ((1, 72), (81, 100))
    sampled = split(every(eras(1, 100), 4), 5, purge=8)
    assert (numbers(sampled.train), numbers(sampled.validation)) == ((1, 69), (81, 97))


@pytest.mark.slow
@given(
    st.sets(st.integers(1, 400), min_size=3, max_size=120),
    st.integers(1, 30),
    st.sampled_from([0, 8, 16]),
    st.integers(1, 200),
)
def test_no_split_ever_shares_an_era_or_breaks_its_purge(chosen: set[int], held: int, purge: int, block: int) -> None:
    names = [f"{number:04d}" for number in chosen]
    splits: list[Split] = []
    try:
        splits.append(split(names, held, purge))
        splits += walk_forward(names, purge, block=block, first=50)
    except UsageError as refused:
        assert refused.code == "too-few-eras"
    for each in splits:
        assert not set(each.train) & set(each.validation)
        assert era_number(each.validation[0]) - era_number(each.train[-1]) > purge


def test_an_era_on_both_sides_is_refused_and_named() -> None:
    with pytest.raises(UsageError, match=r"2 eras would be trained on and judged on: 0004, 0005") as refused:
        check_apart(eras(1, 5), eras(4, 9), purge=0)
    assert refused.value.code == "era-on-both-sides"


def test_a_purge_that_is_too_short_is_refused_on_either_side() -> None:
    with pytest.raises(UsageError, match="Era 0009 is judged on, and era 0001 is trained on") as refused:
        Split(tuple(eras(1, 1)), tuple(eras(9, 12)), 8)
    assert refused.value.code == "purge-too-short"
    check_apart(eras(1, 1), eras(10, 12), purge=8)
    with pytest.raises(UsageError, match="Era 0012 is judged on, and era 0020"):
        check_apart(eras(20, 30), eras(10, 15), purge=8)


def test_too_few_eras_and_bad_steps_are_said() -> None:
    with pytest.raises(UsageError, match="10 eras: too few to hold out 5 after a purge of 8"):
        split(eras(1, 10), 5, purge=8)
    with pytest.raises(UsageError, match="no block of 156"):
        walk_forward(eras(1, 100), purge=8)
    with pytest.raises(UsageError):
        every(eras(1, 10), 0)
    assert every(eras(1, 9), 4, offset=1) == ["0002", "0006"]


@pytest.mark.parametrize("pair", [("0058", "58"), ("era1", "0001")])
def test_an_era_in_two_spellings_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=" are one era, written in two ways") as error:
        in_order([*eras(100, 120), *pair])
    assert error.value.code == "bad-era" and pair[0] in error.value.message
