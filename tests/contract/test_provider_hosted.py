"""Numerai as a provider keeps what of the provider contract applies to it; the rest is named, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.models import Deployment, Node, Run
from numerai_compute.ports import Report
from numerai_compute.providers.hosted.packing import Packer
from numerai_compute.providers.hosted.provider import HostedProvider
from numerai_compute.sandbox.switches import Switches

from tests.fixtures.sandbox import ServedSandbox

from .hosted_bench import HELPER, HostedBench, ProcessWorkbench, no_engine
from .provider_suite import ProviderContract, ended, quiet, texts

NO_WEBHOOK = "Numerai calls no webhook for a model that it runs itself"
NO_CONTAINER = "there is no container with an environment of ours: Numerai calls a function"
NO_EXIT_CODE = "a function has no exit code; that a failed run says why is shown in tests/unit/providers_hosted"
NO_TRAINING = "Numerai only predicts; `numerai train` trains here"
NO_STOP = "the API has nothing that stops a run; `cancel` says so"
NOT_HERE = {
    "test_configure_is_idempotent": f"{NO_WEBHOOK}; without one it is shown below",
    "test_a_lost_image_is_built_again": "Numerai keeps what was uploaded; the API removes none",
    "test_a_failed_build_leaves_what_is_deployed": "there is no build; a validation that fails is shown in tests/unit",
    "test_a_node_that_was_never_deployed_fails_with_its_reason": "no run begins: the trigger itself is refused (below)",
    "test_a_trigger_gives_one_run_with_the_environment_contract": NO_CONTAINER,
    "test_a_run_by_hand_has_no_trigger_id": NO_CONTAINER,
    "test_the_webhooks_address_is_told_as_it_was_configured": NO_WEBHOOK,
    "test_a_run_that_is_told_not_to_submit": "Numerai submits what the function returns",
    "test_a_trigger_that_was_seen_gives_its_run": f"{NO_WEBHOOK}; by `trigger` it is shown in tests/unit",
    "test_the_webhook_answers_as_the_contract_says": NO_WEBHOOK,
    "test_too_many_calls_are_slowed_down": NO_WEBHOOK,
    "test_a_failed_run_says_why": NO_EXIT_CODE,
    "test_a_temporary_failure_is_tried_again": NO_EXIT_CODE,
    "test_a_temporary_failure_that_lasts_ends_the_run": NO_EXIT_CODE,
    "test_a_run_that_takes_too_long_is_stopped": "the limit is Numerai's; the rehearsal holds it before the upload",
    "test_a_run_that_needs_too_much_memory_says_so": "the limit is Numerai's; the rehearsal holds it before the upload",
    "test_a_cancelled_run_stops": NO_STOP,
    "test_runs_of_one_node_do_not_overlap": "how Numerai queues runs of one upload is not known",
    "test_logs_can_be_followed": "a run cannot be held from outside; that a log is followed to its end is shown below",
    "test_destroy_refuses_while_a_run_goes_on_unless_forced": NO_STOP,
    "test_what_a_run_has_sent_is_given_back": "Numerai itself has what the function returned; its website shows it",
    "test_a_training_is_a_run_of_its_own_kind": NO_TRAINING,
    "test_a_training_keeps_no_round_from_its_run": NO_TRAINING,
    "test_destroy_leaves_nothing": "uploads stay at Numerai, and only the website unassigns; shown in tests/unit",
    "test_checks_tell_how_a_node_stands": "a run cannot fail on purpose by its exit code; shown in tests/unit",
}
"""Which cases do not apply, and why."""


class Assigning(HostedProvider):
    """As a person who says yes."""

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        done = super().deploy(node, force=force, report=report)
        if (upload := self.ready(node, done.source_hash)) is not None:
            self.assign(node, upload, report)
        return done


class ContractBench(HostedBench):
    """`provider_suite.Bench` as far as it applies: a script runs inside of `predict`."""

    secret = ""

    def renewed(self) -> Assigning:
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        packer = Packer(no_engine, self.limits, lambda *_: ProcessWorkbench(work, self.limits, rehearses=False))
        return Assigning(self.context, packer, poll_seconds=0.05)

    def node(self, script: str = "", model: str = "alice", **_: Any) -> Node:
        body = f"exec({script!r})\n    return helper.ranks(live_features)"
        return super().node(f"import helper\ndef predict(live_features):\n    {body}\n", model, helper=HELPER)

    def rewrite(self, node: Node, script: str) -> None:
        self.node(script)

    def break_build(self, node: Node) -> None:
        raise NotImplementedError

    def release(self, node: Node, run: Run) -> None:
        raise NotImplementedError

    def lose_image(self, node: Node) -> None:
        raise NotImplementedError

    def traces(self, node: Node) -> list[str]:
        raise NotImplementedError


@pytest.mark.slow
class TestNumerai(ProviderContract[ContractBench]):
    """On the sandbox, without containers."""

    @pytest.fixture(autouse=True)
    def applies(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name in NOT_HERE:
            pytest.skip(NOT_HERE[name])

    @pytest.fixture
    def bench(self, tmp_path: Path, sandbox_factory: Callable[..., ServedSandbox]) -> ContractBench:
        return ContractBench(tmp_path, sandbox_factory(switches=Switches(run_pickles=False)))

    def test_edits_after_a_deploy_change_nothing_that_runs(self, bench: ContractBench) -> None:
        bench.sandbox.running.sandbox.compute.switches = Switches()  # this one is really run
        node = self.ready(bench, "print('deployed')")
        bench.rewrite(node, "print('edited')")
        run = ended(bench.provider, bench.provider.trigger(node).id)
        printed = texts(bench.provider, run.id)
        assert "deployed" in printed and "edited" not in printed, "beside what Numerai's own image prints"

    def test_configure_again_changes_nothing(self, bench: ContractBench) -> None:
        first = bench.provider.configure(bench.node(), quiet)
        assert bench.provider.configure(first, quiet) == first and first.webhook_url is None

    def test_a_trigger_of_what_was_never_deployed_is_refused(self, bench: ContractBench) -> None:
        from numerai_compute.errors import NumeraiError

        node = bench.provider.configure(bench.node(), quiet)
        with pytest.raises(NumeraiError, match=r"deploy.*first|runs no upload") as refused:
            bench.provider.trigger(node)
        assert refused.value.code == "not-deployed"


def test_every_case_that_does_not_apply_is_one_of_the_contract() -> None:
    assert set(NOT_HERE) <= set(vars(ProviderContract))
