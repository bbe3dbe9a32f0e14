"""A dry run of `config` and `deploy` ends as the real command does, and a command that is refused leaves nothing
behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ProviderError, UsageError
from numerai_compute.models import Node, RunState

from tests.fakes import KEYS, FakeProvider
from tests.unit.commands.conftest import FakeFactory, Line


class Checking(FakeProvider):
    """A provider that looks before a deploy, as those of this tool do."""

    def check_deploy(self, node: Node, *, force: bool) -> None:
        if node.name not in self.configured:
            raise ProviderError(f"{node.name} is not configured.", code="not-configured")
        if "check_deploy" in self.fail:
            raise self.fail["check_deploy"]


class NoEngine:
    """An engine that finds no image."""

    def digest(self, image: str) -> str:
        raise ProviderError("manifest unknown", code="engine-refused")


class Setting:
    """A node that is deployed on this machine, a second provider, and a place for new code."""

    def __init__(self, line: Line, folder: Path, there: Checking):
        self.line, self.folder, self.there, self.new = line, folder, there, folder.parent / "new"

    def on_gcp(self) -> None:
        store = HomeStore(self.line.home)
        store.save_node(replace(store.nodes()["numerai-alice"], provider="gcp"))

    def running(self) -> None:
        self.line.provider.ending = {"state": RunState.RUNNING}
        self.line.provider.trigger(HomeStore(self.line.home).nodes()["numerai-alice"])

    def file_for_runtime(self) -> None:
        self.new.mkdir()
        (self.new / "numerai_node").write_text("mine")

    def linked(self, folder: Path) -> None:
        (elsewhere := self.folder.parent / "elsewhere").mkdir()
        for name in ("__init__.py", "_version.py"):
            (elsewhere / name).write_text("mine")
        folder.mkdir(exist_ok=True)
        (folder / "numerai_node").symlink_to(elsewhere)

    def secret(self) -> None:
        (self.folder / "settings.py").write_text(f"KEY = '{KEYS.secret_key}'")

    def odd_base(self) -> None:
        (self.folder / "Dockerfile").write_text("FROM python:$TARGETARCH\n")


def unprovisioned(setting: Setting) -> None:
    setting.line.provider.configured.clear()


def cannot_build(setting: Setting) -> None:
    setting.there.fail["check_deploy"] = setting.there.fail["configure"] = UsageError("no engine", code="no-engine")
    setting.there.configured["numerai-alice"] = setting.line.provider.configured["numerai-alice"]


def nothing(setting: Setting) -> None:
    pass


EXAMPLE = ("-e", "tournament-python3", "-p", "new")
REFUSED: dict[str, tuple[Callable[[Setting], None], tuple[str, ...]]] = {
    "a provider that is not here": (Setting.on_gcp, ("config", *EXAMPLE)),
    "a provider that nothing has": (nothing, ("config", "-P", "nope", *EXAMPLE)),
    "a size": (nothing, ("config", "-s", "huge", *EXAMPLE)),
    "a schedule": (nothing, ("config", "-c", "daily", *EXAMPLE)),
    "a disk": (nothing, ("config", "--disk", "50", *EXAMPLE)),
    "a data version": (nothing, ("config", "--data-version", "v9.9", *EXAMPLE)),
    "an example of another tournament": (nothing, ("config", "-e", "signals-python3", "-p", "new")),
    "a base image that is not there": (nothing, ("config", "--pin-base", *EXAMPLE)),
    "a base image that nobody can name": (Setting.odd_base, ("config", "--pin-base")),
    "a file where a folder is to be": (Setting.file_for_runtime, ("config", *EXAMPLE)),
    "a link that leads out": (lambda setting: setting.linked(setting.new), ("config", *EXAMPLE)),
    "a run that goes on": (Setting.running, ("config", "-P", "aws")),
    "a move to where nothing can be built": (cannot_build, ("config", "-P", "aws")),
    "a move with a secret": (Setting.secret, ("config", "-P", "aws")),
    "a move with a base image that is not there": (nothing, ("config", "-P", "aws", "--pin-base")),
    "a deploy on a provider that is not here": (Setting.on_gcp, ("deploy",)),
    "a deploy of what is not configured": (unprovisioned, ("deploy",)),
    "a deploy with a secret": (Setting.secret, ("deploy",)),
    "a deploy without a Dockerfile": (lambda setting: (setting.folder / "Dockerfile").unlink(), ("deploy",)),
    "a runtime that is a link": (
        lambda setting: setting.linked(setting.folder),
        ("deploy", "--runtime", "replace"),
    ),
}


@pytest.fixture
def setting(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    there = Checking()
    there.name = "aws"
    line.provider = Checking()

    def provider(factory: FakeFactory, name: str) -> FakeProvider:
        if name not in ("local", "aws"):
            raise UsageError(f"There is no provider '{name}'.", code="unknown-provider")
        return there if name == "aws" else factory.fake_provider

    monkeypatch.setattr(FakeFactory, "provider", provider)
    monkeypatch.setattr(FakeFactory, "engine", NoEngine(), raising=False)
    monkeypatch.chdir(folder.parent)
    (folder / "Dockerfile").write_text("FROM python:3.13-slim\n")
    assert line("node", "config", "-p", str(folder)).exit_code == 0
    assert line("node", "deploy").exit_code == 0
    return Setting(line, folder, there)


def kept(setting: Setting) -> dict[str, bytes | None]:
    """Everything in the home folder, beside it and in the folders of code, apart from the locks."""
    roots = [path for path in setting.folder.parent.rglob("*") if "locks" not in path.parts]
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(roots)}


@pytest.mark.parametrize("what", REFUSED)
def test_a_dry_run_is_refused_as_the_real_one_is_and_neither_leaves_anything(setting: Setting, what: str) -> None:
    if "link" in what and os.name != "posix":
        pytest.skip("links")
    prepare, command = REFUSED[what]
    prepare(setting)
    before, held = kept(setting), (dict(setting.line.provider.configured), dict(setting.there.configured))
    dry = setting.line("node", *command, "--dry-run")
    assert kept(setting) == before
    real = setting.line("node", *command, *(("--yes",) if command[0] == "config" else ()))
    assert dry.exit_code == real.exit_code != 0, (dry.out, real.out)
    assert dry.err == real.err, "and for the same reason"
    assert kept(setting) == before
    assert (setting.line.provider.configured, setting.there.configured) == held


def test_a_model_file_goes_into_the_folder_only_when_the_deploy_is_not_refused(setting: Setting) -> None:
    """The file is not even looked at before."""
    model = setting.folder.parent / "alice.model"
    model.write_bytes(b"no model")
    setting.secret()
    for more in ((), ("--dry-run",)):
        refused = setting.line("node", "deploy", "--model-file", str(model), *more)
        assert refused.exit_code == 2 and "Credentials would enter the image" in refused.err
    assert not (setting.folder / "deployed.model").exists()
