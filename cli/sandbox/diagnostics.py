"""Diagnostics: validation predictions measured by numerai-tools, era by era."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import structs

from .data.catalog import CLASSIC, Catalog
from .journal import Journal, Table
from .objects import UploadStore
from .records import DiagnosticsRecord

if TYPE_CHECKING:
    import pandas as pd

PENDING, DONE, ERROR = "pending", "done", "error"
_ROUNDS_A_YEAR = 52
_LOG = logging.getLogger(__name__)


@dataclass
class Diagnostics:
    """The diagnostics runs. They are computed in the background, one after the other."""

    journal: Journal
    catalog: Catalog
    uploads: UploadStore
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        self._table = Table(self.journal, "diagnostics", DiagnosticsRecord)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-diagnostics")

    def resume(self) -> None:
        """Compute what was still pending when the state was last used."""
        for found in self._table.select(lambda each: each.status == PENDING):
            self._worker.submit(self.compute, found.id)

    def close(self) -> None:
        """Stop computing."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def all(self) -> list[DiagnosticsRecord]:
        """Every run, newest first."""
        return self._table.all()[::-1]

    def create(self, filename: str, tournament: int, model_id: str | None) -> DiagnosticsRecord:
        """Take an uploaded file and start measuring it."""
        now = self.now()
        record = DiagnosticsRecord(str(uuid.uuid4()), model_id, tournament, filename, PENDING, now, now)
        self._table.put(record)
        self._worker.submit(self.compute, record.id)
        return record

    def compute(self, run_id: str) -> None:
        """Measure one upload now and record the results."""
        found = self._table.get(run_id)
        if found is None or found.status != PENDING:
            return
        try:
            done = self._measured(found)
        except (AssertionError, KeyError, ValueError, OSError) as error:
            message = str(error).splitlines()[0] if str(error) else repr(error)
            done = structs.replace(found, status=ERROR, message=message)
        except Exception:  # noqa: BLE001 a fault of the sandbox itself must end as a result, not leave the client waiting
            _LOG.exception("diagnostics %s failed", run_id)
            done = structs.replace(found, status=ERROR, message="the sandbox could not compute these diagnostics")
        self._table.put(structs.replace(done, updated_at=self.now()))

    def _measured(self, found: DiagnosticsRecord) -> DiagnosticsRecord:
        import pandas as pd

        if found.tournament != CLASSIC:
            raise ValueError("the sandbox computes diagnostics for Classic only")
        submission = pd.read_csv(self.uploads.path(found.filename))
        missing = {"id", "prediction"} - set(submission.columns)
        if missing:
            raise ValueError(f"invalid_submission_headers: the columns id and prediction are needed, {missing} missing")
        given = submission.set_index(submission["id"].astype(str))["prediction"]
        if given.index.has_duplicates or given.isna().any():
            raise ValueError("invalid_submission_values: ids must be unique and predictions must not be missing")
        eras = [row for row in map(_era_scores, self._eras(given)) if row is not None]
        if not eras:
            raise ValueError("invalid_submission_ids: no era of the validation data is covered")
        return structs.replace(found, status=DONE, per_era=tuple(eras), results=_summary(eras), message=None)

    def _eras(self, given: pd.Series[float]) -> list[pd.DataFrame]:
        """The validation rows that were predicted, era by era."""
        import pandas as pd

        from .data.derive import META_MODEL, Derived
        from .data.made_classic import MAIN_TARGET

        rows = self.catalog.classic()
        small = rows.feature_sets()["small"]
        derived = Derived(rows)
        pieces = zip(
            rows.blocks("validation", [*small, MAIN_TARGET]),
            derived.meta_model(),
            derived.example_predictions("validation"),
            strict=True,
        )
        joined = [
            block.assign(meta_model=meta[META_MODEL], example=example["prediction"]).join(given, how="inner")
            for block, meta, example in pieces
        ]
        table = pd.concat(joined).sort_index()
        return [rows for _, rows in table.groupby("era", sort=True)]


def _era_scores(rows: pd.DataFrame) -> dict[str, float | str | None] | None:
    from numerai_tools import scoring

    if len(rows) < 10:
        return None
    predicted = rows[["prediction"]]
    target = rows["target"]
    features = rows[[name for name in rows.columns if name.startswith("feature")]].fillna(2).astype("float64")
    corr = scoring.numerai_corr(predicted, target).iloc[0]
    neutral = scoring.feature_neutral_corr(predicted, features, target).iloc[0]
    return {
        "era": str(rows["era"].iloc[0]),
        "examplePredsCorr": _number(scoring.numerai_corr(rows[["example"]], target).iloc[0]),
        "validationCorr": _number(corr),
        "validationCorrV4": _number(corr),
        "validationMmc": _number(scoring.correlation_contribution(predicted, rows["meta_model"], target).iloc[0]),
        "validationBmc": _number(scoring.correlation_contribution(predicted, rows["example"], target).iloc[0]),
        "validationFeatureCorrMax": _number(scoring.max_feature_correlation(rows["prediction"], features)[1]),
        "validationFeatureNeutralCorr": _number(neutral),
        "validationFeatureNeutralCorrV3": _number(neutral),
    }


def _summary(eras: list[dict[str, float | str | None]]) -> dict[str, float | None]:
    import pandas as pd

    table = pd.DataFrame(eras).set_index("era").astype("float64")
    corr, mmc = table["validationCorr"], table["validationMmc"]
    both = corr + mmc
    running = corr.cumsum()
    drawdown = (running.cummax() - running).max()
    results = {
        "erasAcceptedCount": len(table),
        "examplePredsCorrMean": table["examplePredsCorr"].mean(),
        "validationMaxDrawdown": -drawdown,
        "validationCorrMaxDrawdown": -drawdown,
        "validationBmcMean": table["validationBmc"].mean(),
        "validationCorrPlusMmcSharpeDiff": _sharpe(both) - _sharpe(corr),
        "validationFeatureCorrMax": table["validationFeatureCorrMax"].max(),
        "validationFeatureNeutralCorrMean": table["validationFeatureNeutralCorr"].mean(),
        "validationFeatureNeutralCorrV3Mean": table["validationFeatureNeutralCorrV3"].mean(),
        "validationCorrCorrWExamplePreds": corr.corr(table["examplePredsCorr"]),
        "validationAutocorr": corr.autocorr() if len(corr) > 2 else math.nan,
        "validationApy": 100 * ((1 + corr.mean()) ** _ROUNDS_A_YEAR - 1),
    }
    for name, series in (("Corr", corr), ("Mmc", mmc), ("CorrPlusMmc", both)):
        results[f"validation{name}Mean"] = series.mean()
        results[f"validation{name}Std"] = series.std(ddof=0)
        results[f"validation{name}Sharpe"] = _sharpe(series)
    for end in ("CorrWExamplePreds", "MaxDrawdown", "Mean", "Std", "Sharpe"):
        results[f"validationCorrV4{end}"] = results[f"validationCorr{end}"]
    return {name: _number(value) for name, value in results.items()}


def _sharpe(series: pd.Series[float]) -> float:
    spread = float(series.std(ddof=0))
    return float(series.mean()) / spread if spread else math.nan


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
