"""Runs inside the container of an emulated Lambda: loads the handler once, then answers invocations one by one."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

CODE = "/var/task"
PORT = 8080


class Context:
    """What a handler gets as its second argument."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]


class Invocations(BaseHTTPRequestHandler):
    """`GET /` says that the handler is loaded; `POST /` is one invocation with the event as its body."""

    handler: Callable[[Any, Context], Any]

    def do_GET(self) -> None:
        self._answer({"ready": True})

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                result, failed = type(self).handler(event, Context()), False
                json.dumps(result)
            except BaseException as error:  # noqa: BLE001  (whatever the code under test raises is its answer)
                traceback.print_exc()
                result, failed = {"errorType": type(error).__name__, "errorMessage": str(error)}, True
        self._answer({"result": result, "failed": failed, "logs": printed.getvalue()})

    def log_message(self, *_: object) -> None:
        """Keep the container's own output empty."""

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Load the handler named by `_HANDLER` and serve."""
    sys.path.insert(0, CODE)
    os.chdir(CODE)
    module, _, function = os.environ["_HANDLER"].rpartition(".")
    Invocations.handler = staticmethod(getattr(importlib.import_module(module), function))
    HTTPServer(("0.0.0.0", PORT), Invocations).serve_forever()


if __name__ == "__main__":
    main()
