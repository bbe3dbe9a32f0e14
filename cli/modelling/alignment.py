"""Puts what others predicted into the order of the data's rows, once for all models and scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NumeraiError
from .scoring import Column, Eras

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_ABSENT = -1
_SHIFTS = (0, 21, 42)
"""Where in the 64 bits of a hash each table takes its key from."""
_BLOCK = 1 << 14
"""Rows at a time: their words and hashes take less than a core's cache."""


class IdIndex:
    """Finds ids among given ones, exactly.

    Ids of one length, as Numerai's are, go into tables that numpy fills and reads: of ids that fall on one place the
    last one stays, and the others go into the next table. Blocks of rows keep what is computed in the processor's
    cache: memory that is touched for the first time costs more than the search. benchmarks/scoring.py measures it.
    """

    def __init__(self, ids: pa.Array):
        """`ids` are a `large_string` array; `duplicate` is the place of one that is there twice, or None."""
        self._ids = ids
        self.duplicate: int | None = None
        self._words = _words(ids)
        self._tables: list[NDArray[np.int32]] = []
        self._rest: NDArray[np.int64] = np.arange(0)
        if self._words is not None:
            self._fill(self._words)
        elif len(ids):
            self.duplicate = _first_duplicate(self.find(ids))

    def _fill(self, words: NDArray[np.uint64]) -> None:
        rest = np.arange(len(words), dtype=np.int32)
        hashes = np.empty(len(words), dtype=np.uint64)
        for block in _blocks(len(words)):
            hashes[block] = _hashes(words[block])
        for shift in _SHIFTS:
            bits = max(4, int(2 * len(rest)).bit_length())
            table = np.full(1 << bits, _ABSENT, dtype=np.int32)
            for block in _blocks(len(rest)):
                table[_keys(hashes[block], shift, bits)] = rest[block]
            lost = np.zeros(len(rest), dtype=np.bool_)
            for block in _blocks(len(rest)):
                lost[block] = table.take(_keys(hashes[block], shift, bits)) != rest[block]
            self._tables.append(table)
            rest, hashes = rest[lost], hashes[lost]
            twice = rest[_equal(words, table[_keys(hashes, shift, bits)], words.take(rest, axis=0))]
            if len(twice):
                self.duplicate = int(twice[0])
                return
        self._rest = rest.astype(np.int64)
        places = _index_in(self._ids.take(self._rest), self._ids.take(self._rest))
        repeated = _first_duplicate(places)
        self.duplicate = None if repeated is None else int(self._rest[repeated])

    def find(self, ids: pa.Array) -> NDArray[np.int64]:
        """The place of each id among the given ones, -1 where it is none of them."""
        words = _words(ids)
        if self._words is None or words is None:
            return _index_in(ids, self._ids)
        places = np.full(len(ids), _ABSENT, dtype=np.int64)
        if words.shape[1] != self._words.shape[1]:
            return places
        for block in _blocks(len(ids)):
            if np.array_equal(words[block], self._words[block]):
                places[block] = np.arange(block.start, block.stop)
            else:
                self._find(self._words, words[block], places[block])
        if len(self._rest):
            left = np.flatnonzero(places == _ABSENT)
            among = _index_in(ids.take(left), self._ids.take(self._rest))
            places[left] = np.where(among == _ABSENT, _ABSENT, self._rest[among])
        return places

    def _find(self, known: NDArray[np.uint64], words: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        """Put the places of words into `places`, where a table has them."""
        hashes, left = _hashes(words), np.arange(len(words))
        for shift, table in zip(_SHIFTS, self._tables, strict=False):
            found = table.take(_keys(hashes, shift, len(table).bit_length() - 1))
            found[~_equal(known, found, words)] = _ABSENT
            places[left] = found
            missed = np.flatnonzero(found == _ABSENT)
            left, hashes, words = left.take(missed), hashes.take(missed), words.take(missed, axis=0)


@dataclass(frozen=True)
class DataRows:
    """The rows to score on: their ids, in the order of their eras. Where ids come back in each era, as tickers do,
    `per_era` is set."""

    name: str
    ids: pa.Array
    eras: Eras
    per_era: bool = False

    @cached_property
    def index(self) -> IdIndex:
        """Finds any id; `NumeraiError` when one is there twice."""
        index = IdIndex(self.ids)
        if index.duplicate is not None:
            raise _twice(self.name, self.ids[index.duplicate].as_py())
        return index

    @cached_property
    def era_of(self) -> NDArray[np.int64]:
        """The number of each row's era."""
        return np.repeat(np.arange(len(self.eras)), np.diff(self.eras.starts))


@dataclass(frozen=True)
class Source:
    """Rows of somebody's: ids, eras where it has them, and values. All as long as each other."""

    name: str
    ids: pa.Array
    eras: pa.Array | None = None

    def places(self, rows: DataRows) -> NDArray[np.int64]:
        """The row of the data that each row belongs to, -1 where there is none.

        Raises `NumeraiError` when no id is one of the data's, an id is there twice, or its era is another one.
        """
        places = self._places_per_era(rows) if rows.per_era else rows.index.find(self.ids)
        found = places[places != _ABSENT]
        if not len(found):
            raise NumeraiError(
                f"No id of {self.name} is in {rows.name} (it has {_example(self.ids)}, and {rows.name}"
                f" {_example(rows.ids)}).",
                "Predict the rows of this file, or name the data they are of with --data.",
                code="ids-do-not-match",
            )
        if np.count_nonzero(_marked(found, len(rows.ids))) < len(found):
            raise _twice(self.name, rows.ids[int(np.bincount(found).argmax())].as_py())
        if self.eras is not None and not rows.per_era:
            self._check_eras(rows, places)
        return places

    def column(self, rows: DataRows, places: NDArray[np.int64], values: NDArray[np.floating[Any]]) -> Column:
        """Values of the source in the order of the data's rows."""
        here = places != _ABSENT
        found, known = (places, values) if here.all() else (places[here], values[here])
        aligned = np.full(len(rows.ids), np.nan)
        aligned[found] = known
        if self.eras is None:
            counts = np.add.reduceat(_marked(found, len(rows.ids)), rows.eras.starts[:-1], dtype=np.int64)
        else:
            numbers = self._era_numbers(rows)
            counts = np.bincount(numbers[numbers != _ABSENT], minlength=len(rows.eras))
        return Column(aligned, counts.astype(np.int64))

    def _era_numbers(self, rows: DataRows) -> NDArray[np.int64]:
        import pyarrow as pa

        return _index_in(self.eras, pa.array(rows.eras.names, pa.large_string()))

    def _check_eras(self, rows: DataRows, places: NDArray[np.int64]) -> None:
        here = np.flatnonzero(places != _ABSENT)
        theirs, ours = self._era_numbers(rows)[here], rows.era_of[places[here]]
        wrong = np.flatnonzero(theirs != ours)
        if len(wrong) and self.eras is not None:
            row = int(here[wrong[0]])
            raise NumeraiError(
                f"{self.name} has {self.ids[row].as_py()} in era {self.eras[row].as_py()}, and {rows.name} has it in"
                f" {rows.eras.names[ours[wrong[0]]]} ({len(wrong)} such rows).",
                code="eras-do-not-match",
            )

    def _places_per_era(self, rows: DataRows) -> NDArray[np.int64]:
        if self.eras is None:
            raise NumeraiError(
                f"{self.name} has no column `era`, and the ids of {rows.name} come back in each era.",
                "Add the era of each row.",
                code="no-eras",
            )
        numbers = self._era_numbers(rows)
        order = np.argsort(numbers, kind="stable")
        starts = np.searchsorted(numbers[order], np.arange(len(rows.eras) + 1))
        places = np.full(len(self.ids), _ABSENT, dtype=np.int64)
        for era, block in enumerate(rows.eras):
            theirs = order[starts[era] : starts[era + 1]]
            found = _index_in(self.ids.take(theirs), rows.ids.slice(block.start, block.stop - block.start))
            places[theirs] = np.where(found == _ABSENT, _ABSENT, found + block.start)
        return places


def _marked(places: NDArray[np.int64], rows: int) -> NDArray[np.bool_]:
    """Whether each row is one of these places."""
    marks = np.zeros(rows, dtype=np.bool_)
    marks[places] = True
    return marks


def eras_of(names: pa.Array, what: str) -> Eras:
    """The eras of rows that stand together era by era; `NumeraiError` when the rows of one do not."""
    import pyarrow.compute as pc

    if not len(names):
        raise NumeraiError(f"{what} has no rows.", code="no-rows")
    encoded = pc.dictionary_encode(names)
    numbers, known = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
    changes = np.flatnonzero(np.diff(numbers)) + 1
    if len(changes) + 1 != len(known):
        seen: set[int] = set()
        for start in (0, *changes.tolist()):
            if int(numbers[start]) in seen:
                name = known[int(numbers[start])]
                raise NumeraiError(
                    f"The rows of era {name} do not stand together in {what}.", "Sort the file by era.", code="unsorted"
                )
            seen.add(int(numbers[start]))
    starts = np.concatenate(([0], changes, [len(numbers)])).astype(np.int64)
    return Eras(tuple(str(name) for name in known), starts)


def _words(ids: pa.Array) -> NDArray[np.uint64] | None:
    """Ids of one length as whole words, shape (ids, words); None when they have several lengths."""
    if not len(ids):
        return None
    _, offsets, content = ids.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
    width = int(ends[1] - ends[0])
    if width == 0 or (np.diff(ends) != width).any():
        return None
    raw = np.frombuffer(content, dtype=np.uint8)[ends[0] : ends[-1]].reshape(len(ids), width)
    if width % 8:
        raw = np.concatenate([raw, np.zeros((len(ids), -width % 8), dtype=np.uint8)], axis=1)
    return raw.view(np.uint64)


def _equal(known: NDArray[np.uint64], rows: NDArray[Any], words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether the known words of some rows are these words, one by one."""
    own = known.take(rows, axis=0, mode="wrap")  # -1 is a row too, and the caller's to leave out
    equal: NDArray[np.bool_] = own[:, 0] == words[:, 0]
    for column in range(1, words.shape[1]):
        equal &= own[:, column] == words[:, column]
    return equal


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK))


def _hashes(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Words mixed into one each: multiplied by odd numbers, with the high bits folded onto the low ones.

    Ids may differ in their last characters only, which are a word's highest bits: these reach all bits of the hash by
    the fold before the last product. Source of the numbers: Steele, Lea, Flood, Fast splittable pseudorandom number
    generators (splitmix64).
    """
    mixed = np.zeros(len(words), dtype=np.uint64)
    for column in range(words.shape[1]):
        mixed ^= words[:, column]
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _keys(hashes: NDArray[np.uint64], shift: int, bits: int) -> NDArray[np.int64]:
    return ((hashes >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).view(np.int64)


def _index_in(ids: pa.Array, among: pa.Array) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    places: NDArray[np.int64] = pc.index_in(ids, value_set=among).fill_null(_ABSENT).to_numpy(zero_copy_only=False)
    return places.astype(np.int64)


def _first_duplicate(places: NDArray[np.int64]) -> int | None:
    """The first row whose id stands before it too, by the first place of each id."""
    twice = np.flatnonzero(places != np.arange(len(places)))
    return int(twice[0]) if len(twice) else None


def _twice(name: str, id_: str) -> NumeraiError:
    return NumeraiError(f"{name} has the id {id_} twice.", code="id-twice")


def _example(ids: Sequence[Any]) -> str:
    return str(ids[0]) if len(ids) else "none"
