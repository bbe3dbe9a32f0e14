"""A node moves between two providers that are both real, with what its runs have kept."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Model, Node, RunState
from numerai_compute.ports import Provider
from numerai_compute.usecases.configure import Configured, NodeRequest, configure_node
from numerai_compute.usecases.deploy import deploy_node
from numerai_compute.usecases.move import Mover

from tests.fakes import FakeApi

from .local_bench import LocalBench, local_bench
from .provider_suite import ended, quiet, texts, trigger

TRAIN = """
import os, pathlib
model = pathlib.Path(os.environ["NUMERAI_ARTIFACTS"], "model.txt")
print(model.read_text() if model.exists() else "trains")
model.write_text("trained")
"""


class Setting:
    """A node of one account, and the providers it goes between."""

    def __init__(self, folder: Path, sides: dict[str, LocalBench]):
        self.store, self.api = HomeStore(folder / "home", {}), FakeApi([Model("id-alice", "alice", 8)])
        self.sides = sides
        for name, side in sides.items():
            side.provider.name = name
            side.nodes.append("numerai-alice")

    def provider(self, name: str) -> Provider:
        return self.sides[name].provider

    def config(self, **asked: object) -> Node:
        common: dict[str, object] = {
            "api": self.api,
            "store": self.store,
            "provider_named": self.provider,
            "digest_of": lambda image: None,
            "report": quiet,
            "insist": quiet,
            "take_over": quiet,
        }
        move = Mover(agree=lambda plan: None, **common).move  # type: ignore[arg-type]
        done = configure_node(
            NodeRequest(**asked),  # type: ignore[arg-type]
            "alice",
            None,
            agree=lambda preview: None,
            move=move,
            **common,  # type: ignore[arg-type]
        )
        assert isinstance(done, Configured)
        return done.node

    def called(self, trigger_id: str) -> list[str]:
        """What a run prints that Numerai's call of now has started."""
        answer = trigger(str(self.api.by_id["id-alice"].webhook), trigger_id)
        assert answer.status == 200
        provider = self.provider(self.store.nodes()["numerai-alice"].provider)
        run = ended(provider, answer.content["runId"])
        assert run.state is RunState.SUCCEEDED, run.message
        return texts(provider, run.id)


@pytest.mark.docker
def test_a_node_goes_from_processes_to_containers_and_back_with_what_it_has_trained(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(local_bench(tmp_path / name, executor))
            for name, executor in (("local", "process"), ("other", "docker"))
        }
        setting = Setting(tmp_path, sides)
        made = sides["local"].node(TRAIN)
        node = setting.config(path=Path(made.path), size="gen-sm")
        deploy_node(node, setting.provider("local"), setting.store, quiet, force=False)
        assert setting.called("first") == ["trains"] and setting.called("second") == ["trained"]
        for name, other in (("other", "local"), ("local", "other")):
            moved = setting.config(provider=name)
            assert (moved.provider, moved.also_on) == (name, None)
            assert setting.called(f"on-{name}") == ["trained"]
            assert sides[other].traces(moved) == []
