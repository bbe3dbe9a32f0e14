"""Numerai's GraphQL API: the few questions a run asks, and its refusals as readable errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from .clock import moment
from .errors import BadPredictions, ConfigurationError, NodeError, TemporaryFailure
from .settings import SIGNALS, Settings
from .transport import QUERY_TIMEOUT, REFUSALS, Passing, Transport, host

KEYS_REFUSED = re.compile(
    r"authenticat|session is invalid|invalid (api )?(token|key)|unauthori[sz]ed|not logged in", re.IGNORECASE
)
SCOPE_MISSING = re.compile(r"scope|permission|not authori[sz]ed|forbidden|not allowed|access denied", re.IGNORECASE)
MODEL_REFUSED = re.compile(r"\bmodel\b", re.IGNORECASE)
PREDICTIONS_REFUSED = re.compile(r"invalid_submission", re.IGNORECASE)
NO_ROUND = re.compile(r"round not open|no (open|current|active) round", re.IGNORECASE)
NOT_THERE = re.compile(r"not (found|available|ready)|no such|does not exist", re.IGNORECASE)
UNKNOWN_FIELD = re.compile(r"cannot query field", re.IGNORECASE)

UPLOAD_SCOPE = "upload_submission"
READ_SCOPE = "read_submission_info"
DOWNLOAD_SCOPE = "download_submission"

LOOKS = 4
"""How often a submission whose creation was not answered is looked for: Numerai may list it late."""
ROUND_FIELDS = "number dataDatestamp openTime closeTime"
COUNT_FIELDS = "submittedCount filteredCount tickersSubmittedCount tickersAcceptedCount"
SUBMISSION_FIELDS = "id filename status errorInfo triggerId insertedAt round { number openTime closeTime }"


@dataclass(frozen=True)
class Round:
    """A submission window; `data_datestamp` is its data's date as Numerai's integer, the times are aware."""

    number: int
    data_datestamp: int | None
    open_time: datetime | None = None
    close_time: datetime | None = None


@dataclass(frozen=True)
class Submission:
    """What Numerai holds after an upload. The counts are rows; None where Numerai does not tell."""

    id: str
    status: str
    round_number: int | None
    trigger_id: str | None
    error: str | None
    filename: str | None = None
    inserted_at: datetime | None = None
    close_time: datetime | None = None
    submitted: int | None = None
    filtered: int | None = None


class GraphQLRefusal(NodeError):
    """The API answered with errors; `messages` are its own words."""

    def __init__(self, messages: list[str]):
        super().__init__("; ".join(messages))
        self.messages = messages


class NotThere(TemporaryFailure):
    """Numerai does not have this file, or not yet."""


class NumeraiApi:
    """Asks Numerai, with the keys only where they are needed."""

    def __init__(self, settings: Settings, transport: Transport):
        self._settings = settings
        self.transport = transport
        self._scopes: frozenset[str] | None = None

    def datasets(self) -> list[str]:
        """The names of all files of the tournament's data, e.g. `v5.3/live.parquet`."""
        query = "query($tournament: Int) { listDatasets(tournament: $tournament) }"
        names = self._ask("listDatasets", query, {"tournament": self._settings.tournament}, what="listing the data")
        return [str(name) for name in names or []]

    def dataset_url(self, name: str) -> str:
        """A presigned address to download one file from, valid for a short time; `NotThere` when there is no file."""
        query = """query($filename: String!, $tournament: Int) {
            dataset(filename: $filename, tournament: $tournament) }"""
        variables = {"filename": name, "tournament": self._settings.tournament}
        what = f"asking for {name}"
        try:
            url = self._refusable("dataset", query, variables, what=what)
        except GraphQLRefusal as refusal:
            if NOT_THERE.search(str(refusal)):
                raise NotThere(f"Numerai does not have {name}: {refusal}") from refusal
            raise _readable(refusal, what) from refusal
        if not url:
            raise NotThere(f"Numerai gives no address for {name}.")
        return str(url)

    def current_round(self) -> Round | None:
        """The round that takes submissions now; None between rounds. Retries last as long as it is open."""
        query = f"query($tournament: Int) {{ rounds(tournament: $tournament, number: 0) {{ {ROUND_FIELDS} }} }}"
        what = "asking for the round"
        try:
            answer = self._refusable(
                "rounds", query, {"tournament": self._settings.tournament}, what=what, final=NO_ROUND
            )
        except GraphQLRefusal as refusal:
            if not NO_ROUND.search(str(refusal)):
                raise _readable(refusal, what) from refusal
            answer = []
        now = self.transport.clock.now()
        is_open = (each for each in _rounds(answer) if each.close_time is None or now < each.close_time)
        current = next(is_open, None)
        self.transport.round_closes(current.close_time if current else None)
        return current

    def round_before(self, number: int) -> Round | None:
        """The round before this one; None when Numerai does not show it."""
        query = f"""query($tournament: Int, $number: Int) {{
            rounds(tournament: $tournament, number: $number) {{ {ROUND_FIELDS} }} }}"""
        variables = {"tournament": self._settings.tournament, "number": number - 1}
        try:
            answer = self._refusable("rounds", query, variables, what="asking for the round before")
        except GraphQLRefusal:
            return None
        return next((each for each in _rounds(answer) if each.number == number - 1), None)

    def check_access(self) -> str:
        """Ask once, before any work, whether the keys and the model are good; returns the model's name.

        Raises `ConfigurationError` when the keys are refused, a scope is missing, or the model is unknown or of
        another tournament.
        """
        model_id = self._settings.need_model()
        scopes = self._ask_scopes()
        for scope in (UPLOAD_SCOPE, READ_SCOPE):
            if scopes is not None and scope not in scopes:
                raise ConfigurationError(f"The Numerai API key lacks the scope {scope}. Make a key that has it.")
        model = self._model(model_id)
        if model["tournament"] not in (None, self._settings.tournament):
            raise ConfigurationError(
                f"The model {model['name']} is in tournament {model['tournament']},"
                f" but NUMERAI_TOURNAMENT is {self._settings.tournament}."
            )
        return str(model["name"])

    def may_read_back(self) -> bool:
        """Whether the key may download what it has submitted."""
        scopes = self._scopes if self._scopes is not None else self._ask_scopes()
        return scopes is not None and DOWNLOAD_SCOPE in scopes

    def _ask_scopes(self) -> frozenset[str] | None:
        query = "query { apiTokenInfo { scopes } }"
        token = self._ask("apiTokenInfo", query, {}, what="checking the keys", signed=True)
        scopes = (token or {}).get("scopes")
        self._scopes = None if scopes is None else frozenset(scopes)
        return self._scopes

    def _model(self, model_id: str) -> dict[str, Any]:
        query = "query($modelId: ID) { model(modelId: $modelId) { name tournament } }"
        what = "asking for the model"
        try:
            model = self._refusable("model", query, {"modelId": model_id}, what=what, signed=True)
        except GraphQLRefusal as refusal:
            if SCOPE_MISSING.search(str(refusal)):
                # a key that may only submit is enough; whether the model is ours shows at the upload
                return {"name": model_id, "tournament": None}
            raise _readable(refusal, what) from refusal
        if model is None:
            raise ConfigurationError(f"Numerai knows no model with the id {model_id}. Check MODEL_ID.")
        return dict(model)

    def upload_address(self, filename: str) -> tuple[str, str]:
        """Numerai's name for the upload, and the presigned address to PUT it to."""
        field = "submissionUploadSignalsAuth" if self._settings.tournament == SIGNALS else "submissionUploadAuth"
        query = f"""query($filename: String!, $tournament: Int!, $modelId: ID) {{
            {field}(filename: $filename, tournament: $tournament, modelId: $modelId) {{ filename url }} }}"""
        variables = {
            "filename": filename,
            "tournament": self._settings.tournament,
            "modelId": self._settings.need_model(),
        }
        needs = ("filename", "url")
        auth = self._ask(field, query, variables, what="asking where to upload", signed=True, needs=needs)
        return str(auth["filename"]), str(auth["url"])

    def create_submission(self, filename: str, data_datestamp: int | None) -> str:
        """Make the uploaded file count, for this run's trigger; returns the submission's id.

        Whenever it may have been made although no good answer came, the model's submissions are looked through for the
        file, a few times, before it is asked for again: it is made once.
        """
        field = "createSignalsSubmission" if self._settings.tournament == SIGNALS else "createSubmission"
        query = f"""mutation($filename: String!, $tournament: Int!, $modelId: ID, $triggerId: ID,
            $dataDatestamp: Int) {{
            {field}(filename: $filename, tournament: $tournament, modelId: $modelId, triggerId: $triggerId,
            source: "numerai-node", dataDatestamp: $dataDatestamp) {{ id }} }}"""
        variables = {
            "filename": filename,
            "tournament": self._settings.tournament,
            "modelId": self._settings.need_model(),
            "triggerId": self._settings.trigger_id,
            "dataDatestamp": data_datestamp,
        }
        what = "creating the submission"

        def create() -> str:
            try:
                return str(self._once(field, query, variables, what=what, signed=True, needs=("id",))["id"])
            except GraphQLRefusal as refusal:
                readable = _readable(refusal, what)
                if not isinstance(readable, TemporaryFailure):
                    raise readable from refusal
                passing = Passing(f"Numerai says: {refusal}", lost=True, at_most=REFUSALS)
            except Passing as error:
                passing = error
            known = self._look_for(filename) if passing.lost else None
            if known is None:
                raise passing
            return known

        return self.transport.retry(what, create)

    def _look_for(self, filename: str) -> str | None:
        """The id of the submission of a file, looked for a few times: 0, 1, 3 and 7 seconds from now."""
        for look in range(LOOKS):
            found = next((each.id for each in self.submissions() if each.filename == filename), None)
            if found is not None or look == LOOKS - 1:
                return found
            self.transport.sleep(2.0**look)
        return None

    def submission(self, submission_id: str) -> Submission | None:
        """One submission; None while Numerai does not show it."""
        what, variables = "asking for the submission", {"id": submission_id}
        query = f"query($id: ID) {{ submissions(id: $id) {{ {SUBMISSION_FIELDS} {COUNT_FIELDS} }} }}"
        found = self._read_submissions(query, variables, what)
        return next((each for each in found if each.id == submission_id), None)

    def submissions(self) -> list[Submission]:
        """The model's submissions, without their counts, in the order in which Numerai lists them."""
        query = f"query($modelId: ID) {{ submissions(modelId: $modelId) {{ {SUBMISSION_FIELDS} }} }}"
        return self._read_submissions(query, {"modelId": self._settings.need_model()}, "looking for the submission")

    def submission_url(self, submission_id: str) -> str:
        """A presigned address to download a submission from; the key needs the scope download_submission."""
        query = "query($id: ID!) { submissionDownloadAuth(id: $id) { url } }"
        what = "asking for what was submitted"
        variables = {"id": submission_id}
        auth = self._ask("submissionDownloadAuth", query, variables, what=what, signed=True, needs=("url",))
        return str(auth["url"])

    def _read_submissions(self, query: str, variables: Mapping[str, object], what: str) -> list[Submission]:
        try:
            answer = self._refusable("submissions", query, variables, what=what, signed=True, final=UNKNOWN_FIELD)
        except GraphQLRefusal as refusal:
            if not UNKNOWN_FIELD.search(str(refusal)):
                raise _readable(refusal, what) from refusal
            # an API that knows fewer fields still tells what cannot be done without
            fewer = query.replace(COUNT_FIELDS, "").replace(" openTime closeTime", "").replace("insertedAt ", "")
            answer = self._ask("submissions", fewer, variables, what=what, signed=True)
        return [_submission(each) for each in answer or [] if each]

    def _ask(
        self,
        field: str,
        query: str,
        variables: Mapping[str, object],
        *,
        what: str,
        signed: bool = False,
        needs: Sequence[str] = (),
    ) -> Any:
        """What a query answers for its field, tried again while that can help; a refusal as a readable error.

        `needs` are what must be in it: without them it is as good as no answer.
        """
        try:
            return self._refusable(field, query, variables, what=what, signed=signed, needs=needs)
        except GraphQLRefusal as refusal:
            raise _readable(refusal, what) from refusal

    def _refusable(
        self,
        field: str,
        query: str,
        variables: Mapping[str, object],
        *,
        what: str,
        signed: bool = False,
        needs: Sequence[str] = (),
        final: re.Pattern[str] = NOT_THERE,
    ) -> Any:
        """Like `_ask`, but raises `GraphQLRefusal`. One that says nothing known, and nothing `final`, is asked again
        a few times first."""
        refusals: list[GraphQLRefusal] = []

        def ask() -> Any:
            try:
                return self._once(field, query, variables, what=what, signed=signed, needs=needs)
            except GraphQLRefusal as refusal:
                temporary = isinstance(_readable(refusal, what), TemporaryFailure)
                refusals.append(refusal)
                if not temporary or final.search(str(refusal)) or len(refusals) >= REFUSALS:
                    raise
                raise Passing(f"Numerai says: {refusal}") from refusal

        return self.transport.retry(what, ask)

    def _once(
        self,
        field: str,
        query: str,
        variables: Mapping[str, object],
        *,
        what: str,
        signed: bool = False,
        needs: Sequence[str] = (),
    ) -> Any:
        """One request: what the field holds, or `GraphQLRefusal`, or `Passing` when that is none that can be used."""
        headers = {"Accept": "application/json"}
        if signed:
            public_id, secret_key = self._settings.need_keys()
            headers["Authorization"] = f"Token {public_id}${secret_key}"
        url = self._settings.api_url
        body = {"query": query, "variables": variables}
        with self.transport.request(
            "POST", url, timeout=QUERY_TIMEOUT, tells_time=True, json=body, headers=headers
        ) as (answer, _):
            data = _data(answer.status_code, _json(answer), host(url), what)
        found: Any = data.get(field)
        if (
            field not in data
            or (needs and not isinstance(found, dict))
            or any(found.get(each) is None for each in needs)
        ):
            raise Passing(f"{host(url)} answered without {field}", lost=True)
        return found


def _json(answer: requests.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None


def _data(status: int, body: object, said_by: str, what: str) -> dict[str, Any]:
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, list) and errors:
        raise GraphQLRefusal([_message(error) for error in errors])
    if status in (401, 403):
        refusal = GraphQLRefusal([f"{said_by} answered {status}: unauthorized"])
        raise Passing(str(refusal), lost=True, at_most=REFUSALS, then=_readable(refusal, what))
    if status == 200 and isinstance(body, dict) and isinstance(body.get("data"), dict):
        data: dict[str, Any] = body["data"]
        return data
    why = f"{said_by} answered {status} without usable data"
    if status == 200:
        raise Passing(why, lost=True)
    meaning = TemporaryFailure(f"{what} failed: {why}. Is NUMERAI_API_URL right?")
    raise Passing(why, lost=True, at_most=REFUSALS, then=meaning)


def _message(error: object) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _rounds(items: Sequence[Mapping[str, Any] | None] | None) -> list[Round]:
    return [
        Round(
            number=int(item["number"]),
            data_datestamp=item["dataDatestamp"],
            open_time=moment(item.get("openTime")),
            close_time=moment(item.get("closeTime")),
        )
        for item in items or []
        if item
    ]


def _submission(item: Mapping[str, Any]) -> Submission:
    of_round = item.get("round") or {}
    counts = (item.get("submittedCount"), item.get("tickersSubmittedCount"))
    return Submission(
        id=str(item["id"]),
        status=str(item["status"] or "pending"),
        round_number=of_round.get("number"),
        trigger_id=item["triggerId"],
        error=item.get("errorInfo"),
        filename=item.get("filename"),
        inserted_at=moment(item.get("insertedAt")),
        close_time=moment(of_round.get("closeTime")),
        submitted=next((count for count in counts if count is not None), None),
        filtered=item.get("filteredCount"),
    )


def _readable(refusal: GraphQLRefusal, what: str) -> NodeError:
    said = str(refusal)
    if PREDICTIONS_REFUSED.search(said):
        return BadPredictions(f"Numerai refused the predictions: {said}", refusal.messages)
    if KEYS_REFUSED.search(said):
        return ConfigurationError(
            f"Numerai refused the keys: {said}. Check NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY (`numerai setup`)."
        )
    if SCOPE_MISSING.search(said):
        return ConfigurationError(f"The Numerai API key may not do this ({what}): {said}")
    if MODEL_REFUSED.search(said):
        return ConfigurationError(f"Numerai refused the model: {said}. Check MODEL_ID and the account of the keys.")
    return TemporaryFailure(f"{what} failed, Numerai says: {said}")
