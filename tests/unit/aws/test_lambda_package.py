"""The functions' zips: the same bytes for the same source."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from numerai_compute.providers.aws.lambda_package import (
    FUNCTIONS,
    SHARED,
    package_function,
    package_functions,
    shared_file,
    source_folder,
)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_packed_source_is_the_one_in_the_tree(tmp_path: Path, function: str) -> None:
    target = tmp_path / "deep" / f"{function}.zip"
    digest = package_function(function, target)
    assert base64.b64decode(digest) == hashlib.sha256(target.read_bytes()).digest()
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        shared = {f"numerai_compute/{name}": shared_file(name) for name in SHARED[function]}
        own = {path.name: path for path in source_folder(function).glob("*.py")}
        assert "handler.py" in own
        for name, path in {**own, **shared}.items():
            assert archive.read(name) == path.read_bytes()
        others = set(names) - {*own, *shared}
        assert {name.rpartition("/")[2] for name in others} == {"__init__.py"}
        assert {archive.read(name) for name in others} == {b""}
        assert all(entry.external_attr >> 16 & 0o444 == 0o444 for entry in archive.infolist())


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_zip_has_all_that_its_handler_needs_and_loads_nothing_heavy(tmp_path: Path, function: str) -> None:
    """In a process of its own, where the tool is not installed, as in Lambda: there is boto3, which brings urllib3."""
    package_function(function, tmp_path / "function.zip")
    probe = (
        "import json, sys\n"
        "class Only:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if path is None and name not in sys.stdlib_module_names and name not in sys.argv[2:]:\n"
        "            raise ImportError(f'Lambda has no {name}')\n"
        "sys.meta_path[:] = [Only] + [each for each in sys.meta_path if each.__module__.startswith('_frozen')]\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import handler\n"
        "print(json.dumps({name: getattr(module, '__file__', None) for name, module in sys.modules.items()}))\n"
    )
    own = [path.stem for path in source_folder(function).glob("*.py")]
    given = [*own, "numerai_compute", "boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six"]
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path / "function.zip"), *given, "urllib3", "certifi"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    ours = {name: path for name, path in loaded.items() if name in own or name.startswith("numerai")}
    assert all(str(path).startswith(str(tmp_path)) for path in ours.values())
    assert "handler" in ours


def test_time_place_and_line_ends_do_not_change_it(tmp_path: Path) -> None:
    for name, newline in (("here", "\n"), ("there", "\r\n")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "handler.py"
        file.write_bytes(f"a = 1{newline}b = 2{newline}".encode())
        os.utime(file, (1_000_000_000 + len(newline), 1_000_000_000))
    one = package_function("webhook", tmp_path / "one.zip", tmp_path / "here")
    other = package_function("webhook", tmp_path / "other.zip", tmp_path / "there")
    assert one == other
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_it_changes_with_the_source_and_only_then(tmp_path: Path) -> None:
    source = tmp_path / "handler.py"
    source.write_text("a = 1\n")
    target = tmp_path / "webhook.zip"
    first = package_function("webhook", target, tmp_path)
    os.utime(target, (1, 1))
    assert package_function("webhook", target, tmp_path) == first
    assert target.stat().st_mtime == 1
    source.write_text("a = 2\n")
    assert package_function("webhook", target, tmp_path) != first
    assert target.stat().st_mtime > 1


def test_each_function_has_a_zip_and_variables_of_its_own(tmp_path: Path) -> None:
    variables = package_functions(tmp_path)
    assert set(variables) == {f"{name}_package_{what}" for name in FUNCTIONS for what in ("path", "sha256")}
    assert len(set(variables.values())) == 2 * len(FUNCTIONS)
    for function in FUNCTIONS:
        assert Path(variables[f"{function}_package_path"]).is_file()
