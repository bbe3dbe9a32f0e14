"""Training in blocks: the same bytes however often it is interrupted, on how many threads, and in which process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.modelling.boosters import block_seeds, train_block, write_forest
from numerai_compute.modelling.checkpoint import FOLDER, MemberState, open_checkpoint
from numerai_compute.modelling.model_toml import ModelToml, parsed
from numerai_compute.modelling.training import (
    ALL_TREES,
    NO_RISE,
    MemberData,
    Progress,
    Trained,
    Trainer,
    members_of,
)

ROWS, FEATURES, HELD_OUT = 1500, 8, 400
TOML = """
[held_out]
patience = {patience}
[parameters]
trees = 12
block = 3
num_leaves = 7
learning_rate = 0.2
feature_fraction = 0.5
bagging_fraction = 0.5
bagging_freq = 1
"""
BINNED = {"enable_bundle": False, "verbosity": -1, "min_data_in_bin": 1}


@dataclass(frozen=True)
class Made:
    """Data with a weak signal, as numpy has them and as LightGBM does."""

    matrix: np.ndarray
    target: np.ndarray
    held_matrix: np.ndarray
    held_target: np.ndarray

    def datasets(self, threads: int = 1) -> tuple[Any, Any]:
        parameters = {**BINNED, "num_threads": threads}
        train = lgb.Dataset(self.matrix, self.target, params=parameters).construct()
        return train, lgb.Dataset(self.held_matrix, self.held_target, reference=train, params=parameters).construct()

    def data(self, threads: int = 1) -> MemberData:
        train, held_out = self.datasets(threads)
        return MemberData(train, held_out, BINNED, self.corr)

    def corr(self, scores: np.ndarray) -> float:
        return float(np.corrcoef(scores, self.held_target)[0, 1]) if scores.std() else 0.0


@pytest.fixture(scope="module")
def made() -> Made:
    chance = np.random.default_rng(7)
    matrix = chance.integers(0, 5, (ROWS + HELD_OUT, FEATURES)).astype(np.float32)
    noisy = matrix[:, 0] + matrix[:, 1] * (matrix[:, 2] > 2) + chance.normal(0, 2, len(matrix))
    target = (np.argsort(np.argsort(noisy)) * 5 // len(noisy) / 4).astype(np.float32)
    return Made(matrix[:ROWS], target[:ROWS], matrix[ROWS:], target[ROWS:])


def plan(patience: int = 0) -> ModelToml:
    return parsed(TOML.format(patience=patience))


class PowerCut(Exception):
    """What ends a training in the middle."""


def trained(
    folder: Path,
    data: MemberData,
    what: ModelToml,
    report: Callable[[Progress], None] = lambda _: None,
    threads: int = 1,
) -> tuple[Trained, bytes]:
    """Train the first member in a folder; what it is, and its forest as text."""
    with open_checkpoint(folder, {"plan": what.plain()}, again=False) as checkpoint:
        member = members_of(what)[0]
        result = Trainer(what, checkpoint, threads, report).train(member, data)
        text = io.BytesIO()
        write_forest(result.blocks, text)
        return result, text.getvalue()


@pytest.fixture(scope="module")
def whole(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, bytes]:
    return trained(tmp_path_factory.mktemp("whole"), made.data(), plan())


def test_two_runs_with_one_seed_have_the_same_bytes(made: Made, tmp_path: Path, whole: tuple[Trained, bytes]) -> None:
    result, text = trained(tmp_path, made.data(), plan())
    assert text == whole[1] and result.curve == whole[0].curve
    assert result.trees == 12 and result.stopped == ALL_TREES and len(result.curve) == 4


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_byte(
    made: Made, tmp_path: Path, whole: tuple[Trained, bytes], threads: int
) -> None:
    assert trained(tmp_path, made.data(threads), plan(), threads=threads)[1] == whole[1]


@pytest.mark.parametrize("tree", range(1, 13))
def test_interrupted_at_any_tree_and_resumed_has_the_bytes_of_an_uninterrupted_training(
    made: Made, tmp_path: Path, whole: tuple[Trained, bytes], tree: int
) -> None:
    def cut(progress: Progress) -> None:
        if not progress.block_ended and progress.trees == tree:
            raise PowerCut

    with pytest.raises(PowerCut):
        trained(tmp_path, made.data(), plan(), cut)
    seen: list[Progress] = []
    result, text = trained(tmp_path, made.data(), plan(), seen.append)
    assert text == whole[1] and result.curve == whole[0].curve
    assert seen[0].trees == (tree - 1) // 3 * 3 + 1, "it goes on after the last whole block"


@pytest.mark.parametrize("write", range(3 * 4))
def test_interrupted_at_any_write_and_resumed_has_the_same_bytes(
    made: Made, tmp_path: Path, whole: tuple[Trained, bytes], write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block is three files (trees, scores, state): whichever of them is the last that arrives, nothing is lost."""
    replacing_of = Path.replace
    renamed = iter(range(1000))

    def cut(path: Path, target: Path) -> Path:
        if path.parent.name.startswith("member") and next(renamed) == write:
            raise PowerCut
        return replacing_of(path, target)

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(Path, "replace", cut)
        trained(tmp_path, made.data(), plan())
    assert trained(tmp_path, made.data(), plan())[1] == whole[1]


def test_the_forest_predicts_the_bytes_that_the_training_ended_with(
    made: Made, whole: tuple[Trained, bytes], tmp_path: Path
) -> None:
    forest = lgb.Booster(model_str=whole[1].decode())
    train, held_out = made.datasets()
    scores = None
    for number in range(4):
        parameters = {**plan().parameters, **BINNED, **block_seeds(0, number), "num_threads": 1}
        scores = train_block(train, held_out, parameters, 3, scores).scores
    assert scores is not None and scores.held_out is not None
    assert forest.num_trees() == 12
    assert np.array_equal(forest.predict(made.matrix, num_threads=1), scores.train)
    assert np.array_equal(forest.predict(made.held_matrix, num_threads=1), scores.held_out)
    again = lgb.Booster(model_str=forest.model_to_string())
    assert np.array_equal(again.predict(made.held_matrix), scores.held_out)


def test_another_seed_gives_other_trees(made: Made, tmp_path: Path, whole: tuple[Trained, bytes]) -> None:
    other = replace(plan(), seeds=(1,))
    assert trained(tmp_path, made.data(), other)[1] != whole[1]
    assert len({value for block in range(50) for value in block_seeds(0, block).values()}) == 200


def test_it_stops_when_corr_has_not_risen_for_the_patience_and_keeps_the_best(made: Made, tmp_path: Path) -> None:
    corrs = iter([0.01, 0.03, 0.02, 0.03])
    data = replace(made.data(), measure=lambda _: next(corrs))
    ended: list[str | None] = []
    result, text = trained(tmp_path, data, plan(patience=6), lambda progress: ended.append(progress.ended))
    assert ended[-1] == NO_RISE
    assert result.stopped == "mean CORR was highest here, of 12 trees" and [corr for _, corr in result.curve] == [
        0.01,
        0.03,
        0.02,
        0.03,
    ]
    assert (result.trees, result.corr) == (6, 0.03), "the earlier one of two that are equal"
    assert lgb.Booster(model_str=text.decode()).num_trees() == 6


def test_without_patience_all_trees_are_kept(made: Made, tmp_path: Path) -> None:
    corrs = iter([0.03, 0.02, 0.01, 0.0])
    result, _ = trained(tmp_path, replace(made.data(), measure=lambda _: next(corrs)), plan())
    assert (result.trees, result.corr) == (12, 0.0)


def test_a_target_that_never_changes_is_said_to_teach_nothing(made: Made, tmp_path: Path) -> None:
    flat = replace(made, target=np.full(ROWS, 0.5, np.float32))
    with pytest.raises(NumeraiError, match="No tree of small, target, seed 0 could be split") as error:
        trained(tmp_path, flat.data(), plan())
    assert error.value.code == "nothing-to-learn"


def test_it_goes_on_only_with_what_was_begun_and_says_what_changed(made: Made, tmp_path: Path) -> None:
    first = plan()
    with open_checkpoint(tmp_path, {"plan": first.plain()}, again=False) as checkpoint:
        checkpoint.note(0, MemberState(0, 0))
    with (
        pytest.raises(UsageError, match=r"plan\.trees was 12 and is 13") as error,
        open_checkpoint(tmp_path, {"plan": replace(first, trees=13).plain()}, again=False),
    ):
        pass
    assert error.value.code == "training-changed" and "--again" in (error.value.hint or "")
    with open_checkpoint(tmp_path, {"plan": replace(first, trees=13).plain()}, again=True) as checkpoint:
        assert checkpoint.state(0) == MemberState()


def test_two_processes_never_train_in_one_folder(tmp_path: Path) -> None:
    with (
        open_checkpoint(tmp_path, {}, again=False),
        pytest.raises(NumeraiError, match="Another process trains"),
        open_checkpoint(tmp_path, {}, again=False),
    ):
        pass


def test_the_progress_is_private_and_gone_when_all_is_done(made: Made, tmp_path: Path) -> None:
    place = tmp_path / FOLDER
    with open_checkpoint(tmp_path, {}, again=False) as checkpoint:
        Trainer(plan(), checkpoint, 1).train(members_of(plan())[0], made.data())
        assert {path.stat().st_mode & 0o077 for path in (place, *place.rglob("*"))} == {0}
        names = sorted(path.name for path in (place / "member-000").iterdir())
        assert names == [*(f"block-{number:05}.txt" for number in range(4)), "scores-00004.npz", "state.json"]
    assert place.exists()
    with open_checkpoint(tmp_path, {}, again=False) as checkpoint:
        checkpoint.finish()
    assert not place.exists()


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("block-00001.txt", lambda content: content[:50]),
        ("block-00000.txt", lambda content: content.replace(b"leaf_value=", b"leaf_value=1", 1)),
        ("block-00002.txt", None),
        ("state.json", lambda content: content.replace(b'"trees": ', b'"trees": 1', 1)),
    ],
    ids=["cut", "a digit", "gone", "a figure of the state"],
)
@pytest.mark.parametrize("left", [3, 0])
def test_no_model_is_made_of_a_damaged_block(
    made: Made, tmp_path: Path, file: str, damage: Callable[[bytes], bytes] | None, left: int
) -> None:
    def cut(progress: Progress) -> None:
        if not progress.block_ended and progress.trees == 12 - left + 1:
            raise PowerCut

    if left:
        with pytest.raises(PowerCut):
            trained(tmp_path, made.data(), plan(), cut)
    else:
        trained(tmp_path, made.data(), plan())
    path = tmp_path / ".training" / "member-000" / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    seen: list[Progress] = []
    with pytest.raises(NumeraiError, match=rf"{file} is damaged") as error:
        trained(tmp_path, made.data(), plan(), seen.append)
    assert error.value.code == "training-damaged" and "--again" in (error.value.hint or "")
    assert seen == []


def test_a_damaged_progress_is_said_to_be_damaged(made: Made, tmp_path: Path) -> None:
    with open_checkpoint(tmp_path, {}, again=False) as checkpoint:
        member = members_of(plan())[0]
        Trainer(plan(), checkpoint, 1).train(member, made.data())
        scores = tmp_path / FOLDER / "member-000" / "scores-00004.npz"
        scores.write_bytes(scores.read_bytes()[:-100])
        with pytest.raises(NumeraiError, match=r"scores-00004.npz is damaged"):
            checkpoint.scores(0)
        (scores.parent / "state.json").write_text("{")
        with pytest.raises(NumeraiError, match=r"state.json is damaged"):
            checkpoint.state(0)


def test_the_time_left_counts_the_members_to_come(made: Made, tmp_path: Path) -> None:
    ticks: Iterator[float] = iter(float(second) for second in range(1000))
    two = replace(plan(), seeds=(0, 1))
    seen: list[Progress] = []
    with open_checkpoint(tmp_path, {}, again=False) as checkpoint:
        trainer = Trainer(two, checkpoint, 1, seen.append, clock=lambda: next(ticks))
        for member in members_of(two):
            trainer.train(member, made.data())
    ended = [progress for progress in seen if progress.block_ended]
    assert [round(progress.seconds_left or 0, 9) for progress in ended] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert seen[0].seconds_left is None and (seen[0].trees, seen[0].planned, seen[0].members) == (1, 12, 2)
