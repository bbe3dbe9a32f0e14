"""What an interrupted command made is taken over by the next one, whichever that is."""

from __future__ import annotations

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.ports import PlannedResource, PlannedResources, StackPlan
from numerai_compute.providers.aws.existing import STACK_TAG

from .conftest import World, quiet

GROUP = 'aws_cloudwatch_log_group.x["a"]'
PLANNED = (
    PlannedResource(GROUP, "aws_cloudwatch_log_group", {"name": "/numerai/numerai/extra"}),
    PlannedResource("aws_vpc.this", "aws_vpc", {"tags": {"Name": "numerai"}}),
    PlannedResource("aws_s3_bucket_versioning.artifacts", "aws_s3_bucket_versioning", {}),
)
TAKEN_OVER = "taking over 1 resource that the interrupted command had made"


def interrupted(world: World) -> str:
    """A first `configure` that ended halfway, with a log group made but not recorded; returns the stack's id."""
    world.terraform.fail = ProviderError("killed")
    with pytest.raises(ProviderError, match="killed"):
        world.configured()
    stack = world.stack()
    assert stack.unfinished and stack.id
    make_group(world, stack.id)
    world.terraform.made = PLANNED
    return str(stack.id)


def make_group(world: World, stack_id: str) -> None:
    world.clients.client("logs").create_log_group(logGroupName="/numerai/numerai/extra", tags={STACK_TAG: stack_id})


def test_the_next_configure_takes_over_what_was_made(world: World) -> None:
    stack_id = interrupted(world)
    said: list[str] = []
    world.provider.configure(world.node(), said.append)
    assert world.terraform.adopted == {GROUP: "/numerai/numerai/extra"}
    assert TAKEN_OVER in said
    assert world.stack().id == stack_id and not world.stack().unfinished
    assert world.terraform.applied[-1]["stack_id"] == stack_id


def test_so_does_destroy(world: World) -> None:
    world.configured("bob")
    stack_id = interrupted(world)
    assert world.terraform.applied[0]["stack_id"] == stack_id
    said: list[str] = []
    world.provider.destroy("numerai-alice", force=False, report=said.append)
    assert set(world.stack().nodes) == {"numerai-bob"}
    assert world.terraform.adopted == {GROUP: "/numerai/numerai/extra"}
    assert TAKEN_OVER in said


def test_a_node_that_was_leaving_is_looked_at_as_well(world: World) -> None:
    world.configured()
    world.configured("bob")
    world.terraform.fail = ProviderError("killed")
    with pytest.raises(ProviderError, match="killed"):
        world.provider.destroy("numerai-bob", force=False, report=quiet)
    planned: list[set[str]] = []
    plan = world.terraform.plan
    world.terraform.plan = lambda variables, report, **kinds: (  # type: ignore[method-assign]
        planned.append(set(variables["nodes"])),
        plan(variables, report, **kinds),
    )[1]
    world.provider.destroy("numerai-bob", force=False, report=quiet)
    assert planned == [{"numerai-alice", "numerai-bob"}, {"numerai-alice"}]


def test_a_strangers_are_left_alone(world: World) -> None:
    world.terraform.fail = ProviderError("clash")
    make_group(world, "f" * 32)
    world.terraform.made = PLANNED
    with pytest.raises(ProviderError, match="clash"):
        world.configured()
    world.terraform.fail = ProviderError("clash")
    with pytest.raises(ProviderError, match="clash"):
        world.configured()
    assert world.terraform.adopted == {}


def test_what_terraform_knows_under_another_address_is_not_taken_over_twice(world: World) -> None:
    interrupted(world)
    world.terraform.known = frozenset({("aws_cloudwatch_log_group", "/numerai/numerai/extra")})
    world.configured()
    assert world.terraform.adopted == {}


def test_what_has_no_name_yet_is_looked_for_once_its_parent_is_known(world: World) -> None:
    interrupted(world)
    ec2, address = world.clients.client("ec2"), "aws_route_table_association.public"
    table, subnet = ec2.describe_route_tables()["RouteTables"][0], ec2.describe_subnets()["Subnets"][0]
    ids = {"subnet_id": subnet["SubnetId"], "route_table_id": table["RouteTableId"]}
    ec2.associate_route_table(SubnetId=ids["subnet_id"], RouteTableId=ids["route_table_id"])
    belongs = frozenset({GROUP.partition("[")[0]})
    world.terraform.made = (*PLANNED, PlannedResource(address, "aws_route_table_association", {}, belongs))
    planned = world.terraform.planned

    def named_later(plan: StackPlan) -> PlannedResources:
        if GROUP in world.terraform.adopted:
            world.terraform.made = (PlannedResource(address, "aws_route_table_association", ids),)
        return planned(plan)

    world.terraform.planned = named_later  # type: ignore[method-assign]
    world.configured()
    assert set(world.terraform.adopted) == {GROUP, address}


def test_what_has_no_name_yet_and_belongs_to_nothing_found_is_not_looked_for_again(world: World) -> None:
    interrupted(world)
    world.terraform.made = (
        *PLANNED,
        PlannedResource("aws_route_table_association.x", "aws_route_table_association", {}),
    )
    looked: list[object] = []
    planned = world.terraform.planned
    world.terraform.planned = lambda plan: (looked.append(plan), planned(plan))[1]  # type: ignore[method-assign]
    world.configured()
    assert len(looked) == 1


def test_a_finished_cluster_is_not_looked_through(world: World) -> None:
    world.configured()
    world.terraform.made = PLANNED
    make_group(world, world.stack().id)
    world.configured("bob")
    assert world.terraform.adopted == {}
