"""What the API has answered, row by row. Wrong types become None, so that no answer can break a check."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from .schema import Request, Schema

T = TypeVar("T")
NOT_TRIED = "not tried"

_GONE = (
    (re.compile(r"""[Cc]annot query field ['"](\w+)['"] on type ['"](\w+)['"]"""), "{1}.{0}"),
    (re.compile(r"""[Uu]nknown argument ['"](\w+)['"] on field ['"](\w+\.\w+)['"]"""), "{1}({0})"),
    (re.compile(r"""[Uu]nknown argument ['"](\w+)['"] on field ['"](\w+)['"] of type ['"](\w+)['"]"""), "{2}.{1}({0})"),
)
"""What GraphQL servers say of a field or an argument that they do not have (graphql-core, Absinthe)."""


@dataclass(frozen=True)
class RoundRow:
    """A round; `deadline` is closeStakingTime."""

    tournament: int
    number: int
    opens: datetime
    deadline: datetime
    closes: datetime
    datestamp: int | None


@dataclass(frozen=True)
class ModelRow:
    """A model of the account, and whether Numerai calls a webhook for it or runs an assigned pickle."""

    id: str
    name: str
    tournament: int | None
    webhook: bool
    pickle: bool


@dataclass(frozen=True)
class EntryRow:
    """A row of latestSubmissions."""

    model_id: str
    round_number: int
    status: str | None
    id: str | None
    filename: str | None
    moment: datetime | None


@dataclass(frozen=True)
class FileRow:
    """A row of `submissions`."""

    model_id: str
    id: str
    round_number: int | None
    filename: str | None
    trigger_id: str | None
    moment: datetime | None


@dataclass
class Answers:
    """Everything that was read. `unread` says why something could not be read, by the name of its document; `tried`
    holds what each document met where the schema is not shown (None: an answer). `odd_rounds` counts rounds without
    one of their three times."""

    now: datetime
    requests: Mapping[str, Request]
    introspected: Mapping[str, Any] | None = None
    schema: Schema | None = None
    refused: str | None = None
    tried: dict[str, str | None] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] | None = None
    rounds: list[RoundRow] = field(default_factory=list)
    odd_rounds: int = 0
    round_zero: dict[int, tuple[int, ...]] = field(default_factory=dict)
    models: list[ModelRow] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    datasets: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def round_of(self, row: EntryRow | FileRow) -> RoundRow | None:
        """The round of an entry or a file, as far as it was listed."""
        tournament = next((model.tournament for model in self.models if model.id == row.model_id), None)
        return next(
            (round_ for round_ in self.rounds if (round_.tournament, round_.number) == (tournament, row.round_number)),
            None,
        )

    def clones(self) -> list[Clone]:
        """The entries with an earlier file: the late one of the round before, or one listed for an earlier round."""
        late = {
            (entry.model_id, entry.round_number, entry.filename): entry.id
            for entry in self.entries
            if entry.status == "late" and entry.filename
        }
        clones = []
        for entry in self.entries:
            original = late.get((entry.model_id, entry.round_number - 1, entry.filename or ""))
            original = original or next((file.id for file in self.files if _earlier(file, entry)), None)
            if original and entry.status not in ("queued", "late"):
                clones.append(Clone(entry, original))
        return clones

    def file(self, model_id: str, file_id: str | None) -> FileRow | None:
        """The listed file with an id."""
        return next((file for file in self.files if (file.model_id, file.id) == (model_id, file_id)), None)


@dataclass(frozen=True)
class Clone:
    """An entry with a file that was there before, and the id of that file's submission."""

    entry: EntryRow
    original_id: str


def _earlier(file: FileRow, entry: EntryRow) -> bool:
    return (
        file.model_id == entry.model_id
        and file.filename is not None
        and file.filename == entry.filename
        and file.id != entry.id
        and file.round_number is not None
        and file.round_number < entry.round_number
    )


def read_rounds(tournament: int, rows: object) -> Iterator[RoundRow | None]:
    """Rounds from the rows of an answer; None for one that lacks a time."""
    for row in rows_of(rows):
        number, stamp = row.get("number"), _if(int, row.get("dataDatestamp"))
        opens, deadline, closes = (moment_of(row.get(key)) for key in ("openTime", "closeStakingTime", "closeTime"))
        if isinstance(number, int) and opens and deadline and closes:
            yield RoundRow(tournament, number, opens, deadline, closes, stamp)
        else:
            yield None


def read_models(rows: object) -> list[ModelRow]:
    """Models from the rows of an answer."""
    return [
        ModelRow(
            id=str(row["id"]),
            name=str(row.get("name")),
            tournament=_if(int, row.get("tournament")),
            webhook=bool(row.get("submissionWebhook")),
            pickle=bool(row.get("computePickleUpload")),
        )
        for row in rows_of(rows)
        if row.get("id")
    ]


def read_entries(model_id: str, rows: object) -> list[EntryRow]:
    """Entries from the rows of an answer."""
    return [
        EntryRow(
            model_id,
            row["roundNumber"],
            _if(str, row.get("status")),
            _if(str, row.get("id")),
            _if(str, row.get("filename")),
            moment_of(row.get("timestamp")),
        )
        for row in rows_of(rows)
        if isinstance(row.get("roundNumber"), int)
    ]


def read_files(model_id: str, rows: object) -> list[FileRow]:
    """Files from the rows of an answer."""
    return [
        FileRow(
            model_id,
            str(row["id"]),
            _if(int, (_if(dict, row.get("round")) or {}).get("number")),
            _if(str, row.get("filename")),
            _if(str, row.get("triggerId")),
            moment_of(row.get("insertedAt")),
        )
        for row in rows_of(rows)
        if row.get("id")
    ]


def rows_of(rows: object) -> list[dict[str, Any]]:
    """The objects of a list; empty for anything else."""
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def moment_of(text: object) -> datetime | None:
    """An API's time, aware; None for anything else."""
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def gone_in(text: str) -> list[str]:
    """The fields and arguments that an error says do not exist."""
    return [form.format(*match.groups()) for pattern, form in _GONE for match in pattern.finditer(text)]


def _if(kind: type[T], value: Any) -> T | None:
    """The value where it is of that kind."""
    return value if isinstance(value, kind) else None
