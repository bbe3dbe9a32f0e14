"""Where AWS keeps what the runs of a cluster are given in secret: parameters of SSM's Parameter Store.

Standard library only: the watcher's function carries it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEY_FIELDS = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY")
NOTIFY_FIELD = "NUMERAI_NOTIFY"
FIELDS = (*KEY_FIELDS, NOTIFY_FIELD)
"""Each is always there: a job definition that refers to a missing parameter starts no run."""
NOBODY = "none"
"""In place of the addresses where no one is to be notified: no parameter may be empty
(docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html). The nodes' runtime knows it too."""


def keys_path(cluster: str) -> str:
    """What the names of a cluster's parameters begin with; terraform/aws/secrets.tf says the same."""
    return f"/numerai/{cluster}/"


def read_fields(ssm: Any, path: str) -> dict[str, str]:
    """The fields that there are, by name."""
    found = ssm.get_parameters(Names=[f"{path}{name}" for name in FIELDS], WithDecryption=True)
    return {entry["Name"].removeprefix(path): entry["Value"] for entry in found["Parameters"]}


def notify_addresses(fields: Mapping[str, str]) -> list[str]:
    """The apprise URLs in the fields."""
    return [url for url in fields.get(NOTIFY_FIELD, "").split() if url != NOBODY]
