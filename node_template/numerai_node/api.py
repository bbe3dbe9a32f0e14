"""Numerai as one run sees it: the client with the run's tournament, model, trigger and keys."""

from __future__ import annotations

from .client import LATE, ON_TIME, QUEUED, Entry, NotThere, NumeraiClient, Refusal, Round, Submission
from .errors import ConfigurationError
from .kinds import Kind
from .settings import Settings
from .transport import REFUSALS, NoAnswer, Passing, Patience, Transport

__all__ = ["LATE", "ON_TIME", "QUEUED", "Entry", "NotThere", "NumeraiApi", "Refusal", "Round", "Submission"]

UPLOAD_SCOPE = "upload_submission"
READ_SCOPE = "read_submission_info"
DOWNLOAD_SCOPE = "download_submission"


class NumeraiApi:
    """What a run asks Numerai. Methods without a description are the client's."""

    def __init__(self, settings: Settings, transport: Transport):
        self._settings = settings
        self._tournament = settings.tournament
        self.transport = transport
        self.client = NumeraiClient(settings.api_url, settings.need_keys, transport)
        self._scopes: frozenset[str] | None = None

    def datasets(self) -> list[str]:
        return self.client.datasets(self._tournament)

    def dataset_url(self, name: str, patience: Patience | None = None) -> str:
        return self.client.dataset_url(self._tournament, name, patience)

    def current_round(self, patience: Patience | None = None) -> Round | None:
        """The round that takes submissions on time now; None between rounds. Its deadline ends all later trying."""
        current = self.client.current_round(self._tournament, patience)
        self.transport.submit_by(current.deadline if current else None)
        return current

    def round_before(self, number: int) -> Round | None:
        """The round before this one; None when Numerai does not show it, which is not worth a wait."""
        try:
            return self.client.round(self._tournament, number - 1, self.transport.briefly())
        except (Refusal, NoAnswer):
            return None

    def check_access(self) -> str:
        """Ask once, before any work, whether the keys and the model are good; returns the model's name.

        Raises `ConfigurationError` when the keys are refused, a scope is missing, or the model is unknown or of
        another tournament.
        """
        model_id = self._settings.need_model()
        scopes = self._ask_scopes()
        for scope in (UPLOAD_SCOPE, READ_SCOPE):
            if scopes is not None and scope not in scopes:
                raise ConfigurationError(f"The Numerai API key lacks the scope {scope}. Make a key that has it.")
        try:
            name, tournament = self.transport.retry("asking for the model", lambda: self._ask_model(model_id))
        except Refusal as refusal:
            if refusal.kind is Kind.SCOPE:
                return model_id  # a key that may only submit is enough; whether the model is ours shows at the upload
            raise
        if tournament != self._tournament:
            raise ConfigurationError(
                f"The model {name} is in tournament {tournament}, but NUMERAI_TOURNAMENT is {self._tournament}."
            )
        return name

    def _ask_model(self, model_id: str) -> tuple[str, int]:
        model = self.client.model(model_id)
        if model is None:  # asked again, for a run that ends with a configuration error is not tried again
            unknown = ConfigurationError(f"Numerai knows no model with the id {model_id}. Check MODEL_ID.")
            raise Passing(f"Numerai knows no model with the id {model_id}", at_most=REFUSALS, then=unknown)
        return model

    def may_read_back(self, patience: Patience | None = None) -> bool:
        """Whether the key may download what it has submitted."""
        scopes = self._scopes if self._scopes is not None else self._ask_scopes(patience)
        return scopes is not None and DOWNLOAD_SCOPE in scopes

    def _ask_scopes(self, patience: Patience | None = None) -> frozenset[str] | None:
        info = self.client.token_info(patience)
        self._scopes = info.scopes if info else None
        return self._scopes

    def upload_address(self, filename: str, patience: Patience | None = None) -> tuple[str, str]:
        return self.client.upload_address(self._tournament, self._settings.need_model(), filename, patience)

    def create_submission(self, filename: str, data_datestamp: int | None) -> str:
        return self.client.create_submission(
            self._tournament,
            self._settings.need_model(),
            filename,
            trigger_id=self._settings.trigger_id,
            data_datestamp=data_datestamp,
        )

    def submissions(self, patience: Patience | None = None) -> list[Submission]:
        return self.client.submissions(self._settings.need_model(), patience)

    def entries(self, patience: Patience | None = None) -> list[Entry]:
        return self.client.entries(self._settings.need_model(), patience)

    def submission_url(self, submission_id: str, patience: Patience | None = None) -> str:
        return self.client.submission_url(submission_id, patience)
