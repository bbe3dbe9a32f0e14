"""What Terraform made, as its outputs name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ProviderError


class ClusterOutputs:
    """The outputs of terraform/aws (see its outputs.tf), checked where they are used."""

    def __init__(self, outputs: Mapping[str, Any]):
        self._outputs = outputs

    def text(self, name: str) -> str:
        """One output; `ProviderError` with code `not-configured` when the cluster was never made to its end."""
        if name not in self._outputs:
            raise _unfinished()
        return str(self._outputs[name])

    def optional(self, name: str) -> str | None:
        """One output; None where it has no value, or where an older version of this tool made the cluster."""
        value = self._outputs.get(name)
        return None if value is None else str(value)

    @property
    def nodes(self) -> Mapping[str, Mapping[str, str]]:
        """What each node consists of: repository, job definition, queue, ..."""
        nodes: Mapping[str, Mapping[str, str]] = self._outputs.get("nodes") or {}
        return nodes

    @property
    def queues(self) -> Mapping[str, str]:
        """The queues by kind: fargate, ec2, gpu, and each with `-now` behind it for On-Demand alone."""
        queues: Mapping[str, str] = self._outputs.get("queues") or {}
        return queues

    def node(self, name: str) -> Mapping[str, str]:
        """What one node consists of; `ProviderError` with code `not-configured`."""
        if name not in self.nodes:
            raise _unfinished()
        return self.nodes[name]

    def webhook_url(self, name: str, token: str) -> str:
        """The address of a node's webhook."""
        return f"{self.text('webhook_base_url').rstrip('/')}/{name}/{token}"


def _unfinished() -> ProviderError:
    return ProviderError(
        "It is not configured on AWS to its end.", "Run `numerai node config` again.", code="not-configured"
    )
