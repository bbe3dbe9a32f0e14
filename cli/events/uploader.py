"""Submits the predictions that another handler left, through all checks of the node runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .handler import EventHandler

if TYPE_CHECKING:
    import pandas as pd

OLD_PREFIXES = ("predict_", "prediction_", "probability_")


class PredictionUploader(EventHandler):
    """Submits `prediction_directory/tournament_<name>/round_<number>/<filename>` for one model.

    Without keys the daemon's own are used, without `model` (a name or an id) the daemon's, MODEL_ID, or the account's
    only model of the tournament. `verify_upload` is accepted: a submission is always confirmed. The same predictions
    are not submitted twice in a round, whatever ended the process in between.
    """

    def __init__(
        self,
        name: str,
        filename: str,
        public_id: str | None = None,
        secret_key: str | None = None,
        tournament_id: int | None = None,
        verify_upload: bool = True,
        *,
        model: str | None = None,
    ):
        super().__init__(name)
        self.filename = filename
        self.public_id = public_id
        self.secret_key = secret_key
        self.tournament_id = tournament_id
        self.verify_upload = verify_upload
        self.model = model

    def on_new_tournament_data(self, round_number: int) -> None:
        """Submit; raises what the node runtime raises when that does not succeed."""
        daemon = self.daemon
        path = daemon.prediction_folder / self.filename
        if not path.is_file():
            raise FileNotFoundError(f"There are no predictions to submit: {path} is not there.")
        keys = daemon.own_keys(self.public_id, self.secret_key) if self.public_id and self.secret_key else None
        tournament = self.tournament_id or daemon.tournament_id
        made = daemon.submit(
            read_predictions(path), model=self.model, keys=keys, tournament_id=tournament, handler=self.name
        )
        self.state = {"round": round_number, "model": made.model, "submission_id": made.submission_id}
        name = daemon.tournaments[tournament]
        daemon.report["submissions"][name][self.filename].update(
            {"submission_id": made.submission_id, "model": made.model, "status": made.status, "filename": str(path)}
        )


def read_predictions(path: Path) -> pd.DataFrame | Path:
    """Predictions as the node runtime takes them; without a column `prediction` the one that is
    named as numerauto's handlers do (`prediction_numerai`, `predict_numerai`) becomes it."""
    import pandas as pd

    header = pd.read_csv(path, nrows=0)
    old = [column for column in header.columns if str(column).startswith(OLD_PREFIXES)]
    if len(old) != 1 or "prediction" in header.columns:
        return path
    frame: pd.DataFrame = pd.read_csv(path, dtype={"id": str})
    return frame.rename(columns={old[0]: "prediction"})
