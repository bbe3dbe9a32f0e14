"""Where what is printed cannot be written, one message says so on standard error: no traceback, and no success."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="a device that is always full")


def _numerai(*arguments: str, home: Path, **streams: object) -> subprocess.CompletedProcess[str]:
    code = "import sys; from numerai_compute.main import main; main(sys.argv[1:])"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMERAI_")}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", code, *arguments],
        env={**kept, "NUMERAI_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        **streams,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["node list", "node list --json", "node status --json", "--help", "--version", "nonsense --json"]
)
def test_standard_output_is_full(home: Path, command: str) -> None:
    with FULL.open("w") as full:
        done = _numerai(*command.split(), home=home, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode in (1, 2, 3), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr and "bug" not in done.stderr
    assert done.stderr.count("Error: ") == 1, done.stderr
    if "status" not in command and "nonsense" not in command:
        assert "No space left" in done.stderr and "Make room" in done.stderr


@pytest.mark.slow
def test_standard_error_is_full(home: Path) -> None:
    with FULL.open("w") as full:
        done = _numerai("node", "status", home=home, stdout=subprocess.PIPE, stderr=full)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [1, 2])
def test_a_stream_is_closed(home: Path, closed: int) -> None:
    done = _numerai("node", "list", "--json", home=home, preexec_fn=lambda: os.close(closed), capture_output=True)
    assert done.returncode == 0 and done.stderr == ""
