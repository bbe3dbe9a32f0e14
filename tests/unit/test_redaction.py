from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from numerai_compute import redaction
from numerai_compute.redaction import Redactor

SECRET = 'Canary+Zx/81"q='


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        f"Token PUB${SECRET}\n",
        repr(f"Token PUB${SECRET}\r\n"),
        json.dumps({"key": SECRET}),
        json.dumps(json.dumps({"key": SECRET})),
        quote(SECRET, safe=""),
        quote(f"a b {SECRET}"),
        quote(quote(SECRET, safe=""), safe="").lower().replace("canary", "Canary").replace("zx", "Zx"),
        html.escape(SECRET),
        json.dumps(SECRET.replace("+", "\u00e9")).replace("\\u00e9", "\\u002B"),
        "".join(f"\\u{ord(character):04X}" for character in SECRET),
        "".join(f"\\x{ord(character):02x}" for character in SECRET),
        "".join(f"%{ord(character):02X}" for character in SECRET),
        f"{SECRET[:4]}\x1b[0m\x1b[1;31m{SECRET[4:]}",
        "\n".join((SECRET[:8], SECRET[8:])),
        SECRET.encode().hex(),
        b64encode(SECRET.encode()).decode(),
        b64encode(f"u:{SECRET}".encode()).decode(),
        b64encode(f"pub:{SECRET}\n".encode()).decode(),
        urlsafe_b64encode(f"a:{SECRET}".encode()).decode(),
    ],
)
def test_every_form_of_a_secret_is_hidden(written: str) -> None:
    shown = Redactor([SECRET])(f"before {written} behind")
    assert "***" in shown and shown.startswith("before") and shown.endswith("behind")
    assert "anary" not in shown
    for part in shown.replace('"', " ").split():
        assert b"anary" not in _decoded(part)


@pytest.mark.parametrize("between", ["\x1b[0m", "\x1b[1;31m\x1b[K", "\n", "\r\n", "\\x1b[0m", "\\u001b[31m", "\\n"])
@pytest.mark.parametrize("place", [1, 8, len(SECRET) - 1])
def test_a_secret_that_colours_or_line_ends_split_is_hidden(between: str, place: int) -> None:
    shown = Redactor([SECRET])(f"before {SECRET[:place]}{between}{SECRET[place:]} behind")
    assert shown == "before *** behind"


def test_each_line_of_a_secret_is_hidden_without_its_blanks() -> None:
    shown = Redactor(["  first-line\r\nsecond-line\n"])("it is first-line, then second-line")
    assert shown == "it is ***, then ***"


def test_what_is_hidden_later_is_masked_by_a_redactor_that_exists() -> None:
    redact = Redactor()
    assert redact("the canary-key") == "the canary-key"
    redaction.hide("canary-key", None, "")
    assert redact("the canary-key") == "the ***"


def test_short_values_stay() -> None:
    assert Redactor(["abc", "", None])("abc stays") == "abc stays"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert Redactor(["secret-1", "secret-1-and-more"])("secret-1-and-more") == "***"


def _decoded(text: str) -> bytes:
    import base64

    for attempt in (text, text.replace("***", "")):
        for padding in ("", "=", "=="):
            try:
                return base64.b64decode(attempt + padding, altchars=b"-_", validate=True)
            except ValueError:
                continue
    return b""
