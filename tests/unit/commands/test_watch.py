"""What `numerai watch` and the daemon's watcher are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.commands.watch import watcher_of

from tests.fakes import KEYS
from tests.unit.commands.conftest import FakeFactory


def test_a_watcher_takes_another_client_only_with_other_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", KEYS.public_id)
    monkeypatch.setenv("NUMERAI_SECRET_KEY", KEYS.secret_key)
    factory = FakeFactory(home)
    watcher = watcher_of(factory, "watch")
    watcher.api()
    watcher.api()
    assert [keys.public_id for keys in factory.asked_with] == [KEYS.public_id]
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", "OTHER")
    watcher.api()
    assert factory.asked_with[-1].public_id == "OTHER"
