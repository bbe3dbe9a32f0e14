"""Puts images in place: built here, pushed under a tag of their own, and only then made the one that runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ...errors import UsageError
from ...models import Deployment, Node
from ...ports import ContainerEngine, ForeignImage, Report
from ...source import build_arguments, source_of
from .image_registry import ImageRegistry
from .settings import ARM
from .variables import IMAGE_TAG

HASH_LENGTH = 12
KEPT_IMAGES = 3


class Images:
    """Builds and pushes. `cluster` tells this cluster's local images from those of another one; `architecture` is what
    its job definitions run on, whatever this machine is. Images for arm64 say so in their tags."""

    def __init__(self, engine: Callable[[], ContainerEngine], registry: ImageRegistry, cluster: str, architecture: str):
        self._engine = engine
        self._registry = registry
        self._cluster = cluster
        self._architecture = architecture

    def in_place(self, repository: str, deployment: Deployment) -> bool:
        """Whether what runs is the image that was deployed last, and can run."""
        if not self.fits(deployment.image):
            return False
        digest = self._registry.digest(repository, IMAGE_TAG)
        return digest is not None and digest == self._registry.digest(repository, _tag(deployment.image))

    def fits(self, image: str) -> bool:
        """Whether an image, given by its name or its tag, is for what the cluster runs on."""
        return architecture_of(image) == self._architecture

    def present(self, deployment: Deployment) -> bool:
        """Whether the image that was deployed last is still there."""
        repository, _, tag = deployment.image.rpartition(":")
        return self._registry.digest(repository, tag) is not None

    def deploy(
        self, node: Node, repository: str, digest: str, now: datetime, *, force: bool, report: Report
    ) -> Deployment:
        """Build and push the node's folder and let it run. What runs stays as it was until everything is pushed.

        An image of the same source that is in the repository already is not built again, unless forced.
        """
        architecture, platform = self._architecture, f"linux/{self._architecture}"
        tag = digest[:HASH_LENGTH] + (f"-{ARM}" if architecture == ARM else "")
        tag += f"-{now:%Y%m%dT%H%M%S}" if force else ""
        if force or self._registry.digest(repository, tag) is None:
            self._engine().build(
                source_of(node),
                f"{repository}:{tag}",
                labels={"numerai.node": self._label(node.name)},
                report=report,
                platform=platform,
                arguments=build_arguments(node, report),
            )
            report(f"Pushing {repository}:{tag}")
            self._engine().push(repository, tag, auth=self._registry.auth, report=report, platform=platform)
            self._registry.expire_old(repository, IMAGE_TAG)
        else:
            report(f"{repository}:{tag} is there already: it is put in place again")
        self._registry.move_tag(repository, IMAGE_TAG, tag)
        return Deployment(node.name, f"{repository}:{tag}", digest, now)

    def take(self, node: Node, repository: str, image: ForeignImage, now: datetime, *, report: Report) -> Deployment:
        """Copy an image from another registry as it is, and let it run. It has no source here: its digest stands for
        that."""
        platform, digest = f"linux/{self._architecture}", image.digest.rpartition(":")[2]
        tag = digest[:HASH_LENGTH] + (f"-{ARM}" if self._architecture == ARM else "")
        if self._registry.digest(repository, tag) is None:
            engine = self._engine()
            ours = engine.image_id(image.name) is None
            report(f"Fetching {image.name}")
            engine.pull(image.name, auth=image.auth, platform=platform)
            engine.tag(image.name, f"{repository}:{tag}")
            report(f"Pushing {repository}:{tag}")
            engine.push(repository, tag, auth=self._registry.auth, report=report, platform=platform)
            self._registry.expire_old(repository, IMAGE_TAG)
            for name in (f"{repository}:{tag}", *([image.name] if ours else [])):
                engine.remove_image(name)
        self._registry.move_tag(repository, IMAGE_TAG, tag)
        return Deployment(node.name, f"{repository}:{tag}", digest, now)

    def roll_back(self, node_name: str, repository: str, tag: str, now: datetime) -> Deployment:
        """Let an image that was deployed earlier run again, `tag` being its own; `UsageError` with code
        `wrong-platform` for one that the cluster does not run."""
        if not self.fits(tag):
            raise UsageError(
                f"The image {tag} is for {architecture_of(tag)}, and the cluster runs {self._architecture}.",
                "Choose one that `numerai node rollback` lists, or deploy again.",
                code="wrong-platform",
            )
        self._registry.move_tag(repository, IMAGE_TAG, tag)
        return Deployment(node_name, f"{repository}:{tag}", tag[:HASH_LENGTH], now)

    def history(self, repository: str) -> list[str]:
        """The tags of the images that could run, apart from the moving one."""
        return [tag for tag in self._registry.tags(repository) if tag != IMAGE_TAG and self.fits(tag)]

    def forget_local(self, node_name: str, keep: int = 0) -> None:
        """Remove the node's images from this machine's engine, apart from the latest few."""
        engine = self._engine()
        found = engine.images(f"numerai.node={self._label(node_name)}")
        for image, tags in list(found.items())[keep:]:
            for tag in tags:
                engine.remove_image(tag)
            engine.remove_image(image)

    def _label(self, node_name: str) -> str:
        return f"{self._cluster}/{node_name}"


def architecture_of(image: str) -> str:
    """What an image that was built here is for, given by its name or its tag."""
    return ARM if ARM in _tag(image).split("-") else "amd64"


def _tag(image: str) -> str:
    return image.rpartition(":")[2]
