"""The watcher on AWS: the run that did not come is started once, and who must know is told once, whatever fails."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.sns.models import sns_backends
from numerai_compute.errors import UsageError
from numerai_compute.models import NoticeKind
from numerai_compute.providers.aws.cron import aws_cron
from numerai_compute.providers.aws.node_keys import FIELDS
from numerai_compute.providers.aws.occurrences import first_occurrence
from numerai_compute.providers.aws.trigger_table import deployment_key
from numerai_compute.providers.webhooks import calls
from numerai_compute.providers.webhooks.calls import OWN_TRIGGER
from numerai_compute.schedule import next_occurrence
from numerai_compute.watching import policy

from .conftest import ACCOUNT, REGION, TABLE, TOKEN, World, load_handler

SECRET_KEY, NOTIFY_URL = "SECRET-KEY-0123456789", "json://user:hunter22@example.org"
OPENS = datetime(2026, 1, 6, 12, tzinfo=timezone.utc)
NUMBER = 1000
FIRST = f"watch-8-{NUMBER}-1"
QUEUE, NOW_QUEUE = "queue", "queue-now"
ROUNDS_ASKED = {"tournament": 8, "limit": 11}


class FakeNumerai:
    """Numerai's API on this machine. `broken` answers, (status, body, headers) each, come before the true ones."""

    def __init__(self) -> None:
        self.reset()
        numerai = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, b"{}", {})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                numerai.asked.append(asked)
                numerai.authorizations.append(self.headers["Authorization"])
                no_files = numerai.files_fail and re.search(r"\bsubmissions\b", asked["query"])
                if no_files or asked["variables"].get("modelId") in numerai.fails:
                    self._answer(503, b"", {})
                elif numerai.broken:
                    self._answer(*numerai.broken.pop(0))
                else:
                    self._answer(200, json.dumps({"data": numerai.data(asked)}).encode(), {})

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response_only(status)
                given = {"Date": format_datetime(numerai.now, usegmt=True), "Content-Length": str(len(body)), **headers}
                for name, value in given.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def reset(self) -> None:
        self.now = OPENS + timedelta(minutes=11)
        self.rounds = {8: [(NUMBER - 1, OPENS - timedelta(days=1)), (NUMBER, OPENS)]}
        self.hours = 1
        self.fails: set[str] = set()
        self.files_fail = False
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.entries: dict[str, dict[int, dict[str, Any]]] = {}
        self.broken: list[tuple[int, bytes, dict[str, str]]] = []
        self.models: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []

    def data(self, asked: dict[str, Any]) -> dict[str, Any]:
        model_id = asked["variables"].get("modelId")
        if "submissionWebhook" in asked["query"]:
            return {"account": {"models": [{**row, "tournament": 8, "name": row["id"]} for row in self.models]}}
        if "latestSubmissions" in asked["query"]:
            entries = sorted(self.entries.get(model_id, {}).values(), key=lambda entry: -entry["roundNumber"])
            return {"model": {"latestSubmissions": entries}}
        if "submissions" in asked["query"]:
            return {"submissions": self.files.get(model_id, [])}
        rounds = self.rounds.get(asked["variables"]["tournament"], [])
        return {"rounds": [self.row(number, opens) for number, opens in reversed(rounds)]}

    def row(self, number: int, opens: datetime) -> dict[str, Any]:
        deadline = opens + timedelta(hours=self.hours)
        times = {"openTime": opens, "closeStakingTime": deadline, "closeTime": deadline + timedelta(hours=23)}
        return {
            "number": number,
            "dataDatestamp": 20260105,
            **{name: when.isoformat() for name, when in times.items()},
        }

    def hold(
        self, model_id: str, status: str = "on-time", number: int = NUMBER, minutes: float = 5, filename: str = ""
    ) -> None:
        """Let Numerai hold a file, which stands for the model in a round."""
        file_id = f"s-{len(self.files.get(model_id, []))}"
        filename = filename or f"{file_id}.csv"
        inserted = (OPENS + timedelta(minutes=minutes)).isoformat()
        row = {"id": file_id, "filename": filename, "triggerId": None, "insertedAt": inserted}
        self.files.setdefault(model_id, []).append({**row, "round": {"number": number}})
        self.enter(model_id, status, number, filename, file_id, minutes)

    def enter(
        self, model_id: str, status: str, number: int, filename: str, file_id: str = "s-x", minutes: float = 0
    ) -> None:
        """Let a file stand for the model in a round, without a submission of it."""
        timestamp = (OPENS + timedelta(minutes=minutes)).isoformat()
        entry = {"id": file_id, "roundNumber": number, "status": status, "filename": filename, "timestamp": timestamp}
        self.entries.setdefault(model_id, {})[number] = entry


class FakeBatch:
    """Batch whose jobs do what the test says. `fail` is raised by the next submission, `lose` after it was made. With
    `no_spot` a job of the queue that tries Spot first never starts."""

    exceptions = None

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.submitted: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.fail: Exception | None = None
        self.lose: Exception | None = None
        self.no_spot = False

    def submit_job(self, **given: Any) -> dict[str, Any]:
        if self.fail:
            failure, self.fail = self.fail, None
            raise failure
        self.submitted.append(given)
        waits = self.no_spot and given["jobQueue"] == QUEUE
        status = "RUNNABLE" if waits else "RUNNING"
        job = self.add(given["jobName"], status, given["jobDefinition"], queue=given["jobQueue"])
        if self.lose:
            lost, self.lose = self.lose, None
            raise lost
        return {"jobId": job["jobId"]}

    def add(
        self,
        name: str,
        status: str = "RUNNING",
        definition: str = "numerai-node",
        age: float = 0.0,
        queue: str = QUEUE,
    ) -> Any:
        job = {
            "queue": queue,
            "jobId": f"job-{len(self.jobs)}",
            "jobName": name,
            "jobDefinition": f"arn:aws:batch:us-east-1:1:job-definition/{definition}:7",
            "createdAt": int((self.clock[0] - age) * 1000),
            "status": status,
        }
        if status == "RUNNING":
            job["startedAt"] = job["createdAt"]
        self.jobs.append(job)
        return job

    def end(self, exit_code: int | None) -> None:
        """All jobs have ended this way."""
        for job in self.jobs:
            if job["status"] != "FAILED":
                job["status"] = "SUCCEEDED" if exit_code == 0 else "FAILED"
                job["stoppedAt"] = int(self.clock[0] * 1000)
                job["container"] = {} if exit_code is None else {"exitCode": exit_code}

    def cancel_job(self, jobId: str, reason: str) -> None:
        self.cancelled.append(jobId)
        job = next(job for job in self.jobs if job["jobId"] == jobId)
        if job["status"] in ("STARTING", "RUNNING"):
            return
        job |= {"status": "FAILED", "statusReason": reason, "stoppedAt": int(self.clock[0] * 1000)}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_jobs"

        def paginate(jobQueue: str, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
            (wanted,) = filters
            (value,) = wanted["values"]
            by_name = wanted["name"] == "JOB_NAME"
            found = [
                {key: held for key, held in job.items() if key != "queue"}
                for job in self.jobs
                if job["queue"] == jobQueue and (job["jobName"] == value if by_name else value in job["jobDefinition"])
            ]
            return [{"jobSummaryList": found[:1]}, {"jobSummaryList": found[1:]}]

        return SimpleNamespace(paginate=paginate)

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [given for given in self.submitted if not given["jobName"].startswith("notice-")]


@dataclass
class Watched:
    """The watcher and what it talks to."""

    handler: ModuleType
    world: World
    numerai: FakeNumerai
    batch: FakeBatch
    sent: list[Any]
    ssm: Any
    clock: list[float] = field(default_factory=list)

    def look(self, minutes: float | None = None, event: Any = None) -> Any:
        """One call of the schedule, so many minutes after the opening by Numerai's clock."""
        if minutes is not None:
            self.at(minutes)
        return self.handler.handle(event, None)

    def at(self, minutes: float) -> None:
        """Let time pass, by both clocks, until so many minutes after the opening by Numerai's."""
        then = OPENS + timedelta(minutes=minutes)
        self.clock[0] += (then - self.numerai.now).total_seconds()
        self.numerai.now = then

    def told(self) -> list[tuple[str, str]]:
        """Subject and text of everything that was published since the last time."""
        found = [(str(subject), text) for _, text, subject, *_ in self.sent]
        self.sent.clear()
        return found

    def set_nodes(self, **nodes: dict[str, Any]) -> None:
        given = {
            name: {
                "model_id": f"id-{name}",
                "tournament": 8,
                "since": None,
                "cron": None,
                "job_queue": QUEUE,
                "job_queue_now": NOW_QUEUE,
                "job_definition": "numerai-node",
                "token_sha256": "0" * 64,
                **node,
            }
            for name, node in nodes.items()
        }
        item = {"pk": {"S": "nodes"}, "nodes": {"S": json.dumps(given)}}
        self.world.dynamodb.put_item(TableName=TABLE, Item=item)

    def set_secret(self, **content: str) -> None:
        keys = {"NUMERAI_PUBLIC_ID": "PUBLIC", "NUMERAI_SECRET_KEY": SECRET_KEY, "NUMERAI_NOTIFY": "none"}
        self.hold(**{**keys, **content})

    def hold(self, **fields: str) -> None:
        """Let the parameters be these and no others."""
        self.ssm.delete_parameters(Names=[f"/numerai/n/{name}" for name in FIELDS])
        for name, value in fields.items():
            self.ssm.put_parameter(Name=f"/numerai/n/{name}", Value=value, Type="SecureString")


@pytest.fixture(scope="module")
def numerai() -> Iterator[FakeNumerai]:
    numerai = FakeNumerai()
    thread = threading.Thread(target=numerai.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield numerai
    numerai.server.shutdown()
    numerai.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def handler(stand_ins: World, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load_handler("watcher", tmp_path_factory.mktemp("watcher"))


@pytest.fixture(scope="module")
def aws(stand_ins: World) -> SimpleNamespace:
    """A topic, what moto keeps of everything that was published there, and the client of the keys."""
    topic = boto3.client("sns").create_topic(Name="failures")["TopicArn"]
    sent = sns_backends[ACCOUNT][REGION].topics[topic].sent_notifications
    return SimpleNamespace(topic=topic, sent=sent, ssm=boto3.client("ssm"))


def asking(handler: ModuleType) -> ModuleType:
    """The function's module that asks Numerai."""
    return sys.modules[handler.Numerai.__module__]


@pytest.fixture
def watch(
    world: World,
    handler: ModuleType,
    numerai: FakeNumerai,
    aws: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Watched]:
    monkeypatch.setenv("KEYS_PATH", "/numerai/n/")
    monkeypatch.setenv("TOPIC", aws.topic)
    monkeypatch.setenv("GRACE_MINUTES", "10")
    monkeypatch.setenv("NUMERAI_API_URL", numerai.url)
    clock = [float(int(time.time()))]
    batch = FakeBatch(clock)
    monkeypatch.setattr(handler, "_batch", batch)
    monkeypatch.setattr(handler, "_reads", batch)
    still = SimpleNamespace(time=lambda: clock[0], monotonic=lambda: clock[0], sleep=lambda seconds: None)
    for module in (handler, asking(handler), sys.modules[handler.Telling.__module__]):
        monkeypatch.setattr(module, "time", still)
    numerai.reset()
    watched = Watched(handler, world, numerai, batch, aws.sent, aws.ssm, clock)
    watched.set_nodes(**{"numerai-alice": {}})
    watched.set_secret()
    watched.told()
    yield watched
    printed = capsys.readouterr()
    for secret in (SECRET_KEY, "hunter22"):
        assert secret not in printed.out + printed.err
    assert all(json.loads(line) for line in printed.out.splitlines())


# the run that did not come


def test_a_webhook_that_never_came_is_made_good_once(watch: Watched) -> None:
    watch.look(11)
    (given,) = watch.batch.submitted
    assert given["jobDefinition"] == "numerai-node"
    assert given["containerOverrides"] == {"environment": [{"name": OWN_TRIGGER, "value": FIRST}]}
    item = watch.world.item(f"trigger#numerai-alice#{FIRST}")
    assert item is not None
    assert item["run_id"]["S"] == "job-0"
    for minutes in (11, 16, 21, 26):
        watch.look(minutes)
    assert len(watch.batch.submitted) == 1
    assert watch.told() == []


def test_before_the_opening_nothing_is_asked_but_the_rounds(watch: Watched) -> None:
    watch.numerai.rounds[8] = [(NUMBER, OPENS)]
    watch.look(-300)
    assert [asked["variables"] for asked in watch.numerai.asked] == [ROUNDS_ASKED]
    assert watch.numerai.authorizations == [None]
    assert watch.batch.submitted == []


@pytest.mark.parametrize("minutes", [0, 9])
def test_others_have_their_time_to_start_the_run(watch: Watched, minutes: int) -> None:
    watch.look(minutes)
    assert watch.batch.submitted == []
    assert watch.told() == []


def test_a_submission_that_is_on_time_needs_nothing(watch: Watched) -> None:
    watch.numerai.hold("id-numerai-alice")
    for minutes in (11, 50, 61):
        watch.look(minutes)
    assert watch.batch.submitted == []
    assert watch.told() == []


def test_after_an_entry_on_time_numerai_is_asked_no_more_about_the_model(watch: Watched) -> None:
    watch.numerai.hold("id-numerai-alice")
    watch.look(11)
    watch.numerai.asked.clear()
    watch.look(16)
    assert [asked["variables"] for asked in watch.numerai.asked] == [ROUNDS_ASKED]


def test_a_file_without_an_entry_is_made_again_after_a_while(watch: Watched) -> None:
    watch.batch.add("numerai-alice-webhook")
    watch.batch.end(0)
    watch.numerai.hold("id-numerai-alice", "none", minutes=11)
    watch.look(16)
    assert watch.batch.submitted == []
    watch.look(21)
    assert len(watch.batch.submitted) == 1


@pytest.mark.parametrize("listed", [True, False])
def test_a_clone_of_an_earlier_file_is_told_as_covered_and_the_run_started_all_the_same(
    watch: Watched, listed: bool
) -> None:
    watch.numerai.hold("id-numerai-alice", "late", NUMBER - 1, minutes=-22 * 60, filename="yesterdays.csv")
    if not listed:
        watch.numerai.files.clear()
    watch.numerai.enter("id-numerai-alice", "on-time", NUMBER, "yesterdays.csv", "s-clone", minutes=0)
    for minutes in (11, 16):
        watch.look(minutes)
        watch.batch.end(1)
    assert len(watch.batch.submitted) == 1
    assert watch.told() == []
    for minutes in (61, 66):
        watch.look(minutes)
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} is covered by an earlier file"
    assert "exit code 1" in text


def test_after_a_clone_a_submission_of_the_round_is_on_time(watch: Watched) -> None:
    watch.numerai.hold("id-numerai-alice", "late", NUMBER - 1, minutes=-22 * 60, filename="yesterdays.csv")
    watch.numerai.hold("id-numerai-alice")
    for minutes in (11, 61):
        watch.look(minutes)
    assert watch.batch.submitted == []
    assert watch.told() == []


def test_a_submission_after_the_deadline_is_told_as_late_once(watch: Watched) -> None:
    watch.set_secret(NUMERAI_NOTIFY=NOTIFY_URL)
    watch.at(31)
    watch.batch.add("numerai-alice-webhook")
    watch.look(61)
    assert watch.told() == [], "a run over the deadline is waited for"
    watch.batch.end(69)
    watch.numerai.hold("id-numerai-alice", "late", minutes=64)
    watch.look(66)
    watch.look(71)
    ((title, _),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} was submitted late"
    assert watch.batch.submitted == [], "the run has told it itself"


def test_a_run_that_hangs_over_the_deadline_is_waited_for_half_an_hour(watch: Watched) -> None:
    watch.batch.add("numerai-alice-webhook")
    for minutes in (61, 86, 91):
        watch.look(minutes)
    assert [title for title, _ in watch.told()] == [f"numerai-alice: round {NUMBER} was missed"]


def test_what_was_submitted_for_another_round_does_not_count(watch: Watched) -> None:
    watch.numerai.hold("id-numerai-alice", number=NUMBER - 1, minutes=-22 * 60)
    watch.look(11)
    assert len(watch.batch.submitted) == 1


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE"])
def test_a_run_that_waits_for_capacity_is_replaced_by_one_on_demand(watch: Watched, status: str) -> None:
    watch.at(1)
    watch.batch.add("numerai-alice-webhook", status)
    watch.look(8)
    assert watch.batch.submitted == []
    watch.look(9)
    assert watch.batch.cancelled == ["job-0"]
    assert [given["jobQueue"] for given in watch.batch.submitted] == [NOW_QUEUE]


def test_a_run_that_does_not_get_beyond_its_start_is_left_alone_and_another_started(watch: Watched) -> None:
    """CancelJob does nothing to a job that is starting: a large image may still come, and then both run."""
    watch.at(0)
    starting = watch.batch.add("numerai-alice-webhook", "STARTING")
    watch.look(7)
    assert watch.batch.submitted == []
    watch.look(10)
    assert [given["jobQueue"] for given in watch.batch.submitted] == [NOW_QUEUE]
    assert starting["status"] == "STARTING"


def test_a_run_that_lost_its_host_and_waits_for_another_is_replaced(watch: Watched) -> None:
    """Batch repeats it on Spot again, where it may wait for ever, and keeps the time at which it first started."""
    watch.at(0)
    interrupted = watch.batch.add("numerai-alice-webhook")
    watch.look(10)
    assert watch.batch.submitted == []
    interrupted["status"] = "RUNNABLE"
    watch.look(15)
    assert [given["jobQueue"] for given in watch.batch.submitted] == [NOW_QUEUE]


def test_without_spot_capacity_a_due_run_starts_on_demand_within_ten_minutes(watch: Watched) -> None:
    """Numerai's call comes at the opening, and its run gets no capacity. The schedule wakes the watcher every 5 min."""
    watch.batch.no_spot = True
    watch.at(0)
    watch.batch.submit_job(jobName="numerai-alice-u-1", jobDefinition="numerai-node", jobQueue=QUEUE)
    for minutes in (0, 5, 10):
        watch.look(minutes)
    first, rescue = watch.batch.jobs
    assert (first["status"], rescue["status"], rescue["queue"]) == ("FAILED", "RUNNING", NOW_QUEUE)
    assert rescue["startedAt"] <= (watch.clock[0]) * 1000
    watch.at(14)
    watch.batch.end(0)
    watch.numerai.hold("id-numerai-alice", minutes=14)
    for minutes in (15, 20, 45, 61):
        watch.look(minutes)
    assert len(watch.batch.submitted) == 2 and watch.told() == [], "it is submitted inside the window"


@pytest.mark.parametrize("offset", range(5))
def test_whenever_the_schedule_wakes_it_a_waiting_run_is_replaced_at_the_next_look(watch: Watched, offset: int) -> None:
    watch.batch.no_spot = True
    watch.at(0)
    watch.batch.submit_job(jobName="numerai-alice-u-1", jobDefinition="numerai-node", jobQueue=QUEUE)
    for minutes in range(offset, 14, 5):
        watch.look(minutes)
    assert [given["jobQueue"] for given in watch.batch.submitted] == [QUEUE, NOW_QUEUE]


def test_notices_do_not_wait_for_spot_capacity(watch: Watched) -> None:
    watch.set_secret(NUMERAI_NOTIFY=NOTIFY_URL)
    watch.look(61)
    (given,) = watch.batch.submitted
    assert given["jobName"].startswith("notice-") and given["jobQueue"] == NOW_QUEUE


def test_without_the_files_a_model_that_has_no_entry_gets_another_run(watch: Watched) -> None:
    watch.at(1)
    watch.batch.add("numerai-alice-webhook")
    watch.batch.end(76)
    watch.numerai.files_fail = True
    watch.look(10)
    assert watch.batch.submitted == []
    watch.look(12)
    assert len(watch.batch.submitted) == 1
    watch.batch.end(0)
    watch.look(61)
    assert "cannot be seen" in watch.told()[0][0], "whether it is missed is not known"


def test_a_number_that_comes_again_is_another_round(watch: Watched) -> None:
    """As on this machine: its triggers go on counting, as one that was used starts nothing, and all is told anew."""
    month = 30 * 24 * 60
    for begin in (0, month):
        watch.numerai.rounds = {8: [(NUMBER, OPENS + timedelta(minutes=begin))]}
        watch.look(begin + 11)
        watch.batch.end(65)
        for minutes in (16, 61):
            watch.look(begin + minutes)
        titles = [title for title, _ in watch.told()]
        assert titles == [f"numerai-alice: round {NUMBER} {what}" for what in ("failed", "was missed")]
    given = [run["containerOverrides"]["environment"][0]["value"] for run in watch.batch.runs]
    assert given == [FIRST, f"watch-8-{NUMBER}-2"]


def test_a_record_of_before_the_opening_was_kept_stands(watch: Watched) -> None:
    watch.numerai.now = OPENS + timedelta(minutes=61)
    old = {"pk": {"S": f"watch#numerai-alice#{NUMBER}"}, "outcome": {"S": "missed"}, "reopened": {"N": "0"}}
    watch.world.dynamodb.put_item(TableName=TABLE, Item=old)
    watch.look()
    assert watch.told() == []


def test_a_deadline_that_is_put_off_opens_a_missed_round_again(watch: Watched) -> None:
    watch.look(61)
    assert [title for title, _ in watch.told()] == [f"numerai-alice: round {NUMBER} was missed"]
    watch.numerai.hours = 3
    watch.look(66)
    assert len(watch.batch.submitted) == 1
    watch.batch.end(65)
    watch.look(181)
    assert [title for title, _ in watch.told()][-1] == f"numerai-alice: round {NUMBER} was missed"


def test_a_run_that_goes_on_is_left_to_itself_and_one_that_hangs_since_yesterday_is_not(watch: Watched) -> None:
    watch.batch.add("numerai-alice-x")
    watch.look(11)
    assert watch.batch.submitted == []
    watch.batch.jobs[0]["createdAt"] -= 24 * 3600 * 1000
    watch.look(12)
    assert len(watch.batch.submitted) == 1


def test_another_nodes_runs_and_notices_are_not_taken_for_the_nodes_own(watch: Watched) -> None:
    watch.batch.add("signals-bob-x", definition="numerai-node-2")
    watch.batch.add("notice-numerai-alice-failure")
    watch.look(11)
    assert len(watch.batch.submitted) == 1


def test_runs_that_fail_are_followed_by_three_others_and_then_somebody_is_told(watch: Watched) -> None:
    watch.batch.add("numerai-alice-webhook")
    watch.batch.end(1)
    started = []
    for minutes in range(11, 50, 5):
        before = len(watch.batch.submitted)
        watch.look(minutes)
        watch.batch.end(1)
        started += [minutes] * (len(watch.batch.submitted) - before)
    assert started == [11, 31, 41], "a third of what was left of the window after each"
    triggers = [given["containerOverrides"]["environment"][0]["value"] for given in watch.batch.submitted]
    assert triggers == [f"watch-8-{NUMBER}-{number}" for number in (1, 2, 3)]
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} has no submission"
    assert "has triggered it 3 times, which is the limit. Run job-3 failed with exit code 1." in text


@pytest.mark.slow
def test_the_tries_of_a_long_window_go_on_into_its_second_half(watch: Watched) -> None:
    watch.numerai.hours, watch.numerai.rounds[8] = 26, [(NUMBER, OPENS)]
    watch.batch.add("numerai-alice-webhook")
    started = []
    for minutes in range(11, 26 * 60, 15):
        watch.batch.end(1)
        before = len(watch.batch.submitted)
        watch.look(minutes)
        started += [minutes] * (len(watch.batch.submitted) - before)
    assert started == [11, 41, 101, 221, 461, 836], "pauses of 30 min, 1 h, 2 h, 4 h, then a third of what was left"
    ((_, text),) = watch.told()
    assert "has triggered it 3 times, and goes on with longer pauses. Run job-3 failed with exit code 1." in text


def test_one_failure_of_batch_does_not_hide_the_runs(handler: ModuleType) -> None:
    """Seen from the answers on the wire, since only the SDK's own client repeats a call."""
    statuses = [500, 200]

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(
            request.url, statuses.pop(0), {}, SimpleNamespace(stream=lambda: iter([b'{"jobSummaryList": []}']))
        )

    handler._reads.meta.events.register_first("before-send.batch.ListJobs", answer)
    try:
        assert handler._reads.list_jobs(jobQueue="queue")["jobSummaryList"] == []
    finally:
        handler._reads.meta.events.unregister("before-send.batch.ListJobs", answer)
    assert statuses == []


def test_a_run_that_was_started_a_moment_ago_counts_before_batch_lists_it(watch: Watched) -> None:
    watch.look(11)
    watch.batch.jobs.clear()
    watch.look(11)
    assert len(watch.batch.submitted) == 1


@pytest.mark.parametrize("code", [65, 78])
def test_what_would_end_the_same_way_is_not_repeated_but_told_at_once(watch: Watched, code: int) -> None:
    watch.batch.add("numerai-alice-webhook")
    watch.batch.end(code)
    for minutes in (11, 16, 46):
        watch.look(minutes)
    assert watch.batch.submitted == []
    ((_, text),) = watch.told()
    assert f"exit code {code}" in text
    assert "is not tried again" in text


@pytest.mark.parametrize(("after", "started"), [(-60, 0), (60, 1)])
def test_a_deploy_after_a_hopeless_run_is_tried(watch: Watched, after: float, started: int) -> None:
    watch.batch.add("numerai-alice-webhook")
    watch.batch.end(65)
    deployed = {"pk": {"S": deployment_key("numerai-alice")}, "deployed_at": {"N": str(watch.clock[0] + after)}}
    watch.world.dynamodb.put_item(TableName=TABLE, Item=deployed)
    watch.look(16)
    assert len(watch.batch.submitted) == started


def test_a_node_without_an_image_is_not_started_again(watch: Watched) -> None:
    job = watch.batch.add("numerai-alice-webhook")
    watch.batch.end(None)
    job["container"] = {"reason": "CannotPullContainerError: manifest unknown"}
    job["statusReason"] = "Task failed to start"
    watch.look(16)
    assert watch.batch.submitted == []
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} failed"
    assert "Batch says: CannotPullContainerError: manifest unknown Task failed to start" in text


@pytest.mark.parametrize(("code", "started"), [(69, 1), (73, 1), (76, 0)])
def test_after_an_unconfirmed_run_numerai_has_time_to_confirm_it(watch: Watched, code: int, started: int) -> None:
    watch.batch.add("numerai-alice-webhook")
    watch.batch.end(code)
    watch.numerai.hold("id-numerai-alice", "none", minutes=11)
    watch.look(12)
    assert len(watch.batch.submitted) == started


def test_a_bad_test_before_the_opening_says_nothing_of_the_round(watch: Watched) -> None:
    watch.batch.add("numerai-alice-by-hand", age=20 * 60)
    watch.batch.end(65)
    watch.look(11)
    assert len(watch.batch.submitted) == 1


def test_a_run_made_by_hand_after_a_bad_one_is_what_counts(watch: Watched) -> None:
    watch.batch.add("numerai-alice-webhook", age=300)
    watch.batch.end(65)
    watch.batch.add("numerai-alice-by-hand")
    watch.batch.end(None)
    watch.look(11)
    assert len(watch.batch.submitted) == 1


def test_a_node_that_is_configured_shortly_before_the_deadline_is_watched_from_the_next_round_on(
    watch: Watched,
) -> None:
    watch.at(46)
    watch.set_nodes(**{"numerai-alice": {"since": datetime.fromtimestamp(watch.clock[0], timezone.utc).isoformat()}})
    watch.look(51)
    watch.look(61)
    assert watch.batch.submitted == []
    assert watch.told() == []
    watch.set_nodes(**{"numerai-alice": {"since": "2020-01-06T12:00:00Z"}})
    watch.numerai.rounds[8].append((NUMBER + 1, OPENS + timedelta(days=1)))
    watch.look(24 * 60 + 11)
    assert len(watch.batch.submitted) == 1


def test_a_node_that_is_configured_while_a_round_is_open_is_watched_in_it(watch: Watched) -> None:
    watch.at(20)
    watch.set_nodes(**{"numerai-alice": {"since": datetime.fromtimestamp(watch.clock[0], timezone.utc).isoformat()}})
    watch.look(29)
    assert watch.batch.submitted == [], "others have their time to start it"
    watch.look(31)
    assert len(watch.batch.submitted) == 1


MOVING = {"moving": True, "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}


@pytest.mark.parametrize("called", ["https://old.lambda-url.us-east-1.on.aws/", "https://[", None])
def test_a_node_that_is_being_moved_here_is_left_to_what_numerai_calls(watch: Watched, called: str | None) -> None:
    """Else it would run twice, and what is deployed here may not have been proven."""
    watch.set_nodes(**{"numerai-alice": MOVING, "numerai-bob": {}})
    watch.numerai.models = [{"id": "id-numerai-alice", "submissionWebhook": called}]
    for minutes in (11, 31, 46, 61):
        watch.look(minutes)
    assert {given["jobName"].split("-")[1] for given in watch.batch.submitted} == {"bob"}
    assert not [title for title, _ in watch.told() if "alice" in title]
    asked = [each for each in watch.numerai.asked if "submissionWebhook" in each["query"]]
    assert len(asked) == 4, "once a look"


def test_a_node_that_numerai_calls_here_by_now_is_followed_as_any_other(watch: Watched) -> None:
    watch.set_nodes(**{"numerai-alice": MOVING})
    watch.numerai.models = [{"id": "id-numerai-alice", "submissionWebhook": None}]
    watch.look(11)
    assert watch.batch.submitted == []
    watch.numerai.models = [
        {"id": "id-numerai-alice", "submissionWebhook": f"https://new.on.aws/numerai-alice/{TOKEN}"}
    ]
    watch.look(16)
    assert len(watch.batch.submitted) == 1


def test_a_moved_node_with_a_schedule_here_is_followed(watch: Watched) -> None:
    """It gets the schedule once it is deployed here; Numerai calls nobody for it."""
    watch.set_nodes(**{"numerai-alice": {**MOVING, "cron": "5 12 ? * TUE *"}})
    watch.look(16)
    assert len(watch.batch.submitted) == 1


def test_while_numerai_does_not_say_whom_it_calls_a_node_that_is_being_moved_is_left_alone(watch: Watched) -> None:
    watch.set_nodes(**{"numerai-alice": MOVING})
    watch.numerai.models = [
        {"id": "id-numerai-alice", "submissionWebhook": f"https://new.on.aws/numerai-alice/{TOKEN}"}
    ]
    watch.look(8)
    rounds = watch.numerai.data
    watch.numerai.data = lambda asked: {} if "submissionWebhook" in asked["query"] else rounds(asked)  # type: ignore
    watch.look(11)
    assert watch.batch.submitted == [] and watch.told() == []
    watch.look(50)
    ((title, _),) = watch.told()
    assert watch.batch.submitted == [] and "numerai-alice" in title, "as of any node in an outage"
    del watch.numerai.data
    watch.look(55)
    assert len(watch.batch.submitted) == 1


@pytest.mark.parametrize(
    ("cron", "waits", "starts"),
    [
        ("25 12 ? * TUE-FRI *", 34, 35),
        ("25 12,13 ? * 3 2026", 34, 35),
        ("0/25 12 6 JAN ? *", 9, 10),
        ("50 12 ? * TUE-FRI *", 9, 10),  # too late to be waited for
        ("0 6 * * ? *", 9, 10),  # before the opening: its run had nothing to submit
        ("25 12 ? * 3#1 *", 29, 30),  # not read: half an hour before the close
    ],
)
def test_a_schedule_of_its_own_has_its_time_first(watch: Watched, cron: str, waits: int, starts: int) -> None:
    watch.set_nodes(**{"numerai-alice": {"cron": cron}})
    watch.look(waits)
    assert watch.batch.submitted == []
    watch.look(starts)
    assert len(watch.batch.submitted) == 1


def test_a_scheduled_run_that_fails_at_the_weekend_is_made_good_at_once(watch: Watched) -> None:
    watch.numerai.hours, watch.numerai.rounds[8] = 26, [(NUMBER, OPENS)]
    watch.set_nodes(**{"numerai-alice": {"cron": "0 13 ? * * *"}})
    watch.at(61)
    watch.batch.add("numerai-alice-scheduled")
    watch.batch.end(1)
    watch.look(66)
    assert watch.batch.submitted == []
    watch.look(71)
    assert len(watch.batch.submitted) == 1


def test_a_grace_that_is_long_still_leaves_half_of_the_window(watch: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRACE_MINUTES", "45")
    watch.look(29)
    assert watch.batch.submitted == []
    watch.look(31)
    assert len(watch.batch.submitted) == 1


schedules = st.tuples(
    *[
        st.one_of(
            st.just("*"),
            st.integers(low, high).map(str),
            st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}"),
            st.integers(1, high).map(lambda step: f"*/{step}"),
        )
        for low, high in ((0, 59), (0, 23), (1, 31), (1, 12))
    ]
)


@pytest.mark.slow
@settings(max_examples=50)
@given(fields=schedules)
def test_schedules_are_read_as_the_tool_reads_them(fields: tuple[str, ...]) -> None:
    text = " ".join([*fields, "*"])
    begin = datetime(2026, 1, 10, 12, tzinfo=timezone.utc)
    end = begin + timedelta(hours=26)
    try:
        found = next_occurrence(text, begin - timedelta(seconds=1))
    except UsageError:
        return
    expected = found if found < end else None
    assert first_occurrence(aws_cron(text), begin, end) == expected


def test_every_tournament_has_its_rounds(watch: Watched) -> None:
    bob = {"tournament": 11, "job_definition": "numerai-bob"}
    carol = {"tournament": 12, "job_definition": "numerai-carol"}
    watch.set_nodes(**{"numerai-alice": {}, "signals-bob": bob, "crypto-carol": carol})
    watch.numerai.rounds[12] = [(7, OPENS)]
    assert watch.look(11) == {"nodes": 3}
    triggers = {given["containerOverrides"]["environment"][0]["value"] for given in watch.batch.submitted}
    assert triggers == {FIRST, "watch-12-7-1"}


def test_a_cluster_without_nodes_asks_nothing(watch: Watched) -> None:
    watch.world.dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": "nodes"}})
    assert watch.look(11) == {"nodes": 0}
    assert watch.numerai.asked == []


# exactly once


def test_a_run_that_submits_and_ends_while_numerai_is_asked_is_not_started_again(
    watch: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.batch.add("numerai-alice-webhook")
    data = watch.numerai.data

    def slow(asked: dict[str, Any]) -> dict[str, Any]:
        found = data(asked)
        if "submissions" in asked["query"]:
            watch.numerai.hold("id-numerai-alice")
            watch.batch.end(0)
        return found

    monkeypatch.setattr(watch.numerai, "data", slow)
    watch.look(16)
    watch.look(21)
    assert watch.batch.submitted == []


def test_a_call_of_the_webhook_counts_before_its_run_is_listed(watch: Watched) -> None:
    watch.world.set_nodes({"numerai-alice": TOKEN})
    assert watch.world.call()[0] == 200
    watch.set_nodes(**{"numerai-alice": {}})
    watch.look(11)
    assert watch.batch.submitted == []
    watch.look(16)
    assert len(watch.batch.submitted) == 1


def test_a_job_that_was_submitted_without_an_answer_is_found(watch: Watched) -> None:
    watch.batch.lose = ReadTimeoutError(endpoint_url="https://batch")
    with pytest.raises(watch.handler.WatchFailed, match="numerai-alice: ReadTimeoutError"):
        watch.look(11)
    watch.batch.jobs[0]["jobDefinition"] = "arn:x:job-definition/not-listed-yet:1"
    watch.look(11)
    assert len(watch.batch.submitted) == 1
    item = watch.world.item(f"trigger#numerai-alice#{FIRST}")
    assert item is not None
    assert item["run_id"]["S"] == "job-0"


def test_a_refused_job_fails_the_call_and_the_next_one_starts_it(watch: Watched) -> None:
    watch.set_nodes(**{"numerai-alice": {}, "numerai-bob": {}})
    watch.batch.fail = ClientError({"Error": {"Code": "AccessDeniedException"}}, "SubmitJob")
    with pytest.raises(watch.handler.WatchFailed, match="numerai-alice: SubmitJob: AccessDeniedException"):
        watch.look(11)
    assert [given["jobName"].rpartition("-")[0] for given in watch.batch.submitted] == ["numerai-bob"]
    watch.batch.jobs[0]["jobDefinition"] = "arn:x:job-definition/of-bob:1"
    watch.look(11)
    assert [given["jobName"].rpartition("-")[0] for given in watch.batch.submitted] == ["numerai-bob", "numerai-alice"]


@pytest.mark.parametrize(("age", "started"), [(0, 0), (3600, 1)])
def test_a_claim_of_another_call_holds_as_long_as_that_can_live(watch: Watched, age: float, started: int) -> None:
    claimed = {"pk": {"S": f"trigger#numerai-alice#{FIRST}"}, "claimed_at": {"N": str(watch.clock[0] - age)}}
    watch.world.dynamodb.put_item(TableName=TABLE, Item=claimed)
    watch.look(11)
    assert len(watch.batch.submitted) == started


def test_a_watcher_that_calls_the_webhook_starts_the_same_run(watch: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.look(11)
    watch.world.set_nodes({"numerai-alice": TOKEN})
    status, answer, _ = watch.world.call(body={"triggerId": FIRST})
    assert (status, answer["runId"]) == (200, "job-0")
    second = f"watch-8-{NUMBER}-2"
    (asked, run) = watch.world.call(body={"triggerId": second})[:2]
    assert asked == 200
    details = watch.world.batch.describe_jobs(jobs=[run["runId"]])["jobs"][0]
    assert {"name": OWN_TRIGGER, "value": second} in details["container"]["environment"]
    assert "TRIGGER_ID" not in {entry["name"] for entry in details["container"]["environment"]}
    assert details["jobName"] == calls.job_name("numerai-alice", second)
    assert watch.batch.submitted[0]["jobName"] == calls.job_name("numerai-alice", FIRST)


# who is told


def test_before_the_deadline_people_are_told_once_and_after_it_that_the_round_was_missed(watch: Watched) -> None:
    watch.batch.add("numerai-alice-x")
    watch.look(44)
    assert watch.told() == []
    for minutes in (45, 49, 54, 59):
        watch.look(minutes)
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} has no submission yet"
    assert "The deadline is 13:00 UTC. Nothing is on time yet. Run job-0 goes on." in text
    watch.batch.end(None)
    for minutes in (61, 66, 71):
        watch.look(minutes)
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} was missed"
    assert "Run job-0 failed." in text
    assert "`numerai node -m numerai-alice logs`" in text, "a model of that name may be in another tournament, too"
    assert watch.batch.submitted == [], "after the deadline nothing is started"


def test_what_an_earlier_version_remembered_is_no_obstacle(watch: Watched) -> None:
    numbers = {"number": NUMBER - 1, "opens": 0, "closes": 0, "judged": NUMBER - 1, "deaf_since": 1767600000}
    item = {name: {"N": str(number)} for name, number in numbers.items()}
    watch.world.dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "round#8"}, **item})
    told = {"pk": {"S": f"notice#numerai-alice#{NUMBER}#failure"}, "claimed_at": {"N": "1"}, "done_at": {"N": "2.5"}}
    watch.world.dynamodb.put_item(TableName=TABLE, Item=told)
    watch.look(11)
    assert len(watch.batch.submitted) == 1
    watch.batch.end(65)
    watch.look(16)
    assert watch.told() == [], "an earlier version has told it"
    watch.look(61)
    assert len(watch.told()) == 1
    item = watch.world.item("round#8") or {}
    assert set(item) == {"pk", "latest", "judged", "expires_at"}


def test_a_round_is_judged_once_after_its_close(watch: Watched) -> None:
    watch.look(61)
    assert [title for title, _ in watch.told()] == [f"numerai-alice: round {NUMBER} was missed"]
    watch.numerai.asked.clear()
    watch.look(66)
    assert len(watch.numerai.asked) == 1


def test_a_close_that_nobody_could_look_at_is_judged_when_the_next_round_is_there(watch: Watched) -> None:
    watch.look(5)
    watch.numerai.rounds[8].append((NUMBER + 1, OPENS + timedelta(days=1)))
    watch.look(24 * 60 + 5)
    assert [title for title, _ in watch.told()] == [f"numerai-alice: round {NUMBER} was missed"]
    assert watch.batch.submitted == []


def test_a_notice_also_goes_out_from_the_nodes_own_image(watch: Watched) -> None:
    watch.set_secret(NUMERAI_NOTIFY=NOTIFY_URL)
    for minutes in (61, 66):
        watch.look(minutes)
    ((title, text),) = watch.told()
    (given,) = watch.batch.submitted
    assert given["jobName"] == "notice-numerai-alice-missed"
    command = given["containerOverrides"]["command"]
    assert command == ["python", "-m", "numerai_node", "notify", "missed", title, text]
    assert NOTIFY_URL not in str(given)


def test_a_notice_that_could_not_be_published_is_published_by_the_next_call(
    watch: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = watch.handler.os.environ["TOPIC"]
    monkeypatch.setenv("TOPIC", f"{topic}-gone")
    with pytest.raises(watch.handler.WatchFailed, match="Publish"):
        watch.look(61)
    monkeypatch.setenv("TOPIC", topic)
    watch.look(66)
    watch.look(71)
    assert len(watch.told()) == 1


def test_a_run_that_cannot_be_started_is_told_before_the_close(watch: Watched) -> None:
    refusal = ClientError({"Error": {"Code": "AccessDeniedException"}}, "SubmitJob")
    for minutes in range(11, 60, 5):
        watch.batch.fail = refusal
        with pytest.raises(watch.handler.WatchFailed, match="numerai-alice: SubmitJob: AccessDenied"):
            watch.look(minutes)
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} cannot be triggered"
    assert "SubmitJob: AccessDeniedException" in text


def test_a_topic_that_takes_nothing_does_not_keep_the_run_from_telling(
    watch: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.set_secret(NUMERAI_NOTIFY=NOTIFY_URL)
    monkeypatch.setenv("TOPIC", watch.handler.os.environ["TOPIC"] + "-gone")
    for minutes in (61, 66):
        with pytest.raises(watch.handler.WatchFailed, match="Publish"):
            watch.look(minutes)
    assert [given["jobName"] for given in watch.batch.submitted] == ["notice-numerai-alice-missed"]


def test_what_aws_does_not_say_is_told_near_the_close(watch: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListJobs")

    monkeypatch.setattr(watch.batch, "get_paginator", denied)
    for minutes in (11, 46, 51):
        with pytest.raises(watch.handler.WatchFailed, match="numerai-alice: ListJobs: AccessDenied"):
            watch.look(minutes)
    ((_, text),) = watch.told()
    assert "ListJobs: AccessDeniedException" in text
    watch.numerai.hold("id-numerai-alice")
    assert watch.look(56) == {"nodes": 1}


# Numerai fails


def broken(status: int = 503, body: bytes = b"", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    return status, body, headers


@pytest.mark.parametrize(
    "answer",
    [
        broken(),
        broken(429, b"", **{"Retry-After": "3600"}),
        broken(200, b"<html>"),
        broken(200, b"[]"),
        broken(200, b'{"data": null}'),
        broken(200, b'{"data": {}}'),
        broken(200, b'{"data": {"rounds": 5}}'),
        broken(200, b'{"data": {"rounds": [{"number": "x"}]}}'),
        broken(404, b"not here"),
        broken(401, b"{}"),
        broken(302, b"", Location="http://127.0.0.1:1/"),
    ],
)
def test_an_outage_starts_nothing_and_is_over_at_the_next_call(watch: Watched, answer: Any, capsys: Any) -> None:
    watch.numerai.broken = [answer] * 3
    watch.look(11)
    assert watch.batch.submitted == []
    assert watch.told() == []
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["watch"] == "tournament-8"
    assert "asking for the round failed" in line["cause"] or "Numerai refused the keys" in line["cause"]
    watch.numerai.broken.clear()
    watch.look(16)
    assert len(watch.batch.submitted) == 1


def test_what_passes_within_a_call_does_not_even_cost_the_call(watch: Watched) -> None:
    watch.numerai.broken = [broken(), broken(502)]
    watch.look(11)
    assert len(watch.batch.submitted) == 1


def test_two_lookups_in_a_row_that_fail_end_the_look_at_the_round(watch: Watched) -> None:
    watch.set_nodes(**{f"numerai-n{number}": {"job_definition": f"n{number}"} for number in range(5)})
    watch.numerai.fails = {"id-numerai-n1", "id-numerai-n2"}
    watch.look(46)
    asked = {asked["variables"].get("modelId") for asked in watch.numerai.asked}
    assert asked == {None, "id-numerai-n0", "id-numerai-n1", "id-numerai-n2"}
    assert [given["jobDefinition"] for given in watch.batch.submitted] == ["n0"]
    unseen = [title for title, _ in watch.told() if "cannot be seen" in title]
    assert unseen == [f"numerai-n{number}: round {NUMBER} cannot be seen" for number in (1, 2, 3, 4)]


def test_a_lookup_that_fails_takes_nothing_from_the_other_nodes(watch: Watched) -> None:
    watch.set_nodes(**{f"numerai-n{number}": {"job_definition": f"n{number}"} for number in range(3)})
    watch.numerai.fails = {"id-numerai-n0"}
    watch.look(11)
    assert [given["jobDefinition"] for given in watch.batch.submitted] == ["n1", "n2"]
    watch.look(46)
    unseen = [title for title, _ in watch.told() if "cannot be seen" in title]
    assert unseen == [f"numerai-n0: round {NUMBER} cannot be seen"]
    watch.numerai.fails.clear()
    watch.look(51)
    assert watch.told() == [], "one notice of failure for a node and a round is enough"
    watch.batch.end(1)
    watch.look(61)
    assert len(watch.told()) == 3


def test_a_call_that_runs_out_of_time_still_tells_whom_it_has_not_looked_at(
    watch: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.set_nodes(**{f"numerai-n{number}": {"job_definition": f"n{number}"} for number in range(3)})
    list_jobs, passed = watch.batch.get_paginator, [0.0]

    def slow(operation: str) -> Any:
        passed[0] += 0.7 * asking(watch.handler).CALL_SECONDS
        return list_jobs(operation)

    monkeypatch.setattr(watch.batch, "get_paginator", slow)
    monkeypatch.setattr(watch.handler.time, "monotonic", lambda: watch.clock[0] + passed[0])
    watch.look(46)
    (own, _), *others = watch.told()
    assert own == f"numerai-n0: round {NUMBER} has no submission yet"
    assert [title for title, _ in others] == [f"numerai-n{number}: round {NUMBER} cannot be seen" for number in (1, 2)]
    assert all("there was no time left" in text for _, text in others)
    assert len(watch.batch.submitted) == 1


def test_nobody_who_listens_is_an_outage(watch: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMERAI_API_URL", "http://127.0.0.1:9/")
    watch.look(11)
    assert watch.batch.submitted == []


def test_an_outage_near_the_close_is_told_once(watch: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    opens = datetime.now(timezone.utc) - timedelta(minutes=50)  # without an answer there is only this machine's clock
    watch.numerai.rounds[8] = [(NUMBER, opens)]
    watch.numerai.now = opens + timedelta(minutes=5)
    watch.look()
    watch.numerai.now = opens + timedelta(minutes=50)
    watch.numerai.broken = [broken()] * 100
    for _ in range(3):
        watch.look()
    ((title, text),) = watch.told()
    assert title == f"numerai-alice: round {NUMBER} cannot be seen"
    assert "503" in text


@pytest.mark.parametrize("answer", [broken(403, b"<html>blocked"), broken(200, b'{"data": {"rounds": []}}')])
def test_a_watcher_that_never_hears_of_rounds_says_so_once_a_day(watch: Watched, answer: Any) -> None:
    watch.clock[0] = watch.numerai.now.timestamp()  # without an answer there is only this machine's clock
    watch.numerai.broken = [answer] * 1000
    for minutes in range(-360, 0, 60):
        watch.look(minutes)
    assert watch.told() == []
    for minutes in range(0, 24 * 60, 60):
        watch.look(minutes)
    told = watch.told()
    assert [title for title, _ in told] == ["No round of tournament 8 is followed"] * 2
    assert "since 2026-01-06 06:00 UTC" in told[1][1]


def test_an_outage_that_ends_is_forgotten(watch: Watched) -> None:
    watch.numerai.hold("id-numerai-alice", number=NUMBER - 1, minutes=-24 * 60)
    for minutes in (-180, -120, -60):
        watch.at(minutes)
        watch.numerai.broken = [broken()] * 3
        watch.look()
        watch.look(minutes + 20)
    assert watch.told() == []


@pytest.mark.parametrize("message", ["Your session is invalid", f"no such key PUBLIC${SECRET_KEY}"])
def test_keys_that_are_refused_are_told_near_the_close(watch: Watched, message: str) -> None:
    def refuse() -> None:
        true = watch.numerai.data({"query": "rounds", "variables": {"tournament": 8}})
        refusal = json.dumps({"errors": [{"message": message}]}).encode()
        watch.numerai.broken = [broken(200, json.dumps({"data": true}).encode()), *[broken(400, refusal)] * 3]

    refuse()
    watch.look(11)
    assert watch.told() == []
    for _ in range(2):
        refuse()
        watch.look(46)
    ((_, text),) = watch.told()
    assert "Numerai refused the keys" in text or "Numerai says: no such key PUBLIC$***" in text
    assert SECRET_KEY not in text
    assert watch.batch.submitted == []


@pytest.mark.parametrize(
    "fields", [{}, {"NUMERAI_PUBLIC_ID": "PUBLIC"}, {"NUMERAI_PUBLIC_ID": "a b", "NUMERAI_SECRET_KEY": SECRET_KEY}]
)
def test_keys_that_are_not_there_are_told_near_the_close(watch: Watched, fields: dict[str, str]) -> None:
    watch.hold(**fields)
    watch.look(11)
    watch.look(46)
    ((_, text),) = watch.told()
    assert "not in the Parameter Store: `numerai node config`" in text


def test_the_keys_go_nowhere_else(watch: Watched) -> None:
    elsewhere = FakeNumerai()
    thread = threading.Thread(target=elsewhere.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    true = watch.numerai.data({"query": "rounds", "variables": {"tournament": 8}})
    watch.numerai.broken = [
        broken(200, json.dumps({"data": true}).encode()),
        broken(302, b"", Location=elsewhere.url),
        broken(307, b"", Location=elsewhere.url),
    ]
    watch.look(11)
    watch.look(11)
    elsewhere.server.shutdown()
    elsewhere.server.server_close()
    thread.join()
    assert elsewhere.asked == []
    assert elsewhere.authorizations == []


def test_what_aws_refuses_fails_the_call(watch: Watched) -> None:
    watch.world.dynamodb.delete_table(TableName=TABLE)
    with pytest.raises(ClientError):
        watch.look(11)


# whatever comes

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
times = st.sampled_from(["2026-01-06T12:00:00Z", "2026-01-06 13:00", "9999-12-31T23:59:59Z", "", "soon"]) | json_values
round_rows = st.fixed_dictionaries(
    {"number": json_values, "openTime": times, "closeStakingTime": times, "closeTime": times}
)
entry_rows = st.fixed_dictionaries(
    {
        "id": json_values,
        "roundNumber": st.just(NUMBER) | json_values,
        "status": st.sampled_from(["on-time", "late", "queued", "none"]) | json_values,
        "filename": json_values,
        "timestamp": times,
    }
)
file_rows = st.fixed_dictionaries(
    {
        "id": json_values,
        "filename": json_values,
        "triggerId": json_values,
        "insertedAt": times,
        "round": st.just({"number": NUMBER}) | json_values,
    }
)
contents = st.one_of(
    json_values,
    st.builds(lambda rows: {"data": {"rounds": rows}}, st.lists(round_rows | json_values, max_size=3) | json_values),
    st.builds(lambda rows: {"data": {"submissions": rows}}, st.lists(file_rows | json_values, max_size=3)),
    st.builds(
        lambda rows: {"data": {"model": {"latestSubmissions": rows}}},
        st.lists(entry_rows | json_values, max_size=3) | json_values,
    ),
    st.builds(lambda errors: {"errors": errors}, json_values),
)
bodies = st.binary(max_size=100) | contents.map(lambda content: json.dumps(content).encode())
dates = st.sampled_from(
    ["", "Tue, 06 Jan 2026 12:30:00 GMT", "Tue, 06 Jan 2026 13:30:00 GMT", "soon", "Mon, 1 Jan 1 0:0:0"]
)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    event=json_values,
    answers=st.lists(st.tuples(bodies, dates, st.booleans()), min_size=1, max_size=4),
    true_rounds=st.booleans(),
)
def test_nothing_that_comes_breaks_it(watch: Watched, event: Any, answers: Any, true_rounds: bool) -> None:
    rounds = {"data": watch.numerai.data({"query": "rounds", "variables": {"tournament": 8}})}
    first = [broken(200, json.dumps(rounds).encode())] if true_rounds else []
    given = [
        broken(200, body, **({"Date": date} if date else {}), **({"Content-Length": "9999"} if breaks else {}))
        for body, date, breaks in answers
    ]
    watch.at(30)
    watch.numerai.broken = [*first, *given, *given[-1:] * 20]
    watch.batch.jobs.clear()
    watch.batch.submitted.clear()
    for key in (f"trigger#numerai-alice#{FIRST}", f"watch#numerai-alice#{NUMBER}", "round#8"):
        watch.world.dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": key}})
    assert watch.look(event=event) == {"nodes": 1}
    assert len(watch.batch.runs) <= 1


def test_the_tool_and_the_functions_use_the_same_names() -> None:
    assert calls.is_own(FIRST)
    kinds = set(re.findall(r'(?:_telling\(.*|Notice\()"([a-z]+)", f?"', inspect.getsource(policy)))
    assert {"failure", "late", "missed", "covered"} <= kinds <= {kind.value for kind in NoticeKind}
