"""Runs a node's container on this machine, in the foreground: no webhook, no daemon, nothing recorded."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from ...errors import EnvironmentNotReady, NumeraiError
from ...models import LogLine, Node, Run, RunState
from ...ports import Report
from ...signals import ending_signals
from ...source import check_source, source_hash, source_of
from ..environment import container_environment
from ..outcomes import LOGS, Outcome, of_test
from ..registry import ProviderContext
from .docker_executor import DockerExecutor
from .executor import Attempt, Executor, StartFailed
from .parts import LocalParts
from .rehearsals import PREFIX
from .run_log import read_log, remove_log
from .scheduler import RunControl

LOOK_SECONDS = 0.1


class LocalRehearsal:
    """`ports.Rehearsal` with the local provider's executors; works for nodes of every provider."""

    def __init__(self, context: ProviderContext):
        self._context = context
        self._parts = LocalParts(context)

    def rehearse(
        self,
        node: Node,
        command: Sequence[str],
        *,
        report: Report,
        on_log: Callable[[LogLine], None],
        submits: bool = True,
    ) -> Run:
        source = source_of(node)
        check_source(source, home=self._context.home)
        keys = self._context.keys()
        if keys is None:
            raise EnvironmentNotReady("There are no Numerai keys.", "Run `numerai setup`.", code="no-keys")
        executor = self._parts.choice.of_node(node, report)
        _, reference = executor.build(node, source_hash(source), report)
        began = self._context.clock.now()
        run_id = f"{PREFIX}{secrets.token_hex(6)}"
        artifacts, cache = executor.environment_places(node)
        attempt = Attempt(
            run_id=run_id,
            number=1,
            node=node,
            reference=reference,
            deadline=began + timedelta(minutes=node.timeout_minutes),
            environment=container_environment(
                node,
                keys,
                run_id,
                None,
                artifacts,
                in_container=executor.name == DockerExecutor.name,
                cache=cache,
                submits=submits,
            ),
            command=tuple(command),
        )
        self._parts.rehearsals.try_to_remove_abandoned([executor])
        stop = threading.Event()
        with ending_signals(stop), self._parts.rehearsals.going_on(run_id, executor.name):
            outcome = self._outcome(executor, attempt, on_log, stop)
        if stop.is_set():
            raise KeyboardInterrupt
        if not submits:
            outcome = of_test(outcome)
        return Run(
            id=run_id,
            node=node.name,
            state=outcome.state,
            created_at=began,
            started_at=began,
            ended_at=self._context.clock.now(),
            exit_code=outcome.exit_code,
            failure=outcome.failure,
            message=outcome.message and outcome.message.replace(LOGS, "The log above"),
        )

    def _outcome(
        self, executor: Executor, attempt: Attempt, on_log: Callable[[LogLine], None], stop: threading.Event
    ) -> Outcome:
        control, outcomes = RunControl(), list[Outcome | None]()
        try:
            executor.start(attempt)
            waiter = threading.Thread(target=lambda: outcomes.append(executor.wait(attempt, control)))
            waiter.start()
            try:
                self._show(attempt, waiter, on_log, stop)
            finally:
                control.cancel()
                waiter.join()
        except StartFailed as error:
            return Outcome(RunState.FAILED, None, error.failure, error.message)
        finally:
            executor.discard(attempt)
            remove_log(self._parts.paths.log(attempt.run_id, attempt.number), self._parts.paths.root)
        outcome = outcomes[0] if outcomes else None
        if outcome is None:
            raise NumeraiError(f"How the container of {attempt.node.name} ended is not known.", "numerai doctor")
        return outcome

    def _show(
        self, attempt: Attempt, waiter: threading.Thread, on_log: Callable[[LogLine], None], stop: threading.Event
    ) -> None:
        log, offset, ended = self._parts.paths.log(attempt.run_id, attempt.number), 0, False
        while not stop.is_set():
            lines, offset = read_log(log, offset)
            for line in lines:
                on_log(line)
            if lines:
                continue  # there may be more
            if ended:
                return
            waiter.join(LOOK_SECONDS)
            ended = not waiter.is_alive()
