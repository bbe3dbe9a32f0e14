"""Says who is told of successes, failures and missed rounds, and tries whether they can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import NumeraiError, UsageError
from ..models import Notice, NoticeKind
from ..ports import Notifier, StateStore

FROM_ENVIRONMENT = "env-"
"""How the names begin that `StateStore.notify_urls` gives to what the environment adds."""
MASK = "***"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
# Where the part after :// is the name of a server. Elsewhere it is a token or a topic, which nobody else should see.
_NAMES_A_HOST = frozenset(
    scheme + secure
    for scheme in ("json", "xml", "form", "http", "mailto", "gotify", "matrix", "mmost")
    for secure in ("", "s")
)


@dataclass(frozen=True)
class Recipient:
    """Somebody who is told. `address` shows the scheme, and the host where it is no secret; `origin` is `file` or
    `environment`."""

    name: str
    address: str
    origin: str


@dataclass(frozen=True)
class Change:
    """What `add` or `remove` has done to a recipient, or would do: `added`, `replaced` or `removed`."""

    recipient: Recipient
    action: str


def shown(url: str) -> str:
    """An apprise URL as it may be seen: scheme and host, without user, password, path and parameters."""
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", scheme):
        return MASK
    scheme = scheme.lower()
    ambiguous = "@" in rest.partition("/")[2].partition("?")[0]  # a password with a slash would pass for a host
    if scheme not in _NAMES_A_HOST or ambiguous:
        return f"{scheme}://{MASK}"
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return f"{scheme}://{host or MASK}"


def recipients(store: StateStore) -> list[Recipient]:
    """Everybody who is told, those of the file first."""
    return [_recipient(name, url) for name, url in store.notify_urls().items()]


def add(name: str, url: str, *, store: StateStore, check: Callable[[str], None], dry_run: bool = False) -> Change:
    """Record whom to tell, or replace who has that name, once `check` accepts the URL. `UsageError` for a name that
    cannot be one or a URL that cannot be told anything."""
    if not _NAME.fullmatch(name) or name.startswith(FROM_ENVIRONMENT):
        raise UsageError(
            f"'{name}' cannot be the name of a recipient.",
            "Up to 40 letters, digits, '.', '_' and '-', not beginning with 'env-': numerai notify add team-slack",
        )
    check(url)
    action = "replaced" if name in store.notify_urls() else "added"
    if not dry_run:
        store.save_notify_url(name, url)
    return Change(_recipient(name, url), action)


def remove(name: str, *, store: StateStore, dry_run: bool = False) -> Change:
    """Tell a recipient no more; `UsageError` when there is none of that name."""
    url = _known(name, store)
    if name.startswith(FROM_ENVIRONMENT):
        raise UsageError(f"{name} comes from the variable NUMERAI_NOTIFY.", "Take it out there.")
    if not dry_run:
        store.forget_notify_url(name)
    return Change(_recipient(name, url), "removed")


def try_out(
    name: str | None, *, store: StateStore, notifier_to: Callable[[Mapping[str, str]], Notifier]
) -> Mapping[str, str | None]:
    """Send a notice that says it is a test to one recipient or to all; name -> None when it went out, else why not.
    `NumeraiError` with code `nobody-to-tell` when there is nobody."""
    urls = dict(store.notify_urls()) if name is None else {name: _known(name, store)}
    if not urls:
        raise NumeraiError(
            "Nobody is listed who could be told.", "Add somebody: numerai notify add NAME", code="nobody-to-tell"
        )
    notice = Notice(
        NoticeKind.TEST,
        "numerai: a test",
        "This is a test: notifications of numerai reach you. `numerai status` shows your nodes.",
    )
    return notifier_to(urls).tell(notice)


def _recipient(name: str, url: str) -> Recipient:
    return Recipient(name, shown(url), "environment" if name.startswith(FROM_ENVIRONMENT) else "file")


def _known(name: str, store: StateStore) -> str:
    urls = store.notify_urls()
    if name not in urls:
        listed = f"Listed: {', '.join(urls)}." if urls else "Nobody is listed; `numerai notify add NAME` adds somebody."
        raise UsageError(f"There is no recipient '{name}'.", listed, code="no-such-recipient")
    return urls[name]
