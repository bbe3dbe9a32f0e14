"""What is installed: the wheel in a clean environment, and the tool's own image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a release is built from, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("cli", "node_template", "terraform"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(target), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_the_wheel_carries_templates_and_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    template = "numerai_compute/node_template"
    expected = {
        "numerai_compute/main.py",
        "numerai_compute/py.typed",
        "numerai_compute/events/runner.py",
        "numerai_compute/numerauto/eventhandlers.py",
        "numerai_compute/sandbox/schema.graphql",
        f"{template}/numerai_node/__init__.py",
        *(
            f"{template}/{example}/{file}"
            for example in ("tournament-python3", "signals-python3", "crypto-python3", "tournament-rlang")
            for file in ("Dockerfile", ".dockerignore")
        ),
        f"{template}/tournament-python3/predict.py",
        f"{template}/tournament-python3/train.py",
        f"{template}/tournament-python3/requirements.txt",
        f"{template}/tournament-python3/requirements.lock",
        "numerai_compute/terraform/aws/main.tf",
        "numerai_compute/terraform/aws/.terraform.lock.hcl",
    }
    assert expected - set(names) == set()
    strangers = [name for name in names if "__pycache__" in name or ".tfstate" in name or name.startswith("tests")]
    assert strangers == []


def test_the_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)],
        check=True,
        capture_output=True,
    )
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    installed = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    # The dependencies of this environment, without its own editable install: a .pth file of a .pth folder is not read.
    (installed / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMERAI", "COVERAGE"))}
    env["NUMERAI_HOME"] = str(tmp_path / "home")

    def numerai(*arguments: str) -> str:
        command = [str(scripts / "numerai"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=env).stdout

    where = [str(python), "-c", "import numerai_compute; print(numerai_compute.__file__)"]
    assert str(installed) in subprocess.run(where, check=True, capture_output=True, text=True, env=env).stdout
    assert "demo" in numerai("--help")
    numerai("copy-example", "-d", "node")
    copied = {path.relative_to(tmp_path / "node").as_posix() for path in (tmp_path / "node").rglob("*")}
    assert {"Dockerfile", ".dockerignore", "predict.py", "train.py", "numerai_node/__init__.py"} <= copied
    assert "__init__.py" not in copied


@pytest.mark.docker
@pytest.mark.e2e
def test_the_tools_own_image_holds_the_tool_and_terraform(source: Path, tmp_path: Path) -> None:
    from tests.images import built, run_in_container

    stage = tmp_path / "terraform"
    stage.mkdir()
    (stage / "terraform").write_text("#!/bin/sh\necho Terraform v0.0.0-stand-in\n")
    (stage / "terraform").chmod(0o755)
    (stage / "Dockerfile").write_text("FROM scratch\nCOPY terraform /bin/terraform\n")
    with built(stage) as terraform, built(source, TERRAFORM_IMAGE=terraform) as image:
        assert "Usage: numerai" in run_in_container(image, ["--help"])
        assert '"sizes"' in run_in_container(image, ["list-constants", "--json"])
        assert "stand-in" in run_in_container(image, ["version"], entrypoint="terraform")
        assert run_in_container(image, ["-u"], entrypoint="id").strip() == "1000"
        copied = run_in_container(image, ["-c", "numerai copy-example -d /tmp/n && ls -a /tmp/n"], entrypoint="sh")
        assert "predict.py" in copied and ".dockerignore" in copied
