"""Rounds, the clock, Numerai's calendar; late, queued and replaced submissions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.sandbox.calendar import window, windows_after, windows_before
from numerai_compute.sandbox.clock import SandboxClock
from numerai_compute.sandbox.journal import Journal

from tests.fixtures.sandbox import ServedSandbox

Factory = Callable[..., ServedSandbox]
MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)


def at(day: int, hour: int) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=timezone.utc)


class TestCalendar:
    def test_a_week(self) -> None:
        found = list(islice(windows_after(MONDAY), 6))
        assert [opens for opens, _ in found] == [at(6, 12), at(7, 12), at(8, 12), at(9, 12), at(10, 12), at(13, 12)]
        assert [closes for _, closes in found[:5]] == [at(6, 13), at(7, 13), at(8, 13), at(9, 13), at(11, 14)]

    def test_backwards(self) -> None:
        assert [opens for opens, _ in islice(windows_before(at(6, 12)), 2)] == [at(6, 12), at(3, 12)]

    def test_no_round_on_sundays_and_mondays(self) -> None:
        assert window(date(2026, 1, 4)) is None
        assert window(date(2026, 1, 5)) is None


class TestClock:
    @pytest.fixture
    def clock(self) -> Iterator[tuple[SandboxClock, list[datetime]]]:
        machine = [MONDAY]
        yield SandboxClock(Journal(None), lambda: machine[0]), machine

    def test_it_runs_from_wherever_it_is_set(self, clock: tuple[SandboxClock, list[datetime]]) -> None:
        own, machine = clock
        own.set(at(1, 0))
        machine[0] += timedelta(hours=1)
        assert own.now() == at(1, 1)
        own.advance(3600)
        assert own.now() == at(1, 2)

    def test_it_stands_still_and_goes_on(self, clock: tuple[SandboxClock, list[datetime]]) -> None:
        own, machine = clock
        own.freeze()
        machine[0] += timedelta(hours=5)
        assert own.now() == MONDAY
        own.advance(60)
        assert own.now() == MONDAY + timedelta(minutes=1)
        own.resume()
        machine[0] += timedelta(hours=1)
        assert own.now() == MONDAY + timedelta(minutes=61)


class TestRounds:
    def test_one_is_open_in_every_tournament_from_the_start(self, sandbox: ServedSandbox) -> None:
        assert {(each["tournament"], each["status"]) for each in sandbox.state()["rounds"]} == {
            (8, "open"),
            (11, "open"),
            (12, "open"),
        }

    def test_opening_the_next_closes_the_last(self, sandbox: ServedSandbox) -> None:
        opened = sandbox.open_round("signals", minutes=30)
        assert [(each["tournament"], each["number"], each["status"]) for each in opened] == [(11, 1001, "open")]
        held = {(each["tournament"], each["number"]): each for each in sandbox.state()["rounds"]}
        assert held[11, 1000]["status"] == "resolving"
        assert held[11, 1000]["close_time"] == held[11, 1001]["open_time"]
        assert held[8, 1000]["status"] == "open"
        assert [each["number"] for each in sandbox.open_round()] == [1001, 1002, 1001]

    def test_a_round_closes_and_resolves(self, sandbox: ServedSandbox) -> None:
        sandbox.open_round("classic", minutes=60)
        sandbox.clock(advance=3601)
        assert self.status(sandbox, 1001) == "resolving"
        sandbox.clock(advance=32 * 86400)
        assert self.status(sandbox, 1001) == "resolved"

    @staticmethod
    def status(sandbox: ServedSandbox, number: int) -> str:
        rounds = sandbox.state()["rounds"]
        return str(next(each["status"] for each in rounds if (each["tournament"], each["number"]) == (8, number)))

    def test_details(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(history=1)
        query = "query($n: Int!) {roundDetails(roundNumber: $n, tournament: 8) {status totalSubmitted}}"
        assert found.graphql(query, n=1000)["data"]["roundDetails"]["totalSubmitted"] == 1
        assert found.graphql(query, n=1002)["data"]["roundDetails"]["status"] == "upcoming"

    def test_tournaments(self, sandbox: ServedSandbox) -> None:
        found = sandbox.graphql("{tournaments {name tournament rounds {number}}}")["data"]["tournaments"]
        assert [(each["name"], each["tournament"]) for each in found] == [
            ("numerai", 8),
            ("signals", 11),
            ("crypto", 12),
        ]

    def test_datestamps_are_never_shared(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(history=4)
        found.open_round("classic")
        stamps = [each["data_datestamp"] for each in found.state()["rounds"] if each["tournament"] == 8]
        assert len(set(stamps)) == 6
        assert stamps == sorted(stamps, reverse=True)


class TestCalendarMode:
    def test_each_opening_that_passes_opens_a_round(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(calendar=True)
        assert self.latest(found)["number"] == 1000
        moved = found.clock(now="2031-01-06T00:00:00Z", freeze=True)
        first = self.latest(found)["number"]
        assert moved["opened"][-1]["number"] == first
        opened = found.clock(now="2031-01-09T12:30:00Z")["opened"]
        assert [each["open_time"] for each in opened if each["tournament"] == 8] == [
            "2031-01-07T12:00:00.000Z",
            "2031-01-08T12:00:00.000Z",
            "2031-01-09T12:00:00.000Z",
        ]
        assert self.latest(found) | {"number": 0} == {
            "tournament": 8,
            "number": 0,
            "open_time": "2031-01-09T12:00:00.000Z",
            "close_time": "2031-01-09T13:00:00.000Z",
            "data_datestamp": 20310109,
            "status": "open",
        }
        assert found.clock(advance=1800)["opened"] == []
        assert self.latest(found)["status"] == "resolving"
        assert found.clock()["next_opening"] == "2031-01-10T12:00:00.000Z"

    @staticmethod
    def latest(found: ServedSandbox) -> dict[str, Any]:
        return next(each for each in found.state()["rounds"] if each["tournament"] == 8)


class TestPlacing:
    @pytest.fixture
    def csv(self, sandbox: ServedSandbox, tmp_path: Path) -> str:
        return sandbox.live_predictions(tmp_path).to_csv(index=False)

    def test_the_latest_valid_one_counts(self, sandbox: ServedSandbox, csv: str) -> None:
        first = sandbox.settled(sandbox.submit(csv))
        second = sandbox.settled(sandbox.submit(csv))
        bad = sandbox.settled(sandbox.submit("id,prediction\nx,0.5\n"))
        chosen = {found["id"]: found["selected"] for found in sandbox.state()["submissions"]}
        assert chosen == {first["id"]: False, second["id"]: True, bad["id"]: False}

    def test_soon_after_the_close_it_is_late(self, sandbox: ServedSandbox, csv: str) -> None:
        sandbox.clock(advance=86_400 + 60)
        found = sandbox.settled(sandbox.submit(csv))
        assert (found["status"], found["late"], found["round_number"]) == ("success", True, 1000)

    def test_one_in_time_goes_before_a_late_one(self, sandbox: ServedSandbox, csv: str) -> None:
        timely = sandbox.settled(sandbox.submit(csv))
        sandbox.clock(advance=86_400 + 60)
        sandbox.settled(sandbox.submit(csv))
        chosen = [found["id"] for found in sandbox.state()["submissions"] if found["selected"]]
        assert chosen == [timely["id"]]

    def test_long_after_the_close_it_waits_for_the_next_round(self, sandbox: ServedSandbox, csv: str) -> None:
        stamp = sandbox.state()["rounds"][0]["data_datestamp"]
        sandbox.clock(advance=2 * 86_400)
        waiting = sandbox.submit(csv, data_datestamp=stamp)
        stale = sandbox.submit(csv)
        found = sandbox.submission(waiting)
        assert (found["status"], found["queued"], found["round_number"]) == ("pending", True, 1001)
        sandbox.open_round("classic")
        done = sandbox.settled(waiting)
        assert (done["status"], done["queued"], done["late"], done["round_number"]) == ("success", False, False, 1001)
        assert sandbox.settled(stale)["error"].startswith("invalid_submission_ids")
