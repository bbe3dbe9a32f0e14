"""`numerai upgrade --move-aws`, and the way back, as a user types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute import ports
from numerai_compute.adapters.move_record import MoveFile
from numerai_compute.adapters.official_home import OfficialHome
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.factory import Factory
from numerai_compute.models import NOT_SUBMITTED_CODE, RunState

from tests.fakes import FakeProvider
from tests.unit.adapters.test_official_home import tree
from tests.unit.commands.conftest import Line
from tests.unit.commands.test_commands import official_home

OLD_WEBHOOK = "https://old.lambda-url.us-east-1.on.aws/"


class OfficialCluster:
    """A cluster of the official tool's with the node of alice, whose folder is there."""

    def __init__(self) -> None:
        self.resources: tuple[str, ...] = ("aws_vpc.main", "aws_lambda_function.submission")

    def cluster(self) -> ports.OfficialCluster:
        nodes = {"numerai-alice": ports.OfficialNode("old/alice", OLD_WEBHOOK)}
        return ports.OfficialCluster(nodes, "account 1, us-east-1", self.resources)

    def image(self, repository: str) -> None:
        """There is none: the repository is empty."""

    def active_runs(self) -> tuple[str, ...]:
        return ()

    def destroy(self, report: ports.Report) -> None:
        self.resources = ()


def aws_home(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[OfficialCluster, dict[str, bytes]]:
    """A home of numerai-cli 1.1 with a node on AWS, whose cluster is in memory."""
    cluster = OfficialCluster()
    monkeypatch.setattr(Factory, "official_cloud", property(lambda self: cluster))
    monkeypatch.setattr(Factory, "why_no_answer", property(lambda self: lambda url: None))
    monkeypatch.setattr(Factory, "renewed", lambda self, name: self.provider(name))
    monkeypatch.setattr("numerai_compute.usecases.official_move._withholds", lambda node: True)
    monkeypatch.setattr("numerai_compute.usecases.verify.withholding", lambda node, provider: provider)
    line.provider.ending = {"state": RunState.SUCCEEDED, "exit_code": NOT_SUBMITTED_CODE}
    configure = line.provider.configure
    monkeypatch.setattr(
        line.provider, "configure", lambda node, report: configure(replace(node, webhook_url=None), report)
    )
    before = official_home(line, folder)
    node = {"provider": "aws", "path": str(folder), "model_id": "id-alice", "webhook_url": OLD_WEBHOOK, "cpu": 1024}
    (line.home / "nodes.json").write_text(json.dumps({"numerai-alice": node}))
    line.api.set_webhook("id-alice", OLD_WEBHOOK)
    return cluster, {name: (line.home / name).read_bytes() for name in before}


def test_the_move_off_the_official_cluster_asks_and_a_no_changes_nothing(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, before = aws_home(line, folder, monkeypatch)
    planned = line("upgrade", "--move-aws", "--dry-run")
    assert "let Numerai call numerai-alice in the new cluster instead of the old cluster" in planned.out
    assert "then remove it: 2 resources" in planned.out
    asked = line("upgrade", "--move-aws")
    assert asked.exit_code == 2 and "Do it? Nobody can be asked here" in asked.err and "2 resources" in asked.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *given, **more: False)
    assert line("upgrade", "--move-aws").exit_code == 1
    assert {name: (line.home / name).read_bytes() for name in before} == before
    assert line.api.by_id["id-alice"].webhook == OLD_WEBHOOK and cluster.resources and not line.provider.configured


def test_a_dry_run_is_refused_for_what_the_move_is_refused_for_and_writes_nothing(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_home(line, folder, monkeypatch)
    (folder / "Dockerfile").unlink()
    before = tree(line.home)
    planned = line("upgrade", "--move-aws", "--dry-run")
    assert tree(line.home) == before
    refused = line("upgrade", "--move-aws", "--yes")
    assert "There is nothing that numerai-alice could run" in refused.err and "--path FOLDER" in refused.err
    assert planned.exit_code == refused.exit_code == 1 and planned.err.strip() in refused.err
    assert planned.out == "" and tree(line.home) == before


def test_a_dry_run_shows_what_is_asked_of_aws_and_costs(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_home(line, folder, monkeypatch)
    monkeypatch.setattr(
        FakeProvider, "preview", lambda self, node: ["Make the cluster", "3 USD a month"], raising=False
    )
    assert "3 USD a month" in line("upgrade", "--move-aws").err
    assert "3 USD a month" in line("upgrade", "--move-aws", "--dry-run").out

    def lacking(self: FakeProvider, node: object) -> list[str]:
        raise EnvironmentNotReady("There are no AWS credentials.", "Run `aws configure`.", code="no-aws-credentials")

    monkeypatch.setattr(FakeProvider, "preview", lacking, raising=False)
    for option in ("--dry-run", "--yes"):
        refused = line("upgrade", "--move-aws", option)
        assert refused.exit_code == 3 and "--aws-profile numerai" in refused.err


def test_the_move_takes_the_files_over_and_ends_with_nothing_left(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, _ = aws_home(line, folder, monkeypatch)
    moved = line("upgrade", "--move-aws", "--yes")
    assert moved.exit_code == 0 and "Nothing of the official tool is left on AWS" in moved.out
    assert moved.out.count("✓") == 6 and cluster.resources == ()
    assert line.api.by_id["id-alice"].webhook == line.provider.webhook_url("numerai-alice")
    again = line("upgrade", "--move-aws", "--yes", "--json")
    assert again.json == {"moved": True, "nodes": ["numerai-alice"], "by_hand": []}
    undone = line("upgrade", "--undo")
    assert undone.exit_code == 2 and "begun to be" in undone.err and "numerai-alice" in line("node", "list").out


def test_where_the_official_tool_has_nothing_on_aws_the_rest_is_upgraded(line: Line, folder: Path) -> None:
    nothing = "has recorded nothing on AWS here, so there is nothing to move"
    alone = line("upgrade", "--move-aws")
    assert alone.exit_code == 0 and nothing in alone.out and "Nothing to upgrade" in alone.out
    before = official_home(line, folder)
    planned = line("upgrade", "--move-aws", "--dry-run")
    assert nothing in planned.out and "Nothing was changed" in planned.out
    assert {name: (line.home / name).read_bytes() for name in before} == before
    upgraded = line("upgrade", "--move-aws", "--json")
    assert upgraded.exit_code == 0 and upgraded.json["upgraded"] and upgraded.json["moved"] is False
    assert "numerai-bob" in line("node", "list").out
    assert line("upgrade", "--undo").exit_code == 0
    assert {name: (line.home / name).read_bytes() for name in before} == before
    assert nothing in line("upgrade", "--move-aws").out
    assert line("upgrade", "--undo", "--move-aws").exit_code == 2


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the AWS programs keep keys; there are none yet."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "credentials"


def test_a_profile_is_made_once_a_person_agrees_to_the_move(
    line: Line, folder: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, before = aws_home(line, folder, monkeypatch)
    move = ("upgrade", "--move-aws", "--aws-profile", "numerai")
    assert line(*move, "--dry-run").exit_code == 0 and line(*move).exit_code == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *given, **more: False)
    assert line(*move).exit_code == 1
    alice = line.api.by_id.pop("id-alice")
    assert line(*move, "--yes").exit_code == 1, "the plan cannot be made"
    line.api.by_id["id-alice"] = alice
    assert not credentials.exists() and cluster.resources
    assert {name: (line.home / name).read_bytes() for name in before} == before
    moved = line(*move, "--yes")
    assert moved.exit_code == 0 and "[numerai]" in credentials.read_text() and "oldsecret" not in moved.out + moved.err
    assert json.loads((line.home / "nodes.json").read_text())["settings"]["aws"] == {"profile": "numerai"}
    assert line(*move, "--yes").exit_code == 0, "and again"


def test_what_is_added_to_the_credentials_while_a_person_thinks_stays(
    line: Line, folder: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_home(line, folder, monkeypatch)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    other = "[other]\naws_access_key_id = MINE\n"
    monkeypatch.setattr("click.confirm", lambda *given, **more: credentials.write_text(other))
    assert line("upgrade", "--move-aws", "--aws-profile", "numerai").exit_code == 0
    assert credentials.read_text().startswith(other) and "[numerai]" in credentials.read_text()


@pytest.mark.parametrize("move", [["--move-aws"], []])
def test_a_profile_without_a_name_is_refused(
    line: Line, folder: Path, credentials: Path, move: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = aws_home(line, folder, monkeypatch)
    for name in ("", " "):
        refused = line("upgrade", *move, "--yes", "--aws-profile", name)
        assert refused.exit_code == 2 and "--aws-profile numerai" in refused.err
        assert line("upgrade", "--undo", "--aws-profile", name).exit_code == 2
    assert {name: (line.home / name).read_bytes() for name in before} == before and not credentials.exists()


def test_an_address_of_nobodys_is_asked_about_by_itself(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, before = aws_home(line, folder, monkeypatch)
    line.api.set_webhook("id-alice", "https://mine.example/hook")
    asked = list[str]()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda question, **more: asked.append(question))
    assert line("upgrade", "--move-aws").exit_code == 1
    assert len(asked) == 1 and "mine.example" in asked[0] and cluster.resources
    assert {name: (line.home / name).read_bytes() for name in before} == before


def test_an_undo_waits_for_no_move_and_forgets_nothing_before_it_is_done(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_home(line, folder, monkeypatch)
    assert line("upgrade").exit_code == 0
    record = line.home / "aws" / "move.json"
    MoveFile(record).add("configure:numerai-alice")
    store = HomeStore(line.home, {})
    held = {path.name: path.read_bytes() for path in line.home.iterdir() if path.is_file()}
    with store.node_lock("move-aws"):
        refused = line("upgrade", "--undo")
    assert refused.exit_code == 1 and "Another numerai command" in refused.err and record.exists()
    assert {path.name: path.read_bytes() for path in line.home.iterdir() if path.is_file()} == held
    monkeypatch.setattr(OfficialHome, "_put_back", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert line("upgrade", "--undo").exit_code == 3 and record.exists()
    monkeypatch.undo()


def test_an_undo_of_nothing_leaves_the_record_of_a_move(line: Line) -> None:
    line("upgrade")
    MoveFile(line.home / "aws" / "move.json").add("configure:numerai-alice")
    assert "no upgrade to undo" in line("upgrade", "--undo").out
    assert (line.home / "aws" / "move.json").exists()
