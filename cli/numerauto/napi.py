"""The part of numerauto's `napi` that still means something, on the tool's own API client and the node runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import EnvironmentNotReady, NumeraiError, UsageError
from ..models import Tournament

if TYPE_CHECKING:
    from ..events.context import HandlerContext

NumerAPIError = NumeraiError
NumerAPIAuthorizationError = EnvironmentNotReady
"""Raised when there are no keys, as in numerauto."""


class RobustNumerAPI:
    """Numerauto's names for asking Numerai. Requests are retried by what is below, so `retry_wait_schedule`,
    `verbosity` and `show_progress_bars` are accepted and mean nothing.

    Without a `daemon` (a handler that makes its own) it is the one that runs in this process; `UsageError` when none
    does.
    """

    def __init__(
        self,
        public_id: str | None = None,
        secret_key: str | None = None,
        *,
        daemon: HandlerContext | None = None,
        **_: Any,
    ):
        from ..events.context import HandlerContext

        daemon = daemon or HandlerContext.running
        if daemon is None:
            raise UsageError(
                "RobustNumerAPI works only while a daemon runs.",
                "Make it in a method of a handler, such as on_new_tournament_data, or use `self.numerauto.napi`.",
                code="no-daemon",
            )
        self._daemon = daemon
        self._keys = daemon.own_keys(public_id, secret_key) if public_id and secret_key else None

    def get_current_round(self, tournament: int | None = None) -> int | None:
        """The number of the round that is open, or of the latest one."""
        round_ = self._daemon.api.current_round(tournament or self._daemon.tournament_id)
        return round_.number if round_ else None

    def get_current_round_details(self, tournament: int | None = None) -> dict[str, Any]:
        """The round's number, `openTime`, `closeStakingTime` (the deadline) and `closeTime` (ISO 8601)."""
        round_ = self._daemon.api.current_round(tournament or self._daemon.tournament_id)
        if round_ is None:
            raise NumeraiError("Numerai knows no round of this tournament.", code="no-round")
        return {
            "number": round_.number,
            "openTime": round_.open_time.isoformat(),
            "closeStakingTime": round_.deadline.isoformat(),
            "closeTime": round_.close_time.isoformat(),
        }

    def get_tournaments(self) -> list[dict[str, Any]]:
        """Every tournament that this tool knows: number and name."""
        return [{"tournament": int(found), "name": found.prefix} for found in Tournament]

    def upload_predictions(
        self, file_path: str | Path, tournament: int | None = None, model_id: str | None = None
    ) -> str:
        """Submit a CSV file through all checks; returns the submission's id once Numerai has accepted it, else raises
        `NumerAPIError`."""
        from ..events.runtime import NodeError
        from ..events.uploader import read_predictions

        predictions = read_predictions(Path(file_path))
        try:
            made = self._daemon.submit(predictions, model=model_id, keys=self._keys, tournament_id=tournament)
        except NodeError as error:
            raise NumerAPIError(str(error)) from error
        return made.submission_id

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"napi.{name} is not available to event handlers. Data: self.numerauto.get_dataset_path(round_number) or"
            " self.numerauto.node; everything else: the package numerapi."
        )
