"""Scenes of the matrix with a whole home folder: its nodes, its daemon, its watcher, and people who are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from numerai_compute.models import Run, RunFailure, RunState

from tests.faults.held import TOURNAMENT, assert_submitted, held, latest_round
from tests.faults.house import MAIN, House, opened_house
from tests.faults.proxy import Proxy, Rule
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.listeners import Inbox, http_inbox

HOUR = 3600.0
STEP_SECONDS = 60.0
"""By how much the sandbox's clock is moved while nothing goes on."""
LOOK_SECONDS = 0.2
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


class Stage:
    """A house, its sandbox and somebody who is told, between two rounds."""

    def __init__(self, sandbox: ServedSandbox, folder: Path, stack: ExitStack) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self._stack = stack
        self.way: Proxy
        self.inbox: Inbox = stack.enter_context(http_inbox())
        self._houses: list[House] = []
        sandbox.clock(advance=3 * HOUR)

    # what there is

    def house(self, *rules: Rule, told: bool = True, **settings: str | int) -> House:
        """A home whose requests to Numerai suffer the rules; with `told` its notices come here."""
        url = self.proxy(*rules).url if rules else None
        house = self._stack.enter_context(opened_house(self.folder / "house", self.sandbox, url, **settings))
        if told:
            house.factory.store.save_notify_url("people", f"json://127.0.0.1:{self.inbox.port}/")
        self._houses.append(house)
        return house

    def proxy(self, *rules: Rule) -> Proxy:
        """A proxy before the sandbox."""
        self.way = self._stack.enter_context(Proxy(self.sandbox.url, rules))
        return self.way

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
            active = [run for house in self._houses for run in house.runs() if not run.state.final]
            if not active and passed < minutes * 60:
                self.sandbox.clock(advance=STEP_SECONDS)
                passed += STEP_SECONDS
            time.sleep(LOOK_SECONDS)
        state = self.sandbox.state()
        logs = [house.log(run) for house in self._houses for run in house.runs()]
        daemon = [house.daemon_log() for house in self._houses]
        raise AssertionError(f"it did not happen: {state['submissions']} {self.titles} {logs} {daemon}")

    def submitted(self, number: int, **options: Any) -> dict[str, Any]:
        """The right submission of a round, waited for."""
        self.until(lambda: any(each["selected"] for each in held(self.sandbox, number)))
        return assert_submitted(self.sandbox, number, **options)

    def close_round(self) -> None:
        """Let the round close."""
        self.sandbox.clock(advance=HOUR + 60)

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

        text = str(self.until(found, minutes=minutes))
        assert self.sandbox.secret_key not in text
        return text


def _no_more(stage: Stage, house: House, runs: int) -> None:
    """Let the round close: nothing else is triggered or submitted on the way."""
    number = latest_round(stage.sandbox)
    before = held(stage.sandbox, number)
    for _ in range(4):
        stage.sandbox.clock(advance=900)
        time.sleep(3 * LOOK_SECONDS)
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
    with watching(house):
        number = stage.open_round()
        submission = stage.submitted(number)
        assert submission["trigger_id"]
        stage.told(f"round {number} is submitted")
        _no_more(stage, house, runs=1)
    assert sum("is submitted" in title for title in stage.titles) == 1


def two_watchers(stage: Stage) -> None:
    """Two watchers see the same silence: one run, one notice."""
    house = stage.house()
    house.node(webhook=False)
    house.start_daemon()
    with watching(house):
        number = stage.open_round()
        stage.submitted(number)
        stage.told(f"round {number} is submitted")
        _no_more(stage, house, runs=1)
    assert sum("is submitted" in title for title in stage.titles) == 1


@contextmanager
def watching(house: House) -> Iterator[None]:
    """`numerai watch` beside the daemon."""
    environment = {**os.environ, "NUMERAI_HOME": str(house.factory.home)}
    command = [sys.executable, "-m", "numerai_compute", "watch"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert "Watching" in process.stderr.readline()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        process.stderr.close()


def same_webhook_twice(stage: Stage) -> None:
    """Numerai calls twice with one trigger id: one run."""
    import requests

    house = stage.house()
    node = house.node(webhook=False)
    house.start_daemon()
    number = stage.open_round()
    body = {"triggerId": "11111111-2222-4333-8444-555555555555", "modelId": node.model_id}
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
    (run,) = house.ended()
    assert (run.state, run.exit_code) == (RunState.FAILED, 65)
    stage.close_round()
    stage.told(f"round {number} was missed", "closed")
    assert len(house.runs()) == 1
    assert not held(stage.sandbox, number)


def code_crashes(stage: Stage) -> None:
    """The code crashes in every run: told, then missed, and three tries by the watcher at most."""
    house = stage.house()
    house.node(main="raise RuntimeError('a bug of the model')\n")
    house.start_daemon()
    number = stage.open_round()
    stage.told(f"round {number}", "limit", minutes=59)
    stage.close_round()
    stage.told(f"round {number} was missed")
    runs: list[Run] = house.ended()
    assert len(runs) == 4 and {run.exit_code for run in runs} == {1}
    assert sum("was missed" in title for title in stage.titles) == 1


def too_late(stage: Stage) -> None:
    """The model takes until after the close: submitted, and told that it is late."""
    house = stage.house(Rule("stall", PUT))
    house.node()
    house.start_daemon()
    number = stage.open_round()
    wait_for(stage.way.reached.is_set, PATIENCE)
    stage.close_round()
    stage.way.release()
    stage.until(lambda: any(each["selected"] for each in held(stage.sandbox, number)))
    assert_submitted(stage.sandbox, number, late=True)
    (run,) = house.ended()
    assert (run.exit_code, run.failure) == (69, RunFailure.LATE)
    stage.told(f"round {number} was submitted late", "cannot be staked")


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
    assert_submitted(stage.sandbox, number)
    stage.told("Broken", "a bug of the handler")
    stage.told(f"round {number} submitted, accepted")


def numerai_down_for_half_the_window(stage: Stage) -> None:
    """Numerai answers 503 to the tool and the node for half an hour, and the webhook never comes."""
    sandbox = stage.sandbox
    start = len(sandbox.state()["rounds"])
    house = stage.house(told=True)
    house.node(webhook=False)
    house.start_daemon()
    wait_for(house.factory.ledger.watchers, PATIENCE)
    sandbox.set_fault("graphql", "status", status=503, times=None)
    number = stage.open_round()
    for _ in range(30):
        sandbox.clock(advance=60)
        time.sleep(LOOK_SECONDS / 4)
    assert not house.runs() and len(sandbox.state()["rounds"]) > start
    sandbox.clear_faults()
    stage.submitted(number)
    stage.told(f"round {number} is submitted")


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
    stage.told(f"round {number}", "memory", minutes=59)


def engine_gone(stage: Stage) -> None:
    """The Docker engine cannot be reached for a while in the middle of a run: the run is found again."""
    from tests.faults.engine_proxy import EngineProxy

    with EngineProxy() as engine:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = engine.url
        try:
            house = stage.house(executor="docker")
            node = house.node(
                main="import time\nprint('begin', flush=True)\ntime.sleep(3)\nprint('end')\n", container=True
            )
            house.start_daemon()
            run = house.provider.trigger(node)
            wait_for(lambda: "begin" in house.log(run), PATIENCE)
            engine.cut()
            time.sleep(4)
            engine.mend()
            (ended,) = house.ended(seconds=PATIENCE)
            assert ended.state is RunState.SUCCEEDED, ended
            assert house.log(run).split() == ["begin", "end"]
            house.close()
            house.nodes.clear()
        finally:
            os.environ.pop("DOCKER_HOST") if before is None else os.environ.update(DOCKER_HOST=before)


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
    "notices refused": notices_refused,
    "home disk full": home_disk_full,
    "event handler raises": event_handler_raises,
    "numerai down": numerai_down_for_half_the_window,
    "machine clock wrong": machine_clock_wrong,
    "out of memory": out_of_memory,
    "engine gone": engine_gone,
}
