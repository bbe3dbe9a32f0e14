"""What `numerai doctor` finds out about AWS and the nodes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ...counting import counted
from ...errors import NumeraiError
from ...models import Check, CheckStatus, Node
from ...ports import Provider
from ...translation import EXPECTED, as_error
from ..checks import deployment_check, last_run_check
from .cluster_outputs import ClusterOutputs
from .images import architecture_of
from .parts import AwsParts
from .policy import denied, own_boundary, probes
from .quotas import quota_check
from .remains import cluster_remains
from .stack_file import Stack
from .subscription import Mail
from .url_permission import url_may_call

_Finding = tuple[CheckStatus, str, str | None]


def aws_checks(parts: AwsParts, nodes: Sequence[Node], provider: Provider) -> Iterator[Check]:
    """Credentials, Terraform, the cluster as a whole, and every node's deployment and runs."""
    try:
        stack = parts.cluster.file.read()
        account = parts.clients.account
    except NumeraiError as error:
        yield Check("AWS credentials", CheckStatus.FAILED, error.message, error.hint)
        return
    yield Check("AWS credentials", CheckStatus.OK, f"account {account}, region {parts.clients.region}")
    yield _guarded("Terraform", lambda: _terraform(parts))
    yield _guarded("AWS cluster", lambda: _cluster(parts, stack, account))
    if stack.outputs:
        yield _guarded("Numerai keys at AWS", lambda: _keys(parts, stack))
        yield _guarded("AWS notifications", lambda: _notifications(parts, stack))
    yield _guarded("AWS permissions", lambda: _permissions(parts, account))
    yield _guarded("AWS quota", lambda: quota_check(parts.clients, stack, use_spot=parts.settings.use_spot))
    yield from _strangers(stack, nodes)
    for node in nodes:
        for name, look in (
            ("deployment", partial(_deployment, parts, stack, node, provider)),
            ("last run", partial(_last_run, node, provider)),
        ):
            try:
                yield look()
            except EXPECTED as error:
                known = as_error(error)
                yield Check(name, CheckStatus.FAILED, known.message, known.hint, node.name)


def _guarded(name: str, look: Callable[[], _Finding]) -> Check:
    try:
        return Check(name, *look())
    except NumeraiError as error:
        return Check(name, CheckStatus.FAILED, error.message, error.hint)


def _terraform(parts: AwsParts) -> _Finding:
    path, version = parts.terraform.program
    return CheckStatus.OK, f"version {version} ({path})", None


def _cluster(parts: AwsParts, stack: Stack, account: str) -> _Finding:
    fix = "numerai node config"
    cluster = parts.settings.cluster
    if not stack.begun:
        left = list(cluster_remains(parts.clients, cluster, account, parts.clients.region))
        if left:
            why = f"{', '.join(left)}: not made from here; another machine's, or left by an interrupted command"
            return CheckStatus.WARNING, why, "set NUMERAI_AWS_CLUSTER to another name, or remove them"
        return CheckStatus.OK, "there is none yet", None
    if stack.account != account:
        why = f"it lives in account {stack.account}, the credentials are those of {account}"
        return CheckStatus.FAILED, why, "choose others with AWS_PROFILE"
    leaving = [node for node, record in stack.nodes.items() if record.leaving]
    if leaving:
        why = f"the removal of {', '.join(leaving)} was interrupted"
        return CheckStatus.FAILED, why, "numerai node destroy"
    if stack.applied is None:
        return CheckStatus.FAILED, "its last change was interrupted", fix
    gone = parts.cluster.missing(stack)
    if gone:
        return CheckStatus.FAILED, f"gone: {', '.join(gone)}", fix
    if not parts.cluster.up_to_date(stack):
        return CheckStatus.WARNING, "it was made with other settings or an older version", fix
    if not url_may_call(parts.clients, ClusterOutputs(stack.outputs).text("webhook_function")):
        return CheckStatus.FAILED, "the webhook's address may not call its function: Numerai is answered 403", fix
    return CheckStatus.OK, f"{cluster} in {stack.region} is as configured, {counted(len(stack.nodes), 'node')}", None


def _keys(parts: AwsParts, stack: Stack) -> _Finding:
    fix = "numerai node config"
    keys = parts.context.keys()
    if keys is None:
        return CheckStatus.WARNING, "there are no keys here to compare them with", "numerai setup"
    stored = parts.cluster.stored_keys(stack.outputs)
    if not stored.exists:
        return CheckStatus.FAILED, "there are none", fix
    if not stored.has_keys(keys):
        return CheckStatus.FAILED, "they are not the ones recorded here", fix
    return CheckStatus.OK, "the same as here, compared by hash", None


def _notifications(parts: AwsParts, stack: Stack) -> _Finding:
    """Whether somebody hears of a run that failed or did not come."""
    urls, email = parts.context.notify_urls(), parts.settings.notification_email
    stored = parts.cluster.stored_keys(stack.outputs)
    elsewhere = parts.cluster.leaves_notify(stored, urls)
    if not elsewhere and not stored.has_notify(urls):
        why = "the addresses to notify at AWS are not the ones recorded here"
        return CheckStatus.WARNING, why, "numerai node config"
    fix = "numerai setup -s -P aws --set notification_email=ADDRESS, then numerai node config"
    if not stored.notifies and email is None:
        why = "nobody is told when a run fails or a round is missed"
        return CheckStatus.WARNING, why, f"{fix}; and numerai notify add"
    theirs = [f"{stored.addresses} address(es) of another machine"] if elsewhere else []
    told = f"told: {', '.join([*sorted(urls), *theirs, *([email] if email else [])])}"
    if email is None:
        why = f"{told}, by runs of the nodes' own images: when one cannot start or tell, nobody hears of it"
        return CheckStatus.WARNING, why, fix
    mail = parts.cluster.mail(ClusterOutputs(stack.outputs))
    if mail is Mail.UNCONFIRMED:
        why = f"{email} is sent nothing until the mail from AWS that asks for it is confirmed"
        return (
            CheckStatus.WARNING,
            why,
            "click on the link in that mail; after two days, numerai node config",
        )
    if mail is Mail.ABSENT:
        why = f"{email} is sent nothing: AWS has no subscription of it, or has removed one that was never confirmed"
        return CheckStatus.WARNING, why, "numerai node config, then click on the link in the mail from AWS"
    if not parts.settings.watcher:
        why = f"{told}; the watcher is switched off, so a round without any run goes unnoticed"
        return CheckStatus.WARNING, why, None
    return CheckStatus.OK, told, None


def _permissions(parts: AwsParts, account: str) -> _Finding:
    """Whether the credentials may do what a cluster takes, each action on what it is done to."""
    settings, region = parts.settings, parts.clients.region

    def refused(boundary: str | None) -> list[str]:
        return sorted(denied(parts.clients, probes(settings.cluster, account, region, boundary)))

    try:
        actions = refused(settings.permissions_boundary)
        limit = own_boundary(settings.cluster, account)
        unbounded = actions and settings.permissions_boundary is None and not refused(limit)
    except NumeraiError as error:
        return CheckStatus.OK, f"not looked at: {error.message}", None
    if unbounded:
        why = f"these credentials may do {', '.join(actions)} only with a permissions boundary, and none is set"
        return CheckStatus.FAILED, why, f"numerai setup -s -P aws --set permissions_boundary={limit}"
    if actions:
        fix = "ask for the policy that `numerai setup --provider aws --print-policy` prints"
        return CheckStatus.FAILED, f"these credentials may not do {', '.join(actions)}", fix
    return CheckStatus.OK, "enough to make and use a cluster, as IAM's simulator says", None


def _strangers(stack: Stack, nodes: Sequence[Node]) -> Iterator[Check]:
    """Nodes that are in the cluster but not in nodes.json, and the other way round."""
    known = {node.name for node in nodes}
    for name in sorted(set(stack.staying) - known):
        why = "AWS has it, but nodes.json does not"
        fix = f"numerai node -m {name} config -P aws, then destroy it if it is not wanted"
        yield Check("drift", CheckStatus.WARNING, why, fix, name)
    for node in nodes:
        if node.name not in stack.staying:
            why = "nodes.json has it, but it was never made on AWS to its end"
            yield Check("drift", CheckStatus.FAILED, why, f"numerai node -m {node.name} config", node.name)


def _deployment(parts: AwsParts, stack: Stack, node: Node, provider: Provider) -> Check:
    record = stack.staying.get(node.name)
    deployed = record.deployment if record else None
    if deployed is not None and not parts.images.fits(deployed.image):
        why = f"its image is for linux/{architecture_of(deployed.image)}, and the cluster runs others: no run starts"
        return Check("deployment", CheckStatus.FAILED, why, f"numerai node -m {node.name} deploy", node.name)
    return deployment_check(
        node, deployed, lambda: deployed is not None and parts.images.present(deployed), provider.source_hash
    )


def _last_run(node: Node, provider: Provider) -> Check:
    return last_run_check(node, provider.runs(node.name))
