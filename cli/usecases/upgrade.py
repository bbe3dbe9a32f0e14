"""Takes over what the official numerai-cli has left, in the words in which `numerai upgrade` says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..counting import counted
from ..errors import UsageError
from ..names import plainly
from ..ports import NotHere, OfficialFiles, OfficialHome, Provider, StateStore
from .resolve import first_steps

AWS_PROFILE = "numerai"
"""The name that is proposed for a profile with the old tool's AWS keys."""
_OFFER = "--aws-profile NAME makes a profile of them"
_KEYS = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}


def describe(
    found: OfficialFiles,
    providers: Sequence[str],
    provider_named: Callable[[str], Provider],
    aws_profile: str | None = None,
) -> Iterator[str]:
    """What was found and what becomes of it, line by line. `providers` are those that this tool has, `aws_profile` the
    name of the profile that the AWS keys are to become."""
    yield f"Of the official tool, in {', '.join(str(path) for path in found.files)}:"
    for name, node in sorted(found.nodes.items()):
        becomes = "kept"
        if node.provider not in providers and isinstance(absent := provider_named(node.provider), NotHere):
            becomes = f"kept, but not runnable here: {absent.refusal(node).hint}"
        yield f"  {name} ({node.provider}, {node.cpu:g} vCPU, {node.memory_mib / 1024:g} GiB): {becomes}"
    for name, why in sorted(found.unusable.items()):
        yield f"  {plainly(name)}: kept as it is, but cannot be used: {why}"
    if found.numerai_keys:
        yield "  Numerai's keys: taken over"
    if found.keys_problem:
        yield f"  Numerai's keys: cannot be used: {found.keys_problem} `numerai setup` asks for others afterwards"
    for name in found.cloud_keys:
        becomes = "in the backup only"
        if name == "aws":
            becomes = f"become the profile {aws_profile}" if aws_profile else f"{becomes}; {_OFFER}"
        yield f"  {_KEYS[name]} keys: {becomes}"
    for path in found.left:
        yield f"  {path}: left as it is"


def next_steps(store: StateStore, providers: Sequence[str]) -> list[str]:
    """What makes the nodes that were taken over run here, and Numerai call them here."""
    nodes = [node for _, node in sorted(store.nodes().items())]
    if not nodes:
        return [first_steps(store)]
    here = [node for node in nodes if node.provider in providers]
    first = (here or nodes)[0]
    node = f"numerai node -m {first.name}"
    config = f"{node} config" if here else f"{node} config -P local"
    moves = [config] if here and first.webhook_url else []  # the webhook, once it can be answered here
    others = ["and so for each other node"] if nodes[1:] else []
    return [first_steps(store, "numerai doctor"), config, f"{node} deploy", *moves, f"{node} test", *others]


def plan_aws_keys(
    official: OfficialHome, profile: str, plan_profile: Callable[[str, str, str], Callable[[], Path]]
) -> Callable[[], Path]:
    """What puts the old tool's AWS keys into the AWS programs' own file as a profile. Whether that can be done is known
    now, before anything is changed.

    `UsageError` as by `kept_aws_keys`, and for a profile that cannot be made.
    """
    return plan_profile(profile, *kept_aws_keys(official))


def kept_aws_keys(official: OfficialHome) -> tuple[str, str]:
    """The old tool's AWS keys. `UsageError` with code `no-aws-keys` where neither the home nor a backup has them."""
    keys = official.aws_keys()
    if keys is None:
        raise UsageError(
            "The official tool has left no AWS keys here.", "Run `aws configure`, or set AWS_PROFILE.",
            code="no-aws-keys",
        )  # fmt: skip
    return keys


def use_profile(official: OfficialHome, store: StateStore, profile: str) -> None:
    """Let the provider aws use a profile from now on, until the upgrade is undone."""
    settings = store.settings("aws")
    if settings.get("profile") != profile:
        with official.writing():
            store.save_settings("aws", {**settings, "profile": profile})


def summary(found: OfficialFiles) -> str:
    """What was taken over, in a few words."""
    names = sorted((*found.nodes, *found.unusable))
    return counted(len(names), "node") + (f" ({', '.join(map(plainly, names))})" if names else "")
