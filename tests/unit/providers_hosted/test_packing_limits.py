"""What is said where packing itself takes too much, and what a command that was killed leaves."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import cloudpickle
import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.ports import ContainerEngine, ContainerSpec, ContainerState
from numerai_compute.providers.hosted.environments import Environment
from numerai_compute.providers.hosted.inside import pack
from numerai_compute.providers.hosted.packing import FOLDER, working_folder
from numerai_compute.providers.hosted.rehearsal import PROGRAMS, ContainerWorkbench, Limits

ENDED, RUNS = ContainerState("exited", 0, False, {}), ContainerState("running", 0, False, {})
KILLED = ContainerState("exited", 137, True, {})


class Engine:
    """Runs nothing: each container stands as `state` says, has printed a line, and leaves `result`."""

    def __init__(self, state: ContainerState, result: Mapping[str, Any] | None = None):
        self.state, self.result = state, result
        self.removed = 0

    def create_container(self, spec: ContainerSpec) -> bool:
        return True

    def containers(self, label: str) -> dict[str, dict[str, str]]:
        return {}

    def container(self, name: str) -> ContainerState:
        return self.state

    def container_output(self, name: str) -> list[tuple[int, bytes]]:
        return [(1, b"2026-01-01T00:00:00Z reading the weights\n")]

    def get_file(self, name: str, path: str, target: Path) -> bool:
        if self.result is not None:
            target.write_text(json.dumps(self.result))
        return self.result is not None

    def remove_container(self, name: str) -> None:
        self.removed += 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.mark.parametrize(
    ("state", "result", "says"),
    [
        (KILLED, None, "needs more than the 4 GiB of memory"),
        (ENDED, {"why": "MemoryError: ", "kind": "memory"}, "needs more than the 4 GiB of memory"),
        (RUNS, None, "takes longer than the 1 minutes"),
        (ENDED, None, "it ended without saying why"),
    ],
)
def test_packing_that_takes_too_much_is_called_that_and_no_rehearsal(
    tmp_path: Path, state: ContainerState, result: Mapping[str, Any] | None, says: str
) -> None:
    engine, said = Engine(state, result), list[str]()
    bench = ContainerWorkbench(cast(ContainerEngine, engine), Environment("i", "i"), Limits(seconds=60), PROGRAMS)
    with pytest.raises(NumeraiError, match=rf"^The model cannot be packed: .*{says}") as refused:
        bench.pack({}, "predict", tmp_path / "m.pkl", said.append)
    assert refused.value.code == "not-packed" and "rehearsal" not in refused.value.in_full and refused.value.hint
    assert engine.removed == 1 and said == ["  reading the weights"]


@pytest.mark.parametrize(
    "code", ["raise MemoryError\n", "class P:\n    def __reduce__(self):\n        raise MemoryError\n"]
)
def test_running_out_of_memory_is_told_from_what_cannot_be_packed(
    tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"{code}HELD = P()\ndef predict(live_features):\n    return HELD\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [])
    pack.main(str(tmp_path), name, str(tmp_path / "m.pkl"), str(tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text())["kind"] == "memory"


def test_the_pickle_is_written_as_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(_: object) -> bytes:
        raise AssertionError("the whole pickle is held beside the model")

    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text("def predict(live_features):\n    return 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    monkeypatch.setattr(cloudpickle, "dumps", both)
    pack.pack(str(tmp_path), name, str(tmp_path / "m.pkl"))
    assert cloudpickle.loads((tmp_path / "m.pkl").read_bytes())(None) == 7


def test_folders_that_a_killed_deploy_has_left_are_removed_once_no_deploy_can_be_that_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, age in ((f"{FOLDER}old", 2 * 86400), (f"{FOLDER}going-on", 60), ("other", 2 * 86400)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "live.parquet").write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with working_folder() as folder:
        there = {path.name for path in tmp_path.iterdir()}
        assert there == {f"{FOLDER}going-on", "other", folder.name} and folder.name.startswith(FOLDER)
    assert not folder.exists()
