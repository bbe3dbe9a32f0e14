"""Puts images in place: built here, pushed under a tag of their own, and only then made the one that runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ...models import Deployment, Node
from ...ports import ContainerEngine, Report
from ...source import build_arguments, source_of
from .image_registry import ImageRegistry
from .variables import IMAGE_TAG

PLATFORM = "linux/amd64"
"""What the job definitions run on, whatever this machine is."""
HASH_LENGTH = 12
KEPT_IMAGES = 3


class Images:
    """Builds and pushes. `cluster` tells this cluster's local images from those of another one."""

    def __init__(self, engine: Callable[[], ContainerEngine], registry: ImageRegistry, cluster: str):
        self._engine = engine
        self._registry = registry
        self._cluster = cluster

    def in_place(self, repository: str, deployment: Deployment) -> bool:
        """Whether what runs is the image that was deployed last."""
        digest = self._registry.digest(repository, IMAGE_TAG)
        return digest is not None and digest == self._registry.digest(repository, _tag(deployment.image))

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
        tag = digest[:HASH_LENGTH] + (f"-{now:%Y%m%dT%H%M%S}" if force else "")
        if force or self._registry.digest(repository, tag) is None:
            self._engine().build(
                source_of(node),
                f"{repository}:{tag}",
                labels={"numerai.node": self._label(node.name)},
                report=report,
                platform=PLATFORM,
                arguments=build_arguments(node),
            )
            report(f"Pushing {repository}:{tag}")
            self._engine().push(repository, tag, auth=self._registry.auth, report=report)
            self._registry.expire_old(repository, IMAGE_TAG)
        else:
            report(f"{repository}:{tag} is there already: it is put in place again")
        self._registry.move_tag(repository, IMAGE_TAG, tag)
        return Deployment(node.name, f"{repository}:{tag}", digest, now)

    def roll_back(self, node_name: str, repository: str, tag: str, now: datetime) -> Deployment:
        """Let an image that was deployed earlier run again, `tag` being its own."""
        self._registry.move_tag(repository, IMAGE_TAG, tag)
        return Deployment(node_name, f"{repository}:{tag}", tag[:HASH_LENGTH], now)

    def history(self, repository: str) -> list[str]:
        """The tags of the images that could run, apart from the moving one."""
        return [tag for tag in self._registry.tags(repository) if tag != IMAGE_TAG]

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


def _tag(image: str) -> str:
    return image.rpartition(":")[2]
