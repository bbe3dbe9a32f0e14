"""Uploads checked predictions and ends only when Numerai says that it holds and accepts them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .api import NumeraiApi, Round, Submission
from .errors import BadPredictions, TemporaryFailure
from .log import log, seconds_since
from .settings import Settings
from .transport import UPLOAD_TIMEOUT, Transport, host

if TYPE_CHECKING:
    import pandas as pd

FILENAME = "predictions.csv"
CONFIRM_SECONDS, QUEUED_SECONDS = 180.0, 15.0
FIRST_LOOK, LONGEST_LOOK = 0.2, 5.0
FORBIDDEN = 403


class Submitter:
    """Sends one submission: PUT to a presigned address, createSubmission, then looks until Numerai has judged it."""

    def __init__(
        self,
        settings: Settings,
        api: NumeraiApi,
        transport: Transport,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._api = api
        self._transport = transport
        self._sleep = sleep
        self._monotonic = monotonic

    def submit(self, checked: pd.DataFrame, data_datestamp: int | None = None) -> Submission:
        """Upload the frame as CSV and return the accepted submission.

        `data_datestamp` says which day's ids these are, when not today's. Raises `BadPredictions` when Numerai refuses
        them and `TemporaryFailure` when the upload or the confirmation does not come through.
        """
        content = checked.to_csv(index=False, lineterminator="\n").encode()
        filename = self._upload(content)
        submission_id = self._api.create_submission(filename, data_datestamp)
        log("created", submission_id=submission_id)
        return self._confirm(submission_id)

    def _upload(self, content: bytes) -> str:
        started = time.monotonic()
        for renewed in (False, True):
            filename, url = self._api.upload_address(FILENAME)
            answer = self._transport.send("PUT", url, what="the upload", timeout=UPLOAD_TIMEOUT, data=content)
            if answer.ok:
                log("uploaded", file=filename, bytes=len(content), seconds=seconds_since(started))
                return filename
            if answer.status_code != FORBIDDEN or renewed:
                break
            log("retrying", what="the upload", why=f"{host(url)} answered 403, so the address is renewed")
        raise TemporaryFailure(
            f"The upload was refused: {host(url)} answered {answer.status_code}. Nothing was submitted."
        )

    def _confirm(self, submission_id: str) -> Submission:
        current = self._api.current_round()
        patience = CONFIRM_SECONDS if current else QUEUED_SECONDS
        deadline = self._monotonic() + patience
        wait = FIRST_LOOK
        while True:
            submission = self._api.submission(submission_id)
            if submission is not None and submission.status in ("success", "error"):
                return self._judge(submission, current)
            if self._monotonic() >= deadline:
                status = submission.status if submission else "not shown"
                why = "" if current else " No round is open, so Numerai may keep it for the next one."
                raise TemporaryFailure(
                    f"Numerai has not judged the submission {submission_id} within {patience:.0f} s"
                    f" (its status: {status}).{why}"
                )
            self._sleep(wait)
            wait = min(wait * 2, LONGEST_LOOK)

    def _judge(self, submission: Submission, current: Round | None) -> Submission:
        if submission.status == "error":
            why = submission.error or "Numerai gave no reason"
            raise BadPredictions(f"Numerai refused the submission {submission.id}: {why}", [why])
        wanted = self._settings.trigger_id
        if wanted is not None and submission.trigger_id != wanted:
            raise TemporaryFailure(
                f"Numerai holds the submission {submission.id} under the trigger {submission.trigger_id}, not {wanted}."
            )
        if current is None:
            log("warning", what="no round is open, so the submission is late or early", round=submission.round_number)
        elif submission.round_number not in (None, current.number):
            raise TemporaryFailure(
                f"The submission {submission.id} counts for round {submission.round_number},"
                f" but the current round is {current.number}."
            )
        log(
            "submitted",
            submission_id=submission.id,
            round=submission.round_number,
            trigger_id=submission.trigger_id,
            status=submission.status,
        )
        return submission
