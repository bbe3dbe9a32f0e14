"""Builds images with the Docker CLI's BuildKit, as `docker build` does, and knows what cannot be built without it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..child_environment import DOCKER, child_environment
from ..dockerfile import instructions
from ..dockerignore import SPECIFIC_IGNORE_FILE
from ..errors import NumeraiError
from ..foreign import one_line
from ..ports import Report
from ..process import run_process
from ..source import DOCKERFILE, Source, dockerfile_text

ASK_SECONDS = 20.0
STEP = re.compile(r"#\d+ \[(?!internal\])")
"""A line of BuildKit's plain progress that begins an instruction of the Dockerfile."""
PRINTED = re.compile(r"^#\d+ \d+\.\d+ ")
"""What stands before each line that an instruction prints: its number and the seconds since it began."""
TAIL_FROM = "------"
"""What stands before the failed step's output, near the end."""

_SYNTAX = re.compile(r">>> (#\s*syntax\s*=.*)", re.I)
"""How BuildKit points at the line whose image it does not get."""
_FLAGS = {
    "RUN": {"mount", "network", "security", "device"},
    "COPY": {"chmod", "exclude", "parents"},
    "ADD": {"chmod", "checksum", "exclude", "keep-git-dir", "unpack"},
}
"""What stands between an instruction's word and its arguments and is BuildKit's alone (docs.docker.com/reference/
dockerfile)."""
_FLAG = re.compile(r"--([\w-]+)\S*\s*")
_PLATFORM = "(?:TARGET|BUILD)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)"
_USED = re.compile(rf"\$(?:\{{({_PLATFORM})\}}|({_PLATFORM})\b)")
_NO_BASE = re.compile(
    r"pull access denied|manifest (for|unknown)|not found: manifest|failed to resolve source metadata"
    r"|no such host|dial tcp"
)


OTHER_PLATFORM = (
    "Build with BuildKit (`docker buildx version` must answer, and DOCKER_BUILDKIT must not be 0). Another processor"
    " than the engine's is emulated by QEMU: Docker Desktop has it; on Linux add it by"
    " `docker run --privileged --rm tonistiigi/binfmt --install all`"
)
"""What an image for another processor takes. Source: docs.docker.com/build/building/multi-platform, "QEMU"."""


def may_have_buildkit(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `docker` is there, and not told by DOCKER_BUILDKIT=0 to build the old way."""
    return environ.get("DOCKER_BUILDKIT") != "0" and shutil.which("docker") is not None


def has_buildkit(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether that `docker` has buildx. Asking it takes as long as a small build."""
    if not may_have_buildkit(environ):
        return False
    try:
        return (
            run_process(
                ["docker", "buildx", "version"], env=child_environment(environ, DOCKER), timeout=ASK_SECONDS
            ).exit_code
            == 0
        )
    except NumeraiError:
        return False


@dataclass(frozen=True)
class Build:
    """One build. `dockerfile` is the text to build by, which need not be that of the source; `arguments` are those that
    it declares."""

    source: Source
    tag: str
    dockerfile: str
    labels: Mapping[str, str]
    arguments: Mapping[str, str]
    platform: str | None = None


def build_with_buildkit(build: Build, report: Report) -> str | None:
    """Build an image, tag it and load it into the engine; returns its id, None where it is not told.

    Raises `NumeraiError` with code `build-failed`, holding what the failed step printed, or `base-image-missing`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        identity = Path(temporary) / "id"
        argv = ["docker", "buildx", "build", "--load", "--progress=plain", f"--iidfile={identity}", "--tag", build.tag]
        argv += ["--file", str(_dockerfile(build, temporary))]
        argv += [part for name, value in build.labels.items() for part in ("--label", f"{name}={value}")]
        argv += [part for name, value in build.arguments.items() for part in ("--build-arg", f"{name}={value}")]
        argv += ["--platform", build.platform] if build.platform else []
        lines: list[str] = []

        def on_line(line: str) -> None:
            lines.append(line)
            del lines[:-200]
            if line.strip():
                report(line.split(" ", 1)[1] if STEP.match(line) else f"  {PRINTED.sub('', line)}")

        # No attestations: an image with them is an index, which not everything that runs images takes.
        environment = {**child_environment(extra=DOCKER), "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        done = run_process([*argv, str(build.source.context)], env=environment, on_line=on_line)
        if done.exit_code != 0:
            raise build_failed(build.source.dockerfile, _reason(lines), _failed_step(lines))
        return identity.read_text(encoding="ascii").strip() or None if identity.exists() else None


def _dockerfile(build: Build, folder: str) -> Path:
    """The Dockerfile with the text to build by: where it is another one, a file in this folder, and beside it what says
    what to leave out."""
    if build.dockerfile == dockerfile_text(build.source.dockerfile):
        return build.source.dockerfile
    path, specific = Path(folder) / DOCKERFILE, build.source.folder / SPECIFIC_IGNORE_FILE
    path.write_bytes(build.dockerfile.encode("utf-8", "surrogateescape"))
    if specific.is_file():
        shutil.copyfile(specific, path.with_name(specific.name))
    return path


def build_failed(dockerfile: Path, reason: str, tail: list[str]) -> NumeraiError:
    """The error for a build that failed, told apart from one whose base image is not there."""
    reason = reason.strip().rstrip(".")
    syntax = next((found[1] for line in tail if (found := _SYNTAX.search(line))), None)
    if syntax is not None and _NO_BASE.search(reason):
        return NumeraiError(
            f"The line `{syntax}` of {dockerfile} asks for an image that cannot be had: {reason}.",
            "Remove that line, as BuildKit reads Dockerfiles without it, or check the connection to the registry.",
            code="syntax-image-missing",
        )
    if _NO_BASE.search(reason) and not any(line.startswith(" --->") for line in tail):
        return NumeraiError(
            f"The base image of {dockerfile} cannot be had: {reason}.",
            "Check the FROM line and the connection to the registry, or build or pull the base image first.",
            code="base-image-missing",
        )
    help_ = "Mend the Dockerfile or what it installs, then deploy again; what was deployed before is unchanged."
    if any("exec format error" in line for line in (reason, *tail)):
        help_ = f"A program there is for another processor than the engine's. {OTHER_PLATFORM}."
    return NumeraiError(
        "\n".join([f"Building the image of {dockerfile.parent} failed: {reason}.", *(f"  {line}" for line in tail)]),
        help_,
        code="build-failed",
    )


def need_of_buildkit(dockerfile: str) -> str | None:
    """What in a Dockerfile only BuildKit can do, as the line that asks for it; None when nothing does.

    The old builder refuses the flags, takes a heredoc's lines for nothing without a word, and leaves TARGETARCH and its
    like empty (tried with Docker 26.1 and DOCKER_BUILDKIT=0). `--link` it ignores, which changes no file.
    """
    known = set[str]()
    for instruction in instructions(dockerfile):
        triggered = instruction.triggered
        known |= {name for name, default in triggered.arguments if default is not None}
        if (
            _FLAGS.get(triggered.word, set()) & set(_flags(triggered.rest))
            or any(re.match("[A-Za-z_]", name) for _, name in triggered.heredocs)
            or any(default is None and re.fullmatch(_PLATFORM, name) for name, default in triggered.arguments)
            or (triggered.word == "FROM" and {a or b for a, b in _USED.findall(triggered.rest)} - known)
        ):
            return instruction.text
    return None


def _flags(rest: str) -> Iterator[str]:
    """The names of the flags that an instruction begins with."""
    while (flag := _FLAG.match(rest)) is not None:
        yield flag[1].lower()
        rest = rest[flag.end() :]


def _reason(lines: list[str]) -> str:
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return one_line(errors[-1].removeprefix("failed to solve: ")) if errors else "docker buildx says no more"


def _failed_step(lines: list[str]) -> list[str]:
    """What the failed step printed, and the place in the Dockerfile."""
    starts = [number for number, line in enumerate(lines) if line == TAIL_FROM]
    first = starts[-2] + 1 if len(starts) > 1 else max(0, len(lines) - 15)
    return [line for line in lines[first:] if line != TAIL_FROM and not line.startswith("ERROR: ")]
