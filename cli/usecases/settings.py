"""The settings of a provider: shown with where they come from, set, and taken back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ..errors import UsageError
from ..ports import HasSettings, Provider, StateStore
from ..settings import Setting
from ..watching.settings import SETTINGS as WATCHING

RECORDED_WITH = {"local": WATCHING}
"""Settings of other rooms that are recorded with those of a provider."""

_PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
"""What is the same text again when it was recorded as a number."""


@dataclass(frozen=True)
class SettingRow:
    """One setting as it stands. `source` is `default`, `recorded`, or the environment variable that wins.

    `problem` says why the value cannot be.
    """

    name: str
    value: object
    source: str
    default: object
    about: str
    problem: str | None = None


class ProviderSettings:
    """The settings that are recorded for one provider. Where a provider does not say which it has, any is taken."""

    def __init__(self, provider: Provider, store: StateStore, environ: Mapping[str, str] = os.environ):
        self._name = provider.name
        self._store = store
        self._environ = environ
        own: Sequence[Setting] = provider.settings_table if isinstance(provider, HasSettings) else ()
        self._table = {each.name: each for each in (*own, *(RECORDED_WITH.get(provider.name, ()) if own else ()))}

    def rows(self) -> list[SettingRow]:
        """Every setting, and what is recorded that is none."""
        recorded = self._store.settings(self._name)
        rows = [self._row(setting, recorded) for setting in self._table.values()]
        unknown = f"the provider {self._name} has no such setting" if self._table else None
        others = (name for name in recorded if name not in self._table)
        return [*rows, *(SettingRow(name, recorded[name], "recorded", None, "", unknown) for name in others)]

    def row(self, name: str) -> SettingRow:
        """One setting; `UsageError` when there is none of that name."""
        for row in self.rows():
            if row.name == name:
                return row
        raise self._unknown(name)

    def checked(self, given: Mapping[str, object]) -> dict[str, str | int]:
        """Values as they are recorded. `UsageError` for a name that is none, a value that cannot be, and a setting that
        only another command may set."""
        values: dict[str, str | int] = {}
        for name, value in given.items():
            if self._table and name not in self._table:
                raise self._unknown(name)
            if (setting := self._table.get(name)) is not None:
                if setting.set_by:
                    raise UsageError(f"{name} is not set by hand.", f"Run `{setting.set_by}`.", code="bad-setting")
                setting.check(value)
            text = str(value).strip()
            values[name] = int(text) if _PLAIN_NUMBER.fullmatch(text) else text
        return values

    def set(self, given: Mapping[str, object], *, dry_run: bool = False) -> None:
        """Record values, beside what is recorded."""
        self._save({**self._store.settings(self._name), **self.checked(given)}, dry_run)

    def unset(self, name: str, *, dry_run: bool = False) -> None:
        """Take a setting back to its default, whatever was recorded for it."""
        recorded = dict(self._store.settings(self._name))
        if name not in recorded and name not in self._table:
            raise self._unknown(name)
        if (setting := self._table.get(name)) is not None and setting.set_by and name in recorded:
            raise UsageError(
                f"{name} is not set by hand.", f"Run `{setting.set_by}` or its opposite.", code="bad-setting"
            )
        recorded.pop(name, None)
        self._save(recorded, dry_run)

    def _save(self, settings: Mapping[str, str | int], dry_run: bool) -> None:
        if not dry_run:
            self._store.save_settings(self._name, settings)

    def _row(self, setting: Setting, recorded: Mapping[str, str | int]) -> SettingRow:
        value, source = setting.source(recorded, self._environ)
        try:
            value, problem = (value if source == "default" else setting.check(value)), None
        except UsageError as error:
            problem = str(error.hint)
        return SettingRow(setting.name, value, source, setting.default, setting.about, problem)

    def _unknown(self, name: str) -> UsageError:
        near = get_close_matches(name, self._table, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(self._table)}."
        return UsageError(f"The provider {self._name} has no setting '{name}'.", hint, code="unknown-setting")
