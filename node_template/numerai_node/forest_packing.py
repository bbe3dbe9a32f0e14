"""How a forest is laid out for bit-sliced prediction: the conditions that it asks, and a program of row operations.

Each condition `feature > threshold` of the forest is one bit a row. The trees of a chunk are walked together, level by
level, from the roots: a node has a mask of the rows that reach it, and those of them that go right are the mask AND the
bits of its condition. A node has a weight, too; the number of a row's leaf is the XOR of the weights of the nodes where
the row went right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from .forest_text import NotPackable, Trees

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .forest_text import Floats, Ints

    Bools = npt.NDArray[np.bool_]

MOST_CONDITIONS = 65_535
"""Conditions have 16-bit numbers. A forest on Numerai's features, 0 to 4, asks at most 8 a feature."""
MOST_LEAVES = 65_536
MASKS = 512
"""About how many masks a level of a chunk has, so that what is worked on stays in a core's own cache."""
DEFAULT_LEFT = 2
MISSING_SHIFT, MISSING_ZERO, MISSING_NAN = 2, 1, 2
"""Bits of `decision_type` (include/LightGBM/tree.h: kDefaultLeftMask, GetMissingType; meta.h: MissingType)."""


class Conditions(NamedTuple):
    """The distinct conditions of a forest. A row goes right when the feature is above `threshold`; where the feature is
    0 `zero_right` says so instead, and where it is NaN `nan_right`."""

    feature: Ints
    threshold: Floats
    zero_right: Bools
    nan_right: Bools


class Packed(NamedTuple):
    """A forest that is ready to predict.

    `program` is read in order. For each chunk: how many trees, how many bits the numbers of their leaves have, how many
    levels. For each level: how many nodes a tree has, how many bits are set; for each of those the bit and how many
    masks a tree sets it from (0: all), then how many masks a tree takes from this level's children for the next one
    (0: all). `conditions` (one for each mask, 0 is never true) and `rows` (which masks are taken) are read along, and
    `values` holds 2**bits leaves for each tree.
    """

    about: Ints
    """How many features and trees there are, whether the average is wanted, the most masks that a level has."""
    feature: Ints
    threshold: Floats
    zero_right: Bools
    nan_right: Bools
    program: Ints
    conditions: npt.NDArray[np.uint16]
    rows: npt.NDArray[np.uint32]
    values: Floats


class _Level(NamedTuple):
    """The inner nodes of one depth, over all trees, in the trees' order."""

    tree: Ints
    node: Ints
    slot: Ints
    """Which of its tree's masks of this level it has."""
    parent_slot: Ints
    is_left: Ints


def pack(trees: Trees) -> Packed:
    """Lay a forest out; `NotPackable` where it is too large for that."""
    import numpy as np

    distinct, condition = _conditions(trees)
    if len(distinct.feature) > MOST_CONDITIONS:
        raise NotPackable(f"it has {len(distinct.feature)} different splits, more than {MOST_CONDITIONS}")
    if int(trees.leaves.max()) > MOST_LEAVES:
        raise NotPackable(f"a tree has more than {MOST_LEAVES} leaves")
    starts = _starts(trees.leaves - 1)
    levels = list(_levels(trees, starts))
    weight, code = _numbering(trees, levels)
    widest = max((int(level.slot.max()) + 1 for level in levels), default=1)
    size = max(1, min(MASKS // widest, len(trees.leaves)))
    writer = _Writer(trees, levels, condition, weight, code, 2 * widest * size)
    for first in range(0, len(trees.leaves), size):
        writer.chunk(first, min(first + size, len(trees.leaves)))
    about = np.array([trees.features, len(trees.leaves), trees.average, widest * size], np.int64)
    return Packed(about, *distinct, *writer.written())


def _conditions(trees: Trees) -> tuple[Conditions, Ints]:
    """The distinct conditions, and for each inner node the number of its own, from 1.

    Source: include/LightGBM/tree.h, NumericalDecision. A NaN counts as 0 unless NaN is what is missing; what is missing
    goes to the default side, and everything else by its value.
    """
    import numpy as np

    missing = (trees.decision >> MISSING_SHIFT) & 3
    default_right = (trees.decision & DEFAULT_LEFT) == 0
    zero_right = np.where(missing == MISSING_ZERO, default_right, trees.threshold < 0)
    nan_right = np.where(missing == MISSING_NAN, default_right, zero_right)
    columns = (nan_right, zero_right, trees.threshold, trees.feature)
    order = np.lexsort(columns)
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new)
    kept = order[new]
    return Conditions(trees.feature[kept], trees.threshold[kept], zero_right[kept], nan_right[kept]), number


def _starts(counts: Ints) -> Ints:
    import numpy as np

    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]])


def _levels(trees: Trees, starts: Ints) -> Iterator[_Level]:
    """The inner nodes, depth by depth. The order of a tree's masks: the right children of the level above, then the
    left ones."""
    import numpy as np

    tree = np.flatnonzero(trees.leaves > 1)
    node, slot = starts[tree], np.zeros(len(tree), np.int64)
    level = _Level(tree, node, slot, slot, slot)
    seen = 0
    while len(level.tree):
        seen += len(level.tree)
        if seen > len(trees.feature):
            raise NotPackable("its text is damaged: a node has two parents")
        yield level
        child = np.concatenate([trees.right[level.node], trees.left[level.node]])
        inner = child >= 0
        tree = np.tile(level.tree, 2)[inner]
        parent_slot = np.tile(level.slot, 2)[inner]
        is_left = np.repeat(np.arange(2), len(level.tree))[inner]
        order = np.lexsort((parent_slot, is_left, tree))
        tree = tree[order]
        level = _Level(tree, (child[inner])[order] + starts[tree], _rank(tree), parent_slot[order], is_left[order])


def _rank(tree: Ints) -> Ints:
    """For each entry of a sorted array how many of the same stand before it."""
    import numpy as np

    return np.arange(len(tree)) - np.searchsorted(tree, tree)


def _numbering(trees: Trees, levels: list[_Level]) -> tuple[Ints, Ints]:
    """The weight of each inner node, and the number of each leaf within its tree.

    A leaf's number is its path, one bit a level, which sets a single bit for each node. Where trees are much deeper
    than their leaves need, leaves are counted from the left instead, which keeps the tables of their values short.
    """
    import numpy as np

    leaf_starts = _starts(trees.leaves)
    weight, of_node, of_leaf = (
        np.zeros(n, np.int64) for n in (len(trees.feature), len(trees.feature), len(trees.value))
    )
    right_number: Callable[[int, _Level], Ints]
    if 2 ** len(levels) <= 4 * int(trees.leaves.max()):
        right_number = lambda depth, level: of_node[level.node] | 1 << depth  # noqa: E731
    else:
        left_leaves = _left_leaves(trees, levels)
        right_number = lambda depth, level: of_node[level.node] + left_leaves[level.node]  # noqa: E731
    starts = _starts(trees.leaves - 1)
    for depth, level in enumerate(levels):
        number = right_number(depth, level)
        weight[level.node] = of_node[level.node] ^ number
        for child, value in ((trees.left[level.node], of_node[level.node]), (trees.right[level.node], number)):
            inner = child >= 0
            of_node[child[inner] + starts[level.tree[inner]]] = value[inner]
            of_leaf[leaf_starts[level.tree[~inner]] - 1 - child[~inner]] = value[~inner]
    return weight, of_leaf


def _left_leaves(trees: Trees, levels: list[_Level]) -> Ints:
    """For each inner node how many leaves there are to its left."""
    import numpy as np

    starts = _starts(trees.leaves - 1)
    left, all_leaves = np.zeros(len(trees.feature), np.int64), np.zeros(len(trees.feature), np.int64)
    for level in reversed(levels):
        counts = []
        for child in (trees.left[level.node], trees.right[level.node]):
            below = all_leaves[np.where(child >= 0, child + starts[level.tree], 0)]
            counts.append(np.where(child >= 0, below, 1))
        left[level.node], all_leaves[level.node] = counts[0], counts[0] + counts[1]
    return left


class _Writer:
    """Writes the program, chunk by chunk."""

    def __init__(self, trees: Trees, levels: list[_Level], condition: Ints, weight: Ints, code: Ints, no_row: int):
        self._trees = trees
        self._levels = levels
        self._condition = condition
        self._weight = weight
        self._code = code
        self._no_row = no_row
        self._leaf_starts = _starts(trees.leaves)
        self._program: list[int] = []
        self._conditions: list[Ints] = []
        self._rows: list[Ints] = []
        self._values: list[Floats] = []

    def written(self) -> tuple[Ints, npt.NDArray[np.uint16], npt.NDArray[np.uint32], Floats]:
        """What was written: program, conditions, rows and values."""
        import numpy as np

        nothing = [np.zeros(0, np.int64)]
        return (
            np.array(self._program, np.int64),
            np.concatenate(self._conditions or nothing).astype(np.uint16),
            np.concatenate(self._rows or nothing).astype(np.uint32),
            np.concatenate(self._values),
        )

    def chunk(self, first: int, end: int) -> None:
        """The trees from `first` to before `end`."""
        import numpy as np

        size = end - first
        levels = [part for level in self._levels if len((part := _part(level, first, end)).tree)]
        leaves = self._trees.leaves[first:end]
        start = int(self._leaf_starts[first])
        code = self._code[start : start + int(leaves.sum())]
        bits = max(1, int(code.max()).bit_length())
        values = np.zeros(size << bits)
        values[np.repeat(np.arange(size) << bits, leaves) + code] = self._trees.value[start : start + len(code)]
        self._values.append(values)
        self._program += [size, bits, len(levels)]
        for level, below in zip_longest(levels, levels[1:]):
            self._level(level, below, size, bits)

    def _level(self, level: _Level, below: _Level | None, size: int, bits: int) -> None:
        import numpy as np

        width = int(level.slot.max()) + 1
        mask = level.slot * size + level.tree
        conditions = np.zeros(width * size, np.int64)
        conditions[mask] = self._condition[level.node]
        self._conditions.append(conditions)
        weight = self._weight[level.node]
        used = [bit for bit in range(bits) if (weight >> bit & 1).any()]
        self._program += [width, len(used)]
        for bit in used:
            has = (weight >> bit & 1).astype(bool)
            self._program += [bit, 0 if has.all() else self._take(level.tree[has], mask[has], size)]
        if below is not None:
            child = (below.is_left * width + below.parent_slot) * size + below.tree
            all_children = len(child) == 2 * width * size
            self._program.append(0 if all_children else self._take(below.tree, child, size))

    def _take(self, tree: Ints, mask: Ints, size: int) -> int:
        """Note which masks to take, as many for each tree as the one with the most has; empty ones fill up."""
        import numpy as np

        rank = _rank(tree)
        count = int(rank.max()) + 1
        rows = np.full(count * size, self._no_row, np.int64)
        rows[rank * size + tree] = mask
        self._rows.append(rows)
        return count


def _part(level: _Level, first: int, end: int) -> _Level:
    """The nodes of the trees from `first` to before `end`, counted from `first`."""
    import numpy as np

    cut = slice(*np.searchsorted(level.tree, [first, end]))
    part = _Level(*(column[cut] for column in level))
    return part._replace(tree=part.tree - first)
