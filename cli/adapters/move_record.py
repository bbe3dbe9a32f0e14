"""Keeps how far the move off the official tool's AWS cluster has come."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from ..errors import NumeraiError
from ..files.private import write_private


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    done: list[str]


class MoveFile:
    """`ports.MoveRecord` in a private file."""

    def __init__(self, path: Path):
        self._path = path

    def done(self) -> frozenset[str]:
        try:
            return frozenset(msgspec.json.decode(self._path.read_bytes(), type=_Record).done)
        except (FileNotFoundError, NotADirectoryError):  # numerai-cli 0.1 and 0.2 have a file for a home
            return frozenset()
        except (ValueError, RecursionError) as error:
            raise NumeraiError(
                f"{self._path} cannot be read: {error}.",
                "Remove it: every step is looked at again then, and nothing is done twice.",
                code="state-corrupt",
            ) from error

    def add(self, step: str) -> None:
        self._write(self.done() | {step})

    def take_back(self, step: str) -> None:
        self._write(self.done() - {step})

    def forget(self) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            self._path.unlink()

    def _write(self, done: frozenset[str]) -> None:
        content = msgspec.json.encode(_Record(1, sorted(done)))
        write_private(self._path, msgspec.json.format(content) + b"\n", keep_previous=False)
