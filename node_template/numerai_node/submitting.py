"""Uploads checked predictions and ends only when Numerai says that it holds and accepts them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from .api import NumeraiApi, Round, Submission
from .downloads import etag_like_md5, md5_of
from .errors import BadPredictions, Late, NodeError, TemporaryFailure
from .log import log, seconds_since
from .readback import read_back
from .settings import Settings
from .transport import REFUSALS, SLOWEST_UPLOAD, UPLOAD_TIMEOUT, Passing, Transport, host

if TYPE_CHECKING:
    import pandas as pd

CONFIRM_SECONDS, QUEUED_SECONDS = 180.0, 15.0
LONGEST_CONFIRM = 30 * 60.0
"""While the round is open a verdict is waited for so long: another submission would not be judged sooner."""
FIRST_LOOK, LONGEST_LOOK = 0.2, 5.0
RESENDS = 3
"""How often predictions are sent at most when Numerai turns out to hold other ones than were sent."""


class Damaged(Exception):
    """Numerai holds something else than was sent."""


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

    def submit(
        self, checked: pd.DataFrame, data_datestamp: int | None = None, data_round: Round | None = None
    ) -> Submission:
        """Upload the frame as CSV and return the accepted submission.

        `data_datestamp` says which day's ids these are, when not today's; `data_round` for which round they were read,
        whose day is named when another one has opened by the time the file is uploaded, or by the time it is refused.
        Raises `BadPredictions` when Numerai refuses them, `TemporaryFailure` when the upload or the confirmation does
        not come through or when none was open then and one has opened since, and `Late` when it was made, but outside
        the window of that round.
        """
        content = checked.to_csv(index=False, lineterminator="\n").encode()
        name = f"predictions-{hashlib.sha256(content).hexdigest()[:16]}.csv"
        submission_id = self._made_before(name, data_round)
        between_rounds = data_round is None and data_datestamp is None and submission_id is None
        day = data_datestamp
        for sent in range(1, RESENDS + 1):
            made_at = self._transport.clock.now()
            if submission_id is None:
                filename = self._upload(name, content)
                if between_rounds:
                    self._refuse_once_a_round_opened()
                day = data_datestamp or _day_of(data_round, self._api.current_round())
                submission_id = self._api.create_submission(filename, day)
                made_at = self._transport.clock.now()
                log("created", submission_id=submission_id)
            current = self._api.current_round()
            try:
                submission = self._confirm(submission_id, current, data_round, made_at)
                if between_rounds:
                    self._refuse_once_a_round_opened()
                checked_back = self._check(submission, content, len(checked))
            except Late:
                if between_rounds:
                    self._refuse_once_a_round_opened()
                raise
            except BadPredictions as refused:
                if sent == RESENDS or day is not None or _day_of(data_round, current) is None:
                    raise
                log("retrying", what="the submission", why=refused, attempt=sent + 1)
                submission_id = None
                continue
            except Damaged as damage:
                if sent == RESENDS:
                    raise TemporaryFailure(
                        f"The submission {submission_id} is not what was sent: {damage}."
                    ) from damage
                log("retrying", what="the submission", why=damage, attempt=sent + 1)
                submission_id = None
                continue
            return self._judge(submission, current, data_round, made_at, checked_back)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _made_before(self, name: str, data_round: Round | None) -> str | None:
        """The id of the newest submission of the round that is open and of that of the data, if it holds these very
        predictions for this trigger: an earlier attempt of this run made it and was ended before it could say so.
        Without either round it is the trigger's newest one, which may have been made before the close."""
        current, wanted = self._api.current_round(), self._settings.trigger_id
        numbers = [each.number for each in (current, data_round) if each is not None]
        if not numbers and wanted is None:
            return None
        try:
            with self._transport.briefly():
                listed = self._api.submissions()
        except NodeError as error:
            log("warning", what="whether these predictions are submitted already is not known", why=error)
            return None  # a second submission does no harm, a missed round does
        stem = name.removesuffix(".csv")
        of_run = [
            (each.inserted_at, each)
            for each in listed
            if (each.round_number in numbers if numbers else each.trigger_id == wanted)
            and each.status != "error"
            and each.inserted_at is not None
        ]
        newest = max(of_run, key=lambda dated: dated[0], default=(None, None))[1]
        if newest is None or stem not in (newest.filename or "") or wanted not in (None, newest.trigger_id):
            return None
        log("found", submission_id=newest.id, what="these predictions are submitted already")
        return newest.id

    def _refuse_once_a_round_opened(self) -> None:
        """For live data that were read while no round was open: whose they are then is not known."""
        opened = self._api.current_round()
        if opened is not None:
            raise TemporaryFailure(
                f"Round {opened.number} opened since the live data were read. Run again, to read those of that round."
            )

    def _upload(self, name: str, content: bytes) -> str:
        """PUT the content, to a fresh address in each try; returns Numerai's name for it."""
        started = time.monotonic()
        doubts: list[str] = []

        def put() -> str:
            filename, url = self._api.upload_address(name)
            seconds = UPLOAD_TIMEOUT[1] + len(content) / SLOWEST_UPLOAD
            with self._transport.request("PUT", url, timeout=UPLOAD_TIMEOUT, seconds=seconds, data=content) as (
                answer,
                _,
            ):
                if not answer.ok:
                    raise Passing(f"it was refused: {host(url)} answered {answer.status_code}", at_most=REFUSALS)
                told = etag_like_md5(answer.headers)
                if told is None or told == hashlib.md5(content, usedforsecurity=False).hexdigest():
                    return filename
                doubts.append(told)
                certain = md5_of(answer.headers) is not None
                if certain or len(doubts) < REFUSALS:
                    raise Passing(f"{host(url)} stored something else than was sent")
                log("warning", what="the store's checksum is not the file's", instead="what it holds is checked later")
                return filename

        with self._transport.one_thing():
            try:
                filename = self._transport.retry("the upload", put)
            except TemporaryFailure as failure:
                raise TemporaryFailure(f"{failure} Nothing was submitted.") from failure
        log("uploaded", file=filename, bytes=len(content), seconds=seconds_since(started))
        return filename

    def _confirm(
        self, submission_id: str, current: Round | None, data_round: Round | None, made_at: datetime
    ) -> Submission:
        """The submission once it is judged; `Late` when no round is open and Numerai keeps it for the next one."""
        patience = CONFIRM_SECONDS if current is not None or data_round is not None else QUEUED_SECONDS
        in_round = self._transport.seconds_left()
        if current is not None and in_round is not None:
            patience = max(patience, min(in_round, LONGEST_CONFIRM))
        deadline = self._monotonic() + patience
        wait = FIRST_LOOK
        while True:
            submission = self._api.submission(submission_id)
            if submission is not None and submission.status in ("success", "error"):
                return submission
            if self._monotonic() >= deadline:
                break
            self._sleep(wait)
            wait = min(wait * 2, LONGEST_LOOK)
        status = submission.status if submission else "not shown"
        closes = submission.close_time if submission else None
        of_past = data_round is not None or (closes is not None and closes <= self._transport.clock.now())
        in_time = of_past and _late(submission, current, data_round, made_at) is None
        if current is None and not in_time:
            raise Late(
                f"No round is open, so Numerai keeps the submission {submission_id} for the next one"
                f" (its status: {status}). It is queued; running again would only queue another."
            )
        raise TemporaryFailure(
            f"Numerai has not judged the submission {submission_id} within {patience:.0f} s (its status: {status})."
        )

    def _check(self, submission: Submission, content: bytes, rows: int) -> bool:
        """Whether the submission could be read back. `Damaged` when Numerai does not hold what was sent, for whatever
        it said of that; `BadPredictions` when it refused what was sent."""
        counted = (None, rows, rows - (submission.filtered or 0))
        if submission.status == "success" and submission.submitted not in counted:
            raise Damaged(f"Numerai counts {submission.submitted} rows, and {rows} were sent")
        back = read_back(self._api, self._transport, submission, content)
        if back is not None and back.difference is not None:
            raise Damaged(back.difference)
        if submission.status == "error":
            why = submission.error or "Numerai gave no reason"
            raise BadPredictions(f"Numerai refused the submission {submission.id}: {why}", [why])
        if submission.filtered:
            log("warning", what="Numerai left rows out", rows=submission.filtered)
        return back is not None

    def _judge(
        self,
        submission: Submission,
        current: Round | None,
        data_round: Round | None,
        made_at: datetime,
        checked_back: bool,
    ) -> Submission:
        wanted = self._settings.trigger_id
        if wanted is not None and submission.trigger_id != wanted:
            raise TemporaryFailure(
                f"Numerai holds the submission {submission.id} under the trigger {submission.trigger_id}, not {wanted}."
            )
        late = _late(submission, current, data_round, made_at)
        log(
            "submitted",
            submission_id=submission.id,
            round=submission.round_number,
            trigger_id=submission.trigger_id,
            status=submission.status,
            rows=submission.submitted,
            read_back="yes" if checked_back else "no",
            late="yes" if late else None,
        )
        if late:
            log("warning", what=late)
            raise Late(f"The submission {submission.id} is late: {late}.")
        return submission


def _day_of(data_round: Round | None, current: Round | None) -> int | None:
    """The day of the data, when another round than theirs is open now; Numerai takes them for today's otherwise."""
    if data_round is None or current is None or current.number == data_round.number:
        return None
    log("warning", what="a new round opened since the live data were read", round=current.number)
    return data_round.data_datestamp


def _late(
    submission: Submission | None, current: Round | None, data_round: Round | None, made_at: datetime
) -> str | None:
    """Why the submission, shown or not, is not in time for the round that the data were read for; None when it is."""
    number = submission.round_number if submission else None
    if data_round is not None and number is not None and number > data_round.number:
        return f"round {data_round.number} closed before it was made, and it counts for round {number}"
    made = (submission.inserted_at if submission else None) or made_at
    close = submission.close_time if submission else None
    if close is None and data_round is not None and number in (None, data_round.number):
        close = data_round.close_time
    if close is not None and made < close:
        return None
    if close is None and current is not None and number in (None, current.number):
        return None
    closed = "the round" if number is None else f"round {number}"
    return f"{closed} had closed before it was made; it is scored but cannot be staked"
