"""A node that Numerai itself runs: the size it has, and when what was deployed takes the place of what ran before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from ..errors import NumeraiError, ProviderError, UsageError
from ..models import SIZES, Check, CheckStatus, Deployment, Model, Node
from ..ports import NumeraiApi, Provider, Report, RunByNumerai
from .inspect import absent_places, move_command
from .scaffold import example_names, examples_of, is_python

RUNS_IT = "Numerai runs it when a round opens, once an upload is assigned; `numerai node deploy` asks before that."
ONE_WAY = (
    "Once Numerai runs an upload, it calls no webhook for the model and takes no submission of it, and only the website"
    " takes that back."
)
TAKES_AWAY = "at numer.ai (Submissions, Settings of the model) unassign the upload"


@dataclass(frozen=True)
class Assigned:
    """Whether Numerai runs what was deployed, `what` became of the node in words, and what to know of it."""

    done: bool
    what: str
    note: str


def needs_dockerfile(provider: Provider) -> bool:
    """Whether a node's folder must have one there."""
    return not isinstance(provider, RunByNumerai)


def check_example(example: str, tournament: int, provider: Provider) -> None:
    """`UsageError` with code `not-hosted` for an example that Numerai cannot run, because it is not in Python."""
    if not isinstance(provider, RunByNumerai) or example not in example_names() or is_python(example):
        return
    fitting = ", ".join(filter(is_python, examples_of(tournament)))
    raise UsageError(
        f"Numerai cannot run the example {example}: it calls a function of Python.",
        f"The providers local and aws can. Numerai runs what comes of: {fitting}.",
        code="not-hosted",
    )


def fitted(node: Node, provider: Provider, *, sized: bool, timed: bool) -> Node:
    """The node as big as Numerai runs it, unless a person has `sized` and `timed` it. `UsageError` with code
    `not-hosted` where Numerai cannot run it so."""
    if not isinstance(provider, RunByNumerai):
        return node
    size = SIZES[provider.size]
    if not sized:
        node = replace(node, cpu=size.cpu, memory_mib=size.memory_mib)
    if not timed:
        node = replace(node, timeout_minutes=provider.timeout_minutes)
    provider.check(node)
    return node


def question(node: Node, model: Model) -> str:
    """What a person agrees to before an upload is assigned."""
    before = " It takes the place of the upload that Numerai runs now." if model.pickle is not None else ""
    webhook = " Its webhook is cleared before." if model.webhook is not None else ""
    return (
        f"Let Numerai run this upload for {node.model_name} from now on? It then calls no webhook for it and takes no"
        f" submission of it, and only the website takes that back.{before}{webhook}"
    )


def assign_upload(
    node: Node,
    deployed: Deployment,
    provider_named: Callable[[str], Provider],
    api: Callable[[], NumeraiApi],
    agrees: Callable[[str], bool],
    report: Report,
) -> Assigned | None:
    """Ask, clear the model's webhook, and let Numerai run what was deployed; None where Numerai runs no node.

    A model has one or the other, and Numerai wants the webhook to go first. Where the assignment fails, the webhook is
    registered again. `ProviderError` with code `not-assigned` where Numerai does not run it in the end, although the
    person has agreed.
    """
    provider = provider_named(node.provider)
    if not isinstance(provider, RunByNumerai):
        return None
    upload = provider.ready(node, deployed.source_hash)
    if upload is None:
        _refuse_another(node, deployed, provider)
        return Assigned(True, "is deployed already: nothing has changed", f"Next: numerai node -m {node.name} test")
    numerai = api()
    model = next((each for each in numerai.models() if each.id == node.model_id), None)
    if model is None:
        raise NumeraiError(f"The account of these keys has no model {node.model_name}.", code="not-in-account")
    if not agrees(question(node, model)):
        go_on = f"`numerai node -m {node.name} deploy` asks again, with --yes it does not."
        runs = "Numerai does not run it" if model.pickle is None else "Numerai goes on running the one before"
        return Assigned(
            False, f"is uploaded, and {runs}", f"The upload {upload} is validated and not assigned: {go_on}"
        )
    if model.webhook is not None:
        report(f"Clearing the webhook of {node.model_name}")
        numerai.set_webhook(node.model_id, None)
    try:
        provider.assign(node, upload, report)
        _refuse_another(node, deployed, provider)
    except BaseException as error:
        if model.webhook is not None:
            _give_back(model.webhook, node, numerai, provider_named, error, report)
        raise
    return Assigned(True, "is deployed", f"Numerai runs it when a round opens. To end that, {TAKES_AWAY}.")


def _refuse_another(node: Node, deployed: Deployment, provider: Provider) -> None:
    """`ProviderError` with code `not-assigned` unless Numerai runs what was deployed."""
    runs = provider.deployment(node.name)
    if runs is None or runs.image != deployed.image:
        raise ProviderError(
            f"Numerai does not run the {deployed.image} for {node.model_name}, but {runs.image if runs else 'none'}.",
            f"Run the same command again; `numerai node -m {node.name} status` shows what Numerai runs.",
            code="not-assigned",
        )


def _give_back(
    webhook: str,
    node: Node,
    numerai: NumeraiApi,
    provider_named: Callable[[str], Provider],
    error: BaseException,
    report: Report,
) -> None:
    """Register the webhook again that was cleared for an assignment which ended in `error`, unless Numerai is known to
    run an upload all the same. Where that cannot be done, `error` says so."""
    with suppress(NumeraiError):
        if provider_named(node.provider).deployment(node.name) is not None:
            return
    try:
        numerai.set_webhook(node.model_id, webhook)
        report(f"The webhook of {node.model_name} is registered again.")
    except NumeraiError:
        there = node.also_on is not None and node.also_on not in absent_places(node, provider_named)
        back = f", or {move_command(node, str(node.also_on))}" if there else ""
        nobody = f"Numerai calls nobody for {node.model_name} now: run the same command again{back}."
        if not isinstance(error, NumeraiError):
            report(nobody)
            return
        error.hint = f"{nobody} {error.hint or ''}".rstrip()


def upload_check(node: Node, model: Model, provider: Provider) -> Check:
    """Whether Numerai runs an upload for the node's model."""
    deploy = f"numerai node -m {node.name} deploy"
    if model.pickle is None:
        return Check("model upload", CheckStatus.FAILED, "no upload is assigned: Numerai does not run it", deploy)
    if model.webhook is not None:
        why = "an upload is assigned and a webhook is registered: Numerai calls nobody for such a model"
        return Check("model upload", CheckStatus.WARNING, why, "clear the webhook on https://numer.ai")
    return Check("model upload", CheckStatus.OK, "Numerai runs the assigned upload")
