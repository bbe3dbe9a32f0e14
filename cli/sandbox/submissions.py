"""Submissions: checked by Numerai's own rules, placed by a round's times, queued, cloned and replaced."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from .data.catalog import CLASSIC, CRYPTO, SIGNALS, Catalog
from .journal import Journal, Table
from .objects import UploadStore
from .records import ModelRecord, RoundRecord, SubmissionRecord, UploadRecord
from .refusal import MISSING_OBJECT, Refusal
from .rounds import Rounds
from .switches import Switches

if TYPE_CHECKING:
    import pandas as pd

ON_TIME, LATE, QUEUED, NONE = "on-time", "late", "queued", "none"
"""Every status of an entry in `latestSubmissions`. Source: 1,163 entries in a recorded answer of the API, 2025-09."""
_SPACE = uuid.UUID("a7a5c7b5-8e0f-4d0a-9a2e-3b1f0c9d6e52")


@dataclass(frozen=True)
class Entry:
    """A model in one round: its status, and the submission that has it (None for the status `none`)."""

    round: RoundRecord
    status: str
    submission: SubmissionRecord | None = None


@dataclass
class Submissions:
    """The submissions of every model. Only valid ones are kept: an invalid file is refused, and displaces nothing."""

    journal: Journal
    rounds: Rounds
    catalog: Catalog
    uploads: UploadStore
    now: Callable[[], datetime]
    switches: Switches

    def __post_init__(self) -> None:
        self._table = Table(self.journal, "submissions", SubmissionRecord)

    def all(self, model_id: str | None = None) -> list[SubmissionRecord]:
        """The submissions (of one model), newest first."""
        found = [each for each in self._table.all() if model_id is None or each.model_id == model_id]
        return sorted(found, key=lambda each: each.inserted_at)[::-1]

    def get(self, submission_id: str) -> SubmissionRecord | None:
        """One submission, by the id that createSubmission returned or the one it is listed under."""
        found = self._table.get(submission_id)
        return found or next((each for each in self._table.all() if self.listed_id(each) == submission_id), None)

    def listed(self, model_id: str | None = None) -> list[SubmissionRecord]:
        """What the root query `submissions` shows, newest first. Whether clones are among them is a switch."""
        return [each for each in self.all(model_id) if self.switches.clones_listed or each.clone_of is None]

    def listed_id(self, found: SubmissionRecord) -> str:
        """The id under which it is listed: the one that createSubmission returned, unless the switch says otherwise."""
        return found.id if self.switches.entry_ids_match else str(uuid.uuid5(_SPACE, found.id))

    def file(self, found: SubmissionRecord) -> Path:
        """The file to download. Whether its ids are those that were sent is a switch."""
        path = self.uploads.path(found.filename)
        if self.switches.downloads_keep_ids or not path.is_file():
            return path
        frame = _read(path, found.tournament)
        frame.isetitem(0, [str(uuid.uuid5(_SPACE, str(each))) for each in frame.iloc[:, 0]])
        return self.uploads.put(f"{found.filename}.mapped", [frame.to_csv(index=False).encode()])

    def put(self, record: SubmissionRecord) -> None:
        """Record a submission that needs no check (of the made-up history)."""
        self._table.put(record)

    def selected(self, model_id: str, round_number: int) -> SubmissionRecord | None:
        """The submission that counts for a round: the latest one, of those on time if there is any.

        Source: docs.numer.ai (the latest valid one is selected; a late one counts only without one on time).
        """
        found = [each for each in self.all(model_id) if each.round_number == round_number]
        return next((each for each in found if not each.late), found[0] if found else None)

    def is_selected(self, submission: SubmissionRecord) -> bool:
        """Whether it is the one that counts for its round."""
        return self.selected(submission.model_id, submission.round_number) == submission

    def entries(self, model: ModelRecord, rounds: int | None = None) -> list[Entry]:
        """The model in each of the latest rounds, newest first; a queued submission is under the upcoming round.

        Source: a recorded answer of the API, 2025-09: one entry a round, a queued submission twice under one id.
        """
        seen = self.now() - timedelta(seconds=self.switches.entry_delay_seconds)
        entries = [
            Entry(self.rounds.upcoming(model.tournament), QUEUED, each)
            for each in self._table.select(lambda each: each.model_id == model.id and each.queued)
        ]
        for round_ in self.rounds.all(model.tournament)[:rounds]:
            chosen = self.selected(model.id, round_.number)
            status = NONE if chosen is None else LATE if chosen.late else ON_TIME
            entries.append(Entry(round_, status, chosen))
        shown = [
            entry if entry.submission is None or entry.submission.inserted_at <= seen else Entry(entry.round, NONE)
            for entry in entries
        ]
        return shown[:rounds]

    def create(
        self,
        upload: UploadRecord,
        model: ModelRecord,
        trigger_id: str | None = None,
        data_datestamp: int | None = None,
        source: str | None = None,
    ) -> SubmissionRecord:
        """Check an uploaded file and take it for the latest round; late and queued for the next one after the deadline.

        `Refusal` in Numerai's words for a file that is not valid or not there. Being late is no error.
        Sources: numerai-tools submissions.py (the rules and texts); forum.numer.ai/t/6253 (late and queued, only the
        latest late one is queued).
        """
        latest = self.rounds.latest(model.tournament)
        if latest is None:
            raise Refusal("Current round not open for submissions")
        checked = self._checked(upload, latest, data_datestamp)
        with self.journal.lock:
            late = not self.rounds.is_open(latest)
            record = SubmissionRecord(
                id=str(uuid.uuid4()),
                model_id=model.id,
                tournament=model.tournament,
                round_number=latest.number,
                filename=upload.id,
                inserted_at=self.now(),
                ids_round=checked.ids_round,
                late=late,
                queued=late,
                trigger_id=trigger_id,
                data_datestamp=data_datestamp,
                source=source,
                submitted_count=checked.submitted,
                accepted_count=len(checked.frame),
                invalid_tickers=tuple(sorted(checked.invalid)[:1000]),
            )
            if late:
                for earlier in self._table.select(lambda each: each.model_id == model.id and each.queued):
                    self._table.put(structs.replace(earlier, queued=False))
            return self._table.put(record)

    def convert(self, opened: RoundRecord) -> None:
        """Clone the submissions that were queued for this round: a new id, the same filename, on time.

        Source: four cases in a recorded answer of the API, 2025-09; their timestamps are those of the conversion.
        Whether a clone keeps the trigger id is a switch.
        """
        for queued in self._table.select(lambda each: each.queued and each.tournament == opened.tournament):
            self._table.put(structs.replace(queued, queued=False))
            self._table.put(
                structs.replace(
                    queued,
                    id=str(uuid.uuid4()),
                    round_number=opened.number,
                    inserted_at=opened.open_time,
                    late=False,
                    queued=False,
                    clone_of=queued.id,
                    trigger_id=queued.trigger_id if self.switches.clone_keeps_trigger else None,
                )
            )

    def predictions(self, found: SubmissionRecord) -> pd.Series[float]:
        """The checked predictions of a submission, by the ids of the round that it counts for."""
        universe = self._live(found.tournament, found.ids_round)
        frame, id_column, value_column, _ = _validated(
            found.tournament, universe, _read(self.uploads.path(found.filename), found.tournament)
        )
        own = self.catalog.source(found.tournament).id_column
        mapping = universe.set_index(id_column, drop=False)[own].astype(str)
        current = self._live(found.tournament, found.round_number)[own]
        series = frame.set_index(id_column)[value_column]
        series.index = mapping.loc[series.index].map(dict(zip(universe[own], current, strict=True)))
        return series

    def _checked(self, upload: UploadRecord, latest: RoundRecord, data_datestamp: int | None) -> Checked:
        """The file's rows by the latest round's ids, else by those of the round before.

        Numerai takes the previous round's ids and maps them (docs.numer.ai); whether it needs the dataDatestamp for
        that is a switch.
        """
        path = self.uploads.path(upload.id)
        if not path.is_file():
            raise Refusal(MISSING_OBJECT)
        previous = self.rounds.get(latest.tournament, latest.number - 1)
        by_stamp = {each.data_datestamp: each for each in (latest, previous) if each is not None}
        if data_datestamp is not None or self.switches.previous_ids_need_datestamp or previous is None:
            candidates = [by_stamp.get(data_datestamp or latest.data_datestamp, latest)]
        else:
            candidates = [latest, previous]
        newest = self.rounds.get(latest.tournament, self.rounds.newest_data(latest.tournament))
        if newest is not None and newest not in candidates:
            candidates.append(newest)
        refusals = []
        for each in candidates:
            try:
                submission = _read(path, each.tournament)
                universe = self._live(each.tournament, each.number)
                frame, _, _, invalid = _validated(each.tournament, universe, submission)
                return Checked(each.number, frame, len(submission), invalid)
            except (AssertionError, KeyError, ValueError, TypeError) as error:
                refusals.append(str(error).splitlines()[0] if str(error) else repr(error))
        raise Refusal(refusals[0])

    def _live(self, tournament: int, number: int) -> pd.DataFrame:
        return self.catalog.source(tournament).live(self.rounds.edition(tournament, number))


@dataclass(frozen=True)
class Checked:
    """A valid file: the round its ids are from, the rows that count, how many it had, and the ids that are unknown."""

    ids_round: int
    frame: pd.DataFrame
    submitted: int
    invalid: list[str]


def _read(path: Path, tournament: int) -> pd.DataFrame:
    """An uploaded file: CSV, or Parquet for Signals and Crypto (source: docs.numer.ai)."""
    import pandas as pd

    is_parquet = path.suffix == ".parquet" and tournament != CLASSIC
    try:
        return pd.read_parquet(path) if is_parquet else pd.read_csv(path, keep_default_na=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"invalid_submission_file: this is no {'Parquet' if is_parquet else 'CSV'} file") from error


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
