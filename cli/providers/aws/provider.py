"""The AWS provider behind `ports.Provider`: a Lambda webhook in front of AWS Batch, one cluster for all nodes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from msgspec.structs import replace as replaced

from ...addresses import is_loopback
from ...counting import counted
from ...errors import EnvironmentNotReady, NumeraiError, ProviderError
from ...models import Check, CostEstimate, Deployment, LogLine, Node, Run, WebhookCall
from ...ports import Report
from ...redaction import Redactor
from ...source import source_hash, source_of
from ..registry import ProviderContext
from .checks import aws_checks
from .cluster_outputs import ClusterOutputs
from .costs import estimate
from .cron import aws_cron
from .images import KEPT_IMAGES
from .keys import KeysSecret
from .logs import RunLogs, webhook_calls
from .moving import move_state
from .parts import AwsParts
from .policy import NO_ACCOUNT, minimal_policy
from .runs import BatchRuns
from .settings import DEFAULT_REGION, SETTINGS
from .sizes import provisioned_size
from .stack_file import Stack, StackNode
from .variables import check_name

HISTORY = 20
NO_CAPABILITIES = "AWS Batch adds none to a job, on Fargate or EC2; runs there have those that Docker gives by default"
"""Its LinuxParameters have no field for them (docs.aws.amazon.com/batch/latest/APIReference/API_LinuxParameters.html).
ECS, below it, has one, where Fargate allows SYS_PTRACE only (API_KernelCapabilities); without it a container has
Docker's default ones."""
REASONS = 20
"""For so many of the runs that are listed together, the newest, the log is asked why they failed."""


def create(context: ProviderContext) -> AwsProvider:
    """The provider; nothing is imported or contacted before it is used."""
    return AwsProvider(AwsParts(context))


class AwsProvider:
    """`ports.Provider` on AWS."""

    name = "aws"
    timed_here = False
    settings_table = SETTINGS
    no_capabilities: str | None = NO_CAPABILITIES

    def __init__(self, parts: AwsParts):
        self._parts = parts
        self._clock = parts.context.clock
        self._reasons: dict[str, str] = {}

    # a node's life

    def preview(self, node: Node) -> list[str]:
        """What `configure` would make in AWS, and what that costs a month, in words. Changes nothing.

        `UsageError` for a name, a size or a schedule that AWS does not take.
        """
        check_name(node, self._parts.settings.cluster)
        cpu, memory_mib = provisioned_size(node.cpu, node.memory_mib)
        cron = aws_cron(node.cron) if node.cron else None
        stack = self._stack()
        where = f"{self._parts.cluster.region}, account {self._parts.clients.account}"
        first = not [name for name in stack.staying if name != node.name]
        lines = []
        if not stack.applied:
            lines.append(
                f"Make the cluster {self._parts.settings.cluster} in {where}: network, Batch queue, webhook (Lambda), "
                "watcher (Lambda), bucket for trained models, secret for the Numerai keys, roles, logs, alarms"
            )
        if node.name not in stack.staying:
            lines.append(f"Make an image repository and a job definition for {node.name} in {where}")
        else:
            lines.append(f"Bring what {node.name} has in {where} up to date")
        size = f"{cpu:g} vCPU, {memory_mib / 1024:g} GiB, at most {counted(node.timeout_minutes, 'minute')}"
        lines.append(f"Runs get {size}" + (f", started by the schedule {cron} (UTC)" if cron else ""))
        if (cpu, memory_mib) != (node.cpu, node.memory_mib):
            lines.append(f"({node.cpu:g} vCPU with {node.memory_mib / 1024:g} GiB is not to be had; this is the next)")
        return [*lines, self._cost(node, first=first).describe()]

    def cost(self, node: Node) -> CostEstimate:
        """What the node costs a month, from its latest runs where there are any; what nodes share is counted with the
        first one by name."""
        others = [name for name in self._stack().staying if name < node.name]
        return self._cost(node, first=not others)

    def policy(self, note: Report) -> dict[str, Any]:
        """The IAM policy that suffices for everything this provider does."""
        settings, account = self._parts.settings, NO_ACCOUNT
        region = settings.region or DEFAULT_REGION
        try:
            region = self._parts.cluster.region
            account = self._parts.clients.account
        except NumeraiError as error:
            note(
                f"The number of the AWS account is not known: put it in place of {NO_ACCOUNT}. The policy is for the"
                f" region {region} (--region chooses another). Why: {error.in_full}"
            )
        return minimal_policy(settings.cluster, account, region)

    def configure(self, node: Node, report: Report) -> Node:
        """Bring the cluster to what the node needs; its webhook's address is made once and stays."""
        cpu, memory_mib = provisioned_size(node.cpu, node.memory_mib)
        node = replace(node, cpu=cpu, memory_mib=memory_mib)
        return replace(node, webhook_url=self._parts.cluster.configure(node, report))

    def webhook_url(self, node_name: str) -> str | None:
        """The cluster's own address of it."""
        stack = self._stack()
        record, outputs = stack.staying.get(node_name), ClusterOutputs(stack.outputs)
        if record is None or node_name not in outputs.nodes or outputs.optional("webhook_base_url") is None:
            return None
        return outputs.webhook_url(node_name, record.token)

    def move_state(self, remote: bool, report: Report) -> str | None:
        """Keep the cluster's state in a bucket from now on, or in the home folder again; returns the bucket's name, or
        None, which `setup` records as `state_bucket`. Nothing in the cluster changes.

        A cluster that is in the bucket already is adopted, as on a second machine. `UsageError` with code
        `two-clusters` when there is another one in the home folder.
        """
        return move_state(self._parts, remote, report)

    def reachable_by(self, api_url: str) -> bool:
        """Whether Numerai and the webhook are both in the world, or both on this machine, as in a rehearsal."""
        return is_loopback(api_url) == is_loopback(self._parts.clients.client("lambda").meta.endpoint_url)

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        """Build and push what the node runs, unless that is in place already."""
        record, repository = self._require_node(node.name)
        digest = self.source_hash(node)
        images, current = self._parts.images, record.deployment
        if current and not force and current.source_hash == digest and images.in_place(repository, current):
            return replace(current, changed=False)
        done = images.deploy(node, repository, digest, self._clock.now(), force=force, report=report)
        self._remember(node.name, done)
        images.forget_local(node.name, keep=KEPT_IMAGES)
        return done

    def history(self, node_name: str) -> list[str]:
        """The tags of the images that the node could run, as `roll_back` takes them."""
        return self._parts.images.history(self._require_node(node_name)[1])

    def roll_back(self, node_name: str, tag: str) -> Deployment:
        """Let an image that was deployed earlier run again. Nothing is built or pushed."""
        _, repository = self._require_node(node_name)
        done = self._parts.images.roll_back(node_name, repository, tag, self._clock.now())
        self._remember(node_name, done)
        return done

    def deployment(self, node_name: str) -> Deployment | None:
        record = self._stack().staying.get(node_name)
        return record.deployment if record else None

    def source_hash(self, node: Node) -> str:
        return source_hash(source_of(node))

    def notifies(self) -> bool:
        """Whether runs tell people by themselves how they ended. When AWS does not say, nobody may rely on it."""
        outputs = ClusterOutputs(self._stack().outputs)
        try:
            arn = outputs.optional("keys_secret_arn")
            return arn is not None and KeysSecret(self._parts.clients, arn).notifies
        except (EnvironmentNotReady, ProviderError):
            return False

    def wake(self, report: Report) -> None:
        """Nothing to do: the webhook is always there."""

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        """Stop what runs if forced, remove everything of the node, look that it is gone, and only then forget it."""
        if node_name not in self._stack().nodes:
            return
        deployed = self._stack().nodes[node_name].deployment
        self._parts.cluster.destroy(node_name, force=force, report=report)
        if deployed:
            self._parts.images.forget_local(node_name)

    # runs

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        self._require_node(node.name)
        runs = self._runs()
        return runs.submit(node.name) if trigger_id is None else runs.call_webhook(node.name, trigger_id)

    def run_without_submitting(self, node: Node) -> Run:
        """Start one run with NUMERAI_NO_SUBMIT set."""
        self._require_node(node.name)
        return self._runs().submit(node.name, submits=False)

    def run(self, run_id: str) -> Run:
        return self._runs().run(run_id)

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        """The node's latest runs, newest first. AWS Batch forgets a run some days after its end."""
        stack = self._stack()
        if node_name not in stack.staying or not stack.outputs:
            return []
        return self._runs(stack).runs(node_name, limit)

    def find_run(self, node_name: str, trigger_id: str) -> Run | None:
        stack = self._stack()
        if node_name not in stack.staying or not stack.outputs:
            return None
        return self._runs(stack).find(node_name, trigger_id)

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        stack = self._stack()
        runs = self._runs(stack)
        runs.job(run_id)
        return self._logs(stack).lines(lambda: runs.job(run_id), follow=follow)

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[WebhookCall]:
        stack = self._stack()
        record = stack.staying.get(node_name)
        if record is None or node_name not in ClusterOutputs(stack.outputs).nodes:
            return []
        group = ClusterOutputs(stack.outputs).text("webhook_log_group")
        return webhook_calls(self._parts.clients, group, node_name, record.since, limit)

    def cancel(self, run_id: str) -> Run:
        return self._runs().cancel(run_id)

    def checks(self, nodes: Iterable[Node]) -> Iterator[Check]:
        return aws_checks(self._parts, list(nodes), self)

    def _stack(self) -> Stack:
        return self._parts.cluster.file.read()

    def _runs(self, stack: Stack | None = None) -> BatchRuns:
        stack = stack or self._stack()
        if not stack.outputs:
            raise ProviderError(
                "There is no cluster on AWS yet, and so no run.",
                "Run `numerai node config -P aws`.",
                code="no-such-run",
            )
        asked, logs = itertools.count(), functools.cache(lambda: self._logs(stack))

        def reason(job: Mapping[str, Any]) -> str | None:
            known = self._reasons.get(job["jobId"])
            if known is None and next(asked) < REASONS and (known := logs().reason(job)):
                self._reasons[job["jobId"]] = known
            return known

        return BatchRuns(self._parts.clients, stack, self._clock, reason)

    def _logs(self, stack: Stack) -> RunLogs:
        keys = self._parts.context.keys()
        secrets = [keys.secret_key, keys.public_id] if keys else []
        redact = Redactor([*secrets, *self._parts.context.notify_urls().values()])
        lag, outputs = self._parts.settings.log_lag_seconds, ClusterOutputs(stack.outputs)
        return RunLogs(self._parts.clients, outputs, self._clock, lag, redact)

    def _cost(self, node: Node, *, first: bool) -> CostEstimate:
        stack = self._stack()
        known = node.name in stack.staying and stack.outputs
        # how long they took is all that counts here, and no log says that
        runs = BatchRuns(self._parts.clients, stack, self._clock).runs(node.name, HISTORY) if known else []
        return estimate(node, runs, use_spot=self._parts.settings.use_spot, first=first)

    def _remember(self, node_name: str, done: Deployment) -> None:
        def changed(stack: Stack) -> Stack:
            record = replaced(stack.nodes[node_name], deployment=done)
            return replaced(stack, nodes={**stack.nodes, node_name: record})

        self._parts.cluster.file.change(changed)
        self._runs().record_deployment(done)

    def _require_node(self, name: str) -> tuple[StackNode, str]:
        """The node's record and the repository of its images."""
        stack = self._stack()
        made = ClusterOutputs(stack.outputs).nodes.get(name)
        if name not in stack.staying or made is None:
            raise ProviderError(
                f"{name} is not configured on AWS.", "Run `numerai node config` first.", code="not-configured"
            )
        return stack.staying[name], made["repository_url"]
