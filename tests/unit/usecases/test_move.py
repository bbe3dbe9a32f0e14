"""Moving a node to another provider: Numerai always calls one side that can run it, and any end is gone on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError, ProviderError, UsageError
from numerai_compute.models import CheckStatus, Node
from numerai_compute.ports import Artifact, Report
from numerai_compute.providers.absent import AbsentProvider
from numerai_compute.usecases.configure import Configured, NodeRequest, configure_node
from numerai_compute.usecases.destroy import destroy_node
from numerai_compute.usecases.forget import forget_node
from numerai_compute.usecases.inspect import where_it_is
from numerai_compute.usecases.move import Mover
from numerai_compute.usecases.node_checks import NodeChecks
from numerai_compute.usecases.plan import Plan
from numerai_compute.usecases.uninstall import refuse_while_held

from tests.fakes import FakeApi, FakeProvider
from tests.present import present


class Elsewhere(FakeProvider):
    """A provider on the other side; the schedules that its nodes were ever given are kept."""

    name = "aws"

    def __init__(self) -> None:
        super().__init__()
        self.schedules: list[str | None] = []
        self.started_with: list[str | None] = []

    def configure(self, node: Node, report: Report) -> Node:
        self.schedules.append(node.cron)
        done = super().configure(replace(node, webhook_url=f"https://aws/{node.name}/own-token"), report)
        assert node.webhook_url in (None, done.webhook_url), "an address of the other side is none of this one"
        return done

    def webhook_url(self, node_name: str) -> str | None:
        configured = self.configured.get(node_name)
        return configured.webhook_url if configured else None


class Killed(BaseException):
    """What ends a process without a word."""


class Setting:
    """A node that runs on `local`, and a provider `aws` beside it."""

    def __init__(self, store: HomeStore, api: FakeApi, here: FakeProvider):
        self.store, self.api, self.here, self.there = store, api, here, Elsewhere()
        self.reported: list[str] = []
        self.agreed: list[Plan] = []
        self.agree: Callable[[Plan], None] = self.agreed.append
        self.taken: list[str] = []
        self.take_over: Callable[[str], object] = self.taken.append
        self.kill_at: int | None = None
        self.dry_run = False

    def provider(self, name: str) -> FakeProvider | AbsentProvider:
        return {"local": self.here, "aws": self.there}.get(name) or AbsentProvider(name)

    def say(self, line: str) -> None:
        self.look()
        self.reported.append(line)
        if len(self.reported) - 1 == self.kill_at:
            raise Killed

    def look(self) -> None:
        """Numerai calls exactly one address, and what answers there has an image to run."""
        address = self.api.by_id["id-alice"].webhook
        sides = [side for side in (self.here, self.there) if address and side.webhook_url("numerai-alice") == address]
        assert len(sides) == 1 and sides[0].deployment("numerai-alice") is not None

    def config(self, **asked: object) -> Plan | Configured:
        common: dict[str, object] = {
            "api": self.api,
            "store": self.store,
            "provider_named": self.provider,
            "digest_of": lambda image: "sha256:" + "0" * 64,
            "report": self.say,
            "insist": lambda why: None,
            "take_over": self.take_over,
            "dry_run": self.dry_run,
        }
        mover = Mover(agree=self.agree, **common)  # type: ignore[arg-type]
        return configure_node(
            NodeRequest(**asked),  # type: ignore[arg-type]
            "alice",
            None,
            agree=lambda preview: None,
            move=mover.move,
            **common,  # type: ignore[arg-type]
        )

    def done(self, **asked: object) -> Configured:
        done = self.config(**asked)
        assert isinstance(done, Configured)
        return done

    def node(self) -> Node:
        return self.store.nodes()["numerai-alice"]

    def check_is_on(self, side: FakeProvider, other: FakeProvider) -> None:
        assert (self.node().provider, self.node().also_on) == (side.name, None)
        assert "numerai-alice" in side.configured and "numerai-alice" in side.deployments
        assert not other.configured and not other.deployments
        assert self.node().webhook_url == self.api.by_id["id-alice"].webhook == side.webhook_url("numerai-alice")


@pytest.fixture
def setting(store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node) -> Setting:
    return Setting(store, api, provider)


def test_a_node_goes_over_and_back_and_numerai_always_calls_what_can_run(setting: Setting) -> None:
    there = setting.done(provider="aws")
    setting.check_is_on(setting.there, setting.here)
    assert there.registered and there.deployed and len(setting.agreed) == 1
    back = setting.done(provider="local")
    setting.check_is_on(setting.here, setting.there)
    assert back.registered and setting.here.awake, "what has to run on this machine is started first"


def test_a_provider_that_it_has_already_is_no_move(setting: Setting) -> None:
    """Nor is a new executor of it: `setup --executor docker` and `deploy` put a process into a container."""
    setting.done(provider="local")
    setting.done(memory=3)
    assert setting.agreed == [] and not setting.there.configured and setting.node().memory_mib == 3072


def test_the_plan_names_what_is_made_and_removed_and_what_is_left_behind(setting: Setting) -> None:
    setting.dry_run = True
    plan = setting.config(provider="aws", cpu=3, memory=7)
    assert isinstance(plan, Plan) and not setting.there.configured and setting.node().also_on is None
    said = "\n".join([*plan.describe(), *plan.notes])
    for words in (
        "provision numerai-alice on aws: 3 vCPU, 7 GiB",
        "until then local runs it",
        "let Numerai call alice",
    ):
        assert words in said
    assert "remove everything that local holds" in said and "trained and kept on local do not come along" in said
    assert "history` stay" in said and "has changed" not in said
    setting.here.hash = "h2"
    changed = setting.config(provider="aws")
    assert isinstance(changed, Plan) and "gets it as it is now" in "\n".join(changed.notes)


@pytest.mark.slow
@pytest.mark.parametrize("cron", [None, "30 12 * * TUE-SAT"])
@pytest.mark.parametrize("then", ["aws", "local"])
def test_killed_before_any_step_the_same_command_goes_on_and_the_other_goes_back(
    setting: Setting, then: str, cron: str | None
) -> None:
    if cron:
        setting.done(cron=cron, register_webhook=True)
    steps = _steps(setting, register_webhook=bool(cron))
    assert len(steps) > 7
    for number in range(len(steps)):
        setting.reported, setting.kill_at = [], number
        with pytest.raises(Killed):
            setting.done(provider="aws", register_webhook=bool(cron))
        setting.look()
        setting.kill_at = None
        setting.done(provider=then, register_webhook=bool(cron))
        side, other = (setting.there, setting.here) if then == "aws" else (setting.here, setting.there)
        setting.check_is_on(side, other)
        assert setting.taken == [], "no side of its own is a stranger"
        assert setting.node().cron == cron and side.configured["numerai-alice"].cron == cron
        setting.done(provider="local", register_webhook=bool(cron))
        setting.check_is_on(setting.here, setting.there)


def _steps(setting: Setting, **asked: object) -> list[str]:
    setting.dry_run = True
    plan = setting.config(provider="aws", **asked)
    setting.dry_run = False
    assert isinstance(plan, Plan)
    return plan.describe()


def test_a_refusal_changes_nothing(setting: Setting) -> None:
    before = setting.node()

    def refuse(plan: Plan) -> None:
        raise NumeraiError("Not agreed: nothing was done.", code="not-agreed")

    setting.agree = refuse
    with pytest.raises(NumeraiError, match="Not agreed"):
        setting.done(provider="aws")
    assert setting.node() == before and not setting.there.configured


def test_a_run_that_goes_on_is_waited_for_and_the_move_is_finished_later(setting: Setting) -> None:
    setting.here.starts = False
    run = setting.here.trigger(setting.node())
    with pytest.raises(ProviderError, match="is queued"):
        setting.done(provider="aws")
    assert not setting.there.configured, "before anything was touched"
    setting.here.all_runs.clear()

    def busy(node_name: str, *, force: bool, report: Report) -> None:
        assert not force
        raise ProviderError(f"Run {run.id} of {node_name} is running.", "Wait.", code="run-active")

    whole, setting.here.destroy = setting.here.destroy, busy  # type: ignore[method-assign]
    with pytest.raises(ProviderError) as caught:
        setting.done(provider="aws")
    assert "is on aws already" in str(caught.value.hint) and "config -P aws" in str(caught.value.hint)
    assert (setting.node().provider, setting.node().also_on) == ("aws", "local")
    setting.look()
    setting.here.destroy = whole  # type: ignore[method-assign]
    setting.done(provider="aws")
    setting.check_is_on(setting.there, setting.here)


def test_a_failed_deploy_leaves_the_old_side_as_it_was(setting: Setting) -> None:
    setting.there.fail["deploy"] = NumeraiError("The build failed.", code="build-failed")
    with pytest.raises(NumeraiError, match="The build failed"):
        setting.done(provider="aws")
    setting.look()
    assert setting.here.deployments and setting.node().provider == "local"


def test_its_schedule_starts_over_there_only_once_it_can_run(setting: Setting) -> None:
    setting.done(cron="30 12 * * TUE-SAT", register_webhook=True)
    setting.done(provider="aws", register_webhook=True)
    assert setting.there.schedules == [None, "30 12 * * TUE-SAT"]
    assert setting.node().cron == "30 12 * * TUE-SAT"


def test_where_numerai_cannot_call_the_webhook_is_taken_off_once_the_daemon_follows(setting: Setting) -> None:
    setting.done(provider="aws")
    setting.here.reachable = False
    order: list[str] = []
    setting.here.wake = lambda report: order.append("daemon")  # type: ignore[method-assign]
    clear = setting.api.set_webhook
    setting.api.set_webhook = lambda *given: (order.append(f"webhook {given[1]}"), clear(*given))[1]  # type: ignore
    setting.look = lambda: None  # type: ignore[method-assign]
    done = setting.done(provider="local")
    assert order == ["daemon", "webhook None"] and not done.registered
    assert "numerai daemon start" in done.notes[0] and not setting.there.configured


def test_a_node_that_was_never_deployed_is_moved_and_not_deployed(setting: Setting) -> None:
    setting.here.deployments.clear()
    setting.look = lambda: None  # type: ignore[method-assign]
    done = setting.done(provider="aws")
    assert not done.deployed and not setting.there.deployments and done.node.provider == "aws"


def test_a_webhook_of_somebody_else_is_asked_about(setting: Setting) -> None:
    setting.look = lambda: None  # type: ignore[method-assign]
    setting.api.set_webhook("id-alice", "https://elsewhere/x")
    setting.done(provider="aws")
    assert "https://elsewhere" in setting.taken[0]


def test_a_third_provider_waits_for_the_move_to_end(setting: Setting) -> None:
    _stop_half_way(setting)
    setting.kill_at = None
    with pytest.raises(UsageError) as caught:
        setting.done(provider="gcp")
    assert caught.value.code == "half-moved" and "config -P aws" in str(caught.value.hint)


def test_a_disk_that_the_other_provider_does_not_set_stays_behind(setting: Setting) -> None:
    setting.store.save_node(replace(setting.node(), disk_gib=50))
    setting.done(provider="aws")
    assert setting.node().disk_gib is None
    with pytest.raises(UsageError, match="disk"):
        setting.done(provider="local", disk=60)


def test_what_a_provider_that_is_gone_holds_is_said_and_left(setting: Setting) -> None:
    setting.store.save_node(replace(setting.node(), also_on="gcp"))
    setting.done(provider="local")
    assert (setting.node().provider, setting.node().also_on) == ("local", None)
    assert "What gcp holds stays there" in "\n".join(setting.agreed[0].notes)


def _stop_half_way(setting: Setting) -> None:
    """Ended once Numerai calls the new side, before that is recorded."""
    setting.reported = []
    setting.kill_at = [each.startswith("record that numerai-alice is on aws") for each in _steps(setting)].index(True)
    with pytest.raises(Killed):
        setting.done(provider="aws")


def test_destroy_takes_both_sides_of_a_half_moved_node(setting: Setting) -> None:
    _stop_half_way(setting)
    node = setting.node()
    assert (node.provider, node.also_on) == ("local", "aws")
    destroy_node(
        node,
        api=lambda: setting.api,
        store=setting.store,
        provider_named=setting.provider,
        report=lambda line: None,
        warn=lambda line: None,
    )
    assert not setting.here.configured and not setting.there.configured and not setting.store.nodes()
    assert setting.api.by_id["id-alice"].webhook is None, "also one that nodes.json does not know yet"


def test_doctor_and_uninstall_say_how_a_move_is_finished(setting: Setting, home: Path) -> None:
    _stop_half_way(setting)
    before = setting.node()
    checks = NodeChecks(setting.node(), home, setting.provider, lambda: False).examine(None, None)
    check = next(check for check in checks if check.name == "move")
    assert check.status is CheckStatus.WARNING and "config -P aws" in present(check.mend)
    assert where_it_is(setting.node()) == "local and aws"
    asked: list[str] = []
    forget_node(setting.store, "numerai-alice", asked.append, dry_run=False)
    assert "on local and aws stays" in asked[0]
    setting.store.save_node(replace(before, also_on="aws"))
    with pytest.raises(NumeraiError) as caught:
        refuse_while_held(setting.store, (), setting.provider, None, leave_cloud=True)
    assert caught.value.code == "half-moved"


OFFICIAL = "https://abc.lambda-url.us-east-1.on.aws/"


def taken_over(setting: Setting) -> None:
    """The node as `upgrade` leaves it: it runs in the official tool's cluster on AWS, and nothing of it is here."""
    record = {"provider": "aws", "webhook_url": OFFICIAL}
    setting.store.save_node(replace(setting.node(), provider="aws", webhook_url=OFFICIAL, legacy=record))
    setting.here.configured.clear()
    setting.here.deployments.clear()
    setting.api.set_webhook("id-alice", OFFICIAL)

    def look() -> None:
        address = setting.api.by_id["id-alice"].webhook
        assert address == OFFICIAL or (address is not None and "numerai-alice" in setting.here.deployments)

    setting.look = look  # type: ignore[method-assign]


def test_a_node_of_the_official_cluster_is_deployed_here_before_its_calls_there_end(setting: Setting) -> None:
    taken_over(setting)
    setting.done(provider="local")
    setting.check_is_on(setting.here, setting.there)
    assert setting.node().legacy is not None, "what the official tool had recorded is kept"
    assert len(setting.taken) == 1
    assert "in the official tool's cluster on aws until now. Let Numerai call it here instead?" in setting.taken[0]


def test_of_a_node_of_the_official_cluster_only_what_is_so_is_said(setting: Setting) -> None:
    taken_over(setting)
    setting.store.save_node(replace(setting.node(), cron="30 12 * * TUE-SAT"))
    setting.dry_run = True
    plan = setting.config(provider="local")
    assert isinstance(plan, Plan)
    said = "\n".join([*plan.describe(), *plan.notes])
    assert "until then the official tool's cluster on aws runs it" in said
    assert "What the official tool made for numerai-alice on aws is not touched, and costs what it did" in said
    assert "Its schedule goes on starting it there" in said
    for untrue in ("never deployed", "removed on aws", "everything that aws holds"):
        assert untrue not in said


def test_calls_of_the_official_cluster_end_only_when_agreed_also_where_nobody_is_called_then(setting: Setting) -> None:
    taken_over(setting)
    setting.here.reachable = False
    before = setting.node()

    def refuse(question: str) -> None:
        assert "Let Numerai not call it any more (this machine starts it)?" in question
        raise NumeraiError("Not agreed: nothing was done.", code="not-agreed")

    setting.take_over = refuse
    with pytest.raises(NumeraiError, match="Not agreed"):
        setting.done(provider="local")
    assert setting.node() == before and not setting.here.configured


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "let Numerai call alice on aws from now on, and not https://elsewhere.example any more"),
        ({"cron": "0 13 * * *"}, "Numerai also calls another address for alice"),
    ],
)
def test_a_plan_says_what_becomes_of_a_webhook_of_somebody_else(
    setting: Setting, asked: dict[str, object], words: str
) -> None:
    setting.api.set_webhook("id-alice", "https://elsewhere.example/hook?token=x")
    setting.dry_run = True
    plan = setting.config(provider="aws", **asked)
    assert isinstance(plan, Plan) and words in "\n".join([*plan.describe(), *plan.notes])


class Keeping(Elsewhere):
    """A provider that can hand over what runs have left: node -> name -> content."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.files = name, dict[str, dict[str, bytes]]()
        self.unreadable: NumeraiError | None = None
        self.dies_at: str | None = None

    def artifacts(self, node_name: str) -> Iterator[Artifact]:
        if self.unreadable is not None:
            raise self.unreadable
        for name, content in self.files.get(node_name, {}).items():
            yield Artifact(name, len(content), partial(BytesIO, content))

    def put_artifacts(self, node_name: str, artifacts: Iterable[Artifact]) -> None:
        for artifact in artifacts:
            if artifact.name == self.dies_at:
                raise Killed
            self.files.setdefault(node_name, {})[artifact.name] = artifact.open().read()

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        super().destroy(node_name, force=force, report=report)
        self.files.pop(node_name, None)


MODELS = {"model.json": b"{}", "folds/1.model": b"tree"}


@pytest.fixture
def keeping(setting: Setting) -> Setting:
    """Both sides can hand over what runs have left, and those here have left models."""
    here, there = Keeping("local"), Keeping("aws")
    here.configured, here.deployments = setting.here.configured, setting.here.deployments
    here.configured = {"numerai-alice": replace(setting.node(), webhook_url="https://aws/numerai-alice/own-token")}
    setting.here, setting.there = here, there
    here.files["numerai-alice"] = dict(MODELS)
    setting.look = lambda: None  # type: ignore[method-assign]
    return setting


def kept(side: FakeProvider) -> object:
    assert isinstance(side, Keeping)
    return side.files


def test_what_runs_have_kept_goes_over_before_numerai_calls_there(keeping: Setting) -> None:
    steps = _steps(keeping)
    bring = next(number for number, step in enumerate(steps) if step.startswith("bring 2 files"))
    assert "folds/1.model, model.json from local to aws" in steps[bring]
    assert steps[bring - 1].startswith("build") and any("let Numerai call" in step for step in steps[bring:])
    keeping.done(provider="aws")
    assert kept(keeping.there) == {"numerai-alice": MODELS} and kept(keeping.here) == {}
    said = "\n".join(keeping.agreed[0].notes)
    assert "its images and the runs so far" in said and "trained" not in said
    keeping.done(provider="local")
    assert kept(keeping.here) == {"numerai-alice": MODELS}


def test_killed_while_files_go_over_they_go_over_again(keeping: Setting) -> None:
    assert isinstance(keeping.there, Keeping)
    keeping.there.dies_at = "folds/1.model"
    with pytest.raises(Killed):
        keeping.done(provider="aws")
    keeping.there.dies_at = None
    keeping.done(provider="aws")
    assert kept(keeping.there) == {"numerai-alice": MODELS}


def test_what_the_new_side_has_trained_itself_stays(keeping: Setting) -> None:
    assert isinstance(keeping.there, Keeping)
    _stop_half_way(keeping)
    keeping.kill_at = None
    keeping.there.run(keeping.there.trigger(keeping.node()).id)
    keeping.there.files["numerai-alice"]["model.json"] = b"newer"
    keeping.done(provider="aws")
    assert keeping.there.files["numerai-alice"]["model.json"] == b"newer"


def test_what_cannot_go_over_is_said_before_with_the_command_that_brings_a_model(keeping: Setting) -> None:
    assert isinstance(keeping.here, Keeping)
    keeping.here.unreadable = ProviderError("AWS refuses s3:ListBucket.")
    keeping.done(provider="aws")
    said = "\n".join(keeping.agreed[0].notes)
    assert "do not come along, and are removed there: they cannot be read (AWS refuses s3:ListBucket)" in said
    assert "numerai node -m numerai-alice deploy --model-file FILE" in said


def test_a_move_can_bring_new_code_from_an_example(setting: Setting, tmp_path: Path) -> None:
    setting.done(provider="aws", example="tournament-python3", path=tmp_path / "new")
    setting.check_is_on(setting.there, setting.here)
    assert setting.node().path == str(tmp_path / "new") and (tmp_path / "new" / "Dockerfile").is_file()
