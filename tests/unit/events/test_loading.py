"""Handlers are found in files and entry points, and one that cannot be loaded does not hold back the others."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from numerai_compute.errors import ApiError, NumeraiError, UsageError
from numerai_compute.events import EventHandler
from numerai_compute.events.loading import load_handlers
from numerai_compute.events.runner import run_handlers

from tests.unit.events.conftest import SECRET, Recorder, World

IMPORT = "from numerai_compute.events import EventHandler\n"


def test_every_class_of_a_file(write_handlers: Callable[..., str]) -> None:
    text = IMPORT + (
        "class _Base(EventHandler): pass\n"
        "class Plain(_Base): pass\n"
        "class Named(EventHandler):\n    def __init__(self): super().__init__('my name')\n"
        "class Asks(EventHandler):\n    def __init__(self, name): super().__init__(name)\n"
        "class NeedsMore(EventHandler):\n    def __init__(self, name, size): super().__init__(name)\n"
    )
    loaded = load_handlers([write_handlers(text)])
    assert [handler.name for handler in loaded.handlers] == ["Plain", "my name", "Asks"]
    assert [failure.handler for failure in loaded.failures] == ["NeedsMore"]
    assert "NeedsMore needs name, size" in str(loaded.failures[0].error)


def test_a_list_of_handlers_wins(write_handlers: Callable[..., str]) -> None:
    text = IMPORT + "class A(EventHandler): pass\nclass B(EventHandler): pass\nhandlers = [B('one'), B('two'), A]\n"
    assert [handler.name for handler in load_handlers([write_handlers(text)]).handlers] == ["one", "two", "A"]


def test_files_beside_it_can_be_imported_and_two_files_may_share_a_name(write_handlers: Callable[..., str]) -> None:
    write_handlers("NAME = 'from beside'\n", "beside_the_handlers.py")
    text = IMPORT + "from beside_the_handlers import NAME\nhandlers = [EventHandler(NAME)]\n"
    assert load_handlers([write_handlers(text)]).handlers[0].name == "from beside"


@pytest.mark.parametrize(
    "text", ["1/0\n", "def broken(:\n", "import no_such_module_anywhere\n", "exit(0)", "handlers = 5"]
)
def test_a_file_that_fails_is_a_failure_and_no_more(write_handlers: Callable[..., str], text: str) -> None:
    good = write_handlers(IMPORT + "class Good(EventHandler): pass\n", "good.py")
    loaded = load_handlers([write_handlers(text), good])
    assert [handler.name for handler in loaded.handlers] == ["Good"]
    assert [failure.event for failure in loaded.failures] == ["import"] and "Traceback" in loaded.failures[0].traceback


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        SimpleNamespace(name="one", load=lambda: Recorder),
        SimpleNamespace(name="many", load=lambda: lambda: [EventHandler("a"), EventHandler("b")]),
        SimpleNamespace(name="broken", load=lambda: 1 / 0),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if "handlers" in group else [])
    loaded = load_handlers(["one", "many", "broken"])
    assert [handler.name for handler in loaded.handlers] == ["recorder", "a", "b"]
    assert [failure.handler for failure in loaded.failures] == ["broken"]


@pytest.mark.parametrize(
    "load", [lambda: sys.exit(0), lambda: lambda: sys.exit(0), lambda: [type("E", (EventHandler,), {"__init__": exit})]]
)
def test_leaving_the_process_while_handlers_are_loaded_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[], Any]
) -> None:
    points = [SimpleNamespace(name="leaves", load=load), SimpleNamespace(name="good", load=lambda: Recorder)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    loaded = load_handlers(["leaves", "good"])
    assert [handler.name for handler in loaded.handlers] == ["recorder"]
    assert ["left with sys.exit" in str(failure.error) for failure in loaded.failures] == [True]


@pytest.mark.parametrize("source", ["nowhere/handlers.py", "~no-such-user/handlers.py", "a" * 300 + ".py", "\0.py"])
def test_a_file_that_is_not_there(source: str) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        load_handlers([source])


@pytest.mark.parametrize("source", ["none", "~no-such-user/handlers", "a" * 300, "\0"])
def test_a_name_that_nothing_has(source: str) -> None:
    with pytest.raises(UsageError, match="neither a file nor an installed handler"):
        load_handlers([source])


def test_the_others_run_and_are_told(world: World, write_handlers: Callable[..., str]) -> None:
    broken = write_handlers("raise ValueError('the key SECRETSECRETSECRET is wrong')\n", "broken.py")
    good = write_handlers(
        IMPORT
        + "class Good(EventHandler):\n"
        + "    def on_failure(self, failure): self.state['told'] = [failure.event, failure.handler]\n",
        "good.py",
    )
    lines: list[str] = []
    done = run_handlers([broken, good], world.surroundings, single_run=True, report=lines.append)
    assert done.handlers == ("Good",) and done.not_loaded == ("broken.py",) and not done.succeeded
    assert world.daemon().book.state("Good") == {"told": ["import", "broken.py"]}
    log = (world.home / "events" / "numerai" / "events.log").read_text()
    assert "Traceback" in log and "ValueError" in log and SECRET not in log + "".join(lines)
    assert any("broken.py could not be loaded: ValueError" in line for line in lines)


def test_a_log_that_cannot_be_shown_stops_no_submission(
    world: World, write_handlers: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = IMPORT + (
        "class Submits(EventHandler):\n"
        "    def on_new_tournament_data(self, round_number):\n"
        "        print('it submits', flush=True)\n"
        "        self.daemon.submit('predictions')\n"
    )

    def full(line: str = "") -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=full, flush=full))
    assert run_handlers([write_handlers(text)], world.surroundings, single_run=True, report=full).succeeded
    assert world.node.submitted == ["predictions"]


def test_two_handlers_of_one_name_are_one_failure(world: World, write_handlers: Callable[..., str]) -> None:
    text = IMPORT + "handlers = [EventHandler('a'), EventHandler('a'), EventHandler('b')]\n"
    done = run_handlers([write_handlers(text)], world.surroundings, single_run=True)
    assert done.handlers == ("a", "b") and done.not_loaded == ("a",)


def test_nothing_to_run_is_said(world: World, write_handlers: Callable[..., str]) -> None:
    with pytest.raises(NumeraiError, match="There is no handler to run") as caught:
        run_handlers([write_handlers("x = 1\n")], world.surroundings, single_run=True)
    assert caught.value.code == "no-handlers"
    with pytest.raises(NumeraiError, match=r"ValueError: the key \*\*\* is wrong"):
        run_handlers([write_handlers(f"raise ValueError('the key {SECRET} is wrong')")], world.surroundings)


def test_what_fails_outside_the_steps_of_a_round_counts(world: World, write_handlers: Callable[..., str]) -> None:
    text = IMPORT + (
        "class Submits(EventHandler):\n"
        "    def on_new_tournament_data(self, round_number): self.daemon.submit('predictions')\n"
        "class Bad(EventHandler):\n"
        "    def on_start(self): 1/0\n"
        "    def on_submission(self, submission): self.state['got'] = submission.submission_id; 1/0\n"
    )
    done = run_handlers([write_handlers(text)], world.surroundings, single_run=True)
    assert done.failed == ("Bad: on_start", "Bad: on_submission") and not done.succeeded
    assert done.rounds[0].failed == [] and world.daemon().book.state("Bad") == {"got": "submission-1"}


def test_refused_keys_are_said_before_the_start_and_an_outage_is_not(
    world: World, write_handlers: Callable[..., str]
) -> None:
    path = write_handlers(IMPORT + "handlers = [EventHandler('a')]")
    world.api.fail["models"] = ApiError("refused", code="keys-refused")
    with pytest.raises(ApiError, match="refused"):
        run_handlers([path], world.surroundings, single_run=True)
    world.api.fail["models"] = ApiError("down", temporary=True)
    assert run_handlers([path], world.surroundings, single_run=True).succeeded


def test_a_wrong_model_is_said_before_the_start(world: World, write_handlers: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="no model 'bob'"):
        run_handlers([write_handlers(IMPORT + "handlers = [EventHandler('a')]")], world.surroundings, model="bob")
