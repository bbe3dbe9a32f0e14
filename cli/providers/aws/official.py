"""What the official numerai-cli has made in AWS: read from its own files, removed by its own Terraform state.

Source: numerai-cli 1.1.7, `numerai/terraform/aws` and `numerai/cli/util/docker.py`. Its Terraform runs in a container
with `~/.numerai/aws` as the working folder (0.3: `~/.numerai`) and has its state in `terraform.tfstate` there. The
region is us-east-1. The output `aws_nodes` holds by node `docker_repo`, `webhook_url` and two log groups. Its
repositories have had `force_delete` since 0.3, so images in them do not stop a removal. It asks for Terraform 1.5.6
and no other. A state says by itself all that a removal needs, the order included, and every later Terraform reads it:
so that description is not used, and an empty one takes its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ...adapters.terraform_runner import LOCK_FILE, TerraformRunner
from ...errors import EnvironmentNotReady, NumeraiError, ProviderError
from ...files.private import make_private_folder, remove_tree, write_private
from ...installation import extra_needed
from ...ports import ForeignImage, OfficialCluster, OfficialNode, Report
from .clients import AwsClients, aws_errors
from .cluster import slow_ones
from .image_registry import ImageRegistry
from .settings import DEFAULT_REGION, AwsPaths, AwsSettings
from .terraform import runner_of, terraform_root

STATE = "terraform.tfstate"
IMAGE_TAG = "latest"
"""It pushes without a tag, and its job definitions name none."""
QUEUE = "numerai-submission-queue"
ACTIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
SHARED = (
    f"the Batch queue {QUEUE}", "the Batch environment numerai-submission-compute", "its launch template",
    "the VPC 172.17.0.0/16 with what is in it",
    "the roles numerai-submission, numerai-submission-lambda, batch_ecs_instance_role and aws_batch_service_role",
    "the policy numerai-submission-lambda-logging",
)  # fmt: skip
"""What 1.0 to 1.1.7 make once for all nodes."""
_UNREADABLE = (NumeraiError, OSError, ValueError, KeyError, TypeError, AttributeError)
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:([a-z0-9-]*):(\d{12}):")


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
        path, records = self._state_path(), self._recorded()
        if path is None:
            return _without_state(records, f"its Terraform state, {self._paths.root / STATE}, is not there")
        try:
            state = _read(path)
            working = self._folder / STATE
            resources = tuple(_addresses(_read(working) if working.exists() else state))
            whose = _account(state) if resources else ("", DEFAULT_REGION)
        except _UNREADABLE as error:
            return _without_state(records, f"its Terraform state, {path}, cannot be used: {error}")
        made = state.get("outputs", {}).get("aws_nodes", {}).get("value") or {}
        nodes = {name: _node(node) for name, node in {**records, **made}.items()}
        if not resources and not nodes:
            return None
        return OfficialCluster(nodes, f"account {whose[0]}, {whose[1]}" if whose[0] else "", resources)

    def image(self, repository: str) -> ForeignImage | None:
        registry = ImageRegistry(self._clients)
        digest = registry.digest(repository, IMAGE_TAG)
        return None if digest is None else ForeignImage(f"{repository}:{IMAGE_TAG}", digest, registry.auth)

    def active_runs(self) -> Sequence[str]:
        if not (cluster := self.cluster()) or not any("aws_batch_job_queue" in each for each in cluster.resources):
            return ()
        batch, found = self._clients.client("batch"), []
        with aws_errors():
            if not batch.describe_job_queues(jobQueues=[QUEUE])["jobQueues"]:
                return ()
            for status in ACTIVE:
                jobs = batch.list_jobs(jobQueue=QUEUE, jobStatus=status)["jobSummaryList"]
                found += [f"{job['jobName']} ({status.lower()}, job {job['jobId']})" for job in jobs]
        return found

    def destroy(self, report: Report) -> None:
        """Remove everything in the state. The official tool's own file of it stays as it was: what is worked on is a
        copy, which an interrupted call leaves as far as it came."""
        path, working = self._state_path(), self._folder / STATE
        if path is None:
            return
        if not working.exists():
            make_private_folder(self._folder)
            write_private(working, path.read_bytes(), keep_previous=False)
        if list(_addresses(_read(working))):
            runner = self._runner(_account(_read(path)))
            runner.prepare(report)
            runner.destroy({}, slow_ones(report))
        remove_tree(self._folder / ".terraform", self._folder)

    def _runner(self, whose: tuple[str, str]) -> TerraformRunner:
        """Terraform with an empty description, which may touch this account only."""
        account, region = whose
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
            yield AwsClients(AwsSettings(), region, lambda _, region: _session(keys, region))
        yield self._own(region)

    def _whose(self) -> tuple[str | None, str]:
        """The account and the region of what there is; without a usable state the account is not known."""
        path = self._state_path()
        try:
            return _account(_read(path)) if path else (None, DEFAULT_REGION)
        except _UNREADABLE:
            return None, DEFAULT_REGION

    def _state_path(self) -> Path | None:
        places = (self._paths.root / STATE, self._paths.home / STATE)
        return next((path for path in places if path.is_file()), None)


def _session(keys: tuple[str, str], region: str | None) -> Any:
    with extra_needed():
        import boto3
    return boto3.Session(aws_access_key_id=keys[0], aws_secret_access_key=keys[1], region_name=region)


def _node(record: Mapping[str, Any]) -> OfficialNode:
    return OfficialNode(record.get("docker_repo") or None, record.get("webhook_url") or None)


def _without_state(records: Mapping[str, Mapping[str, Any]], why: str) -> OfficialCluster | None:
    """What the nodes' records tell where no state does: what to look for by hand."""
    made = {name: record for name, record in records.items() if record.get("webhook_url") or record.get("docker_repo")}
    if not made:
        return None
    own = [
        f"of {name}: the ECR repository, the Lambda function and the Batch job definition {name}, the log groups"
        f" {record.get('cluster_log_group') or f'/ec2/service/{name}'} and"
        f" {record.get('webhook_log_group') or f'/aws/lambda/{name}'}"
        for name, record in sorted(made.items())
    ]
    nodes = {name: _node(record) for name, record in made.items()}
    return OfficialCluster(nodes, DEFAULT_REGION, (), why, (*own, *SHARED))


def _read(path: Path) -> dict[str, Any]:
    state = json.loads(path.read_bytes())
    if not isinstance(state, dict) or state.get("version") != 4:
        raise ProviderError(f"{path} is no state of Terraform 0.12 or later.", code="bad-state")
    return state


def _addresses(state: Mapping[str, Any]) -> Iterator[str]:
    """What exists as far as a state knows."""
    for resource in state.get("resources", ()):
        if resource["mode"] == "managed":
            for instance in resource["instances"]:
                key = instance.get("index_key")
                yield f"{resource['type']}.{resource['name']}" + (f"[{json.dumps(key)}]" if key is not None else "")


def _account(state: Mapping[str, Any]) -> tuple[str, str]:
    """The account and the region of what is in a state."""
    account, region = None, None
    for resource in state.get("resources", ()):
        for instance in resource["instances"]:
            found = _ARN.match(str((instance.get("attributes") or {}).get("arn", "")))
            if found and resource["mode"] == "managed":
                account, region = found[2], region or found[1]
    if account is None:
        raise ProviderError("It does not say whose account it is.", code="bad-state")
    return account, region or DEFAULT_REGION
