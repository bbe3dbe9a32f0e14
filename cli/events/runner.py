"""Runs the handlers of files and entry points: what the command line calls."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ApiError, NumeraiError
from ..files.logs import PrivateLog
from ..redaction import Redactor
from .dispatch import failure_of
from .loading import Loaded, load_handlers
from .loop import EventLoop
from .messages import LOGGER, RoundReport, logger
from .printed import masked_output
from .surroundings import Surroundings

LOG_BYTES, LOG_FILES = 5_000_000, 3


@dataclass(frozen=True)
class HandlersRun:
    """How a run of handlers ended: `not_loaded` names what could not be imported or made, `failed` lists
    `<handler>: <event>` for what failed outside the steps of a round."""

    handlers: tuple[str, ...]
    not_loaded: tuple[str, ...]
    failed: tuple[str, ...]
    rounds: tuple[RoundReport, ...]
    log: str

    @property
    def succeeded(self) -> bool:
        """Whether nothing failed."""
        return not self.not_loaded and not self.failed and not any(found.failed for found in self.rounds)


def run_handlers(
    sources: Sequence[str],
    surroundings: Surroundings,
    *,
    tournament: int = 8,
    model: str | None = None,
    single_run: bool = False,
    again: bool = False,
    loop: type[EventLoop] = EventLoop,
    report: Callable[[str], None] = lambda line: None,
) -> HandlersRun:
    """Load handlers and run the daemon with them until it is interrupted, or for one round; with `again` the events of
    the round that is open are delivered once more.

    `loop` follows the rounds. `report` gets each line of the log, without tracebacks, which are in the log file. What
    handlers print goes to standard error, without secrets. `UsageError` when a source or the model does not exist,
    `ApiError` when Numerai refuses the keys, `NumeraiError` with code `no-handlers` when there is nothing to run.
    """
    daemon = loop(surroundings, tournament, model=model)
    path = daemon.book.folder / "events.log"
    with logged(path, report), masked_output(sys.stderr):
        with contextlib.suppress(NumeraiError):  # keys that were read are masked; whether there are any is asked below
            daemon.keys()
        loaded = load_handlers(sources)
        _add(daemon, loaded)
        if not daemon.event_handlers:
            raise _nothing_to_run(sources, loaded, path)
        _check_account(daemon, model)
        names = tuple(handler.name for handler in daemon.event_handlers)
        logger.info("Handlers: %s", ", ".join(names))
        rounds = daemon.run(single_run=single_run, again=again)
    not_loaded = tuple(str(failure.handler) for failure in loaded.failures)
    return HandlersRun(names, not_loaded, tuple(daemon.failed), tuple(rounds), str(path))


def _add(daemon: EventLoop, loaded: Loaded) -> None:
    """Add what was loaded; a handler that cannot be added is one more failure, and no more than that."""
    for handler in loaded.handlers:
        try:
            daemon.add_event_handler(handler)
        except Exception as error:  # noqa: BLE001 - a handler is the user's code: it may raise anything
            loaded.failures.append(failure_of("import", handler.name, error, None, retry=False))
    for failure in loaded.failures:
        logger.error("%s could not be loaded", failure.handler, exc_info=failure.error)
    daemon.before_start = loaded.failures


def _nothing_to_run(sources: Sequence[str], loaded: Loaded, log: Path) -> NumeraiError:
    where = ", ".join(sources)
    if loaded.failures:
        said = Redactor()("; ".join(f"{type(each.error).__name__}: {each.error}" for each in loaded.failures))
        return NumeraiError(
            f"No handler of {where} could be loaded: {said}", f"The traceback is in {log}", code="no-handlers"
        )
    return NumeraiError(
        f"There is no handler to run in {where}.",
        "Define a class that extends EventHandler, or a list `handlers`.",
        code="no-handlers",
    )


def _check_account(daemon: EventLoop, model: str | None) -> None:
    """Find out at once whether Numerai takes the keys and has the model; when it cannot be asked now, that can wait."""
    try:
        if model is None:
            daemon.api.models()
        else:
            daemon.find_model(model)
    except ApiError as error:
        if not error.temporary:
            raise
        logger.warning("The keys could not be checked: %s", error.message)


@contextlib.contextmanager
def logged(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Write what handlers and the daemon log into a file (rotated at 5 MB) and to `report`, without secrets."""
    layout = "%(asctime)s %(levelname)-7s %(message)s"
    file = PrivateLog(path, layout, max_bytes=LOG_BYTES, kept=LOG_FILES)
    lines = _Lines(report)
    lines.setLevel(logging.INFO)
    root = logging.getLogger()
    before = root.level
    for target in (file, lines):
        target.addFilter(lambda record: not record.name.startswith("urllib3"))  # what its retries come to is said here
        root.addHandler(target)
    root.setLevel(min(before or logging.WARNING, logging.WARNING))
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        for target in (file, lines):
            root.removeHandler(target)
        file.close()


class _Lines(logging.Handler):
    def __init__(self, report: Callable[[str], None]):
        super().__init__()
        self._report = report
        self._redact = Redactor()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        why = f": {type(error).__name__}: {error}" if error else ""
        with contextlib.suppress(Exception):  # standard error is full or closed, which is no reason to end the round
            self._report(self._redact(record.getMessage() + why))
