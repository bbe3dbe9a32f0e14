"""Each mode of the hostile AWS does what its source says, and the plain world does not."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.batch.models import Job
from moto.core import responses
from moto.moto_api import state_manager
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from tests.aws import delivery, hostile, moto_batch, moto_gaps
from tests.aws.hostile import World
from tests.aws.hostile_containers import HostileJobs
from tests.aws.hostile_requests import in_front

REGION = "us-east-1"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
NO_SECRET = "ResourceInitializationError: unable to pull secrets: no such secret"


class NothingStarts(HostileJobs):
    """Jobs whose containers cannot be started: enough for what happens before and after."""

    def __init__(self, world: World):
        self._world = world

    def _start(self, job: Job, number: int) -> Any:
        raise moto_batch.NotStarted(NO_SECRET)


class Emulated:
    """An emulated AWS in this process, on a real socket."""

    def __init__(self, url: str, world: World):
        self.url = url
        self.world = world
        self._clients: dict[str, Any] = {}

    def client(self, service: str, _role: str = "") -> Any:
        """A client that tries nothing twice."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def change(self, **changes: Any) -> dict[str, Any]:
        """Modes through the door, as tests of the emulator do."""
        return dict(requests.post(f"{self.url}/_world", json=changes, timeout=30).json())

    def environment(self, kind: str = "FARGATE", name: str = "first") -> dict[str, Any]:
        """A new compute environment as it is described."""
        batch, ec2 = self.client("batch"), self.client("ec2")
        place = {
            "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
            "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        }
        resources = {"type": kind, "maxvCpus": 4, **place}
        batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
        return dict(batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"][0])

    def queue(self, *environments: str) -> str:
        """A queue named `line` over these environments."""
        order = [{"order": number, "computeEnvironment": name} for number, name in enumerate(environments)]
        made = self.client("batch").create_job_queue(
            jobQueueName="line", priority=1, state="ENABLED", computeEnvironmentOrder=order
        )
        return str(made["jobQueueArn"])

    def submit(self, platform: str = "FARGATE") -> str:
        """A job of a new definition for this platform, in the queue `line`."""
        batch = self.client("batch")
        batch.register_job_definition(
            jobDefinitionName="node",
            type="container",
            platformCapabilities=[platform],
            containerProperties={
                "image": "x",
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}],
            },
        )
        return str(batch.submit_job(jobName="alice-run", jobQueue="line", jobDefinition="node")["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is described."""
        return dict(self.client("batch").describe_jobs(jobs=[job_id])["jobs"][0])

    def ended(self, job_id: str) -> dict[str, Any]:
        """A job once its thread is through."""
        for thread in threading.enumerate():
            if thread.name == f"MOTO-BATCH-{job_id}":
                thread.join(20)
        return self.job(job_id)

    def function(self, name: str = "hook") -> str:
        """A function, which nothing can run here; returns its ARN."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("handler.py", "")
        role = self.client("iam").create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        code = {"ZipFile": content.getvalue()}
        wanted = {
            "FunctionName": name,
            "Runtime": "python3.13",
            "Role": role,
            "Handler": "handler.handle",
            "Code": code,
        }
        return str(self.client("lambda").create_function(**wanted)["FunctionArn"])

    def topic(self, condition: Any = None, services: tuple[str, ...] = ("events.amazonaws.com",)) -> tuple[str, str]:
        """A topic whose policy lets services publish, and the address of a queue that gets what arrives there."""
        sns, sqs = self.client("sns"), self.client("sqs")
        arn = str(sns.create_topic(Name="failures")["TopicArn"])
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": list(services)},
            "Action": "sns:Publish",
            "Resource": arn,
        }
        statement |= {"Condition": condition} if condition else {}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
        queue = str(sqs.create_queue(QueueName="mail")["QueueUrl"])
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:mail")
        return arn, queue

    def mail(self, queue: str) -> list[tuple[str | None, str]]:
        """Subject and text of what has arrived."""
        got = self.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(message["Body"]) for message in got]
        return [(body.get("Subject"), body["Message"]) for body in bodies]

    def failed_invocations(self, rule: str) -> int:
        """How often EventBridge says that it could not deliver."""
        metric = {"Namespace": "AWS/Events", "MetricName": "FailedInvocations"}
        metrics = self.client("cloudwatch").list_metrics(**metric, Dimensions=[{"Name": "RuleName", "Value": rule}])
        return len(metrics["Metrics"])


def with_urls() -> Any:
    """moto, and an answer 204 for every function URL."""
    stock = DomainDispatcherApplication(create_backend_app)

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        return (Response(status=204) if environ["PATH_INFO"].startswith("/_url/") else stock)(environ, start_response)

    return serve


@pytest.fixture(scope="module")
def served() -> Iterator[Emulated]:
    world = World()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name in ("run", "describe", "describe_short", "_get_container_property"):
            patch.setattr(Job, name, getattr(Job, name))  # so that it is put back
        patch.setattr(state_manager, "_default_transitions", dict(state_manager._default_transitions))
        moto_gaps.install_service_linked_role()
        moto_batch.install(NothingStarts(world))
        hostile.install(world, stack)
        getattr(
            vars(responses)["method_names_from_class"], "cache_clear", lambda: None
        )()  # it may have been listed before
        emulated = Emulated("", world)
        ways = delivery.Delivery(world, REGION, emulated.client)
        delivery.install(ways, stack)
        server = make_server("127.0.0.1", 0, in_front(with_urls(), world, ways.advanced), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        emulated.url = f"http://127.0.0.1:{server.server_port}"
        yield emulated


@pytest.fixture
def aws(served: Emulated) -> Emulated:
    """An empty account in the plain world."""
    plain = World().said()
    del plain["seen"]
    served.world.change(plain)
    served.world.seen.clear()
    requests.post(f"{served.url}/moto-api/reset", timeout=30)
    return served


def refused(call: Callable[[], object]) -> tuple[str, str]:
    """Code and message of the refusal."""
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_account_with_a_limit_of_10_lets_nothing_be_reserved(aws: Emulated) -> None:
    functions = aws.client("lambda")
    aws.function()
    functions.put_function_concurrency(FunctionName="hook", ReservedConcurrentExecutions=10)
    assert functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 990
    functions.delete_function_concurrency(FunctionName="hook")

    aws.change(account_concurrency=10)
    code, message = refused(
        lambda: functions.put_function_concurrency(FunctionName="hook", ReservedConcurrentExecutions=1)
    )
    assert code == "InvalidParameterValueException"
    assert "decreases account's UnreservedConcurrentExecution below its minimum value of [10]." in message
    settings = functions.get_account_settings()
    limit = settings["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (10, 10)
    assert settings["AccountUsage"]["FunctionCount"] == 1


def test_the_least_that_is_left_unreserved_is_100(aws: Emulated) -> None:
    aws.function()
    aws.change(account_concurrency=105)
    reserve = aws.client("lambda").put_function_concurrency
    assert "[100]" in refused(lambda: reserve(FunctionName="hook", ReservedConcurrentExecutions=6))[1]
    reserve(FunctionName="hook", ReservedConcurrentExecutions=5)


def test_an_environment_before_its_service_linked_roles_is_invalid_and_the_next_one_is_not(aws: Emulated) -> None:
    aws.change(role_seconds=5)
    first = aws.environment()
    assert first["status"] == "INVALID"
    assert "Unable to assume the service linked role" in first["statusReason"]
    assert aws.environment(name="too-soon")["status"] == "INVALID"
    aws.change(advance=6)
    assert aws.environment(name="later")["status"] == "VALID"


def test_a_service_linked_role_that_is_there_is_taken(aws: Emulated) -> None:
    aws.change(role_seconds=5)
    iam = aws.client("iam")
    for service in ("batch.amazonaws.com", "ecs.amazonaws.com"):
        iam.create_service_linked_role(AWSServiceName=service)
    code, message = refused(lambda: iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com"))
    assert code == "InvalidInput"
    assert message.startswith("Service role name AWSServiceRoleForECS has been taken in this account")
    aws.change(advance=6)
    assert aws.environment()["status"] == "VALID"


def test_without_spot_a_job_stays_runnable_until_it_is_terminated(aws: Emulated) -> None:
    aws.environment("FARGATE_SPOT")
    aws.environment(name="on-demand")
    aws.queue("first", "on-demand")
    aws.change(spot=False)
    job = aws.submit()
    while not aws.change()["seen"].get("spot"):
        pass
    assert aws.job(job)["status"] == "RUNNABLE"
    before = aws.job(job)["createdAt"]
    aws.change(advance=600)
    assert before - aws.job(job)["createdAt"] == 600_000, "so it is ten minutes old for whoever looks now"
    aws.client("batch").terminate_job(jobId=job, reason="it waits for too long")
    ended = aws.ended(job)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "it waits for too long")


def test_without_spot_a_queue_that_asks_on_demand_first_goes_on(aws: Emulated) -> None:
    aws.environment()
    aws.queue("first")
    aws.change(spot=False)
    assert aws.ended(aws.submit())["status"] == "FAILED", "it was tried"


@pytest.mark.parametrize("platform", ["FARGATE", "EC2"])
def test_what_does_not_start_says_why_in_the_status_on_fargate_and_in_the_container_on_ec2(
    aws: Emulated, platform: str
) -> None:
    aws.environment()
    aws.queue("first")
    job = aws.ended(aws.submit(platform))
    (attempt,) = job["attempts"]
    if platform == "FARGATE":
        assert job["statusReason"].startswith("ResourceInitializationError: unable to pull secrets")
        assert attempt["statusReason"] == job["statusReason"]
        assert "reason" not in job["container"] and "reason" not in attempt["container"]
    else:
        assert (job["statusReason"], job["container"]["reason"]) == ("Task failed to start", NO_SECRET)


def test_queues_and_environments_that_are_deleted_are_listed_for_a_while(aws: Emulated) -> None:
    batch = aws.client("batch")
    aws.environment()
    aws.queue("first")
    aws.change(linger_seconds=60)
    batch.delete_job_queue(jobQueue="line")
    assert [queue["status"] for queue in batch.describe_job_queues()["jobQueues"]] == ["DELETING"]
    delete = {"computeEnvironment": "first"}
    assert "existing JobQueue relationship" in refused(lambda: batch.delete_compute_environment(**delete))[1]
    aws.change(advance=31)
    assert [queue["status"] for queue in batch.describe_job_queues(jobQueues=["line"])["jobQueues"]] == ["DELETED"]
    batch.delete_compute_environment(**delete)
    (environment,) = batch.describe_compute_environments(computeEnvironments=["first"])["computeEnvironments"]
    assert environment["status"] == "DELETING"
    aws.change(advance=61)
    assert batch.describe_job_queues()["jobQueues"] == []
    assert batch.describe_compute_environments()["computeEnvironments"] == []


def test_a_secret_that_is_deleted_at_once_is_there_for_a_while_with_its_date(aws: Emulated) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name="keys", SecretString="x")
    aws.change(linger_seconds=60)
    secrets.delete_secret(SecretId="keys", ForceDeleteWithoutRecovery=True)
    assert secrets.describe_secret(SecretId="keys")["DeletedDate"]
    assert refused(lambda: secrets.get_secret_value(SecretId="keys"))[0] == "InvalidRequestException"
    assert "scheduled for deletion" in refused(lambda: secrets.create_secret(Name="keys", SecretString="y"))[1]
    aws.change(advance=61)
    assert refused(lambda: secrets.describe_secret(SecretId="keys"))[0] == "ResourceNotFoundException"
    secrets.create_secret(Name="keys", SecretString="y")


def test_in_the_plain_world_what_is_deleted_is_gone(aws: Emulated) -> None:
    aws.environment()
    aws.client("batch").delete_compute_environment(computeEnvironment="first")
    assert aws.client("batch").describe_compute_environments()["computeEnvironments"] == []
    secrets = aws.client("secretsmanager")
    for _ in range(2):
        secrets.create_secret(Name="keys", SecretString="x")
        secrets.delete_secret(SecretId="keys", ForceDeleteWithoutRecovery=True)


def test_a_new_function_url_answers_403_for_ten_seconds(aws: Emulated) -> None:
    aws.function()
    aws.change(url_seconds=10)
    aws.client("lambda").create_function_url_config(FunctionName="hook", AuthType="NONE")
    answer = requests.post(f"{aws.url}/_url/hook/", timeout=30)
    assert (answer.status_code, answer.json()["Message"][:10]) == (403, "Forbidden.")
    aws.change(advance=11)
    assert requests.post(f"{aws.url}/_url/hook/", timeout=30).status_code == 204


CALLS = [
    ("batch", "describe_job_queues"),
    ("cloudwatch", "describe_alarms"),
    ("dynamodb", "list_tables"),
    ("ec2", "describe_vpcs"),
    ("events", "list_rules"),
    ("iam", "list_roles"),
    ("lambda", "list_functions"),
    ("s3", "list_buckets"),
    ("scheduler", "list_schedules"),
    ("secretsmanager", "list_secrets"),
    ("sns", "list_topics"),
    ("sqs", "list_queues"),
    ("ssm", "describe_parameters"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("service", "operation"), CALLS)
def test_every_third_call_of_a_service_is_throttled_in_its_own_words(
    aws: Emulated, service: str, operation: str
) -> None:
    call = getattr(aws.client(service), operation)
    aws.change(throttle_every=3)
    codes = []
    for _ in range(6):
        try:
            call()
            codes.append("")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert codes.count("") == 4
    assert len(set(codes)) == 2
    assert set(codes) - {""} <= {
        "TooManyRequestsException",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "SlowDown",
    }
    assert aws.change()["seen"] == {"throttle_every": 2}


@pytest.mark.slow
@pytest.mark.parametrize(("service", "operation"), CALLS)
def test_the_keys_of_a_role_end_at_their_time(aws: Emulated, service: str, operation: str) -> None:
    aws.change(sessions_end=True)
    role = aws.client("iam").create_role(RoleName="runner", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="session", DurationSeconds=900)["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], REGION)
    call = getattr(session.client(service, endpoint_url=aws.url), operation)
    call()
    aws.change(advance=901)
    assert refused(call)[0] in ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
    getattr(aws.client(service), operation)()


def failed_run(aws: Emulated, arn: str) -> None:
    """A rule for failed jobs that tells a topic, and a job that fails."""
    events = aws.client("events")
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"], "detail": {"status": ["FAILED"]}}
    events.put_rule(Name="failed-run", EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {
            "name": "$.detail.jobName",
            "why": "$.detail.statusReason",
            "code": "$.detail.container.exitCode",
        },
        "InputTemplate": '"<name> failed: <why> (<code>)"',
    }
    events.put_targets(Rule="failed-run", Targets=[{"Id": "t", "Arn": arn, "InputTransformer": transformer}])
    aws.environment()
    aws.queue("first")
    aws.ended(aws.submit())


def test_a_failed_job_is_told_to_the_topic_of_its_rule(aws: Emulated) -> None:
    aws.change(delivers=True)
    arn, queue = aws.topic()
    failed_run(aws, arn)
    assert aws.mail(queue) == [
        (None, '"alice-run failed: ResourceInitializationError: unable to pull secrets: no such secret ()"')
    ]
    assert aws.failed_invocations("failed-run") == 0


def test_a_topic_with_a_condition_hears_nothing_of_eventbridge(aws: Emulated) -> None:
    aws.change(delivers=True)
    arn, queue = aws.topic({"StringEquals": {"aws:SourceAccount": "123456789012"}})
    failed_run(aws, arn)
    assert aws.mail(queue) == []
    assert aws.failed_invocations("failed-run") == 1


def test_in_the_plain_world_nothing_is_delivered(aws: Emulated) -> None:
    arn, queue = aws.topic()
    failed_run(aws, arn)
    assert aws.mail(queue) == []


def alarm(aws: Emulated, arn: str, **changes: Any) -> None:
    """An alarm on the failed deliveries of the rule."""
    wanted = {
        "AlarmName": "not-told",
        "Namespace": "AWS/Events",
        "MetricName": "FailedInvocations",
        "Dimensions": [{"Name": "RuleName", "Value": "failed-run"}],
        "Statistic": "Sum",
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [arn],
    }
    aws.client("cloudwatch").put_metric_alarm(**{**wanted, **changes})


@pytest.mark.parametrize(("account", "heard"), [("123456789012", 1), ("999999999999", 0)])
def test_an_alarm_that_is_set_tells_its_topic_under_the_condition_of_its_policy(
    aws: Emulated, account: str, heard: int
) -> None:
    aws.change(delivers=True)
    arn, queue = aws.topic({"StringEquals": {"aws:SourceAccount": account}}, ("cloudwatch.amazonaws.com",))
    alarm(aws, arn)
    for _ in range(2):  # the second time it is no change
        aws.client("cloudwatch").set_alarm_state(AlarmName="not-told", StateValue="ALARM", StateReason="a test")
    mail = aws.mail(queue)
    assert len(mail) == heard
    if mail:
        assert mail[0][0] == f'ALARM: "not-told" in {REGION}'
        assert json.loads(mail[0][1])["NewStateReason"] == "a test"


def test_an_alarm_looks_at_its_metric_and_goes_back_when_it_is_quiet(aws: Emulated) -> None:
    aws.change(delivers=True)
    services = ("events.amazonaws.com", "cloudwatch.amazonaws.com")
    arn, queue = aws.topic({"StringEquals": {"aws:SourceAccount": "123456789012"}}, services)
    alarm(aws, arn)
    failed_run(aws, arn)
    assert [subject for subject, _ in aws.mail(queue)] == [f'ALARM: "not-told" in {REGION}']
    aws.change(advance=301)
    (found,) = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert found["StateValue"] == "OK"


def test_an_alarm_on_what_is_missing_goes_off(aws: Emulated) -> None:
    aws.change(delivers=True)
    arn, queue = aws.topic(services=("cloudwatch.amazonaws.com",))
    alarm(aws, arn, ComparisonOperator="LessThanThreshold", TreatMissingData="breaching")
    aws.change(advance=1)
    assert len(aws.mail(queue)) == 1


def test_a_schedule_submits_its_job_when_the_clock_says_so(aws: Emulated) -> None:
    aws.change(delivers=True)
    aws.environment()
    aws.queue("first")
    aws.ended(aws.submit())
    role = aws.client("iam").create_role(RoleName="scheduler", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    wanted = {"JobName": "alice-scheduled", "JobQueue": "line", "JobDefinition": "node"}
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:batch:submitJob", "RoleArn": role, "Input": json.dumps(wanted)}
    aws.client("scheduler").create_schedule(
        Name="alice",
        ScheduleExpression="cron(30 12 * * ? *)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )

    def scheduled() -> int:
        names = [{"name": "JOB_NAME", "values": ["alice-scheduled"]}]
        return len(aws.client("batch").list_jobs(jobQueue="line", filters=names)["jobSummaryList"])

    past = (aws.world.now() - 12 * 3600 - 31 * 60) % 86400  # since 12:31
    aws.change(advance=86400 - past)
    assert scheduled() == 1
    aws.change(advance=86400 - 120)
    assert scheduled() == 1
    aws.change(advance=120)
    assert scheduled() == 2


@pytest.mark.parametrize(("permitted", "calls"), [(True, 1), (False, 0)])
def test_a_rule_with_a_rate_calls_its_function_where_that_lets_it(aws: Emulated, permitted: bool, calls: int) -> None:
    aws.change(delivers=True)
    arn, events = aws.function(), aws.client("events")
    rule = events.put_rule(Name="wakes", ScheduleExpression="rate(5 minutes)")["RuleArn"]
    events.put_targets(Rule="wakes", Targets=[{"Id": "t", "Arn": arn}])
    aws.client("lambda").add_permission(
        FunctionName="hook",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule if permitted else rule + "-other",
    )
    aws.change(advance=300)
    assert aws.failed_invocations("wakes") == 1 - calls
    assert aws.change()["seen"].get("delivers", 0) == calls


def test_all_modes_can_be_turned_on_and_a_mode_that_there_is_not_is_refused(aws: Emulated) -> None:
    assert set(hostile.HOSTILE) == set(World().said()) - {"seen", "ahead"}
    plain, world = World().said(), World.hostile().said()
    assert [name for name in hostile.HOSTILE if plain[name] == world[name]] == []
    answer = requests.post(f"{aws.url}/_world", json={"spott": False}, timeout=30)
    assert (answer.status_code, "spott" in answer.text) == (400, True)
