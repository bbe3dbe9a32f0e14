"""What a handler is: a class whose methods are called as rounds open, data arrive and submissions are made."""

from __future__ import annotations

from typing import Any

from .context import HandlerContext
from .messages import Failure, SubmissionMade


class EventHandler:
    """Override the `on_...` methods you need. Every method may raise: the failure is logged with its traceback, the
    other handlers get `on_failure`, and everything goes on.

    `name` identifies the handler in the log and in the home folder, where its state is kept; it must not change from
    one start to the next. `numerauto` (also called `daemon`) is what the handler works with, None before
    it was added to one. `state` is a dictionary that survives restarts: it may hold what JSON can hold, and is written
    after each event.
    """

    name: str = ""
    numerauto: HandlerContext | None = None

    def __init__(self, name: str | None = None):
        if name == "":
            raise ValueError("A handler's name must not be empty.")
        self.name = name or type(self).__name__

    @property
    def daemon(self) -> HandlerContext:
        """What this handler works with; `RuntimeError` when it was not added to one."""
        if self.numerauto is None:
            raise RuntimeError(f"The handler {self.name or type(self).__name__} was not added to a daemon.")
        return self.numerauto

    @property
    def state(self) -> dict[str, Any]:
        """What this handler remembers over restarts, as JSON."""
        state: dict[str, Any] = self.__dict__.setdefault("_state", {})
        return state

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        self.__dict__["_state"] = value

    def handles(self, event: str) -> bool:
        """Whether the handler has code for an event: training data are fetched only for one that uses them."""
        return getattr(type(self), event, None) is not getattr(EventHandler, event)

    def on_start(self) -> None:
        """The daemon has started."""

    def on_round_begin(self, round_number: int) -> None:
        """A round has opened."""

    def on_new_training_data(self, round_number: int) -> None:
        """The training data are new: at the first time, and whenever features.json, train.parquet or
        validation.parquet has another content than when this handler last ended this method without an error.

        It comes before this round's predictions while a handler has no model, and after them from then on.
        """

    def on_new_tournament_data(self, round_number: int) -> None:
        """This round's live data are there: predict and submit."""

    def on_submission(self, submission: SubmissionMade) -> None:
        """A handler has submitted, and Numerai has accepted it."""

    def on_failure(self, failure: Failure) -> None:
        """Another handler has failed, or the data could not be had."""

    def on_cleanup(self, round_number: int) -> None:
        """All events of the round are over: free memory, write reports."""

    def on_shutdown(self) -> None:
        """The daemon is about to end."""
