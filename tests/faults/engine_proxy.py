"""A socket before the Docker engine's, which can be cut: for its users the engine is then gone. The engine never is."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path


class EngineProxy:
    """Listens beside the engine's own socket; `url` is for DOCKER_HOST."""

    def __init__(self) -> None:
        self._engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        # A socket's path may have 107 bytes, which a test's own folder can exceed.
        self._folder = tempfile.TemporaryDirectory(prefix="engine-")
        self._path = Path(self._folder.name) / "docker.sock"
        self.url = f"unix://{self._path}"
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self.mend()

    def mend(self) -> None:
        """Listen."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._path.unlink()
        with self._lock:
            for each in [self._listener, *self._connections]:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._connections.clear()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._engine)
            with self._lock:
                self._connections += [client, engine]
            for pair in ((client, engine), (engine, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()

    def __enter__(self) -> EngineProxy:
        return self

    def __exit__(self, *error: object) -> None:
        if self._path.exists():
            self.cut()
        self._folder.cleanup()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
