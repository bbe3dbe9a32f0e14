"""The image registry of ECR: what a tag points to, and moving a tag without moving an image."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from functools import cached_property
from typing import Any

from ...errors import ProviderError
from .clients import AwsClients, aws_errors, present

MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
"""https://github.com/opencontainers/distribution-spec and Docker's image manifest, version 2, schema 2."""
KEPT = 5
"""Images of a node that stay for a rollback."""


class ImageRegistry:
    """One account's registry. `repository` is always the full one, as in an image's name: `<host>/<path>`."""

    def __init__(self, clients: AwsClients):
        self._clients = clients

    @cached_property
    def auth(self) -> dict[str, str]:
        """A login in the form in which a container engine takes it; ECR's token is good for twelve hours."""
        with aws_errors():
            data = self._clients.client("ecr").get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        return {"username": user, "password": password}

    def digest(self, repository: str, tag: str) -> str | None:
        """What a tag points to; None when there is no such tag or repository."""
        image = self._image(repository, tag)
        return str(image["imageId"]["imageDigest"]) if image else None

    def move_tag(self, repository: str, tag: str, to: str) -> None:
        """Let `tag` point to what `to` points to. No layer is transferred.

        Source: docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html.
        """
        image = self._image(repository, to)
        if image is None:
            raise ProviderError(f"There is no image {repository}:{to}.", "Deploy again.", code="image-missing")
        manifest = {"imageManifest": image["imageManifest"], "imageManifestMediaType": image["imageManifestMediaType"]}
        ecr = self._clients.client("ecr")
        with aws_errors(), suppress(ecr.exceptions.ImageAlreadyExistsException):  # it points there already
            ecr.put_image(repositoryName=_path(repository), imageTag=tag, **manifest)

    def expire_old(self, repository: str, running: str) -> None:
        """Let ECR remove, from now on and within a day, all but the image with the tag `running` and the latest five.

        An image that a rule selects is out of reach of the rules after it, so the first one protects what runs, even
        after a rollback to an old image. Source: docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html.
        """
        kept = {
            "Keep the image that runs": {"tagStatus": "tagged", "tagPrefixList": [running], "countNumber": 1},
            "Keep the latest images for a rollback": {"tagStatus": "any", "countNumber": KEPT},
        }
        rules = [
            {
                "rulePriority": priority,
                "description": why,
                "selection": {**selection, "countType": "imageCountMoreThan"},
                "action": {"type": "expire"},
            }
            for priority, (why, selection) in enumerate(kept.items(), 1)
        ]
        with aws_errors():
            self._clients.client("ecr").put_lifecycle_policy(
                repositoryName=_path(repository), lifecyclePolicyText=json.dumps({"rules": rules})
            )

    def tags(self, repository: str) -> list[str]:
        """Every tag of a repository; none when there is no such repository."""
        pages = self._clients.client("ecr").get_paginator("list_images")
        asked = {"repositoryName": _path(repository), "filter": {"tagStatus": "TAGGED"}}
        found = present(lambda: [image["imageTag"] for page in pages.paginate(**asked) for image in page["imageIds"]])
        return sorted(found or [])

    def _image(self, repository: str, tag: str) -> Any:
        """The image of a tag; None when there is no such tag or repository."""
        asked = {"repositoryName": _path(repository), "imageIds": [{"imageTag": tag}], "acceptedMediaTypes": MANIFESTS}
        found = present(lambda: self._clients.client("ecr").batch_get_image(**asked)["images"])
        return found[0] if found else None


def _path(repository: str) -> str:
    return repository.partition("/")[2]
