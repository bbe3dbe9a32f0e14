"""Stands for a provider that is not there: nodes that were taken over from the official tool, or a plug-in's that was
removed, can still be shown, moved and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import EnvironmentNotReady
from ..models import Check, CheckStatus, Deployment, LogLine, Node, Run, WebhookCall
from ..ports import Report


class AbsentProvider:
    """`ports.Provider` of which nothing is known but the name. It has no runs and no deployments; whatever would need
    it raises `EnvironmentNotReady` with code `not-runnable-here`."""

    timed_here = False

    def __init__(self, name: str):
        self.name = name
        self.not_here = f"this tool has no provider {name}"

    def configure(self, node: Node, report: Report) -> Node:
        raise self.refusal(node)

    def webhook_url(self, node_name: str) -> str | None:
        return None

    def reachable_by(self, api_url: str) -> bool:
        return True  # where it is, its webhook answers Numerai

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        raise self.refusal(node)

    def deployment(self, node_name: str) -> Deployment | None:
        return None

    def source_hash(self, node: Node) -> str:
        raise self.refusal(node)

    def wake(self, report: Report) -> None:
        pass

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        raise self.refusal(node)

    def run(self, run_id: str) -> Run:
        raise self._unknown()

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        return []

    def find_run(self, node_name: str, trigger_id: str) -> Run | None:
        return None

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        raise self._unknown()

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[WebhookCall]:
        return []

    def cancel(self, run_id: str) -> Run:
        raise self._unknown()

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        raise self._unknown()

    def checks(self, nodes: Iterable[Node]) -> Iterator[Check]:
        for node in nodes:
            if node.provider == self.name:
                why = f"{self.not_here}, so nothing of it can be seen or run here"
                yield Check(f"{node.name} on {self.name}", CheckStatus.WARNING, why, self.refusal(node).hint)

    def refusal(self, node: Node) -> EnvironmentNotReady:
        """The error for what would need it, with the commands that lead out."""
        forget = f"`numerai node forget {node.name}` removes its record; what {self.name} holds stays."
        hint = f"`numerai node -m {node.name} config -P local` moves it to this machine, {forget}"
        if node.also_on is not None:
            other = node.also_on if node.also_on != self.name else node.provider
            hint = f"A move of it from or to {other} was not finished: `numerai doctor` says what ends it, {forget}"
        return EnvironmentNotReady(
            f"{node.name} runs on {self.name}, and {self.not_here}.", hint, code="not-runnable-here"
        )

    def _unknown(self) -> EnvironmentNotReady:
        return EnvironmentNotReady(f"Nothing can be asked of {self.name}: {self.not_here}.", code="not-runnable-here")
