"""The environment contract is checked in one place, and names the variable that is wrong."""

from __future__ import annotations

import pytest
from numerai_node.errors import EXIT_CONFIGURATION, ConfigurationError
from numerai_node.log import redact
from numerai_node.settings import NUMERAI_API_URL, from_environment


def test_defaults_need_nothing_but_keys() -> None:
    settings = from_environment({})
    assert settings.api_url == NUMERAI_API_URL
    assert settings.tournament == 8
    assert settings.trigger_id is None
    assert settings.node == "by-hand"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUMERAI_PUBLIC_ID", "two words"),
        ("NUMERAI_SECRET_KEY", "zeile\nzwei"),
        ("MODEL_ID", "ä"),
        ("TRIGGER_ID", "a b"),
        ("NUMERAI_API_URL", "api-tournament.numer.ai"),
        ("NUMERAI_API_URL", "ftp://numer.ai"),
        ("NUMERAI_API_URL", "https://[::1"),
        ("NUMERAI_API_URL", "https://numer.ai:99999"),
        ("NUMERAI_TOURNAMENT", "9"),
        ("NUMERAI_TOURNAMENT", "eight"),
        ("NUMERAI_CPU", "many"),
        ("NUMERAI_CPU", "0"),
        ("NUMERAI_CPU", "inf"),
        ("NUMERAI_CPU", "nan"),
    ],
)
def test_a_malformed_variable_is_named_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        from_environment({name: value})
    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert "\n" not in str(caught.value)
    if "KEY" in name:
        assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY", "MODEL_ID"])
def test_a_missing_variable_is_named_when_it_is_needed(name: str, environment: dict[str, str]) -> None:
    del environment[name]
    settings = from_environment(environment)
    with pytest.raises(ConfigurationError, match=f"{name} is not set"):
        (settings.need_model if name == "MODEL_ID" else settings.need_keys)()


def test_quotes_around_a_value_are_dropped() -> None:
    settings = from_environment({"NUMERAI_PUBLIC_ID": '"PUB"', "NUMERAI_SECRET_KEY": " 'SECRET' ", "MODEL_ID": '"'})
    assert (settings.public_id, settings.secret_key, settings.model_id) == ("PUB", "SECRET", '"')


def test_empty_means_absent() -> None:
    settings = from_environment({"TRIGGER_ID": "", "NUMERAI_API_URL": " ", "NUMERAI_CPU": ""})
    assert settings.trigger_id is None
    assert settings.api_url == NUMERAI_API_URL
    assert settings.cpu is None


def test_the_secret_is_hidden_from_repr_and_log() -> None:
    settings = from_environment({"NUMERAI_SECRET_KEY": "HUSHHUSH", "NUMERAI_CPU": "1.5"})
    assert settings.cpu == 1.5
    assert "HUSHHUSH" not in repr(settings)
    assert redact("Token a$HUSHHUSH refused") == "Token a$*** refused"
