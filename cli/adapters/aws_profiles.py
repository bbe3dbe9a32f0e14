"""Adds a profile to the credentials that the AWS programs share."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import UsageError
from ..files.places import users_home
from ..files.private import write_private

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HARMLESS = {"region", "output"}
"""What a profile of the same name in AWS's other file may say: whatever else stands there can decide who one is
(docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html)."""


def credentials_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the AWS CLI and SDKs keep keys by profile: AWS_SHARED_CREDENTIALS_FILE, by default `~/.aws/credentials`
    (docs.aws.amazon.com/sdkref/latest/guide/file-location.html)."""
    return _shared("AWS_SHARED_CREDENTIALS_FILE", "credentials", environ)


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where they keep everything else of a profile: AWS_CONFIG_FILE, by default `~/.aws/config` (the same page)."""
    return _shared("AWS_CONFIG_FILE", "config", environ)


def plan_profile(name: str, key_id: str, secret_key: str) -> Callable[[], Path]:
    """What adds a profile with these keys and returns the file that has it. What stands in the file stays as it is,
    byte for byte. Everything is checked now, and nothing is changed before that is called.

    `UsageError` with code `profile-taken` where a profile of that name has other keys, or another way to them; the same
    keys are fine.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            "The name of a profile holds letters, digits, dots, _ and -.", "For example: --aws-profile numerai",
            code="bad-profile",
        )  # fmt: skip
    if any(not value or not value.isprintable() for value in (key_id, secret_key)):
        raise UsageError("The AWS keys in the old file are not whole.", "Run `aws configure` instead.", code="bad-keys")
    path, config = credentials_file(), config_file()
    content = _content(path)
    held = _sections(path, content).get(name)
    if held is not None and (held.get("aws_access_key_id"), held.get("aws_secret_access_key")) == (key_id, secret_key):
        return lambda: path
    if held is not None:
        raise _taken(path, name, "with other keys")
    elsewhere = _profile(_sections(config, _content(config)), name).keys() - _HARMLESS
    if elsewhere:
        raise _taken(config, name, f"with {', '.join(sorted(elsewhere))}")
    end = "\r\n" if b"\r\n" in content else "\n"
    gap = "" if not content else end if content.endswith(b"\n") else end * 2
    lines = (f"[{name}]", f"aws_access_key_id = {key_id}", f"aws_secret_access_key = {secret_key}", "")

    def add() -> Path:
        write_private(path, content + (gap + end.join(lines)).encode(), keep_previous=False)
        return path

    return add


def _shared(variable: str, name: str, environ: Mapping[str, str]) -> Path:
    given = environ.get(variable)
    return Path(given).expanduser() if given else users_home() / ".aws" / name


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _sections(path: Path, content: bytes) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(content.decode())
    except UnicodeError as error:
        raise _unreadable(path, "it is no UTF-8") from error
    except configparser.Error as error:
        raise _unreadable(path, type(error).__name__) from error
    return {name: dict(parser[name]) for name in parser.sections()}


def _profile(sections: Mapping[str, dict[str, str]], name: str) -> dict[str, str]:
    """What the file beside the credentials says of a profile. Its section is called `profile NAME`, with or without
    quotes, and only that of `default` also by the name alone (botocore 1.44, `configloader.build_profile_map`)."""
    of_it = re.compile(rf"""profile\s+(["']?){re.escape(name)}\1\s*""")
    found = [values for title, values in sections.items() if of_it.fullmatch(title) or title == name == "default"]
    return {key: value for values in found for key, value in values.items()}


def _taken(path: Path, name: str, how: str) -> UsageError:
    return UsageError(
        f"{path} has a profile {name} {how}.", "Choose another name with --aws-profile.", code="profile-taken"
    )


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} cannot be read: {why}.", "Mend it, or move it away.", code="profiles-unreadable")
