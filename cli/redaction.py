"""Keeps secrets out of anything that is shown or written: logs, error messages, reports."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 6


class Redactor:
    """Replaces secrets by `***`, also where they stand percent-encoded in an address.

    Values shorter than six characters are left alone: replacing them would mangle ordinary words and protect nothing.
    """

    def __init__(self, secrets: Iterable[str | None] = ()):
        forms: set[str] = set()
        for secret in secrets:
            if secret and len(secret) >= SHORTEST_SECRET:
                forms |= {secret, quote(secret, safe="")}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text
