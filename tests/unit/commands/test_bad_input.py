"""What people get wrong with `data`, `train`, `validate` and `report`: one clear message each, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.commands.conftest import Line
from tests.unit.usecases.test_train import TOML, make_data

Change = Callable[[Path], object]
Case = tuple[str, Change, list[str], int, str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data to train and to judge on, predictions of them, a model.toml and a validation's shape."""
    folder = make_data(tmp_path_factory.mktemp("whole") / "v5.3")
    random = np.random.default_rng(1)
    rows = pd.DataFrame(
        {"id": [f"n{n:015x}" for n in range(200)], "era": np.repeat(["0041", "0042", "0043"], 200)[::3]}
    )
    for number in range(6):
        rows[f"feature_{number}"] = random.integers(0, 5, 200, dtype=np.int8)
    rows["target"] = random.choice([0, 0.25, 0.5, 0.75, 1], 200).astype("float32")
    rows.to_parquet(folder / "validation.parquet", index=False)
    rows.assign(prediction=random.random(200))[["id", "prediction"]].to_csv(folder / "mine.csv", index=False)
    rows.assign(numerai_meta_model=random.random(200))[["id", "era", "numerai_meta_model"]].to_parquet(
        folder / "meta_model.parquet", index=False
    )
    (folder / "model").mkdir()
    (folder / "model" / "model.toml").write_text(TOML)
    return folder


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "v5.3"))


def nothing(_: Path) -> None:
    """Change nothing."""


def toml(text: str, encoding: str = "utf-8") -> Change:
    return lambda data: (data / "model" / "model.toml").write_text(text, encoding=encoding)


def text(name: str, content: str | bytes) -> Change:
    return lambda data: (data / name).write_bytes(content.encode() if isinstance(content, str) else content)


def replaced(name: str, old: bytes, new: bytes) -> Change:
    return lambda data: (data / name).write_bytes((data / name).read_bytes().replace(old, new))


def frame(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    def apply(data: Path) -> None:
        path = data / name
        if path.suffix == ".csv":
            change(pd.read_csv(path)).to_csv(path, index=False)
        else:
            change(pd.read_parquet(path)).to_parquet(path)

    return apply


def cut(name: str) -> Change:
    return lambda data: (data / name).write_bytes((data / name).read_bytes()[:-30])


def twice(columns: list[str]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows, rows["prediction"]], axis=1).set_axis(columns, axis=1)

    return change


TRAIN = ["train", "{data}/model", "--data", "{data}", "--threads", "1"]
TRAINED: list[Case] = [
    ("trees at the top", toml("trees = 20\n"), TRAIN, 2, "It stands in the table [parameters]."),
    ("patience at the top", toml("patience = 5\n"), TRAIN, 2, "It stands in the table [held_out]."),
    ("a parameter in data", toml("[data]\nlearning_rate = 0.1\n"), TRAIN, 2, "It stands in the table [parameters]."),
    ("preset in data", toml("[data]\npreset = 'deep'\n"), TRAIN, 2, "It stands at the top, before every table."),
    ("eras in parameters", toml("[parameters]\neras = 2\n"), TRAIN, 2, "It stands in the table [held_out]."),
    ("mistyped at the top", toml("learning_rte = 1\n"), TRAIN, 2, "Did you mean learning_rate in [parameters]?"),
    ("a key twice", toml("preset = 'small'\npreset = 'deep'\n"), TRAIN, 2, "is no TOML"),
    ("not UTF-8", toml(TOML, "utf-16"), TRAIN, 2, "is no UTF-8 text"),
    ("a table as a list", toml("[[data]]\nevery = 1\n"), TRAIN, 2, "Give a table: [data]."),
    ("a name that is a path", toml('name = "a/b"\n'), TRAIN, 2, "letters, digits, _, . and -"),
    ("a name in other letters", toml('name = "módel"\n'), TRAIN, 2, "letters, digits, _, . and -"),
    ("no version of data", toml('[data]\nversion = "banana"\n'), TRAIN, 2, "asks for the data version 'banana'"),
    ("no folder of data", nothing, [*TRAIN[:3], "{data}x"], 2, "Did you mean {data}?"),
    ("nothing like it", nothing, [*TRAIN[:3], "/nowhere/like/it"], 2, "Name a folder of data, or a version"),
    ("an unknown version", nothing, [*TRAIN[:3], "v9.9"], 2, "There is no version v9.9"),
    ("a file as data", nothing, [*TRAIN[:3], "{data}/train.parquet"], 2, "Give the folder of the data."),
    ("data that are empty", nothing, [*TRAIN[:3], ""], 2, "'--data': it is empty"),
    ("a folder without all", lambda data: (data / "features.json").unlink(), TRAIN, 1, "no file {data}/features.json"),
    ("model.toml itself", nothing, ["train", "{data}/model/model.toml"], 2, "is a file. Give its folder"),
    ("a new one into a file", nothing, ["train", "--new", "{data}/mine.csv"], 3, "Cannot write"),
    ("a set that is no list", text("features.json", '{"feature_sets": {"small": "f"}}'), TRAIN, 1, "no feature sets"),
    ("broken features", text("features.json", "{"), TRAIN, 1, "holds no feature sets"),
    ("an empty set", text("features.json", '{"feature_sets": {"small": []}}'), TRAIN, 2, "No feature set is given"),
    ("a target in a set", text("features.json", '{"feature_sets": {"small": ["era"]}}'), TRAIN, 1, "no numbers"),
    ("an empty file", text("train.parquet", b""), TRAIN, 1, "it is damaged, or no Parquet file"),
    ("a CSV as Parquet", text("train.parquet", "id,era\na,1\n"), TRAIN, 1, "it is damaged, or no Parquet file"),
    ("a truncated file", cut("train.parquet"), TRAIN, 1, "it is damaged, or no Parquet file"),
    ("numbers and dates as eras", frame("train.parquet", lambda f: f.assign(era=f["era"].where(f["era"] != "0003",
        "2020-01-03"))), TRAIN, 2, "train.parquet: Era 0001 is a number and"),
    ("words as eras", frame("train.parquet", lambda f: f.assign(era="abc")), TRAIN, 2, "parquet: 'abc' is no era"),
    ("no row with a target", frame("train.parquet", lambda f: f.assign(target=np.float32("nan"))), TRAIN, 2,
     "No row of train.parquet has a value of target."),
    ("rows without an era", frame("train.parquet", lambda f: f.assign(era=f["era"].where(f["era"] != "0003"))), TRAIN,
     1, "has rows without an era"),
    ("one era", frame("train.parquet", lambda f: f.assign(era="0001")), TRAIN, 2, "1 era: too few to hold out 3"),
    ("a feature too large", frame("train.parquet", lambda f: f.assign(feature_1=np.int8(7))), TRAIN, 1, "are 0 to 4"),
    ("a feature below 0", frame("train.parquet", lambda f: f.assign(feature_1=np.int8(-1))), TRAIN, 1, "are 0 to 4"),
    ("truths as a feature", frame("train.parquet", lambda f: f.assign(feature_1=f["feature_1"] > 2)), TRAIN, 1, "bool"),
    ("rows twice to train on", frame("train.parquet", lambda f: pd.concat([f, f])), TRAIN, 1, "twice: its rows would"),
    ("a target of one value", frame("train.parquet", lambda f: f.assign(target=np.float32(0.5))), TRAIN, 1,
     "could be split"),
]  # fmt: skip

JUDGE = ["validate", "{data}/mine.csv", "--data", "{data}"]
JUDGED: list[Case] = [
    *[(f"{name} is empty", nothing, [*JUDGE, name, ""], 2, f"'{name}': it is empty")
      for name in ("--eras", "--target", "--benchmark", "--against", "--features", "--output")],
    ("a model is empty", nothing, ["validate", "", "--data", "{data}"], 2, "it is empty"),
    ("a mistyped model", nothing, ["validate", "{data}/mine.cvs", "--data", "{data}"], 2, "mean {data}/mine.csv?"),
    ("a folder as a model", nothing, ["validate", "{data}/model", "--data", "{data}"], 2, "it is a folder"),
    ("a mistyped model alone", nothing, ["validate", "{data}/mine.cvs"], 2, "mean {data}/mine.csv?"),
    ("a path too long", nothing, ["validate", "a" * 5000, "--data", "{data}"], 2, "cannot be a path"),
    ("no Parquet as data", nothing, [*JUDGE[:3], "{data}/mine.csv"], 2, "mine.csv is no Parquet file"),
    ("mistyped data", nothing, [*JUDGE[:3], "{data}x"], 2, "Did you mean {data}?"),
    ("a folder without rows", nothing, [*JUDGE[:3], "{data}/model"], 1, "download validation --to {data}/model"),
    ("output under a file", nothing, [*JUDGE, "--output", "{data}/mine.csv/x.json"], 3, "Cannot write"),
    ("eras the wrong way", nothing, [*JUDGE, "--eras", "0043:0041"], 2, "It has 0041 to 0043."),
    ("an era in words", nothing, [*JUDGE, "--eras", "first:"], 2, "'first' is no era"),
    ("one era for two", nothing, [*JUDGE, "--eras", "0041"], 2, "0601:0700"),
    ("the era as a target", nothing, [*JUDGE, "--target", "era"], 1, "holds no numbers"),
    ("semicolons", replaced("mine.csv", b",", b";"), JUDGE, 1, "Put commas between its columns"),
    ("tabs", replaced("mine.csv", b",", b"\t"), JUDGE, 1, "Put commas between its columns"),
    ("UTF-16", text("mine.csv", "id,prediction\na,1\n".encode("utf-16")), JUDGE, 1, "save it as UTF-8"),
    ("Latin-1", replaced("mine.csv", b"prediction", b"pr\xe9diction"), JUDGE, 1, "mine.csv cannot be read"),
    ("an empty CSV", text("mine.csv", ""), JUDGE, 1, "mine.csv cannot be read"),
    ("a heading alone", text("mine.csv", "id,prediction\n"), JUDGE, 1, "mine.csv has no rows"),
    ("ids in capitals", replaced("mine.csv", b"id,", b"ID,"), JUDGE, 1, "Write id for ID."),
    ("a line too long", lambda data: (data / "mine.csv").open("a").write("a,b,c\n"), JUDGE, 1, "cannot be read"),
    ("a column twice", frame("mine.csv", twice(["id", "prediction", "prediction"])), JUDGE, 1, "prediction twice"),
    ("rows without an id", frame("mine.csv", lambda f: f.assign(id=f["id"].where(f.index > 2))), JUDGE, 1,
     "id is empty in 3 rows"),
    ("an id twice", frame("mine.csv", lambda f: pd.concat([f, f])), JUDGE, 1, "twice"),
    ("a word among numbers", replaced("mine.csv", b",0.1", b",x0.1"), JUDGE, 1, "holds string, no numbers"),
    ("one value", frame("mine.csv", lambda f: f.assign(prediction=0.5)), JUDGE, 1, "ranks nothing"),
    ("Parquet called CSV", text("mine.csv", b"PAR1\x15"), JUDGE, 1, "give it the ending .parquet"),
    ("a spreadsheet", text("mine.csv", b"PK\x03\x04"), JUDGE, 1, "save it as CSV"),
    ("a pickle", text("mine.csv", b"\x80\x04\x95"), JUDGE, 1, "to_csv or to_parquet"),
    ("no model file", text("a.model", b""), ["validate", "{data}/a.model", "--data", "{data}"], 1,
     "is no model file"),
    ("an infinite target", frame("validation.parquet", lambda f: f.assign(target=np.float32(np.inf))), JUDGE, 1,
     "infinite"),
    ("no target", frame("validation.parquet", lambda f: f.drop(columns="target")), JUDGE, 2, "has no target target"),
    ("no target known", frame("validation.parquet", lambda f: f.assign(target=np.float32(np.nan))), JUDGE, 1, "weeks"),
    ("no eras", frame("validation.parquet", lambda f: f.drop(columns="era")), JUDGE, 1, "has no column era"),
    ("eras in disorder", frame("validation.parquet", lambda f: f.sample(frac=1, random_state=1)), JUDGE, 1, "Sort"),
    ("rows twice", frame("validation.parquet", lambda f: pd.concat([f, f]).sort_values("era")), JUDGE, 1, "twice"),
    ("a feature is missing", frame("validation.parquet", lambda f: f.drop(columns="feature_1")), JUDGE, 1, "feature_1"),
    ("a truncated meta model", cut("meta_model.parquet"), JUDGE, 1, "meta_model.parquet cannot be read"),
    ("an empty meta model", frame("meta_model.parquet", lambda f: f.iloc[:0]), JUDGE, 1, "has no rows"),
    ("another meta model", frame("meta_model.parquet", lambda f: f.drop(columns="numerai_meta_model")), JUDGE, 1,
     "no columns of numbers"),
]  # fmt: skip

SCORES = {"format": 1, "data": {"eras": ["0001", "0002"]}, "models": [{"name": "a", "per_era": {"corr": [0.1]}}]}
DRAWN = SCORES | {"data": {"eras": ["0001"]}}
OTHERS: list[Case] = [
    ("an empty version", nothing, ["data", "list", "--version", ""], 2, "it is empty"),
    ("a version without its v", nothing, ["data", "list", "--version", "5.3"], 2, "Did you mean v5.3?"),
    ("an empty file name", nothing, ["data", "download", ""], 2, "it is empty"),
    ("a file in capitals", nothing, ["data", "download", "TRAIN.parquet"], 2, "Did you mean train.parquet?"),
    ("an empty place", nothing, ["data", "download", "--to", ""], 2, "'--to': it is empty"),
    ("a file as a place", nothing, ["data", "download", "features.json", "--to", "{data}/mine.csv"], 2, "is a file"),
    ("no validation", nothing, ["report", "{data}/none.json"], 2, "`numerai validate MODEL --output FILE` writes one."),
    ("an empty one", text("v.json", ""), ["report", "{data}/v.json"], 2, "it is not JSON"),
    ("something else", nothing, ["report", "{data}/mine.csv"], 2, "it is not JSON"),
    ("too few scores", text("v.json", json.dumps(SCORES)), ["report", "{data}/v.json"], 2, "for 2 eras"),
    ("a page under a file", text("v.json", json.dumps(DRAWN)), ["report", "{data}/v.json", "-o", "{data}/mine.csv/x"],
     3, "Cannot write"),
    ("pictures nowhere", text("v.json", "{}"), ["report", "{data}/v.json", "--png", ""], 2, "'--png': it is empty"),
]  # fmt: skip
CASES = [*TRAINED, *JUDGED, *OTHERS]


@pytest.mark.parametrize(
    ("change", "arguments", "exit_code", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_mistake_is_one_message_and_nothing_is_lost(
    line: Line, data: Path, change: Change, arguments: list[str], exit_code: int, words: str
) -> None:
    change(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    answer = line(*(argument.format(data=data) for argument in arguments))
    said = " ".join(answer.err.split())
    assert words.format(data=data) in said and answer.exit_code == exit_code, said
    assert sum(each.startswith("Error: ") for each in answer.err.splitlines()) == 1
    assert "bug in numerai" not in said and "Warning" not in said
    assert {path: path.read_bytes() for path in data.rglob("*") if path in before} == before
    assert not (data / "model" / "model.model").exists()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (replaced("mine.csv", b"id,", b"\xef\xbb\xbfid,"), "mine.csv"),
        (replaced("mine.csv", b"\n", b"\r\n"), "mine.csv"),
        (lambda data: (data / "mine.csv").rename(data / "прогноз 雪.csv"), "прогноз 雪.csv"),
        (lambda data: pd.read_csv(data / "mine.csv").to_parquet(data / "mine.PARQUET"), "mine.PARQUET"),
    ],
    ids=["a byte order mark", "lines as Windows ends them", "a name in other letters", "an ending in capitals"],
)
def test_what_is_meant_well_is_read(line: Line, data: Path, change: Change, name: str) -> None:
    scores = [line(*JUDGE[:1], str(data / "mine.csv"), "--data", str(data), "--json").json["models"][0]["metrics"]]
    change(data)
    scores += [line("validate", str(data / name), "--data", str(data), "--json").json["models"][0]["metrics"]]
    assert scores[0] == scores[1]


def test_a_model_toml_may_begin_with_a_byte_order_mark(line: Line, data: Path) -> None:
    toml("trees = 20\n", "utf-8-sig")(data)
    assert "stands in the table [parameters]" in line("train", str(data / "model")).err


def test_a_folder_that_is_not_there_is_made_for_a_result(line: Line, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "not" / "there" / "v.json"
    answer = line("validate", str(data / "mine.csv"), "--data", str(data), "--output", str(output))
    assert answer.exit_code == 0 and output.is_file(), answer.err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything may be read and written here")
@pytest.mark.parametrize(
    ("closed", "arguments", "words"),
    [
        ("closed", ["validate", "{data}/none.csv", "--data", "{data}", "--output", "{data}/closed/v.json"], "Choose"),
        ("model", TRAIN, "Cannot write {data}/model: Permission denied. Choose a folder you may write to."),
        ("train.parquet", TRAIN, "The system refused: Permission denied ({data}/train.parquet)"),
        ("mine.csv", JUDGE, "Permission denied"),
        ("model/model.toml", TRAIN, "Permission denied ({data}/model/model.toml)"),
    ],
)
def test_what_may_not_be_read_or_written_is_said_before_the_work(
    line: Line, data: Path, closed: str, arguments: list[str], words: str
) -> None:
    (data / "closed").mkdir()
    (data / closed).chmod(0o500 if (data / closed).is_dir() else 0)
    answer = line(*(argument.format(data=data) for argument in arguments))
    assert answer.exit_code == 3 and words.format(data=data) in " ".join(answer.err.split())
