"""What is left of a cluster, told from what only sounds like it."""

from __future__ import annotations

from numerai_compute.providers.aws.cluster_outputs import ClusterOutputs
from numerai_compute.providers.aws.remains import cluster_remains, empty_bucket, node_remains

from .conftest import ACCOUNT, REGION, World


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
