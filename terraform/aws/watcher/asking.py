"""Numerai, as one call of the watcher's function asks it: through the shared client, within the call's time."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from numerai_compute.providers.aws import node_keys
from numerai_compute.providers.webhooks.calls import same_token
from numerai_compute.watching import policy

if TYPE_CHECKING:
    from numerai_node.client import NumeraiClient
    from numerai_node.errors import NodeError
    from numerai_node.transport import NoAnswer, Patience, Transport
else:
    from numerai_compute.node_template.numerai_node.client import NumeraiClient
    from numerai_compute.node_template.numerai_node.errors import NodeError
    from numerai_compute.node_template.numerai_node.transport import NoAnswer, Patience, Transport

CALL_SECONDS = 200.0
"""After this a call asks Numerai nothing more, so that it can still notify people; Lambda ends it after 300 s."""
ASK_SECONDS = 30.0
"""How long one question is tried."""
OUTAGE = 2
"""Consecutive questions without an answer after which a call asks Numerai nothing more."""
ROUNDS_BACK = 10
LARGEST_NUMBER = 10**9
"""No number of a round is as large; DynamoDB takes 38 digits."""
T = TypeVar("T")


class CannotAsk(Exception):
    """Numerai could not be asked, or gave no usable answer."""


class Numerai:
    """Numerai, asked for as long as this call has time, and no more once two questions in a row had no answer."""

    def __init__(self, ssm: Any) -> None:
        self._ssm = ssm
        self._end = time.monotonic() + CALL_SECONDS
        self._unanswered: list[str] = []
        self._transport = Transport(
            sleep=time.sleep, monotonic=time.monotonic, report=lambda *_, **__: None, agent="numerai-watcher"
        )
        self._client = NumeraiClient(os.environ["NUMERAI_API_URL"], self._keys, self._transport, self._patience)

    def now(self) -> datetime:
        """The present moment by Numerai's clock, once it has answered anything."""
        return self._transport.clock.now()

    @property
    def ahead(self) -> timedelta:
        """How far Numerai's clock is ahead of AWS's."""
        return self.now() - datetime.fromtimestamp(time.time(), timezone.utc)

    def rounds(self, tournament: int) -> list[policy.Round]:
        """The latest rounds that have opened, oldest first."""
        rounds = self._ask(lambda: self._client.rounds(tournament, ROUNDS_BACK))
        rounds = [each for each in rounds if 0 <= each.number < LARGEST_NUMBER and _sane(each.close_time)]
        if not rounds:
            raise CannotAsk(f"Numerai lists no round of tournament {tournament}")
        return [
            policy.Round(each.number, tournament, each.open_time, each.deadline, each.close_time)
            for each in reversed(rounds)
        ]

    def learn(self, facts: policy.Facts, model_id: str) -> policy.Facts:
        """The facts with how the node's model stands; its files are asked for where they matter."""
        entries = self._ask(lambda: self._client.entries(model_id))
        model = policy.Model(facts.node, tuple(_entry(**vars(entry)) for entry in entries))

        def files() -> list[policy.Submission]:
            listed = self._ask(lambda: self._client.submissions(model_id))
            return [policy.Submission(f.id, f.round_number, f.filename, _sane(f.inserted_at)) for f in listed]

        return replace(facts, models=(policy.with_files(model, facts, files, CannotAsk),))

    def calls(self, model_id: str, token_sha256: str) -> bool:
        """Whether Numerai calls the webhook whose token has this SHA-256 for the model."""
        return same_token(token_sha256, self._webhooks.get(model_id, "").rpartition("/")[2])

    @cached_property
    def _webhooks(self) -> dict[str, str]:
        """Whom Numerai calls, by the model's id."""
        return {model.id: model.webhook for model in self._ask(self._client.models) or () if model.webhook}

    @property
    def notifies(self) -> bool:
        """Whether the runs of the nodes' images notify people."""
        return bool(node_keys.notify_addresses(self._fields))

    @cached_property
    def _fields(self) -> dict[str, str]:
        return node_keys.read_fields(self._ssm, os.environ["KEYS_PATH"])

    def _keys(self) -> tuple[str, str]:
        public_id, secret_key = (self._fields.get(name, "") for name in node_keys.KEY_FIELDS)
        if not re.fullmatch(r"[!-~]+ [!-~]+", f"{public_id} {secret_key}"):
            raise CannotAsk("the Numerai keys are not in the Parameter Store: `numerai node config` puts them there")
        return public_id, secret_key

    def _patience(self) -> Patience:
        return self._transport.within(min(ASK_SECONDS, self._end - time.monotonic()))

    def _ask(self, question: Callable[[], T]) -> T:
        if len(self._unanswered) >= OUTAGE:
            raise CannotAsk(self._unanswered[-1])
        if time.monotonic() > self._end:
            raise CannotAsk("there was no time left to ask Numerai")
        try:
            answer = question()
        except NoAnswer as error:
            self._unanswered.append(str(error))
            raise CannotAsk(str(error)) from error
        except NodeError as error:
            raise CannotAsk(str(error)) from error
        self._unanswered.clear()
        return answer


def _sane(time: datetime | None) -> datetime | None:
    """A time with which one can reckon: none near the ends of the calendar."""
    return time if time is not None and 1970 <= time.year < 3000 else None


def _entry(status: str, timestamp: datetime | None, **fields: Any) -> policy.Entry:
    known = status if status in ("on-time", "late", "queued", "none") else None
    return policy.Entry(status=known, timestamp=_sane(timestamp), **fields)
