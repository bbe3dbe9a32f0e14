"""The examples' own Dockerfiles, built and run hardened: read-only, unprivileged, and with nothing secret inside."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from numerai_compute.sandbox.data.catalog import Catalog
from numerai_compute.sandbox.serve import serve
from numerai_compute.sandbox.settings import Settings, parse_models

from tests.fixtures.sandbox import MODELS, SMALL, ServedSandbox

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

TEMPLATE = Path(__file__).parents[2] / "node_template"
BIGGEST = 400 * 10**6
"""Bytes of an example's image at most, LightGBM for training included."""


@pytest.fixture(scope="session")
def client() -> Any:
    import docker

    return docker.from_env(timeout=300)


@pytest.fixture(scope="session")
def image_of(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Builds an example's image, once for each state of its files."""
    from docker.errors import ImageNotFound

    def build(example: str) -> Any:
        folder = tmp_path_factory.mktemp(example)
        shutil.copytree(TEMPLATE / example, folder, dirs_exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TEMPLATE / "numerai_node", folder / "numerai_node", ignore=ignored)
        (folder / ".env").write_text("NUMERAI_SECRET_KEY=LEFTBEHIND\n")
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
        tag = f"numerai-test/{example}:{digest.hexdigest()[:12]}"
        try:
            return client.images.get(tag)
        except ImageNotFound:
            return client.images.build(path=str(folder), tag=tag, rm=True, forcerm=True)[0]

    return build


@pytest.fixture
def reachable(client: Any, sandbox_catalog: Catalog) -> Iterator[ServedSandbox]:
    """A sandbox that containers can reach: it listens at the bridge's gateway."""
    from numerai_compute.adapters.docker_engine import DockerEngine

    settings = Settings(models=parse_models(MODELS), spec=SMALL, rate_limit=100_000)
    with serve(settings, hosts=(DockerEngine().gateway() or "127.0.0.1",), catalog=sandbox_catalog) as running:
        yield ServedSandbox(running)


@pytest.fixture
def volume(client: Any) -> Iterator[str]:
    """The name of an empty volume."""
    made = client.volumes.create()
    yield made.name
    made.remove()


@pytest.fixture
def start(client: Any, reachable: ServedSandbox, volume: str) -> Iterator[Callable[..., Any]]:
    """Starts hardened containers of an image; at the end they are gone."""
    with ExitStack() as stack:

        def run(image: Any, *command: str, trigger_id: str | None = None, **options: Any) -> Any:
            # plain http is for this machine only, which containers know by this name
            here = f"http://host.docker.internal:{urlsplit(reachable.url).port}"
            environment = reachable.environment | {"NUMERAI_API_URL": here, "NUMERAI_CPU": "1"}
            environment["MODEL_ID"] = reachable.models["alice"]
            container = client.containers.run(
                image.id,
                list(command) or None,
                detach=True,
                environment=environment | ({"TRIGGER_ID": trigger_id} if trigger_id else {}),
                read_only=True,
                tmpfs={"/tmp": ""},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                init=True,
                mem_limit="1g",
                pids_limit=200,
                extra_hosts={"host.docker.internal": "host-gateway"},
                **options,
            )
            stack.callback(container.remove, force=True, v=True)
            return container

        yield run


def ended(container: Any) -> tuple[int, str]:
    """Its exit code and what it printed."""
    code = container.wait(timeout=180)["StatusCode"]
    return int(code), container.logs().decode()


def hidden(image: Any, reachable: ServedSandbox) -> bool:
    """Whether neither the image's history nor its configuration holds a secret."""
    known = json.dumps([image.history(), image.attrs])
    return not any(secret in known for secret in (reachable.secret_key, reachable.public_id, "LEFTBEHIND"))


def test_the_python_example(
    image_of: Callable[[str], Any], reachable: ServedSandbox, start: Callable[..., Any], volume: str
) -> None:
    image = image_of("tournament-python3")
    assert image.attrs["Config"]["User"] == "10001:10001"
    assert image.attrs["Size"] < BIGGEST
    assert hidden(image, reachable)
    trigger_id = str(uuid.uuid4())
    mounts = {volume: {"bind": "/artifacts", "mode": "rw"}}
    code, first = ended(start(image, trigger_id=trigger_id, volumes=mounts))
    assert code == 0, first
    assert " trained trees=" in first
    assert f"trigger_id={trigger_id} status=on-time" in first
    code, second = ended(start(image, volumes=mounts))
    assert code == 0, second
    assert " loaded model=/artifacts/model.txt" in second
    assert reachable.secret_key not in first + second
    assert reachable.entry()["status"] == "on-time"


def test_the_shell_example(image_of: Callable[[str], Any], reachable: ServedSandbox, start: Callable[..., Any]) -> None:
    image = image_of("shell-any-language")
    assert hidden(image, reachable)
    trigger_id = str(uuid.uuid4())
    code, out = ended(start(image, trigger_id=trigger_id))
    assert code == 0, out
    assert "the cache /cache cannot be used" in out
    (submission,) = reachable.state()["submissions"]
    entry = reachable.entry()
    assert (entry["id"], entry["status"]) == (submission["id"], "on-time") and submission["trigger_id"] == trigger_id

    wrapped = ("python", "-m", "numerai_node", "exec", "--")
    inside = "cd /node; id -u; test -e .env && echo LEFTBEHIND; touch x || echo read-only; env; exit 3"
    code, out = ended(start(image, *wrapped, "sh", "-c", inside))
    assert code == 3
    assert "10001\n" in out
    assert "read-only" in out
    assert "LEFTBEHIND" not in out
    assert reachable.secret_key not in out

    sleeper = start(image, *wrapped, "sleep", "600")
    for line in sleeper.logs(stream=True, follow=True):
        if b" started program=sleep" in line:
            break
    sleeper.stop(timeout=20)
    code, out = ended(sleeper)
    assert code == 75, out
    assert "interrupted exit=75" in out
