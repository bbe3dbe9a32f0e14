"""Turns what Terraform and the providers complain about into one message with a way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import EnvironmentNotReady, NumeraiError, ProviderError

LONGEST = 600
"""Characters of an unknown complaint that a person is shown."""


@dataclass(frozen=True)
class Diagnostic:
    """One complaint: its text, and the address of the resource it is about."""

    text: str
    address: str | None = None


@dataclass(frozen=True)
class _Complaint:
    """All that a rule may use: the complaint that it matched, all of them, and the working folder."""

    found: re.Match[str]
    diagnostic: Diagnostic
    every: Sequence[Diagnostic]
    folder: Path

    def field(self, name: str) -> str:
        """A line `Name: value` of the complaint, as in Terraform's lock information."""
        line = re.search(rf"^\W*{name}:\s*(.+?)\s*$", self.diagnostic.text, re.MULTILINE)
        return line[1] if line else "unknown"

    def addresses(self, pattern: str) -> str:
        """The resources of all complaints of this kind."""
        return ", ".join(sorted({one.address for one in self.every if one.address and re.search(pattern, one.text)}))


PASSING = "aws-not-ready"
"""The code of an error that passes by itself in seconds: the same command works then."""
_PASSES = {
    r"found\s+existing\s+JobQueue\s+relationship": "hashicorp/terraform-provider-aws/issues/46925",
    r"Unable\s+to\s+assume\s+the\s+service\s+linked\s+role": "ewilde/terraform-aws-openfaas-fargate/issues/4",
    r"assumed-role/\S+/aws-batch\s+is\s+not\s+authorized": "hashicorp/terraform-provider-aws/issues/37945",
    r"cannot\s+be\s+assumed\s+by\s+Lambda": "hashicorp/terraform-provider-aws/issues/29828",
    r"due\s+to\s+a\s+concurrent\s+update\s+operation": "anomalyco/sst/issues/6923",
}
"""What AWS says while one part of it does not know yet what another one has done, and where on GitHub that was seen."""
_CLASH = "(?i)AlreadyExist|ResourceExistsException|ResourceInUseException|ResourceConflictException|already exists"


def _locked(complaint: _Complaint) -> NumeraiError:
    who, since, lock = (complaint.field(name) for name in ("Who", "Created", "ID"))
    return ProviderError(
        f"Another command is changing the cluster: the state is locked by {who} since {since}.",
        "Wait until it has ended. If it was killed, unlock with "
        f"`terraform -chdir={complaint.folder} force-unlock {lock}` and try again.",
        code="state-locked",
    )


def _denied(complaint: _Complaint) -> NumeraiError:
    text = complaint.diagnostic.text
    who = re.search(r"(?:User|AssumedRole): (\S+) is not authorized", text)
    action = re.search(r"not authorized to perform:? (\S+)", text)
    operation = re.search(r"operation error ([\w ]+): (\w+)", text)
    wanted = action[1] if action else f"{operation[1]} {operation[2]}" if operation else "an action"
    return ProviderError(
        f"AWS does not let {who[1] if who else 'these credentials'} do {wanted}.",
        f"Ask for a policy that allows {wanted}, then run the command again: it goes on where it stopped.",
        code="access-denied",
    )


def _unreachable(complaint: _Complaint) -> NumeraiError:
    where = re.search(r'(?:Post|Get|Put|Head) "?(https?://[^/"\s]+)', complaint.diagnostic.text)
    return EnvironmentNotReady(
        f"{where[1] if where else 'AWS'} cannot be reached.",
        "Check the network, the region and AWS_ENDPOINT_URL, then run the command again: it goes on where it stopped.",
        code="unreachable",
    )


def _clash(complaint: _Complaint) -> NumeraiError:
    return ProviderError(
        f"Something of the same name exists in this account already: {complaint.addresses(_CLASH) or 'see --verbose'}.",
        "If an interrupted command left it a moment ago, run the command again in a few minutes. Otherwise it is not "
        "this cluster's: remove it, or give the cluster another name.",
        code="name-clash",
    )


def _quota(complaint: _Complaint) -> NumeraiError:
    first = complaint.diagnostic.text.splitlines()[0]
    return ProviderError(
        f"A limit of the AWS account is reached: {first[:LONGEST]}",
        "Ask for more at https://console.aws.amazon.com/servicequotas, then run the command again.",
        code="quota",
    )


def _says(kind: type[NumeraiError], message: str, hint: str, code: str) -> Callable[[_Complaint], NumeraiError]:
    """The same words for every complaint of a kind; `{}` stands for what the rule has matched."""
    return lambda complaint: kind(message.format(complaint.found[0]), hint, code=code)


_RULES: Sequence[tuple[str, Callable[[_Complaint], NumeraiError]]] = (
    ("Error acquiring the state lock", _locked),
    (
        "|".join(_PASSES),
        _says(
            ProviderError,
            "AWS was not ready for the next step yet ({}).",
            "Run the command again in a minute: it goes on where it stopped.",
            PASSING,
        ),
    ),
    (
        "Backend configuration changed|Backend initialization required|state migration action",
        _says(
            ProviderError,
            "The cluster's state is kept in another place than the settings say.",
            "Run `numerai setup --provider aws` to move it.",
            "state-elsewhere",
        ),
    ),
    (
        "No valid credential sources|failed to get shared config profile|no EC2 IMDS role",
        _says(
            EnvironmentNotReady,
            "No AWS credentials were found.",
            "Run `aws configure` or `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY.",
            "no-credentials",
        ),
    ),
    (
        "ExpiredToken(?:Exception)?|RequestExpired|SSO session .{0,40}expired",
        _says(
            EnvironmentNotReady,
            "The AWS credentials expired before Terraform was done ({}).",
            "Log in again (`aws sso login`), then run the command again: it goes on where it stopped.",
            "credentials-expired",
        ),
    ),
    (
        r"(?i)account\s+ID\s+not\s+allowed:\s+\d*",
        _says(
            ProviderError,
            "The credentials are those of another AWS account than the cluster's, so Terraform refused to work ({}).",
            "Choose the cluster's with AWS_PROFILE.",
            "account-change",
        ),
    ),
    (
        "InvalidClientTokenId|UnrecognizedClientException|SignatureDoesNotMatch|AuthFailure|InvalidAccessKeyId",
        _says(
            EnvironmentNotReady,
            "AWS refused the credentials ({}).",
            "They are wrong, or not active: run `aws sso login` or `aws configure`, or choose another AWS_PROFILE.",
            "credentials-refused",
        ),
    ),
    ("AccessDenied|UnauthorizedOperation|not authorized to perform|StatusCode: 403", _denied),
    (
        r"doesn't\s+match\s+any\s+of\s+the\s+checksums",
        _says(
            ProviderError,
            "Terraform got another build of the AWS provider than the released one, and did not run it.",
            "Its hash is not in .terraform.lock.hcl. Try again from another network; a provider mirror of your own must"
            " hold the provider as HashiCorp has released it.",
            "provider-altered",
        ),
    ),
    (
        "Failed to query available provider packages|Failed to install provider",
        _says(
            EnvironmentNotReady,
            "Terraform could not get the provider that it needs.",
            "Check the network to registry.terraform.io, or name a provider mirror in the file of TF_CLI_CONFIG_FILE.",
            "registry-unreachable",
        ),
    ),
    (
        r"UnreservedConcurrentExecution\w*\s+below\s+its\s+minimum",
        _says(
            ProviderError,
            "The account's limit of concurrent Lambda executions is too low for the webhook to reserve any.",
            "Run `numerai setup -s -P aws --set webhook_concurrency=-1` and then the command again: it goes on where "
            "it stopped, and the webhook works without a reservation.",
            "no-concurrency",
        ),
    ),
    (r"LimitExceeded|ServiceQuotaExceeded|TooMany\w+Exception|QuotaExceeded", _quota),
    (
        r"(?is)fargate[ _]?spot\b.{0,120}\b(?:not|un)[ -]?(?:support|avail)"
        r"|\b(?:not|un)[ -]?(?:support|avail).{0,120}fargate[ _]?spot\b",
        _says(
            ProviderError,
            "Fargate Spot is not available in this region.",
            "Run `numerai setup -s -P aws --set use_spot=0` and then the command again: runs use On-Demand capacity, "
            "which costs about three times as much.",
            "no-spot",
        ),
    ),
    (_CLASH, _clash),
    ("connection refused|no such host|i/o timeout|TLS handshake|dial tcp|request send failed", _unreachable),
)


def explain(diagnostics: Sequence[Diagnostic], folder: Path) -> NumeraiError:
    """The error for a run of Terraform that failed: the first kind that is known, else Terraform's own words."""
    for pattern, error in _RULES:
        for diagnostic in diagnostics:
            if found := re.search(pattern, diagnostic.text):
                return error(_Complaint(found, diagnostic, diagnostics, folder))
    first = diagnostics[0]
    text = " ".join(first.text.split())[:LONGEST] or "it said nothing"
    more = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
    where = f" at {first.address}" if first.address else ""
    return ProviderError(
        f"Terraform failed{where}: {text}{more}",
        "Run the command again: it goes on where it stopped. `--verbose` shows more.",
        code="terraform-failed",
    )
