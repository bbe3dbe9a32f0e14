"""What is told of a submission or a failure, and the log of it all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

LOGGER = "numerai_compute.events"
logger = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class SubmissionMade:
    """A submission that Numerai holds. `status` is on-time, late, covered (the round counts an earlier file) or
    unconfirmed (Numerai does not say whether it counts); `late` repeats that it was made after the deadline."""

    round_number: int | None
    submission_id: str
    status: str
    model: str
    model_id: str
    handler: str | None = None
    late: bool = False


@dataclass(frozen=True)
class Failure:
    """What went wrong in one event of one handler, or (with `handler` None) in getting the data for all of them.

    `text` is the error as one line, `traceback` the whole traceback as text; neither holds a key. `will_retry` is true
    while the event will be tried again.
    """

    event: str
    handler: str | None
    error: Exception
    traceback: str
    round_number: int | None = None
    will_retry: bool = False
    text: str = ""


@dataclass
class RoundReport:
    """How one round went: `failed` lists `<handler>: <event>` for what did not succeed in the end."""

    round_number: int
    trained: list[str] = field(default_factory=list)
    submissions: list[SubmissionMade] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add_failure(self, what: str) -> None:
        """Note what failed."""
        if what not in self.failed:
            self.failed.append(what)

    def drop_failure(self, what: str) -> None:
        """Note that it has succeeded after all."""
        if what in self.failed:
            self.failed.remove(what)
