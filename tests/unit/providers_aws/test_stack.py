"""The cluster's record and its Terraform: who may change it when, and what tells one version from another."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from numerai_compute.errors import NumeraiError, ProviderError
from numerai_compute.providers.aws.cluster_outputs import ClusterOutputs
from numerai_compute.providers.aws.settings import AwsPaths
from numerai_compute.providers.aws.stack_file import StackFile
from numerai_compute.providers.aws.terraform import root_hash, terraform_root

from .conftest import World, quiet


def test_one_command_at_a_time_changes_the_cluster(home: Path) -> None:
    file = StackFile(AwsPaths(home))
    said: list[str] = []
    with file.lock(quiet):
        with pytest.raises(NumeraiError) as busy, StackFile(AwsPaths(home)).lock(said.append, seconds=0.05):
            pass
        assert busy.value.code == "busy"
    assert said == ["Waiting for another numerai command that changes the cluster"]
    with file.lock(pytest.fail):
        pass


def test_two_commands_lose_nothing_of_each_other(world: World) -> None:
    nodes = [world.node(f"n{number}") for number in range(8)]
    threads = [threading.Thread(target=world.provider.configure, args=(node, quiet)) for node in nodes[:1]]
    record = world.stack_record()
    threads += [
        threading.Thread(target=world.parts.cluster.file.set_node, args=(node.name, record)) for node in nodes[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(world.stack().nodes) == {node.name for node in nodes}


@pytest.mark.skipif("os.name != 'posix'")
def test_the_record_is_for_its_owner_only(world: World) -> None:
    world.configured()
    assert world.parts.paths.stack.stat().st_mode & 0o077 == 0
    assert world.parts.paths.root.stat().st_mode & 0o077 == 0
    assert world.stack().nodes["numerai-alice"].token not in repr(world.stack())


def test_every_change_of_the_description_is_seen(tmp_path: Path) -> None:
    assert (terraform_root() / "main.tf").is_file()
    (tmp_path / "main.tf").write_bytes(b"a\n")
    first = root_hash(tmp_path)
    (tmp_path / "main.tf").write_bytes(b"a\r\n")
    assert root_hash(tmp_path) == first
    (tmp_path / "notes.md").write_text("x")
    assert root_hash(tmp_path) == first
    (tmp_path / "main.tf").write_bytes(b"b\n")
    assert root_hash(tmp_path) != first


def test_outputs_of_an_unfinished_cluster_say_what_to_do() -> None:
    outputs = ClusterOutputs({})
    for ask in (lambda: outputs.text("webhook_table"), lambda: outputs.node("numerai-alice")):
        with pytest.raises(ProviderError) as unfinished:
            ask()
        assert unfinished.value.code == "not-configured"
    assert (outputs.nodes, outputs.queues) == ({}, {})
