"""A local AWS for tests and for work by hand: moto with real containers, and a real image registry beside it.

By hand: `python -m tests.aws.emulator [--hostile]` prints the variables to export and serves until Ctrl-C, for this
machine and its containers only: it asks nobody who they are.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException, ImageNotFound

from ..images import tagged
from .access_keys import USER
from .judging import judge
from .lambda_runtime import CODE
from .moto_lambda import LABEL

REGION = "us-east-1"
ACCOUNT = "123456789012"
PYTHON_IMAGE = "python:3.13-slim"
LAMBDA_PACKAGES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
LAMBDA_SERVICES = ("batch", "dynamodb", "sns", "ssm")
"""What the functions ask of AWS. The image is named after it, so that another version of this tree does not get it."""
STOP_SECONDS = 20
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Emulator:
    """A running emulator: `url` is AWS's address, `registry` the image registry's `host:port`, `label` marks every
    container that was started for it, `log` is what the server printed, `record` every signed request with
    what IAM says of it (`enforcement.py`), and `hostile` says in which world it runs."""

    url: str
    registry: str
    label: str
    log: Path
    record: Path
    hostile: bool = False

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment to use this AWS instead of the real one."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": USER,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            **(
                {} if self.hostile else {"AWS_MAX_ATTEMPTS": "2"}
            ),  # a hostile world needs as many as there are by default
        }

    def world(self, **changes: Any) -> dict[str, Any]:
        """The modes of `hostile.World` after these changes, and under `seen` how often each has shown itself. `advance`
        lets the emulator's clock go on by so many seconds, and does what is due in them."""
        answer = requests.post(f"{self.url}/_world", json=changes, timeout=300)
        answer.raise_for_status()
        return dict(answer.json())


def missing() -> str | None:
    """What the emulator needs and does not find on this machine; None when it can be started."""
    if not docker_registry():
        return "docker-registry is missing: install the Debian package docker-registry."
    try:
        images = docker.from_env(timeout=10).images
        images.get(_python_image())
    except ImageNotFound:
        return f"The image {_python_image()} is missing: `docker pull {_python_image()}`."
    except DockerException as error:
        return f"No Docker engine answers: {error}"
    return None


def mirror_configuration(folder: Path) -> Mapping[str, str]:
    """The variable that lets Terraform take its provider from the folder named by NUMERAI_TEST_TERRAFORM_MIRROR (the
    one that holds `registry.terraform.io/`); nothing where that is unset: then the registry, or the user's own
    configuration, has to serve."""
    mirror = os.environ.get("NUMERAI_TEST_TERRAFORM_MIRROR")
    if not mirror:
        return {}
    configuration = folder / "mirror.tfrc"
    configuration.write_text(
        f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(mirror)}\n  }}\n}}\n"
    )
    return {"TF_CLI_CONFIG_FILE": str(configuration)}


@contextlib.contextmanager
def emulated_aws(port: int = 0, judged: bool = True, hostile: bool = False, **modes: Any) -> Iterator[Emulator]:
    """An emulator for as long as the block lasts, in the plain or in the hostile world (`hostile.py`), apart from the
    modes that are given. Raises RuntimeError with what is missing, and where it is judged AssertionError with the
    requests that AWS would not have taken or allowed."""
    why = missing()
    if why:
        raise RuntimeError(why)
    label = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="numerai-aws-") as folder, image_registry(Path(folder)) as registry:
        log = Path(folder) / "moto.log"
        argv = [sys.executable, "-m", f"{__package__}.moto_server", "--port", str(port), "--registry", registry]
        record = Path(folder) / "record.jsonl"
        argv += ["--label", label, "--lambda-image", _lambda_image(), "--record", str(record)]
        argv += ["--modes", json.dumps(modes), *(["--hostile"] if hostile else [])]
        try:
            with _process(argv, log, {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}) as process:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"The emulator did not start: {log.read_text()[-2000:]}")
                yield Emulator(json.loads(line)["url"], registry, label, log, record, hostile)
            if wrong := judged and judge(record):
                raise AssertionError("\n".join(wrong))
        finally:
            _remove_containers(label)
            _remove_images(registry)


@contextlib.contextmanager
def image_registry(folder: Path) -> Iterator[str]:
    """A real image registry on a free port of the loopback."""
    configuration = folder / "registry.yml"
    configuration.write_text(
        json.dumps(  # JSON is YAML
            {
                "version": 0.1,
                "log": {"level": "info", "formatter": "json"},
                "storage": {"filesystem": {"rootdirectory": str(folder / "images")}, "delete": {"enabled": True}},
                "http": {"addr": "127.0.0.1:0"},
            }
        )
    )
    log = folder / "registry.log"
    argv = [str(docker_registry()), "serve", str(configuration)]
    with _process(argv, log, {}, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
            if found:
                break
        else:
            raise RuntimeError("The image registry did not start.")
        drain = threading.Thread(target=_drain, args=(process.stderr,), daemon=True)
        drain.start()
        yield f"localhost:{found[1]}"


@contextlib.contextmanager
def _process(
    argv: list[str], log: Path, environment: Mapping[str, str], stderr: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as file:
        process = subprocess.Popen(
            argv,
            cwd=HERE.parent.parent,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if stderr is None else subprocess.DEVNULL,
            stderr=file if stderr is None else stderr,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the harness only, which then ends this one
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


def _drain(stream: Iterator[str]) -> None:
    with contextlib.suppress(ValueError):  # closed at the end
        for _ in stream:
            pass


def docker_registry() -> str | None:
    return shutil.which("docker-registry") or shutil.which("registry")


def _python_image() -> str:
    return os.environ.get("PYTHON_IMAGE", PYTHON_IMAGE)


def _lambda_image() -> str:
    """An image for emulated Lambdas: Python with the boto3 of this interpreter, so nothing is downloaded."""
    import boto3

    tag = f"numerai-emulated-lambda:{boto3.__version__}-{'-'.join(LAMBDA_SERVICES)}"
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        packages = context / "packages"
        packages.mkdir()
        for name in LAMBDA_PACKAGES:
            source = Path(str(importlib.import_module(name).__file__))
            if source.name == "__init__.py":
                shutil.copytree(source.parent, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, packages)
        _keep_only(packages / "botocore" / "data", LAMBDA_SERVICES)
        shutil.copy(HERE / "lambda_runtime.py", context)
        (context / "Dockerfile").write_text(
            f"FROM {_python_image()}\n"
            "COPY packages /opt/python\n"
            f"COPY lambda_runtime.py /opt/runtime/\nRUN mkdir -p {CODE}\n"
            'ENV PYTHONPATH=/opt/python PYTHONUNBUFFERED=1\nCMD ["python", "/opt/runtime/lambda_runtime.py"]\n'
        )
        client.images.build(path=folder, tag=tag, rm=True, forcerm=True)
    return tag


def _keep_only(folder: Path, services: Collection[str]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in services:
            shutil.rmtree(entry)


def _remove_containers(label: str) -> None:
    for container in docker.from_env().containers.list(all=True, filters={"label": f"{LABEL}={label}"}):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)


def _remove_images(registry: str) -> None:
    """Take away the tags of a registry that ends with the emulator."""
    for tag in tagged(f"{registry}/"):
        with contextlib.suppress(DockerException):
            docker.from_env().images.remove(tag, force=True)


def main() -> None:
    """Serve by hand."""
    parser = argparse.ArgumentParser(description="A local AWS, until Ctrl-C.")
    parser.add_argument("--hostile", action="store_true", help="with every mode of hostile.py")
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with emulated_aws(judged=False, hostile=options.hostile) as emulator:
        for name, value in emulator.environment.items():
            print(f"export {name}={value}")
        print(f"# images go to {emulator.registry}; Ctrl-C ends all of it", flush=True)
        stopped.wait()


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
