"""Scores of past rounds, computed by numerai-tools from the made-up truth, and the standings that follow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from .account import Account
from .data.catalog import Catalog
from .history import History
from .records import ModelRecord, RoundRecord, SubmissionRecord
from .rounds import Rounds, resolve_time, score_time
from .submissions import Submissions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from .data.signal import Truth

DAYS = 20
METRICS = {"canon_corr": "v1", "canon_mmc": "v1"}
"""Display name -> version of the scores that the sandbox gives."""


class Score(Struct, frozen=True):
    """One value of one metric on one scoring day of one submission; `percentile` is its place among all models."""

    submission: SubmissionRecord
    round: RoundRecord
    metric: str
    day: int
    date: datetime
    value: float
    percentile: float
    resolved: bool


class Standing(Struct, frozen=True):
    """A model's place in a tournament. `corr` and `mmc` are means over the rounds scored so far, None before any."""

    name: str
    rank: int
    mmc_rank: int
    corr: float | None
    mmc: float | None
    model: ModelRecord | None


@dataclass
class Scores:
    """Computes scores when they are asked for and keeps them. Only what the sandbox's time has reached is told."""

    account: Account
    rounds: Rounds
    submissions: Submissions
    catalog: Catalog
    history: History
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[tuple[str, ...], dict[str, pd.DataFrame]] = {}

    def of_model(self, model: ModelRecord) -> list[Score]:
        """Every score of a model so far: newest round first, days in order."""
        found = []
        for round_ in self.rounds.all(model.tournament):
            submission = self.submissions.selected(model.id, round_.number)
            if submission is None:
                continue
            for day in range(1, self._days(round_) + 1):
                found += self._scores(submission, round_, day)
        return found

    def standings(self, tournament: int) -> list[Standing]:
        """The account's models and the made-up rivals, best CORR first."""
        models = {model.id: model for model in self.account.models() if model.tournament == tournament}
        rows: dict[str, list[dict[str, float]]] = {key: [] for key in models}
        for round_ in self.rounds.all(tournament):
            day = self._days(round_)
            if not day:
                continue
            values = self._day_values(round_, day)
            owners = {submission.id: submission.model_id for submission in self._selected(round_)}
            for column in values["canon_corr"].index:
                row = {metric: float(values[metric][column]) for metric in METRICS}
                rows.setdefault(owners.get(column, column), []).append(row)
        mean = {
            key: {metric: sum(row[metric] for row in scored) / len(scored) for metric in METRICS}
            for key, scored in rows.items()
            if scored
        }
        by_corr = sorted(rows, key=lambda key: (-mean[key]["canon_corr"] if key in mean else 9.0, key))
        by_mmc = sorted(by_corr, key=lambda key: -mean[key]["canon_mmc"] if key in mean else 9.0)
        return [
            Standing(
                name=models[key].name if key in models else key,
                rank=place,
                mmc_rank=by_mmc.index(key) + 1,
                corr=mean.get(key, {}).get("canon_corr"),
                mmc=mean.get(key, {}).get("canon_mmc"),
                model=models.get(key),
            )
            for place, key in enumerate(by_corr, 1)
        ]

    def _days(self, round_: RoundRecord) -> int:
        """How many of a round's scoring days have come."""
        now = self.now()
        return sum(1 for day in range(1, DAYS + 1) if score_date(round_, day) <= now)

    def _selected(self, round_: RoundRecord) -> list[SubmissionRecord]:
        models = [model for model in self.account.models() if model.tournament == round_.tournament]
        found = [self.submissions.selected(model.id, round_.number) for model in models]
        return [each for each in found if each is not None]

    def _scores(self, submission: SubmissionRecord, round_: RoundRecord, day: int) -> list[Score]:
        values = self._day_values(round_, day)
        return [
            Score(
                submission=submission,
                round=round_,
                metric=metric,
                day=day,
                date=score_date(round_, day),
                value=float(values[metric][submission.id]),
                percentile=float((values[metric] <= values[metric][submission.id]).mean()),
                resolved=day == DAYS,
            )
            for metric in METRICS
        ]

    def _day_values(self, round_: RoundRecord, day: int) -> dict[str, pd.Series[float]]:
        chosen = self._selected(round_)
        key = (round_.id, *(each.id for each in chosen))
        with self._lock:
            if key not in self._tables:
                truth = self.catalog.source(round_.tournament).truth(
                    self.rounds.edition(round_.tournament, round_.number)
                )
                self._tables[key] = scores_by_day(self._entered(chosen, truth.rivals), truth)
            return {metric: table.T[day] for metric, table in self._tables[key].items()}

    def _entered(self, chosen: list[SubmissionRecord], rivals: pd.DataFrame) -> pd.DataFrame:
        """The predictions of the account's models and of the rivals; rows that one left out are put in the middle."""
        own = {}
        for each in chosen:
            series = self.history.predictions(each) if each.invented else self.submissions.predictions(each)
            own[each.id] = series.rank(pct=True).reindex(rivals.index).fillna(0.5)
        return rivals.assign(**own)


def scores_by_day(entries: pd.DataFrame, truth: Truth) -> dict[str, pd.DataFrame]:
    """Metric -> scores of every entry (columns) on every scoring day (rows).

    The same as numerai-tools' `numerai_corr` and `correlation_contribution` for each day's target, with the
    transformations of the entries, which do not depend on the day, done once.
    """
    import numpy as np
    import pandas as pd
    from numerai_tools import scoring

    entries = entries.sort_index()
    ids = entries.index
    target = np.stack([truth.by_day[day].loc[ids].to_numpy(dtype="float64") for day in truth.by_day])
    centred = target - target.mean(axis=1, keepdims=True)
    powered = np.sign(centred) * np.abs(centred) ** 1.5
    transformed = scoring.tie_kept_rank__gaussianize__pow_1_5(entries).to_numpy()
    corr = _standardised(powered.T).T @ _standardised(transformed) / len(ids)
    meta = scoring.gaussian(scoring.tie_kept_rank(truth.meta_model.loc[ids].to_frame())).to_numpy()[:, 0]
    neutral = scoring.orthogonalize(scoring.gaussian(scoring.tie_kept_rank(entries)).to_numpy(), meta)
    mmc = 4 * centred @ neutral / len(ids)
    days = list(truth.by_day)
    return {
        "canon_corr": pd.DataFrame(corr, index=days, columns=entries.columns),
        "canon_mmc": pd.DataFrame(mmc, index=days, columns=entries.columns),
    }


def _standardised(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return result


def score_date(round_: RoundRecord, day: int) -> datetime:
    """When the scores of a scoring day (1 to 20) appear: the days spread evenly from the first score to the last."""
    first, last = score_time(round_), resolve_time(round_)
    return first + (day - 1) * (last - first) / (DAYS - 1)
