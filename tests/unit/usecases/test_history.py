"""History and overview: what each round came to, from whoever can be asked, and what could not be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, ProviderError
from numerai_compute.models import (
    EntryStatus,
    Node,
    Notice,
    NoticeKind,
    Round,
    RoundOutcome,
    Run,
    RunState,
    Submission,
    SubmissionEntry,
)
from numerai_compute.ports import NumeraiApi
from numerai_compute.usecases.history import RoundReader, RoundRecord, Standing, Trigger, read_history
from numerai_compute.usecases.overview import Overview, overview
from numerai_compute.watching.ledger import DATABASE_FILE, Ledger

from tests.fakes import NOW, FakeApi, FakeClock, FakeProvider, round_of, unreachable

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
THIS = round_of(100, NOW)
LAST = round_of(99, NOW - DAY)


class Past:
    """Two rounds of one node, of which the latest has just opened."""

    def __init__(self, store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node):
        self.store, self.api, self.provider, self.node = store, api, provider, node
        self.clock = FakeClock(NOW + timedelta(minutes=5))
        api.clock = provider.clock = self.clock
        api.round, api.past = THIS, [LAST]
        self.ledger = Ledger(store.home / DATABASE_FILE)

    def reader(self) -> RoundReader:
        def api() -> NumeraiApi:
            if "api" in self.api.fail:
                raise self.api.fail["api"]
            return self.api

        return RoundReader(api=api, provider_named=lambda name: self.provider, ledger=self.ledger, clock=self.clock)

    def read(self) -> tuple[dict[int, RoundRecord], tuple[str, ...]]:
        found = read_history([self.node], self.reader(), 5)
        return {record.round_number: record for record in found.rounds}, found.problems

    def standings(self) -> dict[int, Standing]:
        return {number: record.standing for number, record in self.read()[0].items()}

    def overview(self) -> Overview:
        return overview(self.store, self.reader(), self.ledger)

    def follow(self, *rounds: Round) -> None:
        for found in rounds:
            self.ledger.see_round(found, found.open_time)
            self.ledger.follow(self.node.name, found)

    def run(self, run_id: str, moment: datetime, state: RunState, **changes: Any) -> None:
        made = Run(run_id, self.node.name, state, moment, started_at=moment, ended_at=moment + timedelta(minutes=1))
        self.provider.all_runs.insert(0, replace(made, **changes))

    def submit(
        self, number: int, moment: datetime, status: EntryStatus | None = EntryStatus.ON_TIME, **changes: Any
    ) -> None:
        made = Submission(f"sub-{number}", number, None, f"file-{number}.csv", moment)
        self.api.held.insert(0, replace(made, **changes))
        self.enter(number, status, moment, id=self.api.held[0].id)

    def enter(self, number: int, status: EntryStatus | None, moment: datetime | None = None, **changes: Any) -> None:
        entry = SubmissionEntry(number, status, f"sub-{number}", f"file-{number}.csv", moment)
        entries = self.api.entries_by.setdefault(self.node.model_id, [])
        entries[:] = [other for other in entries if other.round_number != number]
        entries.append(replace(entry, **changes))


@pytest.fixture
def past(store: HomeStore, api: FakeApi, provider: FakeProvider, node: Node) -> Iterator[Past]:
    made = Past(store, api, provider, node)
    yield made
    made.ledger.close()


def test_a_round_from_trigger_to_submission(past: Past) -> None:
    past.run("run-1", NOW + timedelta(seconds=5), RunState.SUCCEEDED, trigger_id="t-1", exit_code=0)
    past.submit(100, NOW + timedelta(minutes=1), trigger_id="t-1")
    record = past.read()[0][100]
    (run,) = record.runs
    assert (record.standing, run.trigger, run.submission_id) == (Standing.ON_TIME, Trigger.NUMERAI, "sub-100")
    assert record.submission is not None and record.submission.id == "sub-100"
    assert past.read()[0][99].standing is Standing.NOT_FOLLOWED
    assert past.read()[1] == () and not past.ledger.exists(), "looking makes no database"


def test_on_time_late_missed_and_what_is_under_way(past: Past) -> None:
    past.follow(LAST, THIS)
    assert past.standings() == {100: Standing.WAITING, 99: Standing.MISSED}
    past.run("run-1", NOW, RunState.RUNNING, ended_at=None)
    assert past.standings()[100] is Standing.RUNNING
    past.run("run-2", NOW + timedelta(minutes=1), RunState.FAILED, exit_code=1)
    assert past.standings()[100] is Standing.FAILED
    past.submit(99, LAST.deadline + HOUR, EntryStatus.LATE)
    assert past.standings()[99] is Standing.LATE
    past.ledger.settle(past.node.name, THIS, RoundOutcome.MISSED)
    assert past.standings()[100] is Standing.MISSED


def test_between_deadline_and_close_nothing_is_open_any_more(past: Past) -> None:
    past.follow(THIS)
    past.clock.sleep(2 * 3600)
    assert THIS.close_time > NOW + 2 * HOUR and past.standings()[100] is Standing.MISSED
    (tournament,) = past.overview().tournaments
    assert (tournament.round_number, tournament.deadline, tournament.deadline_in_seconds) == (100, None, None)


def test_a_file_of_which_numerai_says_nothing_is_unconfirmed(past: Past) -> None:
    past.follow(THIS)
    past.run("run-1", NOW, RunState.FAILED, exit_code=76)
    assert past.standings()[100] is Standing.UNCONFIRMED
    past.submit(100, NOW + timedelta(minutes=1), None)
    assert past.standings()[100] is Standing.UNCONFIRMED, "a status that this version does not know"
    past.api.entries_by.clear()
    past.clock.sleep(8 * 3600)
    record = past.read()[0][100]
    assert record.standing is Standing.UNCONFIRMED and record.submission is not None
    past.enter(100, EntryStatus.NONE, id=None, filename=None)
    assert past.standings()[100] is Standing.MISSED, "long after the deadline `none` is an answer"


def test_a_queued_file_that_was_submitted_again_covers_the_round_and_is_no_run_of_today(past: Past) -> None:
    past.follow(LAST, THIS)
    past.submit(99, LAST.deadline + HOUR, EntryStatus.LATE)
    past.submit(100, NOW, filename="file-99.csv")
    past.enter(100, EntryStatus.ON_TIME, NOW, filename="file-99.csv")
    record = past.read()[0][100]
    assert (record.standing, record.covered) == (Standing.WAITING, True)
    past.run("run-1", NOW, RunState.FAILED, exit_code=1)
    assert past.standings()[100] is Standing.FAILED
    past.clock.sleep(2 * 3600)
    assert past.standings() == {100: Standing.COVERED, 99: Standing.LATE}
    past.enter(100, EntryStatus.ON_TIME, NOW + timedelta(minutes=5))
    assert past.standings()[100] is Standing.ON_TIME


def test_an_earlier_file_is_known_by_its_upload_too_and_by_what_the_watcher_has_seen(past: Past) -> None:
    past.submit(100, NOW, filename="file-99.csv", id="clone")
    past.enter(100, EntryStatus.ON_TIME, NOW, filename="file-99.csv", id="clone")
    past.clock.sleep(2 * 3600)
    assert past.standings()[100] is Standing.ON_TIME, "nothing says that the file is older"
    past.api.held.append(Submission("sub-99", 99, None, "file-99.csv", LAST.deadline + HOUR))
    assert past.standings()[100] is Standing.COVERED
    past.api.held.clear()
    past.follow(THIS)
    past.ledger.settle(past.node.name, THIS, RoundOutcome.COVERED)
    assert past.standings()[100] is Standing.COVERED


def test_without_the_files_an_entry_that_nobody_has_judged_is_not_called_on_time(past: Past) -> None:
    past.enter(100, EntryStatus.ON_TIME, NOW)
    past.enter(99, EntryStatus.ON_TIME, NOW - timedelta(days=1))
    past.ledger.follow(past.node.name, LAST)
    past.ledger.settle(past.node.name, LAST, RoundOutcome.ON_TIME)
    past.api.fail["submissions"] = unreachable()
    assert past.standings()[100] is Standing.UNKNOWN, "it could be an earlier file that was submitted again"
    assert past.standings()[99] is Standing.ON_TIME, "the watcher has judged it"


def test_a_round_that_numerai_lists_no_longer_is_not_called_missed(past: Past) -> None:
    past.follow(LAST)
    past.enter(100, EntryStatus.ON_TIME, NOW)
    assert past.standings()[99] is Standing.UNKNOWN


def test_retries_and_what_they_were_for(past: Past) -> None:
    past.follow(LAST, THIS)
    first = past.ledger.decide_attempt(past.node.name, THIS, 1, "no run 10 min after the opening", NOW)
    past.ledger.attempt_started(past.node.name, first.trigger_id, "run-1")
    second = past.ledger.decide_attempt(past.node.name, THIS, 2, "run-1 failed", NOW + timedelta(minutes=2))
    past.ledger.attempt_refused(past.node.name, second.trigger_id, "The disk is full.")
    for kind in (NoticeKind.FAILURE, NoticeKind.MISSED):
        past.ledger.decide_notice(Notice(kind, "t", "x", past.node.name, 100), NOW)
    failure, missed = past.ledger.claim_notice(NOW, 3), past.ledger.claim_notice(NOW, 3)
    assert failure and missed
    past.ledger.notice_sent(failure.key, NOW)
    past.ledger.notice_dropped(missed.key, "nobody is listed", NOW)
    # a machine whose clock is a day behind: the run belongs to the round it was triggered for
    past.run("run-1", NOW - DAY, RunState.FAILED, trigger_id=first.trigger_id, attempt=3, exit_code=75)
    record = past.read()[0][100]
    started, refused = record.runs
    assert (started.trigger, started.why, started.attempts) == (Trigger.WATCHER, "no run 10 min after the opening", 3)
    assert (refused.id, refused.why, refused.message) == (None, "run-1 failed", "The disk is full.")
    assert record.told == (NoticeKind.FAILURE,)


@pytest.mark.parametrize("timed_here", [True, False])
def test_times_are_numerais_on_a_machine_whose_clock_is_wrong(past: Past, timed_here: bool) -> None:
    past.ledger.see_round(THIS, NOW - 5 * HOUR)
    past.ledger.see_round(LAST, LAST.open_time - 5 * HOUR)
    past.clock.elapsed -= 5 * 3600
    past.api.clock = FakeClock(NOW + timedelta(minutes=5))
    past.provider.timed_here = timed_here
    past.run("run-1", NOW + timedelta(minutes=1) - (5 * HOUR if timed_here else timedelta()), RunState.SUCCEEDED)
    (run,) = past.read()[0][100].runs
    assert (run.triggered_at, run.ended_at) == (NOW + timedelta(minutes=1), NOW + timedelta(minutes=2))


def test_who_started_a_run(past: Past) -> None:
    for number, trigger_id in enumerate((None, "cron-5", "watch-8-100-1", "f3c1")):
        past.run(f"run-{number}", NOW + timedelta(seconds=number), RunState.SUCCEEDED, trigger_id=trigger_id)
    kinds = [run.trigger for run in past.read()[0][100].runs]
    assert kinds == [Trigger.HAND, Trigger.SCHEDULE, Trigger.WATCHER, Trigger.NUMERAI]


def test_a_run_after_the_close_makes_no_round_missed(past: Past) -> None:
    past.run("run-1", LAST.deadline + HOUR, RunState.SUCCEEDED)
    assert past.standings()[99] is Standing.NOT_FOLLOWED


def test_without_numerai_the_watchers_memory_is_told(past: Past) -> None:
    past.follow(LAST, THIS)
    entry = SubmissionEntry(99, EntryStatus.ON_TIME, "sub-99", "file-99.csv", LAST.open_time)
    past.ledger.see_entries(past.node.name, LAST, [entry], NOW)
    past.ledger.settle(past.node.name, LAST, RoundOutcome.ON_TIME)
    for name in ("rounds", "submissions", "entries", "upcoming_round"):
        past.api.fail[name] = unreachable()
    records, problems = past.read()
    assert {number: each.standing for number, each in records.items()} == {
        100: Standing.UNKNOWN,
        99: Standing.ON_TIME,
    }
    assert records[99].submission is not None and records[99].submission.id == "sub-99"
    assert any("rounds are not known" in problem for problem in problems)
    assert any("submissions are not known" in problem for problem in problems)


@pytest.mark.parametrize("outcome", [RoundOutcome.ON_TIME, RoundOutcome.LATE, RoundOutcome.COVERED])
def test_what_numerai_does_not_list_is_not_told_from_memory(past: Past, outcome: RoundOutcome) -> None:
    """The keys are another account's, or a sandbox has begun anew."""
    past.follow(LAST, THIS)
    entry = SubmissionEntry(100, EntryStatus.ON_TIME, "sub-100", "file-100.csv", NOW)
    past.ledger.see_entries(past.node.name, THIS, [entry], NOW)
    past.ledger.settle(past.node.name, THIS, outcome)
    records, problems = past.read()
    assert records[100].standing is Standing.NOT_LISTED
    assert len(problems) == 1 and "sub-100" in problems[0] and "another account" in problems[0]
    assert past.overview().problems == problems
    past.enter(100, EntryStatus.NONE, id=None)
    assert past.standings()[100] is Standing.NOT_LISTED, "it is listed as none"
    past.enter(101, EntryStatus.ON_TIME, NOW)
    past.api.entries_by[past.node.model_id] = past.api.entries_by[past.node.model_id][-1:]
    assert past.standings()[100].value == outcome.value, "Numerai's list does not reach back so far"
    past.api.entries_by.clear()
    past.api.fail["submissions"] = unreachable()
    assert past.standings()[100].value == outcome.value, "what Numerai has could not be asked"


def test_without_keys_or_provider_the_rest_is_told(past: Past) -> None:
    past.follow(THIS)
    past.api.fail["api"] = EnvironmentNotReady("There are no Numerai keys.", "Run `numerai setup`.", code="no-keys")
    past.provider.fail["runs"] = ProviderError("The database is damaged.")
    records, problems = past.read()
    assert records[100].standing is Standing.UNKNOWN
    assert problems == (
        "Numerai is not asked: There are no Numerai keys.",
        f"{past.node.name}: its runs are not known: The database is damaged.",
    )


def test_a_broken_memory_is_said_once(past: Past) -> None:
    past.ledger.path.write_bytes(b"no database" * 500)
    past.submit(100, NOW)
    records, problems = past.read()
    assert records[100].standing is Standing.ON_TIME
    assert len(problems) == 1 and "damaged" in problems[0]
    assert past.overview().problems == problems


def test_the_overview_tells_the_time_to_the_deadline_and_to_the_opening(past: Past) -> None:
    past.submit(100, NOW + timedelta(minutes=1))
    found = past.overview()
    (tournament,), (glance,) = found.tournaments, found.nodes
    assert (tournament.name, tournament.round_number, tournament.deadline_in_seconds) == ("Classic", 100, 55 * 60)
    assert glance.deployed and glance.latest is not None and glance.latest.standing is Standing.ON_TIME
    past.clock.sleep(2 * 3600)
    past.api.upcoming = round_of(101, NOW + DAY)
    (tournament,) = past.overview().tournaments
    assert tournament.deadline is None and tournament.opens_in_seconds == 22 * 3600 - 5 * 60


def test_the_overview_names_a_model_with_an_assigned_pickle(past: Past) -> None:
    past.api.by_id = {key: replace(model, pickle="p-1") for key, model in past.api.by_id.items()}
    assert [glance.pickle for glance in past.overview().nodes] == ["p-1"]
    past.api.fail["models"] = unreachable()
    found = past.overview()
    assert found.nodes[0].pickle is None and any("the models of the account" in each for each in found.problems)


def test_the_overview_says_who_watches_and_who_is_told(past: Past) -> None:
    found = past.overview()
    assert (found.watchers, found.told, found.needs_watching) == ((), (), True)
    past.ledger.begin_watch("daemon", NOW, NOW)
    past.store.save_notify_url("team", "json://127.0.0.1:9/secret")
    found = past.overview()
    assert [each.kind for each in found.watchers] == ["daemon"] and found.told == ("team",)


def test_a_watcher_that_lives_and_does_not_look_follows_nothing(past: Past) -> None:
    past.ledger.begin_watch("daemon", NOW, NOW)
    past.clock.sleep(9 * 60)  # it is five minutes later there
    assert len(past.overview().watchers) == 1
    past.clock.sleep(2 * 60)
    assert past.overview().watchers == ()


def test_an_overview_of_nothing(home: Path, past: Past) -> None:
    empty = overview(HomeStore(home / "other", {}), past.reader(), past.ledger)
    assert (empty.nodes, empty.tournaments, empty.needs_watching) == ((), (), False)
