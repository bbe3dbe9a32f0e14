"""What a run printed: a line per line after its time, its beginning and its end whole; secrets are never written.

The first `HEAD_BYTES` are in the log's file, what comes later in segments beside it, of which the latest are kept. A
segment's name says where it begins: `<log>.<bytes before it>-<lines before it>`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from types import TracebackType

from ...counting import sized
from ...errors import EnvironmentNotReady
from ...files.private import make_private_folder, remove_file
from ...models import LogLine
from ...redaction import LONGEST_FORM, Redactor

HEAD_BYTES = 32 * 1024 * 1024
SEGMENT_BYTES = 8 * 1024 * 1024
KEPT_SEGMENTS = 4
MAX_LINE_BYTES = 64 * 1024
CHUNK_BYTES = 1024 * 1024
NOT_KEPT = "... {} of the output were not kept: a log keeps its beginning and its end"

_SEGMENT = re.compile(r"\.(\d+)-(\d+)$")


class LogWriter:
    """Appends to a log. What a killed writer left half-written at the end is dropped when it is opened. A log that
    cannot be written ends there: no run waits, blocks or fails for want of its log.

    `lines` counts the complete lines, those not kept included, so that one who copies from a source knows how many it
    has copied already. `first_stamp` and `last_stamp` are the times of the first and the last line, as written.
    """

    def __init__(self, path: Path, redact: Redactor):
        self._path = path
        self._redact = redact
        self._segments: list[tuple[int, int, Path]] = []
        self._start = self._size = self.lines = 0
        self.first_stamp: str | None = None
        self.last_stamp: str | None = None
        self._file: FileIO | None = None
        with suppress(OSError, EnvironmentNotReady):
            self._open()

    def _open(self) -> None:
        make_private_folder(self._path.parent)
        self._segments = _segments(self._path)
        self._start, lines_before = self._segments[-1][:2] if self._segments else (0, 0)
        current = self._segments[-1][2] if self._segments else self._path
        lines, self._size = _drop_partial_line(current)
        self.lines = lines_before + lines
        self.first_stamp, self.last_stamp = _first_stamp(self._path), _last_stamp(current)
        self._file = _append_to(current)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, text: str, time: str | None = None) -> None:
        """Write one line; `time` is in RFC 3339, by default now."""
        stamp = time or _now()
        line = f"{stamp} {self._redact(text)}\n".encode("utf-8", errors="replace")
        try:
            if self._size and self._size + len(line) > (SEGMENT_BYTES if self._segments else HEAD_BYTES):
                self._begin_segment()
            if self._file is None or self._file.write(line) != len(line):
                self._give_up()
                return
        except OSError:
            self._give_up()
            return
        self._size += len(line)
        self.lines += 1
        self.first_stamp, self.last_stamp = self.first_stamp or stamp, stamp

    def _give_up(self) -> None:
        """Write nothing more; a line that is there in part goes when the log is opened again."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _begin_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._start += self._size
        self._size = 0
        segment = self._path.with_name(f"{self._path.name}.{self._start}-{self.lines}")
        self._file = _append_to(segment)
        self._segments.append((self._start, self.lines, segment))
        while len(self._segments) > KEPT_SEGMENTS:
            if not _removed(self._segments[0][2]):
                return  # Windows: somebody reads it; it goes next time
            del self._segments[0]


class LineSplitter:
    """Makes lines out of pieces; lines beyond 64 KiB are broken, but never inside of a secret."""

    def __init__(self, redact: Redactor | None = None) -> None:
        self._redact = redact or Redactor()
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that the piece completes."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            yield from self._broken(line)
        while len(self._rest) >= MAX_LINE_BYTES + LONGEST_FORM:
            cut = self._cut(self._rest)
            yield _decode(self._rest[:cut])
            self._rest = self._rest[cut:]

    def end(self) -> Iterator[str]:
        """The last line, when it has no newline."""
        if self._rest:
            yield from self._broken(self._rest)
            self._rest = b""

    def _broken(self, line: bytes) -> Iterator[str]:
        while len(line) > MAX_LINE_BYTES:
            cut = self._cut(line)
            yield _decode(line[:cut])
            line = line[cut:]
        yield _decode(line)

    def _cut(self, line: bytes) -> int:
        """Where to break a line: the last place within the limit that is inside of no secret and of no character."""
        for cut in range(MAX_LINE_BYTES, MAX_LINE_BYTES - LONGEST_FORM, -1):
            before, after = line[cut - LONGEST_FORM : cut], line[cut : cut + LONGEST_FORM]
            if after[:1] and 0x80 <= after[0] < 0xC0 and MAX_LINE_BYTES - cut < 4:
                continue
            if not self._redact.is_cut(_decode(before), _decode(after)):
                return cut
        return MAX_LINE_BYTES


def read_log(path: Path, offset: int = 0) -> tuple[list[LogLine], int]:
    """The next complete lines of a log from an offset on, at most about a MiB of them, and the offset behind them; no
    lines when there are none yet, or no file. What was not kept in the middle is one line that says so."""
    while True:
        try:
            return _read(path, offset)
        except FileNotFoundError:
            if not path.exists():
                return [], offset


def remove_log(path: Path, within: Path) -> None:
    """Remove a log with its segments, if they lie inside the folder `within`; raises as `remove_file`."""
    for file in (*(segment for _, _, segment in _segments(path)), path):
        remove_file(file, within)


def last_lines(path: Path, number: int) -> list[str]:
    """The texts of the last lines of a log."""
    segments = _segments(path)
    try:
        content = b"".join(_end_of(file) for file in [path, *(segment for _, _, segment in segments)][-2:])
    except FileNotFoundError:
        return []
    return [_parse(line).text for line in content.split(b"\n")[:-1][-number:]]


def _read(path: Path, offset: int) -> tuple[list[LogLine], int]:
    pieces = [(0, path), *((start, file) for start, _, file in _segments(path))]
    for (start, file), following in zip(pieces, [*(start for start, _ in pieces[1:]), None], strict=True):
        if following is not None and offset >= following:
            continue
        with file.open("rb") as stream:
            stream.seek(max(0, offset - start))
            content = stream.read(CHUNK_BYTES)
        end = content.rfind(b"\n") + 1
        if end:
            return [_parse(line) for line in content[:end].split(b"\n")[:-1]], offset + end
        if following is None:
            return [], offset
        return [LogLine(NOT_KEPT.format(sized(following - offset)))], following
    return [], offset


def _segments(path: Path) -> list[tuple[int, int, Path]]:
    """The segments of a log that are kept: bytes and lines before each, and its file."""
    found = []
    for file in path.parent.glob(f"{path.name}.*") if path.parent.is_dir() else ():
        if match := _SEGMENT.fullmatch(file.name[len(path.name) :]):
            found.append((int(match[1]), int(match[2]), file))
    return sorted(found)


def _append_to(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False
    return True


def _parse(line: bytes) -> LogLine:
    time, _, text = line.decode("utf-8", errors="replace").partition(" ")
    try:
        moment = datetime.strptime(time[:26].rstrip("Z"), "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=timezone.utc)
    except ValueError:
        return LogLine(text=text)
    return LogLine(text=text, time=moment)


def _decode(line: bytes) -> str:
    """A line as text: UTF-8, else UTF-16 by its zero bytes, else what Western programs print."""
    line = line.rstrip(b"\r")
    if b"\0" in line:
        line = line.replace(b"\xff\xfe", b"").replace(b"\xfe\xff", b"").replace(b"\0", b"").rstrip(b"\r")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _first_stamp(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(64).partition(b" ")[0].decode("ascii", errors="replace") or None
    except FileNotFoundError:
        return None


def _last_stamp(path: Path) -> str | None:
    try:
        lines = _end_of(path).split(b"\n")
    except FileNotFoundError:
        return None
    return lines[-2].partition(b" ")[0].decode("ascii", errors="replace") if len(lines) > 1 else None


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8 * MAX_LINE_BYTES))
        return file.read()


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
