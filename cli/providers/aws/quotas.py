"""Whether the account's quotas of vCPUs let all nodes run that start at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...counting import counted
from ...errors import NumeraiError
from ...models import CheckStatus
from .clients import AwsClients, aws_errors
from .cluster_outputs import ClusterOutputs
from .sizes import beyond_fargate
from .stack_file import Stack, StackNode

Finding = tuple[CheckStatus, str, str | None]

QUOTAS: Mapping[str, tuple[str, Sequence[tuple[str, str]]]] = {
    "fargate": ("fargate", (("Fargate Spot", "L-36FBB829"), ("Fargate On-Demand", "L-3032A538"))),
    "ec2": ("ec2", (("Standard Spot instances", "L-34B43A08"), ("On-Demand Standard instances", "L-1216C47A"))),
    "gpu": ("ec2", (("G and VT Spot instances", "L-3819A6DF"), ("On-Demand G and VT instances", "L-DB2E81BA"))),
}
"""By kind of node: the service in Service Quotas, then Spot's quota and On-Demand's, with their codes. All count vCPUs
in a region (docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html, .../AWSEC2/latest/UserGuide/
ec2-instance-quotas.html; the codes as ListServiceQuotas gives them, e.g. gruntwork-io/terraform-aws-utilities,
docs/quotas.md)."""
_GRAVITY = (CheckStatus.OK, CheckStatus.WARNING, CheckStatus.FAILED)


def quota_check(clients: AwsClients, stack: Stack, *, use_spot: bool) -> Finding:
    """Runs that do not fit wait without a word, so what starts together has to fit together: on Spot, and on the
    On-Demand capacity where runs go when there is no Spot."""
    findings, unseen = list[tuple[CheckStatus, str]](), list[str]()
    for kind, nodes in _by_kind(stack).items():
        service, quotas = QUOTAS[kind]
        for name, code in quotas if use_spot else quotas[1:]:
            try:
                with aws_errors():
                    asked = {"ServiceCode": service, "QuotaCode": code}
                    allowed = float(clients.client("service-quotas").get_service_quota(**asked)["Quota"]["Value"])
            except NumeraiError as error:
                unseen.append(f"not looked at: {error.message}")
                continue
            findings.append(_judged(allowed, name, nodes))
    if not findings:
        return CheckStatus.OK, "; ".join(dict.fromkeys(unseen)) or "nothing runs here yet", None
    worst = max((status for status, _ in findings), key=_GRAVITY.index)
    told = "; ".join(text for status, text in findings if status is worst)
    return worst, told, None if worst is CheckStatus.OK else "ask for more in the console of Service Quotas"


def _judged(allowed: float, name: str, nodes: Sequence[StackNode]) -> tuple[CheckStatus, str]:
    """Nodes without a schedule start at an opening, the others as theirs says."""
    groups = [[node for node in nodes if node.cron == cron] for cron in {node.cron for node in nodes}]
    together = max(groups, key=_sum, default=[])
    largest = max((node.cpu for node in nodes), default=0.0)
    has = f"the account may use {allowed:g} vCPUs of {name} at once"
    if allowed < largest:
        return CheckStatus.FAILED, f"{has}, a node asks for {largest:g}"
    if allowed < _sum(together):
        asked = f"the {counted(len(together), 'node')} that start together ask for {_sum(together):g}"
        return CheckStatus.WARNING, f"{has}, {asked}: some wait until others have ended"
    return CheckStatus.OK, f"{allowed:g} vCPUs of {name} at once"


def _sum(nodes: Sequence[StackNode]) -> float:
    return sum(node.cpu for node in nodes)


def _by_kind(stack: Stack) -> Mapping[str, Sequence[StackNode]]:
    """The nodes by what they run on; without any, Fargate, where the first one mostly goes."""
    made, kinds = ClusterOutputs(stack.outputs).nodes, dict[str, list[StackNode]]()
    for name, node in stack.staying.items():
        kind = "ec2" if beyond_fargate(node.cpu, node.memory_mib) else "fargate"
        kinds.setdefault(made.get(name, {}).get("kind", kind), []).append(node)
    return kinds or {"fargate": []}
