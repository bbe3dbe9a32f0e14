"""Adds a profile to the credentials that the AWS programs share."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from ..files.places import users_home
from ..files.private import write_private

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def credentials_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the AWS CLI and SDKs keep keys by profile: AWS_SHARED_CREDENTIALS_FILE, by default `~/.aws/credentials`
    (docs.aws.amazon.com/sdkref/latest/guide/file-location.html)."""
    given = environ.get("AWS_SHARED_CREDENTIALS_FILE")
    return Path(given).expanduser() if given else users_home() / ".aws" / "credentials"


def add_profile(name: str, key_id: str, secret_key: str) -> Path:
    """Add a profile with these keys and return the file that has it. What stands in the file stays as it is.

    `UsageError` with code `profile-taken` where a profile of that name has other keys; the same keys are fine.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("The name of a profile holds letters, digits, dots, _ and -.", code="bad-profile")
    if any(not value or set(value) & set("\r\n") for value in (key_id, secret_key)):
        raise UsageError("The AWS keys in the old file are not whole.", "Run `aws configure` instead.", code="bad-keys")
    path = credentials_file()
    try:
        content = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", code="profiles-unreadable") from error
    held = _held(path, content, name)
    if held == (key_id, secret_key):
        return path
    if held is not None:
        raise UsageError(
            f"{path} has a profile {name} with other keys.", "Choose another name with --aws-profile.",
            code="profile-taken",
        )  # fmt: skip
    gap = "" if not content else "\n" if content.endswith("\n") else "\n\n"
    section = f"[{name}]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret_key}\n"
    write_private(path, (content + gap + section).encode(), keep_previous=False)
    return path


def _held(path: Path, content: str, name: str) -> tuple[str | None, str | None] | None:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(content)
    except configparser.Error as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__}.", code="profiles-unreadable") from error
    if not parser.has_section(name):
        return None
    return parser.get(name, "aws_access_key_id", fallback=None), parser.get(
        name, "aws_secret_access_key", fallback=None
    )
