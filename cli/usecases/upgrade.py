"""Takes over what the official numerai-cli has left, in the words in which `numerai upgrade` says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..counting import counted
from ..errors import UsageError
from ..models import Node
from ..ports import OfficialFiles, OfficialHome, StateStore
from .resolve import first_steps

AWS_PROFILE = "numerai"
"""The name that is proposed for a profile with the old tool's AWS keys."""
_KEYS = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}


def describe(found: OfficialFiles, providers: Sequence[str]) -> Iterator[str]:
    """What was found and what becomes of it, line by line. `providers` are those that this tool has."""
    yield f"Of the official tool, in {', '.join(str(path) for path in found.files)}:"
    for name, node in sorted(found.nodes.items()):
        becomes = "kept" if node.provider in providers else f"kept, but not runnable here: {leads_out(node)}"
        yield f"  {name} ({node.provider}, {node.cpu:g} vCPU, {node.memory_mib / 1024:g} GiB): {becomes}"
    for name, why in sorted(found.unusable.items()):
        yield f"  {name}: kept as it is, but cannot be used: {why}"
    if found.numerai_keys:
        yield "  Numerai's keys: taken over"
    for name in found.cloud_keys:
        use = "; --aws-profile NAME makes a profile of them" if name == "aws" else ""
        yield f"  {_KEYS[name]} keys: in the backup only{use}"
    for path in found.left:
        yield f"  {path}: left as it is"


def leads_out(node: Node) -> str:
    """What can be done with a node whose provider is not there."""
    move, forget = f"numerai node -m {node.model_name} config -P local", f"numerai node forget {node.name}"
    return f"`{move}` moves it to this machine, `{forget}` removes its record"


def next_steps(store: StateStore, providers: Sequence[str]) -> list[str]:
    """What makes the nodes that were taken over run here, and Numerai call them here."""
    nodes = [node for _, node in sorted(store.nodes().items())]
    if not nodes:
        return [first_steps(store)]
    here = [node for node in nodes if node.provider in providers]
    first = (here or nodes)[0]
    node = f"numerai node -m {first.model_name}"
    config = f"{node} config" if here else f"{node} config -P local"
    others = ["and so for each other node"] if nodes[1:] else []
    return [first_steps(store, "numerai doctor"), config, f"{node} deploy", f"{node} test", *others]


def keep_aws_keys(
    official: OfficialHome, store: StateStore, profile: str, add_profile: Callable[[str, str, str], Path]
) -> Path:
    """Put the old tool's AWS keys into the AWS programs' own file as a profile, and use that profile from now on.

    `UsageError` with code `no-aws-keys` where neither the home nor a backup has them.
    """
    keys = official.aws_keys()
    if keys is None:
        raise UsageError(
            "The official tool has left no AWS keys here.", "Run `aws configure`, or set AWS_PROFILE.",
            code="no-aws-keys",
        )  # fmt: skip
    path = add_profile(profile, *keys)
    settings = store.settings("aws")
    if settings.get("profile") != profile:
        store.save_settings("aws", {**settings, "profile": profile})
    return path


def summary(found: OfficialFiles) -> str:
    """What was taken over, in a few words."""
    names = sorted((*found.nodes, *found.unusable))
    return counted(len(names), "node") + (f" ({', '.join(names)})" if names else "")
