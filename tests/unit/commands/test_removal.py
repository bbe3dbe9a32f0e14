"""The way out, all at once: every node, or all of this tool, and never anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.providers.local import daemon, service

from tests.fakes import FakeProvider
from tests.unit.commands.conftest import Line

SETTING = {"version": 1, "nodes": {}}


@pytest.fixture
def two(line: Line, folder: Path) -> Line:
    """Two nodes, of which one has a webhook at Numerai, and one is of a provider that is not there."""
    assert line("node", "-m", "alice", "config", "-p", str(folder)).exit_code == 0
    path = line.home / "nodes.json"
    content = json.loads(path.read_text())
    content["nodes"]["numerai-bob"] = {
        **content["nodes"]["numerai-alice"], "name": "numerai-bob", "model_name": "bob", "model_id": "id-bob",
        "provider": "gcp", "webhook_url": None,
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return line


def forget_bob(line: Line) -> None:
    assert line("node", "forget", "numerai-bob", "--yes").exit_code == 0


def test_destroy_all_asks_and_a_no_destroys_nothing(two: Line) -> None:
    before = (two.home / "nodes.json").read_bytes()
    refused = two("destroy-all")
    assert refused.exit_code == 2 and "--yes" in refused.err
    assert "destroy numerai-alice on local" in two("destroy-all", "--dry-run").out
    assert (two.home / "nodes.json").read_bytes() == before and two.api.by_id["id-alice"].webhook is not None


def test_a_node_that_cannot_be_destroyed_does_not_block_the_others(two: Line) -> None:
    done = two("destroy-all", "--yes")
    assert done.exit_code == 1 and "numerai-alice is gone" in done.out and "numerai-bob is still there" in done.out
    assert "numerai node forget numerai-bob" in done.out and two.api.by_id["id-alice"].webhook is None
    forget_bob(two)
    assert two("destroy-all", "--yes").exit_code == 0 and "No node is configured" in two("destroy-all").out


def test_the_nodes_can_stay_configured(two: Line) -> None:
    forget_bob(two)
    assert two("destroy-all", "--yes", "-p", "--json").json == {"destroyed": ["numerai-alice"], "failed": {}}
    assert "numerai-alice" in two("node", "list").out


@pytest.fixture
def no_service(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """This machine's own service manager is not touched; what would have been asked of it."""
    asked: list[str] = []
    monkeypatch.setattr(service, "uninstall_service", lambda context: asked.append("service"))
    monkeypatch.setattr(daemon, "stop_daemon", lambda context: asked.append("daemon"))
    return asked


def test_uninstall_refuses_while_a_cloud_holds_anything(two: Line, no_service: list[str]) -> None:
    refused = two("uninstall", "--yes")
    assert refused.exit_code == 3 and "numerai-bob on gcp" in refused.err and "destroy-all" in refused.err
    assert (two.home / "nodes.json").exists() and no_service == []


def test_uninstall_asks_the_providers_what_they_hold(
    two: Line, no_service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_bob(two)
    monkeypatch.setattr(FakeProvider, "held", lambda self: ["a cluster"], raising=False)
    refused = two("uninstall", "--yes")
    assert refused.exit_code == 3 and "a cluster" in refused.err
    assert two("uninstall", "--yes", "--leave-cloud").exit_code == 0


def test_uninstall_removes_this_tools_files_and_nothing_else(two: Line, no_service: list[str]) -> None:
    forget_bob(two)
    (two.home / ".gcp_keys").write_text("theirs")
    (two.home / "aws").mkdir()
    (two.home / "aws" / "terraform.tfstate").write_text("the official tool's")
    (two.home / "events").symlink_to(two.home.parent)
    planned = two("uninstall", "--dry-run").out
    assert f"remove {two.home / 'nodes.json'}" in planned and "gcp_keys" not in planned
    refused = two("uninstall")
    assert refused.exit_code == 2 and (two.home / "nodes.json").exists()
    done = two("uninstall", "--yes")
    assert done.exit_code == 0 and "Not this tool's, and left there: .gcp_keys, aws" in done.out
    assert no_service == ["service", "daemon"] and two.api.by_id["id-alice"].webhook is None
    assert sorted(path.name for path in two.home.rglob("*")) == [".gcp_keys", "aws", "terraform.tfstate"]
    assert (two.home.parent / "code").is_dir(), "what a link leads to stays"


def test_uninstall_stops_where_a_node_stays(two: Line, no_service: list[str]) -> None:
    forget_bob(two)
    two.provider.fail["destroy"] = ProviderError("its container does not go away")
    stopped = two("uninstall", "--yes")
    assert stopped.exit_code == 1 and "does not go away" in stopped.out and no_service == []
    assert (two.home / "nodes.json").exists()


def test_every_node_on_aws_gets_the_disk(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeProvider, "disk_gib", (20, 200), raising=False)
    assert "No node runs on AWS" in line("add-volume-aws", "-s", "100").out
    assert line("node", "-m", "alice", "config", "-P", "aws", "-p", str(folder)).exit_code == 0
    assert "provision numerai-alice on aws" in line("add-volume-aws", "-s", "100", "--dry-run").out
    assert line("node", "list", "--json").json[0]["disk_gib"] is None
    assert "numerai-alice has 100 GiB" in line("add-volume-aws", "-s", "100", "--yes").out
    assert line("node", "list", "--json").json[0]["disk_gib"] == 100
    refused = line("add-volume-aws", "-s", "500", "--yes")
    assert refused.exit_code == 2 and "20 to 200 GiB" in refused.err
