"""The AWS provider keeps the provider contract: real Terraform and real containers on an emulated AWS.

Where AWS differs from a machine of one's own the test is replaced by one that says how, never left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import RunFailure, RunState

from ..aws.emulator import emulated_aws
from .aws_bench import AwsBench, require_emulator, using
from .provider_suite import (
    EAT_MEMORY,
    HELLO,
    TERMINATED,
    WAIT,
    ImageContract,
    call,
    ended,
    quiet,
    texts,
    trigger,
    until_line,
    wait_until,
    webhook,
)

pytestmark = [pytest.mark.aws, pytest.mark.docker]

PROVISIONED = 35
"""Nodes that are made in one apply at the start: a node of its own for every test."""
FORGOTTEN_SECONDS = 75.0
"""The webhook believes what it knows of the nodes for a minute."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsBench]:
    require_emulator()
    folder = tmp_path_factory.mktemp("aws")
    with emulated_aws() as emulator, using(emulator, folder / "plugins"):
        bench = AwsBench(folder, emulator)
        bench.provision(PROVISIONED)
        yield bench


class TestAws(ImageContract[AwsBench]):
    """Nodes on AWS."""

    @pytest.fixture
    def bench(self, cluster: AwsBench, home: object) -> Iterator[AwsBench]:
        with using(cluster.emulator, cluster.folder / "plugins"):
            yield cluster

    def test_a_node_that_is_not_configured_is_refused(self, bench: AwsBench) -> None:
        node = bench.stranger(HELLO)
        with pytest.raises(NumeraiError, match="not configured"):
            bench.provider.trigger(node)
        with pytest.raises(NumeraiError, match="not configured"):
            bench.provider.deploy(node, force=False, report=quiet)

    def test_the_webhook_answers_as_the_contract_says(self, bench: AwsBench) -> None:
        """Without the request that is refused before it was sent: a function URL takes requests in whole."""
        node = self.ready(bench, "")
        url = webhook(node)
        answers = {
            "not JSON": call(url, b"{nope"),
            "no object": call(url, b"[1]"),
            "no trigger id": call(url, b"{}"),
            "malformed": trigger(url, "white space"),
            "GET": call(url, method="GET"),
            "large": call(url, b"x" * (64 * 1024 + 1)),
            "wrong token": trigger(url[:-1] + ("a" if url[-1] != "a" else "b"), "t"),
            "unknown node": trigger(url.replace(node.name, "numerai-nobody"), "t"),
        }
        assert {name: answer.status for name, answer in answers.items()} == {
            "not JSON": 400,
            "no object": 400,
            "no trigger id": 400,
            "malformed": 400,
            "GET": 405,
            "large": 413,
            "wrong token": 404,
            "unknown node": 404,
        }
        assert {answer.kind for answer in answers.values()} == {"application/json"}
        assert answers["wrong token"] == answers["unknown node"]
        assert bench.provider.runs(node.name) == []
        assert [seen.status for seen in bench.provider.webhook_calls(node.name)] == [400] * 4

    def test_too_many_calls_are_slowed_down(self, bench: AwsBench) -> None:
        """What costs money is bounded: the runs that a webhook starts in an hour."""
        node = self.ready(bench, "")
        hour = int(time.time() // 3600)
        for counted in (hour, hour + 1):  # the hour may end meanwhile
            bench.client("dynamodb").put_item(
                TableName=bench.outputs.text("webhook_table"),
                Item={"pk": {"S": f"rate#{node.name}#{counted}"}, "runs": {"N": "60"}},
            )
        assert trigger(webhook(node), "one too many").status == 400
        assert trigger(webhook(node), "one-too-many").status == 429
        with pytest.raises(NumeraiError, match="Too many runs"):
            bench.provider.trigger(node, "one-too-many")
        assert bench.provider.runs(node.name) == []

    def test_a_run_that_takes_too_long_is_stopped(self, bench: AwsBench) -> None:
        """A minute is the shortest limit of AWS Batch."""
        node = self.ready(bench, TERMINATED, timeout_minutes=1)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.failure) == (RunState.FAILED, RunFailure.TIMED_OUT)
        assert "--timeout-minutes" in (run.message or "")
        assert texts(bench.provider, run.id) == ["ready", "terminated"]

    def test_a_run_that_needs_too_much_memory_says_so(self, bench: AwsBench) -> None:
        """512 MiB is the smallest size of AWS Fargate."""
        node = self.ready(bench, EAT_MEMORY)
        run = ended(bench.provider, bench.provider.trigger(node).id)
        assert (run.state, run.failure) == (RunState.FAILED, RunFailure.OUT_OF_MEMORY)
        assert "512 MiB" in (run.message or "")

    def test_a_cancelled_run_stops(self, bench: AwsBench) -> None:
        """Nothing waits for its turn on AWS, so there is only a run that goes on."""
        node = self.ready(bench, TERMINATED)
        run = bench.provider.trigger(node)
        until_line(bench.provider, run.id, "ready")
        cancelled = bench.provider.cancel(run.id)
        assert cancelled.state is RunState.CANCELLED
        assert texts(bench.provider, run.id) == ["ready", "terminated"]
        assert bench.provider.cancel(run.id) == cancelled

    def test_runs_of_one_node_do_not_overlap(self, bench: AwsBench) -> None:
        """They do on AWS: one that hangs must not keep the next round's from running."""
        node = self.ready(bench, WAIT)
        first, second = bench.provider.trigger(node, "1"), bench.provider.trigger(node, "2")
        for run in (first, second):
            until_line(bench.provider, run.id, "ready")
        assert {bench.provider.run(run.id).state for run in (first, second)} == {RunState.RUNNING}
        bench.release(node, first)
        assert {ended(bench.provider, run.id).state for run in (first, second)} == {RunState.SUCCEEDED}
        assert [run.id for run in bench.provider.runs(node.name)] == [second.id, first.id]
        assert [run.id for run in bench.provider.runs(node.name, limit=1)] == [second.id]

    def test_a_trigger_that_was_seen_gives_its_run(self, bench: AwsBench) -> None:
        """Calls beyond the webhook's reserved concurrency are answered 429 by AWS itself, and Numerai repeats them."""
        node = self.ready(bench, "print('once')")
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: trigger(webhook(node), "same"), range(50)))
        assert {answer.status for answer in answers} <= {200, 429}
        accepted = [answer for answer in answers if answer.status == 200]
        assert len({answer.content["runId"] for answer in accepted}) == 1
        run = bench.provider.trigger(node, "same")
        assert run.id == accepted[0].content["runId"]
        ended(bench.provider, run.id)
        assert bench.provider.trigger(node, "same").id == run.id
        assert len(bench.provider.runs(node.name)) == 1
        assert texts(bench.provider, run.id) == ["once"]

    def test_destroy_leaves_nothing(self, bench: AwsBench) -> None:
        """A call in the last minute of a webhook's life may still be answered 503."""
        node = self.ready(bench, HELLO)
        ended(bench.provider, trigger(webhook(node), "t").content["runId"])
        assert bench.traces(node) != []
        bench.provider.destroy(node.name, force=False, report=quiet)
        assert bench.traces(node) == []
        assert bench.provider.deployment(node.name) is None
        assert bench.provider.runs(node.name) == []
        assert bench.provider.webhook_calls(node.name) == []
        wait_until(lambda: trigger(webhook(node), "t").status == 404, FORGOTTEN_SECONDS)
        bench.provider.destroy(node.name, force=False, report=quiet)
        assert bench.provider.configure(node, quiet).webhook_url != node.webhook_url

    def test_checks_tell_how_a_node_stands(self, bench: AwsBench) -> None:
        node = bench.provider.configure(bench.node("import sys; sys.exit(9)"), quiet)

        def found() -> dict[str, str]:
            return {
                check.name: check.status.value for check in bench.provider.checks([node]) if check.node == node.name
            }

        assert found() == {"deployment": "failed", "last run": "ok"}
        bench.provider.deploy(node, force=False, report=quiet)
        assert found() == {"deployment": "ok", "last run": "ok"}
        ended(bench.provider, bench.provider.trigger(node).id)
        assert found() == {"deployment": "ok", "last run": "warning"}
        bench.rewrite(node, "print()")
        assert found()["deployment"] == "warning"
        bench.lose_image(node)
        assert found()["deployment"] == "failed"
        shared = {check.name: check.status.value for check in bench.provider.checks([]) if not check.node}
        assert shared.pop("AWS notifications") == "warning", "nobody is told, and that is said"
        assert set(shared.values()) == {"ok"}
        strangers = {check.node for check in bench.provider.checks([]) if check.name == "drift"}
        assert node.name in strangers
