"""Pushing an image through the engine: what the stream says is what happened."""

from __future__ import annotations

from typing import Any

import pytest
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import ProviderError


class Api:
    """An engine's API that answers a push with these events."""

    def __init__(self, *events: dict[str, Any]):
        self._events = events
        self.given: dict[str, Any] = {}

    def push(self, repository: str, **given: Any) -> Any:
        self.given = {"repository": repository, **given}
        return iter(self._events)


def test_layers_are_said_as_they_arrive() -> None:
    api = Api(
        {"status": "Preparing", "id": "a"},
        {"status": "Pushed", "id": "a"},
        {"status": "Layer already exists", "id": "b"},
    )
    lines: list[str] = []
    DockerEngine(lambda: api).push("r/x", "t", auth={"username": "AWS", "password": "p"}, report=lines.append)
    assert lines == ["  a: Pushed", "  b: Layer already exists"]
    assert (api.given["repository"], api.given["tag"]) == ("r/x", "t")
    assert api.given["auth_config"] == {"username": "AWS", "password": "p"}


def test_an_error_in_the_stream_is_a_failed_push() -> None:
    api = Api({"status": "Pushed", "id": "a"}, {"error": "denied: no basic auth credentials."})
    with pytest.raises(ProviderError) as failed:
        DockerEngine(lambda: api).push("r/x", "t", auth={}, report=lambda line: None)
    assert failed.value.code == "push-failed"
    assert "r/x:t failed: denied: no basic auth credentials." in failed.value.message
