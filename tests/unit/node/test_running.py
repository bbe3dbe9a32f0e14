"""However a run ends, it says so in one line and exits as the contract says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from numerai_node import running
from numerai_node.__main__ import main
from numerai_node.errors import (
    BadPredictions,
    ConfigurationError,
    Covered,
    Interrupted,
    Late,
    Submitted,
    TemporaryFailure,
    Unconfirmed,
)
from numerai_node.log import hide
from numerai_node.transport import Transport

from .conftest import SECRET_KEY, Stub, status

TEMPLATE = Path(__file__).parents[3] / "node_template"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python code or arguments in a process of its own with the node's environment."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str, changes: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if name not in environment}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=kept | environment | {"PYTHONPATH": str(TEMPLATE)} | dict(changes or {}),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def fail(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadPredictions("bad", ["one", "two"]), 65, "failed exit=65 reason=bad"),
        (TemporaryFailure("later"), 75, "failed exit=75 reason=later"),
        (ConfigurationError("MODEL_ID is not set."), 78, 'failed exit=78 reason="MODEL_ID is not set."'),
        (Interrupted(), 75, "interrupted exit=75"),
        (KeyboardInterrupt(), 130, "interrupted exit=130"),
        (ZeroDivisionError("division by zero"), 1, 'failed exit=1 reason="ZeroDivisionError: division by zero"'),
    ],
)
def test_exit_codes(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert running.ending_of(fail(error)).exit_code == code
    assert line in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (None, 0), (3, 3), (75, 75), (69, 1), (73, 1), (76, 1)])
def test_code_that_ends_itself_does_not_say_that_it_submitted(code: int | None, ends: int) -> None:
    assert running.ending_of(fail(SystemExit(code))).exit_code == ends


@pytest.mark.parametrize("error", [Late("late", "s-1"), Covered("covered", "s-1"), Unconfirmed("unknown", "s-1")])
def test_code_that_hands_on_how_its_submission_ended_is_believed(error: Submitted) -> None:
    def work() -> None:
        try:
            raise error
        except Submitted as ending:
            sys.exit(ending.exit_code)

    assert running.ending_of(work).exit_code == error.exit_code


def test_every_problem_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    running.ending_of(fail(BadPredictions("bad", ["first problem", "second problem"])))
    assert [line.split("s ", 1)[1] for line in capsys.readouterr().out.splitlines()] == [
        'problem what="first problem"',
        'problem what="second problem"',
        "failed exit=65 reason=bad",
    ]


def test_a_traceback_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    hide("HUSHHUSH")
    assert running.ending_of(fail(ValueError("Token x$HUSHHUSH"))).exit_code == 1
    shown = capsys.readouterr()
    assert "Traceback" in shown.err
    assert "HUSHHUSH" not in shown.err + shown.out


def test_work_that_ends_well() -> None:
    assert running.ending_of(lambda: None).exit_code == 0


@pytest.mark.slow
@posix
def test_sigterm_ends_the_run_at_once(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(
        "-c",
        "import time; from numerai_node import run, log\n"
        "def main(node):\n"
        "    try:\n        log('working')\n        time.sleep(60)\n"
        "    except Exception: pass\n    finally: log('tidied')\n"
        "run(main)",
    )
    assert process.stdout is not None
    assert "working" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert out.splitlines()[0].endswith("tidied")
    assert 'interrupted exit=75 reason="the run was told to stop' in out
    assert err == ""


@pytest.mark.slow
@posix
def test_sigterm_ends_a_run_that_is_stuck_in_compiled_code(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(
        "-c",
        "from numerai_node import running\n"
        "running.honour_sigterm(0.1)\n"
        "import hashlib\n"
        "while True:\n"
        "    try:\n        print('working', flush=True); hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)\n"
        "    except BaseException: pass\n",
    )
    assert process.stdout is not None
    assert "working" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "interrupted exit=75" in out


@pytest.mark.slow
def test_run_and_submit_refuses_wrong_keys_before_any_work(
    stub: Stub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(
        "-c",
        "from numerai_node import run_and_submit\nrun_and_submit(lambda node: print('working'))",
        changes={"NUMERAI_SECRET_KEY": "WRONGWRONG"},
    )
    out, err = process.communicate(timeout=30)
    assert process.returncode == 78
    assert "working" not in out
    assert "refused the keys" in out
    assert "WRONGWRONG" not in out + err


def test_help_is_fast_and_imports_nothing_big(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("-X", "importtime", "-m", "numerai_node", "--help")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "exec" in out
    for module in ("pandas", "numpy", "pyarrow", "numerai_tools", "lightgbm"):
        assert f" {module}\n" not in err


def test_data_needs_no_keys(
    stub: Stub, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NUMERAI_API_URL", "NUMERAI_CACHE"):
        monkeypatch.setenv(name, environment[name])
    assert call_main("data") == 0
    assert "listed version=v5.10 file=features.json" in capsys.readouterr().out
    assert call_main("data", "features.json", "live.parquet") == 0
    assert "file name=live.parquet path=" in capsys.readouterr().out


def call_main(*arguments: str) -> int | str | None:
    handler, wakeup = signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)
    try:
        main(arguments)
    except SystemExit as end:
        return end.code
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.set_wakeup_fd(wakeup)
    return None


@pytest.fixture
def in_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def predictions_file(folder: Path, rows: int = 200) -> str:
    path = folder / "mine.csv"
    lines = [f"n{number:04d},{(number + 1) / 201:.6f}" for number in range(rows)]
    path.write_text("\n".join(["id,prediction", *lines]) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.usefixtures("in_environment")
def test_a_file_is_checked_and_not_sent(stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call_main("check", predictions_file(tmp_path)) == 0
    assert "checked rows=200 column=prediction" in capsys.readouterr().out
    assert call_main("check", predictions_file(tmp_path, rows=199)) == 65
    assert "1 of today's 200 ids have no prediction: n0199." in capsys.readouterr().out
    assert stub.created == []


@pytest.mark.slow
@pytest.mark.usefixtures("in_environment")
def test_a_file_is_submitted(
    stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Transport.__init__.__kwdefaults__ or {}, "sleep", lambda seconds: None)
    assert call_main("submit", predictions_file(tmp_path)) == 0
    assert len(stub.created) == 1
    shown = capsys.readouterr().out
    assert "submitted submission_id=submission-1" in shown
    assert SECRET_KEY not in shown
    stub.script["upload"] = [status(400)] * 3
    assert call_main("submit", predictions_file(tmp_path)) == 75
    assert len(stub.created) == 1
