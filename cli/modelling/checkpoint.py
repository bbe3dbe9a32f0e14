"""What of a training is done, beside model.toml: an interrupted one goes on from its last whole block.

`.training/` is its owner's alone and each file in it appears whole; `state.json` of a member is written last and names
the block that the others belong to, so that whatever ends the process leaves the block before, or this one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..errors import NumeraiError, UsageError
from ..files.locks import holding
from ..files.private import folder_unwritable, make_private_folder, remove_tree, replacing
from .boosters import Block, Scores, text_digest

FOLDER = ".training"
_IDENTITY = "identity.json"
_STATE = "state.json"
_MOST_SHOWN = 5


@dataclass(frozen=True)
class MemberState:
    """How far a member is. `curve` has, after each block, the trees so far and the mean CORR of the held-out eras (None
    without them); `ended` says why it is done, and is None while it is not; `digests` has each block's SHA-256."""

    blocks: int = 0
    trees: int = 0
    curve: tuple[tuple[int, float | None], ...] = ()
    ended: str | None = None
    digests: tuple[str, ...] = ()


@contextmanager
def open_checkpoint(folder: Path, identity: Mapping[str, object], *, again: bool) -> Iterator[Checkpoint]:
    """The progress of training in this folder, held against other processes within the block.

    `identity` is all that decides which bytes come out. Raises `NumeraiError` with code `training-busy` when another
    process trains here, `training-changed` when the progress is of something else; with `again` it is thrown away.
    """
    place = folder / FOLDER
    busy = NumeraiError(f"Another process trains in {folder}.", "Wait for it, or end it.", code="training-busy")
    with holding(place / "lock", busy=busy):
        checkpoint = Checkpoint(place)
        if again:
            checkpoint.forget()
        checkpoint.agree(identity)
        yield checkpoint
    if checkpoint.finished:
        remove_tree(place, folder)


def is_begun(folder: Path) -> bool:
    """Whether a training in this folder was interrupted."""
    return (folder / FOLDER / _IDENTITY).exists()


class Checkpoint:
    """The folder `.training`, while its lock is held."""

    def __init__(self, place: Path):
        self._place = place
        self.finished = False

    def agree(self, identity: Mapping[str, object]) -> None:
        """Record what is trained, or see that it is what was trained until now."""
        make_private_folder(self._place)
        now = json.loads(json.dumps(identity))
        path = self._place / _IDENTITY
        if not path.exists():
            self.forget()
            with self._replacing(path) as file:
                file.write(json.dumps(now, indent=1, sort_keys=True).encode())
            return
        before = self._read(path)
        if before != now:
            changes = list(_differences(before, now))
            more = f", and {len(changes) - _MOST_SHOWN} more" if len(changes) > _MOST_SHOWN else ""
            raise UsageError(
                f"The training that was begun here is of something else: {'; '.join(changes[:_MOST_SHOWN])}{more}.",
                "Put it back as it was to go on, or add --again to begin anew.",
                code="training-changed",
            )

    def forget(self) -> None:
        """Throw the progress away."""
        for path in self._place.iterdir() if self._place.exists() else ():
            if path.is_dir():
                remove_tree(path, self._place)
            elif path.name != "lock":
                path.unlink()

    def finish(self) -> None:
        """The progress is not needed any more: it is removed when the lock is free."""
        self.finished = True

    def state(self, member: int) -> MemberState:
        """How far a member is."""
        path = self._folder(member) / _STATE
        if not path.exists():
            return MemberState()
        content = self._read(path)
        try:
            if fingerprint(content["state"]) != content["sha256"]:
                raise _damaged(path)
            kept = content["state"]
            curve = tuple((int(trees), corr) for trees, corr in kept["curve"])
            return MemberState(
                int(kept["blocks"]), int(kept["trees"]), curve, kept["ended"], tuple(map(str, kept["digests"]))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path) from error

    def scores(self, member: int) -> Scores | None:
        """The raw scores after the last block that is kept, None before the first."""
        blocks = self.state(member).blocks
        if not blocks:
            return None
        path = self._scores(member, blocks)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Scores(**{name: arrays[name] for name in arrays})
        except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise _damaged(path) from error

    def blocks(self, member: int) -> tuple[Path, ...]:
        """The files with the trees of each block, as they were kept. `NumeraiError` with code `training-damaged` for
        one that is not."""
        state = self.state(member)
        paths = tuple(self._block(member, number) for number in range(state.blocks))
        for path, digest in zip(paths, state.digests, strict=True):
            try:
                found = text_digest(path.read_bytes())
            except OSError as error:
                raise _damaged(path) from error
            if found != digest:
                raise _damaged(path)
        return paths

    def keep(self, member: int, block: Block, state: MemberState) -> None:
        """Keep a block that was trained, and how far the member is with it."""
        folder = self._folder(member)
        make_private_folder(folder)
        with self._replacing(self._block(member, state.blocks - 1)) as file:
            file.write(block.text)
        arrays = {name: array for name, array in vars(block.scores).items() if array is not None}
        with self._replacing(self._scores(member, state.blocks)) as file:
            np.savez(file, **arrays)
        self.note(member, state)
        self._scores(member, state.blocks - 1).unlink(missing_ok=True)

    def note(self, member: int, state: MemberState) -> None:
        """Record how far a member is."""
        make_private_folder(self._folder(member))
        with self._replacing(self._folder(member) / _STATE) as file:
            kept = json.loads(json.dumps(asdict(state)))
            file.write(json.dumps({"state": kept, "sha256": fingerprint(kept)}).encode())

    def _block(self, member: int, block: int) -> Path:
        return self._folder(member) / f"block-{block:05}.txt"

    def _folder(self, member: int) -> Path:
        return self._place / f"member-{member:03}"

    def _scores(self, member: int, blocks: int) -> Path:
        return self._folder(member) / f"scores-{blocks:05}.npz"

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Any]:
        try:
            with replacing(path) as file:
                yield file
        except OSError as error:
            raise folder_unwritable(path, error) from error

    def _read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise _damaged(path) from error


def fingerprint(identity: Mapping[str, object]) -> str:
    """SHA-256 of what a training is of."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> NumeraiError:
    return NumeraiError(f"{path} is damaged.", "Add --again to train from the beginning.", code="training-damaged")


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What differs between two JSON values, said as it was and as it is."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        yield f"{name} was {_short(before)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
