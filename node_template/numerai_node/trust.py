"""Whose certificates are trusted: those that the environment names, else the system's.

Standard library only, and certifi where it is installed.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .errors import ConfigurationError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Each a file or a folder. Source: requests 2.32, sessions.py, `merge_environment_settings`."""
_OF_OPENSSL = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""A file, and folders with `os.pathsep` between them. Source: docs.openssl.org, X509_LOOKUP_hash_dir."""
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The names of the certificates that OpenSSL finds in a folder (as above)."""


def trusting() -> ssl.SSLContext:
    """A context that trusts REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else what OpenSSL does by SSL_CERT_FILE and
    SSL_CERT_DIR, else the system's certificates and those of certifi. `ConfigurationError` as `check_certificates`."""
    named = next((name for name in BUNDLES if os.environ.get(name)), None)
    check_certificates(*([named] if named else _OF_OPENSSL))
    if named:
        place = os.environ[named]
        folder = Path(place).is_dir()
        return ssl.create_default_context(cafile=None if folder else place, capath=place if folder else None)
    context = ssl.create_default_context()
    if not any(map(os.environ.get, _OF_OPENSSL)):
        with suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def check_certificates(*names: str) -> None:
    """Whether what these variables name, where they are set, holds certificates: OpenSSL says nothing where it does
    not, and then trusts nobody. `ConfigurationError` with the variable, the place and what is wrong there."""
    for name in names:
        for place in filter(None, _places(name)):
            if why := _fault(Path(place), file=name != "SSL_CERT_DIR", folder=name != "SSL_CERT_FILE"):
                raise ConfigurationError(f"{name} names {place} as the certificates to trust: {why}.")


def _places(name: str) -> Iterator[str]:
    value = os.environ.get(name, "")
    yield from value.split(os.pathsep) if name == "SSL_CERT_DIR" else [value]


def _fault(place: Path, *, file: bool, folder: bool) -> str | None:
    """Why no certificates can be had there, where a file or a folder is wanted; None where they can."""
    try:
        if not place.exists():
            return "there is nothing there"
        if place.is_dir():
            if not folder:
                return "it is a folder, where a file is wanted"
            found = any(_HASHED.fullmatch(entry.name) for entry in place.iterdir())
            return None if found else "no file in it has a name that OpenSSL looks for (`openssl rehash` makes them)"
        if not place.is_file():  # reading a pipe would wait for ever
            return "it is neither a file nor a folder"
        if not file:
            return "it is a file, where a folder is wanted"
        with place.open("rb"):  # ssl does not say why it cannot be read
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(place)
    except ssl.SSLError:
        return "it holds no certificate in PEM form"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None
