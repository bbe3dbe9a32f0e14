"""Numerai's API for the tool itself: the node runtime's client, its answers as models and its errors as `ApiError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from ..addresses import check_api_url
from ..errors import ApiError, UsageError
from ..foreign import one_line
from ..models import (
    NUMERAI_API_URL,
    DataVersions,
    EntryStatus,
    Keys,
    Model,
    Round,
    Submission,
    SubmissionEntry,
    TokenInfo,
)
from ..names import LONGEST

if TYPE_CHECKING:
    from numerai_node import client as numerai
    from numerai_node.connections import proxy_name
    from numerai_node.errors import NodeError
    from numerai_node.kinds import Kind, classify
    from numerai_node.queries import QUERIES
    from numerai_node.transport import NoAnswer, Transport
    from numerai_node.versions import complete_versions, listed_versions, served_versions
else:
    from numerai_compute.node_template.numerai_node import client as numerai
    from numerai_compute.node_template.numerai_node.connections import proxy_name
    from numerai_compute.node_template.numerai_node.errors import NodeError
    from numerai_compute.node_template.numerai_node.kinds import Kind, classify
    from numerai_compute.node_template.numerai_node.queries import QUERIES
    from numerai_compute.node_template.numerai_node.transport import NoAnswer, Transport
    from numerai_compute.node_template.numerai_node.versions import complete_versions, listed_versions, served_versions

TRIES = 4
SECONDS = 90.0
"""How long a person waits for an answer, all tries together."""
WEBHOOK_SECONDS = 100.0
"""The same for a trigger, which Numerai answers after it has called the webhook; that may have to wake up first."""
T = TypeVar("T")


class HttpNumeraiApi:
    """`ports.NumeraiApi` and `ports.ApiProbe` over HTTP. Each question is tried `tries` times, within `seconds` in all;
    a trigger, which may have been carried out although it was not answered, once. Without `keys`, of which `api_url`
    takes the place, only what is open to everybody can be asked."""

    def __init__(
        self,
        keys: Keys | None,
        *,
        api_url: str = NUMERAI_API_URL,
        tries: int = TRIES,
        seconds: float = SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self.url = check_api_url(keys.api_url if keys else api_url)
        self._seconds = seconds
        self._transport = Transport(
            sleep=sleep, monotonic=monotonic, report=lambda *_, **__: None, agent="numerai", hurried=True
        )
        try:
            self._client = numerai.NumeraiClient(
                self.url,
                lambda: (keys.public_id, keys.secret_key) if keys else ("", ""),
                self._transport,
                lambda: self._transport.within(seconds, tries),
            )
        except NodeError as error:
            raise UsageError(str(error), "Give NUMERAI_API_URL as https://host[:port].") from error

    def token_info(self) -> TokenInfo:
        info = self._ask(self._client.token_info)
        if info is None:
            raise self._refused("the API does not know them")
        scopes = (one_line(scope, LONGEST) for scope in info.scopes or ())
        return TokenInfo(one_line(info.username, LONGEST), one_line(info.name, LONGEST), tuple(sorted(scopes)))

    def models(self) -> list[Model]:
        models = self._ask(self._client.models)
        if models is None:
            raise self._refused("the API does not know them")
        return [Model(model.id, model.name, model.tournament, model.webhook, model.pickle_id) for model in models]

    def set_webhook(self, model_id: str, url: str | None) -> None:
        self._ask(lambda: self._client.set_webhook(model_id, url))

    def trigger(self, model_id: str) -> str:
        patience = self._transport.within(WEBHOOK_SECONDS, 1)
        try:
            return self._ask(lambda: self._client.trigger(model_id, patience))
        except ApiError as error:
            if error.code == "numerai-error":
                raise ApiError(error.message, error.hint, code="webhook-failed") from error
            raise

    def current_round(self, tournament: int) -> Round | None:
        """The round whose on-time window is open, or else the latest one; None when there has been none.

        Decided by the times: whether `rounds(number: 0)` answers between rounds is not known.
        """
        latest = self.rounds(tournament, 3)
        now = self._transport.clock.now()
        return next((round_ for round_ in latest if round_.is_open(now)), next(iter(latest), None))

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        return [_round(round_) for round_ in self._ask(lambda: self._client.rounds(tournament, limit))]

    def upcoming_round(self, tournament: int) -> Round | None:
        upcoming = self._ask(lambda: self._client.upcoming_round(tournament))
        return _round(upcoming) if upcoming else None

    def submissions(self, model_id: str) -> list[Submission]:
        return [Submission(**vars(file)) for file in self._ask(lambda: self._client.submissions(model_id))]

    def entries(self, model_id: str) -> list[SubmissionEntry]:
        return [
            SubmissionEntry(entry.round_number, _status(entry.status), entry.id, entry.filename, entry.timestamp)
            for entry in self._ask(lambda: self._client.entries(model_id))
        ]

    def data_versions(self, tournament: int) -> DataVersions:
        files = listed_versions(self._ask(lambda: self._client.datasets(tournament)), tournament)
        complete = complete_versions(files)
        return DataVersions(tuple(served_versions(files)), complete[-1] if complete else None)

    def server_time(self) -> datetime:
        return self._ask(self._client.server_time).astimezone(timezone.utc)

    def heard_time(self) -> datetime | None:
        clock = self._transport.clock
        return clock.now().astimezone(timezone.utc) if clock.heard else None

    @property
    def documents(self) -> Mapping[str, str]:
        return QUERIES

    def answer(self, document: str, variables: Mapping[str, object], *, signed: bool = True) -> Mapping[str, Any]:
        return self._ask(lambda: self._client.answer(document, variables, signed=signed))

    def _ask(self, ask: Callable[[], T]) -> T:
        """What the client answers; its errors as a person who types commands can act on them."""
        try:
            return ask()
        except NoAnswer as error:
            raise self._no_answer(error) from error
        except numerai.Refusal as error:
            said = one_line("; ".join(error.messages))
            if error.kind is Kind.KEYS:
                raise self._refused(said) from error
            if error.kind is Kind.SCOPE:
                raise ApiError(
                    f"The API key may not do this: {said}",
                    "Make a key with the missing scope at numer.ai (Settings, API keys) and run `numerai setup`.",
                    code="scope-missing",
                ) from error
            raise ApiError(f"Numerai answered: {said}", code="numerai-error") from error
        except NodeError as error:  # a proxy or a certificate file that cannot be used
            hint = "Correct the environment variable that names it, or unset it."
            raise ApiError(str(error), hint, code="numerai-unreachable") from error

    def _no_answer(self, error: NoAnswer) -> ApiError:
        proxy = proxy_name(self.url)
        if proxy is not None and error.kind in (Kind.UNREACHABLE, Kind.TOO_SLOW):
            message = f"{self.url} cannot be reached through the proxy {proxy}: {error}"
            hint = "Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; NO_PROXY names hosts that need none."
        elif error.kind is Kind.UNTRUSTED:
            message = f"The certificate of {self.url} is not trusted."
            hint = "Behind a company proxy, set REQUESTS_CA_BUNDLE to its certificate file."
        elif error.kind is Kind.UNREACHABLE:
            message, hint = f"{self.url} cannot be reached.", "Check the network and NUMERAI_API_URL."
        elif error.kind is Kind.TOO_SLOW:
            message, hint = (
                f"{self.url} did not answer within {self._seconds:g} s.",
                "Try again; when that does not help, check the network.",
            )
        else:
            message = f"{self.url} gives no answer that can be used: {one_line(str(error))}"
            hint = "Check NUMERAI_API_URL; when it is right, Numerai may have an incident: try again later."
            return ApiError(message, hint, temporary=error.kind.passes)
        return ApiError(message, hint, code="numerai-unreachable", temporary=error.kind.passes)

    def _refused(self, why: str) -> ApiError:
        return keys_refused(self.url, why)


def keys_refused(url: str, why: str) -> ApiError:
    """That Numerai at `url` refuses the keys, and what to do."""
    return ApiError(
        f"{url} refuses the keys: {why.rstrip('.')}.",
        "Run `numerai setup` with keys from numer.ai (Settings, API keys).",
        code="keys-refused",
    )


def refuses_keys(said: str) -> bool:
    """Whether an error in Numerai's words is about the keys."""
    return classify([said]) is Kind.KEYS


def _round(round_: numerai.Round) -> Round:
    return Round(round_.number, round_.tournament, round_.open_time, round_.deadline, round_.close_time)


def _status(word: str) -> EntryStatus | None:
    try:
        return EntryStatus(word)
    except ValueError:  # a word that this version does not know
        return None
