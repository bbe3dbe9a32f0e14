"""The quotas of vCPUs are held against all that starts together, on Spot and on On-Demand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.models import CheckStatus
from numerai_compute.providers.aws.quotas import quota_check
from numerai_compute.providers.aws.stack_file import Stack, stack_node
from numerai_compute.providers.aws.terraform import terraform_root
from numerai_compute.providers.aws.variables import MAX_VCPUS, MOST_VCPUS

from .conftest import World

SPOT, ON_DEMAND = "L-36FBB829", "L-3032A538"
EC2_SPOT, EC2 = "L-34B43A08", "L-1216C47A"
GPU_SPOT, GPU = "L-3819A6DF", "L-DB2E81BA"


def looked(
    world: World, answers: Any, allowed: dict[str, float], *nodes: Any, use_spot: bool = True, outputs: Any = None
) -> tuple[CheckStatus, str]:
    """What the check says of these nodes when AWS allows this; a quota that is not named here is an error."""
    answers(
        "service-quotas",
        "GetServiceQuota",
        lambda asked: {"Quota": {"Value": allowed[asked["QuotaCode"]]}},
    )
    for node in nodes:
        world.parts.cluster.file.set_node(node.name, record(world, node))
    stack = Stack(nodes=world.stack().nodes, outputs=outputs or {})
    status, text, fix = quota_check(world.clients, stack, use_spot=use_spot)
    assert (fix is None) == (status is CheckStatus.OK)
    return status, text


def record(world: World, node: Any) -> Any:
    return stack_node(node, node.cron, None, world.clock.now())


def test_four_nodes_that_start_together_do_not_fit_into_six_vcpus(world: World, answers: Any) -> None:
    nodes = [world.node(name, cpu=2, memory_mib=16384) for name in ("a1", "b2", "c3", "d4")]
    status, text = looked(world, answers, {SPOT: 6, ON_DEMAND: 100}, *nodes)
    assert status is CheckStatus.WARNING
    assert "6 vCPUs of Fargate Spot" in text and "the 4 nodes that start together ask for 8" in text
    assert "On-Demand" not in text


def test_on_demands_quota_counts_too_as_runs_fall_back_to_it(world: World, answers: Any) -> None:
    nodes = [world.node(name, cpu=2, memory_mib=16384) for name in ("a1", "b2", "c3", "d4")]
    status, text = looked(world, answers, {SPOT: 100, ON_DEMAND: 6}, *nodes)
    assert status is CheckStatus.WARNING and "6 vCPUs of Fargate On-Demand" in text
    assert looked(world, answers, {SPOT: 8, ON_DEMAND: 8})[0] is CheckStatus.OK


def test_without_spot_its_quota_does_not_matter(world: World, answers: Any) -> None:
    node = world.node(cpu=2, memory_mib=16384)
    assert looked(world, answers, {ON_DEMAND: 6}, node, use_spot=False) == (
        CheckStatus.OK,
        "6 vCPUs of Fargate On-Demand at once",
    )


def test_schedules_of_their_own_start_apart(world: World, answers: Any) -> None:
    nodes = [world.node("a1", cpu=4, memory_mib=8192), world.node("b2", cpu=4, memory_mib=8192, cron="0 1 * * *")]
    assert looked(world, answers, {SPOT: 6, ON_DEMAND: 6}, *nodes)[0] is CheckStatus.OK


def test_a_node_that_can_never_run_has_failed(world: World, answers: Any) -> None:
    status, text = looked(world, answers, {SPOT: 6, ON_DEMAND: 6}, world.node(cpu=8, memory_mib=16384))
    assert status is CheckStatus.FAILED and "a node asks for 8" in text


@pytest.mark.parametrize(("kind", "quotas"), [("ec2", {EC2_SPOT: 5, EC2: 64}), ("gpu", {GPU_SPOT: 64, GPU: 0})])
def test_hosts_of_ec2_have_quotas_of_their_own(world: World, answers: Any, kind: str, quotas: dict[str, float]) -> None:
    node = world.node(cpu=32, memory_mib=131072)
    status, text = looked(world, answers, quotas, node, outputs={"nodes": {node.name: {"kind": kind}}})
    assert status is CheckStatus.FAILED and "a node asks for 32" in text


def test_a_cluster_without_nodes_has_quotas_as_well(world: World, answers: Any) -> None:
    assert looked(world, answers, {SPOT: 6, ON_DEMAND: 4})[0] is CheckStatus.OK


def test_credentials_that_may_not_ask_have_no_finding(world: World, answers: Any) -> None:
    answers("service-quotas", "GetServiceQuota", "AccessDeniedException")
    status, text, _ = quota_check(world.clients, Stack(), use_spot=True)
    assert status is CheckStatus.OK and text.startswith("not looked at")


def test_a_quota_that_cannot_be_read_hides_no_other(world: World, answers: Any) -> None:
    def asked(given: Any) -> Any:
        if given["QuotaCode"] == SPOT:
            raise EnvironmentNotReady("AWS refused it.")
        return {"Quota": {"Value": 1.0}}

    answers("service-quotas", "GetServiceQuota", asked)
    world.parts.cluster.file.set_node("numerai-alice", record(world, world.node(cpu=2)))
    status, text, _ = quota_check(world.clients, Stack(nodes=world.stack().nodes), use_spot=True)
    assert status is CheckStatus.FAILED and "a node asks for 2" in text


def test_all_nodes_may_run_at_once_whatever_bounds_the_cost(world: World) -> None:
    for number in range(9):
        world.parts.cluster.file.set_node(
            f"numerai-n{number}", record(world, world.node(f"n{number}", cpu=8, memory_mib=16384))
        )
    assert world.parts.cluster.variables(world.stack())["max_vcpus"] == 72
    world.parts.cluster.file.set_node("numerai-n8", None)
    assert "max_vcpus" not in world.parts.cluster.variables(world.stack())
    root = (terraform_root() / "variables.tf").read_text()
    bounds = re.search(r'"max_vcpus" \{.*?default += (\d+).*?<= (\d+)', root, re.DOTALL)
    assert bounds and [int(bound) for bound in bounds.groups()] == [MAX_VCPUS, MOST_VCPUS]
