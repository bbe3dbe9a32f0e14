"""Reads a plan of Terraform or OpenTofu in detail, and writes the blocks that make what exists a part of a stack."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..ports import PlannedResource, PlannedResources

_NAMES = ("id", "arn")


def planned_resources(shown: Mapping[str, Any]) -> PlannedResources:
    """What `terraform show -json` of a plan says
    (https://developer.hashicorp.com/terraform/internals/json-format#plan-representation)."""
    changes = [entry for entry in shown.get("resource_changes", []) if entry.get("mode") == "managed"]
    described = shown.get("configuration", {}).get("root_module", {}).get("resources", [])
    needs = {block["address"]: frozenset(_references(block)) for block in described}
    made = tuple(
        PlannedResource(
            entry["address"],
            entry["type"],
            entry["change"].get("after") or {},
            needs.get(without_key(entry["address"]), frozenset()),
        )
        for entry in changes
        if entry["change"]["actions"] == ["create"]
    )
    before = [(entry["type"], entry["change"].get("before") or {}) for entry in changes]
    known = frozenset((kind, str(values[name])) for kind, values in before for name in _NAMES if values.get(name))
    return PlannedResources(made, known)


def without_key(address: str) -> str:
    """The address of a whole block: `aws_subnet.public` for `aws_subnet.public["first"]`."""
    return address.partition("[")[0]


def _references(described: Any) -> Iterator[str]:
    """The blocks that a part of the description refers to."""
    if isinstance(described, Mapping):
        for reference in described.get("references", ()):
            yield ".".join(without_key(reference).split(".")[:2])
        for part in described.values():
            yield from _references(part)
    elif isinstance(described, list):
        for part in described:
            yield from _references(part)


def import_blocks(existing: Mapping[str, str]) -> str:
    """The blocks for things that exist: their ids by address."""
    return "".join(
        f"import {{\n  to = {address}\n  id = {json.dumps(name)}\n}}\n" for address, name in sorted(existing.items())
    )
