"""Tells the people whom `numerai notify` lists how a round went."""

from __future__ import annotations

from ..models import Notice, NoticeKind
from .handler import EventHandler
from .messages import Failure, SubmissionMade, logger

KINDS = {
    "on-time": (NoticeKind.SUCCESS, "on time"),
    "late": (NoticeKind.LATE, "too late to be staked, and queued"),
    "covered": (NoticeKind.COVERED, "but covered by an earlier file"),
    "unconfirmed": (NoticeKind.FAILURE, "but unconfirmed"),
}
"""The kind of notice for each status of a submission, and the end of its title."""


class NotificationSender(EventHandler):
    """Sends a notice for each submission, on time or not, and for each failure that is not tried again."""

    def __init__(self, name: str = "notify", *, successes: bool = True):
        super().__init__(name)
        self.successes = successes

    def on_submission(self, submission: SubmissionMade) -> None:
        """Tell of a submission."""
        kind, how = KINDS.get(submission.status, (NoticeKind.FAILURE, submission.status))
        if kind is NoticeKind.SUCCESS and not self.successes:
            return
        title = f"{submission.model}: round {submission.round_number} submitted, {how}"
        self._tell(kind, title, f"Numerai holds the submission {submission.submission_id}.", submission.round_number)

    def on_failure(self, failure: Failure) -> None:
        """Tell of a failure, once nothing is tried any more."""
        if failure.will_retry:
            return
        who = f"the handler {failure.handler}" if failure.handler else "the daemon"
        title = f"{failure.event} of {who} failed"
        self._tell(NoticeKind.FAILURE, title, f"{failure.text}. The traceback is in the log.", failure.round_number)

    def _tell(self, kind: NoticeKind, title: str, text: str, round_number: int | None) -> None:
        notice = Notice(kind, title, text, round_number=round_number)
        for name, why in self.daemon.surroundings.notifier.tell(notice).items():
            if why is not None:
                logger.warning("%s: %s was not told: %s", self.name, name, why)
