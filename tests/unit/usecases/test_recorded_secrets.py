from __future__ import annotations

import os
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Keys, Node
from numerai_compute.usecases.recorded_secrets import recorded_secrets


def test_every_recorded_secret_counts_whichever_is_used_now(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = HomeStore(home)
    stored.save_keys(Keys("public-id", "STORED-SECRET"))
    stored.save_notify_url("me", "json://NOTIFY-SECRET")
    stored.save_keys(Keys("public-id", "STORED-SECRET"))
    stored.save_node(
        Node(
            *("numerai-alice", "alice", "id-1", 8, "local", "/code", 2.0, 4096),
            webhook_url="https://host.example/numerai-alice/WEBHOOK-TOKEN",
        )
    )
    monkeypatch.setenv("AWS_SESSION_TOKEN", "SESSION-SECRET")
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", "public-id")
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "ENVIRONMENT-SECRET")
    found = set(recorded_secrets(HomeStore(home, os.environ)))
    wanted = {"STORED-SECRET", "ENVIRONMENT-SECRET", "json://NOTIFY-SECRET", "WEBHOOK-TOKEN", "SESSION-SECRET"}
    assert wanted <= found and "public-id" not in found


def test_the_secret_before_this_one_counts(home: Path) -> None:
    stored = HomeStore(home)
    stored.save_keys(Keys("public-id", "BEFORE-SECRET"))
    stored.save_keys(Keys("public-id", "STORED-SECRET"))
    assert {"BEFORE-SECRET", "STORED-SECRET"} <= set(recorded_secrets(stored))


@pytest.mark.parametrize(
    "address",
    [
        "https://x.execute-api.us-east-1.amazonaws.com/v1/submit",
        "https://x.execute-api.us-east-1.amazonaws.com/predict/numerai-alice",
        "https://f.azurewebsites.net/api/orchestrators/start_submission",
    ],
)
def test_an_address_of_the_official_tool_holds_no_secret(home: Path, address: str) -> None:
    """Its last word stands in many a folder, which could not be deployed then."""
    stored = HomeStore(home, {})
    stored.save_node(
        Node(
            *("numerai-alice", "alice", "id-1", 8, "local", "/code", 2.0, 4096),
            webhook_url=address,
            legacy={"webhook_url": address},
        )
    )
    assert not list(recorded_secrets(stored))
