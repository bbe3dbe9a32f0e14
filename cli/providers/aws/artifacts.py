"""What runs have left in the cluster's bucket, a folder for each node: read and written for a move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import IO

from ...ports import Artifact
from ..artifacts import checked
from .clients import AwsClients, aws_errors


def artifacts_in(clients: AwsClients, bucket: str, node_name: str) -> Iterator[Artifact]:
    """Every object of a node, by its name below the node's folder."""
    prefix = f"{node_name}/"
    for entry in clients.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix):
        name = entry["Key"].removeprefix(prefix)
        if name and not name.endswith("/"):
            yield Artifact(name, entry["Size"], partial(_read, clients, bucket, entry["Key"]))


def put_artifacts_in(clients: AwsClients, bucket: str, node_name: str, artifacts: Iterable[Artifact]) -> None:
    """Make each file an object of the node."""
    for artifact in checked(artifacts):
        with aws_errors(), closing(artifact.open()) as content:
            clients.client("s3").upload_fileobj(content, bucket, f"{node_name}/{artifact.name}")


def _read(clients: AwsClients, bucket: str, key: str) -> IO[bytes]:
    with aws_errors():
        body: IO[bytes] = clients.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        return body
