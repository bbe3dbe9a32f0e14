"""The cluster's state in a bucket, so that another machine sees the same cluster: made, filled, and emptied again."""

from __future__ import annotations

import json
from typing import Any

from ...errors import ProviderError
from .clients import AwsClients, aws_errors, present
from .remains import empty_bucket

_FASTER = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", "404", "NoSuchKey")


def state_bucket(cluster: str, account: str, region: str) -> str:
    """The name of a cluster's state bucket. The account makes it one that nobody else has."""
    return f"{cluster}-state-{account}-{region}"


class RemoteRecord:
    """The record of the cluster (its nodes and their tokens) as an object in the state bucket.

    A write names the version that it is based on, so that two machines never lose each other's changes.
    """

    def __init__(self, clients: AwsClients, bucket: str, cluster: str):
        self._clients = clients
        self._bucket = bucket
        self._key = f"{cluster}/stack.json"

    def read(self) -> tuple[bytes | None, str | None]:
        s3 = self._clients.client("s3")
        found = present(lambda: s3.get_object(Bucket=self._bucket, Key=self._key), "NoSuchKey")
        return (found["Body"].read(), found["ETag"]) if found else (None, None)

    def write(self, content: bytes, version: str | None) -> bool:
        based_on: dict[str, str] = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        try:
            with aws_errors(absent=_FASTER):
                self._clients.client("s3").put_object(
                    Bucket=self._bucket, Key=self._key, Body=content, ServerSideEncryption="AES256", **based_on
                )
        except ProviderError as error:
            if error.code == "absent":
                return False
            raise
        return True

    def remove(self) -> None:
        with aws_errors():
            self._clients.client("s3").delete_object(Bucket=self._bucket, Key=self._key)


def make_state_bucket(clients: AwsClients, bucket: str) -> None:
    """Make the bucket: private, versioned, reachable over TLS only. One that is there already is brought to that."""
    s3, region = clients.client("s3"), clients.region
    elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    place: dict[str, Any] = {} if region == "us-east-1" else elsewhere  # where it must not be named
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyEncryptedConnections",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    with aws_errors():
        try:
            s3.create_bucket(Bucket=bucket, **place)
        except s3.exceptions.BucketAlreadyOwnedByYou:
            pass
        except s3.exceptions.BucketAlreadyExists as error:
            raise ProviderError(
                f"The bucket {bucket} belongs to another account.",
                "Choose another cluster name with NUMERAI_AWS_CLUSTER.",
                code="name-clash",
            ) from error
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def remove_state_bucket(clients: AwsClients, bucket: str) -> None:
    """Remove the bucket with every version of everything in it."""
    empty_bucket(clients, bucket)
    with aws_errors():
        clients.client("s3").delete_bucket(Bucket=bucket)
