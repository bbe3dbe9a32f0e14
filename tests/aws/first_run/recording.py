"""Keeps what AWS answers, without anything that names an account, opens it, or leads to a person or a machine."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ACCOUNT = "111122223333"
"""AWS's own example of an account's number (docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html)."""
MASK = "REDACTED"
FIXTURES = Path(__file__).parents[2] / "fixtures" / "aws_real"

_SECRET_FIELDS = re.compile(
    r"(?i)^(secret\w*key|session_?token|access_?key_?id|authorizationToken|SecretString|SecretBinary|password"
    r"|NextToken|nextToken|ContinuationToken|NextContinuationToken|X-Amz-.*|.*signature.*|UserName|UserId|ID"
    r"|DisplayName|ExternalId|CodeSha256|token_sha256|userIdentity|CloudTrailEvent|Username)$"
)
_ACCOUNT = re.compile(r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])")
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|APKA|ABIA|ACCA)[0-9A-Z]{12,}\b"), MASK),
    (re.compile(r"(?<=:)(user|assumed-role|federated-user)/[\w+=,.@/-]+"), rf"\1/{MASK}"),
    (re.compile(r"https?://[^\s\"'<>\\]+"), "https://redacted.example"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "someone@example.com"),
    (re.compile(r"\b[\w.-]+\.(?:amazonaws\.com(?:\.cn)?|on\.aws|api\.aws)\b(?=[:/])"), "redacted.example"),
    (re.compile(r"(?<![\w-])[A-Za-z0-9_-]{43}(?![\w=-])"), MASK),
    (re.compile(r"\bnumerai-try-[0-9a-f]{4}\b"), "numerai-try-0000"),
)
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w.:])")


def redacted(value: Any, hide: Callable[[str], str] = str) -> Any:
    """The answer without account numbers, keys, tokens, addresses of any kind, and names of users. `hide` masks the
    secrets that are known besides."""
    if isinstance(value, Mapping):
        hidden = {"Value"} if value.get("Type") == "SecureString" else set()  # a parameter of SSM
        return {
            _text(str(key), hide): MASK
            if inner and (_SECRET_FIELDS.match(str(key)) or key in hidden)
            else redacted(inner, hide)
            for key, inner in value.items()
            if key != "ResponseMetadata"
        }
    if isinstance(value, (list, tuple)):
        return [redacted(inner, hide) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value if not isinstance(value, int) or not _ACCOUNT.fullmatch(str(value)) else int(ACCOUNT)
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if hasattr(value, "read"):
        return "<a stream>"
    return _json_text(value, hide) if isinstance(value, str) else _text(str(value), hide)


def _json_text(text: str, hide: Callable[[str], str]) -> str:
    """A text; one that holds JSON (policies, event patterns) is redacted by its fields, too."""
    if text[:1] in "{[":
        try:
            return json.dumps(redacted(json.loads(text), hide))
        except ValueError:
            pass
    return _text(text, hide)


def _text(text: str, hide: Callable[[str], str]) -> str:
    text = hide(text)
    for pattern, instead in _SHAPES:
        text = pattern.sub(instead, text)
    return _IP.sub(_address, _ACCOUNT.sub(ACCOUNT, text))


def _address(found: re.Match[str]) -> str:
    """An address's stand-in; networks and addresses that say nothing (0.0.0.0, 10.x) and times stay."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return "192.0.2.1" if address.is_global else found[0]


def leaks(text: str, known: Iterable[str]) -> list[str]:
    """What a text must not hold and does, by other means than the redaction's own: `known` are the account's number,
    the keys, the user's name and whatever else belongs to somebody."""
    found = [secret for secret in known if secret and secret in text]
    accounts = set(re.findall(r"(?:arn:aws[\w-]*:[\w-]*:[\w-]*:|\b)([0-9]{12})(?=[:.\"/-])", text)) - {ACCOUNT}
    keys = re.findall(r"(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{12,}", text)
    return [*found, *sorted(accounts), *keys]


class Recorder:
    """Writes every answer to a file of JSON lines, as it comes; several processes may write to one."""

    def __init__(self, file: Path, step: Callable[[], str], hide: Callable[[str], str] = str):
        self._file = file
        self._step = step
        self._hide = hide

    def answer(self, service: str, operation: str, asked: Any, answer: Any, error: Any = None) -> None:
        """One answer, or the error in its place."""
        entry = {"step": self._step(), "service": service, "operation": operation}
        entry |= {"asked": redacted(asked, self._hide)}
        entry |= {"error": redacted(error, self._hide)} if error else {"answer": redacted(answer, self._hide)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Record whatever a client of this process's SDK is answered, as long as the block lasts."""
        from botocore.client import BaseClient
        from botocore.exceptions import ClientError

        stock = BaseClient._make_api_call
        record = self.answer

        def make_api_call(client: Any, operation: str, asked: Any) -> Any:
            service = client.meta.service_model.service_name
            try:
                answer = stock(client, operation, asked)
            except ClientError as error:
                record(service, operation, asked, None, error.response.get("Error"))
                raise
            record(service, operation, asked, answer)
            return answer

        BaseClient._make_api_call = make_api_call
        try:
            yield
        finally:
            BaseClient._make_api_call = stock


def entries(file: Path) -> Iterator[dict[str, Any]]:
    """What was recorded. A line that a kill has cut off is left out."""
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def write_fixtures(file: Path, folder: Path, known: Iterable[str]) -> list[Path]:
    """One file for each operation, with each different answer once. Raises `ValueError`, and writes nothing, where
    something is left in them that belongs to somebody."""
    answers: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for entry in entries(file):
        name = f"{entry.pop('service')}.{entry.pop('operation')}.json"
        step = entry.pop("step")
        answers[name].setdefault(json.dumps(entry, sort_keys=True), {"step": step, **entry})
    texts = {name: json.dumps(list(found.values()), indent=1, sort_keys=True) + "\n" for name, found in answers.items()}
    known = list(known)
    if left := sorted({leak for text in texts.values() for leak in leaks(text, known)}):
        raise ValueError(f"{len(left)} things are left in the answers that belong to this account; none was written.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in sorted(texts)]
