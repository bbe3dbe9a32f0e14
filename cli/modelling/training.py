"""Training one member of a model: blocks of trees, CORR of held-out eras after each, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NumeraiError
from .boosters import Scores, block_seeds, train_block
from .checkpoint import Checkpoint, MemberState
from .model_toml import ModelToml

ALL_TREES = "all trees are trained"
NO_RISE = "mean CORR did not rise any more"
NO_SPLIT = "no split improves it any more"


@dataclass(frozen=True)
class Member:
    """One forest of a model, by its place among them and what makes it differ from the others."""

    number: int
    feature_set: str
    target: str
    seed: int

    @property
    def label(self) -> str:
        """What it is called where several are listed."""
        return f"{self.feature_set}, {self.target}, seed {self.seed}"


@dataclass(frozen=True)
class MemberData:
    """What a member is trained on: LightGBM data sets (the label of the first is the member's target), the parameters
    that they were made with, and what measures raw scores of the held-out rows (mean CORR; None where none is held
    out)."""

    dataset: Any
    held_out: Any | None
    parameters: Mapping[str, object]
    measure: Callable[[np.ndarray], float | None] | None


@dataclass(frozen=True)
class Progress:
    """Where a training is. `curve` is of the member that is trained; `seconds_left` is for all members that are still
    to do, if none of them stops early, and None until a block has been timed. `ended` says why a member is done."""

    member: int
    members: int
    label: str
    trees: int
    planned: int
    curve: tuple[tuple[int, float | None], ...]
    seconds_left: float | None
    block_ended: bool
    ended: str | None = None


@dataclass(frozen=True)
class Trained:
    """A member that is done: the `trees` of the files `blocks`; `corr` is their mean CORR, and `held_out` their
    raw scores of the held-out rows. `stopped` says why it has no more."""

    member: Member
    trees: int
    blocks: tuple[Path, ...]
    corr: float | None
    curve: tuple[tuple[int, float | None], ...]
    stopped: str
    held_out: np.ndarray | None


Report = Callable[[Progress], None]


def members_of(plan: ModelToml) -> tuple[Member, ...]:
    """Every combination of feature set, target and seed: those that share a data set follow each other."""
    combinations = [
        (features, target, seed)
        for features in plan.data.feature_sets
        for target in plan.data.targets
        for seed in plan.seeds
    ]
    return tuple(Member(number, *each) for number, each in enumerate(combinations))


class Trainer:
    """Trains members one after the other and keeps each block, so that it can be interrupted at any time."""

    def __init__(
        self,
        plan: ModelToml,
        checkpoint: Checkpoint,
        threads: int,
        report: Report = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._plan = plan
        self._checkpoint = checkpoint
        self._threads = threads
        self._report = report
        self._clock = clock
        self._members = len(members_of(plan))
        self._timed = (0.0, 0)

    def is_done(self, member: Member) -> bool:
        """Whether nothing is left to train of it."""
        return self._checkpoint.state(member.number).ended is not None

    def train(self, member: Member, data: MemberData) -> Trained:
        """Train what is left of a member."""
        state = self._checkpoint.state(member.number)
        self._checkpoint.blocks(member.number)  # what is damaged is said before hours of work, not after
        scores = self._checkpoint.scores(member.number) if state.ended is None else None
        while state.ended is None:
            state, scores = self._next_block(member, data, state, scores)
        return self.result(member)

    def result(self, member: Member) -> Trained:
        """A member that is done: with a patience, up to the block with the highest mean CORR, else all of it."""
        state = self._checkpoint.state(member.number)
        used = self._best_block(state)
        scores = self._checkpoint.scores(member.number)
        blocks = self._checkpoint.blocks(member.number)[:used]
        trees, corr = state.curve[used - 1]
        stopped = state.ended or ""
        if used < state.blocks:
            stopped = f"mean CORR was highest here, of {state.trees:,} trees"
        return Trained(member, trees, blocks, corr, state.curve, stopped, scores.best if scores else None)

    def _best_block(self, state: MemberState) -> int:
        """How many of its blocks are best: with a patience up to the highest mean CORR, else all of them."""
        measured = [(corr, -number) for number, (_, corr) in enumerate(state.curve, 1) if corr is not None]
        return -max(measured)[1] if self._plan.held_out.patience and measured else state.blocks

    def _next_block(
        self, member: Member, data: MemberData, state: MemberState, scores: Scores | None
    ) -> tuple[MemberState, Scores]:
        trees = min(self._plan.block, self._plan.trees - state.blocks * self._plan.block)
        parameters = {
            **self._plan.parameters,
            **data.parameters,
            **block_seeds(member.seed, state.blocks),
            "num_threads": self._threads,
        }
        started, done = self._clock(), 0

        def on_tree() -> None:
            nonlocal done
            done += 1
            self._say(member, state, done, block_ended=False)

        block = train_block(data.dataset, data.held_out, parameters, trees, scores, on_tree)
        self._timed = (self._timed[0] + self._clock() - started, self._timed[1] + trees)
        corr = None
        if data.measure is not None and block.scores.held_out is not None:
            corr = data.measure(block.scores.held_out)
        total = state.trees + block.trees
        after = MemberState(
            state.blocks + 1, total, (*state.curve, (total, corr)), digests=(*state.digests, block.digest)
        )
        after = replace(after, ended=self._why_it_ends(after, block.trees))
        if after.ended == NO_SPLIT and total == 0:
            raise NumeraiError(
                f"No tree of {member.label} could be split.",
                "There are fewer rows than min_data_in_leaf needs, or the target or all features are constant.",
                code="nothing-to-learn",
            )
        best = scores.best if scores and self._best_block(after) < after.blocks else block.scores.held_out
        block = replace(block, scores=replace(block.scores, best=best))
        self._checkpoint.keep(member.number, block, after)
        self._say(member, after, 0, block_ended=True)
        return after, block.scores

    def _why_it_ends(self, state: MemberState, new_trees: int) -> str | None:
        if self.patience_is_over(state.curve):
            return NO_RISE
        if not new_trees:
            return NO_SPLIT
        return ALL_TREES if state.blocks * self._plan.block >= self._plan.trees else None

    def patience_is_over(self, curve: Sequence[tuple[int, float | None]]) -> bool:
        """Whether the highest mean CORR lies as many trees back as the patience is."""
        patience = self._plan.held_out.patience
        measured = [(trees, corr) for trees, corr in curve if corr is not None]
        if not patience or not measured:
            return False
        best = max(measured, key=lambda point: (point[1], -point[0]))
        return measured[-1][0] - best[0] >= patience

    def _say(self, member: Member, state: MemberState, within: int, *, block_ended: bool) -> None:
        planned = self._plan.trees
        begun = min(planned, state.blocks * self._plan.block + within)
        left = max(0, planned - begun) if state.ended is None else 0
        left += planned * (self._members - member.number - 1)
        seconds = left * self._timed[0] / self._timed[1] if self._timed[1] else None
        counts = (member.number, self._members, member.label, begun, planned)
        self._report(Progress(*counts, state.curve, seconds, block_ended, state.ended))
