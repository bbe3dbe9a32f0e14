"""`numerai train`: what it shows while it works, and what it ends with."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.data_files import HttpDataFiles
from numerai_compute.commands.train import _Watch
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.modelling.training import Progress
from numerai_compute.models import LogLine, Node, Run, RunState
from numerai_compute.render import Renderer
from numerai_compute.usecases import train as usecase
from rich.console import Console

from tests.fakes import FakeProvider
from tests.fixtures.sandbox import ServedSandbox
from tests.unit.commands.conftest import Line
from tests.unit.usecases.test_train import TOML, make_data


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "model.toml").write_text(TOML)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "v5.3")


def test_a_newcomer_gets_a_model_toml_and_the_next_command(line: Line, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    answer = line("train", "--new", str(folder))
    assert answer.exit_code == 0 and f"Next: numerai train {folder}" in answer.out
    assert (folder / "model.toml").is_file()
    again = line("train", "--new", str(folder), "--json")
    assert again.exit_code == 2 and again.json["error"]["code"] == "would-overwrite"


@pytest.mark.slow
def test_a_training_ends_with_what_came_out_and_says_when_nothing_is_to_do(line: Line, model: Path, data: Path) -> None:
    answer = line("train", str(model), "--data", str(data), "--threads", "1")
    assert answer.exit_code == 0
    assert (
        "my-model.model is trained" in answer.out
        and "small, target, seed 0  5      0.4591  mean CORR was highest here, of 20" in answer.out
    )
    assert "CORR of 3 held-out eras: mean" in answer.out
    assert "720 rows to train on, 180 held out" in answer.err
    assert "5 of 20 trees" in answer.err and "20 of 20 trees: all trees are trained" in answer.err
    assert "is up to date" in line("train", str(model), "--data", str(data)).out


@pytest.mark.slow
def test_as_json_each_block_is_a_line_and_the_last_is_the_result(line: Line, model: Path, data: Path) -> None:
    lines = [json.loads(each) for each in line("train", str(model), "--data", str(data), "--json").out.splitlines()]
    assert [each["event"] for each in lines] == ["block"] * 4 + ["trained"]
    assert [each["trees"] for each in lines[:-1]] == [5, 10, 15, 20]
    assert lines[0]["corr"] != lines[1]["corr"] and lines[3]["seconds_left"] == 0
    assert lines[-1]["artifact"] == str(model / "my-model.model") and lines[-1]["metrics"]["corr"]["eras"] == 3


@pytest.mark.slow
def test_ctrl_c_loses_nothing_and_the_same_command_goes_on(
    line: Line, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = usecase.train_folder

    def interrupted(*arguments: Any, report: Any, **named: Any) -> Any:
        def cut(progress: Progress) -> None:
            report(progress)
            if progress.trees == 12:
                raise KeyboardInterrupt

        return trained(*arguments, report=cut, **named)

    with monkeypatch.context() as patch:
        patch.setattr(usecase, "train_folder", interrupted)
        answer = line("train", str(model), "--data", str(data))
    assert answer.exit_code == 130 and "run the same command again to go on" in answer.err
    lines = line("train", str(model), "--data", str(data), "--json").out.splitlines()
    assert [json.loads(each)["trees"] for each in lines[:-1]] == [15, 20]


@pytest.fixture
def trained(
    sandbox: ServedSandbox, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """The folder of a model that was trained on data from the sandbox."""
    monkeypatch.setenv("NUMERAI_API_URL", sandbox.url)
    monkeypatch.setenv("NUMERAI_CACHE", str(home / "cache"))
    assert run(["train", str(model)], Factory(home)) == 0
    assert "on v5.3" in capsys.readouterr().out
    return model


@pytest.mark.slow
def test_the_data_come_from_numerai_once_and_are_then_used_as_they_are(
    trained: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = (home / "cache").glob("api-*/v5.3")
    monkeypatch.setattr(HttpDataFiles, "download", lambda *_: pytest.fail("it is downloaded again"))
    assert run(["train", str(trained), "--data", "v5.3", "--again"], Factory(home)) == 0
    assert f"The data are here: {folder}" in capsys.readouterr().err


@pytest.mark.slow
def test_data_of_another_numerai_are_never_trained_on(
    trained: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMERAI_API_URL", "http://127.0.0.1:9")
    assert run(["train", str(trained), "--data", "v5.3", "--again"], Factory(home)) == 1
    assert "cannot be reached" in capsys.readouterr().err


def progress(trees: int, *corrs: float | None, **more: Any) -> Progress:
    curve = tuple((100 * (number + 1), corr) for number, corr in enumerate(corrs))
    named = {"seconds_left": 4000.0, "block_ended": False, **more}
    return Progress(0, 2, "small, target, seed 0", trees, 2000, curve, **named)


def test_at_a_terminal_the_curve_so_far_is_drawn_in_place() -> None:
    render, shown = Renderer(), list[str]()
    render.__dict__["_out"] = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    seconds = iter(range(10))
    watch = _Watch(render, shown.append, clock=lambda: next(seconds))
    watch.report(progress(1))
    watch.report(progress(2, 0.01, 0.02, 0.03, 0.02))
    assert shown == [
        "[1/2] small, target, seed 0: 1 of 2,000 trees, 1 h 7 min left\nCORR is measured after the first block",
        "[1/2] small, target, seed 0: 2 of 2,000 trees, 1 h 7 min left\n▁▅█▅  CORR 0.0200, highest 0.0300 after 300",
    ]


def test_a_terminal_is_not_redrawn_for_each_tree_and_a_member_s_end_is_always_shown() -> None:
    shown: list[str] = []
    watch = _Watch(Renderer(), shown.append, clock=lambda: 0.0)
    for tree in range(5):
        watch.report(progress(tree))
    watch.report(progress(5, 0.01, block_ended=True, ended="all trees are trained", seconds_left=30.0))
    assert len(shown) == 2 and "5 of 2,000 trees: all trees are trained, 30 s left" in shown[1]


def test_live_lines_are_shown_at_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    render = Renderer()
    with render.live() as show:
        assert show is None
    stream = io.StringIO()
    render.__dict__["_err"] = Console(file=stream, force_terminal=True, width=80)
    with render.live() as show:
        assert show is not None
        show("one\x1b[2Jtwo")
    assert "one\N{REPLACEMENT CHARACTER}[2Jtwo" in stream.getvalue()
    render.json = True
    with render.live() as show:
        assert show is None


class TrainingProvider(FakeProvider):
    """A provider whose runs train, and leave two files and a record of them."""

    kept: dict[str, bytes] | None = None

    def train(self, node: Node) -> Run:
        run = self.trigger(node, f"no-submit-train-{len(self.all_runs)}")
        record = {"run": run.id, "files": ["model.txt", "sub/about.json"]}
        self.kept = {"model.txt": b"tree", "sub/about.json": b"{}", "training.json": json.dumps(record).encode()}
        return run

    def artifact(self, node_name: str, name: str) -> bytes | None:
        return (self.kept or {}).get(name)


@pytest.fixture
def trainable(line: Line, tmp_path: Path) -> Line:
    line.provider = TrainingProvider()
    line("node", "-m", "alice", "config", "-e", "tournament-python3", "-p", str(tmp_path / "node"))
    line("node", "deploy")
    return line


def test_a_node_trains_on_its_provider_and_its_files_come_here(trainable: Line, tmp_path: Path) -> None:
    trainable.provider.printed = ["trained trees=20"]
    answer = trainable("train", "--on", "alice", "-o", str(tmp_path / "here"))
    assert answer.exit_code == 0, answer.err
    assert "trained trees=20" in answer.out and "is trained: its next run predicts with it" in answer.out
    assert (tmp_path / "here" / "model.txt").read_bytes() == b"tree"
    assert (tmp_path / "here" / "sub" / "about.json").read_bytes() == b"{}"
    assert trainable.provider.awake
    last = trainable("train", "--on", "numerai-alice", "--json").out.splitlines()[-1]
    assert json.loads(last)["files"] == ["model.txt", "sub/about.json"]


def test_a_training_that_fails_says_why(trainable: Line) -> None:
    trainable.provider.ending = {"state": RunState.FAILED, "exit_code": 78, "message": "It ended with exit code 78."}
    refused = trainable("train", "--on", "alice")
    assert refused.exit_code == 1 and "ended as failed. It ended with exit code 78." in refused.err
    assert "logs --run run-1" in refused.err
    trainable.provider.ending = {"state": RunState.SUCCEEDED, "exit_code": 79}
    refused = trainable("train", "--on", "alice")
    assert refused.exit_code == 1 and "predicted instead of training" in refused.err


def test_what_cannot_train_is_said_before_anything_runs(trainable: Line, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    code = (folder / "train.py").read_text()
    requirements = folder / "requirements.txt"
    named = requirements.read_text()
    requirements.write_text("\n".join(each for each in named.splitlines() if "lightgbm" not in each))
    assert "lacks lightgbm, which train.py imports" in trainable("train", "--on", "alice").err
    requirements.write_text(named)
    dockerfile = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(dockerfile.replace("ARG LIGHTGBM=yes", "ARG LIGHTGBM=no"))
    assert "lacks lightgbm" in trainable("train", "--on", "alice").err
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "train.py").write_text("from numerai_compute.usecases.train import train_folder\n" + code)
    assert "lacks numerai_compute" in trainable("train", "--on", "alice").err
    (folder / "train.py").unlink()
    assert "has no train.py" in trainable("train", "--on", "alice").err
    (folder / "train.py").write_text(code)
    trainable.provider.hash = "changed since"
    assert "has changed since the deploy" in trainable("train", "--on", "alice").err
    trainable.provider.deployments.clear()
    assert trainable("train", "--on", "alice", "--json").json["error"]["code"] == "not-deployed"
    assert trainable.provider.all_runs == []
    trainable.provider = FakeProvider()
    assert "cannot start a run that only trains" in trainable("train", "--on", "alice").err


def test_a_hostile_record_names_no_file_elsewhere(trainable: Line, tmp_path: Path) -> None:
    provider = trainable.provider
    assert isinstance(provider, TrainingProvider)
    usual = provider.train

    def train(node: Node) -> Run:
        run = usual(node)
        provider.kept = {"training.json": json.dumps({"run": run.id, "files": ["../up"]}).encode(), "../up": b"x"}
        return run

    provider.train = train  # type: ignore[method-assign]
    refused = trainable("train", "--on", "alice", "-o", str(tmp_path / "here"))
    assert refused.exit_code == 1 and "names no file inside a folder" in refused.err
    assert not (tmp_path / "up").exists()


def test_an_interrupted_look_leaves_the_training(trainable: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainable.provider, "logs", interrupt)
    answer = trainable("train", "--on", "alice")
    assert answer.exit_code == 130 and "goes on as run run-1" in answer.err and "cancel run-1" in answer.err


@pytest.mark.parametrize(
    "more", [("folder",), ("--new",), ("--data", "v5.3"), ("--threads", "2"), ("--again",)], ids=lambda more: more[0]
)
def test_what_says_how_to_train_here_does_not_go_with_a_node(trainable: Line, more: tuple[str, ...]) -> None:
    refused = trainable("train", "--on", "alice", *more)
    assert refused.exit_code == 2 and "does not go with --on" in refused.err


def test_the_output_goes_with_a_node_only(line: Line, tmp_path: Path) -> None:
    assert line("train", str(tmp_path), "-o", str(tmp_path / "here")).exit_code == 2
