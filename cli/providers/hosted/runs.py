"""A run of an upload on Numerai's side as one of a node."""

from __future__ import annotations

from ...foreign import one_line
from ...models import Run, RunFailure, RunState
from .uploads import Trigger

STATES = {
    "pending": RunState.QUEUED,
    "running": RunState.RUNNING,
    "validating": RunState.RUNNING,
    "success": RunState.SUCCEEDED,
    "validated": RunState.SUCCEEDED,
    "error": RunState.FAILED,
    "failed": RunState.FAILED,
}
"""What Numerai's words mean (the schema's header: `error` is Numerai's own fault, `failed` the model's). A word that
this version does not know is taken for a run that goes on."""


def run_of(trigger: Trigger, node_name: str, trigger_id: str | None = None) -> Run:
    """The run. `trigger_id` is the one that it was asked for with, if it was asked for here."""
    last = trigger.statuses[-1] if trigger.statuses else None
    state = STATES.get(last.word, RunState.RUNNING) if last is not None else RunState.QUEUED
    started = next((each.time for each in trigger.statuses if STATES.get(each.word) is not RunState.QUEUED), None)
    message = one_line(last.description) if last is not None and last.description else None
    failure = None
    if last is not None and state is RunState.FAILED:
        failure = RunFailure.LOST if last.word == "error" else RunFailure.EXIT_CODE
        whose = "Numerai could not run it" if last.word == "error" else "The model failed"
        message = f"{whose}: {message or 'no reason is given'}"
    return Run(
        id=trigger.id,
        node=node_name,
        state=state,
        created_at=trigger.created_at,
        trigger_id=trigger_id,
        started_at=started,
        ended_at=last.time if last is not None and state.final else None,
        exit_code=0 if state is RunState.SUCCEEDED else None,
        failure=failure,
        message=message,
    )
