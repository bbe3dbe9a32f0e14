"""What doctor says of a daemon that stands on something else than this shell: real daemons, started by another one."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.files.database import DatabaseUnusable
from numerai_compute.models import Check, CheckStatus, Deployment, Keys
from numerai_compute.ports import ContainerEngine
from numerai_compute.providers.local import daemon as daemons
from numerai_compute.providers.local.checks import local_checks
from numerai_compute.providers.local.daemon import daemon_status, start_daemon, stop_daemon
from numerai_compute.providers.local.ground import Ground, differences, ground_of
from numerai_compute.providers.local.parts import LocalParts

from tests.contract.local_bench import LocalBench, local_bench
from tests.contract.local_daemon import KEYS, SECRET, LocalHome
from tests.contract.provider_suite import quiet
from tests.fakes import NOW, FakeClock

HERE = Ground("1", "https://a", "me", None, {"attempts": "3"}, {}, ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"api_url": "https://a/"}, []),
        ({"account": None, "api_url": None}, ["it has no Numerai keys, and this shell has"]),
        ({"account": "other"}, ["it has other Numerai keys than this shell"]),
        ({"account": "other", "api_url": "https://b"}, ["it works with https://b, and this shell with https://a"]),
        ({"account": None, "unreadable": "no access"}, ["it cannot read its Numerai keys: no access"]),
        ({"settings": {"attempts": "1"}}, ["it keeps the setting attempts as it was (1), which is 3 now"]),
        ({"settings": {}}, []),
        ({"version": "2"}, ["it was started by version 2, and this is 1"]),
        ({"failing": {"Docker engine": "no such socket"}}, ["Docker engine does not work, and this shell's does"]),
        ({"missing": ("numerai-alice",)}, ["it does not find what was deployed of numerai-alice"]),
    ],
)
def test_where_a_daemon_stands_on_something_else(changes: dict[str, object], words: list[str]) -> None:
    found = list(differences(replace(HERE, **changes), HERE))  # type: ignore[arg-type]
    assert len(found) == len(words) and all(word in text for word, text in zip(words, found, strict=True)), found


def test_what_ails_this_shell_as_well_is_no_difference() -> None:
    ill = replace(HERE, failing={"Docker engine": "x"}, missing=("numerai-alice",))
    assert list(differences(ill, ill)) == []
    unknown = replace(HERE, account=None, api_url=None, unreadable="no access")
    assert list(differences(HERE, unknown)) == [], "this shell's keys are the check of the keys' business"


def test_a_ground_holds_no_key(tmp_path: Path) -> None:
    home = LocalHome(tmp_path)
    home.write({}, KEYS)
    parts = LocalParts(home.context())
    ground = ground_of(parts, "salt")
    parts.store.close()
    assert ground.account and SECRET not in str(ground) and KEYS["public_id"] not in str(ground)
    assert ground.api_url == KEYS["api_url"]


def findings(bench: LocalBench) -> dict[str, Check]:
    """doctor's findings of this home, by name."""
    parts = LocalParts(bench.home.context())
    nodes = [stored.node for stored in parts.store.nodes()]
    try:
        return {check.name: check for check in local_checks(parts, nodes, lambda node: "")}
    finally:
        parts.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalBench]:
    with local_bench(tmp_path, "process", awake=False) as made:
        made.provider.configure(made.node("print(1)"), quiet)
        yield made


@pytest.mark.slow
def test_doctor_asks_the_daemon_for_its_keys_and_settings(bench: LocalBench) -> None:
    bench.start_daemon()
    told = findings(bench)["daemon"]
    assert told.status is CheckStatus.OK, told
    content = json.loads((bench.home.path / "test.json").read_text())
    before = dict(content)
    bench.home.write({**content["settings"], "attempts": 1, "capabilities": "CHOWN"}, KEYS)
    told = findings(bench)["daemon"]
    assert told.status is CheckStatus.FAILED and told.mend == "numerai daemon stop; numerai daemon start"
    assert "attempts" in told.why and "capabilities" in told.why, told.why
    bench.home.write(before["settings"], None)
    context = replace(bench.home.context(), keys=lambda: Keys(**KEYS))
    parts = LocalParts(context)
    assert daemons.daemon_differs(parts) == ["it has no Numerai keys, and this shell has"]
    parts.store.close()


@pytest.mark.slow
def test_a_stranger_is_told_nothing_of_the_ground(bench: LocalBench) -> None:
    bench.start_daemon()
    told = json.loads((bench.home.path / "local" / "daemon.json").read_text())
    for headers in ({}, {"X-Control-Token": "guessed"}):
        answer = daemons.request("127.0.0.1", told["control_port"], "GET", "/ground", headers)
        assert answer == {"error": "There is no such address."}


@pytest.mark.slow
def test_a_daemon_without_the_answer_was_started_by_another_version(
    bench: LocalBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start_daemon()
    asked = daemons.request

    def of_another_version(
        host: str, port: int, method: str, path: str, headers: Mapping[str, str], seconds: float = 5.0
    ) -> dict[str, Any] | None:
        return asked(host, port, method, path.replace("/ground", "/unknown"), headers, seconds)

    monkeypatch.setattr(daemons, "request", of_another_version)
    why = findings(bench)["daemon"].why
    assert "it was started by another version of numerai" in why


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_the_way_out_of_a_frozen_daemon_can_be_followed(bench: LocalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start_daemon()
    pid = daemon_status(bench.home.context()).pid
    assert pid
    asked = daemons.request
    monkeypatch.setattr(daemons, "request", partial(asked, seconds=0.2))
    os.kill(pid, signal.SIGSTOP)
    try:
        told = findings(bench)["daemon"]
        assert told.status is CheckStatus.FAILED and told.mend == f"kill -9 {pid}, then numerai daemon start"
        context = replace(bench.home.context(), clock=SlowClock())
        for command in (stop_daemon, partial(start_daemon, report=quiet)):
            with pytest.raises(NumeraiError) as error:
                command(context)
            assert error.value.code == "daemon-stuck" and f"kill -9 {pid}" in (error.value.hint or "")
            assert "start" not in error.value.message
    finally:
        os.kill(pid, signal.SIGCONT)


class SlowClock(FakeClock):
    """Half a minute passes at each pause."""

    def sleep(self, seconds: float) -> None:
        super().sleep(30)


@pytest.mark.parametrize("name", ["attempts", "cache"])
def test_what_runs_write_to_is_written_to(bench: LocalBench, name: str) -> None:
    assert findings(bench)["process executor"].status is CheckStatus.OK
    (bench.home.path / "local" / name).write_text("a file where a folder is needed")
    told = findings(bench)["process executor"]
    assert told.status is CheckStatus.FAILED and f"{name}: Not a directory" in told.why


def test_a_log_that_cannot_be_written_is_a_warning(bench: LocalBench) -> None:
    (bench.home.path / "local" / "logs").write_text("")
    assert findings(bench)["logs"].status is CheckStatus.WARNING


def test_a_full_disk_is_seen_though_the_database_cannot_be_used(
    bench: LocalBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = LocalParts(bench.home.context())
    monkeypatch.setattr(parts.store, "deployments", unusable)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    found = [check.name for check in local_checks(parts, [], lambda node: "")]
    parts.store.close()
    assert "local database" in found and "disk of the home folder" in found


def unusable() -> list[object]:
    raise DatabaseUnusable("disk I/O error")


class Engine:
    """This shell's engine: it answers and holds every image."""

    def version(self) -> str:
        return "1"

    def data_folder(self) -> None:
        return None

    def image_id(self, tag: str) -> str:
        return tag


@pytest.mark.slow
def test_the_daemon_says_that_its_own_engine_is_away(bench: LocalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    bench.start_daemon()
    monkeypatch.delenv("DOCKER_HOST")
    parts = LocalParts(replace(bench.home.context(), engine=lambda: cast(ContainerEngine, Engine())))
    (node,) = [stored.node.name for stored in parts.store.nodes()]
    parts.store.save_deployment(Deployment(node, "image", "hash", NOW), "docker", "sha256:1")
    (found,) = daemons.daemon_differs(parts)
    parts.store.close()
    assert found.startswith("its Docker engine does not work, and this shell's does: ")


def test_a_daemon_that_does_not_say_why_it_ended_does_not_answer(bench: LocalBench) -> None:
    silent = (sys.executable, "-c", "raise SystemExit(1)")
    with pytest.raises(NumeraiError, match="it does not answer"):
        start_daemon(bench.home.context(), report=quiet, command=silent)
