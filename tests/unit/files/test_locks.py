"""Locks between processes: who looks whether one is held is never taken for its holder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from numerai_compute.files import locks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.touch()
    return path


@contextmanager
def looked_at(path: Path) -> Iterator[None]:
    """Others who look at the lock without end, as `status`, `doctor` and a watcher that starts may at the same time."""
    stop = threading.Event()
    looking = threading.Barrier(3)

    def look() -> None:
        looking.wait(60)
        while not stop.is_set():
            locks.is_held(path)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    looking.wait(60)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def test_a_lock_that_others_look_at_is_not_held(path: Path) -> None:
    with looked_at(path):
        assert not any(locks.is_held(path) for _ in range(300))


def test_a_lock_that_others_look_at_can_be_taken(path: Path) -> None:
    with looked_at(path):
        for _ in range(100):
            locks.take(path).release()


def test_a_lock_is_held_until_it_is_released(path: Path) -> None:
    lock = locks.take(path)
    assert locks.is_held(path)
    with pytest.raises(locks.Held):
        locks.take(path)
    lock.release()
    assert not locks.is_held(path)


def test_where_the_system_does_not_say_the_lock_is_tried(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_refuses_to_share", lambda _: None)
    assert not locks.is_held(path)
    with FileLock(path):
        assert locks.is_held(path)
