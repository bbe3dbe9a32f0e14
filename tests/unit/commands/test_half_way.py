"""A node that a move has left on two providers, as each command shows it: nothing that it has is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Check, CheckStatus, CostEstimate, CostItem, Node
from numerai_compute.providers.absent import AbsentProvider
from numerai_compute.providers.local import daemon, service
from numerai_compute.usecases.official_move import BEGUN

from tests.fakes import FakeProvider
from tests.unit.commands.conftest import FakeFactory, Line
from tests.unit.providers_aws.test_official import state

BOTH = "numerai-alice on local and aws"


class Charging(FakeProvider):
    """A second provider, which charges."""

    name = "aws"

    def cost(self, node: Node) -> CostEstimate:
        item = CostItem("runs", 0.61, "22 runs")
        return CostEstimate(node.name, (item,), 22, 5.0, False, 0.9, "2026-01")


@pytest.fixture
def there() -> Charging:
    return Charging()


@pytest.fixture
def left(line: Line, folder: Path, there: Charging, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A node that is deployed on this machine, and of which a move to `aws` was begun."""
    monkeypatch.setattr(FakeFactory, "provider", lambda self, name: there if name == "aws" else self.fake_provider)
    assert line("node", "config", "-p", str(folder)).exit_code == 0
    assert line("node", "deploy").exit_code == 0
    lies_on(line, "local", "aws")
    return line


def lies_on(line: Line, provider: str, also_on: str) -> None:
    store = HomeStore(line.home)
    store.save_node(replace(store.nodes()["numerai-alice"], provider=provider, also_on=also_on))


@pytest.mark.parametrize("command", [("node", "destroy"), ("destroy-all",)])
def test_what_is_about_to_be_destroyed_is_named_with_both_places(left: Line, command: tuple[str, ...]) -> None:
    assert BOTH in left(*command).err, "the question, which nobody can be asked here"
    assert left(*command, "-y").exit_code == 0
    assert not HomeStore(left.home).nodes() and left.api.by_id["id-alice"].webhook is None


def test_status_shows_both_places_and_the_commands_that_finish_the_move(left: Line) -> None:
    said = left("status").out
    assert "local and aws" in said and "config -P aws" in said
    glance = left("status", "--json").json["nodes"][0]
    assert (glance["provider"], glance["also_on"]) == ("local", "aws") and "config -P aws" in glance["move"]["mend"]
    assert "local and aws" in left("node", "status").out


def test_cost_counts_both_places(left: Line) -> None:
    assert left("cost", "--json").json["usd_a_month"] == 0.61
    lies_on(left, "aws", "local")
    assert "0.61 USD a month in all" in left("cost").out


def test_a_cost_that_is_not_known_on_one_side_is_no_zero(left: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    here = FakeFactory.provider

    def provider(self: FakeFactory, name: str) -> FakeProvider:
        return AbsentProvider(name) if name == "gcp" else here(self, name)  # type: ignore[return-value]

    monkeypatch.setattr(FakeFactory, "provider", provider)
    lies_on(left, "local", "gcp")
    said = left("cost").out
    assert "not known here" in said and "runs on this machine" not in said


def test_doctor_looks_at_both_providers(left: Line, there: Charging) -> None:
    looked_at: list[list[str]] = []

    def checks(nodes: list[Node]) -> list[Check]:
        looked_at.append([node.name for node in nodes])
        deploy = Check("deployment", CheckStatus.FAILED, "not deployed", "numerai node deploy", "numerai-alice")
        return [Check("AWS credentials", CheckStatus.FAILED, "there are none", "aws configure"), deploy]

    there.checks = checks  # type: ignore[method-assign, assignment]
    found = {check["name"]: check["mend"] for check in left("doctor", "--json").json["checks"]}
    assert found["AWS credentials"] == "aws configure" and looked_at == [["numerai-alice"]]
    assert "config -P aws" in found["deployment"], "`deploy` would deploy it on the other one"


@pytest.fixture
def half_removed(line: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A home of the official tool whose cluster on AWS was begun to be removed; no node is left in it."""
    monkeypatch.setattr(service, "uninstall_service", lambda context: None)
    monkeypatch.setattr(daemon, "stop_daemon", lambda context: None)
    line.home.mkdir(mode=0o700)
    nodes = {"numerai-alice": {"provider": "aws", "model_id": "id-alice", "webhook_url": "https://old.on.aws/"}}
    (line.home / "nodes.json").write_text(json.dumps(nodes))
    (line.home / "aws").mkdir()
    (line.home / "aws" / "terraform.tfstate").write_text(json.dumps(state()))
    assert line("upgrade").exit_code == 0 and line("node", "forget", "-y", "numerai-alice").exit_code == 0
    (line.home / "aws" / "official").mkdir()
    begun = state()
    begun["resources"].pop()
    (line.home / "aws" / "official" / "terraform.tfstate").write_text(json.dumps(begun))
    FakeFactory(line.home).move_record.add(BEGUN)
    return line


def test_uninstall_names_what_is_left_of_the_official_tools_cluster_and_what_removes_it(half_removed: Line) -> None:
    refused = half_removed("uninstall", "-y")
    assert refused.exit_code == 3 and "2 resources of the official tool's cluster on AWS" in refused.err
    assert "numerai upgrade --move-aws" in refused.err and "destroy-all" not in refused.err
    assert (half_removed.home / "aws" / "move.json").exists() and (half_removed.home / "aws" / "official").exists()
    done = half_removed("uninstall", "-y", "--leave-cloud")
    assert done.exit_code == 0 and "Left as it is: 2 resources" in done.err
    assert (half_removed.home / "aws" / "terraform.tfstate").exists()


def test_what_a_destroyed_node_leaves_in_the_old_cluster_is_said_with_what_removes_it(line: Line) -> None:
    line.home.mkdir(mode=0o700)
    nodes = {"numerai-alice": {"provider": "aws", "model_id": "id-alice", "webhook_url": "https://old.on.aws/"}}
    (line.home / "nodes.json").write_text(json.dumps(nodes))
    assert line("upgrade").exit_code == 0
    for command in ("destroy-all", "node -m alice destroy"):
        assert "numerai upgrade --move-aws" in line(*command.split(), "--dry-run").out


def test_uninstall_advises_no_way_back_that_is_closed(half_removed: Line) -> None:
    options = ("uninstall", "--dry-run", "--leave-cloud")
    assert "--undo" not in half_removed(*options).out
    assert half_removed("upgrade", "--undo").exit_code == 2, "which is why"
    FakeFactory(half_removed.home).move_record.forget()
    assert "run `numerai upgrade --undo` before this" in half_removed(*options).out


def test_uninstall_says_what_nobody_can_remove_from_here(half_removed: Line) -> None:
    for path in half_removed.home.glob("aws/**/terraform.tfstate"):
        path.unlink()
    said = half_removed("uninstall", "--dry-run").out
    assert "its Terraform state" in said and "of numerai-alice: the ECR repository" in said
