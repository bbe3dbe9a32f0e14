"""Numerai's GraphQL API: the few questions a run asks, and its refusals as readable errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import BadPredictions, ConfigurationError, NodeError, TemporaryFailure
from .settings import SIGNALS, Settings
from .transport import QUERY_TIMEOUT, AnswerLost, Transport, host

KEYS_REFUSED = re.compile(
    r"authenticat|session is invalid|invalid (api )?(token|key)|unauthori[sz]ed|not logged in", re.IGNORECASE
)
SCOPE_MISSING = re.compile(r"scope|permission|not authori[sz]ed|forbidden|not allowed|access denied", re.IGNORECASE)
MODEL_REFUSED = re.compile(r"\bmodel\b", re.IGNORECASE)
PREDICTIONS_REFUSED = re.compile(r"invalid_submission", re.IGNORECASE)
NO_ROUND = re.compile(r"round not open|no (open|current|active) round", re.IGNORECASE)

UPLOAD_SCOPE = "upload_submission"
READ_SCOPE = "read_submission_info"


@dataclass(frozen=True)
class Round:
    """A submission window; `data_datestamp` is its data's date as Numerai's integer."""

    number: int
    data_datestamp: int | None


@dataclass(frozen=True)
class Submission:
    """What Numerai holds after an upload."""

    id: str
    status: str
    round_number: int | None
    trigger_id: str | None
    error: str | None


class GraphQLRefusal(NodeError):
    """The API answered with errors; `messages` are its own words."""

    def __init__(self, messages: list[str]):
        super().__init__("; ".join(messages))
        self.messages = messages


class NumeraiApi:
    """Asks Numerai, with the keys only where they are needed."""

    def __init__(self, settings: Settings, transport: Transport):
        self._settings = settings
        self.transport = transport

    def datasets(self) -> list[str]:
        """The names of all files of the tournament's data, e.g. `v5.3/live.parquet`."""
        query = "query($tournament: Int) { listDatasets(tournament: $tournament) }"
        answer = self._ask(query, {"tournament": self._settings.tournament}, what="listing the data")
        return [str(name) for name in answer["listDatasets"] or []]

    def dataset_url(self, name: str) -> str:
        """A presigned address to download one file from, valid for a short time."""
        query = """query($filename: String!, $tournament: Int) {
            dataset(filename: $filename, tournament: $tournament) }"""
        variables = {"filename": name, "tournament": self._settings.tournament}
        return str(self._ask(query, variables, what=f"asking for {name}")["dataset"])

    def current_round(self) -> Round | None:
        """The round that takes submissions now; None between rounds."""
        query = "query($tournament: Int) { rounds(tournament: $tournament, number: 0) { number dataDatestamp } }"
        try:
            answer = self._send(query, {"tournament": self._settings.tournament}, what="asking for the round")
        except GraphQLRefusal as refusal:
            if NO_ROUND.search(str(refusal)):
                return None
            raise _readable(refusal, "asking for the round") from refusal
        rounds = answer["rounds"] or []
        return Round(int(rounds[0]["number"]), rounds[0]["dataDatestamp"]) if rounds else None

    def check_access(self) -> str:
        """Ask once, before any work, whether the keys and the model are good; returns the model's name.

        Raises `ConfigurationError` when the keys are refused, a scope is missing, or the model is unknown or of
        another tournament.
        """
        model_id = self._settings.need_model()
        query = "query { apiTokenInfo { scopes } }"
        token = self._ask(query, {}, what="checking the keys", signed=True)["apiTokenInfo"]
        scopes = (token or {}).get("scopes")
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

    def _model(self, model_id: str) -> dict[str, Any]:
        query = "query($modelId: ID) { model(modelId: $modelId) { name tournament } }"
        what = "asking for the model"
        try:
            model = self._send(query, {"modelId": model_id}, what=what, signed=True)["model"]
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
        auth = self._ask(query, variables, what="asking where to upload", signed=True)[field]
        return str(auth["filename"]), str(auth["url"])

    def create_submission(self, filename: str, data_datestamp: int | None) -> str:
        """Make the uploaded file count, for this run's trigger; returns the submission's id.

        When the answer is lost, the model's submissions are looked through for the file before it is sent again.
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
        for attempt in range(1, self.transport.attempts + 1):
            try:
                return str(self._ask(query, variables, what=what, signed=True, retry_lost=False)[field]["id"])
            except AnswerLost as lost:
                known = self._submission_of_file(filename)
                if known is not None:
                    return known
                if attempt == self.transport.attempts:
                    raise
                self.transport.wait(attempt, what, str(lost))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def submission(self, submission_id: str) -> Submission | None:
        """One submission; None while Numerai does not show it."""
        query = """query($id: ID) { submissions(id: $id) { id status errorInfo triggerId round { number } } }"""
        found = self._ask(query, {"id": submission_id}, what="asking for the submission", signed=True)["submissions"]
        for item in found or []:
            if str(item["id"]) == submission_id:
                return Submission(
                    id=submission_id,
                    status=str(item["status"] or "pending"),
                    round_number=(item["round"] or {}).get("number"),
                    trigger_id=item["triggerId"],
                    error=item["errorInfo"],
                )
        return None

    def _submission_of_file(self, filename: str) -> str | None:
        query = "query($modelId: ID) { submissions(modelId: $modelId) { id filename } }"
        variables = {"modelId": self._settings.need_model()}
        found = self._ask(query, variables, what="looking for the submission", signed=True)["submissions"]
        return next((str(item["id"]) for item in found or [] if item["filename"] == filename), None)

    def _ask(
        self,
        query: str,
        variables: Mapping[str, object],
        *,
        what: str,
        signed: bool = False,
        retry_lost: bool = True,
    ) -> dict[str, Any]:
        try:
            return self._send(query, variables, what=what, signed=signed, retry_lost=retry_lost)
        except GraphQLRefusal as refusal:
            raise _readable(refusal, what) from refusal

    def _send(
        self,
        query: str,
        variables: Mapping[str, object],
        *,
        what: str,
        signed: bool = False,
        retry_lost: bool = True,
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if signed:
            public_id, secret_key = self._settings.need_keys()
            headers["Authorization"] = f"Token {public_id}${secret_key}"
        answer = self.transport.send(
            "POST",
            self._settings.api_url,
            what=what,
            timeout=QUERY_TIMEOUT,
            retry_lost=retry_lost,
            json={"query": query, "variables": variables},
            headers=headers,
        )
        try:
            body = answer.json()
        except ValueError:
            body = None
        errors = body.get("errors") if isinstance(body, dict) else None
        if errors:
            raise GraphQLRefusal([str(error.get("message", error)) for error in errors])
        if answer.status_code in (401, 403):
            raise GraphQLRefusal([f"{host(self._settings.api_url)} answered {answer.status_code}: unauthorized"])
        if answer.status_code != 200 or not isinstance(body, dict) or not isinstance(body.get("data"), dict):
            raise TemporaryFailure(
                f"{what} failed: {host(self._settings.api_url)} answered {answer.status_code} without usable data."
                " Is NUMERAI_API_URL right?"
            )
        data: dict[str, Any] = body["data"]
        return data


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
