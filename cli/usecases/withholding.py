"""`node test --no-submit`: what must be so for a run that is told not to submit to obey."""

from __future__ import annotations

from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..models import Node
from ..ports import Provider, RunsWithoutSubmitting
from .inspect import changed_since_deploy
from .runtime import RUNTIME, RuntimeCopy, RuntimeState, order, own_version, runtime_copy

SINCE = "0.2.1"
"""The first numerai_node that stops before it uploads when it is told so."""


def check_withholds(node: Node) -> RuntimeCopy:
    """The runtime in the node's folder; `NumeraiError` with code `cannot-withhold` where it cannot be told not to
    submit, as only numerai_node can."""
    copy = runtime_copy(Path(node.path))
    if copy is None:
        raise _refusal(
            f"{node.path} holds no {RUNTIME}, and only that can be told not to submit: a run of other code would.",
            f"Copy an example of this version into the folder, or test with the submission: numerai node -m"
            f" {node.name} test.",
        )
    replace = f"`numerai node -m {node.name} deploy --runtime replace` puts {own_version()} in its place."
    if copy.state in (RuntimeState.LINK, RuntimeState.INTERRUPTED):
        why = f"Which {RUNTIME} {node.path} holds is not known: it is a link, or replacing it was interrupted."
        raise _refusal(why, replace)
    if order(copy.version) < order(SINCE):
        why = f"{copy.label} in {node.path} is too old to be told not to submit: that takes {SINCE} or later."
        raise _refusal(why, replace)
    return copy


def withholding(node: Node, provider: Provider) -> RunsWithoutSubmitting:
    """The provider, for a run that is not to submit. Raises where what is deployed might submit all the same:
    `UsageError` for a provider that has no such runs, `NumeraiError` with code `cannot-withhold`."""
    if not isinstance(provider, RunsWithoutSubmitting):
        raise UsageError(
            f"The provider {provider.name} cannot start a run that does not submit.",
            f"`numerai node -m {node.name} test --local --no-submit` runs it here.",
            code="not-supported",
        )
    check_withholds(node)
    if changed_since_deploy(node, provider):
        raise _refusal(
            f"The folder of {node.name} has changed since the deploy, so whether what is deployed can be told not to"
            " submit is not known.",
            f"Run `numerai node -m {node.name} deploy` first.",
        )
    return provider


def _refusal(message: str, hint: str) -> NumeraiError:
    return NumeraiError(message, hint, code="cannot-withhold")
