"""Tells people through apprise: Slack, Discord, e-mail and the rest, each by its URL."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from ..addresses import check_certificates
from ..errors import EnvironmentNotReady, NumeraiError, UsageError
from ..models import Notice, NoticeKind
from ..redaction import MASK, Redactor

SECONDS = 15.0
"""How long a recipient may take. Everybody is told at the same time, so this bounds `tell` as well."""
MANUAL = "https://appriseit.com/services/"
EXAMPLES = (
    "https://hooks.slack.com/services/...",
    "https://discord.com/api/webhooks/...",
    "mailtos://USER:APP_PASSWORD@gmail.com",
    "tgram://BOT_TOKEN/CHAT_ID",
    "ntfy://TOPIC",
    "jsons://HOST/PATH (any webhook)",
)

_LONGEST_REASON = 200
_SHORTEST_WORD = 3
_SCHEME = re.compile(r"^\s*([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_EXCEPTION = re.compile(r"Exception: (\S.*)")
_STATUS = re.compile(r"\berror[=:]\s?(\d{3})\b")
# What the libraries below apprise say -> what a person is told. The first match counts; nothing of the original text
# is passed on, because it holds addresses.
_CAUSES = (
    (re.compile(r"certificate.verify.failed|CERTIFICATE_VERIFY", re.I), "its TLS certificate is not trusted"),
    (re.compile(r"SSLError|\[SSL|WRONG_VERSION_NUMBER", re.I), "TLS could not be agreed with it"),
    (re.compile(r"\b535\b|Authentication\w*\b.{0,40}(fail|unsuccess|reject|invalid)", re.I), "it refused the login"),
    (re.compile(r"Connection refused|actively refused", re.I), "nobody answers there (connection refused)"),
    (
        re.compile(r"NameResolution|getaddrinfo|nodename nor servname|Name or service not known|name resolution", re.I),
        "its name is not known (DNS)",
    ),
    (re.compile(r"timed?[ -]?out", re.I), "it did not answer in time"),
    (re.compile(r"Connection.{0,12}(reset|aborted)|unexpectedly closed|RemoteDisconnected", re.I), "it hung up"),
    (re.compile(r"unreachable|No route to host", re.I), "there is no way to it (network)"),
)


class AppriseNotifier:
    """`ports.Notifier` on apprise. `urls` gives name -> apprise URL when there is something to tell; `seconds` bounds
    what one recipient may take."""

    def __init__(self, urls: Callable[[], Mapping[str, str]], seconds: float = SECONDS):
        self._urls = urls
        self._seconds = seconds

    def tell(self, notice: Notice) -> Mapping[str, str | None]:
        """Send a notice to everybody at once; name -> None when it went out, else why not, without any part of the
        URL that could be a secret. Never raises. Who has not answered in time is given up; the thread that waits for
        it cannot keep the process alive."""
        try:
            urls = dict(self._urls())
        except NumeraiError as error:
            return {"recipients": error.message}
        deliveries = [_Delivery(name, url, notice, self._seconds) for name, url in urls.items()]
        for delivery in deliveries:
            delivery.start()
        deadline = time.monotonic() + self._seconds
        for delivery in deliveries:
            delivery.join(max(0.0, deadline - time.monotonic()))
        return {delivery.recipient: delivery.outcome for delivery in deliveries}


def check_url(url: str) -> None:
    """Return when apprise can send to the URL; otherwise `UsageError` that says why not, without the URL."""
    _quieten()
    if len(url.split()) != 1:
        raise _unusable("The address is empty or has blanks in it.", "Write a blank as %20.")
    found = _SCHEME.match(url)
    if not found:
        raise _unusable("The address does not begin with a scheme such as slack:// or mailto://.")
    from apprise import Apprise
    from apprise.manager_plugins import NotificationManager

    if Apprise.instantiate(url, asset=_asset()) is not None:
        return
    scheme = found[1].lower()
    if scheme in ("http", "https"):
        secure = "jsons" if scheme == "https" else "json"
        raise _unusable(
            f"apprise knows no service behind this {scheme}:// address.",
            f"For a plain webhook write {secure}:// instead.",
        )
    services: Any = NotificationManager()  # type: ignore[no-untyped-call]
    if scheme not in services:
        raise _unusable(f"apprise knows no service {scheme}://.")
    service = services[scheme]
    if not service.enabled:
        needs = service.requirements.get("packages_required") or "a library that is not installed"
        packages = needs if isinstance(needs, str) else ", ".join(str(item) for item in needs)
        raise _unusable(f"{scheme}:// needs {packages}.", "Install it beside numerai.")
    manual = getattr(service, "setup_url", None) or getattr(service, "service_url", None) or MANUAL
    raise _unusable(f"This {scheme}:// address is incomplete or wrong.", f"How it is made: {manual}")


def written(notice: Notice) -> tuple[str, str]:
    """The title (one line) and the plain text of a notice: what happened, node, round and the next command."""
    facts = []
    if notice.node:
        facts.append(f"Node: {notice.node}")
    if notice.round_number is not None:
        facts.append(f"Round: {notice.round_number}")
    next_command = _next_command(notice)
    if next_command and "`numerai " not in notice.text:
        facts.append(f"Next: {next_command}")
    paragraphs = [part for part in (notice.text.strip(), "\n".join(facts)) if part]
    return " ".join(notice.title.split()), "\n\n".join(paragraphs)


def _next_command(notice: Notice) -> str | None:
    if notice.kind is NoticeKind.WATCHER_STOPPED:
        return "numerai daemon start"
    if notice.kind is NoticeKind.TRAINING and notice.node:
        return f"numerai node -m {notice.node} status"
    if notice.kind in (NoticeKind.FAILURE, NoticeKind.LATE, NoticeKind.MISSED):
        return f"numerai history -m {notice.node}" if notice.node else "numerai status"
    return None


class _Delivery(threading.Thread):
    """One notice on its way to one recipient. `outcome` holds at any time what can be said of it."""

    def __init__(self, recipient: str, url: str, notice: Notice, seconds: float):
        super().__init__(name=f"notify-{recipient}", daemon=True)
        self.recipient = recipient
        self.outcome: str | None = f"it did not answer within {seconds:g} seconds"
        self._url, self._notice, self._seconds = url, notice, seconds

    def run(self) -> None:
        heard: list[str] = []
        try:
            _quieten()
            _HEARD.lines = heard
            sent = self._send()
        except EnvironmentNotReady as error:
            self.outcome = error.message
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is a reason, never a crash of who tells
            self.outcome = _reason([*heard, f"{type(error).__name__}: {error}"], self._url)
        else:
            self.outcome = None if sent else _reason(heard, self._url)

    def _send(self) -> bool:
        import apprise

        check_certificates("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        service = apprise.Apprise.instantiate(self._url, asset=_asset())
        if service is None:
            raise ValueError("apprise does not understand the address (`numerai notify add` checks one)")
        patient = self._seconds * 0.8
        if "rto=" not in self._url:
            service.socket_read_timeout = patient
        if "cto=" not in self._url:
            service.socket_connect_timeout = min(service.socket_connect_timeout, patient)
        title, text = written(self._notice)
        sender = apprise.Apprise(asset=_asset())
        sender.add(service)
        return bool(
            sender.notify(
                body=text or title,
                title=title,
                notify_type=_notify_type(self._notice.kind),
                body_format=apprise.NotifyFormat.TEXT,
            )
        )


def _notify_type(kind: NoticeKind) -> Any:
    from apprise import NotifyType

    return {
        NoticeKind.SUCCESS: NotifyType.SUCCESS,
        NoticeKind.LATE: NotifyType.WARNING,
        NoticeKind.TRAINING: NotifyType.WARNING,
        NoticeKind.GATE: NotifyType.WARNING,
        NoticeKind.TEST: NotifyType.INFO,
    }.get(kind, NotifyType.FAILURE)


def _asset() -> Any:
    """How apprise works for us: in the calling thread, without files of its own, in our name."""
    from apprise import AppriseAsset

    given: dict[str, Any] = {
        "app_id": "numerai",
        "app_desc": "numerai",
        "app_url": "https://numer.ai",
        "async_mode": False,
        "storage_mode": "memory",
    }
    try:
        return AppriseAsset(**given, service_timeout=0)  # since 2.2: else it starts threads that outlive the process
    except (AttributeError, TypeError):
        return AppriseAsset(**given)


def _unusable(message: str, hint: str = f"Examples: {', '.join(EXAMPLES)}. All services: {MANUAL}") -> UsageError:
    return UsageError(message, hint, code="notify-url")


def _reason(heard: list[str], url: str) -> str:
    """Why a notice did not go out, from what apprise and the libraries below it have said."""
    text = "\n".join(heard)
    if answered := _STATUS.search(text):
        status = int(answered[1])
        phrase = HTTPStatus(status).phrase if status in {item.value for item in HTTPStatus} else "unknown status"
        look = "; check its address" if status in (401, 403, 404, 410) else ""
        return f"it answered {status} ({phrase}){look}"
    for pattern, words in _CAUSES:
        if pattern.search(text):
            return words
    said = _EXCEPTION.findall(text) or heard or ["apprise did not say why"]
    return _without_secrets(said[-1], url)[:_LONGEST_REASON]


def _without_secrets(text: str, url: str) -> str:
    """The text without any word that the URL holds after its scheme."""
    held = url.partition("://")[2]
    words = {word for form in (held, unquote(held)) for word in _WORD.findall(form) if len(word) >= _SHORTEST_WORD}
    masked = Redactor([url, held, *words])(" ".join(text.split()))
    return _WORD.sub(lambda word: MASK if word.group() in words else word.group(), masked)


class _Heard(threading.local):
    """What apprise's loggers said of failures in this thread while it sends; None where nothing is being sent."""

    lines: list[str] | None = None


_HEARD = _Heard()


class _Ear(logging.Filter):
    """Keeps a library's words, which hold whole addresses, out of every log; what is said while a notice is sent is
    put aside for `_reason`."""

    def __init__(self, *, always: bool):
        super().__init__()
        self._always = always

    def filter(self, record: logging.LogRecord) -> bool:
        lines = _HEARD.lines
        if lines is not None:
            try:
                said = record.getMessage()
            except (TypeError, ValueError):  # a message that does not fit its arguments
                said = str(record.msg)
            if record.levelno >= logging.WARNING or "Exception: " in said:
                lines.append(said)
        return lines is None and not self._always


_EARS = {"apprise": _Ear(always=True), "urllib3.connectionpool": _Ear(always=False)}


def _quieten() -> None:
    """Put the ears on. apprise's logger is opened up to DEBUG, where it says the cause of a failure."""
    for name, ear in _EARS.items():
        logger = logging.getLogger(name)
        logger.addFilter(ear)  # adding it again changes nothing
    logging.getLogger("apprise").setLevel(logging.DEBUG)
