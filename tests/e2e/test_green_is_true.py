"""doctor is green only where Numerai's trigger leads to a submission: 50 states, each judged by triggering."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.errors import ApiError
from numerai_compute.models import Keys

from tests.e2e.command_line import Shell
from tests.e2e.conftest import opened_shell
from tests.e2e.test_reality import FLAT
from tests.fixtures.sandbox import wait_for
from tests.listeners import free_port

pytestmark = pytest.mark.e2e

REGISTERED = ("ours", "nobody", "another port", "a wrong token", "another node")
DAEMON = ("as set", "started before the port was changed", "stopped")
GROUND = ("as this shell", "no keys", "another API", "other keys", "attempts is a file")
SOURCE = ("deployed", "changed since", "gone")


class Ground:
    """A node in the sandbox, and ways to bring it into any state."""

    def __init__(self, shell: Shell):
        self.shell = shell
        self.source = shell.folder / "node" / "predict.py"
        self.deployed = shell.home / "local" / "nodes" / "numerai-alice"
        served = shell.sandbox
        self.api = HttpNumeraiApi(Keys(served["public_id"], served["secret_key"], served["url"]))
        (self.model,) = [model for model in self.api.models() if model.name == "alice"]

    @property
    def address(self) -> str:
        """The address of the webhook by the settings as they are."""
        self.shell.ok("node", "config", "--yes")  # what was registered last is not this home's
        found = next(model.webhook for model in self.api.models() if model.id == self.model.id)
        assert found
        return found

    def register(self, how: str, ours: str) -> None:
        base, node, token = ours.rsplit("/", 2)
        elsewhere = f"http://127.0.0.1:{free_port()}/{node}/{token}"
        addresses = {"ours": ours, "nobody": None, "another port": elsewhere, "a wrong token": f"{ours[:-4]}aaaa",
                     "another node": f"{base}/numerai-bob/{token}"}  # fmt: skip
        self.api.set_webhook(self.model.id, addresses[how])

    @contextmanager
    def holding(self, source: str) -> Iterator[None]:
        """The node's source in one of the states."""
        kept = list(self.deployed.glob("source-*"))
        if source == "changed since":
            self.source.write_text("this is not what was deployed")
        for folder in kept if source == "gone" else ():
            folder.rename(folder.with_name(f"away-{folder.name}"))
        try:
            yield
        finally:
            self.source.write_text(FLAT)
            for folder in kept if source == "gone" else ():
                folder.with_name(f"away-{folder.name}").rename(folder)

    def serve(self, how: str) -> str:
        """The daemon in one of the states; returns the webhook's address by the settings."""
        self.shell("daemon", "stop")
        self.shell.ok("config", "set", "port", str(free_port()))
        if how != "stopped":
            self.shell.ok("daemon", "start")
        if how == "started before the port was changed":
            self.shell.ok("config", "set", "port", str(free_port()))
        return self.address

    def green(self) -> bool:
        return self.shell("doctor").exit_code == 0

    def submits(self) -> bool:
        """Whether a trigger of Numerai's leads to a submission."""
        try:
            trigger_id = self.api.trigger(self.model.id)
        except ApiError:
            return False
        return _comes(lambda: trigger_id in {each["trigger_id"] for each in self.state()["submissions"]})

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.shell.sandbox['url']}/sandbox/state", timeout=30).json()
        return found

    @contextmanager
    def standing_on(self, what: str) -> Iterator[None]:
        """The daemon, or the folder that runs are executed in, in one of the states."""
        attempts, keys = self.shell.home / "local" / "attempts", self.shell.home / ".keys"
        away, nothing = keys.with_name("away"), {"NUMERAI_PUBLIC_ID": "", "NUMERAI_SECRET_KEY": ""}
        environments = {
            "no keys": {**nothing, "NUMERAI_API_URL": ""},
            "another API": {"NUMERAI_API_URL": f"http://127.0.0.1:{free_port()}"},
            "other keys": {"NUMERAI_SECRET_KEY": "B" * 64},
        }
        self.shell.ok("daemon", "stop")
        keys.rename(away)
        assert self.shell("daemon", "start", **environments.get(what, {})).exit_code == 0
        if what == "attempts is a file":
            attempts.rename(attempts.with_name("kept"))
            attempts.touch()
        try:
            yield
        finally:
            away.rename(keys)
            if what == "attempts is a file":
                attempts.unlink()
                attempts.with_name("kept").rename(attempts)


def _comes(condition: Callable[[], bool]) -> bool:
    try:
        wait_for(condition)
    except (AssertionError, TimeoutError):
        return False
    return True


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with opened_shell(tmp_path_factory.mktemp("ground"), "process") as shell:
        shell.ok("setup")
        shell.ok("node", "config", "--example", "tournament-python3", "--path", "node", "--size", "gen-sm")
        (shell.folder / "node" / "predict.py").write_text(FLAT)
        shell.ok("node", "deploy")
        yield Ground(shell)


def test_green_is_true(ground: Ground) -> None:
    green: list[tuple[str, str, str]] = []
    wrong: list[tuple[str, str, str]] = []
    for daemon in DAEMON:
        ours = ground.serve(daemon)
        for source, registered in itertools.product(SOURCE, REGISTERED):
            with ground.holding(source):
                ground.register(registered, ours)
                if ground.green():
                    green.append((registered, daemon, source))
                    if not ground.submits():
                        wrong.append((registered, daemon, source))
    assert wrong == []
    assert green == [("ours", "as set", "deployed"), ("ours", "as set", "changed since")], (
        "and it is green where it can"
    )


def test_green_is_true_of_a_daemon_that_stands_on_something_else(ground: Ground) -> None:
    ground.register("ours", ground.serve("as set"))
    found = {}
    for what in GROUND:
        with ground.standing_on(what):
            found[what] = ground.green()
            assert not found[what] or ground.submits(), what
    assert found == {what: what == "as this shell" for what in GROUND}
