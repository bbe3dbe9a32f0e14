"""The lock files against what they are made of, without a network: names, ranges, hashes, nothing left out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import setuptools
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.process import ProcessResult
from numerai_compute.providers.local import process_executor
from numerai_compute.providers.local.process_executor import locked_requirements
from numerai_compute.providers.local.settings import LocalPaths, LocalSettings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(file.parent for file in (ROOT / "node_template").glob("*/requirements.txt"))
TOOLS = sorted((ROOT / "requirements").glob("*.in"))
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ENTRY = re.compile(r"([a-z0-9-]+)==([\w.!+]+)(?: ; (.+?))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
AGAIN = "Run `make lock` (or `requirements/lock.sh --keep`) and commit what it changes."


@dataclass
class Locked:
    """One line of a lock file, with how many hashes follow it."""

    requirement: Requirement
    hashes: int = 0

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        return next(iter(self.requirement.specifier)).version


def read_lock(path: Path) -> list[Locked]:
    """A lock file as uv writes it; any other line than an entry, its hashes and the header is an error."""
    entries: list[Locked] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := ENTRY.fullmatch(line):
            name, version, marker = found.groups()
            entries.append(Locked(Requirement(f"{name}=={version}" + (f"; {marker}" if marker else ""))))
        elif HASH.fullmatch(line):
            entries[-1].hashes += 1
        else:
            assert line.startswith("#"), f"{path}: {line}"
    return entries


def applies(requirement: Requirement, python: str, **environment: str) -> bool:
    values = {"python_version": python, "python_full_version": f"{python}.9", "extra": "", **environment}
    return requirement.marker is None or requirement.marker.evaluate(values)


def development() -> list[str]:
    """What setup.py asks for with its extra `dev`."""
    given: dict[str, Any] = {}
    real = setuptools.setup
    setuptools.setup = given.update
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = real
    return [*given["install_requires"], *given["extras_require"]["dev"]]


def sources() -> dict[str, list[str]]:
    """What each lock file was made of."""
    found = {"requirements/dev.txt": development()}
    files = {file.with_suffix(".txt"): file for file in TOOLS}
    files |= {folder / "requirements.lock": folder / "requirements.txt" for folder in EXAMPLES}
    for lock, source in files.items():
        lines = [line.split("#")[0].strip() for line in source.read_text(encoding="utf-8").splitlines()]
        found[lock.relative_to(ROOT).as_posix()] = [line for line in lines if line]
    return found


SOURCES = sources()
every_lock = pytest.mark.parametrize("lock", SOURCES)


@every_lock
def test_every_package_has_its_hashes_and_nothing_else_stands_there(lock: str) -> None:
    entries = read_lock(ROOT / lock)
    assert len(entries) >= len(SOURCES[lock])
    assert [entry.name for entry in entries if entry.hashes == 0] == []
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|/|@|index-url|find-links", text.replace("via the following command:", "")), lock


@every_lock
@pytest.mark.parametrize("python", PYTHONS)
def test_it_agrees_with_its_source(lock: str, python: str) -> None:
    entries = [entry for entry in read_lock(ROOT / lock) if applies(entry.requirement, python)]
    versions = {entry.name: entry.version for entry in entries if entry.requirement.marker is None}
    versions |= {entry.name: entry.version for entry in entries}
    asked = [one for one in map(Requirement, SOURCES[lock]) if applies(one, python)]
    missing = [one.name for one in asked if canonicalize_name(one.name) not in versions]
    assert missing == [], AGAIN
    wrong = [str(one) for one in asked if not one.specifier.contains(versions[canonicalize_name(one.name)])]
    assert wrong == [], AGAIN


@pytest.mark.slow
@every_lock
def test_what_a_locked_package_needs_is_locked_too(lock: str) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    here = {entry.name: entry.version for entry in read_lock(ROOT / lock) if applies(entry.requirement, python)}
    for name, version in here.items():
        try:
            if importlib.metadata.version(name) != version:
                continue
        except importlib.metadata.PackageNotFoundError:
            continue
        needs = [Requirement(text) for text in importlib.metadata.requires(name) or ()]
        missing = [one.name for one in needs if applies(one, python) and canonicalize_name(one.name) not in here]
        assert missing == [], f"{name} needs them. {AGAIN}"


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_each_example_has_a_lock_of_its_requirements(folder: Path) -> None:
    assert locked_requirements(folder / "requirements.lock", (folder / "requirements.txt").read_bytes()), AGAIN


def test_a_process_node_gets_the_locked_packages_until_its_requirements_are_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def run(argv: list[str], **_: object) -> ProcessResult:
        started.append(argv)
        if "venv" in argv:
            Path(argv[-1]).mkdir(parents=True)
        return ProcessResult(0, ())

    monkeypatch.setattr(process_executor, "run_process", run)
    executor = process_executor.ProcessExecutor(LocalPaths(tmp_path), LocalSettings(), SystemClock())
    folder, requirements = LocalPaths(tmp_path).node("n"), tmp_path / "requirements.txt"
    shutil.copy(EXAMPLES[0] / "requirements.txt", requirements)
    shutil.copy(EXAMPLES[0] / "requirements.lock", tmp_path)
    said: list[str] = []
    first = executor._environment(folder, requirements, said.append)
    assert started[-1][-3:] == ["--require-hashes", "-r", str(tmp_path / "requirements.lock")]
    requirements.write_text("my-own==1\n")
    second = executor._environment(folder, requirements, said.append)
    assert started[-1][-2:] == ["-r", str(requirements)] and "--require-hashes" not in started[-1]
    assert first != second
    assert [line for line in said if line.startswith("Inst")] == [
        "Installing requirements.lock",
        "Installing requirements.txt",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="the shell of a Dockerfile")
@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
@pytest.mark.parametrize(
    ("requirements", "lock", "used"),
    [
        ("tiny==1\n", "HASH  requirements.txt\ntiny==1", True),
        ("tiny==1\nmy-own==2\n", "HASH-OF-BEFORE  requirements.txt\ntiny==1", False),
        ("tiny==1\r\n", "HASH-OF-BEFORE  requirements.txt\ntiny==1", False),
        ("tiny==1\n", "HASH  other.txt\ntiny==1", False),
        ("tiny==1\n", "tiny==1", False),
        ("tiny==1\n", None, False),
    ],
)
def test_image_and_process_use_a_lock_only_for_the_requirements_it_was_made_of(
    folder: Path, tmp_path: Path, requirements: str, lock: str | None, used: bool
) -> None:
    (tmp_path / "requirements.txt").write_bytes(requirements.encode())
    if lock is not None:
        digests = {"HASH-OF-BEFORE": hashlib.sha256(b"tiny==1\n#"), "HASH": hashlib.sha256(requirements.encode())}
        for word, digest in digests.items():
            lock = lock.replace(word, digest.hexdigest())
        (tmp_path / "requirements.lock").write_text(f"# made by uv:\n#    {lock}\n")
    assert bool(locked_requirements(tmp_path / "requirements.lock", requirements.encode())) == used

    text = (folder / "Dockerfile").read_text()
    step = re.search(
        r"^RUN (if grep.*? --no-cache-dir \$packages)( \\\n    && python slim.*)?$", text, re.MULTILINE | re.DOTALL
    )
    assert step
    (tmp_path / "python").write_text('#!/bin/sh\necho "python $*"\n')
    (tmp_path / "python").chmod(0o755)
    shell = ["sh", "-c", f'PATH="{tmp_path}:$PATH"; {step[1]}']
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True)
    pip = "python -m pip install --no-cache-dir"
    assert (
        done.stdout.splitlines()[-1]
        == f"{pip} {'--require-hashes -r requirements.lock' if used else '-r requirements.txt'}"
    )
    assert ("without hashes" in done.stdout) == (not used)


@pytest.mark.parametrize(
    "example",
    sorted((Path(__file__).parents[3] / "node_template").glob("*/Dockerfile")),
    ids=lambda path: path.parent.name,
)
def test_an_examples_user_owns_its_code_so_that_no_umask_hides_it(example: Path) -> None:
    copies = [
        line for line in example.read_text().splitlines() if line.startswith("COPY ") and "requirements" not in line
    ]
    user = next(line.split()[1] for line in example.read_text().splitlines() if line.startswith("USER "))
    assert copies and all(f"--chown={user} " in line for line in copies)
