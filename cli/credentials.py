"""Credentials among the files that an image is built from: whoever can pull the image could read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from .archives import unpacked
from .foreign import one_line
from .redaction import byte_forms
from .source import Source, source_files

BLOCK = 1 << 20
OVERLAP = 4096
"""Bytes of the block before that are looked at again, so that nothing hides at its end."""
SHORTEST_SOUGHT = 8
"""Characters: anything shorter, a key of a rehearsal say, also stands in files as a word or a part of one. A secret key
of AWS has 40, a webhook's token 43; how long Numerai's are is documented nowhere."""

_NAMES = (
    ((".env", ".env.*", "*.env", ".envrc"), "environment files hold keys"),
    ((".keys", ".keys.*"), "the tool's own keys"),
    ((".netrc", "_netrc", ".git-credentials", ".pypirc", "kaggle.json", ".pgpass"), "passwords or tokens"),
    (("secrets.json", "secrets.y*ml", "secrets.toml", "secrets.ini", "secrets.txt"), "secrets, by its name"),
    ((".aws/credentials", ".docker/config.json", "application_default_credentials.json"), "credentials of a cloud"),
    ((".kube/config", ".dockercfg"), "credentials of a cluster or registry"),
    (("*.tfvars", "*.tfvars.json"), "variables of Terraform hold keys"),
    (("*.p12", "*.pfx", "*.jks", "*.keystore"), "a store of private keys"),
    (("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk", "*.ppk"), "a private key for SSH"),
)
_TEMPLATES = ("*.example", "*.sample", "*.template", "*.dist", "*.tmpl")
_CONTENTS = (
    # a word that the block must hold in lower case, as looking for it is many times faster than an expression
    (b"private key", re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"), "a private key"),
    (b"putty-user-key-file-", re.compile(rb"PuTTY-User-Key-File-\d"), "a private key for SSH"),
    (
        b"numerai_secret_key",
        re.compile(rb"NUMERAI_SECRET_KEY[\\\"']*\]?\s*[=:]\s*[\\\"']*[A-Za-z0-9]{20}"),
        "a secret key of Numerai",
    ),
    (
        b"aws_secret_access_key",
        re.compile(rb"(?i)aws_secret_access_key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+=]{40}\b"),
        "a secret key of AWS",
    ),
    (
        b"aws_session_token",
        re.compile(rb"(?i)aws_session_token[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+=]{100}"),
        "a session of AWS",
    ),
    (b"_authtoken", re.compile(rb"(?i)_authToken\s*=\s*[\w-]{16}"), "a token of a package registry"),
    (b"gh", re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{40}"), "a token of GitHub"),
    (b"xox", re.compile(rb"\bxox[abeoprs]-\d[A-Za-z0-9-]{20}"), "a token of Slack"),
)
_ADDRESS = re.compile(rb"https?://[^\s/@:\"'<>${}]+:[^\s/@\"'<>${}]+@")
_WITH_ADDRESSES = (".git/config", "pip.conf", "pip.ini", "requirements*.txt", ".condarc", "Dockerfile")
"""Files in which a password in an address is one, and no example of how to write one."""


@dataclass(frozen=True)
class Credential:
    """A file that should not enter an image, relative and with `/`, and what is in it. Never the secret itself."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{one_line(self.file)} ({self.what})"


def credentials_in(source: Source, recorded: Iterable[str | None] = ()) -> list[Credential]:
    """The files of the build context that look like credentials, at any depth. One entry a file.

    By their name, by a private key or a token inside, or because one of the `recorded` secrets stands in them, in the
    forms in which programs write one, unless it is shorter than `SHORTEST_SOUGHT`. What is packed (zip, gzip, git) is
    looked at unpacked.
    """
    sought = [stripped for secret in recorded if secret and len(stripped := secret.strip()) >= SHORTEST_SOUGHT]
    secrets = frozenset(form for secret in sought for form in byte_forms(secret))
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


def _by_content(file: Path, name: str, secrets: frozenset[bytes]) -> str | None:
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
            stream.seek(0)
            what = _in_stream(stream, name, secrets)
            for content_name, content in () if what else unpacked(file, start):
                what = what or _by_name(content_name) or _in_stream(content, content_name, secrets)
            return what
    except OSError:  # what cannot be read is the build's to say
        return None


def _in_stream(stream: IO[bytes], name: str, secrets: frozenset[bytes]) -> str | None:
    addresses = any(PurePosixPath(name).match(pattern) for pattern in _WITH_ADDRESSES)
    for block in _blocks(stream):
        if any(secret in block for secret in secrets):
            return "one of your recorded secrets"
        lower = block.lower()
        for word, pattern, what in _CONTENTS:
            if word in lower and pattern.search(block):
                return what
        if addresses and _ADDRESS.search(block):
            return "a password in an address"
    return None


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    tail = b""
    while block := stream.read(BLOCK):
        yield tail + block
        tail = block[-OVERLAP:]
