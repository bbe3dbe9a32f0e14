"""Talks to the control endpoints of a sandbox that is being served."""

from __future__ import annotations

from typing import Any

import requests

from ..errors import NumeraiError

_SECONDS = 60


class SandboxClient:
    """Moves rounds, clock, data and faults of the sandbox at `url`.

    Every method raises `NumeraiError`: code `sandbox-unreachable` when nobody answers there or it is no sandbox,
    `sandbox-refused` when the sandbox does not take the order.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def health(self) -> dict[str, Any]:
        """That it answers, and its time."""
        return self._ask("GET", "health")

    def state(self) -> dict[str, Any]:
        """Everything it remembers, without secrets."""
        return self._ask("GET", "state")

    def open_round(self, tournament: int | str | None = None, minutes: float | None = None) -> list[dict[str, Any]]:
        """Open the next round (of every tournament, for None); the webhooks are called in the background."""
        return list(self._ask("POST", "rounds", _given(tournament=tournament, minutes=minutes))["rounds"])

    def move_deadline(self, minutes: float, tournament: int | str | None = None) -> list[dict[str, Any]]:
        """Move the deadline of the latest round (of every tournament, for None) by so many minutes."""
        return list(self._ask("POST", "deadline", _given(tournament=tournament, minutes=minutes))["rounds"])

    def clock(
        self, *, advance: float | None = None, now: str | None = None, freeze: bool | None = None
    ) -> dict[str, Any]:
        """Move, set, stop or restart the clock; without an order just read it."""
        order = _given(advance=advance, now=now, freeze=freeze)
        return self._ask("POST", "clock", order) if order else self._ask("GET", "clock")

    def publish_data(self, version: str, files: list[str] | None = None, *, renames: bool = False) -> list[str]:
        """List a data version, or these files of it; returns every version that is listed now."""
        order = {"publish": version, "files": files, "renames": renames}
        return list(self._ask("POST", "data", order)["versions"])

    def remove_data(self, version: str) -> list[str]:
        """Stop serving a data version; returns every version that is listed now."""
        return list(self._ask("POST", "data", {"remove": version})["versions"])

    def set_fault(self, target: str, kind: str, **order: Any) -> dict[str, Any]:
        """Order a fault; `status`, `times` (None: until cleared), `match`, `seconds`, `when`, `message` are in
        docs/sandbox.md."""
        return self._ask("POST", "faults", {"target": target, "kind": kind, **order})

    def clear_faults(self) -> int:
        """Forget every fault; returns how many there were."""
        return int(self._ask("DELETE", "faults")["cleared"])

    def _ask(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = requests.request(method, f"{self.url}/sandbox/{name}", json=body, timeout=_SECONDS)
            answer = response.json()
        except (requests.RequestException, ValueError) as error:
            raise NumeraiError(
                f"No sandbox answers at {self.url}.",
                "Start one with `numerai sandbox serve`, or give its address with --url.",
                code="sandbox-unreachable",
            ) from error
        if not response.ok or not isinstance(answer, dict):
            reason = answer.get("error", answer) if isinstance(answer, dict) else answer
            raise NumeraiError(f"The sandbox refused: {reason}", code="sandbox-refused")
        return answer


def _given(**order: Any) -> dict[str, Any]:
    return {name: value for name, value in order.items() if value is not None}
