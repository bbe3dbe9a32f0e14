"""Scores predictions on the validation rows, for the report."""

from __future__ import annotations

from pathlib import Path

from ..events.handler import EventHandler


class PredictionStatistics(EventHandler):
    """Puts a model's CORR on the validation rows into the report: from the file itself where it holds validation ids,
    else from the `<name>.validation.csv` that the trainer left."""

    def __init__(self, name: str, filename: str, tournament_id: int | None = None):
        super().__init__(name)
        self.filename = filename
        self.tournament_id = tournament_id

    def on_new_tournament_data(self, round_number: int) -> None:
        """Score the predictions."""
        import pandas as pd

        from ..events.runtime import score

        daemon = self.daemon
        name = daemon.tournaments[self.tournament_id or daemon.tournament_id]
        truth = daemon.node.frame("validation.parquet", ["era", "target"])
        path = daemon.prediction_folder / self.filename
        predictions = pd.read_csv(path, dtype={"id": str}, index_col="id").iloc[:, 0]
        known = truth.index.intersection(predictions.index)
        if known.empty:
            left = self._validation_file()
            predictions = pd.read_csv(left, dtype={"id": str}, index_col="id").iloc[:, 0]
            known = truth.index.intersection(predictions.index)
        rows = truth.loc[known]
        found = score(rows["era"], rows["target"], predictions.loc[known])
        entry = daemon.report["predictions"][name][self.filename]
        entry["validationCorrelation"]["overall"] = round(found.corr_mean, 5)
        entry["validationSharpe"] = round(found.corr_sharpe, 4)
        entry["validationEras"] = found.eras

    def _validation_file(self) -> Path:
        wanted = f"{Path(self.filename).stem}.validation.csv"
        for handler in self.daemon.event_handlers:
            model = handler.state.get("model") if isinstance(handler.state, dict) else None
            if model and (path := Path(model).with_name(wanted)).is_file():
                return path
        raise FileNotFoundError(
            f"{self.filename} has no predictions for validation rows, and no trainer left a {wanted}."
        )
