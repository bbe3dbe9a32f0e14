"""The vulnerability check: what it says where its database is, is not, lies, or knows something."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SUPPLY = os.environ.get("NUMERAI_TEST_SUPPLY", str(ROOT / ".venv-supply" / "bin" / "python"))
"""A Python with pip-audit, as `make audit` makes it."""
KNOWN = {"jinja2 2.4.1": "PYSEC-2014-8"}
UNREACHABLE = "http://127.0.0.1:9/v1/query"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "requirements" / "audit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit = load()


@contextmanager
def database(known: dict[str, str], status: int = 200, body: str | None = None) -> Iterator[str]:
    """A stand-in of OSV that knows these vulnerabilities, by package and version."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = question["package"]["name"]
            found = known.get(f"{name} {question['version']}")
            affected: dict[str, Any] = {"package": {"name": name, "ecosystem": "PyPI"}}
            affected["ranges"] = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]
            answer = {"vulns": [{"id": found, "summary": "bad", "affected": [affected]}]} if found else {}
            self.send_response(status)
            self.end_headers()
            self.wfile.write((json.dumps(answer) if body is None else body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def answers(vulnerable: str = "", aliases: tuple[str, ...] = ()) -> Callable[..., list[dict[str, Any]]]:
    """What pip-audit would say when one package is vulnerable."""

    def ask(requirements: list[str], url: str) -> list[dict[str, Any]]:
        found = [{"id": "PYSEC-1", "aliases": list(aliases), "fix_versions": ["2.1"]}]
        pairs = [line.split("==") for line in requirements]
        return [{"name": n, "version": v, "vulns": found if n == vulnerable else []} for n, v in pairs]

    return ask


PACKAGES = {("a", "1"): ["one.txt"], ("a", "2"): ["two.lock"], ("b", "1"): ["one.txt", "two.lock"]}


def checked(url: str, ask: Callable[..., list[dict[str, Any]]]) -> tuple[int, list[str]]:
    said: list[str] = []
    return audit.check(PACKAGES, url, said.append, ask), said


def test_every_version_in_every_lock_is_looked_up() -> None:
    assert list(audit.lists(PACKAGES)) == [["a==1", "b==1"], ["a==2"]]
    packages = audit.locked([ROOT / "requirements" / "dev.txt", *ROOT.glob("node_template/*/requirements.lock")])
    assert len({version for name, version in packages if name == "numpy"}) > 1
    assert "node_template/tournament-python3/requirements.lock" in packages["apprise", "2.3.0"]
    assert all(version and " " not in version for _, version in packages)


def test_a_database_that_is_not_there_is_said_and_is_no_success() -> None:
    assert checked(UNREACHABLE, answers()) == (3, ["vulnerability check: not done, 127.0.0.1 cannot be reached"])


@pytest.mark.parametrize(
    ("known", "status", "body", "why"),
    [
        ({}, 200, None, "does not even know a vulnerability of jinja2 2.4.1"),
        (KNOWN, 503, None, "answers with 503"),
        (KNOWN, 200, "<html>", "answers with something else"),
        (KNOWN, 200, "[]", "answers with something else"),
    ],
)
def test_a_database_that_cannot_be_believed_is_no_success(
    known: dict[str, str], status: int, body: str | None, why: str
) -> None:
    with database(known, status, body) as url:
        code, said = checked(url, answers())
    assert (code, said) == (3, [f"vulnerability check: not done, 127.0.0.1 {why}"])


def test_nothing_known_is_said_with_how_much_was_looked_up() -> None:
    with database(KNOWN) as url:
        code, said = checked(url, answers())
    assert (code, said) == (0, ["vulnerability check: 3 packages of 2 lock files, nothing known (127.0.0.1)"])


def test_a_finding_fails_and_names_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with database(KNOWN) as url:
        code, said = checked(url, answers("b"))
        assert code == 1
        assert said[1:] == ["  b 1 (one.txt, two.lock): PYSEC-1, mended in 2.1"]
        monkeypatch.setitem(audit.ACCEPTED, "CVE-2", "only on a machine that we do not run on")
        assert checked(url, answers("b"))[0] == 1
        assert checked(url, answers("b", aliases=("CVE-2",)))[0] == 0


def test_a_package_that_was_passed_over_is_no_success() -> None:
    with database(KNOWN) as url:
        skipped = [{"name": "a", "version": "1", "skip_reason": "not found"}]
        assert checked(url, lambda *_: skipped)[0] == 3
        assert checked(url, lambda *_: [])[0] == 3


def test_a_broken_pip_audit_fails_unless_the_database_has_gone() -> None:
    def broken(*_: object) -> list[dict[str, Any]]:
        raise RuntimeError("no module of that name")

    with database(KNOWN) as url:
        assert checked(url, broken) == (1, ["vulnerability check: pip-audit failed: no module of that name"])

    with database(KNOWN) as url, database(KNOWN) as other:
        asked = iter((url, UNREACHABLE))
        with pytest.MonkeyPatch.context() as patch:
            real = audit.ask_for_the_known
            patch.setattr(audit, "ask_for_the_known", lambda _: real(next(asked)))
            assert checked(other, broken)[0] == 3


@pytest.mark.skipif(not Path(SUPPLY).exists(), reason="`make audit` has not made .venv-supply")
def test_the_real_pip_audit_asks_the_database() -> None:
    def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [SUPPLY, str(ROOT / "requirements" / "audit.py"), *arguments]
        environment = {**os.environ, "NUMERAI_AUDIT_URL": url}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    packages = audit.locked([ROOT / "requirements" / "dev.txt"])
    name, version = next(pair for pair in packages if pair[0] == "flask")
    with database(KNOWN) as url:
        done = run(url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing known" in done.stdout
    with database({**KNOWN, f"{name} {version}": "PYSEC-9"}) as url:
        done = run(url, "--go-on")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"  {name} {version} (requirements/dev.txt): PYSEC-9, mended in 9.9" in done.stdout.splitlines()
    assert [run(UNREACHABLE, *go_on).returncode for go_on in ((), ("--go-on",))] == [3, 0]
