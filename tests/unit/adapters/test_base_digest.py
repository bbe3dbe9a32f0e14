"""Images are labelled with the digest of what they are based on and can be pinned to it: with both of `docker build`'s
builders, and a real registry."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound
from numerai_compute.adapters.buildkit import has_buildkit
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.base_images import DIGEST_LABEL, NAME_LABEL
from numerai_compute.errors import NumeraiError, ProviderError
from numerai_compute.source import Source

from tests.aws.emulator import docker_registry, image_registry
from tests.images import tagged
from tests.present import present

pytestmark = pytest.mark.docker


def quiet(line: str) -> None:
    """Takes progress and shows it to nobody."""


class Workshop:
    """A registry, images that go into it, and a node that is based on them."""

    def __init__(self, folder: Path, registry: str):
        self.client = docker.from_env()
        self.engine = DockerEngine()
        self.folder, self.mark = folder, secrets.token_hex(4)
        self.base = f"{registry}/base-{self.mark}:1"
        self.tag = f"numerai-test/digest-{self.mark}:1"
        self.made: list[str] = []
        self.source = self.node(f"FROM {self.base}\nCOPY node /node\n")

    def node(self, dockerfile: str) -> Source:
        """A node with this Dockerfile."""
        folder = self.folder / "node"
        folder.mkdir(exist_ok=True)
        (folder / "node").write_text(self.mark)
        (folder / "Dockerfile").write_text(dockerfile)
        return Source(folder)

    def publish(self, version: str, *, keep: bool) -> str:
        """Make a base image and put it into the registry; returns its digest there. Without `keep` only there."""
        folder = self.folder / f"base-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY version /version\n")
        (folder / "version").write_text(self.mark + version)
        self.made.append(str(self.client.images.build(path=str(folder), tag=self.base)[0].id))
        self.client.images.push(self.base)
        digest = str(self.client.images.get_registry_data(self.base).id)
        if not keep:
            self.client.images.remove(self.base, force=True)
        return digest

    def built(self, source: Source | None = None) -> tuple[dict[str, str], list[str]]:
        """The labels of the node's image of what it is based on, and its layers."""
        self.made.append(self.engine.build(source or self.source, self.tag, labels={}, report=quiet))
        found: dict[str, Any] = self.client.images.get(self.tag).attrs
        labels = found["Config"]["Labels"] or {}
        return {name: value for name, value in labels.items() if "image.base" in name}, found["RootFS"]["Layers"]

    def layer(self, image: str) -> str:
        """The lowest layer of an image."""
        return str(self.client.images.get(image).attrs["RootFS"]["Layers"][0])

    def close(self) -> None:
        """Remove what was made."""
        for tag in tagged(self.mark):
            self.client.images.remove(tag, force=True)
        for image in reversed(self.made):  # one whose tag has moved is still there
            with contextlib.suppress(ImageNotFound):
                self.client.images.remove(image, force=True)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not docker_registry():
        pytest.skip("docker-registry is not installed")
    with image_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(autouse=True, params=["buildkit", "old-builder"])
def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "old-builder":
        monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    elif not has_buildkit():
        pytest.skip("this Docker CLI has no buildx")


@pytest.fixture
def workshop(tmp_path: Path, registry: str) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path, registry)
    yield workshop
    workshop.close()


@pytest.mark.parametrize("local", [True, False])
def test_the_digest_of_the_base_is_a_label(workshop: Workshop, local: bool) -> None:
    digest = workshop.publish("1", keep=local)
    labels, layers = workshop.built()
    assert labels == {NAME_LABEL: workshop.base, DIGEST_LABEL: digest}
    assert len(layers) == 2


def test_a_base_that_was_built_here_has_no_digest(workshop: Workshop) -> None:
    digest = workshop.publish("1", keep=True)
    middle = f"numerai-test/middle-{workshop.mark}:1"
    workshop.made.append(workshop.engine.build(workshop.source, middle, labels={}, report=quiet))
    assert workshop.engine.digest(workshop.base) == digest and workshop.engine.digest(middle) is None
    labels, _ = workshop.built(workshop.node(f"FROM {middle}\n"))
    assert labels == {NAME_LABEL: "", DIGEST_LABEL: ""}, "what the middle one says is of the image below that one"
    labels, _ = workshop.built(workshop.node("FROM scratch\nCOPY node /node\n"))
    assert labels == {}


def test_a_pinned_base_stays_when_its_tag_moves(workshop: Workshop) -> None:
    digest = workshop.publish("1", keep=True)
    first = workshop.layer(workshop.base)
    later = workshop.publish("2", keep=True)
    assert later != digest and workshop.layer(workshop.base) != first
    (workshop.source.folder / "Dockerfile.dockerignore").write_text("Dockerfile*\n")
    pinned = Source(workshop.source.folder, base_digests={workshop.base: digest})
    labels, layers = workshop.built(pinned)
    assert (labels[DIGEST_LABEL], layers[0]) == (digest, first)
    labels, layers = workshop.built()
    assert (labels[DIGEST_LABEL], layers[0]) == (later, workshop.layer(workshop.base))


def test_what_the_engine_has_needs_no_registry(tmp_path: Path) -> None:
    if not docker_registry():
        pytest.skip("docker-registry is not installed")
    with image_registry(tmp_path) as registry:
        workshop = Workshop(tmp_path, registry)
        digest = workshop.publish("1", keep=True)
    try:
        for pins in (None, {workshop.base: digest}):
            labels, _ = workshop.built(Source(workshop.source.folder, base_digests=pins))
            assert labels == {NAME_LABEL: workshop.base, DIGEST_LABEL: digest}
    finally:
        workshop.close()


def test_a_base_that_is_not_pinned_or_gone_is_one_error(workshop: Workshop) -> None:
    workshop.publish("1", keep=False)
    with pytest.raises(NumeraiError, match="is not pinned") as caught:
        workshop.built(Source(workshop.source.folder, base_digests={}))
    assert caught.value.code == "base-not-pinned" and "--pin-base" in present(caught.value.hint)
    with pytest.raises(NumeraiError) as caught:
        workshop.built(Source(workshop.source.folder, base_digests={workshop.base: f"sha256:{'0' * 64}"}))
    assert caught.value.code == "base-image-missing"
    with pytest.raises(ProviderError):
        workshop.engine.digest(workshop.base.replace("base-", "no-such-"))
