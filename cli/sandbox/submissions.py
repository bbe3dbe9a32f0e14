"""Submissions: how they are accepted, queued, checked by Numerai's own rules, replaced and marked late."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from .data.catalog import CLASSIC, CRYPTO, SIGNALS, Catalog
from .data.source import Edition
from .journal import Journal, Table
from .objects import UploadStore
from .records import ModelRecord, RoundRecord, SubmissionRecord, UploadRecord
from .refusal import Refusal
from .rounds import Rounds

if TYPE_CHECKING:
    import pandas as pd

PENDING, SUCCESS, ERROR = "pending", "success", "error"
_LOG = logging.getLogger(__name__)


class Submissions:
    """The submissions of every model. They are checked in the background, one after the other."""

    def __init__(
        self,
        journal: Journal,
        rounds: Rounds,
        catalog: Catalog,
        uploads: UploadStore,
        now: Callable[[], datetime],
        late: timedelta,
    ) -> None:
        self._journal = journal
        self._table = Table(journal, "submissions", SubmissionRecord)
        self._rounds = rounds
        self._catalog = catalog
        self._uploads = uploads
        self._now = now
        self._late = late
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-check")

    def resume(self) -> None:
        """Check what was still pending when the state was last used."""
        for found in self._table.select(lambda each: each.status == PENDING and not each.queued):
            self._worker.submit(self.check, found.id)

    def close(self) -> None:
        """Stop checking."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def all(self, model_id: str | None = None) -> list[SubmissionRecord]:
        """The submissions (of one model), newest first."""
        found = [each for each in self._table.all() if model_id is None or each.model_id == model_id]
        return sorted(found, key=lambda each: each.inserted_at)[::-1]

    def get(self, submission_id: str) -> SubmissionRecord | None:
        """One submission."""
        return self._table.get(submission_id)

    def put(self, record: SubmissionRecord) -> None:
        """Record a submission that needs no check (of the made-up history)."""
        self._table.put(record)

    def selected(self, model_id: str, round_number: int) -> SubmissionRecord | None:
        """The submission that counts for a round: the latest valid one, of those in time if there is any."""
        valid = [each for each in self.all(model_id) if each.round_number == round_number and each.status == SUCCESS]
        return next((each for each in valid if not each.late), valid[0] if valid else None)

    def create(
        self,
        upload: UploadRecord,
        model: ModelRecord,
        trigger_id: str | None = None,
        data_datestamp: int | None = None,
        source: str | None = None,
        trigger_round: int | None = None,
    ) -> SubmissionRecord:
        """Take an uploaded file for the round that is open; late or queued for the next round when none is.

        `trigger_round` is the round in which the trigger was made: its submission belongs to that round, however late.
        """
        number, late, queued = self._placed(model.tournament, trigger_round)
        record = self._table.put(
            SubmissionRecord(
                id=str(uuid.uuid4()),
                model_id=model.id,
                tournament=model.tournament,
                round_number=number,
                filename=upload.id,
                status=PENDING,
                inserted_at=self._now(),
                late=late,
                queued=queued,
                trigger_id=trigger_id,
                data_datestamp=data_datestamp,
                source=source,
            )
        )
        if not queued:
            self._worker.submit(self.check, record.id)
        return record

    def release(self, opened: RoundRecord) -> None:
        """Check the submissions that were waiting for this round."""
        for found in self._table.select(lambda each: each.queued and each.tournament == opened.tournament):
            self._table.put(structs.replace(found, queued=False, round_number=opened.number))
            self._worker.submit(self.check, found.id)

    def check(self, submission_id: str) -> None:
        """Check one submission now and record the verdict."""
        found = self._table.get(submission_id)
        if found is None or found.status != PENDING:
            return
        try:
            self._table.put(self._judged(found))
        except Exception:  # noqa: BLE001 a fault of the sandbox itself must end as a verdict, not leave the client waiting
            _LOG.exception("checking submission %s failed", submission_id)
            message = "internal_error: the sandbox could not check this submission"
            self._table.put(structs.replace(found, status=ERROR, error=message))

    def predictions(self, found: SubmissionRecord) -> pd.Series[float]:
        """The checked predictions of a submission, by the round's ids."""
        frame, id_column, value_column, _ = _validated(
            found.tournament, self._universe(found), self._read(self._uploads.path(found.filename))
        )
        universe = self._universe(found)
        own = self._catalog.source(found.tournament).id_column
        mapping = universe.set_index(id_column, drop=False)[own].astype(str)
        current = self._current_ids(found)
        series = frame.set_index(id_column)[value_column]
        series.index = mapping.loc[series.index].map(dict(zip(universe[own], current, strict=True)))
        return series

    def _placed(self, tournament: int, trigger_round: int | None) -> tuple[int, bool, bool]:
        current = self._rounds.current(tournament)
        latest = self._rounds.latest(tournament)
        if trigger_round is not None and latest is not None and trigger_round <= latest.number:
            return trigger_round, current is None or current.number != trigger_round, False
        if current is not None:
            return current.number, False, False
        if latest is not None and self._now() < latest.close_time + self._late:
            return latest.number, True, False
        return self._rounds.upcoming(tournament).number, False, True

    def _judged(self, found: SubmissionRecord) -> SubmissionRecord:
        path = self._uploads.path(found.filename)
        if not path.is_file():
            return structs.replace(found, status=ERROR, error="file_not_found: nothing was uploaded under this name")
        try:
            submission = self._read(path)
            count = len(submission)
            frame, _, _, invalid = _validated(found.tournament, self._universe(found), submission)
        except (AssertionError, KeyError, ValueError, TypeError) as error:
            return structs.replace(found, status=ERROR, error=str(error).splitlines()[0] if str(error) else repr(error))
        return structs.replace(
            found,
            status=SUCCESS,
            submitted_count=count,
            accepted_count=len(frame),
            invalid_tickers=tuple(sorted(invalid)[:1000]),
        )

    def _read(self, path: Path) -> pd.DataFrame:
        import pandas as pd

        try:
            return pd.read_csv(path, keep_default_na=True)
        except (ValueError, UnicodeDecodeError) as error:
            raise ValueError(f"invalid_submission_file: this is not a CSV file ({error})") from error

    def _edition(self, found: SubmissionRecord, number: int) -> Edition:
        held = self._rounds.get(found.tournament, number)
        return Edition(number, 0 if held is None else held.data_datestamp)

    def _universe(self, found: SubmissionRecord) -> pd.DataFrame:
        """The live rows that the submission's ids are from: the round's, or those of the day its datestamp names."""
        number = found.round_number
        if found.data_datestamp is not None:
            earlier = [
                each.number
                for each in self._rounds.all(found.tournament)
                if each.data_datestamp == found.data_datestamp and each.number <= number
            ]
            number = earlier[0] if earlier else number
        return self._catalog.source(found.tournament).live(self._edition(found, number))

    def _current_ids(self, found: SubmissionRecord) -> pd.Series[str]:
        source = self._catalog.source(found.tournament)
        return source.live(self._edition(found, found.round_number))[source.id_column]


def upload_for(uploads: Table[UploadRecord], filename: str, purpose: str) -> UploadRecord:
    """The name given out for an upload; `Refusal` when it never was, or for something else."""
    found = uploads.get(filename)
    if found is None or found.purpose != purpose:
        raise Refusal(f"File {filename} is not a known upload")
    return found


def _validated(
    tournament: int, universe: pd.DataFrame, submission: pd.DataFrame
) -> tuple[pd.DataFrame, str, str, list[str]]:
    """The rows that count, the names of the id and value columns, and the ids that are not in the universe.

    Made of the parts that numerai-tools has had since 0.4 (the last version for Python 3.10); what later versions put
    before their messages is put there for the earlier ones.
    """
    from numerai_tools import submissions as rules

    by_tournament: dict[int, tuple[Any, Any]] = {
        CLASSIC: (rules.validate_headers_numerai, rules.validate_ids_numerai),
        SIGNALS: (rules.validate_headers_signals, rules.validate_ids_signals),
        CRYPTO: (rules.validate_headers_crypto, rules.validate_ids_crypto),
    }
    if tournament not in by_tournament:
        raise ValueError(f"there is no tournament {tournament}")
    headers, known_ids = by_tournament[tournament]
    if tournament == SIGNALS:
        submission = submission.drop(columns=["data_type"], errors="ignore")
    with _complaining_of("headers"):
        ids, values = headers(submission)[:2]
    with _complaining_of("ids"):
        frame, invalid = known_ids(universe[ids], submission, ids)
    with _complaining_of("values"):
        rules.validate_values(frame, values)
    return frame, ids, values, invalid


@contextmanager
def _complaining_of(part: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        text = str(error)
        if text.startswith("invalid_submission"):
            raise
        raise AssertionError(f"invalid_submission_{part}: {text}") from error
