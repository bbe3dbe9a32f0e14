"""A Numerai on a real socket that gives hostile answers, one kind below each path, and what runs commands against it.

`python -m tests.hostile FOLDER` reads cases as JSON lines, runs commands for each of them in this one process, and
prints a JSON line for each: exit codes, output, and the most memory that the process has had.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PUBLIC_ID, SECRET_KEY = "PUBLICID", "SECRETSECRETSECRET"
SECONDS, TRIES = 1.0, 2
"""How long, and how often, a question is tried here."""
ESCAPE = "\x1b]0;TITLE\x07\x1b[31mred\x9b31m\x1b]52;c;ZXZpbA==\x07\r\n\x00\x08\u202e"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("setup",),
    ("node", "-m", "alice", "config", "--path", "code", "--size", "gen-sm"),
    ("status",),
    ("history", "-n", "3"),
    ("doctor",),
    ("watch", "--once"),
)


def at(minutes: float) -> str:
    """A time so many minutes from now, as the API writes it."""
    return (datetime.now(timezone.utc) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def good_answers() -> dict[str, Any]:
    """What an honest Numerai answers: an account of two models, a round that is open, and a file in it."""
    rounds = [
        {
            "number": 900 - day,
            "openTime": at(-10 - 1440 * day),
            "closeStakingTime": at(50 - 1440 * day),
            "closeTime": at(1380 - 1440 * day),
            "dataDatestamp": 20251121 - day,
        }
        for day in range(3)
    ]
    models = [
        {
            "id": f"id-{name}",
            "name": name,
            "tournament": 8,
            "submissionWebhook": None,
            "computeEnabled": False,
            "computePickleUpload": None,
        }
        for name in ("alice", "bob")
    ]
    file = {"id": "s1", "filename": "f.csv", "insertedAt": at(-5), "triggerId": "t1", "round": {"number": 900}}
    entry = {"id": "s1", "roundNumber": 900, "status": "on-time", "filename": "f.csv", "timestamp": at(-5)}
    return {
        "rounds": rounds,
        "apiTokenInfo": {"accountUsername": "user", "name": "key", "scopes": ["upload_submission", "stake"]},
        "account": {"models": models},
        "model": {"name": "alice", "tournament": 8, "latestSubmissions": [entry]},
        "submissions": [file],
        "listDatasets": ["v5.0/live.parquet", "v5.0/train.parquet", "v5.0/validation.parquet", "v5.0/features.json"],
        "setSubmissionWebhook": "ok",
        "triggerModelWebhook": "t2",
    }


PLACES: tuple[tuple[str | int, ...], ...] = (
    *((top,) for top in good_answers()),
    *(("rounds", 0, name) for name in ("number", "openTime", "closeStakingTime", "closeTime", "dataDatestamp")),
    ("rounds", 0),
    *(("apiTokenInfo", name) for name in ("accountUsername", "name", "scopes")),
    ("account", "models"),
    ("account", "models", 0),
    *(("account", "models", 0, name) for name in ("id", "name", "tournament", "submissionWebhook")),
    ("account", "models", 0, "computePickleUpload"),
    ("account", "models", 1, "name"),
    ("model", "latestSubmissions"),
    ("model", "latestSubmissions", 0),
    *(("model", "latestSubmissions", 0, name) for name in ("id", "roundNumber", "status", "filename", "timestamp")),
    ("submissions", 0),
    *(("submissions", 0, name) for name in ("id", "filename", "insertedAt", "triggerId", "round")),
    ("submissions", 0, "round", "number"),
    ("listDatasets", 0),
)
"""Where a value can be put in the place of an honest one."""

NAMES: tuple[tuple[str | int, ...], ...] = (
    *(("account", "models", number, "name") for number in (0, 1)),
    ("account", "models", 0, "id"),
    ("submissions", 0, "filename"),
    ("listDatasets", 0),
)
"""Where what becomes the name of a file, of a folder or of something in an engine comes from."""

VALUES: Mapping[str, Any] = {
    "null": None,
    "empty": "",
    "word": "garbage",
    "escapes": ESCAPE,
    "surrogate": "x\ud800y",
    "path": "../../../../../../victim",
    "dots": "..",
    "absolute": "/tmp/victim/../victim",
    "drive": "C:\\victim",
    "markup": "[red]x[/blue] %s {0} `numerai`",
    "long": "a" * 100_000,
    "unicode": "модель\u0130\u200b",
    "zero": 0,
    "negative": -1,
    "sqlite": 2**63,
    "huge": 10**400,
    "fraction": 1.5,
    "infinity": float("inf"),
    "nan": float("nan"),
    "true": True,
    "list": [],
    "object": {},
    "deep": [[[[[[{"a": [[[]]]}]]]]]],
    "year-1": "0001-01-01T00:00:00+14:00",
    "year-9999": "9999-12-31T23:59:59.999999Z",
    "zone": "2026-01-01T00:00:00+99:00",
    "digits": "2026-01-01T00:00:00." + "9" * 5000 + "Z",
}
"""What may stand there, by name."""


@dataclass
class Hostile:
    """The server: its address, and who came to an address that only redirects lead to."""

    url: str = ""
    strayed: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hostile: Hostile

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        if self.path.startswith("/sink"):
            self.hostile.strayed.append(f"{self.command} {self.headers.get('Authorization')}")
        self.send(b"{}")

    do_HEAD = do_PUT = do_GET

    def do_POST(self) -> None:
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
        if self.path.startswith("/sink"):
            self.do_GET()
            return
        kind = self.path.strip("/").replace("%20", " ")
        try:
            if kind in WAYS:
                WAYS[kind](self)
            else:
                self.answer(_planted(kind))
        except OSError:  # the caller has hung up, as it should
            self.close_connection = True

    def answer(self, data: dict[str, Any]) -> None:
        self.send(json.dumps({"data": data}).encode())

    def honest(self) -> bytes:
        return json.dumps({"data": good_answers()}).encode()

    def send(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def raw(self, *parts: bytes) -> None:
        self.close_connection = True
        for part in parts:
            self.wfile.write(part)

    def endless(self, head: bytes, part: bytes, times: int) -> None:
        """A head, and a part so many times."""
        self.raw(head)
        for _ in range(times):
            self.wfile.write(part)

    def dated(self, date: str) -> None:
        self.date_time_string = lambda timestamp=None: date  # type: ignore[method-assign]
        self.answer(good_answers())

    def drip(self) -> None:
        self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            if self.server.stopping.wait(0.2):  # type: ignore[attr-defined]
                return
            self.wfile.write(b" ")
            self.wfile.flush()


def _planted(kind: str) -> dict[str, Any]:
    """Honest answers but for one value: `place.place=value`, or honest ones."""
    answers = good_answers()
    place, _, value = kind.partition("=")
    if value:
        *way, last = (int(step) if step.isdigit() else step for step in place.split("."))
        target: Any = answers
        for step in way:
            target = target[step]
        target[last] = VALUES[value]
    return answers


def _big(row: bytes) -> bytes:
    """A JSON answer of almost 8 MiB that becomes as large as can be in memory."""
    return b'{"data":{"x":[' + b",".join([row] * ((8 * 1024 * 1024 - 100) // (len(row) + 1))) + b"]}}"


def _refused(*errors: Any) -> Callable[[_Handler], None]:
    return lambda each: each.send(json.dumps({"errors": list(errors)}).encode())


def _body(content: bytes, status: int = 200, **headers: str) -> Callable[[_Handler], None]:
    return lambda each: each.send(content, status, None, **headers)


HEAD = b"HTTP/1.1 200 OK\r\n"
MIB = 1 << 20
WAYS: Mapping[str, Callable[[_Handler], None]] = {
    **{
        f"redirect-{status}": lambda each, status=status: each.send(  # type: ignore[misc]
            b"", status, Location=f"{each.hostile.url}/sink"
        )
        for status in (301, 302, 303, 307, 308)
    },
    "redirect-file": _body(b"", 302, Location="file:///etc/passwd"),
    "redirect-loop": lambda each: each.send(b"", 302, Location=each.path),
    "redirect-escape": _body(b"", 302, Location="http://\x1b[31m/"),
    "giant": lambda each: each.endless(HEAD + b"\r\n", b" " * MIB, 400),
    "giant-length": lambda each: each.endless(HEAD + b"Content-Length: %d\r\n\r\n" % (400 * MIB), b" " * MIB, 400),
    "giant-chunks": lambda each: each.endless(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + b" " * MIB + b"\r\n", 400
    ),
    "giant-chunk": lambda each: each.endless(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b" " * MIB, 400
    ),
    "chunk-line": lambda each: each.endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"f" * MIB, 100),
    "giant-refusal": lambda each: each.endless(b"HTTP/1.1 400 No\r\n\r\n", b"x" * MIB, 400),
    "giant-busy": lambda each: each.endless(b"HTTP/1.1 503 No\r\n\r\n", b"x" * MIB, 400),
    "bomb-gzip": _body(gzip.compress(b" " * (64 * MIB)), Content_Encoding="gzip"),
    "bomb-deflate": _body(gzip.compress(b" " * (64 * MIB))[10:-8], Content_Encoding="deflate"),
    "bomb-objects": _body(_big(b'{"":[]}')),
    "bomb-lists": _body(_big(b"[[]]")),
    "bomb-numbers": _body(_big(b"1.5")),
    "bomb-wide": _body(_big(b'"ab"').replace(b'"ab"', '"😀"'.encode(), 1)),
    "bomb-text": _body('{"data":{"x":"😀'.encode() + b"a" * (8 * MIB - 100) + b'"}}'),
    "bomb-name": _body('{"data":{"model":{"name":"😀'.encode() + b"a" * (8 * MIB - 100) + b'"}}}'),
    "bomb-depth": _body(b"[" * 4_000_000),
    "bomb-depth-closed": _body(b'{"data":' + b"[" * 90_000 + b"]" * 90_000 + b"}"),
    "bomb-digits": _body(b'{"data":' + b"9" * (7 * MIB) + b"}"),
    "bomb-errors": _refused(*({"message": ESCAPE * 20} for _ in range(5_000))),
    "headers-many": lambda each: each.endless(HEAD, b"X-Y: z\r\n", 100_000),
    "header-long": lambda each: each.endless(HEAD + b"X-Y: ", b"z" * MIB, 50),
    "header-escape": lambda each: each.raw(HEAD + b"X-Y: " + ESCAPE.encode()[:4] + b"\r\nContent-Length: 2\r\n\r\n{}"),
    "status-line": lambda each: each.raw(b"\x1b[31mHELLO\r\n\r\n"),
    "status-long": lambda each: each.endless(b"HTTP/1.1 200 ", b"z" * MIB, 50),
    "status-0": lambda each: each.raw(b"HTTP/1.1 000 \x1b[31m\r\nContent-Length: 2\r\n\r\n{}"),
    "status-999": lambda each: each.raw(b"HTTP/1.1 999 \x1b[31m\r\nContent-Length: 2\r\n\r\n{}"),
    "continue": lambda each: each.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 200_000),
    "hang-up": lambda each: each.raw(),
    "half": lambda each: each.raw(HEAD + b"Content-Length: 1000\r\n\r\n" + each.honest()[:100]),
    "length-lie": lambda each: each.send(each.honest(), length=5),
    "length-word": lambda each: each.raw(HEAD + b"Content-Length: many\r\n\r\n" + each.honest()),
    "length-negative": lambda each: each.raw(HEAD + b"Content-Length: -5\r\n\r\n" + each.honest()),
    "drip": lambda each: each.drip(),
    "retry-day": _body(b"", 503, Retry_After="86400"),
    "retry-ages": _body(b"", 429, Retry_After="9" * 400),
    "retry-negative": _body(b"", 503, Retry_After="-5"),
    "retry-word": _body(b"", 429, Retry_After="later\t"),
    "retry-9999": _body(b"", 503, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "retry-1": _body(b"", 503, Retry_After="Mon, 01 Jan 0001 00:00:00 +1400"),
    "date-word": lambda each: each.dated("yesterday"),
    "date-9999": lambda each: each.dated("Fri, 31 Dec 9999 23:59:59 GMT"),
    "date-1": lambda each: each.dated("Mon, 01 Jan 0001 00:00:00 +1400"),
    "date-zone": lambda each: each.dated("Fri, 28 Nov 2025 00:00:00 +9959"),
    "html": _body(b"<html><script>alert(1)</script></html>"),
    "empty": _body(b""),
    "no-content": _body(b"", 204),
    "not-modified": _body(b"", 304),
    "keys-refused": _body(ESCAPE.encode(), 401),
    "forbidden": _body(b'{"errors": "\\u001b[31mno"}', 403),
    "teapot": _body(b'{"errors": {"message": {"a": "\\u001b]0;x\\u0007"}}}', 418),
    "utf-16": lambda each: each.send(each.honest().decode().encode("utf-16")),
    "latin": _body(b'{"data": {"account": {"models": "\xff\xfe"}}}'),
    "bom": lambda each: each.send(b"\xef\xbb\xbf" + each.honest()),
    "top-list": _body(b"[]"),
    "top-number": _body(b"5"),
    "top-text": _body(b'"\\u001b[31m"'),
    "data-null": _body(b'{"data": null}'),
    "data-list": _body(b'{"data": [1, 2]}'),
    "data-text": _body(b'{"data": "rounds"}'),
    "data-empty": _body(b'{"data": {}}'),
    "keys-twice": _body(b'{"data": {}, "data": null, "errors": 0}'),
    "says-escape": _refused({"message": ESCAPE}),
    "says-secret": _refused({"message": f"bad request: Authorization: Token {PUBLIC_ID}${SECRET_KEY} \ud800"}),
    "says-number": _refused(5, None, [], {"message": 5}, {"message": {"a": [1]}}),
    "says-long": _refused({"message": "model " + "x" * 3_000_000}),
    "says-round": _refused({"message": "Current round not open for submissions \x1b[2J"}),
    "says-keys": _refused({"message": "You must be authenticated \x1b[2J [bold]"}),
    "says-text": _body(b'{"errors": "\\u0085\\u009b31m no"}'),
}
"""Answers that are hostile as a whole, by name."""


def generated(seed: int, each: int) -> list[str]:
    """Cases: every way above, for every place `each` of the values, drawn with this seed, and for every name all that
    could lead elsewhere."""
    draw = random.Random(seed)
    planted = [(place, value) for place in PLACES for value in draw.sample(list(VALUES), k=each)]
    planted += [(place, value) for place in NAMES for value in ("path", "dots", "absolute", "drive", "escapes")]
    return [*WAYS, *dict.fromkeys(f"{'.'.join(map(str, place))}={value}" for place, value in planted)]


@contextmanager
def hostile_numerai() -> Iterator[Hostile]:
    """The server, for as long as the block runs."""
    hostile = Hostile()
    with ThreadingHTTPServer((HOST, 0), type("Bound", (_Handler,), {"hostile": hostile})) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.stopping = threading.Event()  # type: ignore[attr-defined]
        hostile.url = f"http://{HOST}:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield hostile
        finally:
            server.stopping.set()  # type: ignore[attr-defined]
            server.shutdown()
            serving.join()


def _work(folder: Path) -> None:
    """Run the commands for each case that standard input names; nothing waits between two tries."""
    from numerai_compute.adapters.numerai_api import HttpNumeraiApi
    from numerai_compute.factory import Factory
    from numerai_compute.main import run

    HttpNumeraiApi.__init__.__kwdefaults__.update(  # type: ignore[union-attr]
        seconds=SECONDS, tries=TRIES, sleep=lambda _: None
    )
    reports = os.fdopen(os.dup(1), "w")
    screen = (folder / "screen").open("w+b")
    os.dup2(screen.fileno(), 1)
    os.dup2(screen.fileno(), 2)
    for line in sys.stdin:
        case = json.loads(line)
        os.environ.update(case["environment"])
        codes = []
        for command in case["commands"]:
            codes.append(run(list(command), Factory()))
            sys.stdout.flush()
            sys.stderr.flush()
        screen.seek(0)
        output = screen.read().decode("utf-8", "backslashreplace")
        screen.seek(0)
        screen.truncate()
        print(json.dumps({"codes": codes, "output": output, "peak": _peak_mib()}), file=reports, flush=True)


def _peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / MIB
    if sys.platform == "linux":  # what getrusage says includes the memory of the process that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
