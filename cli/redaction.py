"""Keeps secrets out of anything that is shown or written: logs, error messages, reports."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 6
LONGEST_FORM = 8 * 1024
"""Characters: longer than any form in which a secret is written."""
_SPLIT = r"(?:(?:\x1b|\\{1,2}(?:x1b|u001b|033|e))\[[0-9;:]*[A-Za-z]|\r?\n|\\[rn])*"
"""What may stand between two characters of a secret: the colours of a terminal and line ends, escaped or not."""
_known: set[str] = set()


def hide(*secrets: str | None) -> None:
    """Let every `Redactor` of this process, also those that exist, mask these secrets from now on."""
    _known.update(secret for secret in secrets if secret)


class Redactor:
    """Replaces secrets by `***`, in the forms in which programs write them: as they are, percent-encoded, escaped as in
    JSON, Python or HTML, also each character, in hexadecimal, and in base64, alone or inside of something longer.

    Beside those that it is given it knows those of `hide`. Values shorter than six characters are left alone: replacing
    them would mangle ordinary words and protect nothing.
    """

    def __init__(self, secrets: Iterable[str | None] = ()):
        self._own = {secret for secret in secrets if secret}
        self._built: set[str] | None = None
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        wanted = self._wanted()
        if wanted != self._built:
            self._built = wanted
            words = sorted({word for secret in wanted for word in _words(secret)}, key=len, reverse=True)
            forms = [form for word in words for form in _forms(word)]
            self._pattern = re.compile("|".join(forms)) if forms else None
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def begun(self, text: str) -> int:
        """How many of the last characters may be the beginning of a secret that goes on, as it is."""
        words = {word for secret in self._wanted() for word in _words(secret)}
        lengths = (length for word in words for length in range(1, len(word)) if text.endswith(word[:length]))
        return max(lengths, default=0)

    def is_cut(self, before: str, after: str) -> bool:
        """Whether a secret begins at the end of one text and goes on at the beginning of the other."""
        before, after = before[-LONGEST_FORM:], after[:LONGEST_FORM]
        return self(before) + self(after) != self(before + after)

    def _wanted(self) -> set[str]:
        return self._own | _known


def _words(secret: str) -> Iterator[str]:
    """What of a secret is hidden: all of it, and of one of several lines each, without the blanks around it."""
    for word in {secret, *(line.strip() for line in secret.splitlines())}:
        if len(word) >= SHORTEST_SECRET:
            yield word


def _forms(word: str) -> Iterator[str]:
    """How a secret may stand in a text, as regular expressions."""
    content = word.encode(errors="surrogatepass")
    yield _SPLIT.join(map(_character, word))
    yield "".join(rf"(?i:\\{{1,8}}(?:u{ord(character):04x}|x{ord(character):02x}))" for character in word)
    yield "".join(f"(?i:%(?:25)*{byte:02x})" for byte in content)
    yield f"(?i:{content.hex()})"
    for encode in (b64encode, urlsafe_b64encode):
        yield from map(re.escape, _in_base64(content, encode))


def byte_forms(secret: str) -> Iterator[bytes]:
    """How a secret may stand in a file: in each encoding, percent-encoded, escaped as in JSON, in hexadecimal and in
    base64. Literals, as looking for them in large files is fast; those of a short secret are none."""
    import json  # not at the start of every command

    if len(secret) < SHORTEST_SECRET:
        return
    content = secret.encode(errors="surrogatepass")
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        yield secret.encode(encoding, errors="surrogatepass")
    yield json.dumps(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    for escape in ("\\u{:04x}", "\\u{:04X}", "\\x{:02x}", "\\x{:02X}", "%{:02x}", "%{:02X}"):
        yield "".join(escape.format(ord(character)) for character in secret).encode()
    yield content.hex().encode()
    yield content.hex().upper().encode()
    for encode in (b64encode, urlsafe_b64encode):
        yield from (form.encode() for form in _in_base64(content, encode))


def _in_base64(content: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    for before in range(3):  # bytes that stand before the secret, modulo 3: the next ones depend on the secret only
        encoded = encode(bytes(before) + content).decode()
        yield encoded[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]


def _character(character: str) -> str:
    """One character as it is or escaped, however often: \\", \\\\", %2F, %252f, \\u002f, \\x2f, &#47;."""
    if character.isascii() and character.isalnum():
        return character
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode(errors="surrogatepass"))
    code = ord(character)
    named = {'"': "quot", "&": "amp", "<": "lt", ">": "gt", "'": "apos"}.get(character, "#")
    return (
        rf"(?:\\{{0,8}}{re.escape(character)}|(?i:{percent})|(?i:\\{{1,8}}(?:u{code:04x}|x{code:02x}))"
        rf"|(?i:&(?:#0*{code}|#x0*{code:x}|{named});))"
    )
