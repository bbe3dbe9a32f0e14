"""The signals that end a process set an event, and those that are ignored stay ignored."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from numerai_compute.signals import ending_signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without asking it")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_sets_the_event_and_is_named(name: str) -> None:
    number = getattr(signal, name)
    stop, before = threading.Event(), signal.getsignal(number)
    with ending_signals(stop) as received:
        os.kill(os.getpid(), number)
        assert stop.wait(60) and received == [number]
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals(threading.Event()):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_receives_none() -> None:
    heard: list[list[int]] = []

    def work() -> None:
        with ending_signals(threading.Event()) as received:
            heard.append(received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert heard == [[]]
