"""Writes what handlers reported in a round as a page of Markdown or HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, Literal

from ..files.private import write_private
from .handler import EventHandler
from .messages import Failure, RoundReport, SubmissionMade, logger


class ReportWriter(EventHandler):
    """Writes `report_directory/round_<number>.md` (or `.html`) when a round is over: the models with their validation
    scores, the submissions, what failed, and whatever else handlers put into `daemon.report`."""

    def __init__(self, name: str = "report", format: Literal["markdown", "html"] = "markdown"):
        super().__init__(name)
        if format not in ("markdown", "html"):
            raise ValueError("A report's format is 'markdown' or 'html'.")
        self.format = format
        self._submissions: list[SubmissionMade] = []
        self._failures: list[Failure] = []

    def on_submission(self, submission: SubmissionMade) -> None:
        """Note a submission."""
        self._submissions.append(submission)

    def on_failure(self, failure: Failure) -> None:
        """Note a failure."""
        self._failures.append(failure)

    def on_cleanup(self, round_number: int) -> None:
        """Write the report."""
        text = self._taken(round_number)
        suffix = "md"
        if self.format == "html":
            text, suffix = as_html(text, f"Round {round_number}"), "html"
        path = self.daemon.report_folder / f"round_{round_number}.{suffix}"
        write_private(path, text.encode(), keep_previous=False)
        logger.info("%s: the report is %s", self.name, path)

    def _taken(self, round_number: int) -> str:
        """The report in Markdown; the next one begins anew."""
        text = self.text(round_number)
        self._submissions, self._failures = [], []
        return text

    def text(self, round_number: int) -> str:
        """The report in Markdown, of everything since the last round was over."""
        daemon = self.daemon
        lines = [f"# Round {round_number} of {daemon.tournaments[daemon.tournament_id]}", ""]
        report = plain(daemon.report or {})
        lines += ["## Submissions", "", *(self._submitted(round_number) or ["- none"])]
        models = report.pop("models", {})
        if models:
            lines += ["", "## Models", "", *_items(models)]
        lines += ["", "## Failures", "", *(self._failed(round_number) or ["- none"])]
        lines += ["", "## Everything reported", "", *_items(report), ""]
        return "\n".join(lines)

    def _submitted(self, round_number: int) -> list[str]:
        """What was submitted, also before the process was started again."""
        known = [made for report in self._reports(round_number) for made in report.submissions]
        found = [*(made for made in known if made not in self._submissions), *self._submissions]
        return [f"- {made.model}: {made.submission_id} ({made.status})" for made in found]

    def _failed(self, round_number: int) -> list[str]:
        """What failed; of what this process was not told, only that it did."""
        told = {f"{failure.handler}: {failure.event}" for failure in self._failures}
        known = [what for report in self._reports(round_number) for what in report.failed]
        return [
            *(f"- {what}; the log says why" for what in known if what not in told and ": " in what),
            *(
                f"- {failure.event} of {failure.handler or 'the daemon'}: {failure.text}"
                + (" (tried again)" if failure.will_retry else "")
                for failure in self._failures
            ),
        ]

    def _reports(self, round_number: int) -> list[RoundReport]:
        return [report for report in self.daemon.rounds[-1:] if report.round_number == round_number]


def plain(report: Any) -> Any:
    """A report as ordinary dictionaries."""
    if isinstance(report, Mapping):
        return {str(key): plain(value) for key, value in report.items()}
    return report


def as_html(markdown: str, title: str) -> str:
    """The headings and lists of a report as one HTML page that needs nothing else."""
    body, depth = [], 0
    for line in markdown.splitlines():
        level = (len(line) - len(line.lstrip(" "))) // 2 + 1 if line.lstrip().startswith("- ") else 0
        body += ["<ul>"] * max(0, level - depth) + ["</ul>"] * max(0, depth - level)
        depth = level
        text = html.escape(line.strip().lstrip("#- ").strip())
        if level:
            body.append(f"<li>{text}")  # HTML closes it where the next one, or the list, ends
        elif line.startswith("#"):
            number = len(line) - len(line.lstrip("#"))
            body.append(f"<h{number}>{text}</h{number}>")
    body += ["</ul>"] * depth
    style = "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _items(report: Mapping[str, Any], indent: int = 0) -> list[str]:
    lines = []
    for key, value in report.items():
        if isinstance(value, Mapping):
            lines += [f"{'  ' * indent}- {key}", *_items(value, indent + 1)]
        else:
            lines.append(f"{'  ' * indent}- {key}: {value}")
    return lines
