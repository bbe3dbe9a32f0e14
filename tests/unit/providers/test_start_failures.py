"""What only looks like "command not found", named for what it is."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import UsageError
from numerai_compute.models import Node
from numerai_compute.providers.local.docker_executor import DockerExecutor
from numerai_compute.providers.local.executor import Attempt
from numerai_compute.providers.local.process_executor import ProcessExecutor
from numerai_compute.providers.local.scheduler import RunControl
from numerai_compute.providers.local.settings import LocalPaths, LocalSettings, read_settings
from numerai_compute.providers.local.start_failures import Program, missing_capability, why_not_started
from numerai_compute.providers.outcomes import Outcome

from tests.images import built


def elf(machine: int, loader: bytes = b"") -> bytes:
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    return header + struct.pack("<IIQQQQQQ", 3 if loader else 1, 0, 120, 0, 0, len(loader), 0, 0) + loader


FILES = {
    "/n/crlf.sh": (b"#!/bin/sh\r\necho hi\r\n", 0o755),
    "/n/bom.sh": (b"\xef\xbb\xbf#!/bin/sh\n", 0o755),
    "/n/lost.sh": (b"#!/usr/bin/env ruby\n", 0o755),
    "/n/env": (b"#!/usr/bin/env sh\n", 0o644),
    "/n/plain": (b"echo hi\n", 0o755),
    "/n/empty": (b"", 0o755),
    "/n/arm": (elf(183), 0o755),
    "/n/glibc": (elf(62, b"/lib64/ld-linux-x86-64.so.2\0"), 0o755),
    "/n/good": (elf(62), 0o755),
    "/n/locked": (elf(62), 0o644),
    "/n/cut": (elf(62)[:30], 0o755),
    "sh": (elf(62), 0o755),
    "/bin/sh": (elf(62), 0o755),
    "/usr/bin/env": (elf(62), 0o755),
}

NODE = Node("numerai-alice", "alice", "id", 8, "local", "/code", cpu=1, memory_mib=128)


def look(name: str) -> Program | None:
    found = FILES.get(name)
    return Program(name, *found) if found else None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[FATAL tini (7)] exec /n/crlf.sh failed: No such file or directory", "Windows line endings"),
        ("/bin/sh: 1: /n/crlf.sh: not found", "Windows line endings"),
        ("/bin/bash: ./x.sh: /bin/sh^M: bad interpreter: No such file or directory", "Windows line endings"),
        ("/usr/bin/env: \u2018python3\\r\u2019: No such file or directory", "Windows line endings"),
        ("run.sh: line 2: $'\\r': command not found", "Windows line endings"),
        ("exec /n/bom.sh: exec format error", "byte-order mark"),
        ("[FATAL tini (7)] exec /n/lost.sh failed: No such file or directory", "asks for ruby"),
        ("[FATAL tini (7)] exec /n/env failed: Permission denied", "chmod +x"),
        ("[FATAL tini (7)] exec /n/plain failed: Exec format error", "first line such as"),
        ("[FATAL tini (7)] exec /n/empty failed: Exec format error", "is empty"),
        ("[FATAL tini (7)] exec /n/arm failed: Exec format error", "built for arm64, and this engine runs amd64"),
        ("[FATAL tini (7)] exec /n/glibc failed: No such file or directory", "needs the loader /lib64"),
        ("[FATAL tini (7)] exec /n/cut failed: Exec format error", "damaged"),
        ("[FATAL tini (7)] exec /n/locked failed: Permission denied", "chmod +x"),
        ("[FATAL tini (7)] exec /n/good failed: Operation not permitted", "config --capability NAME"),
        ("[FATAL tini (7)] exec nothing failed: No such file or directory", "there is no nothing"),
        ("sh: 1: pyhton: not found", "there is no pyhton"),
        ("[FATAL tini (7)] exec /n/good failed: No such file or directory", None),
        ("/bin/sh: 1: exec: /n/arm: Exec format error", "built for arm64, and this engine runs amd64"),
        ("run.sh: 3: exec: nothing: not found", "there is no nothing"),
        ("run.sh: exec: line 3: /n/crlf.sh: not found", "Windows line endings"),
        ("run.sh: line 3: exec: /n/plain: cannot execute: required file not found", "first line such as"),
        ("whatever", None),
    ],
)
def test_the_reason_is_named(line: str, expected: str | None) -> None:
    found = why_not_started(["before", line], "", look, "amd64")
    assert found is None if expected is None else found is not None and expected in found


@pytest.mark.parametrize(
    ("line", "root", "expected"),
    [
        (
            "chown: changing ownership of '/data': Operation not permitted",
            True,
            "-m numerai-alice config --capability CHOWN`",
        ),
        ('error: failed switching to "app": operation not permitted', True, "SETGID,SETUID"),
        ("PermissionError: [Errno 1] Operation not permitted", True, "has none. `numerai"),
        ("PermissionError: [Errno 1] Operation not permitted", False, "only root has"),
        ("PermissionError: [Errno 1] Operation not permitted", False, "CHOWN,SETGID,SETUID"),
        ("PermissionError: [Errno 13] Permission denied: '/app/x'", True, "DAC_OVERRIDE"),
        ("PermissionError: [Errno 13] Permission denied: '/app/x'", False, None),
        ("ValueError", True, None),
    ],
)
def test_a_refusal_names_the_capability(line: str, root: bool, expected: str | None) -> None:
    found = missing_capability([line], NODE, (), root=root)
    assert found is None if expected is None else found is not None and expected in found


def test_what_is_granted_already_is_kept_and_not_what_is_missing() -> None:
    """What is set replaces what was, so following one hint must not undo another."""
    line = "chown: changing ownership of '/data': Operation not permitted"
    said = missing_capability([line], NODE, ("SETUID",), root=True)
    assert said is not None and "has only SETUID" in said and "--capability CHOWN,SETUID`" in said
    assert missing_capability([line], NODE, ("CHOWN", "SETUID"), root=True) is None
    assert missing_capability([line], NODE, ("CHOWN", "SETUID"), root=False) is not None
    said = missing_capability([line], replace(NODE, provider="aws"), (), root=True)
    assert said is not None and "`numerai config set capabilities CHOWN`" in said


def test_capabilities_are_checked_against_dockers_list() -> None:
    assert read_settings({}, {}).capabilities == ()
    assert read_settings({"capabilities": "setuid, CAP_CHOWN"}, {}).capabilities == ("CHOWN", "SETUID")
    for wrong in ("ALL", "FLY", "CHOWN;SETUID"):
        with pytest.raises(UsageError):
            read_settings({"capabilities": wrong}, {})


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="scripts of POSIX")
@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (b"#!/bin/sh\r\necho hi\r\n", 0o755, "Windows line endings"),
        (b"#!/nowhere/interpreter\n", 0o755, "asks for /nowhere/interpreter"),
        (b"#!/bin/sh\necho hi\n", 0o644, "chmod +x"),
        (elf(243), 0o755, "built for riscv64"),
        (b"#!/bin/sh\nexit 7\n", 0o755, "exit code 7"),
        (b"#!/usr/bin/env sh\r\necho hi\r\n", 0o755, "Windows line endings"),
        (b"#!/bin/sh\nexec ./arm\n", 0o755, "arm is built for"),
        (b"#!/bin/sh\npyhton predict.py\n", 0o755, "there is no pyhton"),
        (b"#!/bin/sh\necho hi: not found\nexit 127\n", 0o755, "exit code 127"),
    ],
)
def test_a_script_of_the_source_as_a_process(tmp_path: Path, content: bytes, mode: int, expected: str) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "Dockerfile").write_text('FROM scratch\nCMD ["./run.sh"]\n')
    (source / "run.sh").write_bytes(content)
    (source / "run.sh").chmod(mode)
    (source / "arm").write_bytes(elf(243))
    (source / "arm").chmod(0o755)
    clock = SystemClock()
    executor = ProcessExecutor(LocalPaths(tmp_path / "home"), LocalSettings(), clock)
    node = Node("numerai-alice", "alice", "id", 8, "local", str(source), cpu=1, memory_mib=128)
    _, reference = executor.build(node, "hash", lambda line: None)
    attempt = Attempt("r1", 1, node, reference, clock.now() + timedelta(minutes=2))
    executor.start(attempt)
    outcome = executor.wait(attempt, RunControl())
    executor.discard(attempt)
    assert outcome is not None and expected in str(outcome.message)


DOCKERFILE = "FROM python:3.13-slim\nVOLUME /anonymous\nWORKDIR /n\nCOPY . .\nRUN chmod +x crlf.sh lost.sh arm plain\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for name in ("crlf.sh", "lost.sh", "arm", "plain"):
        (folder / name).write_bytes(FILES[f"/n/{name}"][0])
    with built(folder) as tag:
        yield tag


def run(folder: Path, image: str, command: str, granted: tuple[str, ...] = (), **settings: Any) -> Outcome:
    clock = SystemClock()
    node = replace(NODE, capabilities=granted)
    executor = DockerExecutor(DockerEngine, LocalPaths(folder), LocalSettings(**settings), clock, lambda: "testhome")
    attempt = Attempt(
        f"start-{abs(hash((str(folder), command)))}",
        1,
        node,
        image,
        clock.now() + timedelta(minutes=2),
        command=tuple(command.split(" ")),
    )
    try:
        executor.start(attempt)
        outcome = executor.wait(attempt, RunControl())
    finally:
        executor.discard(attempt)
    assert outcome is not None
    return outcome


@pytest.mark.docker
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("./crlf.sh", "Windows line endings"),
        ("sh -c exec\t./arm", "arm is built for arm64"),
        ("./lost.sh", "there is no ruby"),
        ("./arm", "built for arm64"),
        ("pyhton predict.py", "there is no pyhton"),
        ("sh -c ./crlf.sh", "Windows line endings"),
        ("chown 1 /tmp", "config --capability CHOWN"),
    ],
)
def test_containers_say_why_they_do_not_start(tmp_path: Path, image: str, command: str, expected: str) -> None:
    assert expected in str(run(tmp_path, image, command).message)


@pytest.mark.docker
def test_a_node_has_its_own_capabilities_besides_those_of_all(tmp_path: Path, image: str) -> None:
    has = f"grep -q CapEff:.{1 << 0 | 1 << 8:016x} /proc/self/status"  # the numbers of CHOWN and SETPCAP (capability.h)
    assert run(tmp_path, image, has, ("CHOWN",), capabilities=("SETPCAP",)).exit_code == 0
    assert run(tmp_path, image, has, capabilities=("SETPCAP",)).exit_code == 1


@pytest.mark.docker
def test_a_granted_capability_is_there_and_no_volume_stays(tmp_path: Path, image: str) -> None:
    client = docker.from_env()
    before = {volume.name for volume in client.volumes.list()}
    assert run(tmp_path, image, "chown 1 /anonymous", capabilities=("CHOWN",)).exit_code == 0
    made = {volume.name for volume in client.volumes.list(filters={"label": "numerai.home=testhome"})}
    anonymous = {volume.name for volume in client.volumes.list() if len(volume.name or "") == 64}
    for name in made:
        client.volumes.get(name).remove(force=True)
    assert len(made) == 2
    assert anonymous <= before
