"""Runs a node's main function and turns however it ends into one clear line and the exit code of the contract."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from .errors import (
    EXIT_CONFIRMED,
    EXIT_COVERED,
    EXIT_KEYBOARD,
    EXIT_LATE,
    EXIT_TEMPORARY,
    EXIT_UNCONFIRMED,
    EXIT_USER_CODE,
    BadPredictions,
    Interrupted,
    NodeError,
    NotSubmitted,
    Submitted,
    own_exit_code,
)
from .log import log, redact
from .node import Node
from .notify import COVERED, FAILURE, GATE, LATE, SECONDS, SUCCESS, addresses, tell

GRACE_SECONDS = 8.0
"""How long a run may tidy up after SIGTERM; an engine kills 10 s after it (`docker stop`)."""
LAST_WORDS_SECONDS = 4.0
"""How long a notification may take within that."""
ENDINGS = {
    EXIT_CONFIRMED: (SUCCESS, "submitted"),
    EXIT_LATE: (LATE, "was late"),
    EXIT_COVERED: (COVERED, "is covered by an earlier file"),
    EXIT_UNCONFIRMED: (FAILURE, "submitted, unconfirmed"),
}
"""The notice of an exit code: its kind and the end of its title."""


@dataclass(frozen=True)
class Ending:
    """How a run ended: its exit code, why when that is not 0, and whether it was told to stop."""

    exit_code: int
    reason: str | None = None
    stopped: bool = False


def run(main: Callable[[Node], object], *, tells: bool = True) -> NoReturn:
    """Call `main` with this run's node and end the process: 0, 65, 69, 73, 75, 76, 78, 79, or 1 when its code failed.
    In a run that only trains (NUMERAI_TRAIN), `train.py` is run in place of `main`.

    With `tells`, the people of NUMERAI_NOTIFY are told how it ended, unless it is a test that is not to submit.
    """
    honour_sigterm()
    addresses()
    nodes: list[Node] = []
    ending = ending_of(lambda: _keeping_artifacts(main, nodes))
    if tells and not any(node.settings.no_submit for node in nodes):
        try:
            _tell(ending, nodes)
        except (Interrupted, KeyboardInterrupt):
            log("warning", what="told to stop before the notification was sent")
    sys.exit(ending.exit_code)


def run_and_submit(main: Callable[[Node], object]) -> NoReturn:
    """Like `run`, for a `main` that submits: the keys and the model are checked before any work starts."""

    def checked(node: Node) -> None:
        node.check_access()
        main(node)

    run(checked)


def _keeping_artifacts(main: Callable[[Node], object], nodes: list[Node]) -> None:
    node = Node()
    nodes.append(node)
    try:
        if node.settings.trains:
            node.train_now()
        else:
            main(node)
    finally:
        node.keep_artifacts()


def _tell(ending: Ending, nodes: list[Node]) -> None:
    name = nodes[0].settings.node if nodes else os.environ.get("NUMERAI_NODE", "").strip() or "a node"
    submissions = nodes[0].submissions if nodes else []
    kind, title = ENDINGS.get(ending.exit_code, (FAILURE, "failed"))
    title = f"{name} {title}"
    if ending.exit_code == EXIT_CONFIRMED and submissions:
        last = submissions[-1]
        text = f"Numerai counts the submission {last.id} for round {last.round_number}, on time."
    elif ending.exit_code == EXIT_CONFIRMED:
        title, text = f"{name} ended well", "It submitted nothing."
    elif ending.exit_code in ENDINGS and ending.reason:
        text = ending.reason
    else:
        text = f"Exit code {ending.exit_code}: {ending.reason or 'its log says why'}"
        if submissions:
            text += f"\nNumerai counts the submission {submissions[-1].id} all the same."
    if nodes and (findings := nodes[0].findings):
        text = "\n".join([text, *(f"The gate has found: {finding}" for finding in findings)])
        if kind == SUCCESS:
            kind, title = GATE, f"{title}, but its predictions do not look right"
    tell(kind, title, redact(text), seconds=LAST_WORDS_SECONDS if ending.stopped else SECONDS)


def ending_of(work: Callable[[], object]) -> Ending:
    """Do the work, log how it failed if it did, and say how it ended."""
    try:
        work()
    except NotSubmitted as end:
        log("withheld", exit=end.exit_code, reason=end)
        return Ending(end.exit_code, str(end))
    except NodeError as error:
        problems = error.problems if isinstance(error, BadPredictions) else ()
        for problem in problems:
            log("problem", what=problem)
        log("failed", exit=error.exit_code, reason=error)
        return Ending(error.exit_code, " ".join([str(error), *problems]))
    except Interrupted:
        reason = "the run was told to stop before it was done"
        log("interrupted", exit=EXIT_TEMPORARY, reason=reason)
        return Ending(EXIT_TEMPORARY, reason, stopped=True)
    except KeyboardInterrupt:
        log("interrupted", exit=EXIT_KEYBOARD)
        return Ending(EXIT_KEYBOARD, "interrupted")
    except SystemExit as end:
        return _of_system_exit(end)
    except Exception as error:  # noqa: BLE001 - model code may raise anything; its author needs the traceback
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
        sys.stderr.flush()
        reason = f"{type(error).__name__}: {error}"
        log("failed", exit=EXIT_USER_CODE, reason=reason)
        return Ending(EXIT_USER_CODE, reason)
    return Ending(EXIT_CONFIRMED)


def _of_system_exit(end: SystemExit) -> Ending:
    """How a program that calls `sys.exit` ends: with its number, 0 for nothing, 1 and its words for anything else; as
    its submission only where it hands on that error's code."""
    if end.code is None or isinstance(end.code, int):
        code = end.code or EXIT_CONFIRMED
        return Ending(code if isinstance(end.__context__, Submitted) else own_exit_code(code))
    sys.stderr.write(redact(f"{end.code}\n"))
    return Ending(EXIT_USER_CODE, str(end.code))


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
