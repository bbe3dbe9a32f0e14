"""model.toml: what it may say, what it means when it says nothing, and what is said of a mistake."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from numerai_compute.errors import UsageError
from numerai_compute.modelling import model_toml
from numerai_compute.modelling.model_toml import EXAMPLE, Data, HeldOut, parsed, read_model_toml, write_example
from numerai_compute.modelling.presets import ALLOWED, PRESETS

WRONG = [
    ('presett = "small"', "no setting 'presett'", "preset?"),
    ('preset = "smal"', "no preset 'smal'", "small?"),
    ('preset = "x"', "no preset 'x'", "small, standard, deep"),
    ('[data]\nfeature_set = ["a"]', "no setting 'data.feature_set'", "feature_sets in [data]"),
    ('targets = ["a"]', "no setting 'targets'", "in the table [data]"),
    ('[data]\nfeature_sets = "a"', 'data.feature_sets: "a".', 'Give a list of texts, as in ["small"].'),
    ('seeds = ["a"]', 'seeds[0]: "a".', "Give a list of whole numbers, 0 to"),
    ("seeds = []", "wrong value for seeds: [].", "whole numbers, 0 to"),
    ("seeds = [1, 1]", "1 twice in seeds", "once"),
    ("data = 3", "wrong value for data: 3.", "Give a table: [data]."),
    ("[data]\nevery = 0", "data.every: 0.", "Give a whole number, 1 to 1,000."),
    ('[data]\nfiles = ["live"]', 'data.files[0]: "live".', 'Give ["train"], ["validation"] or both.'),
    ("[held_out]\npatience = true", "held_out.patience: true.", "0 to 1,000,000."),
    ('[neutralize]\nfeatures = "small"\nproportion = 2', "neutralize.proportion: 2.", "Give a number, 0 to 1."),
    ("[neutralize]\nproportion = 1", "[neutralize] in model.toml has no features", "leave the whole table out"),
    ("[parameters]\ncolsample_bytree = 0.1", "no parameter 'colsample_bytree'", "Write feature_fraction."),
    ("[parameters]\nlearning_rat = 0.1", "no parameter 'learning_rat'", "learning_rate"),
    ("[parameters]\nboosting = 'dart'", "no parameter 'boosting'", "There are: trees, block, learning_rate"),
    ("[parameters]\nlearning_rate = 'a'", 'learning_rate is "a"', "a number, 1e-06 to 1"),
    ("[parameters]\nlearning_rate = nan", "learning_rate is nan", "a number"),
    ("[parameters]\nnum_leaves = 3.5", "num_leaves is 3.5", "a whole number, 2 to 131,072"),
    ("[parameters]\nnum_leaves = true", "num_leaves is true", "a whole number"),
    ("[parameters]\nextra_trees = 1", "extra_trees is 1", "true or false"),
    ("[parameters]\ntrees = 0", "trees is 0", "whole number from 1"),
    ("x = [", "is no TOML", "toml.io"),
    ('name = "../a"', 'wrong value for name: "../a".', "letters, digits, _, . and -"),
    ("[data]\nversion = 5.3", "data.version: 5.3.", 'Give a text, as in "v5.3".'),
    ("[held_out]\neras = 1.5", "held_out.eras: 1.5.", "Give a whole number, 0 to 10,000."),
    ("[held_out]\neras = 2026-01-01", 'held_out.eras: "2026-01-01".', "Give a whole number, 0 to 10,000."),
    (
        "[neutralize]\nfeatures = []",
        "neutralize.features: [].",
        "Give the name of a feature set, or a list of features.",
    ),
    ('preset = ["small"]', 'preset: ["small"].', "Give small, standard or deep."),
    ("parameters = 1", "parameters: 1.", "Give a table: [parameters]."),
    ("seeds = [3000000000]", "seeds[0]: 3000000000.", "0 to 2,147,483,647"),
    ("[parameters]\nlambda_l1 = -inf", "lambda_l1 is -inf", "a number, 0 to 1e+12"),
    ("[parameters]\nmin_data_in_leaf = -1", "min_data_in_leaf is -1", "a whole number, 0 to 100,000,000"),
]


THEIR_WORDS = ("expected", "invalid", "`", "null", "array", "object", "enum", "regex", "True", ">=")
"""Of msgspec and Python."""


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[each[0] for each in WRONG])
def test_a_mistake_is_one_message_that_says_what_was_meant(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        parsed(text)
    assert message in error.value.message and hint in (error.value.hint or "")
    assert not [word for word in THEIR_WORDS if word in error.value.message.replace("is no TOML: Invalid", "")]
    assert error.value.code == "bad-model-toml" and "\n" not in error.value.in_full


def test_what_may_stand_there_is_said_of_every_setting() -> None:
    settings = {item.name for item in msgspec.structs.fields(model_toml._File)}
    for table, kind in model_toml._TABLES:
        settings |= {f"{table}.{item.name}" for item in msgspec.structs.fields(kind)}
    assert set(model_toml.WANTED) == settings


def test_the_example_says_the_defaults() -> None:
    assert parsed(EXAMPLE) == parsed("")
    uncommented = EXAMPLE.replace("\n# [", "\n[").replace("\n# ", "\n")
    full = parsed("\n".join(uncommented.splitlines()[1:]))
    assert full.parameters == PRESETS["small"].parameters and full.trees == PRESETS["small"].trees
    assert full.neutralize is not None and full.data.version == "v5.3"


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("""
preset = "deep"
seeds = [1, 2]
[data]
version = "v5.2"
feature_sets = ["small", "medium"]
targets = ["target_ender_20", "target_teager2b_60"]
files = ["train", "validation"]
every = 4
[held_out]
eras = 0
patience = 0
[neutralize]
features = ["a", "b"]
proportion = 0.5
[parameters]
trees = 500
learning_rate = 1
extra_trees = true
""")
    model = read_model_toml(tmp_path)
    assert model.name == tmp_path.name and model.seeds == (1, 2)
    assert model.data == Data(
        "v5.2", ("small", "medium"), ("target_ender_20", "target_teager2b_60"), ("train", "validation"), 4
    )
    assert model.held_out == HeldOut(0, 0)
    assert (model.trees, model.block) == (500, 50)
    assert model.parameters["learning_rate"] == 1.0 and model.parameters["min_data_in_leaf"] == 10_000
    assert isinstance(model.parameters["learning_rate"], float)


def test_every_preset_has_parameters_that_model_toml_may_set() -> None:
    for preset in PRESETS.values():
        for name, value in preset.parameters.items():
            kind, low, high = ALLOWED[name]
            assert type(value) is kind and low <= value <= high  # type: ignore[operator]


def test_no_model_toml_is_said_with_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no model.toml in") as error:
        read_model_toml(tmp_path)
    assert "numerai train --new" in (error.value.hint or "")
    assert write_example(tmp_path / "new").read_text() == EXAMPLE
    assert read_model_toml(tmp_path / "new").name == "new"
    with pytest.raises(UsageError, match="is there already"):
        write_example(tmp_path / "new")


def test_a_folder_names_the_model_as_far_as_files_may_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "my model (2)"
    folder.mkdir()
    (folder / "model.toml").write_text("")
    assert read_model_toml(folder).name == "my-model-2"
    (folder / "model.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        read_model_toml(folder)
