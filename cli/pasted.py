"""The two halves of a Numerai key as people paste them: from a shell, a .env file, JSON, a header or a web page."""

from __future__ import annotations

import re

from .errors import UsageError
from .redaction import hide

PUBLIC_ID, SECRET_KEY = "NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"
_AROUND = " \t\r\n\f\v\xa0\u200b\u2060\ufeff"
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
_ALL_QUOTES = "".join({*_QUOTES, *_QUOTES.values()})
_NAMED = re.compile(
    r"(?<![A-Z_])[\"']?(?:NUMERAI_)?(?P<name>PUBLIC_ID|SECRET_KEY)[\"']?\s*[=:]\s*"
    r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s;}]*)",
    re.I,
)
_HEADER = re.compile(r"(?:Authorization:\s*)?Token\s+", re.I)
_NOT_FILLED_IN = re.compile(r"\$\{?[A-Za-z_]+\}?|%[A-Za-z_]+%|<[^<>]*>")
_NAME_AND_VALUE = re.compile(r"[A-Za-z_]+=.*", re.DOTALL)


def pasted_keys(public_id: str | None, secret_key: str | None) -> tuple[str | None, str | None]:
    """The halves without what is around them (quotes, `export NAME=`, commas, invisible characters), taken apart where
    one value holds both; None for what is not there.

    `UsageError` with code `keys-malformed`, which shows no part of them, where they contradict each other.
    """
    hide(secret_key)
    found: dict[str, str] = {}
    for name, value in ((PUBLIC_ID, public_id or ""), (SECRET_KEY, secret_key or "")):
        for half, text in _halves(name, value, found.get(PUBLIC_ID)):
            if text and found.setdefault(half, text) != text:
                raise malformed(f"There are two different values for {half}.")
    return found.get(PUBLIC_ID), found.get(SECRET_KEY)


def check_half(name: str, value: str | None) -> str:
    """One half that can be sent; `UsageError` as above, with what is wrong with it."""
    if not value:
        raise malformed(f"{name} is empty.")
    if re.search(r"\s", value):
        raise malformed(f"{name} holds a blank or a line end, which no key does.")
    if not re.fullmatch("[!-~]+", value):
        raise malformed(f"{name} holds characters outside ASCII or invisible ones, which no key does.")
    if value[0] in _ALL_QUOTES or value[-1] in _ALL_QUOTES:
        raise malformed(f"{name} has one quotation mark without the other.")
    if _NOT_FILLED_IN.fullmatch(value):
        raise malformed(f"{name} holds the name of a variable that was not filled in.")
    if name == PUBLIC_ID and _NAME_AND_VALUE.fullmatch(value):
        raise malformed(f"{name} looks like NAME=value with a name that is none of a key's.")
    return value


def malformed(what: str) -> UsageError:
    """Why a key cannot be one."""
    return UsageError(
        what, "Copy it again from numer.ai (Settings, API keys) and run `numerai setup`.", code="keys-malformed"
    )


def _halves(name: str, value: str, public_id: str | None) -> list[tuple[str, str]]:
    """What a value that is wanted for one half holds of the two."""
    if named := [(f"NUMERAI_{found['name'].upper()}", _bare(found["value"])) for found in _NAMED.finditer(value)]:
        return named
    token = _HEADER.sub("", _bare(value), count=1)
    first, dollar, second = token.partition("$")
    in_one = bool(first and dollar and second) and not re.search(r"\s", token)
    if in_one and (name == PUBLIC_ID or public_id in (None, first)):
        return [(PUBLIC_ID, first), (SECRET_KEY, second)]
    return [(name, _bare(value))]


def _bare(value: str) -> str:
    """The value without blanks, commas and pairs of quotes around it."""
    while True:
        bare = value.strip(_AROUND).rstrip(",;").rstrip(_AROUND)
        if len(bare) > 1 and _QUOTES.get(bare[0]) == bare[-1]:
            bare = bare[1:-1]
        if bare == value:
            return value
        value = bare
