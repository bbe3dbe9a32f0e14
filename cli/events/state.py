"""What outlives the daemon: each handler's state and what was delivered to it, one JSON file each."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from ..errors import NumeraiError
from ..files.locks import holding
from ..files.private import write_private
from .messages import SubmissionMade, logger

LOCK_SECONDS = 10


class NotSerialisable(NumeraiError):
    """A state holds what JSON cannot hold."""

    code = "state-not-json"


def file_name(name: str) -> str:
    """A file name that stands for exactly this handler name, on every file system."""
    return f"handler-{quote(name, safe='')}.json"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, {} when there is none. A file that holds no object is moved aside, which the log says."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        found, why = None, str(error)
    else:
        why = "it holds no JSON object"
    if isinstance(found, dict):
        return found
    aside = path.with_name(path.name + ".broken")
    with contextlib.suppress(OSError):
        path.replace(aside)
    logger.error("%s cannot be read (%s). It was moved to %s, and a new one is begun.", path, why, aside.name)
    return {}


def write_json(path: Path, content: dict[str, Any], what: str) -> None:
    """Replace a file's content, whole or not at all.

    `NotSerialisable` names the keys of what JSON cannot hold, and the file stays as it was; `EnvironmentNotReady` when
    it cannot be written.
    """
    write_private(path, _as_json(content, what).encode(), keep_previous=False)


@contextlib.contextmanager
def said_if_not_kept() -> Iterator[None]:
    """Say in the log what the block could not write (what is no JSON, a full disk), and go on: the file stays as it
    was."""
    try:
        yield
    except NumeraiError as error:
        logger.error("%s", error.in_full)


def _as_json(content: Mapping[str, Any], what: str) -> str:
    try:
        return json.dumps(content, indent=1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotSerialisable(
            f"{what} is not kept: {_culprits(content) or error}.",
            "Keep only what JSON can hold: dictionaries with text as keys, lists, text, numbers, true, false and null.",
        ) from error


def _culprits(content: Mapping[str, Any]) -> str:
    found = []
    for key, value in content.items():
        try:
            json.dumps({key: value})
        except (TypeError, ValueError, RuntimeError):
            found.append(f"{key!r} holds a {type(value).__name__} that is not JSON")
    return "; ".join(found)


@dataclass
class Progress:
    """What was delivered to one handler.

    `done` names the events of round `round_number` that need not be delivered again, `attempts` how often each was
    begun, `failed` those that failed and are not tried again, `submissions` what was submitted in them. `trained_on` is
    the fingerprint of the training data at the last `on_new_training_data` that ended well.
    """

    round_number: int = 0
    done: list[str] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    trained_on: str | None = None
    failed: list[str] = field(default_factory=list)
    submissions: list[SubmissionMade] = field(default_factory=list)

    def begin(self, round_number: int) -> None:
        """Forget the round before."""
        self.round_number, self.done, self.attempts, self.failed, self.submissions = round_number, [], {}, [], []


class Book:
    """The files of one tournament's handlers, below `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def state(self, name: str) -> dict[str, Any]:
        """A handler's state as it was last kept."""
        return read_json(self._state_path(name))

    def keep_state(self, name: str, state: dict[str, Any]) -> None:
        """Keep a handler's state; `NotSerialisable` when it cannot be, and the old one stays."""
        if not isinstance(state, dict):
            raise NotSerialisable(
                f"The state of {name} is not kept: it is a {type(state).__name__}.", "Make `self.state` a dictionary."
            )
        write_json(self._state_path(name), state, f"The state of {name}")

    def progress(self, name: str) -> Progress:
        """What was delivered to a handler."""
        try:
            return msgspec.convert(read_json(self._progress_path(name)), Progress, strict=False)
        except msgspec.ValidationError:
            logger.error("What is kept about the progress of %s is not readable and begun anew.", name)
            return Progress()

    def keep_progress(self, name: str, progress: Progress) -> None:
        """Keep what was delivered to a handler."""
        write_json(self._progress_path(name), asdict(progress), f"The progress of {name}")

    def shared(self) -> dict[str, Any]:
        """The daemon's own dictionary, which all handlers share."""
        return read_json(self.folder / "shared.json")

    def keep_shared(self, content: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what was changed in the daemon's own dictionary since it was `known`, and whatever other processes have
        put there. Returns the content as it is known from now on; `NotSerialisable` when it cannot be kept."""
        what = "The daemon's persistent_state"
        mine: dict[str, Any] = json.loads(_as_json(content, what))
        with holding(self.folder / "locks" / "shared.lock", seconds=LOCK_SECONDS):
            others = {key: value for key, value in self.shared().items() if key in mine or key not in known}
            changed = {key: value for key, value in mine.items() if key not in known or known[key] != value}
            write_json(self.folder / "shared.json", {**others, **changed}, what)
        return mine

    def lock_path(self, name: str) -> Path:
        """The file whose lock says that a process delivers events to this handler."""
        return self.folder / "locks" / (file_name(name) + ".lock")

    def _state_path(self, name: str) -> Path:
        return self.folder / "state" / file_name(name)

    def _progress_path(self, name: str) -> Path:
        return self.folder / "progress" / file_name(name)
