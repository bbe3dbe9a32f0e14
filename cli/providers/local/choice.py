"""Whether a node runs in containers or as processes: chosen at its first deploy and recorded."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import EnvironmentNotReady, UsageError
from ...models import Node
from ...ports import HowItRuns, Report
from .docker_executor import DockerExecutor
from .executor import Executor
from .process_executor import ProcessExecutor
from .store import RunStore

WHAT = {DockerExecutor.name: "in containers", ProcessExecutor.name: "as processes of this machine"}
AUTO = "auto"


class ExecutorChoice:
    """Chooses executors. `setting` is the setting `executor`; `probe` raises `EnvironmentNotReady` when no container
    engine answers."""

    def __init__(self, setting: str, store: RunStore, executor: Callable[[str], Executor], probe: Callable[[], object]):
        self._setting = setting
        self._store = store
        self._executor = executor
        self._probe = probe

    def recorded(self, node_name: str) -> str | None:
        """What the node was last deployed for, or was meant to be by a first deploy that failed later."""
        if (stored := self._store.deployment(node_name)) is not None:
            return stored.executor
        return DockerExecutor.name if self._store.fact(f"containers of {node_name}") else None

    def of_node(self, node: Node, report: Report) -> Executor:
        """The executor of a node, as `decide` says; why, is reported."""
        executor, how = self.decide(node)
        if how.why is not None:
            report(how.why)
        return executor

    def decide(self, node: Node) -> tuple[Executor, HowItRuns]:
        """The executor of a node: what the setting names, else what is recorded for the node, else by what there is.

        A node of another provider is an image there, so without the setting it runs in containers here, too.
        `EnvironmentNotReady` when it runs in containers and no engine answers: it never becomes a process by itself.
        `UsageError` with code `needs-image` when it was to be a process, but is built from a folder above its own.
        """
        recorded = self.recorded(node.name) if node.provider == "local" else DockerExecutor.name
        wanted, why = recorded if self._setting == AUTO else self._setting, None
        if node.context is not None and wanted == ProcessExecutor.name:
            raise UsageError(
                f"{node.name} is built from {node.context}: only an image can be, and it is to run as a process.",
                f"`numerai config set executor docker` runs it in a container. {_alone(node)}",
                code="needs-image",
            )
        if wanted is None:
            wanted, why = self._first(node)
        elif wanted == DockerExecutor.name:
            self._require_engine(node)
        if recorded is not None and wanted != recorded:
            why = f"{node.name} ran {WHAT[recorded]}; a deploy lets it run {WHAT[wanted]}, as `executor` is set."
        new = why is not None
        if self._setting == AUTO and recorded == ProcessExecutor.name:
            why = f"{node.name} runs {WHAT[recorded]}, as before; `numerai config set executor docker` changes that."
        return self._executor(wanted), HowItRuns(WHAT[wanted], why, new)

    def for_new_nodes(self) -> Executor:
        """What a node would be deployed for that never was."""
        if self._setting != AUTO:
            return self._executor(self._setting)
        try:
            self._probe()
        except EnvironmentNotReady:
            return self._executor(ProcessExecutor.name)
        return self._executor(DockerExecutor.name)

    def _first(self, node: Node) -> tuple[str, str | None]:
        """What a node is deployed for that never was, and why that is not containers."""
        try:
            self._probe()
        except EnvironmentNotReady as error:
            if node.context is not None:
                why = f"{error.message} {node.name} is built from {node.context}, so it runs in containers only."
                raise EnvironmentNotReady(why, f"Start Docker. {_alone(node)}", code=error.code) from error
            what = WHAT[ProcessExecutor.name]
            return ProcessExecutor.name, (
                f"{error.message} So {node.name} runs {what}, now and at later deploys;"
                " `numerai config set executor docker` (or NUMERAI_EXECUTOR=docker) changes that."
            )
        return DockerExecutor.name, None

    def _require_engine(self, node: Node) -> None:
        try:
            self._probe()
        except EnvironmentNotReady as error:
            raise EnvironmentNotReady(
                f"{error.message} {node.name} runs in containers, and does not become a process by itself.",
                error.hint,
                code=error.code,
            ) from error


def _alone(node: Node) -> str:
    return f"`numerai node -m {node.name} config --context ''` builds from its own folder alone."
