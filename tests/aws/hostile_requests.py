"""What stands between a client and the emulated AWS: refusals as AWS writes them, and the door to the world's modes."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timezone
from typing import Any
from xml.sax.saxutils import escape

from moto.awslambda.models import lambda_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sts.models import sts_backends
from werkzeug.wrappers import Request, Response

from .hostile import World

WORLD = "/_world"
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
"""As in brikis98/devops-book#12."""
THROTTLES = {
    "batch": ("TooManyRequestsException", "Too Many Requests", 429),
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "lambda": ("TooManyRequestsException", "Rate exceeded", 429),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
    "scheduler": ("ThrottlingException", "Rate exceeded", 429),
}
"""How a service refuses one call too many. Batch: Netflix/metaflow#138. EC2 and S3: the lists of errors in their API
references. Lambda and Scheduler: botocore's models of them."""
EXPIRED = {
    "ec2": ("RequestExpired", "Request has expired.", 400),
    "s3": ("ExpiredToken", "The provided token has expired.", 400),
}
Application = Callable[[dict[str, Any], Any], Any]


def service_of(environ: dict[str, Any]) -> str:
    """The service that a request was signed for; empty where it was not signed."""
    found = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else ""


def refusal(environ: dict[str, Any], code: str, message: str, status: int = 400) -> Response:
    """An error in the form of the protocol that the request was made in.

    Sources: smithy.io/2.0/aws/protocols (awsJson, restJson1, restXml, awsQuery, ec2Query) and
    smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html.
    """
    service, code_xml, text = service_of(environ), escape(code), escape(message)
    error = f"<Error><Code>{code_xml}</Code><Message>{text}</Message></Error>"
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        pairs = b"".join(_cbor(part) for part in ("__type", code, "message", message))
        headers = {"Smithy-Protocol": "rpc-v2-cbor"}
        return Response(b"\xa2" + pairs, status, headers, content_type="application/cbor")
    if environ.get("HTTP_X_AMZ_TARGET"):
        body = json.dumps({"__type": code, "message": message})
        return Response(body, status, content_type="application/x-amz-json-1.1")
    if service == "s3":
        return Response(error, status, content_type="application/xml")
    if service == "ec2":
        return Response(f"<Response><Errors>{error}</Errors></Response>", status, content_type="text/xml")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return Response(f"<ErrorResponse>{error}</ErrorResponse>", status, content_type="text/xml")
    return Response(
        json.dumps({"message": message}), status, {"X-Amzn-ErrorType": code}, content_type="application/json"
    )


def _cbor(text: str) -> bytes:
    """A text of fewer than 256 bytes (RFC 8949, major type 3)."""
    content = text.encode()
    return (bytes([0x60 + len(content)]) if len(content) < 24 else bytes([0x78, len(content)])) + content


class Throttles:
    """Refuses every so many calls of a service."""

    def __init__(self, application: Application, world: World):
        self._application = application
        self._world = world
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        service, every = service_of(environ), self._world.throttle_every
        with self._lock:
            self._calls[service] += bool(service and every)
            refused = service and every and self._calls[service] % every == 0
        if not refused:
            return self._application(environ, start_response)
        self._world.seen["throttle_every"] += 1
        query = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
        usual = ("Throttling" if query else "ThrottlingException", "Rate exceeded", 400)
        return refusal(environ, *THROTTLES.get(service, usual))(environ, start_response)


class Sessions:
    """Refuses the keys of an assumed role whose time is over."""

    def __init__(self, application: Application, world: World):
        self._application = application
        self._world = world

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not (self._world.sessions_end and self._is_over(environ)):
            return self._application(environ, start_response)
        self._world.seen["sessions_end"] += 1
        rest = not environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
        status = 400 if environ.get("HTTP_X_AMZ_TARGET") else 403
        usual = ("ExpiredTokenException" if rest else "ExpiredToken", _EXPIRED_TEXT, status)
        return refusal(environ, *EXPIRED.get(service_of(environ), usual))(environ, start_response)

    def _is_over(self, environ: dict[str, Any]) -> bool:
        key = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        if not key:
            return False
        for backend in sts_backends[DEFAULT_ACCOUNT_ID].values():
            if role := backend.get_assumed_role_from_access_key(key[1]):
                return bool(role.expiration.replace(tzinfo=timezone.utc).timestamp() <= self._world.now())
        return False


_EXPIRED_TEXT = "The security token included in the request is expired"


class YoungUrls:
    """Lets a function URL that was just made answer 403."""

    def __init__(self, application: Application, world: World):
        self._application = application
        self._world = world

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/_url/") and self._is_young(environ["PATH_INFO"].split("/")[2]):
            self._world.seen["url_seconds"] += 1
            answer = Response(json.dumps({"Message": FORBIDDEN}), 403, content_type="application/json")
            return answer(environ, start_response)
        return self._application(environ, start_response)

    def _is_young(self, name: str) -> bool:
        functions = (
            each for region in lambda_backends[DEFAULT_ACCOUNT_ID].values() for each in region.list_functions(None)
        )
        config = next((each.url_config for each in functions if each.function_name == name), None)
        return config is not None and self._world.now() - getattr(config, "since", 0) < self._world.url_seconds


def in_front(application: Application, world: World, advanced: Callable[[float, float], None]) -> Application:
    """All of this before an application; `advanced` does what is due between two times of the emulator's clock."""
    return Door(YoungUrls(Throttles(Sessions(application, world), world), world), world, advanced)


class Door:
    """Serves the modes: `GET /_world` lists them, `POST /_world` changes those in its JSON object. With `advance` in it
    the clock goes on by so many seconds, and what was due in between is done before the answer."""

    def __init__(self, application: Application, world: World, advanced: Callable[[float, float], None]):
        self._application = application
        self._world = world
        self._advanced = advanced

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != WORLD:
            return self._application(environ, start_response)
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        changes = dict(request.get_json()) if request.method == "POST" else {}
        seconds = changes.pop("advance", 0)
        try:
            self._world.change(changes)
        except ValueError as error:
            return Response(f"{error}\n", 400)
        if seconds:
            before = self._world.now()
            self._world.ahead += seconds
            self._advanced(before, self._world.now())
        return Response(json.dumps(self._world.said()), content_type="application/json")
