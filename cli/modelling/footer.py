"""The part of a Parquet footer that some columns need.

pyarrow keeps 1.8 KB for each column of each row group (measured with pyarrow 26): of Numerai's 3,555 columns in 200 row
groups that is 1.3 GB, more than a model of the small feature set needs in all. So a large footer is cut down to the
columns that are read before pyarrow sees it. Its values are copied as they are; only the counts are new.

Source: Apache Parquet's parquet.thrift (FileMetaData, SchemaElement, RowGroup), and Thrift's compact protocol
(doc/specs/thrift-compact-protocol.md in apache/thrift).
"""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

LARGE = 4 << 20
"""Bytes of a footer from which on it is cut: 64 MB in pyarrow's memory."""
_MAGIC = b"PAR1"
_STOP, _BOOLEANS, _BYTE, _INTEGERS, _BINARY, _LIST, _SET, _STRUCT = 0, (1, 2), 3, (4, 5, 6), 8, 9, 10, 12
_FIXED = {_BYTE: 1, 7: 8}


@dataclass(frozen=True)
class Footer:
    """Where the pieces of a file's footer are: a column's part of a row group is at `_chunks[group][column]` in it."""

    names: tuple[str, ...]
    rows: tuple[int, ...]
    _file: Path
    _start: int
    _top: dict[int, bytes]
    _schema: tuple[bytes, ...]
    _chunks: tuple[Sequence[int], ...]
    _ends: tuple[bytes, ...]

    @property
    def shape(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The rows of each row group, and the names of all columns."""
        return self.rows, self.names

    def of(self, columns: Sequence[str], row_groups: Sequence[int] | None = None) -> Any:
        """pyarrow's metadata of a file that has these columns only, in the file's order, and these row groups."""
        kept = range(len(self.rows)) if row_groups is None else row_groups
        wanted = sorted({self.names.index(name) for name in columns})
        schema = _list([_with_children(self._schema[0], len(wanted)), *(self._schema[1 + place] for place in wanted)])
        groups = []
        with self._file.open("rb") as file:
            for group in kept:
                starts, chunks = self._chunks[group], []
                for place in wanted:
                    file.seek(self._start + starts[place])
                    chunks.append(file.read(starts[place + 1] - starts[place]))
                groups.append(b"\x19" + _list(chunks) + self._ends[group])
        created = b"\x28" + self._top[6] if 6 in self._top else b""
        rows = _written(2 * sum(self.rows[group] for group in kept))
        parts = (b"\x15", self._top[1], b"\x19", schema, b"\x16", rows, b"\x19", _list(groups), created, b"\0")
        footer = b"".join(parts)
        return pq.read_metadata(io.BytesIO(_MAGIC + footer + struct.pack("<I", len(footer)) + _MAGIC))


def large_footer(path: Path, large: int | None = None) -> Footer | None:
    """The footer of a Parquet file that is worth cutting; None for any other file, damaged ones included, which pyarrow
    reads as it always does."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size < 12:
            return None
        file.seek(-8, io.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        if file.read(4) != _MAGIC or not (LARGE if large is None else large) <= length <= size - 12:
            return None
        start = file.seek(-8 - length, io.SEEK_END)
        data = file.read(length)
    try:
        return _taken_apart(data, path, start)
    except (IndexError, KeyError, ValueError):  # not flat, or damaged
        return None


def _taken_apart(data: bytes, path: Path, start: int) -> Footer:
    top: dict[int, bytes] = {}
    schema: list[bytes] = []
    groups: list[tuple[int, Sequence[int], bytes]] = []
    at = number = 0
    while True:
        number, kind, at = _header(data, at, number)
        if kind == _STOP:
            break
        if number == 2:
            starts, at = _structs(data, at)
            schema = [data[start:end] for start, end in zip(starts, (*starts[1:], at), strict=True)]
        elif number == 4:
            count, at = _list_start(data, at)
            for _ in range(count):
                group, at = _row_group(data, at, len(schema) - 1)
                groups.append(group)
        else:
            end = _end(data, at, kind)
            top[number] = data[at:end]
            at = end
    names = tuple(_column(element) for element in schema[1:])
    if len(set(names)) != len(names):
        raise ValueError("two columns of one name")
    rows, chunks, ends = zip(*groups, strict=True)
    return Footer(names, rows, path, start, top, tuple(schema), chunks, ends)


def _row_group(data: bytes, at: int, columns: int) -> tuple[tuple[int, Sequence[int], bytes], int]:
    """A row group's number of rows, where its columns start (and the last one ends), and what follows them."""
    number, kind, at = _header(data, at, 0)
    if (number, kind) != (1, _LIST):
        raise ValueError("a row group that does not begin with its columns")
    starts, rest = _structs(data, at)
    if len(starts) != columns:
        raise ValueError("columns within columns")
    rows, at = 0, rest
    while True:
        number, kind, at = _header(data, at, number)
        if kind == _STOP:
            return (rows, array("Q", (*starts, rest)), data[rest:at]), at
        if number == 3:
            rows = _zigzag(_varint(data, at)[0])
        at = _end(data, at, kind)


def _column(element: bytes) -> str:
    """The name of a schema element that has no children."""
    name, at, number = "", 0, 0
    while True:
        number, kind, at = _header(element, at, number)
        if kind == _STOP:
            return name
        if number == 4:
            length, start = _varint(element, at)
            name = element[start : start + length].decode()
        elif number == 5 and element[at]:
            raise ValueError("columns within columns")
        at = _end(element, at, kind)


def _with_children(root: bytes, count: int) -> bytes:
    """The root of a schema with another number of children."""
    at = number = 0
    while True:
        number, kind, at = _header(root, at, number)
        if kind == _STOP:
            raise ValueError("a root without children")
        end = _end(root, at, kind)
        if number == 5:
            return root[:at] + _written(2 * count) + root[end:]
        at = end


def _structs(data: bytes, at: int) -> tuple[list[int], int]:
    """Where the structs of a list start, and where the list ends."""
    count, at = _list_start(data, at)
    starts = []
    for _ in range(count):
        starts.append(at)
        at = _end(data, at, _STRUCT)
    return starts, at


def _header(data: bytes, at: int, last: int) -> tuple[int, int, int]:
    """A field's number and type, and where its value starts."""
    head = data[at]
    at += 1
    if not head & 0xF0 and head:
        number, at = _varint(data, at)
        return _zigzag(number), head, at
    return last + (head >> 4), head & 0x0F, at


def _list_start(data: bytes, at: int) -> tuple[int, int]:
    """How many values a list of structs has, and where the first one starts."""
    if data[at] & 0x0F != _STRUCT:
        raise ValueError("a list of something else than structs")
    count = data[at] >> 4
    return (count, at + 1) if count < 15 else _varint(data, at + 1)


def _list(structs: Sequence[bytes]) -> bytes:
    count = len(structs)
    head = bytes([count << 4 | _STRUCT]) if count < 15 else bytes([0xF0 | _STRUCT]) + _written(count)
    return head + b"".join(structs)


def _end(data: bytes, at: int, kind: int) -> int:
    """Where a value ends that starts there."""
    if kind in _INTEGERS:
        while data[at] & 0x80:
            at += 1
        return at + 1
    if kind == _STRUCT:
        while head := data[at]:
            at += 1
            if not head & 0xF0:
                at = _end(data, at, _INTEGERS[0])
            if head & 0x0F not in _BOOLEANS:
                at = _end(data, at, head & 0x0F)
        return at + 1
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind in (_LIST, _SET):
        item, count = data[at] & 0x0F, data[at] >> 4
        count, at = (count, at + 1) if count < 15 else _varint(data, at + 1)
        if item in (*_BOOLEANS, _BYTE):
            return at + count
        for _ in range(count):
            at = _end(data, at, item)
        return at
    if kind in (*_BOOLEANS, _STOP):
        return at
    if kind in _FIXED:
        return at + _FIXED[kind]
    raise ValueError(f"a value of type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _zigzag(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _written(number: int) -> bytes:
    """A varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
