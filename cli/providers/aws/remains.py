"""What is still in AWS: of one node, and of the whole cluster. Destroying is done when nothing is found here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...errors import ProviderError
from ...ports import Clock
from .clients import AwsClients, aws_errors
from .cluster_outputs import ClusterOutputs
from .lambda_package import FUNCTIONS
from .node_keys import FIELDS, keys_path
from .policy import CLUSTER_TAG
from .stack_file import Stack

_OF_BATCH = (
    ("queue", "describe_job_queues", "jobQueue"),
    ("compute environment", "describe_compute_environments", "computeEnvironment"),
)
"""What the cluster has of AWS Batch: in words, and how that is listed."""
_GOING = ("DELETING", "DELETED")
"""Batch goes on listing for a while what it has removed (github.com/hashicorp/terraform-provider-aws,
internal/service/batch/compute_environment.go takes DELETED for not found)."""
LINGER_SECONDS = 60
"""How long AWS may go on showing what was removed before a person is told that it is still there."""
_LOOK_SECONDS = 5
_REMEMBERED = ("trigger", "rate", "notice", "deployed", "watch")
"""Begin the table's items of a node."""


def node_remains(
    clients: AwsClients, cluster: str, name: str, outputs: ClusterOutputs, *, artifacts_too: bool
) -> Iterator[str]:
    """What AWS still holds for a node, in words."""
    definition = f"{cluster}-{name}"
    if clients.shows("ecr", "describe_repositories", repositoryNames=[f"{cluster}/{name}"]):
        yield f"the image repository {cluster}/{name}"
    if _definitions(clients, definition):
        yield f"the job definition {definition}"
    role = f"{cluster}-run-{name}"
    if clients.shows("iam", "get_role", RoleName=role):
        yield f"the role {role}"
    if clients.shows("scheduler", "get_schedule", Name=definition):
        yield f"the schedule {definition}"
    bucket, group = outputs.text("artifacts_bucket"), outputs.text("run_log_group")
    listed = clients.shows("s3", "list_object_versions", Bucket=bucket, Prefix=f"{name}/", MaxKeys=1)
    if artifacts_too and listed and (listed.get("Versions") or listed.get("DeleteMarkers")):
        yield f"objects in s3://{bucket}/{name}/"
    own = {"logGroupName": group, "logStreamNamePrefix": f"{name}/"}
    streams = clients.shows("logs", "describe_log_streams", **own, limit=1)
    if streams and streams["logStreams"]:
        yield f"logs of runs in {group}"


def missing(clients: AwsClients, stack: Stack) -> list[str]:
    """What a finished apply made and AWS does not show any more, in words."""
    outputs, batch = ClusterOutputs(stack.outputs), clients.client("batch")
    function, watcher = outputs.text("webhook_function"), outputs.optional("watcher_function")
    queues = list(outputs.queues.values())
    looks: list[tuple[str, str, str, dict[str, Any]]] = [
        (f"the webhook {function}", "lambda", "get_function_url_config", {"FunctionName": function}),
        *([(f"the watcher {watcher}", "lambda", "get_function", {"FunctionName": watcher})] if watcher else []),
        ("the table of triggers", "dynamodb", "describe_table", {"TableName": outputs.text("webhook_table")}),
    ]
    gone = [what for what, *look, asked in looks if not clients.shows(*look, **asked)]
    with aws_errors():
        shown = batch.describe_job_queues(jobQueues=queues)["jobQueues"]
    there = {queue["jobQueueArn"] for queue in shown if queue.get("status") not in _GOING}
    gone += [f"the queue {queue}" for queue in queues if queue not in there]
    for node in map(outputs.node, stack.staying):
        if not _definitions(clients, node["job_definition"]):
            gone.append(f"the job definition {node['job_definition']}")
        if not clients.shows("ecr", "describe_repositories", repositoryNames=[node["repository"]]):
            gone.append(f"the image repository {node['repository']}")
    return gone


def _definitions(clients: AwsClients, name: str) -> Any:
    with aws_errors():
        asked = {"jobDefinitionName": name, "status": "ACTIVE"}
        return clients.client("batch").describe_job_definitions(**asked)["jobDefinitions"]


def remove_data(clients: AwsClients, name: str, outputs: ClusterOutputs, *, keep_artifacts: bool) -> None:
    """Remove what the node's runs have left: trained models unless they are kept, logs, remembered triggers."""
    if not keep_artifacts:
        empty_bucket(clients, outputs.text("artifacts_bucket"), f"{name}/")
    group = outputs.text("run_log_group")
    own = {"logGroupName": group, "logStreamNamePrefix": f"{name}/"}
    with aws_errors():
        for stream in list(clients.pages("logs", "describe_log_streams", "logStreams", **own)):
            clients.client("logs").delete_log_stream(logGroupName=group, logStreamName=stream["logStreamName"])
    _forget_triggers(clients, outputs.text("webhook_table"), name)


def cluster_remains(clients: AwsClients, cluster: str, account: str, region: str) -> Iterator[str]:
    """What AWS still holds for a cluster of this name, in words."""
    for what, operation, kind in _OF_BATCH:
        for found in clients.pages("batch", operation, f"{kind}s"):
            if (found.get("tags") or {}).get(CLUSTER_TAG) == cluster and found.get("status") not in _GOING:
                yield f"the {what} {found[f'{kind}Name']}"
    repositories = [found["repositoryName"] for found in clients.pages("ecr", "describe_repositories", "repositories")]
    yield from (f"the image repository {name}" for name in repositories if name.startswith(f"{cluster}/"))
    functions = [f"/aws/lambda/{cluster}-{function}" for function in FUNCTIONS]
    for prefix in (f"/numerai/{cluster}/", *functions):
        for group in clients.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix):
            if prefix not in functions or group["logGroupName"] == prefix:
                yield f"the log group {group['logGroupName']}"
    parameters = clients.shows("ssm", "get_parameters", Names=[f"{keys_path(cluster)}{name}" for name in FIELDS])
    yield from (f"the parameter {parameter['Name']}" for parameter in parameters["Parameters"])
    own = [{"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]}]
    yield from (f"the network {vpc['VpcId']}" for vpc in clients.pages("ec2", "describe_vpcs", "Vpcs", Filters=own))
    for what, service, operation, named, name in (
        *(("function", "lambda", "get_function", "FunctionName", f"{cluster}-{function}") for function in FUNCTIONS),
        ("table", "dynamodb", "describe_table", "TableName", f"{cluster}-webhook"),
        ("bucket", "s3", "head_bucket", "Bucket", f"{cluster}-artifacts-{account}-{region}"),
        *(("role", "iam", "get_role", "RoleName", f"{cluster}-{role}") for role in ("execution", *FUNCTIONS)),
    ):
        if clients.shows(service, operation, **{named: name}):
            yield f"the {what} {name}"


def lingering(look: Callable[[], Iterator[str]], clock: Clock) -> list[str]:
    """What is still there after AWS had its time to remove it, or to stop showing it."""
    deadline = clock.monotonic() + LINGER_SECONDS
    while (left := list(look())) and clock.monotonic() < deadline:
        clock.sleep(_LOOK_SECONDS)
    return left


def empty_bucket(clients: AwsClients, bucket: str, prefix: str = "") -> None:
    """Remove every version of every object below a prefix."""
    s3 = clients.client("s3")
    with aws_errors():
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
            asked = {"Bucket": bucket, "Delete": {"Objects": objects, "Quiet": True}}
            if objects and (errors := s3.delete_objects(**asked).get("Errors")):
                raise ProviderError(f"AWS did not delete s3://{bucket}/{errors[0]['Key']}: {errors[0]['Message']}.")


def _forget_triggers(clients: AwsClients, table: str, name: str) -> None:
    """Remove what is remembered of a node. The table is small: one item for each trigger and notice of 90 days."""
    items = clients.pages(
        "dynamodb",
        "scan",
        "Items",
        TableName=table,
        ProjectionExpression="pk",
        FilterExpression=" OR ".join(f"begins_with(pk, :{kind})" for kind in _REMEMBERED),
        ExpressionAttributeValues={f":{kind}": {"S": f"{kind}#{name}#"} for kind in _REMEMBERED},
    )
    with aws_errors():
        resource = clients.session.resource("dynamodb", region_name=clients.region)
        with resource.Table(table).batch_writer() as batch:
            for item in items:
                batch.delete_item(Key={"pk": item["pk"]["S"]})
