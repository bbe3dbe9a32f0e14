"""The four facts of `node test`: each way to fail names its fact, its cause and its mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, NumeraiError
from numerai_compute.models import (
    EntryStatus,
    LogLine,
    Model,
    Node,
    RunFailure,
    RunState,
    Submission,
    SubmissionEntry,
    WebhookCall,
)
from numerai_compute.usecases.verify import CONFIRMED, ENDED, FACTS, REACHED, STARTED, Fact, Verification, Verifier

from tests.fakes import NOW, FakeApi, FakeClock, FakeProvider, unreachable


class Bench:
    """Plays Numerai: a trigger starts a run, and the run leaves a submission."""

    def __init__(self, node: Node, api: FakeApi, provider: FakeProvider):
        self.node, self.api, self.provider, self.clock = node, api, provider, FakeClock()
        self.heard: list[Fact] = []
        self.lines: list[str] = []
        self.warned: list[str] = []
        self.said: list[str] = []
        self.submission: Submission | None = Submission("sub-1", 100, filename="mine.csv")
        self.entries = [SubmissionEntry(100, EntryStatus.ON_TIME, "sub-1", "mine.csv")]
        api.on_trigger = self.trigger

    def trigger(self, model: Model, trigger_id: str) -> None:
        self.provider.trigger(self.node, trigger_id)
        if self.submission:
            self.api.held.append(replace(self.submission, trigger_id=trigger_id))
        self.api.entries_by[self.node.model_id] = self.entries

    def verify(self) -> Verification:
        return Verifier(
            self.node,
            lambda name: self.provider,
            self.api,
            self.clock,
            self.heard.append,
            lambda line: self.lines.append(line.text),
            self.said.append,
            on_warning=self.warned.append,
        ).verify()

    def failing(self) -> Fact:
        found = self.verify()
        assert not found.ok and found.facts[-1].holds is False
        assert tuple(self.heard) == found.facts
        assert found.facts[-1].mend
        return found.facts[-1]


@pytest.fixture
def bench(node: Node, api: FakeApi, provider: FakeProvider, store: HomeStore) -> Bench:
    return Bench(node, api, provider)


def test_all_four_facts_hold(bench: Bench) -> None:
    bench.provider.printed = ["hello"]
    found = bench.verify()
    assert found.ok and [fact.name for fact in found.facts] == list(FACTS)
    assert all(fact.holds for fact in found.facts)
    assert found.submission and found.submission.id == "sub-1"
    assert bench.lines == ["hello"] and bench.provider.awake


def test_a_node_that_is_not_deployed_is_not_triggered(bench: Bench) -> None:
    bench.provider.deployments.clear()
    with pytest.raises(NumeraiError) as caught:
        bench.verify()
    assert caught.value.code == "not-deployed" and "deploy" in (caught.value.hint or "")
    assert all(name != "trigger" for name, _ in bench.api.calls)


def test_a_webhook_that_is_not_registered_is_not_called(bench: Bench) -> None:
    bench.api.set_webhook("id-alice", "https://elsewhere/x")
    fact = bench.failing()
    assert fact.name == REACHED and "another address" in fact.detail and "--register-webhook" in str(fact.mend)


def test_a_model_with_an_assigned_upload_is_not_triggered(bench: Bench) -> None:
    bench.api.by_id["id-alice"] = replace(bench.api.by_id["id-alice"], pickle="pickle-1")
    fact = bench.failing()
    assert fact.name == REACHED and "pickle" in fact.detail and "unassign" in str(fact.mend)
    assert all(name != "trigger" for name, _ in bench.api.calls)


def test_a_machine_out_of_reach_is_said_to_be(bench: Bench) -> None:
    bench.api.set_webhook("id-alice", None)
    bench.provider.reachable = False
    fact = bench.failing()
    assert fact.name == REACHED and "cannot call this machine" in fact.detail


def test_a_failing_webhook_shows_its_answer(bench: Bench) -> None:
    bench.api.fail["trigger"] = ApiError("Error received from your webhook server: no", code="webhook-failed")
    bench.provider.calls = [WebhookCall(NOW, bench.node.name, 503, '{"error":"busy"}')]
    fact = bench.failing()
    assert fact.name == REACHED and "503" in str(fact.cause)


def test_trouble_with_numerai_itself_is_an_error_of_its_own(bench: Bench) -> None:
    bench.api.fail["trigger"] = unreachable()
    with pytest.raises(ApiError):
        bench.verify()


def test_a_trigger_without_a_run(bench: Bench) -> None:
    bench.api.on_trigger = lambda model, trigger_id: None
    fact = bench.failing()
    assert fact.name == STARTED and "no run" in fact.detail


def test_a_run_that_never_starts(bench: Bench) -> None:
    bench.provider.starts = False
    fact = bench.failing()
    assert fact.name == STARTED and "still waits" in fact.detail and str(fact.mend).endswith("status")


def test_a_run_that_waits_for_another_one_names_it(bench: Bench) -> None:
    bench.provider.starts = False
    before = bench.provider.trigger(bench.node)
    bench.provider.all_runs[0] = replace(before, state=RunState.RUNNING, started_at=NOW)
    fact = bench.failing()
    assert f"run {before.id} of this node goes on" in fact.detail and f"cancel {before.id}" in str(fact.mend)


def test_a_provider_that_starts_machines_says_how_long_that_may_take_and_what_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = bench.clock.elapsed
    waits = iter(["it waits for capacity (RUNNABLE)"] * 20 + ["its container is fetched (STARTING)"] * 100)
    monkeypatch.setattr(bench.provider, "start_seconds", lambda node: 300.0, raising=False)
    monkeypatch.setattr(bench.provider, "waits_for", lambda run_id: next(waits), raising=False)
    bench.provider.starts = False
    fact = bench.failing()
    assert 300 <= bench.clock.elapsed - began < 310
    assert fact.name == STARTED and fact.mend == "numerai doctor"
    assert "still waits for its start after 300 s: its container is fetched (STARTING)" in fact.detail
    waited = [line.partition(": ")[2] for line in bench.said if line.startswith("run ")]
    assert waited == ["it waits for capacity (RUNNABLE)", "its container is fetched (STARTING)"], "each once"


def test_a_run_that_waits_for_another_attempt_has_not_started_and_says_why(bench: Bench) -> None:
    bench.provider.ending = {"started_at": None, "ended_at": None, "message": "No engine. Attempt 2 of 3 follows."}
    fact = bench.failing()
    assert fact.name == STARTED and fact.detail.endswith("No engine. Attempt 2 of 3 follows.")
    assert fact.mend == "numerai doctor" and bench.warned == ["No engine. Attempt 2 of 3 follows."], (
        "once, not each look"
    )


def test_a_run_is_followed_without_its_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        raise NotADirectoryError(20, "Not a directory")
        yield

    monkeypatch.setattr(bench.provider, "logs", unreadable)
    assert bench.verify().ok and "Not a directory" in bench.warned[0]
    bench.provider.ending = {"exit_code": 1, "state": RunState.FAILED}
    bench.heard.clear()
    assert "exit code 1" in bench.failing().detail


def test_what_the_daemon_does_not_share_with_this_shell_is_said_first(bench: Bench) -> None:
    bench.provider.differing = ["it has no Numerai keys."]
    found = bench.verify()
    assert found.warnings == ("The daemon is not as this shell is: it has no Numerai keys.",)
    assert bench.warned == [f"{found.warnings[0]} To restart it: numerai daemon stop; numerai daemon start"]


def test_a_run_that_could_not_start(bench: Bench) -> None:
    bench.provider.ending = {
        "state": RunState.FAILED,
        "started_at": None,
        "failure": RunFailure.NOT_DEPLOYED,
        "message": "the image is gone",
    }
    fact = bench.failing()
    assert fact.name == STARTED and fact.detail == "the image is gone" and str(fact.mend).endswith("deploy")


@pytest.mark.parametrize(
    ("ending", "detail", "mend"),
    [
        ({"exit_code": 1}, "failed with exit code 1", "logs"),
        ({"exit_code": 65, "message": "the predictions are wrong"}, "the predictions are wrong", "logs"),
        ({"exit_code": 137, "failure": RunFailure.OUT_OF_MEMORY, "message": "out of memory"}, "out of memory", "32"),
        ({"failure": RunFailure.TIMED_OUT, "message": "too long", "attempt": 2}, "too long (attempt 2)", "120"),
        ({"failure": RunFailure.LOST}, "is failed", "test"),
    ],
)
def test_a_run_that_fails_says_why_and_what_it_printed(
    bench: Bench, ending: dict[str, object], detail: str, mend: str
) -> None:
    bench.provider.printed = [f"line {number}" for number in range(20)]
    bench.provider.ending = {"state": RunState.FAILED, **ending}
    fact = bench.failing()
    assert fact.name == ENDED and detail in fact.detail and mend in str(fact.mend)
    assert "line 19" in str(fact.cause) and "line 5" not in str(fact.cause)


def test_a_run_that_submits_nothing(bench: Bench) -> None:
    bench.submission = None
    fact = bench.failing()
    assert fact.name == CONFIRMED and "holds no submission" in fact.detail


def test_a_submission_of_another_trigger_does_not_count(bench: Bench) -> None:
    bench.submission = None
    bench.api.held = [Submission("old", 100, trigger_id="other")]
    assert bench.failing().name == CONFIRMED


CLONE = SubmissionEntry(100, EntryStatus.ON_TIME, "clone", "yesterday.csv")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "it is unconfirmed"),
        ([SubmissionEntry(100, EntryStatus.NONE)], "it is unconfirmed"),
        ([SubmissionEntry(100, None, "sub-1", "mine.csv")], "it is unconfirmed"),
        (
            [
                SubmissionEntry(101, EntryStatus.QUEUED, "sub-1", "mine.csv"),
                SubmissionEntry(100, EntryStatus.LATE, "sub-1", "mine.csv"),
            ],
            "sub-1 is late and queued: the deadline of round 100 was over",
        ),
        ([CLONE], "Round 100 is covered by an earlier file (yesterday.csv), and not submission sub-1"),
    ],
    ids=["no entry", "none", "an unknown word", "late and queued", "covered"],
)
def test_a_submission_that_does_not_count(bench: Bench, entries: list[SubmissionEntry], words: str) -> None:
    bench.entries = entries
    fact = bench.failing()
    assert fact.name == CONFIRMED and words in fact.detail


@pytest.mark.parametrize("key", ["id", "filename"])
def test_either_key_identifies_the_submission(bench: Bench, key: str) -> None:
    changes: dict[str, Any] = {key: "another"}
    bench.entries = [CLONE, replace(bench.entries[0], **changes)]
    assert bench.verify().ok


def test_a_failed_run_on_a_covered_day_is_not_taken_for_well(bench: Bench) -> None:
    bench.submission, bench.entries = None, [CLONE]
    bench.provider.ending = {"state": RunState.FAILED, "exit_code": 1}
    fact = bench.failing()
    assert fact.name == ENDED and "covered by an earlier file (yesterday.csv), not by this run" in fact.detail


def test_what_a_failed_run_submitted_is_its_own(bench: Bench) -> None:
    """Its code failed, or it was stopped, after Numerai had taken the file."""
    bench.provider.ending = {"state": RunState.FAILED, "exit_code": 1}
    fact = bench.failing()
    assert fact.name == ENDED and "covered" not in fact.detail
    assert "Numerai counts its submission sub-1 for round 100 all the same" in fact.detail


def test_a_late_run_says_itself_what_counts(bench: Bench) -> None:
    bench.entries = [CLONE]
    bench.provider.ending = {"state": RunState.FAILED, "exit_code": 69, "failure": RunFailure.LATE, "message": "late"}
    assert bench.failing().detail == "late"


def test_no_answer_is_no_verdict(bench: Bench) -> None:
    bench.api.fail["entries"] = unreachable()
    fact = bench.failing()
    assert fact.name == CONFIRMED and "it is unconfirmed" in fact.detail and "numer.ai" in str(fact.mend)


def test_a_node_with_a_schedule_is_started_by_hand(bench: Bench) -> None:
    bench.node = replace(bench.node, cron="0 13 * * *")
    bench.api.set_webhook("id-alice", None)
    bench.api.entries_by[bench.node.model_id] = bench.entries
    bench.api.held = [
        Submission("old", 99, inserted_at=NOW - timedelta(days=1)),
        Submission("new", 100, filename="mine.csv", inserted_at=NOW + timedelta(seconds=3)),
    ]
    found = bench.verify()
    assert found.ok and found.facts[0].holds is None and found.trigger_id is None
    assert found.submission and found.submission.id == "new"


def test_a_client_that_names_no_trigger_is_known_by_its_time(bench: Bench) -> None:
    """Rnumerai before 3.0, which the official R example is written for, sends no trigger id."""
    bench.submission = None
    bench.api.held = [
        Submission("yesterday", 99, filename="late.csv", inserted_at=NOW - timedelta(days=1)),
        Submission("clone", 100, filename="late.csv", inserted_at=NOW + timedelta(seconds=2)),
        Submission("another's", 100, "another-trigger", "other.csv", NOW + timedelta(seconds=2)),
    ]
    assert "holds no submission of it" in bench.failing().detail
    bench.heard.clear()
    bench.api.held.append(Submission("sub-1", 100, filename="mine.csv", inserted_at=NOW + timedelta(seconds=3)))
    found = bench.verify()
    assert found.ok and found.submission and found.submission.id == "sub-1"
    assert found.facts[-1].detail.endswith("on time; it names no trigger and is known by its time")


@pytest.mark.parametrize("ahead", [-600, 600])
def test_the_start_of_a_test_is_told_by_numerais_clock(bench: Bench, ahead: float) -> None:
    """This machine's may be wrong by minutes."""
    bench.node = replace(bench.node, cron="0 13 * * *")
    bench.api.set_webhook("id-alice", None)
    bench.api.entries_by[bench.node.model_id] = bench.entries
    bench.clock.start = NOW + timedelta(seconds=ahead)
    bench.api.held = [
        Submission("by hand", 100, filename="mine.csv", inserted_at=NOW - timedelta(minutes=1)),
        Submission("sub-1", 100, filename="mine.csv", inserted_at=NOW + timedelta(seconds=3)),
    ]
    found = bench.verify()
    assert found.ok and found.submission and found.submission.id == "sub-1"


def test_what_the_gate_has_found_is_said_and_fails_nothing(bench: Bench) -> None:
    what = "the rank correlation with the benchmark is -1.00: are they upside down?"
    bench.provider.printed = ["hello", f'+  1.2s gate check=benchmark what="{what}" limit=0', "+  1.3s gateway a=b"]
    found = bench.verify()
    assert found.ok and found.findings == (what,)
    assert bench.warned == [f"The gate has found something in what was sent: {what}"]
