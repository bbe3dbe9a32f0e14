"""No key or token of this process reaches the programs that it starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from numerai_compute.adapters.buildkit import has_buildkit
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.child_environment import DOCKER, MACHINE, PIP, TERRAFORM, child_environment
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Node
from numerai_compute.providers.local.process_executor import ProcessExecutor
from numerai_compute.providers.local.settings import LocalPaths, LocalSettings

SECRETS = {
    "NUMERAI_SECRET_KEY": "numerai-canary",
    "NUMERAI_PUBLIC_ID": "public-canary",
    "GITHUB_TOKEN": "github-canary",
    "OPENAI_API_KEY": "openai-canary",
}


@pytest.mark.parametrize("extra", [(), PIP, DOCKER, TERRAFORM])
def test_only_what_is_listed_comes_along(extra: tuple[str, ...]) -> None:
    environ = {**SECRETS, "PATH": "/bin", "PIP_INDEX_URL": "x", "DOCKER_HOST": "y", "AWS_PROFILE": "z", "TF_LOG": "w"}
    found = child_environment(environ, extra)
    assert found["PATH"] == "/bin" and not SECRETS.keys() & found.keys()
    assert ("PIP_INDEX_URL" in found) == (extra is PIP)
    assert ("DOCKER_HOST" in found) == (extra is DOCKER)
    assert ("AWS_PROFILE" in found) == (extra in (DOCKER, TERRAFORM))
    assert ("TF_LOG" in found) == (extra is TERRAFORM)
    assert not any("KEY" in name or "TOKEN" in name or "SECRET" in name for name in MACHINE)


@pytest.mark.slow
def test_a_setup_py_sees_no_credentials(tmp_path: Path) -> None:
    source, seen = tmp_path / "code", tmp_path / "seen"
    (source / "package").mkdir(parents=True)
    (source / "Dockerfile").write_text('FROM scratch\nCMD ["python", "-c", "1"]\n')
    (source / "requirements.txt").write_text(f"{source / 'package'}\n")
    (source / "package" / "setup.py").write_text(
        f"import os, pathlib\npathlib.Path({str(seen)!r}).write_text(repr(dict(os.environ)))\nraise SystemExit('no')\n"
    )
    environ = {
        **os.environ,
        **SECRETS,
        "AWS_SECRET_ACCESS_KEY": "aws-canary",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
    }
    executor = ProcessExecutor(LocalPaths(tmp_path / "home"), LocalSettings(), SystemClock(), environ)
    node = Node("numerai-alice", "alice", "id", 8, "local", str(source), cpu=1, memory_mib=512)
    with pytest.raises(NumeraiError):
        executor.build(node, "hash", lambda line: None)
    found = seen.read_text()
    assert "PIP_NO_INDEX" in found
    assert [value for value in (*SECRETS.values(), "aws-canary") if value in found] == []


@pytest.mark.skipif(os.name == "nt", reason="a script in the place of docker")
def test_the_docker_command_gets_no_numerai_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environ = {**os.environ, **SECRETS, "DOCKER_HOST": "unix:///x"}
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert has_buildkit({**environ, "PATH": os.environ["PATH"]})
    seen = (tmp_path / "seen").read_text()
    assert "DOCKER_HOST=unix:///x" in seen and "canary" not in seen
