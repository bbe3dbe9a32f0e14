"""Holds a run's predictions to the gate before they are sent: it warns, or refuses where the node's owner wants that.

Looking never costs the round: what cannot be compared is said and left out, a mistake in here only warns, and nothing
is downloaded for it when the deadline is near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .data import column_names, read_columns
from .errors import BadPredictions, NodeError
from .gate import BENCHMARK, Facts, Finding, Limits, drift, look, shares_of
from .log import log
from .settings import CLASSIC, GATE_VARIABLE, REFUSE, WARN, Settings
from .transport import Passing, Transport

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from .data import Dataset

    Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

SENT = "last_submission.csv"
"""What was sent last, in the artifacts folder: in Signals and Crypto, where ids come back. Those of Classic do not."""
BENCHMARKS = "live_benchmark_models.parquet"
FETCH_SECONDS = 10.0
SPARE_SECONDS = 300.0
"""How many seconds before the deadline the benchmark is no longer worth a download."""


class Guard:
    """Looks at predictions for one node."""

    def __init__(self, settings: Settings, dataset: Dataset, transport: Transport):
        self._settings = settings
        self._dataset = dataset
        self._transport = transport
        self.found: list[str] = []
        """What was found and sent all the same, in words."""

    def check(self, checked: pd.DataFrame, folder: Path | None) -> None:
        """Look at a frame of ids and values. `folder` is where the last submission is kept; None where there is none.

        Raises `BadPredictions` where something is found and the setting NUMERAI_GATE is `refuse`.
        """
        if self._settings.gate in (WARN, REFUSE):
            self._judge(self._findings(checked, folder))

    def check_features(self, trained_on: Mapping[str, Sequence[float]], rows: pd.DataFrame) -> None:
        """Look at the live features that a model gets; `trained_on` is what its model file says in `drift`. Raises as
        `check`."""
        import numpy as np

        if self._settings.gate not in (WARN, REFUSE):
            return
        names = [name for name in trained_on if name in rows.columns]
        now = shares_of(rows[names].to_numpy(), names)
        facts = Facts(np.empty(0), drift={name: (trained_on[name], now[name]) for name in names})
        self._judge(list(drift(facts, Limits())))

    def keep(self, checked: pd.DataFrame, folder: Callable[[], Path]) -> None:
        """Remember what was sent, for the next run, in the artifacts folder."""
        if self._settings.tournament != CLASSIC and self._settings.gate in (WARN, REFUSE):
            try:
                checked.to_csv(folder() / SENT, index=False, lineterminator="\n")
            except (NodeError, OSError) as error:
                log("warning", what=f"{SENT} cannot be kept in the artifacts folder", why=error)

    def _judge(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            log("gate", check=finding.check, what=finding.message, limit=f"{finding.limit:g}")
        if findings and self._settings.gate == REFUSE:
            raise BadPredictions(
                f"Nothing was sent: the predictions do not look right. {GATE_VARIABLE} is {REFUSE}; {WARN} sends them.",
                [finding.message for finding in findings],
            )
        self.found += [finding.message for finding in findings if finding.message not in self.found]

    def _findings(self, checked: pd.DataFrame, folder: Path | None) -> list[Finding]:
        try:
            previous = None if folder is None else self._sent(folder)
            facts = Facts(
                checked.iloc[:, 1].to_numpy(),
                expected_rows=None if previous is None else len(previous),
                benchmark=_pair(checked, self._benchmark()),
                previous=_pair(checked, previous),
            )
            return look(facts)
        except Exception as error:  # noqa: BLE001  (whatever goes wrong here is no reason to miss the round)
            log("warning", what="the gate could not look at the predictions", why=error)
            return []

    def _sent(self, folder: Path) -> pd.Series[Any] | None:
        import pandas as pd

        path = folder / SENT
        if self._settings.tournament == CLASSIC or not path.is_file():
            return None
        frame = pd.read_csv(path, dtype={0: str}, keep_default_na=False)
        return frame.set_index(frame.columns[0]).iloc[:, 0].astype(float)

    def _benchmark(self) -> pd.Series[Any] | None:
        """Today's predictions of the benchmark; None where Numerai has none, or there is no time to get them."""
        left = self._transport.seconds_left()
        if self._settings.tournament != CLASSIC or (left is not None and left < SPARE_SECONDS):
            return None
        try:
            if BENCHMARKS not in self._dataset.files():
                return None
            full_name = f"{self._dataset.version}/{BENCHMARKS}"
            patience = self._transport.within(FETCH_SECONDS)
            path = self._dataset.fetch(full_name, wait_for_missing=False, patience=patience)
            names = [name for name in column_names(path) if name.endswith(BENCHMARK)]
            if not names:
                return None
            column: pd.Series[Any] = read_columns(path, names[:1])[names[0]]
            return column
        except (NodeError, Passing, OSError, ValueError) as error:
            log("warning", what="the predictions are not compared with the benchmark", why=error)
            return None


def _pair(checked: pd.DataFrame, other: pd.Series[Any] | None) -> Pair | None:
    """The values of the rows that both have, ours and theirs."""
    if other is None:
        return None
    own = checked.set_index(checked.columns[0]).iloc[:, 0]
    both = own.index.intersection(other.dropna().index)
    return own[both].to_numpy(), other[both].to_numpy(dtype=float)
