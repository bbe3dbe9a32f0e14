"""The made-up past: what the account's models had submitted before the sandbox was started."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from .account import Account
from .data.catalog import Catalog
from .records import SubmissionRecord
from .rounds import Rounds
from .submissions import Submissions

if TYPE_CHECKING:
    import pandas as pd

_SPACE = uuid.UUID("f1a4e0c3-6c2c-4a4f-93a0-7d0d2f2d9f10")


@dataclass
class History:
    """Invents one submission for each model in each past round. Their predictions are made when they are needed."""

    account: Account
    rounds: Rounds
    submissions: Submissions
    catalog: Catalog

    def invent(self) -> None:
        """Record the submissions of every round before the latest one."""
        for model in self.account.models():
            for past in reversed(self.rounds.all(model.tournament)[1:]):
                identity = str(uuid.uuid5(_SPACE, f"{model.id}:{past.number}"))
                self.submissions.put(
                    SubmissionRecord(
                        id=identity,
                        model_id=model.id,
                        tournament=model.tournament,
                        round_number=past.number,
                        filename=f"{model.name}-{past.number}-{identity[:8]}.csv",
                        inserted_at=past.open_time + timedelta(minutes=10),
                        ids_round=past.number,
                        invented=True,
                        source="sandbox",
                    )
                )

    def predictions(self, found: SubmissionRecord) -> pd.Series[float]:
        """What an invented submission predicted, by the round's ids; always the same."""
        import numpy as np
        import pandas as pd

        from .data.signal import predictions

        source = self.catalog.source(found.tournament)
        rows = source.rows(self.rounds.edition(found.tournament, found.round_number))
        character = zlib.crc32(found.model_id.encode())
        noise = np.random.default_rng([character, found.round_number]).normal(size=len(rows))
        value = 0.7 * source.signal.blurred([character], 0.6).value(rows) + 0.3 * noise
        return pd.Series(predictions(value), index=rows.index, name="prediction")

    def file(self, found: SubmissionRecord) -> bytes:
        """An invented submission as the CSV file that it would have been."""
        series = self.predictions(found)
        return series.rename_axis(self.catalog.source(found.tournament).id_column).to_csv(lineterminator="\n").encode()
