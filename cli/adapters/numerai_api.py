"""Numerai's GraphQL API, as far as the tool itself uses it (model code and uploads are the node runtime's)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ..addresses import check_api_url
from ..errors import ApiError
from ..models import Keys, Model, Round, Submission, TokenInfo

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
WEBHOOK_READ_SECONDS = 90.0
"""A trigger is answered after Numerai has called the webhook, which may have to wake up first."""


class HttpNumeraiApi:
    """`ports.NumeraiApi` over HTTP. Queries are retried on network errors, 429 and 5xx; changes only when they
    cannot have been made. With `deadline_seconds` an answer that is not there in full after that time is none, whatever
    holds it up: the name's resolution, retries, or a server that sends it drop by drop."""

    def __init__(
        self,
        keys: Keys,
        *,
        retries: int = 3,
        backoff_seconds: float = 0.5,
        deadline_seconds: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.url = check_api_url(keys.api_url)
        self._keys = keys
        self._retries = retries
        self._backoff = backoff_seconds
        self._deadline = deadline_seconds
        self._http: requests.Session | None = None
        self._monotonic = monotonic
        self._heard: tuple[datetime, float] | None = None

    def token_info(self) -> TokenInfo:
        """Who the keys belong to and what they may do; `ApiError` with code `keys-refused` when they are wrong."""
        info = self._query("query { apiTokenInfo { accountUsername name scopes } }")["apiTokenInfo"]
        if not info:
            raise self._refused("the API does not know them")
        return TokenInfo(info["accountUsername"] or "", info["name"] or "", tuple(info["scopes"] or ()))

    def models(self) -> list[Model]:
        """Every model of the account, of all tournaments."""
        account = self._query("query { account { models { id name tournament submissionWebhook } } }")["account"]
        if not account:
            raise self._refused("the API does not know them")
        return [
            Model(row["id"], row["name"], int(row["tournament"]), row["submissionWebhook"])
            for row in account["models"] or ()
        ]

    def set_webhook(self, model_id: str, url: str | None) -> None:
        """Register the address that Numerai calls for this model; None clears it."""
        self._query(
            "mutation($modelId: String, $newSubmissionWebhook: String) "
            "{ setSubmissionWebhook(modelId: $modelId, newSubmissionWebhook: $newSubmissionWebhook) }",
            {"modelId": model_id, "newSubmissionWebhook": url},
        )

    def trigger(self, model_id: str) -> str:
        """Ask Numerai to call the model's webhook now; returns the trigger id."""
        query = "mutation($modelId: String!) { triggerModelWebhook(modelId: $modelId) }"
        try:
            data = self._query(query, {"modelId": model_id}, changes=True, read_seconds=WEBHOOK_READ_SECONDS)
        except ApiError as error:
            if error.code == "numerai-error":
                raise ApiError(error.message, error.hint, code="webhook-failed") from error
            raise
        return str(data["triggerModelWebhook"])

    def current_round(self, tournament: int) -> Round | None:
        """The round that is open now, or the latest one; None when there has been none."""
        query = "query($tournament: Int!) { rounds(tournament: $tournament, number: 0) { number openTime closeTime } }"
        rows = self._rounds(query, {"tournament": tournament})
        return rows[0] if rows else None

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        """The latest rounds that have opened, newest first; empty when Numerai says that there is none."""
        query = (
            "query($tournament: Int!, $limit: Int!) "
            "{ rounds(tournament: $tournament, limit: $limit) { number openTime closeTime } }"
        )
        found = self._rounds(query, {"tournament": tournament, "limit": limit + 1})  # one may be about to open
        now = (self.heard_time() or datetime.now(timezone.utc)) + timedelta(seconds=1)  # a Date has no fractions
        return [each for each in found if each.open_time <= now][:limit]

    def upcoming_round(self, tournament: int) -> Round | None:
        """The round that opens next; None where Numerai does not say."""
        query = (
            "query($tournament: Int!) "
            "{ rounds(tournament: $tournament, status: UPCOMING) { number openTime closeTime } }"
        )
        found = self._rounds(query, {"tournament": tournament})
        return found[-1] if found else None

    def submissions(self, model_id: str) -> list[Submission]:
        """The model's submissions, newest first."""
        rows = self._query(
            "query($modelId: ID) { submissions(modelId: $modelId) "
            "{ id filename insertedAt status triggerId errorInfo round { number } } }",
            {"modelId": model_id},
        )["submissions"]
        found = [
            Submission(
                id=row["id"],
                status=row["status"] or "pending",
                round_number=(row["round"] or {}).get("number"),
                trigger_id=row["triggerId"],
                error=row["errorInfo"],
                filename=row["filename"],
                inserted_at=_time(row["insertedAt"]) if row["insertedAt"] else None,
            )
            for row in rows or ()
        ]
        oldest = datetime.min.replace(tzinfo=timezone.utc)
        return sorted(found, key=lambda submission: submission.inserted_at or oldest, reverse=True)

    def server_time(self) -> datetime:
        """What the API's Date header says, in UTC."""
        response = self._send(lambda http, timeout: http.head(self.url, timeout=timeout), READ_SECONDS)
        moment = _date_of(response)
        if moment is None:
            raise ApiError(f"{self.url} does not tell the time.")
        return moment

    def heard_time(self) -> datetime | None:
        """What Numerai's clock shows now, by the Date of its latest answer and the time that has passed since."""
        if self._heard is None:
            return None
        moment, heard_at = self._heard
        return moment + timedelta(seconds=self._monotonic() - heard_at)

    # how a query travels

    def _rounds(self, query: str, variables: dict[str, Any]) -> list[Round]:
        """Rounds, the highest number first. Between rounds Numerai may answer with an error: there is none then."""
        try:
            rows = self._query(query, variables)["rounds"]
        except ApiError as error:
            if "not open" in error.message:
                return []
            raise
        found = [
            Round(int(row["number"]), variables["tournament"], _time(row["openTime"]), _time(row["closeTime"]))
            for row in rows or ()
            if row and row["openTime"] and row["closeTime"]
        ]
        return sorted(found, key=lambda each: each.number, reverse=True)

    def _query(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        *,
        changes: bool = False,
        read_seconds: float = READ_SECONDS,
    ) -> dict[str, Any]:
        body = {"query": query, "variables": variables or {}}
        headers = {"Authorization": f"Token {self._keys.public_id}${self._keys.secret_key}"}
        retries = 0 if changes else self._retries
        response = self._send(
            lambda http, timeout: http.post(self.url, json=body, headers=headers, timeout=timeout),
            read_seconds,
            retries,
        )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors:
            raise self._error(errors)
        if response.status_code in (401, 403):
            raise self._refused(f"HTTP {response.status_code}")
        if response.status_code >= 400 or not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise ApiError(
                f"{self.url} answered HTTP {response.status_code} and not what an API answers.",
                "Check NUMERAI_API_URL; when it is right, Numerai may have an incident: try again later.",
                temporary=response.status_code == 429 or response.status_code >= 500,
            )
        data: dict[str, Any] = answer["data"]
        return data

    def _send(
        self,
        call: Callable[[requests.Session, tuple[float, float]], requests.Response],
        read_seconds: float,
        retries: int | None = None,
    ) -> requests.Response:
        import requests

        http = self._session(self._retries if retries is None else retries)
        timeout = CONNECT_SECONDS, min(read_seconds, self._deadline or read_seconds)
        try:
            response = self._in_time(lambda: call(http, timeout))
            self._hear(response)
            return response
        except requests.exceptions.SSLError as error:
            raise ApiError(
                f"The certificate of {self.url} is not trusted.",
                "Behind a company proxy, set REQUESTS_CA_BUNDLE to its certificate file.",
                code="numerai-unreachable",
            ) from error
        except requests.exceptions.ReadTimeout as error:
            raise ApiError(
                f"{self.url} did not answer within {timeout[1]:.0f} s.",
                "Try again; `numerai doctor` checks the connection.",
                code="numerai-unreachable",
                temporary=True,
            ) from error
        except requests.exceptions.RequestException as error:
            raise ApiError(
                f"{self.url} cannot be reached.",
                "Check the network and NUMERAI_API_URL; `numerai doctor` checks the connection.",
                code="numerai-unreachable",
                temporary=True,
            ) from error

    def _in_time(self, call: Callable[[], requests.Response]) -> requests.Response:
        """Make a call, and leave it to itself when it takes longer than the deadline."""
        if self._deadline is None:
            return call()
        done: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                done.put(call())
            except Exception as error:  # noqa: BLE001  handed to the caller, who raises it
                done.put(error)

        threading.Thread(target=work, name="numerai-api", daemon=True).start()
        try:
            answer = done.get(timeout=self._deadline)
        except queue.Empty:
            self._http = None  # the session is that call's now
            raise ApiError(
                f"{self.url} did not answer within {self._deadline:g} s.",
                "Try again; `numerai doctor` checks the connection.",
                code="numerai-unreachable",
                temporary=True,
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _hear(self, response: requests.Response) -> None:
        moment = _date_of(response)
        if moment is not None:
            self._heard = moment, self._monotonic()

    def _session(self, retries: int) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        if self._http is None:
            self._http = requests.Session()
        policy = Retry(
            connect=self._retries,  # nothing was sent yet
            read=retries,
            status=retries,
            other=0,
            backoff_factor=self._backoff,
            backoff_jitter=self._backoff,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        self._http.mount(self.url, HTTPAdapter(max_retries=policy))
        return self._http

    def _error(self, errors: object) -> ApiError:
        rows = errors if isinstance(errors, list) else [errors]
        messages = [str(row.get("message") or row) if isinstance(row, dict) else str(row) for row in rows]
        message = "; ".join(messages).replace(self._keys.secret_key, "***")
        lowered = message.lower()
        if "scope" in lowered or "permission" in lowered:
            return ApiError(
                f"The API key may not do this: {message}",
                "Make a key with the missing scope at numer.ai (Settings, API keys) and run `numerai setup`.",
                code="scope-missing",
            )
        if any(word in lowered for word in ("not_authenticated", "authenticat", "invalid token", "session")):
            return self._refused(message)
        return ApiError(f"Numerai answered: {message}", code="numerai-error")

    def _refused(self, why: str) -> ApiError:
        return ApiError(
            f"{self.url} refuses the keys: {why.rstrip('.')}.",
            "Run `numerai setup` with keys from numer.ai (Settings, API keys).",
            code="keys-refused",
        )


def _date_of(response: requests.Response) -> datetime | None:
    """When an answer was sent, by its Date header."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(timezone.utc)
    except (KeyError, ValueError, TypeError):
        return None


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
