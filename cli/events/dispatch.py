"""Calls handlers so that no failure of one reaches another: it is logged, the others are told, and it goes on."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence

from .handler import EventHandler, Failure, SubmissionMade, logger


def deliver(handler: EventHandler, event: str, *arguments: object) -> Exception | None:
    """Call one event of one handler and return what it raised, logged with its traceback; None when all went well.

    What is no `Exception` (an interrupt, an exit) is not held back.
    """
    logger.debug("%s of %s begins", event, handler.name)
    try:
        getattr(handler, event)(*arguments)
    except Exception as error:  # noqa: BLE001 - a handler is the user's code: it may raise anything
        logger.exception("%s of the handler %s failed", event, handler.name)
        return error
    return None


def failure_of(event: str, handler: str | None, error: Exception, round_number: int | None, retry: bool) -> Failure:
    """A failure as handlers are told of it."""
    text = "".join(traceback.format_exception(error))
    return Failure(event, handler, error, text, round_number, retry)


def tell_failure(
    handlers: Sequence[EventHandler], failure: Failure, keep: Callable[[EventHandler], None] = lambda handler: None
) -> None:
    """Call `on_failure` of every handler but the one that failed; what that raises is logged and goes no further."""
    for handler in handlers:
        if handler.name != failure.handler:
            deliver(handler, "on_failure", failure)
            keep(handler)


def tell_submission(handlers: Iterable[EventHandler], submission: SubmissionMade) -> list[tuple[str, Exception]]:
    """Call `on_submission` of every handler; returns which handlers failed at it, and with what."""
    failed = []
    for handler in list(handlers):
        error = deliver(handler, "on_submission", submission)
        if error is not None:
            failed.append((handler.name, error))
    return failed
