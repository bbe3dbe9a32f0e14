"""The local provider behind `ports.Provider`: every command works on the database, whether the daemon runs or not."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ...addresses import is_loopback
from ...errors import ProviderError, UsageError
from ...models import Check, Deployment, LogLine, Node, Run, WebhookCall
from ...ports import Artifact, HowItRuns, Report, Silence
from ...schedule import validate_cron
from ...source import source_hash, source_of
from ...triggers import NO_SUBMIT, TRAIN
from ..registry import ProviderContext
from ..webhooks.calls import TRIGGER_ID
from .answering import silence_at
from .checks import local_checks
from .choice import WHAT
from .daemon import COMMAND, daemon_differs, lock_is_held, no_daemon, stop_daemon
from .docker_executor import DockerExecutor
from .parts import LocalParts
from .process_executor import ProcessExecutor
from .run_log import read_log, remove_log
from .settings import SETTINGS
from .store import Job

FOLLOW_SECONDS = 0.1
DAEMON_LOOK_SECONDS = 2.0
CANCEL_SECONDS = 60.0
HEARD_SECONDS = 1.0


def create(context: ProviderContext) -> LocalProvider:
    """The provider; nothing is touched before it is used."""
    return LocalProvider(context)


class LocalProvider:
    """`ports.Provider` on this machine."""

    name = "local"
    timed_here = True
    settings_table = SETTINGS
    no_capabilities: str | None = None

    def __init__(self, context: ProviderContext, daemon_command: Sequence[str] = COMMAND):
        self._context = context
        self._parts = LocalParts(context)
        self._store = self._parts.store
        self._clock = context.clock
        self._daemon_command = daemon_command
        self._heard: tuple[float, Silence | None] | None = None

    # a node's life

    def configure(self, node: Node, report: Report) -> Node:
        """Record the node; its webhook's address is made once and stays."""
        if node.cron:
            validate_cron(node.cron)
        stored = self._store.save_node(node, self._clock.now())
        return replace(node, webhook_url=self._parts.webhook_url(node.name, stored.token))

    def webhook_url(self, node_name: str) -> str | None:
        """By the settings as they are, which a daemon that was started earlier need not have."""
        stored = self._store.node(node_name) if self._parts.paths.database.exists() else None
        return self._parts.webhook_url(node_name, stored.token) if stored else None

    def silence(self) -> Silence | None:
        """Why the daemon does not answer where the registered webhooks lead. Asked once for all nodes that are looked
        at together."""
        now = self._clock.monotonic()
        if self._heard is None or now - self._heard[0] > HEARD_SECONDS:
            self._heard = now, silence_at(self._context, self._parts.webhook_base, self._parts.port)
        return self._heard[1]

    def differences(self) -> list[str]:
        """In words, where the daemon that runs stands on something else than this shell."""
        return daemon_differs(self._parts)

    def restart(self, report: Report) -> None:
        """Stop the daemon if it runs, and start it."""
        self._heard = None
        stop_daemon(self._context)
        self.wake(report)

    def reachable_by(self, api_url: str) -> bool:
        """Whether Numerai is on this machine, as the sandbox is, or a public address leads here."""
        return is_loopback(api_url) or self._parts.settings.public_url is not None

    def how_it_runs(self, node: Node) -> HowItRuns:
        """In containers, or as processes of this machine."""
        return self._parts.choice.decide(node)[1]

    def check_deploy(self, node: Node, *, force: bool) -> None:
        """A node that is not configured, or cannot run as it is set to, is refused."""
        self._parts.choice.decide(node)
        self._require_node(node.name)

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        """Build what the node runs, unless that is there already."""
        self._require_node(node.name)
        executor, digest = self._parts.choice.of_node(node, report), self.source_hash(node)
        current = self._store.deployment(node.name)
        if (
            current is not None
            and not force
            and (current.executor, current.deployment.source_hash) == (executor.name, digest)
            and executor.present(current.reference)
        ):
            return current.deployment
        if executor.name == DockerExecutor.name:
            self._store.fact_once(f"containers of {node.name}", "yes")
        image, reference = executor.build(node, digest, report, force=force)
        deployment = Deployment(node.name, image, digest, self._clock.now(), changed=True)
        self._store.save_deployment(deployment, executor.name, reference)
        if current is not None and current.executor != executor.name:
            report(
                f"{node.name} ran {WHAT[current.executor]}; it now runs {WHAT[executor.name]}, as `executor` is set."
            )
        used = {job.reference for job in self._store.active(node.name) if job.reference}
        executor.forget_old(node.name, {reference, *used})
        return deployment

    def deployment(self, node_name: str) -> Deployment | None:
        stored = self._store.deployment(node_name)
        return stored.deployment if stored else None

    def artifacts(self, node_name: str) -> Iterator[Artifact]:
        if (stored := self._store.deployment(node_name)) is not None:
            yield from self._parts.executor(stored.executor).artifacts(node_name, stored.reference)

    def put_artifacts(self, node_name: str, artifacts: Iterable[Artifact]) -> None:
        if (stored := self._store.deployment(node_name)) is not None:
            self._parts.executor(stored.executor).put_artifacts(node_name, stored.reference, artifacts)

    def source_hash(self, node: Node) -> str:
        return source_hash(source_of(node))

    def wake(self, report: Report) -> None:
        """Start the daemon unless it runs, as the service where one is installed."""
        from .service import bring_up_daemon

        self._heard = None
        bring_up_daemon(self._context, report=report, command=self._daemon_command)

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        """Stop what runs if forced, remove everything of the node, look that it is gone, and only then forget it."""
        active = self._store.active(node_name)
        if active and not force:
            raise ProviderError(
                f"Run {active[0].run.id} of {node_name} is {active[0].run.state.value}.",
                "Wait for its end, or use --force to stop it.",
                code="run-active",
            )
        self._store.close_webhook(node_name)
        for job in self._store.active(node_name):
            self.cancel(job.run.id)
        self._parts.executor(ProcessExecutor.name).destroy(node_name, report)
        if self._store.fact(f"containers of {node_name}"):
            self._parts.executor(DockerExecutor.name).destroy(node_name, report)
        for run in self._store.runs(node_name, limit=-1):
            for attempt in range(1, run.attempt + 1):
                remove_log(self._parts.paths.log(run.id, attempt), self._parts.paths.root)
        containers = self._store.fact(f"containers of {node_name}")
        if not [stored for stored in self._store.nodes() if stored.node.name != node_name]:
            self._parts.executor(ProcessExecutor.name).destroy_shared()
            if containers:
                self._parts.executor(DockerExecutor.name).destroy_shared()
        self._store.forget_node(node_name)

    # runs

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        if trigger_id is not None and not TRIGGER_ID.fullmatch(trigger_id):
            raise UsageError(
                f"'{trigger_id}' is not a trigger id.",
                "It has up to 128 letters, digits, and any of . _ : -",
                code="bad-trigger-id",
            )
        self._require_node(node.name)
        return self._store.add_run(node.name, trigger_id, self._clock.now())

    def run_without_submitting(self, node: Node) -> Run:
        self._require_node(node.name)
        return self._store.add_run(node.name, f"{NO_SUBMIT}{secrets.token_hex(8)}", self._clock.now())

    def train(self, node: Node) -> Run:
        self._require_node(node.name)
        return self._store.add_run(node.name, f"{TRAIN}{secrets.token_hex(8)}", self._clock.now())

    def run(self, run_id: str) -> Run:
        return self._job(run_id).run

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        return self._store.runs(node_name, limit)

    def find_run(self, node_name: str, trigger_id: str) -> Run | None:
        return self._store.run_of_trigger(node_name, trigger_id)

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        """What the run printed, all attempts in order; with `follow` until the run has ended.

        While following, `ProviderError` with code `daemon-down` when nobody executes the run.
        """
        attempt, offset, looked = 1, 0, self._clock.monotonic()
        while True:
            run = self.run(run_id)
            lines, offset = read_log(self._parts.paths.log(run_id, attempt), offset)
            yield from lines
            if lines:
                continue  # there may be more
            if run.attempt > attempt:
                attempt, offset = attempt + 1, 0
            elif run.state.final or not follow:
                return
            else:
                if self._clock.monotonic() - looked > DAEMON_LOOK_SECONDS:
                    looked = self._clock.monotonic()
                    self._require_daemon(run)
                self._clock.sleep(FOLLOW_SECONDS)

    def artifact(self, node_name: str, name: str) -> bytes | None:
        """Where the node runs now: in the volume of its containers, or in the folder of its processes."""
        stored = self._store.deployment(node_name)
        if stored is None:
            return None
        return self._parts.executor(stored.executor).artifact(node_name, stored.reference, name)

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[WebhookCall]:
        return self._store.calls(node_name, limit)

    def cancel(self, run_id: str) -> Run:
        self._job(run_id)
        give_up = self._clock.monotonic() + CANCEL_SECONDS + self._parts.settings.grace_seconds
        while True:
            self._store.ask_to_cancel(run_id, self._clock.now())  # again: it may wait for another attempt by now
            job = self._job(run_id)
            if job.run.state.final:
                return job.run
            with no_daemon(self._parts.paths) as alone:
                if alone:
                    self._parts.execution().cancel_abandoned(job)
                    continue
            if self._clock.monotonic() > give_up:
                raise ProviderError(
                    f"Run {run_id} was asked to stop, but has not yet.",
                    f"Look at {self._parts.paths.daemon_log}.",
                    code="not-stopped",
                )
            self._clock.sleep(FOLLOW_SECONDS)

    def checks(self, nodes: Iterable[Node]) -> Iterator[Check]:
        return local_checks(self._parts, nodes, self.source_hash)

    def _job(self, run_id: str) -> Job:
        job = self._store.job(run_id)
        if job is None:
            raise ProviderError(
                f"There is no run {run_id}.", "`numerai node status` lists the runs of a node.", code="no-such-run"
            )
        return job

    def _require_node(self, name: str) -> None:
        if self._store.node(name) is None:
            raise ProviderError(
                f"{name} is not configured on this machine.", "Run `numerai node config` first.", code="not-configured"
            )

    def _require_daemon(self, run: Run) -> None:
        if not lock_is_held(self._parts.paths):
            raise ProviderError(
                f"Run {run.id} is {run.state.value}, but the daemon does not run.",
                "Start it with `numerai daemon start`.",
                code="daemon-down",
            )
