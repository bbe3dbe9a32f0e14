"""A home, an account and a provider in memory, and a folder that can be deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Node
from numerai_compute.usecases.configure import Configured, NodeRequest, configure_node

from tests.fakes import ALICE, FakeApi, FakeProvider


@pytest.fixture
def store(home: Path) -> HomeStore:
    return HomeStore(home, {})


@pytest.fixture
def api() -> FakeApi:
    return FakeApi([ALICE])


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "code"
    path.mkdir()
    (path / "Dockerfile").write_text("FROM scratch\n")
    return path


@pytest.fixture
def node(store: HomeStore, api: FakeApi, provider: FakeProvider, folder: Path) -> Node:
    """A node that is configured, registered and deployed."""
    done = configure_node(
        NodeRequest(path=folder),
        "alice",
        None,
        api=api,
        store=store,
        provider_named=lambda _: provider,
        digest_of=lambda image: None,
        report=lambda _: None,
        agree=lambda _: None,
        insist=lambda why: None,
    )
    assert isinstance(done, Configured)
    provider.deploy(done.node, force=False, report=lambda _: None)
    return done.node
