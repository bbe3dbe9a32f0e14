"""Uploads checked predictions, and ends well only when Numerai says that this very file counts for the round."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .api import LATE, ON_TIME, QUEUED, Entry, NumeraiApi, Round, Submission
from .downloads import etag_like_md5, md5_of
from .errors import BadPredictions, Covered, Late, NodeError, TemporaryFailure, Unconfirmed
from .log import log, seconds_since
from .readback import read_back
from .settings import Settings
from .transport import REFUSALS, SLOWEST_UPLOAD, UPLOAD_TIMEOUT, Passing, Transport, host

if TYPE_CHECKING:
    import pandas as pd

EARLIER_ATTEMPT = timedelta(hours=12)
"""How long after a submission a provider may still try its run again, and the next round has not opened yet."""
CONFIRM_SECONDS = 180.0
"""How long to look for the submission among the model's entries. How soon Numerai lists it is not documented."""
FIRST_LOOK, LONGEST_LOOK = 0.2, 5.0
RESENDS = 3
"""How often predictions are sent when Numerai holds, or refuses, something else than was sent."""


@dataclass(frozen=True)
class Made:
    """A submission as createSubmission made it. `filename` is Numerai's name for the upload, unique to it."""

    id: str
    filename: str | None
    at: datetime

    def is_in(self, entry: Entry) -> bool:
        """Whether an entry is this submission. createSubmission and latestSubmissions most likely share their ids, but
        no source says so; the file name, with its random part, is the second key."""
        return entry.id == self.id or (self.filename is not None and entry.filename == self.filename)


@dataclass(frozen=True)
class Counts:
    """The submission counts for its round, on time."""

    submission: Submission


@dataclass(frozen=True)
class SendAgain:
    """What Numerai got is not what was sent, so far as can be told. `then` is the error when it stays so."""

    why: str
    then: NodeError


@dataclass(frozen=True)
class Ended:
    """Sending again would not help."""

    error: NodeError


Verdict = Counts | SendAgain | Ended


class Submitter:
    """Sends one submission: PUT to a presigned address, createSubmission, then a look at what Numerai says of it."""

    def __init__(self, settings: Settings, api: NumeraiApi, transport: Transport):
        self._settings = settings
        self._api = api
        self._transport = transport
        self.sent: bytes | None = None
        """The CSV that Numerai has a submission of, whatever becomes of that; None before there is one."""

    def submit(
        self, checked: pd.DataFrame, data_datestamp: int | None = None, data_round: Round | None = None
    ) -> Submission:
        """Upload the frame as CSV and return the submission once this round's entry names it, on time.

        `data_datestamp` says which day's ids these are, when not today's; `data_round` for which round they were read,
        whose day is named when another one has opened by the time the file is uploaded. Raises `BadPredictions` when
        Numerai refuses them, `TemporaryFailure` when the upload does not come through or when no round was open then
        and one has opened since, `Late` when the file came after the deadline of that round, `Covered` when Numerai
        counts another file, and `Unconfirmed` when it does not say.
        """
        content = checked.to_csv(index=False, lineterminator="\n").encode()
        name = f"predictions-{hashlib.sha256(content).hexdigest()[:16]}.csv"
        made = self._made_before(name, data_round)
        for number in range(1, RESENDS + 1):
            match self._attempt(name, content, data_datestamp, data_round, made if number == 1 else None):
                case Counts(submission):
                    return submission
                case Ended(error):
                    raise error
                case SendAgain(why, then):
                    if number == RESENDS or (number > 1 and isinstance(then, BadPredictions)):
                        raise then
                    log("retrying", what="the submission", why=why, attempt=number + 1)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(
        self, name: str, content: bytes, day: int | None, data_round: Round | None, made: Made | None
    ) -> Verdict:
        """Send the file once, unless an earlier attempt of this run has `made` the submission, and see what becomes of
        it."""
        between_rounds = data_round is None and day is None
        may_be_on_time = made is not None  # an earlier attempt may have made it before the deadline
        filename = self._upload(name, content) if made is None else ""
        current = self._api.current_round()
        if between_rounds and current is not None:
            return Ended(_opened_since(current.number))
        if made is None:
            try:
                made = self._create(filename, day or _day_of(data_round, current))
            except BadPredictions as refused:
                # they keep every rule here, so the store may hold something else, or a round opened this very moment
                return SendAgain(str(refused), refused)
        self.sent = content
        entry, silence = self._look_for(made, data_round or current)
        if entry is None:
            return Ended(self._unconfirmed(made, silence))
        if not made.is_in(entry):
            return Ended(_covered(made, entry))
        if between_rounds and entry.status == ON_TIME and not may_be_on_time:
            return Ended(_opened_since(entry.round_number))
        back = read_back(self._api, self._transport, made.id, content)
        if back is not None and back.difference is not None:
            why = f"the submission {made.id} is not what was sent: {back.difference}"
            return SendAgain(why, TemporaryFailure(f"{why[0].upper()}{why[1:]}."))
        return self._judge(made, entry, data_round, read_back=back is not None)

    def _made_before(self, name: str, data_round: Round | None) -> Made | None:
        """The newest submission of the round that is open and of that of the data, if it holds these very predictions
        for this trigger: an earlier attempt of this run made it and was ended before it could say so. Without either
        round it is the trigger's newest one, which may have been made before the deadline, and for a run without a
        trigger of Numerai's the newest one of the last hours that had none."""
        numbers = [round_.number for round_ in (self._api.current_round(), data_round) if round_ is not None]
        wanted, now = self._settings.trigger_id, self._transport.clock.now()

        def is_of_run(made: Submission) -> bool:
            if made.inserted_at is None or numbers:
                return made.inserted_at is not None and made.round_number in numbers
            return made.trigger_id == wanted and (wanted is not None or now - made.inserted_at < EARLIER_ATTEMPT)

        try:
            newest = next(filter(is_of_run, self._api.submissions(self._transport.briefly())), None)
        except NodeError as error:
            log("warning", what="whether these predictions are submitted already is not known", why=error)
            return None  # a second submission does no harm, a missed round does
        stem = name.removesuffix(".csv")
        if newest is None or stem not in (newest.filename or "") or wanted not in (None, newest.trigger_id):
            return None
        log("found", submission_id=newest.id, what="these predictions are submitted already")
        return Made(newest.id, newest.filename, newest.inserted_at or now)

    def _upload(self, name: str, content: bytes) -> str:
        """PUT the content, to a fresh address in each try; returns Numerai's name for it."""
        started = time.monotonic()
        doubts: list[str] = []

        def put() -> str:
            filename, url = self._api.upload_address(name, patience)
            seconds = UPLOAD_TIMEOUT[1] + len(content) / SLOWEST_UPLOAD
            with self._transport.request(
                "PUT", url, timeout=UPLOAD_TIMEOUT, seconds=seconds, patience=patience, data=content
            ) as answer:
                if not answer.ok:
                    raise Passing(f"it was refused: {host(url)} answered {answer.status}", at_most=REFUSALS)
                told = etag_like_md5(answer.headers)
                if told is None or told == hashlib.md5(content, usedforsecurity=False).hexdigest():
                    return filename
                doubts.append(told)
                certain = md5_of(answer.headers) is not None
                if certain or len(doubts) < REFUSALS:
                    raise Passing(f"{host(url)} stored something else than was sent")
                log("warning", what="the store's checksum is not the file's", instead="what it holds is checked later")
                return filename

        patience = self._transport.patience()
        try:
            filename = self._transport.retry("the upload", put, patience)
        except TemporaryFailure as failure:
            raise TemporaryFailure(f"{failure} Nothing was submitted.") from failure
        log("uploaded", file=filename, bytes=len(content), seconds=seconds_since(started))
        return filename

    def _create(self, filename: str, day: int | None) -> Made:
        submission_id = self._api.create_submission(filename, day)
        log("created", submission_id=submission_id)
        return Made(submission_id, filename, self._transport.clock.now())

    def _look_for(self, made: Made, round_: Round | None) -> tuple[Entry | None, str]:
        """The entry that names the submission, else the one of another file that counts on time for the round, else
        None and why Numerai's answers are no verdict. An entry that is `none` or missing is none either."""
        ends, wait = time.monotonic() + CONFIRM_SECONDS, FIRST_LOOK
        other: Entry | None = None
        silence = ""
        while True:
            try:
                entries = self._api.entries(self._transport.briefly())
            except TemporaryFailure as error:
                silence = str(error)
            except NodeError as error:  # a missing scope, say: asking again would not help
                return other, str(error)
            else:
                silence = "it does not list the submission"
                ours = [entry for entry in entries if made.is_in(entry) and entry.status in (ON_TIME, LATE, QUEUED)]
                if ours:  # one that is late is listed as queued for the next round too
                    return min(ours, key=lambda entry: (entry.status != ON_TIME, entry.round_number)), ""
                wanted = None if round_ is None else round_.number
                other = next((e for e in entries if e.round_number == wanted and e.status == ON_TIME), None)
            if time.monotonic() >= ends:
                return other, silence
            time.sleep(wait)
            wait = min(wait * 2, LONGEST_LOOK)

    def _unconfirmed(self, made: Made, why: str) -> Unconfirmed:
        return Unconfirmed(
            f"The submission {made.id} (file {made.filename}) was made at {made.at:%H:%M:%S} UTC, and in"
            f" {CONFIRM_SECONDS:.0f} s Numerai has not said whether it counts: {why.rstrip('.')}."
            " It is not sent again for that. Check the model's submissions on https://numer.ai.",
            made.id,
        )

    def _judge(self, made: Made, entry: Entry, data_round: Round | None, *, read_back: bool) -> Verdict:
        submission = Submission(made.id, entry.round_number, self._settings.trigger_id, made.filename, made.at)
        late = _late(entry, data_round)
        log(
            "submitted",
            submission_id=made.id,
            round=entry.round_number,
            trigger_id=self._settings.trigger_id,
            status=entry.status,
            read_back="yes" if read_back else "no",
        )
        if late is None:
            return Counts(submission)
        log("warning", what=late)
        return Ended(Late(f"The submission {made.id} is late: {late}.", made.id, entry.round_number))


def _opened_since(number: int) -> TemporaryFailure:
    """For live data that were read while no round was open: whose they are then is not known."""
    return TemporaryFailure(
        f"Round {number} opened since the live data were read. Run again, to read those of that round."
    )


def _covered(made: Made, entry: Entry) -> Covered:
    return Covered(
        f"Round {entry.round_number} is covered by an earlier file: Numerai counts {entry.filename or entry.id},"
        f" and not the submission {made.id} of this run. Check the model's submissions on https://numer.ai.",
        made.id,
        entry.round_number,
    )


def _day_of(data_round: Round | None, current: Round | None) -> int | None:
    """The day of the data, when another round than theirs is open now; Numerai takes them for today's otherwise."""
    if data_round is None or current is None or current.number == data_round.number:
        return None
    log("warning", what="a new round opened since the live data were read", round=current.number)
    return data_round.data_datestamp


def _late(entry: Entry, data_round: Round | None) -> str | None:
    """Why the submission is not on time for the round that the data were read for; None when it is."""
    if data_round is not None and entry.round_number > data_round.number and entry.status == ON_TIME:
        return f"round {data_round.number} was over before it was made, and it counts for round {entry.round_number}"
    if entry.status == ON_TIME:
        return None
    if entry.status == QUEUED:
        return f"it is queued for round {entry.round_number}; running again would only queue another"
    return (
        f"it was made after the deadline of round {entry.round_number}, so it is not staked, and is queued for the next"
    )
