"""What is still in AWS: of one node, and of the whole cluster. Destroying is done when nothing is found here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...errors import ProviderError
from .clients import AwsClients, aws_errors, is_absent
from .cluster_outputs import ClusterOutputs
from .lambda_package import FUNCTIONS

_ABSENT = (
    "404",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFoundException",
    "NotFound",
    "ResourceNotFoundException",
    "RepositoryNotFoundException",
    "ResourceNotFound",
)
_REMEMBERED = ("trigger", "rate", "notice", "deployed", "watch")
"""Begin the table's items of a node."""
_BATCH_WRITE = 25  # the most that BatchWriteItem takes


def present(ask: Callable[[], Any], *absent: str) -> Any:
    """What AWS answers; None when it says that there is no such thing, with `absent` or one of the usual codes."""
    try:
        with aws_errors(absent=(*_ABSENT, *absent)):
            return ask()
    except ProviderError as error:
        if is_absent(error):
            return None
        raise


def node_remains(
    clients: AwsClients, cluster: str, name: str, outputs: ClusterOutputs, *, artifacts_too: bool
) -> Iterator[str]:
    """What AWS still holds for a node, in words."""
    definition = f"{cluster}-{name}"
    if present(lambda: clients.client("ecr").describe_repositories(repositoryNames=[f"{cluster}/{name}"])):
        yield f"the image repository {cluster}/{name}"
    with aws_errors():
        found = clients.client("batch").describe_job_definitions(jobDefinitionName=definition, status="ACTIVE")
    if found["jobDefinitions"]:
        yield f"the job definition {definition}"
    if present(lambda: clients.client("scheduler").get_schedule(Name=definition)):
        yield f"the schedule {definition}"
    bucket, group = outputs.text("artifacts_bucket"), outputs.text("run_log_group")
    listed = present(lambda: clients.client("s3").list_object_versions(Bucket=bucket, Prefix=f"{name}/", MaxKeys=1))
    if artifacts_too and listed and (listed.get("Versions") or listed.get("DeleteMarkers")):
        yield f"objects in s3://{bucket}/{name}/"
    streams = present(
        lambda: clients.client("logs").describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/", limit=1)
    )
    if streams and streams["logStreams"]:
        yield f"logs of runs in {group}"


def remove_data(clients: AwsClients, name: str, outputs: ClusterOutputs, *, keep_artifacts: bool) -> None:
    """Remove what the node's runs have left: trained models unless they are kept, logs, remembered triggers."""
    if not keep_artifacts:
        empty_bucket(clients, outputs.text("artifacts_bucket"), f"{name}/")
    group = outputs.text("run_log_group")
    logs = clients.client("logs")
    with aws_errors():
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, logStreamNamePrefix=f"{name}/")
        for stream in [stream["logStreamName"] for page in pages for stream in page["logStreams"]]:
            logs.delete_log_stream(logGroupName=group, logStreamName=stream)
    _forget_triggers(clients, outputs.text("webhook_table"), name)


def cluster_remains(clients: AwsClients, cluster: str, account: str, region: str) -> Iterator[str]:
    """What AWS still holds for a cluster of this name, in words."""
    queues = clients.client("batch")
    with aws_errors():
        names = [queue["jobQueueName"] for queue in _pages(queues, "describe_job_queues", "jobQueues")]
        environments = [
            found["computeEnvironmentName"]
            for found in _pages(queues, "describe_compute_environments", "computeEnvironments")
        ]
        repositories = [
            found["repositoryName"] for found in _pages(clients.client("ecr"), "describe_repositories", "repositories")
        ]
        groups = [
            group["logGroupName"]
            for prefix in (f"/numerai/{cluster}/", *(f"/aws/lambda/{cluster}-{function}" for function in FUNCTIONS))
            for group in clients.client("logs").describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
        ]
        networks = clients.client("ec2").describe_vpcs(Filters=[{"Name": "tag:numerai:cluster", "Values": [cluster]}])
    yield from (f"the queue {name}" for name in names if name.startswith(f"{cluster}-"))
    yield from (f"the compute environment {name}" for name in environments if name.startswith(f"{cluster}-"))
    yield from (f"the image repository {name}" for name in repositories if name.startswith(f"{cluster}/"))
    yield from (f"the log group {name}" for name in groups)
    yield from (f"the network {vpc['VpcId']}" for vpc in networks["Vpcs"])
    yield from _single(clients, cluster, account, region)


def _single(clients: AwsClients, cluster: str, account: str, region: str) -> Iterator[str]:
    bucket = f"{cluster}-artifacts-{account}-{region}"
    looked_for: dict[str, Callable[[], Any]] = {
        **{
            f"the function {cluster}-{function}": lambda function=function: clients.client("lambda").get_function(  # type: ignore[misc]
                FunctionName=f"{cluster}-{function}"
            )
            for function in FUNCTIONS
        },
        f"the table {cluster}-webhook": lambda: clients.client("dynamodb").describe_table(
            TableName=f"{cluster}-webhook"
        ),
        f"the secret {cluster}/numerai-keys": lambda: clients.client("secretsmanager").describe_secret(
            SecretId=f"{cluster}/numerai-keys"
        ),
        f"the bucket {bucket}": lambda: clients.client("s3").head_bucket(Bucket=bucket),
        **{
            f"the role {cluster}-{role}": lambda role=role: clients.client("iam").get_role(  # type: ignore[misc]
                RoleName=f"{cluster}-{role}"
            )
            for role in ("execution", "run", *FUNCTIONS)
        },
    }
    for what, ask in looked_for.items():
        if present(ask):
            yield what


def _pages(client: Any, operation: str, key: str) -> list[Any]:
    return [found for page in client.get_paginator(operation).paginate() for found in page[key]]


def empty_bucket(clients: AwsClients, bucket: str, prefix: str = "") -> None:
    """Remove every version of every object below a prefix."""
    s3 = clients.client("s3")
    with aws_errors():
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            versions = [*(page.get("Versions") or []), *(page.get("DeleteMarkers") or [])]
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
            if not objects:
                continue
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise ProviderError(f"AWS did not delete s3://{bucket}/{first['Key']}: {first['Message']}.")


def _forget_triggers(clients: AwsClients, table: str, name: str) -> None:
    """Remove what is remembered of a node. The table is small: one item for each trigger and notice of 90 days."""
    dynamodb = clients.client("dynamodb")
    with aws_errors():
        pages = dynamodb.get_paginator("scan").paginate(
            TableName=table,
            ProjectionExpression="pk",
            FilterExpression=" OR ".join(f"begins_with(pk, :{kind})" for kind in _REMEMBERED),
            ExpressionAttributeValues={f":{kind}": {"S": f"{kind}#{name}#"} for kind in _REMEMBERED},
        )
        keys = [item["pk"] for page in pages for item in page["Items"]]
        for start in range(0, len(keys), _BATCH_WRITE):
            requests = [{"DeleteRequest": {"Key": {"pk": key}}} for key in keys[start : start + _BATCH_WRITE]]
            while requests:
                answer = dynamodb.batch_write_item(RequestItems={table: requests})
                requests = (answer.get("UnprocessedItems") or {}).get(table) or []
