"""Puts the local provider's parts together, for the commands and for the daemon alike; each is made when needed."""

from __future__ import annotations

import secrets
import socket
from functools import cached_property

from ..registry import ProviderContext
from .choice import ExecutorChoice
from .docker_executor import DockerExecutor
from .executor import Executor
from .process_executor import ProcessExecutor
from .rehearsals import Rehearsals
from .run_log import last_lines
from .scheduler import RunExecution
from .settings import LocalPaths, LocalSettings, read_settings
from .store import RunStore

LAST_LINES = 500
"""So many lines of a failed run are looked through for its reason."""


class LocalParts:
    """The parts, sharing one database connection."""

    def __init__(self, context: ProviderContext):
        self.context = context
        self.paths = LocalPaths(context.home)
        self.store = RunStore(self.paths.database)
        self._executors: dict[str, Executor] = {}

    @cached_property
    def settings(self) -> LocalSettings:
        """The checked settings."""
        return read_settings(self.context.settings)

    @property
    def home_id(self) -> str:
        """Tells what belongs to this home folder from what another one has put into the same engine."""
        return self.store.fact("home") or self.store.fact_once("home", secrets.token_hex(4))

    @property
    def port(self) -> int:
        """The webhook's port: as set, else a free one that is chosen once, as the registered webhooks hold it."""
        if self.settings.port is not None:
            return self.settings.port
        return int(self.store.fact("port") or self.store.fact_once("port", str(_free_port(self.settings.host))))

    @property
    def webhook_base(self) -> str:
        """What a webhook's address begins with."""
        return self.settings.public_url or f"http://127.0.0.1:{self.port}"

    def webhook_url(self, node_name: str, token: str) -> str:
        """The address of a node's webhook."""
        return f"{self.webhook_base}/{node_name}/{token}"

    def executor(self, name: str) -> Executor:
        """The executor of that name."""
        if name not in self._executors:
            if name == DockerExecutor.name:
                self._executors[name] = DockerExecutor(
                    self.context.engine, self.paths, self.settings, self.context.clock, lambda: self.home_id
                )
            else:
                self._executors[name] = ProcessExecutor(self.paths, self.settings, self.context.clock)
        return self._executors[name]

    @cached_property
    def choice(self) -> ExecutorChoice:
        """What decides between containers and processes."""
        return ExecutorChoice(
            self.settings.executor, self.store, self.executor, lambda: self.context.engine().version()
        )

    @property
    def rehearsals(self) -> Rehearsals:
        """The runs in the foreground."""
        return Rehearsals(self.paths, self.executor)

    def used_executors(self) -> list[Executor]:
        """Those that have anything to do with what is configured here."""
        names = {stored.executor for stored in self.store.deployments()}
        return [self.executor(name) for name in sorted(names)]

    def execution(self) -> RunExecution:
        """What brings a run to its end."""
        return RunExecution(
            self.store,
            self.executor,
            self.context.keys,
            self.context.clock,
            self.settings,
            lambda run_id, attempt: last_lines(self.paths.log(run_id, attempt), LAST_LINES),
        )


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
