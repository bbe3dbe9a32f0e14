"""What the official numerai-cli has made in AWS: read from its own files, removed by its own Terraform state.

Source: github.com/numerai/numerai-cli, `numerai/terraform` and `numerai/cli/util/docker.py` of 0.3.0 to 1.1.7. Its
Terraform runs in a container with `~/.numerai/aws` as the working folder (0.3: `~/.numerai`) and has its state in
`terraform.tfstate` there. The region is us-east-1. The output `aws_nodes` holds by node `docker_repo`, `webhook_url`
and the log groups. It asks for Terraform 1.5.6 and no other (0.3: 0.14). A state says by itself all that a removal
needs, the order included, and every later Terraform reads it: so that description is not used, and an empty one takes
its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ...adapters.terraform_runner import LOCK_FILE, TerraformRunner
from ...errors import EnvironmentNotReady, ProviderError
from ...files.private import make_private_folder, remove_tree, write_private
from ...ports import ForeignImage, OfficialCluster, OfficialNode, Report
from .clients import AwsClients, aws_errors, connects_with, present
from .cluster import slow_ones
from .image_registry import ImageRegistry
from .official_state import OfficialState, for_removal, read_state, unusable
from .settings import DEFAULT_REGION, AwsPaths, AwsSettings
from .terraform import runner_of, terraform_root

STATE = "terraform.tfstate"
IMAGE_TAG = "latest"
"""It pushes without a tag, and its job definitions name none."""
_QUEUE, _CLUSTER = "aws_batch_job_queue", "aws_ecs_cluster"
ACTIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
_NETWORK = "the VPC 172.17.0.0/16 with what is in it"
_POLICY = "the policy numerai-submission-lambda-logging"
ON_BATCH = (
    "the Batch queue numerai-submission-queue (1.0 and 1.1.0: one for each node, called as it is)",
    "the Batch environment whose name begins with numerai-submission", "its launch template", _NETWORK,
    "the roles numerai-submission, numerai-submission-lambda, batch_ecs_instance_role and aws_batch_service_role",
    _POLICY,
)  # fmt: skip
"""What 1.0 to 1.1.7 make once for all nodes."""
ON_FARGATE = (
    "the ECS cluster numerai-submission", "the API Gateway numerai-submission-gateway",
    "its log group /aws/apigateway/numerai-submission", "the Lambda layer node_modules", _NETWORK,
    "the roles numerai-submission-ecs and numerai-submission-lambda", _POLICY,
)  # fmt: skip
"""What 0.3 and 0.4 make once for all nodes."""


class OfficialAws:
    """`ports.OfficialCloud`. `recorded` gives the records of the official tool's AWS nodes, `keys` the AWS keys that it
    kept; `own` makes this tool's clients for a region, used where those keys are none of the account's."""

    def __init__(
        self,
        paths: AwsPaths,
        recorded: Callable[[], Mapping[str, Mapping[str, Any]]],
        keys: Callable[[], tuple[str, str] | None],
        own: Callable[[str], AwsClients],
    ):
        self._paths = paths
        self._folder = paths.official
        self._recorded = recorded
        self._keys = keys
        self._own = own

    def cluster(self) -> OfficialCluster | None:
        records = self._recorded()
        try:
            state, current = self._state(), self._current()
        except ProviderError as error:
            return _without_state(records, error.in_full.rstrip("."))
        if state is None or current is None:
            return _without_state(records, f"its Terraform state, {self._paths.root / STATE}, is not there")
        nodes = {name: _node(record, name in state.scheduled) for name, record in records.items()}
        nodes |= {name: _node(made, name in state.scheduled) for name, made in state.nodes.items()}
        if not current.addresses and not nodes:
            return None
        where = f"account {state.account}, {state.region}" if current.addresses else ""
        return OfficialCluster(nodes, where, current.addresses)

    def image(self, repository: str) -> ForeignImage | None:
        registry = ImageRegistry(self._clients)
        digest = registry.digest(repository, IMAGE_TAG)
        return None if digest is None else ForeignImage(f"{repository}:{IMAGE_TAG}", digest, registry.auth)

    def active_runs(self) -> Sequence[str]:
        state = self._current()
        return [] if state is None else [*self._jobs(state.names(_QUEUE)), *self._tasks(state.names(_CLUSTER))]

    def _jobs(self, queues: Iterable[str]) -> Iterator[str]:
        """What runs since 1.0."""
        for queue in queues:
            batch = self._clients.client("batch")
            with aws_errors():
                there = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
                for status in ACTIVE if there else ():
                    for job in batch.list_jobs(jobQueue=queue, jobStatus=status)["jobSummaryList"]:
                        yield f"{job['jobName']} ({status.lower()}, job {job['jobId']})"

    def _tasks(self, clusters: Iterable[str]) -> Iterator[str]:
        """What runs of 0.3 and 0.4. ECS lists by the wanted status, which is RUNNING from the first moment on
        (docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html)."""
        for cluster in clusters:
            ecs = self._clients.client("ecs")
            found = present(partial(ecs.list_tasks, cluster=cluster), "ClusterNotFoundException")
            yield from (f"task {arn.rpartition('/')[2]}" for arn in (found["taskArns"] if found else ()))

    def destroy(self, report: Report) -> None:
        """Remove everything in the state. The official tool's own file of it stays as it was: what is worked on is a
        copy, which an interrupted call leaves as far as it came."""
        path, working = self._state_path(), self._folder / STATE
        state, current = self._state(), self._current()
        if path is None or state is None or current is None:
            return
        if not working.exists():
            make_private_folder(self._folder)
            write_private(working, for_removal(path.read_bytes()), keep_previous=False)
        if current.addresses and state.account:
            runner = self._runner(state.account, state.region)
            runner.prepare(report)
            runner.destroy({}, slow_ones(report))
        remove_tree(self._folder / ".terraform", self._folder)

    def _state(self) -> OfficialState | None:
        """The official tool's own state; None where there is none. `ProviderError` as by `read_state`, and where what
        is to be removed is in no account that it names."""
        path = self._state_path()
        if path is None:
            return None
        state = read_state(path)
        if state.addresses and state.account is None:
            raise unusable(path, "it does not say whose account it is")
        return state

    def _current(self) -> OfficialState | None:
        """What is left, as far as is known: the state, or the copy that a removal works on."""
        state, working = self._state(), self._folder / STATE
        if state is None or not working.exists():
            return state
        current = read_state(working)
        if current.account not in (None, state.account):
            raise unusable(working, f"it names the account {current.account}, and the state {state.account}")
        return current

    def _runner(self, account: str, region: str) -> TerraformRunner:
        """Terraform with an empty description, which may touch this account only."""
        root = self._folder / "root"
        make_private_folder(root)
        empty = {
            "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": "~> 5.100"}}},
            "provider": {"aws": {"region": region, "allowed_account_ids": [account], "max_retries": 10}},
        }
        write_private(root / "main.tf.json", json.dumps(empty, indent=2).encode(), keep_previous=False)
        locked = (terraform_root() / LOCK_FILE).read_bytes()
        write_private(root / LOCK_FILE, locked, keep_previous=False)
        return runner_of(root, self._folder, self._paths.plugins, self._clients)

    @cached_property
    def _clients(self) -> AwsClients:
        """Clients for the account and the region of the state: with the keys that the official tool kept, else with
        this tool's own. `EnvironmentNotReady` with code `other-account` where neither is that account's."""
        account, region = self._whose()
        refused = list[str]()
        for clients in self._candidates(region):
            try:
                if account in (None, clients.account):
                    return clients
                refused.append(f"account {clients.account}")
            except EnvironmentNotReady as error:
                refused.append(error.message.rstrip("."))
        raise EnvironmentNotReady(
            f"What the official tool has made is in the AWS account {account}, and no keys of it are here:"
            f" {'; '.join(refused)}.",
            "Choose its keys with AWS_PROFILE, then run the command again.",
            code="other-account",
        )

    def _candidates(self, region: str) -> Iterator[AwsClients]:
        if (keys := self._keys()) is not None:
            yield AwsClients(AwsSettings(), region, connects_with({"": keys}))
        yield self._own(region)

    def _whose(self) -> tuple[str | None, str]:
        """The account and the region of what there is; without a usable state the account is not known."""
        try:
            state = self._state()
        except ProviderError:
            state = None
        return (state.account, state.region) if state else (None, DEFAULT_REGION)

    def _state_path(self) -> Path | None:
        places = (self._paths.root / STATE, self._paths.home / STATE)
        return next((path for path in places if path.is_file()), None)


def _node(record: object, scheduled: bool) -> OfficialNode:
    return OfficialNode(_text(record, "docker_repo"), _text(record, "webhook_url"), scheduled)


def _text(record: object, name: str) -> str | None:
    """What a record says under a name; None where that is no text."""
    value = record.get(name) if isinstance(record, Mapping) else None
    return value if isinstance(value, str) and value else None


def _without_state(records: Mapping[str, object], why: str) -> OfficialCluster | None:
    """What the nodes' records tell where no state does: what to look for by hand."""
    nodes = {name: _node(record, _text(record, "cron") is not None) for name, record in sorted(records.items())}
    nodes = {name: node for name, node in nodes.items() if node.webhook_url or node.repository}
    if not nodes:
        return None
    on_fargate = {name for name in nodes if _is_on_fargate(records[name])}
    own = [_made_for(name, records[name], nodes[name], name in on_fargate) for name in nodes]
    shared = dict.fromkeys([*(ON_BATCH if set(nodes) - on_fargate else ()), *(ON_FARGATE if on_fargate else ())])
    return OfficialCluster(nodes, DEFAULT_REGION, (), why, (*own, *shared))


def _is_on_fargate(record: object) -> bool:
    """Whether 0.3 or 0.4 has made a node, and nothing later has changed it."""
    return bool(_text(record, "api_log_group")) or ".execute-api." in (_text(record, "webhook_url") or "")


def _made_for(name: str, record: object, node: OfficialNode, on_fargate: bool) -> str:
    runs = "the ECS task definition" if on_fargate else "the Batch job definition"
    rule = f", the EventBridge rule {name}-cron-trigger" if node.scheduled else ""
    logs = _text(record, "cluster_log_group") or f"/{'fargate' if on_fargate else 'ec2'}/service/{name}"
    calls = _text(record, "webhook_log_group") or f"/aws/lambda/{name}"
    return (
        f"of {name}: the ECR repository, the Lambda function and {runs} {name}{rule}, the log groups {logs} and {calls}"
    )
