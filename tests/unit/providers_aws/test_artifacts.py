"""What runs have left in the bucket is handed over to another provider, and taken from one."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.ports import Artifact

from .conftest import ACCOUNT, REGION, World

BUCKET = f"numerai-artifacts-{ACCOUNT}-{REGION}"


def files(**given: bytes) -> list[Artifact]:
    return [Artifact(name, len(content), partial(BytesIO, content)) for name, content in given.items()]


def held(world: World, node_name: str) -> dict[str, tuple[int, bytes]]:
    return {each.name: (each.size, each.open().read()) for each in world.provider.artifacts(node_name)}


def test_files_are_objects_below_the_nodes_name(world: World) -> None:
    assert held(world, "numerai-alice") == {}, "there is no cluster yet"
    node, bob = world.configured(), world.configured("bob")
    for content in (b"first", b"second"):
        world.provider.put_artifacts(node.name, files(**{"model.json": content, "folds/1.model": b"tree"}))
    assert held(world, node.name) == {"model.json": (6, b"second"), "folds/1.model": (4, b"tree")}
    assert held(world, bob.name) == {}
    s3 = world.clients.client("s3")
    assert s3.get_object(Bucket=BUCKET, Key=f"{node.name}/folds/1.model")["Body"].read() == b"tree"


@pytest.mark.parametrize("name", ["../numerai-bob/model", "/model", "a\\b", "c:/x"])
def test_a_name_that_leads_elsewhere_is_refused(world: World, name: str) -> None:
    node = world.configured()
    with pytest.raises(ProviderError, match="no name in a folder"):
        world.provider.put_artifacts(node.name, files(**{name: b"x"}))
    assert held(world, node.name) == {}


def test_what_cannot_be_read_is_one_error(world: World) -> None:
    node = world.configured()
    world.provider.put_artifacts(node.name, files(model=b"x"))
    (kept,) = world.provider.artifacts(node.name)
    world.clients.client("s3").delete_object(Bucket=BUCKET, Key=f"{node.name}/model")
    with pytest.raises(ProviderError):
        kept.open()
