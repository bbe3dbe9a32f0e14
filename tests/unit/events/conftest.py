"""A daemon on fakes: an account, a clock that tests own, and a node whose files lie in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numerai_compute.events.context as context_module
import pytest
from numerai_compute.events import EventHandler
from numerai_compute.events.surroundings import Surroundings
from numerai_compute.models import Keys, Model, Notice
from numerai_compute.node_template.numerai_node.errors import TemporaryFailure
from numerai_compute.numerauto.loop import NumerautoLoop

from tests.fakes import FakeApi, FakeClock

MODEL = Model("id-alice", "alice", 8)
SECRET = "SECRETSECRETSECRET"


@dataclass
class FakeNode:
    """Numerai's data as files of a folder; `submitted` holds what was sent, `broken` how often the data fail."""

    folder: Path
    submitted: list[Any] = field(default_factory=list)
    broken: int = 0
    asked: list[str] = field(default_factory=list)
    late: Exception | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("features.json", "train.parquet", "validation.parquet", "live.parquet"):
            (self.folder / name).write_text(f"first {name}")
        self.dataset = SimpleNamespace(
            tournament=8,
            version="v5.3",
            files=lambda: sorted(path.name for path in self.folder.iterdir()),
            file=self._file,
        )
        self.api = SimpleNamespace(current_round=lambda: SimpleNamespace(number=100, data_datestamp=20260106))

    def _file(self, name: str) -> Path:
        self.asked.append(name)
        return self.folder / name

    @property
    def live_file(self) -> Path:
        if self.broken:
            self.broken -= 1
            raise TemporaryFailure("live.parquet is not there yet")
        return self.folder / "live.parquet"

    def submit(self, predictions: Any, data_datestamp: int | None = None) -> Any:
        self.submitted.append(predictions)
        if self.late is not None:
            raise self.late
        return SimpleNamespace(id=f"submission-{len(self.submitted)}", status="success", round_number=100)


@dataclass
class FakeNotifier:
    """Remembers what was told."""

    told: list[Notice] = field(default_factory=list)

    def tell(self, notice: Notice) -> Mapping[str, str | None]:
        self.told.append(notice)
        return {"slack": None, "mail": "the server is down"}


@dataclass
class World:
    """Everything a daemon works with, and the daemons on it: a second one is a restart."""

    home: Path
    api: FakeApi
    clock: FakeClock
    node: FakeNode
    notifier: FakeNotifier

    @property
    def surroundings(self) -> Surroundings:
        keys = Keys("PUBLICID", SECRET, self.api.url)
        return Surroundings(self.home, self.clock, self.notifier, lambda: keys, lambda keys: self.api)

    def daemon(self, *handlers: EventHandler, **config: Any) -> NumerautoLoop:
        made = NumerautoLoop(self.surroundings, config={"round_wait_interval": 60, "retry_wait": 60, **config})
        for handler in handlers:
            made.add_event_handler(handler)
        return made

    def close_round(self) -> None:
        """Let time pass until the round is over."""
        self.clock.sleep(3600)


class Recorder(EventHandler):
    """Writes down what it is called with; `failing` names events that raise, with how often."""

    def __init__(self, name: str = "recorder", **failing: int):
        super().__init__(name)
        self.failing = failing
        self.seen: list[tuple[str, Any]] = []

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.seen]

    def _saw(self, event: str, detail: Any = None) -> None:
        self.seen.append((event, detail))
        if self.failing.get(event, 0) > 0:
            self.failing[event] -= 1
            raise RuntimeError(f"{event} of {self.name} broke")

    def on_start(self) -> None:
        self._saw("on_start")

    def on_round_begin(self, round_number: int) -> None:
        self._saw("on_round_begin", round_number)

    def on_new_training_data(self, round_number: int) -> None:
        self._saw("on_new_training_data", round_number)

    def on_new_tournament_data(self, round_number: int) -> None:
        self._saw("on_new_tournament_data", round_number)

    def on_submission(self, submission: Any) -> None:
        self._saw("on_submission", submission)

    def on_failure(self, failure: Any) -> None:
        self._saw("on_failure", failure)

    def on_cleanup(self, round_number: int) -> None:
        self._saw("on_cleanup", round_number)

    def on_shutdown(self) -> None:
        self._saw("on_shutdown")


WHOLE_ROUND = [
    "on_start",
    "on_round_begin",
    "on_new_training_data",
    "on_new_tournament_data",
    "on_cleanup",
    "on_shutdown",
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A round that is open, an account with one model, and data."""
    clock = FakeClock()
    api = FakeApi([MODEL])
    api.clock = clock
    made = World(tmp_path / "home", api, clock, FakeNode(tmp_path / "dataset"), FakeNotifier())
    monkeypatch.setattr(context_module, "make_node", lambda *arguments: made.node)
    return made


@pytest.fixture
def write_handlers(tmp_path: Path) -> Callable[..., str]:
    """Writes a file with handlers and gives its path."""

    def write(text: str, name: str = "handlers.py") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
