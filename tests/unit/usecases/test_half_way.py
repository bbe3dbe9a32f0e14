"""What the other commands do while a move was not finished: none undoes it, or leaves Numerai calling nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Check, CheckStatus, Node, RunState
from numerai_compute.usecases.deploy import deploy_node, half_moved_note
from numerai_compute.usecases.destroy import destroy_node
from numerai_compute.usecases.doctor import Doctor
from numerai_compute.usecases.forget import forget_node
from numerai_compute.usecases.inspect import has_moved
from numerai_compute.usecases.plan import Plan
from numerai_compute.usecases.verify import Fact, Verifier
from numerai_compute.usecases.webhooks import register, webhook_check
from numerai_compute.watching.ledger import DATABASE_FILE, Ledger
from numerai_compute.watching.policy import Step
from numerai_compute.watching.settings import WatchSettings
from numerai_compute.watching.watcher import Watcher

from tests.fakes import KEYS, NOW, FakeApi, FakeClock, FakeProvider
from tests.present import present
from tests.unit.usecases.test_move import Killed, Setting
from tests.unit.usecases.test_official_move import NAMES, OLD, World
from tests.unit.watching.test_watcher import ROUND, Person

MOVE_AWS = "numerai upgrade --move-aws"


@pytest.fixture
def world(home: Path, folder: Path) -> World:
    """The old cluster's two nodes, configured and deployed in the new one; the first run of one has failed there."""
    world = World(home, folder)
    world.new.ending = {"state": RunState.FAILED, "exit_code": 1}
    assert world.refused().code == "first-run-failed"
    return world


@pytest.fixture
def setting(store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node) -> Setting:
    return Setting(store, api, provider)


def found(world: World, name: str) -> Check:
    node = world.store.nodes()[name]
    return webhook_check(node, world.api.by_id[node.model_id], lambda name: world.new, world.api.url, lambda: False)


# the official tool's cluster


@pytest.mark.parametrize("name", NAMES)
def test_doctor_leaves_the_webhook_to_the_move_that_proves_the_node_first(world: World, name: str) -> None:
    check = found(world, name)
    assert check.status is CheckStatus.FAILED and "is not finished" in check.why
    assert (check.mend, check.safe_fix) == (MOVE_AWS, None)
    with pytest.raises(NumeraiError) as refused:
        register(world.store.nodes()[name], lambda name: world.new, world.api, world.store, lambda line: None)
    assert MOVE_AWS in str(refused.value.hint) and world.api.by_id[f"id-{name}"].webhook == OLD.format(name)


def test_doctor_does_not_ask_for_a_config_that_would_let_numerai_call_the_new_side(home: Path, folder: Path) -> None:
    assert found(World(home, folder), "numerai-alice").mend == MOVE_AWS, "nothing is made in the new cluster yet"


def test_doctor_fixes_nothing_of_a_move_and_what_it_says_leads_out(world: World) -> None:
    world.store.save_keys(KEYS)
    ledger = Ledger(world.store.home / DATABASE_FILE)
    doctor = Doctor(world.store, lambda keys: world.api, lambda name: world.new, FakeClock(), ledger)
    assert not [done for done in doctor.fix(doctor.examine(), lambda line: None) if "webhook" in done]
    world.holds()
    world.new.ending = {"state": RunState.SUCCEEDED, "exit_code": 0}
    world.go()
    world.is_over()
    assert {found(world, name).status for name in NAMES} == {CheckStatus.OK}


def test_a_node_in_the_old_cluster_has_not_merely_another_address(world: World) -> None:
    assert not [name for name in NAMES if has_moved(world.store.nodes()[name], world.new)]


def test_the_test_of_a_node_points_to_the_move(world: World) -> None:
    facts: list[Fact] = []
    node = world.store.nodes()["numerai-bob"]
    here = lambda name: world.new  # noqa: E731
    Verifier(node, here, world.api, world.clock, facts.append, lambda line: None, lambda line: None).verify()
    assert facts[-1].holds is False and facts[-1].mend == MOVE_AWS


def test_forget_names_what_brings_a_node_over_and_no_destroy_that_leaves_it_there(world: World) -> None:
    asked: list[str] = []
    forget_node(world.store, "numerai-alice", asked.append, dry_run=False)
    assert MOVE_AWS in asked[0] and "removes all of it" not in asked[0]


def stopped_before_the_switch(world: World) -> None:
    """The first node has run in the new cluster, and its address does not answer yet."""
    world.new.ending = {"state": RunState.SUCCEEDED, "exit_code": 0}
    world.silent.add(str(world.new.webhook_url("numerai-alice")))
    assert world.refused().code == "no-answer" and "run:numerai-alice" in world.record.done()
    world.silent.clear()
    world.done.clear()


def test_what_was_proven_is_what_numerai_is_let_call(world: World) -> None:
    """Another image has been deployed since the first run: that one is run before the switch, too."""
    stopped_before_the_switch(world)
    world.new.hash, deployed = "other", NOW + timedelta(hours=1)
    world.new.deploy(world.store.nodes()["numerai-alice"], force=False, report=lambda line: None)
    known = world.new.deployments
    known["numerai-alice"] = replace(known["numerai-alice"], deployed_at=deployed)
    world.new.clock.elapsed = 2 * 3600
    world.go()
    assert "run:numerai-alice" in world.done
    world.is_over()


def test_what_was_destroyed_since_it_ran_runs_again_before_the_switch(world: World) -> None:
    stopped_before_the_switch(world)
    world.new.destroy("numerai-alice", force=True, report=lambda line: None)
    world.go()
    assert "run:numerai-alice" in world.done
    world.is_over()


def test_what_has_run_and_is_as_it_was_does_not_run_again(world: World) -> None:
    stopped_before_the_switch(world)
    world.go()
    assert "run:numerai-alice" not in world.done


def test_the_watcher_starts_nothing_in_the_new_cluster_while_numerai_calls_the_old_one(world: World) -> None:
    world.new.all_runs.clear()
    world.api.held_by.clear()
    world.api.entries_by.clear()
    world.api.round, person = ROUND, Person()
    world.api.clock = world.new.clock = world.clock
    watcher = Watcher(
        store=world.store,
        api=lambda: world.api,
        provider_named=lambda name: world.new,
        ledger=Ledger(world.store.home / DATABASE_FILE),
        notifier=person,
        clock=world.clock,
        settings=WatchSettings(),
        kind="watch",
    )
    for minutes in (1, 15, 40, 55):
        world.clock.elapsed = minutes * 60
        steps = {finding.step for finding in watcher.look().findings}
        assert steps == {Step.STUCK} and not world.new.all_runs, minutes
    told = {notice.node: notice.text for notice in person.told if notice.node is not None}
    assert set(told) == set(NAMES) and all(MOVE_AWS in text for text in told.values())


# any node


def test_a_node_without_an_image_is_deployed_before_numerai_calls_it(
    node: Node, api: FakeApi, store: HomeStore, provider: FakeProvider
) -> None:
    provider.deployments.clear()
    for held in (None, "http://127.0.0.1:7/numerai-alice/token-of-numerai-alice", "https://elsewhere/x"):
        api.set_webhook("id-alice", held)
        check = webhook_check(node, api.by_id["id-alice"], lambda name: provider, api.url, lambda: False)
        assert check.status is CheckStatus.FAILED and "not deployed" in check.why
        assert (check.mend, check.safe_fix) == ("numerai node -m numerai-alice deploy", None)
        with pytest.raises(NumeraiError, match="not deployed"):
            register(node, lambda name: provider, api, store, lambda line: None)
        assert api.by_id["id-alice"].webhook == held


# between two providers


def half_way(setting: Setting, before: str) -> Node:
    """The node as it is when the move is killed before the step of that name."""
    setting.dry_run = True
    steps = setting.config(provider="aws").describe()  # type: ignore[union-attr]
    setting.dry_run, setting.reported = False, []
    setting.kill_at = [each.startswith(before) for each in steps].index(True)
    with pytest.raises(Killed):
        setting.config(provider="aws")
    setting.kill_at = None
    return setting.node()


def test_doctor_registers_no_side_of_a_node_that_is_on_two_providers(setting: Setting) -> None:
    node = half_way(setting, "build")
    setting.api.set_webhook("id-alice", None)
    check = webhook_check(node, setting.api.by_id["id-alice"], setting.provider, setting.api.url, lambda: False)
    assert check.safe_fix is None and "config -P aws" in str(check.mend)


def destroy(setting: Setting, node: Node, **options: bool) -> Plan:
    return destroy_node(
        node,
        api=lambda: setting.api,
        store=setting.store,
        provider_named=setting.provider,
        report=lambda line: None,
        warn=lambda line: None,
        **options,
    )


@pytest.mark.parametrize("then", ["aws", "local"])
def test_destroy_leaves_no_webhook_of_a_side_that_was_never_recorded(setting: Setting, then: str) -> None:
    """A node that was destroyed with its record kept, and whose next provider was killed before its address was."""
    destroy(setting, setting.node(), keep_config=True)
    assert setting.node().webhook_url is None
    setting.look = lambda: None  # type: ignore[method-assign]
    half_way(setting, "record that numerai-alice is on aws")
    node = setting.node()
    if then == "local":
        node = replace(node, provider="aws", also_on="local")
        setting.store.save_node(node)
    assert node.webhook_url is None and setting.api.by_id["id-alice"].webhook == setting.there.webhook_url(node.name)
    assert destroy(setting, node).describe()[0] == "clear the webhook of alice at Numerai"
    assert setting.api.by_id["id-alice"].webhook is None and not setting.there.configured


@pytest.mark.parametrize("recorded", [True, False])
def test_destroy_of_a_half_moved_node_deletes_no_webhook_of_somebody_else(setting: Setting, recorded: bool) -> None:
    node = half_way(setting, "record that numerai-alice is on aws")
    if not recorded:
        setting.store.save_node(node := replace(node, webhook_url=None))
    setting.api.set_webhook("id-alice", "https://elsewhere/numerai-alice/their-token")
    destroy(setting, node)
    assert setting.api.by_id["id-alice"].webhook == "https://elsewhere/numerai-alice/their-token"


def test_destroy_asks_numerai_nothing_of_a_node_that_has_no_address_anywhere(setting: Setting) -> None:
    node = setting.node()
    destroy(setting, node, keep_config=True)
    setting.api.calls.clear()
    destroy(setting, setting.node())
    assert setting.api.calls == [] and not setting.store.nodes()


@pytest.mark.parametrize(("recorded", "also_on"), [("local", "plugin"), ("plugin", "local")])
def test_destroy_removes_the_side_that_is_here_and_says_what_stays_elsewhere(
    setting: Setting, recorded: str, also_on: str
) -> None:
    setting.store.save_node(replace(setting.node(), provider=recorded, also_on=also_on))
    plan = destroy(setting, setting.node())
    assert "What plugin holds for numerai-alice stays there" in "\n".join(plan.notes)
    assert not setting.here.configured and not setting.store.nodes()
    assert setting.api.by_id["id-alice"].webhook is None


def deployed_later(side: FakeProvider) -> None:
    known = side.deployments["numerai-alice"]
    side.deployments["numerai-alice"] = replace(known, deployed_at=known.deployed_at + timedelta(minutes=1))


@pytest.mark.parametrize(("before", "then"), [("let Numerai", "aws"), ("remove", "local")])
def test_a_move_that_goes_on_takes_over_what_was_deployed_meanwhile(setting: Setting, before: str, then: str) -> None:
    """Else Numerai would call an older image from then on than it did until then."""
    half_way(setting, before)
    side, other = (setting.there, setting.here) if then == "aws" else (setting.here, setting.there)
    side.hash = other.hash = "newer"
    deploy_node(setting.node(), other, setting.store, lambda line: None, force=False)
    deployed_later(other)
    setting.dry_run = True
    (step,) = [step for step in setting.config(provider=then).describe() if "deploy it on" in step]  # type: ignore
    assert step.endswith(f"deploy it on {then}; until then {other.name} runs it")
    setting.dry_run = False
    setting.done(provider=then)
    setting.check_is_on(side, other)
    assert side.deployments["numerai-alice"].source_hash == "newer"


@pytest.mark.parametrize("then", ["aws", "local"])
def test_a_move_without_a_deploy_meanwhile_builds_nothing_again(setting: Setting, then: str) -> None:
    half_way(setting, "let Numerai")
    deployed_later(setting.there)  # by the move itself
    setting.here.hash = setting.there.hash = "newer"
    setting.done(provider=then)
    side = setting.there if then == "aws" else setting.here
    assert side.deployments["numerai-alice"].source_hash == "h1"


def test_a_deploy_says_on_which_side_of_a_half_moved_node_it_is(setting: Setting) -> None:
    node = half_way(setting, "let Numerai")
    setting.here.hash = "changed"
    note = present(half_moved_note(node, setting.provider))
    assert "deploys it on local only" in note and "config -P aws" in note
    deploy_node(node, setting.here, setting.store, lambda line: None, force=False)
    assert setting.there.deployments["numerai-alice"].source_hash == "h1"


# what a refusal says to do


def test_a_move_that_a_run_holds_up_names_what_stops_the_run(setting: Setting) -> None:
    setting.here.starts = False
    run = setting.here.trigger(setting.node())
    with pytest.raises(NumeraiError) as refused:
        setting.config(provider="aws")
    assert f"`numerai node -m numerai-alice cancel {run.id}`" in str(refused.value.hint), "a move has no --force"
    assert "--force" not in str(refused.value.hint)
    setting.here.cancel(run.id)
    setting.config(provider="aws")
    setting.check_is_on(setting.there, setting.here)


def test_destroy_that_a_run_on_the_other_side_holds_up_names_what_stops_it(setting: Setting) -> None:
    node = half_way(setting, "record that numerai-alice is on aws")
    setting.there.starts = False
    setting.there.trigger(node)
    with pytest.raises(NumeraiError) as refused:
        destroy(setting, node)
    assert "add --force" in str(refused.value.hint) and "cancel" not in str(refused.value.hint)
    destroy(setting, node, force=True)
    assert not setting.store.nodes()


@pytest.mark.parametrize(("recorded", "also_on"), [("local", "plugin"), ("plugin", "local")])
def test_a_move_from_or_to_a_provider_that_is_gone_names_the_side_that_is_there(
    setting: Setting, recorded: str, also_on: str
) -> None:
    setting.store.save_node(replace(setting.node(), provider=recorded, also_on=also_on))
    with pytest.raises(NumeraiError) as refused:
        setting.config(provider="aws")
    hint = str(refused.value.hint)
    assert "config -P local" in hint and "config -P plugin" not in hint
    setting.store.save_node(replace(node := setting.node(), provider="plugin", also_on="gcp"))
    with pytest.raises(NumeraiError, match="is on plugin and on gcp") as refused:
        setting.config(provider="aws")
    assert "`numerai node forget numerai-alice`" in str(refused.value.hint), "neither is there"
    setting.store.save_node(node)
    setting.look = lambda: None  # type: ignore[method-assign]
    setting.config(provider="local")
    assert (setting.node().provider, setting.node().also_on) == ("local", None)


@pytest.mark.parametrize(
    "changes", [{"memory": 3}, {"cron": "5 12 * * TUE-SAT", "register_webhook": True}, {"register_webhook": True}, {}]
)
@pytest.mark.parametrize("before", ["build", "let Numerai", "record that numerai-alice is on aws", "remove"])
def test_a_change_that_names_no_provider_waits_for_the_end_of_the_move(
    setting: Setting, before: str, changes: dict[str, object]
) -> None:
    """Else it would bring the node to the side that it is recorded with, and Numerai's calls with it."""
    node = half_way(setting, before)
    called, sides = (
        setting.api.by_id["id-alice"].webhook,
        (dict(setting.here.configured), dict(setting.there.configured)),
    )
    for setting.dry_run in (True, False):
        with pytest.raises(NumeraiError, match="as a move between them was not finished") as refused:
            setting.config(**changes)
        hint = str(refused.value.hint)
        assert refused.value.code == "half-moved" and "config -P aws" in hint and "config -P local" in hint
    assert setting.node() == node and setting.api.by_id["id-alice"].webhook == called
    assert (setting.here.configured, setting.there.configured) == sides
    setting.done(provider="aws", **changes)
    setting.check_is_on(setting.there, setting.here)


def test_the_move_off_the_old_cluster_waits_for_the_end_of_a_move_to_another_provider(home: Path, folder: Path) -> None:
    world = World(home, folder)
    world.store.save_node(replace(world.store.nodes()["numerai-bob"], also_on="local"))
    error = world.refused()
    assert error.code == "half-moved" and "numerai node -m numerai-bob config -P local" in str(error.hint)
    assert not world.new.configured and not world.done
