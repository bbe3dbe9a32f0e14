"""What stock moto lacks for Lambda: warm containers of a local image, concurrency, and function URLs that answer."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import uuid
import zipfile
from dataclasses import dataclass, field
from tarfile import TarFile, TarInfo
from typing import Any

import docker
import moto.awslambda.models as models
import requests
from docker.models.containers import Container
from moto import settings
from moto.awslambda.models import LambdaBackend, LambdaFunction, lambda_backends
from moto.core.utils import unix_time_millis

from .access_keys import role_key
from .iam import Ask, decide
from .lambda_runtime import CODE, PORT

LABEL = "numerai-aws-emulator"
MOST_ENVIRONMENTS = 4
"""How many containers one function gets at most, whatever concurrency it has reserved: they share this machine."""
START_SECONDS = 60
THROTTLE_SECONDS = 30
LARGEST_REQUEST = 6 * 1024 * 1024
TEXT = ("application/json", "application/javascript", "application/xml", "text/")


class Throttled(Exception):
    """All environments of the function are busy."""


@dataclass
class Environments:
    """The warm containers of one version of a function's code and configuration."""

    version: str
    free: list[tuple[Container, str, str]] = field(default_factory=list)
    every: list[Container] = field(default_factory=list)
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_ENVIRONMENTS))


class Containers:
    """Starts, reuses and removes the containers of all functions."""

    def __init__(self, image: str, label: str):
        self._client = docker.from_env()
        self._image = image
        self._label = label
        self._lock = threading.Lock()
        self._functions: dict[str, Environments] = {}

    def invoke(self, function: LambdaFunction, event: Any) -> tuple[Any, bool]:
        """The handler's result and whether it failed. `Throttled` when no environment became free in time."""
        environments = self._environments(function)
        if not environments.slots.acquire(timeout=THROTTLE_SECONDS):
            raise Throttled
        try:
            with self._lock:
                free = environments.free.pop() if environments.free else None
            container, url, stream = free or self._start(function, environments)
            try:
                answer = requests.post(url, json=event, timeout=function.timeout).json()
            except requests.RequestException:
                container.remove(force=True)
                _log(function, stream, f"Task timed out after {function.timeout:.2f} seconds")
                return {"errorMessage": "Task timed out", "errorType": "Sandbox.Timedout"}, True
            _log(function, stream, answer["logs"])
            with self._lock:
                environments.free.append((container, url, stream))
            return answer["result"], answer["failed"]
        finally:
            environments.slots.release()

    def forget(self, name: str) -> None:
        """Remove the containers of a function that is gone or has changed."""
        with self._lock:
            environments = self._functions.pop(name, None)
        for container in environments.every if environments else []:
            _remove(container)

    def close(self) -> None:
        """Remove every container."""
        for name in list(self._functions):
            self.forget(name)

    def _environments(self, function: LambdaFunction) -> Environments:
        version = json.dumps(
            [function.code_digest, function.handler, function.environment_vars, function.memory_size, function.timeout]
        )
        with self._lock:
            known = self._functions.get(function.function_name)
        if known and known.version != version:
            self.forget(function.function_name)
        with self._lock:
            return self._functions.setdefault(function.function_name, Environments(version))

    def _start(self, function: LambdaFunction, environments: Environments) -> tuple[Container, str, str]:
        endpoint = f"{settings.moto_server_host()}:{settings.moto_server_port()}"
        container = self._client.containers.create(
            self._image,
            environment={
                "_HANDLER": function.handler,
                "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
                "AWS_REGION": function.region,
                "AWS_DEFAULT_REGION": function.region,
                "AWS_ACCESS_KEY_ID": role_key(function.role),
                "AWS_SECRET_ACCESS_KEY": "role",
                "AWS_ENDPOINT_URL": endpoint,
                **function.environment_vars,
            },
            mem_limit=f"{function.memory_size}m",
            ports={f"{PORT}/tcp": ("127.0.0.1", None)},
            extra_hosts={"host.docker.internal": "host-gateway"},
            labels={LABEL: self._label},
        )
        environments.every.append(container)
        container.put_archive(CODE, _tar_of_zip(function.code_bytes))
        container.start()
        container.reload()
        published = container.attrs["NetworkSettings"]["Ports"][f"{PORT}/tcp"][0]["HostPort"]
        url = f"http://127.0.0.1:{published}/"
        _wait_until_ready(container, url)
        day = time.strftime("%Y/%m/%d", time.gmtime())
        return container, url, f"{day}/[$LATEST]{uuid.uuid4().hex}"


def install(containers: Containers) -> None:
    """Let moto's functions run in these containers."""

    def invoke_lambda(self: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        result, failed = containers.invoke(self, json.loads(event) if isinstance(event, str) else event)
        return json.dumps(result), failed, ""

    def delete_function(self: LambdaBackend, function_name: str, qualifier: str | None = None) -> None:
        containers.forget(function_name.rpartition(":")[2])
        stock_delete(self, function_name, qualifier)

    def address(self: Any, function: LambdaFunction, config: dict[str, Any]) -> None:
        stock_config(self, function, config)
        self.url = f"http://127.0.0.1:{settings.moto_server_port()}/_url/{function.function_name}/"

    stock_delete = LambdaBackend.delete_function
    stock_config = models.FunctionUrlConfig.__init__
    LambdaFunction._invoke_lambda = invoke_lambda
    LambdaBackend.delete_function = delete_function
    models.FunctionUrlConfig.__init__ = address


class FunctionUrls:
    """A WSGI application that serves `/_url/<function>/...` as a function URL and hands the rest on."""

    def __init__(self, application: Any, containers: Containers, account: str):
        self._application = application
        self._containers = containers
        self._account = account

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith("/_url/"):
            return self._application(environ, start_response)
        status, headers, body = self._answer(environ)
        start_response(f"{status} Answer", [*headers.items(), ("content-length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        raw = environ.get("REQUEST_URI", environ["PATH_INFO"]).partition("?")[0]
        name, _, path = raw.removeprefix("/_url/").partition("/")
        function = self._function(name)
        if function is None:
            return _platform(404, None)
        if not url_open(function):
            return _platform(403, "Forbidden")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > LARGEST_REQUEST:
            return _platform(413, "Request must be smaller than 6291456 bytes for the InvokeFunction operation")
        event = _request_event(environ, f"/{path}", environ["wsgi.input"].read(length))
        try:
            result, failed = self._containers.invoke(function, event)
        except Throttled:
            return _platform(429, "Rate Exceeded.")
        if failed:
            return _platform(502, "Internal Server Error")
        body = result.get("body", "")
        content = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
        return int(result["statusCode"]), {"content-type": "application/json", **result.get("headers", {})}, content

    def _function(self, name: str) -> LambdaFunction | None:
        for region in lambda_backends[self._account].values():
            for function in region.list_functions(None):
                if function.function_name == name and function.url_config:
                    return function
        return None


def url_open(function: LambdaFunction) -> bool:
    """Whether the function's own policy lets everybody call it through its address, which takes both actions
    (docs.aws.amazon.com/lambda/latest/dg/urls-auth.html)."""
    document = function.policy.get_policy()["Policy"] if function.policy.statements else {"Statement": []}
    keys = {"lambda:FunctionUrlAuthType": "NONE", "lambda:InvokedViaFunctionUrl": "true"}
    asked = [Ask(f"lambda:{action}", function.function_arn, keys) for action in ("InvokeFunctionUrl", "InvokeFunction")]
    return all(decide(ask, [], None, document).allowed for ask in asked)


def _request_event(environ: dict[str, Any], path: str, body: bytes) -> dict[str, Any]:
    """The event that a function URL makes of a request (payload format 2.0)."""
    headers = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_") or key == "CONTENT_TYPE"
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": environ.get("QUERY_STRING", ""),
        "headers": headers,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "http": {"method": environ["REQUEST_METHOD"], "path": path, "sourceIp": environ.get("REMOTE_ADDR", "")},
        },
        "isBase64Encoded": False,
    }
    if body and not headers.get("content-type", "").startswith(TEXT):
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    elif body:
        event["body"] = body.decode("utf-8", errors="replace")
    return event


def _platform(status: int, message: str | None) -> tuple[int, dict[str, str], bytes]:
    """An answer of Lambda itself."""
    return status, {"content-type": "application/json"}, json.dumps({"Message": message}).encode()


def _log(function: LambdaFunction, stream: str, text: str) -> None:
    group = function.logs_group_name
    function.logs_backend.ensure_log_group(group)
    function.logs_backend.ensure_log_stream(group, stream)
    events = [{"timestamp": unix_time_millis(), "message": line} for line in text.splitlines()]
    if events:
        function.logs_backend.put_log_events(group, stream, events)


def _tar_of_zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, TarFile(fileobj=packed, mode="w") as target:
        for entry in source.infolist():
            info = TarInfo(entry.filename)
            info.size = entry.file_size
            info.mode = (entry.external_attr >> 16) & 0o777 or 0o644
            target.addfile(info, io.BytesIO(source.read(entry)))
    return packed.getvalue()


def _wait_until_ready(container: Container, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            requests.get(url, timeout=START_SECONDS)
            return
        except requests.RequestException:
            container.reload()
            if container.status != "running":
                raise RuntimeError(f"The function did not start: {container.logs().decode()}") from None
            time.sleep(0.05)
    raise RuntimeError("The function's container did not answer.")


def _remove(container: Container) -> None:
    try:
        container.remove(force=True)
    except docker.errors.NotFound:
        return
