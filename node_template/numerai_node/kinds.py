"""What it means when Numerai refuses something, or gives no answer that can be used: the one place that decides.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum


class Kind(str, Enum):
    """Why Numerai did not do what it was asked.

    Refusals, in the words of `errors`: `keys`, `scope`, `model`, `predictions`, `unknown-field` (the API has changed),
    `no-round` (between rounds), `not-there` (a file that is not published, or not yet), `refused` (anything else,
    Numerai's own passing faults among it). Without an answer that can be used: `busy` (429, 5xx), `unusable` (not what
    an API answers), `too-slow`, `unreachable`, `untrusted` (its certificate).
    """

    KEYS = "keys"
    SCOPE = "scope"
    MODEL = "model"
    PREDICTIONS = "predictions"
    UNKNOWN_FIELD = "unknown-field"
    NO_ROUND = "no-round"
    NOT_THERE = "not-there"
    REFUSED = "refused"
    BUSY = "busy"
    UNUSABLE = "unusable"
    TOO_SLOW = "too-slow"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"

    @property
    def passes(self) -> bool:
        """Whether asking again may help."""
        return self in (Kind.REFUSED, Kind.BUSY, Kind.UNUSABLE, Kind.TOO_SLOW, Kind.UNREACHABLE)


TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
UNAUTHORIZED = (401, 403)
WORDS: Sequence[tuple[Kind, re.Pattern[str]]] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (Kind.UNKNOWN_FIELD, r"cannot query field|unknown argument|unknown type"),
        (Kind.PREDICTIONS, r"invalid_submission"),
        (Kind.REFUSED, r"your webhook server"),  # what follows are the webhook's words, and not about the API's keys
        (Kind.NOT_THERE, r"when calling the \w+ operation"),  # nor are those of Numerai's storage, which pass
        (
            Kind.KEYS,
            r"authenticat|session is invalid|invalid (api )?(token|key)|unauthori[sz]ed|not logged in",
        ),
        (Kind.SCOPE, r"scope|permission|not authori[sz]ed|forbidden|not allowed|access denied"),
        (Kind.NO_ROUND, r"round not open|no (open|current|active) round"),
        (
            Kind.MODEL,
            r"(unknown|no such) model\b|\bmodel_not_found\b|assigned pickle"
            r"|(^|; )((the|this|your) )?model( with id| id)?( \S+)?"
            r" (is |was |does )?not (found|exist|known|yours|owned|belong)",
        ),
        (Kind.NOT_THERE, r"not (found|available|ready)|no such|does not exist"),
    )
)
"""The first that matches decides. Sources: numerai-tools 0.7.2 submissions.py (invalid_submission_ids, ...); numerapi
3.1.1 check_round_open ("Current round not open for submissions"); Absinthe, the API's server ("Cannot query field");
botocore ClientError ("An error occurred (404) when calling the HeadObject operation: Not Found"). [unknown] how Numerai
refuses a model: a passing fault may name one, so only words that say that it is unknown, not ours or run by Numerai are
taken for a refusal of it."""


def classify(messages: Sequence[str] = (), status: int = 200) -> Kind:
    """What an answer means: one with errors by its `messages`, one without by its HTTP status."""
    if messages:
        said = "; ".join(messages)
        return next((kind for kind, words in WORDS if words.search(said)), Kind.REFUSED)
    if status in UNAUTHORIZED:
        return Kind.KEYS
    return Kind.BUSY if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR else Kind.UNUSABLE
