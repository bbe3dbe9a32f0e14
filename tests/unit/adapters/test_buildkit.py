from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from numerai_compute.adapters.buildkit import Build, build_failed, build_with_buildkit, has_buildkit, need_of_buildkit
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import NumeraiError
from numerai_compute.source import Source, dockerfile_text


@pytest.fixture
def tag() -> Iterator[str]:
    name = f"numerai-test/buildkit:{secrets.token_hex(4)}"
    yield name
    DockerEngine().remove_image(name)


@pytest.mark.parametrize(
    "line",
    [
        "RUN --mount=type=cache,target=/root/.cache pip install x",
        "run --network=none true",
        "RUN <<EOF",
        "COPY <<-'EOT' /x",
        "COPY --chmod=755 a b",
        "ADD --checksum=sha256:0 https://x y",
        "COPY --parents a/b /c",
        "ARG TARGETARCH",
        "RUN \\\n  --mount=type=secret,id=a \\\n  cat /run/secrets/a",
        "ARG A=1 TARGETARCH",
        "FROM --platform=$BUILDPLATFORM y",
        "FROM y:${TARGETARCH} AS z",
        "ONBUILD RUN --mount=type=cache,target=/x true",
        "ONBUILD COPY <<EOF /x",
        "ADD --chown=1 --keep-git-dir=true https://x/y.git /z",
        "RUN tool <<'script'",
    ],
)
def test_what_needs_buildkit_is_named(line: str) -> None:
    named = need_of_buildkit(f"FROM x\nRUN true\n{line}\nCMD y\n")
    assert named is not None and named.split()[0] == line.split(maxsplit=1)[0]


@pytest.mark.parametrize(
    "line",
    [
        "RUN echo '1 << 2'",
        "COPY --from=base --chown=1:1 a b",
        "COPY --link a b",
        "# RUN --mount=x",
        "ARG TARGETARCH=amd64",
        "ARG A='x TARGETARCH'",
        "FROM y:${TARGETARCH:-amd64}",
        "ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM y",
        "RUN echo $((1<<2)) $((1 <<2))",
        "RUN echo tool --network host --mount x",
        "RUN echo 'a <<EOF b' \"c <<EOF d\"",
        'RUN ["echo", "<<EOF"]',
        "ONBUILD RUN true",
        "ONBUILD",
    ],
)
def test_what_the_old_builder_can_do_is_not(line: str) -> None:
    assert need_of_buildkit(f"FROM x\n{line}\n") is None


def test_a_line_that_goes_on_after_a_backtick_is_read_whole() -> None:
    assert need_of_buildkit("# escape=`\nFROM x\nRUN `\n  --mount=type=cache,target=/x true\n") is not None


def test_the_old_way_is_chosen_by_the_variable() -> None:
    assert not has_buildkit({"DOCKER_BUILDKIT": "0"})


@pytest.mark.docker
def test_an_image_is_built_with_what_only_buildkit_knows(tmp_path: Path, tag: str) -> None:
    if not has_buildkit():
        pytest.skip("no buildx")
    (tmp_path / "Dockerfile").write_text(
        "FROM python:3.13-slim\nARG NODE\nARG TARGETARCH\nRUN --mount=type=cache,target=/c <<EOF\n"
        "echo $NODE $TARGETARCH > /made\nEOF\n"
    )
    said: list[str] = []

    def build() -> str | None:
        source = Source(tmp_path)
        build = Build(source, tag, dockerfile_text(source.dockerfile), {"a": "b"}, {"NODE": "n"})
        return build_with_buildkit(build, said.append)

    image = build()
    assert image is not None and image.startswith("sha256:")
    assert any("RUN --mount" in line and not line.startswith(" ") for line in said)
    (tmp_path / "Dockerfile").write_text("FROM python:3.13-slim\nRUN echo before && exit 3\n")
    with pytest.raises(NumeraiError, match="exit code: 3") as caught:
        build()
    assert caught.value.code == "build-failed" and "before" in caught.value.message


@pytest.mark.docker
def test_a_syntax_line_whose_image_is_missing_is_named(tmp_path: Path, tag: str) -> None:
    if not has_buildkit():
        pytest.skip("no buildx")
    dockerfile = "# syntax=127.0.0.1:9/syntax:1\nFROM python:3.13-slim\n"
    (tmp_path / "Dockerfile").write_text(dockerfile)
    with pytest.raises(NumeraiError, match=r"`# syntax=127\.0\.0\.1:9/syntax:1`") as caught:
        build_with_buildkit(Build(Source(tmp_path), tag, dockerfile, {}, {}), lambda line: None)
    assert caught.value.code == "syntax-image-missing" and "FROM" not in str(caught.value.hint)


def test_a_missing_base_is_told_apart(tmp_path: Path) -> None:
    reason = "x:1: failed to resolve source metadata for x:1: dial tcp: lookup x: no such host"
    assert build_failed(tmp_path / "Dockerfile", reason, []).code == "base-image-missing"
    assert build_failed(tmp_path / "Dockerfile", "exit code: 1", ["line"]).code == "build-failed"
