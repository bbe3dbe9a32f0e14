"""What an interrupted command made is found in AWS again, and told from what is somebody else's."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.existing import STACK_TAG, Existing, Unknown
from numerai_compute.providers.aws.settings import AwsSettings

from .conftest import ACCOUNT, REGION, World

OURS, THEIRS = "a" * 32, "b" * 32
TAGS = {STACK_TAG: OURS}
PAIRS = [{"Key": STACK_TAG, "Value": OURS}]
ROLE = "n-run"
ZIP = b"PK\x05\x06" + bytes(18)
Found = dict[str, tuple[dict[str, Any], str]]


def existing(world: World, stack_id: str = OURS) -> Existing:
    return Existing(world.clients, stack_id, world.clock)


def named(kind: str, name: str) -> list[dict[str, Any]]:
    tags = [*PAIRS, {"Key": "Name", "Value": name}]
    return [{"ResourceType": kind, "Tags": tags}]


def a_network(clients: AwsClients) -> Found:
    """What has no name: by kind the planned values, and the id to be found."""
    ec2 = clients.client("ec2")

    def tags(kind: str) -> dict[str, Any]:
        return {"TagSpecifications": named(kind, "n")}

    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/24", **tags("vpc"))["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway(**tags("internet-gateway"))["InternetGateway"]["InternetGatewayId"]
    table = ec2.create_route_table(VpcId=vpc, **tags("route-table"))["RouteTable"]["RouteTableId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/25", **tags("subnet"))["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="n", Description="n", VpcId=vpc, **tags("security-group"))["GroupId"]
    ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
    rule = ec2.authorize_security_group_egress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": PAIRS}],
    )["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    template = ec2.create_launch_template(
        LaunchTemplateName="n-gpu-1", LaunchTemplateData={"EbsOptimized": True}, **tags("launch-template")
    )["LaunchTemplate"]["LaunchTemplateId"]
    log = ec2.create_flow_logs(
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="REJECT",
        LogGroupName="n",
        DeliverLogsPermissionArn=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
        TagSpecifications=[{"ResourceType": "vpc-flow-log", "Tags": PAIRS}],
    )["FlowLogIds"][0]
    label = {"tags": {"Name": "n"}}
    return {
        "aws_vpc": (label, vpc),
        "aws_internet_gateway": (label, gateway),
        "aws_route_table": (label, table),
        "aws_subnet": (label, subnet),
        "aws_security_group": (label, group),
        "aws_route_table_association": ({"subnet_id": subnet, "route_table_id": table}, f"{subnet}/{table}"),
        "aws_vpc_security_group_egress_rule": (
            {"security_group_id": group, "cidr_ipv4": "10.0.0.0/8", "ip_protocol": "tcp"},
            rule,
        ),
        "aws_launch_template": (label, template),
        "aws_flow_log": ({}, log),
    }


def roles(clients: AwsClients) -> Found:
    iam = clients.client("iam")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}", Tags=PAIRS)
    allowed = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::n-bucket"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=ROLE, PolicyName="p", PolicyDocument=document)
    arn = iam.create_policy(PolicyName="p", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=ROLE, PolicyArn=arn)
    iam.create_instance_profile(InstanceProfileName="n-host", Tags=PAIRS)
    return {
        "aws_iam_role": ({"name": ROLE}, ROLE),
        "aws_iam_role_policy": ({"role": ROLE, "name": "p"}, f"{ROLE}:p"),
        "aws_iam_role_policy_attachment": ({"role": ROLE, "policy_arn": arn}, f"{ROLE}/{arn}"),
        "aws_iam_instance_profile": ({"name": "n-host"}, "n-host"),
    }


def what_keeps(clients: AwsClients) -> Found:
    clients.client("s3").create_bucket(Bucket="n-bucket")
    clients.client("s3").put_bucket_tagging(Bucket="n-bucket", Tagging={"TagSet": PAIRS})
    clients.client("ecr").create_repository(repositoryName="n/a", tags=PAIRS)
    clients.client("dynamodb").create_table(
        TableName="n-table",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        Tags=PAIRS,
    )
    clients.client("logs").create_log_group(logGroupName="/n/runs", tags=TAGS)
    clients.client("logs").create_log_group(logGroupName="/n/runs-of-others")
    return {
        "aws_s3_bucket": ({"bucket": "n-bucket"}, "n-bucket"),
        "aws_ecr_repository": ({"name": "n/a"}, "n/a"),
        "aws_dynamodb_table": ({"name": "n-table"}, "n-table"),
        "aws_cloudwatch_log_group": ({"name": "/n/runs"}, "/n/runs"),
    }


def the_webhook(clients: AwsClients, role: str) -> Found:
    function = clients.client("lambda")
    function.create_function(
        FunctionName="n-webhook", Runtime="python3.13", Role=role, Handler="h.h", Code={"ZipFile": ZIP}, Tags=TAGS
    )
    function.create_function_url_config(FunctionName="n-webhook", AuthType="NONE")
    function.add_permission(
        FunctionName="n-webhook", StatementId="Url", Action="lambda:InvokeFunctionUrl", Principal="*"
    )
    return {
        "aws_lambda_function": ({"function_name": "n-webhook"}, "n-webhook"),
        "aws_lambda_function_url": ({"function_name": "n-webhook"}, "n-webhook"),
        "aws_lambda_permission": ({"function_name": "n-webhook", "statement_id": "Url"}, "n-webhook/Url"),
    }


def batch(clients: AwsClients, role: str) -> Found:
    client, ec2 = clients.client("batch"), clients.client("ec2")
    environment = client.create_compute_environment(
        computeEnvironmentName="n-fargate-spot-1",
        type="MANAGED",
        serviceRole=role,
        computeResources={
            "type": "FARGATE",
            "maxvCpus": 4,
            "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
            "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        },
        tags=TAGS,
    )["computeEnvironmentArn"]
    queue = client.create_job_queue(
        jobQueueName="n-fargate",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        tags=TAGS,
    )["jobQueueArn"]
    container = {
        "image": "x",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}],
    }
    for _ in range(2):
        definition = client.register_job_definition(
            jobDefinitionName="n-a", type="container", containerProperties=container, tags=TAGS
        )["jobDefinitionArn"]
    return {
        "aws_batch_compute_environment": ({"compute_environment_name_prefix": "n-fargate-spot-"}, "n-fargate-spot-1"),
        "aws_batch_job_queue": ({"name": "n-fargate"}, queue),
        "aws_batch_job_definition": ({"name": "n-a"}, definition),
    }


def what_starts_and_watches(clients: AwsClients, role: str) -> Found:
    clients.client("scheduler").create_schedule(
        Name="n-a",
        ScheduleExpression="rate(1 days)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:scheduler:::aws-sdk:batch:submitJob", "RoleArn": role, "Input": "{}"},
    )
    clients.client("events").put_rule(Name="n-failed", EventPattern='{"source": ["aws.batch"]}', Tags=PAIRS)
    topic = clients.client("sns").create_topic(Name="n-failures", Tags=PAIRS)["TopicArn"]
    clients.client("events").put_targets(Rule="n-failed", Targets=[{"Id": "failures", "Arn": topic}])
    clients.client("cloudwatch").put_metric_alarm(
        AlarmName="n-errors",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="Errors",
        Namespace="AWS/Lambda",
        Period=300,
        Statistic="Sum",
        Threshold=1,
        Tags=PAIRS,
    )
    return {
        "aws_scheduler_schedule": ({"name": "n-a"}, "default/n-a"),
        "aws_cloudwatch_event_rule": ({"name": "n-failed"}, "n-failed"),
        "aws_cloudwatch_event_target": ({"rule": "n-failed", "target_id": "failures"}, "n-failed/failures"),
        "aws_sns_topic": ({"name": "n-failures"}, topic),
        "aws_cloudwatch_metric_alarm": ({"alarm_name": "n-errors"}, "n-errors"),
    }


def test_everything_of_the_stack_is_found_and_nothing_of_a_stranger(world: World) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    made = {**a_network(world.clients), **roles(world.clients), **what_keeps(world.clients)}
    made |= {**the_webhook(world.clients, role), **batch(world.clients, role)}
    made |= what_starts_and_watches(world.clients, role)
    found = {kind: existing(world).find(kind, values) for kind, (values, _) in made.items()}
    assert found == {kind: name for kind, (_, name) in made.items()}
    strangers = {kind: existing(world, THEIRS).find(kind, values) for kind, (values, _) in made.items()}
    assert {kind for kind, name in strangers.items() if name} == {"aws_route_table_association"}  # ours by its table


PLANNED: dict[str, dict[str, Any]] = {
    "aws_vpc": {"tags": {"Name": "n"}},
    "aws_launch_template": {"name_prefix": "n-"},
    "aws_flow_log": {},
    "aws_iam_role": {"name": "n"},
    "aws_iam_role_policy": {"role": "n", "name": "p"},
    "aws_iam_role_policy_attachment": {"role": "n", "policy_arn": "p"},
    "aws_iam_instance_profile": {"name": "n"},
    "aws_s3_bucket": {"bucket": "n-bucket"},
    "aws_ecr_repository": {"name": "n/a"},
    "aws_dynamodb_table": {"name": "n"},
    "aws_dynamodb_table_item": {"table_name": "n", "hash_key": "pk", "item": "{}"},
    "aws_cloudwatch_log_group": {"name": "/n"},
    "aws_lambda_function": {"function_name": "n"},
    "aws_lambda_function_url": {"function_name": "n"},
    "aws_lambda_permission": {"function_name": "n", "statement_id": "s"},
    "aws_batch_compute_environment": {"compute_environment_name_prefix": "n-"},
    "aws_batch_job_queue": {"name": "n"},
    "aws_batch_job_definition": {"name": "n"},
    "aws_scheduler_schedule": {"name": "n"},
    "aws_cloudwatch_event_rule": {"name": "n"},
    "aws_cloudwatch_event_target": {"rule": "n", "target_id": "t"},
    "aws_sns_topic": {"name": "n"},
    "aws_cloudwatch_metric_alarm": {"alarm_name": "n"},
    "aws_budgets_budget": {"name": "n"},
    "aws_s3_bucket_versioning": {"bucket": "n"},
}


def test_where_nothing_was_made_nothing_is_found(world: World) -> None:
    found = {kind: existing(world).find(kind, values) for kind, values in PLANNED.items()}
    assert set(found.values()) == {None}


def test_what_is_not_named_yet_is_looked_for_later(world: World) -> None:
    for kind in ("aws_route_table_association", "aws_iam_role_policy"):
        with pytest.raises(Unknown):
            existing(world).find(kind, {})
    with pytest.raises(Unknown):
        existing(world).clear("aws_vpc_security_group_egress_rule", {})


def test_the_rule_that_aws_puts_in_a_new_group_gives_way(world: World) -> None:
    ec2 = world.clients.client("ec2")
    group = ec2.create_security_group(GroupName="n", Description="n")["GroupId"]
    values = {"security_group_id": group, "cidr_ipv4": "0.0.0.0/0", "ip_protocol": "-1"}
    assert existing(world).find("aws_vpc_security_group_egress_rule", values) is None
    existing(world).clear("aws_vpc_security_group_egress_rule", values)
    of_group = [{"Name": "group-id", "Values": [group]}]
    assert ec2.describe_security_group_rules(Filters=of_group)["SecurityGroupRules"] == []


def test_an_untagged_bucket_is_ours_only_while_it_is_empty(world: World) -> None:
    s3, values = world.clients.client("s3"), {"bucket": "n-bucket"}
    s3.create_bucket(Bucket="n-bucket")
    assert existing(world).find("aws_s3_bucket", values) == "n-bucket"
    s3.put_object(Bucket="n-bucket", Key="x", Body=b"x")
    assert existing(world).find("aws_s3_bucket", values) is None


def test_an_item_that_was_written_gives_way(world: World) -> None:
    what_keeps(world.clients)
    dynamodb = world.clients.client("dynamodb")
    dynamodb.put_item(TableName="n-table", Item={"pk": {"S": "nodes"}, "nodes": {"S": "{}"}})
    values = {"table_name": "n-table", "hash_key": "pk", "item": '{"pk": {"S": "nodes"}}'}
    existing(world, THEIRS).clear("aws_dynamodb_table_item", values)
    assert existing(world).find("aws_dynamodb_table_item", values) is None
    assert dynamodb.scan(TableName="n-table")["Count"] == 1
    existing(world).clear("aws_dynamodb_table_item", values)
    assert dynamodb.scan(TableName="n-table")["Count"] == 0


class Scripted(AwsClients):
    """An AWS with prepared answers, an operation's last one again and again. It notes which were asked for."""

    def __init__(self, clients: AwsClients, **answers: list[Any]):
        super().__init__(AwsSettings(region=REGION))
        self._stock = clients
        self.answers = answers
        self.asked: list[str] = []

    def client(self, service: str) -> Any:
        stock = self._stock.client(service)
        scripted = {operation: partial(self._answer, operation) for operation in self.answers}

        def paginator(operation: str) -> Any:
            if operation not in scripted:
                return stock.get_paginator(operation)
            return SimpleNamespace(paginate=lambda **_: [scripted[operation]()])

        class Client:
            get_paginator = staticmethod(paginator)

            def __getattr__(self, operation: str) -> Any:
                return scripted.get(operation) or getattr(stock, operation)

        return Client()

    def _answer(self, operation: str, **_: Any) -> Any:
        self.asked.append(operation)
        answers = self.answers[operation]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def scripted(world: World, **answers: list[Any]) -> tuple[Existing, Scripted]:
    clients = Scripted(world.clients, **answers)
    return Existing(clients, OURS, world.clock), clients


def environment(status: str) -> dict[str, Any]:
    arn = f"arn:aws:batch:{REGION}:{ACCOUNT}:compute-environment/n-fargate-1"
    one = {"computeEnvironmentName": "n-fargate-1", "computeEnvironmentArn": arn, "status": status, "tags": TAGS}
    return {"computeEnvironments": [one]}


def test_what_is_being_made_is_waited_for(world: World) -> None:
    roles(world.clients)
    the_webhook(world.clients, f"arn:aws:iam::{ACCOUNT}:role/{ROLE}")
    begin = world.clock.monotonic()
    pending, active = ({"Configuration": {"State": state}} for state in ("Pending", "Active"))
    found, _ = scripted(world, get_function=[pending, pending, active])
    assert found.find("aws_lambda_function", {"function_name": "n-webhook"}) == "n-webhook"
    assert world.clock.monotonic() > begin


def test_what_the_tagging_api_goes_on_listing_after_its_end_is_not_found(world: World) -> None:
    keeps = what_keeps(world.clients)
    listed = world.clients.client("resourcegroupstaggingapi").get_resources()
    clients = world.clients.client
    clients("dynamodb").delete_table(TableName="n-table")
    clients("ecr").delete_repository(repositoryName="n/a")
    clients("logs").delete_log_group(logGroupName="/n/runs")
    clients("s3").delete_bucket(Bucket="n-bucket")
    found, _ = scripted(world, get_resources=[listed])
    assert {kind: found.find(kind, values) for kind, (values, _) in keeps.items()} == dict.fromkeys(keeps)


def test_a_compute_environment_that_aws_could_not_make_is_removed(world: World) -> None:
    states = ["CREATING", "CREATING", "INVALID", "UPDATING", "INVALID", "DELETING", "DELETED"]
    found, clients = scripted(
        world,
        describe_compute_environments=[environment(state) for state in states],
        update_compute_environment=[{}],
        delete_compute_environment=[{}],
    )
    values = {"compute_environment_name_prefix": "n-fargate-"}
    assert found.find("aws_batch_compute_environment", values) is None
    found.clear("aws_batch_compute_environment", values)
    changed = [operation for operation in clients.asked if not operation.startswith("describe")]
    assert changed == ["update_compute_environment", "delete_compute_environment"]


def test_a_refused_look_is_an_error(world: World) -> None:
    from botocore.exceptions import ClientError

    class Refusing(AwsClients):
        def client(self, service: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetRole")

    with pytest.raises(ProviderError) as refused:
        Existing(Refusing(AwsSettings()), OURS, world.clock).find("aws_iam_role", {"name": "n"})
    assert refused.value.code == "aws-forbidden"


def test_a_budget_is_found(world: World) -> None:
    limit = {"Amount": "5", "Unit": "USD"}
    budget = {"BudgetName": "n-monthly", "BudgetLimit": limit, "TimeUnit": "MONTHLY", "BudgetType": "COST"}
    world.clients.client("budgets").create_budget(AccountId=ACCOUNT, Budget=budget, ResourceTags=PAIRS)
    values = {"name": "n-monthly"}
    assert existing(world).find("aws_budgets_budget", values) == f"{ACCOUNT}:n-monthly"
    assert existing(world, THEIRS).find("aws_budgets_budget", values) is None
