"""The environment contract: what a provider tells a node, read and checked in one place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .addresses import is_secure
from .cache_folder import default_cache
from .errors import ConfigurationError
from .log import hide

NUMERAI_API_URL = "https://api-tournament.numer.ai"
CLASSIC, SIGNALS, CRYPTO = 8, 11, 12
KEY_VARIABLES = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY")
NOTIFY_VARIABLE = "NUMERAI_NOTIFY"
VERSION_VARIABLE = "NUMERAI_DATA_VERSION"
NO_SUBMIT_VARIABLE = "NUMERAI_NO_SUBMIT"
TRAIN_VARIABLE = "NUMERAI_TRAIN"
GATE_VARIABLE = "NUMERAI_GATE"
WARN, REFUSE, OFF = "warn", "refuse", "off"
"""What the gate does with what it finds (gate.py): say it and submit, submit nothing, or not look at all."""
VERSION = re.compile(r"v(\d{1,4})(?:\.(\d{1,4}))?")
NEWEST = "newest"
RUN_VARIABLES = ("NUMERAI_RUN_ID", "AWS_BATCH_JOB_ID")
"""The second is Batch's own (docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html)."""
RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
SECRET_VARIABLES = (*KEY_VARIABLES, NOTIFY_VARIABLE)
"""What a program that a node wraps has no business to know."""


@dataclass(frozen=True)
class Settings:
    """What this run is about. `trigger_id` is None when the run was started by hand.

    `data_version` is a version of the data (`v5.3`), `newest`, or None for the one that the model was trained on. With
    `no_submit` the run is a test that ends where it would upload. `run_id` is the provider's, None in a run by hand.
    A model that is `retrain_days` old is trained again, None lets it be. The provider ends the run after
    `timeout_minutes`; None where it does not say. A run that `trains` does nothing else.
    """

    public_id: str | None
    secret_key: str | None
    model_id: str | None
    trigger_id: str | None
    api_url: str
    node: str
    tournament: int
    artifacts: str
    cache: Path
    cpu: float | None
    data_version: str | None = None
    no_submit: bool = False
    gate: str = WARN
    run_id: str | None = None
    retrain_days: int | None = None
    timeout_minutes: float | None = None
    trains: bool = False

    def __repr__(self) -> str:
        return f"Settings(node={self.node!r}, model_id={self.model_id!r}, tournament={self.tournament})"

    def need_keys(self) -> tuple[str, str]:
        """The public id and the secret key; `ConfigurationError` naming the variable that is missing."""
        if not self.public_id:
            raise _missing("NUMERAI_PUBLIC_ID", "the public id of your Numerai API key")
        if not self.secret_key:
            raise _missing("NUMERAI_SECRET_KEY", "the secret of your Numerai API key")
        return self.public_id, self.secret_key

    def need_model(self) -> str:
        """The id of the model to submit to; `ConfigurationError` when it is missing."""
        if not self.model_id:
            raise _missing("MODEL_ID", "the id of the model to submit to")
        return self.model_id


def cache_of(api_url: str, cache: Path) -> Path:
    """Where the files of an API lie in a cache that several share: Numerai's own in the cache itself, those of another
    one, a sandbox say, in a folder of its address, so that nobody takes them for Numerai's."""
    if api_url.rstrip("/") == NUMERAI_API_URL:
        return cache
    return cache / f"api-{re.sub(r'[^A-Za-z0-9.]+', '-', api_url.partition('://')[2]).strip('-')}"


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; `ConfigurationError` names the first variable that is malformed.

    What is only missing is complained about by the step that needs it, so that data can be had without keys.
    """
    env = os.environ if environment is None else environment

    def text(name: str) -> str | None:
        value = env.get(name, "").strip()
        if len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]:  # `docker run --env-file` keeps quotes
            value = value[1:-1].strip()
        return value or None

    api_url = _url("NUMERAI_API_URL", text("NUMERAI_API_URL") or NUMERAI_API_URL)
    settings = Settings(
        public_id=_word("NUMERAI_PUBLIC_ID", text("NUMERAI_PUBLIC_ID")),
        secret_key=_word("NUMERAI_SECRET_KEY", text("NUMERAI_SECRET_KEY")),
        model_id=_word("MODEL_ID", text("MODEL_ID")),
        trigger_id=_word("TRIGGER_ID", text("TRIGGER_ID")),
        api_url=api_url,
        node=text("NUMERAI_NODE") or "by-hand",
        tournament=_tournament(text("NUMERAI_TOURNAMENT") or str(CLASSIC)),
        artifacts=text("NUMERAI_ARTIFACTS") or "artifacts",
        cache=Path(given) if (given := text("NUMERAI_CACHE")) else cache_of(api_url, default_cache(env)),
        cpu=_number("NUMERAI_CPU", text("NUMERAI_CPU")),
        data_version=_version(text(VERSION_VARIABLE)),
        no_submit=text(NO_SUBMIT_VARIABLE) not in (None, "0"),
        gate=_gate(text(GATE_VARIABLE) or WARN),
        retrain_days=int(days) if (days := _number("NUMERAI_RETRAIN_DAYS", text("NUMERAI_RETRAIN_DAYS"))) else None,
        timeout_minutes=_limit(text("NUMERAI_TIMEOUT_MINUTES")),
        trains=text(TRAIN_VARIABLE) not in (None, "0"),
        run_id=_run_id(next(filter(None, map(text, RUN_VARIABLES)), None)),
    )
    hide(settings.secret_key or "")
    return settings


def _missing(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is not set. It must hold {what}.")


def _word(name: str, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[!-~]+", value):
        raise ConfigurationError(f"{name} is malformed: it must be one word without spaces.")
    return value


def _url(name: str, value: str) -> str:
    if not is_secure(value):
        raise ConfigurationError(
            f"{name} is malformed: it must be an https:// address (plain http:// is accepted for this machine only)."
        )
    return value


def _tournament(value: str) -> int:
    if value not in (str(CLASSIC), str(SIGNALS), str(CRYPTO)):
        raise ConfigurationError("NUMERAI_TOURNAMENT must be 8 (Classic), 11 (Signals) or 12 (Crypto).")
    return int(value)


def _number(name: str, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{name} is malformed: it must be a number above 0.")
    return number


def _limit(value: str | None) -> float | None:
    """Only a training asks for it, so what cannot be understood is no reason to miss a round."""
    try:
        return _number("NUMERAI_TIMEOUT_MINUTES", value)
    except ConfigurationError:
        return None


def _gate(value: str) -> str:
    if value not in (WARN, REFUSE, OFF):
        raise ConfigurationError(f"{GATE_VARIABLE} must be {WARN}, {REFUSE} or {OFF}.")
    return value


def _run_id(value: str | None) -> str | None:
    """What can name a file; one that cannot is no reason to miss a round."""
    return value if value is not None and RUN_ID.fullmatch(value) else None


def _version(value: str | None) -> str | None:
    if value is not None and value != NEWEST and not VERSION.fullmatch(value):
        raise ConfigurationError(f"{VERSION_VARIABLE} is malformed: it must be a version like v5.3, or {NEWEST}.")
    return value
