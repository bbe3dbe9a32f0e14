"""What a request to AWS says: which operation it calls, with what, by whose key, and what of it AWS would not take.

Operations and their parameters are those of botocore's models, which are AWS's own; moto's router and parsers read the
request by them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.exceptions import HTTPException

_SIGNED = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_MODELS = {"monitoring": "cloudwatch", "tagging": "resourcegroupstaggingapi", "servicequotas": "service-quotas"}
"""By the name that a request is signed for, where botocore's model is called otherwise."""


@dataclass(frozen=True)
class Call:
    """One request. `service` is the name that it is signed for, `complaints` what its model does not allow."""

    key: str
    region: str
    service: str
    operation: str
    params: Mapping[str, Any]
    complaints: tuple[str, ...] = ()


class Unreadable(Exception):
    """A signed request that no model knows."""


def read_call(environ: Mapping[str, Any], body: bytes) -> Call | None:
    """The call of a WSGI request; None for one that is not signed. Raises `Unreadable`."""
    signed = _SIGNED.search(environ.get("HTTP_AUTHORIZATION", ""))
    if not signed:
        return None
    service = signed["service"]
    model = get_service_model(_MODELS.get(service, service))
    path = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"]
    request = Request.from_primitives(
        environ["REQUEST_METHOD"], f"http://{environ.get('HTTP_HOST', 'aws')}{path}", _headers(environ), body
    )
    try:
        protocol = determine_request_protocol(model, request.content_type)
        operation, given = get_service_router(model.service_name).match(request)
    except (HTTPException, NotImplementedError) as error:
        raise Unreadable(f"{service}: {request.method} {path}: {error}") from error
    streamed = (
        service == "s3" and operation.input_shape and operation.input_shape.serialization.get("payload") == "Body"
    )
    params = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": b"" if streamed else body,
            "url_path": request.path,
            "url_params": given,
        }
    )
    complaints = list(_complaints(operation.input_shape, params, operation.name))
    if "json" in protocol and body.strip():
        complaints += _unknown(operation.input_shape, json.loads(body), operation.name)
    return Call(signed["key"], signed["region"], service, operation.name, params, tuple(complaints))


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    named = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
    headers = {key[5:].replace("_", "-").title(): value for key, value in environ.items() if key.startswith("HTTP_")}
    return headers | {named[key]: value for key, value in environ.items() if key in named and value}


def _complaints(shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    """Where a value breaks what its model says: required members, enums, patterns, lengths and ranges."""
    if shape is None or value is None:
        return
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"{path}.{name} is missing"
        for name, member in value.items():
            if name in shape.members:
                yield from _complaints(shape.members[name], member, f"{path}.{name}")
    elif isinstance(shape, ListShape):
        yield from _length(shape, value, path)
        for place, member in enumerate(value):
            yield from _complaints(shape.member, member, f"{path}[{place}]")
    elif isinstance(shape, MapShape):
        yield from _length(shape, value, path)
        for key, member in value.items():
            yield from _complaints(shape.key, key, f"{path}.{key}")
            yield from _complaints(shape.value, member, f"{path}.{key}")
    elif shape.type_name == "string":
        yield from _text(shape, str(value), path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if (least is not None and float(value) < least) or (most is not None and float(value) > most):
            yield f"{path}: {value} is not between {least} and {most}"


def _text(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _length(shape, value, path)
    enum = getattr(shape, "enum", None)
    # such as Batch's retry actions: "The values aren't case sensitive", of which Terraform's provider makes use
    seen = value.upper() if "aren't case sensitive" in shape.documentation else value
    if enum and seen not in enum:
        yield f"{path}: {value!r} is none of {', '.join(enum[:6])}"
    if (pattern := shape.metadata.get("pattern")) and not _matches(pattern, value):
        yield f"{path}: {value[:80]!r} does not match {pattern[:120]}"


def _matches(pattern: str, value: str) -> bool:
    """Whether the whole value has the pattern; what Python cannot read (`\\p{L}` and its like) is not looked at."""
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:
        return True


def _length(shape: Shape, value: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    if len(value) < least or (most is not None and len(value) > most):
        yield f"{path} has the length {len(value)}, not one between {least} and {most}"


def _unknown(shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    """The members of a JSON body that its model does not have: AWS ignores or refuses them."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        if "payload" in shape.serialization:
            shape = shape.members[shape.serialization["payload"]]
        members = {
            member.serialization.get("name", name): member for name, member in getattr(shape, "members", {}).items()
        }
        for name, member in value.items():
            if members and name not in members:
                yield f"{path}.{name} is unknown"
            elif members:
                yield from _unknown(members[name], member, f"{path}.{name}")
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for place, member in enumerate(value):
            yield from _unknown(shape.member, member, f"{path}[{place}]")
