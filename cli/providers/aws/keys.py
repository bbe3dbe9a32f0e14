"""What SSM's Parameter Store holds for the nodes: the Numerai keys and whom to notify. Put there by this tool, never by
Terraform, whose state would get the values, and compared without being shown."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from ...errors import EnvironmentNotReady, UsageError
from ...models import Keys
from .clients import AwsClients, aws_errors, present
from .cluster_outputs import ClusterOutputs
from .node_keys import FIELDS, KEY_FIELDS, NOBODY, NOTIFY_FIELD, keys_path, notify_addresses, read_fields

LARGEST = 4096
"""Characters of a parameter that costs nothing, a standard one
(docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html)."""


class NodeKeys:
    """The parameters of a cluster, read once. `exists` says whether there are any.

    Versions before this one kept them in a secret of Secrets Manager, which the next apply removes. What only that one
    holds counts as held until then.
    """

    def __init__(self, clients: AwsClients, cluster: str, outputs: Mapping[str, Any]):
        self._client = clients.client("ssm")
        self._path = keys_path(cluster)
        with aws_errors():
            self._stored = read_fields(self._client, self._path)
        whole = set(FIELDS) <= set(self._stored)
        older = None if whole else ClusterOutputs(outputs).optional("keys_secret_arn")
        self._fields = {**(_of_secret(clients, older) if older else {}), **self._stored}
        self.exists = bool(self._fields)

    def has_keys(self, keys: Keys) -> bool:
        """Whether these keys are held."""
        wanted = _key_fields(keys)
        held = {name: self._fields.get(name) for name in wanted}
        return hmac.compare_digest(_digest(held), _digest(wanted))

    def has_notify(self, urls: Mapping[str, str]) -> bool:
        """Whether these apprise URLs are held, in whatever order they were added."""
        return hmac.compare_digest(_digest(self._notify), _digest(notify_value(urls)))

    @property
    def addresses(self) -> int:
        """How many apprise URLs are held."""
        return len(notify_addresses(self._fields))

    @property
    def notifies(self) -> bool:
        """Whether anyone is to be notified."""
        return self.addresses > 0

    @property
    def notify_hash(self) -> str:
        """A hash over whom to notify."""
        return hashlib.sha256(self._notify.encode()).hexdigest()

    def put(self, keys: Keys, urls: Mapping[str, str] | None) -> bool:
        """Hold these, without `urls` whom there is to notify already; says whether anything had to be changed."""
        return self._write({**_key_fields(keys), NOTIFY_FIELD: self._notify if urls is None else notify_value(urls)})

    def complete(self) -> None:
        """Hold all that there is to hold where keys are held: what an older version has put elsewhere, and no one to
        notify where that was never said."""
        if set(KEY_FIELDS) <= set(self._fields):
            self._write({**self._fields, NOTIFY_FIELD: self._notify})

    def remove(self) -> None:
        """Remove every parameter."""
        with aws_errors():
            self._client.delete_parameters(Names=[f"{self._path}{name}" for name in FIELDS])

    @property
    def _notify(self) -> str:
        return " ".join(notify_addresses(self._fields))

    def _write(self, fields: Mapping[str, str]) -> bool:
        wanted = {name: fields[name] or NOBODY for name in FIELDS}
        changed = {name: value for name, value in wanted.items() if self._stored.get(name) != value}
        if too_long := [name for name, value in changed.items() if len(value) > LARGEST]:
            raise UsageError(
                f"{too_long[0]} has more than {LARGEST} characters, which AWS does not keep for nothing.",
                "Shorten the list of `numerai notify`.",
                code="too-many-addresses",
            )
        for name, value in changed.items():
            with aws_errors():
                self._client.put_parameter(
                    Name=f"{self._path}{name}", Value=value, Type="SecureString", Tier="Standard", Overwrite=True
                )
        self._fields = self._stored = wanted
        return bool(changed)


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


def _of_secret(clients: AwsClients, arn: str) -> dict[str, str]:
    # one that is being deleted is no valid request (API_GetSecretValue.html, InvalidRequestException)
    client = clients.client("secretsmanager")
    found = present(lambda: client.get_secret_value(SecretId=arn), "InvalidRequestException")
    try:
        fields = json.loads(found.get("SecretString", "{}")) if found else {}
    except ValueError:
        fields = {}
    given = fields if isinstance(fields, dict) else {}
    return {name: given[name] for name in FIELDS if isinstance(given.get(name), str)}


def _key_fields(keys: Keys) -> dict[str, str]:
    return dict(zip(KEY_FIELDS, (keys.public_id, keys.secret_key), strict=True))


def _digest(value: object) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
