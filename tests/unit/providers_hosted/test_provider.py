"""Numerai as a provider, against the sandbox: packed, rehearsed, uploaded, validated, assigned, run, taken away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.errors import ApiError, NumeraiError
from numerai_compute.models import Run, RunFailure, RunState
from numerai_compute.providers.hosted.record import NodeRecord, Records
from numerai_compute.providers.hosted.rehearsal import Limits, Rehearsed
from numerai_compute.providers.hosted.uploads import Uploads
from numerai_compute.sandbox.compute import DOCKER_IMAGES
from numerai_compute.sandbox.settings import parse_models
from numerai_compute.sandbox.switches import Switches
from numerai_compute.usecases.history import Trigger
from numerai_compute.usecases.history import _trigger as who_triggered

from tests.contract.hosted_bench import GOOD, HostedBench, ProcessWorkbench
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.present import present

Factory = Callable[..., ServedSandbox]
pytestmark = pytest.mark.slow
NOT_RUN = Switches(run_pickles=False)
NOBODY = "http://127.0.0.1:1"
CONSTANT = """
def predict(live_features):
    return (live_features.filter(like="feature_").iloc[:, :1] * 0 + 0.5).set_axis(["prediction"], axis=1)
"""


@pytest.fixture
def bench(tmp_path: Path, sandbox: ServedSandbox) -> HostedBench:
    """On a sandbox that really runs what is uploaded."""
    return HostedBench(tmp_path, sandbox)


@pytest.fixture
def quick(tmp_path: Path, sandbox_factory: Factory) -> HostedBench:
    """On a sandbox that takes every upload for valid."""
    return HostedBench(tmp_path, sandbox_factory(switches=NOT_RUN), rehearses=False)


def test_from_a_folder_to_a_submission_at_every_opening(bench: HostedBench) -> None:
    node = bench.provider.configure(bench.node(), bench.say)
    assert node.webhook_url is None and bench.provider.webhook_url(node.name) is None
    assert bench.provider.deployment(node.name) is None
    made = bench.provider.deploy(node, force=False, report=bench.say)
    assert made.changed and made.source_hash == bench.provider.source_hash(node)
    said = "\n".join(bench.said)
    assert "The rehearsal went well: 120 predictions" in said and "| predicting 120 rows" in said
    assert bench.provider.deployment(node.name) is None, "nothing is assigned without a confirmation"
    assert bench.provider.ready(node, made.source_hash) == made.image.removeprefix("upload ")
    bench.assign(node, made)
    assert bench.provider.ready(node, made.source_hash) is None
    assert present(bench.provider.deployment(node.name)).image == made.image
    assert bench.provider.runs(node.name) == [], "the validation is no run of a round"
    bench.sandbox.open_round()
    (run,) = wait_for(lambda: [run for run in bench.provider.runs(node.name) if run.state.final])
    assert (run.state, run.exit_code) == (RunState.SUCCEEDED, 0), run
    assert run.created_at <= present(run.started_at) <= present(run.ended_at)
    assert "predicting 120 rows" in [line.text for line in bench.provider.logs(run.id)]
    assert bench.sandbox.entry()["status"] == "on-time"
    assert bench.renewed().run(run.id) == run


def test_a_trigger_gives_exactly_one_run(quick: HostedBench) -> None:
    node = quick.ready()
    run = quick.provider.trigger(node, "by-the-watcher")
    assert quick.provider.trigger(node, "by-the-watcher").id == run.id
    assert quick.renewed().trigger(node, "by-the-watcher").id == run.id
    wait_for(lambda: quick.provider.run(run.id).state is RunState.SUCCEEDED)
    assert present(quick.provider.find_run(node.name, "by-the-watcher")).trigger_id == "by-the-watcher"
    assert quick.provider.find_run(node.name, "another") is None
    assert [each.id for each in quick.provider.runs(node.name)] == [run.id]
    other = quick.provider.trigger(node)
    assert [each.id for each in quick.provider.runs(node.name)] == [other.id, run.id]
    assert quick.provider.cancel(wait_for(lambda: (r := quick.provider.run(other.id)).state.final and r).id).state.final


def test_a_trigger_that_was_killed_before_it_knew_its_run_starts_no_second_one(
    quick: HostedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = quick.ready()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quick.provider._runs, "_appeared", killed)
    with pytest.raises(KeyboardInterrupt):
        quick.provider.trigger(node, "t")
    again = quick.renewed()
    run = again.trigger(node, "t")
    assert [each.id for each in again.runs(node.name)] == [run.id]


def test_deploy_uploads_only_what_has_changed(quick: HostedBench) -> None:
    node = quick.ready()
    again = quick.provider.deploy(node, force=False, report=quick.say)
    assert not again.changed and quick.uploads() == 1
    quick.node(GOOD + "# changed\n")
    assert present(quick.provider.deployment(node.name)).source_hash != quick.provider.source_hash(node)
    new = quick.provider.deploy(node, force=False, report=quick.say)
    assert new.changed and quick.uploads() == 2
    assert present(quick.provider.deployment(node.name)).image == again.image, "until it is assigned"
    quick.assign(node, new)
    assert present(quick.provider.deployment(node.name)).image != again.image


def test_a_deploy_that_was_killed_while_numerai_validates_is_gone_on_with(
    quick: HostedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = quick.provider.configure(quick.node(), quick.say)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quick.provider, "_await_validation", killed)
    with pytest.raises(KeyboardInterrupt):
        quick.provider.deploy(node, force=False, report=quick.say)
    sandbox = quick.sandbox.running.sandbox
    wait_for(lambda: sandbox.compute.pickles.all()[0].validation_status == "validated")
    again = quick.renewed()
    assert again.ready(node, again.source_hash(node)) is None
    made = again.deploy(node, force=False, report=quick.say)
    assert again.ready(node, made.source_hash) is not None and quick.uploads() == 1


def test_more_uploads_than_numerai_takes_are_refused_with_the_time(quick: HostedBench) -> None:
    node = quick.provider.configure(quick.node(), quick.say)
    for _ in range(3):
        Records(quick.context.home / "hosted").spend("upload", SystemClock().now())
    with pytest.raises(NumeraiError, match="takes 3 uploads in 30 minutes") as refused:
        quick.provider.deploy(node, force=False, report=quick.say)
    assert refused.value.code == "rate-limited" and "UTC" in str(refused.value.hint) and quick.uploads() == 0


def test_numerais_own_limit_is_said(tmp_path: Path, sandbox_factory: Factory) -> None:
    bench = HostedBench(tmp_path, sandbox_factory(switches=NOT_RUN, documented_rate_limits=True), rehearses=False)
    node = bench.ready()
    for number in range(3):
        bench.provider.trigger(node, f"t{number}")
    (bench.folder / "home" / "hosted" / "asked.json").unlink()  # as from another machine behind the same address
    with pytest.raises(NumeraiError) as refused:
        bench.provider.trigger(node, "t3")
    assert refused.value.code == "rate-limited", refused.value.in_full


def test_an_upload_that_numerai_finds_invalid_changes_nothing(tmp_path: Path, sandbox_factory: Factory) -> None:
    sandbox = sandbox_factory(switches=Switches(run_pickles=False, pickle_validation=False))
    bench = HostedBench(tmp_path, sandbox, rehearses=False)
    node = bench.provider.configure(bench.node(), bench.say)
    with pytest.raises(NumeraiError, match="validation of the upload failed: Pickle function is invalid") as refused:
        bench.provider.deploy(node, force=False, report=bench.say)
    assert refused.value.code == "validation-failed"
    assert (
        bench.provider.ready(node, bench.provider.source_hash(node)) is None
        and bench.provider.deployment(node.name) is None
    )


@pytest.mark.parametrize(
    ("script", "says", "code"),
    [
        ("def predict(live):\n    return open('weights').read()\n", "weights", "rehearsal-failed"),
        ("def predict(live):\n    import os\n    os._exit(3)\n", "exit code 3", "rehearsal-failed"),
        ("def predict(live):\n    import os\n    os.kill(os.getpid(), 9)\n", "4 GiB of memory", "rehearsal-failed"),
        ("def predict(live):\n    import os\n    os.kill(os.getpid(), 11)\n", "another Python", "rehearsal-failed"),
        (CONSTANT, "All values are the same", "rehearsal-failed"),
        ("def predict(live, benchmarks, more):\n    pass\n", "one or two arguments", "not-packed"),
        ("import no_such_package\ndef predict(live):\n    pass\n", "no_such_package", "not-packed"),
        ("def predict(live) return\n", "SyntaxError", "not-packed"),
        ("def main(node):\n    pass\n", "defines no function predict", "not-hosted"),
    ],
)
def test_a_model_that_numerai_could_not_run_is_refused_before_anything_is_uploaded(
    quick: HostedBench, script: str, says: str, code: str
) -> None:
    quick.rehearses = True
    quick.provider = quick.renewed()
    node = quick.provider.configure(quick.node(script), quick.say)
    with pytest.raises(NumeraiError) as refused:
        quick.provider.deploy(node, force=False, report=quick.say)
    assert refused.value.code == code and says in refused.value.message, refused.value.in_full
    assert quick.uploads() == 0 and refused.value.hint


def test_one_that_takes_too_long_is_refused(tmp_path: Path, sandbox_factory: Factory) -> None:
    bench = HostedBench(tmp_path, sandbox_factory(switches=NOT_RUN), Limits(seconds=6))
    node = bench.provider.configure(bench.node("def predict(live):\n    import time\n    time.sleep(60)\n"), bench.say)
    with pytest.raises(NumeraiError, match=r"takes longer than the 0\.1 minutes"):
        bench.provider.deploy(node, force=False, report=bench.say)
    assert bench.uploads() == 0


def test_a_pickle_in_the_folder_is_taken_as_it_is(quick: HostedBench) -> None:
    import cloudpickle

    def predict(live_features: Any, live_benchmark_models: Any) -> Any:
        assert len(live_features) == len(live_benchmark_models)
        return live_benchmark_models.iloc[:, -1].rank(pct=True).to_frame("prediction")

    node = quick.node("def main(node):\n    pass\n")
    content = cloudpickle.dumps(predict)
    (Path(node.path) / "model.pkl").write_bytes(content)
    node = quick.provider.configure(node, quick.say)
    assert quick.provider.deploy(node, force=False, report=quick.say).changed
    sandbox = quick.sandbox.running.sandbox
    (upload,) = sandbox.compute.pickles.all()
    assert sandbox.upload_store.path(upload.filename).read_bytes() == content
    assert "Taking model.pkl as it is: no code beside it defines predict" in quick.said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tournament": 11}, "Classic only"),
        ({"cron": "0 13 * * *"}, "no schedules"),
        ({"cpu": 2.0}, "1 vCPU and 4 GiB"),
        ({"memory_mib": 8192}, "1 vCPU and 4 GiB"),
        ({"timeout_minutes": 60}, "10 minutes"),
        ({"context": "/elsewhere"}, "folder alone"),
        ({"retrain_days": 30}, "trains nothing"),
    ],
)
def test_what_cannot_run_there_is_refused_with_who_can(quick: HostedBench, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NumeraiError, match=says) as refused:
        quick.provider.configure(replace(quick.node(), **changes), quick.say)
    assert refused.value.code == "not-hosted" and "local and aws" in str(refused.value.hint)


def test_a_python_and_a_data_version_that_numerai_does_not_have_are_named(
    tmp_path: Path, sandbox_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = HostedBench(tmp_path, sandbox_factory(switches=NOT_RUN))
    node = bench.provider.configure(bench.node(), bench.say)
    with pytest.raises(NumeraiError, match=r"no data version v4\.3: there are v5\.3, v5\.2"):
        bench.provider.deploy(replace(node, data_version="v4.3"), force=False, report=bench.say)
    left = [image for image in DOCKER_IMAGES if image["name"] == "Python 3.10"]
    monkeypatch.setattr("numerai_compute.sandbox.api.executor.DOCKER_IMAGES", left)
    other = HostedBench(tmp_path, bench.sandbox, python="3.12")
    with pytest.raises(NumeraiError, match=r"no uploads on Python 3\.12: it has 3\.10"):
        other.provider.deploy(node, force=False, report=bench.say)
    assert bench.uploads() == 0


class TestDestroy:
    def test_what_numerai_goes_on_running_is_not_forgotten(self, quick: HostedBench) -> None:
        node = quick.ready()
        with pytest.raises(NumeraiError, match="only its website takes that away") as refused:
            quick.provider.destroy(node.name, force=False, report=quick.say)
        assert refused.value.code == "still-assigned"
        assert quick.provider.deployment(node.name) is not None
        quick.provider.destroy(node.name, force=True, report=quick.say)
        assert "goes on running the upload" in quick.said[-1]
        assert quick.provider.deployment(node.name) is None
        quick.provider.destroy(node.name, force=False, report=quick.say)

    def test_where_an_assignment_of_nothing_takes_it_away_it_is_gone(
        self, tmp_path: Path, sandbox_factory: Factory
    ) -> None:
        sandbox = sandbox_factory(switches=Switches(run_pickles=False, null_pickle_unassigns=True))
        bench = HostedBench(tmp_path, sandbox)
        node = bench.ready()
        bench.provider.destroy(node.name, force=False, report=bench.say)
        assert sandbox.state()["models"][0]["pickle_id"] is None
        assert bench.provider.runs(node.name) == []

    def test_what_another_home_lets_numerai_run_is_left_and_said(self, quick: HostedBench) -> None:
        node = quick.ready()
        records = Records(quick.context.home / "hosted")
        records.put(NodeRecord(node.name, node.model_id))
        quick.provider.destroy(node.name, force=False, report=quick.say)
        assert "goes on running the upload" in quick.said[-1] and "at numer.ai" in quick.said[-1]
        assert "not made by this home" in quick.said[-1] and records.get(node.name) is None
        assert quick.sandbox.state()["models"][0]["pickle_id"]
        quick.provider.destroy(node.name, force=False, report=quick.say)
        assert "has no record" in quick.said[-1] and "at numer.ai" in quick.said[-1]

    @pytest.mark.parametrize(
        ("changes", "says", "hint"),
        [({"secret_key": "x" * 40}, "refuses the keys", "numerai setup"), ({"api_url": NOBODY}, "reached", "network")],
    )
    def test_with_force_it_is_forgotten_without_an_answer_of_numerais(
        self, quick: HostedBench, changes: dict[str, str], says: str, hint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node = quick.ready()
        api = HttpNumeraiApi(replace(quick.keys, **changes), tries=1, seconds=1)
        monkeypatch.setattr(quick.provider, "_uploads", Uploads(api, api))
        monkeypatch.delattr(quick.provider, "_runs", raising=False)
        with pytest.raises(NumeraiError, match=says) as refused:
            quick.provider.destroy(node.name, force=False, report=quick.say)
        assert hint in str(refused.value.hint)
        quick.provider.destroy(node.name, force=True, report=quick.say)
        assert "is not known" in quick.said[-1] and says in quick.said[-1] and "at numer.ai" in quick.said[-1]
        assert Records(quick.context.home / "hosted").get(node.name) is None


def test_checks_tell_how_a_node_stands(quick: HostedBench) -> None:
    node = quick.provider.configure(quick.node(), quick.say)

    def found() -> dict[str, str]:
        return {check.name: check.status.value for check in quick.provider.checks([node])}

    assert found() == {"model uploads": "ok", "deployment": "failed", "last run": "ok"}
    made = quick.provider.deploy(node, force=False, report=quick.say)
    said = next(check.why for check in quick.provider.checks([node]) if check.name == "deployment")
    assert found()["deployment"] == "failed" and said.startswith(f"the {made.image} is validated and not assigned")
    quick.ready()
    assert found() == {"model uploads": "ok", "deployment": "ok", "last run": "ok"}
    quick.node(GOOD + "# changed\n")
    assert found()["deployment"] == "warning"


def test_a_failed_run_says_why(bench: HostedBench) -> None:
    node = bench.ready()
    sandbox = bench.sandbox.running.sandbox
    pickle = sandbox.compute.pickles.all()[0]
    sandbox.upload_store.put(pickle.filename, [b"damaged"])
    run = bench.provider.trigger(node)
    for _ in bench.provider.logs(run.id, follow=True):
        pass
    failed = bench.provider.run(run.id)
    assert (failed.state, failed.failure) == (RunState.FAILED, RunFailure.EXIT_CODE)
    assert "Invalid pickle" in str(failed.message)


def test_unknown_runs_are_named(quick: HostedBench) -> None:
    for ask in (quick.provider.run, quick.provider.cancel, lambda name: list(quick.provider.logs(name))):
        with pytest.raises(NumeraiError) as failure:
            ask("0123456789")
        assert failure.value.code == "no-such-run"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("def predict(live_features)\n    pass\n", r"SyntaxError: expected ':' \(predict.py, line 1\)"),
        ("def predict(a, b, c):\n    pass\n", "must take one or two arguments"),
        ("import no_such_package\ndef predict(live_features):\n    pass\n", "No module named 'no_such_package'"),
        (
            "import threading\nLOCK = threading.Lock()\ndef predict(live_features):\n    return LOCK\n",
            r"LOCK of predict cannot be pickled .*: make it inside of predict",
        ),
    ],
)
def test_what_cannot_be_packed_is_one_message(quick: HostedBench, script: str, says: str) -> None:
    node = quick.provider.configure(quick.node(script), quick.say)
    with pytest.raises(NumeraiError, match=says) as refused:
        quick.provider.deploy(node, force=False, report=quick.say)
    assert refused.value.code == "not-packed" and refused.value.hint and quick.uploads() == 0


def test_numerai_away_while_it_validates_is_said_with_what_was_handed_in(
    quick: HostedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = quick.provider.configure(quick.node(), quick.say)

    def away(*_: Any) -> None:
        raise ApiError("Numerai does not answer.", "Look at the network.", code="numerai-unreachable", temporary=True)

    monkeypatch.setattr(quick.provider._uploads, "upload", away)
    with pytest.raises(ApiError, match=r"^Numerai does not answer\. The upload .* is handed in") as failure:
        quick.provider.deploy(node, force=False, report=quick.say)
    assert "Look at the network. Then deploy again: that goes on waiting" in str(failure.value.hint)
    assert (failure.value.code, failure.value.temporary) == ("numerai-unreachable", True)
    again = quick.renewed()
    assert again.deploy(node, force=False, report=quick.say).source_hash and quick.uploads() == 1


@pytest.mark.parametrize("pickled", [True, False])
def test_a_folder_that_changes_while_it_is_packed_is_not_uploaded_as_what_it_was(
    quick: HostedBench, monkeypatch: pytest.MonkeyPatch, pickled: bool
) -> None:
    node = quick.provider.configure(quick.node(), quick.say)
    if pickled:
        (Path(node.path) / "predict.py").unlink()
        (Path(node.path) / "model.pkl").write_bytes(b"one")
    pack = ProcessWorkbench.pack

    def edited(*_: Any, **__: Any) -> Any:
        (Path(node.path) / ("model.pkl" if pickled else "helper.py")).write_bytes(b"# another\n")

    def packed_then_edited(*arguments: Any) -> None:
        pack(*arguments)
        edited()

    with monkeypatch.context() as patched:
        if pickled:
            patched.setattr(quick.provider._packer, "_live_data", edited)
        else:
            patched.setattr(ProcessWorkbench, "pack", packed_then_edited)
        with pytest.raises(NumeraiError, match="changed while it was packed") as refused:
            quick.provider.deploy(node, force=False, report=quick.say)
    assert refused.value.code == "source-changed" and "again" in str(refused.value.hint) and quick.uploads() == 0


def test_a_pickle_that_changes_after_the_rehearsal_is_not_what_is_uploaded(
    quick: HostedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = quick.provider.configure(quick.node(), quick.say)
    (Path(node.path) / "predict.py").unlink()
    (Path(node.path) / "model.pkl").write_bytes(b"rehearsed")

    def rehearse(*_: Any) -> Rehearsed:
        (Path(node.path) / "model.pkl").write_bytes(b"another")
        return Rehearsed(1, 0.0, None)

    monkeypatch.setattr(ProcessWorkbench, "rehearse", rehearse)
    quick.provider.deploy(node, force=False, report=quick.say)
    sandbox = quick.sandbox.running.sandbox
    (upload,) = sandbox.compute.pickles.all()
    assert sandbox.upload_store.path(upload.filename).read_bytes() == b"rehearsed"


def test_a_run_is_told_by_who_started_it(quick: HostedBench) -> None:
    node = quick.ready()
    by_hand = quick.provider.trigger(node)
    quick.sandbox.open_round()
    runs = wait_for(lambda: (r := quick.provider.runs(node.name))[1:] and all(each.state.final for each in r) and r)
    found = {run.id: run.trigger_id for run in runs}
    assert found.pop(by_hand.id) is None
    (own,) = found
    assert found == {own: own} and who_triggered(own) is Trigger.NUMERAI
    assert quick.renewed().find_run(node.name, own) == next(run for run in runs if run.id == own)


def test_an_upload_that_two_models_share_has_the_runs_of_each_under_its_own(
    tmp_path: Path, sandbox_factory: Factory
) -> None:
    quick = HostedBench(
        tmp_path, sandbox_factory(models=parse_models(("alice", "bob")), switches=NOT_RUN), rehearses=False
    )
    alice, bob = quick.ready(), quick.provider.configure(quick.node(model="bob"), quick.say)
    upload = present(quick.provider.deployment(alice.name)).image.removeprefix("upload ")
    quick.provider.assign(bob, upload, quick.say)  # as a person does on the website
    quick.sandbox.open_round()

    def all_runs() -> list[Run]:
        runs = [*quick.provider.runs(alice.name), *quick.provider.runs(bob.name)]
        return runs if len(runs) > 1 and all(run.state.final for run in runs) else []

    wait_for(all_runs)
    (of_alice,), (of_bob,) = quick.provider.runs(alice.name), quick.provider.runs(bob.name)
    for run, node in ((of_alice, alice), (of_bob, bob)):
        assert quick.provider.run(run.id).node == run.node == node.name
        files = HttpNumeraiApi(quick.keys).submissions(node.model_id)
        assert run.trigger_id in {file.trigger_id for file in files}
    by_hand = quick.provider.trigger(bob)
    assert by_hand.id not in {run.id for run in quick.provider.runs(alice.name)}
    assert quick.provider.run(by_hand.id).node == bob.name
