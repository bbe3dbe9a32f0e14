"""A model that is deployed: its gate's warnings are in every form of the result, and others are compared with it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.modelling.runtime import DEPLOYED

from tests.unit.commands import test_validate
from tests.unit.commands.conftest import Line
from tests.unit.usecases.test_ship import made

data = test_validate.data


@pytest.fixture
def ready(line: Line, folder: Path) -> Line:
    """A node whose code reads a model, which is not deployed yet."""
    (folder / "predict.py").write_text("model = node.model()\n")
    assert line("node", "-m", "alice", "config", "-p", str(folder)).exit_code == 0
    return line


def test_what_the_gate_finds_is_in_the_result_and_in_the_plan(ready: Line, folder: Path, tmp_path: Path) -> None:
    deploy = ("node", "deploy", "--model-file", str(made(tmp_path / "new.model")), "--gate", "warn")
    plan = ready(*deploy, "--dry-run", "--json").json
    (warned,) = [note for note in plan["notes"] if "new.model" in note]
    assert "cannot be looked at" in warned and not (folder / DEPLOYED).exists()
    human = ready(*deploy, "--dry-run")
    assert warned in human.out and "Warning" not in human.err
    answer = ready(*deploy, "--json")
    assert answer.json["warnings"] == [warned] and f"Warning: {warned}" in answer.err
    assert answer.json["node"] == "numerai-alice" and answer.json["changed"] is True
    assert ready("node", "deploy", "--json").json["warnings"] == []


def test_a_rollback_names_the_command_that_deploys_the_model_before(ready: Line, tmp_path: Path) -> None:
    one, other = made(tmp_path / "a.model", 1), made(tmp_path / "b.model", 2)
    for model in (one, other):
        ready("node", "deploy", "--model-file", str(model), "--gate", "off")
    refused = ready("node", "rollback", "--json").json["error"]
    command = refused["hint"].split("`")[1]
    assert refused["code"] == "not-supported" and "numerai node -m numerai-alice deploy --model-file" in command
    assert Path(shlex.split(command)[-1]).read_bytes() == one.read_bytes()


def test_what_model_names_is_said_both_ways_where_it_is_neither(ready: Line, tmp_path: Path) -> None:
    absent = tmp_path / "absent.model"
    no_file = ready("node", "deploy", "--model", str(absent))
    assert no_file.exit_code == 2 and f"{absent} is no file" in " ".join(no_file.err.split())
    assert "`numerai node list`" in no_file.err and "--model-file" in no_file.err
    no_model = ready("node", "deploy", "--model", "absent", "--json")
    assert no_model.exit_code == 2 and no_model.json["error"]["code"] == "unknown-node"
    assert "a file ends in .model" in no_model.json["error"]["hint"]
    assert ready("node", "status", "--model", "absent", "--json").json["error"]["hint"] is None


def judged(line: Line, data: Path, *more: str) -> tuple[dict[str, Any], list[str]]:
    """The validation of a new model against the node, and what is noted about the node."""
    answer = line("validate", str(data / "new.model"), "--data", str(data), "--json", *more)
    assert answer.exit_code == 0, answer.err
    return answer.json, [note for note in answer.json["notes"] if "alice" in note or "deployed" in note]


@pytest.mark.slow
def test_models_are_compared_with_the_one_that_a_node_runs(ready: Line, folder: Path, data: Path) -> None:
    made(data / "new.model", 2)
    ready("node", "deploy", "--model-file", str(made(data / "old.model", 1)), "--gate", "off")
    for name in ("alice", "numerai-alice"):
        found, notes = judged(ready, data, str(data / "old.model"), "--against", name)
        assert found["against"] == "numerai-alice" and notes == []
        new, old, deployed = found["models"]
        assert deployed["metrics"] == old["metrics"] != new["metrics"] and deployed["source"] == str(folder / DEPLOYED)
        assert old["similarity"]["deployed"] == pytest.approx(1) and new["similarity"]["deployed"] < 1
    output = data / "new.json"
    judged(ready, data, "--against", "alice", "--output", str(output))
    assert ready("report", str(output)).exit_code == 0
    assert "What changed against the deployed model" in output.with_suffix(".html").read_text()
    refused = ready("validate", str(data / "new.model"), "--data", str(data), "--against", "alice", "--output",
                    str(folder / DEPLOYED))  # fmt: skip
    assert refused.exit_code == 2 and "not written over" in refused.err


@pytest.mark.slow
def test_what_is_not_certain_of_a_nodes_model_is_said(ready: Line, folder: Path, data: Path) -> None:
    made(data / "new.model", 2)
    shutil.copyfile(made(data / "old.model", 1), folder / DEPLOYED)
    assert "numerai-alice is not deployed" in judged(ready, data, "--against", "alice")[1][0]
    ready("node", "deploy")
    ready.provider.hash = "another"
    found, notes = judged(ready, data, "--against", "alice")
    assert found["against"] == "numerai-alice" and "is not what was deployed" in notes[0]


def test_a_model_that_cannot_be_compared_with_is_said_and_the_others_are_judged(
    ready: Line,
    folder: Path,
    data: Path,
) -> None:
    made(data / "new.model", 2)
    found, notes = judged(ready, data, "--against", "alice")
    assert "against" not in found and "its code has its model from elsewhere" in notes[0]
    (folder / DEPLOYED).write_bytes(b"PK damaged")
    found, notes = judged(ready, data, "--against", "alice")
    assert "against" not in found and any("It is not compared with what is deployed" in note for note in notes)
    assert len(found["models"]) == 1
    shutil.rmtree(folder)
    assert "is not here" in judged(ready, data, "--against", "alice")[1][0]
    answer = ready("validate", str(data / "new.model"), "--data", str(data), "--against", "bob")
    assert answer.exit_code == 2 and "There is no model bob" in answer.err


def test_a_name_in_two_tournaments_is_asked_about(ready: Line, data: Path) -> None:
    from dataclasses import replace

    from numerai_compute.adapters.state_store import HomeStore

    store = HomeStore(ready.home)
    store.save_node(replace(store.nodes()["numerai-alice"], name="signals-alice", tournament=11))
    answer = ready("validate", str(made(data / "new.model")), "--data", str(data), "--against", "alice")
    assert answer.exit_code == 2 and "numerai-alice, signals-alice" in answer.err
