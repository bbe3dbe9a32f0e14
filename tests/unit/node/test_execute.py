"""A program in any language becomes a node through `numerai_node exec`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from numerai_node.errors import BadPredictions, Interrupted, ProgramFailed
from numerai_node.execute import execute, write_csv
from numerai_node.node import Node
from numerai_node.program import child_environment, stop

from .conftest import PUBLIC_ID, SECRET_KEY, Stub, parquet

TEMPLATE = Path(__file__).parents[3] / "node_template"
GOOD = "import csv, os; rows = list(csv.DictReader(open('live.csv')))\n" + (
    "out = open(os.environ['NUMERAI_PREDICTIONS'], 'w'); out.write('id,prediction\\n')\n"
    "out.writelines(f\"{row['id']},{(n + 1) / (len(rows) + 1)}\\n\" for n, row in enumerate(rows))\n"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell and signals")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def left_behind(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.glob("numerai-run-*")]


@pytest.mark.slow
def test_a_program_is_given_data_and_its_file_is_submitted(node: Node, stub: Stub, tmp_path: Path) -> None:
    execute(node, [sys.executable, "-c", GOOD], csv=True)
    assert len(stub.created) == 1
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_the_program_sees_where_things_are_but_not_the_keys(
    node: Node, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = tmp_path / "shown.txt"
    look = (
        f"import os, pathlib; here = pathlib.Path('.'); "
        f"names = sorted(path.name for path in here.iterdir()); "
        f"pathlib.Path({str(shown)!r}).write_text(repr(dict(os.environ)) + repr(names))"
    )
    with pytest.raises(BadPredictions, match=r"wrote no predictions\.csv"):
        execute(node, [sys.executable, "-c", look], csv=True)
    text = shown.read_text()
    assert SECRET_KEY not in text
    assert PUBLIC_ID not in text
    assert "['features.json', 'live.csv', 'live.parquet']" in text
    for name in ("NUMERAI_LIVE", "NUMERAI_LIVE_CSV", "NUMERAI_FEATURES", "NUMERAI_PREDICTIONS", "MODEL_ID"):
        assert f"'{name}'" in text
    assert f"'NUMERAI_CODE': {str(tmp_path)!r}" in text


@pytest.mark.slow
def test_a_script_beside_the_dockerfile_is_found(node: Node, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text(GOOD)
    execute(node, [sys.executable, "predict.py"], csv=True)
    assert len(stub.created) == 1


def test_a_programs_69_is_not_a_late_submission(node: Node, stub: Stub) -> None:
    with pytest.raises(ProgramFailed, match=r"ended with exit code 69\.") as caught:
        execute(node, [sys.executable, "-c", "raise SystemExit(69)"])
    assert caught.value.exit_code == 1
    assert stub.created == []


@pytest.mark.parametrize(("code", "meaning"), [(3, ""), (65, "bad predictions"), (137, "memory")])
def test_the_programs_exit_code_is_the_runs(node: Node, stub: Stub, tmp_path: Path, code: int, meaning: str) -> None:
    with pytest.raises(ProgramFailed, match=f"ended with exit code {code}.*{meaning}") as caught:
        execute(node, [sys.executable, "-c", f"raise SystemExit({code})"])
    assert caught.value.exit_code == code
    assert stub.created == []
    assert left_behind(tmp_path) == []


@posix
def test_a_program_ended_by_a_signal(node: Node) -> None:
    with pytest.raises(ProgramFailed, match=r"exit code 139 .*segmentation") as caught:
        execute(node, [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])
    assert caught.value.exit_code == 139


def test_a_program_that_is_not_there(node: Node) -> None:
    with pytest.raises(ProgramFailed, match="no-such-program was not found") as caught:
        execute(node, ["no-such-program"])
    assert caught.value.exit_code == 127


@posix
def test_a_program_that_may_not_run(node: Node, tmp_path: Path) -> None:
    (tmp_path / "predict.sh").write_text("#!/bin/sh\n")
    with pytest.raises(ProgramFailed, match="could not be started") as caught:
        execute(node, ["./predict.sh"])
    assert caught.value.exit_code == 126


@pytest.mark.slow
def test_data_without_feature_sets(make_node: Callable[..., Node], stub: Stub) -> None:
    coins = pd.DataFrame({"symbol": [f"C{n:03d}" for n in range(120)]})
    stub.files["crypto/v1.0/live_universe.parquet"] = parquet(coins)
    stub.models["model-1"]["tournament"] = 12
    program = GOOD.replace("id,prediction", "symbol,signal").replace("row['id']", "row['symbol']")
    execute(make_node(NUMERAI_TOURNAMENT="12"), [sys.executable, "-c", program], csv=True)
    assert stub.created[0]["tournament"] == 12


def test_csv_has_the_id_first_and_quotes_only_where_needed(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": pd.array([1, None], dtype="Int8")}, index=pd.Index(["a", "b"], name="id"))
    (tmp_path / "plain.parquet").write_bytes(parquet(frame))
    write_csv(tmp_path / "plain.parquet", tmp_path / "plain.csv")
    assert (tmp_path / "plain.csv").read_text() == "id,x\na,1\nb,\n"
    (tmp_path / "odd.parquet").write_bytes(parquet(frame.set_axis(pd.Index(["a,b", 'c"d'], name="id"))))
    write_csv(tmp_path / "odd.parquet", tmp_path / "odd.csv")
    assert list(pd.read_csv(tmp_path / "odd.csv")["id"]) == ["a,b", 'c"d']


def test_the_environment_keeps_everything_else() -> None:
    seen = child_environment({"PATH": "/bin", "NUMERAI_SECRET_KEY": "x", "NUMERAI_PUBLIC_ID": "y"}, {"A": Path("b")})
    assert seen == {"PATH": "/bin", "A": "b"}


@pytest.fixture
def wrapped(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts `numerai_node exec` around a shell script in a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def start(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "numerai_node", "exec", "--csv", "--", "sh", "-c", script],
            env={**os.environ, **environment, "PYTHONPATH": str(TEMPLATE), "TMPDIR": str(tmp_path)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)


@pytest.mark.slow
@posix
def test_sigterm_reaches_the_program(wrapped: Callable[[str], subprocess.Popen[str]], tmp_path: Path) -> None:
    process = wrapped("trap 'echo told; exit 0' TERM; echo running; while :; do sleep 0.05; done")
    assert process.stdout is not None
    while "running" not in (line := process.stdout.readline()):
        assert line, "the program never started"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert "told" in out
    assert "interrupted exit=75" in out
    assert process.returncode == 75
    assert left_behind(tmp_path) == []


@posix
def test_sigterm_while_the_program_starts_still_stops_it(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class SlowPopen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    def interrupt(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr("numerai_node.program.subprocess.Popen", SlowPopen)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            execute(node, [sys.executable, "-c", "import time; time.sleep(60)"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].returncode == -signal.SIGTERM
    assert left_behind(tmp_path) == []


@posix
def test_a_program_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numerai_node.program.STOP_SECONDS", 0.1)
    deaf = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"]
    with subprocess.Popen(deaf, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stop(process)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@posix
@pytest.mark.skipif(shutil.which("awk") is None, reason="awk is not here")
def test_the_shell_example(node: Node, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TEMPLATE / "shell-any-language")
    execute(node, ["sh", "predict.sh"], csv=True)
    assert len(stub.created) == 1
