"""Submits the predictions that another handler left, through all checks of the node runtime."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..models import Keys, Model
from .handler import EventHandler, SubmissionMade, logger

if TYPE_CHECKING:
    import pandas as pd

OLD_PREFIXES = ("predict_", "probability_")


class PredictionUploader(EventHandler):
    """Submits `prediction_directory/tournament_<name>/round_<number>/<filename>` for one model.

    Without keys the daemon's own are used, without `model` (a name or an id) the daemon's, MODEL_ID, or the account's
    only model of the tournament. `verify_upload` is accepted: a submission is always confirmed. A submission that
    Numerai holds already, because the process was ended right after it was made, is not made again.
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
        model = daemon.find_model(self.model, keys, tournament)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        made = self._made_before(round_number, model, digest, keys)
        if made is None:
            self._remember(round_number, model, digest, keys)
            made = daemon.submit(
                read_predictions(path), model=model.id, keys=keys, tournament_id=tournament, handler=self.name
            )
        self.state = {**self.state, "submission_id": made.submission_id}
        name = daemon.tournaments[tournament]
        daemon.report["submissions"][name][self.filename].update(
            {"submission_id": made.submission_id, "model": made.model, "status": made.status, "filename": str(path)}
        )

    def _remember(self, round_number: int, model: Model, digest: str, keys: Keys | None) -> None:
        """Note on disk what is about to be submitted, and when by Numerai's time."""
        api = self.daemon.surroundings.api_with(keys) if keys else self.daemon.api
        begun = {"round": round_number, "model_id": model.id, "sha256": digest, "at": api.server_time().isoformat()}
        self.state = {"begun": begun}
        self.daemon.book.keep_state(self.name, self.state)

    def _made_before(self, round_number: int, model: Model, digest: str, keys: Keys | None) -> SubmissionMade | None:
        """The submission that an earlier try of this round made of the same file, if Numerai holds it."""
        begun = self.state.get("begun") or {}
        wanted = (round_number, model.id, digest)
        if (begun.get("round"), begun.get("model_id"), begun.get("sha256")) != wanted:
            return None
        api = self.daemon.surroundings.api_with(keys) if keys else self.daemon.api
        at = datetime.fromisoformat(begun["at"])
        for found in api.submissions(model.id):
            if found.accepted and found.round_number == round_number and found.inserted_at and found.inserted_at >= at:
                logger.info("%s: Numerai holds the submission %s already", self.name, found.id)
                made = SubmissionMade(round_number, found.id, found.status, model.name, model.id, self.name)
                self.daemon.announce(made)
                return made
        return None


def read_predictions(path: Path) -> pd.DataFrame | Path:
    """Predictions as the node runtime takes them; a column of numerauto's name (`predict_...`) becomes `prediction`."""
    import pandas as pd

    header = pd.read_csv(path, nrows=0)
    old = [column for column in header.columns if str(column).startswith(OLD_PREFIXES)]
    if len(old) != 1 or "prediction" in header.columns:
        return path
    frame: pd.DataFrame = pd.read_csv(path, dtype={"id": str})
    return frame.rename(columns={old[0]: "prediction"})
