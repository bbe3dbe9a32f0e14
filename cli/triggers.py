"""The ids of triggers that this project makes up, and which rounds they belong to. Standard library only: the functions
carry this file too."""

from __future__ import annotations

WATCH, CRON = "watch-", "cron-"
"""What the ids of a watcher's and of a schedule's triggers begin with. Numerai does not know them, so no submission may
carry one."""
NO_SUBMIT = "no-submit-"
"""Begins the trigger ids of runs that are not to submit, and on AWS the names of their jobs. No call of a webhook may
carry one."""
TRAIN = f"{NO_SUBMIT}train-"
"""Begins the trigger ids of those of them that only train."""
ANOTHER_ROUND = 12 * 3600
"""A round whose opening is moved by more seconds than this is another one that has the same number."""


def watch_trigger(tournament: int, number: int, serial: int) -> str:
    """The trigger id of the n-th attempt in a round: the same for every watcher, so that it is started once. In another
    round with the same number the serial goes on."""
    return f"{WATCH}{int(tournament)}-{number}-{serial}"


def submits(trigger_id: str | None) -> bool:
    """Whether the run of this trigger id is to submit: all but those of `node test --no-submit`."""
    return trigger_id is None or not trigger_id.startswith(NO_SUBMIT)


def trains(trigger_id: str | None) -> bool:
    """Whether the run of this trigger id only trains the node's model."""
    return trigger_id is not None and trigger_id.startswith(TRAIN)


def is_another(opening: float, other: float) -> bool:
    """Whether two openings, in seconds since 1970, are of two rounds that have the same number."""
    return abs(opening - other) > ANOTHER_ROUND
