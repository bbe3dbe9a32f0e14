"""What the command `numerai sandbox serve` does: choose addresses, serve, stop when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from ..files.private import owner_only
from ..signals import ending_signals
from .serve import LOOPBACK, RunningSandbox, serve
from .settings import Settings

if TYPE_CHECKING:
    from ..ports import ContainerEngine

AUTO = "auto"


def listening_hosts(hosts: Iterable[str], engine: Callable[[], ContainerEngine]) -> list[str]:
    """The addresses to listen on; `auto` is loopback and, on native Linux Docker, the address containers reach."""
    chosen: list[str] = []
    for host in hosts:
        chosen += [LOOPBACK, *_gateway(engine)] if host == AUTO else [host]
    return list(dict.fromkeys(chosen))


def serve_until_stopped(
    settings: Settings, hosts: list[str], port: int, announce: Callable[[RunningSandbox], None]
) -> None:
    """Serve, announce what is served, and return after SIGTERM or Ctrl-C."""
    stop = threading.Event()
    with owner_only(), ending_signals(stop), serve(settings, port=port, hosts=hosts) as running:
        announce(running)
        # Windows delivers a signal only to a main thread that comes up for air.
        while not stop.wait(0.5):
            pass


def _gateway(engine: Callable[[], ContainerEngine]) -> list[str]:
    try:
        address = engine().gateway()
    except NumeraiError:
        return []
    return [] if address is None else [address]
