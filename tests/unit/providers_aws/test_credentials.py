"""Terraform works with the very credentials that the SDK uses, whatever else the shell exports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.parts import AwsParts
from numerai_compute.providers.aws.settings import AwsPaths, AwsSettings
from numerai_compute.providers.aws.terraform import terraform_runner
from numerai_compute.providers.registry import ProviderContext

from tests.fakes import FakeClock
from tests.unit.adapters.test_terraform_runner import StandIn, diagnostic

from .conftest import KEYS, REGION, World, boto3, moto, quiet

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script with a first line for POSIX")

OTHER = "222222222222"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
COMMANDS = ("init", "plan", "apply", "destroy", "output", "state")
EXPORTED = {
    "AWS_ACCESS_KEY_ID": "EXPORTED",
    "AWS_SECRET_ACCESS_KEY": "exported-secret",
    "AWS_SESSION_TOKEN": "exported-token",
    "AWS_PROFILE": "another",
    "AWS_DEFAULT_PROFILE": "another",
    "AWS_ROLE_ARN": "arn:aws:iam::333333333333:role/web",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/tmp/token",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials",
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path, monkeypatch)


@pytest.fixture
def aws() -> Iterator[None]:
    with moto.mock_aws():
        yield


@pytest.fixture
def theirs(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The keys of the profile `work`, which belong to another account than the exported ones."""
    sts = boto3.Session("x", "x", None, REGION).client("sts")
    role = f"arn:aws:iam::{OTHER}:role/work"
    keys: dict[str, str] = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    written = {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
        "ca_bundle": "/etc/ours.pem",
    }
    file = tmp_path / "aws-config"
    lines = "\n".join(f"{name} = {value}" for name, value in written.items())
    file.write_text(f"[profile another]\nregion = xx-west-1\n[profile work]\n{lines}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name, value in EXPORTED.items():
        monkeypatch.setenv(name, value)
    return keys


def run_everything(home: Path, clients: AwsClients, bucket: str | None) -> None:
    """Every program of Terraform's that a cluster's life takes."""
    runner = terraform_runner(AwsPaths(home), AwsSettings(), clients, bucket)
    runner.prepare(quiet)
    runner.apply(runner.plan({}, quiet), quiet)
    runner.resources()
    runner.destroy({}, quiet)
    runner.move_state(quiet)


@pytest.mark.slow
@pytest.mark.parametrize("bucket", [None, "a-bucket"])
def test_a_recorded_profile_is_terraforms_account_as_well(
    home: Path, stand_in: StandIn, theirs: Mapping[str, str], bucket: str | None
) -> None:
    clients = AwsClients(AwsSettings(profile="work", region=REGION))
    assert clients.account == OTHER
    run_everything(home, clients, bucket)
    seen = [call["env"] for command in COMMANDS for call in stand_in.calls(command)]
    assert len(seen) >= len(COMMANDS)
    for env in seen:
        keys = [env.get(name) for name in _KEYS]
        assert boto3.Session(*keys, REGION).client("sts").get_caller_identity()["Account"] == OTHER
        assert keys[1] == theirs["SecretAccessKey"]
        assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == REGION
        assert env["AWS_CA_BUNDLE"] == "/etc/ours.pem"
        assert {env["AWS_CONFIG_FILE"], env["AWS_SHARED_CREDENTIALS_FILE"]} == {os.devnull}
        assert not {name for name in EXPORTED if name not in _KEYS} & set(env)


@pytest.mark.slow
def test_credentials_reach_no_command_line_and_no_file(
    home: Path, stand_in: StandIn, theirs: Mapping[str, str]
) -> None:
    run_everything(home, AwsClients(AwsSettings(profile="work", region=REGION)), "a-bucket")
    argv = [" ".join(call["argv"]) for command in COMMANDS for call in stand_in.calls(command)]
    files = [path.read_text(errors="replace") for path in home.rglob("*") if path.is_file()]
    assert argv and files
    secrets = (theirs["AccessKeyId"], theirs["SecretAccessKey"], theirs["SessionToken"])
    assert not [text for text in (*argv, *files) for secret in secrets if secret in text]


@pytest.mark.slow
def test_what_a_shell_exports_is_used_where_there_is_no_profile(
    home: Path, stand_in: StandIn, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "EXPORTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "exported-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    terraform_runner(AwsPaths(home), AwsSettings(), AwsClients(AwsSettings(region=REGION)), None).prepare(quiet)
    env = stand_in.calls("init")[0]["env"]
    assert (env["AWS_ACCESS_KEY_ID"], env["AWS_ENDPOINT_URL"]) == ("EXPORTED", "http://127.0.0.1:1")
    assert "AWS_SESSION_TOKEN" not in env


@pytest.mark.slow
def test_credentials_that_end_soon_are_renewed_before_each_program(home: Path, stand_in: StandIn) -> None:
    from botocore.credentials import RefreshableCredentials

    made: list[str] = []

    def renew() -> dict[str, str]:
        made.append(f"KEY{len(made)}")
        ends = datetime.now(timezone.utc) + timedelta(minutes=1)
        return {"access_key": made[-1], "secret_key": "s", "token": "t", "expiry_time": ends.isoformat()}

    session = boto3.Session(region_name=REGION)
    session._session._credentials = RefreshableCredentials.create_from_metadata(renew(), renew, "test")
    clients = AwsClients(AwsSettings(region=REGION), connect=lambda profile, region: session)
    runner = terraform_runner(AwsPaths(home), AwsSettings(), clients, None)
    runner.prepare(quiet)
    runner.plan({}, quiet)
    used = [stand_in.calls(command)[0]["env"]["AWS_ACCESS_KEY_ID"] for command in ("init", "plan")]
    assert used == ["KEY1", "KEY2"]


@pytest.mark.slow
def test_credentials_that_expire_during_an_apply_are_named_and_the_next_command_goes_on(
    home: Path, stand_in: StandIn, theirs: Mapping[str, str]
) -> None:
    runner = terraform_runner(
        AwsPaths(home), AwsSettings(), AwsClients(AwsSettings(profile="work", region=REGION)), None
    )
    runner.prepare(quiet)
    plan = runner.plan({}, quiet)
    expired = diagnostic("creating Batch Job Queue: operation error Batch, ExpiredTokenException: it is expired")
    stand_in.answer("apply", expired, code=1)
    with pytest.raises(EnvironmentNotReady, match="expired before Terraform was done") as caught:
        runner.apply(plan, quiet)
    assert caught.value.code == "credentials-expired"
    assert "run the command again: it goes on where it stopped" in (caught.value.hint or "")


@pytest.mark.slow
def test_without_credentials_terraform_is_not_started(
    home: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    runner = terraform_runner(AwsPaths(home), AwsSettings(), AwsClients(AwsSettings(region=REGION)), None)
    with pytest.raises(EnvironmentNotReady) as caught:
        runner.prepare(quiet)
    assert caught.value.code == "no-aws-credentials" and not stand_in.calls("init")


def test_the_account_is_among_what_terraform_is_given(world: World) -> None:
    world.configured()
    assert world.terraform.applied[0]["account"] == world.clients.account


def test_terraform_gets_the_region_and_the_bucket(home: Path, stand_in: StandIn) -> None:
    clients = AwsClients(
        AwsSettings(region="eu-west-1"), connect=lambda _, region: boto3.Session("x", "x", None, region)
    )
    runner = terraform_runner(AwsPaths(home), AwsSettings(cluster="mine"), clients, "a-bucket")
    s3 = runner._backend.configuration()["terraform"]["backend"]["s3"]  # type: ignore[union-attr]
    assert (s3["bucket"], s3["key"], s3["use_lockfile"]) == ("a-bucket", "mine/terraform.tfstate", True)
    parts = AwsParts(ProviderContext(home, {}, lambda: KEYS, lambda: None, FakeClock()))  # type: ignore[arg-type, return-value]
    runners: list[Any] = [parts.terraform, parts.runner()]
    assert [one._backend for one in runners] == [None, None]
