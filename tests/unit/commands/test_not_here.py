"""A node on a provider that this tool does not have: no command says of it what cannot be seen from here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.modelling.runtime import DEPLOYED
from numerai_compute.usecases.deployed import deployed_model
from numerai_compute.usecases.inspect import beside_the_folder

from tests.unit.commands.conftest import FakeFactory, Line

HELD = "cannot be removed from here: this tool has no provider gcp"
FORGET = "`numerai node forget numerai-bob`"
UNSEEN = "cannot be seen from here: this tool has no provider gcp"


def forget_alice(line: Line) -> None:
    assert line("node", "forget", "numerai-alice", "--yes").exit_code == 0


def test_destroy_all_counts_on_removing_only_what_it_can(two: Line) -> None:
    planned, asked = two("destroy-all", "--dry-run"), two("destroy-all")
    for said in (planned.out, asked.err):
        assert "numerai-alice on local" in said and f"numerai-bob on gcp {HELD}" in said and FORGET in said
    assert planned.exit_code == 1 and "destroy numerai-bob" not in planned.out
    assert asked.exit_code == 2 and "- numerai-bob" not in asked.err and "all 2" not in asked.err
    assert len(HomeStore(two.home).nodes()) == 2
    done = two("destroy-all", "--yes")
    assert done.exit_code == 1 and "numerai-alice is gone" in done.out and HELD in done.out and FORGET in done.out
    assert [*HomeStore(two.home).nodes()] == ["numerai-bob"]


def test_destroy_all_asks_nothing_where_it_can_remove_nothing(two: Line) -> None:
    forget_alice(two)
    planned, done = two("destroy-all", "--dry-run"), two("destroy-all")
    assert (planned.exit_code, done.exit_code) == (1, 1) and HELD in planned.out and HELD in done.out
    assert "This would be done" not in planned.out and "No node is configured" not in done.out
    assert two("destroy-all", "--json").json == {
        "destroyed": [],
        "failed": {"numerai-bob": f"numerai-bob on gcp {HELD}. {FORGET} removes its record; what gcp holds stays."},
    }


def test_a_dry_run_of_destroy_all_ends_as_the_real_one_would(two: Line) -> None:
    assert two("node", "forget", "numerai-bob", "--yes").exit_code == 0
    assert two("destroy-all", "--dry-run").exit_code == 0
    path = two.home / "nodes.json"
    content = json.loads(path.read_text())
    content["nodes"]["numerai-half"] = None
    path.write_text(json.dumps(content))
    planned = two("destroy-all", "--dry-run")
    assert planned.exit_code == 1 and "`numerai node forget numerai-half`" in planned.out
    assert two("destroy-all", "--yes").exit_code == 1


def test_a_node_with_one_side_here_is_destroyed_and_what_stays_is_said(two: Line) -> None:
    store = HomeStore(two.home)
    store.save_node(replace(store.nodes()["numerai-bob"], also_on="local"))
    planned = two("destroy-all", "--dry-run")
    assert planned.exit_code == 0 and "destroy numerai-bob on gcp and local" in planned.out
    assert "What gcp holds for numerai-bob stays there" in planned.out
    assert two("destroy-all", "--yes").exit_code == 0 and not store.nodes()


def test_status_does_not_say_that_it_is_not_deployed(two: Line) -> None:
    said = two("status")
    assert f"numerai-bob on gcp {UNSEEN}" in said.err and "numerai-bob (cannot be seen from here)" in said.out
    assert "numerai-bob (not deployed)" not in said.out and "numerai-alice (not deployed)" in said.out
    bob = two("status", "--json").json["nodes"][1]
    assert (bob["deployed"], bob["not_here"]) == (None, "this tool has no provider gcp")


def test_history_says_that_its_runs_cannot_be_seen(two: Line) -> None:
    assert f"numerai-bob on gcp {UNSEEN}" in two("history").err
    assert two("history", "-m", "alice").err == ""


def test_the_status_of_it_says_neither_that_it_is_not_deployed_nor_that_it_has_not_run(two: Line) -> None:
    said = two("node", "-m", "bob", "status").out
    assert UNSEEN in said and "has not run" not in said and "deployed    no" not in said
    assert two("node", "-m", "bob", "status", "--json").json["not_here"] == "this tool has no provider gcp"
    assert two("node", "-m", "alice", "status", "--json").json["not_here"] is None


@pytest.mark.parametrize(
    "command",
    ["logs", "logs --log-type webhook", "logs --run r1", "status -n 5", "cancel", "cancel r1", "rollback",
     "rollback t1", "trigger", "deploy", "deploy --dry-run", "test"],
)  # fmt: skip
def test_what_needs_it_is_refused_with_what_leads_out(two: Line, command: str) -> None:
    refused = two("node", "-m", "bob", *command.split())
    assert refused.exit_code == 3 and "this tool has no provider gcp" in refused.err and FORGET in refused.err
    assert "has not run" not in refused.err + refused.out


def test_a_run_of_its_folder_says_that_it_is_not_known_what_is_deployed(two: Line) -> None:
    node = HomeStore(two.home).nodes()["numerai-bob"]
    factory = FakeFactory(two.home)
    (said,) = beside_the_folder(node, factory.provider_of)
    assert "is not deployed" not in said and "not known" in said and "no provider gcp" in said


@pytest.fixture
def half_gone(two: Line) -> Line:
    """A node that is deployed here, and of which a move to a provider was begun that is not there any more."""
    store = HomeStore(two.home)
    assert two("node", "forget", "numerai-bob", "--yes").exit_code == 0
    assert two("node", "deploy").exit_code == 0
    store.save_node(replace(store.nodes()["numerai-alice"], also_on="gcp"))
    two.api.set_webhook("id-alice", None)
    return two


@pytest.mark.parametrize(
    "command", ["status", "doctor", "node test", "node deploy", "node deploy --dry-run", "uninstall"]
)
def test_no_hint_names_a_provider_that_is_not_there(half_gone: Line, command: str) -> None:
    answer = half_gone(*command.split())
    said = answer.out + answer.err
    assert "is on local and on gcp" in said and "config -P local` leaves it here" in said
    assert "config -P gcp" not in said


def test_the_refusal_of_a_half_moved_node_offers_no_third_provider(two: Line) -> None:
    """Which `config` would refuse."""
    store = HomeStore(two.home)
    store.save_node(replace(store.nodes()["numerai-bob"], also_on="aws"))
    said = two("node", "-m", "bob", "logs").err
    assert "numerai doctor" in said and "config -P local" not in said and FORGET in said
    assert "config -P aws" in two("doctor").out


def test_neither_a_training_there_nor_a_comparison_calls_it_not_deployed(two: Line) -> None:
    refused = two("train", "--on", "bob")
    assert refused.exit_code == 3 and "this tool has no provider gcp" in refused.err and FORGET in refused.err
    node = HomeStore(two.home).nodes()["numerai-bob"]
    (Path(node.path) / DEPLOYED).write_bytes(b"x")
    (note,) = deployed_model(node, FakeFactory(two.home).provider_of).notes
    assert "not known" in note and "not deployed" not in note
