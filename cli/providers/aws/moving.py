"""Moves the cluster's state between the home folder and a bucket, without touching the cluster."""

from __future__ import annotations

from ...errors import UsageError
from ...ports import Report
from .parts import AwsParts
from .remote_state import make_state_bucket, remove_state_bucket, state_bucket


def move_state(parts: AwsParts, remote: bool, report: Report) -> str | None:
    """Bring the state to the bucket or back home; returns where it is then (see `AwsProvider.move_state`).

    Interrupted, it leaves the state where it was or in both places, and is finished by the next call.
    """
    bucket = state_bucket(parts.settings.cluster, parts.clients.account, parts.clients.region)
    if remote:
        return _to_bucket(parts, bucket, report)
    _home(parts, bucket, report)
    return None


def _to_bucket(parts: AwsParts, bucket: str, report: Report) -> str:
    if parts.settings.state_bucket == bucket:
        return bucket
    with parts.file.lock(report):
        report(f"Making the bucket {bucket}")
        make_state_bucket(parts.clients, bucket)
        here, there = parts.file_in(None), parts.file_in(bucket)
        mine, theirs = here.read(), there.read()
        if not mine.nodes:
            return bucket
        if theirs.nodes and {name: node.token for name, node in theirs.nodes.items()} != {
            name: node.token for name, node in mine.nodes.items()
        }:
            raise UsageError(
                f"{bucket} holds the nodes {', '.join(sorted(theirs.nodes))}, the home folder others: "
                f"{', '.join(sorted(mine.nodes))}.",
                "Destroy the nodes here first, or keep them apart with NUMERAI_AWS_CLUSTER.",
                code="two-clusters",
            )
        report("Moving the state into the bucket")
        if mine.begun:
            parts.runner_in(bucket).move_state(report)
        there.change(lambda _: mine)
        here.forget()
    return bucket


def _home(parts: AwsParts, bucket: str, report: Report) -> None:
    if parts.settings.state_bucket is None:
        return
    with parts.file.lock(report):
        here, there = parts.file_in(None), parts.file_in(parts.settings.state_bucket)
        stack = there.read()
        report("Moving the state home")
        if stack.begun:
            parts.runner_in(None).move_state(report)
        if stack.nodes:
            here.change(lambda _: stack)
        remove_state_bucket(parts.clients, bucket)
