"""A run's log: its beginning and its end, without secrets, whatever the program prints."""

from __future__ import annotations

import subprocess
import sys
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.models import LogLine
from numerai_compute.providers.local import run_log
from numerai_compute.providers.local.run_log import (
    MAX_LINE_BYTES,
    LineSplitter,
    LogWriter,
    last_lines,
    read_log,
    remove_log,
)
from numerai_compute.redaction import Redactor

SECRET = "A1B2C3D4E5F6G7H8J9K0L1M2N3P4Q5R6S7T8U9V0W1X2Y3Z4A5B6C7D8E9F0G1H2"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "HEAD_BYTES", 1000)
    monkeypatch.setattr(run_log, "SEGMENT_BYTES", 300)
    monkeypatch.setattr(run_log, "KEPT_SEGMENTS", 3)


def whole(path: Path) -> list[str]:
    lines, offset = list[LogLine](), 0
    while True:
        found, offset = read_log(path, offset)
        if not found:
            return [line.text for line in lines]
        lines += found


@pytest.mark.usefixtures("small")
def test_a_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "r.log"
    for part in range(4):  # one writer takes over from another
        with LogWriter(path, Redactor()) as log:
            assert log.lines == part * 100
            for number in range(100):
                log.add(f"line {part * 100 + number}")
    lines = whole(path)
    assert lines[:3] == ["line 0", "line 1", "line 2"] and lines[-2:] == ["line 398", "line 399"]
    gap = next(number for number, line in enumerate(lines) if "not kept" in line)
    assert lines[gap + 1 :] == [f"line {number}" for number in range(400 - (len(lines) - gap - 1), 400)]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1000 + 4 * 300
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())
    assert last_lines(path, 12) == [f"line {number}" for number in range(388, 400)]
    remove_log(path, path.parent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_one_who_follows_sees_every_line_once(tmp_path: Path) -> None:
    path, seen, offset = tmp_path / "r.log", list[str](), 0
    with LogWriter(path, Redactor()) as log:
        for number in range(400):
            log.add(f"line {number}")
            found, offset = read_log(path, offset)
            seen += [line.text for line in found]
    assert [line for line in seen if "not kept" not in line] == [f"line {number}" for number in range(400)]


@pytest.mark.slow
@settings(max_examples=50)
@given(st.integers(0, len(SECRET)), st.integers(1, 3), st.sampled_from(["", "\\u0041", "é", "\0"]))
def test_a_secret_across_the_cut_is_masked_whole(inside: int, lines: int, filler: str) -> None:
    redact = Redactor([SECRET])
    content = (filler + "x" * (MAX_LINE_BYTES * lines)).encode()[: MAX_LINE_BYTES * lines - inside]
    splitter = LineSplitter(redact)
    text = content + SECRET.encode() + b"y" * 100
    found = [redact(line) for piece in (text[:70000], text[70000:]) for line in splitter.feed(piece)]
    found += [redact(line) for line in splitter.end()]
    assert "".join(found).count("***") == 1
    assert not any(SECRET[at : at + 4] in line for line in found for at in range(len(SECRET) - 4))


@pytest.mark.slow
def test_a_line_of_nothing_but_secrets(tmp_path: Path) -> None:
    redact = Redactor([SECRET])
    splitter = LineSplitter(redact)
    found = [redact(line) for line in (*splitter.feed(b"z" + SECRET.encode() * 3000), *splitter.end())]
    assert set("".join(found)) == {"z", "*"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("café".encode(), "café"),
        ("café".encode("latin-1"), "café"),
        (SECRET.encode("utf-16"), "***"),
        (SECRET.encode("utf-16-be"), "***"),
        (b"\xef\xbb\xbfbom", "\ufeffbom"),
        (b"\x80\x81\xff", "€\ufffdÿ"),
    ],
)
def test_output_of_any_encoding(content: bytes, expected: str) -> None:
    splitter = LineSplitter(redact := Redactor([SECRET]))
    assert [redact(line) for line in (*splitter.feed(content), *splitter.end())] == [expected]


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none" / "r.log", 5) == ([], 5)
    assert last_lines(tmp_path / "none" / "r.log", 5) == []


@pytest.mark.slow
def test_seventy_megabytes_and_then_an_error(tmp_path: Path) -> None:
    script = "import sys\nfor i in range(70000): sys.stdout.write('x' * 1000 + '\\n')\nraise ValueError('the reason')"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    splitter, path = LineSplitter(redact := Redactor([SECRET])), tmp_path / "r.log"
    assert process.stdout is not None
    with LogWriter(path, redact) as log, process.stdout as output:
        while piece := output.read(1 << 16):
            for line in splitter.feed(piece):
                log.add(line)
    process.wait()
    assert last_lines(path, 1) == ["ValueError: the reason"]
    lines = whole(path)
    assert lines[0] == "x" * 1000 and lines[-1] == "ValueError: the reason"


def test_a_run_goes_on_where_its_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder is needed")
    with LogWriter(tmp_path / "logs" / "r.log", Redactor()) as log:
        log.add("printed")
    assert log.lines == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_log_on_a_full_disk_ends_there_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "_append_to", lambda path: FileIO("/dev/full", "a"))
    with LogWriter(tmp_path / "r.log", Redactor()) as log:
        for _ in "123":
            log.add("printed")
    assert log.lines == 0
