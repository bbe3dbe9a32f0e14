"""Each finding of the doctor, its mend, and that one broken thing does not hide the others."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, NumeraiError
from numerai_compute.models import Check, CheckStatus, DataVersions, Node, TokenInfo
from numerai_compute.usecases import doctor as doctor_module
from numerai_compute.usecases.doctor import Doctor
from numerai_compute.watching.ledger import DATABASE_FILE, Ledger

from tests.fakes import KEYS, SCOPES, FakeApi, FakeClock, FakeProvider, round_of, unreachable


class Clinic:
    def __init__(self, store: HomeStore, api: FakeApi, provider: FakeProvider):
        self.store, self.api, self.provider, self.clock = store, api, provider, FakeClock()
        self.ledger = Ledger(store.home / DATABASE_FILE)
        store.save_keys(KEYS)
        self.doctor = Doctor(store, lambda keys: api, lambda name: provider, self.clock, self.ledger)

    def check(self, name: str) -> Check:
        return next(check for check in self.doctor.examine() if check.name == name)

    def statuses(self) -> dict[str, str]:
        return {check.name: check.status.value for check in self.doctor.examine()}


@pytest.fixture
def clinic(store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node) -> Clinic:
    return Clinic(store, api, provider)


def test_a_healthy_machine_has_nothing_to_mend(clinic: Clinic) -> None:
    clinic.ledger.begin_watch("daemon", clinic.clock.now(), clinic.clock.now())
    clinic.store.save_notify_url("team", "json://127.0.0.1:9")
    assert set(clinic.statuses().values()) == {"ok"}
    assert {"python", "home", "nodes.json", "keys", "scopes", "clock", "folder", "webhook"} <= set(clinic.statuses())


def test_a_fresh_machine_is_told_to_set_up(home: Path, api: FakeApi, provider: FakeProvider) -> None:
    ledger = Ledger(home / DATABASE_FILE)
    checks = Doctor(HomeStore(home, {}), lambda keys: api, lambda name: provider, FakeClock(), ledger).examine()
    by_name = {check.name: check for check in checks}
    assert by_name["home"].mend == by_name["keys"].mend == "numerai setup"
    assert by_name["keys"].status is CheckStatus.FAILED
    assert not home.exists()


def look(clinic: Clinic, *kinds: str) -> None:
    """Looks by `numerai watch --once`, five minutes apart."""
    for kind in kinds:
        clinic.clock.sleep(300)
        now = clinic.clock.now()
        watcher, _ = clinic.ledger.begin_watch(kind, now, now)
        clinic.ledger.end_watch(watcher, now)


@pytest.mark.parametrize(
    ("kinds", "followed"),
    [
        (("hand",), False),
        (("hand", "hand"), False),
        (("once",), False),
        (("hand", "once"), False),
        (("once",) * 2, True),
    ],
)
def test_only_looks_that_come_again_and_again_follow_the_rounds(
    clinic: Clinic, kinds: tuple[str, ...], followed: bool
) -> None:
    look(clinic, *kinds)
    assert (clinic.check("watcher").status is CheckStatus.OK) is followed
    if followed:
        assert "--once" in clinic.check("watcher").why
    clinic.clock.sleep(9 * 60)
    assert (clinic.check("watcher").status is CheckStatus.OK) is followed
    clinic.clock.sleep(2 * 60)
    assert clinic.check("watcher").status is CheckStatus.WARNING, "they have stopped"


def test_nobody_who_watches_and_nobody_who_is_told_are_warned_of(clinic: Clinic) -> None:
    watcher, told = clinic.check("watcher"), clinic.check("notifications")
    assert (watcher.status, watcher.mend) == (CheckStatus.WARNING, "numerai daemon start")
    assert (told.status, told.mend) == (CheckStatus.WARNING, "numerai notify add NAME")
    assert not clinic.ledger.exists()
    now = clinic.clock.now()
    ended, _ = clinic.ledger.begin_watch("watch", now, now)
    clinic.ledger.end_watch(ended, now)
    assert clinic.check("watcher").status is CheckStatus.WARNING
    clinic.ledger.begin_watch("daemon", clinic.clock.now(), clinic.clock.now())
    clinic.store.save_notify_url("team", "json://127.0.0.1:9/secret")
    assert clinic.check("watcher").status is clinic.check("notifications").status is CheckStatus.OK
    look(clinic, "once", "once")
    assert "the daemon" in clinic.check("watcher").why, "who watches all the time is named before a look by cron"
    assert "secret" not in clinic.check("notifications").why


def test_nodes_that_see_to_themselves_need_no_watcher_here(clinic: Clinic) -> None:
    class Cloud(FakeProvider):
        def notifies(self) -> bool:
            return True

    cloud = Cloud()
    doctor = Doctor(clinic.store, lambda keys: clinic.api, lambda name: cloud, clinic.clock, clinic.ledger)
    assert {"watcher", "notifications"}.isdisjoint(check.name for check in doctor.examine())


def test_a_machine_that_may_sleep_is_named_where_it_alone_watches(clinic: Clinic) -> None:
    clinic.ledger.begin_watch("daemon", clinic.clock.now(), clinic.clock.now())
    clinic.doctor.may_sleep = lambda: ("it is a laptop", "keep it awake")
    finding = clinic.check("sleep")
    assert finding.status is CheckStatus.WARNING
    assert "it is a laptop" in finding.why and "is missed" in finding.why
    assert (finding.mend or "").startswith("keep it awake, ") and "AWS" in (finding.mend or "")
    clinic.doctor.may_sleep = lambda: None
    assert "sleep" not in clinic.statuses()
    clinic.doctor.may_sleep = lambda: pytest.fail("no node needs this machine")
    clinic.store.forget_node("numerai-alice")
    assert "sleep" not in clinic.statuses()


def test_a_machine_may_sleep_when_a_provider_watches(clinic: Clinic) -> None:
    class Cloud(FakeProvider):
        def notifies(self) -> bool:
            return True

    cloud = Cloud()
    doctor = Doctor(
        clinic.store,
        lambda keys: clinic.api,
        lambda name: cloud,
        clinic.clock,
        clinic.ledger,
        lambda: pytest.fail("nothing here is watched"),
    )
    assert "sleep" not in {check.name for check in doctor.examine()}


def test_a_broken_ledger_is_one_warning(clinic: Clinic) -> None:
    clinic.ledger.path.write_bytes(b"no database" * 500)
    finding = clinic.check("watcher")
    assert finding.status is CheckStatus.WARNING and "damaged" in finding.why and "Move it away" in (finding.mend or "")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_open_files_are_found_and_closed(clinic: Clinic) -> None:
    clinic.store.keys_path.chmod(0o644)
    clinic.store.home.chmod(0o755)
    finding = clinic.check("home")
    assert finding.status is CheckStatus.FAILED and ".keys" in finding.why
    assert clinic.doctor.fix([finding], lambda _: None) == ["made home and keys readable for you only"]
    assert clinic.check("home").status is CheckStatus.OK


def test_a_broken_nodes_file_is_restored(clinic: Clinic) -> None:
    clinic.store.save_settings("local", {"port": 1})
    clinic.store.nodes_path.write_text('{"version": 1, "nod')
    finding = clinic.check("nodes.json")
    assert finding.status is CheckStatus.FAILED and finding.mend == "numerai doctor --fix"
    assert clinic.statuses()["keys"] == "ok"
    clinic.doctor.fix([finding], lambda _: None)
    assert clinic.check("nodes.json").why == "1 node"


def test_a_nodes_file_that_is_gone_is_put_back(clinic: Clinic) -> None:
    clinic.store.save_settings("local", {"port": 1})
    clinic.store.nodes_path.unlink()
    finding = clinic.check("nodes.json")
    assert finding.status is CheckStatus.FAILED and "is gone" in finding.why and finding.mend == "numerai doctor --fix"
    assert clinic.doctor.fix([finding], lambda _: None) == ["put the previous nodes.json back"]
    assert clinic.check("nodes.json").status is CheckStatus.OK and len(clinic.store.nodes()) == 1


def test_a_mend_that_fails_is_said(clinic: Clinic) -> None:
    wish = Check("nodes.json", CheckStatus.FAILED, "", safe_fix="nodes-file")
    clinic.store.nodes_path.with_name("nodes.json.previous").unlink(missing_ok=True)
    assert clinic.doctor.fix([wish], lambda _: None)[0].startswith("could not")


def test_files_of_the_official_tool_are_pointed_out(clinic: Clinic) -> None:
    clinic.store.nodes_path.write_text('{"numerai-bob": {"provider": "local", "path": "/x"}}')
    assert clinic.check("nodes.json").mend == "numerai upgrade"


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_home_that_is_the_official_tools_file_of_keys_is_pointed_out(
    home: Path, api: FakeApi, provider: FakeProvider
) -> None:
    home.write_text("[default]\nNUMERAI_PUBLIC_ID = P\nNUMERAI_SECRET_KEY = secretsecret\n")
    home.chmod(0o664)
    ledger = Ledger(home / DATABASE_FILE)
    doctor = Doctor(HomeStore(home, {}), lambda keys: api, lambda name: provider, FakeClock(), ledger)
    found = {check.name: check for check in doctor.examine()}
    assert f"others can read {home.name}" in found["home"].why and "chmod 600" in str(found["nodes.json"].mend)
    doctor.fix(found.values(), lambda _: None)
    assert home.stat().st_mode & 0o777 == 0o600
    found = {check.name: check for check in doctor.examine()}
    assert found["home"].status is CheckStatus.OK and found["nodes.json"].mend == "numerai upgrade"


def test_a_home_that_is_any_other_file_is_no_folder(home: Path, api: FakeApi, provider: FakeProvider) -> None:
    home.write_text("a letter")
    home.chmod(0o600)
    ledger = Ledger(home / DATABASE_FILE)
    doctor = Doctor(HomeStore(home, {}), lambda keys: api, lambda name: provider, FakeClock(), ledger)
    found = {check.name: check for check in doctor.examine()}
    assert found["home"].status is CheckStatus.FAILED and "is a file, and no folder" in found["home"].why


def test_wrong_keys_and_keys_of_another_api(clinic: Clinic) -> None:
    clinic.api.fail["token_info"] = ApiError("refused", "Run `numerai setup`", code="keys-refused")
    assert clinic.check("keys").status is CheckStatus.FAILED
    store = HomeStore(clinic.store.home, {"NUMERAI_API_URL": "http://127.0.0.1:1"})
    other = Doctor(store, lambda keys: clinic.api, lambda name: clinic.provider, clinic.clock, clinic.ledger)
    assert any("belong to" in check.why for check in other.examine())


def test_scopes_that_are_too_wide_or_too_narrow(clinic: Clinic) -> None:
    clinic.api.account = TokenInfo("t", "k", (*SCOPES[1:], "stake"))
    found = [check for check in clinic.doctor.examine() if check.name == "scopes"]
    assert [check.status for check in found] == [CheckStatus.WARNING] * 2
    assert "upload_submission" in found[0].why and "stake" in found[1].why


@pytest.mark.parametrize(("seconds", "status"), [(5, "ok"), (-60, "warning"), (900, "failed")])
def test_a_clock_that_is_wrong(clinic: Clinic, seconds: int, status: str) -> None:
    clinic.clock.start += timedelta(seconds=seconds)
    finding = clinic.check("clock")
    assert finding.status.value == status
    if status != "ok":
        assert ("ahead" if seconds > 0 else "behind") in finding.why


def test_a_server_that_tells_no_time(clinic: Clinic) -> None:
    clinic.api.fail["server_time"] = unreachable()
    assert clinic.check("clock").status is CheckStatus.WARNING


def test_a_webhook_that_is_lost_or_an_earlier_one_of_ours_is_registered_again(clinic: Clinic, node: Node) -> None:
    earlier = str(node.webhook_url).replace("127.0.0.1:5", "tunnel.example/path")
    for other, words in ((None, "nobody"), (earlier, "another address (http://tunnel.example)")):
        clinic.api.set_webhook("id-alice", other)
        finding = clinic.check("webhook")
        assert finding.status is CheckStatus.FAILED and words in finding.why
        clinic.doctor.fix([finding], lambda _: None)
        assert clinic.check("webhook").status is CheckStatus.OK


@pytest.mark.parametrize(
    "other",
    [
        "https://elsewhere/x",
        "http://127.0.0.1:5/numerai-alice/token-of-another-home",
        "http://127.0.0.1:5/numerai-alice/",
    ],
)
def test_a_webhook_of_another_place_is_not_taken_from_there(clinic: Clinic, other: str) -> None:
    """Something else of its owner may run there: `node config` asks."""
    clinic.api.set_webhook("id-alice", other)
    finding = clinic.check("webhook")
    assert finding.status is CheckStatus.FAILED and "another address" in finding.why and finding.safe_fix is None
    assert (finding.mend or "").startswith("numerai node -m numerai-alice config, which asks")
    clinic.doctor.fix(clinic.doctor.examine(), lambda _: None)
    assert clinic.api.by_id["id-alice"].webhook == other


def test_other_states_of_the_webhook(clinic: Clinic, node: Node) -> None:
    from dataclasses import replace

    clinic.api.set_webhook("id-alice", None)
    clinic.store.save_node(replace(node, cron="0 1 * * *"))
    assert clinic.check("webhook").status is CheckStatus.OK
    clinic.store.save_node(replace(node, webhook_url=None))
    assert "never provisioned" in clinic.check("webhook").why
    clinic.store.save_node(node)
    clinic.provider.reachable = False
    assert clinic.check("webhook").status is CheckStatus.WARNING
    clinic.ledger.begin_watch("daemon", clinic.clock.now(), clinic.clock.now())
    assert clinic.check("webhook").status is CheckStatus.OK
    clinic.api.by_id.clear()
    assert "no model alice" in clinic.check("webhook").why
    mend = clinic.check("webhook").mend or ""
    assert mend.index("numerai setup") < mend.index("Only if it was deleted") < mend.index("destroy")
    clinic.api.fail["models"] = unreachable()
    assert "webhook" not in clinic.statuses()
    assert clinic.check("models").status is CheckStatus.WARNING and "not known" in clinic.check("models").why


def test_a_schedule_outside_the_windows_is_warned_of_unless_somebody_follows_the_rounds(
    clinic: Clinic, node: Node
) -> None:
    clinic.api.round = round_of(100, clinic.clock.now())
    clinic.store.save_node(replace(node, cron="30 12 * * TUE-SAT"))
    assert clinic.check("schedule").status is CheckStatus.OK
    assert clinic.check("schedule").why == "the next run is Tue 2026-01-06 12:30 UTC"
    clinic.store.save_node(replace(node, cron="30 3 * * *"))
    found = clinic.check("schedule")
    assert found.status is CheckStatus.WARNING and "outside every on-time window" in found.why
    assert "daemon start" in str(found.mend)
    clinic.ledger.begin_watch("daemon", clinic.clock.now(), clinic.clock.now())
    found = clinic.check("schedule")
    assert found.status is CheckStatus.OK and "the watcher starts the runs that are missing" in found.why
    clinic.api.fail["rounds"] = unreachable()
    assert clinic.check("schedule").status is CheckStatus.WARNING
    clinic.store.save_node(replace(node, cron="cron(0 12 ? * * 2020)"))
    clinic.api.fail.clear()
    assert "never fires again" in clinic.check("schedule").why


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_folder_in_the_place_of_a_file_is_no_matter_of_modes(clinic: Clinic) -> None:
    clinic.store.nodes_path.unlink()
    clinic.store.nodes_path.mkdir(mode=0o755)
    assert clinic.check("home").status is CheckStatus.OK
    found = clinic.check("nodes.json")
    assert found.status is CheckStatus.FAILED and "A folder is where a file should be" in str(found.mend)


def test_a_folder_that_is_gone(clinic: Clinic, folder: Path) -> None:
    (folder / "Dockerfile").unlink()
    finding = clinic.check("folder")
    assert finding.status is CheckStatus.FAILED and finding.node == "numerai-alice"


def test_a_folder_that_cannot_be_looked_at_hides_nothing_else(clinic: Clinic, node: Node, folder: Path) -> None:
    """The system refuses a name that is too long with an error of its own."""
    clinic.store.save_node(replace(node, path=str(folder.parent / ("x" * 300))))
    clinic.store.save_node(replace(node, name="numerai-bob", model_name="bob", model_id="id-bob"))
    checks = clinic.doctor.examine()
    found = {(each.node, each.name): each for each in checks}
    assert found["numerai-alice", "folder"].status is CheckStatus.FAILED
    assert "too long" in found["numerai-alice", "folder"].why.lower() or os.name == "nt"
    assert {("numerai-alice", "webhook"), ("numerai-bob", "folder"), ("numerai-bob", "webhook")} <= set(found)


@pytest.mark.skipif(os.name != "posix", reason="what is too long is refused in another way")
def test_a_home_that_cannot_be_looked_at_is_a_finding(home: Path, api: FakeApi, provider: FakeProvider) -> None:
    home.mkdir(mode=0o700)
    far = home / ("x" * 300)
    doctor = Doctor(
        HomeStore(far, {}), lambda keys: api, lambda name: provider, FakeClock(), Ledger(far / DATABASE_FILE)
    )
    found = {check.name: check for check in doctor.examine()}
    assert found["home"].status is found["nodes.json"].status is found["keys"].status is CheckStatus.FAILED
    assert found["python"].status is CheckStatus.OK


def test_a_providers_findings_and_its_failure_are_shown(clinic: Clinic) -> None:
    clinic.provider.found = [
        Check("daemon", CheckStatus.FAILED, "not running", "numerai daemon start", safe_fix="start-daemon")
    ]
    finding = clinic.check("daemon")
    assert clinic.doctor.fix([finding], lambda _: None) == ["started the daemon of the provider local"]
    assert clinic.provider.awake

    def fail(name: str) -> FakeProvider:
        raise NumeraiError("no such thing", "Install it.")

    checks = Doctor(clinic.store, lambda keys: clinic.api, fail, clinic.clock, clinic.ledger).examine()
    assert any(check.why == "no such thing" for check in checks)


@pytest.mark.parametrize(("version", "status"), [((3, 9, 1), "failed"), ((3, 99, 0), "warning")])
def test_the_python_version(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], status: str
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert doctor_module._python().status.value == status


@pytest.mark.parametrize(
    ("pinned", "served", "newest", "status", "why"),
    [
        ("v5.3", ("v5.2", "v5.3"), "v5.3", CheckStatus.OK, "v5.3 is pinned, and the newest"),
        ("v5.2", ("v5.2", "v5.3"), "v5.3", CheckStatus.WARNING, "v5.2 is pinned, and v5.3 is out"),
        ("v5.2", ("v5.2", "v5.3"), "v5.2", CheckStatus.OK, "v5.2 is pinned, and the newest"),
        ("v5.2", ("v5.3", "v6.0"), "v6.0", CheckStatus.FAILED, "no longer serves it: runs use v6.0"),
    ],
)
def test_a_pinned_data_version(
    clinic: Clinic, node: Node, pinned: str, served: tuple[str, ...], newest: str, status: CheckStatus, why: str
) -> None:
    clinic.store.save_node(replace(node, data_version=pinned))
    clinic.api.data = DataVersions(served, newest)
    check = clinic.check("data version")
    assert (check.status, check.node) == (status, node.name)
    assert why in check.why
    if status is not CheckStatus.OK:
        assert (
            check.mend
            == f"train the model on {newest}, then numerai node -m numerai-alice config --data-version trained"
        )


def test_a_node_that_is_not_pinned_is_not_asked_about(clinic: Clinic, node: Node) -> None:
    for choice in (None, "newest"):
        clinic.store.save_node(replace(node, data_version=choice))
        assert "data version" not in clinic.statuses()
    assert "data_versions" not in [name for name, _ in clinic.api.calls]


def test_data_versions_that_cannot_be_asked_for(clinic: Clinic, node: Node) -> None:
    clinic.store.save_node(replace(node, data_version="v5.2"))
    clinic.api.fail["data_versions"] = ApiError("Numerai is silent.")
    assert clinic.check("data version").status is CheckStatus.WARNING
