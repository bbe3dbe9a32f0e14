"""Which event was delivered to which handler: once per round, over restarts, and again where it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import UsageError
from ..redaction import Redactor
from .dispatch import deliver, failure_of
from .handler import EventHandler
from .messages import Failure, RoundReport, SubmissionMade, logger
from .state import Book, Progress, said_if_not_kept

BEGIN, TRAINING = "on_round_begin", "on_new_training_data"
TOURNAMENT, CLEANUP = "on_new_tournament_data", "on_cleanup"


# long: one record of deliveries, one short rule a method
class Deliveries:
    """Delivers single events and keeps the record of it in `book`; `handlers` gives those to be told of failures."""

    def __init__(
        self,
        book: Book,
        handlers: Callable[[], list[EventHandler]],
        max_attempts: Callable[[], int],
    ):
        self._book = book
        self._handlers = handlers
        self._max_attempts = max_attempts
        self._redact = Redactor()
        self._names: dict[int, str] = {}
        self._progress: dict[str, Progress] = {}
        self._errors: dict[str, Exception] = {}
        self._busy: EventHandler | None = None
        self.misuse: UsageError | None = None
        """What was asked for wrongly (no model, an unknown one): trying again changes nothing, so it is no attempt."""

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
        progress = self._of(handler)
        return progress.round_number == number and event in progress.done

    def exhausted(self, handler: EventHandler, event: str) -> bool:
        """Whether the event was tried as often as allowed."""
        return self._of(handler).attempts.get(event, 0) >= self._max_attempts()

    def to_be_tried(self, handler: EventHandler, number: int) -> bool:
        """Whether the handler's predictions are still due."""
        return not self.done(handler, number, TOURNAMENT) and not self.exhausted(handler, TOURNAMENT)

    def begin(self, handler: EventHandler, report: RoundReport) -> None:
        """Start a round's record, unless this round was begun before, and deliver `on_round_begin`."""
        progress = self._of(handler)
        if progress.round_number != report.round_number:
            self._tell_of_unfinished(handler)
            progress.begin(report.round_number)
        self.once(handler, BEGIN, report)

    def once(self, handler: EventHandler, event: str, report: RoundReport) -> None:
        """Deliver an event that is not tried again when it fails."""
        progress = self._of(handler)
        if event in progress.done:
            return
        error: Exception | None
        if self.exhausted(handler, event):
            error = _process_ended(progress, event)
        else:
            error = self._try(handler, event, report.round_number)
        if isinstance(error, UsageError):
            return
        if error is not None:
            self._fail(handler, event, error, report)
        progress.done.append(event)
        self.keep(handler)

    def forget(self, handler: EventHandler, number: int) -> None:
        """Forget that this round's events were delivered, its training too."""
        progress = self._of(handler)
        if progress.round_number == number:
            progress.trained_on = None if TRAINING in progress.done else progress.trained_on
            progress.begin(number)
            self.keep(handler)

    def untrained(self, handler: EventHandler) -> bool:
        """Whether the handler's training has never ended well."""
        return self._of(handler).trained_on is None

    def is_last_try(self, handler: EventHandler) -> bool:
        """Whether predictions have failed, and may be tried only once more."""
        progress = self._of(handler)
        tried = progress.attempts.get(TOURNAMENT, 0)
        return TOURNAMENT not in progress.done and 0 < tried == self._max_attempts() - 1

    def trains(self, handler: EventHandler, report: RoundReport) -> bool:
        """Whether a handler wants training data and may still try; if it cannot say, whether its class has code for
        them."""
        if self.exhausted(handler, TRAINING):
            return False
        try:
            return bool(handler.handles(TRAINING))
        except Exception as error:  # noqa: BLE001 - a handler is the user's code: it may raise anything
            name = self.name_of(handler)
            if f"{name}: handles" not in report.failed:
                logger.exception("handles of the handler %s failed", name)
                self._fail(handler, "handles", error, report)
            return EventHandler.handles(handler, TRAINING)

    def train(self, handler: EventHandler, fingerprint: str, report: RoundReport) -> None:
        """Deliver `on_new_training_data` if the data are new to this handler."""
        progress = self._of(handler)
        if progress.trained_on == fingerprint:
            return
        if self._attempt(handler, TRAINING, report):
            progress.trained_on = fingerprint
            progress.done.append(TRAINING)
            self.keep(handler)
            report.trained.append(self.name_of(handler))

    def predict(self, handler: EventHandler, report: RoundReport) -> None:
        """Deliver `on_new_tournament_data` if it is due."""
        if self.to_be_tried(handler, report.round_number) and self._attempt(handler, TOURNAMENT, report):
            self._of(handler).done.append(TOURNAMENT)
            self.keep(handler)

    def give_up(self, report: RoundReport) -> None:
        """Say of every handler whose predictions are still due that they will not come."""
        for handler in list(self._handlers()):
            if self.to_be_tried(handler, report.round_number):
                error = self._errors.get(self.name_of(handler)) or RuntimeError("there was no time left for it")
                self._fail(handler, TOURNAMENT, error, report)
                self.keep(handler)

    def settle(self, handler: EventHandler, report: RoundReport) -> None:
        """Say of what was tried as often as allowed that it failed, where the process ended before that was said."""
        progress = self._of(handler)
        for event in (TRAINING, TOURNAMENT):
            if self.exhausted(handler, event) and event not in (*progress.done, *progress.failed):
                self._fail(handler, event, _process_ended(progress, event), report)
                self.keep(handler)

    def interrupted(self, handler: EventHandler, report: RoundReport) -> None:
        """Note that the daemon ends before the handler's round is over; after a restart the round goes on."""
        due = CLEANUP if self.done(handler, report.round_number, TOURNAMENT) else TOURNAMENT
        report.add_failure(f"{self.name_of(handler)}: {due}")

    def recall(self, report: RoundReport) -> None:
        """Take over what came of the round before the process ended and was started again."""
        for handler in self._handlers():
            name, progress = self.name_of(handler), self._of(handler)
            if progress.round_number != report.round_number:
                continue
            report.trained += [name] if TRAINING in progress.done else []
            report.submissions += progress.submissions
            for event in progress.failed:
                report.add_failure(f"{name}: {event}")

    def submitted(self, made: SubmissionMade, report: RoundReport) -> None:
        """Note a submission in the report, and in the record of the handler whose event is being delivered."""
        report.submissions = _with(report.submissions, made)
        if self._busy is not None:
            progress = self._of(self._busy)
            progress.submissions = _with(progress.submissions, made)
            self.keep(self._busy)

    def on_all(self, event: str, made: SubmissionMade | None = None) -> list[str]:
        """Deliver an event that is no step of a round to every handler; returns `<handler>: <event>` of what failed."""
        arguments, number = ((), None) if made is None else ((made,), made.round_number)
        failed = []
        for handler in list(self._handlers()):
            error = self._deliver(handler, event, *arguments)
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
                self._deliver(handler, "on_failure", failure)
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

    def _tell_of_unfinished(self, handler: EventHandler) -> None:
        """Say of a round that was closed before the process was started again that its predictions never came."""
        progress = self._of(handler)
        begun = BEGIN in progress.done and TOURNAMENT not in (*progress.done, *progress.failed)
        if begun and EventHandler.handles(handler, TOURNAMENT):
            ended = RuntimeError("the process ended within the round, and was not started again before it was closed")
            self.tell(failure_of(TOURNAMENT, self.name_of(handler), ended, progress.round_number, retry=False))

    def _try(self, handler: EventHandler, event: str, number: int) -> Exception | None:
        """Deliver an event. The attempt is on record before it begins, so that a handler that takes the process down
        with it is not tried for ever."""
        progress = self._of(handler)
        progress.attempts[event] = progress.attempts.get(event, 0) + 1
        self.keep(handler)
        error = self._deliver(handler, event, number)
        if isinstance(error, UsageError):
            progress.attempts[event] -= 1
            self.misuse = self.misuse or error
            self.keep(handler)
            self.tell(failure_of(event, self.name_of(handler), error, number, retry=False))
        return error

    def _attempt(self, handler: EventHandler, event: str, report: RoundReport) -> bool:
        """Deliver an event that is tried again when it fails."""
        progress = self._of(handler)
        error = self._try(handler, event, report.round_number)
        if error is None:
            report.drop_failure(f"{self.name_of(handler)}: {event}")
            progress.failed = [other for other in progress.failed if other != event]
            return True
        if isinstance(error, UsageError):
            return False
        self._errors[self.name_of(handler)] = error
        # training is tried again with the next try of a prediction, else in the next round: people are told at once
        if event == TOURNAMENT and not self.exhausted(handler, event):
            self.tell(failure_of(event, self.name_of(handler), error, report.round_number, retry=True))
        else:
            self._fail(handler, event, error, report)
        self.keep(handler)
        return False

    def _fail(self, handler: EventHandler, event: str, error: Exception, report: RoundReport) -> None:
        """Tell the others of an event that is not tried again, and note it; it has still to be kept."""
        self.tell(failure_of(event, self.name_of(handler), error, report.round_number, retry=False))
        report.add_failure(f"{self.name_of(handler)}: {event}")
        progress = self._of(handler)
        progress.failed += [event] if event not in progress.failed else []

    def _of(self, handler: EventHandler) -> Progress:
        return self._progress[self.name_of(handler)]

    def _deliver(self, handler: EventHandler, event: str, *arguments: object) -> Exception | None:
        before, self._busy = self._busy, handler
        try:
            return deliver(handler, event, *arguments)
        finally:
            self._busy = before


def _process_ended(progress: Progress, event: str) -> Exception:
    times = progress.attempts[event]
    return RuntimeError(f"it was tried {times} times, and the process ended before it had succeeded")


def _with(submissions: list[SubmissionMade], made: SubmissionMade) -> list[SubmissionMade]:
    """The submissions with one more; one that was announced before is there once, as it was announced last."""
    others = [
        each for each in submissions if (each.submission_id, each.model_id) != (made.submission_id, made.model_id)
    ]
    return [*others, made]
