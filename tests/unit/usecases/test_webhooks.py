"""The webhook that Numerai holds, against the one that is served now, and whether that answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.models import Check, CheckStatus, Node
from numerai_compute.ports import Silence
from numerai_compute.usecases.doctor import Doctor
from numerai_compute.usecases.setup import CHOICE, lacking
from numerai_compute.usecases.webhooks import moved, moved_note, webhook_check
from numerai_compute.watching.ledger import DATABASE_FILE, Ledger

from tests.fakes import KEYS, FakeApi, FakeClock, FakeProvider

ELSEWHERE = Silence("http://127.0.0.1:5 does not answer; the daemon serves http://127.0.0.1:6", "restart", True)


def check(node: Node, api: FakeApi, provider: FakeProvider) -> Check:
    return webhook_check(node, api.by_id["id-alice"], lambda name: provider, api.url, lambda: False)


@pytest.fixture
def doctor(store: HomeStore, api: FakeApi, provider: FakeProvider) -> Doctor:
    store.save_keys(KEYS)
    ledger = Ledger(store.home / DATABASE_FILE)
    return Doctor(store, lambda keys: api, lambda name: provider, FakeClock(), ledger)


def test_a_registered_webhook_that_answers(node: Node, api: FakeApi, provider: FakeProvider) -> None:
    finding = check(node, api, provider)
    assert finding.status is CheckStatus.OK and "it answers" in finding.why


def test_a_webhook_that_nobody_answers_is_no_success(
    node: Node, api: FakeApi, provider: FakeProvider, doctor: Doctor
) -> None:
    provider.silent = ELSEWHERE
    finding = check(node, api, provider)
    assert finding.status is CheckStatus.FAILED and "does not answer" in finding.why
    done = doctor.fix([finding], lambda _: None)
    assert provider.restarts == 1 and "serve the address" in done[0]
    assert check(node, api, provider).status is CheckStatus.OK
    provider.silent = replace(ELSEWHERE, elsewhere=False)
    finding = check(node, api, provider)
    assert (finding.mend, finding.safe_fix) == ("restart", None)


def test_the_settings_count_and_not_what_was_recorded(
    node: Node, api: FakeApi, provider: FakeProvider, doctor: Doctor, store: HomeStore
) -> None:
    """Numerai holds what nodes.json holds, and both are out of date."""
    provider.base, provider.silent = "http://127.0.0.1:6", ELSEWHERE
    finding = next(each for each in doctor.examine() if each.name == "webhook")
    assert finding.status is CheckStatus.FAILED
    assert "http://127.0.0.1:5)" in finding.why and "(http://127.0.0.1:6)" in finding.why and "token" not in finding.why
    assert doctor.fix([finding], lambda _: None) == ["registered the webhook of numerai-alice"]
    assert provider.restarts == 1
    served = "http://127.0.0.1:6/numerai-alice/token-of-numerai-alice"
    assert api.by_id["id-alice"].webhook == store.nodes()["numerai-alice"].webhook_url == served


def test_a_setting_that_moves_webhooks_names_the_nodes(node: Node, provider: FakeProvider) -> None:
    assert moved([node], provider) == [] and moved_note([node], provider) is None
    provider.base = "http://127.0.0.1:6"
    assert moved([node], provider) == ["numerai-alice"]
    assert moved([replace(node, provider="aws")], provider) == []
    assert "numerai doctor --fix" in str(moved_note([node], provider))


def test_an_address_at_the_same_place_that_is_not_the_nodes(node: Node, api: FakeApi, provider: FakeProvider) -> None:
    api.set_webhook("id-alice", "http://127.0.0.1:5/numerai-alice/another-token")
    assert "another address at http://127.0.0.1:5" in check(node, api, provider).why
    api.set_webhook("id-alice", "http://[broken/x")
    assert check(node, api, provider).status is CheckStatus.FAILED


def test_the_chosen_provider_is_looked_at_before_a_node_uses_it(home: Path, api: FakeApi) -> None:
    store, cloud, local = HomeStore(home, {}), FakeProvider(), FakeProvider()
    store.save_keys(KEYS)
    cloud.found = [Check("AWS credentials", CheckStatus.FAILED, "the extra is missing", "pip install")]
    providers = {"aws": cloud, "local": local}
    doctor = Doctor(store, lambda keys: api, providers.__getitem__, FakeClock(), Ledger(home / DATABASE_FILE))
    assert "AWS credentials" not in {each.name for each in doctor.examine()}
    store.save_settings(CHOICE, {"provider": "aws"})
    assert [each.mend for each in doctor.examine() if each.name == "AWS credentials"] == ["pip install"]
    assert [each.mend for each in lacking(cloud)] == ["pip install"] and lacking(local) == ()


def test_a_provider_that_cannot_be_looked_at_lacks_something() -> None:
    class Broken(FakeProvider):
        def checks(self, nodes: object) -> Iterator[Check]:
            raise EnvironmentNotReady("no extra", "pip install")

    assert [(each.why, each.mend) for each in lacking(Broken())] == [("no extra", "pip install")]
