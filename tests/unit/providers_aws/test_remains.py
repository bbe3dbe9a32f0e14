"""What is left of a cluster, told from what only sounds like it."""

from __future__ import annotations

from typing import Any

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.providers.aws.cluster_outputs import ClusterOutputs
from numerai_compute.providers.aws.remains import cluster_remains, empty_bucket, missing, node_remains

from .conftest import ACCOUNT, REGION, World, quiet


def test_only_what_bears_the_clusters_name_is_left_of_it(world: World) -> None:
    clients = world.clients
    for repository in ("numerai/numerai-alice", "numerai-other", "other/numerai"):
        clients.client("ecr").create_repository(repositoryName=repository)
    for group in ("/numerai/numerai/runs", "/numerai/numerai2/runs", "/aws/lambda/numerai-watcher"):
        clients.client("logs").create_log_group(logGroupName=group)
    clients.client("s3").create_bucket(Bucket=f"numerai-artifacts-{ACCOUNT}-{REGION}")
    clients.client("ssm").put_parameter(Name="/numerai/numerai/NUMERAI_PUBLIC_ID", Value="x", Type="SecureString")
    clients.client("iam").create_role(RoleName="numerai-execution", AssumeRolePolicyDocument="{}")
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "numerai:cluster", "Value": "numerai"}]}]
    vpc = clients.client("ec2").create_vpc(CidrBlock="10.0.0.0/24", TagSpecifications=tags)["Vpc"]["VpcId"]
    assert set(cluster_remains(clients, "numerai", ACCOUNT, REGION)) == {
        "the image repository numerai/numerai-alice",
        "the log group /numerai/numerai/runs",
        "the log group /aws/lambda/numerai-watcher",
        f"the bucket numerai-artifacts-{ACCOUNT}-{REGION}",
        "the parameter /numerai/numerai/NUMERAI_PUBLIC_ID",
        "the role numerai-execution",
        f"the network {vpc}",
    }
    assert list(cluster_remains(clients, "strange", ACCOUNT, REGION)) == []


def batch_lists(answers: Any, *queues: tuple[str, str, str]) -> None:
    """Batch has these queues: name, cluster by its tag, status."""
    listed = [
        {"jobQueueName": name, "status": status, "tags": {"numerai:cluster": cluster}}
        for name, cluster, status in queues
    ]
    answers("batch", "DescribeJobQueues", {"jobQueues": listed})


def test_a_cluster_whose_name_begins_with_this_ones_is_not_left_of_it(world: World, answers: Any) -> None:
    batch_lists(answers, ("numerai-b-fargate", "numerai-b", "VALID"))
    for group in ("/aws/lambda/numerai-webhook-webhook", "/aws/lambda/numerai-watcher-b"):
        world.clients.client("logs").create_log_group(logGroupName=group)
    assert list(cluster_remains(world.clients, "numerai", ACCOUNT, REGION)) == []
    assert list(cluster_remains(world.clients, "numerai-b", ACCOUNT, REGION)) == ["the queue numerai-b-fargate"]


@pytest.mark.parametrize(("status", "left"), [("DELETED", False), ("DELETING", False), ("VALID", True)])
def test_what_batch_is_removing_is_not_left(world: World, answers: Any, status: str, left: bool) -> None:
    batch_lists(answers, ("numerai-fargate", "numerai", status))
    assert bool(list(cluster_remains(world.clients, "numerai", ACCOUNT, REGION))) is left


def test_a_queue_that_batch_is_removing_is_missing(world: World, answers: Any) -> None:
    world.configured()
    (arn,) = world.stack().outputs["queues"].values()
    answers("batch", "DescribeJobQueues", {"jobQueues": [{"jobQueueArn": arn, "status": "DELETING"}]})
    assert missing(world.clients, world.stack()) == [f"the queue {arn}"]


def test_destroy_waits_for_what_aws_goes_on_showing(world: World, answers: Any) -> None:
    node, since = world.configured(), world.clock.elapsed

    def lists(_: Any) -> Any:
        gone = world.terraform.destroyed and world.clock.elapsed >= since + 30
        tags = {"numerai:cluster": "numerai"}
        listed = [] if gone else [{"jobQueueName": "numerai-fargate", "status": "VALID", "tags": tags}]
        return {"jobQueues": listed}

    answers("batch", "DescribeJobQueues", lists)
    world.provider.destroy(node.name, force=False, report=quiet)
    assert 30 <= world.clock.elapsed - since <= 40
    assert not world.parts.paths.stack.exists()


def test_destroy_says_what_is_there_after_a_minute(world: World, answers: Any) -> None:
    node, since = world.configured(), world.clock.elapsed
    batch_lists(answers, ("numerai-fargate", "numerai", "VALID"))
    with pytest.raises(ProviderError, match="the queue numerai-fargate") as left:
        world.provider.destroy(node.name, force=False, report=quiet)
    assert left.value.code == "not-gone" and 60 <= world.clock.elapsed - since <= 70


def test_a_nodes_own_role_is_left_of_it(world: World) -> None:
    world.configured()
    outputs = ClusterOutputs(world.stack().outputs)
    world.clients.client("iam").create_role(RoleName="numerai-run-numerai-bob", AssumeRolePolicyDocument="{}")
    left = [*node_remains(world.clients, "numerai", "numerai-bob", outputs, artifacts_too=True)]
    assert left == ["the role numerai-run-numerai-bob"]


def test_every_version_leaves_a_bucket(world: World) -> None:
    s3 = world.clients.client("s3")
    s3.create_bucket(Bucket="n-bucket")
    s3.put_bucket_versioning(Bucket="n-bucket", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket="n-bucket", Key="a/x", Body=body)
    s3.put_object(Bucket="n-bucket", Key="b/x", Body=b"3")
    s3.delete_object(Bucket="n-bucket", Key="a/x")
    empty_bucket(world.clients, "n-bucket", "a/")
    assert [version["Key"] for version in s3.list_object_versions(Bucket="n-bucket")["Versions"]] == ["b/x"]
    empty_bucket(world.clients, "n-bucket")
    assert "Versions" not in s3.list_object_versions(Bucket="n-bucket")
