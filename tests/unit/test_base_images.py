from __future__ import annotations

import pytest
from numerai_compute.base_images import DIGEST_LABEL, NAME_LABEL, base_images, by_digest, full_name, repository

DIGEST = f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.13-slim", "docker.io/library/python:3.13-slim"),
        ("me/image:1", "docker.io/me/image:1"),
        ("index.docker.io/python:3", "docker.io/library/python:3"),
        ("ghcr.io/me/image", "ghcr.io/me/image:latest"),
        ("localhost/image:1", "localhost/image:1"),
        ("localhost:5000/image", "localhost:5000/image:latest"),
        ("docker.io/library/python:3", "docker.io/library/python:3"),
    ],
)
def test_a_name_becomes_a_full_one(image: str, name: str) -> None:
    assert full_name(image) == (name, None)
    assert full_name(name) == (name, None)
    assert full_name(f"{image}@{DIGEST}")[1] == DIGEST
    assert name.startswith(f"{repository(image)}:")


@pytest.mark.parametrize(
    ("dockerfile", "names", "own"),
    [
        ("FROM a:1\n", ["a:1"], "a:1"),
        ("ARG I=a:1\nARG J=${I}-slim\nFROM $J\n", ["a:1-slim"], "a:1-slim"),
        ("ARG V\nFROM a:${V:-2}\nFROM b:${V-3}\nFROM c:3${V:+x}\n", ["a:2", "b:3", "c:3"], "c:3"),
        ("ARG NODE\nFROM a:${NODE}\n", ["a:numerai-alice"], "a:numerai-alice"),
        ("ARG NODE=b\nFROM a:${NODE}\n", ["a:numerai-alice"], "a:numerai-alice"),
        ("FROM --platform=$BUILDPLATFORM go:1 AS Build\nRUN x\nFROM a:1\nCOPY --from=build x y\n",
         ["go:1", "a:1"], "a:1"),
        ("FROM a:1 AS base\nFROM go:1 as build\nFROM BASE\n", ["a:1", "go:1"], "a:1"),
        ("FROM a:1 AS build\nFROM scratch\n", ["a:1"], None),
        ("FROM a:$TARGETARCH\n", [""], ""),
        ("ARG I=a\nFROM b:1\nARG I=c\nFROM $I:2", ["b:1", "a:2"], "a:2"),
        ('ARG I="a:1" J=b\nFROM \\\n  $I\nRUN <<E\nFROM x\nE\n', ["a:1"], "a:1"),
        ("RUN FROM a\n", [], None),
        ("", [], None),
    ],
)  # fmt: skip
def test_the_images_of_a_dockerfile(dockerfile: str, names: list[str], own: str | None) -> None:
    found = base_images(dockerfile, {"NODE": "numerai-alice"})
    assert [image.name.removeprefix("docker.io/library/") for image in found.all] == names
    assert (found.own and found.own.name.removeprefix("docker.io/library/")) == own


def test_a_dockerfile_takes_its_images_by_digest_and_keeps_its_lines() -> None:
    before = "\n".join(
        [
            "ARG I=a:1",
            "FROM --platform=linux/amd64 \\",
            "  $I AS one",
            "RUN true",
            f"from b@{DIGEST}",
            "from c as two # no comment",
            "FROM c as two",
            "FROM two",
        ]
    )
    images = base_images(before, {})
    digests = {"docker.io/library/a:1": "sha256:a", "docker.io/library/c:latest": "sha256:c"}
    assert by_digest(before, images.all, digests).split("\n") == [
        "ARG I=a:1",
        "FROM --platform=linux/amd64   docker.io/library/a:1@sha256:a AS one",
        "",
        "RUN true",
        f"from b@{DIGEST}",
        "from c as two # no comment",
        "FROM docker.io/library/c:latest@sha256:c as two",
        "FROM two",
    ]
    assert images.labels(digests) == {NAME_LABEL: "docker.io/library/c:latest", DIGEST_LABEL: "sha256:c"}
    assert images.labels({}) == {}
    assert by_digest(before, images.all, {}) == before


def test_a_digest_that_stands_in_the_dockerfile_is_told() -> None:
    assert base_images(f"FROM a:1@{DIGEST}\n", {}).labels({}) == {
        NAME_LABEL: "docker.io/library/a:1",
        DIGEST_LABEL: DIGEST,
    }
    assert base_images("FROM scratch\n", {}).labels({"x": DIGEST}) == {}
