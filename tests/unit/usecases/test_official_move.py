"""The move off the official tool's AWS cluster. Killed anywhere, it goes on; Numerai calls one address that answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.move_record import MoveFile
from numerai_compute.adapters.official_home import OfficialHome
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, UsageError
from numerai_compute.models import Deployment, EntryStatus, Model, Node, Run, RunState, Submission, SubmissionEntry
from numerai_compute.ports import ForeignImage, OfficialCluster, OfficialNode, Report
from numerai_compute.usecases.configure import NodeRequest, configure_node
from numerai_compute.usecases.official_move import BEGUN, DESTROY, Move, refuse_undo, with_hint

from tests.fakes import NOW, FakeApi, FakeClock, FakeProvider

NAMES = ("numerai-alice", "numerai-bob")
OLD = "https://{}.lambda-url.us-east-1.on.aws/"
STEPS = (
    "configure:numerai-alice", "configure:numerai-bob", "image:numerai-alice", "image:numerai-bob",
    "run:numerai-alice", "switch:numerai-alice", "run:numerai-bob", "switch:numerai-bob", "destroy",
)  # fmt: skip


class Killed(BaseException):
    """The machine went off."""


class NewCluster(FakeProvider):
    """A cluster that has addresses of its own, and whose runs submit unless they are told not to."""

    name = "aws"

    def __init__(self, api: FakeApi):
        super().__init__()
        self.api = api
        self.taken: list[tuple[str, str]] = []

    def configure(self, node: Node, report: Report) -> Node:
        return super().configure(replace(node, webhook_url=None), report)

    def take_image(self, node: Node, image: ForeignImage, report: Report) -> Deployment:
        self.taken.append((node.name, image.name))
        self.deployments[node.name] = Deployment(node.name, f"new/{node.name}:x", image.digest, NOW)
        return self.deployments[node.name]

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        if trigger_id is None:
            number = len(self.all_runs)
            self.api.held_by[node.model_id] = [Submission(f"s{number}", 100, None, f"{number}.csv", NOW)]
            on_time = SubmissionEntry(100, EntryStatus.ON_TIME, f"s{number}", f"{number}.csv")
            self.api.entries_by[node.model_id] = [on_time]
        return super().trigger(node, trigger_id)


class OldCloud:
    """The old cluster: two nodes, three things for each."""

    def __init__(self) -> None:
        self.left = {f"{kind}[{name}]" for kind in ("function", "repository", "definition") for name in NAMES}
        self.images = set(NAMES)
        self.runs: list[str] = []
        self.scheduled = set[str]()
        self.die_after: int | None = None

    def cluster(self) -> OfficialCluster:
        nodes = {name: OfficialNode(f"old/{name}", OLD.format(name), name in self.scheduled) for name in NAMES}
        return OfficialCluster(nodes, "account 1, us-east-1", tuple(sorted(self.left)))

    def image(self, repository: str) -> ForeignImage | None:
        name = repository.partition("/")[2]
        return ForeignImage(f"{repository}:latest", "sha256:abc", {}) if name in self.images else None

    def active_runs(self) -> Sequence[str]:
        return self.runs

    def destroy(self, report: Report) -> None:
        for number, each in enumerate(sorted(self.left)):
            if number == self.die_after:
                raise Killed
            self.left.remove(each)
        self.images.clear()


class World:
    """A home of numerai-cli 1.1 that was upgraded: alice has her folder, bob's is gone."""

    def __init__(self, home: Path, folder: Path):
        models = [Model(f"id-{name}", name.partition("-")[2], 8, OLD.format(name)) for name in NAMES]
        self.api = FakeApi(models)
        self.new, self.old, self.clock = NewCluster(self.api), OldCloud(), FakeClock()
        self.silent: set[str] = set()
        self.said: list[str] = []
        self.done: list[str] = []
        self.before_add: Callable[[str], object] = lambda step: None
        self.after_add: Callable[[str], object] = lambda step: None
        records = {
            name: {"provider": "aws", "cpu": 1024, "memory": 4096, "path": path, "model_id": f"id-{name}",
                   "webhook_url": OLD.format(name), "docker_repo": f"old/{name}"}
            for name, path in zip(NAMES, (str(folder), "/gone"), strict=True)
        }  # fmt: skip
        home.mkdir()
        (home / "nodes.json").write_text(json.dumps(records))
        self.store = HomeStore(home, {})
        self.official = OfficialHome(self.store)
        self.official.take_over()
        self.record = MoveFile(home / "aws" / "move.json")

    def move(self) -> Move:
        world = self

        class Record(MoveFile):
            def add(self, step: str) -> None:
                world.before_add(step)
                super().add(step)
                world.after_add(step)

        return Move(
            self.old.cluster(),
            self.old,
            self.store,
            self.new,
            lambda name: self.new,
            self.api,
            self.clock,
            Record(self.store.home / "aws" / "move.json"),
            lambda url: "HTTP 404" if url in self.silent else None,
            self.said.append,
            self.said.append,
            on_done=lambda step: self.done.append(step.key),
        )

    def go(self) -> None:
        move = self.move()
        move.carry_out(move.plan())

    def refused(self) -> NumeraiError:
        with pytest.raises(NumeraiError) as refused:
            self.go()
        return refused.value

    def holds(self) -> None:
        """What must be so at any moment: one address each, and it is one that answers with an image behind it."""
        for name in NAMES:
            called = self.api.by_id[f"id-{name}"].webhook
            if called == OLD.format(name):
                assert f"function[{name}]" in self.old.left and name in self.old.images, name
                assert self.store.nodes()[name].webhook_url == called, "what is recorded is what Numerai calls"
            else:
                assert called == self.new.webhook_url(name) and name in self.new.deployments, name
                assert [run for run in self.new.all_runs if run.node == name], "switched before it had run"

    def is_over(self) -> None:
        self.holds()
        assert not self.old.left
        for name in NAMES:
            assert (
                self.store.nodes()[name].webhook_url
                == self.api.by_id[f"id-{name}"].webhook
                == self.new.webhook_url(name)
            )


@pytest.fixture
def world(home: Path, folder: Path) -> World:
    return World(home, folder)


def test_every_node_is_moved_and_what_is_old_is_removed_last(world: World) -> None:
    world.go()
    assert tuple(world.done) == STEPS
    world.is_over()
    assert world.new.taken == [("numerai-bob", "old/numerai-bob:latest")], "alice was built from her folder"
    calls = [detail for name, detail in world.api.calls if name == "set_webhook"]
    assert calls == [(f"id-{name}", world.new.webhook_url(name)) for name in NAMES], "one call each, and never None"
    assert world.move().plan().pending == ()


@pytest.mark.parametrize("written", [True, False], ids=["after it was recorded", "before it was recorded"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_step_it_goes_on(world: World, step: str, written: bool) -> None:
    def die(done: str) -> None:
        if done == step:
            world.before_add = world.after_add = lambda step: None
            raise Killed

    world.before_add, world.after_add = (lambda step: None, die) if written else (die, lambda step: None)
    with pytest.raises(Killed):
        world.go()
    world.holds()
    before = list(world.done)
    world.go()
    world.is_over()
    again = [each for each in world.done[len(before) :] if each in before]
    assert again == [], "nothing that was recorded is done again"


def test_killed_again_and_again_it_comes_to_its_end(world: World) -> None:
    died = set[str]()

    def die(step: str) -> None:
        if step not in died:
            died.add(step)
            raise Killed

    world.after_add = die
    for _ in range(len(STEPS) + 2):
        try:
            world.go()
        except Killed:
            world.holds()
        else:
            break
    world.is_over()
    assert died == {*STEPS, BEGUN}


@pytest.mark.parametrize("left", range(6))
def test_killed_within_the_removal_it_removes_the_rest(world: World, left: int) -> None:
    world.old.die_after = left
    with pytest.raises(Killed):
        world.go()
    world.holds()
    world.old.die_after = None
    world.go()
    world.is_over()
    assert {BEGUN, DESTROY} <= world.record.done()


@pytest.mark.parametrize("after", [False, True], ids=["before Numerai heard", "after Numerai heard"])
def test_killed_while_numerai_is_told_it_holds_one_address(
    world: World, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = world.api.set_webhook

    def killed(model_id: str, url: str | None) -> None:
        if after:
            tell(model_id, url)
        monkeypatch.setattr(world.api, "set_webhook", tell)
        raise Killed

    monkeypatch.setattr(world.api, "set_webhook", killed)
    with pytest.raises(Killed):
        world.go()
    world.holds()
    world.go()
    world.is_over()


def test_a_first_run_that_fails_leaves_the_webhook_and_is_tried_with_a_new_image(world: World) -> None:
    world.new.ending = {"state": RunState.FAILED, "exit_code": 1, "message": "ImportError: no lightgbm"}
    error = world.refused()
    assert error.code == "first-run-failed" and "no lightgbm" in error.message and "--move-aws" in str(error.hint)
    world.holds()
    assert world.api.by_id["id-numerai-alice"].webhook == OLD.format("numerai-alice")
    assert world.old.left and "image:numerai-alice" not in world.record.done()
    world.new.ending, world.new.hash = {"state": RunState.SUCCEEDED, "exit_code": 0}, "mended"
    world.go()
    world.is_over()
    assert world.new.deployments["numerai-alice"].source_hash == "mended"


def test_an_address_that_does_not_answer_is_not_given_to_numerai(world: World) -> None:
    url = f"{world.new.base}/numerai-alice/token-of-numerai-alice"
    world.silent.add(url)
    error = world.refused()
    assert error.code == "no-answer" and "HTTP 404" in error.message
    world.holds()
    assert world.old.left and not [name for name, _ in world.api.calls if name == "set_webhook"]
    world.silent.clear()
    world.go()
    world.is_over()


def test_nothing_is_removed_while_numerai_calls_it(world: World) -> None:
    world.store.save_node(replace(world.store.nodes()["numerai-bob"], provider="local"))
    error = world.refused()
    assert error.code == "still-called" and "bob" in error.message and len(world.old.left) == 6
    world.api.set_webhook("id-numerai-bob", None)
    world.go()
    assert not world.old.left


def test_what_ends_the_calls_of_the_old_cluster_is_said_and_does(world: World, folder: Path) -> None:
    """A node that is none of the move's: this home has it on another provider."""
    world.store.save_node(replace(world.store.nodes()["numerai-bob"], provider="local", path=str(folder)))
    command = "`numerai node -m numerai-bob "
    assert f"{command}deploy`, then {command}config` ends" in str(world.refused().hint)
    bob = world.store.nodes()["numerai-bob"]
    world.new.deploy(bob, force=False, report=lambda line: None)
    hint = str(world.refused().hint)
    assert f"{command}config` ends" in hint and "deploy" not in hint
    configure_node(
        NodeRequest(), "numerai-bob", None, api=world.api, store=world.store, provider_named=lambda name: world.new,
        digest_of=lambda image: None, report=lambda line: None, agree=lambda preview: None, insist=lambda why: None,
        take_over=lambda question: None,
    )  # fmt: skip
    world.go()
    assert not world.old.left


def test_where_no_command_ends_the_calls_of_the_old_cluster_the_website_is_named(world: World) -> None:
    bob = world.store.nodes()["numerai-bob"]
    world.store.save_node(replace(bob, provider="local"))
    world.new.reachable = False
    hint = str(world.refused().hint)
    assert "webhook of bob on https://numer.ai" in hint and "numerai node" not in hint
    world.store.forget_node("numerai-bob")
    world.new.reachable = True
    hint = str(world.refused().hint)
    assert "webhook of bob on https://numer.ai" in hint and "numerai-bob config -P aws --path FOLDER`" in hint


def test_nothing_is_removed_while_a_run_goes_on_there(world: World) -> None:
    world.old.runs = ["numerai-alice (running, job 1)"]
    error = world.refused()
    assert error.code == "run-active" and "job 1" in error.message and len(world.old.left) == 6
    world.old.runs = []
    world.go()
    world.is_over()


def test_a_numerai_that_forgets_what_it_was_told_stops_the_move(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tell = world.api.set_webhook
    monkeypatch.setattr(world.api, "set_webhook", lambda model_id, url: None)
    assert world.refused().code == "not-switched"
    assert len(world.old.left) == 6
    monkeypatch.setattr(world.api, "set_webhook", tell)
    world.go()
    world.is_over()


def test_a_node_with_neither_folder_nor_image_stops_before_anything_is_lost(world: World) -> None:
    world.old.images.discard("numerai-bob")
    error = world.refused()
    assert error.code == "nothing-to-run" and "config --path" in str(error.hint)
    assert world.api.by_id["id-numerai-bob"].webhook == OLD.format("numerai-bob") and len(world.old.left) == 6


def test_that_an_image_is_missing_is_known_before_anything_is_made(world: World) -> None:
    world.old.images.discard("numerai-bob")
    assert world.refused().code == "nothing-to-run" and not world.new.configured and not world.done


def test_an_image_that_is_in_place_already_is_not_looked_for_again(world: World) -> None:
    world.go()
    assert not world.old.images and not world.move().plan().pending


def test_a_node_that_the_old_cluster_does_not_know_is_named(world: World) -> None:
    bob = world.store.nodes()["numerai-bob"]
    world.store.save_node(replace(bob, name="signals-bob", tournament=11, model_id="id", webhook_url=None))
    world.store.save_node(replace(bob, name="crypto-bob", tournament=12, model_id="id", provider="local"))
    found = "\n".join(world.move().plan().found)
    assert "signals-bob: the old cluster records nothing of it; it is not moved" in found
    assert "numerai node -m signals-bob config" in found and "crypto-bob" not in found


CRON = "30 13 ? * * *"


def scheduled(world: World, *names: str) -> None:
    """Let these nodes run by a schedule, in the old cluster, too."""
    for name in names:
        world.store.save_node(replace(world.store.nodes()[name], cron=CRON))
    world.old.scheduled = set(names)


@pytest.mark.parametrize("written", [True, False], ids=["after it was recorded", "before it was recorded"])
@pytest.mark.parametrize("step", [*STEPS[:-1], "schedule:numerai-alice", "schedule:numerai-bob"])
def test_a_schedule_begins_once_the_node_has_run_and_is_switched(world: World, step: str, written: bool) -> None:
    scheduled(world, *NAMES)
    configure, begun = world.new.configure, list[str]()

    def watched(node: Node, report: Report) -> Node:
        if node.cron:
            begun.append(node.name)
            assert world.api.by_id[node.model_id].webhook == world.new.webhook_url(node.name)
            assert node.name in world.new.deployments
        return configure(node, report)

    def die(done: str) -> None:
        if done == step:
            world.before_add = world.after_add = lambda step: None
            raise Killed

    world.new.configure = watched  # type: ignore[method-assign]
    world.before_add, world.after_add = (lambda step: None, die) if written else (die, lambda step: None)
    with pytest.raises(Killed):
        world.go()
    assert all(node.cron == CRON for node in world.store.nodes().values()), "what is recorded stays"
    assert world.old.left, "until the new one has its schedules the old one runs by its own"
    world.go()
    world.is_over()
    assert all(world.new.configured[name].cron == CRON for name in NAMES) and set(begun) == set(NAMES)


def test_that_both_clusters_run_by_a_schedule_for_a_while_is_said(world: World) -> None:
    scheduled(world, "numerai-bob")
    plan = world.move().plan()
    (note,) = [note for note in plan.notes if "schedule" in note]
    assert "numerai-bob" in note and "both" in note and "numerai-alice" not in note
    keys = [step.key for step in plan.steps]
    assert keys.index("schedule:numerai-bob") == keys.index("switch:numerai-bob") + 1
    assert "schedule:numerai-alice" not in keys


def test_a_schedule_that_nobody_can_end_from_here_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled(world, "numerai-bob")
    cluster = replace(world.old.cluster(), resources=(), unusable="its state is gone", by_hand=("the queue",))
    monkeypatch.setattr(world.old, "cluster", lambda: cluster)
    (note,) = [note for note in world.move().plan().notes if "schedule" in note]
    assert "Until you remove" in note


def test_a_schedule_that_runs_here_already_is_not_taken_away(world: World) -> None:
    """Configured and deployed by hand before."""
    scheduled(world, "numerai-bob")
    configured = world.new.configure(world.store.nodes()["numerai-bob"], lambda line: None)
    world.new.deploy(configured, force=False, report=lambda line: None)
    world.store.save_node(configured)
    world.api.set_webhook(configured.model_id, configured.webhook_url)
    configure, seen = world.new.configure, list[str | None]()

    def watched(node: Node, report: Report) -> Node:
        seen.extend([node.cron] if node.name == "numerai-bob" else [])
        return configure(node, report)

    world.new.configure = watched  # type: ignore[method-assign]
    world.go()
    assert set(seen) == {CRON} and world.new.configured["numerai-bob"].cron == CRON


def test_a_node_whose_model_runs_an_upload_keeps_its_schedule(world: World) -> None:
    scheduled(world, "numerai-bob")
    world.api.by_id["id-numerai-bob"] = replace(world.api.by_id["id-numerai-bob"], pickle="x")
    world.go()
    assert world.new.configured["numerai-bob"].cron == CRON and not world.old.left


def test_a_schedule_goes_on_without_a_webhook(world: World) -> None:
    scheduled(world, "numerai-bob")
    world.api.set_webhook("id-numerai-bob", None)
    world.go()
    assert world.api.by_id["id-numerai-bob"].webhook is None and not world.old.left
    assert world.store.nodes()["numerai-bob"].webhook_url == world.new.webhook_url("numerai-bob")
    assert world.move().plan().pending == ()


def test_an_address_of_somebody_else_stays(world: World) -> None:
    world.api.set_webhook("id-numerai-bob", "https://mine.example/hook")
    plan = world.move().plan()
    (note,) = [note for note in plan.notes if "mine.example" in note]
    assert "stays as it is" in note and "neither cluster" in note and "calls end" in note
    assert plan.doubts == (note,), "it is asked about by itself"
    world.go()
    assert world.api.by_id["id-numerai-bob"].webhook == "https://mine.example/hook" and not world.old.left
    assert world.move().plan().doubts == (), "there is nothing left that could end"


def test_an_address_of_somebody_else_that_ends_as_the_old_one_does_stays(world: World) -> None:
    """Only the very address that the old cluster was given is the old cluster."""
    old = world.store.nodes()["numerai-bob"]
    world.store.save_node(replace(old, webhook_url="https://api.example/v1/numerai-bob/"))
    world.api.set_webhook("id-numerai-bob", "https://mine.example/v1/numerai-bob/")
    assert len(world.move().plan().doubts) == 1
    world.go()
    assert world.api.by_id["id-numerai-bob"].webhook == "https://mine.example/v1/numerai-bob/"


def test_nodes_that_were_moved_by_hand_before_are_not_run_again(world: World) -> None:
    for name in NAMES:
        configured = world.new.configure(world.store.nodes()[name], lambda line: None)
        world.new.deploy(configured, force=False, report=lambda line: None)
        world.store.save_node(configured)
        world.api.set_webhook(configured.model_id, configured.webhook_url)
    world.go()
    assert not world.old.left and not world.new.all_runs


def test_what_was_taken_away_meanwhile_is_made_again(world: World) -> None:
    world.after_add = lambda step: (_ for _ in ()).throw(Killed) if step == "image:numerai-bob" else None
    with pytest.raises(Killed):
        world.go()
    world.after_add = lambda step: None
    world.new.destroy("numerai-alice", force=True, report=lambda line: None)
    world.go()
    world.is_over()


def test_a_model_of_another_account_stops_it_before_anything_is_made(world: World) -> None:
    del world.api.by_id["id-numerai-bob"]
    assert world.refused().code == "not-in-account" and not world.new.configured


def test_a_node_of_0_3_that_has_no_model_id_gets_it(world: World) -> None:
    world.store.save_node(replace(world.store.nodes()["numerai-bob"], model_id=""))
    world.go()
    world.is_over()
    assert world.store.nodes()["numerai-bob"].model_id == "id-numerai-bob"


def test_what_cannot_be_removed_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = replace(world.old.cluster(), resources=(), unusable="its state is gone", by_hand=("the queue",))
    monkeypatch.setattr(world.old, "cluster", lambda: cluster)
    plan = world.move().plan()
    assert plan.by_hand == ("the queue",) and any("its state is gone" in note for note in plan.notes)
    world.go()
    assert DESTROY not in world.done and world.api.by_id["id-numerai-bob"].webhook == world.new.webhook_url(
        "numerai-bob"
    )


def test_there_is_no_way_back_once_the_removal_has_begun(world: World) -> None:
    refuse_undo(world.record)
    world.old.die_after = 1
    with pytest.raises(Killed):
        world.go()
    with pytest.raises(UsageError, match="removed, or begun"):
        refuse_undo(world.record)
    world.record.forget()
    assert world.record.done() == frozenset()


@pytest.mark.parametrize("content", [b"{", b"", b"null", b"[]", b'{"version": 1, "done": ["\xff"]}', b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_said(world: World, content: bytes) -> None:
    path = world.store.home / "aws" / "move.json"
    path.parent.mkdir()
    path.write_bytes(content)
    error = world.refused()
    assert error.code == "state-corrupt" and str(path) in error.message


def test_two_at_once_are_refused(world: World) -> None:
    with world.store.node_lock("move-aws"):
        assert world.refused().code == "busy"


def test_who_has_no_other_aws_keys_is_told_of_the_old_ones() -> None:
    def hint(code: str, keys: Any) -> str | None:
        return with_hint(EnvironmentNotReady("no", "hint", code=code), keys).hint

    assert "--aws-profile numerai" in str(hint("no-aws-credentials", ("a", "b")))
    assert hint("no-aws-credentials", None) == hint("else", ("a", "b")) == "hint"


def test_a_folder_that_goes_meanwhile_is_made_up_for_by_the_image(world: World, folder: Path) -> None:
    world.after_add = lambda step: (_ for _ in ()).throw(Killed) if step == "configure:numerai-bob" else None
    with pytest.raises(Killed):
        world.go()
    shutil.rmtree(folder)
    world.after_add = lambda step: None
    world.go()
    world.is_over()
    assert [name for name, _ in world.new.taken] == list(NAMES)
