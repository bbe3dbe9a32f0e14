"""Keys as people paste them."""

from __future__ import annotations

import pytest
from numerai_compute.errors import UsageError
from numerai_compute.models import Keys
from numerai_compute.pasted import pasted_keys

PUBLIC, SECRET = "PUBLICIDPUBLICID", "SECRETCANARY0123"


@pytest.mark.parametrize(
    ("public_id", "secret"),
    [
        (f'"{PUBLIC}"', f"'{SECRET}'"),
        (f"\u201c{PUBLIC}\u201d", f"\u2018{SECRET}\u2019"),
        (f"`{PUBLIC}`,", f'"{SECRET}",'),
        (f"{PUBLIC};", f"{SECRET},"),
        (f"\xa0{PUBLIC}\xa0", f"\ufeff{SECRET}\u200b\r\n"),
        (f"NUMERAI_PUBLIC_ID={PUBLIC}", f"NUMERAI_SECRET_KEY={SECRET}"),
        (f'export NUMERAI_PUBLIC_ID="{PUBLIC}"', f"export NUMERAI_SECRET_KEY='{SECRET}'"),
        (f"set NUMERAI_PUBLIC_ID={PUBLIC}", f'$env:NUMERAI_SECRET_KEY = "{SECRET}"'),
        (f"$ export NUMERAI_PUBLIC_ID={PUBLIC}", f"-e NUMERAI_SECRET_KEY={SECRET}"),
        (f'"NUMERAI_PUBLIC_ID": "{PUBLIC}",', f'"NUMERAI_SECRET_KEY": "{SECRET}"'),
        (f"NUMERAI_SECRET_KEY={SECRET}", f"NUMERAI_PUBLIC_ID={PUBLIC}"),
        (f"{PUBLIC}${SECRET}", None),
        (f"Token {PUBLIC}${SECRET}", ""),
        (f"Authorization: Token {PUBLIC}${SECRET}", f"{PUBLIC}${SECRET}"),
        (PUBLIC, f"{PUBLIC}${SECRET}"),
        (None, f"{PUBLIC}${SECRET}"),
        (f"NUMERAI_PUBLIC_ID={PUBLIC} NUMERAI_SECRET_KEY={SECRET}", None),
        (f"export NUMERAI_PUBLIC_ID={PUBLIC}; export NUMERAI_SECRET_KEY={SECRET}", None),
        (f'{{"NUMERAI_PUBLIC_ID": "{PUBLIC}", "NUMERAI_SECRET_KEY": "{SECRET}"}}', None),
        (PUBLIC, f"NUMERAI_PUBLIC_ID={PUBLIC}\nNUMERAI_SECRET_KEY={SECRET}\n"),
        (f"public_id: {PUBLIC}", f"secret_key={SECRET}"),
    ],
)
def test_what_can_mean_one_thing_only_is_taken(public_id: str | None, secret: str | None) -> None:
    assert pasted_keys(public_id, secret) == (PUBLIC, SECRET)
    keys = Keys(public_id or "", secret or "")
    assert (keys.public_id, keys.secret_key) == (PUBLIC, SECRET)


def test_a_secret_of_any_printable_characters_stays_as_it_is() -> None:
    odd = "Kq7\"Yb2\\dL/p+8s&n%F<0a>'U$j=3#,T"
    assert pasted_keys(PUBLIC, odd) == (PUBLIC, odd)
    assert pasted_keys(PUBLIC, None) == (PUBLIC, None)


@pytest.mark.parametrize(
    ("public_id", "secret", "says"),
    [
        (f"{PUBLIC}${SECRET}", "ANOTHERCANARY0", "two different values for NUMERAI_SECRET_KEY"),
        (f"{PUBLIC} {SECRET}", SECRET, "a blank"),
        (f"NUMERAI_PUBLIC_ID={PUBLIC}", f"NUMERAI_PUBLIC_ID={SECRET}", "two different values for NUMERAI_PUBLIC_ID"),
        (f'"{PUBLIC}', SECRET, "one quotation mark"),
        (PUBLIC, f"{SECRET}'", "one quotation mark"),
        (PUBLIC, f"{SECRET}\u00e9CANARY", "outside ASCII"),
        (PUBLIC, f"{SECRET}\r\nCANARY", "a blank or a line end"),
        (PUBLIC, "$NUMERAI_SECRET_KEY", "a variable that was not filled in"),
        ("${PUBLIC_ID}", SECRET, "a variable that was not filled in"),
        (PUBLIC, PUBLIC, "the same"),
        (PUBLIC, "", "empty"),
        ("", SECRET, "empty"),
        ('""', SECRET, "empty"),
        (f"export FOO={PUBLIC}", SECRET, "a blank"),
        (f"FOO={PUBLIC}", SECRET, "looks like NAME=value"),
    ],
)
def test_what_can_mean_several_things_is_refused_with_what_is_wrong(public_id: str, secret: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Keys(public_id, secret)
    assert caught.value.code == "keys-malformed"
    for part in ("CANARY", "PUBLICID", "ANOTHER"):
        assert part not in f"{caught.value.message} {caught.value.hint}"
