"""The only printer: text, tables and checklists for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from .counting import counted
from .errors import NumeraiError
from .redaction import MASK, Redactor

if TYPE_CHECKING:
    from rich.console import Console

    from .models import LogLine

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, colour, rename, reorder or hide what is shown, but for tabs and line ends."""
_NEXT_LINE = re.compile(r"\n(?=\S)")
"""Where a line begins that is none of its own: it is indented, so that no text of others looks like a line of ours."""
WIDEST = 100_000
OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
_MARKS = {OK: ("✓", "green"), WARNING: ("!", "yellow"), FAILED: ("✗", "red"), SKIPPED: ("-", "dim")}


class Renderer:
    """Prints results on standard output and everything else on standard error."""

    def __init__(self, *, json: bool = False, verbose: bool = False):
        self.json = json
        self.verbose = verbose
        self._redact = Redactor()

    @cached_property
    def _out(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def _err(self) -> Console:
        return _console(stderr=True)

    def result(self, payload: object, human: Callable[[], None]) -> None:
        """End a command: the payload as one JSON document, or the human form."""
        if self.json:
            self.document(payload)
        else:
            human()

    def document(self, payload: object) -> None:
        """A JSON document that is the whole result, whatever form was asked for."""
        self._write(plain(payload), indent=2)

    def line(self, payload: object) -> None:
        """One object of a stream of JSON lines."""
        self._write(plain(payload))

    def say(self, text: str, style: str | None = None) -> None:
        """A line for people."""
        if not self.json:
            self._print(self._out, text, style)

    def progress(self, text: str) -> None:
        """A line for the person who waits, never part of the result; details (`ports.Report`) only with `--verbose`."""
        if not self.json and (self.verbose or not text.startswith(" ")):
            self._print(self._err, text, "dim")

    def detail(self, text: str) -> None:
        """A line that only `--verbose` shows."""
        if self.verbose:
            self._print(self._err, text, "dim")

    def warn(self, text: str) -> None:
        """A line that must be seen, whatever the form of the result."""
        self._print(self._err, f"Warning: {text}", "yellow")

    def mark(self, status: str, text: str, *, detail: str | None = None, mend: str | None = None) -> None:
        """One row of a checklist: its mark, what it is about, what was found and the command that mends it."""
        if self.json:
            return
        sign, style = _MARKS[status]
        self._out.print(self._sign(sign), style=style, end=" ", markup=False)
        self._print(self._out, text)
        if detail:
            for line in detail.splitlines():
                self._print(self._out, f"    {line}", "dim" if status == OK else None)
        if mend:
            self._print(self._out, f"    -> {mend}", "bold")

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
            table.add_row(*(Text(self._shown(cell).replace("\n", " ")) for cell in row))
        self._out.print(table, soft_wrap=False)

    def log_line(self, line: LogLine) -> None:
        """One line of a log, as it arrives."""
        if self.json:
            self._write(plain(line))
        else:
            moment = f"{line.time:%H:%M:%S} " if line.time else ""
            self._print(self._out, f"{moment}{line.text}")

    def error(self, error: NumeraiError) -> None:
        """What failed, why, and the next command to run."""
        if self.json:
            content = {"code": error.code, "message": error.message, "hint": error.hint}
            self._write({"error": content})  # one line, as it may end a stream of lines
            return
        self._err.print("Error: ", style="bold red", end="", markup=False)
        self._print(self._err, error.message)
        if error.hint:
            self._print(self._err, error.hint)
        if self.verbose:
            for cause in _causes(error):
                self._print(self._err, f"  caused by {type(cause).__name__}: {cause}", "dim")

    def _print(self, console: Console, text: str, style: str | None = None) -> None:
        console.print(_NEXT_LINE.sub("\n  ", self._shown(text)), style=style, markup=False)

    def _shown(self, text: str) -> str:
        """A text as it may reach a terminal, whoever wrote it: no secret in it, and nothing that the terminal obeys."""
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", self._redact(text).replace("\r\n", "\n"))

    def _write(self, content: object, indent: int | None = None) -> None:
        """JSON on standard output. It is ASCII and escapes what a terminal would obey."""
        text = self._redact(json.dumps(content, indent=indent)).replace("\x7f", "\\u007f")
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def trace(self, error: BaseException) -> None:
        """The traceback of a bug."""
        self._print(self._err, "".join(traceback.format_exception(error)).rstrip())

    def shows(self, text: str) -> bool:
        """Whether the terminal has these characters."""
        try:
            text.encode(self._out.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    @contextmanager
    def live(self) -> Iterator[Callable[[str], None] | None]:
        """Show lines for the person who waits in place, each text instead of the one before; None where that is no
        terminal, or JSON was asked for."""
        if self.json or not self._err.is_terminal:
            yield None
            return
        from rich.live import Live
        from rich.text import Text

        with Live(console=self._err, auto_refresh=False, transient=True) as live:
            yield lambda text: live.update(Text(self._shown(text), style="dim"), refresh=True)

    def _sign(self, sign: str) -> str:
        return sign if self.shows(sign) else {"✓": "+", "✗": "x"}.get(sign, sign)


def _console(*, stderr: bool) -> Console:
    """A terminal folds what is too wide for it; in a file or a pipe every row of a table is one line."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, stderr=stderr)
    if not console.is_terminal:
        console.width = WIDEST
    return console


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
    """A webhook's address with its last part, the token, hidden, and without what else may be a secret."""
    try:
        parts = urlsplit(webhook_url)
    except ValueError:  # brackets that are none
        return MASK
    path, _, token = parts.path.rpartition("/")
    host, shown = parts.netloc.rpartition("@")[2], f"{path}/{MASK}" if token else parts.path
    return urlunsplit((parts.scheme, host, shown, "", ""))


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago a moment was, in words."""
    if moment is None:
        return "never"
    seconds = int((now - moment).total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return f"{counted(seconds // size, unit)} ago"
    return "just now" if seconds < 5 else f"{seconds} seconds ago"


def _causes(error: BaseException) -> Iterable[BaseException]:
    """What led to an error, each once: an error that is raised again while it is handled is its own context."""
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
