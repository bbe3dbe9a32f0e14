"""Each handler's state survives restarts, and what cannot be kept does no harm."""

from __future__ import annotations

import json
import logging
import os
import sys

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.events import EventHandler, SubmissionMade
from numerai_compute.events.state import Book, NotSerialisable, Progress, file_name

from tests.unit.events.conftest import Recorder, World

MADE = SubmissionMade(7, "submission-1", "success", "alice", "id-alice", "x", late=True)


class Counting(EventHandler):
    """Counts the rounds it has seen."""

    def on_new_tournament_data(self, round_number: int) -> None:
        self.state["rounds"] = [*self.state.get("rounds", []), round_number]


def test_state_survives_a_restart(world: World) -> None:
    world.daemon(Counting()).run(single_run=True)
    again = Counting()
    world.daemon(again, Recorder())
    assert again.state == {"rounds": [100]}


def test_states_of_handlers_do_not_mix(world: World) -> None:
    world.daemon(Counting("a"), Counting("b")).run(single_run=True)
    assert (Counting("a").state, Counting("b").state) == ({}, {})
    folder = world.home / "events" / "numerai" / "state"
    assert sorted(path.name for path in folder.iterdir()) == ["handler-a.json", "handler-b.json"]


def test_what_json_cannot_hold_is_said_and_the_old_state_stays(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.daemon(Counting("kept")).run(single_run=True)

    class Bad(EventHandler):
        def on_start(self) -> None:
            self.state["model"] = object()

    other = Recorder("other")
    with caplog.at_level(logging.ERROR):
        world.daemon(Bad("kept"), other).run(single_run=True)
    assert "The state of kept is not kept: 'model' holds a object that is not JSON." in caplog.text
    assert "on_shutdown" in other.events
    assert world.daemon().book.state("kept") == {"rounds": [100]}


def test_a_state_that_is_no_dictionary_is_refused(world: World) -> None:
    with pytest.raises(NotSerialisable, match="it is a list"):
        world.daemon().book.keep_state("x", [1])  # type: ignore[arg-type]


def test_a_damaged_state_is_moved_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    book = world.daemon().book
    book.keep_state("x", {"a": 1})
    path = book.folder / "state" / file_name("x")
    path.write_text('{"a": ')
    assert book.state("x") == {} and "moved to" in caplog.text
    assert path.with_name(path.name + ".broken").read_text() == '{"a": '


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_the_files_are_private(world: World) -> None:
    book = world.daemon().book
    book.keep_state("x", {})
    assert (book.folder / "state" / file_name("x")).stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_the_old_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    book = world.daemon().book
    book.keep_state("x", {"old": True})
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match="No space left"):
        book.keep_state("x", {"new": True})
    assert book.state("x") == {"old": True}
    assert [path.name for path in (book.folder / "state").iterdir()] == [file_name("x")]


def test_a_full_disk_stops_no_submission(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Submitting(EventHandler):
        def on_new_tournament_data(self, round_number: int) -> None:
            self.daemon.submit("predictions")

    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    other = Recorder()
    rounds = world.daemon(Submitting(), other).run(single_run=True)
    assert len(world.node.submitted) == 1 and rounds[0].failed == []
    assert other.events.count("on_new_tournament_data") == 1 and other.events[-1] == "on_shutdown"
    assert "No space left on device" in caplog.text


def test_progress_is_written_after_the_state_and_neither_holds_back_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    class Beginning(EventHandler):
        def on_round_begin(self, round_number: int) -> None:
            self.state["begun"] = [*self.state.get("begun", []), round_number]

    def kill(book: Book, name: str, progress: Progress) -> None:
        raise Killed if progress.done else EnvironmentNotReady("The disk is full.")

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Book, "keep_progress", kill)
        world.daemon(Beginning()).run(single_run=True)
    assert world.daemon().book.state("Beginning") == {"begun": [100]}
    world.daemon(Beginning()).run(single_run=True)
    assert world.daemon().book.state("Beginning") == {"begun": [100, 100]}


def test_progress_goes_round(world: World) -> None:
    book = Book(world.home)
    progress = Progress(7, ["on_round_begin"], {"on_new_tournament_data": 2}, "abc", ["on_cleanup"], [MADE])
    book.keep_progress("x", progress)
    assert book.progress("x") == progress
    (world.home / "progress" / file_name("x")).write_text(json.dumps({"attempts": 5}))
    assert book.progress("x") == Progress()
    (world.home / "progress" / file_name("x")).write_text(json.dumps({"submissions": [{"id": "a"}]}))
    assert book.progress("x") == Progress()


@pytest.mark.slow
@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_every_name_has_a_file_of_its_own(one: str, other: str) -> None:
    names = [file_name(name.encode("utf-8", "replace").decode()) for name in (one, other)]
    assert all("/" not in name and "\\" not in name and ":" not in name for name in names)
    assert (names[0] == names[1]) == (one.encode("utf-8", "replace") == other.encode("utf-8", "replace"))


def test_the_shared_dictionary_is_kept(world: World) -> None:
    class Sharing(EventHandler):
        def on_start(self) -> None:
            assert self.numerauto is not None
            self.numerauto.persistent_state["mine"] = [1, 2]

    world.daemon(Sharing()).run(single_run=True)
    kept = world.daemon().persistent_state
    assert kept["mine"] == [1, 2] and kept["last_round_processed"] == 100


def test_processes_with_different_handlers_share_one_dictionary(world: World) -> None:
    class Sharing(EventHandler):
        def on_start(self) -> None:
            self.daemon.persistent_state[self.name] = 1

    class Outer(Sharing):
        def on_round_begin(self, round_number: int) -> None:
            world.daemon(Sharing("inner")).run(single_run=True)
            del self.daemon.persistent_state["old"]
            assert "inner" not in self.daemon.persistent_state

    world.daemon(Sharing("old")).run(single_run=True)
    world.daemon(Outer("outer")).run(single_run=True)
    kept = world.daemon().persistent_state
    assert (kept["inner"], kept["outer"], kept["last_round_processed"]) == (1, 1, 100) and "old" not in kept


def test_a_shared_dictionary_that_is_no_json_leaves_the_old_one(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = world.daemon()
    daemon.persistent_state["a"] = 1
    daemon.save_state()
    daemon.persistent_state["a"] = object()
    daemon.save_state()
    assert "'a' holds a object that is not JSON" in caplog.text
    monkeypatch.setattr(filelock, "FileLock", lambda *given, **options: (_ for _ in ()).throw(OSError(28, "No space")))
    daemon.persistent_state["a"] = 2
    daemon.save_state()
    assert "No space" in caplog.text and world.daemon().persistent_state["a"] == 1
