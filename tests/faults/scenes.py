"""Scenes of the matrix with a whole home folder: its nodes, its daemon, its watcher, and people who are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import psutil
from numerai_compute.models import Run, RunFailure, RunState

from tests.faults.engine_proxy import EngineProxy
from tests.faults.held import LIVE, TOURNAMENT, assert_submitted, entry, held, latest_round
from tests.faults.house import MAIN, House, opened_house
from tests.faults.matrix import Outcome
from tests.faults.model import PREDICT, predict
from tests.faults.proxy import Proxy, Rule
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.listeners import Inbox, http_inbox

HOUR = 3600.0
STEP_SECONDS = 60.0
"""By how much the sandbox's clock is moved while nothing goes on."""
LOOK_SECONDS = 0.1
QUIET_SECONDS = 0.6
"""Time enough for a watcher to look once more."""
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]

BAD = MAIN.replace("node.submit(predict(node.live(columns)))", "node.submit(predict(node.live(columns)) * 2)")
HANDLERS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import pandas as pd
from numerai_compute.events import EventHandler, NotificationSender
from tests.faults.model import predict


class Broken(EventHandler):
    def on_start(self):
        self.daemon.config['retry_wait'] = 0.1

    def on_new_tournament_data(self, round_number):
        raise RuntimeError('a bug of the handler')


class Submitting(EventHandler):
    def on_new_tournament_data(self, round_number):
        live = pd.read_parquet(self.daemon.get_dataset_path(round_number) / 'live.parquet')
        self.daemon.submit(predict(live), model='alice')


handlers = [Broken, Submitting, NotificationSender('people')]
"""
HUNGRY = "kept = [b'x' * 2**20 for _ in range(4000)]\nprint(len(kept))\n"
PUT = "PUT /objects/uploads"
IN_A_CONTAINER = f"""
import json, os, shutil, time, urllib.error, urllib.request

def ask(query, **variables):
    headers = {{
        "Content-Type": "application/json",
        "Authorization": "Token " + os.environ["NUMERAI_PUBLIC_ID"] + "$" + os.environ["NUMERAI_SECRET_KEY"],
    }}
    body = json.dumps({{"query": query, "variables": variables}}).encode()
    request = urllib.request.Request(os.environ["NUMERAI_API_URL"], body, headers)
    while True:
        try:
            return json.load(urllib.request.urlopen(request))["data"]
        except urllib.error.HTTPError:
            time.sleep(0.1)

print("begin", flush=True)
os.chdir("/tmp")
shutil.copy("/app/live.csv", "live.csv")
{PREDICT}
target.close()
model = os.environ["MODEL_ID"]
address = ask(
    "query($m: ID) {{ submissionUploadAuth(filename: \\"predictions.csv\\", tournament: 8, modelId: $m)"
    " {{ filename url }} }}", m=model
)["submissionUploadAuth"]
urllib.request.urlopen(urllib.request.Request(address["url"], open("predictions.csv", "rb").read(), method="PUT"))
ask(
    "mutation($f: String!, $m: ID) {{ createSubmission(filename: $f, tournament: 8, modelId: $m) {{ id }} }}",
    f=address["filename"], m=model,
)
print("end", flush=True)
"""
"""The model of the matrix for a container without libraries, on the live.csv that its image has."""


class Stage:
    """A house, its sandbox and somebody who is told, between two rounds."""

    def __init__(self, sandbox: ServedSandbox, folder: Path, stack: ExitStack) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self._stack = stack
        self.inbox: Inbox = stack.enter_context(http_inbox())
        self._houses: list[House] = []
        self._ways: list[Proxy] = []
        self.printed: list[str] = []
        """What was printed by others than runs and daemons."""
        self.called_with: str | None = None
        """The trigger id of a call of the webhook that was not Numerai's."""
        sandbox.clock(advance=3 * HOUR)

    # what there is

    def house(self, *rules: Rule, told: bool = True, **settings: str | int) -> House:
        """A home whose requests to Numerai suffer the rules; with `told` its notices come here."""
        if rules:
            self._ways.append(self._stack.enter_context(Proxy(self.sandbox.url, rules)))
        url = self.way.url if rules else None
        house = self._stack.enter_context(opened_house(self.folder / "house", self.sandbox, url, **settings))
        if told:
            house.factory.store.save_notify_url("people", f"json://127.0.0.1:{self.inbox.port}/")
        self._houses.append(house)
        return house

    @property
    def way(self) -> Proxy:
        """What the house's requests pass where it has rules."""
        return self._ways[-1]

    def during(self, context: AbstractContextManager[Any]) -> Any:
        """Enter a context until the houses that are opened later are closed."""
        return self._stack.enter_context(context)

    def _runs(self) -> list[Run]:
        """The runs of the first node of every house, newest first."""
        return [run for house in self._houses if house.nodes for run in house.runs()]

    # what happens

    def open_round(self, minutes: float = 60.0) -> int:
        """Open the next round and return its number."""
        return int(self.sandbox.open_round(TOURNAMENT, minutes)[0]["number"])

    def until(self, condition: Callable[[], Any], *, minutes: float = 44.0) -> Any:
        """The condition's value as soon as it is true. Numerai's clock moves on while no run goes on, that far."""
        passed, end = 0.0, time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            if all(run.state.final for run in self._runs()) and passed < minutes * 60:
                self.sandbox.clock(advance=STEP_SECONDS)
                passed += STEP_SECONDS
            time.sleep(LOOK_SECONDS)
        state = self.sandbox.state()
        logs = [house.log(run) for house in self._houses if house.nodes for run in house.runs()]
        daemon = [house.daemon_log() for house in self._houses]
        raise AssertionError(f"it did not happen: {state['submissions']} {self.titles} {logs} {daemon}")

    def submitted(self, number: int, *, late: bool = False) -> dict[str, Any]:
        """The right submission of a round, waited for, under the trigger that its last run was started by."""
        self.until(lambda: held(self.sandbox, number))
        triggers = [run.trigger_id for run in self._runs()]
        by_watcher = not triggers or (triggers[0] or "").startswith("watch-")
        trigger_id = None if by_watcher else triggers[0]
        calls = {call["trigger_id"] for call in self.sandbox.state()["webhook_calls"] if call["round_number"] == number}
        assert trigger_id in {None, self.called_with, *calls}
        return assert_submitted(self.sandbox, number, late=late, trigger_id=trigger_id)

    def pass_deadline(self) -> None:
        """Let the round's deadline pass."""
        self.sandbox.clock(advance=HOUR + 60)

    # what holds in the end

    def check(self, outcome: Outcome) -> None:
        """Assert what holds after every scene: the last run's exit code and what Numerai holds of the round, that the
        faults have struck, that nothing was told twice, and that no secret was printed or told."""
        printed = [*self.printed, *(json.dumps(post) for _, post in self.inbox.posts)]
        for house in self._houses:
            if house.nodes:
                assert house.ended()[0].exit_code == outcome.exit, house.runs()
                printed += [house.log(run) for run in house.runs()]
            printed.append(house.daemon_log())
            assert "Traceback" not in house.daemon_log(), house.daemon_log()
        number = latest_round(self.sandbox)
        if outcome.right:
            self.submitted(number, late=outcome.late)
        else:
            assert not held(self.sandbox, number) and entry(self.sandbox, number)["status"] == outcome.entry
        assert not [rule for way in self._ways for rule in way.rules if rule.times is not None]
        assert not self.sandbox.state()["faults"]
        assert len(set(self.titles)) == len(self.titles), self.titles
        for text in printed:
            assert self.sandbox.secret_key not in text and "signature=" not in text, text

    # what is told

    @property
    def titles(self) -> list[str]:
        """The titles of what people were told so far."""
        return [post["title"] for _, post in self.inbox.posts]

    def told(self, *words: str, minutes: float = 44.0) -> str:
        """What people were told, once it holds all the words: title and text."""

        def found() -> str | None:
            posts = (f"{post['title']}\n{post['message']}" for _, post in self.inbox.posts)
            return next((post for post in posts if all(word in post for word in words)), None)

        return str(self.until(found, minutes=minutes))


def _no_more(stage: Stage, house: House, runs: int) -> None:
    """Let the deadline pass: nothing else is triggered or submitted on the way."""
    number = latest_round(stage.sandbox)
    before = held(stage.sandbox, number)
    for _ in range(4):
        stage.sandbox.clock(advance=900)
        time.sleep(QUIET_SECONDS)
    assert len(house.runs()) == runs
    assert held(stage.sandbox, number) == before


def webhook_fault(stage: Stage, **order: Any) -> None:
    """The webhook fails: the watcher triggers the node after its grace, once."""
    house = stage.house()
    house.node()
    house.start_daemon()
    if order:
        stage.sandbox.set_fault("webhook", **order)
    else:
        house.factory.api.set_webhook(house.nodes[0].model_id, None)
    number = stage.open_round()
    submission = stage.submitted(number)
    (run,) = house.runs()
    assert (run.trigger_id or "").startswith(f"watch-{TOURNAMENT}-{number}-")
    assert submission["trigger_id"] is None
    stage.told(f"round {number} is submitted", "The watcher triggered it")
    _no_more(stage, house, runs=1)


def webhook_comes(stage: Stage) -> None:
    """The webhook comes: two watchers have nothing to do."""
    house = stage.house()
    house.node()
    house.start_daemon()
    with watching(stage, house):
        number = stage.open_round()
        submission = stage.submitted(number)
        assert submission["trigger_id"]
        stage.told(f"round {number} is submitted")
        _no_more(stage, house, runs=1)


def two_watchers(stage: Stage) -> None:
    """Two watchers see the same silence: one run, one notice."""
    house = stage.house()
    house.node(webhook=False)
    house.start_daemon()
    with watching(stage, house):
        number = stage.open_round()
        stage.submitted(number)
        stage.told(f"round {number} is submitted")
        _no_more(stage, house, runs=1)


@contextmanager
def watching(stage: Stage, house: House) -> Iterator[None]:
    """`numerai watch` beside the daemon."""
    environment = {**os.environ, "NUMERAI_HOME": str(house.factory.home)}
    command = [sys.executable, "-m", "numerai_compute", "watch"]
    output = stage.folder / "watch.txt"
    with output.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "Watching" in output.read_text(), PATIENCE)
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
        stage.printed.append(output.read_text())


def same_webhook_twice(stage: Stage) -> None:
    """Numerai calls twice with one trigger id: one run."""
    import requests

    house = stage.house()
    node = house.node(webhook=False)
    house.start_daemon()
    number = stage.open_round()
    stage.called_with = "11111111-2222-4333-8444-555555555555"
    body = {"triggerId": stage.called_with, "modelId": node.model_id}
    assert node.webhook_url is not None
    answers = [requests.post(node.webhook_url, json=body, timeout=30).json() for _ in "12"]
    assert answers[0]["runId"] == answers[1]["runId"]
    stage.submitted(number)
    stage.told(f"round {number} is submitted")


def daemon_killed_in_upload(stage: Stage) -> None:
    """SIGKILL for the daemon in the middle of an upload: the run goes on and is taken over."""
    house = stage.house(Rule("stall-request", PUT, after=1000))
    house.node()
    house.start_daemon()
    number = stage.open_round()
    wait_for(stage.way.reached.is_set, PATIENCE)
    house.kill_daemon()
    house.start_daemon()
    stage.way.release()
    stage.submitted(number)
    (run,) = house.ended()
    assert run.state is RunState.SUCCEEDED and run.attempt == 1
    stage.told(f"round {number} is submitted")


def daemon_dead_at_the_opening(stage: Stage) -> None:
    """The daemon is dead when the round opens, and started again after half the window."""
    house = stage.house()
    house.node()
    house.start_daemon()
    wait_for(house.factory.ledger.watchers, PATIENCE)
    house.kill_daemon()
    number = stage.open_round()
    stage.sandbox.clock(advance=HOUR / 2)
    house.start_daemon()
    stage.submitted(number)
    assert len(house.runs()) == 1
    stage.told("The watcher was down")
    stage.told(f"round {number} is submitted")


def node_killed_in_upload(stage: Stage) -> None:
    """SIGKILL for the node in the middle of its upload, as for want of memory: the watcher triggers it again."""
    house = stage.house(Rule("stall-request", PUT, after=1000))
    house.node()
    house.start_daemon()
    number = stage.open_round()
    wait_for(stage.way.reached.is_set, PATIENCE)
    _node_process(house).kill()
    stage.submitted(number)
    first, second = reversed(house.ended(2))
    assert (first.state, first.exit_code) == (RunState.FAILED, 137)
    assert second.state is RunState.SUCCEEDED and second.trigger_id == f"watch-{TOURNAMENT}-{number}-1"
    stage.told(f"round {number} is submitted", "The watcher triggered it")


def _node_process(house: House) -> psutil.Process:
    for process in psutil.process_iter(["cmdline", "environ"]):
        environ = process.info["environ"] or {}
        if environ.get("NUMERAI_NODE") == house.nodes[0].name and str(house.folder) in environ.get("NUMERAI_CACHE", ""):
            return process
    raise AssertionError("no process of the node runs")


def node_exits_75_twice(stage: Stage) -> None:
    """Two runs end with a temporary failure: the provider's third attempt submits."""
    house = stage.house()
    counting = (
        "import os, sys\nfrom pathlib import Path\n"
        "tries = Path(os.environ['NUMERAI_ARTIFACTS']) / 'tries'\n"
        "number = int(tries.read_text()) if tries.exists() else 0\n"
        "tries.write_text(str(number + 1))\nif number < 2: sys.exit(75)\n"
    )
    house.node(main=counting + MAIN)
    house.start_daemon()
    number = stage.open_round()
    stage.submitted(number)
    (run,) = house.ended()
    assert (run.state, run.attempt) == (RunState.SUCCEEDED, 3)
    stage.told(f"round {number} is submitted")


def predictions_refused(stage: Stage) -> None:
    """The code makes bad predictions: told at once, not tried again."""
    house = stage.house()
    house.node(main=BAD)
    house.start_daemon()
    number = stage.open_round()
    stage.told(f"round {number} failed", "the same code would make the same predictions", minutes=5)
    stage.pass_deadline()
    stage.told(f"round {number} was missed", "passed")
    (run,) = house.ended()
    assert run.state is RunState.FAILED


def code_crashes(stage: Stage) -> None:
    """The code crashes in every run: told, then missed, and three tries by the watcher at most."""
    house = stage.house()
    house.node(main="raise RuntimeError('a bug of the model')\n")
    house.start_daemon()
    number = stage.open_round()
    stage.told(f"round {number}", "limit", minutes=59)
    stage.pass_deadline()
    stage.told(f"round {number} was missed")
    runs: list[Run] = house.ended()
    assert len(runs) == 4 and {run.exit_code for run in runs} == {1}


def too_late(stage: Stage) -> None:
    """The model takes until after the deadline: submitted, and told that it is late."""
    house = stage.house(Rule("stall", PUT))
    house.node()
    house.start_daemon()
    number = stage.open_round()
    wait_for(stage.way.reached.is_set, PATIENCE)
    stage.pass_deadline()
    stage.way.release()
    stage.submitted(number, late=True)
    queued = entry(stage.sandbox, number + 1)
    assert queued["status"] == "queued" and queued["filename"] == entry(stage.sandbox, number)["filename"]
    (run,) = house.ended()
    assert run.failure is RunFailure.LATE
    stage.told(f"round {number} was submitted late", "cannot be staked")


def covered(stage: Stage, *, works: bool) -> None:
    """A late file of the round before becomes an entry of this round, on time, as it opens. That is no run of this
    round: a node that works submits all the same, and of one that does not people are told."""
    house = stage.house()
    live = pd.read_parquet(stage.sandbox.download(LIVE, stage.folder))
    stage.sandbox.submit(predict(live).rename_axis("id").reset_index().to_csv(index=False))
    house.node(main=MAIN if works else BAD, webhook=False)
    house.start_daemon()
    wait_for(house.factory.ledger.watchers, PATIENCE)
    number = stage.open_round()
    earlier = entry(stage.sandbox, number)
    assert earlier["status"] == "on-time" and earlier["filename"] == entry(stage.sandbox, number - 1)["filename"]
    if works:
        stage.submitted(number)
        stage.told(f"round {number} is submitted")
        _no_more(stage, house, runs=1)
        return
    stage.told(f"round {number} failed", minutes=5)
    stage.pass_deadline()
    stage.told(f"round {number} is covered by an earlier file")
    assert entry(stage.sandbox, number) == earlier
    assert len(house.runs()) == 1


def opens_late(stage: Stage) -> None:
    """The round opens 50 minutes after Numerai's calendar says: nothing is run or told before, and it is on time."""
    house = stage.house()
    opening = stage.sandbox.running.sandbox.rounds.next_opening()
    assert opening is not None
    planned = opening - timedelta(minutes=50)
    stage.sandbox.clock(now=(planned - timedelta(minutes=5)).isoformat())
    house.node(webhook=False)
    house.start_daemon()
    wait_for(house.factory.ledger.watchers, PATIENCE)
    before = latest_round(stage.sandbox)
    for minutes in (0, 20, 49):
        stage.sandbox.clock(now=(planned + timedelta(minutes=minutes)).isoformat())
        time.sleep(QUIET_SECONDS)
    assert latest_round(stage.sandbox) == before and not house.runs() and not stage.titles
    stage.sandbox.clock(now=(opening + timedelta(seconds=1)).isoformat())
    number = latest_round(stage.sandbox)
    assert number == before + 1
    stage.submitted(number)
    stage.told(f"round {number} is submitted")


def deadline_brought_forward(stage: Stage) -> None:
    """The staking close is moved to twelve minutes after the opening, and no webhook comes: the watcher is in time."""
    house = stage.house()
    house.node()
    house.start_daemon()
    stage.sandbox.set_fault("webhook", "drop")
    number = stage.open_round()
    stage.sandbox.move_deadline(-48, TOURNAMENT)
    stage.submitted(number)
    stage.told(f"round {number} is submitted", "The watcher triggered it")


def deadline_put_off(stage: Stage) -> None:
    """The node crashes until after the deadline, so the round was missed; then the staking close is put off."""
    house = stage.house()
    fixed = stage.folder / "fixed"
    house.node(main=f"from pathlib import Path\nassert Path({str(fixed)!r}).exists(), 'a bug of the model'\n{MAIN}")
    house.start_daemon()
    number = stage.open_round()
    stage.until(lambda: len(house.ended()) > 1, minutes=40)
    stage.pass_deadline()
    stage.told(f"round {number} was missed")
    fixed.touch()
    stage.sandbox.move_deadline(120, TOURNAMENT)
    stage.submitted(number)
    stage.told(f"round {number} is submitted", "The watcher triggered it")


def capacity_never_comes(stage: Stage) -> None:
    """Another node's run holds the only place: the node's own waits, is tried again, told of, and missed."""
    house = stage.house(concurrency=1)
    house.node()
    other = house.node(model="bob", main="import time\nprint('busy', flush=True)\ntime.sleep(3600)\n")
    house.start_daemon()
    running = house.provider.trigger(other)
    wait_for(lambda: "busy" in house.log(running), PATIENCE)
    number = stage.open_round()
    wait_for(house.runs, PATIENCE)
    for _ in range(11):
        stage.sandbox.clock(advance=300)
        time.sleep(QUIET_SECONDS)
    stage.told(f"round {number} has no submission", "it waits for capacity", minutes=0)
    stage.pass_deadline()
    stage.sandbox.clock(advance=HOUR)
    stage.told(f"round {number} was missed", minutes=0)
    assert len(house.runs()) > 1, "it was not tried again"
    assert all(run.started_at is None for run in house.runs())
    for run in house.runs():
        if not run.state.final:
            house.provider.cancel(run.id)
    house.provider.cancel(running.id)


def notices_refused(stage: Stage) -> None:
    """Nobody can be told at first: the submission is made all the same, and told when it can be."""
    house = stage.house(told=False)
    house.factory.store.save_notify_url("people", "json://127.0.0.1:9/")
    house.node()
    house.start_daemon()
    number = stage.open_round()
    stage.submitted(number)
    (run,) = house.ended()
    assert run.state is RunState.SUCCEEDED
    assert not stage.titles
    house.factory.store.save_notify_url("people", f"json://127.0.0.1:{stage.inbox.port}/")
    stage.told(f"round {number} is submitted")


def home_disk_full(stage: Stage) -> None:
    """The home folder's disk is full as the round opens: told at once, and made up for when there is room again."""
    house = stage.house()
    house.node()
    house.start_daemon()
    wait_for(house.factory.ledger.watchers, PATIENCE)
    filler = stage.folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    number = stage.open_round()
    stage.told("The watcher cannot work", "disk is full", minutes=20)
    assert not held(stage.sandbox, number)
    filler.unlink()
    stage.submitted(number)
    (run,) = house.ended()
    assert run.trigger_id == f"watch-{TOURNAMENT}-{number}-1"
    stage.told(f"round {number} is submitted")
    _no_more(stage, house, runs=1)


def event_handler_raises(stage: Stage) -> None:
    """One of two event handlers raises: the other submits, and people are told of both."""
    house = stage.house()
    handlers = stage.folder / "handlers.py"
    handlers.write_text(HANDLERS)
    number = stage.open_round()
    environment = {**os.environ, "NUMERAI_HOME": str(house.factory.home)}
    command = [sys.executable, "-m", "numerai_compute", "events", "run", str(handlers), "--single-run", "-m", "alice"]
    done = subprocess.run(command, env=environment, cwd=stage.folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    assert "failed: Broken" in done.stdout, done.stdout
    stage.printed += [done.stdout, done.stderr]
    stage.told("Broken", "a bug of the handler")
    stage.told(f"round {number} submitted, on time")


def numerai_down_for_half_the_window(stage: Stage) -> None:
    """Numerai answers 503 to the watcher for half an hour, and the webhook never comes."""
    sandbox = stage.sandbox
    house = stage.house()
    house.node(webhook=False)
    house.start_daemon()
    wait_for(house.factory.ledger.watchers, PATIENCE)
    sandbox.set_fault("graphql", "status", status=503, times=None)
    number = stage.open_round()
    for _ in range(3):
        sandbox.clock(advance=600)
        wait_for(partial(_refuses_more, sandbox, _refused(sandbox)), PATIENCE)
    assert not house.runs()
    sandbox.clear_faults()
    stage.submitted(number)
    stage.told(f"round {number} is submitted")


def _refused(sandbox: ServedSandbox) -> set[str]:
    """The requests that Numerai has answered 503."""
    return {each["id"] for each in sandbox.state()["requests"] if each["status"] == 503}


def _refuses_more(sandbox: ServedSandbox, before: set[str]) -> bool:
    return bool(_refused(sandbox) - before)


def machine_clock_wrong(stage: Stage, seconds: float) -> None:
    """The machine's clock is wrong: the watcher goes by Numerai's."""
    house = stage.house()
    house.node(webhook=False)
    house.start_daemon(sys.executable, str(Path(__file__).with_name("skewed_daemon.py")), str(seconds))
    number = stage.open_round()
    stage.submitted(number)
    (run,) = house.runs()
    stage.told(f"round {number} is submitted")
    _no_more(stage, house, runs=1)
    assert run.trigger_id == f"watch-{TOURNAMENT}-{number}-1"


def out_of_memory(stage: Stage) -> None:
    """The node needs more memory than it has: killed, told with what to do, tried again in vain."""
    house = stage.house(executor="docker")
    house.node(main=HUNGRY, memory_mib=64, container=True)
    house.start_daemon()
    number = stage.open_round()
    stage.until(house.runs)
    run = house.ended()[-1]
    assert run.failure is RunFailure.OUT_OF_MEMORY, run
    assert "--memory" in (run.message or "")
    stage.told(f"round {number}", "memory", "--memory", minutes=59)


def engine_gone(stage: Stage) -> None:
    """The Docker engine cannot be reached for a while in the middle of a run: it submits, and is found again."""
    engine = stage.during(EngineProxy())
    stage.during(patch.dict(os.environ, DOCKER_HOST=engine.url))
    house = stage.house(executor="docker")
    number = stage.open_round()
    live = pd.read_parquet(stage.sandbox.download(LIVE, stage.folder))
    house.node(main=IN_A_CONTAINER, container=True, webhook=False, files={"live.csv": live.to_csv()})
    house.start_daemon()
    stage.sandbox.set_fault("graphql", "status", times=None, match="submissionUploadAuth")
    (run,) = stage.until(house.runs)
    wait_for(lambda: "begin" in house.log(run), PATIENCE)
    engine.cut()
    stage.sandbox.clear_faults()
    stage.submitted(number)
    engine.mend()
    (ended,) = house.ended(seconds=PATIENCE)
    assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 1), ended
    assert house.log(run).split() == ["begin", "end"]
    stage.told(f"round {number} is submitted")


SCENES: Mapping[str, Callable[..., None]] = {
    "webhook fault": webhook_fault,
    "webhook comes": webhook_comes,
    "two watchers": two_watchers,
    "same webhook twice": same_webhook_twice,
    "daemon killed in upload": daemon_killed_in_upload,
    "daemon dead at the opening": daemon_dead_at_the_opening,
    "node killed in upload": node_killed_in_upload,
    "node exits 75 twice": node_exits_75_twice,
    "predictions refused": predictions_refused,
    "code crashes": code_crashes,
    "too late": too_late,
    "covered": covered,
    "opens late": opens_late,
    "deadline brought forward": deadline_brought_forward,
    "deadline put off": deadline_put_off,
    "capacity never comes": capacity_never_comes,
    "notices refused": notices_refused,
    "home disk full": home_disk_full,
    "event handler raises": event_handler_raises,
    "numerai down": numerai_down_for_half_the_window,
    "machine clock wrong": machine_clock_wrong,
    "out of memory": out_of_memory,
    "engine gone": engine_gone,
}
