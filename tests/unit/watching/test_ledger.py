"""The ledger: each thing recorded once from many sides, kept over a kill, and found again."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import EntryStatus, Notice, NoticeKind, RoundOutcome, SubmissionEntry
from numerai_compute.watching import ledger as ledger_module
from numerai_compute.watching.ledger import LEASE, Ledger

from tests.fakes import NOW, round_of

ROUND = round_of(100, NOW)
NODE = "numerai-alice"
NOTICE = Notice(NoticeKind.MISSED, "title", "text", NODE, 100)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "home" / "rounds.db")
    yield made
    made.close()


def test_the_file_is_private_and_a_newer_one_is_refused(ledger: Ledger) -> None:
    ledger.see_round(ROUND, NOW)
    for path in ledger.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ledger.close()
    with sqlite3.connect(ledger.path) as db:
        db.execute(f"PRAGMA user_version = {len(ledger_module.MIGRATIONS) + 1}")
    with pytest.raises(NumeraiError) as error:
        ledger.rounds(8, 1)
    assert error.value.code == "state-newer"
    damaged = ledger.path.with_name("damaged.db")
    damaged.write_bytes(b"no database" * 500)
    with pytest.raises(NumeraiError) as error:
        Ledger(damaged).rounds(8, 1)
    assert error.value.code == "state-corrupt" and "Move it away" in (error.value.hint or "")


def test_rounds_are_remembered_with_their_latest_times(ledger: Ledger) -> None:
    ledger.see_round(ROUND, None)
    assert ledger.machine_open(ROUND) is None
    ledger.see_round(ROUND, NOW - HOUR)
    moved = replace(ROUND, deadline=NOW + 2 * HOUR, close_time=NOW + 30 * HOUR)
    ledger.see_round(moved, NOW)
    ledger.see_round(replace(ROUND, tournament=11), NOW)
    ledger.see_round(replace(ROUND, number=99, open_time=NOW - 24 * HOUR), NOW)
    assert ledger.machine_open(ROUND) == NOW - HOUR
    assert [found.number for found in ledger.rounds(8, 5)] == [100, 99]
    assert ledger.rounds(8, 1) == [moved]
    assert ledger.machine_open(replace(ROUND, number=1)) is None
    late = replace(moved, open_time=NOW + timedelta(minutes=50))
    ledger.see_round(late, NOW)
    assert ledger.machine_open(late) == NOW, "it opened later than it was announced"


def test_a_number_that_comes_again_is_another_round_with_other_trigger_ids(ledger: Ledger) -> None:
    ledger.see_round(ROUND, NOW)
    ledger.follow(NODE, ROUND)
    for number in (1, 2):
        ledger.decide_attempt(NODE, ROUND, number, "why", NOW)
    ledger.decide_notice(NOTICE, NOW)
    ledger.settle(NODE, ROUND, RoundOutcome.MISSED)
    again = round_of(100, NOW + 24 * HOUR)
    ledger.see_round(again, NOW + 24 * HOUR)
    assert ledger.machine_open(again) == NOW + 24 * HOUR
    entry = ledger.follow(NODE, again)
    assert (entry.outcome, entry.attempts, entry.told) == (RoundOutcome.OPEN, (), frozenset())
    assert ledger.decide_attempt(NODE, again, 1, "why", NOW).trigger_id == "watch-8-100-3"


def test_a_silence_is_remembered_from_its_beginning_to_its_end(ledger: Ledger) -> None:
    ledger.answered(8)
    assert ledger.unanswered(8, NOW) == ledger.unanswered(8, NOW + HOUR) == NOW
    assert ledger.unanswered(11, NOW + HOUR) == NOW + HOUR
    ledger.answered(8)
    assert ledger.unanswered(8, NOW + 2 * HOUR) == NOW + 2 * HOUR


def test_nodes_are_followed_from_when_they_were_first_seen(ledger: Ledger) -> None:
    assert ledger.see_nodes(["a", "b"], NOW) == {"a": NOW, "b": NOW}
    assert ledger.see_nodes(["b", "c"], NOW + HOUR) == {"b": NOW, "c": NOW + HOUR}
    assert ledger.see_nodes(["a", "b", "c"], NOW + 2 * HOUR)["a"] == NOW + 2 * HOUR


def test_an_entry_holds_what_happened(ledger: Ledger) -> None:
    assert ledger.entry(NODE, ROUND) is None
    ledger.see_round(ROUND, NOW)
    ledger.follow(NODE, ROUND)
    first = ledger.decide_attempt(NODE, ROUND, 1, "nobody calls it", NOW)
    ledger.attempt_refused(NODE, first.trigger_id, "the queue is full")
    assert ledger.follow(NODE, ROUND).attempts[0].message == "the queue is full"
    ledger.attempt_started(NODE, first.trigger_id, "run-1")
    ledger.attempt_refused(NODE, first.trigger_id, "too late to refuse")
    ledger.attempt_ended(NODE, first.trigger_id, "failed", 1, "it broke")
    ledger.see_entries(NODE, ROUND, [SubmissionEntry(100, EntryStatus.ON_TIME, "s", "s.csv", NOW)], NOW)
    ledger.decide_notice(NOTICE, NOW)
    assert [found.number for found in ledger.unsettled(NODE)] == [100]
    ledger.settle(NODE, ROUND, RoundOutcome.ON_TIME)
    ledger.settle(NODE, ROUND, RoundOutcome.MISSED)
    assert ledger.unsettled(NODE) == []
    entry = ledger.entry(NODE, ROUND)
    assert entry and entry.outcome is RoundOutcome.ON_TIME
    assert (entry.submission_id, entry.submission_status, entry.submitted_at) == ("s", "on-time", NOW)
    assert entry.told == {NoticeKind.MISSED}
    (attempt,) = entry.attempts
    assert (attempt.trigger_id, attempt.why) == ("watch-8-100-1", "nobody calls it")
    assert (attempt.run_id, attempt.state, attempt.exit_code, attempt.message) == ("run-1", "failed", 1, "it broke")


def test_a_round_that_was_missed_can_be_opened_again_and_one_that_was_submitted_cannot(ledger: Ledger) -> None:
    ledger.see_round(ROUND, NOW)
    for outcome in (RoundOutcome.MISSED, RoundOutcome.LATE, RoundOutcome.COVERED, RoundOutcome.ON_TIME):
        ledger.follow(NODE, ROUND)
        ledger.decide_notice(NOTICE, NOW)
        ledger.settle(NODE, ROUND, outcome)
        ledger.reopen(NODE, ROUND)
        entry = ledger.follow(NODE, ROUND)
        expected = (RoundOutcome.OPEN, frozenset()) if outcome is not RoundOutcome.ON_TIME else (outcome, {NOTICE.kind})
        assert (entry.outcome, entry.told) == expected


def test_files_are_remembered_from_when_they_were_first_seen(ledger: Ledger) -> None:
    ledger.see_round(ROUND, NOW)
    ledger.follow(NODE, ROUND)
    late = SubmissionEntry(99, EntryStatus.LATE, "a", "a.csv", NOW - HOUR)
    queued = SubmissionEntry(100, EntryStatus.QUEUED, "a", "a.csv", NOW - HOUR)
    unnamed, unknown = SubmissionEntry(98, EntryStatus.NONE), SubmissionEntry(97, None, "x", "x.csv")
    assert ledger.see_entries(NODE, ROUND, [late, queued, unnamed, unknown], NOW) == {"a.csv": NOW, "x.csv": NOW}
    clone = SubmissionEntry(100, EntryStatus.ON_TIME, "b", "a.csv", NOW)
    assert ledger.see_entries(NODE, ROUND, [clone], NOW + HOUR)["a.csv"] == NOW
    entry = ledger.entry(NODE, ROUND)
    assert entry and (entry.submission_id, entry.submission_status) == ("b", "on-time")
    assert ledger.see_entries("another", ROUND, [], NOW) == {}
    other = SubmissionEntry(100, None, "c", "c.csv")
    seen = ledger.see_entries(NODE, ROUND, [other], NOW + ledger_module.KEPT_FILES + HOUR)
    assert list(seen) == ["c.csv"], "names of long ago are forgotten"
    entry = ledger.entry(NODE, ROUND)
    assert entry and (entry.submission_id, entry.submission_status, entry.submitted_at) == ("c", None, None)


def test_a_ledger_of_the_first_form_goes_on_with_the_close_as_its_deadline(tmp_path: Path) -> None:
    path = tmp_path / "rounds.db"
    with sqlite3.connect(path) as db:
        db.executescript(ledger_module.MIGRATIONS[0])
        opened, closed = "2026-01-06T12:00:00.000000", "2026-01-06T13:00:00.000000"
        db.execute("INSERT INTO rounds VALUES (8, 100, ?, ?, NULL, 2), (8, 99, ?, ?, NULL, 0)", (opened, closed) * 2)
        rows = [(99, "late", "success"), (100, "open", "pending"), (98, "on-time", "success")]
        for number, outcome, status in rows:
            db.execute("INSERT INTO entries VALUES (?, 8, ?, ?, 'sub', ?, ?)", (NODE, number, outcome, status, opened))
        db.execute("PRAGMA user_version = 1")
    db.close()
    ledger = Ledger(path)
    (round_,) = ledger.unsettled(NODE)
    assert (round_.number, round_.open_time, round_.deadline, round_.close_time) == (100, NOW, NOW + HOUR, NOW + HOUR)
    entries = [ledger.entry(NODE, replace(ROUND, number=number)) for number in (98, 99, 100)]
    assert [entry and entry.submission_status for entry in entries] == ["on-time", "late", None]
    ledger.see_round(ROUND, NOW)
    assert ledger.rounds(8, 1) == [ROUND], "Numerai's times replace them"
    assert ledger.decide_attempt(NODE, ROUND, 1, "why", NOW).trigger_id == "watch-8-100-3"
    ledger.close()


def test_decisions_are_made_once_from_many_sides(ledger: Ledger) -> None:
    ledger.see_round(ROUND, NOW)
    ledgers = [ledger, *(Ledger(ledger.path) for _ in range(3))]

    def decide(number: int) -> tuple[str, bool]:
        side = ledgers[number % 4]
        side.follow(NODE, ROUND)
        attempt = side.decide_attempt(NODE, ROUND, 1, f"why {number}", NOW)
        return attempt.why, side.decide_notice(NOTICE, NOW)

    with ThreadPoolExecutor(8) as pool:
        decided = list(pool.map(decide, range(32)))
    assert len({why for why, _ in decided}) == 1
    assert sum(first for _, first in decided) == 1
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda number: ledgers[number % 4].claim_notice(NOW, 3), range(16)))
    assert sum(each is not None for each in claimed) == 1
    for other in ledgers[1:]:
        other.close()


def test_a_notice_is_claimed_until_it_is_sent_or_given_up(ledger: Ledger) -> None:
    ledger.decide_notice(NOTICE, NOW)
    kept = ledger.claim_notice(NOW, 2)
    assert kept and (kept.notice, kept.tries) == (NOTICE, 0)
    assert ledger.claim_notice(NOW, 2) is None
    again = ledger.claim_notice(NOW + LEASE, 2)  # whoever had claimed it was killed
    assert again
    ledger.notice_failed(again.key, "refused", NOW + HOUR)
    assert ledger.claim_notice(NOW + LEASE, 2) is None
    third = ledger.claim_notice(NOW + HOUR, 2)
    assert third and third.tries == 1
    ledger.notice_failed(third.key, "refused", NOW)
    assert ledger.claim_notice(NOW + 9 * HOUR, 2) is None
    ledger.decide_notice(replace(NOTICE, node=None, round_number=None), NOW, "watcher/1/stopped")
    other = ledger.claim_notice(NOW, 2)
    assert other
    ledger.notice_sent(other.key, NOW)
    assert ledger.claim_notice(NOW + 9 * HOUR, 2) is None


def test_notices_are_claimed_one_by_one_in_the_order_they_were_decided(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.decide_notice(NOTICE, NOW, f"key-{number}")
    first, other = ledger.claim_notice(NOW, 9), ledger.claim_notice(NOW, 9)
    assert first and other and (first.key, other.key) == ("key-1", "key-2")
    ledger.notice_failed(first.key, "refused", NOW)
    assert ledger.claim_notice(NOW, 9, other.serial) is None
    assert ledger.claim_notice(NOW, 9)


def test_watchers_are_known_while_they_live(ledger: Ledger) -> None:
    first, down = ledger.begin_watch("daemon", NOW, NOW)
    assert down is None
    ledger.beat(first, NOW + HOUR, NOW)
    (record,) = ledger.watchers()
    assert (record.kind, record.pid, record.seen, record.alive) == ("daemon", os.getpid(), NOW + HOUR, True)
    ledger.end_watch(first, NOW + HOUR)
    assert not ledger.watchers()[0].alive
    assert ledger.begin_watch("daemon", NOW + 5 * HOUR, NOW)[1] is None


def test_a_watcher_is_seen_alive_from_elsewhere_until_it_has_ended(ledger: Ledger) -> None:
    other = Ledger(ledger.path)
    own, _ = ledger.begin_watch("daemon", NOW, NOW)
    assert [each.alive for each in other.watchers()] == [True]
    assert other.begin_watch("watch", NOW, NOW)[1] is None
    ending = threading.Thread(target=ledger.end_watch, args=(own, NOW))  # the daemon ends it from another thread
    ending.start()
    ending.join()
    assert {each.kind: each.alive for each in other.watchers()} == {"daemon": False, "watch": True}
    other.close()


def test_a_watcher_that_cannot_be_entered_holds_nothing(ledger: Ledger) -> None:
    ledger.watchers()
    ledger.close()
    with sqlite3.connect(ledger.path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(NumeraiError):
        ledger.begin_watch("daemon", NOW, NOW)
    assert list((ledger.path.parent / "locks").iterdir()) == []


@pytest.mark.slow
def test_a_killed_watcher_is_found_by_the_next_one(ledger: Ledger) -> None:
    script = (
        "import os, signal, sys\n"
        "from datetime import datetime, timezone\nfrom pathlib import Path\n"
        "from numerai_compute.watching.ledger import Ledger\n"
        "now = datetime(2026, 1, 6, 11, tzinfo=timezone.utc)\n"
        "Ledger(Path(sys.argv[1])).begin_watch('daemon', now, now)\n"
        "os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(ledger.path)], timeout=60, check=False)
    assert [(each.kind, each.alive) for each in ledger.watchers()] == [("daemon", False)]
    once, down = ledger.begin_watch("once", NOW, NOW)
    assert down == NOW - HOUR
    ledger.end_watch(once, NOW)
    second, down = ledger.begin_watch("daemon", NOW + HOUR, NOW)
    assert down == NOW - HOUR, "nobody has said it"
    ledger.said_unwatched(second)
    ledger.end_watch(second, NOW + HOUR)
    assert ledger.begin_watch("daemon", NOW + 2 * HOUR, NOW)[1] is None


def test_the_list_of_watchers_does_not_grow_for_ever(ledger: Ledger) -> None:
    for number in range(ledger_module.KEPT_WATCHERS + 10):
        moment = NOW + number * HOUR
        ledger.end_watch(ledger.begin_watch("once", moment, moment)[0], moment)
    assert len(ledger.watchers()) <= ledger_module.KEPT_WATCHERS + 1
