"""What handlers work with: the round, its data, Numerai's API, and the way to submit."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ApiError, NumeraiError, UsageError
from ..models import Keys, Model, Round, Tournament
from ..ports import NumeraiApi
from .datasets import RoundData, folder_of
from .messages import RoundReport, SubmissionMade, logger
from .state import Book, said_if_not_kept
from .surroundings import Surroundings, find_model, make_node

if TYPE_CHECKING:
    from .runtime import Node

SECRET_ATTRIBUTES = ("secret_key", "_smtp_password")
"""What handlers may hold and nobody may be shown."""


@dataclass(frozen=True)
class EventSettings:
    """How rounds are followed, and where files go; folders that are None are in the home folder.

    `round_wait_interval` are seconds between two looks at which round is open, `single_run_max_wait` seconds to wait
    for one to open. `on_new_tournament_data` (and `on_new_training_data`, within a round) is tried `max_attempts` times
    in all, `retry_wait` seconds apart.
    """

    round_wait_interval: float = 60
    single_run_max_wait: float = 86_400
    max_attempts: int = 3
    retry_wait: float = 60
    data_directory: Path | None = None
    model_directory: Path | None = None
    prediction_directory: Path | None = None
    report_directory: Path | None = None


class HandlerContext:
    """What a handler finds at `self.daemon`: `tournament_id`, `tournaments` (id -> name), `round_number`, `report` (a
    nested dictionary, new for each round), `persistent_state` with `save_state()`, `get_dataset_path(round_number)`,
    `node` (the node runtime), `submit(predictions)`, `surroundings`. The names are numerauto's.

    `running` is the one that works in this process.
    """

    running: ClassVar[HandlerContext | None] = None

    def __init__(
        self,
        surroundings: Surroundings,
        tournament_id: int = 8,
        settings: EventSettings | None = None,
        model: str | None = None,
    ):
        self.surroundings = surroundings
        self.tournament_id = int(tournament_id)
        self.tournaments = {int(tournament): tournament.prefix for tournament in Tournament}
        if self.tournament_id not in self.tournaments:
            raise UsageError(f"There is no tournament {tournament_id}.", "Give 8, 11 or 12.", code="unknown-tournament")
        self.model = model
        self.event_handlers: list[Any] = []
        self.round_number: int | None = None
        self.report: Any = None
        self.rounds: list[RoundReport] = []
        self.book = Book(surroundings.folder / self.tournaments[self.tournament_id])
        self._settings = settings or EventSettings()
        self._shared: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self.load_state()
        self._api: NumeraiApi | None = None
        self._node: Node | None = None
        self._data: RoundData | None = None
        self._data_datestamp: int | None = None

    @property
    def settings(self) -> EventSettings:
        """How rounds are followed, and where files go."""
        return self._settings

    @property
    def data_folder(self) -> Path:
        """Below it each round has a folder with its data."""
        return self.settings.data_directory or self.book.folder / "data"

    @property
    def report_folder(self) -> Path:
        """Where reports go."""
        return self.settings.report_directory or self.book.folder / "reports"

    def get_dataset_path(self, round_number: int) -> Path:
        """The folder of a round's data: `live.parquet` and, where a handler trains, `features.json`, `train.parquet`
        and `validation.parquet`."""
        return folder_of(self.data_folder, round_number)

    def provide(self, name: str) -> None:
        """Have a file of the dataset in the folder of the round that is worked on."""
        if self._data is not None:
            self._data.provide(name)

    @property
    def api(self) -> NumeraiApi:
        """Numerai's API with the daemon's keys, as the tool itself uses it."""
        if self._api is None:
            self._api = self.surroundings.api_with(self.keys())
        return self._api

    @property
    def node(self) -> Node:
        """The node runtime for this round's data, with the daemon's keys."""
        if self._node is None:
            self._node = make_node(self.surroundings.folder, self.keys(), self.tournament_id, None)
        return self._node

    @property
    def prediction_folder(self) -> Path:
        """Where handlers leave this round's predictions for each other."""
        return self._round_folder(self.settings.prediction_directory or self.book.folder / "predictions")

    @property
    def model_folder(self) -> Path:
        """Where handlers leave the models they trained in this round."""
        return self._round_folder(self.settings.model_directory or self.book.folder / "models")

    def open_round(self, *, must_answer: bool) -> Round | None:
        """The round that is open by Numerai's own time; None when none is. Refused keys end a daemon that starts; later
        on nothing ends it."""
        try:
            current = self.api.current_round(self.tournament_id)
        except ApiError as error:
            if must_answer and not error.temporary:
                raise
            logger.warning("Numerai could not be asked for the round: %s", error.message)
            return None
        return current if current is not None and current.is_open(self.now()) else None

    def now(self) -> datetime:
        """The time by Numerai's clock, once it has answered; by this machine's until then."""
        heard = self._api.heard_time() if self._api is not None else None
        return heard or self.surroundings.clock.now()

    def keys(self) -> Keys:
        """The keys from the environment or the home folder, else those that an uploader was made with."""
        try:
            return self.surroundings.keys()
        except NumeraiError:
            for handler in self.event_handlers:
                public_id, secret_key = (getattr(handler, name, None) for name in ("public_id", "secret_key"))
                if public_id and secret_key:
                    return self.own_keys(public_id, secret_key)
            raise

    def own_keys(self, public_id: str, secret_key: str) -> Keys:
        """Keys that a handler was made with, for the API that the environment names."""
        url = os.environ.get("NUMERAI_API_URL")
        return Keys(public_id, secret_key, url) if url else Keys(public_id, secret_key)

    def submit(
        self,
        predictions: Any,
        *,
        model: str | None = None,
        keys: Keys | None = None,
        tournament_id: int | None = None,
        handler: str | None = None,
    ) -> SubmissionMade:
        """Check predictions, send them, and return once Numerai counts them, or is known not to; then every handler
        gets `on_submission`, whose `status` says which.

        Takes what `Node.submit` takes: a frame, a series indexed by id, or the path of a CSV file. Raises
        `BadPredictions` when they break a rule, `TemporaryFailure` when Numerai could not be reached.
        """
        from .runtime import Submitted

        tournament = tournament_id or self.tournament_id
        chosen = self.find_model(model, keys, tournament)
        node, datestamp = self._node_of(chosen, keys, tournament)
        try:
            found = node.submit(predictions, datestamp)
        except Submitted as error:
            logger.warning("%s: %s", chosen.name, error)
            number, made_id, status = error.round_number, error.submission_id, error.status
        else:
            number, made_id, status = found.round_number, found.id, "on-time"
        made = SubmissionMade(
            number or self.round_number, made_id, status, chosen.name, chosen.id, handler, status == "late"
        )
        self.announce(made)
        return made

    def find_model(self, name: str | None, keys: Keys | None = None, tournament_id: int | None = None) -> Model:
        """The model to submit to; `UsageError` when it is not clear which."""
        api = self.surroundings.api_with(keys) if keys else self.api
        return find_model(api, tournament_id or self.tournament_id, name or self.model)

    @property
    def persistent_state(self) -> dict[str, Any]:
        """The dictionary that all handlers share and that survives restarts."""
        return self._shared

    @persistent_state.setter
    def persistent_state(self, value: dict[str, Any]) -> None:
        if not isinstance(value, dict):
            raise TypeError(f"persistent_state must be a dictionary, not a {type(value).__name__}.")
        self._shared = value

    def load_state(self) -> None:
        """Read `persistent_state`, the dictionary that all handlers share."""
        self.persistent_state = {"last_round_processed": None, "last_round_trained": None, **self.book.shared()}
        self._known = copy.deepcopy(self.persistent_state)

    def save_state(self) -> None:
        """Write what has changed in `persistent_state`; when that cannot be done the log says why, and the old file
        stays."""
        with said_if_not_kept():
            self._known = self.book.keep_shared(self.persistent_state, self._known)

    def announce(self, made: SubmissionMade) -> None:
        """Record a submission."""
        logger.info("Submitted for %s in round %s: %s", made.model, made.round_number, made.submission_id)

    def _node_of(self, model: Model, keys: Keys | None, tournament: int) -> tuple[Node, int | None]:
        """The node to submit through, and the day of the data where another round than theirs is open by now."""
        node = make_node(self.surroundings.folder, keys or self.keys(), tournament, model)
        if tournament != self.tournament_id or self._data is None:
            return node, None
        current = node.api.current_round()
        if current is not None and current.number == self.round_number:
            return node, None
        logger.warning("Round %s was closed while it was worked on", self.round_number)
        node.live_file = self.node.live_file
        return node, None if current is None else self._data_datestamp

    def _round_folder(self, folder: Path) -> Path:
        name = self.tournaments[self.tournament_id]
        return folder / f"tournament_{name}" / f"round_{self.round_number}"


def secrets_of(handler: object) -> list[str]:
    """The keys and passwords that a handler was made with."""
    held = [getattr(handler, name, None) for name in SECRET_ATTRIBUTES]
    return [secret for secret in held if isinstance(secret, str)]
