"""What the SDK raises, in words; and that nothing of it is loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError
from numerai_compute.factory import Factory
from numerai_compute.installation import install_command
from numerai_compute.providers.aws.clients import AwsClients, aws_errors, present
from numerai_compute.providers.aws.parts import AwsParts
from numerai_compute.providers.aws.settings import AwsSettings

exceptions = pytest.importorskip("botocore.exceptions")


def refusal(code: str, message: str = "Because.") -> Exception:
    error: Exception = exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "SubmitJob")
    return error


@pytest.mark.parametrize(
    ("error", "kind", "code", "says"),
    [
        (exceptions.NoCredentialsError(), EnvironmentNotReady, "no-aws-credentials", "no AWS credentials"),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="x"),
            EnvironmentNotReady,
            "no-aws-credentials",
            "no AWS credentials",
        ),
        (exceptions.ProfileNotFound(profile="work"), EnvironmentNotReady, "no-profile", "work"),
        (exceptions.UnauthorizedSSOTokenError(), EnvironmentNotReady, "aws-credentials-refused", "login has ended"),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            EnvironmentNotReady,
            "aws-unreachable",
            "http://127.0.0.1:1",
        ),
        (refusal("ExpiredToken"), EnvironmentNotReady, "aws-credentials-refused", "Because"),
        (refusal("AccessDeniedException", "no batch:SubmitJob"), ProviderError, "aws-forbidden", "SubmitJob"),
        (refusal("ThrottlingException"), ProviderError, "aws-throttled", "too often"),
        (refusal("ClientException", ""), ProviderError, "aws-refused", "ClientException"),
        (exceptions.ParamValidationError(report="wrong"), ProviderError, "provider", "wrong"),
    ],
)
def test_errors_in_words(error: Exception, kind: type[NumeraiError], code: str, says: str) -> None:
    with pytest.raises(kind) as raised, aws_errors():
        raise error
    assert raised.value.code == code
    assert says in raised.value.message
    assert raised.value.hint or code == "aws-refused"
    assert "numerai doctor" not in str(raised.value.hint), "it is doctor that shows this"
    assert raised.value.__cause__ is error


def test_what_is_not_there_can_be_told_apart() -> None:
    def refuse(code: str) -> None:
        raise refusal(code)

    assert present(lambda: refuse("NotFound")) is None
    assert present(lambda: refuse("Other"), "Other") is None
    assert present(lambda: 1) == 1
    with pytest.raises(ProviderError):
        present(lambda: refuse("Other"))


def test_other_errors_pass() -> None:
    for error in (ValueError("x"), NumeraiError("x"), ImportError("x")):
        with pytest.raises(type(error)) as raised, aws_errors():
            raise error
        assert raised.value is error


@pytest.mark.slow
def test_the_region_is_the_clusters_then_the_settings_then_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AwsClients(AwsSettings(region="eu-west-1"), "us-west-2").region == "us-west-2"
    assert AwsClients(AwsSettings(region="eu-west-1")).region == "eu-west-1"
    assert AwsClients(AwsSettings()).region == "us-east-1"


def test_an_unknown_profile() -> None:
    with pytest.raises(EnvironmentNotReady) as unknown:
        AwsClients(AwsSettings(profile="nobody-has-this")).client("batch")
    assert unknown.value.code == "no-profile"


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_are_none_are_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/nowhere.pem")
    with pytest.raises(EnvironmentNotReady, match=f"{variable} names /nowhere.pem"):
        AwsClients(AwsSettings()).client("sts")


@pytest.mark.slow
def test_the_endpoint_of_the_environment_is_used_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5")
    clients = AwsClients(AwsSettings(region="us-east-1"))
    assert {clients.client(name).meta.endpoint_url for name in ("batch", "s3", "sts")} == {"http://127.0.0.1:5"}


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    ask: Callable[[], object] = lambda: AwsClients(AwsSettings()).region  # noqa: E731
    with pytest.raises(EnvironmentNotReady) as missing:
        ask()
    assert missing.value.code == "extra-missing"
    assert install_command("aws") in (missing.value.hint or "")


@pytest.mark.slow
def test_making_the_provider_loads_no_sdk() -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from numerai_compute.providers.registry import ProviderContext, provider_factory\n"
        "provider_factory('aws')(ProviderContext(Path('nowhere'), {}, lambda: None, lambda: None, None))\n"
        "print([name for name in ('boto3', 'botocore', 'docker', 'requests', 'flask') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_a_profile_that_is_about_to_be_made_is_used_before_it_is_in_a_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    context = Factory(home).provider_context("aws")
    assert "oldsecret" not in repr(replace(context, profiles={"numerai": ("AKIAOLD", "oldsecret")}))

    def environment(profile: str | None) -> tuple[str, str]:
        settings = {"profile": profile} if profile else {}
        given = replace(context, settings=settings, profiles={"numerai": ("AKIAOLD", "oldsecret")})
        clients = AwsParts(given).clients
        return clients.environment()["AWS_ACCESS_KEY_ID"], clients.region

    assert environment("numerai") == ("AKIAOLD", "us-east-1")
    assert environment(None) == ("AKIAENVIRONMENT", "us-east-1")
    (tmp_path / "config").write_text("[profile numerai]\nregion = eu-west-1\n")
    assert environment("numerai") == ("AKIAOLD", "eu-west-1")
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(EnvironmentNotReady, match="other"):
        environment("numerai")
