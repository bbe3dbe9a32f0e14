"""Requests as the SDK sends them, read, held to AWS's models, and refused where IAM would refuse them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from numerai_compute.providers.aws.policy import minimal_policy
from werkzeug.serving import make_server

moto_server = pytest.importorskip("moto.moto_server.werkzeug_app")

from tests.aws import judging  # noqa: E402
from tests.aws.access_keys import OBSERVER, USER, role_key  # noqa: E402
from tests.aws.actions import asks  # noqa: E402
from tests.aws.calls import Call, read_call  # noqa: E402
from tests.aws.enforcement import ON, Enforcement, Gate, install_simulator  # noqa: E402
from tests.aws.judging import judge  # noqa: E402

ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/numerai-run"
LOOSE = Config(parameter_validation=False, retries={"total_max_attempts": 1})


class Account:
    """An account where everything is named as it is called and bears the cluster's tag."""

    account = ACCOUNT

    def role_arn(self, name: str) -> str:
        return f"arn:aws:iam::{ACCOUNT}:role/{name}"

    def boundary(self, role: str) -> str | None:
        return f"arn:aws:iam::{ACCOUNT}:policy/limit"

    def profile_role(self, profile: str) -> str:
        return profile

    def associated(self, association: str) -> list[str]:
        return ["rtb-1", "subnet-1"]

    def tags(self, arn: str) -> dict[str, str]:
        return {"numerai:cluster": "numerai"} if ":vpc/" in arn else {}


def called(service: str, operation: str, **params: Any) -> Call:
    """The call that the SDK makes, read back from its request."""
    seen: list[Call] = []

    def read(request: Any, **_: Any) -> None:
        path = request.url.partition("://")[2].partition("/")[2]
        headers = {key.upper().replace("-", "_"): value for key, value in request.headers.items()}
        text = {key: value.decode() if isinstance(value, bytes) else value for key, value in headers.items()}
        environ = {f"HTTP_{key}": value for key, value in text.items()}
        environ |= {"CONTENT_TYPE": text.get("CONTENT_TYPE", ""), "PATH_INFO": f"/{path}", "RAW_URI": f"/{path}"}
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        body = body.encode() if isinstance(body, str) else body
        call = read_call({**environ, "REQUEST_METHOD": request.method}, body)
        assert call is not None
        seen.append(call)
        raise StopIteration

    client = boto3.client(
        service,
        REGION,
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="key",
        aws_secret_access_key="key",
        config=LOOSE,
    )
    client.meta.events.register("before-send", read)
    with pytest.raises(StopIteration):
        getattr(client, operation)(**params)
    return seen[0]


def needs(call: Call) -> set[tuple[str, str]]:
    return {(ask.action, ask.resource.removeprefix("arn:aws:")) for ask in asks(call, Account())}


CALLS: list[tuple[str, str, dict[str, Any], set[tuple[str, str]]]] = [
    ("batch", "submit_job", {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"},
     {("batch:SubmitJob", f"batch:{REGION}:{ACCOUNT}:job-queue/q"),
      ("batch:SubmitJob", f"batch:{REGION}:{ACCOUNT}:job-definition/d")}),
    ("batch", "describe_jobs", {"jobs": ["x"]}, {("batch:DescribeJobs", "*")}),
    ("batch", "register_job_definition",
     {"jobDefinitionName": "d", "type": "container", "containerProperties": {"image": "i", "jobRoleArn": ROLE}},
     {("batch:RegisterJobDefinition", f"batch:{REGION}:{ACCOUNT}:job-definition/d"),
      ("iam:PassRole", f"iam::{ACCOUNT}:role/numerai-run")}),
    ("budgets", "create_budget",
     {"AccountId": ACCOUNT, "Budget": {"BudgetName": "b", "TimeUnit": "MONTHLY", "BudgetType": "COST"}},
     {("budgets:ModifyBudget", f"budgets::{ACCOUNT}:budget/b")}),
    ("cloudwatch", "delete_alarms", {"AlarmNames": ["a"]},
     {("cloudwatch:DeleteAlarms", f"cloudwatch:{REGION}:{ACCOUNT}:alarm:a")}),
    ("dynamodb", "transact_write_items",
     {"TransactItems": [{"Put": {"TableName": "t", "Item": {"pk": {"S": "x"}}}},
                        {"Update": {"TableName": "t", "Key": {"pk": {"S": "x"}}, "UpdateExpression": "SET a = :a"}}]},
     {("dynamodb:PutItem", f"dynamodb:{REGION}:{ACCOUNT}:table/t"),
      ("dynamodb:UpdateItem", f"dynamodb:{REGION}:{ACCOUNT}:table/t")}),
    ("ec2", "create_subnet", {"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24"},
     {("ec2:CreateSubnet", f"ec2:{REGION}:{ACCOUNT}:vpc/vpc-1"),
      ("ec2:CreateSubnet", f"ec2:{REGION}:{ACCOUNT}:subnet/*")}),
    ("ec2", "disassociate_route_table", {"AssociationId": "rtbassoc-1"},
     {("ec2:DisassociateRouteTable", f"ec2:{REGION}:{ACCOUNT}:route-table/rtb-1"),
      ("ec2:DisassociateRouteTable", f"ec2:{REGION}:{ACCOUNT}:subnet/subnet-1")}),
    ("ecr", "describe_repositories", {}, {("ecr:DescribeRepositories", f"ecr:{REGION}:{ACCOUNT}:repository/*")}),
    ("events", "put_rule", {"Name": "r"}, {("events:PutRule", f"events:{REGION}:{ACCOUNT}:rule/r")}),
    ("iam", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{}", "Tags": [{"Key": "a", "Value": "b"}]},
     {("iam:CreateRole", f"iam::{ACCOUNT}:role/r"), ("iam:TagRole", f"iam::{ACCOUNT}:role/r")}),
    ("iam", "add_role_to_instance_profile", {"InstanceProfileName": "p", "RoleName": "r"},
     {("iam:AddRoleToInstanceProfile", f"iam::{ACCOUNT}:instance-profile/p"),
      ("iam:PassRole", f"iam::{ACCOUNT}:role/r")}),
    ("lambda", "invoke", {"FunctionName": "f", "Payload": b"{}"},
     {("lambda:InvokeFunction", f"lambda:{REGION}:{ACCOUNT}:function:f")}),
    ("logs", "put_log_events",
     {"logGroupName": "/g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
     {("logs:PutLogEvents", f"logs:{REGION}:{ACCOUNT}:log-group:/g:log-stream:s")}),
    ("s3", "put_object", {"Bucket": "bucket", "Key": "a/b", "Body": b"x"}, {("s3:PutObject", "s3:::bucket/a/b")}),
    ("s3", "put_object", {"Bucket": "bucket", "Key": "a", "Tagging": "b=c"},
     {("s3:PutObject", "s3:::bucket/a"), ("s3:PutObjectTagging", "s3:::bucket/a")}),
    ("s3", "head_bucket", {"Bucket": "bucket"}, {("s3:ListBucket", "s3:::bucket")}),
    ("s3", "delete_objects", {"Bucket": "bucket", "Delete": {"Objects": [{"Key": "k", "VersionId": "v"}]}},
     {("s3:DeleteObjectVersion", "s3:::bucket/k")}),
    ("s3", "get_bucket_encryption", {"Bucket": "bucket"}, {("s3:GetEncryptionConfiguration", "s3:::bucket")}),
    ("scheduler", "get_schedule", {"Name": "s"},
     {("scheduler:GetSchedule", f"scheduler:{REGION}:{ACCOUNT}:schedule/default/s")}),
    ("secretsmanager", "get_secret_value", {"SecretId": "numerai/keys"},
     {("secretsmanager:GetSecretValue", f"secretsmanager:{REGION}:{ACCOUNT}:secret:numerai/keys-AbCdEf")}),
    ("service-quotas", "get_service_quota", {"ServiceCode": "fargate", "QuotaCode": "L-1"},
     {("servicequotas:GetServiceQuota", "*")}),
    ("sns", "publish", {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "Message": "m"},
     {("sns:Publish", f"sns:{REGION}:{ACCOUNT}:t")}),
    ("ssm", "put_parameter", {"Name": "/numerai/secret", "Value": "v", "Type": "SecureString"},
     {("ssm:PutParameter", f"ssm:{REGION}:{ACCOUNT}:parameter/numerai/secret")}),
    ("sts", "get_caller_identity", {}, {("sts:GetCallerIdentity", "*")}),
    ("resourcegroupstaggingapi", "get_resources", {}, {("tag:GetResources", "*")}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "operation", "params", "wanted"),
    CALLS,
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:30],
)
def test_a_call_asks_for_what_awss_reference_says(
    service: str, operation: str, params: dict[str, Any], wanted: set[tuple[str, str]]
) -> None:
    call = called(service, operation, **params)
    assert call.complaints == ()
    assert needs(call) == wanted


def test_the_keys_of_a_request_are_those_that_policies_ask_for() -> None:
    (ask,) = asks(called("iam", "attach_role_policy", RoleName="r", PolicyArn="arn:aws:iam::aws:policy/P"), Account())
    assert ask.context["iam:PolicyARN"] == "arn:aws:iam::aws:policy/P"
    assert ask.context["iam:PermissionsBoundary"] == f"arn:aws:iam::{ACCOUNT}:policy/limit"
    (ask,) = asks(called("iam", "create_service_linked_role", AWSServiceName="ecs.amazonaws.com"), Account())
    assert ask.context["iam:AWSServiceName"] == "ecs.amazonaws.com"
    (ask,) = asks(called("ec2", "delete_vpc", VpcId="vpc-1"), Account())
    assert (ask.context["aws:ResourceTag/numerai:cluster"], ask.context["aws:RequestedRegion"]) == ("numerai", REGION)
    (ask,) = asks(called("s3", "list_objects_v2", Bucket="bucket", Prefix="alice/"), Account())
    assert ask.context["s3:prefix"] == "alice/"
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "numerai:cluster", "Value": "numerai"}]}]
    _, tagged = asks(called("ec2", "create_vpc", CidrBlock="10.0.0.0/16", TagSpecifications=tags), Account())
    assert (tagged.action, tagged.context["ec2:CreateAction"]) == ("ec2:CreateTags", "CreateVpc")
    assert tagged.context["aws:RequestTag/numerai:cluster"] == "numerai"
    profile = {"instanceRole": f"arn:aws:iam::{ACCOUNT}:instance-profile/host", "type": "EC2"}
    call = called("batch", "create_compute_environment", computeEnvironmentName="e", computeResources=profile)
    (passed,) = (ask for ask in asks(call, Account()) if ask.action == "iam:PassRole")
    assert (passed.resource.rpartition("/")[2], passed.context["iam:PassedToService"]) == ("host", "ec2.amazonaws.com")


@pytest.mark.slow
def test_a_call_that_nobody_has_looked_up_raises() -> None:
    for service, operation in (("iam", "get_account_password_policy"), ("sqs", "list_queues")):
        with pytest.raises(NotImplementedError):
            asks(called(service, operation), Account())


@pytest.mark.parametrize(
    ("service", "operation", "params", "complaint"),
    [
        ("batch", "submit_job", {"jobName": "j", "jobQueue": "q"}, "SubmitJob.jobDefinition is missing"),
        ("batch", "create_job_queue", {"jobQueueName": "q", "priority": 1, "state": "ON"}, "'ON' is none of ENABLED"),
        ("lambda", "add_permission",
         {"FunctionName": "f", "StatementId": "a b", "Action": "lambda:X", "Principal": "*"},
         "AddPermission.StatementId: 'a b' does not match"),
        ("logs", "create_log_group", {"logGroupName": "x" * 600}, "has the length 600, not one between 1 and 512"),
        ("ecr", "create_repository", {"repositoryName": "Numerai_-x"}, "'Numerai_-x' does not match"),
        ("scheduler", "create_schedule",
         {"Name": "s" * 65, "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"},
          "Target": {"Arn": "a", "RoleArn": ROLE}}, "has the length 65"),
        ("secretsmanager", "create_secret", {"Description": "d"}, "CreateSecret.Name is missing"),
    ],
)  # fmt: skip
def test_what_awss_models_do_not_allow_is_found(
    service: str, operation: str, params: dict[str, Any], complaint: str
) -> None:
    assert any(complaint in found for found in called(service, operation, **params).complaints)


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Moto behind the gate, on a port of its own, and the record that the gate keeps."""
    install_simulator()
    record = tmp_path / "record.jsonl"
    backend = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
    server = make_server("127.0.0.1", 0, Gate(backend, record), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        boto3.client("sts")  # pays for the models before anything is timed
        yield f"http://127.0.0.1:{server.server_port}", record
    finally:
        ON.clear()
        server.shutdown()
        thread.join()
        server.server_close()


Clients = Callable[..., Any]


@pytest.fixture
def client(emulated: tuple[str, Path]) -> Iterator[Clients]:
    """Makes clients with a key."""

    def make(service: str, key: str, secret: str = "x") -> Any:
        return boto3.client(
            service,
            REGION,
            endpoint_url=emulated[0],
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )

    yield make
    requests.post(f"{emulated[0]}/moto-api/reset", timeout=30)


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.slow
def test_a_user_may_do_what_the_policy_allows_and_is_told_what_not(emulated: tuple[str, Path], client: Clients) -> None:
    user = Enforcement(emulated[0]).on(minimal_policy("numerai", ACCOUNT, REGION))
    key, secret = user["AWS_ACCESS_KEY_ID"], user["AWS_SECRET_ACCESS_KEY"]
    client("logs", key, secret).describe_log_groups()
    client("s3", key, secret).create_bucket(Bucket=f"numerai-state-{ACCOUNT}-{REGION}")
    who = f"User: arn:aws:iam::{ACCOUNT}:user/numerai is not authorized to perform: "
    end = "because no identity-based policy allows the {} action"
    for service, operation, params, code, action in (
        ("batch", "deregister_job_definition", {"jobDefinition": "other:1"}, "AccessDeniedException",
         f"batch:DeregisterJobDefinition on resource: arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/other:1"),
        ("s3", "create_bucket", {"Bucket": "others"}, "AccessDenied",
         "s3:CreateBucket on resource: arn:aws:s3:::others"),
        ("sns", "create_topic", {"Name": "others"}, "AccessDenied",
         f"sns:CreateTopic on resource: arn:aws:sns:{REGION}:{ACCOUNT}:others"),
        ("dynamodb", "delete_table", {"TableName": "others"}, "AccessDeniedException",
         f"dynamodb:DeleteTable on resource: arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/others"),
    ):  # fmt: skip
        call = getattr(client(service, key, secret), operation)
        why = end.format(action.partition(" ")[0])
        assert refusal(lambda: call(**params)) == (code, f"{who}{action} {why}")  # noqa: B023 it is called here
    vpc = client("ec2", OBSERVER).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    code, message = refusal(lambda: client("ec2", key, secret).delete_vpc(VpcId=vpc))
    assert code == "UnauthorizedOperation" and "ec2:DeleteVpc" in message and vpc in message
    own = [{"Key": "numerai:cluster", "Value": "numerai"}]
    client("ec2", OBSERVER).create_tags(Resources=[vpc], Tags=own)
    client("ec2", key, secret).delete_vpc(VpcId=vpc)
    made = {
        "RoleName": "numerai-run",
        "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": []}),
    }
    assert "iam:CreateRole" in refusal(lambda: client("iam", key, secret).create_role(**made))[1]
    limit = f"arn:aws:iam::{ACCOUNT}:policy/numerai"
    client("iam", key, secret).create_role(**made, PermissionsBoundary=limit)
    Enforcement(emulated[0]).off()
    client("sns", key, secret).create_topic(Name="others")


@pytest.mark.slow
def test_a_role_may_do_what_its_policies_and_its_boundary_allow(emulated: tuple[str, Path], client: Clients) -> None:
    iam, limit = client("iam", OBSERVER), f"arn:aws:iam::{ACCOUNT}:policy/limit"
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    reads = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    limits = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}]}
    iam.create_policy(PolicyName="limit", PolicyDocument=json.dumps(limits))
    iam.create_role(RoleName="numerai-run", AssumeRolePolicyDocument=trust, PermissionsBoundary=limit)
    iam.put_role_policy(RoleName="numerai-run", PolicyName="p", PolicyDocument=json.dumps(reads))
    Enforcement(emulated[0]).on(minimal_policy("numerai", ACCOUNT, REGION))
    s3 = client("s3", role_key(ROLE))
    s3.list_buckets()
    code, message = refusal(lambda: s3.create_bucket(Bucket="any"))
    assert (code, message.partition(" because ")[2]) == (
        "AccessDenied", "no permissions boundary allows the s3:CreateBucket action"
    )  # fmt: skip
    assert "assumed-role/numerai-run/" in message
    iam.put_role_policy(RoleName="numerai-run", PolicyName="p", PolicyDocument=json.dumps(limits))
    assert "no identity-based policy" in refusal(lambda: s3.create_bucket(Bucket="any"))[1]


@pytest.mark.slow
def test_a_record_tells_of_what_aws_would_not_take_or_allow(
    emulated: tuple[str, Path], client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = emulated
    monkeypatch.delenv(judging.AGAIN, raising=False)
    client("logs", USER).describe_log_groups()
    monkeypatch.setattr(judging, "known", dict)
    assert judge(record) == [f"Look is newly used for logs:DescribeLogGroups: run again with {judging.AGAIN}=1"]
    monkeypatch.setattr(judging, "known", lambda: {"Look": ["logs:DescribeLogGroups"]})
    assert judge(record) == []
    client("sns", USER).create_topic(Name="others")
    client("sqs", USER).create_queue(QueueName="q")
    client("sns", OBSERVER).create_topic(Name="nobody-judges-this")
    assert [line.partition(" on ")[0] for line in judge(record)] == [
        "not understood: what sqs:CreateQueue asks IAM for",
        "the printed policy does not allow sns:CreateTopic",
    ]
