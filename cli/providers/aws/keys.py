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
"""Always there, empty when no one is to be notified: a job definition that refers to a missing field starts no run."""


class KeysSecret:
    """One secret, read once. `arn` is its name or ARN; `exists` says whether it holds anything."""

    def __init__(self, clients: AwsClients, arn: str):
        self._client = clients.client("secretsmanager")
        self._arn = arn
        found = present(lambda: self._client.get_secret_value(SecretId=arn))
        self.exists = found is not None
        try:
            fields = json.loads(found.get("SecretString", "{}")) if found else {}
        except ValueError:
            fields = {}
        self._fields: dict[str, Any] = fields if isinstance(fields, dict) else {}

    def has_keys(self, keys: Keys) -> bool:
        """Whether it holds these keys."""
        return self._holds(_key_fields(keys))

    def has_notify(self, urls: Mapping[str, str]) -> bool:
        """Whether it holds these apprise URLs, in whatever order they were added."""
        return self._holds({NOTIFY_FIELD: notify_value(urls)})

    @property
    def addresses(self) -> int:
        """How many apprise URLs it holds."""
        return len(self._notify.split())

    @property
    def notifies(self) -> bool:
        """Whether it names anyone to notify."""
        return self.addresses > 0

    @property
    def notify_hash(self) -> str:
        """A hash over whom it names."""
        return hashlib.sha256(self._notify.encode()).hexdigest()

    def put(self, keys: Keys, urls: Mapping[str, str] | None) -> bool:
        """Make it hold these, without `urls` with whom it names already; says whether it had to be changed."""
        complete = self.has_keys(keys) and NOTIFY_FIELD in self._fields
        if complete and (urls is None or self.has_notify(urls)):
            return False
        self._write({**_key_fields(keys), NOTIFY_FIELD: self._notify if urls is None else notify_value(urls)})
        return True

    def complete(self) -> None:
        """Add the field of whom to notify, empty, to keys that an older version of this tool has put there."""
        keys = {name: value for name, value in self._fields.items() if name in KEY_FIELDS}
        if keys and NOTIFY_FIELD not in self._fields:
            self._write({**keys, NOTIFY_FIELD: ""})

    @property
    def _notify(self) -> str:
        return str(self._fields.get(NOTIFY_FIELD) or "").strip()

    def _write(self, fields: dict[str, Any]) -> None:
        with aws_errors():
            self._client.put_secret_value(SecretId=self._arn, SecretString=json.dumps(fields))
        self._fields = fields

    def _holds(self, wanted: Mapping[str, str]) -> bool:
        return hmac.compare_digest(_digest({name: self._fields.get(name) for name in wanted}), _digest(wanted))


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


def _key_fields(keys: Keys) -> dict[str, str]:
    return dict(zip(KEY_FIELDS, (keys.public_id, keys.secret_key), strict=True))


def _digest(fields: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()
