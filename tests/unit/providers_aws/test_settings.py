"""The settings of the AWS provider: recorded, overridden, checked."""

from __future__ import annotations

import pytest
from numerai_compute.errors import UsageError
from numerai_compute.providers.aws.settings import AwsSettings, read_settings


def test_nothing_recorded_gives_the_defaults() -> None:
    assert read_settings({}, {}) == AwsSettings()


def test_the_last_lines_of_a_run_have_15_seconds_to_arrive() -> None:
    """Since June 2025 containers hand their lines on without waiting for CloudWatch."""
    assert read_settings({}, {}).log_lag_seconds == 15


def test_the_environment_wins() -> None:
    recorded = {"region": "eu-west-1", "profile": "work", "cluster": "mine"}
    kept = read_settings(recorded, {})
    assert (kept.region, kept.profile, kept.cluster) == ("eu-west-1", "work", "mine")
    environ = {"AWS_REGION": "us-west-2", "AWS_PROFILE": "home", "NUMERAI_AWS_CLUSTER": "other"}
    over = read_settings(recorded, environ)
    assert (over.region, over.profile, over.cluster) == ("us-west-2", "home", "other")
    assert read_settings(recorded, {"AWS_DEFAULT_REGION": "us-west-2"}).region == "us-west-2"


def test_what_setup_records_is_used() -> None:
    recorded: dict[str, str | int] = {
        "use_spot": 0,
        "keep_artifacts": 1,
        "budget_usd": 5,
        "notification_email": "me@example.org",
        "log_retention_days": "90",
        "webhook_concurrency": -1,
        "runs_per_hour": 6,
        "watcher": 0,
        "watcher_grace_minutes": 20,
        "state_bucket": "b",
        "log_lag_seconds": 0,
    }
    assert read_settings(recorded, {}) == AwsSettings(
        use_spot=False,
        keep_artifacts=True,
        budget_usd=5,
        notification_email="me@example.org",
        log_retention_days=90,
        webhook_concurrency=-1,
        runs_per_hour=6,
        watcher=False,
        watcher_grace_minutes=20,
        state_bucket="b",
        log_lag_seconds=0,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "virginia"),
        ("cluster", "No"),
        ("notification_email", "me"),
        ("log_retention_days", 31),
        ("log_retention_days", "many"),
        ("webhook_concurrency", 0),
        ("runs_per_hour", 0),
        ("budget_usd", -1),
        ("use_spot", 2),
        ("watcher", 2),
        ("watcher_grace_minutes", 46),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: str | int) -> None:
    with pytest.raises(UsageError) as refusal:
        read_settings({name: value}, {})
    assert refusal.value.code == "bad-setting"
    assert name in refusal.value.message
