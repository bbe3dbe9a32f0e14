"""What doctor says of a node's newest run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from numerai_compute.models import CheckStatus, Node, Run, RunState
from numerai_compute.providers.checks import last_run_check

from tests.fakes import NOW

NODE = Node("numerai-alice", "alice", "an-id", 8, "local", "/code", 1.0, 1024)
RUN = Run("r", NODE.name, RunState.QUEUED, NOW)


@pytest.mark.parametrize(
    ("run", "after", "status", "words"),
    [
        (RUN, 4, CheckStatus.OK, "queued"),
        (RUN, 6, CheckStatus.WARNING, "waits for its start"),
        (replace(RUN, message="No engine. Attempt 2 of 3 follows."), 1, CheckStatus.WARNING, "No engine."),
        (replace(RUN, state=RunState.RUNNING, started_at=NOW), 60, CheckStatus.OK, "running"),
        (replace(RUN, state=RunState.SUCCEEDED, message="all well"), 60, CheckStatus.OK, "succeeded"),
    ],
)
def test_what_holds_a_run_up_is_said(run: Run, after: int, status: CheckStatus, words: str) -> None:
    found = last_run_check(NODE, [run], NOW + timedelta(minutes=after))
    assert found.status is status and words in found.why
