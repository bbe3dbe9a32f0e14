"""The local provider's settings, the Dockerfile's command, and the log files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import UsageError
from numerai_compute.providers.local import run_log
from numerai_compute.providers.local.dockerfile import read_command
from numerai_compute.providers.local.run_log import LineSplitter, LogWriter, read_log
from numerai_compute.providers.local.settings import LocalPaths, read_settings
from numerai_compute.redaction import Redactor

from tests.present import present


def test_defaults_and_what_wins() -> None:
    settings = read_settings({}, {})
    assert (settings.executor, settings.host, settings.port, settings.read_only) == ("auto", "127.0.0.1", None, False)
    assert settings.concurrency >= 1
    recorded: dict[str, str | int] = {"executor": "docker", "port": "4000", "public_url": "https://x.example/"}
    recorded["read_only"] = 1
    settings = read_settings(recorded, {})
    assert (settings.executor, settings.port, settings.read_only) == ("docker", 4000, True)
    assert settings.public_url == "https://x.example"
    settings = read_settings(recorded, {"NUMERAI_EXECUTOR": "process", "NUMERAI_DAEMON_PORT": "5000"})
    assert (settings.executor, settings.port) == ("process", 5000)


@pytest.mark.parametrize(
    "recorded",
    [
        {"executor": "podman"},
        {"port": 0},
        {"port": "x"},
        {"concurrency": 0},
        {"public_url": "x.example"},
        *({"public_url": f"https://{host}"} for host in ("[::1/", "x:abc", "x:0", "x:99999", "::1]", "[x]")),
    ],
)
def test_what_cannot_be_is_refused(recorded: dict[str, str | int]) -> None:
    with pytest.raises(UsageError) as error:
        read_settings(recorded, {})
    assert error.value.code == "bad-setting"
    assert next(iter(recorded)) in error.value.message


def test_logs_of_attempts_have_names_of_their_own(tmp_path: Path) -> None:
    paths = LocalPaths(tmp_path)
    assert paths.log("r").name == "r.log"
    assert paths.log("r", 2).name == "r.2.log"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('FROM x\nCMD ["python", "predict.py"]', ["python", "predict.py"]),
        ('FROM x\n# CMD ["no"]\ncmd ["a", \\\n  "b"]\n', ["a", "b"]),
        ('FROM x\nENTRYPOINT ["python", "-m"]\nCMD ["numerai_node"]', ["python", "-m", "numerai_node"]),
        ('FROM x AS build\nCMD ["no"]\nFROM y\nCMD ["yes"]', ["yes"]),
        ('FROM x\nCMD ["yes"]\nRUN <<X\nCMD ["no"]\nX\n', ["yes"]),
        ('FROM x\nCMD ["yes"]\nCOPY <<-"X" <<Y /z\n\tCMD ["no"]\n\tX\nENTRYPOINT ["no"]\nY', ["yes"]),
        ('# escape=`\nFROM x\nCMD ["a", `\n"b"]', ["a", "b"]),
        ('FROM x\nCMD ["first"]\nENTRYPOINT ["only"]', ["only"]),
    ],
)
def test_the_command_of_a_dockerfile(tmp_path: Path, text: str, command: list[str]) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    assert read_command(tmp_path / "Dockerfile") == command


@pytest.mark.parametrize("text", ["FROM x", "FROM x\nCMD python predict.py", 'FROM x\nCMD {"a": 1}', "FROM x\nCMD []"])
def test_a_dockerfile_without_a_command_in_exec_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(UsageError) as error:
        read_command(tmp_path / "Dockerfile")
    assert error.value.code == "no-command"
    assert "CMD" in error.value.message


def test_a_log_is_continued_where_a_killed_writer_left_it(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "r.log"
    with LogWriter(path, Redactor(["top-secret"])) as log:
        log.add("one top-secret")
        log.add("two", "2026-01-02T03:04:05.123456789Z")
    with path.open("ab") as file:
        file.write(b"2026-01-02T03:04:06.1Z half wri")
    lines, offset = read_log(path)
    assert [line.text for line in lines] == ["one ***", "two"]
    assert present(lines[1].time).isoformat() == "2026-01-02T03:04:05.123456+00:00"
    with LogWriter(path, Redactor()) as log:
        assert log.lines == 2
        log.add("three")
    assert [line.text for line in read_log(path, offset)[0]] == ["three"]
    assert path.stat().st_mode & 0o077 == 0
    assert read_log(tmp_path / "none") == ([], 0)


@pytest.mark.slow
@given(st.lists(st.binary(max_size=30)), st.binary(max_size=200))
def test_lines_do_not_depend_on_how_they_arrive(cuts: list[bytes], text: bytes) -> None:
    whole, parts = LineSplitter(), LineSplitter()
    content = b"".join(cuts) + text
    expected = [*whole.feed(content), *whole.end()]
    found = [line for piece in (*cuts, text) for line in parts.feed(piece)]
    assert [*found, *parts.end()] == expected


def test_endless_lines_are_broken() -> None:
    splitter = LineSplitter()
    pieces = [*splitter.feed(b"x" * (run_log.MAX_LINE_BYTES * 2 + 5)), *splitter.end()]
    assert [len(piece) for piece in pieces] == [run_log.MAX_LINE_BYTES, run_log.MAX_LINE_BYTES, 5]
