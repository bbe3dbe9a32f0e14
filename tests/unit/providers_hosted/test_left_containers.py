"""What a killed rehearsal has left is removed by the next one, and nothing of a rehearsal that goes on beside it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest
from numerai_compute.ports import ContainerEngine, ContainerSpec
from numerai_compute.providers.hosted.environments import Environment
from numerai_compute.providers.hosted.rehearsal import LABEL, ContainerWorkbench, Limits


class Engine:
    """Has containers with labels, and takes no new one."""

    def __init__(self, containers: dict[str, dict[str, str]]):
        self.there = containers

    def containers(self, label: str) -> dict[str, dict[str, str]]:
        return {name: labels for name, labels in self.there.items() if label in labels}

    def remove_container(self, name: str) -> None:
        del self.there[name]

    def create_container(self, spec: ContainerSpec) -> None:
        self.there[spec.name] = dict(spec.labels)
        raise RuntimeError("killed here")


def test_a_rehearsal_removes_what_is_over_its_time_and_nothing_else(tmp_path: Path) -> None:
    others = {"another": {}, "going on": {LABEL: str(int(time.time()) + 60)}}
    engine = Engine({"left": {LABEL: str(int(time.time()) - 60)}, **others})
    environment = Environment("image", "an image")
    bench = ContainerWorkbench(cast(ContainerEngine, engine), environment, Limits(seconds=10), tmp_path)
    with pytest.raises(RuntimeError, match="killed here"):
        bench.pack({}, "predict", tmp_path / "model.pkl", lambda line: None)
    (own,) = set(engine.there) - set(others)
    assert own != "left" and int(engine.there[own][LABEL]) > time.time() + 10
