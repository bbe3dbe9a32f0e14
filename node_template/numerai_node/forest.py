"""Predictions of LightGBM's forests, bit by bit for 64 rows at once: the same bytes as LightGBM, many times faster.

What fits is said by `pack`: sums of trees with numerical splits. The trees are added up one by one in float64, from 0
and in their order, as LightGBM does (src/boosting/gbdt_prediction.cpp: GBDT::PredictRaw), so that each prediction is
the very number that LightGBM's would be, whatever the number of threads.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .forest_packing import Packed, pack
from .forest_text import NotPackable, read_trees
from .log import log

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[Any]
    Words = npt.NDArray[np.uint64]
    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

__all__ = ["Boosted", "Forest", "NotPackable", "cached", "file_predictor", "predictor"]

FORMAT = 1
"""Of the cache. Raise it whenever `Packed` or what it means changes."""
WORD = 64
MOST_ROWS = 8192
"""In one block: what is worked on at once stays a few megabytes, whatever the number of rows."""
CELLS = 1 << 22
"""How many answers to conditions are computed at once."""
ZERO = 1.0000000180025095e-35
"""What is no larger counts as 0 (include/LightGBM/meta.h: kZeroThreshold, 1e-35 as a float)."""


class Forest:
    """A packed forest. It is not changed by predicting, so threads may share it."""

    def __init__(self, packed: Packed):
        self._packed = packed
        self.features, self.trees, average, self._masks = (int(number) for number in packed.about)
        self._average = bool(average)
        self._program: list[int] = packed.program.tolist()

    @classmethod
    def of_text(cls, text: bytes) -> Forest:
        """Pack a text model (`Booster.model_to_string`, `save_model`); `NotPackable` says why that cannot be done."""
        return cls(pack(read_trees(text)))

    def predict(self, matrix: Matrix, threads: int = 1, columns: Sequence[int] | None = None) -> Floats:
        """What `Booster.predict` answers for these rows, a float64 each. Rows x features, numbers of any kind.

        `columns` says which columns the model's features are in, where the matrix has more. `ValueError` where their
        number is not that of the features.
        """
        import numpy as np

        places = _places(self.features, matrix, columns)
        result = np.zeros(len(matrix))
        size = min(MOST_ROWS, -(-len(matrix) // max(1, threads)))
        size = max(WORD, -(-size // WORD) * WORD)
        blocks = [slice(start, min(start + size, len(matrix))) for start in range(0, len(matrix), size)]

        def work(block: slice) -> None:
            self._add_up(_answers(self._packed, matrix[block], places), result[block])

        if threads > 1 and len(blocks) > 1:
            with ThreadPoolExecutor(min(threads, len(blocks))) as pool:
                list(pool.map(work, blocks))
        else:
            for block in blocks:
                work(block)
        if self._average:
            result /= self.trees
        return result

    def _add_up(self, answers: Words, result: Floats) -> None:
        """Add the leaves of all trees to `result`."""
        import numpy as np

        words = answers.shape[1]
        total, leaf = np.zeros(words * WORD), np.empty(words * WORD)
        read = iter(self._program)
        position = 0
        for codes in _Walk(self._packed, self._masks, answers).chunks(read):
            bits, trees = codes.shape[:2]
            values = self._packed.values[position : position + (trees << bits)].reshape(trees, 1 << bits)
            position += trees << bits
            for table, number in zip(values, _numbers(codes), strict=True):
                table.take(number, out=leaf, mode="clip")
                np.add(total, leaf, out=total)
        result[:] = total[: len(result)]


class _Walk:
    """Carries the program out on one block of rows."""

    def __init__(self, packed: Packed, masks: int, answers: Words):
        import numpy as np

        words = answers.shape[1]
        self._packed = packed
        self._answers = answers
        self._here, self._children, self._spare = (np.zeros((2 * masks + 1, words), np.uint64) for _ in range(3))
        self._asked = np.empty((masks, words), np.uint64)
        self._condition = 0
        self._row = 0

    def chunks(self, read: Iterator[int]) -> Iterator[Words]:
        """The numbers of the leaves, bits x trees x words, chunk by chunk."""
        import numpy as np

        for trees in read:
            bits, levels = next(read), next(read)
            codes = np.zeros((bits, trees, self._answers.shape[1]), np.uint64)
            here = self._here[:trees]
            here[:] = ~np.uint64(0)
            for left_to_go in range(levels - 1, -1, -1):
                here = self._level(read, here, codes, last=left_to_go == 0)
            yield codes

    def _level(self, read: Iterator[int], here: Words, codes: Words, last: bool) -> Words:
        """Go down one level from the masks `here`; what is returned are those of the next."""
        import numpy as np

        trees = codes.shape[1]
        count = next(read) * trees
        conditions = self._packed.conditions[self._condition : self._condition + count]
        self._condition += count
        asked = self._answers.take(conditions, axis=0, out=self._asked[:count], mode="clip")
        right = np.bitwise_and(here[:count], asked, out=self._children[:count])
        for _ in range(next(read)):
            bit, taken = next(read), next(read)
            masks = self._taken(taken * trees) if taken else right
            codes[bit] ^= np.bitwise_xor.reduce(masks.reshape(-1, *codes.shape[1:]), axis=0)
        if last:
            return here
        np.bitwise_xor(here[:count], right, out=self._children[count : 2 * count])
        taken = next(read)
        if taken:
            return self._taken(taken * trees, into=self._here)
        self._here, self._children = self._children, self._here
        return self._here[: 2 * count]

    def _taken(self, count: int, into: Words | None = None) -> Words:
        rows = self._packed.rows[self._row : self._row + count]
        self._row += count
        out = (self._spare if into is None else into)[:count]
        return self._children.take(rows, axis=0, out=out, mode="clip")


def _numbers(codes: Words) -> npt.NDArray[Any]:
    """The numbers of the leaves, trees x rows, from their bits."""
    import numpy as np

    bits = np.unpackbits(codes.view(np.uint8), axis=-1, bitorder="little").view(np.uint64)
    low = _joined(bits[:8])
    if len(codes) <= 8:
        return low
    both = np.empty((*low.shape, 2), np.uint8)
    both[..., 0], both[..., 1] = low, _joined(bits[8:])
    return both.view("<u2")[..., 0]


def _joined(bits: Words) -> npt.NDArray[np.uint8]:
    """Bytes of which each holds a bit, put together; eight bytes are shifted at once, as none reaches the next."""
    import numpy as np

    joined = bits[-1].copy()
    for bit in bits[-2::-1]:
        np.left_shift(joined, 1, out=joined)
        np.bitwise_or(joined, bit, out=joined)
    numbers: npt.NDArray[np.uint8] = joined.view(np.uint8)
    return numbers


def _answers(packed: Packed, rows: Matrix, places: Ints) -> Words:
    """For each condition, and number 0 which is never true, a bit for each row."""
    import numpy as np

    columns, place = np.unique(places[packed.feature], return_inverse=True)
    words = -(-len(rows) // WORD)
    block = _columns(rows, columns, words * WORD)
    answers = np.zeros((len(place) + 1, words), np.uint64)
    step = max(1, CELLS // (words * WORD))
    for start in range(0, len(place), step):
        part = slice(start, start + step)
        right = _compare(
            block[place[part]],
            packed.threshold[part, None],
            packed.zero_right[part, None],
            packed.nan_right[part, None],
        )
        answers[1:][part] = np.packbits(right, axis=1, bitorder="little").view(np.uint64)
    return answers


def _columns(rows: Matrix, columns: npt.NDArray[np.int64], length: int) -> Matrix:
    """These columns as rows, as LightGBM sees their values: int8 as it is, all else as float64.

    Source: LightGBM's Python package, basic.py: `_np2d_to_array` makes float32 of what is no float.
    """
    import numpy as np

    if rows.dtype.kind != "f" and rows.dtype != np.int8:
        rows = rows.astype(np.float32)
    block = np.zeros((len(columns), length), np.int8 if rows.dtype == np.int8 else np.float64)
    block[:, : len(rows)] = rows.T[columns]
    return block


def _compare(values: Matrix, threshold: Floats, zero_right: Matrix, nan_right: Matrix) -> npt.NDArray[np.bool_]:
    import numpy as np

    if values.dtype == np.int8:
        right = values > np.clip(np.floor(threshold), -128, 127).astype(np.int8)
        odd = np.flatnonzero(zero_right != (threshold < 0))
        if len(odd):
            right[odd] = np.where(values[odd] == 0, zero_right[odd], right[odd])
        return right
    right = np.where(np.abs(values) <= ZERO, zero_right, values > threshold)
    return np.where(np.isnan(values), nan_right, right)


def cached(read: Callable[[], bytes], digest: str, cache: Path) -> Forest:
    """`Forest.of_text` of what `read` answers, done once: the file `cache` keeps what was packed, and of which text.

    `digest` names the text: the SHA-256 of what it comes from. A cache that cannot be used is made anew; one that
    cannot be written is only a pity.
    """
    key = f"{FORMAT} {digest}"
    packed = _load(cache, key)
    if packed is None:
        packed = pack(read_trees(read()))
        _save(cache, key, packed)
    return Forest(packed)


def _load(cache: Path, key: str) -> Packed | None:
    import numpy as np

    try:
        with np.load(cache, allow_pickle=False) as arrays:
            if arrays["key"].tobytes() != key.encode():
                return None
            return Packed(*(arrays[name] for name in Packed._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _save(cache: Path, key: str, packed: Packed) -> None:
    import numpy as np

    draft = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            np.savez(file, key=np.frombuffer(key.encode(), np.uint8), **packed._asdict())
        draft.replace(cache)
    except OSError as error:
        draft.unlink(missing_ok=True)
        log("warning", what=f"the packed forest is not kept in {cache.parent}", why=error.strerror or error)


class Boosted:
    """LightGBM itself, for a model that cannot be packed."""

    def __init__(self, text: bytes, why: NotPackable):
        try:
            import lightgbm as lgb
        except ImportError as error:
            raise ConfigurationError(
                f"This model needs LightGBM to predict, because {why}; and LightGBM is not installed. Put lightgbm into"
                " requirements.txt."
            ) from error
        try:
            self._booster = lgb.Booster(model_str=text.decode("utf-8"))
        except (lgb.basic.LightGBMError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The model cannot be read: {why}; LightGBM says: {error}") from error
        self.features = self._booster.num_feature()
        log("warning", what="LightGBM predicts, which is slower", why=why)

    def predict(self, matrix: Matrix, threads: int = 1, columns: Sequence[int] | None = None) -> Floats:
        """As `Forest.predict`."""
        import numpy as np

        places = _places(self.features, matrix, columns)
        own = matrix if columns is None else matrix[:, places]
        return np.asarray(self._booster.predict(own, num_threads=threads), np.float64)


def predictor(read: Callable[[], bytes], digest: str = "", cache: Path | None = None) -> Forest | Boosted:
    """Whatever predicts a text model: a packed forest where it fits (with a cache, see `cached`), else LightGBM.

    `ConfigurationError` where neither can: LightGBM is needed and not installed, or cannot read the text either.
    """
    try:
        return Forest.of_text(read()) if cache is None else cached(read, digest, cache)
    except NotPackable as why:
        return Boosted(read(), why)


def file_predictor(path: Path) -> Forest | Boosted:
    """`predictor` of a file with a text model, packed beside it: `model.txt` in `model.txt.forest`."""
    text = path.read_bytes()
    return predictor(lambda: text, hashlib.sha256(text).hexdigest(), path.with_name(f"{path.name}.forest"))


def _places(features: int, matrix: Matrix, columns: Sequence[int] | None) -> Ints:
    """Which column of the matrix each feature is in; `ValueError` where there are too few or too many."""
    import numpy as np

    if matrix.ndim != 2 or features != (matrix.shape[1] if columns is None else len(columns)):
        shape = " x ".join(map(str, matrix.shape))
        raise ValueError(f"The model has {features} features, and the matrix is {shape}.")
    return np.arange(features) if columns is None else np.asarray(columns, np.int64)
