"""The contract suite of `ports.Provider`: what every provider must do, whatever it runs nodes on.

A provider's test module subclasses `ProviderContract` and gives a fixture `bench`.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Node, Run, RunFailure, RunState
from numerai_compute.ports import ChecksDeploys, KeepsArtifacts, Provider, RunsWithoutSubmitting, TrainsModels
from numerai_compute.usecases.inspect import changed_since_deploy
from numerai_compute.usecases.sent import sent_csv

from tests.present import present

PATIENCE = 60.0

HELLO = """
import json, os
names = ("NUMERAI_", "MODEL_ID", "TRIGGER_ID")
shown = {k: v for k, v in os.environ.items() if k.startswith(names) and "KEY" not in k and "PUBLIC" not in k}
print(json.dumps(shown))
print("has keys:", len(os.environ["NUMERAI_PUBLIC_ID"]) > 9 and len(os.environ["NUMERAI_SECRET_KEY"]) > 9)
print("leak:", os.environ["NUMERAI_SECRET_KEY"])
for name in ("NUMERAI_ARTIFACTS", "NUMERAI_CACHE"):
    with open(os.path.join(os.environ[name], "file"), "w") as file:
        file.write("x")
for number in range(200):
    print("line", number)
print("last without newline", end="")
"""
WAIT = """
import os, time
print("ready", flush=True)
while not os.path.exists(os.path.join(os.environ["NUMERAI_ARTIFACTS"], "go")):
    time.sleep(0.05)
print("released")
"""
TERMINATED = """
import signal, sys, time
def stop(number, frame):
    print("terminated", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""
TRAINS = """
import os, sys
sys.exit(0 if os.environ.get("NUMERAI_TRAIN") == os.environ.get("NUMERAI_NO_SUBMIT") == "1" else 1)
"""
WAIT_TO_TRAIN = f"""
import os, sys
if "NUMERAI_TRAIN" not in os.environ:
    sys.exit(0)
{WAIT}
"""
SEND = """
import gzip, os
run_id = os.environ.get("NUMERAI_RUN_ID") or os.environ["AWS_BATCH_JOB_ID"]
folder = os.environ["NUMERAI_ARTIFACTS"] + "/sent"
if "://" not in folder:
    os.makedirs(folder, exist_ok=True)
with open(f"{folder}/{run_id}.csv.gz", "wb") as file:
    file.write(gzip.compress(b"id,prediction\\nn1,0.5\\n"))
"""
"""What numerai_node's kept.py does with what it has sent."""
EAT_MEMORY = """
print("ready", flush=True)
held = []
while True:
    held.append(bytearray(16 * 1024 * 1024))
    held[-1][::4096] = b"x" * len(held[-1][::4096])
"""
THIRD_TIME = """
import os, sys
path = os.path.join(os.environ["NUMERAI_ARTIFACTS"], "tries")
tries = (int(open(path).read()) if os.path.exists(path) else 0) + 1
with open(path, "w") as file:
    file.write(str(tries))
print("try", tries)
sys.exit(0 if tries == 3 else 75)
"""


class Bench(Protocol):
    """What a provider's test module gives to the suite."""

    @property
    def provider(self) -> Provider:
        """The provider under test."""

    @property
    def secret(self) -> str:
        """The secret key of its account."""

    def node(self, script: str, **changes: Any) -> Node:
        """A node of its own, not configured yet, whose container runs this Python script."""

    def rewrite(self, node: Node, script: str) -> None:
        """Change the node's script."""

    def break_build(self, node: Node) -> None:
        """Let the next build of the node fail."""

    def release(self, node: Node, run: Run) -> None:
        """Put a file `go` into the artifacts folder of a run that goes on."""

    def lose_image(self, node: Node) -> None:
        """Remove what was deployed, behind the provider's back."""

    def traces(self, node: Node) -> list[str]:
        """Whatever the provider still holds for the node."""


AnyBench = TypeVar("AnyBench", bound=Bench)


@dataclass(frozen=True)
class Answer:
    """What a webhook answered."""

    status: int
    kind: str
    content: dict[str, str]


def call(url: str, body: bytes = b"", method: str = "POST", headers: dict[str, str] | None = None) -> Answer:
    """One request to a webhook."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, parts.path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers.get_content_type(), json.loads(response.read() or b"{}"))
    finally:
        connection.close()


def webhook(node: Node) -> str:
    """The address that a configured node's webhook has."""
    return present(node.webhook_url)


def trigger(url: str, trigger_id: str) -> Answer:
    """A request as Numerai makes it."""
    return call(url, json.dumps({"triggerId": trigger_id}).encode(), headers={"Content-Type": "application/json"})


def ended(provider: Provider, run_id: str) -> Run:
    """The run, once it has ended."""
    for _ in provider.logs(run_id, follow=True):
        pass
    return provider.run(run_id)


def until_line(provider: Provider, run_id: str, text: str) -> None:
    """Return when the run has printed a line."""
    for line in provider.logs(run_id, follow=True):
        if line.text == text:
            return
    raise AssertionError(f"{text!r} was not printed: {provider.run(run_id)}")


def texts(provider: Provider, run_id: str) -> list[str]:
    """What a run has printed."""
    return [line.text for line in provider.logs(run_id)]


def quiet(line: str) -> None:
    """Takes progress and shows it to nobody."""


class ProviderContract(Generic[AnyBench]):
    """The tests; `bench` gives the provider, which is awake."""

    @pytest.fixture
    def bench(self) -> Iterator[AnyBench]:
        """Overridden by the provider's own module."""
        raise NotImplementedError

    def ready(self, bench: AnyBench, script: str, **changes: Any) -> Node:
        """A configured and deployed node."""
        node = bench.provider.configure(bench.node(script, **changes), quiet)
        bench.provider.deploy(node, force=False, report=quiet)
        return node

    def test_configure_is_idempotent(self, bench: AnyBench) -> None:
        node = bench.node(HELLO)
        first = bench.provider.configure(node, quiet)
        again = bench.provider.configure(first, quiet)
        assert first == again
        assert first.webhook_url is not None
        assert len(first.webhook_url.rpartition("/")[2]) >= 32

    def test_deploy_builds_only_what_has_changed(self, bench: AnyBench) -> None:
        node = bench.provider.configure(bench.node(HELLO), quiet)
        assert bench.provider.deployment(node.name) is None
        first = bench.provider.deploy(node, force=False, report=quiet)
        assert first.changed
        assert first.source_hash == bench.provider.source_hash(node)
        again = bench.provider.deploy(node, force=False, report=quiet)
        assert not again.changed
        assert (again.image, again.deployed_at) == (first.image, first.deployed_at)
        assert bench.provider.deploy(node, force=True, report=quiet).changed
        bench.rewrite(node, "print('other')")
        changed = bench.provider.deploy(node, force=False, report=quiet)
        assert changed.changed
        assert changed.source_hash != first.source_hash
        assert present(bench.provider.deployment(node.name)).source_hash == changed.source_hash

    def test_a_lost_image_is_built_again(self, bench: AnyBench) -> None:
        node = self.ready(bench, HELLO)
        bench.lose_image(node)
        run = bench.provider.trigger(node)
        lost = ended(bench.provider, run.id)
        assert (lost.state, lost.failure) == (RunState.FAILED, RunFailure.NOT_DEPLOYED)
        assert "numerai node deploy" in (lost.message or "")
        assert bench.provider.deploy(node, force=False, report=quiet).changed
        assert ended(bench.provider, bench.provider.trigger(node).id).state is RunState.SUCCEEDED

    def test_a_failed_build_leaves_what_is_deployed(self, bench: AnyBench) -> None:
        node = self.ready(bench, HELLO)
        before = bench.provider.deployment(node.name)
        bench.break_build(node)
        with pytest.raises(NumeraiError) as failure:
            bench.provider.deploy(node, force=False, report=quiet)
        assert failure.value.code == "build-failed"
        assert "this breaks" in failure.value.message
        assert bench.provider.deployment(node.name) == before
        assert ended(bench.provider, bench.provider.trigger(node).id).state is RunState.SUCCEEDED

    def test_edits_after_a_deploy_change_nothing_that_runs(self, bench: AnyBench) -> None:
        node = self.ready(bench, "print('deployed')")
        bench.rewrite(node, "print('edited')")
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert texts(bench.provider, run.id) == ["deployed"]

    def test_a_node_that_is_not_configured_is_refused(self, bench: AnyBench) -> None:
        node = bench.node(HELLO)
        with pytest.raises(NumeraiError, match="not configured"):
            bench.provider.trigger(node)
        with pytest.raises(NumeraiError, match="not configured"):
            bench.provider.deploy(node, force=False, report=quiet)
        if isinstance(bench.provider, ChecksDeploys):
            with pytest.raises(NumeraiError, match="not configured"):
                bench.provider.check_deploy(node, force=False)

    def test_a_node_that_was_never_deployed_fails_with_its_reason(self, bench: AnyBench) -> None:
        node = bench.provider.configure(bench.node(HELLO), quiet)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.failure) == (RunState.FAILED, RunFailure.NOT_DEPLOYED)
        assert "never deployed" in (run.message or "")

    def test_a_trigger_gives_one_run_with_the_environment_contract(self, bench: AnyBench) -> None:
        node = self.ready(bench, HELLO, model_id="model-1", tournament=11, cpu=0.5)
        answer = trigger(webhook(node), "5f7c6ad1-trigger")
        assert answer.status == 200
        assert answer.content["triggerId"] == "5f7c6ad1-trigger"
        run = ended(bench.provider, answer.content["runId"])
        assert (run.state, run.exit_code, run.attempt) == (RunState.SUCCEEDED, 0, 1)
        assert run.created_at <= present(run.started_at) <= present(run.ended_at)
        lines = texts(bench.provider, run.id)
        shown = json.loads(lines[0])
        assert shown["MODEL_ID"] == "model-1"
        assert shown["TRIGGER_ID"] == "5f7c6ad1-trigger"
        assert shown["NUMERAI_NODE"] == node.name
        assert shown["NUMERAI_TOURNAMENT"] == "11"
        assert shown["NUMERAI_CPU"] == "0.5"
        assert shown["NUMERAI_API_URL"].startswith("http://")
        assert lines[1] == "has keys: True"
        assert lines[2] == "leak: ***"
        assert lines[3:203] == [f"line {number}" for number in range(200)]
        assert lines[203] == "last without newline"
        times = [present(line.time) for line in bench.provider.logs(run.id)]
        assert times == sorted(times)
        assert bench.provider.find_run(node.name, "5f7c6ad1-trigger") == run
        assert bench.provider.find_run(node.name, "another") is None
        assert bench.provider.runs(node.name) == [run]

    def test_a_run_by_hand_has_no_trigger_id(self, bench: AnyBench) -> None:
        node = self.ready(bench, HELLO)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert "TRIGGER_ID" not in json.loads(texts(bench.provider, run.id)[0])

    def test_the_webhooks_address_is_told_as_it_was_configured(self, bench: AnyBench) -> None:
        node = bench.node(HELLO)
        assert bench.provider.webhook_url("numerai-nobody") is None
        configured = bench.provider.configure(node, quiet)
        assert bench.provider.webhook_url(node.name) == configured.webhook_url

    def test_a_run_that_is_told_not_to_submit(self, bench: AnyBench) -> None:
        node = self.ready(bench, "import os, sys\nsys.exit(79 if os.environ.get('NUMERAI_NO_SUBMIT') == '1' else 1)")
        run = ended(bench.provider, cast(RunsWithoutSubmitting, bench.provider).run_without_submitting(node).id)
        assert (run.state, run.exit_code, run.failure) == (RunState.SUCCEEDED, 79, None) and run.is_test
        by_hand = ended(bench.provider, bench.provider.trigger(node).id)
        assert (by_hand.state, by_hand.exit_code) == (RunState.FAILED, 1) and not by_hand.is_test
        assert trigger(webhook(node), "no-submit-x").status == 400

    def test_a_training_is_a_run_of_its_own_kind(self, bench: AnyBench) -> None:
        node = self.ready(bench, TRAINS)
        run = ended(bench.provider, cast(TrainsModels, bench.provider).train(node).id)
        assert (run.state, run.exit_code, run.failure) == (RunState.SUCCEEDED, 0, None), run
        assert run.is_test and (run.trigger_id or "").startswith("no-submit-train-")
        by_hand = ended(bench.provider, bench.provider.trigger(node).id)
        assert by_hand.exit_code == 1 and not by_hand.is_test

    def test_a_training_keeps_no_round_from_its_run(self, bench: AnyBench) -> None:
        node = self.ready(bench, WAIT_TO_TRAIN)
        training = cast(TrainsModels, bench.provider).train(node)
        until_line(bench.provider, training.id, "ready")
        assert ended(bench.provider, bench.provider.trigger(node).id).state is RunState.SUCCEEDED
        assert bench.provider.run(training.id).state is RunState.RUNNING
        bench.release(node, training)
        assert ended(bench.provider, training.id).state is RunState.SUCCEEDED

    def test_what_a_run_has_sent_is_given_back(self, bench: AnyBench) -> None:
        node = self.ready(bench, SEND)
        artifact = cast(KeepsArtifacts, bench.provider).artifact
        assert artifact(node.name, "sent/none.csv.gz") is None, "before there is anything"
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert run.state is RunState.SUCCEEDED
        assert sent_csv([node], run.id, lambda _: bench.provider) == (node, run.id, b"id,prediction\nn1,0.5\n")
        assert artifact(node.name, "sent/none.csv.gz") is None
        with pytest.raises(NumeraiError, match="none is kept"):
            sent_csv([node], "none", lambda _: bench.provider)

    def test_a_trigger_that_was_seen_gives_its_run(self, bench: AnyBench) -> None:
        node = self.ready(bench, "print('once')")
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: trigger(webhook(node), "same"), range(50)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.content["runId"] for answer in answers}) == 1
        run = bench.provider.trigger(node, "same")
        assert run.id == answers[0].content["runId"]
        ended(bench.provider, run.id)
        assert bench.provider.trigger(node, "same").id == run.id
        assert len(bench.provider.runs(node.name)) == 1
        assert texts(bench.provider, run.id) == ["once"]

    def test_the_webhook_answers_as_the_contract_says(self, bench: AnyBench) -> None:
        node = self.ready(bench, "")
        url = webhook(node)
        answers = {
            "not JSON": call(url, b"{nope"),
            "no object": call(url, b"[1]"),
            "no trigger id": call(url, b"{}"),
            "malformed": trigger(url, "white space"),
            "GET": call(url, method="GET"),
            "large": call(url, b"x" * (64 * 1024 + 1)),
            "very large": call(url, headers={"Content-Length": str(3 * 1024 * 1024)}),  # refused before it is sent
            "wrong token": trigger(url[:-1] + ("a" if url[-1] != "a" else "b"), "t"),
            "unknown node": trigger(url.replace(node.name, "numerai-nobody"), "t"),
        }
        statuses = {name: answer.status for name, answer in answers.items()}
        assert statuses == {
            "not JSON": 400,
            "no object": 400,
            "no trigger id": 400,
            "malformed": 400,
            "GET": 405,
            "large": 413,
            "very large": 413,
            "wrong token": 404,
            "unknown node": 404,
        }
        assert {answer.kind for answer in answers.values()} == {"application/json"}
        assert answers["wrong token"] == answers["unknown node"]
        assert bench.provider.runs(node.name) == []
        assert [seen.status for seen in bench.provider.webhook_calls(node.name)] == [400] * 4

    def test_too_many_calls_are_slowed_down(self, bench: AnyBench) -> None:
        node = self.ready(bench, "")
        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda _: call(webhook(node), b"{}").status, range(90)))
        assert set(statuses) == {400, 429}

    @pytest.mark.parametrize(("code", "says"), [(3, "exit code 3"), (65, "predictions"), (78, "configuration")])
    def test_a_failed_run_says_why(self, bench: AnyBench, code: int, says: str) -> None:
        node = self.ready(bench, f"import sys; print('bye'); sys.exit({code})")
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.failure, run.exit_code) == (RunState.FAILED, RunFailure.EXIT_CODE, code)
        assert says in (run.message or "")
        assert texts(bench.provider, run.id) == ["bye"]
        assert run.attempt == 1

    def test_a_temporary_failure_is_tried_again(self, bench: AnyBench) -> None:
        node = self.ready(bench, THIRD_TIME)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.attempt) == (RunState.SUCCEEDED, 3)
        assert texts(bench.provider, run.id) == ["try 1", "try 2", "try 3"]

    def test_a_temporary_failure_that_lasts_ends_the_run(self, bench: AnyBench) -> None:
        node = self.ready(bench, "import sys; sys.exit(75)")
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.exit_code, run.attempt) == (RunState.FAILED, 75, 3)
        assert "3 times" in (run.message or "")

    def test_a_run_that_takes_too_long_is_stopped(self, bench: AnyBench) -> None:
        node = self.ready(bench, TERMINATED, timeout_minutes=0.03)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.failure) == (RunState.FAILED, RunFailure.TIMED_OUT)
        assert "--timeout-minutes" in (run.message or "")
        assert texts(bench.provider, run.id) == ["ready", "terminated"]

    def test_a_run_that_needs_too_much_memory_says_so(self, bench: AnyBench) -> None:
        node = self.ready(bench, EAT_MEMORY, memory_mib=96)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.failure) == (RunState.FAILED, RunFailure.OUT_OF_MEMORY)
        assert "96 MiB" in (run.message or "")

    def test_a_cancelled_run_stops(self, bench: AnyBench) -> None:
        node = self.ready(bench, TERMINATED)
        run, waiting = bench.provider.trigger(node), bench.provider.trigger(node)
        until_line(bench.provider, run.id, "ready")
        assert bench.provider.cancel(waiting.id).state is RunState.CANCELLED
        cancelled = bench.provider.cancel(run.id)
        assert cancelled.state is RunState.CANCELLED
        assert texts(bench.provider, run.id) == ["ready", "terminated"]
        assert texts(bench.provider, waiting.id) == []
        assert bench.provider.cancel(run.id) == cancelled

    def test_a_run_that_has_ended_is_not_cancelled(self, bench: AnyBench) -> None:
        node = self.ready(bench, "")
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert bench.provider.cancel(run.id) == run

    def test_runs_of_one_node_do_not_overlap(self, bench: AnyBench) -> None:
        node = self.ready(bench, WAIT)
        first, second = bench.provider.trigger(node, "1"), bench.provider.trigger(node, "2")
        until_line(bench.provider, first.id, "ready")
        assert bench.provider.run(second.id).state is RunState.QUEUED
        bench.release(node, first)
        one, two = ended(bench.provider, first.id), ended(bench.provider, second.id)
        assert present(two.started_at) >= present(one.ended_at)
        assert [run.id for run in bench.provider.runs(node.name)] == [second.id, first.id]
        assert [run.id for run in bench.provider.runs(node.name, limit=1)] == [second.id]

    def test_logs_can_be_followed(self, bench: AnyBench) -> None:
        node = self.ready(bench, WAIT)
        run = bench.provider.trigger(node)
        lines = bench.provider.logs(run.id, follow=True)
        assert next(lines).text == "ready"
        assert bench.provider.run(run.id).state is RunState.RUNNING
        bench.release(node, run)
        assert [line.text for line in lines] == ["released"]
        assert bench.provider.run(run.id).state is RunState.SUCCEEDED

    def test_unknown_runs_are_named(self, bench: AnyBench) -> None:
        for ask in (bench.provider.run, bench.provider.cancel, lambda name: list(bench.provider.logs(name))):
            with pytest.raises(NumeraiError) as failure:
                ask("0123456789")
            assert failure.value.code == "no-such-run"

    def test_destroy_refuses_while_a_run_goes_on_unless_forced(self, bench: AnyBench) -> None:
        node = self.ready(bench, TERMINATED)
        run = bench.provider.trigger(node)
        until_line(bench.provider, run.id, "ready")
        with pytest.raises(NumeraiError) as refusal:
            bench.provider.destroy(node.name, force=False, report=quiet)
        assert refusal.value.code == "run-active"
        assert bench.provider.run(run.id).state is RunState.RUNNING
        bench.provider.destroy(node.name, force=True, report=quiet)
        assert bench.traces(node) == []

    def test_destroy_leaves_nothing(self, bench: AnyBench) -> None:
        node = self.ready(bench, HELLO)
        ended(bench.provider, trigger(webhook(node), "t").content["runId"])
        assert bench.traces(node) != []
        bench.provider.destroy(node.name, force=False, report=quiet)
        assert bench.traces(node) == []
        assert bench.provider.deployment(node.name) is None
        assert bench.provider.runs(node.name) == []
        assert bench.provider.webhook_calls(node.name) == []
        assert trigger(webhook(node), "t").status == 404
        bench.provider.destroy(node.name, force=False, report=quiet)
        assert bench.provider.configure(node, quiet).webhook_url != node.webhook_url

    def test_checks_tell_how_a_node_stands(self, bench: AnyBench) -> None:
        node = bench.provider.configure(bench.node("import sys; sys.exit(9)"), quiet)

        def found() -> dict[str, str]:
            checks = bench.provider.checks([node])  # the bench has other nodes, too
            return {check.name: check.status.value for check in checks if check.node == node.name}

        assert found() == {"deployment": "failed", "last run": "ok"}
        bench.provider.deploy(node, force=False, report=quiet)
        assert found() == {"deployment": "ok", "last run": "ok"}
        ended(bench.provider, bench.provider.trigger(node).id)
        assert found() == {"deployment": "ok", "last run": "warning"}
        bench.rewrite(node, "print()")
        assert found()["deployment"] == "warning"
        bench.lose_image(node)
        assert found()["deployment"] == "failed"
        assert {check.status.value for check in bench.provider.checks([]) if not check.node} == {"ok"}


def wait_until(condition: object, seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; fail when it does not within the time."""
    give_up = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.02)


class ImageContract(ProviderContract[AnyBench]):
    """Of providers that run images."""

    @pytest.mark.parametrize("buildkit", ["1", "0"])
    def test_a_node_is_built_from_the_folder_above(
        self, bench: AnyBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildkit: str
    ) -> None:
        """As with the official tool's layout: nodes beside a folder with what they share."""
        monkeypatch.setenv("DOCKER_BUILDKIT", buildkit)
        node = bench.node("from common import shared; print('shared', shared.VALUE)")
        folder = Path(node.path).rename(tmp_path / "alice")
        (folder / "Dockerfile").write_text(
            "FROM python:3.13-slim\nARG SRC_PATH\nWORKDIR /app\nCOPY ${SRC_PATH} .\nCOPY common common\nUSER 4321\n"
            'CMD ["python", "-u", "main.py"]\n'
        )
        shared = tmp_path / "common" / "shared.py"
        shared.parent.mkdir()
        node = bench.provider.configure(replace(node, path=str(folder), context=str(tmp_path)), quiet)
        for value in ("1", "2"):
            shared.write_text(f"VALUE = {value}")
            assert changed_since_deploy(node, bench.provider) is (value == "2")
            assert bench.provider.deploy(node, force=False, report=quiet).changed
            run = ended(bench.provider, bench.provider.trigger(node).id)
            assert run.state is RunState.SUCCEEDED
            assert texts(bench.provider, run.id) == [f"shared {value}"]
        assert not bench.provider.deploy(node, force=False, report=quiet).changed
