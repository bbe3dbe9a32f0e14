"""Serves a sandbox over HTTP, in threads of this process."""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from ..installation import EXTRAS, missing_part
from .settings import Settings

if TYPE_CHECKING:
    from .core import Sandbox
    from .data.catalog import Catalog
    from .http.server import SandboxServer

LOOPBACK = "127.0.0.1"


def serve(
    settings: Settings | None = None,
    *,
    port: int = 0,
    hosts: Sequence[str] = (LOOPBACK,),
    catalog: Catalog | None = None,
) -> RunningSandbox:
    """Start a sandbox and return it once it answers. `port` 0 takes a free one; every host gets the same port.

    `EnvironmentNotReady` when the libraries of the extra `sandbox` are not installed, `NumeraiError` with code
    `port-in-use` or `address-unusable` when it cannot listen there.
    """
    _require_libraries()
    from .core import Sandbox

    chosen = (settings or Settings()).with_environment()
    if chosen.schema_changes:
        from .api.executor import schema

        schema(chosen.schema_changes)
    servers: list[SandboxServer] = []
    with ExitStack() as undo:
        sandbox = Sandbox(chosen, catalog)
        undo.callback(sandbox.close)
        sandbox.start()
        for host in dict.fromkeys(hosts):
            servers.append(undo.enter_context(_listen(host, port, sandbox)))
            port = servers[-1].port
        undo.pop_all()
    return RunningSandbox(sandbox, servers)


class RunningSandbox(AbstractContextManager["RunningSandbox"]):
    """A sandbox that answers. Closing it frees its addresses and removes its scratch files."""

    def __init__(self, sandbox: Sandbox, servers: Sequence[SandboxServer]) -> None:
        self.sandbox = sandbox
        self._servers = servers
        host, port = self._servers[0].server_address[:2]
        self.port = int(port)
        self.url = f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"
        self.public_id = sandbox.account.token.public_id
        self.secret_key = sandbox.account.token.secret_key
        self.models = {model.name: model.id for model in sandbox.account.models()}
        self._threads = [
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="sandbox-http", daemon=True
            )
            for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop answering, end every connection and let go of the state."""
        self.sandbox.stopping.set()
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join(timeout=10)
        self.sandbox.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _require_libraries() -> None:
    """Look for what is imported later, so that a missing library is said at once and not by the first request."""
    from importlib.util import find_spec

    for name in EXTRAS["sandbox"]:
        if find_spec(name) is None:
            raise missing_part(ImportError(name=name)) or AssertionError(name)


def _listen(host: str, port: int, sandbox: Sandbox) -> SandboxServer:
    from .http.server import SandboxServer

    try:
        return SandboxServer(host, port, sandbox)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
            raise NumeraiError(
                f"Port {port} on {host} is in use.", "Choose another --port; 0 takes a free one.", code="port-in-use"
            ) from error
        raise NumeraiError(
            f"The sandbox cannot listen on {host}:{port}: {error.strerror or error}.",
            "Choose another --host.",
            code="address-unusable",
        ) from error
