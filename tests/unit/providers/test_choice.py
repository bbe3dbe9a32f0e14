"""Containers or processes: decided once, recorded, never changed because an engine is down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError, UsageError
from numerai_compute.models import Check, CheckStatus, Deployment, Keys, Node
from numerai_compute.ports import ContainerEngine
from numerai_compute.providers.local.parts import LocalParts
from numerai_compute.providers.local.provider import LocalProvider
from numerai_compute.providers.local.rehearsal import LocalRehearsal
from numerai_compute.providers.registry import ProviderContext
from numerai_compute.usecases.deploy import deploy_node, how_it_runs, plan_deploy

from tests.present import present

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
CODES = ("no-engine", "engine-forbidden")


class Engine:
    """An engine that answers, or does not."""

    down: str | None = None

    def version(self) -> str:
        if self.down:
            raise EnvironmentNotReady("The Docker engine cannot be reached.", "Start Docker.", code=self.down)
        return "1"


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    source = tmp_path / "code"
    source.mkdir()
    (source / "Dockerfile").write_text('FROM scratch\nCMD ["python", "-c", "print(1)"]\n')
    return Node("numerai-dave", "dave", "id", 8, "local", str(source), cpu=1, memory_mib=256)


def context(home: Path, engine: Engine, **settings: str) -> ProviderContext:
    keys = Keys("public-id", "secret-key")
    return ProviderContext(home, settings, lambda: keys, lambda: cast(ContainerEngine, engine), SystemClock())


def deployed(home: Path, engine: Engine, node: Node, executor: str) -> None:
    store = LocalParts(context(home, engine)).store
    store.save_node(node, NOW)
    store.save_deployment(Deployment(node.name, "image", "hash", NOW), executor, "{}")
    store.close()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("force", [True, False])
def test_a_deployed_container_stays_one(home: Path, engine: Engine, node: Node, code: str, force: bool) -> None:
    deployed(home, engine, node, "docker")
    engine.down = code
    provider = LocalProvider(context(home, engine))
    with pytest.raises(EnvironmentNotReady, match="does not become a process") as found:
        provider.deploy(node, force=force, report=print)
    assert found.value.code == code
    assert present(LocalParts(context(home, engine)).store.deployment(node.name)).executor == "docker"
    with pytest.raises(EnvironmentNotReady, match="does not become a process"):
        LocalRehearsal(context(home, engine)).rehearse(node, [], report=print, on_log=print)


def test_a_first_deploy_that_failed_as_a_container_is_no_process_next_time(
    home: Path, engine: Engine, node: Node
) -> None:
    parts = LocalParts(context(home, engine))
    parts.store.save_node(node, NOW)
    parts.store.fact_once(f"containers of {node.name}", "yes")
    engine.down = "no-engine"
    with pytest.raises(EnvironmentNotReady):
        parts.choice.of_node(node, print)


def test_a_node_of_a_cloud_is_rehearsed_in_a_container_only(home: Path, engine: Engine, node: Node) -> None:
    parts = LocalParts(context(home, engine))
    assert parts.choice.of_node(replace(node, provider="aws"), print).name == "docker"
    engine.down = "no-engine"
    with pytest.raises(EnvironmentNotReady):
        parts.choice.of_node(replace(node, provider="aws"), print)


@pytest.mark.slow
def test_the_first_deploy_decides_says_so_and_records_it(home: Path, engine: Engine, node: Node) -> None:
    engine.down, said = "no-engine", list[str]()
    provider = LocalProvider(context(home, engine))
    provider.configure(node, print)
    provider.deploy(node, force=False, report=said.append)
    assert "as processes of this machine" in said[0] and "config set executor docker" in said[0]
    engine.down = None
    said.clear()
    assert not provider.deploy(node, force=False, report=said.append).changed  # an engine that comes changes nothing
    assert "as before" in said[0]


@pytest.mark.slow
def test_a_process_is_told_what_is_for_containers_only(home: Path, engine: Engine, node: Node) -> None:
    provider, said = LocalProvider(context(home, engine, executor="process")), list[str]()
    for each in (replace(node, capabilities=("CHOWN",)), replace(node, base_digests={"a": "sha256:1"}), node):
        provider.configure(each, print)
        provider.deploy(each, force=True, report=said.append)
    assert [line.endswith("are for containers only.") for line in said if "process:" in line] == [True, True]


@pytest.mark.slow
def test_a_first_deploy_as_a_process_is_planned_and_warned_of(home: Path, engine: Engine, node: Node) -> None:
    provider, store = LocalProvider(context(home, engine)), HomeStore(home)
    provider.configure(node, print)
    assert plan_deploy(node, provider, store, force=False)[0].endswith("to run in containers")
    engine.down, said, warned = "no-engine", list[str](), list[str]()
    assert plan_deploy(node, provider, store, force=False)[0].endswith("to run as processes of this machine")
    assert "The Docker engine cannot be reached." in str(how_it_runs(node, provider).why)
    assert LocalParts(context(home, engine)).choice.recorded(node.name) is None, "a plan records nothing"
    for _ in range(2):
        deploy_node(node, provider, store, said.append, warn=warned.append, force=True)
    assert len(warned) == 1 and "as processes of this machine, now and at later deploys" in warned[0]
    assert warned[0] not in said and any("as before" in line for line in said)
    assert LocalParts(context(home, engine)).choice.recorded(node.name) == "process"


def test_what_cannot_run_as_before_is_not_planned(home: Path, engine: Engine, node: Node) -> None:
    deployed(home, engine, node, "docker")
    engine.down = "no-engine"
    with pytest.raises(EnvironmentNotReady, match="does not become a process"):
        plan_deploy(node, LocalProvider(context(home, engine)), HomeStore(home), force=True)


def test_a_setting_changes_it_and_that_is_said(home: Path, engine: Engine, node: Node) -> None:
    deployed(home, engine, node, "docker")
    engine.down, said = "no-engine", list[str]()
    done = LocalProvider(context(home, engine, executor="process")).deploy(node, force=False, report=said.append)
    assert done.image.startswith("process:")
    assert "ran in containers; it now runs as processes" in said[-1]
    assert present(LocalParts(context(home, engine)).store.deployment(node.name)).executor == "process"


def test_what_is_built_from_a_folder_above_is_never_a_process(home: Path, engine: Engine, node: Node) -> None:
    node = replace(node, context=str(Path(node.path).parent))
    engine.down, said = "no-engine", list[str]()
    with pytest.raises(EnvironmentNotReady, match="containers only") as found:
        LocalParts(context(home, engine)).choice.of_node(node, said.append)
    assert found.value.code == "no-engine" and "process" not in str(found.value.hint)
    deployed(home, engine, node, "process")
    for settings in ({}, {"executor": "process"}):
        with pytest.raises(UsageError, match="only an image can be") as refused:
            LocalParts(context(home, engine, **settings)).choice.of_node(node, said.append)
        assert refused.value.code == "needs-image" and "config --context ''" in str(refused.value.hint)
    assert said == []


def test_a_build_that_fails_changes_nothing_and_says_nothing_of_it(home: Path, engine: Engine, node: Node) -> None:
    deployed(home, engine, node, "docker")
    (Path(node.path) / "Dockerfile").write_text("FROM scratch\n")
    said = list[str]()
    with pytest.raises(NumeraiError):
        LocalProvider(context(home, engine, executor="process")).deploy(node, force=False, report=said.append)
    assert not any("now runs" in line for line in said)
    assert present(LocalParts(context(home, engine)).store.deployment(node.name)).executor == "docker"


def damage(folder: Path, how: str) -> None:
    (copy,) = (folder / "local" / "nodes" / "numerai-dave").glob("source-*")
    if how == "a file is gone":
        (copy / "main.py").unlink()
    elif how == "a file is another":
        (copy / "main.py").write_text("print(2)")
    else:
        (copy / "more.py").write_text("")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["a file is gone", "a file is another", "a file came"])
def test_a_damaged_copy_of_the_source_is_found_and_made_again(home: Path, engine: Engine, node: Node, how: str) -> None:
    (Path(node.path) / "main.py").write_text("print(1)")
    provider = LocalProvider(context(home, engine, executor="process"))
    provider.configure(node, print)
    provider.deploy(node, force=False, report=print)

    def finding() -> Check:
        return next(check for check in provider.checks([node]) if check.name == "deployment")

    assert finding().status is CheckStatus.OK
    damage(home, how)
    assert finding().status is CheckStatus.FAILED and "damaged" in finding().why
    assert provider.deploy(node, force=False, report=print).changed
    assert finding().status is CheckStatus.OK
    (copy,) = (home / "local" / "nodes" / node.name).glob("*source-*")
    assert sorted(path.name for path in copy.iterdir()) == ["Dockerfile", "main.py"]


@pytest.mark.slow
def test_a_copy_that_an_earlier_version_made_is_made_again_by_force(home: Path, engine: Engine, node: Node) -> None:
    """It is not known how that was."""
    (Path(node.path) / "main.py").write_text("print(1)")
    provider = LocalProvider(context(home, engine, executor="process"))
    provider.configure(node, print)
    provider.deploy(node, force=False, report=print)
    store = LocalParts(context(home, engine)).store
    stored = present(store.deployment(node.name))
    reference = {name: value for name, value in json.loads(stored.reference).items() if name != "content"}
    store.save_deployment(stored.deployment, stored.executor, json.dumps(reference))
    damage(home, "a file is gone")
    assert not provider.deploy(node, force=False, report=print).changed
    provider.deploy(node, force=True, report=print)
    (copy,) = (home / "local" / "nodes" / node.name).glob("source-*")
    assert (copy / "main.py").exists()


def test_the_setting_docker_needs_an_engine(home: Path, engine: Engine, node: Node) -> None:
    engine.down = "no-engine"
    with pytest.raises(EnvironmentNotReady):
        LocalParts(context(home, engine, executor="docker")).choice.of_node(node, print)


def runs_as_process(home: Path, engine: Engine, node: Node) -> None:
    provider = LocalProvider(context(home, engine, executor="process"))
    provider.configure(node, print)
    provider.deploy(node, force=False, report=print)


def checks(home: Path, engine: Engine, nodes: list[Node], **settings: str) -> dict[str, Check]:
    return {check.name: check for check in LocalProvider(context(home, engine, **settings)).checks(nodes)}


def test_an_engine_is_red_only_where_a_node_needs_it(home: Path, engine: Engine, node: Node) -> None:
    engine.down = "no-engine"
    assert checks(home, engine, [], executor="docker")["Docker engine"].status is CheckStatus.FAILED
    runs_as_process(home, engine, node)
    found = checks(home, engine, [node], executor="docker")
    assert found["Docker engine"].status is CheckStatus.WARNING
    assert found["Docker engine"].why.endswith("No deployed node uses it; a deploy would.")
    assert found["process executor"].status is CheckStatus.OK and "deployment" in found
    waiting = replace(node, name="numerai-eve")
    assert checks(home, engine, [node, waiting], executor="docker")["Docker engine"].status is CheckStatus.FAILED
    assert "Docker engine" not in checks(home, engine, [node, waiting])


def test_an_engine_that_refuses_hides_no_other_finding(home: Path, engine: Engine, node: Node) -> None:
    runs_as_process(home, engine, node)
    engine.version = Mock(side_effect=ProviderError("The Docker engine refused: 500."))  # type: ignore[method-assign]
    found = checks(home, engine, [node])
    assert found["executor"].status is CheckStatus.WARNING and "deployment" in found
    assert checks(home, engine, [node, replace(node, name="numerai-eve")])["executor"].status is CheckStatus.FAILED


def test_a_setting_that_cannot_be_stays_red(home: Path, engine: Engine, node: Node) -> None:
    runs_as_process(home, engine, node)
    found = checks(home, engine, [node], executor="podman")
    assert found["settings"].status is CheckStatus.FAILED and "podman" in found["settings"].why
