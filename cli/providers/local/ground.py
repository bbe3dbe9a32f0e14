"""What a process of this home stands on: its version, keys, settings and executors. The daemon tells its own to whoever
holds its control token, so that doctor need not take this shell's environment for the daemon's."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import __version__
from ...errors import NumeraiError
from ...models import CheckStatus
from .parts import LocalParts

CONTROL_TOKEN = "X-Control-Token"  # noqa: S105  (a header's name)
NO_ADDRESS = "There is no such address."
"""What is answered for an address that is not known, or not known to who has not the token."""
SETTINGS = ("host", "concurrency", "attempts", "retry_seconds", "grace_seconds", "read_only", "capabilities")
"""Those that the daemon uses and keeps as they were when it started. The port is compared by the address it serves."""


@dataclass(frozen=True)
class Ground:
    """`account` stands for the keys and says nothing of them; None where there are none or, as `unreadable` says, they
    cannot be read. `failing` is what is wrong with each executor that does not work, by its name, and `missing` are the
    nodes whose deployment is not found by an executor that does."""

    version: str
    api_url: str | None = None
    account: str | None = None
    unreadable: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    failing: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def ground_of(parts: LocalParts, salt: str) -> Ground:
    """What this process stands on. `salt` is a secret of this home that the keys are hashed with."""
    keys, unreadable = None, None
    try:
        keys = parts.context.keys()
    except NumeraiError as error:
        unreadable = error.message
    account = None
    if keys is not None:
        content = "\0".join((keys.public_id, keys.secret_key, keys.api_url.rstrip("/")))
        account = hmac.new(salt.encode(), content.encode(), hashlib.sha256).hexdigest()
    failing, missing = _executors(parts)
    return Ground(
        __version__,
        keys.api_url if keys is not None else None,
        account,
        unreadable,
        {name: str(getattr(parts.settings, name)) for name in SETTINGS},
        failing,
        missing,
    )


def heard(content: Mapping[str, Any]) -> Ground:
    """What the daemon has told as JSON; `KeyError` or `TypeError` for what is no ground."""
    return Ground(**{**content, "missing": tuple(content["missing"])})


def differences(daemon: Ground, here: Ground) -> Iterator[str]:
    """In words about the daemon, where it stands on something else than this shell, so that its runs end otherwise."""
    if daemon.version != here.version:
        yield f"it was started by version {daemon.version}, and this is {here.version}"
    if daemon.unreadable is not None and here.unreadable is None:
        yield f"it cannot read its Numerai keys: {daemon.unreadable}"
    elif daemon.account is None and daemon.unreadable is None:
        yield "it has no Numerai keys" + (", and this shell has" if here.account is not None else "")
    elif here.account is not None and daemon.account != here.account:
        if (daemon.api_url or "").rstrip("/") != (here.api_url or "").rstrip("/"):
            yield f"it works with {daemon.api_url}, and this shell with {here.api_url}"
        else:
            yield "it has other Numerai keys than this shell"
    for name, value in here.settings.items():
        if (other := daemon.settings.get(name, value)) != value:
            yield f"it keeps the setting {name} as it was ({other or 'nothing'}), which is {value or 'nothing'} now"
    for name, why in daemon.failing.items():
        if name not in here.failing:
            yield f"its {name} does not work, and this shell's does: {why}"
    if lost := sorted(set(daemon.missing) - set(here.missing)):
        yield f"it does not find what was deployed of {', '.join(lost)}: it uses another Docker engine than this shell"


def _executors(parts: LocalParts) -> tuple[dict[str, str], tuple[str, ...]]:
    failing: dict[str, str] = {}
    missing: list[str] = []
    for executor in parts.used_executors():
        failed = [check for check in executor.checks() if check.status is CheckStatus.FAILED]
        failing |= {check.name: check.why for check in failed}
        if failed:
            continue
        for stored in parts.store.deployments():
            if stored.executor == executor.name and not executor.present(stored.reference):
                missing.append(stored.deployment.node)
    return failing, tuple(missing)
