"""Webhooks: called at each opening and on request, remembered without their tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from numerai_compute.sandbox.compute import RUN_BY_NUMERAI
from numerai_compute.sandbox.switches import Switches
from numerai_compute.sandbox.webhooks import redacted, without_token

from tests.fixtures.sandbox import ServedSandbox, wait_for

TOKEN = "s3cr3t-t0k3n-of-the-node"
TRIGGER = "mutation($m: String!) {triggerModelWebhook(modelId: $m)}"


class Node:
    """A webhook that keeps what it is sent."""

    def __init__(self) -> None:
        self.status = 200
        self.answer = "{}"
        self.bodies: list[bytes] = []
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                node.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                body = node.answer.encode()
                self.send_response(node.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/numerai-alice/{TOKEN}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def node() -> Iterator[Node]:
    found = Node()
    yield found
    found.close()


def register(sandbox: ServedSandbox, url: str, model: str = "alice") -> None:
    query = "mutation($m: String, $u: String) {setSubmissionWebhook(modelId: $m, newSubmissionWebhook: $u)}"
    answer = sandbox.graphql(query, m=sandbox.models[model], u=url)
    assert answer == {"data": {"setSubmissionWebhook": "true"}}


def trigger(sandbox: ServedSandbox) -> dict[str, Any]:
    return sandbox.graphql(TRIGGER, m=sandbox.models["alice"])


def ended_calls(sandbox: ServedSandbox, count: int = 1) -> list[dict[str, Any]]:
    def ended() -> list[dict[str, Any]]:
        calls = sandbox.state()["webhook_calls"]
        return calls if len(calls) == count and all(call["seconds"] is not None for call in calls) else []

    found: list[dict[str, Any]] = wait_for(ended)
    return found


class TestTrigger:
    def test_it_posts_the_trigger_id_and_answers_it(self, sandbox: ServedSandbox, node: Node) -> None:
        register(sandbox, node.url)
        identity = trigger(sandbox)["data"]["triggerModelWebhook"]
        assert json.loads(node.bodies[0]) == {"roundNumber": 1000, "dataVersion": 1, "triggerId": identity}
        call = ended_calls(sandbox)[0]
        assert (call["trigger_id"], call["status"], call["reason"]) == (identity, 200, "trigger")

    def test_a_refusal_is_told_with_its_body(self, sandbox: ServedSandbox, node: Node) -> None:
        register(sandbox, node.url)
        node.status, node.answer = 503, f"nothing can be scheduled for {TOKEN}"
        message = trigger(sandbox)["errors"][0]["message"]
        assert message == "Error received from your webhook server: nothing can be scheduled for ***"

    @pytest.mark.parametrize("status", [201, 202, 204, 302])
    def test_only_200_counts(self, sandbox: ServedSandbox, node: Node, status: int) -> None:
        register(sandbox, node.url)
        node.status, node.answer = status, ""
        assert trigger(sandbox)["errors"][0]["message"] == "Error received from your webhook server: "

    def test_as_the_websites_button_makes_it(self, sandbox_factory: Callable[..., ServedSandbox], node: Node) -> None:
        found = sandbox_factory(switches=Switches(trigger_round_is_test=True))
        register(found, node.url)
        trigger(found)
        assert json.loads(node.bodies[0])["roundNumber"] == "test"

    def test_an_unreachable_one(self, sandbox: ServedSandbox, node: Node) -> None:
        node.close()
        register(sandbox, node.url)
        message = trigger(sandbox)["errors"][0]["message"]
        assert message.startswith("Error received from your webhook server: ")
        assert TOKEN not in message

    def test_without_a_webhook(self, sandbox: ServedSandbox) -> None:
        assert "no submission webhook" in trigger(sandbox)["errors"][0]["message"]

    @pytest.mark.parametrize("url", ["ftp://example.com/x", "not a url", "http://"])
    def test_only_web_addresses_are_taken(self, sandbox: ServedSandbox, url: str) -> None:
        query = "mutation($m: String, $u: String) {setSubmissionWebhook(modelId: $m, newSubmissionWebhook: $u)}"
        answer = sandbox.graphql(query, m=sandbox.models["alice"], u=url)
        assert "http or https" in answer["errors"][0]["message"]

    @pytest.mark.slow
    def test_its_submission_belongs_to_the_round_in_which_it_is_made(
        self, sandbox: ServedSandbox, node: Node, tmp_path: Path
    ) -> None:
        register(sandbox, node.url)
        csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
        identity = trigger(sandbox)["data"]["triggerModelWebhook"]
        sandbox.open_round("classic")
        made = sandbox.submit(csv, trigger_id=identity)
        assert sandbox.entry("alice", 1000)["status"] == "none"
        assert (sandbox.entry("alice", 1001)["status"], sandbox.entry("alice", 1001)["id"]) == ("on-time", made)


class TestOpening:
    def test_the_models_of_that_tournament_are_called(self, sandbox: ServedSandbox, node: Node) -> None:
        register(sandbox, node.url)
        register(sandbox, node.url, "bob")
        sandbox.open_round("signals")
        call = ended_calls(sandbox)[0]
        assert (call["model_id"], call["round_number"], call["reason"]) == (sandbox.models["bob"], 1001, "round")
        assert call["url"].endswith("/numerai-alice/***")

    @pytest.mark.parametrize(("repeats", "calls"), [(0, 1), (2, 3)])
    def test_a_call_that_failed_is_repeated(
        self, sandbox_factory: Callable[..., ServedSandbox], node: Node, repeats: int, calls: int
    ) -> None:
        found = sandbox_factory(switches=Switches(webhook_repeats=repeats))
        register(found, node.url)
        node.status = 503
        found.open_round("classic")
        wait_for(lambda: found.state()["webhook_calls"][0]["attempts"] == calls)
        assert len({json.loads(body)["triggerId"] for body in node.bodies}) == 1
        node.status = 200
        found.open_round("classic")
        wait_for(lambda: found.state()["webhook_calls"][1]["attempts"] == 1)
        assert len(node.bodies) == calls + 1

    def test_an_unreachable_one_is_recorded(self, sandbox: ServedSandbox, node: Node) -> None:
        node.close()
        register(sandbox, node.url)
        sandbox.open_round("classic")
        call = ended_calls(sandbox)[0]
        assert call["status"] is None
        assert "refused" in call["error"].lower()

    @pytest.mark.slow
    def test_with_the_calendar_each_opening_calls_in_turn(
        self, sandbox_factory: Callable[..., ServedSandbox], node: Node
    ) -> None:
        found = sandbox_factory(calendar=True)
        found.clock(now="2031-01-06T00:00:00Z", freeze=True)
        register(found, node.url)
        first = found.clock(now="2031-01-12T00:00:00Z")["opened"][0]["number"]
        ended_calls(found, 5)
        assert [json.loads(body)["roundNumber"] for body in node.bodies] == [first + n for n in range(5)]

    def test_no_secret_is_shown(self, sandbox: ServedSandbox, node: Node) -> None:
        register(sandbox, node.url + "?code=another-secret")
        node.answer = f"{TOKEN} another-secret"
        trigger(sandbox)
        sandbox.graphql("{account {models {submissionWebhook}}}")
        shown = json.dumps(sandbox.state())
        for secret in (TOKEN, "another-secret", sandbox.secret_key, "signature"):
            assert secret not in shown


class TestPickle:
    """A model with an assigned pickle is run by Numerai."""

    ASSIGN = "mutation($m: String, $p: ID) {assignPickleToModel(modelId: $m, pickleId: $p)}"

    def assign(self, sandbox: ServedSandbox, pickle: str | None, model: str = "alice") -> dict[str, Any]:
        return sandbox.graphql(self.ASSIGN, m=sandbox.models[model], p=pickle)

    @pytest.fixture
    def pickle(self, sandbox: ServedSandbox) -> str:
        return upload_pickle(sandbox)

    @pytest.mark.slow
    def test_it_refuses_webhooks_and_submissions(
        self, sandbox: ServedSandbox, node: Node, pickle: str, tmp_path: Path
    ) -> None:
        csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
        auth_query = (
            'query($m: ID) {submissionUploadAuth(filename: "p.csv", tournament: 8, modelId: $m) {filename url}}'
        )
        alice = sandbox.models["alice"]
        auth = sandbox.graphql(auth_query, m=alice)["data"]["submissionUploadAuth"]
        requests.put(auth["url"], data=csv.encode(), timeout=10).raise_for_status()
        assert self.assign(sandbox, pickle) == {"data": {"assignPickleToModel": "true"}}
        create = "mutation($f: String!, $m: ID) {createSubmission(filename: $f, tournament: 8, modelId: $m) {id}}"
        webhook = "mutation($m: String, $u: String) {setSubmissionWebhook(modelId: $m, newSubmissionWebhook: $u)}"
        for query, variables in (
            (auth_query, {}),
            (create, {"f": auth["filename"]}),
            (webhook, {"u": node.url}),
            (TRIGGER, {}),
        ):
            answer = sandbox.graphql(query, m=alice, **variables)
            assert answer["errors"][0]["message"] == RUN_BY_NUMERAI
        assert "errors" not in sandbox.graphql(webhook, m=alice, u=None), "it may be cleared"

    def test_it_is_shown(self, sandbox: ServedSandbox, pickle: str) -> None:
        query = "{account {models {name computePickleUpload {id filename assignedModelSlots}}}}"
        self.assign(sandbox, pickle)
        models = {each["name"]: each for each in sandbox.graphql(query)["data"]["account"]["models"]}
        assert models["alice"]["computePickleUpload"] == {
            "id": pickle,
            "filename": sandbox.running.sandbox.compute.pickles.all()[0].filename,
            "assignedModelSlots": [sandbox.models["alice"]],
        }
        assert models["bob"]["computePickleUpload"] is None
        assert sandbox.graphql("{computePickles(unassigned: true) {id}}")["data"]["computePickles"] == []
        assert sandbox.state()["models"][0]["pickle_id"] == pickle

    def test_what_cannot_be_assigned(self, sandbox: ServedSandbox, node: Node, pickle: str) -> None:
        assert "Pickle not found" in self.assign(sandbox, "x")["errors"][0]["message"]
        assert "Pickle not found" in self.assign(sandbox, None)["errors"][0]["message"]
        assert "tournament numerai only" in self.assign(sandbox, pickle, "bob")["errors"][0]["message"]
        register(sandbox, node.url)
        assert "clear it first" in self.assign(sandbox, pickle)["errors"][0]["message"]

    def test_without_a_pickle_it_may_be_taken_away(self, sandbox_factory: Callable[..., ServedSandbox]) -> None:
        found = sandbox_factory(switches=Switches(null_pickle_unassigns=True))
        self.assign(found, upload_pickle(found))
        assert self.assign(found, None) == {"data": {"assignPickleToModel": "true"}}
        assert found.state()["models"][0]["pickle_id"] is None


def upload_pickle(sandbox: ServedSandbox) -> str:
    auth = sandbox.graphql('{computePickleUploadAuth(filename: "m.pkl") {filename url}}')["data"]
    requests.put(auth["computePickleUploadAuth"]["url"], data=b"x", timeout=10).raise_for_status()
    create = "mutation($f: String!) {createComputePickleUpload(filename: $f, tournament: 8) {id}}"
    made = sandbox.graphql(create, f=auth["computePickleUploadAuth"]["filename"])
    return str(made["data"]["createComputePickleUpload"]["id"])


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "said"),
        [("status", "ordered from the sandbox"), ("drop", "connection reset"), ("hang", "timed out")],
    )
    def test_calls_that_are_never_made(self, sandbox: ServedSandbox, node: Node, kind: str, said: str) -> None:
        register(sandbox, node.url)
        sandbox.set_fault("webhook", kind, seconds=0.05, match="alice")
        assert said in trigger(sandbox)["errors"][0]["message"]
        assert node.bodies == []
        assert "data" in trigger(sandbox)
        assert len(node.bodies) == 1

    @pytest.mark.parametrize("kind", ["truncate", "corrupt"])
    def test_bodies_that_are_no_json(self, sandbox: ServedSandbox, node: Node, kind: str) -> None:
        register(sandbox, node.url)
        sandbox.set_fault("webhook", kind)
        trigger(sandbox)
        with pytest.raises(ValueError):
            json.loads(node.bodies[0])

    @pytest.mark.slow
    def test_slow(self, sandbox: ServedSandbox, node: Node) -> None:
        register(sandbox, node.url)
        sandbox.set_fault("webhook", "slow", seconds=0.2)
        trigger(sandbox)
        assert ended_calls(sandbox)[0]["seconds"] >= 0.2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/node/token", "https://a.example/node/***"),
        ("https://u:p@a.example:8443/node/token?code=1", "https://a.example:8443/node/***?***"),
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example/"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_short_words_are_no_tokens() -> None:
    assert without_token("a cat sat", "http://x/node/a") == "a cat sat"
