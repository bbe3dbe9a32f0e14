"""Pushing an image through the engine: what the stream says is what happened."""

from __future__ import annotations

from typing import Any

import pytest
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import NumeraiError, ProviderError
from numerai_compute.ports import Report


class Api:
    """An engine's API that answers a push with these events, and has one image."""

    architecture = "amd64"

    def __init__(self, *events: dict[str, Any]):
        self._events = events
        self.given: dict[str, Any] = {}

    def inspect_image(self, image: str) -> dict[str, str]:
        return {"Id": image, "Os": "linux", "Architecture": self.architecture}

    def version(self) -> dict[str, str]:
        return {"Os": "linux", "Arch": "arm64"}

    def push(self, repository: str, **given: Any) -> Any:
        self.given = {"repository": repository, **given}
        return iter(self._events)


def push(api: Api, auth: dict[str, str] | None = None, report: Report = lambda line: None) -> None:
    DockerEngine(lambda: api).push("r/x", "t", auth=auth or {}, report=report, platform="linux/amd64")


def test_an_image_for_another_processor_is_not_pushed() -> None:
    api = Api({"status": "Pushed", "id": "a"})
    api.architecture = "arm64"
    with pytest.raises(NumeraiError) as refused:
        push(api)
    assert refused.value.code == "wrong-platform" and api.given == {}


def test_layers_are_said_as_they_arrive() -> None:
    api = Api(
        {"status": "Preparing", "id": "a"},
        {"status": "Pushed", "id": "a"},
        {"status": "Layer already exists", "id": "b"},
    )
    lines: list[str] = []
    push(api, {"username": "AWS", "password": "p"}, lines.append)
    assert lines == ["  a: Pushed", "  b: Layer already exists"]
    assert (api.given["repository"], api.given["tag"]) == ("r/x", "t")
    assert api.given["auth_config"] == {"username": "AWS", "password": "p"}


def test_an_error_in_the_stream_is_a_failed_push() -> None:
    api = Api({"status": "Pushed", "id": "a"}, {"error": "denied: no basic auth credentials."})
    with pytest.raises(ProviderError) as failed:
        push(api)
    assert failed.value.code == "push-failed"
    assert "r/x:t failed: denied: no basic auth credentials." in failed.value.message


class Pulls(Api):
    """An engine's API that answers a pull with these events."""

    def pull(self, repository: str, **given: Any) -> Any:
        self.given = {"repository": repository, **given}
        return iter(self._events)


def test_an_image_is_fetched_with_a_login_for_a_platform() -> None:
    api = Pulls({"status": "Download complete", "id": "a"})
    DockerEngine(lambda: api).pull("r:5000/x:latest", auth={"username": "AWS", "password": "p"}, platform="linux/amd64")
    assert (api.given["repository"], api.given["tag"], api.given["platform"]) == ("r:5000/x", "latest", "linux/amd64")
    assert api.given["auth_config"] == {"username": "AWS", "password": "p"}


def test_an_error_in_the_stream_is_a_failed_fetch() -> None:
    api = Pulls({"status": "Pulling"}, {"error": "manifest unknown."})
    with pytest.raises(ProviderError, match="r/x:t failed: manifest unknown") as failed:
        DockerEngine(lambda: api).pull("r/x:t", auth={}, platform="linux/amd64")
    assert failed.value.code == "pull-failed"
