"""A change as data: frozen steps that can be shown before they are carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..models import Node
from .scaffold import ScaffoldPlan


@dataclass(frozen=True)
class CopyExample:
    """Copy an example into the node's folder."""

    scaffold: ScaffoldPlan

    def describe(self) -> str:
        """The step in words."""
        return f"copy the example {self.scaffold.example} to {self.scaffold.folder} ({len(self.scaffold.new)} files)"


@dataclass(frozen=True)
class Provision:
    """Make what the provider needs to run the node."""

    node: Node

    def describe(self) -> str:
        """The step in words."""
        node = self.node
        return (
            f"provision {node.name} on {node.provider}: {node.cpu:g} vCPU, {node.memory_mib / 1024:g} GiB, "
            f"at most {node.timeout_minutes} minutes" + (f", cron '{node.cron}' (UTC)" if node.cron else "")
        )


@dataclass(frozen=True)
class SaveNode:
    """Record the node in nodes.json."""

    name: str
    file: Path

    def describe(self) -> str:
        """The step in words."""
        return f"record {self.name} in {self.file}"


@dataclass(frozen=True)
class RegisterWebhook:
    """Tell Numerai which address to call when a round opens."""

    model_name: str
    model_id: str

    def describe(self) -> str:
        """The step in words."""
        return f"register the webhook of {self.model_name} with Numerai"


@dataclass(frozen=True)
class ClearWebhook:
    """Tell Numerai to call nobody."""

    model_name: str
    model_id: str

    def describe(self) -> str:
        """The step in words."""
        return f"clear the webhook of {self.model_name} at Numerai"


@dataclass(frozen=True)
class Unprovision:
    """Remove everything that the provider holds for the node."""

    node: Node

    def describe(self) -> str:
        """The step in words."""
        return f"remove everything {self.node.provider} holds for {self.node.name} (the folder {self.node.path} stays)"


@dataclass(frozen=True)
class ForgetNode:
    """Remove the node from nodes.json."""

    name: str
    file: Path

    def describe(self) -> str:
        """The step in words."""
        return f"remove {self.name} from {self.file}"


Step = CopyExample | Provision | SaveNode | RegisterWebhook | ClearWebhook | Unprovision | ForgetNode


@dataclass(frozen=True)
class Plan:
    """The steps of a change, in the order in which they are carried out, and what should be known before."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """Every step in words."""
        return [step.describe() for step in self.steps]


def carry_out(plan: Plan, execute: Callable[[Step], None], report: Callable[[str], None]) -> None:
    """Execute the steps one by one, saying each before it is done."""
    for step in plan.steps:
        report(step.describe())
        execute(step)
