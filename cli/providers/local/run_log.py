"""What a run printed: one file per attempt, one line per line, each after its time; secrets are never written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from ...files.private import make_private_folder
from ...models import LogLine
from ...redaction import Redactor

MAX_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
TAIL_BYTES = 128 * 1024
CUT = "... the rest of the output was not kept: it is longer than 64 MiB"


class LogWriter:
    """Appends to a log file. What a killed writer left half-written at the end is dropped when it is opened.

    `lines` counts the complete lines, so that one who copies from a source knows how many it has copied already.
    """

    def __init__(self, path: Path, redact: Redactor):
        make_private_folder(path.parent)
        self._redact = redact
        self.lines, self._size = _drop_partial_line(path)
        self._cut = self._size > MAX_BYTES
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, text: str, time: str | None = None) -> None:
        """Write one line; `time` is in RFC 3339, by default now."""
        self.lines += 1
        if self._cut:
            return
        if self._size > MAX_BYTES:
            text, self._cut = CUT, True
        line = f"{time or _now()} {self._redact(text)}\n".encode("utf-8", errors="replace")
        self._file.write(line)
        self._size += len(line)


class LineSplitter:
    """Makes lines out of pieces; lines beyond 64 KiB are broken."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that the piece completes."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            yield _decode(line)
        while len(self._rest) >= MAX_LINE_BYTES:
            yield _decode(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]

    def end(self) -> Iterator[str]:
        """The last line, when it has no newline."""
        if self._rest:
            yield _decode(self._rest)
            self._rest = b""


def read_log(path: Path, offset: int = 0) -> tuple[list[LogLine], int]:
    """The complete lines of a log file from a byte offset on, and the offset behind them; no file is no lines."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    end = content.rfind(b"\n") + 1
    return [_parse(line) for line in content[:end].split(b"\n")[:-1]], offset + end


def tail(path: Path) -> list[str]:
    """The last lines of a log, without their times; none where there is no log."""
    try:
        start = max(0, path.stat().st_size - TAIL_BYTES)
    except FileNotFoundError:
        return []
    lines, _ = read_log(path, start)
    return [line.text for line in (lines[1:] if start else lines)]


def _parse(line: bytes) -> LogLine:
    time, _, text = line.decode("utf-8", errors="replace").partition(" ")
    try:
        moment = datetime.strptime(time[:26].rstrip("Z"), "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=timezone.utc)
    except ValueError:
        return LogLine(text=text)
    return LogLine(text=text, time=moment)


def _decode(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _drop_partial_line(path: Path) -> tuple[int, int]:
    """How many complete lines a file holds, and its size once an incomplete last one is cut off."""
    lines = size = position = 0
    try:
        with path.open("r+b") as file:
            while block := file.read(1 << 20):
                lines += block.count(b"\n")
                end = block.rfind(b"\n")
                if end >= 0:
                    size = position + end + 1
                position += len(block)
            file.truncate(size)
    except FileNotFoundError:
        return 0, 0
    return lines, size
