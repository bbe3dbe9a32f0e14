"""The official tool's Terraform state, read strictly: nothing is removed by what is not understood to its end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...encodings import as_utf_8
from ...errors import ProviderError
from .settings import DEFAULT_REGION

VERSION = 4
"""The version of the format since Terraform 0.12 (github.com/hashicorp/terraform, internal/states/statefile): every
field that is required here is always written."""
MODULE = re.compile(r"module\.aws(\[0\])?")
"""Below which numerai-cli 0.3 to 1.1.7 make everything."""
_AWS = '["registry.terraform.io/hashicorp/aws"]'
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:([a-z0-9-]*):(\d{12}):")


class _Instance(msgspec.Struct, frozen=True):
    index_key: str | int | None = None
    attributes: dict[str, Any] | None = None


class _Resource(msgspec.Struct, frozen=True):
    mode: Literal["managed", "data"]
    type: str
    name: str
    provider: str
    instances: list[_Instance]
    module: str = ""

    @property
    def addresses(self) -> list[str]:
        keys = [f"[{json.dumps(each.index_key)}]" if each.index_key is not None else "" for each in self.instances]
        return [f"{self.type}.{self.name}{key}" for key in keys]


class _Made(msgspec.Struct, frozen=True):
    docker_repo: str | None = None
    webhook_url: str | None = None


class _Nodes(msgspec.Struct, frozen=True):
    value: dict[str, _Made]


class _Outputs(msgspec.Struct, frozen=True):
    aws_nodes: _Nodes | msgspec.UnsetType = msgspec.UNSET


class _State(msgspec.Struct, frozen=True):
    version: int
    serial: int
    lineage: str
    resources: list[_Resource]
    outputs: _Outputs


@dataclass(frozen=True)
class OfficialState:
    """What a state says. `account` is None where it names none; `nodes` holds by node what was made for it."""

    account: str | None
    region: str
    nodes: Mapping[str, Mapping[str, str | None]]
    managed: tuple[_Resource, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """What exists as far as it knows."""
        return tuple(address for resource in self.managed for address in resource.addresses)

    @property
    def scheduled(self) -> frozenset[str]:
        """The nodes that run by a schedule."""
        return frozenset(str(each.index_key) for each in self._of("aws_cloudwatch_event_rule"))

    def names(self, kind: str) -> list[str]:
        """What those resources of a kind are called in AWS."""
        return [
            str(each.attributes["name"]) for each in self._of(kind) if each.attributes and "name" in each.attributes
        ]

    def _of(self, kind: str) -> Iterator[_Instance]:
        return (instance for resource in self.managed if resource.type == kind for instance in resource.instances)


def read_state(path: Path) -> OfficialState:
    """The state in a file. `ProviderError` with code `bad-state`, which names the file and what to do, where anything
    in it is other than the official tool's Terraform writes it."""
    try:
        return _understood(_parsed(as_utf_8(path.read_bytes())))
    except RecursionError as error:
        raise unusable(path, "it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise unusable(path, getattr(error, "strerror", None) or str(error)) from error


def unusable(path: Path, why: str) -> ProviderError:
    """The error for a state that cannot be worked with."""
    hint = "Put a whole copy back, such as terraform.tfstate.backup beside it, then run the command again."
    return ProviderError(f"{path} cannot be used: {why.rstrip('.')}.", hint, code="bad-state")


def for_removal(content: bytes) -> bytes:
    """A state's content with which Terraform removes a repository although it holds images. Those of before 0.3.5 do
    not say `force_delete`, and the AWS provider takes it from there
    (registry.terraform.io/providers/hashicorp/aws/5.100.0/docs/resources/ecr_repository#force_delete)."""
    state = json.loads(as_utf_8(content))
    for resource in state["resources"]:
        if (resource["mode"], resource["type"]) == ("managed", "aws_ecr_repository"):
            for instance in resource["instances"]:
                instance["attributes"] = {**(instance.get("attributes") or {}), "force_delete": True}
    return json.dumps(state, indent=2).encode()


def _parsed(content: bytes) -> _State:
    raw = msgspec.json.decode(content)
    if isinstance(raw, dict) and "encrypted_data" in raw:
        raise ValueError("it is encrypted")
    if isinstance(raw, dict) and raw.get("version", VERSION) != VERSION:
        raise ValueError(f"it has version {raw['version']} of the format, and 4 is what Terraform writes since 0.12")
    return msgspec.convert(raw, _State)


def _understood(state: _State) -> OfficialState:
    managed = tuple(each for each in state.resources if each.mode == "managed")
    for each in managed:
        if not MODULE.fullmatch(each.module) or not each.provider.endswith(_AWS):
            name = f"{each.module}.{each.type}.{each.name}".removeprefix(".")
            raise ValueError(f"it also holds {name}, which the official tool does not make")
    arns = [str((instance.attributes or {}).get("arn")) for each in managed for instance in each.instances]
    found = [match for arn in arns if (match := _ARN.match(arn))]
    accounts, regions = {match[2] for match in found}, {match[1] for match in found if match[1]}
    for several in (accounts, regions):
        if len(several) > 1:
            raise ValueError(f"it names resources of {' and '.join(sorted(several))}")
    made = state.outputs.aws_nodes
    nodes = {} if made is msgspec.UNSET else {name: msgspec.structs.asdict(node) for name, node in made.value.items()}
    return OfficialState(next(iter(accounts), None), next(iter(regions), DEFAULT_REGION), nodes, managed)
