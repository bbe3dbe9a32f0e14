"""Other programs are run line by line and leave nothing behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.process import run_process


def python(script: str) -> list[str]:
    return [sys.executable, "-u", "-c", script]


def test_every_line_of_both_streams_arrives_in_order() -> None:
    lines: list[str] = []
    script = "import sys\nfor i in range(1000): print(i, file=sys.stdout if i % 2 else sys.stderr)\nsys.exit(3)"
    result = run_process(python(script), on_line=lines.append)
    assert lines == [str(number) for number in range(1000)]
    assert result.exit_code == 3
    assert result.tail == tuple(lines[-20:])


def test_secrets_are_redacted(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "import os; print(os.environ['KEY'], os.getcwd())"
    result = run_process(
        python(script), cwd=tmp_path, env={"KEY": "top-secret"}, secrets=["top-secret"], on_line=lines.append
    )
    assert lines == list(result.tail) == [f"*** {tmp_path}"]


def test_no_such_program() -> None:
    with pytest.raises(EnvironmentNotReady) as error:
        run_process(["no-such-program-anywhere"])
    assert error.value.code == "program-missing"


@pytest.mark.slow
def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(NumeraiError) as error:
        run_process(python("import time; time.sleep(60)"), timeout=0.2)
    assert error.value.code == "process-timeout"
    assert run_process(python("print(1)"), timeout=60).tail == ("1",)


def test_an_interruption_ends_the_program() -> None:
    children: list[psutil.Process] = []

    def interrupt(line: str) -> None:
        children.append(psutil.Process(int(line)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_process(python("import os, time; print(os.getpid()); time.sleep(60)"), on_line=interrupt)
    assert not children[0].is_running()


def test_output_may_go_through_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    lines: list[str] = []
    output = tmp_path / "output.log"
    script = "import sys\nfor i in range(1000): print(i)\nprint('end', end='')\nsys.exit(4)"
    result = run_process(python(script), output=output, on_line=lines.append)
    assert lines == [*map(str, range(1000)), "end"]
    assert (result.exit_code, result.tail) == (4, tuple(lines[-20:]))
    if sys.platform != "win32":
        assert output.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_files_of_a_private_program_are_its_owners(tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"open({str(made)!r}, 'w').close()"
    assert run_process([sys.executable, "-c", code], private_files=True).exit_code == 0
    assert made.stat().st_mode & 0o077 == 0
