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

    def addresses(self, pattern: re.Pattern[str]) -> str:
        """The resources of all complaints of this kind."""
        return ", ".join(sorted({one.address for one in self.every if one.address and pattern.search(one.text)}))


_CLASH = re.compile(
    r"AlreadyExist|ResourceExistsException|ResourceInUseException|ResourceConflictException|already exists", re.I
)


def _locked(complaint: _Complaint) -> NumeraiError:
    who, since, lock = (complaint.field(name) for name in ("Who", "Created", "ID"))
    return ProviderError(
        f"Another command is changing the cluster: the state is locked by {who} since {since}.",
        "Wait until it has ended. If it was killed, unlock with "
        f"`terraform -chdir={complaint.folder} force-unlock {lock}` and try again.",
        code="state-locked",
    )


def _no_credentials(complaint: _Complaint) -> NumeraiError:
    return EnvironmentNotReady(
        "No AWS credentials were found.",
        "Run `aws configure` or `aws sso login`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        code="no-credentials",
    )


def _refused_credentials(complaint: _Complaint) -> NumeraiError:
    return EnvironmentNotReady(
        f"AWS refused the credentials ({complaint.found[0]}).",
        "They are wrong or have expired: run `aws sso login` or `aws configure`, or choose another AWS_PROFILE.",
        code="credentials-refused",
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


def _other_build(complaint: _Complaint) -> NumeraiError:
    return ProviderError(
        "Terraform got another build of the AWS provider than the released one, and did not run it.",
        "Its hash is not in .terraform.lock.hcl. Try again from another network; a provider mirror of your own must "
        "hold the provider as HashiCorp has released it.",
        code="provider-altered",
    )


def _registry(complaint: _Complaint) -> NumeraiError:
    return EnvironmentNotReady(
        "Terraform could not get the provider that it needs.",
        "Check the network to registry.terraform.io, or name a provider mirror in the file of TF_CLI_CONFIG_FILE.",
        code="registry-unreachable",
    )


def _clash(complaint: _Complaint) -> NumeraiError:
    return ProviderError(
        f"Something of the same name exists in this account already: {complaint.addresses(_CLASH) or 'see --verbose'}.",
        "It is not this cluster's, or an interrupted command left it. Remove it, or give the cluster another name.",
        code="name-clash",
    )


def _quota(complaint: _Complaint) -> NumeraiError:
    first = complaint.diagnostic.text.splitlines()[0]
    return ProviderError(
        f"A limit of the AWS account is reached: {first[:LONGEST]}",
        "Ask for more at https://console.aws.amazon.com/servicequotas, then run the command again.",
        code="quota",
    )


def _no_spot(complaint: _Complaint) -> NumeraiError:
    return ProviderError(
        "Fargate Spot is not to be had in this region.",
        "Run `numerai setup -s -P aws --set use_spot=0` and then the command again: runs use On-Demand capacity, which "
        "costs about three times as much.",
        code="no-spot",
    )


def _moved(complaint: _Complaint) -> NumeraiError:
    return ProviderError(
        "The cluster's state is kept in another place than the settings say.",
        "Run `numerai setup --provider aws` to move it.",
        code="state-elsewhere",
    )


_RULES: Sequence[tuple[re.Pattern[str], Callable[[_Complaint], NumeraiError]]] = (
    (re.compile(r"Error acquiring the state lock"), _locked),
    (re.compile(r"Backend configuration changed|Backend initialization required|state migration action"), _moved),
    (re.compile(r"No valid credential sources|failed to get shared config profile|no EC2 IMDS role"), _no_credentials),
    (
        re.compile(
            r"InvalidClientTokenId|UnrecognizedClientException|SignatureDoesNotMatch|ExpiredToken(?:Exception)?|"
            r"AuthFailure|InvalidAccessKeyId|SSO session .{0,40}expired"
        ),
        _refused_credentials,
    ),
    (re.compile(r"AccessDenied|UnauthorizedOperation|not authorized to perform|StatusCode: 403"), _denied),
    (re.compile(r"doesn't\s+match\s+any\s+of\s+the\s+checksums"), _other_build),
    (re.compile(r"Failed to query available provider packages|Failed to install provider"), _registry),
    (
        re.compile(r"LimitExceeded|ServiceQuotaExceeded|TooMany\w+Exception|below its minimum value|QuotaExceeded"),
        _quota,
    ),
    (
        re.compile(
            r"fargate[ _]?spot\b.{0,120}\b(?:not|un)[ -]?(?:support|avail)"
            r"|\b(?:not|un)[ -]?(?:support|avail).{0,120}fargate[ _]?spot\b",
            re.IGNORECASE | re.DOTALL,
        ),
        _no_spot,
    ),
    (_CLASH, _clash),
    (
        re.compile(r"connection refused|no such host|i/o timeout|TLS handshake|dial tcp|request send failed"),
        _unreachable,
    ),
)


def explain(diagnostics: Sequence[Diagnostic], folder: Path) -> NumeraiError:
    """The error for a run of Terraform that failed: the first kind that is known, else Terraform's own words."""
    for pattern, error in _RULES:
        for diagnostic in diagnostics:
            if found := pattern.search(diagnostic.text):
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
