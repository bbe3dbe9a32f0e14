"""The AWS provider behind `ports.Provider`: a Lambda webhook in front of AWS Batch, one cluster for all nodes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from msgspec.structs import replace as replaced

from ...addresses import is_loopback
from ...counting import counted
from ...errors import EnvironmentNotReady, NumeraiError, ProviderError, UsageError
from ...installation import extra_needed
from ...models import Check, CostEstimate, Deployment, LogLine, Node, Run, WebhookCall
from ...ports import Artifact, Clock, ForeignImage, Report
from ...redaction import Redactor
from ...source import source_hash, source_of
from ..registry import ProviderContext
from .artifacts import artifacts_in, put_artifacts_in
from .checks import aws_checks
from .clients import AwsClients, aws_errors
from .cluster_outputs import ClusterOutputs
from .costs import estimate
from .cron import aws_cron
from .images import KEPT_IMAGES, architecture_of
from .limits import in_words
from .logs import RunLogs, webhook_calls
from .moving import move_state
from .outcomes import waits_for
from .parts import AwsParts
from .policy import NO_ACCOUNT, minimal_policy, own_boundary
from .runs import BatchRuns
from .settings import DEFAULT_REGION, SETTINGS
from .sizes import beyond_fargate, provisioned_size
from .stack_file import Stack, StackNode
from .variables import check_name

HISTORY = 20
NO_CAPABILITIES = "AWS Batch adds none to a job, on Fargate or EC2; runs there have those that Docker gives by default"
"""Its LinuxParameters have no field for them (docs.aws.amazon.com/batch/latest/APIReference/API_LinuxParameters.html).
ECS, below it, has one, where Fargate allows SYS_PTRACE only (API_KernelCapabilities); without it a container has
Docker's default ones."""
FARGATE_START_SECONDS, HOST_START_SECONDS = 300, 900
"""How long a run may take to start before the test of a node calls that a failure: on Fargate it is mostly 1 to 2
minutes, more with a large image; for EC2 and GPUs a host has to start first, 3 to 6 minutes. AWS promises no time;
numerai-cli waits 15 minutes."""
REASONS = 20
"""For so many of the runs that are listed together, the newest, the log is asked why they failed."""


def create(context: ProviderContext) -> AwsProvider:
    """The provider; nothing is imported or contacted before it is used."""
    return AwsProvider(AwsParts(context))


# long: the port has many methods, and this is where each of them is handed to the part that does it
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

        `UsageError` for a name, a size or a schedule that AWS does not take, and for another account, region or cluster
        than the node's; `EnvironmentNotReady` where Terraform is needed and missing.
        """
        check_name(node, self._parts.settings.cluster)
        cpu, memory_mib = provisioned_size(node.cpu, node.memory_mib, self._parts.settings.architecture)
        cron = aws_cron(node.cron) if node.cron else None
        stack = self._parts.cluster.own()
        if not stack.applied:
            self._parts.require_terraform()
        where = f"{self._parts.cluster.region}, account {self._parts.clients.account}"
        first = not [name for name in stack.staying if name != node.name]
        lines = []
        if not stack.applied:
            lines.append(
                f"Make the cluster {self._parts.settings.cluster} in {where}: network, Batch queue, webhook (Lambda), "
                "watcher (Lambda), bucket for trained models, parameters for the Numerai keys, roles, logs, alarms"
            )
        if node.name not in stack.staying:
            lines.append(f"Make an image repository, a role and a job definition for {node.name} in {where}")
        else:
            lines.append(f"Bring what {node.name} has in {where} up to date")
        size = f"{cpu:g} vCPU, {memory_mib / 1024:g} GiB, at most {counted(node.timeout_minutes, 'minute')}"
        lines.append(f"Runs get {size}" + (f", started by the schedule {cron} (UTC)" if cron else ""))
        if (cpu, memory_mib) != (node.cpu, node.memory_mib):
            lines.append(f"({node.cpu:g} vCPU with {node.memory_mib / 1024:g} GiB is not to be had; this is the next)")
        less = in_words(self._parts.settings.webhook_concurrency, self._parts.cluster.webhook_concurrency)
        return [*lines, *([less] if less else []), self._cost(node, first=first).describe()]

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
        if settings.permissions_boundary is None:
            note(
                f"Make it as a managed policy named {settings.cluster}: it limits itself what the roles may do that are"
                " made with it. Who uses it runs `numerai setup -s -P aws --set"
                f" permissions_boundary={own_boundary(settings.cluster, account)}` once."
            )
        return minimal_policy(settings.cluster, account, region, boundary=settings.permissions_boundary)

    def configure(self, node: Node, report: Report) -> Node:
        """Bring the cluster to what the node needs; its webhook's address is made once and stays."""
        node = _provisioned(node, self._parts)
        node = replace(node, webhook_url=self._parts.cluster.configure(node, report))
        deployed = self.deployment(node.name)
        if deployed and not self._parts.images.fits(deployed.image):
            report(f"What is deployed is for linux/{architecture_of(deployed.image)}: run `numerai node deploy`")
        return node

    def expect(self, nodes: Iterable[Node], report: Report) -> None:
        self._parts.cluster.expect((_provisioned(node, self._parts) for node in nodes), report)

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

    def check_deploy(self, node: Node, *, force: bool) -> None:
        """A node that is not configured, an image for another processor than the cluster's, and a machine without an
        engine or the SDK are refused."""
        try:
            with extra_needed():
                import_module("boto3")
            self._parts.context.engine().version()
            _refuse_another_processor(self._require_node(node.name)[0].deployment, self._parts)
        except (EnvironmentNotReady, UsageError):
            if force or self._in_place(node, self.source_hash(node)) is None:  # else there is nothing to build
                raise

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        """Build and push what the node runs, unless that is in place already."""
        record, repository = self._require_node(node.name)
        images, digest = self._parts.images, self.source_hash(node)
        if not force and (current := self._in_place(node, digest)) is not None:
            return replace(current, changed=False)
        _refuse_another_processor(record.deployment, self._parts)
        done = images.deploy(node, repository, digest, self._clock.now(), force=force, report=report)
        self._remember(node.name, done)
        images.forget_local(node.name, keep=KEPT_IMAGES)
        return done

    def take_image(self, node: Node, image: ForeignImage, report: Report) -> Deployment:
        """Copy an image of another registry, and let the node run it."""
        repository = self._require_node(node.name)[1]
        done = self._parts.images.take(node, repository, image, self._clock.now(), report=report)
        self._remember(node.name, done)
        return done

    def history(self, node_name: str) -> list[str]:
        """The tags of the images that the node could run, as `roll_back` takes them."""
        return self._parts.images.history(self._require_node(node_name)[1])

    def roll_back(self, node_name: str, tag: str) -> Deployment:
        """Let an image that was deployed earlier run again. Nothing is built or pushed."""
        done = self._parts.images.roll_back(node_name, self._require_node(node_name)[1], tag, self._clock.now())
        self._remember(node_name, done)
        return done

    def deployment(self, node_name: str) -> Deployment | None:
        record = self._stack().staying.get(node_name)
        return record.deployment if record else None

    def artifacts(self, node_name: str) -> Iterator[Artifact]:
        if bucket := ClusterOutputs(self._stack().outputs).optional("artifacts_bucket"):
            yield from artifacts_in(self._parts.clients, bucket, node_name)

    def put_artifacts(self, node_name: str, artifacts: Iterable[Artifact]) -> None:
        bucket = ClusterOutputs(self._stack().outputs).text("artifacts_bucket")
        put_artifacts_in(self._parts.clients, bucket, node_name, artifacts)

    def source_hash(self, node: Node) -> str:
        return source_hash(source_of(node))

    def notifies(self) -> bool:
        """Whether runs tell people by themselves how they ended. When AWS does not say, nobody may rely on it."""
        outputs = self._stack().outputs
        try:
            return bool(outputs) and self._parts.cluster.stored_keys(outputs).notifies
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

    disk_gib = (20, 200)  # docs.aws.amazon.com/batch/latest/APIReference/API_EphemeralStorage.html

    def held(self) -> Sequence[str]:
        """The cluster, while its record is there."""
        stack = self._stack()
        return [f"the cluster {self._parts.settings.cluster} on AWS"] if stack.nodes or stack.outputs else []

    # runs

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        self._require_node(node.name)
        runs = self._runs()
        return runs.submit(node.name) if trigger_id is None else runs.call_webhook(node.name, trigger_id)

    def run_without_submitting(self, node: Node) -> Run:
        """Start one run with NUMERAI_NO_SUBMIT set."""
        self._require_node(node.name)
        return self._runs().submit(node.name, submits=False)

    def train(self, node: Node) -> Run:
        self._require_node(node.name)
        return self._runs().submit(node.name, submits=False, trains=True)

    def start_seconds(self, node: Node) -> float:
        return HOST_START_SECONDS if beyond_fargate(node.cpu, node.memory_mib) else FARGATE_START_SECONDS

    def waits_for(self, run_id: str) -> str | None:
        return waits_for(self._runs().job(run_id))

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

    def artifact(self, node_name: str, name: str) -> bytes | None:
        """What is below the node's own prefix in the cluster's bucket."""
        stack = self._stack()
        outputs = ClusterOutputs(stack.outputs)
        if node_name not in stack.staying or node_name not in outputs.nodes:
            return None
        key, bucket = f"{node_name}/{name}", outputs.text("artifacts_bucket")
        found = self._parts.clients.shows("s3", "get_object", Bucket=bucket, Key=key)
        with aws_errors():
            return None if found is None else bytes(found["Body"].read())

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
        return _batch_runs(self._parts.clients, stack, self._clock, self._reasons, lambda: self._logs(stack))

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
        settings = self._parts.settings
        return estimate(node, runs, use_spot=settings.use_spot, first=first, architecture=settings.architecture)

    def _remember(self, node_name: str, done: Deployment) -> None:
        def changed(stack: Stack) -> Stack:
            record = replaced(stack.nodes[node_name], deployment=done)
            return replaced(stack, nodes={**stack.nodes, node_name: record})

        self._parts.cluster.file.change(changed)
        self._runs().record_deployment(done)

    def _in_place(self, node: Node, digest: str) -> Deployment | None:
        """What is deployed, where that has this digest, and is still there."""
        record, repository = self._require_node(node.name)
        done = record.deployment
        same = done is not None and done.source_hash == digest
        return done if same and done and self._parts.images.in_place(repository, done) else None

    def _require_node(self, name: str) -> tuple[StackNode, str]:
        """The node's record and the repository of its images."""
        stack = self._stack()
        made = ClusterOutputs(stack.outputs).nodes.get(name)
        if name not in stack.staying or made is None:
            raise ProviderError(
                f"{name} is not configured on AWS.", "Run `numerai node config` first.", code="not-configured"
            )
        return stack.staying[name], made["repository_url"]


def _batch_runs(
    clients: AwsClients, stack: Stack, clock: Clock, reasons: dict[str, str], open_logs: Callable[[], RunLogs]
) -> BatchRuns:
    """The cluster's runs. `reasons` holds why those failed that were asked about before."""
    if not stack.outputs:
        raise ProviderError(
            "There is no cluster on AWS yet, and so no run.",
            "Run `numerai node config -P aws`.",
            code="no-such-run",
        )
    asked, logs = itertools.count(), functools.cache(open_logs)

    def reason(job: Mapping[str, Any]) -> str | None:
        known = reasons.get(job["jobId"])
        if known is None and next(asked) < REASONS and (known := logs().reason(job)):
            reasons[job["jobId"]] = known
        return known

    return BatchRuns(clients, stack, clock, reason)


def _provisioned(node: Node, parts: AwsParts) -> Node:
    """The node with the size that it gets."""
    cpu, memory_mib = provisioned_size(node.cpu, node.memory_mib, parts.settings.architecture)
    return replace(node, cpu=cpu, memory_mib=memory_mib)


def _refuse_another_processor(current: Deployment | None, parts: AwsParts) -> None:
    """Raise where the setting `architecture` was changed, and the cluster was not: an image for it could not start."""
    if current and not parts.images.fits(current.image) and not parts.cluster.up_to_date(parts.file.read()):
        raise UsageError(
            f"The cluster still runs images for linux/{architecture_of(current.image)}.",
            "Run `numerai node config` first, which changes it, then deploy.",
            code="wrong-platform",
        )
