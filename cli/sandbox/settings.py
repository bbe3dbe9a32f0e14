"""How a sandbox is set up: its models, its token, its rounds and the size of its made-up data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..models import Tournament
from .calendar import Calendar
from .switches import Switches

PUBLIC_ID_VARIABLE = "NUMERAI_SANDBOX_PUBLIC_ID"
SECRET_KEY_VARIABLE = "NUMERAI_SANDBOX_SECRET_KEY"  # noqa: S105 the name of a variable, not a secret

ALL_SCOPES = (
    "read_user_info",
    "read_submission_info",
    "upload_submission",
    "download_submission",
    "write_user_info",
    "stake",
    "web3_staking",
    "delete",
)
DEFAULT_SCOPES = ALL_SCOPES[:5]

TOURNAMENT_NAMES = {"classic": 8, "numerai": 8, "8": 8, "signals": 11, "11": 11, "crypto": 12, "12": 12}
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class ModelSpec:
    """A model slot that the sandbox's account has from the start."""

    name: str
    tournament: int = Tournament.CLASSIC.value


@dataclass(frozen=True)
class DataSpec:
    """The size of the made-up Classic dataset. The same spec always gives the same rows.

    `eras` counts the training eras; a quarter as many follow for validation. `missing` is the share of feature values
    that are missing: 2 since v5.3, null in older versions. Numerai's own v5.3 is eras=574, rows_per_era=4700,
    features=3555.
    """

    seed: int = 0
    eras: int = 100
    rows_per_era: int = 250
    features: int = 60
    missing: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "eras": (self.eras, 4, 5000),
            "rows-per-era": (self.rows_per_era, 100, 50_000),
            "features": (self.features, 5, 5000),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise UsageError(f"--{name} {value} is out of range: it must be between {low} and {high}.")
        if not 0 <= self.missing < 1:
            raise UsageError(f"--missing {self.missing} is out of range: it must be at least 0 and below 1.")


@dataclass(frozen=True)
class Settings:
    """Everything a sandbox is made from.

    `window_minutes` is how long submissions for a round that is opened by hand are on time. `opening_delay_minutes` is
    how late rounds open with the calendar (0 to 60; the whole window shifts); with an `opening_delay_seed` each day's
    delay is drawn between 0 and that. `publish_minutes` is how long after a round's opening its live data come out, the
    round before's being served until then; `url_seconds` how long a presigned URL works; `rate_limit` how many
    setSubmissionWebhook and triggerModelWebhook calls one address may make in a minute (Numerai: 50).
    `spec` None means: what the state folder remembers, else the default. `data_versions` are listed besides the usual
    ones (`v5.2`). `switches` decide what is not known of Numerai. `documented_rate_limits` holds every operation to
    Numerai's limit. An API that changes: without `introspection` it refuses to describe itself; `close_is_deadline`
    answers the deadline as closeTime too; `schema_changes` are orders such as "remove Round.closeStakingTime",
    "deprecate Round.number" and "rename Round.openTime opensAt".
    """

    models: tuple[ModelSpec, ...] = (ModelSpec("alice"),)
    public_id: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    username: str = "sandbox"
    data: Path | None = None
    state: Path | None = None
    spec: DataSpec | None = None
    data_versions: tuple[str, ...] = ()
    history: int = 0
    calendar: bool = False
    window_minutes: float = 1440.0
    opening_delay_minutes: float = 0.0
    opening_delay_seed: int | None = None
    publish_minutes: float = 0.0
    url_seconds: float = 3600.0
    rate_limit: int = 50
    switches: Switches = field(default_factory=Switches)
    close_is_deadline: bool = False
    documented_rate_limits: bool = False
    introspection: bool = True
    schema_changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [scope for scope in self.scopes if scope not in ALL_SCOPES]
        if unknown:
            raise UsageError(f"There is no scope '{unknown[0]}'.", f"Choose from: {', '.join(ALL_SCOPES)}.")
        if self.data is not None:
            for needed in ("train.parquet", "live.parquet"):
                if not (self.data / needed).is_file():
                    raise UsageError(
                        f"The data folder {self.data} has no {needed}.", "Name a folder with Numerai's files."
                    )
        if not 0 <= self.history <= 1000:
            raise UsageError(f"--history {self.history} is out of range: it must be between 0 and 1000.")
        if not 0 <= self.opening_delay_minutes <= 60:
            raise UsageError(f"An opening delay of {self.opening_delay_minutes} is out of range: it must be 0 to 60.")
        for name, value in (("window", self.window_minutes), ("rate-limit", self.rate_limit)):
            if value <= 0:
                raise UsageError(f"--{name} {value} is out of range: it must be above 0.")

    @property
    def round_calendar(self) -> Calendar | None:
        """When rounds open by themselves; None when they open by hand only."""
        if not self.calendar:
            return None
        return Calendar(timedelta(minutes=self.opening_delay_minutes), self.opening_delay_seed)

    def with_environment(self) -> Settings:
        """These settings with the token that the environment fixes, if it does."""
        return replace(
            self,
            public_id=os.environ.get(PUBLIC_ID_VARIABLE) or self.public_id,
            secret_key=os.environ.get(SECRET_KEY_VARIABLE) or self.secret_key,
        )


def data_spec(**sizes: Any) -> DataSpec | None:
    """A spec from what was asked for, the rest (None) by default; None when nothing was."""
    given = {name: value for name, value in sizes.items() if value is not None}
    return DataSpec(**given) if given else None


def parse_models(entries: Iterable[str]) -> tuple[ModelSpec, ...]:
    """Model slots from words like `alice`, `bob:signals`, `carol:crypto`; `UsageError` for anything else."""
    specs: list[ModelSpec] = []
    for entry in entries:
        name, _, tournament = entry.strip().partition(":")
        if not _MODEL_NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' cannot be a model's name.", "Use letters, digits, '_' and '-', at most 40 characters."
            )
        number = TOURNAMENT_NAMES.get(tournament.lower() or "classic")
        if number is None:
            raise UsageError(f"There is no tournament '{tournament}'.", "Choose classic, signals or crypto.")
        specs.append(ModelSpec(name, number))
    if not specs:
        raise UsageError("The sandbox needs at least one model.", "For example: --models alice,bob:signals")
    if len({(spec.name, spec.tournament) for spec in specs}) < len(specs):
        raise UsageError("A model's name is given twice.")
    return tuple(specs)
