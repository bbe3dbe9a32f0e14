"""Calls handlers so that no failure of one reaches another: it is logged, and becomes something to tell the others."""

from __future__ import annotations

import traceback

from .handler import EventHandler
from .messages import Failure, logger


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
    told = traceback.TracebackException.from_exception(error)  # as text even where the error's own __str__ fails
    return Failure(
        event, handler, error, "".join(told.format()), round_number, retry, f"{type(error).__name__}: {told}"
    )
