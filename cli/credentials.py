"""Credentials among the files that an image is built from: whoever can pull the image could read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from .redaction import SHORTEST_SECRET
from .source import Source, source_files

BLOCK = 1 << 20
OVERLAP = 4096
"""Bytes of the block before that are looked at again, so that nothing hides at its end."""

_NAMES = (
    ((".env", ".env.*", ".envrc"), "environment files hold keys"),
    ((".keys", ".keys.*"), "the tool's own keys"),
    ((".netrc", "_netrc", ".git-credentials", ".pypirc", "kaggle.json"), "passwords or tokens"),
    ((".aws/credentials", ".docker/config.json", "application_default_credentials.json"), "credentials of a cloud"),
    (("*.p12", "*.pfx", "*.jks", "*.keystore"), "a store of private keys"),
    (("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"), "a private key for SSH"),
)
_TEMPLATES = ("*.example", "*.sample", "*.template", "*.dist", "*.tmpl")
_CONTENTS = (
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"), "a private key"),
    (re.compile(rb"(?i)aws_secret_access_key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+=]{40}\b"), "a secret key of AWS"),
    (re.compile(rb"(?i)_authToken\s*=\s*[\w-]{16}"), "a token of a package registry"),
    (re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{40}"), "a token of GitHub"),
)
_ADDRESS = re.compile(rb"url\s*=\s*https?://[^\s/@:]+:[^\s/@]+@")


@dataclass(frozen=True)
class Credential:
    """A file that should not enter an image, relative and with `/`, and what is in it. Never the secret itself."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} ({self.what})"


def credentials_in(source: Source, recorded: Iterable[str | None] = ()) -> list[Credential]:
    """The files of the build context that look like credentials, at any depth. One entry a file.

    By their name, by a private key or a token inside, or because one of the `recorded` secrets stands in them (as UTF-8
    or UTF-16).
    """
    secrets = {
        secret.strip().encode(encoding)
        for secret in recorded
        if secret and len(secret.strip()) >= SHORTEST_SECRET
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    }
    found = []
    for name in source_files(source):
        file = source.context / name
        if not file.is_symlink() and (what := _by_name(name) or _by_content(file, name, secrets)):
            found.append(Credential(name, what))
    return found


def _by_name(name: str) -> str | None:
    path = PurePosixPath(name.lower())
    if any(fnmatchcase(path.name, template) for template in _TEMPLATES):
        return None
    for patterns, what in _NAMES:
        if any(path.match(pattern) for pattern in patterns):
            return what
    return None


def _by_content(file: Path, name: str, secrets: set[bytes]) -> str | None:
    try:
        for block in _blocks(file):
            if any(secret in block for secret in secrets):
                return "one of your recorded secrets"
            for pattern, what in _CONTENTS:
                if pattern.search(block):
                    return what
            if PurePosixPath(name).match(".git/config") and _ADDRESS.search(block):
                return "a password in the address of a repository"
    except OSError:  # what cannot be read is the build's to say
        return None
    return None


def _blocks(file: Path) -> Iterator[bytes]:
    tail = b""
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            yield tail + block
            tail = block[-OVERLAP:]
