"""An old model is trained again after a submission, beside the one in use, and nothing that goes wrong costs either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from numerai_node import retraining
from numerai_node.node import Node
from numerai_node.retraining import Record, Retraining, read_record, write_record
from numerai_node.settings import from_environment

from tests.listeners import http_inbox

from .conftest import Stub
from .test_running import posix, predictions_file, start  # noqa: F401  (a fixture)

MakeNode = Callable[..., Node]
NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
OLD = Record(NOW - timedelta(days=31))
TRAIN = """
import json, os, sys
from pathlib import Path
folder = Path(os.environ["NUMERAI_ARTIFACTS"])
seen = {name: os.environ.get(name) for name in ("NUMERAI_SECRET_KEY", "NUMERAI_NOTIFY", "NUMERAI_DATA_VERSION")}
(folder / "model.txt").write_text("new")
(folder / "sub").mkdir()
(folder / "sub" / "seen.json").write_text(json.dumps(seen))
"""


@pytest.fixture
def retrain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs a script in place of train.py beside an old model; returns the artifacts folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "HUSH")
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / "model.txt").write_text("old")

    def go(script: str, record: Record = OLD, left: float | None = None, now: datetime = NOW) -> Path:
        (tmp_path / "train.py").write_text(script)
        if record != Record():
            write_record(folder, record)
        Retraining("numerai-alice", "r1", folder, Path("train.py"), "v5.3", lambda: now, lambda: left).if_due(30)
        return folder

    return go


@pytest.mark.parametrize(
    ("record", "due"),
    [
        (Record(NOW - timedelta(days=30)), True),
        (Record(NOW - timedelta(days=29, hours=23)), False),
        (Record(NOW + timedelta(days=1)), False),
        (Record(), True),
        (Record(NOW, NOW, "it failed"), False),
    ],
    ids=["old", "young", "from the future", "of an unknown age", "failed once"],
)
def test_a_model_is_due_by_its_age(record: Record, due: bool) -> None:
    assert record.is_due(30, NOW) is due


def test_an_old_model_is_replaced_by_a_program_that_gets_no_keys(retrain: Callable[..., Path]) -> None:
    folder = retrain(TRAIN)
    assert (folder / "model.txt").read_text() == "new"
    seen = json.loads((folder / "sub" / "seen.json").read_text())
    assert seen == {"NUMERAI_SECRET_KEY": None, "NUMERAI_NOTIFY": None, "NUMERAI_DATA_VERSION": "v5.3"}
    assert read_record(folder) == Record(NOW, run="r1", files=("model.txt", "sub/seen.json"))
    assert sorted(path.name for path in folder.iterdir()) == ["model.txt", "sub", "training.json"]


def test_a_young_model_is_left_alone(retrain: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = retrain(TRAIN, Record(NOW - timedelta(days=29)))
    assert (folder / "model.txt").read_text() == "old"
    assert "model trained_at=2026-10-30T12:00:00+00:00 retrain_days=30" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "left", "why"),
    [
        (TRAIN + "sys.exit(78)", None, "exit code 78 (a configuration error)"),
        (TRAIN + "os._exit(1)", None, "exit code 1"),
        ("", None, "has kept no model"),
        (TRAIN, 119.0, "119 s of the run's time are left"),
    ],
    ids=["fails", "crashes", "keeps nothing", "no time"],
)
def test_a_training_that_fails_leaves_the_old_model_and_is_remembered(
    retrain: Callable[..., Path], capsys: pytest.CaptureFixture[str], script: str, left: float | None, why: str
) -> None:
    folder = retrain(script, left=left)
    assert (folder / "model.txt").read_text() == "old"
    kept = read_record(folder)
    assert (kept.trained_at, kept.failed_at) == (OLD.trained_at, NOW)
    assert why in (kept.why or "")
    assert "the old one stays" in capsys.readouterr().out
    later = NOW + timedelta(days=1)
    retrain(script, kept, left=left, now=later)
    assert read_record(folder).failed_at == NOW, "since when"
    retrain(TRAIN, kept, now=later)
    assert read_record(folder).trained_at == later and read_record(folder).failed_at is None


@pytest.mark.slow
def test_a_training_that_takes_too_long_is_stopped(
    retrain: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "LEAST_SECONDS", 0.0)
    folder = retrain(TRAIN + "import time; time.sleep(600)", left=retraining.SPARE_SECONDS + 0.3)
    assert (folder / "model.txt").read_text() == "old"
    assert "--timeout-minutes" in (read_record(folder).why or "")
    assert not (folder / retraining.STAGING).exists()


def test_what_a_killed_training_left_is_no_model(retrain: Callable[..., Path], tmp_path: Path) -> None:
    left = tmp_path / "artifacts" / retraining.STAGING / "model.txt"
    left.parent.mkdir()
    left.write_text("half")
    folder = retrain("import os; assert not os.listdir(os.environ['NUMERAI_ARTIFACTS'])")
    assert (folder / "model.txt").read_text() == "old" and not left.exists()


@pytest.mark.slow
def test_people_are_told_once(retrain: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with http_inbox() as inbox:
        monkeypatch.setenv("NUMERAI_NOTIFY", f"json://127.0.0.1:{inbox.port}")
        folder = retrain("raise SystemExit(3)")
        retrain("raise SystemExit(3)", read_record(folder))
        titles = [body["title"] for _, body in inbox.posts]
    assert titles == ["numerai-alice: its model is not trained again"]


def test_a_record_that_cannot_be_read_or_kept_is_none(
    tmp_path: Path, make_node: MakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ("{", "[]", '{"trained_at": 5}'):
        (tmp_path / "training.json").write_text(content)
        assert read_record(tmp_path) == Record()
    node = make_node()
    (node.artifacts / "training.json").mkdir()
    node.remember_training()
    assert "training.json cannot be kept" in capsys.readouterr().out


@pytest.mark.parametrize("days", ["0.5.", "-1", "many"])
def test_days_that_are_none_are_named(days: str) -> None:
    with pytest.raises(Exception, match="NUMERAI_RETRAIN_DAYS is malformed"):
        from_environment({"NUMERAI_RETRAIN_DAYS": days})


@pytest.mark.parametrize(("minutes", "limit"), [("60", 60.0), ("0.5", 0.5), ("0", None), ("many", None)])
def test_a_time_limit_that_is_none_costs_no_round(minutes: str, limit: float | None) -> None:
    assert from_environment({"NUMERAI_TIMEOUT_MINUTES": minutes}).timeout_minutes == limit


@pytest.mark.slow
def test_nothing_is_trained_without_the_setting_or_before_a_submission(
    make_node: MakeNode, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    node = make_node(NUMERAI_RETRAIN_DAYS="30")
    node.retrain()
    assert "after a submission only" in capsys.readouterr().out
    node.submit(Path(predictions_file(tmp_path)))
    node.remember_training()
    node.retrain()
    without = make_node()
    without.submit(Path(predictions_file(tmp_path)))
    without.retrain()
    assert not (node.artifacts / "model.txt").exists(), "it is young, and the other has no setting"
    write_record(node.artifacts, Record(datetime.now(timezone.utc) - timedelta(days=30)))
    node.retrain()
    assert (node.artifacts / "model.txt").read_text() == "new"


@pytest.mark.slow
@pytest.mark.parametrize(("script", "code"), [(TRAIN, 0), (TRAIN + "sys.exit(78)", 78), ("", 1), (None, 1)])
def test_a_run_that_only_trains_does_nothing_else(
    start: Callable[..., subprocess.Popen[str]],  # noqa: F811
    stub: Stub,
    tmp_path: Path,
    script: str | None,
    code: int,
) -> None:
    artifacts = tmp_path / "kept"
    if script is not None:
        (tmp_path / "train.py").write_text("import os; assert 'NUMERAI_TRAIN' not in os.environ\n" + script)
    (tmp_path / "predict.py").write_text(
        "from numerai_node import run_and_submit\nrun_and_submit(lambda node: print('predicts'))\n"
    )
    told = {"NUMERAI_TRAIN": "1", "NUMERAI_NO_SUBMIT": "1", "NUMERAI_RUN_ID": "r7"}
    process = start("predict.py", changes={**told, "NUMERAI_ARTIFACTS": str(artifacts)})
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code, out
    assert "predicts" not in out and not stub.created
    assert (artifacts / "model.txt").exists() is (code == 0)
    assert (read_record(artifacts).run == "r7") is (code == 0)


@posix
@pytest.mark.slow
def test_a_run_that_is_told_to_stop_while_it_trains_has_submitted_all_the_same(
    start: Callable[..., subprocess.Popen[str]],  # noqa: F811
    stub: Stub,
    tmp_path: Path,
) -> None:
    artifacts = tmp_path / "kept"
    artifacts.mkdir()
    (artifacts / "model.txt").write_text("old")
    (tmp_path / "train.py").write_text(TRAIN + "print('training', flush=True); import time; time.sleep(600)")
    (tmp_path / "predict.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom numerai_node import run_and_submit\n"
        "def main(node):\n    node.submit(Path(sys.argv[1]))\n    node.retrain()\n"
        "run_and_submit(main)\n"
    )
    changes = {"NUMERAI_RETRAIN_DAYS": "1", "NUMERAI_ARTIFACTS": str(artifacts)}
    process = start("predict.py", predictions_file(tmp_path), changes=changes)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "training\n":
            break
    os.kill(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert len(stub.created) == 1 and (artifacts / "model.txt").read_text() == "old"
    assert "told to stop" in (read_record(artifacts).why or "")
