"""How a run ends, and what that means for people, on every provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..counting import counted
from ..models import NOT_SUBMITTED_CODE, RunFailure, RunState

RETRY_EXIT_CODE = 75
LOGS = "`numerai node logs`"
SHOWS = f"{LOGS} shows what it printed."
CANCELLED = "Cancelled."
NOT_SUBMITTED = "It was a test: its predictions keep Numerai's rules, and nothing was submitted."
SUBMITTED = {
    69: (
        RunFailure.LATE,
        "It submitted after the round's deadline: that is not staked, and queued for the next round."
        f" {LOGS} shows what held it up.",
    ),
    73: (
        RunFailure.COVERED,
        f"Numerai counts an earlier file for this round, and not the one that this run submitted. {LOGS} names both.",
    ),
    76: (
        RunFailure.UNCONFIRMED,
        "It submitted, and Numerai did not say whether that counts. Look at the model's submissions on https://numer.ai.",
    ),
}
"""Exit codes of a run that made a submission which does not count, or of which that is not known."""

_MEANINGS = {
    65: "the predictions are not what Numerai takes",
    75: "a temporary failure",
    78: "the node's configuration is not complete",
    NOT_SUBMITTED_CODE: "NUMERAI_NO_SUBMIT is set in its image, so it submitted nothing",
    126: "the command of the Dockerfile cannot be executed",
    127: "the command of the Dockerfile was not found",
    137: "killed from outside, often by a machine short of memory",
    139: "it crashed (segmentation fault)",
    143: "asked to end from outside",
}


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    state: RunState
    exit_code: int | None = None
    failure: RunFailure | None = None
    message: str | None = None

    @property
    def temporary(self) -> bool:
        """Whether another attempt can help."""
        return self.failure is RunFailure.EXIT_CODE and self.exit_code == RETRY_EXIT_CODE


def ended(exit_code: int, *, limit: str, out_of_memory: bool = False) -> Outcome:
    """The outcome of an attempt that came to its end by itself; `limit` is its memory for people, e.g. `4096 MiB`."""
    if exit_code == 0:
        return Outcome(RunState.SUCCEEDED, exit_code=0)
    if out_of_memory:
        return Outcome(
            RunState.FAILED,
            exit_code,
            RunFailure.OUT_OF_MEMORY,
            f"It needed more than its {limit} of memory and was killed."
            " Give it more with `numerai node config --size` or `--memory`.",
        )
    if exit_code in SUBMITTED:
        return Outcome(RunState.FAILED, exit_code, *SUBMITTED[exit_code])
    meaning = _MEANINGS.get(exit_code)
    explained = f": {meaning}" if meaning else ""
    return Outcome(
        RunState.FAILED,
        exit_code,
        RunFailure.EXIT_CODE,
        f"It ended with exit code {exit_code}{explained}. {SHOWS}",
    )


def explained(outcome: Outcome, ask: Callable[[], str | None], command: str) -> Outcome:
    """The outcome with what the run itself says of it, where that is to be asked; `command` shows the rest of what it
    printed."""
    if outcome.message is None or SHOWS not in outcome.message or (reason := ask()) is None:
        return outcome
    said = f"It said: {reason if reason.endswith(('.', '!', '?')) else f'{reason}.'} `{command}` shows the rest."
    return replace(outcome, message=outcome.message.replace(SHOWS, said))


def of_test(outcome: Outcome) -> Outcome:
    """The outcome of a run that was not to submit: it went well when it ended where it would have."""
    if outcome.exit_code != NOT_SUBMITTED_CODE:
        return outcome
    return Outcome(RunState.SUCCEEDED, NOT_SUBMITTED_CODE, None, NOT_SUBMITTED)


def timed_out(minutes: float, exit_code: int | None = None) -> Outcome:
    """The outcome of an attempt whose time was up."""
    return Outcome(
        RunState.FAILED,
        exit_code,
        RunFailure.TIMED_OUT,
        f"It took longer than its {counted(minutes, 'minute')} and was stopped."
        " Give it more time with `numerai node config --timeout-minutes`.",
    )


def cancelled(exit_code: int | None = None) -> Outcome:
    """The outcome of an attempt that somebody stopped."""
    return Outcome(RunState.CANCELLED, exit_code, None, CANCELLED)


def lost(what: str) -> Outcome:
    """The outcome of an attempt that is not to be found any more."""
    return Outcome(
        RunState.FAILED,
        None,
        RunFailure.LOST,
        f"{what} How it ended is not known. `numerai node trigger` starts a new run.",
    )
