"""`node test` says what it tests, does not submit when told so, and does not fail for want of an open round."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, NumeraiError
from numerai_compute.models import EntryStatus, Node, RunFailure, RunState, Submission, SubmissionEntry
from numerai_compute.ports import Silence
from numerai_compute.usecases.runtime import RUNTIME, templates
from numerai_compute.usecases.verify import CONFIRMED, ENDED, REACHED, Verdict, Verification, Verifier
from numerai_compute.usecases.window import window_of
from numerai_compute.usecases.withholding import check_withholds

from tests.fakes import NOW, FakeApi, FakeClock, FakeProvider, round_of, unreachable

from .test_verify import Bench


@pytest.fixture
def bench(node: Node, api: FakeApi, provider: FakeProvider, store: HomeStore) -> Bench:
    return Bench(node, api, provider)


def verifier(bench: Bench, *, submits: bool = True) -> Verifier:
    return Verifier(
        bench.node, lambda name: bench.provider, bench.api, bench.clock, bench.heard.append, lambda line: None,
        lambda text: None, submits=submits, on_warning=bench.lines.append,
    )  # fmt: skip


def test_a_folder_that_has_changed_since_the_deploy_is_said(bench: Bench) -> None:
    assert verifier(bench).verify().warnings == ()
    bench.provider.hash = "h2"
    found = verifier(bench).verify()
    assert found.ok and len(found.warnings) == 1 and "has changed since the deploy" in found.warnings[0]
    assert bench.lines == list(found.warnings)


def test_the_model_that_it_submits_to_is_in_the_result(bench: Bench) -> None:
    assert verifier(bench).verify().submits_to == "alice"


# the address


def test_the_address_that_is_served_now_is_compared(bench: Bench) -> None:
    bench.provider.base = "http://127.0.0.1:6"
    found = verifier(bench).verify()
    assert found.verdict is Verdict.FAILS and "(http://127.0.0.1:6)" in found.facts[0].detail
    assert "doctor --fix" in str(found.facts[0].mend)


def test_a_webhook_that_fails_names_who_does_not_answer(bench: Bench) -> None:
    bench.api.fail["trigger"] = ApiError("Connection refused", code="webhook-failed")
    bench.provider.silent = Silence("http://127.0.0.1:5 does not answer", "restart", True)
    found = verifier(bench).verify()
    assert found.facts[0].cause == "http://127.0.0.1:5 does not answer"
    assert found.facts[0].mend == "numerai doctor --fix"


# without a round


def closed(bench: Bench) -> None:
    bench.api.round = round_of(100, NOW - timedelta(hours=2))
    bench.api.upcoming = round_of(101, NOW + timedelta(hours=22))


def test_the_window(api: FakeApi) -> None:
    clock = FakeClock()
    assert window_of(8, api, clock).is_open is True
    api.round, api.upcoming = round_of(100, NOW - timedelta(hours=2)), round_of(101, NOW + timedelta(hours=22))
    shut = window_of(8, api, clock)
    assert shut.is_open is False and "round 100 was" in shut.words and "Wed 2026-01-07 10:00 UTC" in shut.words
    api.round = api.upcoming = None
    assert window_of(8, api, clock).words == "no round is open now"
    api.fail["current_round"] = unreachable()
    assert window_of(8, api, clock).is_open is None


@pytest.mark.parametrize("listed", [True, False])
def test_a_late_submission_while_no_round_is_open_is_no_failure(bench: Bench, listed: bool) -> None:
    closed(bench)
    bench.provider.ending = {"state": RunState.FAILED, "exit_code": 69, "failure": RunFailure.LATE, "message": "late"}
    bench.entries = [SubmissionEntry(101, EntryStatus.QUEUED, "sub-1", "mine.csv")] if listed else []
    found = verifier(bench).verify()
    assert found.verdict is Verdict.UNPROVEN and not found.ok
    assert [fact.holds for fact in found.facts] == [True, True, True, None]
    assert "exit code 69" in found.facts[2].detail and "no round is open" in found.facts[3].detail
    assert ("late and queued" in found.facts[3].detail) is listed
    assert found.unproven and "Wed 2026-01-07" in found.unproven[0] and "cannot be proven" in found.warnings[0]


def test_a_run_that_fails_of_itself_fails_without_a_round_too(bench: Bench) -> None:
    closed(bench)
    bench.provider.ending = {"state": RunState.FAILED, "exit_code": 1}
    assert verifier(bench).verify().verdict is Verdict.FAILS


def test_a_run_that_submits_nothing_fails_without_a_round_too(bench: Bench) -> None:
    closed(bench)
    bench.submission = None
    assert verifier(bench).verify().verdict is Verdict.FAILS


def test_a_round_that_opens_meanwhile_counts(bench: Bench) -> None:
    closed(bench)
    assert verifier(bench).verify().verdict is Verdict.WORKS


def test_a_late_submission_in_an_open_round_is_a_failure(bench: Bench) -> None:
    bench.provider.ending = {"state": RunState.FAILED, "exit_code": 69, "failure": RunFailure.LATE, "message": "late"}
    assert verifier(bench).verify().verdict is Verdict.FAILS


# without submitting


@pytest.fixture
def withholding(bench: Bench) -> Bench:
    shutil.copytree(templates() / RUNTIME, Path(bench.node.path) / RUNTIME)
    bench.provider.ending = {"state": RunState.SUCCEEDED, "exit_code": 79}
    return bench


def without(bench: Bench) -> Verification:
    return verifier(bench, submits=False).verify()


def test_without_submitting_all_but_the_submission_is_proven(withholding: Bench) -> None:
    found = without(withholding)
    assert found.ok and [fact.holds for fact in found.facts] == [True, True, True, None]
    assert found.submits_to is None and "not submitted, as asked" in found.facts[3].detail
    assert not withholding.api.held and all(name != "trigger" for name, _ in withholding.api.calls)
    assert str(withholding.provider.all_runs[0].trigger_id).startswith("no-submit-")
    closed(withholding)
    assert without(withholding).ok, "it needs no open round"


@pytest.mark.parametrize("submits", [True, False])
def test_the_folder_is_read_once(withholding: Bench, monkeypatch: pytest.MonkeyPatch, submits: bool) -> None:
    read: list[Node] = []

    def source_hash(node: Node) -> str:
        read.append(node)
        return withholding.provider.hash

    monkeypatch.setattr(withholding.provider, "source_hash", source_hash)
    verifier(withholding, submits=submits).verify()
    assert len(read) == 1


def test_without_submitting_a_webhook_that_does_not_answer_fails(withholding: Bench) -> None:
    withholding.provider.silent = Silence("nothing answers", "numerai daemon start")
    found = without(withholding)
    assert (found.facts[-1].name, found.facts[-1].holds) == (REACHED, False)
    withholding.provider.silent = None
    withholding.api.set_webhook("id-alice", None)
    assert "no address" in without(withholding).facts[-1].detail


def test_a_run_that_submits_all_the_same_is_found_out(withholding: Bench) -> None:
    withholding.provider.ending = {"state": RunState.SUCCEEDED, "exit_code": 0}
    withholding.api.held.append(Submission("sub-9", 100, inserted_at=NOW + timedelta(seconds=1)))
    fact = without(withholding).facts[-1]
    assert (fact.name, fact.holds) == (CONFIRMED, False) and "submitted all the same (sub-9)" in fact.detail
    withholding.api.held.clear()
    assert "did not come to a submission" in without(withholding).facts[-1].detail


def test_bad_predictions_fail_without_submitting_too(withholding: Bench) -> None:
    withholding.provider.ending = {"state": RunState.FAILED, "exit_code": 65, "message": "a rule is broken"}
    fact = without(withholding).facts[-1]
    assert fact.name == ENDED and fact.holds is False


def test_what_cannot_be_told_is_refused(bench: Bench) -> None:
    def refused() -> str:
        with pytest.raises(NumeraiError) as caught:
            without(bench)
        assert caught.value.code in ("cannot-withhold", "not-supported") and caught.value.hint
        assert not bench.provider.all_runs
        return caught.value.message

    assert "holds no numerai_node" in refused()
    runtime = Path(bench.node.path) / RUNTIME
    shutil.copytree(templates() / RUNTIME, runtime)
    (runtime / "_version.py").write_text('__version__ = "0.2.0"\n')
    assert "numerai_node 0.2.0" in refused() and "too old" in refused()
    (runtime / "_version.py").unlink()
    assert "too old" in refused()
    (runtime / "_version.py").write_text('__version__ = "0.10.0"\n')
    assert check_withholds(bench.node)
    bench.provider.hash = "h2"
    assert "has changed since the deploy" in refused()

    class Plugin:
        name = "moon"

        def __getattr__(self, name: str) -> object:
            if name == "run_without_submitting":
                raise AttributeError(name)
            return getattr(bench_provider, name)

    bench_provider, bench.provider = bench.provider, Plugin()  # type: ignore[assignment]
    with pytest.raises(NumeraiError) as caught:
        without(bench)
    assert "cannot start a run that does not submit" in caught.value.message


# interrupted


def test_the_run_that_an_interrupted_test_leaves_is_named(bench: Bench) -> None:
    interrupted = verifier(bench)
    assert interrupted.going_on() is None
    bench.provider.starts = False

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    bench.clock.sleep = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        interrupted.verify()
    run = interrupted.going_on()
    assert run is not None and run.id == "run-1" and run.state is RunState.QUEUED
    bench.provider.starts = True
    assert interrupted.going_on() is None, "it has ended"


def test_a_run_whose_trigger_was_interrupted_is_found(bench: Bench) -> None:
    before = bench.provider.trigger(bench.node)
    bench.provider.all_runs[0] = replace(before, created_at=NOW - timedelta(hours=1))
    bench.provider.starts = False
    interrupted = verifier(bench)

    def interrupt(model: object, trigger_id: str) -> None:
        bench.provider.trigger(bench.node, trigger_id)
        raise KeyboardInterrupt

    bench.api.on_trigger = interrupt
    with pytest.raises(KeyboardInterrupt):
        interrupted.verify()
    run = interrupted.going_on()
    assert run is not None and run.id == "run-2"
