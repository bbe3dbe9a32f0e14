"""Settings: which there are, what each may hold, and where its value comes from, by one rule for all rooms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import UsageError

Recorded = Mapping[str, "str | int"]
N = TypeVar("N", int, float)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Setting:
    """One setting. `wanted` says what a value must be, `read` makes it out of a text or raises `ValueError`, and the
    first of the environment `variables` that is set wins over what is recorded. `set_by` names the command that alone
    may set it."""

    name: str
    about: str
    wanted: str
    read: Callable[[str], Any]
    default: Any = None
    variables: tuple[str, ...] = ()
    set_by: str | None = None

    def check(self, value: object) -> Any:
        """The value as the tool uses it; `UsageError` with code `bad-setting` when it can be none."""
        try:
            return self.read(str(value).strip())
        except ValueError as error:
            also = f" (also in {' or '.join(self.variables)})" if self.variables else ""
            raise UsageError(
                f"The setting {self.name} is '{value}'.",
                f"It must be {self.wanted}{also}. `numerai config unset {self.name}` takes it back.",
                code="bad-setting",
            ) from error

    def source(self, recorded: Recorded, environ: Mapping[str, str]) -> tuple[object, str]:
        """The value before it is read, and where it comes from: a variable's name, `recorded` or `default`."""
        for variable in self.variables:
            if environ.get(variable):
                return environ[variable], variable
        if str(recorded.get(self.name, "")).strip():
            return recorded[self.name], "recorded"
        return self.default, "default"


def read_all(settings: Iterable[Setting], recorded: Recorded, environ: Mapping[str, str]) -> dict[str, Any]:
    """Every setting's value by name. Raises as `Setting.check`."""
    values = {}
    for setting in settings:
        value, where = setting.source(recorded, environ)
        values[setting.name] = value if where == "default" else setting.check(value)
    return values


def whole(
    name: str, about: str, low: int, high: int, default: int | None = None, variables: tuple[str, ...] = ()
) -> Setting:
    """A whole number from `low` to `high`."""
    return Setting(
        name, about, f"a whole number from {low} to {high}", _within(read_whole, low, high), default, variables
    )


def decimal(
    name: str, about: str, low: float, high: float, default: float | None = None, variables: tuple[str, ...] = ()
) -> Setting:
    """A number from `low` to `high`."""
    return Setting(
        name, about, f"a number from {low:g} to {high:g}", _within(read_decimal, low, high), default, variables
    )


def switch(name: str, about: str, default: bool) -> Setting:
    """On or off."""
    words = {"1": True, "on": True, "yes": True, "true": True, "0": False, "off": False, "no": False, "false": False}

    def read(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return Setting(name, about, "on or off (1 or 0)", read, default)


def choice(
    name: str,
    about: str,
    choices: Iterable[object],
    default: object,
    variables: tuple[str, ...] = (),
    wanted: str | None = None,
) -> Setting:
    """One of several values."""
    known = {str(each): each for each in choices}

    def read(text: str) -> object:
        if text not in known:
            raise ValueError
        return known[text]

    return Setting(name, about, wanted or f"one of {', '.join(known)}", read, default, variables)


def text(
    name: str, about: str, pattern: str, wanted: str, default: str | None = None, variables: tuple[str, ...] = ()
) -> Setting:
    """A text of a certain shape."""
    shape = re.compile(pattern)

    def read(value: str) -> str:
        if not shape.fullmatch(value):
            raise ValueError
        return value

    return Setting(name, about, wanted, read, default, variables)


def read_whole(text: str) -> int:
    """A whole number of at most 18 digits as people write it; `ValueError` for anything else that `int` takes."""
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(text)
    return int(text)


def read_decimal(text: str) -> float:
    """A finite number as people write it; `ValueError` for anything else that `float` takes, such as nan."""
    if not _DECIMAL.fullmatch(text.strip()) or not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _within(kind: Callable[[str], N], low: N, high: N) -> Callable[[str], N]:
    def read(value: str) -> N:
        number = kind(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return read
