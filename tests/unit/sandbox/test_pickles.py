"""Model uploads on Numerai's side: validated, run when a round opens, triggered, and what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
import requests
from numerai_compute.sandbox.compute import NO_ROUND
from numerai_compute.sandbox.switches import Switches

from tests.fixtures.sandbox import ServedSandbox, wait_for

Factory = Callable[..., ServedSandbox]
OWN = f"Python {sys.version_info.major}.{sys.version_info.minor}"
OTHER = "Python 3.12" if OWN == "Python 3.13" else "Python 3.13"
SHOWN = "id validationStatus triggerStatus triggers {id type status submissionId statuses {status description}}"
CREATE = (
    "mutation($f: String!, $m: ID, $d: ID) "
    "{createComputePickleUpload(filename: $f, tournament: 8, modelId: $m, dockerImageId: $d) {id}}"
)
ASSIGN = "mutation($m: String, $p: ID) {assignPickleToModel(modelId: $m, pickleId: $p)}"


def good(live_features: Any) -> Any:
    print("rows:", len(live_features))
    return live_features[["feature_0"]].rank(pct=True).set_axis(["prediction"], axis=1)


def with_benchmarks(live_features: Any, live_benchmark_models: Any) -> Any:
    assert len(live_features) == len(live_benchmark_models)
    return live_benchmark_models.iloc[:, [0]].rank(pct=True).set_axis(["prediction"], axis=1)


def out_of_range(live_features: Any) -> Any:
    return live_features[[live_features.columns[-1]]] * 10 + 5


def forever(live_features: Any) -> Any:
    import time

    time.sleep(600)


def upload(sandbox: ServedSandbox, model: object, image: str = OWN) -> str:
    """Upload a model for alice as numerapi does; its id."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        content = model if isinstance(model, bytes) else cloudpickle.dumps(model)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    images = sandbox.graphql("{computePickleDockerImages {id name}}")["data"]["computePickleDockerImages"]
    identity = next(each["id"] for each in images if each["name"] == image)
    auth = sandbox.graphql('{computePickleUploadAuth(filename: "m.pkl") {filename url}}')["data"]
    requests.put(auth["computePickleUploadAuth"]["url"], data=content, timeout=10).raise_for_status()
    name, alice = auth["computePickleUploadAuth"]["filename"], sandbox.models["alice"]
    made = sandbox.graphql(CREATE, f=name, m=alice, d=identity)
    return str(made["data"]["createComputePickleUpload"]["id"])


def shown(sandbox: ServedSandbox, pickle: str) -> dict[str, Any]:
    """What computePickles says of it."""
    answer = sandbox.graphql(f"query($i: ID) {{computePickles(id: $i) {{{SHOWN}}}}}", i=pickle)
    return dict(answer["data"]["computePickles"][0])


def ended(sandbox: ServedSandbox, pickle: str, runs: int = 1) -> dict[str, Any]:
    """The same once so many runs of it have ended."""

    def look() -> dict[str, Any] | None:
        found = shown(sandbox, pickle)
        over = [each for each in found["triggers"] if each["status"] in ("success", "failed", "error")]
        return found if len(over) >= runs else None

    return dict(wait_for(look))


def printed(sandbox: ServedSandbox, trigger: str) -> list[str]:
    """What a run has printed."""
    logs = sandbox.graphql("query($t: ID!) {triggerLogs(triggerId: $t) {timestamp message}}", t=trigger)
    return [each["message"] for each in logs["data"]["triggerLogs"]]


@pytest.mark.slow
class TestARealRun:
    def test_a_good_one_is_validated_assigned_and_submits_when_a_round_opens(self, sandbox: ServedSandbox) -> None:
        name = sandbox.graphql("{listDatasets(tournament: 8)}")["data"]["listDatasets"]
        assert "v5.3/live.parquet" in name
        pickle = upload(sandbox, first_feature)
        done = ended(sandbox, pickle)
        assert done["validationStatus"] == "validated", done
        (validation,) = done["triggers"]
        words = [each["status"] for each in validation["statuses"]]
        assert words == ["pending", "running", "validating", "success"] and validation["submissionId"] is None
        assert "rows: 120" in printed(sandbox, validation["id"])
        sandbox.graphql(ASSIGN, m=sandbox.models["alice"], p=pickle)
        sandbox.open_round()
        run = ended(sandbox, pickle, 2)["triggers"][1]
        assert run["status"] == "success", printed(sandbox, run["id"])
        assert sandbox.entry()["status"] == "on-time" and sandbox.entry()["id"] == run["submissionId"]

    def test_one_with_two_arguments_gets_the_benchmark_models(self, sandbox: ServedSandbox) -> None:
        assert ended(sandbox, upload(sandbox, with_benchmarks))["validationStatus"] == "validated"

    @pytest.mark.parametrize(
        ("model", "image", "why"),
        [
            (b"no pickle", OWN, "Invalid pickle"),
            (out_of_range, OWN, "between 0 and 1"),
            (good, OWN, "feature_0"),
            (with_benchmarks, OTHER, "incompatible"),
        ],
    )
    def test_one_that_does_not_work_fails_and_says_why(
        self, sandbox: ServedSandbox, model: object, image: str, why: str
    ) -> None:
        done = ended(sandbox, upload(sandbox, model, image))
        assert (done["validationStatus"], done["triggerStatus"]) == ("failed", "failed")
        last = done["triggers"][0]
        assert why in last["statuses"][-1]["description"] and any(why in line for line in printed(sandbox, last["id"]))

    def test_one_that_takes_too_long_is_stopped(self, sandbox_factory: Factory) -> None:
        sandbox = sandbox_factory(switches=Switches(pickle_seconds=3))
        done = ended(sandbox, upload(sandbox, forever))
        assert "timed out after 3 seconds" in done["triggers"][0]["statuses"][-1]["description"]


def first_feature(live_features: Any) -> Any:
    print("rows:", len(live_features))
    features = [name for name in live_features.columns if name.startswith("feature_")]
    ranks = live_features[features].sum(axis=1).rank(method="first", pct=True)
    return ranks.to_frame("prediction")


class TestOneThatIsNotReallyRun:
    @pytest.mark.slow
    def test_what_comes_of_it_is_a_switch(self, sandbox_factory: Factory) -> None:
        for passes in (True, False):
            sandbox = sandbox_factory(switches=Switches(run_pickles=False, pickle_validation=passes))
            assert ended(sandbox, upload(sandbox, b"x"))["validationStatus"] == ("validated" if passes else "failed")

    @pytest.mark.slow
    def test_its_runs_submit_and_a_trigger_starts_one(self, sandbox_factory: Factory) -> None:
        sandbox = sandbox_factory(switches=Switches(run_pickles=False))
        pickle, alice = upload(sandbox, b"x", OTHER), sandbox.models["alice"]
        ended(sandbox, pickle)
        start = "mutation($m: ID, $p: ID) {triggerComputePickleUpload(modelId: $m, pickleId: $p) {id}}"
        assert "not assigned" in sandbox.graphql(start, m=alice, p=pickle)["errors"][0]["message"]
        sandbox.graphql(ASSIGN, m=alice, p=pickle)
        assert sandbox.graphql(start, m=alice)["data"]["triggerComputePickleUpload"] == {"id": pickle}
        run = ended(sandbox, pickle, 2)["triggers"][1]
        assert sandbox.entry()["id"] == run["submissionId"]
        assert sandbox.submission(run["submissionId"])["trigger_id"] == run["id"]

    def test_while_no_round_is_open_it_says_so(self, sandbox_factory: Factory) -> None:
        sandbox = sandbox_factory(switches=Switches(run_pickles=False), window_minutes=0.001)
        rounds = sandbox.running.sandbox.rounds
        wait_for(lambda: (latest := rounds.latest(8)) is not None and not rounds.is_open(latest))
        done = ended(sandbox, upload(sandbox, b"x"))
        assert done["validationStatus"] == "validated"
        assert done["triggers"][0]["statuses"][-1] == {"status": "success", "description": NO_ROUND}

    def test_what_is_not_there_is_refused(self, sandbox: ServedSandbox) -> None:
        for query in (
            'mutation {triggerComputePickleUpload(pickleId: "x") {id}}',
            'query {triggerLogs(triggerId: "x") {message}}',
        ):
            assert "not found" in sandbox.graphql(query)["errors"][0]["message"]
