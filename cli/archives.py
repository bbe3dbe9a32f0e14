"""What is packed inside a file: zip, gzip and git's objects."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LARGEST = 1 << 30
"""Bytes that are unpacked of one file at most."""
_HEADER = 12
"""Bytes before the first object of a git pack: the mark, the version and the count (gitformat-pack)."""

_PIECE = 1 << 14


def unpacked(file: Path, start: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of what is packed in a file that begins with `start`; nothing where it is no archive, is broken
    or is encrypted."""
    try:
        if start.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                left = LARGEST
                for member in archive.infolist():
                    left -= member.file_size
                    if left >= 0 and not member.is_dir() and not member.flag_bits & 1:
                        with archive.open(member) as content:
                            yield member.filename, content
        elif start.startswith(b"\x1f\x8b"):
            with gzip.open(file) as content:
                yield file.stem, io.BytesIO(content.read(LARGEST))
        elif start == b"PACK":
            yield "", io.BytesIO(b"\n".join(_objects(file.read_bytes())))
        elif file.parent.parent.name == "objects":
            yield "", io.BytesIO(zlib.decompressobj().decompress(file.read_bytes(), LARGEST))
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError, NotImplementedError, RuntimeError):
        return


def _objects(pack: bytes) -> Iterator[bytes]:
    """The objects of a git pack; of a delta what it adds."""
    position, left = _HEADER, LARGEST
    while position < len(pack) - 20 and left > 0:
        kind = pack[position] >> 4 & 7
        while pack[position] & 0x80:  # the rest of the size
            position += 1
        position += 1
        if kind == 6:  # a delta to the object so far before
            while pack[position] & 0x80:
                position += 1
            position += 1
        elif kind == 7:  # a delta to the object of that hash
            position += 20
        content, position = _inflated(pack, position, left)
        left -= len(content)
        yield content


def _inflated(pack: bytes, position: int, most: int) -> tuple[bytes, int]:
    """The object that begins at a place, and where it ends. In pieces, as zlib copies what is behind the end."""
    stream, parts = zlib.decompressobj(), []
    while not stream.eof:
        piece = pack[position : position + _PIECE]
        if not piece:
            raise EOFError
        parts.append(stream.decompress(piece))
        position += len(piece) - len(stream.unused_data)
        most -= len(parts[-1])
        if most < 0:
            raise EOFError
    return b"".join(parts), position
