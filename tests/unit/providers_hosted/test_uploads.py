"""The documents and answers about model uploads."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from numerai_compute.models import RunFailure, RunState
from numerai_compute.providers.hosted.queries import QUERIES
from numerai_compute.providers.hosted.runs import run_of
from numerai_compute.providers.hosted.uploads import Status, Trigger, _log_time

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
