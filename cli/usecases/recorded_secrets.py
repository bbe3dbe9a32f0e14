"""Every secret that this machine has recorded for the tool, so that none of them enters an image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ..files.private import PREVIOUS_SUFFIX
from ..ports import StateStore

_VARIABLES = ("NUMERAI_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_NO_SECRETS = ("_ID", "_URL", "version")
"""How the names end of what stands in a keys file and is none."""


def recorded_secrets(store: StateStore) -> Iterator[str]:
    """The keys of the environment, of the keys file and of the version before it, whichever of them is used now; the
    addresses of notices and the tokens of the nodes' webhooks, which those of the official tool do not have."""
    keys = store.keys()
    if keys:
        yield keys.secret_key
    yield from (os.environ[name] for name in _VARIABLES if os.environ.get(name))
    yield from store.notify_urls().values()
    for path in (store.keys_path, store.keys_path.with_name(f"{store.keys_path.name}{PREVIOUS_SUFFIX}")):
        yield from _secrets_of(path)
    for node in store.nodes().values():
        if node.webhook_url == (node.legacy or {}).get("webhook_url"):  # which ends in a word, such as `submit`
            continue
        try:
            yield urlsplit(node.webhook_url or "").path.rpartition("/")[2]
        except ValueError:  # an address that is none holds no token
            continue


def _secrets_of(path: Path) -> Iterator[str]:
    try:
        content: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # `store.keys` says so of the one that is used
        return
    unseen = [("", content)]
    while unseen:
        name, value = unseen.pop()
        if isinstance(value, dict):
            unseen.extend(value.items())
        elif isinstance(value, str) and not name.endswith(_NO_SECRETS):
            yield value
