"""A secret that a tool may give away in many ways, and the search for it in bytes, whatever form it took there."""

from __future__ import annotations

import gzip
import html
import io
import json
import re
import tarfile
import zipfile
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

SECRET = "Kq7Zx9vWmR4t\"Yb2\\dL/p+8sH&n%FcG<0a>'Uj3#Te5EiwQo"
"""Has every character that JSON, URLs, HTML or a shell write otherwise, and may stand in an HTTP header."""
ADDRESS_SECRET = "Nt5yPfA1xCk8eVu6hBz"
"""A password in the address of somebody to notify."""
WINDOW = 11
"""A piece of a secret that is this long is a leak, too."""
BLOCK = (WINDOW + 1) // 2
"""Every piece holds one whole block of this length, so where no block is, no piece need be sought."""


def forms(secret: str) -> dict[str, bytes]:
    """The forms of a secret by what they are called. Base64 depends on what stands before: all three ways."""
    raw = secret.encode()
    found = {
        "as it is": secret,
        "in JSON": json.dumps(secret)[1:-1],
        "in JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "as Python shows it": repr(secret)[1:-1],
        "with escapes only": "".join(f"\\u{ord(character):04x}" for character in secret),
        "in a URL": quote(secret, safe=""),
        "in a form": quote_plus(secret),
        "in a URL, small letters": _small_percent(quote(secret, safe="")),
        "in a URL in a URL": quote(quote(secret, safe=""), safe=""),
        "in HTML": html.escape(secret),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
    }
    encoded = {name: form.encode() for name, form in found.items()}
    for name, encode in (("base64", b64encode), ("base64 for URLs", urlsafe_b64encode)):
        for before in range(3):
            piece = encode(bytes(before) + raw)
            encoded[f"{name}, after {before}"] = piece[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
    for start in range(len(secret) - WINDOW + 1):
        encoded[f"piece {start}"] = secret[start : start + WINDOW].encode()
    return encoded


def found_in(content: bytes, secrets: Iterable[str] = (SECRET, ADDRESS_SECRET)) -> list[str]:
    """Which forms of the secrets stand in bytes, also in what is packed inside (zip, gzip, tar)."""
    parts = list(_unpacked(content))
    found = set()
    for secret in secrets:
        sought = forms(secret)
        pieces = {name for name in sought if name.startswith("piece")}
        blocks = [secret[start : start + BLOCK].encode() for start in range(0, len(secret) - BLOCK + 1, BLOCK)]
        for part in parts:
            names = sought if any(block in part for block in blocks) else sought.keys() - pieces
            found |= {name for name in names if sought[name] in part}
    return sorted(found)


def leaks(folder: Path, allowed: Iterable[str] = ()) -> dict[str, list[str]]:
    """The files below a folder that hold a secret and are not called as one of the allowed, with the forms in which;
    also names of files."""
    names, wrong = set(allowed), {}
    for path in sorted(folder.rglob("*")):
        forms_there = found_in(str(path.relative_to(folder)).encode())
        if path.is_file() and not path.is_symlink() and path.name not in names:
            forms_there += found_in(path.read_bytes())
        if forms_there:
            wrong[str(path.relative_to(folder))] = forms_there
    return wrong


def _unpacked(content: bytes) -> Iterator[bytes]:
    yield content
    if content[:2] == b"\x1f\x8b":
        yield from _unpacked(gzip.decompress(content))
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _unpacked(archive.read(name))
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield from _unpacked(file.read())


def _small_percent(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), text)
