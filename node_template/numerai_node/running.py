"""Runs a node's main function and turns however it ends into one clear line and the exit code of the contract."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from .errors import EXIT_ACCEPTED, EXIT_KEYBOARD, EXIT_TEMPORARY, EXIT_USER_CODE, BadPredictions, Interrupted, NodeError
from .log import log, redact
from .node import Node

GRACE_SECONDS = 8.0
"""How long a run may tidy up after SIGTERM; an engine kills 10 s after it (`docker stop`)."""


def run(main: Callable[[Node], object]) -> NoReturn:
    """Call `main` with this run's node and end the process: 0, 65, 75, 78, or 1 when the code in `main` failed."""
    honour_sigterm()
    sys.exit(exit_code_of(lambda: _keeping_artifacts(main)))


def run_and_submit(main: Callable[[Node], object]) -> NoReturn:
    """Like `run`, for a `main` that submits: the keys and the model are checked before any work starts."""

    def checked(node: Node) -> None:
        node.check_access()
        main(node)

    run(checked)


def _keeping_artifacts(main: Callable[[Node], object]) -> None:
    node = Node()
    try:
        main(node)
    finally:
        node.keep_artifacts()


def exit_code_of(work: Callable[[], object]) -> int:
    """Do the work, log how it failed if it did, and return the exit code."""
    try:
        work()
    except NodeError as error:
        for problem in error.problems if isinstance(error, BadPredictions) else ():
            log("problem", what=problem)
        log("failed", exit=error.exit_code, reason=error)
        return error.exit_code
    except Interrupted:
        log("interrupted", exit=EXIT_TEMPORARY, reason="the run was told to stop before it was done")
        return EXIT_TEMPORARY
    except KeyboardInterrupt:
        log("interrupted", exit=EXIT_KEYBOARD)
        return EXIT_KEYBOARD
    except Exception as error:  # noqa: BLE001 - model code may raise anything; its author needs the traceback
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
        sys.stderr.flush()
        log("failed", exit=EXIT_USER_CODE, reason=f"{type(error).__name__}: {error}")
        return EXIT_USER_CODE
    return EXIT_ACCEPTED


def honour_sigterm(grace: float = GRACE_SECONDS) -> None:
    """Raise `Interrupted` in the main thread on SIGTERM, and end the process after `grace` seconds if that is stuck.

    A long call into compiled code (a prediction, say) holds back Python's signal handlers; the thread that waits at
    the wake-up socket does not depend on them.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = (reader, writer, grace)
    threading.Thread(target=_end_after_grace, args=arguments, daemon=True, name="sigterm").start()


@contextmanager
def sigterm_held() -> Iterator[None]:
    """Let a SIGTERM that comes within the block take effect only at its end, so that a started process is known."""
    came: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
    if came:
        signal.raise_signal(signal.SIGTERM)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted


def _end_after_grace(reader: socket.socket, writer: socket.socket, grace: float) -> None:
    del writer  # held by the caller's argument list, so that it stays open as long as this thread
    while received := reader.recv(1):
        if received[0] == signal.SIGTERM:
            time.sleep(grace)
            log("interrupted", exit=EXIT_TEMPORARY, reason=f"the run did not stop within {grace:g} s of being told to")
            os._exit(EXIT_TEMPORARY)
