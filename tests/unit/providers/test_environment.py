"""The environment contract of a node's container."""

from __future__ import annotations

from dataclasses import replace

import pytest
from numerai_compute.models import NUMERAI_API_URL, Keys, Node
from numerai_compute.providers.environment import container_environment, container_url

NODE = Node("signals-bob", "bob", "id-1", 11, "local", "/code", cpu=0.5, memory_mib=512)


def environment(keys: Keys, trigger: str | None = "t", *, in_container: bool = True) -> dict[str, str]:
    return container_environment(NODE, keys, "r1", trigger, "s3://bucket/x", in_container=in_container, cache="/c")


def test_what_images_of_the_official_tool_expect() -> None:
    assert environment(Keys("public", "secret")) == {
        "NUMERAI_PUBLIC_ID": "public",
        "NUMERAI_SECRET_KEY": "secret",
        "MODEL_ID": "id-1",
        "TRIGGER_ID": "t",
        "NUMERAI_NODE": "signals-bob",
        "NUMERAI_TOURNAMENT": "11",
        "NUMERAI_RUN_ID": "r1",
        "NUMERAI_ARTIFACTS": "s3://bucket/x",
        "NUMERAI_CACHE": "/c",
        "NUMERAI_CPU": "0.5",
        "NUMERAI_TIMEOUT_MINUTES": "60",
    }


def test_no_trigger_no_cache() -> None:
    found = container_environment(NODE, Keys("p", "s"), "r", None, "/a", in_container=False)
    assert not {"TRIGGER_ID", "NUMERAI_CACHE"} & found.keys()


def test_a_model_that_is_trained_again() -> None:
    assert "NUMERAI_RETRAIN_DAYS" not in environment(Keys("p", "s"))
    found = container_environment(replace(NODE, retrain_days=30), Keys("p", "s"), "r", None, "/a", in_container=False)
    assert found["NUMERAI_RETRAIN_DAYS"] == "30"


def test_a_pinned_data_version() -> None:
    assert "NUMERAI_DATA_VERSION" not in environment(Keys("p", "s"))
    pinned = replace(NODE, data_version="v3.1")
    found = container_environment(pinned, Keys("p", "s"), "r", None, "/a", in_container=False)
    assert found["NUMERAI_DATA_VERSION"] == "v3.1"


def test_numerais_own_address_is_left_out() -> None:
    assert "NUMERAI_API_URL" not in environment(Keys("p", "s", NUMERAI_API_URL + "/"))


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://127.0.0.1:8000/x", "http://host.docker.internal:8000/x"),
        ("http://localhost", "http://host.docker.internal"),
        ("http://[::1]:8000", "http://host.docker.internal:8000"),
        ("https://numerai.example:8000", "https://numerai.example:8000"),
    ],
)
def test_loopback_is_rewritten_for_containers(url: str, seen: str) -> None:
    assert container_url(url) == seen
    assert environment(Keys("p", "s", url))["NUMERAI_API_URL"] == seen
    assert environment(Keys("p", "s", url), in_container=False)["NUMERAI_API_URL"] == url
