"""A Docker engine through its API: builds images, runs containers, keeps volumes. The SDK is imported when needed."""

from __future__ import annotations

import io
import ipaddress
import os
import posixpath
import re
import shutil
import struct
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from ..addresses import HOST_FROM_CONTAINER, is_loopback
from ..base_images import DIGEST_LABEL, NAME_LABEL, BaseImage, BaseImages, base_images, by_digest, full_name, repository
from ..dockerfile import instructions
from ..dockerignore import included_entries
from ..errors import EnvironmentNotReady, NumeraiError, ProviderError
from ..foreign import one_line
from ..ports import Artifact, ContainerSpec, ContainerState, Report
from ..source import Source, dockerfile_text
from .buildkit import (
    OTHER_PLATFORM,
    Build,
    build_failed,
    build_with_buildkit,
    has_buildkit,
    may_have_buildkit,
    need_of_buildkit,
)

if TYPE_CHECKING:
    from .docker_sdk import APIClient

TAIL_LINES = 15
STEP_LENGTH = 100
TIMEOUT_SECONDS = 60
_FRAME = struct.Struct(">BxxxL")
"""What stands before each piece of output: 1 or 2, and how many bytes. Source: Docker Engine API, "Stream format" of
ContainerAttach (docs.docker.com/reference/api/engine)."""
LOG_BYTES = "128m"
LOG_FILES = "2"
PIDS_LIMIT = 2048
"""Processes and threads of a container, as Podman limits them (podman-run(1), --pids-limit). On 128 CPUs a process that
trains with LightGBM on numpy and pyarrow has about 190 threads: OpenBLAS makes 64 at most, the others one a CPU."""
PROGRAM_BYTES, FILE_BYTES = 64 * 1024, 256 << 20
LINKS_FOLLOWED = 10
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WITHOUT = "or run nodes without containers: `numerai config set executor process` (or NUMERAI_EXECUTOR=process)."
NO_ENGINE_HINT = f"Start Docker (Docker Desktop, or `systemctl start docker`), {_WITHOUT}"


# long: one method for each thing that the tool asks of an engine
class DockerEngine:
    """`ports.ContainerEngine` on the engine of the `docker` command: DOCKER_HOST, else the current context.

    Nothing is contacted before the first method is called.
    """

    def __init__(
        self, connect: Callable[[], APIClient] | None = None, buildkit: Callable[[], bool] = may_have_buildkit
    ):
        self._connect = connect or _connect
        self._buildkit = buildkit

    @cached_property
    def _api(self) -> Any:
        with _errors():
            return self._connect()

    # the engine

    def version(self) -> str:
        with _errors():
            return str(self._api.version()["Version"])

    def cpus(self) -> int:
        with _errors():
            return int(self._api.info()["NCPU"])

    def data_folder(self) -> Path | None:
        with _errors():
            folder = Path(str(self._api.info().get("DockerRootDir") or ""))
        return folder if folder.is_absolute() and folder.exists() else None

    def gateway(self) -> str | None:
        with _errors():
            if "Docker Desktop" in str(self._api.info().get("OperatingSystem", "")) or os.name == "nt":
                return None
            network = self._api.inspect_network("bridge")
        for config in (network.get("IPAM") or {}).get("Config") or []:
            if config.get("Gateway"):
                return str(config["Gateway"])
            if config.get("Subnet"):
                return str(next(ipaddress.ip_network(config["Subnet"], strict=False).hosts()))
        return None

    # images

    def image_id(self, tag: str) -> str | None:
        local = self._local_image(tag)
        return None if local is None else str(local["Id"])

    def images(self, label: str) -> dict[str, list[str]]:
        with _errors():
            found = self._api.images(filters={"label": label})
        return {image["Id"]: [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"] for image in found}

    def tag(self, image: str, tag: str) -> None:
        repository, _, name = tag.rpartition(":")
        with _errors():
            self._api.tag(image, repository, name, force=True)

    def remove_image(self, image: str) -> None:
        from .docker_sdk import NotFound

        with _errors():
            try:
                self._api.remove_image(image, force=True)
            except NotFound:
                return

    def build(
        self,
        source: Source,
        tag: str,
        *,
        labels: Mapping[str, str],
        report: Report,
        platform: str | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> str:
        dockerfile = dockerfile_text(source.dockerfile)
        declared = {name for each in instructions(dockerfile) for name, _ in each.arguments}
        given = {name: value for name, value in (arguments or {}).items() if name in declared}
        images = base_images(dockerfile, given)
        plain = Build(source, tag, dockerfile, labels, given, platform)
        pinned = source.base_digests is not None
        digests = _pinned(source, images) if pinned else self._known_digest(images.own, platform)
        known = {**labels, **self._inherited(images.own), **images.labels(digests)}
        try:
            return self._build(
                replace(plain, dockerfile=by_digest(dockerfile, images.all, digests), labels=known), report
            )
        except NumeraiError as error:
            if pinned or not digests or error.code != "base-image-missing":
                raise
        return self._build(plain, report)  # a builder of its own need not have what the engine has

    def _known_digest(self, image: BaseImage | None, platform: str | None) -> dict[str, str]:
        """The digest of an image that is not pinned, if it is known."""
        if image is None or not image.name or image.digest is not None:
            return {}
        try:
            digest = self.digest(image.name, platform)
        except NumeraiError:
            return {}
        return {} if digest is None else {image.name: digest}

    def _inherited(self, image: BaseImage | None) -> dict[str, str]:
        """Takes back what an image says of the one below itself: labels are inherited, and nothing removes one."""
        inherited: Iterable[str] = ()
        with suppress(ProviderError):  # a name that is none is the build's to refuse
            local = self._local_image(image.name) if image is not None and image.name else None
            inherited = ((local or {}).get("Config") or {}).get("Labels") or ()
        return {name: "" for name in (NAME_LABEL, DIGEST_LABEL) if name in inherited}

    def _local_image(self, image: str) -> dict[str, Any] | None:
        from .docker_sdk import NotFound

        with _errors():
            try:
                return cast(dict[str, Any], self._api.inspect_image(image))
            except NotFound:  # ImageNotFound is one, too
                return None

    def digest(self, image: str, platform: str | None = None) -> str | None:
        local = self._local_image(image)
        with _errors():
            if local is None or platform not in (None, f"{local.get('Os')}/{local.get('Architecture')}"):
                return str(self._api.inspect_distribution(image)["Descriptor"]["digest"])
        known = [full_name(each) for each in local.get("RepoDigests") or ()]
        return next((digest for name, digest in known if name == repository(image)), None)

    def _build(self, build: Build, report: Report) -> str:
        built = self._build_the_new_way(build, report) or self._build_the_old_way(build, report)
        if build.platform is not None:
            self._require_platform(built, build.platform, build.tag)
        return built

    def _build_the_new_way(self, build: Build, report: Report) -> str | None:
        """Build with BuildKit; None where the Docker command turns out to have none."""
        if not self._buildkit():
            return None
        try:
            return self._built(build_with_buildkit(build, report), build, [])
        except NumeraiError:
            if has_buildkit():
                raise
        return None

    def _build_the_old_way(self, build: Build, report: Report) -> str:
        """Build through the engine's API, which has no BuildKit. For another platform than the engine's that fails or
        takes a base image of the engine's own, by its kind of image store (github.com/moby/moby/issues/47823)."""
        if build.platform not in (None, own := self._platform() if build.platform else None):
            raise self._wrong_platform(
                f"The old builder builds for {own} only, and {build.tag} is to be {build.platform}"
            )
        line = need_of_buildkit(build.dockerfile)
        if line is not None:
            raise EnvironmentNotReady(
                f"{build.source.dockerfile} needs BuildKit, and the Docker command here has none: {line}",
                "Install the Docker CLI with its buildx plugin (docs.docker.com/go/buildx), unset DOCKER_BUILDKIT=0,"
                " or write that line without it.",
                code="no-buildkit",
            )
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        image_id = None
        with _context(build) as context, _errors():
            # The SDK reports a failed build only in its stream, so the stream is read to its end here.
            for event in self._api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=build.source.dockerfile_name,
                tag=build.tag,
                rm=True,
                forcerm=True,
                decode=True,
                labels=dict(build.labels),
                buildargs=dict(build.arguments),
                use_config_proxy=True,
                platform=build.platform,
            ):
                if "error" in event:
                    raise build_failed(build.source.dockerfile, str(event["error"]), list(tail))
                image_id = (event.get("aux") or {}).get("ID") or image_id
                for line in str(event.get("stream", "")).splitlines():
                    if line.strip():
                        tail.append(line)
                        report(one_line(line, STEP_LENGTH) if line.startswith("Step ") else f"  {line}")
        return self._built(image_id, build, list(tail))

    def _built(self, image: str | None, build: Build, tail: list[str]) -> str:
        built = image or self.image_id(build.tag)
        if built is None:
            raise build_failed(build.source.dockerfile, "the engine returned no image", tail)
        return built

    def _platform(self) -> str:
        """What the engine runs on, such as linux/arm64."""
        with _errors():
            version = self._api.version()
        return f"{version.get('Os')}/{version.get('Arch')}"

    def _require_platform(self, image: str, platform: str, tag: str) -> None:
        """Refuse an image that is for another platform than that of what is to run it."""
        local = self._local_image(image) or {}
        found = f"{local.get('Os')}/{local.get('Architecture')}"
        if found != platform:
            raise self._wrong_platform(f"The image {tag} is for {found}, and what is to run it is {platform}")

    def _wrong_platform(self, why: str) -> EnvironmentNotReady:
        own = f"Or let nodes run on {self._platform()}: on AWS by the setting `architecture` and `node config`."
        return EnvironmentNotReady(f"{why}. Nothing was pushed.", f"{OTHER_PLATFORM}. {own}", code="wrong-platform")

    def push(self, repository: str, tag: str, *, auth: Mapping[str, str], report: Report, platform: str) -> None:
        self._require_platform(f"{repository}:{tag}", platform, f"{repository}:{tag}")
        with _errors():
            # As with builds, the SDK reports a failed push only in its stream.
            events = self._api.push(repository, tag=tag, auth_config=dict(auth), stream=True, decode=True)
            for event in events:
                if "error" in event:
                    raise ProviderError(
                        f"Pushing {repository}:{tag} failed: {one_line(str(event['error'])).rstrip('.')}.",
                        "What runs is as it was. Try again; `numerai doctor` looks at the connection.",
                        code="push-failed",
                    )
                if event.get("status") in ("Pushed", "Layer already exists"):
                    report(f"  {event.get('id', '')}: {event['status']}")

    def pull(self, image: str, *, auth: Mapping[str, str], platform: str) -> None:
        name, _, tag = image.rpartition(":")
        try:
            with _errors():
                events = self._api.pull(
                    name, tag=tag, auth_config=dict(auth), platform=platform, stream=True, decode=True
                )
                failed = next((str(event["error"]) for event in events if "error" in event), None)
        except ProviderError as error:
            failed = error.message
        if failed is not None:
            raise ProviderError(
                f"Fetching {image} failed: {one_line(failed).rstrip('.')}.",
                "Try again; `numerai doctor` looks at the connection.",
                code="pull-failed",
            )

    # volumes

    def remove_volumes(self, label: str) -> None:
        for name in self.volumes(label):
            with _errors():
                self._api.remove_volume(name, force=True)

    def volumes(self, label: str) -> list[str]:
        with _errors():
            found = self._api.volumes(filters={"label": label})["Volumes"]
        return [volume["Name"] for volume in found or []]

    # containers

    def create_container(self, spec: ContainerSpec) -> bool:
        """Create a container, unless there is one of that name; says whether it was created.

        The volumes are made where they are missing, and every user can write to them. `ProviderError` with code
        `image-missing` when the image is gone, `could-not-start` when the engine refuses.
        """
        from .docker_sdk import APIError, ImageNotFound

        for volume in spec.volumes.values():
            with _errors():
                self._api.create_volume(volume, labels=dict(spec.volume_labels[volume]))
        with _errors():
            try:
                self._api.create_container(
                    spec.image,
                    command=list(spec.command) or None,
                    name=spec.name,
                    environment=dict(spec.environment),
                    labels=dict(spec.labels),
                    host_config=self._host_config(spec),
                    use_config_proxy=True,
                )
            except ImageNotFound as error:
                raise ProviderError(f"The image {spec.image} is not there any more.", code="image-missing") from error
            except APIError as error:
                if error.status_code == 409:
                    return False
                raise _could_not_start(error) from error
        return True

    def open_volumes(self, name: str, paths: list[str]) -> None:
        """Let every user write to the volumes mounted at these paths of a container that was not started yet.

        A new volume belongs to root, and an image may have no shell to change that with, so the engine does it by
        unpacking an archive that holds nothing but the folder's mode.
        """
        for path in paths:
            folder, _, leaf = path.rpartition("/")
            with _errors():
                self._api.put_archive(name, folder, _mode_archive(leaf))

    def files_in(self, name: str, path: str) -> Iterator[Artifact]:
        with tempfile.TemporaryFile() as archive:
            with _errors():
                archive.writelines(self._api.get_archive(name, path)[0])
            archive.seek(0)
            with tarfile.open(fileobj=archive) as tar:
                for entry in tar:
                    inside = entry.name.partition("/")[2]  # what stands before is the folder's own name
                    if entry.isreg() and inside:
                        yield Artifact(inside, entry.size, partial(_content, tar, entry))

    def put_files_in(self, name: str, path: str, files: Iterable[Artifact]) -> None:
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for file in files:
                    for folder in reversed(PurePosixPath(file.name).parents[:-1]):
                        tar.addfile(_open_entry(folder.as_posix(), tarfile.DIRTYPE))
                    entry = _open_entry(file.name, tarfile.REGTYPE)
                    entry.size = file.size
                    with closing(file.open()) as content:
                        tar.addfile(entry, content)
            archive.seek(0)
            with _errors():
                self._api.put_archive(name, path, archive)

    def put_files(self, name: str, folder: str, files: Mapping[str, Path]) -> None:
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
                for inside, path in sorted(files.items()):
                    tar.add(path, inside, recursive=False, filter=_entry)
            archive.seek(0)
            with _errors():
                self._api.put_archive(name, folder, archive)

    def get_file(self, name: str, path: str, target: Path) -> bool:
        from .docker_sdk import NotFound

        with _errors(), tempfile.TemporaryFile() as archive:
            try:
                pieces, _ = self._api.get_archive(name, path)
            except NotFound:
                return False
            archive.writelines(pieces)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as tar:
                entry = tar.next()
                content = tar.extractfile(entry) if entry is not None and entry.isfile() else None
                if content is None:
                    return False
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
        return True

    def start_container(self, name: str) -> None:
        from .docker_sdk import APIError

        with _errors():
            try:
                self._api.start(name)
            except APIError as error:
                raise _could_not_start(error) from error

    def container(self, name: str) -> ContainerState | None:
        from .docker_sdk import NotFound

        with _errors():
            try:
                found = self._api.inspect_container(name)
            except NotFound:
                return None
        state, variables = found["State"], found["Config"].get("Env") or []
        return ContainerState(
            status=state["Status"],
            exit_code=state["ExitCode"],
            out_of_memory=bool(state["OOMKilled"]),
            environment=dict(variable.split("=", 1) for variable in variables if "=" in variable),
            error=state.get("Error") or None,
            user=str(found["Config"].get("User") or ""),
            program=str(found.get("Path") or ""),
        )

    def containers(self, label: str) -> dict[str, dict[str, str]]:
        with _errors():
            found = self._api.containers(all=True, filters={"label": label})
        return {container["Names"][0].lstrip("/"): container["Labels"] for container in found}

    def container_output(self, name: str) -> Iterator[tuple[int, bytes]]:
        wanted = {"follow": 1, "timestamps": 1, "stdout": 1, "stderr": 1}
        with _errors():
            # The SDK's own `logs` does not say which of the two outputs a piece is of.
            url = self._api._url("/containers/{0}/logs", name)
            with self._api._get(url, params=wanted, stream=True, timeout=(TIMEOUT_SECONDS, None)) as response:
                self._api._raise_for_status(response)
                while header := response.raw.read(_FRAME.size):
                    output, length = _FRAME.unpack(header)
                    yield output, response.raw.read(length)

    def wait_container(self, name: str, seconds: float) -> None:
        from .docker_sdk import Disconnected, NotFound, Timeout

        with _errors():
            try:
                self._api.wait(name, timeout=seconds)
            except (NotFound, Timeout, Disconnected):  # requests calls a timeout while reading a lost connection
                return

    def program(self, name: str, program: str) -> tuple[str, bytes, int] | None:
        from .docker_sdk import NotFound

        with _errors():
            try:
                config = self._api.inspect_container(name)["Config"]
                folder = config.get("WorkingDir") or "/"
                variables = dict(each.split("=", 1) for each in config.get("Env") or [] if "=" in each)
                places = [folder] if "/" in program else variables.get("PATH", DEFAULT_PATH).split(":")
                for place in places:
                    if (
                        found := self._file(
                            name, posixpath.normpath(posixpath.join(folder, place, program)), PROGRAM_BYTES
                        )
                    ) is not None:
                        return found
            except NotFound:
                return None
        return None

    def file(self, name: str, path: str) -> bytes | None:
        with _errors():
            found = self._file(name, path, FILE_BYTES + 1)
        if found is not None and len(found[1]) > FILE_BYTES:
            raise ProviderError(f"{path} in {name} is larger than {FILE_BYTES >> 20} MiB.", code="too-large")
        return None if found is None else found[1]

    def _file(self, name: str, path: str, most: int) -> tuple[str, bytes, int] | None:
        from .docker_sdk import NotFound

        for _ in range(LINKS_FOLLOWED):
            try:
                stream, stat = self._api.get_archive(name, path)
            except NotFound:
                return None
            if not stat.get("linkTarget"):
                # Only the beginning: a tar header of 512 bytes (more for a long name), then the content.
                content = bytearray()
                for piece in stream:
                    content += piece
                    if len(content) > most + 4096:
                        break
                stream.close()
                return path, _first_file(bytes(content), most), int(stat["mode"])
            path = posixpath.join(posixpath.dirname(path), stat["linkTarget"])
        return None

    def architecture(self) -> str:
        with _errors():
            return str(self._api.info().get("Architecture", ""))

    def stop_container(self, name: str, grace_seconds: int) -> None:
        from .docker_sdk import NotFound

        with _errors():
            try:
                self._api.stop(name, timeout=grace_seconds)
            except NotFound:
                return

    def remove_container(self, name: str) -> None:
        from .docker_sdk import APIError, NotFound

        with _errors():
            try:
                self._api.remove_container(name, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # its removal is under way already
                    raise

    def _host_config(self, spec: ContainerSpec) -> Any:
        from .docker_sdk import LogConfig, Mount

        return self._api.create_host_config(
            init=True,
            mem_limit=spec.memory_mib * 1024 * 1024,
            memswap_limit=spec.memory_mib * 1024 * 1024,
            nano_cpus=int(min(spec.cpu, self.cpus()) * 1_000_000_000),
            pids_limit=PIDS_LIMIT,
            cap_drop=["ALL"],
            cap_add=list(spec.capabilities) or None,
            security_opt=["no-new-privileges"],
            read_only=spec.read_only,
            tmpfs={"/tmp": "rw,mode=1777"} if spec.read_only else None,  # noqa: S108  (inside the container)
            network_mode=None if spec.network else "none",
            extra_hosts={HOST_FROM_CONTAINER: "host-gateway"} if spec.network else None,
            log_config=LogConfig(type="json-file", config={"max-size": LOG_BYTES, "max-file": LOG_FILES}),
            mounts=[Mount(path, volume, type="volume") for path, volume in spec.volumes.items()],
        )


def _pinned(source: Source, images: BaseImages) -> dict[str, str]:
    digests = dict(source.base_digests or {})
    for image in images.all:
        if image.digest is None and image.name not in digests:
            raise NumeraiError(
                f"{image.name or image.instruction.text}, which {source.dockerfile} builds on, is not pinned, and the"
                " node's base images are.",
                "`numerai node config --pin-base` pins what they are now, --no-pin-base ends it.",
                code="base-not-pinned",
            )
    return digests


@contextmanager
def _context(build: Build) -> Iterator[IO[bytes]]:
    """The build context as an archive: the very files that `deploy` has hashed and searched for credentials, and the
    text of the Dockerfile. The SDK would read .dockerignore by rules of its own, and no Dockerfile.dockerignore."""
    source, content = build.source, build.dockerfile.encode("utf-8", "surrogateescape")
    own = tarfile.TarInfo(source.dockerfile_name)
    own.size = len(content)
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in sorted({*included_entries(source.context, source.folder)} - {own.name}):
                tar.add(source.context / name, name, recursive=False, filter=_entry)
            tar.addfile(own, io.BytesIO(content))
        archive.seek(0)
        yield archive


def _entry(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """As the `docker` command sends it: nobody's, and where there is no such bit, executable."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    if os.name == "nt":
        entry.mode = entry.mode & 0o755 | 0o111
    return entry


def _first_file(archive: bytes, most: int) -> bytes:
    """The beginning of the content of the first file in a tar archive that is cut off somewhere."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as opened:
        entry = opened.next()
        start = entry.offset_data if entry is not None else 0
        return archive[start : start + min(entry.size, most)] if entry is not None and entry.isfile() else b""


def _connect() -> Any:
    """A client for the engine that the `docker` command would use; an `EnvironmentNotReady` names what is wrong."""
    from .docker_sdk import DockerException, RequestException, find_config_file, parse_host

    try:
        parse_host(os.environ.get("DOCKER_HOST"))
    except (DockerException, ValueError):  # what they say holds the address, and that may hold a password
        raise _misconfigured("DOCKER_HOST holds no address of an engine, such as tcp://127.0.0.1:2375") from None
    try:
        return _client(_endpoint())
    except (NumeraiError, DockerException, RequestException, OSError):
        raise
    except Exception as error:  # the SDK lets out what a file of another shape leads to, a bare Exception too
        where = f"{find_config_file()}, or the context that it names,"
        raise _misconfigured(f"{where} is not as the `docker` command writes it") from error


def _endpoint() -> dict[str, Any]:
    """Where the engine is: DOCKER_HOST, else the context that DOCKER_CONTEXT or Docker's configuration names."""
    from .docker_sdk import ContextAPI, find_config_file, get_current_context_name, kwargs_from_env

    options: dict[str, Any] = kwargs_from_env()
    if "base_url" in options:
        return options
    variable = os.environ.get("DOCKER_CONTEXT")
    named = variable or get_current_context_name() or "default"
    context = ContextAPI.get_context(named)
    if context is None:
        where = "DOCKER_CONTEXT" if variable else find_config_file()
        raise _misconfigured(f"there is no Docker context '{named}', which {where} names")
    return {"base_url": context.Host, "tls": context.TLSConfig or False} if context.Host else options


def _client(endpoint: Mapping[str, Any]) -> Any:
    from .docker_sdk import APIClient

    class Client(APIClient):  # type: ignore[misc]  # docker has no types
        def merge_environment_settings(self, url: str, *given: Any) -> Any:
            """Takes no proxy to this machine, as the `docker` command (golang.org/x/net/http/httpproxy: ProxyFunc)."""
            self.trust_env = not is_loopback(url)
            return super().merge_environment_settings(url, *given)

    return Client(version="auto", timeout=TIMEOUT_SECONDS, **endpoint)


def _misconfigured(why: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"The Docker engine cannot be reached: {why}.",
        f"Correct it, so that `docker version` answers, {_WITHOUT}",
        code="no-engine",
    )


@contextmanager
def _errors() -> Iterator[None]:
    """Turns what the SDK raises into errors for people."""
    from .docker_sdk import APIError, DockerException, RequestException

    try:
        yield
    except APIError as error:
        raise ProviderError(f"The Docker engine refused: {_reason(error)}.", code="engine-refused") from error
    except (DockerException, RequestException, OSError) as error:
        raise _unreachable(error) from error


def _unreachable(error: BaseException) -> EnvironmentNotReady:
    if "Permission denied" in str(error) or "PermissionError" in repr(error):
        return EnvironmentNotReady(
            "The Docker engine is there, but you may not use it (permission denied on its socket).",
            f"Add your user to the group `docker` and log in again, {_WITHOUT}",
            code="engine-forbidden",
        )
    proxy = " through the proxy that HTTP_PROXY or HTTPS_PROXY names" if "ProxyError" in repr(error) else ""
    return EnvironmentNotReady(
        f"The Docker engine cannot be reached{proxy}: {_innermost(error)}.", NO_ENGINE_HINT, code="no-engine"
    )


def _innermost(error: BaseException) -> str:
    """What really happened, below the layers of the HTTP client."""
    found = re.search(
        r"(No such file or directory|Connection refused|timed out|Name or service not known)", repr(error)
    )
    return found[1] if found else one_line(str(error) or type(error).__name__).rstrip(".")


def _reason(error: Any) -> str:
    return one_line(str(error.explanation or error)).rstrip(".")


def _could_not_start(error: Any) -> ProviderError:
    return ProviderError(f"The container could not be started: {_reason(error)}.", code="could-not-start")


def _mode_archive(folder: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = _open_entry(folder, tarfile.DIRTYPE)
        entry.mode = 0o1777
        archive.addfile(entry)
    return content.getvalue()


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    return cast("IO[bytes]", archive.extractfile(entry))


def _open_entry(name: str, kind: bytes) -> tarfile.TarInfo:
    """A file or a folder of an archive that every user can write to."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, 0o777 if kind == tarfile.DIRTYPE else 0o666
    return entry
