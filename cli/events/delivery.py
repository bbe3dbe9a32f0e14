"""Which event was delivered to which handler: once per round, over restarts, and again where it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .dispatch import deliver, failure_of
from .handler import EventHandler, Failure, SubmissionMade, logger
from .state import Book, Progress, said_if_not_kept

BEGIN, TRAINING = "on_round_begin", "on_new_training_data"
TOURNAMENT, CLEANUP = "on_new_tournament_data", "on_cleanup"


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


class Deliveries:
    """Delivers single events and keeps the record of it in `book`; `handlers` gives those to be told of failures, in
    whose text `redact` masks the secrets."""

    def __init__(
        self,
        book: Book,
        handlers: Callable[[], list[EventHandler]],
        max_attempts: Callable[[], int],
        redact: Callable[[str], str],
    ):
        self._book = book
        self._handlers = handlers
        self._max_attempts = max_attempts
        self._redact = redact
        self._names: dict[int, str] = {}
        self._progress: dict[str, Progress] = {}
        self._errors: dict[str, Exception] = {}

    def enrol(self, handler: EventHandler) -> None:
        """Take over what is kept about a handler, under the name that it has now."""
        self._names[id(handler)] = handler.name
        self.reload(handler)

    def name_of(self, handler: EventHandler) -> str:
        """The name under which a handler was enrolled, whatever it calls itself by now."""
        return self._names[id(handler)]

    def reload(self, handler: EventHandler) -> None:
        """Read a handler's progress, and its state where there is one."""
        name = self.name_of(handler)
        self._progress[name] = self._book.progress(name)
        kept = self._book.state(name)
        if kept:
            handler.state = kept

    def done(self, handler: EventHandler, number: int, event: str) -> bool:
        """Whether this event of this round needs no delivery any more."""
        progress = self._progress[self.name_of(handler)]
        return progress.round_number == number and event in progress.done

    def exhausted(self, handler: EventHandler, event: str) -> bool:
        """Whether the event was tried as often as allowed."""
        return self._progress[self.name_of(handler)].attempts.get(event, 0) >= self._max_attempts()

    def to_be_tried(self, handler: EventHandler, number: int) -> bool:
        """Whether the handler's predictions are still due."""
        return not self.done(handler, number, TOURNAMENT) and not self.exhausted(handler, TOURNAMENT)

    def begin(self, handler: EventHandler, report: RoundReport) -> None:
        """Start a round's record, unless this round was begun before, and deliver `on_round_begin`."""
        progress = self._progress[self.name_of(handler)]
        if progress.round_number != report.round_number:
            progress.round_number, progress.done, progress.attempts = report.round_number, [], {}
        self.once(handler, BEGIN, report)

    def once(self, handler: EventHandler, event: str, report: RoundReport) -> None:
        """Deliver an event that is not tried again when it fails."""
        progress, number = self._progress[self.name_of(handler)], report.round_number
        if event in progress.done:
            return
        error = deliver(handler, event, number)
        progress.done.append(event)
        self.keep(handler)
        if error is not None:
            report.add_failure(f"{self.name_of(handler)}: {event}")
            self.tell(failure_of(event, self.name_of(handler), error, number, retry=False))

    def trains(self, handler: EventHandler, report: RoundReport) -> bool:
        """Whether a handler wants training data; if it cannot say, whether its class has code for them."""
        try:
            return bool(handler.handles(TRAINING))
        except Exception as error:  # noqa: BLE001 - a handler is the user's code: it may raise anything
            name = self.name_of(handler)
            if f"{name}: handles" not in report.failed:
                logger.exception("handles of the handler %s failed", name)
                report.add_failure(f"{name}: handles")
                self.tell(failure_of("handles", name, error, report.round_number, retry=False))
            return EventHandler.handles(handler, TRAINING)

    def train(self, handler: EventHandler, fingerprint: str, report: RoundReport) -> None:
        """Deliver `on_new_training_data` if the data are new to this handler."""
        progress = self._progress[self.name_of(handler)]
        if progress.trained_on == fingerprint or self.exhausted(handler, TRAINING):
            return
        if self._attempt(handler, TRAINING, report):
            progress.trained_on = fingerprint
            self.keep(handler)
            report.trained.append(self.name_of(handler))

    def predict(self, handler: EventHandler, report: RoundReport) -> None:
        """Deliver `on_new_tournament_data` if it is due."""
        if self.to_be_tried(handler, report.round_number) and self._attempt(handler, TOURNAMENT, report):
            self._progress[self.name_of(handler)].done.append(TOURNAMENT)
            self.keep(handler)

    def give_up(self, report: RoundReport) -> None:
        """Say of every handler whose predictions are still due that they will not come."""
        for handler in self._handlers():
            if self.to_be_tried(handler, report.round_number):
                report.add_failure(f"{self.name_of(handler)}: {TOURNAMENT}")
                error = self._errors.get(self.name_of(handler)) or RuntimeError("there was no time left for it")
                self.tell(failure_of(TOURNAMENT, self.name_of(handler), error, report.round_number, retry=False))

    def on_all(self, event: str, made: SubmissionMade | None = None) -> list[str]:
        """Deliver an event that is no step of a round to every handler; returns `<handler>: <event>` of what failed."""
        arguments, number = ((), None) if made is None else ((made,), made.round_number)
        failed = []
        for handler in list(self._handlers()):
            error = deliver(handler, event, *arguments)
            self.keep(handler)
            if error is not None:
                failed.append(f"{self.name_of(handler)}: {event}")
                self.tell(failure_of(event, self.name_of(handler), error, number, retry=False))
        return failed

    def tell(self, failure: Failure) -> None:
        """Give a failure to every handler but the one that failed, without the secrets that the error may hold: notices
        and reports leave this machine. What `on_failure` raises goes no further."""
        failure = replace(failure, text=self._redact(failure.text), traceback=self._redact(failure.traceback))
        for handler in list(self._handlers()):
            if self.name_of(handler) != failure.handler:
                deliver(handler, "on_failure", failure)
                self.keep(handler)

    def keep(self, handler: EventHandler) -> None:
        """Write a handler's state, then its progress: if the process ends in between, the event is delivered again.

        What cannot be written (a state that is no JSON, a full disk) stays as it was before, and the round goes on.
        """
        name = self.name_of(handler)
        with said_if_not_kept():
            self._book.keep_state(name, handler.state)
        with said_if_not_kept():
            self._book.keep_progress(name, self._progress[name])

    def _attempt(self, handler: EventHandler, event: str, report: RoundReport) -> bool:
        """Deliver an event that is tried again when it fails. The attempt is on record before it begins, so that a
        handler that takes the process down with it is not tried for ever."""
        progress = self._progress[self.name_of(handler)]
        progress.attempts[event] = progress.attempts.get(event, 0) + 1
        self.keep(handler)
        error = deliver(handler, event, report.round_number)
        self.keep(handler)
        entry = f"{self.name_of(handler)}: {event}"
        if error is None:
            report.drop_failure(entry)
            return True
        self._errors[self.name_of(handler)] = error
        # training is tried again with the next try of a prediction, else in the next round: people are told at once
        retry = event == TOURNAMENT and not self.exhausted(handler, event)
        if not retry:
            report.add_failure(entry)
        self.tell(failure_of(event, self.name_of(handler), error, report.round_number, retry))
        return False
