"""Taking a node out of service: the order, what a failure leaves, and what is never touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, NumeraiError
from numerai_compute.models import Node
from numerai_compute.usecases.destroy import destroy_node

from tests.fakes import FakeApi, FakeProvider, unreachable


@pytest.fixture
def destroy(store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node) -> Callable[..., list[str]]:
    def run(force: bool = False, keep_config: bool = False, dry_run: bool = False) -> list[str]:
        warned: list[str] = []
        destroy_node(
            node,
            api=lambda: api,
            store=store,
            provider_named=lambda _: provider,
            report=lambda _: None,
            warn=warned.append,
            force=force,
            keep_config=keep_config,
            dry_run=dry_run,
        )
        return warned

    return run


def test_everything_is_gone_but_the_users_folder(
    destroy: Callable[..., list[str]], store: HomeStore, api: FakeApi, provider: FakeProvider, folder: Path
) -> None:
    destroy()
    assert store.nodes() == {} and not provider.configured and api.by_id["id-alice"].webhook is None
    assert (folder / "Dockerfile").exists()


def test_a_dry_run_destroys_nothing(
    destroy: Callable[..., list[str]], store: HomeStore, provider: FakeProvider
) -> None:
    destroy(dry_run=True)
    assert "numerai-alice" in store.nodes() and provider.configured


def test_the_configuration_can_be_kept(destroy: Callable[..., list[str]], store: HomeStore) -> None:
    destroy(keep_config=True)
    assert store.nodes()["numerai-alice"].webhook_url is None


def test_a_webhook_that_is_not_ours_is_left_alone(destroy: Callable[..., list[str]], api: FakeApi) -> None:
    api.set_webhook("id-alice", "https://elsewhere/x")
    destroy()
    assert api.by_id["id-alice"].webhook == "https://elsewhere/x"


def test_an_active_run_keeps_the_node(
    destroy: Callable[..., list[str]], store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node
) -> None:
    provider.trigger(node)
    with pytest.raises(NumeraiError) as caught:
        destroy()
    assert caught.value.code == "run-active" and "--force" in (caught.value.hint or "")
    assert api.by_id["id-alice"].webhook == node.webhook_url and "numerai-alice" in store.nodes()
    destroy(force=True)
    assert store.nodes() == {}


def test_an_unreachable_numerai_stops_it_unless_forced(
    destroy: Callable[..., list[str]], store: HomeStore, api: FakeApi, provider: FakeProvider
) -> None:
    api.fail["models"] = unreachable()
    with pytest.raises(ApiError) as caught:
        destroy()
    assert "--force" in (caught.value.hint or "") and provider.configured
    assert "stays registered" in destroy(force=True)[0]
    assert store.nodes() == {}


def test_keys_of_another_account_destroy_nothing_unless_forced(
    destroy: Callable[..., list[str]], store: HomeStore, api: FakeApi, provider: FakeProvider
) -> None:
    """What was trained would be deleted, while the first account still calls an address that nobody serves."""
    api.by_id.clear()
    for options in ({}, {"dry_run": True}):
        with pytest.raises(NumeraiError, match="no model alice") as caught:
            destroy(**options)
        assert caught.value.code == "not-in-account"
        assert "numerai setup" in (caught.value.hint or "") and "--force" in (caught.value.hint or "")
    assert "numerai-alice" in store.nodes() and provider.configured
    assert "stays registered" in destroy(force=True)[0]
    assert store.nodes() == {}


@pytest.mark.parametrize(
    ("webhook", "says"),
    [
        ("own", "clear the webhook of alice at Numerai"),
        (None, "leave the webhook alone: Numerai calls nobody for alice"),
        ("https://elsewhere/x", "leave the webhook alone: Numerai calls another address (https://elsewhere) for alice"),
    ],
)
def test_the_plan_says_what_happens_to_the_webhook(
    store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node, webhook: str | None, says: str
) -> None:
    api.set_webhook("id-alice", node.webhook_url if webhook == "own" else webhook)
    plan = destroy_node(
        node,
        api=lambda: api,
        store=store,
        provider_named=lambda _: provider,
        report=lambda _: None,
        warn=lambda _: None,
        dry_run=True,
    )
    assert plan.describe()[0] == says


def test_an_address_of_ours_that_has_moved_is_cleared(
    destroy: Callable[..., list[str]], api: FakeApi, node: Node
) -> None:
    """The port was changed, and registering the new address failed."""
    api.set_webhook("id-alice", str(node.webhook_url).replace(":5/", ":7/"))
    destroy()
    assert api.by_id["id-alice"].webhook is None


def test_what_the_provider_could_not_remove_is_not_forgotten(
    destroy: Callable[..., list[str]], store: HomeStore, provider: FakeProvider
) -> None:
    provider.fail["destroy"] = NumeraiError("an image is in use")
    with pytest.raises(NumeraiError):
        destroy()
    assert "numerai-alice" in store.nodes()
    provider.fail.clear()
    destroy()
    assert store.nodes() == {}
