"""A month of rounds with random faults, the daemon killed at random: every round gets its one right submission.

The daemon with its watcher and the nodes are real processes; the sandbox is on Numerai's calendar, with its late
openings, and its clock is moved. What is not known of Numerai is answered differently in each month.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.models import Round, RoundOutcome, RunState
from numerai_compute.sandbox.records import RoundRecord
from numerai_compute.sandbox.switches import Switches
from numerai_compute.watching.watcher import Watcher

from tests.faults.held import TOURNAMENT, assert_submitted, held
from tests.faults.house import MAIN, House, opened_house
from tests.faults.matrix import Order, proxy, sandbox
from tests.faults.proxy import Proxy, Rule
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.listeners import Inbox, http_inbox

pytestmark = pytest.mark.e2e

ROUNDS = 22
SEEDS = (1, 2, 3)
BY_WATCHER = 3
"""In this seed's month Numerai never calls the webhook: the watcher triggers every round."""
SWITCHES = {
    1: Switches(),
    2: Switches(
        round_zero_after_deadline=False,
        previous_ids_need_datestamp=True,
        entry_ids_match=False,
        clone_keeps_trigger=True,
        clones_listed=False,
        entry_delay_seconds=20.0,
        downloads_keep_ids=False,
        live_minutes_before_opening=10.0,
        webhook_repeats=1,
        trigger_round_is_test=True,
    ),
    3: Switches(round_zero_after_deadline=False, entry_ids_match=False, clones_listed=False, entry_delay_seconds=5.0),
}
"""How Numerai behaves in a seed's month where its behaviour is not known."""
NOT_OF_A_MONTH = {"webhook_seconds", "null_pickle_unassigns", "run_pickles", "pickle_validation", "pickle_seconds"}
"""Switches that no round of these nodes meets: how long a webhook may take, and what becomes of a pickle."""
OPENING_DELAY_MINUTES = 54.0
"""How late a round opens at most."""
LOOK_SECONDS = 0.1
STEP = timedelta(minutes=1)
"""By how much the sandbox's clock is moved while nothing goes on."""
ROUND_SECONDS = 120.0
"""How long one round may really last."""
LIVE, PUT, CREATE = "/live.parquet", "PUT /objects/uploads", "createSubmission"

FAULTS: tuple[Order | Rule, ...] = (
    sandbox("webhook", "drop"),
    sandbox("webhook", "status", status=500),
    sandbox("webhook", "truncate"),
    sandbox("upload", "status", status=503, times=3),
    sandbox("upload", "status", status=403),
    sandbox("upload", "drop", times=2),
    sandbox("upload", "drop", when="after"),
    sandbox("upload", "truncate"),
    sandbox("upload", "corrupt"),
    sandbox("download", "status", match="live.parquet", times=3),
    sandbox("download", "status", status=404, match="live.parquet", times=2),
    sandbox("download", "truncate", match="live.parquet"),
    sandbox("download", "corrupt", match="live.parquet"),
    sandbox("download", "stale", match="live.parquet", times=2),
    proxy("reset-answer", LIVE, after=20_000, times=2),
    proxy("reset-request", PUT, after=1000, times=2),
    proxy("answer", PUT, status=503, times=None, minutes=20),
    proxy("lose", CREATE),
    proxy("lose", CREATE, status=502),
    proxy("answer", CREATE, status=429, headers={"Retry-After": "90"}, times=2),
    proxy("answer", CREATE, status=503, times=3),
    proxy("reset", "POST /", times=4),
    proxy("answer", "POST /", status=502, times=5),
    proxy("answer", "POST /", status=503, times=None, minutes=20),
)
"""What may go wrong in a round."""

DEAD_AT_THE_OPENING, KILLED_IN_THE_RUN, KILLED_AT_THE_SUBMISSION = "dead at the opening", "in the run", "at the end"
NODE_KILLED = "the node killed"
STALLS = (proxy("stall", LIVE), proxy("stall-request", PUT, after=1000), proxy("stall", CREATE))
"""Where a node is that is killed."""
HOLD = proxy("stall-request", PUT, after=1000)
"""Where it is when it is held up."""
BLOWS = (DEAD_AT_THE_OPENING, KILLED_IN_THE_RUN, KILLED_AT_THE_SUBMISSION, NODE_KILLED, "", "", "", "")
"""Which process is killed in a round, and when."""
DAEMON_KILLED = BLOWS[:3]
HELD_UP = "the node held up until after the deadline"
"""Strikes in one round of the month, between its first and its last third. That round cannot be on time."""
DOWN, STOPPED = "The watcher was down", "The watcher has stopped"


@dataclass(frozen=True)
class Plan:
    """What strikes in one round. `after` is how many seconds of a run pass before the daemon is killed, `away` how long
    in Numerai's time it stays away; `stall` is where the node is killed."""

    faults: tuple[Order | Rule, ...]
    blow: str
    after: float
    away: timedelta
    stall: Rule


def plans(seed: int) -> list[Plan]:
    """A month's plans: the same for the same seed."""
    chance = random.Random(seed)
    month = [
        Plan(
            tuple(chance.sample(FAULTS, chance.choice((0, 1, 1, 2)))),
            chance.choice(BLOWS),
            chance.uniform(0.0, 1.5),
            timedelta(minutes=chance.randrange(15)),
            chance.choice(STALLS),
        )
        for _ in range(ROUNDS)
    ]
    late = chance.randrange(ROUNDS // 3, 2 * ROUNDS // 3)
    month[late] = Plan((), HELD_UP, 0.0, timedelta(), HOLD)
    return month


class Month:
    """A sandbox on Numerai's calendar, and a house with one node and its daemon."""

    def __init__(self, sandbox: ServedSandbox, folder: Path, stack: ExitStack, *, webhook: bool) -> None:
        self.sandbox = sandbox
        self.rounds = sandbox.running.sandbox.rounds
        self.way = stack.enter_context(Proxy(sandbox.url, minutes=self._minutes))
        self.inbox: Inbox = stack.enter_context(http_inbox())
        self._monday()
        self.house: House = stack.enter_context(opened_house(folder, sandbox, self.way.url))
        self.house.factory.store.save_notify_url("people", f"json://127.0.0.1:{self.inbox.port}/")
        self.node = self.house.node(main=_quick(sandbox.url), webhook=webhook)
        self.kills = 0
        self._start_daemon()

    def _monday(self) -> None:
        """Begin on a Monday, so that the month is the same on every day."""
        now = self._now()
        days = (7 - now.weekday()) % 7 or 7
        self._set(now.replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=days))

    def _now(self) -> datetime:
        return self.sandbox.running.sandbox.clock.now()

    def _set(self, moment: datetime) -> None:
        self.sandbox.clock(now=moment.isoformat())

    def _minutes(self) -> float:
        """How long the latest round is open."""
        latest = self.latest()
        return (self._now() - latest.open_time).total_seconds() / 60

    def latest(self) -> RoundRecord:
        latest = self.rounds.latest(TOURNAMENT)
        assert latest is not None
        return latest

    def datestamp(self, number: int) -> int:
        """The day of a round's data."""
        found = self.rounds.get(TOURNAMENT, number)
        assert found is not None
        return found.data_datestamp

    def live_through(self, plan: Plan) -> int:
        """Let the next round open, strike, and return its number when its submission is settled."""
        blow = plan.blow
        if blow == DEAD_AT_THE_OPENING:
            self._kill_daemon()
        self.way.struck.clear()
        self.way.released.clear()
        self.way.rules[:] = [plan.stall] if blow in (NODE_KILLED, HELD_UP) else []
        self.way.rules += [fault for fault in plan.faults if isinstance(fault, Rule)]
        for fault in plan.faults:
            if isinstance(fault, Order):
                self.sandbox.set_fault(fault.target, fault.kind, **fault.options)
        opening = self.rounds.next_opening()
        assert opening is not None
        self._set(opening + timedelta(seconds=1))
        current = self.latest()
        if blow == DEAD_AT_THE_OPENING:
            self._back(plan)
            blow = ""
        end = time.monotonic() + ROUND_SECONDS
        while not self._settled(current):
            assert time.monotonic() < end, self._story(current, plan)
            active = [run for run in self.house.runs() if not run.state.final]
            if blow == NODE_KILLED and self.way.strikes(plan.stall):
                self._kill_node()
                blow = ""
            elif blow == HELD_UP and self.way.strikes(plan.stall):
                self._set(current.deadline + timedelta(minutes=1))
                self.way.release()
                blow = ""
            elif blow in DAEMON_KILLED and (active if blow == KILLED_IN_THE_RUN else self._made(current)):
                time.sleep(plan.after if active else 0.0)
                self._kill_daemon()
                self._back(plan)
                blow = ""
            elif not active and self._now() < current.deadline - timedelta(minutes=2):
                self.sandbox.clock(advance=STEP.total_seconds())
            time.sleep(LOOK_SECONDS)
        assert not blow, f"nothing was killed: {self._story(current, plan)}"
        self.sandbox.clear_faults()
        self.way.rules.clear()
        self._set(max(self._now(), current.deadline + timedelta(minutes=5)))
        return current.number

    def _kill_daemon(self) -> None:
        self.house.kill_daemon()
        self.kills += 1

    def _kill_node(self) -> None:
        killed = 0
        for process in psutil.process_iter(["environ"]):
            environ = process.info["environ"] or {}
            if environ.get("NUMERAI_NODE") and str(self.house.folder) in environ.get("NUMERAI_CACHE", ""):
                process.kill()
                killed += 1
        assert killed, "no process of the node runs"

    def _back(self, plan: Plan) -> None:
        self.sandbox.clock(advance=plan.away.total_seconds())
        self._start_daemon()

    def _start_daemon(self) -> None:
        self.house.start_daemon()
        wait_for(lambda: any(each.alive for each in self.house.factory.ledger.watchers()))

    def _made(self, current: RoundRecord) -> bool:
        every = self.sandbox.running.sandbox.submissions.all()
        return any(each.round_number == current.number and each.clone_of is None for each in every)

    def outcome(self, number: int) -> RoundOutcome:
        """How the round went, as the watcher has recorded it."""
        record = self.rounds.get(TOURNAMENT, number)
        assert record is not None
        round_ = Round(number, TOURNAMENT, record.open_time, record.deadline, record.close_time)
        kept = self.house.factory.ledger.entry(self.node.name, round_)
        return RoundOutcome.OPEN if kept is None else kept.outcome

    def _settled(self, current: RoundRecord) -> bool:
        going_on = [run for run in self.house.runs() if not run.state.final]
        decided = self.outcome(current.number) is not RoundOutcome.OPEN and not going_on
        return decided and self._titles()[DOWN] >= self.kills

    def _titles(self) -> Counter[str]:
        return Counter(post["title"] for _, post in self.inbox.posts)

    def _story(self, current: RoundRecord, plan: Plan) -> str:
        runs = [(run, self.house.log(run)) for run in self.house.runs()[:4]]
        return f"round {current.number} with {plan} is not settled at {self._now()}: {runs} {self.house.daemon_log()}"

    def triggers(self, number: int) -> set[str | None]:
        """The triggers under which a round may be submitted: Numerai's calls whose runs ended well, or none where the
        watcher's run did, or none in time."""
        calls = {call.id for call in self.sandbox.running.sandbox.webhooks.calls.all() if call.round_number == number}
        runs = self.house.provider.runs(self.node.name, 10 * ROUNDS)
        well: set[str | None] = {run.trigger_id for run in runs if run.state is RunState.SUCCEEDED}
        return (well & calls) or {None}

    def told(self) -> Counter[str]:
        """What people were told in all: also what a killed daemon had begun to tell, which is told again later."""
        self.house.close()
        factory = self.house.factory
        watcher = Watcher(
            store=factory.store,
            api=lambda: factory.api,
            provider_named=factory.provider,
            ledger=factory.ledger,
            notifier=factory.notifier,
            clock=_Later(),
            kind="once",
            wakes=False,
        )
        watcher.look()
        watcher.end()
        return self._titles()


class _Later(SystemClock):
    """The machine's clock when a killed daemon's claims are over."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=10)


def _quick(url: str) -> str:
    """The matrix's node; when it waits, the sandbox's clock is moved."""
    begin = f"warp.begin({url!r})\n"
    first, rest = MAIN.split("from numerai_node", 1)
    imports, main = rest.split("\n\n", 1)
    return f"{first}from tests.faults import warp\nfrom numerai_node{imports}\n{begin}{main}"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_round_of_a_month_has_its_one_right_submission(
    seed: int, sandbox_factory: Callable[..., ServedSandbox], tmp_path: Path
) -> None:
    planned = plans(seed)
    with ExitStack() as stack:
        served = sandbox_factory(
            calendar=True,
            switches=SWITCHES[seed],
            opening_delay_minutes=OPENING_DELAY_MINUTES,
            opening_delay_seed=seed,
        )
        month = Month(served, tmp_path / "house", stack, webhook=seed != BY_WATCHER)
        numbers = [month.live_through(plan) for plan in planned]
        triggers = {number: month.triggers(number) for number in numbers}
        outcomes = {number: month.outcome(number) for number in numbers}
        told = month.told()
        log = month.house.daemon_log()
    assert numbers == list(range(numbers[0], numbers[0] + ROUNDS))
    late = numbers[[plan.blow for plan in planned].index(HELD_UP)]
    for number in numbers:
        (trigger,) = triggers[number]
        if number == late:
            trigger = held(served, number)[0]["trigger_id"]
        submission = assert_submitted(served, number, trigger_id=trigger, late=number == late)
        assert submission["data_datestamp"] in (None, month.datestamp(number))
        assert outcomes[number] is (RoundOutcome.LATE if number == late else RoundOutcome.ON_TIME)
    clones = [each for each in served.state()["submissions"] if each["clone_of"] is not None]
    assert [each["round_number"] for each in clones] == [late + 1], "the late file was to be cloned, and replaced"
    delays = {round_.open_time.minute for round_ in month.rounds.all(TOURNAMENT)}
    assert len(delays) > ROUNDS / 2, "the rounds were to open late"
    assert "Traceback" not in log and served.secret_key not in log

    told_late = {f"{month.node.name}: round {late} was submitted late"}
    submitted = {f"{month.node.name}: round {number} is submitted" for number in numbers if number != late}
    killed = [plan.blow in DAEMON_KILLED for plan in planned]
    warned = {f"{month.node.name}: round {number} has no submission yet" for number in numbers} & told.keys()
    assert told.keys() == submitted | told_late | warned | {DOWN, STOPPED}
    assert len(warned) < ROUNDS / 2  # of those that were still without a submission 15 minutes before the deadline
    # Who is killed between telling and recording that it was told tells again.
    for number, here, after in zip(numbers, killed, [*killed[1:], False], strict=True):
        title = "was submitted late" if number == late else "is submitted"
        assert 1 <= told[f"{month.node.name}: round {number} {title}"] <= 1 + (here or after), number
    assert sum(killed) <= told[DOWN] <= 2 * sum(killed)
    assert told[STOPPED] == 1


def test_a_month_has_faults_enough() -> None:
    for seed in SEEDS:
        planned = plans(seed)
        assert sum(bool(plan.faults) for plan in planned) > ROUNDS / 2
        assert {plan.blow for plan in planned} == {*BLOWS, HELD_UP}, seed
        assert sum(plan.blow == HELD_UP for plan in planned) == 1
    struck = [fault for seed in SEEDS for plan in plans(seed) for fault in plan.faults]
    assert sum(fault in struck for fault in FAULTS) > 0.8 * len(FAULTS)


def test_the_months_answer_every_open_question_both_ways() -> None:
    for field in fields(Switches):
        answers = {getattr(switches, field.name) for switches in SWITCHES.values()}
        assert len(answers) > 1 or field.name in NOT_OF_A_MONTH, field.name
