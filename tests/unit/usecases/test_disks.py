"""One disk for every node of a provider: what is provisioned, what is only recorded, and that no webhook moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.models import Node
from numerai_compute.usecases.disks import Disks, give_disks

from tests.fakes import FakeApi, FakeProvider

OFFICIAL = "https://abc.lambda-url.us-east-1.on.aws/"


class WithDisks(FakeProvider):
    """A provider that limits disks and has its own address of a node."""

    name = "aws"
    disk_gib = (20, 200)

    def configure(self, node: Node, report: object) -> Node:
        return super().configure(replace(node, webhook_url=None), print)

    def preview(self, node: Node) -> list[str]:
        return ["About 0.61 USD a month"]


@pytest.fixture
def there(store: HomeStore, node: Node) -> WithDisks:
    """Two nodes on AWS: alice is there, and bob is as `upgrade` leaves him; carol is on this machine."""
    there = WithDisks()
    store.save_node(there.configure(replace(node, provider="aws"), print))
    record = {"provider": "aws", "webhook_url": OFFICIAL}
    bob = replace(node, name="numerai-bob", model_name="bob", provider="aws", webhook_url=OFFICIAL, legacy=record)
    store.save_node(bob)
    store.save_node(replace(node, name="numerai-carol", model_name="carol"))
    return there


def give(there: WithDisks, store: HomeStore, gib: int, *, dry_run: bool = False) -> Disks:
    return give_disks(gib, there, store, report=print, agree=lambda lines: None, dry_run=dry_run)


def test_what_is_there_is_provisioned_and_what_is_not_is_recorded_and_no_webhook_moves(
    there: WithDisks, store: HomeStore, api: FakeApi
) -> None:
    before, calls = store.nodes(), list(api.calls)
    plan = give(there, store, 50, dry_run=True).plan
    assert store.nodes() == before and there.configured["numerai-alice"].disk_gib is None
    assert [step.split()[0] for step in plan.describe()] == ["provision", "record"]
    done = give(there, store, 50)
    disks = {name: node.disk_gib for name, node in store.nodes().items()}
    assert disks == {"numerai-alice": 50, "numerai-bob": 50, "numerai-carol": None}
    assert there.configured["numerai-alice"].disk_gib == 50 and "numerai-bob" not in there.configured
    assert {name: node.webhook_url for name, node in store.nodes().items()} == {
        name: node.webhook_url for name, node in before.items()
    }
    assert api.calls == calls, "Numerai is not asked for anything"
    assert len(done.later) == 1 and "Nothing of numerai-bob is on aws yet" in done.later[0]
    assert "--move-aws" in done.later[0]


def test_a_hint_names_the_node_as_one_name_may_be_a_model_in_two_tournaments(
    there: WithDisks, store: HomeStore
) -> None:
    assert "`numerai node -m numerai-bob config`" in give(there, store, 50, dry_run=True).later[0]


def test_a_size_that_one_cannot_have_changes_none(there: WithDisks, store: HomeStore) -> None:
    before = store.nodes()
    with pytest.raises(UsageError, match="20 to 200 GiB"):
        give(there, store, 500)

    def refuse(lines: list[str]) -> None:
        assert lines == ["About 0.61 USD a month"]
        raise NumeraiError("Not agreed: nothing was done.", code="not-agreed")

    with pytest.raises(NumeraiError, match="Not agreed"):
        give_disks(50, there, store, report=print, agree=refuse)
    assert store.nodes() == before
