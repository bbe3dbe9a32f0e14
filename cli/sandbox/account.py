"""The sandbox's one account: its token, its scopes and its model slots.

Source of the scopes: the API's apiTokenScopes. In which words Numerai refuses a token or a name is known for a wrong
token only (numerapi passes it on).
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct, structs

from .journal import Journal, Table
from .records import ModelRecord
from .refusal import Refusal
from .settings import ModelSpec, Settings

NOT_AUTHENTICATED = "Your session is invalid or has expired."
_MODEL_SPACE = uuid.UUID("6f0d7a52-7a1e-4c39-9b39-0c5d6a3f2d11")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


class TokenRecord(Struct, frozen=True):
    """The account's API token and the secret that signs URLs."""

    id: str
    public_id: str
    secret_key: str
    signing_secret: str
    inserted_at: datetime


class Account:
    """Who may ask, and for what. The token survives with the journal unless it is given anew."""

    def __init__(self, journal: Journal, now: Callable[[], datetime], settings: Settings) -> None:
        self.username = settings.username
        self.scopes = settings.scopes
        self._now = now
        self._models = Table(journal, "models", ModelRecord)
        tokens = Table(journal, "token", TokenRecord)
        known = tokens.get("token")
        self.token = tokens.put(
            TokenRecord(
                id="token",
                public_id=settings.public_id or (known.public_id if known else _random(string.ascii_uppercase, 32)),
                secret_key=settings.secret_key
                or (known.secret_key if known else _random(string.ascii_uppercase + string.digits, 64)),
                signing_secret=known.signing_secret if known else secrets.token_hex(32),
                inserted_at=known.inserted_at if known else now(),
            )
        )

    def require(self, public_id: str | None, secret_key: str | None, scope: str | None) -> None:
        """`Refusal` unless the token is ours and may do what `scope` names."""
        given = f"{public_id or ''}${secret_key or ''}"
        ours = f"{self.token.public_id}${self.token.secret_key}"
        if not hmac.compare_digest(given.encode(), ours.encode()):
            raise Refusal(NOT_AUTHENTICATED)
        if scope is not None and scope not in self.scopes:
            raise Refusal(f"Your API token lacks the scope {scope}.")

    def models(self) -> list[ModelRecord]:
        """Every model slot."""
        return self._models.all()

    def add_models(self, specs: Sequence[ModelSpec]) -> None:
        """Make sure that these model slots exist. Their ids follow from their names."""
        for spec in specs:
            if self.named(spec.name, spec.tournament) is None:
                self._add(spec.name, spec.tournament)

    def create_model(self, name: str, tournament: int) -> ModelRecord:
        """A new model slot; `Refusal` when the name is taken or no name at all."""
        if not _NAME.fullmatch(name):
            raise Refusal("Name may only hold letters, digits, '_' and '-'")
        if tournament not in (8, 11, 12):
            raise Refusal("Tournament not found")
        if self.named(name, tournament) is not None:
            raise Refusal("Name has already been taken")
        return self._add(name, tournament)

    def change(self, model: ModelRecord, **changes: str | None) -> ModelRecord:
        """Change fields of a model slot."""
        return self._models.put(structs.replace(model, **changes))

    def named(self, name: str, tournament: int) -> ModelRecord | None:
        """The model slot of that name in a tournament."""
        return next((each for each in self.models() if (each.name, each.tournament) == (name, tournament)), None)

    def model(self, model_id: str | None, tournament: int | None = None) -> ModelRecord:
        """The model slot of that id; without an id the only one (of the tournament). `Refusal` when there is none."""
        if model_id:
            found = self._models.get(model_id)
            if found is None or (tournament is not None and found.tournament != tournament):
                raise Refusal("Model not found")
            return found
        fitting = [each for each in self.models() if tournament in (None, each.tournament)]
        if len(fitting) != 1:
            raise Refusal("You have several models: a model id is required" if fitting else "Model not found")
        return fitting[0]

    def _add(self, name: str, tournament: int) -> ModelRecord:
        identity = str(uuid.uuid5(_MODEL_SPACE, f"{tournament}:{name}"))
        return self._models.put(ModelRecord(identity, name, tournament, self._now()))


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
