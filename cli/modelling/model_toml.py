"""model.toml: what a model is trained from and how, read, checked and filled in."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ..errors import UsageError
from ..files.private import write_result
from .presets import ALLOWED, PRESETS, Value, as_written, checked_parameter

if TYPE_CHECKING:
    from types import ModuleType

FILE = "model.toml"
BAD = "bad-model-toml"
_AT = re.compile(r" - at `\$\.?(.*)`$")
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1, max_length=1000)]

EXAMPLE = """\
# What `numerai train` trains. Every line may be left out: what stands here is the default, where nothing else is said.

preset = "small"     # Numerai's published sets: "small" (tutorial, 2,000 trees), "standard" (20,000), "deep" (30,000)
seeds = [0]          # one model for each; their ranks are averaged. More seeds: steadier, and as many times the work

[data]
feature_sets = ["small"]   # "small" (42 features), "medium" (780), "all" (3,555), or another name in features.json
targets = ["target"]       # several are averaged too: ["target_ender_20", "target_teager2b_20"]
files = ["train"]          # ["train", "validation"] to use all labelled rows, as people do for what they deploy
every = 1                  # 4 takes every fourth era: a quarter of the memory and time
# version = "v5.3"         # default: the newest there is

[held_out]           # the newest eras are not trained on: CORR of them shows when to stop
# eras = 57          # default: a tenth of all, at most 100. 0 trains on all of them, and never stops early
patience = 500       # stop when mean CORR has not risen for so many trees; 0 never stops early

# [neutralize]       # take a part of the features out of the predictions
# features = "small"
# proportion = 0.5

# [parameters]       # in place of the preset's
# trees = 2000
# learning_rate = 0.01
# num_leaves = 31
"""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[data]`: what is trained on. `every` keeps every n-th era."""

    version: _Name | None = None
    feature_sets: _Names = ("small",)
    targets: _Names = ("target",)
    files: Annotated[tuple[Literal["train", "validation"], ...], msgspec.Meta(min_length=1)] = ("train",)
    every: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class HeldOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[held_out]`: how many of the newest eras show when to stop (None: a tenth of all, at most 100), and the patience
    in trees."""

    eras: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    patience: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 500


class Neutralize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[neutralize]`: against which feature set or features, and how much of them is taken out (0 to 1)."""

    features: _Name | _Names
    proportion: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] | None = None
    preset: str = "small"
    seeds: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)], ...], msgspec.Meta(min_length=1)] = (0,)
    data: Data = Data()
    held_out: HeldOut = HeldOut()
    neutralize: Neutralize | None = None
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class ModelToml:
    """A model.toml with everything that it leaves out filled in.

    `trees` is how many trees a member has at most, `block` after how many the progress is saved and CORR is measured.
    """

    name: str
    preset: str
    seeds: tuple[int, ...]
    data: Data
    held_out: HeldOut
    neutralize: Neutralize | None
    trees: int
    block: int
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """All of it as JSON has it."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain: dict[str, object] = msgspec.to_builtins(content)
        return plain


def read_model_toml(folder: Path) -> ModelToml:
    """The folder's model.toml.

    Raises `UsageError` with code `no-model-toml` where there is none, `bad-model-toml` for what it may not say.
    """
    path = folder / FILE
    if folder.is_file():
        raise UsageError(f"{folder} is a file.", f"Give its folder, which {FILE} is in.", code="no-model-toml")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"There is no {FILE} in {folder}.",
            f"`numerai train --new {folder}` writes one to start from.",
            code="no-model-toml",
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text.", "Save it as UTF-8.", code=BAD) from error
    return parsed(text, default_name=folder.absolute().name)


def parsed(text: str, default_name: str = "model") -> ModelToml:
    """The content of a model.toml, with `default_name` where it says none; raises as `read_model_toml` does."""
    toml = _toml()
    try:
        content = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise UsageError(
            f"{FILE} is no TOML: {error}.", "toml.io shows how it is written (0.1, not .1).", code=BAD
        ) from error
    _check_names(content, _File, "")
    try:
        file = msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        raise UsageError(*_explained(str(error), content), code=BAD) from None
    return _filled_in(file, default_name)


def write_example(folder: Path) -> Path:
    """Write a model.toml to start from. `UsageError` with code `would-overwrite` where there is one."""
    path = folder / FILE
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already.", "Edit it, or choose another folder.", code="would-overwrite")
    write_result(path, EXAMPLE.encode())
    return path


WANTED = {
    "name": "a text of letters, digits, _, . and -, 100 at most, which begins with a letter or digit",
    "preset": "small, standard or deep",
    "seeds": "a list of whole numbers, 0 to 2,147,483,647, as in [0, 1]",
    "data": "a table: [data]",
    "data.version": 'a text, as in "v5.3"',
    "data.feature_sets": 'a list of texts, as in ["small"]',
    "data.targets": 'a list of texts, as in ["target"]',
    "data.files": '["train"], ["validation"] or both',
    "data.every": "a whole number, 1 to 1,000",
    "held_out": "a table: [held_out]",
    "held_out.eras": "a whole number, 0 to 10,000",
    "held_out.patience": "a whole number, 0 to 1,000,000",
    "neutralize": "a table: [neutralize]",
    "neutralize.features": "the name of a feature set, or a list of features",
    "neutralize.proportion": "a number, 0 to 1",
    "parameters": "a table: [parameters]",
}
"""What may stand where, in words: the types above say the same to msgspec."""


def _toml() -> ModuleType:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib


def _check_names(content: Mapping[str, Any], kind: type[msgspec.Struct], table: str) -> None:
    """`UsageError` for a name that model.toml does not know, with the one that was probably meant."""
    known = {item.name: item.type for item in msgspec.structs.fields(kind)}
    for name, value in content.items():
        if name not in known:
            raise UsageError(f"{FILE} has no setting '{table}{name}'.", _meant(name), code=BAD)
        inner = next((each for each in _TABLES if each[0] == f"{table}{name}"), None)
        if inner is not None and isinstance(value, Mapping):
            _check_names(value, inner[1], f"{name}.")


_TABLES: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("data", Data),
    ("held_out", HeldOut),
    ("neutralize", Neutralize),
)


def _places() -> dict[str, str]:
    """Where in model.toml each setting stands, by its name."""
    places = dict.fromkeys((*ALLOWED, "trees", "block"), "[parameters]")
    for table, kind in _TABLES:
        places |= {item.name: f"[{table}]" for item in msgspec.structs.fields(kind)}
    return places | {item.name: "the top, before every table" for item in msgspec.structs.fields(_File)}


def _meant(name: str) -> str:
    places = _places()
    if name in places:
        return f"It stands at {places[name]}." if " " in places[name] else f"It stands in the table {places[name]}."
    near = get_close_matches(name, places, n=1)
    if not near:
        others = [each for each, table in places.items() if table != "[parameters]"]
        return f"There are: {', '.join(others)}, and what may stand in [parameters]."
    return f"Did you mean {near[0]}{f' in {places[near[0]]}' if '[' in places[near[0]] else ''}?"


def _explained(text: str, content: Any) -> tuple[str, str]:
    """What msgspec found wrong, as a sentence with the value and a hint with what may stand there."""
    match = _AT.search(text)
    at = re.sub(r"\[\.\.\.\]$", "", match[1]) if match else ""
    if text.startswith("Object missing required field"):
        return (
            f"[{at}] in {FILE} has no {_AT.sub('', text).split()[-1].strip('`')}.",
            "Write it, or leave the whole table out.",
        )
    for step in re.findall(r"[^.\[\]]+", at):
        content = content[int(step)] if isinstance(content, list) else content[step]
    return f"{FILE} has a wrong value for {at}: {as_written(content)}.", f"Give {WANTED[at.partition('[')[0]]}."


def _filled_in(file: _File, default_name: str) -> ModelToml:
    if file.preset not in PRESETS:
        near = get_close_matches(file.preset, PRESETS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(PRESETS)}."
        raise UsageError(f"{FILE} has no preset '{file.preset}'.", hint, code=BAD)
    for where, values in (
        ("seeds", file.seeds),
        ("data.feature_sets", file.data.feature_sets),
        ("data.targets", file.data.targets),
        ("data.files", file.data.files),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"{FILE} has {twice!r} twice in {where}.", "Name it once.", code=BAD)
    preset = PRESETS[file.preset]
    own = dict(file.parameters)
    trees = _count(own, "trees", preset.trees)
    block = _count(own, "block", min(preset.block, trees))
    where = f"[parameters] in {FILE}"
    elsewhere = next((name for name in own if name not in ALLOWED and name in _places()), None)
    if elsewhere is not None:
        raise UsageError(f"{where} has no parameter '{elsewhere}'.", _meant(elsewhere), code=BAD)
    parameters = {**preset.parameters, **{name: checked_parameter(name, own[name], where) for name in own}}
    name = file.name or re.sub(r"[^A-Za-z0-9_.-]+", "-", default_name).strip("-._") or "model"
    return ModelToml(name, file.preset, file.seeds, file.data, file.held_out, file.neutralize, trees, block, parameters)


def _count(own: dict[str, Any], name: str, default: int) -> int:
    value = own.pop(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise UsageError(
            f"[parameters] in {FILE}: {name} is {as_written(value)}.", "Give a whole number from 1.", code=BAD
        )
    return value
