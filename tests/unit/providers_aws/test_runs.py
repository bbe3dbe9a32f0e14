"""Runs, their logs and the webhook's calls, against moto and against answers of AWS as it words them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace as replaced
from numerai_compute.errors import NumeraiError, ProviderError, UsageError
from numerai_compute.models import Deployment, Node, RunState
from numerai_compute.ports import StartsLater
from numerai_compute.providers.aws.outcomes import CANCEL_REASON
from numerai_compute.providers.aws.runs import STOP_SECONDS
from numerai_compute.providers.aws.trigger_table import is_test
from numerai_compute.triggers import NO_SUBMIT

from .conftest import KEYS, START, World, quiet
from .test_provider import put_secret

MILLISECONDS = int(START.timestamp() * 1000)


class Batch:
    """Batch as the tests want it: jobs by id, oldest first. What is not of jobs, `others` answers."""

    def __init__(self, *jobs: dict[str, Any], others: Any = None):
        self._others = others
        self.jobs = {job["jobId"]: job for job in jobs}
        self.submitted: list[dict[str, Any]] = []
        self.terminated: list[tuple[str, str]] = []
        self.described = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        assert len(jobs) <= 100
        self.described += 1
        return {"jobs": [self.jobs[job] for job in jobs if job in self.jobs]}

    def submit_job(self, **given: Any) -> dict[str, Any]:
        self.submitted.append(given)
        self.jobs["new"] = job("new", "SUBMITTED", name=given["jobName"])
        return {"jobId": "new"}

    def terminate_job(self, jobId: str, reason: str) -> None:
        self.terminated.append((jobId, reason))

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_jobs"

        def paginate(jobQueue: str, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
            assert filters == [{"name": "JOB_DEFINITION", "values": ["numerai-numerai-alice"]}]
            found = list(self.jobs.values())
            return [{"jobSummaryList": found[:2]}, {"jobSummaryList": found[2:]}]

        return SimpleNamespace(paginate=paginate)


def job(job_id: str, status: str, name: str = "x", node: str = "numerai-alice", **more: Any) -> dict[str, Any]:
    return {
        "jobId": job_id,
        "jobName": name,
        "jobDefinition": f"arn:aws:batch:us-east-1:1:job-definition/numerai-{node}:3",
        "status": status,
        "createdAt": MILLISECONDS + 1000,
        "container": {"environment": [{"name": "NUMERAI_NODE", "value": node}]},
        **more,
    }


@pytest.fixture
def alice(world: World) -> Node:
    return world.configured()


def with_batch(world: World, monkeypatch: pytest.MonkeyPatch, *jobs: dict[str, Any]) -> Batch:
    batch = Batch(*jobs)
    monkeypatch.setitem(world.clients._clients, "batch", batch)
    return batch


# runs


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"])
def test_what_a_run_waits_for_is_batchs_own_state(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    with_batch(world, monkeypatch, job("j-1", status))
    assert isinstance(world.provider, StartsLater)
    words = world.provider.waits_for("j-1")
    assert words is None if status == "RUNNING" else str(words).endswith(f"({status})")


def test_a_host_of_ec2_may_take_longer_to_start_than_fargate(world: World) -> None:
    nodes = world.node(), world.node("bob", cpu=32, memory_mib=131072)
    assert [world.provider.start_seconds(node) for node in nodes] == [300, 900]


def test_a_run_by_hand_is_submitted_to_the_nodes_queue(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = with_batch(world, monkeypatch)
    run = world.provider.trigger(alice)
    assert (run.id, run.state, run.trigger_id) == ("new", RunState.QUEUED, None)
    assert batch.submitted[0]["jobDefinition"] == "numerai-numerai-alice"
    assert batch.submitted[0]["jobQueue"] == world.stack().outputs["queues"]["fargate"]
    assert "containerOverrides" not in batch.submitted[0]


def test_a_run_that_is_not_to_submit(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = with_batch(world, monkeypatch)
    world.provider.run_without_submitting(alice)
    (given,) = batch.submitted
    variables = {entry["name"]: entry["value"] for entry in given["containerOverrides"]["environment"]}
    assert variables["NUMERAI_NO_SUBMIT"] == "1" and variables["NUMERAI_OWN_TRIGGER"].startswith(NO_SUBMIT)
    assert is_test({"jobName": given["jobName"]}) and not is_test({"jobName": "numerai-alice-by-hand"})
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    environment.append({"name": "NUMERAI_NODE", "value": "numerai-alice"})
    container = {"environment": environment, "exitCode": 79}
    batch.jobs["new"] = {**job("new", "FAILED", attempts=[{"container": container}]), "container": container}
    run = world.provider.run("new")
    assert (run.state, run.exit_code, run.failure) == (RunState.SUCCEEDED, 79, None) and run.is_test


def test_the_address_of_a_webhook_is_the_clusters(world: World, alice: Node) -> None:
    assert world.provider.webhook_url("numerai-alice") == alice.webhook_url
    assert world.provider.webhook_url("numerai-bob") is None


def test_the_runs_of_a_node_newest_first(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with_batch(
        world,
        monkeypatch,
        job("before", "SUCCEEDED", createdAt=MILLISECONDS - 1),
        job("first", "SUCCEEDED"),
        job("another", "RUNNING", node="numerai-alice-2"),
        job("last", "RUNNING", createdAt=MILLISECONDS + 2000),
    )
    assert [run.id for run in world.provider.runs(alice.name)] == ["last", "first"]
    assert [run.id for run in world.provider.runs(alice.name, limit=1)] == ["last"]
    assert world.provider.runs("numerai-nobody") == []


def test_runs_of_others_are_not_known(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with_batch(world, monkeypatch, job("theirs", "RUNNING", node="somebody-else"))
    for ask in (world.provider.run, world.provider.cancel, lambda name: list(world.provider.logs(name))):
        for name in ("theirs", "nothing"):
            with pytest.raises(ProviderError) as unknown:
                ask(name)
            assert unknown.value.code == "no-such-run"


def test_before_there_is_a_cluster_there_are_no_runs(world: World) -> None:
    assert world.provider.runs("numerai-alice") == []
    assert world.provider.find_run("numerai-alice", "t") is None
    assert world.provider.webhook_calls("numerai-alice") == []
    with pytest.raises(ProviderError) as unknown:
        world.provider.run("x")
    assert unknown.value.code == "no-such-run"


def test_a_trigger_goes_through_the_webhook(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with_batch(world, monkeypatch, job("j-1", "RUNNABLE"))
    answers = {
        "t-1": {"statusCode": 200, "body": json.dumps({"runId": "j-1"})},
        "too many": {"statusCode": 400, "body": json.dumps({"error": "The body must be"})},
        "t-2": {"statusCode": 429, "body": json.dumps({"error": "Too many runs"})},
        "t-3": {"errorMessage": "Task timed out"},
    }
    asked: list[Any] = []

    def invoke(FunctionName: str, Payload: bytes) -> dict[str, Any]:
        event = json.loads(Payload)
        asked.append((FunctionName, event["rawPath"], event["requestContext"]["http"]["method"]))
        trigger_id = json.loads(event["body"])["triggerId"]
        return {"Payload": io.BytesIO(json.dumps(answers[trigger_id]).encode())}

    monkeypatch.setitem(world.clients._clients, "lambda", SimpleNamespace(invoke=invoke))
    assert world.provider.trigger(alice, "t-1").id == "j-1"
    token = world.stack().nodes[alice.name].token
    assert asked == [("numerai-webhook", f"/{alice.name}/{token}", "POST")]
    with pytest.raises(UsageError) as malformed:
        world.provider.trigger(alice, "too many")
    assert malformed.value.code == "bad-trigger-id"
    for trigger_id, why in (("t-2", "Too many runs"), ("t-3", "Task timed out")):
        with pytest.raises(ProviderError, match=why):
            world.provider.trigger(alice, trigger_id)


def test_the_run_of_a_trigger_is_found(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with_batch(world, monkeypatch, job("j-1", "RUNNING"))
    for key, item in (("t-1", {"run_id": {"S": "j-1"}}), ("claimed", {})):
        world.clients.client("dynamodb").put_item(
            TableName="numerai-webhook", Item={"pk": {"S": f"trigger#{alice.name}#{key}"}, **item}
        )
    found = world.provider.find_run(alice.name, "t-1")
    assert found is not None and found.id == "j-1"
    assert world.provider.find_run(alice.name, "claimed") is None
    assert world.provider.find_run(alice.name, "never") is None


def test_cancel_waits_for_the_end(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = with_batch(world, monkeypatch, job("j-1", "RUNNING"))

    def slow_end(seconds: float) -> None:
        world.clock.elapsed += seconds
        if world.clock.elapsed > 3:
            batch.jobs["j-1"] = job("j-1", "FAILED", statusReason=CANCEL_REASON)

    monkeypatch.setattr(world.clock, "sleep", slow_end)
    assert world.provider.cancel("j-1").state is RunState.CANCELLED
    assert batch.terminated == [("j-1", CANCEL_REASON)]
    assert world.provider.cancel("j-1").state is RunState.CANCELLED
    assert len(batch.terminated) == 1


def test_a_run_that_does_not_stop_is_said(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with_batch(world, monkeypatch, job("j-1", "RUNNING"))
    with pytest.raises(ProviderError) as stubborn:
        world.provider.cancel("j-1")
    assert stubborn.value.code == "not-stopped"
    assert world.clock.elapsed > STOP_SECONDS


def test_destroy_refuses_while_a_run_goes_on(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = with_batch(world, monkeypatch, job("j-1", "RUNNING"), job("j-2", "SUCCEEDED"))
    with pytest.raises(ProviderError) as active:
        world.provider.destroy(alice.name, force=False, report=quiet)
    assert active.value.code == "run-active"
    assert not world.stack().nodes[alice.name].leaving
    batch.jobs["j-1"]["status"] = "RUNNING"

    def ends(seconds: float) -> None:
        batch.jobs["j-1"] = job("j-1", "FAILED", statusReason=CANCEL_REASON)

    monkeypatch.setattr(world.clock, "sleep", ends)
    said: list[str] = []
    with pytest.raises(AttributeError):  # this Batch knows jobs only: what comes after the runs is tested elsewhere
        world.provider.destroy(alice.name, force=True, report=said.append)
    assert said[0] == "Stopping run j-1"
    assert batch.terminated == [("j-1", CANCEL_REASON)]


def test_a_job_that_only_tells_people_something_is_no_run(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = job("j-2", "SUCCEEDED", name=f"notice-{alice.name}-missed")
    with_batch(world, monkeypatch, job("j-1", "SUCCEEDED"), notice)
    assert [run.id for run in world.provider.runs(alice.name)] == ["j-1"]


# logs


def write(world: World, stream: str, *lines: str, at: int = 0) -> None:
    logs, group = world.clients.client("logs"), "/numerai/numerai/runs"
    known = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)["logStreams"]
    if not known:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": MILLISECONDS + at, "message": line} for line in lines],
    )


def streamed(number: int) -> dict[str, Any]:
    return {"container": {"logStreamName": f"s/{number}"}, "startedAt": MILLISECONDS + number}


def test_the_log_of_all_attempts_in_order_without_secrets(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_batch(world, monkeypatch, job("j-1", "FAILED", attempts=[streamed(1), streamed(2)], stoppedAt=MILLISECONDS))
    write(world, "s/2", "second", at=20)
    world.urls = {"phone": "json://user:hunter22@example.org/secret-path"}
    write(world, "s/1", "first\n", f"leak {KEYS.secret_key} and {world.urls['phone']}", at=10)
    lines = list(world.provider.logs("j-1"))
    assert [line.text for line in lines] == ["first", "leak *** and ***", "second"]
    assert lines[0].time == START + timedelta(milliseconds=10)


CUT = 16 * 1024


@pytest.mark.parametrize("cut_at", [1, len(KEYS.secret_key) // 2, len(KEYS.secret_key) - 1])
@pytest.mark.parametrize("size", [CUT, CUT - 2, 262_118])
def test_a_secret_across_the_cut_of_a_long_line_is_masked(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch, cut_at: int, size: int
) -> None:
    """Docker cuts lines at 16 KiB, the log drivers of AWS at what an event holds; a piece may lack half a character."""
    with_batch(world, monkeypatch, job("j-1", "FAILED", attempts=[streamed(1)], stoppedAt=MILLISECONDS))
    head = "x" * (size - cut_at) + KEYS.secret_key[:cut_at]
    write(world, "s/1", "first", head, f"{KEYS.secret_key[cut_at:]} rest", "last")
    lines = [line.text for line in world.provider.logs("j-1")]
    assert lines == ["first", "x" * (size - cut_at) + "*** rest", "last"]


def test_long_lines_without_a_secret_at_the_cut_stay_as_they_are(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_batch(world, monkeypatch, job("j-1", "FAILED", attempts=[streamed(1), streamed(2)], stoppedAt=MILLISECONDS))
    write(world, "s/1", "x" * CUT, "y" * CUT, "rest", f"{KEYS.secret_key[:10]}")
    write(world, "s/2", f"{KEYS.secret_key[10:]}", "z" * CUT, at=5)
    lines = [line.text for line in world.provider.logs("j-1")]
    assert lines == ["x" * CUT, "y" * CUT, "rest", KEYS.secret_key[:10], KEYS.secret_key[10:], "z" * CUT]


def test_a_cut_is_seen_while_a_log_is_followed(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    running = job("j-1", "RUNNING")
    running["container"]["logStreamName"] = "s/1"
    with_batch(world, monkeypatch, running)
    half = len(KEYS.secret_key) // 2
    write(world, "s/1", "x" * (CUT - half) + KEYS.secret_key[:half])
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: write(world, "s/1", f"{KEYS.secret_key[half:]} rest", at=1),
            lambda: with_batch(
                world, monkeypatch, job("j-1", "FAILED", attempts=[streamed(1)], stoppedAt=MILLISECONDS)
            ),
        ]
    )
    monkeypatch.setattr(world.clock, "sleep", lambda seconds: next(steps)())
    (line,) = world.provider.logs("j-1", follow=True)
    assert line.text.endswith("x*** rest")


def test_a_log_is_followed_until_nothing_more_can_come(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.parts.settings = type(world.parts.settings)(log_lag_seconds=5)
    batch = with_batch(world, monkeypatch, job("j-1", "RUNNABLE"))
    since = world.clock.elapsed
    stopped = MILLISECONDS + int(since * 1000) + 3000
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: batch.jobs.update({"j-1": job("j-1", "RUNNING", attempts=[], **streamed(1))}),
            lambda: write(world, "s/1", "one", "two"),
            lambda: batch.jobs.update({"j-1": job("j-1", "SUCCEEDED", attempts=[streamed(1)], stoppedAt=stopped)}),
            lambda: write(world, "s/1", "late"),
        ]
    )
    for status in ("RUNNING", "SUCCEEDED"):
        assert status  # the container of a running job names its stream, and its node

    def pass_time(seconds: float) -> None:
        world.clock.elapsed += seconds
        next(steps, lambda: None)()
        found = batch.jobs["j-1"]["container"]
        found.setdefault("environment", [{"name": "NUMERAI_NODE", "value": alice.name}])

    monkeypatch.setattr(world.clock, "sleep", pass_time)
    assert [line.text for line in world.provider.logs("j-1", follow=True)] == ["one", "two", "late"]
    assert 8 <= world.clock.elapsed - since <= 9


# the webhook


def test_the_calls_of_a_webhook_newest_first(world: World, alice: Node) -> None:
    logs, group = world.clients.client("logs"), "/aws/lambda/numerai-webhook"
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    called = {"webhook": 200, "node": alice.name, "triggerId": "t-1", "answer": "run j-1"}
    lines = [
        "START RequestId: 1",
        json.dumps({**called, "webhook": 503, "answer": "Nothing can be scheduled"}),
        json.dumps(called),
        json.dumps({**called, "node": "numerai-bob"}),
        json.dumps({"webhook": 404, "answer": "There is no such webhook."}),
        json.dumps([1]),
    ]
    events = [{"timestamp": MILLISECONDS + at, "message": line} for at, line in enumerate(lines)]
    old = {"timestamp": MILLISECONDS - 5000, "message": json.dumps(called)}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[old, *events])
    calls = world.provider.webhook_calls(alice.name)
    assert [(call.status, call.trigger_id) for call in calls] == [(200, "t-1"), (503, "t-1")]
    assert calls[0].answer == "run j-1"
    assert len(world.provider.webhook_calls(alice.name, limit=1)) == 1


# checks


def found(world: World, *nodes: Node) -> dict[str, str]:
    return {check.name: check.status.value for check in world.provider.checks(nodes)}


def why(world: World, name: str, *nodes: Node) -> str:
    return next(check.why for check in world.provider.checks(nodes) if check.name == name)


@pytest.fixture
def terraform(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Terraform to look at, and permissions for everything: moto has no simulator."""
    world.parts.terraform = SimpleNamespace(program=("/bin/terraform", "1.11.4"))  # type: ignore[assignment]
    monkeypatch.setattr("numerai_compute.providers.aws.checks.denied", lambda *_: iter(()))


@pytest.mark.usefixtures("terraform")
class TestChecks:
    def test_without_a_cluster(self, world: World) -> None:
        assert found(world) == {
            "AWS credentials": "ok",
            "Terraform": "ok",
            "AWS cluster": "ok",
            "AWS permissions": "ok",
            "AWS quota": "ok",
        }

    def test_with_a_node(self, world: World, alice: Node) -> None:
        world.provider.deploy(alice, force=False, report=quiet)
        everything = found(world, alice)
        assert everything.pop("AWS notifications") == "warning"
        assert set(everything.values()) == {"ok"}

    def test_who_is_told(self, world: World, alice: Node) -> None:
        assert "nobody is told" in why(world, "AWS notifications", alice)
        world.urls = {"phone": "json://user:hunter22@example.org"}
        assert "not the ones recorded here" in why(world, "AWS notifications", alice)
        world.configured()
        assert "told: phone, by runs of the nodes' own images" in why(world, "AWS notifications", alice)
        assert found(world, alice)["AWS notifications"] == "warning"
        world.parts.settings = replace(world.parts.settings, notification_email="me@example.org")
        world.parts.cluster._settings = world.parts.settings
        assert "AWS has no subscription of it" in why(world, "AWS notifications", alice)
        world.configured()
        assert why(world, "AWS notifications", alice) == "told: phone, me@example.org"
        assert found(world, alice)["AWS notifications"] == "ok"
        world.parts.settings = replace(world.parts.settings, watcher=False)
        assert "the watcher is switched off" in why(world, "AWS notifications", alice)
        assert found(world, alice)["AWS notifications"] == "warning"

    def test_a_cluster_that_was_not_made_here(self, world: World, alice: Node) -> None:
        world.parts.cluster.file.forget()
        check = next(check for check in world.provider.checks([]) if check.name == "AWS cluster")
        assert check.status.value == "warning"
        assert "the image repository numerai/numerai-alice" in check.why

    def test_what_is_gone_is_named(self, world: World, alice: Node) -> None:
        client = world.clients.client
        client("ecr").delete_repository(repositoryName=f"numerai/{alice.name}", force=True)
        client("dynamodb").delete_table(TableName="numerai-webhook")
        client("lambda").delete_function_url_config(FunctionName="numerai-webhook")
        world.parts.cluster.stored_keys({}).remove()
        for definition in client("batch").describe_job_definitions()["jobDefinitions"]:
            client("batch").deregister_job_definition(jobDefinition=definition["jobDefinitionArn"])
        client("batch").delete_job_queue(jobQueue=world.stack().outputs["queues"]["fargate"])
        text = why(world, "AWS cluster", alice)
        for what in ("webhook", "table", "queue", "job definition", "image repository"):
            assert what in text
        assert found(world, alice)["Numerai keys at AWS"] == "failed"

    def test_an_interrupted_change(self, world: World, alice: Node) -> None:
        world.parts.cluster.file.change(lambda stack: replaced(stack, applied=None))
        assert why(world, "AWS cluster") == "its last change was interrupted"
        world.parts.cluster.file.set_node(alice.name, replaced(world.stack().nodes[alice.name], leaving=True))
        assert why(world, "AWS cluster") == "the removal of numerai-alice was interrupted"

    def test_another_account(self, world: World, alice: Node) -> None:
        world.parts.cluster.file.change(lambda stack: replaced(stack, account="9"))
        assert "lives in account 9" in why(world, "AWS cluster")

    def test_other_settings_than_those_applied(self, world: World, alice: Node) -> None:
        world.parts.cluster.file.change(lambda stack: replaced(stack, applied="older"))
        assert found(world)["AWS cluster"] == "warning"

    def test_other_keys_than_here(self, world: World, alice: Node) -> None:
        world.keys = type(KEYS)("OTHERPUBLIC", "OTHERSECRET")
        assert why(world, "Numerai keys at AWS") == "they are not the ones recorded here"
        assert "OTHERSECRET" not in str(list(world.provider.checks([])))
        world.keys = None
        assert found(world)["Numerai keys at AWS"] == "warning"
        world.keys = KEYS
        put_secret(world, NUMERAI_SECRET_KEY="another")
        assert found(world)["Numerai keys at AWS"] == "failed"

    def test_nodes_that_only_one_side_knows(self, world: World, alice: Node) -> None:
        bob = world.node("bob")
        checks = [check for check in world.provider.checks([bob]) if check.name == "drift"]
        assert {check.node: check.status.value for check in checks} == {
            alice.name: "warning",
            bob.name: "failed",
        }

    def test_a_deployment_that_is_gone_or_old(self, world: World, alice: Node, tmp_path: Any) -> None:
        assert found(world, alice)["deployment"] == "failed"
        world.provider.deploy(alice, force=False, report=quiet)
        moved = Deployment(alice.name, "elsewhere", "h", START)
        assert moved != world.provider.deployment(alice.name)
        (tmp_path / "alice" / "new.py").write_text("x")
        assert found(world, alice)["deployment"] == "warning"
        (tmp_path / "alice").rename(tmp_path / "gone")
        assert "the folder" in why(world, "deployment", alice)
        world.registry.empty(f"numerai/{alice.name}")
        assert "is gone" in why(world, "deployment", alice)

    def test_the_last_run(self, world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        ended = job("j-1", "FAILED", attempts=[{"container": {"exitCode": 9}}], stoppedAt=MILLISECONDS)
        monkeypatch.setattr(world.provider, "runs", lambda name, limit=20: [])
        assert why(world, "last run", alice) == "there was none yet"
        from numerai_compute.providers.aws.outcomes import run_of

        for state, status in ((ended, "warning"), (job("j-2", "RUNNING"), "ok")):
            run = run_of(state, alice.name, world.stack().nodes[alice.name])
            monkeypatch.setattr(world.provider, "runs", lambda name, limit=20, run=run: [run])
            assert found(world, alice)["last run"] == status


def test_without_credentials_nothing_else_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NumeraiError("There are no AWS credentials.", "aws configure")

    monkeypatch.setattr(type(world.clients), "account", property(lambda self: refuse()))
    (check,) = world.provider.checks([])
    assert (check.status.value, check.mend) == ("failed", "aws configure")
