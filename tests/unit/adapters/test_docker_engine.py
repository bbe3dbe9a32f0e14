"""The Docker engine's adapter: against a scripted engine where it fails, against a real one where it works."""

from __future__ import annotations

import hashlib
import http.server
import os
import secrets
import subprocess
import sys
import tarfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import pytest
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from numerai_compute.adapters import docker_engine as module
from numerai_compute.adapters.buildkit import has_buildkit
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.base_images import DIGEST_LABEL, NAME_LABEL
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError
from numerai_compute.ports import ContainerSpec
from numerai_compute.source import Source, source_files
from requests.exceptions import ConnectionError as Disconnected
from requests.exceptions import ReadTimeout

from tests.images import run_in_container
from tests.present import present

SPEC = ContainerSpec("c", "image", cpu=64, memory_mib=64, environment={"KEY": "top-secret"})


class Response:
    """What the SDK takes status and reason from."""

    def __init__(self, status: int):
        self.status_code, self.reason = status, "reason"


def api_error(status: int, explanation: str = "because.") -> APIError:
    return APIError("error", Response(status), explanation)


class Scripted:
    """An API client whose methods return or raise what a test says."""

    def __init__(self, **answers: Any):
        self.answers = answers
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def method(*_: Any, **__: Any) -> Any:
            self.calls.append(name)
            answer = self.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return method


def engine(**answers: Any) -> DockerEngine:
    nothing = {"inspect_image": NotFound("x"), "inspect_distribution": api_error(404)}
    return DockerEngine(lambda: Scripted(**{**nothing, **answers}), buildkit=lambda: False)


def test_nothing_is_contacted_before_it_is_needed() -> None:
    DockerEngine(lambda: pytest.fail("contacted"))


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (DockerException("... FileNotFoundError(2, 'No such file or directory')"), "no-engine", "No such file"),
        (DockerException("PermissionError(13, 'Permission denied')"), "engine-forbidden", "you may not use it"),
        (Disconnected("('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))"), "no-engine", "re"),
        (OSError(), "no-engine", "OSError"),
    ],
)
def test_an_engine_that_cannot_be_used(error: Exception, code: str, says: str) -> None:
    with pytest.raises(EnvironmentNotReady) as found:
        engine(version=error).version()
    assert found.value.code == code
    assert says in found.value.message
    assert "NUMERAI_EXECUTOR=process" in (found.value.hint or "")


def test_an_engine_that_is_not_there_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EnvironmentNotReady) as found:
        DockerEngine().version()
    assert found.value.code == "no-engine"
    assert "No such file" in found.value.message


def test_the_current_context_leads_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Context:
        Host = "tcp://elsewhere.example:1234"
        TLSConfig = None

    asked: list[object] = []
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr("docker.context.ContextAPI.get_context", lambda name: asked.append(name) or Context())
    monkeypatch.setattr("numerai_compute.adapters.docker_sdk.APIClient", dict)
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    assert module._connect()["base_url"] == "tcp://elsewhere.example:1234"
    assert asked == ["mine"]
    monkeypatch.setenv("DOCKER_HOST", "tcp://first.example:1")
    assert module._connect()["base_url"].endswith("first.example:1")


@pytest.mark.parametrize("host", ["tcp://[::1", "tcp://127.0.0.1:abc", "nothing://x", "tcp://me:a-password@x:1"])
def test_an_address_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(EnvironmentNotReady, match="DOCKER_HOST holds no address") as found:
        DockerEngine().version()
    assert found.value.code == "no-engine" and "a-password" not in "".join(traceback.format_exception(found.value))


@pytest.mark.parametrize(
    "content",
    [
        "[1]",
        '{"currentContext": 5}',
        '{"proxies": [1]}',
        '{"proxies": {"default": 1}}',
        '{"auths": [1]}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_configuration_of_another_shape_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    (tmp_path / "config.json").write_text(content)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    with pytest.raises(EnvironmentNotReady, match=r"config\.json") as found:
        DockerEngine().version()
    assert found.value.code == "no-engine"


@pytest.mark.parametrize("meta", ["[", "[1]", '{"Name": "mine", "Endpoints": {"docker": {"Host": "tcp://[::1"}}}'])
def test_a_context_of_another_shape_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, meta: str) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(meta)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    with pytest.raises(EnvironmentNotReady, match=r"config\.json, or the context that it names"):
        DockerEngine().version()


@pytest.mark.parametrize("variable", [True, False])
def test_a_context_that_is_not_there_is_not_the_default_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: bool
) -> None:
    (tmp_path / "config.json").write_text("{}" if variable else '{"currentContext": "nope"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "nope" if variable else "")
    with pytest.raises(EnvironmentNotReady, match="no Docker context 'nope'") as found:
        DockerEngine().version()
    assert ("DOCKER_CONTEXT" if variable else "config.json") in found.value.message


class _Engine(http.server.BaseHTTPRequestHandler):
    """An engine that knows its version, and nothing else."""

    def do_GET(self) -> None:
        content = b'{"Version": "1.2.3", "ApiVersion": "1.44"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_no_proxy_stands_between_this_machine_and_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), _Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
            assert DockerEngine().version() == "1.2.3"
        finally:
            server.shutdown()
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2375")
    with pytest.raises(EnvironmentNotReady, match="through the proxy that HTTP_PROXY"):
        DockerEngine().version()


@pytest.mark.parametrize(
    ("system", "config", "gateway"),
    [
        ("Docker Desktop", [{"Gateway": "172.17.0.1"}], None),
        ("Debian GNU/Linux 12", [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}], "172.17.0.9"),
        ("Debian GNU/Linux 12", [{"Subnet": "172.18.0.0/16"}], "172.18.0.1"),
        ("Debian GNU/Linux 12", None, None),
    ],
)
def test_the_gateway(system: str, config: Any, gateway: str | None) -> None:
    found = engine(info={"OperatingSystem": system}, inspect_network={"IPAM": {"Config": config}}).gateway()
    assert found == gateway


def test_what_the_engine_says_about_itself(tmp_path: Path) -> None:
    assert engine(info={"NCPU": 3}).cpus() == 3
    assert engine(info={"DockerRootDir": str(tmp_path)}).data_folder() == tmp_path
    assert engine(info={"DockerRootDir": "/no/such/folder"}).data_folder() is None
    assert engine(info={}).data_folder() is None
    assert engine(inspect_image=ImageNotFound("x")).image_id("x") is None
    assert engine(images=[{"Id": "i", "RepoTags": ["<none>:<none>"]}]).images("a=b") == {"i": []}
    assert engine(volumes={"Volumes": None}).volumes("a=b") == []


def test_what_is_gone_is_fine() -> None:
    gone = NotFound("gone")
    found = engine(remove_image=gone, remove_container=gone, stop=gone, wait=gone, inspect_container=gone)
    found.remove_image("x")
    found.remove_container("x")
    found.stop_container("x", 1)
    found.wait_container("x", 1)
    assert found.container("x") is None
    engine(wait=ReadTimeout()).wait_container("x", 1)
    engine(remove_container=api_error(409)).remove_container("x")
    with pytest.raises(ProviderError) as error:
        engine(remove_container=api_error(500)).remove_container("x")
    assert error.value.code == "engine-refused"
    assert error.value.message == "The Docker engine refused: because."


def test_creating_a_container() -> None:
    answers = {"info": {"NCPU": 2}}
    assert engine(**answers).create_container(SPEC)
    assert not engine(**answers, create_container=api_error(409)).create_container(SPEC)
    for refusal, code in ((ImageNotFound("gone"), "image-missing"), (api_error(400), "could-not-start")):
        with pytest.raises(ProviderError) as error:
            engine(**answers, create_container=refusal).create_container(SPEC)
        assert error.value.code == code
    with pytest.raises(ProviderError) as error:
        engine(start=api_error(400, "exec: nope: not found")).start_container("c")
    assert error.value.code == "could-not-start"
    assert "nope" in error.value.message
    assert "top-secret" not in repr(SPEC)


def test_a_stream_that_ends_without_an_image_is_a_failed_build(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x")
    with pytest.raises(NumeraiError) as error:
        engine(build=[{"stream": "Step 1\n"}], inspect_image=NotFound("x")).build(
            Source(tmp_path), "t:1", labels={}, report=lambda line: None
        )
    assert error.value.code == "build-failed"
    assert "Step 1" in error.value.message


def test_a_base_image_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x")
    for reason in ("pull access denied for x", "manifest for x not found", "dial tcp: lookup registry: no such host"):
        with pytest.raises(NumeraiError) as error:
            engine(build=[{"stream": "Step 1/1 : FROM x"}, {"error": reason}]).build(
                Source(tmp_path), "t:1", labels={}, report=lambda line: None
            )
        assert error.value.code == "base-image-missing"
        assert "FROM" in (error.value.hint or "")


def test_a_builder_that_has_no_image_of_that_digest_builds_by_the_tag(tmp_path: Path) -> None:
    """One of its own, as `docker buildx create` makes, does not have what the engine has."""
    (tmp_path / "Dockerfile").write_text("FROM x:1\nCMD y\n")
    asked: list[tuple[bytes, dict[str, str]]] = []

    class Api(Scripted):
        def build(self, fileobj: IO[bytes], labels: dict[str, str], **_: Any) -> list[dict[str, Any]]:
            with tarfile.open(fileobj=fileobj) as archive:
                asked.append((present(archive.extractfile("Dockerfile")).read(), labels))
            return [{"error": "manifest unknown"}] if len(asked) == 1 else [{"aux": {"ID": "sha256:i"}}]

    api = Api(inspect_image={"Id": "sha256:x", "RepoDigests": ["y@sha256:2", "x@sha256:1"]})
    found = DockerEngine(lambda: api, buildkit=lambda: False).build(
        Source(tmp_path), "t:1", labels={"a": "b"}, report=lambda line: None
    )
    assert found == "sha256:i"
    assert [dockerfile.split(b"\n")[0] for dockerfile, _ in asked] == [
        b"FROM docker.io/library/x:1@sha256:1",
        b"FROM x:1",
    ]
    assert [sorted(labels) for _, labels in asked] == [["a", DIGEST_LABEL, NAME_LABEL], ["a"]]


def test_a_copy_for_another_platform_tells_no_digest() -> None:
    arm = {"Os": "linux", "Architecture": "arm64", "RepoDigests": ["x@sha256:arm"]}
    found = engine(inspect_image=arm, inspect_distribution={"Descriptor": {"digest": "sha256:all"}})
    assert found.digest("x:1", "linux/amd64") == "sha256:all"
    assert found.digest("x:1", "linux/arm64") == found.digest("x:1") == "sha256:arm"


AMD, ARM = "linux/amd64", "linux/arm64"


def image_for(platform: str) -> dict[str, str]:
    system, _, architecture = platform.partition("/")
    return {"Id": "sha256:i", "Os": system, "Architecture": architecture}


def test_an_image_for_another_processor_is_refused_once_it_is_built(tmp_path: Path) -> None:
    """The old builder takes the copy of a base image that the engine has, whatever platform it is asked for."""
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    answers: dict[str, Any] = {"build": [{"aux": {"ID": "sha256:i"}}], "version": {"Os": "linux", "Arch": "amd64"}}
    for built, asked, refused in ((ARM, AMD, True), (AMD, AMD, False), (ARM, None, False)):
        found = engine(**answers, inspect_image=image_for(built), inspect_distribution=NotFound("x"))
        with pytest.raises(NumeraiError) if refused else nullcontext() as error:
            found.build(Source(tmp_path), "t:1", labels={}, report=lambda line: None, platform=asked)
        if error is not None:
            assert error.value.code == "wrong-platform"
            assert "t:1 is for linux/arm64" in error.value.message and "linux/amd64" in error.value.message
            assert "buildx" in (error.value.hint or "") and "architecture" in (error.value.hint or "")


def test_the_old_builder_is_not_asked_for_another_processor_than_the_engines(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    found = engine(version={"Os": "linux", "Arch": "arm64"}, inspect_image=NotFound("x"))
    with pytest.raises(NumeraiError) as error:
        found.build(Source(tmp_path), "t:1", labels={}, report=lambda line: None, platform=AMD)
    assert error.value.code == "wrong-platform"
    assert "linux/arm64" in error.value.message and "DOCKER_BUILDKIT" in (error.value.hint or "")


def test_a_build_that_cannot_execute_what_is_for_another_processor_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nRUN true\n")
    stream = [{"stream": "exec /bin/sh: exec format error\n"}, {"error": "returned a non-zero code: 255"}]
    with pytest.raises(NumeraiError) as error:
        engine(build=stream, inspect_image=NotFound("x")).build(
            Source(tmp_path), "t:1", labels={}, report=lambda line: None
        )
    assert error.value.code == "build-failed" and "QEMU" in (error.value.hint or "")


FAKE_DOCKER = """#!{python}
import pathlib, sys
with pathlib.Path({log!r}).open("a") as log:
    log.write(" ".join(sys.argv[1:3]) + "\\n")
if {buildx}:
    identity = next((each for each in sys.argv if each.startswith("--iidfile=")), None)
    if identity:
        pathlib.Path(identity.partition("=")[2]).write_text("sha256:i")
    sys.exit(0)
sys.exit("docker: unknown command: docker buildx")
"""


@pytest.mark.skipif(os.name == "nt", reason="a program that is a script")
@pytest.mark.parametrize(("buildx", "asked"), [(True, ["buildx build"]), (False, ["buildx build", "buildx version"])])
def test_whether_there_is_buildkit_is_asked_once_a_build_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildx: bool, asked: list[str]
) -> None:
    """Asking takes the Docker command as long as a small build."""
    folder, log, program = tmp_path / "node", tmp_path / "log", tmp_path / "bin" / "docker"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM x\n")
    program.parent.mkdir()
    program.write_text(FAKE_DOCKER.format(python=sys.executable, log=str(log), buildx=buildx))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    api = Scripted(inspect_image=NotFound("x"), inspect_distribution=api_error(404), build=[{"aux": {"ID": "old"}}])
    built = DockerEngine(lambda: api).build(Source(folder), "t:1", labels={}, report=lambda line: None)
    assert built == ("sha256:i" if buildx else "old")
    assert log.read_text().splitlines() == asked


WHILE_IT_LOADS = """
import sys, threading
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import EnvironmentNotReady
sys.setswitchinterval(1e-6)
heard = []
def work(begin_with):
    while begin_with not in sys.modules: pass
    try:
        DockerEngine().version()
    except EnvironmentNotReady:
        heard.append("no engine")
    except BaseException as error:
        heard.append(repr(error))
threads = [threading.Thread(target=work, args=(name,)) for name in ("sys", "docker", "docker.errors", "docker.utils")]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*heard, sep=", ", end="")
"""


@pytest.mark.slow
def test_a_thread_may_need_the_sdk_while_another_loads_it() -> None:
    nowhere = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:9"}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", WHILE_IT_LOADS], env=nowhere, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == ", ".join(["no engine"] * 4), done.stderr


@pytest.mark.docker
class TestRealEngine:
    """Against the engine of this machine; images are built in both ways that `docker build` has."""

    @pytest.fixture(autouse=True, params=["buildkit", "old-builder"])
    def builder(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        if request.param == "old-builder":
            monkeypatch.setenv("DOCKER_BUILDKIT", "0")
        elif not has_buildkit():
            pytest.skip("this Docker CLI has no buildx")

    @pytest.fixture
    def tag(self) -> Iterator[str]:
        name = f"numerai-local/test-{secrets.token_hex(4)}:1"
        yield name
        DockerEngine().remove_image(name)

    def build(self, folder: Path, tag: str, dockerfile: str) -> tuple[str, list[str]]:
        (folder / "Dockerfile").write_text(dockerfile)
        lines: list[str] = []
        return DockerEngine().build(
            Source(folder), tag, labels={"test": tag}, report=lambda line: lines.append(line.strip())
        ), lines

    def test_build_reports_and_leaves_no_container(self, tmp_path: Path, tag: str) -> None:
        (tmp_path / "secret.key").write_text("hidden")
        (tmp_path / ".dockerignore").write_text("*.key\n")
        dockerfile = f'FROM python:3.13-slim\nENV TAG={tag}\nCOPY . /x\nRUN ["ls", "-A", "/x"]\nLABEL test.of=build\n'
        image, lines = self.build(tmp_path, tag, dockerfile)
        assert "Dockerfile" in lines
        assert "secret.key" not in lines
        assert DockerEngine().image_id(tag) == image
        assert DockerEngine().images(f"test={tag}") == {image: [tag]}
        assert DockerEngine().containers(f"test={tag}") == {}

    def test_the_build_gets_the_files_that_deploy_has_looked_at(self, tmp_path: Path, tag: str) -> None:
        """By the rules of the file that wins, with empty folders."""
        (tmp_path / ".env").write_text("hidden")
        (tmp_path / "nothing").mkdir()
        (tmp_path / ".dockerignore").write_text("main.py\n")
        (tmp_path / "Dockerfile.dockerignore").write_text("\ufeff.env\n")
        (tmp_path / "main.py").touch()
        (tmp_path / "link").symlink_to("main.py")
        self.build(tmp_path, tag, f"FROM python:3.13-slim\nCOPY . /x\nENV TAG={tag}\n")
        held = set(run_in_container(tag, ["ls", "-A", "/x"]).split())
        assert (
            held == {*source_files(Source(tmp_path)), "nothing"} and {"main.py", "link"} < held and ".env" not in held
        )

    def test_a_folder_above_the_dockerfile_is_built_from(self, tmp_path: Path, tag: str) -> None:
        node = tmp_path / "nodes" / "alice"
        node.mkdir(parents=True)
        for name in ("common/x.py", "common/.env", "nodes/alice/y.py", "nodes/bob.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        (node / "Dockerfile").write_text(
            "FROM python:3.13-slim\nARG SRC_PATH\nCOPY . /all\nCOPY ${SRC_PATH} /node\nCOPY common /node/common\n"
            f"ENV TAG={tag}\n"
        )
        (tmp_path / ".dockerignore").write_text("**/.env\nnodes/alice/Dockerfile\n")
        source, listed = Source(node, tmp_path), ["sh", "-c", "cd /all && find . -type f && ls -A /node"]
        for specific in ("", "nodes/bob.py"):
            if specific:
                (node / "Dockerfile.dockerignore").write_text(f"{specific}\n**/.dockerignore\n")
            DockerEngine().build(
                source, tag, labels={}, report=lambda line: None, arguments={"SRC_PATH": source.inside, "NODE": "n"}
            )
            found = run_in_container(tag, listed).split()
            held = {name.removeprefix("./") for name in found if name.startswith("./")}
            assert held == {*source_files(source)} - ({"nodes/alice/Dockerfile"} if not specific else set())
            assert {"y.py", "common"} <= set(found), "the node and what it shares"
            assert (".env" in "".join(held), "nodes/bob.py" in held) == (bool(specific), not specific)

    def test_build_arguments_that_are_declared(self, tmp_path: Path, tag: str) -> None:
        (tmp_path / "Dockerfile").write_text("FROM python:3.13-slim\nARG OTHER=x NODE\nRUN echo node is $NODE\n")
        lines: list[str] = []
        node = "numerai-" + tag.removesuffix(":1")[-8:]  # a new one: what comes out of the cache prints nothing
        DockerEngine().build(
            Source(tmp_path), tag, labels={}, report=lines.append, arguments={"NODE": node, "SRC_PATH": "."}
        )
        printed = [line.strip() for line in lines if "echo" not in line]  # BuildKit writes step and time before it
        assert any(line.endswith(f"node is {node}") for line in printed)
        assert "consumed" not in "".join(lines)

    def test_an_image_for_another_processor_is_built_and_not_taken_for_this_ones(
        self, tmp_path: Path, tag: str
    ) -> None:
        """It is looked at only: this engine could not run it. The old builder is not let try."""
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /node\n")
        engine_, (repository, _, name) = DockerEngine(), tag.rpartition(":")
        own = engine_._platform()
        other = ARM if own == AMD else AMD
        with pytest.raises(NumeraiError, match=f"is for {other}" if has_buildkit() else "old builder") as refused:
            engine_.build(Source(tmp_path), tag, labels={}, report=lambda line: None, platform=other)
            engine_.push(repository, name, auth={}, report=lambda line: None, platform=own)
        assert refused.value.code == "wrong-platform"

    def test_a_failed_build_is_raised_with_its_last_lines(self, tmp_path: Path, tag: str) -> None:
        failing = 'FROM python:3.13-slim\nRUN ["python", "-c", "print(12345); raise SystemExit(4)"]\n'
        with pytest.raises(NumeraiError) as error:
            self.build(tmp_path, tag, failing)
        assert error.value.code == "build-failed"
        assert "12345" in error.value.message
        assert DockerEngine().image_id(tag) is None
        with pytest.raises(NumeraiError) as error:
            self.build(tmp_path, tag, "NONSENSE")
        assert "unknown instruction" in error.value.message.lower()

    def test_what_only_buildkit_can_do_is_built_or_named(self, tmp_path: Path, tag: str) -> None:
        dockerfile = "FROM python:3.13-slim\nRUN <<EOF\ntouch /made\nEOF\n"
        if has_buildkit():
            self.build(tmp_path, tag, dockerfile)
            return
        with pytest.raises(EnvironmentNotReady, match="RUN <<EOF") as error:
            self.build(tmp_path, tag, dockerfile)
        assert error.value.code == "no-buildkit"
        assert DockerEngine().image_id(tag) is None

    def test_a_missing_base_image(self, tmp_path: Path, tag: str) -> None:
        with pytest.raises(NumeraiError) as error:
            self.build(tmp_path, tag, "FROM 127.0.0.1:1/numerai/no-such-image:0\n")
        assert error.value.code == "base-image-missing"

    def test_a_command_that_is_not_in_the_image(self, tmp_path: Path, tag: str) -> None:
        image, _ = self.build(tmp_path, tag, 'FROM python:3.13-slim\nCMD ["/no/such/program"]\n')
        engine, name = DockerEngine(), f"numerai-test-{secrets.token_hex(4)}"
        engine.create_container(ContainerSpec(name, image, 0.5, 64, {"A": "b=c"}, read_only=True))
        try:
            assert present(engine.container(name)).status == "created"
            engine.start_container(name)
            engine.wait_container(name, 30)
            state = present(engine.container(name))
            assert state.ended
            assert state.exit_code == 127
            assert state.environment["A"] == "b=c"
            assert b"/no/such/program" in b"".join(piece for _, piece in engine.container_output(name))
        finally:
            engine.remove_container(name)
        assert engine.container(name) is None
        with pytest.raises(ProviderError):
            next(engine.container_output(name))

    def test_output_says_which_of_the_two_it_is(self, tmp_path: Path, tag: str) -> None:
        program = "import os, sys; os.write(1, b'x' * 20000); print('error', file=sys.stderr); print('end')"
        image, _ = self.build(tmp_path, tag, f'FROM python:3.13-slim\nCMD ["python", "-c", "{program}"]\n')
        engine, name = DockerEngine(), f"numerai-test-{secrets.token_hex(4)}"
        engine.create_container(ContainerSpec(name, image, 0.5, 64, {}, read_only=True))
        try:
            engine.start_container(name)
            texts = {1: b"", 2: b""}
            for output, piece in engine.container_output(name):
                texts[output] += piece.partition(b" ")[2]
        finally:
            engine.remove_container(name)
        assert texts == {1: b"x" * 20000 + b"end\n", 2: b"error\n"}

    def test_the_engine_is_known(self) -> None:
        engine = DockerEngine()
        assert engine.version()
        assert engine.cpus() >= 1
        gateway = engine.gateway()
        assert gateway is None or gateway.count(".") == 3
