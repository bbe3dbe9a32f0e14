"""A secret key in every form in which programs write one, through every command: found in nothing that is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import docker
import pytest
import requests

from tests.e2e.command_line import SMALL, TIMEOUT, Shell, sandbox_process
from tests.listeners import free_port, http_inbox
from tests.planted import ADDRESS_SECRET, SECRET, found_in, leaks

pytestmark = pytest.mark.e2e

KEEPERS = (".keys", ".keys.previous")
"""Where the secrets may be."""
DOCKERFILE = 'FROM python:3.13-slim\nWORKDIR /node\nCOPY . .\nUSER 1000\nCMD ["python", "main.py"]\n'
PROGRAM = r"""
import html, json, os, sys, time, traceback
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

secret = os.environ["NUMERAI_SECRET_KEY"]
public = os.environ["NUMERAI_PUBLIC_ID"]
raw = secret.encode()
for stream in (sys.stdout, sys.stderr):
    for text in (
        secret, secret + "\r", f"  {secret}  ", f"key={secret};", json.dumps({"key": secret}), repr(secret),
        json.dumps(json.dumps({"key": secret})), quote(secret, safe=""), quote_plus(secret),
        quote(quote(secret, safe=""), safe=""), html.escape(secret), raw.hex(), raw.hex().upper(),
        "Authorization: Token " + public + "$" + secret,
        "Authorization: Basic " + b64encode(f"{public}:{secret}".encode()).decode(),
        *(b64encode(bytes(before) + raw).decode() for before in range(3)),
        *(urlsafe_b64encode(bytes(before) + raw).decode() for before in range(3)),
        "".join(f"\\u{ord(character):04x}" for character in secret),
    ):
        print(text, file=stream, flush=True)
for cut in (1, len(raw) // 2, len(raw) - 1):  # in pieces that arrive one after the other
    os.write(1, b"pieces: " + raw[:cut])
    time.sleep(0.2)
    os.write(1, raw[cut:] + b"\n")
for before in range(-len(raw), 1, 7):  # across the place where a long line is broken
    os.write(1, b"x" * (64 * 1024 + before) + raw + b"y" * 10 + b"\n")
try:
    raise KeyError(secret)
except KeyError as error:
    raise RuntimeError("the key is " + secret) from error
"""
HANDLER = r"""
import json, os, sys, traceback
from base64 import b64encode
from urllib.parse import quote

from numerai_compute.events import EventHandler

SECRET = os.environ["NUMERAI_SECRET_KEY"]


class Careless(EventHandler):
    def on_round_begin(self, round_number):
        self.state["number"] = round_number
        for stream in (sys.stdout, sys.stderr):
            for text in (SECRET, repr(SECRET), json.dumps([SECRET]), quote(SECRET, safe=""), SECRET.encode().hex()):
                print("the key is", text, file=stream)
            stream.buffer.write(b64encode(SECRET.encode()) + b"\n")
            print(SECRET[:9], end="", file=stream, flush=True)
            print(SECRET[9:], file=stream)
        try:
            raise KeyError(SECRET)
        except KeyError:
            traceback.print_exc()
        raise RuntimeError("the key is " + SECRET + repr(SECRET))
"""
PROVIDER = '''
import os


class Leaky:
    """A provider whose every method fails with the key in its words."""

    name = "leaky"
    timed_here = True

    def __init__(self, context):
        self.secret = os.environ["NUMERAI_SECRET_KEY"].strip()

    def __getattr__(self, name):
        def fail(*arguments, **named):
            try:
                raise ValueError({"key": self.secret})
            except ValueError as error:
                raise RuntimeError(f"{name} with {self.secret} and {self.secret!r}") from error
        return fail
'''
BOTH_FORMS = (("--verbose",), ("--json", "--verbose"))


@dataclass
class Careful(Shell):
    """A terminal whose every printed word is searched, and whose commands may show a traceback."""

    typed: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:  # type: ignore[override]
        done = subprocess.run(
            [sys.executable, "-m", "numerai_compute", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT,
        )
        self.printed.append(done.stdout + done.stderr)
        self.typed.append(" ".join(arguments))
        return done

    def fine(self, *arguments: str, **environment: str) -> str:
        """What a command prints that succeeds."""
        done = self(*arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def leaks(self) -> dict[str, list[str]]:
        """Every printed text and every file that holds a secret, but for those that may."""
        said = zip(self.typed, self.printed, strict=True)
        printed = {f"$ {typed}": found for typed, text in said if (found := found_in(text.encode()))}
        return {**printed, **leaks(self.folder, KEEPERS)}


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Careful]:
    monkeypatch.setenv("NUMERAI_SANDBOX_SECRET_KEY", SECRET)
    folder = tmp_path / "terminal"
    folder.mkdir()
    with sandbox_process(*SMALL, cwd=tmp_path) as served:
        monkeypatch.delenv("NUMERAI_SANDBOX_SECRET_KEY")
        assert served["secret_key"] == SECRET
        shell = Careful(folder, served, request.param)
        try:
            yield shell
        finally:
            shell("node", "-m", "alice", "destroy", "--yes", "--force")
            shell("daemon", "stop")


def test_a_secret_is_found_in_nothing(shell: Careful) -> None:
    url = shell.sandbox["url"]
    _set_up(shell)
    folder = shell.node("node", {"Dockerfile": DOCKERFILE, "main.py": PROGRAM})
    _keep_out_of_the_image(shell, folder)
    _run_and_look(shell)
    _call_the_webhook(shell)
    with http_inbox(status=500) as inbox:
        _notify(shell, inbox.port)
        _let_numerai_say_it(shell, url)
        _fail_in_code_of_others(shell)
    assert shell.leaks() == {}
    if shell.executor == "docker":
        assert _in_images(shell) == {}
    shell.fine("node", "destroy", "--yes", "--force", "--verbose")
    shell.fine("daemon", "stop")
    assert shell.leaks() == {}


def _set_up(shell: Careful) -> None:
    """Keys as they are pasted: with line ends and blanks around they work, with any inside they are refused."""
    for around in ("{}\n", "  {}\t\r\n"):
        shell.fine("setup", "--verbose", NUMERAI_SECRET_KEY=around.format(SECRET))
    half, quoted = len(SECRET) // 2, quote(SECRET, safe="")
    for inside, form in zip(("\n", "\r", "\u201d", "\x1b[31m"), (*BOTH_FORMS, *BOTH_FORMS), strict=True):
        broken = SECRET[:half] + inside + SECRET[half:]
        assert shell("setup", *form, NUMERAI_SECRET_KEY=broken).returncode == 2
    assert shell("doctor", *form, NUMERAI_SECRET_KEY=broken).returncode != 0
    for form in BOTH_FORMS:
        assert shell("setup", *form, NUMERAI_SECRET_KEY="X" + SECRET).returncode == 1
        shell("setup", *form, NUMERAI_API_URL=f"http://me:{quoted}@127.0.0.1:{free_port()}/{quoted}")
        shell("config", "set", "port", SECRET, *form)
        shell("node", "-m", SECRET, "config", "--cron", SECRET, *form)


def _keep_out_of_the_image(shell: Careful, folder: Path) -> None:
    """A .env of a folder below is refused, and kept out once .dockerignore says so."""
    shell.fine("node", "config", "--path", str(folder), "--memory", "256", "--cpu", "0.5", "--verbose")
    below = folder / "deep" / "er"
    below.mkdir(parents=True)
    for name, content in ((".env", f"KEY={SECRET}\r\n"), ("notes.txt", f"my key: {SECRET}\n")):
        (below / name).write_text(content)
        refused = shell("node", "deploy", "--verbose")
        assert refused.returncode != 0 and name in refused.stdout + refused.stderr
        (below / name).unlink()
    (below / ".env").write_text(f"KEY={SECRET}\n")
    (folder / ".dockerignore").write_text("**/.env\n")
    shell.fine("node", "deploy", "--verbose")
    (below / ".env").unlink()  # what was planted; from here on nothing of the node's folder may hold it


def _run_and_look(shell: Careful) -> None:
    """Runs that fail while they print the key in every form, and every command that shows something of them."""
    shell.fine("daemon", "start")
    for form in BOTH_FORMS:
        assert shell("node", "test", *form).returncode == 1
    assert shell("node", "test", "--local", "--verbose").returncode == 1
    for form in BOTH_FORMS:
        shell("node", "logs", "-f", "-n", "100000", *form)
        for command in (
            ("node", "status"),
            ("status",),
            ("history",),
            ("doctor",),
            ("watch", "--once"),
            ("node", "list"),
        ):
            shell(*command, *form)
    assert sum("***" in text for text in shell.printed) > 4


def _call_the_webhook(shell: Careful) -> None:
    """Calls that carry the key: as the id of the trigger, anywhere else in the body, in headers and addresses."""
    address = json.loads((shell.home / "nodes.json").read_text())["nodes"]["numerai-alice"]["webhook_url"]
    bodies = [
        json.dumps({"triggerId": SECRET}),
        json.dumps({"triggerId": SECRET.encode().hex()}),
        json.dumps({"triggerId": b64encode(SECRET.encode()).decode().rstrip("=").replace("+", "-").replace("/", "_")}),
        json.dumps({"triggerId": "t", "key": SECRET}),
        "{" + SECRET,
    ]
    for body in bodies:
        requests.post(address, data=body, headers={"X-Key": SECRET, "Authorization": SECRET}, timeout=30)
    for path in (f"{address}/{SECRET}", f"{address}?key={SECRET}", address.rpartition("/")[0] + "/" + SECRET):
        requests.post(path, json={"triggerId": "t2"}, timeout=30)
    for form in BOTH_FORMS:
        shell("node", "status", *form)
        shell("node", "logs", "--log-type", "webhook", *form)


def _notify(shell: Careful, port: int) -> None:
    """Addresses with a password, of servers that refuse, and that nobody listens to."""
    for name, number in (("refuses", port), ("nobody", free_port())):
        target = f"json://me:{ADDRESS_SECRET}@127.0.0.1:{number}/{ADDRESS_SECRET}?+X-Key={ADDRESS_SECRET}"
        shell.fine("notify", "add", name, "--verbose", NUMERAI_NOTIFY_URL=target)
    for form in BOTH_FORMS:
        shell("notify", "add", "wrong", *form, NUMERAI_NOTIFY_URL=f"slack://{ADDRESS_SECRET}")
        shell("notify", "list", *form)
        shell("notify", "test", *form)
    shell("watch", "--once", "--grace-minutes", "0", "--verbose")
    shell("notify", "test", "--verbose", NUMERAI_NOTIFY=f"json://127.0.0.1:9/{ADDRESS_SECRET}/{SECRET}")


def _let_numerai_say_it(shell: Careful, url: str) -> None:
    """Errors of the API that hold the key, once a command, and one that no command can read."""
    for kind in ("error", "bare-error"):
        order = {
            "target": "graphql",
            "kind": kind,
            "status": 400,
            "times": None,
            "message": f"no {SECRET} \x1b[1m{SECRET!r}",
        }
        requests.post(f"{url}/sandbox/faults", json=order, timeout=30).raise_for_status()
        for command, form in zip(
            (("setup",), ("doctor",), ("status",), ("history",)), (*BOTH_FORMS, *BOTH_FORMS), strict=True
        ):
            shell(*command, *form)
        requests.delete(f"{url}/sandbox/faults", timeout=30)


def _fail_in_code_of_others(shell: Careful) -> None:
    """A handler and a provider that raise the key: a traceback in a log, and one on the screen."""
    (shell.folder / "handlers.py").write_text(HANDLER)
    for form in BOTH_FORMS:
        shell("events", "run", "handlers.py", "--single-run", "-m", "alice", *form)
    plugin = shell.folder / "plugin"
    (plugin / "leaky-1.0.dist-info").mkdir(parents=True)
    (plugin / "leaky.py").write_text(PROVIDER)
    (plugin / "leaky-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (plugin / "leaky-1.0.dist-info" / "entry_points.txt").write_text(
        "[numerai_compute.providers]\nleaky = leaky:Leaky\n"
    )
    search = os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH")]))
    elsewhere = {"PYTHONPATH": search, "NUMERAI_HOME": str(shell.folder / "another-home")}
    bugs = 0
    for form in BOTH_FORMS:
        done = shell("node", "-m", "alice", "config", "-P", "leaky", "--path", "node", "--yes", *form, **elsewhere)
        bugs += "bug in numerai" in done.stdout + done.stderr
        shell("setup", "-P", "leaky", *form, **elsewhere)
    assert bugs == len(BOTH_FORMS)


def _in_images(shell: Shell) -> dict[str, list[str]]:
    """Images of the node that hold a secret, in any layer, the history or the configuration; and how many there are."""
    client = docker.from_env(timeout=300)
    found = {}
    for tag in {image.id: tag for tag, image in shell.images().items()}.values():
        content = b"".join(client.images.get(tag).save(chunk_size=None))
        found[tag] = found_in(content)
    assert found
    return {tag: forms for tag, forms in found.items() if forms}
