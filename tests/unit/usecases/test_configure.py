"""Configuring a node: what is decided, in which order it is done, and what a failure leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, NumeraiError, ProviderError, UsageError
from numerai_compute.models import SIZES, DataVersions, Model, Node
from numerai_compute.ports import Report
from numerai_compute.providers.absent import AbsentProvider
from numerai_compute.providers.registry import provider_factory
from numerai_compute.usecases.configure import Configured, NodeRequest, configure_node
from numerai_compute.usecases.plan import Plan
from numerai_compute.usecases.scaffold import check_tournament

from tests.fakes import ALICE, NOW, FakeApi, FakeProvider, round_of, unreachable
from tests.present import present


class Setting:
    def __init__(self, store: HomeStore, api: FakeApi, provider: FakeProvider):
        self.store, self.api, self.provider = store, api, provider
        self.reported: list[str] = []
        self.digests: dict[str, str | None] = {}
        self.agree: Callable[[list[str]], None] = lambda preview: None
        self.insist: Callable[[str], None] = lambda why: None
        self.taken: list[str] = []
        self.more: dict[str, Any] = {"take_over": self.taken.append}
        self.provider_named: Any = lambda _: self.provider

    def configure(self, model: str | None = "alice", tournament: int | None = None, **asked: Any) -> Configured:
        done = self.run(model, tournament, **asked)
        assert isinstance(done, Configured)
        return done

    def run(
        self, model: str | None = "alice", tournament: int | None = None, dry_run: bool = False, **asked: Any
    ) -> object:
        return configure_node(
            NodeRequest(**asked),
            model,
            tournament,
            api=self.api,
            store=self.store,
            provider_named=self.provider_named,
            digest_of=self.digest_of,
            report=self.reported.append,
            agree=self.agree,
            insist=self.insist,
            dry_run=dry_run,
            **self.more,
        )

    def digest_of(self, image: str) -> str | None:
        if image not in self.digests:
            raise ProviderError("The Docker engine refused: manifest unknown.", code="engine-refused")
        return self.digests[image]


@pytest.fixture
def setting(store: HomeStore, api: FakeApi, provider: FakeProvider) -> Setting:
    return Setting(store, api, provider)


def test_a_node_is_provisioned_recorded_and_registered(setting: Setting, folder: Path) -> None:
    done = setting.configure(path=folder)
    assert done.registered and done.node.name == "numerai-alice"
    assert setting.api.by_id["id-alice"].webhook == done.node.webhook_url
    assert setting.store.nodes() == {"numerai-alice": done.node}
    assert (done.node.cpu, done.node.memory_mib) == (SIZES["mem-md"].cpu, SIZES["mem-md"].memory_mib)


def test_what_is_not_given_stays_and_the_address_stays(setting: Setting, folder: Path) -> None:
    first = setting.configure(path=folder, size="cpu-sm", timeout_minutes=7, cron="30 12 * * TUE-SAT")
    again = setting.configure()
    assert again.node == first.node
    other = setting.configure(memory=3, cpu=512, cron="")
    assert (other.node.cpu, other.node.memory_mib, other.node.cron) == (0.5, 3072, None)
    assert other.node.timeout_minutes == 7 and other.node.webhook_url == first.node.webhook_url


def test_a_model_is_trained_again_until_that_is_ended(setting: Setting, folder: Path) -> None:
    (folder / "predict.py").write_text("node.retrain()\n")
    assert setting.configure(path=folder).node.retrain_days is None
    assert setting.configure(retrain_days=30).node.retrain_days == 30
    assert setting.configure(memory=3).node.retrain_days == 30
    (folder / "predict.py").write_text("node.submit()\n")
    kept = setting.configure(memory=3)
    assert kept.node.retrain_days == 30 and any("`node.retrain`" in note for note in kept.notes)
    assert setting.configure(retrain_days=0).node.retrain_days is None


def test_what_would_never_train_again_is_refused_with_what_to_do(setting: Setting, folder: Path) -> None:
    (folder / "predict.py").write_text("node.submit()\n")
    setting.configure(path=folder)
    with pytest.raises(UsageError, match="nothing would be trained again") as caught:
        setting.configure(retrain_days=30)
    assert caught.value.code == "no-retraining" and '`node.retrain("train.py")`' in str(caught.value.hint)
    assert setting.configure(memory=3).node.retrain_days is None
    (folder / "predict.py").write_text("node.model()\n")
    with pytest.raises(UsageError) as caught:
        setting.configure(retrain_days=30)
    assert "`numerai node -m numerai-alice deploy --model-file FILE`" in str(caught.value.hint)
    (folder / "code").mkdir()
    (folder / "code" / "main.py").write_text("node.retrain()\n")
    assert setting.configure(retrain_days=30).node.retrain_days == 30


def test_of_the_examples_those_are_trained_again_that_train_on_the_node(setting: Setting, tmp_path: Path) -> None:
    told = setting.configure(path=tmp_path / "a", example="tournament-python3", retrain_days=30)
    assert told.node.retrain_days == 30 and not any("`node.retrain`" in note for note in told.notes)
    with pytest.raises(UsageError, match="nothing would be trained again"):
        setting.configure(path=tmp_path / "b", example="model-python3", retrain_days=30)
    assert not (tmp_path / "b").exists()


def test_a_pinned_data_version_stays_until_another_choice(setting: Setting, folder: Path) -> None:
    assert setting.configure(path=folder).node.data_version is None
    assert setting.configure(data_version="v5.2").node.data_version == "v5.2"
    setting.api.data = DataVersions(("v5.3",), "v5.3")
    assert setting.configure(memory=3).node.data_version == "v5.2", "also when Numerai no longer serves it"
    assert setting.configure(data_version="newest").node.data_version == "newest"
    assert setting.configure(data_version="trained").node.data_version is None


def test_a_folder_above_is_built_from_until_another_choice(setting: Setting, folder: Path) -> None:
    above = folder.parent / "above"
    above.mkdir()
    folder = folder.rename(above / "alice")
    done = setting.configure(path=folder, context=str(above))
    assert (done.node.context, done.notes) == (str(above), ())
    (folder / ".dockerignore").write_text("x")
    assert f"does not read {folder / '.dockerignore'}" in setting.configure().notes[0]
    (folder / "Dockerfile.dockerignore").write_text("x")
    again = setting.configure(memory=3)
    assert again.node.context == str(above) and again.notes == ()
    (above / "elsewhere").mkdir()
    with pytest.raises(UsageError, match="is not a folder above"):
        setting.configure(path=folder, context=str(above / "elsewhere"))
    with pytest.raises(UsageError, match="no folder"):
        setting.configure(context=str(above / "gone"))
    moved = folder.parent.parent / "moved"
    folder.rename(moved)
    with pytest.raises(UsageError, match="is not a folder above") as caught:
        setting.configure(path=moved)
    assert "--context ''" in str(caught.value.hint)
    assert setting.configure(path=moved, context="").node.context is None
    assert setting.configure(context=str(moved)).node.context is None


PYTHON = "docker.io/library/python:3.13-slim"


def test_base_images_are_pinned_until_they_are_pinned_anew(setting: Setting, folder: Path, tmp_path: Path) -> None:
    setting.digests = {PYTHON: "sha256:1", "docker.io/library/go:1": "sha256:2"}
    (folder / "Dockerfile").write_text("FROM go:1 AS b\nFROM c:1@sha256:3 AS c\nARG I\nFROM python:3.13-slim\nFROM b\n")
    done = setting.configure(path=folder, pin_base=True)
    assert done.node.base_digests == setting.digests
    assert setting.provider.configured["numerai-alice"].base_digests == setting.digests
    setting.digests[PYTHON] = "sha256:9"
    assert present(setting.configure(memory=3).node.base_digests)[PYTHON] == "sha256:1"
    assert present(setting.configure(pin_base=True).node.base_digests)[PYTHON] == "sha256:9"
    assert setting.configure(pin_base=False).node.base_digests is None
    plan = setting.run(dry_run=True, path=tmp_path / "new", example="tournament-python3", pin_base=True)
    assert isinstance(plan, Plan) and [step.split()[0] for step in plan.describe()][:3] == ["copy", "pin", "provision"]
    made = setting.configure(path=tmp_path / "new", example="tournament-python3", pin_base=True)
    assert made.node.base_digests == {PYTHON: "sha256:9"}


@pytest.mark.parametrize(
    ("dockerfile", "code", "words"),
    [
        ("FROM python:3.13-slim\n", "base-has-no-digest", f"{PYTHON}, which"),
        ("FROM gone:1\n", "base-image-missing", "manifest unknown"),
        ("FROM python:$TARGETARCH\n", "base-unknown", "FROM python:$TARGETARCH"),
    ],
)
def test_what_cannot_be_pinned_is_one_error_and_changes_nothing(
    setting: Setting, folder: Path, dockerfile: str, code: str, words: str
) -> None:
    setting.digests = {PYTHON: None}
    before = setting.configure(path=folder).node
    (folder / "Dockerfile").write_text(dockerfile)
    with pytest.raises(NumeraiError, match=re.escape(words)) as caught:
        setting.configure(pin_base=True)
    assert caught.value.code == code and caught.value.hint
    assert setting.store.nodes() == {before.name: before}


def test_capabilities_stay_until_others_replace_them(setting: Setting, folder: Path) -> None:
    done = setting.configure(path=folder, capabilities=("cap_setuid", "CHOWN,SETGID"))
    assert done.node.capabilities == ("CHOWN", "SETGID", "SETUID")
    assert setting.configure(memory=3).node.capabilities == done.node.capabilities
    assert setting.configure(capabilities=("CHOWN",)).node.capabilities == ("CHOWN",)
    assert setting.store.nodes()["numerai-alice"].capabilities == ("CHOWN",)
    with pytest.raises(UsageError, match="There is no capability 'FLY'"):
        setting.configure(capabilities=("CHOWN", "FLY"))
    for why in ("it has none", None):
        setting.provider.no_capabilities = why
        if why is None:
            del setting.provider.no_capabilities  # a provider that knows nothing of them
        with pytest.raises(UsageError, match=why or "does not know them") as caught:
            setting.configure()
        assert caught.value.code == "no-capabilities"
        assert setting.run(dry_run=True, capabilities=("",))
    setting.provider.no_capabilities = "it has none"
    assert setting.configure(capabilities=("",)).node.capabilities == ()


def test_a_dry_run_says_the_steps_and_does_nothing(setting: Setting, tmp_path: Path) -> None:
    plan = setting.run(dry_run=True, path=tmp_path / "new", example="tournament-python3")
    assert isinstance(plan, Plan)
    words = plan.describe()
    assert [step.split()[0] for step in words] == ["copy", "provision", "record", "register"]
    assert not (tmp_path / "new").exists() and setting.store.nodes() == {} and not setting.provider.configured
    assert all(name != "set_webhook" for name, _ in setting.api.calls)


def test_an_example_is_copied_with_its_runtime(setting: Setting, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    setting.configure(path=folder, example="tournament-python3")
    assert (folder / "predict.py").is_file() and (folder / "numerai_node" / "__init__.py").is_file()
    assert (folder / ".dockerignore").is_file() and not (folder / "__init__.py").exists()
    setting.configure(path=folder, example="tournament-python3")


def test_a_file_of_the_user_is_never_replaced(setting: Setting, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "predict.py").write_text("my work")
    with pytest.raises(UsageError) as caught:
        setting.configure(path=folder, example="tournament-python3")
    assert "predict.py" in caught.value.message
    assert [path.name for path in folder.iterdir()] == ["predict.py"]
    assert (folder / "predict.py").read_text() == "my work"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"size": "huge"}, "no size 'huge'"),
        ({"cpu": 0.0}, "--cpu"),
        ({"cpu": 100}, None),
        ({"memory": 0.01}, "--memory"),
        ({"timeout_minutes": -5}, "--timeout-minutes"),
        ({"timeout_minutes": 10_000}, "--timeout-minutes"),
        ({"cron": "every day"}, "not a schedule"),
        ({"data_version": "5.3"}, "--data-version must be a version such as v5.3, or newest or trained, not '5.3'"),
        ({"data_version": "signals/v2.1"}, "--data-version"),
        ({"data_version": ""}, "--data-version"),
        ({"data_version": "v9.9"}, "Numerai serves no data version v9.9 for this tournament"),
        ({"example": "nope"}, "no example 'nope'"),
        ({"path": Path("/")}, "cannot be a node's folder"),
        ({"path": Path.home()}, "cannot be a node's folder"),
        ({"path": Path("/no/such/folder")}, "no folder"),
    ],
)
def test_bad_options_are_named_before_anything_is_touched(
    setting: Setting, folder: Path, asked: dict[str, Any], words: str | None
) -> None:
    asked = {"path": folder, **asked}
    if words is None:
        setting.configure(**asked)
        return
    with pytest.raises(UsageError, match=re.escape(words)):
        setting.configure(**asked)
    assert setting.store.nodes() == {} and not setting.provider.configured


def test_a_folder_without_a_dockerfile_is_refused(setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no Dockerfile"):
        setting.configure(path=tmp_path / "empty")


def test_the_tools_home_cannot_be_a_node(setting: Setting) -> None:
    setting.store.save_settings("local", {})
    (setting.store.home / "Dockerfile").write_text("FROM scratch")
    with pytest.raises(UsageError):
        setting.configure(path=setting.store.home)


def test_models_are_found_by_name_and_named_when_not(setting: Setting, folder: Path) -> None:
    setting.api.by_id = {m.id: m for m in (ALICE, Model("s", "alice", 11), Model("b", "bob", 8))}
    for model, tournament, words in (
        (None, None, "3 models"),
        ("alice", None, "several tournaments"),
        ("carol", None, "no model 'carol'"),
        ("bob", 11, "no model 'bob' in tournament 11"),
    ):
        with pytest.raises(UsageError, match=words):
            setting.configure(model, tournament, path=folder)
    assert setting.configure("alice", 11, path=folder).node.name == "signals-alice"
    assert setting.configure(None, 11, path=folder).node.name == "signals-alice"
    setting.api.by_id = {}
    with pytest.raises(UsageError, match="no model"):
        setting.configure(None, None, path=folder)


def test_a_name_that_differs_from_a_nodes_only_in_case_is_refused_before_anything_is_made(
    setting: Setting, folder: Path
) -> None:
    setting.configure(path=folder)
    setting.api.by_id["id-Alice"] = replace(setting.api.by_id["id-alice"], id="id-Alice", name="Alice")
    with pytest.raises(NumeraiError, match="upper and lower case"):
        setting.configure(model="Alice", path=folder)
    assert list(setting.provider.configured) == ["numerai-alice"]


def test_a_tournament_of_the_future_is_refused(setting: Setting, folder: Path) -> None:
    setting.api.by_id = {"x": Model("x", "alice", 99)}
    with pytest.raises(UsageError, match="Tournament 99"):
        setting.configure("alice", path=folder)


def test_a_provider_that_does_not_exist_is_no_reason_to_destroy_a_node(setting: Setting, folder: Path) -> None:
    setting.configure(path=folder)
    setting.provider_named = provider_factory
    with pytest.raises(UsageError, match="no provider 'LOCAL'") as caught:
        setting.configure(provider="LOCAL")
    assert "destroy" not in str(caught.value.hint)


def test_a_schedule_keeps_the_webhook_unregistered_unless_forced(setting: Setting, folder: Path) -> None:
    done = setting.configure(path=folder, cron="0 13 * * *")
    assert not done.registered and "schedule" in done.notes[0]
    assert setting.configure(register_webhook=True).registered


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("30 12 * * TUE-SAT", None),
        ("30 3 * * *", "inside the on-time window of only 1 of 3 rounds, and outside that of round 101"),
        ("30 11 * * *", "inside the on-time window of only 1 of 3 rounds"),
        ("30 12 * * TUE-FRI", "inside the on-time window of only 2 of 3 rounds, and outside that of round 99"),
        ("30 14 * * TUE-FRI", "outside every on-time window, such as that of round 101 from Wed 2026-01-07 12:00 UTC"),
    ],
)
def test_a_schedule_is_held_to_the_windows_of_the_rounds(
    setting: Setting, folder: Path, cron: str, words: str | None
) -> None:
    saturday = round_of(99, datetime(2026, 1, 3, 12, tzinfo=timezone.utc))
    setting.api.past = [replace(saturday, deadline=saturday.open_time + timedelta(hours=26))]
    setting.api.round, setting.api.upcoming = round_of(100, NOW), round_of(101, NOW + timedelta(days=1))
    note = next(note for note in setting.configure(path=folder, cron=cron).notes if "the next run is" in note)
    assert (words in note and "watcher" in note) if words else ("watcher" not in note and "window" not in note)


def test_a_schedule_is_taken_where_numerai_does_not_say_the_rounds(setting: Setting, folder: Path) -> None:
    setting.api.fail["rounds"] = unreachable()
    assert not setting.configure(path=folder, cron="30 3 * * *").registered


def test_a_machine_that_numerai_cannot_reach_is_not_registered(setting: Setting, folder: Path) -> None:
    setting.provider.reachable = False
    done = setting.configure(path=folder)
    assert not done.registered and "cannot reach this machine" in done.notes[0]
    assert setting.api.by_id["id-alice"].webhook is None


def test_a_failed_provision_of_a_new_node_keeps_it_known_and_is_repeated_without_its_options(
    setting: Setting, folder: Path
) -> None:
    setting.provider.fail["configure"] = NumeraiError("no luck")
    with pytest.raises(NumeraiError):
        setting.configure(path=folder, size="cpu-sm")
    kept = setting.store.nodes()["numerai-alice"]
    assert (kept.webhook_url, kept.path) == (None, str(folder))
    setting.provider.fail.clear()
    done = setting.configure()
    assert done.registered and (done.node.cpu, done.node.memory_mib) == (1, 2048)


def test_a_failed_provision_of_a_known_node_records_nothing(setting: Setting, folder: Path) -> None:
    before = setting.configure(path=folder).node
    setting.provider.fail["configure"] = NumeraiError("no luck")
    with pytest.raises(NumeraiError):
        setting.configure(size="cpu-sm")
    assert setting.store.nodes() == {"numerai-alice": before}


def test_a_failed_registration_keeps_the_node_and_the_next_call_finishes(setting: Setting, folder: Path) -> None:
    setting.api.fail["set_webhook"] = unreachable()
    with pytest.raises(ApiError):
        setting.configure(path=folder)
    kept = setting.store.nodes()["numerai-alice"]
    setting.api.fail.clear()
    assert setting.configure().node == kept


def test_a_node_does_not_move_between_providers_silently(setting: Setting, folder: Path) -> None:
    setting.configure(path=folder)
    with pytest.raises(UsageError) as caught:
        setting.configure(provider="aws")
    assert "destroy" in (caught.value.hint or "")


GCP_WEBHOOK = "https://gcp.example/x"


def left_on_gcp(setting: Setting, folder: Path) -> None:
    """The node as it was taken over: on a provider that is not there, and called there by Numerai."""
    here = setting.configure(path=folder).node
    setting.store.save_node(replace(here, provider="gcp", webhook_url=GCP_WEBHOOK))
    setting.api.set_webhook("id-alice", GCP_WEBHOOK)
    setting.taken.clear()
    setting.provider_named = lambda name: setting.provider if name == "local" else AbsentProvider(name)


@pytest.mark.parametrize("reachable", [True, False])
def test_what_numerai_calls_on_a_provider_that_is_not_there_ends_only_when_agreed(
    setting: Setting, folder: Path, reachable: bool
) -> None:
    left_on_gcp(setting, folder)
    setting.provider.reachable = reachable
    before = setting.store.nodes()

    def refuse(question: str) -> None:
        assert "Numerai calls numerai-alice on gcp until now. Nothing is deployed here yet" in question
        raise NumeraiError("Not agreed", code="not-agreed")

    setting.more = {"take_over": refuse}
    with pytest.raises(NumeraiError, match="Not agreed"):
        setting.configure(provider="local")
    assert setting.api.by_id["id-alice"].webhook == GCP_WEBHOOK and setting.store.nodes() == before
    setting.more = {"take_over": setting.taken.append}
    setting.configure(provider="local")
    assert (setting.api.by_id["id-alice"].webhook is not None) is reachable and len(setting.taken) == 1
    setting.configure()
    assert len(setting.taken) == 1, "asked once"


def test_a_move_that_is_interrupted_leaves_no_webhook_that_nobody_remembers(setting: Setting, folder: Path) -> None:
    left_on_gcp(setting, folder)
    setting.provider.reachable = False
    setting.api.fail["set_webhook"] = ApiError("down")
    with pytest.raises(ApiError):
        setting.configure(provider="local")
    del setting.api.fail["set_webhook"]
    setting.configure(provider="local")
    assert setting.api.by_id["id-alice"].webhook is None and setting.store.nodes()["numerai-alice"].provider == "local"


def test_another_address_that_numerai_goes_on_calling_is_said(setting: Setting, folder: Path) -> None:
    setting.provider.reachable = False
    setting.api.set_webhook("id-alice", "https://elsewhere.example/x")
    notes = setting.configure(path=folder).notes
    assert any("Numerai also calls another address for alice" in note for note in notes)


def test_two_commands_on_one_node_do_not_mix(setting: Setting, folder: Path) -> None:
    with setting.store.node_lock("numerai-alice"), pytest.raises(NumeraiError) as caught:
        setting.configure(path=folder)
    assert caught.value.code == "busy" and not setting.provider.configured


def test_the_official_tools_home_is_left_alone(setting: Setting, folder: Path) -> None:
    setting.store.home.mkdir()
    setting.store.nodes_path.write_text('{"numerai-bob": {"provider": "aws", "path": "/x"}}')
    with pytest.raises(NumeraiError) as caught:
        setting.configure(path=folder)
    assert caught.value.code == "needs-upgrade" and not setting.provider.configured


def test_a_node_of_another_account_key_is_kept_by_its_model_id(setting: Setting, folder: Path) -> None:
    first = setting.configure(path=folder)
    setting.api.by_id = {"id-new": replace(ALICE, id="id-new")}
    assert setting.configure().node == replace(first.node, model_id="id-new")


class BilledProvider(FakeProvider):
    """One that says what it would make."""

    def preview(self, node: Node) -> list[str]:
        return ["Make a cluster", "About 0.61 USD a month"]


def test_what_costs_money_is_said_before_and_made_only_when_agreed(setting: Setting, folder: Path) -> None:
    setting.provider = BilledProvider()
    plan = setting.run(dry_run=True, path=folder)
    assert isinstance(plan, Plan) and "About 0.61 USD a month" in plan.notes

    def refuse(preview: list[str]) -> None:
        assert preview == ["Make a cluster", "About 0.61 USD a month"]
        raise NumeraiError("Not agreed", code="not-agreed")

    setting.agree = refuse
    with pytest.raises(NumeraiError, match="Not agreed"):
        setting.configure(path=folder)
    assert not setting.provider.configured and setting.store.nodes() == {}
    setting.agree = lambda preview: None
    assert setting.configure(path=folder).registered


def test_a_model_with_a_pickle_is_configured_only_when_insisted_and_never_registered(
    setting: Setting, folder: Path
) -> None:
    setting.provider = BilledProvider()
    setting.api.by_id["id-alice"] = replace(ALICE, pickle="pickle-1")
    plan = setting.run(dry_run=True, path=folder)
    assert isinstance(plan, Plan) and any("model upload (pickle) is assigned" in note for note in plan.notes)
    asked: list[str] = []

    def refuse(why: str) -> None:
        asked.append(why)
        raise NumeraiError(why, code="pickle-assigned")

    setting.insist = refuse
    with pytest.raises(NumeraiError) as caught:
        setting.configure(path=folder)
    assert caught.value.code == "pickle-assigned" and "neither call the node nor accept" in asked[0]
    assert not setting.provider.configured and setting.store.nodes() == {}
    setting.insist = asked.append
    done = setting.configure(path=folder, register_webhook=True)
    assert not done.registered and "Submissions, Settings" in done.notes[0]
    setting.api.by_id["id-alice"] = ALICE
    assert setting.configure().registered and len(asked) == 2


def test_a_time_limit_of_nothing_is_refused(setting: Setting, folder: Path) -> None:
    with pytest.raises(UsageError, match="--timeout-minutes"):
        setting.configure(path=folder, timeout_minutes=0)


@pytest.mark.parametrize("example", ["signals-python3", "crypto-python3"])
def test_an_example_for_another_tournament_is_refused(setting: Setting, tmp_path: Path, example: str) -> None:
    with pytest.raises(UsageError) as refused:
        setting.configure(path=tmp_path / "new", example=example)
    assert refused.value.code == "wrong-example" and "tournament-python3" in str(refused.value.hint)
    assert not (tmp_path / "new").exists() and setting.store.nodes() == {}


def test_the_examples_that_fit_are_named() -> None:
    with pytest.raises(UsageError) as refused:
        check_tournament("tournament-python3", 11)
    assert "signals-python3" in str(refused.value.hint) and "shell-any-language" in str(refused.value.hint)
    check_tournament("shell-any-language", 12)


def test_an_example_does_not_move_a_node(
    setting: Setting, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.configure(path=folder)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="already holds other files"):
        setting.configure(example="tournament-python3")
    assert setting.store.nodes()["numerai-alice"].path == str(folder)
    assert not (tmp_path / "tournament-python3").exists()


def test_a_schedule_takes_the_webhook_off_numerai(setting: Setting, folder: Path) -> None:
    first = setting.configure(path=folder)
    assert setting.api.by_id[first.node.model_id].webhook == first.node.webhook_url
    done = setting.configure(cron="30 12 * * TUE-SAT")
    assert not done.registered and setting.api.by_id[first.node.model_id].webhook is None


def test_a_schedule_leaves_another_address_alone_and_says_so(setting: Setting, folder: Path) -> None:
    first = setting.configure(path=folder)
    setting.api.set_webhook(first.node.model_id, "https://elsewhere.example/x")
    done = setting.configure(cron="30 12 * * TUE-SAT")
    assert any("another address" in note for note in done.notes)
    assert setting.api.by_id[first.node.model_id].webhook == "https://elsewhere.example/x"


def test_a_webhook_is_taken_from_another_place_only_when_agreed(setting: Setting, folder: Path) -> None:
    setting.api.set_webhook("id-alice", "https://abc.lambda-url.example/numerai-alice/secret-token")
    plan = setting.run(path=folder, dry_run=True)
    assert isinstance(plan, Plan) and not setting.taken
    step = "register the webhook of alice with Numerai, which calls https://abc.lambda-url.example until now: that ends"
    assert plan.describe()[-1] == step
    asked = setting.more.pop("take_over")  # who gives none lets nothing be taken
    with pytest.raises(NumeraiError, match=r"https://abc\.lambda-url\.example, that this home did not") as caught:
        setting.configure(path=folder)
    assert caught.value.code == "webhook-elsewhere" and setting.store.nodes() == {}
    setting.more["take_over"] = asked
    done = setting.configure(path=folder)
    assert len(setting.taken) == 1 and "secret-token" not in setting.taken[0]
    assert setting.api.by_id["id-alice"].webhook == done.node.webhook_url


def test_an_address_of_this_home_is_no_other_place(setting: Setting, folder: Path) -> None:
    """As after a change of the port, and where the record was lost but the provider has the token."""
    first = setting.configure(path=folder)
    setting.provider.base = "http://127.0.0.1:6"
    setting.configure()
    setting.store.forget_node(first.node.name)
    setting.configure(path=folder)
    assert setting.taken == []


def test_a_context_of_a_user_that_does_not_exist_is_no_path(setting: Setting, folder: Path) -> None:
    with pytest.raises(UsageError, match="no home folder of that user") as caught:
        setting.configure(path=folder, context="~nobody-of-this-name/a")
    assert caught.value.code == "bad-path"


def test_a_disk_is_for_providers_that_limit_one(
    setting: Setting, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="has the disk of its machine"):
        setting.configure(path=folder, disk=50)
    monkeypatch.setattr(FakeProvider, "disk_gib", (20, 200), raising=False)
    for wrong in (19, 201):
        with pytest.raises(UsageError, match="from 20 to 200 GiB"):
            setting.configure(path=folder, disk=wrong)
    assert setting.configure(path=folder, disk=50).node.disk_gib == 50
    assert setting.configure().node.disk_gib == 50, "what is not given stays"


OFFICIAL = "https://abc.lambda-url.us-east-1.on.aws/"


class OwnAddress(FakeProvider):
    """One whose address of a node is its own, as a cloud's is."""

    name = "aws"

    def configure(self, node: Node, report: Report) -> Node:
        return super().configure(replace(node, webhook_url=None), report)


def test_what_the_official_tool_made_is_called_until_the_node_is_deployed_here(setting: Setting, folder: Path) -> None:
    record, setting.provider = {"webhook_url": OFFICIAL}, OwnAddress()
    taken_over = Node("numerai-alice", "alice", "id-alice", 8, "aws", str(folder), 1, 2048, 60, None, OFFICIAL, record)
    setting.store.save_node(taken_over)
    setting.api.set_webhook("id-alice", OFFICIAL)
    for cron in (None, "30 12 * * TUE-SAT", ""):
        done = setting.configure(size="cpu-sm", cron=cron)
        assert not done.registered and "deploy` and then" in done.notes[0] and "--move-aws" in done.notes[0]
        assert setting.api.by_id["id-alice"].webhook == OFFICIAL == done.node.webhook_url and setting.taken == []
    assert setting.provider.configured and done.node.legacy == record
    setting.provider.deploy(done.node, force=False, report=lambda line: None)
    assert setting.configure().registered and "official tool's cluster on aws until now" in setting.taken[0]
    assert setting.api.by_id["id-alice"].webhook == setting.provider.webhook_url("numerai-alice")
    setting.configure()
    assert len(setting.taken) == 1, "asked once"
