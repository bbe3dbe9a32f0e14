"""LightGBM forests trained in blocks of trees, and the blocks put together as one LightGBM text model.

A block is a booster of its own that starts from the raw scores of those before it (LightGBM's init_score), with its own
seeds: trained again from the same scores it has the same bytes, which continuing a booster by `init_model` has not. Its
trees, one after the other, are the forest: LightGBM adds leaf values to the raw score tree by tree, in training as in
prediction, so the forest predicts the very bytes that the training ended with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

SEEDS = ("feature_fraction_seed", "bagging_seed", "extra_seed", "objective_seed")
"""LightGBM's random choices while it trains; `data_random_seed` belongs to the data set, and stays."""
FIXED: Mapping[str, object] = {
    "objective": "regression",
    "boosting": "gbdt",
    "metric": "None",
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
"""With `deterministic` and `force_col_wise` the number of threads does not change the trees (LightGBM's Parameters.rst,
`deterministic`): root sums are added up by one thread, and each histogram is."""
_TREE = b"\nTree="
_END = b"\nend of trees"
_LEAVES = re.compile(rb"^num_leaves=(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Scores:
    """Raw predictions so far (float64, one a row) of the rows that are trained on and of those held out; `best` are the
    latter as they were after the block whose mean CORR is the highest."""

    train: np.ndarray
    held_out: np.ndarray | None = None
    best: np.ndarray | None = None


@dataclass(frozen=True)
class Block:
    """One trained block: LightGBM's text, the scores after it, and how many trees have a split."""

    text: bytes
    scores: Scores
    trees: int

    @property
    def digest(self) -> str:
        """SHA-256 of the text, by which it is known again."""
        return text_digest(self.text)


def text_digest(text: bytes) -> str:
    """SHA-256 of a block's text."""
    return hashlib.sha256(text).hexdigest()


def block_seeds(seed: int, block: int) -> dict[str, int]:
    """The seeds of a block, by the seed of its member: 31 bits of SHA-256 each."""
    return {
        name: int.from_bytes(hashlib.sha256(f"{name} {seed} {block}".encode()).digest()[:4], "big") >> 1
        for name in SEEDS
    }


def train_block(
    dataset: Any,
    held_out: Any | None,
    parameters: Mapping[str, object],
    trees: int,
    before: Scores | None,
    on_tree: Callable[[], None] = lambda: None,
) -> Block:
    """Train a block of at most `trees` trees on LightGBM data sets, from the scores `before` (None: from the mean).

    It may have fewer trees, where LightGBM finds no split that helps. `on_tree` is called after each.
    """
    import lightgbm as lgb

    for data, scores in ((dataset, before.train if before else None), (held_out, before.held_out if before else None)):
        if data is not None:
            data.set_field("init_score", scores)
    booster = lgb.Booster({**parameters, **FIXED}, dataset)
    if held_out is not None:
        booster.add_valid(held_out, "held_out")
    for _ in range(trees):
        booster.update()
        on_tree()
    text = booster.model_to_string().encode()
    after = Scores(_scores(booster.eval_train), _scores(booster.eval_valid) if held_out is not None else None)
    return Block(text, after, sum(leaves > 1 for leaves, _ in _trees(text)))


def write_forest(blocks: Iterable[Path], to: BinaryIO) -> int:
    """Write the trees of block files, in order, as one LightGBM text model; returns how many there are.

    It holds one block in memory at a time. `tree_sizes` in its head says where each tree begins, as LightGBM writes it
    (src/boosting/gbdt_model_text.cpp, `SaveModelToString`): trees are read in parallel by it.
    """
    paths = list(blocks)
    sizes = [len(tree) for tree in _numbered(paths)]
    head = paths[0].read_bytes().partition(_TREE)[0]
    lines = [line for line in head.split(b"\n") if line and not line.startswith(b"tree_sizes=")]
    to.write(b"\n".join([*lines, b"tree_sizes=" + b" ".join(b"%d" % size for size in sizes)]) + b"\n\n")
    for tree in _numbered(paths):
        to.write(tree)
    to.write(b"end of trees\n")
    return len(sizes)


def _numbered(blocks: Iterable[Path]) -> Iterator[bytes]:
    """Each tree as it stands in the whole forest. Of those without a split only the first has a value: the mean."""
    number = 0
    for path in blocks:
        for leaves, tree in _trees(path.read_bytes()):
            if leaves > 1 or number == 0:
                yield b"Tree=%d\n%s\n\n\n" % (number, tree)
                number += 1


def _trees(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Each tree of a model in text: how many leaves it has, and its lines without the first."""
    for tree in text.partition(_END)[0].split(_TREE)[1:]:
        body = tree.partition(b"\n")[2].strip(b"\n")
        match = _LEAVES.search(body)
        yield int(match[1]) if match else 0, body


def _scores(evaluate: Callable[..., object]) -> np.ndarray:
    """The raw scores that a booster holds, as they are handed to a metric of one's own."""
    seen: list[np.ndarray] = []

    def metric(scores: np.ndarray, _: Any) -> tuple[str, float, bool]:
        seen.append(np.array(scores, dtype=np.float64))
        return "scores", 0.0, True

    evaluate(metric)
    return seen[0]
