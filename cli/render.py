"""The only printer: text, tables and checklists for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from .errors import NumeraiError

if TYPE_CHECKING:
    from rich.console import Console

    from .models import LogLine

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
_MARKS = {OK: ("✓", "green"), WARNING: ("!", "yellow"), FAILED: ("✗", "red"), SKIPPED: ("-", "dim")}


class Renderer:
    """Prints results on standard output and everything else on standard error."""

    def __init__(self, *, json: bool = False, verbose: bool = False):
        self.json = json
        self.verbose = verbose

    @cached_property
    def _out(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True)

    @cached_property
    def _err(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True, stderr=True)

    def result(self, payload: object, human: Callable[[], None]) -> None:
        """End a command: the payload as one JSON document, or the human form."""
        if self.json:
            self.document(payload)
        else:
            human()

    def document(self, payload: object) -> None:
        """A JSON document that is the whole result, whatever form was asked for."""
        sys.stdout.write(json.dumps(plain(payload), indent=2) + "\n")
        sys.stdout.flush()

    def say(self, text: str, style: str | None = None) -> None:
        """A line for people."""
        if not self.json:
            self._out.print(text, style=style, markup=False)

    def progress(self, text: str) -> None:
        """A line for the person who waits, never part of the result; details (`ports.Report`) only with `--verbose`."""
        if not self.json and (self.verbose or not text.startswith(" ")):
            self._err.print(text, style="dim", markup=False)

    def detail(self, text: str) -> None:
        """A line that only `--verbose` shows."""
        if self.verbose:
            self._err.print(text, style="dim", markup=False)

    def warn(self, text: str) -> None:
        """A line that must be seen, whatever the form of the result."""
        self._err.print(f"Warning: {text}", style="yellow", markup=False)

    def mark(self, status: str, text: str, *, detail: str | None = None, mend: str | None = None) -> None:
        """One row of a checklist: its mark, what it is about, what was found and the command that mends it."""
        if self.json:
            return
        sign, style = _MARKS[status]
        self._out.print(self._sign(sign), style=style, end=" ", markup=False)
        self._out.print(text, markup=False)
        if detail:
            for line in detail.splitlines():
                self._out.print(f"    {line}", style="dim" if status == OK else None, markup=False)
        if mend:
            self._out.print(f"    -> {mend}", style="bold", markup=False)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
        """A table for people."""
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", show_header=any(columns)
        )
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._out.print(table, soft_wrap=False)

    def log_line(self, line: LogLine) -> None:
        """One line of a log, as it arrives."""
        if self.json:
            sys.stdout.write(json.dumps(plain(line)) + "\n")
            sys.stdout.flush()
        else:
            moment = f"{line.time:%H:%M:%S} " if line.time else ""
            self._out.print(f"{moment}{line.text}", markup=False)

    def error(self, error: NumeraiError) -> None:
        """What failed, why, and the next command to run."""
        if self.json:
            content = {"code": error.code, "message": error.message, "hint": error.hint}
            sys.stdout.write(json.dumps({"error": content}, indent=2) + "\n")
            sys.stdout.flush()
            return
        self._err.print("Error: ", style="bold red", end="", markup=False)
        self._err.print(error.message, markup=False)
        if error.hint:
            self._err.print(error.hint, markup=False)
        if self.verbose:
            for cause in _causes(error):
                self._err.print(f"  caused by {type(cause).__name__}: {cause}", style="dim", markup=False)

    def _sign(self, sign: str) -> str:
        try:
            sign.encode(self._out.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return {"✓": "+", "✗": "x"}.get(sign, sign)
        return sign


def plain(value: object) -> Any:
    """A value as JSON holds it: dataclasses as objects, times as ISO 8601, enums by value, addresses of webhooks
    without their token."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {
            str(key): without_token(item) if key == "webhook_url" and isinstance(item, str) else plain(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def without_token(webhook_url: str) -> str:
    """A webhook's address with its last part, the token, hidden."""
    parts = urlsplit(webhook_url)
    path, _, token = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=f"{path}/***" if token else parts.path, query=""))


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago a moment was, in words."""
    if moment is None:
        return "never"
    seconds = int((now - moment).total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 5 else f"{seconds} seconds ago"


def _causes(error: BaseException) -> Iterable[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
