"""The record that `numerai doctor --api --save` writes, for correcting the sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from .answers import NOT_TRIED, Answers, EntryRow, FileRow, ModelRow, gone_in
from .judge import Finding
from .rules import SCOPES


def record(answers: Answers, findings: Iterable[Finding]) -> dict[str, Any]:
    """What was read, without any key, name, id, address or amount of the account.

    Ids, filenames and trigger ids become ordinals, the same for the same value; times of submissions are in seconds
    from their round's opening. Rounds, names of data files and the schema are public and stay as they are.
    """
    ordinals = _Ordinals()
    return {
        "format": 1,
        "asked_at": answers.now.isoformat(),
        "findings": [{"rule": finding.rule, "verdict": finding.verdict.value} for finding in findings],
        "requests_met": {name: _met(words) for name, words in answers.tried.items()},
        "unread": sorted(answers.unread),
        "scopes": sorted(set(answers.scopes or ()) & set(SCOPES)),
        "rounds": [
            {
                "tournament": round_.tournament,
                "number": round_.number,
                "openTime": round_.opens.isoformat(),
                "closeStakingTime": round_.deadline.isoformat(),
                "closeTime": round_.closes.isoformat(),
                "dataDatestamp": round_.datestamp,
            }
            for round_ in answers.rounds
        ],
        "round_zero": answers.round_zero,
        "models": [_model(model, answers, ordinals) for model in answers.models],
        "datasets": answers.datasets,
        "schema": answers.introspected,
    }


def refuse_existing(path: Path) -> None:
    """`UsageError` when there is something at the path: a record never replaces a file."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already.", "Name a new file with --save.", code="file-exists")


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record to a new file; `UsageError` when that cannot be done."""
    refuse_existing(path)
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", code="file-not-written") from error


class _Ordinals:
    """Numbers the values of each kind in the order in which they come."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def of(self, kind: str, value: str | None) -> str | None:
        """The value's ordinal, e.g. `id-3`; None for nothing."""
        if value is None:
            return None
        count = sum(known == kind for known, _ in self._known)
        return self._known.setdefault((kind, value), f"{kind}-{count + 1}")


def _model(model: ModelRow, answers: Answers, ordinals: _Ordinals) -> dict[str, Any]:
    return {
        "tournament": model.tournament,
        "webhook": model.webhook,
        "pickle": model.pickle,
        "entries": [
            {
                "round": entry.round_number,
                "status": _word(entry.status),
                "id": ordinals.of("id", entry.id),
                "file": ordinals.of("file", entry.filename),
                "seconds": _seconds(entry, answers),
            }
            for entry in answers.entries
            if entry.model_id == model.id
        ],
        "files": [
            {
                "round": file.round_number,
                "id": ordinals.of("id", file.id),
                "file": ordinals.of("file", file.filename),
                "trigger": ordinals.of("trigger", file.trigger_id),
                "seconds": _seconds(file, answers),
            }
            for file in answers.files
            if file.model_id == model.id
        ],
    }


def _seconds(row: EntryRow | FileRow, answers: Answers) -> int | None:
    round_ = answers.round_of(row)
    return int((row.moment - round_.opens).total_seconds()) if round_ is not None and row.moment is not None else None


def _met(words: str | None) -> str:
    if words is None or words == NOT_TRIED:
        return words or "answered"
    gone = gone_in(words)
    return f"gone: {', '.join(gone)}" if gone else "refused"


def _word(status: str | None) -> str | None:
    """A status that is a plain word; anything else could be anything."""
    return status if status is not None and re.fullmatch(r"[a-z_-]{1,20}", status) else None
