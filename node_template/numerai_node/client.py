"""Numerai's API as everything here asks it: the node runtime, the command line and the functions on AWS.

Needs urllib3 and the standard library only. It raises `Refusal` when Numerai says no, and `NoAnswer` when there was no
answer that can be used; `kind` of both says more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from . import queries
from .addresses import is_secure
from .clock import http_date, moment
from .errors import BadPredictions, ConfigurationError, NodeError, TemporaryFailure
from .kinds import Kind, classify
from .transport import QUERY_TIMEOUT, REFUSALS, NoAnswer, Passing, Patience, Transport, host

SIGNALS = 11
WEBHOOK_TIMEOUT = (10.0, 90.0)
"""A trigger is answered after Numerai has called the webhook, which may have to wake up first."""
LOOKS = 4
"""How often a submission whose creation was not answered is looked for: Numerai may list it late."""
STORAGE_TRIES = 10
"""How often a submission is made while no round is open whose file Numerai's storage does not have yet: for some four
minutes. Source: forum.numer.ai (several threads): such a fault passes within minutes."""
ON_TIME, LATE, QUEUED, NONE = "on-time", "late", "queued", "none"
"""What `Entry.status` may be. Source: seen in recorded answers of the API, 2025-09; there is nothing else in them."""
MOST_MESSAGES, LONGEST_MESSAGE = 20, 2_000
"""Of Numerai's words for what is wrong, so many are read, and so many characters of each."""
FIELD = re.compile(r"\{\s*(\w+)")
T = TypeVar("T")


@dataclass(frozen=True)
class Round:
    """A round; its times are aware. A submission is on time when `open_time <= t < deadline`.

    `deadline` is Numerai's closeStakingTime. `close_time` ends the late period, about 23 hours later on weekdays; it is
    never before the deadline. `data_datestamp` is the date of the round's data as Numerai's integer, e.g. 20251121;
    None where it does not tell. Source: numerapi 3.1.1 check_round_open; forum.numer.ai/t/6253.
    """

    number: int
    tournament: int
    open_time: datetime
    deadline: datetime
    close_time: datetime
    data_datestamp: int | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether a submission made at `now` (aware) is on time."""
        return self.open_time <= now < self.deadline


@dataclass(frozen=True)
class Submission:
    """A file that Numerai holds. It does not say whether the file counts for its round: `Entry` does."""

    id: str
    round_number: int | None
    trigger_id: str | None = None
    filename: str | None = None
    inserted_at: datetime | None = None


@dataclass(frozen=True)
class Entry:
    """What a model has in a round. `status` is a word of Numerai's, empty where it says none; the rest is None where
    that is `none`."""

    round_number: int
    status: str
    id: str | None = None
    filename: str | None = None
    timestamp: datetime | None = None


@dataclass(frozen=True)
class AccountModel:
    """A model of the account. `webhook` is the address that Numerai calls for it, `pickle_id` the model upload that it
    is assigned to: Numerai then calls no webhook and takes no submissions for it (docs.numer.ai, Model Uploads)."""

    id: str
    name: str
    tournament: int
    webhook: str | None = None
    compute_enabled: bool = False
    pickle_id: str | None = None


@dataclass(frozen=True)
class TokenInfo:
    """Whose the keys are, and what they may do; `scopes` is None where Numerai does not tell."""

    username: str
    name: str
    scopes: frozenset[str] | None


class Refusal(NodeError):
    """Numerai refuses; `messages` are its own words, and `kind` is what they mean."""

    def __init__(self, message: str, kind: Kind, messages: Sequence[str]):
        super().__init__(message)
        self.kind = kind
        self.messages = self.problems = tuple(messages)


class AccessRefused(Refusal, ConfigurationError):
    """The keys, their scope or the model are refused."""


class FileRefused(Refusal, BadPredictions):
    """The uploaded file breaks Numerai's rules. Source: numerai-tools 0.7.2 submissions.py."""


class RefusedForNow(Refusal, TemporaryFailure):
    """Anything else: Numerai's own faults are told in the same way, and pass."""


class NotThere(RefusedForNow):
    """Numerai does not have this file, or not yet."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """A document with its variables, what is made of the data that answer it, and `what` it does, for messages. Keys go
    along where it is `signed`."""

    document: str
    variables: Mapping[str, object]
    read: Callable[[Mapping[str, Any]], T]
    what: str
    signed: bool = True
    timeout: tuple[float, float] = QUERY_TIMEOUT


class Channel:
    """How questions travel to Numerai and answers back, with the keys only where they are needed. For any thread.

    `keys` gives the public id and the secret key when they are needed first. Every method tries as long as its
    `patience` says, by default `patience()`. `ConfigurationError` for a `url` that keys must not be sent to.
    """

    def __init__(
        self,
        url: str,
        keys: Callable[[], tuple[str, str]],
        transport: Transport | None = None,
        patience: Callable[[], Patience] | None = None,
    ):
        if not is_secure(url):
            raise ConfigurationError(f"{host(url)} must be asked by https (plain http is for this machine only).")
        self.url = url
        self.transport = transport or Transport()
        self._keys = keys
        self._patience = patience or self.transport.patience
        self._hidden: str | None = None

    def answer(
        self, document: str, variables: Mapping[str, object], *, signed: bool = True, patience: Patience | None = None
    ) -> dict[str, Any]:
        """The JSON object that answers a document, its `errors` included."""
        question, patience = Question(document, variables, dict, "asking Numerai", signed), patience or self._patience()
        return self.transport.retry(question.what, lambda: self._send(question, patience), patience)

    def server_time(self, patience: Patience | None = None) -> datetime:
        """What the Date of an answer says, aware."""

        def ask() -> datetime:
            with self.transport.request("HEAD", self.url, timeout=QUERY_TIMEOUT, patience=patience) as answer:
                date = http_date(answer.headers.get("Date", ""))
            if date is None:
                raise Passing(f"{host(self.url)} does not tell the time", at_most=1)
            return date

        patience = patience or self._patience()
        return self.transport.retry("asking for the time", ask, patience)

    def _ask(self, question: Question[T], patience: Patience | None) -> T:
        """The answer to a question, which is asked again while that can help."""
        patience = patience or self._patience()

        def ask() -> T:
            try:
                return self._once(question, patience)
            except Refusal as refusal:
                if refusal.kind.passes or (question.signed and refusal.kind is Kind.NOT_THERE):
                    raise _passing(refusal) from refusal
                raise  # what is asked for without keys is not published, or not yet, where it is not there

        return self.transport.retry(question.what, ask, patience)

    def _once(self, question: Question[T], patience: Patience) -> T:
        """One request. `Refusal`, or `Passing` when there is nothing to use."""
        answer = self._send(question, patience)
        errors = answer.get("errors")
        if errors:
            raise self._refusal(_messages(errors), question.what)
        try:
            return question.read(answer["data"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            field = FIELD.search(question.document)
            why = f"{host(self.url)} answered without {field[1] if field else 'what'} as it was asked for"
            raise Passing(why, lost=True) from error

    def _send(self, question: Question[T], patience: Patience) -> dict[str, Any]:
        """The JSON object that answers one request."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if question.signed:
            public_id, secret_key = self._keys()
            self._hidden = secret_key
            headers["Authorization"] = f"Token {public_id}${secret_key}"
        body = json.dumps({"query": question.document, "variables": question.variables}).encode()
        with self.transport.request(
            "POST", self.url, timeout=question.timeout, patience=patience, tells_time=True, data=body, headers=headers
        ) as answer:
            content, status = answer.json(), answer.status
        if isinstance(content, dict) and (content.get("errors") or (status == 200 and "data" in content)):
            return content
        why = f"{host(self.url)} answered {status} without usable data"
        if status == 200:
            raise Passing(why, lost=True)
        # without keys it says nothing of them: a proxy or a firewall on the way answers 403 too
        kind = classify(status=status) if question.signed else Kind.UNUSABLE
        then: NodeError = NoAnswer(f"{question.what} failed: {why}. Is NUMERAI_API_URL right?", kind)
        if kind is Kind.KEYS:
            then = self._refusal([f"{host(self.url)} answered {status}: unauthorized"], question.what)
            why = str(then)
        raise Passing(why, kind=kind, lost=True, at_most=REFUSALS, then=then)

    def _refusal(self, messages: Sequence[str], what: str) -> Refusal:
        """What Numerai's words mean, without the keys."""
        if self._hidden:
            messages = [text.replace(self._hidden, "***") for text in messages]
        messages = [text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..." for text in messages]
        kind, said = classify(messages), "; ".join(messages)
        if kind is Kind.PREDICTIONS:
            return FileRefused(f"Numerai refused the predictions: {said}", kind, messages)
        access = {
            Kind.KEYS: f"Numerai refused the keys: {said}. Check NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY"
            " (`numerai setup`).",
            Kind.SCOPE: f"The Numerai API key may not do this ({what}): {said}",
            Kind.MODEL: f"Numerai refused the model: {said}. Check MODEL_ID and the account of the keys.",
        }
        if kind in access:
            return AccessRefused(access[kind], kind, messages)
        for_now = NotThere if kind is Kind.NOT_THERE else RefusedForNow
        return for_now(f"{what} failed, Numerai says: {said}", kind, messages)

    def _presigned(self, url: object) -> str:
        """An address that Numerai gave for a file; ValueError where it is less secure than Numerai's own."""
        address = _known(url)
        if not is_secure(address) or (self.url.startswith("https:") and not address.startswith("https:")):
            raise ValueError("an address that is not encrypted")
        return address


class NumeraiClient(Channel):
    """Everything that is asked of Numerai."""

    # rounds

    def current_round(self, tournament: int, patience: Patience | None = None) -> Round | None:
        """The round that takes submissions on time now, by Numerai's clock; None between rounds.

        Whether Numerai answers with a round, and with which, does not decide it: between rounds it may fail, or name
        the round before.
        """
        latest = self.round(tournament, 0, patience)
        if latest is None:
            return None
        # HTTP dates have whole seconds, so a round may have opened although the clock says that it is about to
        now = self.transport.clock.now()
        return latest if latest.open_time <= now + timedelta(seconds=1) and now < latest.deadline else None

    def round(self, tournament: int, number: int, patience: Patience | None = None) -> Round | None:
        """One round; None when Numerai does not show it. 0 is the one that is open, or perhaps the latest one."""
        variables = {"tournament": tournament, "number": number}
        rounds = self._rounds(queries.ROUND, variables, patience)
        return next((each for each in rounds if number in (0, each.number)), None)

    def rounds(self, tournament: int, limit: int, patience: Patience | None = None) -> list[Round]:
        """The latest rounds that have opened, newest first."""
        asked = {"tournament": tournament, "limit": limit + 1}  # one may be to open
        rounds = self._rounds(queries.ROUNDS, asked, patience)
        now = self.transport.clock.now() + timedelta(seconds=1)
        return [each for each in rounds if each.open_time <= now][:limit]

    def upcoming_round(self, tournament: int, patience: Patience | None = None) -> Round | None:
        """The round that opens next; None where Numerai does not say."""
        rounds = self._rounds(queries.UPCOMING_ROUND, {"tournament": tournament}, patience)
        return rounds[-1] if rounds else None

    def _rounds(self, document: str, variables: Mapping[str, int], patience: Patience | None) -> list[Round]:
        """Rounds, newest first. Between rounds Numerai may answer with an error: there is none then."""

        def read(data: Mapping[str, Any]) -> list[Round]:
            rows = [row for row in _list(data["rounds"]) if row]
            dated = [row for row in rows if row.get("openTime") and row.get("closeStakingTime")]
            if rows and not dated and not variables.get("number"):
                raise ValueError("rounds without times")
            rounds = [_round(row, variables["tournament"]) for row in dated]
            return sorted(rounds, key=lambda each: each.number, reverse=True)

        try:
            return self._ask(Question(document, variables, read, "asking for the round", signed=False), patience)
        except Refusal as refusal:
            if refusal.kind is Kind.NO_ROUND:
                return []
            raise

    # the account and its models

    def token_info(self, patience: Patience | None = None) -> TokenInfo | None:
        """Whose the keys are and what they may do; None where Numerai tells nothing of them."""

        def read(data: Mapping[str, Any]) -> TokenInfo | None:
            info = data["apiTokenInfo"]
            if not info:
                return None
            scopes = None if info.get("scopes") is None else frozenset(map(str, info["scopes"]))
            return TokenInfo(str(info.get("accountUsername") or ""), str(info.get("name") or ""), scopes)

        return self._ask(Question(queries.TOKEN_INFO, {}, read, "checking the keys"), patience)

    def models(self, patience: Patience | None = None) -> list[AccountModel] | None:
        """Every model of the account, of all tournaments; None where Numerai tells nothing of the account."""

        def read(data: Mapping[str, Any]) -> list[AccountModel] | None:
            account = data["account"]
            return [_model(row) for row in _list(account["models"])] if account else None

        return self._ask(Question(queries.MODELS, {}, read, "asking for the models"), patience)

    def model(self, model_id: str, patience: Patience | None = None) -> tuple[str, int] | None:
        """A model's name and tournament; None when Numerai knows no such model."""

        def read(data: Mapping[str, Any]) -> tuple[str, int] | None:
            model = data["model"]
            return (str(model["name"]), _whole(model["tournament"])) if model else None

        return self._ask(Question(queries.MODEL, {"modelId": model_id}, read, "asking for the model"), patience)

    def set_webhook(self, model_id: str, url: str | None, patience: Patience | None = None) -> None:
        """Register the address that Numerai calls for this model; None clears it."""
        variables = {"modelId": model_id, "newSubmissionWebhook": url}
        self._ask(Question(queries.SET_WEBHOOK, variables, lambda _: None, "setting the webhook"), patience)

    def trigger(self, model_id: str, patience: Patience | None = None) -> str:
        """Ask Numerai to call the model's webhook now, once; returns the trigger id. A refusal of the kind `refused` is
        what the webhook answered."""

        def once() -> str:
            try:
                return self._once(question, limit)
            except Passing as passing:
                if not passing.lost:
                    raise
                raise passing.then or NoAnswer(f"{what} failed because {passing}.", passing.kind) from passing

        def read(data: Mapping[str, Any]) -> str:
            return str(data["triggerModelWebhook"])

        what, limit = "triggering the webhook", patience or self._patience()
        question = Question(queries.TRIGGER, {"modelId": model_id}, read, what, timeout=WEBHOOK_TIMEOUT)
        return self.transport.retry(what, once, limit)

    # what Numerai holds

    def submissions(self, model_id: str, patience: Patience | None = None) -> list[Submission]:
        """The files that Numerai holds of a model, newest first. A clone of a queued file is listed too."""

        def read(data: Mapping[str, Any]) -> list[Submission]:
            return [_submission(row) for row in _list(data["submissions"]) if row]

        what = "looking for the submission"
        rows = self._ask(Question(queries.SUBMISSIONS, {"modelId": model_id}, read, what), patience)
        return sorted(rows, key=lambda each: each.inserted_at.timestamp() if each.inserted_at else 0.0, reverse=True)

    def entries(self, model_id: str, patience: Patience | None = None) -> list[Entry]:
        """What a model has in its latest rounds (20 of them), newest round first. Needs read_submission_info."""

        def read(data: Mapping[str, Any]) -> list[Entry]:
            return [_entry(row) for row in _list(data["model"]["latestSubmissions"]) if row]

        what = "asking whether the submission counts"
        rows = self._ask(Question(queries.ENTRIES, {"modelId": model_id}, read, what), patience)
        return sorted(rows, key=lambda each: each.round_number, reverse=True)

    def submission_url(self, submission_id: str, patience: Patience | None = None) -> str:
        """A presigned address to download a submission from; the key needs the scope download_submission."""

        def read(data: Mapping[str, Any]) -> str:
            return self._presigned(data["submissionDownloadAuth"]["url"])

        what = "asking for what was submitted"
        return self._ask(Question(queries.SUBMISSION_URL, {"id": submission_id}, read, what), patience)

    # data

    def datasets(self, tournament: int, patience: Patience | None = None) -> list[str]:
        """The names of all files of a tournament's data, e.g. `v5.3/live.parquet`."""

        def read(data: Mapping[str, Any]) -> list[str]:
            return [_known(name) for name in _list(data["listDatasets"])]

        question = Question(queries.DATASETS, {"tournament": tournament}, read, "listing the data", signed=False)
        return self._ask(question, patience)

    def dataset_url(self, tournament: int, name: str, patience: Patience | None = None) -> str:
        """A presigned address to download one file from, valid for a short time; `NotThere` when there is no file."""

        def read(data: Mapping[str, Any]) -> str | None:
            url = data["dataset"]
            return self._presigned(url) if url else None

        variables = {"filename": name, "tournament": tournament}
        url = self._ask(Question(queries.DATASET, variables, read, f"asking for {name}", signed=False), patience)
        if url is None:
            raise NotThere(f"Numerai gives no address for {name}.", Kind.NOT_THERE, ())
        return url

    # submitting

    def upload_address(
        self, tournament: int, model_id: str, filename: str, patience: Patience | None = None
    ) -> tuple[str, str]:
        """Numerai's name for the upload, and the presigned address to PUT it to."""

        def read(data: Mapping[str, Any]) -> tuple[str, str]:
            (auth,) = data.values()
            return _known(auth["filename"]), self._presigned(auth["url"])

        document = queries.SIGNALS_UPLOAD_ADDRESS if tournament == SIGNALS else queries.UPLOAD_ADDRESS
        variables = {"filename": filename, "tournament": tournament, "modelId": model_id}
        return self._ask(Question(document, variables, read, "asking where to upload"), patience)

    def create_submission(
        self,
        tournament: int,
        model_id: str,
        filename: str,
        *,
        trigger_id: str | None = None,
        data_datestamp: int | None = None,
        patience: Patience | None = None,
    ) -> str:
        """Make an uploaded file count; returns the submission's id. `FileRefused` when it breaks Numerai's rules.

        Whenever it may have been made although no good answer came, the model's submissions are looked through for the
        file, a few times, before it is asked for again: it is made once.
        """
        document = queries.CREATE_SIGNALS_SUBMISSION if tournament == SIGNALS else queries.CREATE_SUBMISSION
        variables = {"filename": filename, "tournament": tournament, "modelId": model_id}
        variables |= {"triggerId": trigger_id, "dataDatestamp": data_datestamp}
        patience = patience or self._patience()

        def read(data: Mapping[str, Any]) -> str:
            (made,) = data.values()
            return _known(made["id"])

        def create() -> str:
            try:
                return self._once(question, patience)
            except RefusedForNow as refusal:
                passing = _passing(refusal)
                if refusal.kind is Kind.NOT_THERE and patience.until < self.transport.monotonic():
                    passing.at_most = STORAGE_TRIES
            except Passing as error:
                passing = error
            known = self._look_for(model_id, filename, patience) if passing.lost else None
            if known is None:
                raise passing
            return known

        question = Question(document, variables, read, "creating the submission")
        return self.transport.retry(question.what, create, patience)

    def _look_for(self, model_id: str, filename: str, patience: Patience) -> str | None:
        """The id of the submission of a file, looked for a few times: 0, 1, 3 and 7 seconds from now. Where there is no
        answer, half of the time that is left is worth it: a second submission does no harm, a missed round does."""
        patience = replace(patience, until=(patience.until + self.transport.monotonic()) / 2)
        for look in range(LOOKS):
            try:
                files = self.submissions(model_id, patience)
            except TemporaryFailure:
                return None
            known = next((each.id for each in files if each.filename == filename), None)
            if known is not None or look == LOOKS - 1:
                return known
            self.transport.sleep(2.0**look)
        return None


def _passing(refusal: Refusal) -> Passing:
    """A refusal that may pass, tried as long as an answer 5xx would be: Numerai's own faults are told in `errors` too,
    in words that nobody knows, and pass within minutes (forum.numer.ai, several threads). A changed API does not."""
    at_most = REFUSALS if refusal.kind is Kind.UNKNOWN_FIELD else None
    says = f"Numerai says: {'; '.join(refusal.messages)}"
    return Passing(says, kind=refusal.kind, lost=True, at_most=at_most, then=refusal)


def _messages(errors: object) -> list[str]:
    """What errors say: their `message`, or their other words where they have none (`{"error": ..., "code": ...}`)."""
    rows = errors[:MOST_MESSAGES] if isinstance(errors, list) else [errors]
    return [str(row.get("message") or row.get("error") or row) if isinstance(row, dict) else str(row) for row in rows]


def _list(value: object) -> list[Any]:
    """A list, which Numerai may leave out when it is empty."""
    if value is not None and not isinstance(value, list):
        raise TypeError("not a list")
    return value or []


def _known(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing")
    return value


def _whole(value: object) -> int:
    """A whole number as GraphQL has them, of 32 bits: larger ones fit into no database (GraphQL specification, Int)."""
    if isinstance(value, (bool, float)) or not isinstance(value, (int, str)) or abs(number := int(value)) >= 2**31:
        raise ValueError("a whole number is missing")
    return number


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def _time(value: object) -> datetime:
    time = moment(value)
    if time is None:
        raise ValueError("a time is missing")
    return time


def _round(row: Mapping[str, Any], tournament: int) -> Round:
    deadline, day = _time(row["closeStakingTime"]), row.get("dataDatestamp")
    close_time = moment(row.get("closeTime")) or deadline
    return Round(
        number=_whole(row["number"]),
        tournament=tournament,
        open_time=_time(row["openTime"]),
        deadline=deadline,
        close_time=max(close_time, deadline),
        data_datestamp=None if day is None else _whole(day),
    )


def _model(row: Mapping[str, Any]) -> AccountModel:
    return AccountModel(
        id=_known(row["id"]),
        name=_known(row["name"]),
        tournament=_whole(row["tournament"]),
        webhook=_optional(row.get("submissionWebhook")),
        compute_enabled=bool(row.get("computeEnabled")),
        pickle_id=_optional((row.get("computePickleUpload") or {}).get("id")),
    )


def _submission(row: Mapping[str, Any]) -> Submission:
    number = (row.get("round") or {}).get("number")
    return Submission(
        id=_known(row["id"]),
        round_number=None if number is None else _whole(number),
        trigger_id=_optional(row.get("triggerId")),
        filename=_optional(row.get("filename")),
        inserted_at=moment(row.get("insertedAt")),
    )


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        round_number=_whole(row["roundNumber"]),
        status=str(row.get("status") or ""),
        id=_optional(row.get("id")),
        filename=_optional(row.get("filename")),
        timestamp=moment(row.get("timestamp")),
    )
