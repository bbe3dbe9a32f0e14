"""Follows the rounds of one tournament and delivers each one's events to every handler, once, over restarts."""

from __future__ import annotations

import collections
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import NumeraiError, UsageError
from ..files.locks import take
from ..models import Round
from ..redaction import hide
from .context import EventSettings, HandlerContext, secrets_of
from .datasets import RoundData, forget_rounds
from .delivery import BEGIN, CLEANUP, Deliveries
from .dispatch import failure_of
from .handler import EventHandler
from .messages import Failure, RoundReport, SubmissionMade, logger
from .surroundings import Surroundings

if TYPE_CHECKING:
    from filelock import BaseFileLock


class Stopped(BaseException):
    """The process was told to stop (SIGTERM). Not an `Exception`, so that no handler swallows it."""


# long: the life of one loop, from its first look to its last event
class EventLoop(HandlerContext):
    """Calls its handlers in the order in which they were added, all of them for one event before the next event.

    `before_start` holds what failed before there was a loop, for the handlers to be told of; `failed` lists
    `<handler>: <event>` for what failed and is no step of a round: on_start, on_submission, on_shutdown. `made_files`
    are files that may be made in a round's folder, beside the dataset's.
    """

    event_handlers: list[EventHandler]
    made_files: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        surroundings: Surroundings,
        tournament_id: int = 8,
        settings: EventSettings | None = None,
        model: str | None = None,
    ):
        super().__init__(surroundings, tournament_id, settings, model)
        self.failed: list[str] = []
        self.before_start: list[Failure] = []
        self._deliveries = Deliveries(
            self.book, lambda: self.event_handlers, lambda: max(1, int(self.settings.max_attempts))
        )
        self._locks: dict[str, BaseFileLock] | None = None

    def add_event_handler(self, handler: EventHandler) -> None:
        """Add a handler; `UsageError` when there is one of this name, since its state would be shared."""
        hide(*secrets_of(handler))
        if not handler.name:
            handler.name = type(handler).__name__
        if any(self._deliveries.name_of(other) == handler.name for other in self.event_handlers):
            raise UsageError(
                f"Two handlers are named '{handler.name}', and each needs a name of its own to keep its state.",
                "Give them different names: EventHandler.__init__(name).",
                code="handler-twice",
            )
        self._lock(handler.name)
        handler.numerauto = self
        self._deliveries.enrol(handler)
        self.event_handlers.append(handler)

    def remove_event_handler(self, handler_name: str) -> None:
        """Remove the handler of that name; what is kept about it stays."""
        for handler in [each for each in self.event_handlers if each.name == handler_name]:
            handler.numerauto = None
            self.event_handlers.remove(handler)

    def round_data(self, number: int) -> RoundData:
        """The folder of a round that begins, and what fills it."""
        return RoundData(self.data_folder, number, self.node)

    def announce(self, made: SubmissionMade) -> None:
        """Record a submission and give it to every handler."""
        super().announce(made)
        if self.rounds:
            self._deliveries.submitted(made, self.rounds[-1])
        self.failed += self._deliveries.on_all("on_submission", made)

    # the life of the daemon

    def run(self, single_run: bool = False, *, again: bool = False) -> list[RoundReport]:
        """Deliver the events of each round as it opens, until interrupted; returns how the rounds went.

        With `single_run` it ends after one round: the open one, or the next to open within `single_run_max_wait`
        seconds. SIGTERM ends it quietly and Ctrl-C with `KeyboardInterrupt`, both after `on_shutdown`; what was
        outstanding of a round at SIGTERM is said to have failed. With `again` the events of the round that is open are
        delivered once more. A `UsageError` in an event (no model is given, an unknown one, or a program that is not
        there) ends it too, once every handler had its turn; the event then counts as not delivered. `NumeraiError` with
        code `busy` when another process delivers events to one of these handlers.
        """
        self.rounds, self.failed, self._deliveries.misuse = [], [], None
        with self._locked(), _sigterm_stops():
            HandlerContext.running = self
            try:
                self.load_state()  # another process may have written since it was read, before the locks were held
                for handler in self.event_handlers:
                    self._deliveries.reload(handler)
                self.failed += self._deliveries.on_all("on_start")
                for failure in self.before_start:
                    self._deliveries.tell(failure)
                self._follow(single_run, again)
            except Stopped:
                logger.info("Told to stop")
                for report in self.rounds[-1:]:
                    for handler in self._outstanding(report.round_number):
                        self._deliveries.interrupted(handler, report)
            finally:
                self.failed += self._deliveries.on_all("on_shutdown")
                self.save_state()
                HandlerContext.running = None
        return self.rounds

    def _follow(self, single_run: bool, again: bool) -> None:
        started = self.surroundings.clock.monotonic()
        answered = False
        while True:
            current = self.open_round(must_answer=not answered)
            answered = True
            if current is not None and again:
                again = False
                for handler in self.event_handlers:
                    self._deliveries.forget(handler, current.number)
            if current is not None and self._outstanding(current.number):
                self._run_round(current)
                if single_run:
                    return
            elif single_run and current is not None:
                self._say_done_before(current.number)
                return
            elif single_run and self.surroundings.clock.monotonic() - started >= self.settings.single_run_max_wait:
                logger.info("No round opened within %s s", self.settings.single_run_max_wait)
                return
            self.surroundings.clock.sleep(self.settings.round_wait_interval)

    def _say_done_before(self, number: int) -> None:
        """Say that nothing is left to deliver of a round; what failed of it has failed for this run too."""
        report = RoundReport(number)
        self._deliveries.recall(report)
        for what in report.failed:
            logger.error("%s failed earlier in round %d", what, number)
        self.rounds += [report] if report.failed else []
        logger.info("All events of round %d were delivered before; --again delivers them once more", number)

    def _outstanding(self, number: int) -> list[EventHandler]:
        return [each for each in self.event_handlers if not self._deliveries.done(each, number, CLEANUP)]

    def _begun(self, number: int) -> list[EventHandler]:
        """The handlers whose round is not over, each after its `on_round_begin`; handlers may have been added since."""
        while new := [each for each in self._outstanding(number) if not self._deliveries.done(each, number, BEGIN)]:
            for handler in new:
                self._deliveries.begin(handler, self.rounds[-1])
            self._end_if_misused()
        return self._outstanding(number)

    def _run_round(self, current: Round) -> None:
        number = current.number
        self.round_number = number
        self._node = None
        self._data = None
        self.rounds.append(RoundReport(number))
        self._deliveries.recall(self.rounds[-1])
        self.report = nested()
        self.report["round"] = number
        self.report["round_processing_start_time"] = self.now()
        logger.info("Round %d of %s: deadline %s", number, self.tournaments[self.tournament_id], current.deadline)
        self._begun(number)
        self._try_until_done(current)
        self.report["round_processing_end_time"] = self.now()
        for handler in self._begun(number):
            self._deliveries.settle(handler, self.rounds[-1])
        for handler in self._begun(number):
            self._deliveries.once(handler, CLEANUP, self.rounds[-1])
        self._end_if_misused()
        self.persistent_state["last_round_processed"] = number
        self.save_state()
        self.report = None
        forget_rounds(self.data_folder, before=number - 1, made=self.made_files)

    def _try_until_done(self, current: Round) -> None:
        """Data, predictions, training: again for what failed, as often as allowed and until the deadline."""
        number, trained = current.number, False
        while True:
            missing = self._get_data(current)
            if missing is None:
                if self._training_comes_first(number):
                    self._deliver_training(number)
                    trained = True
                for handler in self._begun(number):
                    self._deliveries.predict(handler, self.rounds[-1])
                self._end_if_misused()
                if not any(self._deliveries.to_be_tried(each, number) for each in self.event_handlers):
                    break
            wait = self.settings.retry_wait
            if not current.is_open(self.now() + timedelta(seconds=wait)):
                logger.error("The deadline of round %d comes before what failed can be tried again", number)
                if missing is not None:
                    self.rounds[-1].add_failure("the data could not be had")
                    self._deliveries.tell(failure_of("data", None, missing, number, retry=False))
                self._deliveries.give_up(self.rounds[-1])
                break
            self.surroundings.clock.sleep(wait)
        if not trained:
            self._deliver_training(number)

    def _end_if_misused(self) -> None:
        if self._deliveries.misuse is not None:
            raise self._deliveries.misuse

    def _training_comes_first(self, number: int) -> bool:
        """Whether somebody has no model yet, or a last try may need a newer one. Otherwise training, or the download of
        its data, could hold back predictions until the round is closed."""
        return any(map(self._deliveries.untrained, self._to_be_trained(number))) or any(
            map(self._deliveries.is_last_try, self._begun(number))
        )

    def _to_be_trained(self, number: int) -> list[EventHandler]:
        return [each for each in self._begun(number) if self._deliveries.trains(each, self.rounds[-1])]

    def _get_data(self, current: Round) -> Exception | None:
        """Have this round's live file; returns why it could not be had."""
        if self._data is not None:
            return None
        try:
            data = self.round_data(current.number)
            data.add_live()
            found = self.node.api.current_round()
            self._data_datestamp = found.data_datestamp if found and found.number == current.number else None
        except Exception as error:  # noqa: BLE001 - network, disk, a damaged file: whatever it was, the round goes on
            logger.exception("The data of round %d could not be had", current.number)
            self._deliveries.tell(failure_of("data", None, error, current.number, retry=True))
            self._node = None  # the next try asks anew which data there are
            return error
        self._data = data
        return None

    def _deliver_training(self, number: int) -> None:
        report = self.rounds[-1]
        handlers = self._to_be_trained(number)
        if not handlers or self._data is None:
            return
        trouble = "the training data could not be had"
        try:
            fingerprint = self._data.add_training(self.persistent_state.setdefault("training_files", {}))
        except Exception as error:  # noqa: BLE001 - as above: a model that was trained earlier can still predict
            logger.exception("The training data could not be had")
            report.add_failure(trouble)
            self._deliveries.tell(failure_of("training data", None, error, number, retry=False))
            return
        report.drop_failure(trouble)
        before = len(report.trained)
        for handler in handlers:
            self._deliveries.train(handler, fingerprint, report)
        self._end_if_misused()
        if len(report.trained) > before:
            self.persistent_state["last_round_trained"] = number
        self.save_state()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold every handler's lock, so that no second process delivers the same events."""
        self._locks = {}
        try:
            for handler in self.event_handlers:
                self._lock(self._deliveries.name_of(handler))
            yield
        finally:
            for lock in self._locks.values():
                lock.release()
            self._locks = None

    def _lock(self, name: str) -> None:
        """Take a handler's lock and keep it while the daemon runs."""
        if self._locks is None or name in self._locks:
            return
        busy = NumeraiError(
            f"Another process delivers events to the handler {name}.",
            "End that one first, or give the handler another name.",
            code="busy",
        )
        self._locks[name] = take(self.book.lock_path(name), busy=busy)


def nested() -> Any:
    """A dictionary that makes itself a dictionary for every key that is not there, as deep as one writes."""
    return collections.defaultdict(nested)


@contextmanager
def _sigterm_stops() -> Iterator[None]:
    """Turn SIGTERM into `Stopped` within the block, where signals can be handled (the main thread)."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
