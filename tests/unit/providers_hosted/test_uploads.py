"""The documents and answers about model uploads."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.errors import ApiError
from numerai_compute.models import RunFailure, RunState
from numerai_compute.providers.hosted.queries import QUERIES
from numerai_compute.providers.hosted.record import Call, NodeRecord, Records
from numerai_compute.providers.hosted.runs import HostedRuns, run_of
from numerai_compute.providers.hosted.uploads import VALIDATED, Status, Trigger, Upload, Uploads, _log_time

graphql = pytest.importorskip("graphql")
ROOT = Path(__file__).parents[3]
NOON = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_document_fits_the_schema_and_asks_for_nothing_deprecated(name: str) -> None:
    schema = graphql.build_schema((ROOT / "cli/sandbox/schema.graphql").read_text())
    rules = [*graphql.specified_rules, graphql.NoDeprecatedCustomRule]
    assert graphql.validate(schema, graphql.parse(QUERIES[name]), rules) == []


@pytest.mark.parametrize("value", [int(NOON.timestamp()), int(NOON.timestamp() * 1000)])
def test_a_logs_time_may_be_seconds_or_milliseconds(value: int) -> None:
    assert _log_time(value) == NOON
    assert _log_time(None) is None


@pytest.mark.parametrize(
    ("word", "state", "failure"),
    [
        ("pending", RunState.QUEUED, None),
        ("running", RunState.RUNNING, None),
        ("success", RunState.SUCCEEDED, None),
        ("failed", RunState.FAILED, RunFailure.EXIT_CODE),
        ("error", RunState.FAILED, RunFailure.LOST),
        ("a new word", RunState.RUNNING, None),
    ],
)
def test_numerais_words_for_a_run(word: str, state: RunState, failure: RunFailure | None) -> None:
    run = run_of(Trigger("t", "round", NOON, (Status(word, NOON),)), "numerai-alice")
    assert (run.state, run.failure) == (state, failure)
    assert (run.ended_at is not None) == state.final


class Answers:
    """Numerai, with one upload that is assigned to models and has these runs; `sent` are the submissions of a model."""

    def __init__(self, slots: tuple[str, ...], *triggers: Trigger, **sent: set[str]):
        self.made = Upload("u", VALIDATED, slots, triggers)
        self.sent = sent

    def assigned(self, model_id: str) -> str:
        return "u"

    def upload(self, upload_id: str) -> Upload:
        return self.made

    def submissions(self, model_id: str) -> set[str]:
        if model_id not in self.sent:
            raise ApiError("Numerai answered: not yours", code="numerai-error")
        return self.sent[model_id]


def runs_of(folder: Path, answers: Answers, *calls: Call) -> dict[str, str | None]:
    """The runs of a node of the model a, with the ids of their triggers."""
    record = Records(folder).put(NodeRecord("numerai-a", "a", calls=calls))
    runs = HostedRuns(cast(Uploads, answers), Records(folder), SystemClock(), 0.01)
    return {run.id: run.trigger_id for run in runs.of(record)}


def test_a_run_that_this_home_asked_for_is_never_numerais_own(tmp_path: Path) -> None:
    ran = [Trigger(name, "", NOON, (), round_id="r") for name in ("own", "hand", "hand2", "watch")]
    ran.append(Trigger("elsewhere", "", NOON, ()))
    calls = [Call(None, NOON, (), "hand"), Call(None, NOON.replace(hour=13), (), "hand2"), Call("w", NOON, (), "watch")]
    found = runs_of(tmp_path, Answers(("a",), *ran), *calls)
    assert found == {"own": "own", "hand": None, "hand2": None, "watch": "w", "elsewhere": None}
    record = NodeRecord("n", "a", calls=(calls[0],)).with_call(calls[1]).with_call(calls[2])
    assert record.with_call(calls[2]).calls == tuple(calls)


@pytest.mark.parametrize(("sent", "left"), [({"b": {"s"}}, {"mine", "unknown"}), ({}, {"mine", "theirs", "unknown"})])
def test_of_a_shared_upload_only_what_is_known_to_be_anothers_is_left_out(
    tmp_path: Path, sent: dict[str, set[str]], left: set[str]
) -> None:
    ran = (
        Trigger("mine", "", NOON, (), "t"),
        Trigger("theirs", "", NOON, (), "s"),
        Trigger("asked", "", NOON, ()),
        Trigger("unknown", "", NOON, ()),
    )
    Records(tmp_path).put(NodeRecord("numerai-b", "b", calls=(Call("w", NOON, (), "asked"),)))
    assert set(runs_of(tmp_path, Answers(("a", "b"), *ran, **sent))) == left
