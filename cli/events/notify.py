"""Tells the people whom `numerai notify` lists how a round went."""

from __future__ import annotations

from ..models import Notice, NoticeKind
from .handler import EventHandler, Failure, SubmissionMade, logger


class NotificationSender(EventHandler):
    """Sends a notice for each submission, late or not, and for each failure that is not tried again."""

    def __init__(self, name: str = "notify", *, successes: bool = True):
        super().__init__(name)
        self.successes = successes

    def on_submission(self, submission: SubmissionMade) -> None:
        """Tell of a submission."""
        if not (self.successes or submission.late):
            return
        kind = NoticeKind.LATE if submission.late else NoticeKind.SUCCESS
        how = "too late to be staked" if submission.late else "accepted"
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
