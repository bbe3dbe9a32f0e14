"""The examples as they are copied, run as processes against the sandbox: accepted, or the right exit code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fixtures.sandbox import ServedSandbox

pytestmark = pytest.mark.e2e

TEMPLATE = Path(__file__).parents[2] / "node_template"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell and signals")

C_PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    FILE *in = fopen("live.csv", "r"), *out = fopen("predictions.csv", "w");
    static char line[1 << 16];
    long row = 0;
    if (!in || !out || !fgets(line, sizeof line, in)) return 1;
    fputs("id,prediction\n", out);
    while (fgets(line, sizeof line, in)) {
        row = (row * 37 + 11) % 9973;
        fprintf(out, "%s,%.6f\n", strtok(line, ","), (row + 1) / 9975.0);
    }
    return fclose(out) == 0 ? 0 : 1;
}
"""


class Runner:
    """A folder with an example and the runtime, and what its processes are given."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.processes: list[subprocess.Popen[str]] = []

    def copy(self, example: str) -> Runner:
        """Put an example and the runtime into the folder, as scaffolding does."""
        shutil.copytree(TEMPLATE / example, self.folder, dirs_exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TEMPLATE / "numerai_node", self.folder / "numerai_node", ignore=ignored)
        return self

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen[str]:
        """Start Python in the folder with the node's environment, `changes` in it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMERAI_")}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=kept | self.environment | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def __call__(self, *arguments: str, **changes: str) -> tuple[int, str]:
        """Run Python to its end: its exit code and all it printed."""
        process = self.start(*arguments, **changes)
        out, _ = process.communicate(timeout=120)
        assert self.environment["NUMERAI_SECRET_KEY"] not in out
        return process.returncode, out


@pytest.fixture
def trigger_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def runner_for(sandbox: ServedSandbox, tmp_path: Path, trigger_id: str) -> Iterator[Callable[..., Runner]]:
    """Makes runners for a model of a tournament; at the end nothing that they started is left."""
    runners: list[Runner] = []

    def make(model: str = "alice", tournament: int = 8, served: ServedSandbox = sandbox) -> Runner:
        environment = served.environment | {
            "MODEL_ID": served.models[model],
            "TRIGGER_ID": trigger_id,
            "NUMERAI_TOURNAMENT": str(tournament),
            "NUMERAI_NODE": f"node-{model}",
            "NUMERAI_ARTIFACTS": str(tmp_path / "artifacts"),
            "NUMERAI_CACHE": str(tmp_path / "cache"),
            "NUMERAI_CPU": "1",
            "TMPDIR": str(tmp_path),
        }
        folder = tmp_path / "node"
        folder.mkdir()
        runners.append(Runner(folder, environment))
        return runners[-1]

    yield make
    for runner in runners:
        for process in runner.processes:
            with suppress(ProcessLookupError, AttributeError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=20)


@pytest.fixture
def classic(runner_for: Callable[..., Runner]) -> Runner:
    """The Classic example in Python, quick to train."""
    runner = runner_for().copy("tournament-python3")
    train = runner.folder / "train.py"
    train.write_text(train.read_text(encoding="utf-8").replace("TREES = 1000", "TREES = 50"), encoding="utf-8")
    return runner


@pytest.fixture
def program(runner_for: Callable[..., Runner]) -> Runner:
    """A folder with nothing but the runtime and the shell example."""
    return runner_for().copy("shell-any-language")


def submissions(sandbox: ServedSandbox) -> list[dict[str, object]]:
    found: list[dict[str, object]] = sandbox.state()["submissions"]
    return found


def accepted(sandbox: ServedSandbox, trigger_id: str) -> bool:
    """Whether the sandbox holds exactly one submission, of this trigger, and it is on time."""
    (submission,) = submissions(sandbox)
    return statuses(sandbox) == ["on-time"] and submission["trigger_id"] == trigger_id


def statuses(sandbox: ServedSandbox) -> list[str]:
    """How the submissions stand in their rounds."""
    entries = {entry["id"]: entry["status"] for entry in sandbox.state()["entries"]}
    return [entries[submission["id"]] for submission in submissions(sandbox)]


def test_the_first_run_trains_and_the_second_loads(classic: Runner, sandbox: ServedSandbox, trigger_id: str) -> None:
    code, first = classic("predict.py")
    assert code == 0, first
    assert accepted(sandbox, trigger_id)
    assert " trained trees=50" in first
    corr_mean = float(first.split("corr_mean=")[1].split()[0])
    assert -0.3 < corr_mean < 0.3
    (last,) = first.splitlines()[-1:]
    assert " submitted submission_id=" in last
    assert f"trigger_id={trigger_id} status=on-time" in last

    code, second = classic("predict.py")
    assert code == 0, second
    assert " loaded model=" in second
    assert " trained trees=" not in second
    assert "downloaded" not in second
    assert "cached file=v5.3/live.parquet" in second
    assert "these predictions are submitted already" in second
    assert len(submissions(sandbox)) == 1


def test_a_new_round_has_new_rows(classic: Runner, sandbox: ServedSandbox) -> None:
    assert classic("predict.py")[0] == 0
    sandbox.open_round(8)
    code, out = classic("predict.py")
    assert code == 0, out
    assert "downloaded file=v5.3/live.parquet" in out
    assert statuses(sandbox) == ["on-time", "on-time"]


def test_a_model_of_other_features_is_trained_anew(classic: Runner) -> None:
    assert classic("train.py", NUMERAI_PUBLIC_ID="", NUMERAI_SECRET_KEY="")[0] == 0
    train = classic.folder / "train.py"
    train.write_text(train.read_text(encoding="utf-8").replace('"small"', '"medium"'), encoding="utf-8")
    code, out = classic("predict.py")
    assert code == 0, out
    assert "trained on other features" in out
    assert " trained trees=" in out


def test_a_damaged_model_is_trained_anew(classic: Runner, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model.txt").write_text("tree\nhalf of")
    (tmp_path / "artifacts" / "model.json").write_text('{"features": [')
    code, out = classic("predict.py")
    assert code == 0, out
    assert "cannot be read and is trained anew" in out


def test_bad_predictions_exit_65(classic: Runner, sandbox: ServedSandbox) -> None:
    predict = classic.folder / "predict.py"
    spoilt = predict.read_text(encoding="utf-8").replace("node.submit(predictions)", "node.submit(predictions * 3)")
    predict.write_text(spoilt, encoding="utf-8")
    code, out = classic("predict.py")
    assert code == 65, out
    assert "values are not between 0 and 1" in out
    assert submissions(sandbox) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NUMERAI_PUBLIC_ID": "WRONG"}, "refused the keys"),
        ({"NUMERAI_SECRET_KEY": ""}, "NUMERAI_SECRET_KEY is not set"),
        ({"MODEL_ID": ""}, "MODEL_ID is not set"),
        ({"MODEL_ID": str(uuid.UUID(int=7))}, "model"),
        ({"NUMERAI_TOURNAMENT": "11"}, "is in tournament 8"),
    ],
)
def test_wrong_configuration_exits_78_before_any_work(classic: Runner, changes: dict[str, str], words: str) -> None:
    code, out = classic("predict.py", **changes)
    assert code == 78, out
    assert words in out
    assert "downloaded" not in out
    assert "Traceback" not in out


def test_code_that_fails_exits_1_with_its_traceback(classic: Runner) -> None:
    (classic.folder / "predict.py").write_text(
        "from numerai_node import run_and_submit\nrun_and_submit(lambda n: 1 / 0)\n"
    )
    code, out = classic("predict.py")
    assert code == 1
    assert "ZeroDivisionError" in out
    assert "failed exit=1" in out


@pytest.mark.parametrize("target", ["graphql", "download", "upload"])
def test_an_incident_that_passes_is_survived(
    classic: Runner, sandbox: ServedSandbox, trigger_id: str, target: str
) -> None:
    sandbox.set_fault(target, "status", status=503, times=2)
    code, out = classic("predict.py")
    assert code == 0, out
    assert out.count("answered 503") == 2
    assert accepted(sandbox, trigger_id)


def test_a_refused_upload_never_becomes_a_submission(classic: Runner, sandbox: ServedSandbox) -> None:
    sandbox.set_fault("upload", "status", status=403, times=None)
    code, out = classic("predict.py")
    assert code == 75, out
    assert "it was refused: 127.0.0.1 answered 403. Nothing was submitted." in out
    assert "signature" not in out
    assert submissions(sandbox) == []


def test_a_truncated_download_is_never_used(classic: Runner, sandbox: ServedSandbox, trigger_id: str) -> None:
    sandbox.set_fault("download", "truncate", times=2, match="live.parquet")
    code, out = classic("predict.py")
    assert code == 0, out
    assert out.count("retrying") == 2
    assert accepted(sandbox, trigger_id)


def test_corrupt_data_end_the_run_and_are_downloaded_again(classic: Runner, sandbox: ServedSandbox) -> None:
    sandbox.set_fault("download", "corrupt", times=1, match="live.parquet")
    code, out = classic("predict.py")
    if code != 0:
        assert code == 75, out
        code, out = classic("predict.py")
    assert code == 0, out


@posix
def test_sigterm_while_training(classic: Runner, sandbox: ServedSandbox, tmp_path: Path) -> None:
    train = classic.folder / "train.py"
    train.write_text(train.read_text(encoding="utf-8").replace("TREES = 50", "TREES = 1_000_000"), encoding="utf-8")
    process = classic.start("predict.py")
    assert process.stdout is not None
    while "read file=train.parquet" not in (line := process.stdout.readline()):
        assert line, "the run ended before it trained"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 75, out
    assert "interrupted exit=75" in out
    assert submissions(sandbox) == []
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize(("example", "model", "tournament"), [("signals", "bob", 11), ("crypto", "carol", 12)])
def test_the_other_tournaments(
    runner_for: Callable[..., Runner],
    sandbox: ServedSandbox,
    trigger_id: str,
    example: str,
    model: str,
    tournament: int,
) -> None:
    code, out = runner_for(model, tournament).copy(f"{example}-python3")("predict.py")
    assert code == 0, out
    assert " validated corr_mean=" in out
    assert accepted(sandbox, trigger_id)


@posix
def test_a_shell_program(program: Runner, sandbox: ServedSandbox, trigger_id: str) -> None:
    code, out = program("-m", "numerai_node", "exec", "--csv", "--", "sh", "predict.sh")
    assert code == 0, out
    assert accepted(sandbox, trigger_id)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_a_c_program(program: Runner, sandbox: ServedSandbox, trigger_id: str) -> None:
    (program.folder / "predict.c").write_text(C_PROGRAM)
    subprocess.run(["gcc", "-O2", "-o", "predict", "predict.c"], cwd=program.folder, check=True)
    code, out = program("-m", "numerai_node", "exec", "--csv", "--", "./predict")
    assert code == 0, out
    assert accepted(sandbox, trigger_id)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="there is no R here")
def test_an_r_program(runner_for: Callable[..., Runner], sandbox: ServedSandbox, trigger_id: str) -> None:
    runner = runner_for().copy("tournament-rlang")
    code, out = runner("-m", "numerai_node", "exec", "--csv", "--", "Rscript", "--vanilla", "predict.R")
    assert code == 0, out
    assert accepted(sandbox, trigger_id)


@posix
def test_the_program_does_not_see_the_keys(program: Runner, sandbox: ServedSandbox) -> None:
    code, out = program("-m", "numerai_node", "exec", "--", "sh", "-c", "env; echo NUMERAI_PREDICTIONS; exit 9")
    assert code == 9, out
    assert "NUMERAI_PREDICTIONS=" in out
    assert f"MODEL_ID={sandbox.models['alice']}" in out
    assert sandbox.public_id not in out
    assert "NUMERAI_SECRET_KEY" not in out
    assert submissions(sandbox) == []


def test_genuine_rows(
    sandbox_factory: Callable[..., ServedSandbox], runner_for: Callable[..., Runner], trigger_id: str
) -> None:
    data = os.environ.get("NUMERAI_REAL_DATA")
    if not data:
        pytest.skip("NUMERAI_REAL_DATA names no folder with genuine rows")
    served = sandbox_factory(data=Path(data))
    code, out = runner_for(served=served).copy("tournament-python3")("predict.py")
    assert code == 0, out
    assert "trained trees=1000 features=10 rows=4970" in out
    assert "checked rows=2755" in out
    assert accepted(served, trigger_id)
