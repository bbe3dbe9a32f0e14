"""The webhook on AWS: DESIGN's contract, one run for a trigger, and no input that breaks it."""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.providers.aws.trigger_table import CountingTable, Table, trigger_key
from numerai_compute.providers.local import webhook as local_webhook
from numerai_compute.providers.webhooks import calls, claims

from tests.present import present

from .conftest import OTHER_TOKEN, RUNS_PER_HOUR, TABLE, TOKEN, World

KEY = trigger_key("numerai-alice", "t-1")


@pytest.fixture(autouse=True)
def no_secret_printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Whatever happens in a test, no token is logged."""
    yield
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err
    assert OTHER_TOKEN not in printed.out + printed.err


def test_a_call_starts_one_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer, headers = world.call()
    (job,) = world.jobs()
    assert status == 200
    assert answer == {"runId": job["jobId"], "triggerId": "t-1", "status": "queued"}
    assert headers["content-type"] == "application/json"
    details = world.batch.describe_jobs(jobs=[job["jobId"]])["jobs"][0]
    assert {"name": "TRIGGER_ID", "value": "t-1"} in details["container"]["environment"]
    assert re.fullmatch(r"numerai-alice-[0-9a-f]{32}", job["jobName"])
    item = world.item(KEY)
    assert item is not None
    assert item["run_id"]["S"] == job["jobId"]
    assert float(item["expires_at"]["N"]) > time.time() + 30 * 24 * 3600
    line = json.loads(capsys.readouterr().out)
    assert line == {
        "webhook": 200,
        "requestId": "r-1",
        "node": "numerai-alice",
        "triggerId": "t-1",
        "answer": f"run {job['jobId']}",
    }


def test_the_same_trigger_again_is_the_same_run(world: World) -> None:
    first = world.call()
    assert world.call() == first
    assert len(world.jobs()) == 1


def test_nodes_and_triggers_have_runs_of_their_own(world: World) -> None:
    runs = {
        world.call()[1]["runId"],
        world.call(body={"triggerId": "t-2"})[1]["runId"],
        world.call(f"/signals-bob/{OTHER_TOKEN}")[1]["runId"],
    }
    assert len(runs) == 3


@pytest.mark.parametrize(
    "path",
    [
        f"/numerai-carol/{TOKEN}",
        f"/numerai-alice/{OTHER_TOKEN}",
        f"/numerai-alice/{TOKEN}x",
        "/numerai-alice/",
        "/numerai-alice",
        f"//{TOKEN}",
        f"/numerai-alice/{TOKEN}/more",
        f"numerai-alice/{TOKEN}",
        "",
        "/",
        f"/numerai-alice/{TOKEN[:-1]}\ud800",
    ],
)
def test_unknown_nodes_and_wrong_tokens_look_the_same(world: World, path: str) -> None:
    status, answer, _ = world.call(path)
    assert (status, answer) == (404, {"error": "There is no such webhook."})
    assert not world.jobs()


@pytest.mark.parametrize("name", ["numerai-alice", "numerai-nobody"])
def test_tokens_are_compared_in_constant_time(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(calls, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    world.call(f"/{name}/wrong")
    assert compared
    assert set(compared) == {(64, 64)}


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "post", None, 5])
def test_only_post_is_allowed(world: World, method: Any) -> None:
    status, _, headers = world.call(requestContext={"http": {"method": method}})
    assert status == 405
    assert headers["allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        '"t-1"',
        "{}",
        '{"triggerId": null}',
        '{"triggerId": 5}',
        '{"triggerId": ""}',
        '{"triggerId": "a b"}',
        '{"triggerId": "t\\n1"}',
        json.dumps({"triggerId": "x" * 129}),
        json.dumps({"triggerId": "é"}),
        "[" * 60_000,
        '{"triggerId": ' + "9" * 5000 + "}",
        "\ud800",
    ],
)
def test_bodies_without_a_proper_trigger_id_are_refused(world: World, body: str) -> None:
    assert world.call(body=body)[0] == 400
    assert not world.jobs()


def test_a_body_may_be_encoded(world: World) -> None:
    body = base64.b64encode(b'{"triggerId": "t-1"}').decode()
    assert world.call(body=body, isBase64Encoded=True)[0] == 200
    assert world.call(body="%%%", isBase64Encoded=True)[0] == 400
    assert world.call(body="", isBase64Encoded=True)[0] == 400


@pytest.mark.parametrize("size", [64 * 1024 - 100, 64 * 1024 + 1, 5 * 1024 * 1024])
@pytest.mark.parametrize("encoded", [False, True])
def test_large_bodies_are_refused_whoever_sends_them(world: World, size: int, encoded: bool) -> None:
    raw = b"x" * size
    body = base64.b64encode(raw).decode() if encoded else raw.decode()
    expected = 413 if size > 64 * 1024 else 400
    assert world.call(body=body, isBase64Encoded=encoded)[0] == expected


def test_a_node_may_start_so_many_runs_an_hour(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [world.call(body={"triggerId": f"t-{number}"})[0] for number in range(RUNS_PER_HOUR + 2)]
    assert answers == [200] * RUNS_PER_HOUR + [429] * 2
    assert len(world.jobs()) == RUNS_PER_HOUR
    assert world.call(body={"triggerId": "t-0"})[0] == 200
    assert world.call(f"/signals-bob/{OTHER_TOKEN}")[0] == 200
    later = time.time() + 3600
    monkeypatch.setattr(world.webhook.time, "time", lambda: later)
    assert world.call(body={"triggerId": f"t-{RUNS_PER_HOUR}"})[0] == 200


def test_a_refused_job_is_503_and_the_next_call_starts_it(world: World) -> None:
    world.set_nodes({"numerai-alice": TOKEN}, definition="numerai-gone")
    status, answer, headers = world.call()
    assert status == 503
    assert "scheduled" in answer["error"]
    assert headers["retry-after"]
    world.set_nodes({"numerai-alice": TOKEN})
    world.webhook._nodes._read_at = float("-inf")
    status, answer, _ = world.call()
    assert status == 200
    (job,) = world.jobs()
    assert answer["runId"] == job["jobId"]


def test_a_job_that_was_submitted_without_an_answer_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = world.webhook._batch.submit_job

    def lose_the_answer(**arguments: Any) -> Any:
        submit(**arguments)
        raise ReadTimeoutError(endpoint_url="https://batch")

    monkeypatch.setattr(world.webhook._batch, "submit_job", lose_the_answer)
    assert world.call()[0] == 503
    monkeypatch.setattr(world.webhook._batch, "submit_job", submit)
    status, answer, _ = world.call()
    (job,) = world.jobs()
    assert (status, answer["runId"]) == (200, job["jobId"])


def claim(world: World, age: float) -> None:
    """Leave what a call leaves that claimed the trigger and has not started its run."""
    claimed = {"pk": {"S": KEY}, "claimed_at": {"N": str(time.time() - age)}}
    world.dynamodb.put_item(TableName=TABLE, Item=claimed)


def test_a_claim_whose_call_died_is_taken_over(world: World) -> None:
    claim(world, age=60)
    assert world.call()[0] == 200
    assert len(world.jobs()) == 1


def test_only_one_call_takes_a_dead_claim_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(world, age=60)
    retake = Table.retake

    def too_late(table: Table, key: str, dead: claims.Claim) -> bool:
        world.dynamodb.update_item(
            TableName=TABLE,
            Key={"pk": {"S": key}},
            UpdateExpression="SET run_id = :run",
            ExpressionAttributeValues={":run": {"S": "of-the-other"}},
        )
        return retake(table, key, dead)

    monkeypatch.setattr(Table, "retake", too_late)
    assert world.call()[1]["runId"] == "of-the-other"
    assert not world.jobs()


def test_what_a_watcher_elsewhere_starts_goes_to_the_queue_without_spot(world: World) -> None:
    (described,) = world.batch.describe_job_queues(jobQueues=[world.queue])["jobQueues"]
    given = {"priority": 1, "state": "ENABLED", "computeEnvironmentOrder": described["computeEnvironmentOrder"]}
    now = world.batch.create_job_queue(jobQueueName="fargate-now", **given)["jobQueueArn"]
    item = present(world.item("nodes"))
    node = json.loads(item["nodes"]["S"])["numerai-alice"] | {"job_queue_now": now}
    world.dynamodb.put_item(TableName=TABLE, Item={**item, "nodes": {"S": json.dumps({"numerai-alice": node})}})
    status, answer, _ = world.call(body={"triggerId": "watch-8-1000-1"})
    status_of_numerais, other, _ = world.call(body={"triggerId": "from-numerai"})
    assert (status, status_of_numerais) == (200, 200)
    queues = {
        job["jobId"]: job["jobQueue"]
        for job in world.batch.describe_jobs(jobs=[answer["runId"], other["runId"]])["jobs"]
    }
    assert queues == {answer["runId"]: now, other["runId"]: world.queue}


def test_a_call_waits_for_the_one_that_was_faster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(world, age=0)

    def the_other_ends(_: float) -> None:
        Table(world.dynamodb, TABLE, time).finish(KEY, "of-the-other")

    monkeypatch.setattr(world.webhook.time, "sleep", the_other_ends)
    assert world.call()[1]["runId"] == "of-the-other"
    assert not world.jobs()


def test_waiting_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(world, age=0)
    monkeypatch.setattr(world.webhook, "run_of_trigger", partial(world.webhook.run_of_trigger, wait_seconds=0.0))
    assert world.call()[0] == 503
    assert not world.jobs()


@pytest.mark.parametrize("reason", ["ConditionalCheckFailed", "TransactionConflict"])
def test_losing_the_race_for_a_trigger_means_asking_again(
    world: World, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    answers = iter([{}, {"Item": {"run_id": {"S": "of-the-other"}, "claimed_at": {"N": "0"}}}])
    world.webhook._nodes.get(0)
    monkeypatch.setattr(CountingTable, "get", lambda table, key: next(answers).get("Item"))
    with Stubber(world.webhook._dynamodb) as stub:
        stub.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": reason}, {"Code": "None"}]},
        )
        assert world.call()[1]["runId"] == "of-the-other"
        stub.assert_no_pending_responses()
    assert not world.jobs()


def test_a_transaction_that_fails_otherwise_is_503(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.webhook._nodes.get(0)
    with Stubber(world.webhook._dynamodb) as stub:
        stub.add_response("get_item", {})
        stub.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": "ThrottlingError"}, {"Code": "None"}]},
        )
        assert world.call()[0] == 503
    assert json.loads(capsys.readouterr().out)["cause"] == "TransactWriteItems: TransactionCanceledException"


def test_a_missing_table_is_503_for_everyone(world: World) -> None:
    world.dynamodb.delete_table(TableName=TABLE)
    assert world.call()[0] == 503
    assert world.call("/numerai-alice/wrong")[0] == 503


def test_changed_nodes_are_seen_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(world.webhook.time, "monotonic", lambda: now)
    carol = f"/numerai-carol/{TOKEN}"
    assert world.call(carol)[0] == 404
    world.set_nodes({"numerai-carol": TOKEN})
    now += world.webhook.NODES_MIN_AGE - 1
    assert world.call(carol)[0] == 404, "a flood of wrong calls must not read the table each time"
    assert world.call()[0] == 200, "the removed node is still believed"
    now += 2
    assert world.call(carol)[0] == 200
    now += world.webhook.NODES_MAX_AGE + 1
    assert world.call()[0] == 404


def test_no_nodes_yet_is_404(world: World) -> None:
    world.dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": "nodes"}})
    assert world.call()[0] == 404


def test_both_webhooks_answer_by_the_same_rules(world: World) -> None:
    assert world.webhook.calls is vars(local_webhook)["calls"] is calls


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
triggers = st.one_of(st.text(), st.from_regex(r"\A[A-Za-z0-9_.:-]{1,128}\Z"), json_values)
bodies = st.one_of(
    json_values,
    st.text(st.characters(), max_size=200),
    st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()),
    triggers.map(lambda trigger: json.dumps({"triggerId": trigger})),
)
paths = st.one_of(
    st.sampled_from([f"/numerai-alice/{TOKEN}", f"/signals-bob/{TOKEN}", "/numerai-alice/x", "/nodes/x"]),
    st.text(st.characters(), max_size=60),
    st.lists(st.text(st.characters(), max_size=10), max_size=4).map("/".join),
    json_values,
)
events = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {},
        optional={
            "rawPath": paths,
            "body": bodies,
            "isBase64Encoded": st.booleans() | json_values,
            "headers": json_values,
            "requestContext": st.one_of(
                json_values,
                st.fixed_dictionaries({"http": st.fixed_dictionaries({"method": st.sampled_from(["POST", "GET"])})}),
                st.fixed_dictionaries({"http": json_values}),
            ),
        },
    ),
)


@pytest.mark.slow
@settings(max_examples=400)
@given(event=events)
def test_no_event_breaks_it(world: World, event: Any) -> None:
    answer = world.webhook.handle(event, None)
    assert answer["statusCode"] in {200, 400, 404, 405, 413, 429}
    content = json.loads(answer["body"])
    assert set(content) == ({"runId", "triggerId", "status"} if answer["statusCode"] == 200 else {"error"})
