"""`numerai doctor` ends with 0 only where the next round's opening leads to a submission: tried, not reasoned about.

One sandbox, one home and one node whose program needs half a second. Each combination puts the node into its state,
asks doctor, opens a round as Numerai does, and looks whether Numerai holds a file of the node for it on time.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.models import Node
from numerai_compute.providers.local.daemon import stop_daemon

from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.listeners import free_port

pytestmark = pytest.mark.e2e

NAME = "numerai-alice"
COMBINATIONS = 44
SEED = 10
PROGRAM = """
import json, os, urllib.request

csv = urllib.request.urlopen("{csv_url}").read()
token = "Token " + os.environ["NUMERAI_PUBLIC_ID"] + "$" + os.environ["NUMERAI_SECRET_KEY"]


def ask(query, **variables):
    body = json.dumps({{"query": query, "variables": variables}}).encode()
    headers = {{"Authorization": token, "Content-Type": "application/json", "User-Agent": "a node of ours"}}
    request = urllib.request.Request(os.environ["NUMERAI_API_URL"], body, headers)
    answer = json.load(urllib.request.urlopen(request))
    assert "errors" not in answer, answer
    return answer["data"]


model = os.environ["MODEL_ID"]
upload = ask(
    "query($f: String!, $m: ID) {{submissionUploadAuth(filename: $f, tournament: 8, modelId: $m) {{filename url}}}}",
    f="predictions.csv", m=model,
)["submissionUploadAuth"]
urllib.request.urlopen(urllib.request.Request(upload["url"], csv, method="PUT"))
ask(
    "mutation($f: String!, $m: ID, $g: ID) {{createSubmission(filename: $f, tournament: 8, modelId: $m, triggerId: $g)"
    " {{id}}}}",
    f=upload["filename"], m=model, g=os.environ.get("TRIGGER_ID"),
)
"""


@dataclass(frozen=True)
class Combination:
    """A state of everything that a submission depends on; the first value of each field is the healthy one."""

    webhook: str
    daemon: str
    configuration: str
    source: str
    engine: str


VALUES = {
    "webhook": ("right", "other address", "none", "other model's", "wrong token", "the one before"),
    "daemon": ("running", "stopped", "on another port"),
    "configuration": ("webhook", "cron", "provider not there", "no time"),
    "source": ("same", "changed", "never deployed", "snapshot gone"),
    "engine": ("process", "docker named", "deployed in docker"),
}
HEALTHY = Combination(**{name: values[0] for name, values in VALUES.items()})


def combinations() -> list[Combination]:
    """Health, everything that is one step away from it, and a sample of what is two or more away; those that share a
    daemon stand together."""
    one_off = [replace(HEALTHY, **{name: value}) for name, values in VALUES.items() for value in values[1:]]
    chosen = dict.fromkeys([HEALTHY, *one_off])
    dice = random.Random(SEED)
    while len(chosen) < COMBINATIONS:
        steps = dice.sample([field.name for field in fields(Combination)], dice.choice((2, 2, 2, 3)))
        chosen[replace(HEALTHY, **{name: dice.choice(VALUES[name][1:]) for name in steps})] = None
    return sorted(chosen, key=lambda one: one.daemon == "stopped")


@contextmanager
def served_predictions(sandbox: ServedSandbox, folder: Path) -> Iterator[str]:
    """An address where the node's program gets predictions for the round that is open."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = sandbox.live_predictions(folder).to_csv(index=False).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            serving.join()


class Machine:
    """The home folder, the daemon and the account, put into a state and asked."""

    def __init__(self, home: Path, sandbox: ServedSandbox, program: str):
        self.home, self.sandbox, self.program = home, sandbox, program
        self.store = HomeStore(home)
        self.database = home / "local" / "runs.db"
        self.port, self.other_port = free_port(), free_port()
        self.folder = home.parent / "code"
        self.folder.mkdir()
        (self.folder / "Dockerfile").write_text('FROM scratch\nCMD ["python", "main.py"]\n')
        (self.folder / "main.py").write_text(program)
        self.node = Node(NAME, "alice", sandbox.models["alice"], 8, "local", str(self.folder), 1.0, 1024)
        self._recorded(port=self.port)
        bob = Node("signals-bob", "bob", sandbox.models["bob"], 11, "local", str(self.folder), 1.0, 1024)
        self.bobs = self._provider().configure(bob, _quiet).webhook_url

    def put(self, wanted: Combination) -> None:
        """Make it so, whatever was before."""
        (self.folder / "main.py").write_text(self.program)
        self._recorded(port=self.port)
        cron = "* * * * *" if wanted.configuration == "cron" else None
        minutes = 0 if wanted.configuration == "no time" else 5
        node = self._provider().configure(replace(self.node, cron=cron, timeout_minutes=minutes), _quiet)
        before = node.webhook_url
        self._deployed(node)
        if wanted.daemon == "stopped":
            self.stop()
        else:
            self._provider().wake(_quiet)
        if wanted.daemon == "on another port":
            self._recorded(port=self.other_port)
            node = self._provider().configure(node, _quiet)
        provider = "gone" if wanted.configuration == "provider not there" else "local"
        self.store.save_node(replace(node, provider=provider))
        self._source(wanted.source)
        if wanted.engine != "process":
            self._recorded(port=self.other_port if wanted.daemon == "on another port" else self.port, executor="docker")
        if wanted.engine == "deployed in docker":
            self._sql("UPDATE deployments SET executor = 'docker', image = 'x:1', reference = 'x:1'")
        assert node.webhook_url is not None
        addresses = {
            "right": node.webhook_url,
            "other address": f"http://127.0.0.1:{free_port()}/{NAME}/token",
            "none": None,
            "other model's": self.bobs,
            "wrong token": node.webhook_url[:-3] + "xyz",
            "the one before": before,
        }
        Factory(self.home).api.set_webhook(node.model_id, addresses[wanted.webhook])

    def doctor(self) -> tuple[int, list[dict[str, Any]]]:
        """doctor's exit code and what it calls failed."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            exit_code = run(["doctor", "--json"], Factory(self.home))
        checks = json.loads(printed.getvalue())["checks"]
        return exit_code, [check for check in checks if check["status"] == "failed"]

    def submits(self, wanted: Combination) -> bool:
        """Whether Numerai holds a file of the node, on time, once a round has opened and all that follows has ended."""
        known = {id_ for id_, _ in self._runs()}
        (opened,) = self.sandbox.open_round("classic")
        number = opened["number"]
        wait_for(lambda: all(call["status"] or call["error"] for call in self._calls(number)), 40)
        if wanted.configuration == "cron" and wanted.daemon != "stopped":
            # a minute of the schedule is run once, and combinations share minutes
            self._sql("UPDATE runs SET trigger_id = NULL WHERE trigger_id LIKE 'cron-%'")
            self._sql(
                "UPDATE nodes SET cron_after = strftime('%Y-%m-%dT%H:%M:%S.000000', 'now', '-61 seconds')"
                f" WHERE name = '{NAME}'"
            )
            with suppress(AssertionError):
                wait_for(lambda: {id_ for id_, _ in self._runs()} - known, 20)
        final = ("succeeded", "failed", "cancelled")
        wait_for(lambda: all(state in final for id_, state in self._runs() if id_ not in known), 90)
        return bool(self.sandbox.entry("alice", number)["status"] == "on-time")

    def stop(self) -> None:
        """End the daemon."""
        stop_daemon(Factory(self.home).provider_context("local"))

    def _calls(self, number: int) -> list[dict[str, Any]]:
        calls = self.sandbox.state()["webhook_calls"]
        return [call for call in calls if (call["model_id"], call["round_number"]) == (self.node.model_id, number)]

    def _runs(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.database, timeout=30)) as db:
            return db.execute("SELECT id, state FROM runs WHERE node = ?", (NAME,)).fetchall()

    def _recorded(self, *, port: int, executor: str = "process") -> None:
        self.store.save_settings("local", {"port": port, "executor": executor, "attempts": 1})

    def _deployed(self, node: Node) -> None:
        self._sql("DELETE FROM deployments WHERE executor = 'docker'")
        self._sql(f"DELETE FROM facts WHERE name = 'containers of {NAME}'")
        self._provider().deploy(node, force=False, report=_quiet)

    def _source(self, wanted: str) -> None:
        if wanted == "changed":
            (self.folder / "main.py").write_text(self.program + "# changed\n")
        elif wanted == "never deployed":
            self._sql("DELETE FROM deployments")
        elif wanted == "snapshot gone":
            for snapshot in (self.home / "local" / "nodes" / NAME).glob("source-*"):
                shutil.rmtree(snapshot)

    def _provider(self) -> Any:
        return Factory(self.home).provider("local")

    def _sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database, timeout=30)) as db, db:
            db.execute(statement)


def _quiet(line: str) -> None:
    """Takes progress and shows it to nobody."""


@pytest.fixture
def machine(
    home: Path, tmp_path: Path, sandbox_factory: Callable[..., ServedSandbox], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    sandbox = sandbox_factory()
    for name, value in {**sandbox.environment, "DOCKER_HOST": "unix:///nowhere"}.items():
        monkeypatch.setenv(name, value)
    with served_predictions(sandbox, tmp_path) as csv_url:
        machine = Machine(home, sandbox, PROGRAM.format(csv_url=csv_url))
        try:
            yield machine
        finally:
            machine.stop()


def test_doctor_is_green_only_where_the_trigger_leads_to_a_submission(machine: Machine) -> None:
    wrong, green = [], 0
    for wanted in combinations():
        machine.put(wanted)
        exit_code, failed = machine.doctor()
        submitted = machine.submits(wanted)
        print(wanted, exit_code, submitted, [f"{check['name']}: {check['why']}" for check in failed])
        green += exit_code == 0
        if exit_code == 0 and not submitted:
            wrong.append(wanted)
        if wanted == HEALTHY:
            assert (exit_code, submitted) == (0, True), failed
    assert wrong == []
    assert green >= 3
