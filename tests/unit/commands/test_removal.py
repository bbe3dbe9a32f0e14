"""The way out, all at once: every node, or all of this tool, and never anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.providers.local import daemon, service

from tests.fakes import FakeProvider
from tests.unit.commands.conftest import Line

SETTING = {"version": 1, "nodes": {}}


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


def test_what_the_official_tool_made_is_said_to_stay(line: Line) -> None:
    line.home.mkdir(mode=0o700)
    nodes = {"numerai-alice": {"provider": "aws", "path": "/x", "model_id": "id-alice"}}
    (line.home / "nodes.json").write_text(json.dumps(nodes))
    assert line("upgrade").exit_code == 0
    stays = "What the official tool made for numerai-alice on aws is not touched, and costs what it did"
    for command in (["destroy-all"], ["node", "destroy"]):
        assert stays in line(*command, "--dry-run").out
    done = line("destroy-all", "--yes")
    assert done.exit_code == 0 and done.err.count(stays) == 2, "before it is done and after that"


@pytest.fixture
def no_service(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """This machine's own service manager is not touched; what would have been asked of it."""
    asked: list[str] = []
    monkeypatch.setattr(service, "uninstall_service", lambda context: asked.append("service"))
    monkeypatch.setattr(daemon, "stop_daemon", lambda context: asked.append("daemon"))
    return asked


def test_uninstall_refuses_while_a_cloud_holds_anything(two: Line, no_service: list[str]) -> None:
    refused = two("uninstall", "--yes")
    assert refused.exit_code == 3 and "numerai-bob on gcp" in refused.err and "destroy-all" not in refused.err
    assert "`numerai node forget numerai-bob`" in refused.err, "nothing else can be done with it here"
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


@pytest.fixture
def spoiled(line: Line) -> Line:
    """Records that are no nodes, beside none that is one."""
    line.home.mkdir(mode=0o700)
    nodes = {"../evil": {"provider": "aws"}, "numerai-half": None}
    (line.home / "nodes.json").write_text(json.dumps({"version": 1, "nodes": nodes}))
    return line


def test_destroy_all_counts_what_it_cannot_use(spoiled: Line) -> None:
    assert "numerai node forget '../evil'" in spoiled("destroy-all", "--dry-run").out
    done = spoiled("destroy-all", "--yes")
    assert done.exit_code == 1 and "No node is configured" not in done.out
    assert "'../evil' is still there" in done.out and "`numerai node forget numerai-half`" in done.out
    assert spoiled("destroy-all", "--yes", "--json").json["failed"].keys() == {"../evil", "numerai-half"}


def test_uninstall_counts_what_it_cannot_use(spoiled: Line, no_service: list[str]) -> None:
    refused = spoiled("uninstall", "--yes")
    assert refused.exit_code == 3 and "'../evil'" in refused.err and "`numerai node forget numerai-half`" in refused.err
    assert (spoiled.home / "nodes.json").exists() and no_service == []
    assert spoiled("node", "forget", "../evil", "--yes").exit_code == 0
    (aside := spoiled.home / "nodes.json.upgraded-20260101T000000").write_text("{}")
    done = spoiled("uninstall", "--yes", "--leave-cloud")
    assert done.exit_code == 0 and "Left as it is: numerai-half" in done.err and not aside.exists()


@pytest.mark.parametrize("command", ["uninstall", "destroy-all"])
def test_a_home_of_the_official_tool_is_left_alone(line: Line, no_service: list[str], command: str) -> None:
    line.home.mkdir(mode=0o700)
    (line.home / "nodes.json").write_text(json.dumps({"numerai-alice": {"provider": "local", "path": "/x"}}))
    before = (line.home / "nodes.json").read_bytes()
    for options in (["--yes"], ["--dry-run"]):
        refused = line(command, *options)
        assert refused.exit_code == 1 and "numerai upgrade" in refused.err
    assert (line.home / "nodes.json").read_bytes() == before and no_service == []


def test_uninstall_prints_one_document(two: Line, no_service: list[str]) -> None:
    forget_bob(two)
    two.provider.fail["destroy"] = ProviderError("its container does not go away")
    stopped = two("uninstall", "--yes", "--json")
    assert stopped.exit_code == 1 and stopped.json["removed"] == [] and "numerai-alice" in stopped.json["failed"]
    two.provider.fail.clear()
    done = two("uninstall", "--yes", "--json")
    assert done.exit_code == 0 and done.json["destroyed"] == ["numerai-alice"] and done.json["stays"] == {}


def test_uninstall_says_which_of_its_files_it_could_not_remove(
    two: Line, no_service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_bob(two)
    real = Path.unlink

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path.name == "nodes.json":
            raise PermissionError(13, "Permission denied", str(path))
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refusing)
        done = two("uninstall", "--yes")
    assert done.exit_code == 1 and f"{two.home / 'nodes.json'} is still there" in done.out
    assert "Permission denied" in done.out and "pip uninstall" not in done.out
    assert not (two.home / "nodes.json.previous").exists(), "the others are gone"


def test_uninstall_says_where_keys_are_left(line: Line, no_service: list[str]) -> None:
    line.home.mkdir(mode=0o700)
    (line.home / ".keys").write_text(json.dumps({"numerai": {}, "aws": {"AWS_ACCESS_KEY_ID": "A"}}))
    assert "holds the old tool's keys" in line("upgrade").out
    (unfinished := line.home / "..keys.0a1b2c3d.tmp").write_text("{}")
    assert "numerai upgrade --undo" in line("uninstall", "--dry-run").out
    done = line("uninstall", "--yes")
    assert done.exit_code == 0 and "Keys are still in official-" in done.out and not unfinished.exists()


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_uninstall_follows_no_link_out_of_the_home(line: Line, no_service: list[str], tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (kept := tmp_path / "kept").mkdir(mode=0o700)
    (elsewhere / "stack.json").write_text("mine")
    (kept / "aws").symlink_to(elsewhere)
    (kept / "nodes.json").write_text(json.dumps(SETTING))
    line.home.symlink_to(kept)
    done = line("uninstall", "--yes")
    assert done.exit_code == 0 and f"aws (a link to {elsewhere})" in done.out
    assert f"{line.home} is a link to {kept}" in done.out
    assert (elsewhere / "stack.json").exists() and [path.name for path in kept.iterdir()] == ["aws"]


def test_uninstall_stops_where_a_node_stays(two: Line, no_service: list[str]) -> None:
    forget_bob(two)
    two.provider.fail["destroy"] = ProviderError("its container does not go away")
    stopped = two("uninstall", "--yes")
    assert stopped.exit_code == 1 and "does not go away" in stopped.out and no_service == []
    assert (two.home / "nodes.json").exists()


def test_every_node_on_aws_gets_the_disk(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeProvider, "disk_gib", (20, 200), raising=False)
    monkeypatch.setattr(FakeProvider, "name", "aws")
    assert "No node runs on AWS" in line("add-volume-aws", "-s", "100").out
    assert line("node", "-m", "alice", "config", "-P", "aws", "-p", str(folder)).exit_code == 0
    assert "provision numerai-alice on aws" in line("add-volume-aws", "-s", "100", "--dry-run").out
    assert line("node", "list", "--json").json[0]["disk_gib"] is None
    assert "numerai-alice has 100 GiB" in line("add-volume-aws", "-s", "100", "--yes").out
    assert line("node", "list", "--json").json[0]["disk_gib"] == 100
    for more in ("--yes", "--dry-run"):
        refused = line("add-volume-aws", "-s", "500", more)
        assert refused.exit_code == 2 and "20 to 200 GiB" in refused.err


def test_a_disk_for_a_node_of_the_official_cluster_registers_no_webhook(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProvider, "disk_gib", (20, 200), raising=False)
    monkeypatch.setattr(FakeProvider, "name", "aws")
    line.home.mkdir(mode=0o700)
    official = "https://abc.lambda-url.us-east-1.on.aws/"
    record = {"provider": "aws", "path": "/gone", "model_id": "id-alice", "webhook_url": official}
    (line.home / "nodes.json").write_text(json.dumps({"numerai-alice": record}))
    line.api.set_webhook("id-alice", official)
    upgraded = line("upgrade").out.splitlines()
    steps = [text.split()[-1] for text in upgraded if text.startswith("  numerai node")]
    assert steps == ["config", "deploy", "config", "test"], "its webhook moves once the node is deployed"
    done = line("add-volume-aws", "-s", "100", "--yes")
    assert done.exit_code == 0 and "--move-aws" in done.out
    assert line.api.by_id["id-alice"].webhook == official and not line.provider.configured
    assert line("node", "list", "--json").json[0]["disk_gib"] == 100
