"""The Numerai keys in Secrets Manager: put there by this tool, never by Terraform, and compared without being shown."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from ...errors import EnvironmentNotReady, ProviderError
from ...models import Keys
from .clients import AwsClients, aws_errors, is_absent


def put_keys(clients: AwsClients, secret: str, keys: Keys | None) -> bool:
    """Make the secret hold these keys; says whether it had to be changed. `EnvironmentNotReady` without keys."""
    if keys is None:
        raise EnvironmentNotReady(
            "There are no Numerai keys to give to the node.",
            "Run `numerai setup`, or set NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY.",
            code="no-keys",
        )
    if same_keys(clients, secret, keys):
        return False
    with aws_errors():
        clients.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(_content(keys)))
    return True


def same_keys(clients: AwsClients, secret: str, keys: Keys) -> bool | None:
    """Whether the secret holds these keys; None when it holds nothing yet."""
    try:
        with aws_errors(absent=("ResourceNotFoundException",)):
            text = clients.client("secretsmanager").get_secret_value(SecretId=secret).get("SecretString", "{}")
    except ProviderError as error:
        if is_absent(error):
            return None
        raise
    try:
        held = json.loads(text)
    except ValueError:
        return False
    return hmac.compare_digest(_digest(held), _digest(_content(keys)))


def _content(keys: Keys) -> dict[str, str]:
    return {"NUMERAI_PUBLIC_ID": keys.public_id, "NUMERAI_SECRET_KEY": keys.secret_key}


def _digest(content: Any) -> bytes:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
