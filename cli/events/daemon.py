"""Follows the rounds of one tournament and delivers each one's events to every handler, once, over restarts."""

from __future__ import annotations

import collections
import copy
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ApiError, NumeraiError, UsageError
from ..models import Keys, Model, Round, Tournament
from ..ports import NumeraiApi
from ..redaction import Redactor
from .datasets import RoundData, folder_of, forget_rounds
from .delivery import BEGIN, CLEANUP, Deliveries, RoundReport
from .dispatch import failure_of
from .handler import EventHandler, Failure, SubmissionMade, logger
from .state import Book, said_if_not_kept
from .surroundings import Surroundings, find_model, make_node

if TYPE_CHECKING:
    from filelock import FileLock

    from .napi import RobustNumerAPI
    from .runtime import Node

SECRET_ATTRIBUTES = ("secret_key", "_smtp_password")
"""What handlers may hold and nobody may be shown."""

DEFAULTS: Mapping[str, Any] = {
    # seconds between two looks at which round is open
    "round_wait_interval": 60,
    # in single_run mode: seconds to wait for a round to open
    "single_run_max_wait": 86_400,
    # how often on_new_tournament_data (and on_new_training_data, within a round) is tried
    "max_attempts": 3,
    # seconds before the next try
    "retry_wait": 60,
    # the features that the old CSV files hold
    "feature_set": "small",
    # what handlers for numerauto may read; nothing here does
    "check_validation_data": True,
    "wakeup_time": 360,
    "invalid_dataset_waittime": 600,
    "napi_wait_schedule": [60, 60, 60, 60, 60, 600, 600, 600, 3600, 3600, 3600],
    "upload_verify_wait_schedule": [10, 10, 10, 10, 10, 10, 60, 60, 60, 60, 60, 600, 3600],
}


class Stopped(BaseException):
    """The process was told to stop (SIGTERM). Not an `Exception`, so that no handler swallows it."""


class EventDaemon:
    """Calls its handlers in the order in which they were added, all of them for one event before the next event.

    Handlers use (the names are numerauto's): `tournament_id`, `tournaments` (id -> name), `round_number`, `config`,
    `report` (a nested dictionary, new for each round), `persistent_state` with `save_state()`, `napi`,
    `get_dataset_path(round_number)`; and `node` (the node runtime), `submit(predictions)`, `surroundings`.
    `before_start` holds what failed before there was a daemon, for the handlers to be told of; `failed` lists
    `<handler>: <event>` for what failed and is no step of a round: on_start, on_submission, on_shutdown. `running` is
    the daemon that runs in this process.
    """

    running: ClassVar[EventDaemon | None] = None

    def __init__(
        self,
        surroundings: Surroundings,
        tournament_id: int = 8,
        config: Mapping[str, Any] | None = None,
        model: str | None = None,
    ):
        self.surroundings = surroundings
        self.tournament_id = int(tournament_id)
        self.tournaments = {int(tournament): tournament.prefix for tournament in Tournament}
        if self.tournament_id not in self.tournaments:
            raise UsageError(f"There is no tournament {tournament_id}.", "Give 8, 11 or 12.", code="unknown-tournament")
        self.model = model
        self.event_handlers: list[EventHandler] = []
        self.round_number: int | None = None
        self.report: Any = None
        self.book = Book(surroundings.folder / self.tournaments[self.tournament_id])
        folders = {f"{kind}_directory": self.book.folder / f"{kind}s" for kind in ("model", "prediction", "report")}
        folders["data_directory"] = self.book.folder / "data"
        self.config: dict[str, Any] = {**DEFAULTS, **folders, **(config or {})}
        for name in folders:
            self.config[name] = Path(self.config[name])
        self._shared: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self.load_state()
        self.rounds: list[RoundReport] = []
        self.failed: list[str] = []
        self.before_start: list[Failure] = []
        self._deliveries = Deliveries(
            self.book,
            lambda: self.event_handlers,
            lambda: max(1, int(self.config["max_attempts"])),
            self.redact,
        )
        self._locks: dict[str, FileLock] | None = None
        self._api: NumeraiApi | None = None
        self._node: Node | None = None
        self._data: RoundData | None = None
        self._data_datestamp: int | None = None

    # what handlers use

    def add_event_handler(self, handler: EventHandler) -> None:
        """Add a handler; `UsageError` when there is one of this name, since its state would be shared."""
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

    def get_dataset_path(self, round_number: int) -> Path:
        """The folder of a round's data: `live.parquet` and, where a handler trains, `features.json`, `train.parquet`
        and `validation.parquet`. For the current round, `folder / "numerai_training_data.csv"` and
        `folder / "numerai_tournament_data.csv"` are written when they are asked for."""
        if self._data is not None and round_number == self.round_number:
            return self._data.folder
        return folder_of(self.config["data_directory"], round_number)

    @property
    def api(self) -> NumeraiApi:
        """Numerai's API with the daemon's keys, as the tool itself uses it."""
        if self._api is None:
            self._api = self.surroundings.api_with(self.keys())
        return self._api

    @property
    def napi(self) -> RobustNumerAPI:
        """What numerauto's handlers know as `napi`."""
        from .napi import RobustNumerAPI

        return RobustNumerAPI(daemon=self)

    @property
    def node(self) -> Node:
        """The node runtime for this round's data, with the daemon's keys."""
        if self._node is None:
            self._node = make_node(self.surroundings.folder, self.keys(), self.tournament_id, None)
        return self._node

    @property
    def prediction_folder(self) -> Path:
        """Where handlers leave this round's predictions for each other."""
        return self._round_folder("prediction_directory")

    @property
    def model_folder(self) -> Path:
        """Where handlers leave the models they trained in this round."""
        return self._round_folder("model_directory")

    def keys(self) -> Keys:
        """The keys from the environment or the home folder, else those that an uploader was made with."""
        try:
            return self.surroundings.keys()
        except NumeraiError:
            for handler in self.event_handlers:
                public_id, secret_key = (getattr(handler, name, None) for name in ("public_id", "secret_key"))
                if public_id and secret_key:
                    return self.own_keys(public_id, secret_key)
            raise

    def own_keys(self, public_id: str, secret_key: str) -> Keys:
        """Keys that a handler was made with, for the API that the environment names."""
        url = os.environ.get("NUMERAI_API_URL")
        return Keys(public_id, secret_key, url) if url else Keys(public_id, secret_key)

    def secrets(self) -> list[str | None]:
        """What no log, notice or report may show: the secret key, and what handlers were made with."""
        held = secrets_of(self.event_handlers)
        with suppress(NumeraiError):  # keys may stand in the handlers only
            held.append(self.surroundings.keys().secret_key)
        return held

    def redact(self, text: str) -> str:
        """The text without the secrets."""
        return Redactor(self.secrets())(text)

    def submit(
        self,
        predictions: Any,
        *,
        model: str | None = None,
        keys: Keys | None = None,
        tournament_id: int | None = None,
        handler: str | None = None,
    ) -> SubmissionMade:
        """Check predictions, send them, and return once Numerai counts them, or is known not to; then every handler
        gets `on_submission`, whose `status` says which.

        Takes what `Node.submit` takes: a frame, a series indexed by id, or the path of a CSV file. Raises
        `BadPredictions` when they break a rule, `TemporaryFailure` when Numerai could not be reached.
        """
        from .runtime import Submitted

        tournament = tournament_id or self.tournament_id
        chosen = self.find_model(model, keys, tournament)
        node, datestamp = self._node_of(chosen, keys, tournament)
        try:
            found = node.submit(predictions, datestamp)
        except Submitted as error:
            logger.warning("%s: %s", chosen.name, error)
            number, made_id, status = error.round_number, error.submission_id, error.status
        else:
            number, made_id, status = found.round_number, found.id, "on-time"
        made = SubmissionMade(
            number or self.round_number, made_id, status, chosen.name, chosen.id, handler, status == "late"
        )
        self.announce(made)
        return made

    def find_model(self, name: str | None, keys: Keys | None = None, tournament_id: int | None = None) -> Model:
        """The model to submit to; `UsageError` when it is not clear which."""
        api = self.surroundings.api_with(keys) if keys else self.api
        return find_model(api, tournament_id or self.tournament_id, name or self.model)

    def announce(self, made: SubmissionMade) -> None:
        """Record a submission and give it to every handler."""
        logger.info("Submitted for %s in round %s: %s", made.model, made.round_number, made.submission_id)
        if self.rounds:
            self._deliveries.submitted(made, self.rounds[-1])
        self.failed += self._deliveries.on_all("on_submission", made)

    @property
    def persistent_state(self) -> dict[str, Any]:
        """The dictionary that all handlers share and that survives restarts."""
        return self._shared

    @persistent_state.setter
    def persistent_state(self, value: dict[str, Any]) -> None:
        if not isinstance(value, dict):
            raise TypeError(f"persistent_state must be a dictionary, not a {type(value).__name__}.")
        self._shared = value

    def load_state(self) -> None:
        """Read `persistent_state`, the dictionary that all handlers share."""
        self.persistent_state = {"last_round_processed": None, "last_round_trained": None, **self.book.shared()}
        self._known = copy.deepcopy(self.persistent_state)

    def save_state(self) -> None:
        """Write what has changed in `persistent_state`; when that cannot be done the log says why, and the old file
        stays."""
        with said_if_not_kept():
            self._known = self.book.keep_shared(self.persistent_state, self._known)

    # the life of the daemon

    def run(self, single_run: bool = False) -> list[RoundReport]:
        """Deliver the events of each round as it opens, until interrupted; returns how the rounds went.

        With `single_run` it ends after one round: the open one, or the next to open within `single_run_max_wait`
        seconds. SIGTERM ends it quietly and Ctrl-C with `KeyboardInterrupt`, both after `on_shutdown`; what was
        outstanding of a round at SIGTERM is said to have failed. `NumeraiError` with code `busy` when another process
        delivers events to one of these handlers.
        """
        self.rounds, self.failed = [], []
        with self._locked(), _sigterm_stops():
            EventDaemon.running = self
            try:
                self.load_state()  # another process may have written since it was read, before the locks were held
                for handler in self.event_handlers:
                    self._deliveries.reload(handler)
                self.failed += self._deliveries.on_all("on_start")
                for failure in self.before_start:
                    self._deliveries.tell(failure)
                self._follow(single_run)
            except Stopped:
                logger.info("Told to stop")
                for report in self.rounds[-1:]:
                    for handler in self._outstanding(report.round_number):
                        self._deliveries.interrupted(handler, report)
            finally:
                self.failed += self._deliveries.on_all("on_shutdown")
                self.save_state()
                EventDaemon.running = None
        return self.rounds

    def _follow(self, single_run: bool) -> None:
        started = self.surroundings.clock.monotonic()
        answered = False
        while True:
            current = self._open_round(must_answer=not answered)
            answered = True
            if current is not None and self._outstanding(current.number):
                self._run_round(current)
                if single_run:
                    return
            elif single_run and current is not None:
                logger.info("All events of round %d were delivered before; there is nothing to do", current.number)
                return
            elif single_run and self.surroundings.clock.monotonic() - started >= self.config["single_run_max_wait"]:
                logger.info("No round opened within %s s", self.config["single_run_max_wait"])
                return
            self.surroundings.clock.sleep(self.config["round_wait_interval"])

    def _open_round(self, *, must_answer: bool) -> Round | None:
        """The round that is open by Numerai's own time; None when none is. Refused keys end a daemon that starts; later
        on nothing ends it."""
        try:
            current = self.api.current_round(self.tournament_id)
        except ApiError as error:
            if must_answer and not error.temporary:
                raise
            logger.warning("Numerai could not be asked for the round: %s", error.message)
            return None
        return current if current is not None and current.is_open(self._now()) else None

    def _now(self) -> datetime:
        heard = self._api.heard_time() if self._api is not None else None
        return heard or self.surroundings.clock.now()

    def _outstanding(self, number: int) -> list[EventHandler]:
        return [each for each in self.event_handlers if not self._deliveries.done(each, number, CLEANUP)]

    def _begun(self, number: int) -> list[EventHandler]:
        """The handlers whose round is not over, each after its `on_round_begin`; handlers may have been added since."""
        while new := [each for each in self._outstanding(number) if not self._deliveries.done(each, number, BEGIN)]:
            for handler in new:
                self._deliveries.begin(handler, self.rounds[-1])
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
        self.report["round_processing_start_time"] = self._now()
        logger.info("Round %d of %s: deadline %s", number, self.tournaments[self.tournament_id], current.deadline)
        self._begun(number)
        self._try_until_done(current)
        self.report["round_processing_end_time"] = self._now()
        for handler in self._begun(number):
            self._deliveries.settle(handler, self.rounds[-1])
        for handler in self._begun(number):
            self._deliveries.once(handler, CLEANUP, self.rounds[-1])
        self.persistent_state["last_round_processed"] = number
        self.save_state()
        self.report = None
        forget_rounds(self.config["data_directory"], before=number - 1)

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
                if not any(self._deliveries.to_be_tried(each, number) for each in self.event_handlers):
                    break
            wait = self.config["retry_wait"]
            if not current.is_open(self._now() + timedelta(seconds=wait)):
                logger.error("The deadline of round %d comes before what failed can be tried again", number)
                if missing is not None:
                    self.rounds[-1].add_failure("the data could not be had")
                    self._deliveries.tell(failure_of("data", None, missing, number, retry=False))
                self._deliveries.give_up(self.rounds[-1])
                break
            self.surroundings.clock.sleep(wait)
        if not trained:
            self._deliver_training(number)

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
        name = self.tournaments[self.tournament_id]
        try:
            data = RoundData(self.config["data_directory"], current.number, self.node, self.config["feature_set"], name)
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
            fingerprint = self._data.fingerprint(self.persistent_state.setdefault("training_files", {}))
            self._data.add_training()
        except Exception as error:  # noqa: BLE001 - as above: a model that was trained earlier can still predict
            logger.exception("The training data could not be had")
            report.add_failure(trouble)
            self._deliveries.tell(failure_of("training data", None, error, number, retry=False))
            return
        report.drop_failure(trouble)
        before = len(report.trained)
        for handler in handlers:
            self._deliveries.train(handler, fingerprint, report)
        if len(report.trained) > before:
            self.persistent_state["last_round_trained"] = number
        self.save_state()

    def _node_of(self, model: Model, keys: Keys | None, tournament: int) -> tuple[Node, int | None]:
        """The node to submit through, and the day of the data where another round than theirs is open by now."""
        node = make_node(self.surroundings.folder, keys or self.keys(), tournament, model)
        if tournament != self.tournament_id or self._data is None:
            return node, None
        current = node.api.current_round()
        if current is not None and current.number == self.round_number:
            return node, None
        logger.warning("Round %s was closed while it was worked on", self.round_number)
        node.live_file = self.node.live_file
        return node, None if current is None else self._data_datestamp

    def _round_folder(self, kind: str) -> Path:
        name = self.tournaments[self.tournament_id]
        return Path(self.config[kind]) / f"tournament_{name}" / f"round_{self.round_number}"

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
        from filelock import FileLock, Timeout

        if self._locks is None or name in self._locks:
            return
        path = self.book.lock_path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise NumeraiError(
                f"Another process delivers events to the handler {name}.",
                "End that one first, or give the handler another name.",
                code="busy",
            ) from None
        self._locks[name] = lock


def secrets_of(handlers: Iterable[EventHandler]) -> list[str | None]:
    """The keys and passwords that handlers were made with."""
    found = [getattr(each, name, None) for each in handlers for name in SECRET_ATTRIBUTES]
    return [secret for secret in found if isinstance(secret, str)]


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
