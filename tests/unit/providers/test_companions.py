"""What works beside the daemon: restarted when it crashes, stopped with it, and unable to hold it up."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.providers.local import companions as module
from numerai_compute.providers.local.companions import Companions

WAIT = 10.0


class Worker:
    """Does `work` at each start, and remembers what it heard."""

    name = "worker"

    def __init__(self, work: Callable[[int, threading.Event], None]):
        self._work = work
        self.starts = 0
        self.crashes: list[str] = []
        self.ended = False
        self.reached = threading.Event()

    def run(self, stop: threading.Event) -> None:
        self.starts += 1
        self._work(self.starts, stop)

    def crashed(self, error: Exception) -> None:
        self.crashes.append(str(error))

    def stopped(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"FIRST_PAUSE": 0.01, "LONGEST_PAUSE": 0.02, "STOP_SECONDS": 0.2, "TELL_SECONDS": 0.2}.items():
        monkeypatch.setattr(module, name, seconds)


def started(*workers: object) -> Companions:
    made = Companions(workers, SystemClock())  # type: ignore[arg-type]
    made.start()
    return made


def test_whoever_crashes_or_returns_is_started_again_and_has_heard_of_it() -> None:
    def work(start: int, stop: threading.Event) -> None:
        if start == 1:
            raise RuntimeError("the first time")
        if start == 2:
            return
        worker.reached.set()
        stop.wait(WAIT)

    worker = Worker(work)
    companions = started(worker)
    assert worker.reached.wait(WAIT)
    companions.stop()
    assert (worker.starts, worker.crashes, worker.ended) == (3, ["the first time"], True)


def test_one_that_crashes_for_ever_harms_no_other() -> None:
    def crash(start: int, stop: threading.Event) -> None:
        if start == 3:
            broken.reached.set()
        raise RuntimeError("again")

    def work(start: int, stop: threading.Event) -> None:
        fine.reached.set()
        stop.wait(WAIT)

    broken, fine = Worker(crash), Worker(work)
    companions = started(broken, fine)
    assert broken.reached.wait(WAIT) and fine.reached.wait(WAIT)
    companions.stop()
    assert fine.starts == 1 and fine.ended and broken.ended


@pytest.mark.slow
def test_one_that_hangs_or_cannot_say_its_last_words_does_not_hold_the_daemon_up() -> None:
    release = threading.Event()

    class Mute(Worker):
        def crashed(self, error: Exception) -> None:
            raise RuntimeError("not even that")

        def stopped(self) -> None:
            raise RuntimeError("nor this")

    def hang(start: int, stop: threading.Event) -> None:
        if start == 1:
            raise RuntimeError("a crash")
        worker.reached.set()
        release.wait(WAIT)

    class Slow(Worker):
        def stopped(self) -> None:
            release.wait(WAIT)

    def wait(start: int, stop: threading.Event) -> None:
        stop.wait(WAIT)

    worker, slow = Mute(hang), Slow(wait)
    companions = started(worker, slow)
    assert worker.reached.wait(WAIT)
    ending = threading.Thread(target=companions.stop)
    ending.start()
    ending.join(WAIT)
    assert not ending.is_alive() and not release.is_set()
    release.set()


def test_no_companion_is_nothing_to_do() -> None:
    started().stop()
