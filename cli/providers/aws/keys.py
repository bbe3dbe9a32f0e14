"""What Secrets Manager holds for the nodes: the Numerai keys and whom to notify. Put there by this tool, never by
Terraform, and compared without being shown."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from ...errors import EnvironmentNotReady
from ...models import Keys
from .clients import AwsClients, aws_errors, present

KEY_FIELDS = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY")
NOTIFY_FIELD = "NUMERAI_NOTIFY"
"""Always there, empty when nobody is to be told: a job definition that refers to a missing field starts no run."""


class KeysSecret:
    """One secret, read once. `arn` is its name or ARN."""

    def __init__(self, clients: AwsClients, arn: str):
        self._clients = clients
        self._arn = arn
        self._held = _held(clients, arn)

    @property
    def exists(self) -> bool:
        """Whether it holds anything."""
        return self._held is not None

    def has_keys(self, keys: Keys) -> bool:
        """Whether it holds these keys."""
        return _same(self._part(KEY_FIELDS), _content(keys, ""), KEY_FIELDS)

    def has_notify(self, urls: Mapping[str, str]) -> bool:
        """Whether it holds these apprise URLs, in whatever order they were added."""
        return _same(self._part((NOTIFY_FIELD,)), {NOTIFY_FIELD: notify_value(urls)}, (NOTIFY_FIELD,))

    @property
    def addresses(self) -> int:
        """How many apprise URLs it holds."""
        return len(self._notify.split())

    @property
    def notifies(self) -> bool:
        """Whether it names anybody to tell."""
        return self.addresses > 0

    @property
    def notify_hash(self) -> str:
        """A hash over whom it names."""
        return hashlib.sha256(self._notify.encode()).hexdigest()

    def put(self, keys: Keys, urls: Mapping[str, str] | None) -> bool:
        """Make it hold these, without `urls` with whom it names already; says whether it had to be changed."""
        complete = self.has_keys(keys) and bool(self._part((NOTIFY_FIELD,)))
        if complete and (urls is None or self.has_notify(urls)):
            return False
        self._write(_content(keys, self._notify if urls is None else notify_value(urls)))
        return True

    def complete(self) -> None:
        """Add the field of whom to notify, empty, to keys that an older version of this tool has put there."""
        if self._part(KEY_FIELDS) and not self._part((NOTIFY_FIELD,)):
            self._write({**self._part(KEY_FIELDS), NOTIFY_FIELD: ""})

    @property
    def _notify(self) -> str:
        return str(self._part((NOTIFY_FIELD,)).get(NOTIFY_FIELD) or "").strip()

    def _write(self, content: dict[str, Any]) -> None:
        with aws_errors():
            self._clients.client("secretsmanager").put_secret_value(
                SecretId=self._arn, SecretString=json.dumps(content)
            )
        self._held = content

    def _part(self, fields: tuple[str, ...]) -> dict[str, Any]:
        held = self._held if isinstance(self._held, dict) else {}
        return {name: value for name, value in held.items() if name in fields}


def require_keys(keys: Keys | None) -> Keys:
    """The keys; `EnvironmentNotReady` with code `no-keys` without them."""
    if keys is None:
        raise EnvironmentNotReady(
            "There are no Numerai keys to give to the node.",
            "Run `numerai setup`, or set NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY.",
            code="no-keys",
        )
    return keys


def notify_value(urls: Mapping[str, str]) -> str:
    """The URLs as a run gets them: separated by blanks, each without any."""
    return " ".join("%20".join(url.split()) for _, url in sorted(urls.items()))


def _held(clients: AwsClients, arn: str) -> Any:
    """What the secret holds; None for nothing, and for no such secret."""
    found = present(lambda: clients.client("secretsmanager").get_secret_value(SecretId=arn))
    try:
        return json.loads(found.get("SecretString", "{}")) if found else None
    except ValueError:
        return {}


def _content(keys: Keys, notify: str) -> dict[str, str]:
    return {"NUMERAI_PUBLIC_ID": keys.public_id, "NUMERAI_SECRET_KEY": keys.secret_key, NOTIFY_FIELD: notify}


def _same(held: Mapping[str, Any], wanted: Mapping[str, str], fields: tuple[str, ...]) -> bool:
    return hmac.compare_digest(_digest(held), _digest({name: wanted[name] for name in fields}))


def _digest(content: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
