"""Rounds, the clock, Numerai's calendar; late, queued and replaced submissions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.sandbox.calendar import Calendar
from numerai_compute.sandbox.clock import SandboxClock
from numerai_compute.sandbox.journal import Journal
from numerai_compute.sandbox.submissions import Checked
from numerai_compute.sandbox.switches import Switches
from pandas import DataFrame

from tests.fixtures.sandbox import ServedSandbox

Factory = Callable[..., ServedSandbox]
MONDAY = datetime(2026, 1, 5, tzinfo=timezone.utc)


def at(day: int, hour: int) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=timezone.utc)


class TestCalendar:
    def test_a_week(self) -> None:
        found = list(islice(Calendar().after(MONDAY), 6))
        assert [opens for opens, _ in found] == [at(6, 12), at(7, 12), at(8, 12), at(9, 12), at(10, 12), at(13, 12)]
        assert [closes for _, closes in found[:5]] == [at(6, 13), at(7, 13), at(8, 13), at(9, 13), at(11, 14)]

    def test_backwards(self) -> None:
        assert [opens for opens, _ in islice(Calendar().before(at(6, 12)), 2)] == [at(6, 12), at(3, 12)]

    def test_no_round_on_sundays_and_mondays(self) -> None:
        assert Calendar().window(date(2026, 1, 4)) is None
        assert Calendar().window(date(2026, 1, 5)) is None

    def test_a_late_opening_shifts_the_whole_window(self) -> None:
        late = Calendar(timedelta(minutes=50))
        assert late.window(date(2026, 1, 6)) == (at(6, 12) + timedelta(minutes=50), at(6, 13) + timedelta(minutes=50))
        assert next(late.after(at(6, 12)))[0] == at(6, 12) + timedelta(minutes=50)
        assert next(late.before(at(6, 12)))[0] == at(3, 12) + timedelta(minutes=50)

    def test_drawn_delays_differ_and_repeat(self) -> None:
        drawn = Calendar(timedelta(minutes=60), seed=7)
        delays = [opens - opens.replace(hour=12, minute=0, second=0) for opens, _ in islice(drawn.after(MONDAY), 20)]
        assert all(timedelta(0) <= delay <= timedelta(hours=1) for delay in delays)
        assert len(set(delays)) > 10
        assert list(islice(Calendar(timedelta(minutes=60), seed=7).after(MONDAY), 20)) == list(
            islice(drawn.after(MONDAY), 20)
        )


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
        assert held[11, 1000]["deadline"] == held[11, 1000]["close_time"] == held[11, 1001]["open_time"]
        assert held[8, 1000]["status"] == "open"
        assert [each["number"] for each in sandbox.open_round()] == [1001, 1002, 1001]

    def test_a_round_passes_its_deadline_closes_and_resolves(self, sandbox: ServedSandbox) -> None:
        sandbox.open_round("classic", minutes=60)
        sandbox.clock(advance=3601)
        assert self.status(sandbox, 1001) == "late"
        sandbox.clock(advance=23 * 3600)
        assert self.status(sandbox, 1001) == "resolving"
        sandbox.clock(advance=32 * 86400)
        assert self.status(sandbox, 1001) == "resolved"

    @staticmethod
    def status(sandbox: ServedSandbox, number: int) -> str:
        rounds = sandbox.state()["rounds"]
        return str(next(each["status"] for each in rounds if (each["tournament"], each["number"]) == (8, number)))

    def test_a_deadline_moves_either_way(self, sandbox: ServedSandbox) -> None:
        opened = sandbox.open_round("classic", minutes=60)[0]
        sandbox.clock(advance=50 * 60)
        [moved] = sandbox.move_deadline(-30, "classic")
        assert (moved["status"], moved["close_time"]) == ("late", opened["close_time"])
        [moved] = sandbox.move_deadline(30, "classic")
        assert (moved["status"], moved["deadline"]) == ("open", opened["deadline"])
        [moved] = sandbox.move_deadline(30 * 60, "classic")
        assert moved["close_time"] == moved["deadline"] > opened["close_time"]
        assert len(sandbox.move_deadline(-10_000)) == 3
        assert sandbox.graphql("{rounds(tournament: 8, limit: 1) {openTime closeStakingTime}}")["data"]["rounds"] == [
            {"openTime": (start := opened["open_time"][:19] + "Z"), "closeStakingTime": start}
        ]

    def test_details(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(history=1)
        query = "query($n: Int!) {roundDetails(roundNumber: $n, tournament: 8) {status totalSubmitted}}"
        assert found.graphql(query, n=1000)["data"]["roundDetails"]["totalSubmitted"] == 1
        assert found.graphql(query, n=1002)["data"]["roundDetails"]["status"] == "upcoming"

    @pytest.mark.slow
    def test_the_deadline_is_told_everywhere(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(history=1)
        found.clock(advance=10 * 86_400)
        query = """query($m: ID!) {
            rounds(tournament: 8, number: 1000) {closeStakingTime}
            roundDetails(roundNumber: 1000, tournament: 8) {closeStakingTime}
            v2RoundModelPerformances(modelId: $m, roundNumberEq: 1000) {roundCloseStakingTime}
            submissionScores(modelId: $m, day: 1, displayName: "canon_corr") {roundNumber roundCloseStakingTime}
        }"""
        told = found.graphql(query, m=found.models["alice"])["data"]
        deadline = next(each["deadline"] for each in found.state()["rounds"] if each["number"] == 1000)
        assert {
            told["rounds"][0]["closeStakingTime"],
            told["roundDetails"]["closeStakingTime"],
            told["v2RoundModelPerformances"][0]["roundCloseStakingTime"],
            *(each["roundCloseStakingTime"] for each in told["submissionScores"] if each["roundNumber"] == 1000),
        } == {deadline[:19] + "Z"}

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
    @pytest.mark.slow
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
            "deadline": "2031-01-09T13:00:00.000Z",
            "close_time": "2031-01-10T12:00:00.000Z",
            "data_datestamp": 20310108,
            "status": "open",
        }
        assert found.clock(advance=1800)["opened"] == []
        assert self.latest(found)["status"] == "late"
        assert found.clock()["next_opening"] == "2031-01-10T12:00:00.000Z"

    @pytest.mark.slow
    def test_the_weekend_round_is_late_until_tuesday(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(calendar=True)
        found.clock(now="2031-01-12T13:59:59Z", freeze=True)
        assert (self.latest(found)["status"], self.latest(found)["close_time"]) == ("open", "2031-01-14T12:00:00.000Z")
        found.clock(advance=1)
        assert self.latest(found)["status"] == "late"

    def test_late_periods_are_long(self, sandbox_factory: Factory) -> None:
        for calendar in (True, False):
            found = sandbox_factory(calendar=calendar, history=8)
            for each in found.graphql("{rounds(tournament: 8) {closeTime closeStakingTime}}")["data"]["rounds"]:
                close, deadline = (
                    datetime.fromisoformat(each[name][:-1]) for name in ("closeTime", "closeStakingTime")
                )
                assert close - deadline >= timedelta(hours=6)

    @pytest.mark.slow
    def test_a_round_that_opens_late(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(calendar=True, opening_delay_minutes=50)
        found.clock(now="2031-01-09T12:49:00Z", freeze=True)
        assert (self.latest(found)["open_time"], self.latest(found)["status"]) == (
            "2031-01-08T12:50:00.000Z",
            "resolving",
        )
        upcoming = found.graphql("{rounds(tournament: 8, status: UPCOMING) {openTime closeStakingTime}}")["data"][
            "rounds"
        ]
        assert upcoming == [{"openTime": "2031-01-09T12:00:00Z", "closeStakingTime": "2031-01-09T13:00:00Z"}], (
            "as planned"
        )
        found.clock(advance=60)
        assert (self.latest(found)["status"], self.latest(found)["deadline"]) == ("open", "2031-01-09T13:50:00.000Z")

    @staticmethod
    def latest(found: ServedSandbox) -> dict[str, Any]:
        return next(each for each in found.state()["rounds"] if each["tournament"] == 8)


class TestCurrent:
    """What `rounds(number: 0)` and `rounds(status: OPEN)` name."""

    ZERO = "{rounds(tournament: 8, number: 0) {number}}"
    OPEN = "{rounds(tournament: 8, status: OPEN, limit: 1) {number}}"

    @pytest.mark.parametrize("named", [True, False])
    def test_between_the_deadline_and_the_close(self, sandbox_factory: Factory, named: bool) -> None:
        found = sandbox_factory(switches=Switches(round_zero_after_deadline=named))
        assert found.graphql(self.ZERO) == found.graphql(self.OPEN) == {"data": {"rounds": [{"number": 1000}]}}
        found.clock(advance=86_400 + 60)
        if named:
            assert found.graphql(self.ZERO) == found.graphql(self.OPEN) == {"data": {"rounds": [{"number": 1000}]}}
        else:
            assert found.graphql(self.ZERO)["errors"][0]["message"] == "Current round not open for submissions"
            assert found.graphql(self.OPEN) == {"data": {"rounds": []}}

    def test_the_old_meaning_of_close_time(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(close_is_deadline=True)
        round_ = found.graphql("{rounds(number: 0, tournament: 8) {closeTime closeStakingTime}}")["data"]["rounds"][0]
        assert round_["closeTime"] == round_["closeStakingTime"]


LATE = 86_400 + 60
"""Seconds from the opening to a minute after the deadline."""


class TestPlacing:
    @pytest.fixture
    def csv(self, sandbox: ServedSandbox, tmp_path: Path) -> str:
        return sandbox.live_predictions(tmp_path).to_csv(index=False)

    @pytest.mark.slow
    def test_the_latest_one_counts(self, sandbox: ServedSandbox, csv: str) -> None:
        first, second = sandbox.submit(csv), sandbox.submit(csv)
        chosen = {found["id"]: found["selected"] for found in sandbox.state()["submissions"]}
        assert chosen == {first: False, second: True}
        assert (sandbox.entry()["status"], sandbox.entry()["id"]) == ("on-time", second)

    def test_no_submission(self, sandbox: ServedSandbox) -> None:
        assert sandbox.entry() | {"model_id": ""} == {
            "model": "alice",
            "model_id": "",
            "tournament": 8,
            "round_number": 1000,
            "status": "none",
            "id": None,
            "filename": None,
            "timestamp": None,
        }

    def test_after_the_deadline_it_is_late_and_queued_under_one_id(self, sandbox: ServedSandbox, csv: str) -> None:
        sandbox.clock(advance=LATE)
        made = sandbox.submit(csv)
        late, queued = sandbox.entry("alice", 1000), sandbox.entry("alice", 1001)
        assert (late["status"], queued["status"]) == ("late", "queued")
        assert late["id"] == queued["id"] == made
        assert late["filename"] == queued["filename"]
        query = "query($m: ID) {model(modelId: $m) {latestSubmissions {roundNumber status id roundCloseStaking}}}"
        told = sandbox.graphql(query, m=sandbox.models["alice"])["data"]["model"]["latestSubmissions"]
        assert [(each["roundNumber"], each["status"], each["id"]) for each in told] == [
            (1001, "queued", made),
            (1000, "late", made),
        ]

    def test_one_on_time_goes_before_a_late_one_which_is_queued_all_the_same(
        self, sandbox: ServedSandbox, csv: str
    ) -> None:
        timely = sandbox.submit(csv)
        sandbox.clock(advance=LATE)
        late = sandbox.submit(csv)
        assert [found["id"] for found in sandbox.state()["submissions"] if found["selected"]] == [timely]
        assert (sandbox.entry("alice", 1000)["id"], sandbox.entry("alice", 1001)["id"]) == (timely, late)

    def test_only_the_latest_late_one_is_queued(self, sandbox: ServedSandbox, csv: str) -> None:
        sandbox.clock(advance=LATE)
        first, second = sandbox.submit(csv), sandbox.submit(csv)
        assert sandbox.entry("alice", 1001)["id"] == second
        assert {each["id"]: each["queued"] for each in sandbox.state()["submissions"]} == {first: False, second: True}

    @pytest.mark.parametrize("hours", [0, 40], ids=["in the late period", "after the close"])
    def test_the_next_opening_clones_it(self, sandbox: ServedSandbox, csv: str, hours: int) -> None:
        sandbox.clock(advance=LATE + 3600 * hours)
        made = sandbox.submit(csv, trigger_id="t")
        opening = sandbox.open_round("classic")[0]["open_time"]
        clone = sandbox.entry("alice", 1001)
        assert (clone["status"], clone["timestamp"]) == ("on-time", opening)
        assert clone["id"] != made
        assert clone["filename"] == sandbox.submission(made)["filename"]
        assert sandbox.submission(clone["id"])["trigger_id"] is None
        assert (sandbox.entry("alice", 1000)["status"], sandbox.entry("alice", 1000)["id"]) == ("late", made)
        sandbox.open_round("classic")
        assert sandbox.entry("alice", 1002)["status"] == "none", "a clone is not cloned again"

    @pytest.mark.slow
    def test_a_file_of_the_day_replaces_the_clone(self, sandbox: ServedSandbox, csv: str, tmp_path: Path) -> None:
        sandbox.clock(advance=LATE)
        sandbox.submit(csv)
        sandbox.open_round("classic")
        sandbox.clock(advance=60)
        made = sandbox.submit(sandbox.live_predictions(tmp_path).to_csv(index=False))
        assert (sandbox.entry()["status"], sandbox.entry()["id"]) == ("on-time", made)

    @pytest.mark.slow
    def test_a_clone_is_scored_by_the_ids_of_its_round(self, sandbox: ServedSandbox, csv: str) -> None:
        sandbox.clock(advance=LATE)
        sandbox.submit(csv)
        sandbox.open_round("classic")
        sandbox.clock(advance=10 * 86_400)
        scores = sandbox.graphql(
            "query($m: ID!) {submissionScores(modelId: $m) {roundNumber}}", m=sandbox.models["alice"]
        )["data"]["submissionScores"]
        assert {score["roundNumber"] for score in scores} == {1000, 1001}


class TestHistories:
    """What holds after any history of openings, submissions and waiting."""

    STEPS = st.lists(st.one_of(st.just("submit"), st.just("open"), st.integers(1, 3000)), min_size=1, max_size=25)

    @pytest.mark.slow
    @settings(max_examples=60)
    @given(steps=STEPS)
    def test_the_entries_follow_from_the_times(self, sandbox_factory: Factory, steps: list[str | int]) -> None:
        core = sandbox_factory().running.sandbox
        core.clock.freeze()
        model = core.account.models()[0]
        core.submissions._checked = lambda *_: Checked(0, DataFrame(), 0, [])  # type: ignore[method-assign]
        on_time: dict[int, str] = {}
        late: dict[int, str] = {}
        queued: str | None = None
        for step in steps:
            latest = core.rounds.latest(8)
            assert latest is not None
            if step == "submit":
                upload = core.new_upload("p.csv", "submission", 8, model.id)
                made = core.submissions.create(upload, model)
                if core.clock.now() < latest.deadline:
                    on_time[latest.number] = made.filename
                else:
                    late[latest.number] = queued = made.filename
            elif step == "open":
                core.clock.advance(1)
                opened = core.rounds.open_next(8, minutes=60)
                if queued is not None:
                    on_time[opened.number], queued = queued, None
            else:
                core.clock.advance(60 * int(step))
            latest = core.rounds.latest(8)
            assert latest is not None
            expected = {
                number: ("on-time", on_time[number]) if number in on_time else ("late", late[number])
                for number in {*on_time, *late}
            }
            if queued is not None:
                expected[latest.number + 1] = ("queued", queued)
            entries = core.submissions.entries(model)
            shown = {
                entry.round.number: (entry.status, entry.submission.filename) for entry in entries if entry.submission
            }
            assert shown == expected
            assert len({entry.round.number for entry in entries}) == len(entries)
            for entry in entries:
                moment = entry.submission.inserted_at if entry.submission else None
                if moment is not None and entry.status == "on-time":
                    assert entry.round.open_time <= moment < entry.round.deadline
                elif moment is not None and entry.status == "late":
                    assert moment >= entry.round.deadline


class TestPreviousIds:
    @pytest.mark.slow
    @pytest.mark.parametrize("needs_stamp", [False, True])
    def test_they_are_taken_and_mapped(self, sandbox_factory: Factory, tmp_path: Path, needs_stamp: bool) -> None:
        found = sandbox_factory(switches=Switches(previous_ids_need_datestamp=needs_stamp))
        csv = found.live_predictions(tmp_path).to_csv(index=False)
        stamp = found.state()["rounds"][0]["data_datestamp"]
        found.open_round("classic")
        if needs_stamp:
            assert found.refusal(csv).startswith("invalid_submission_ids")
        else:
            assert found.submit(csv) == found.entry("alice", 1001)["id"]
        assert found.submit(csv, data_datestamp=stamp) == found.entry("alice", 1001)["id"]
        found.open_round("classic")
        assert found.refusal(csv).startswith("invalid_submission_ids"), "they are two rounds old"
        assert found.refusal(csv, data_datestamp=stamp).startswith("invalid_submission_ids")


class TestSwitches:
    LISTED = "query($m: ID) {submissions(modelId: $m) {id filename triggerId round {number}}}"

    def listed(self, found: ServedSandbox) -> list[dict[str, Any]]:
        answer = found.graphql(self.LISTED, m=found.models["alice"])
        return list(answer["data"]["submissions"])

    @pytest.mark.parametrize("match", [True, False])
    def test_the_ids_of_entries(self, sandbox_factory: Factory, tmp_path: Path, match: bool) -> None:
        found = sandbox_factory(switches=Switches(entry_ids_match=match))
        made = found.submit(found.live_predictions(tmp_path).to_csv(index=False))
        entry = found.entry()
        assert (entry["id"] == made) is match
        assert entry["filename"] == found.submission(made)["filename"]
        assert [each["id"] for each in self.listed(found)] == [entry["id"]]
        query = "query($i: ID!) {submissionDownloadAuth(id: $i) {filename}}"
        for identity in (made, entry["id"]):
            shown = found.graphql(query, i=identity)["data"]["submissionDownloadAuth"]["filename"]
            assert shown == entry["filename"]

    @pytest.mark.parametrize("listed", [True, False])
    @pytest.mark.parametrize("keeps", [True, False])
    def test_clones(self, sandbox_factory: Factory, tmp_path: Path, listed: bool, keeps: bool) -> None:
        found = sandbox_factory(switches=Switches(clones_listed=listed, clone_keeps_trigger=keeps))
        csv = found.live_predictions(tmp_path).to_csv(index=False)
        found.clock(advance=LATE)
        found.submit(csv, trigger_id="t")
        found.open_round("classic")
        assert found.entry()["status"] == "on-time"
        clones = [each["triggerId"] for each in self.listed(found) if each["round"]["number"] == 1001]
        assert clones == ([("t" if keeps else None)] if listed else [])

    def test_an_entry_appears_after_a_while(self, sandbox_factory: Factory, tmp_path: Path) -> None:
        found = sandbox_factory(switches=Switches(entry_delay_seconds=30))
        found.clock(freeze=True)
        made = found.submit(found.live_predictions(tmp_path).to_csv(index=False))
        assert found.entry()["status"] == "none"
        assert [each["id"] for each in self.listed(found)] == [made]
        found.clock(advance=30)
        assert found.entry()["id"] == made
