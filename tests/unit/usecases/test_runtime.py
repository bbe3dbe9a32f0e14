"""The copy of numerai_node in a node's folder: recognised, replaced when it is an old one, left alone when changed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, UsageError
from numerai_compute.models import Check, CheckStatus, Node
from numerai_compute.source import Source, source_files
from numerai_compute.usecases import runtime as runtime_module
from numerai_compute.usecases.deploy import deploy_node, plan_deploy, runtime_note
from numerai_compute.usecases.node_checks import NodeChecks
from numerai_compute.usecases.runtime import (
    RuntimeChoice,
    RuntimeState,
    finish_interrupted,
    own_version,
    runtime_copy,
    runtime_hash,
    templates,
)
from numerai_compute.usecases.runtime_releases import RELEASES
from numerai_compute.usecases.scaffold import plan_scaffold, scaffold

from tests import runtime_manifest
from tests.fakes import FakeProvider

OWN = templates() / "numerai_node"


@pytest.fixture
def old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A released, unmodified, older copy in the node's folder."""
    path = folder / "numerai_node"
    path.mkdir()
    (path / "__init__.py").write_bytes(b"# caf\xe9, in Latin-1\nold = True\n")
    (path / "_version.py").write_bytes(b'__version__ = "0.0.9"\n')
    monkeypatch.setitem(RELEASES, "0.0.9", (runtime_hash(path),))
    return path


class Deploy:
    """Deploys the node and keeps what was reported."""

    def __init__(self, node: Node, provider: FakeProvider, store: HomeStore):
        self.node, self.provider, self.store = node, provider, store

    def __call__(self, runtime: RuntimeChoice | None = None) -> list[str]:
        lines: list[str] = []
        deploy_node(self.node, self.provider, self.store, lines.append, force=False, runtime=runtime)
        return lines

    def plan(self, runtime: RuntimeChoice | None = None) -> list[str]:
        return plan_deploy(self.node, self.provider, self.store, force=False, runtime=runtime)

    def backups(self) -> list[Path]:
        return sorted((self.store.home / "runtimes").glob("*"))

    def check(self) -> Check | None:
        checks = NodeChecks(self.node, self.store.home, lambda name: self.provider, lambda: False).examine(None, None)
        return next((check for check in checks if check.name == "runtime"), None)


@pytest.fixture
def deploy(node: Node, provider: FakeProvider, store: HomeStore) -> Deploy:
    return Deploy(node, provider, store)


def state_of(folder: Path) -> RuntimeState | None:
    copy = runtime_copy(folder)
    return copy.state if copy else None


def test_the_runtime_is_entered_under_its_version() -> None:
    entered = RELEASES.get(own_version(), ())
    assert entered == (runtime_hash(OWN),), (
        "numerai_node was changed: raise its _version.py if that version was released, "
        "then run `python -m tests.runtime_manifest` (--again if it was not)"
    )


@pytest.mark.slow
def test_every_copy_that_landed_without_a_version_is_known() -> None:
    try:
        hashes = runtime_manifest.hashes_in_history(runtime_manifest.LAST_UNVERSIONED)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the history of this repository")
    assert RELEASES[runtime_manifest.UNVERSIONED] == tuple(hashes)


def test_the_table_is_what_the_script_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert runtime_manifest.written(RELEASES) == runtime_manifest.TABLE.read_text(encoding="utf-8")
    table = shutil.copy(runtime_manifest.TABLE, tmp_path)
    monkeypatch.setattr(runtime_manifest, "TABLE", Path(table))
    monkeypatch.setitem(RELEASES, own_version(), ("another",))
    assert runtime_manifest.main([]) == 1, "a version is one copy"
    assert runtime_manifest.main(["--again"]) == 0
    assert runtime_hash(OWN) in Path(table).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_runtime_says_its_version() -> None:
    environment = {**os.environ, "PYTHONPATH": str(templates())}
    asked = [sys.executable, "-m", "numerai_node", "--version"]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"numerai_node {own_version()}\n"


def test_a_copy_is_the_same_with_crlf_and_with_what_python_leaves(folder: Path, node: Node) -> None:
    copy = shutil.copytree(OWN, folder / "numerai_node")
    for path in copy.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "api.cpython-313.pyc").write_bytes(b"x")
    (copy / ".DS_Store").write_bytes(b"x")
    assert state_of(folder) is RuntimeState.CURRENT
    (copy / "mine.py").write_text("")
    assert state_of(folder) is RuntimeState.CHANGED


@pytest.mark.skipif(os.name != "posix", reason="pipes as files are POSIX")
def test_a_pipe_in_the_copy_is_not_read(folder: Path, node: Node) -> None:
    copy = shutil.copytree(OWN, folder / "numerai_node")
    os.mkfifo(copy / "ipc")
    assert state_of(folder) is RuntimeState.CURRENT


def test_an_old_copy_is_replaced_and_kept_outside_the_folder(deploy: Deploy, old: Path) -> None:
    before = runtime_hash(old)
    deploy()  # the folder without the runtime was deployed by the fixture
    old_lines = deploy.backups()
    assert len(old_lines) == 1 and runtime_hash(old_lines[0]) == before
    assert state_of(old.parent) is RuntimeState.CURRENT and runtime_hash(old) == runtime_hash(OWN)
    assert not any(name.startswith(".numerai") for name in source_files(Source(old.parent)))
    assert not any("__pycache__" in path.parts for path in old.rglob("*"))


def test_it_is_said_before_it_is_done(deploy: Deploy, old: Path) -> None:
    planned = deploy.plan()
    assert "replace numerai_node 0.0.9" in planned[0] and own_version() in planned[0] and "runtimes" in planned[0]
    assert len(planned) == 3 and state_of(old.parent) is RuntimeState.OLD and deploy.backups() == []
    assert deploy() == [planned[0]]
    assert deploy.plan() == [f"nothing: {old.parent} has not changed since the last deploy"] and deploy() == []


def test_an_old_copy_can_be_kept(deploy: Deploy, old: Path) -> None:
    before = runtime_hash(old)
    assert "nothing" in deploy.plan(RuntimeChoice.KEEP)[0]
    assert "older than this tool's" in deploy(RuntimeChoice.KEEP)[0] and runtime_hash(old) == before


def test_a_modified_copy_is_left_alone_and_can_be_replaced(deploy: Deploy, old: Path) -> None:
    (old / "__init__.py").write_text("mine = True\n")
    before = runtime_hash(old)
    lines = deploy()
    assert "changes of your own" in lines[0] and "deploy --runtime replace" in lines[0] and runtime_hash(old) == before
    found = deploy.check()
    assert found and found.status is CheckStatus.WARNING and found.mend
    assert found.mend.endswith("deploy --runtime replace") and "fixes" in found.why
    assert "replace numerai_node 0.0.9" in deploy.plan(RuntimeChoice.REPLACE)[0]
    deploy(RuntimeChoice.REPLACE)
    assert state_of(old.parent) is RuntimeState.CURRENT and runtime_hash(deploy.backups()[0]) == before


def test_a_current_copy_with_changes_is_its_owners_affair(deploy: Deploy, folder: Path) -> None:
    shutil.copytree(OWN, folder / "numerai_node")
    (folder / "numerai_node" / "mine.py").write_text("")
    assert deploy() == [] and runtime_note(deploy.node) is None
    found = deploy.check()
    assert found and found.status is CheckStatus.OK and "changes" in found.why


def test_a_newer_copy_asks_for_a_newer_tool(deploy: Deploy, old: Path) -> None:
    (old / "_version.py").write_text('__version__ = "99.0"\n')
    assert "Update the tool" in deploy()[0] and state_of(old.parent) is RuntimeState.NEWER
    found = deploy.check()
    assert found and found.status is CheckStatus.WARNING and "pip install" in (found.mend or "")


def test_folders_without_the_runtime_are_untouched(deploy: Deploy, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert deploy() == [] and deploy(RuntimeChoice.REPLACE) == [] and deploy.check() is None
    (folder / "numerai_node").write_text("a program")
    assert deploy(RuntimeChoice.REPLACE) == [] and deploy.check() is None
    assert sorted(folder.rglob("*")) == sorted([*before, folder / "numerai_node"])


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_what_a_link_points_to_is_never_replaced(deploy: Deploy, old: Path, tmp_path: Path) -> None:
    shared = old.rename(tmp_path / "shared")
    old.symlink_to(shared)
    before = runtime_hash(shared)
    assert "is a link" in deploy()[0]
    for refused in (deploy, deploy.plan):
        with pytest.raises(UsageError) as caught:
            refused(RuntimeChoice.REPLACE)
        assert caught.value.code == "runtime-is-a-link"
    found = deploy.check()
    assert found and found.status is CheckStatus.WARNING
    assert old.is_symlink() and runtime_hash(shared) == before
    old.unlink()
    shutil.copytree(shared, old)
    (old / "more.py").symlink_to(shared / "__init__.py")
    assert state_of(old.parent) is RuntimeState.CHANGED, "a link inside counts as a change"


class Killed(BaseException):
    """Ends the process there and then, as far as the code can tell."""


@pytest.mark.parametrize("step", range(1, 8))
def test_whatever_kills_it_the_folder_holds_one_of_them_whole(
    step: int, deploy: Deploy, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {runtime_hash(old), runtime_hash(OWN)}
    count = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: Any, **options: Any) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("_keep", "_copy"):
            patched.setattr(runtime_module, name, dying(getattr(runtime_module, name)))
        patched.setattr(Path, "rename", dying(Path.rename))
        patched.setattr(shutil, "rmtree", dying(shutil.rmtree))
        with pytest.raises(Killed):
            deploy()
    found = deploy.check()
    assert found is not None
    finish_interrupted(old.parent)
    assert runtime_hash(old) in whole and list(old.parent.glob(".numerai_node*")) == []
    deploy()
    assert runtime_hash(old) == runtime_hash(OWN) and len(deploy.backups()) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_nothing_is_written_through_a_planted_link(deploy: Deploy, old: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "__init__.py").write_text("theirs")
    (old.parent / ".numerai_node.new").symlink_to(victim, target_is_directory=True)
    deploy()
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"__init__.py": "theirs"}
    assert runtime_hash(old) == runtime_hash(OWN)


def test_a_staged_copy_that_is_not_whole_is_not_used(deploy: Deploy, old: Path) -> None:
    before = runtime_hash(old)
    old.rename(old.parent / ".numerai_node.old")
    (old.parent / ".numerai_node.new").mkdir()
    (old.parent / ".numerai_node.new" / "__init__.py").write_text("")
    assert "interrupted" in deploy.plan()[0] and deploy.check().status is CheckStatus.WARNING  # type: ignore[union-attr]
    finish_interrupted(old.parent)
    assert runtime_hash(old) == before


def test_a_folder_that_cannot_be_written_keeps_its_copy(
    deploy: Deploy, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = runtime_hash(old), Path.rename

    def in_use(path: Path, target: Path) -> Path:
        if path.name == ".numerai_node.new":
            raise PermissionError(13, "The process cannot access the file")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", in_use)
    with pytest.raises(EnvironmentNotReady) as caught:
        deploy()
    assert "--runtime keep" in (caught.value.hint or "") and runtime_hash(old) == before
    assert deploy(RuntimeChoice.KEEP)


def test_the_doctor_says_what_is_old(deploy: Deploy, old: Path) -> None:
    found = deploy.check()
    assert found and found.status is CheckStatus.WARNING and "0.0.9 is older" in found.why
    assert found.mend == "numerai node -m numerai-alice deploy"
    deploy()
    found = deploy.check()
    assert found and (found.status, found.why) == (CheckStatus.OK, f"numerai_node {own_version()}")
    deploy.provider.hash = "h2"
    found = deploy.check()
    assert found and found.status is CheckStatus.WARNING and "what is deployed" in found.why


def test_an_example_can_be_copied_over_an_old_runtime(old: Path) -> None:
    (old.parent / "Dockerfile").unlink()
    before = runtime_hash(old)
    scaffold(plan_scaffold("tournament-python3", old.parent))
    assert runtime_hash(old) == before


@pytest.mark.slow
def test_the_libraries_of_every_released_example_are_enough() -> None:
    """An updated runtime runs with the requirements.txt that its folder has had all along."""
    with_requests = {"certifi", "urllib3"}
    known = {"apprise", "numpy", "pandas", "pyarrow", "requests"} | with_requests
    known |= {"lightgbm"}  # asked for by models that need it only, and missed with a message
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in OWN.rglob("*.py")]
    named = {
        name.partition(".")[0]
        for tree in trees
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert named - set(sys.stdlib_module_names) <= known
