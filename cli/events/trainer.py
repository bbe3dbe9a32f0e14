"""Trains and applies any estimator with scikit-learn's API: fit, and predict or predict_proba."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NumeraiError
from ..files.private import write_private
from ..models import Tournament
from .handler import EventHandler
from .messages import logger

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CLASSIC = Tournament.CLASSIC
MISSING = 2
"""Stands for a missing feature value: the middle of 0..4. Estimators of scikit-learn refuse missing values."""
CLASSES = 4
"""Targets are in {0, .25, .5, .75, 1}: times 4 they are class labels."""


class SKLearnModelTrainer(EventHandler):
    """Trains when the training data are new, and predicts when a round opens.

    `model_factory` takes nothing and returns a new estimator; it must be picklable after `fit`. The model goes to
    `model_directory/tournament_<name>/round_<number>/<name>.p`, today's predictions to
    `prediction_directory/tournament_<name>/round_<number>/<name>.csv` (`id,prediction`), those on the validation rows
    to `<name>.validation.csv` beside the model. Signals' files need a model of their own kind: Classic only.

    A classifier (an estimator with `predict_proba`) learns the targets as classes, and its prediction is the expected
    target. A regressor's predictions become ranks between 0 and 1, as only their order counts.
    """

    def __init__(
        self,
        name: str,
        model_factory: Callable[[], Any],
        tournament_id: int | None = None,
        *,
        feature_set: str = "small",
        features: Sequence[str] | None = None,
        target: str = "target",
    ):
        super().__init__(name)
        self.model_factory = model_factory
        self.tournament_id = tournament_id
        self.feature_set = feature_set
        self.features = list(features) if features is not None else None
        self.target = target

    def on_start(self) -> None:
        """Say at once what this trainer cannot do."""
        self._classic_only()

    def on_new_training_data(self, round_number: int) -> None:
        """Fit a new model, score it on the validation rows, and keep it."""
        self._classic_only()
        daemon = self.daemon
        features = self.features or daemon.node.features(self.feature_set)
        rows = daemon.node.train(features, self.target).dropna(subset=[self.target])
        logger.info("%s: fitting on %d rows and %d features", self.name, len(rows), len(features))
        model = self.model_factory()
        values = rows[self.target].to_numpy()
        x = _filled(rows[features])
        del rows
        model.fit(x, _labels(values) if _classifies(model) else values)
        del x, values
        path = daemon.model_folder / f"{self.name}.p"
        write_private(path, pickle.dumps(model), keep_previous=False)
        about = {"model": str(path), "features": features, "round": round_number, "data": daemon.node.dataset.version}
        self.state = {**self.state, **about, "scores": self._validate(model, features)}

    def on_new_tournament_data(self, round_number: int) -> None:
        """Predict today's rows and leave the predictions where the uploader finds them."""
        import pandas as pd

        daemon = self.daemon
        if "model" not in self.state:
            raise RuntimeError(f"{self.name} has no trained model yet; why is said above in the log.")
        model = pickle.loads(Path(self.state["model"]).read_bytes())  # noqa: S301 - written by this class in the user's own home folder
        features = list(self.state["features"])
        live = daemon.node.live(features)
        predictions = pd.Series(_predict(model, live), index=live.index, name="prediction")
        path = daemon.prediction_folder / f"{self.name}.csv"
        write_private(
            path,
            predictions.to_csv(index_label="id", float_format="%.8f", lineterminator="\n").encode(),
            keep_previous=False,
        )
        logger.info("%s: %d predictions in %s", self.name, len(predictions), path)
        tournament = daemon.tournaments[daemon.tournament_id]
        daemon.report["models"][self.name].update(
            {"file": self.state["model"], "trained in round": self.state["round"], **self.state["scores"]}
        )
        daemon.report["predictions"][tournament][path.name]["filename"] = str(path)

    def _classic_only(self) -> None:
        wanted = self.tournament_id or self.daemon.tournament_id
        if wanted != CLASSIC or self.daemon.tournament_id != CLASSIC:
            raise NumeraiError(
                f"{self.name} trains for the Classic tournament (8) only.",
                "Write a handler of your own for Signals and Crypto: `self.daemon.node` has their data.",
                code="classic-only",
            )

    def _validate(self, model: Any, features: list[str]) -> dict[str, float | int]:
        """CORR of the model on the validation rows; they are kept for `PredictionStatisticsGenerator` too."""
        import pandas as pd

        from .runtime import score

        daemon = self.daemon
        if "validation.parquet" not in daemon.node.dataset.files():
            return {}
        rows = daemon.node.validation(features, self.target)
        predictions = pd.Series(_predict(model, rows[features]), index=rows.index, name="prediction")
        text = predictions.to_csv(index_label="id", float_format="%.8f", lineterminator="\n")
        write_private(daemon.model_folder / f"{self.name}.validation.csv", text.encode(), keep_previous=False)
        found = score(rows["era"], rows[self.target], predictions)
        return {
            "validation corr": round(found.corr_mean, 5),
            "validation sharpe": round(found.corr_sharpe, 4),
            "validation eras": found.eras,
        }


def _classifies(model: Any) -> bool:
    return hasattr(model, "predict_proba")


def _labels(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    labels: np.ndarray[Any, Any] = np.rint(values * CLASSES).astype(int)
    return labels


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.fillna(MISSING) if frame.isna().to_numpy().any() else frame


def _predict(model: Any, frame: pd.DataFrame) -> Any:
    import pandas as pd

    x = _filled(frame)
    if _classifies(model):
        return model.predict_proba(x) @ (model.classes_ / CLASSES)
    raw = pd.Series(model.predict(x))
    return ((raw.rank() - 0.5) / len(raw)).to_numpy()
