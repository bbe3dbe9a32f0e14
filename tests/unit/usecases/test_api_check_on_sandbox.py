"""`numerai doctor --api` against the sandbox: clean as it is; whatever is wrong is named with what it means."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.models import Keys
from numerai_compute.sandbox.settings import ModelSpec
from numerai_compute.sandbox.switches import Switches
from numerai_compute.usecases.api_check.ask import ask_api
from numerai_compute.usecases.api_check.judge import Finding, Verdict, judge

from tests.fixtures.sandbox import ServedSandbox
from tests.unit.sandbox.test_webhooks import upload_pickle

Start = Callable[..., ServedSandbox]


def findings_of(sandbox: ServedSandbox) -> list[Finding]:
    probe = HttpNumeraiApi(Keys(sandbox.public_id, sandbox.secret_key, sandbox.url), tries=1)
    answers = ask_api(probe, lambda: probe.heard_time() or datetime.now(timezone.utc), lambda line: None)
    return judge(answers)


def differing(sandbox: ServedSandbox) -> list[Finding]:
    return [each for each in findings_of(sandbox) if each.verdict in (Verdict.DIFFERS, Verdict.DEPRECATED)]


@pytest.mark.slow
def test_the_sandbox_as_it_is_agrees_and_nothing_of_it_has_changed(sandbox: ServedSandbox) -> None:
    before = {key: value for key, value in sandbox.state().items() if key != "requests"}
    findings = findings_of(sandbox)
    assert [finding for finding in findings if finding.verdict not in (Verdict.AGREES, Verdict.UNCHECKED)] == []
    agreeing = {finding.rule for finding in findings if finding.verdict is Verdict.AGREES}
    assert {"requests-valid", "always-null", "times-ordered", "late-period", "entry-words", "data-listed"} <= agreeing
    after = {key: value for key, value in sandbox.state().items() if key != "requests"}
    assert {key for key in before if before[key] != after[key]} <= {"now", "clock", "time"}


@pytest.mark.slow
def test_late_queued_and_cloned_submissions_are_read(sandbox_factory: Start, tmp_path: Path) -> None:
    sandbox = sandbox_factory(window_minutes=60.0, switches=Switches(clone_keeps_trigger=True))
    csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
    sandbox.submit(csv)
    sandbox.clock(advance=90 * 60)
    sandbox.submit(csv, trigger_id="t-1")
    by_rule = {finding.rule: finding for finding in findings_of(sandbox)}
    for rule in ("entry-ids", "entry-filenames", "late-queued", "round-zero"):
        assert by_rule[rule].verdict is Verdict.AGREES, by_rule[rule]
    sandbox.open_round()
    by_rule = {finding.rule: finding for finding in findings_of(sandbox)}
    for rule in ("entry-times", "entry-ids", "clone-at-opening", "clones-listed", "closes-at-next-opening"):
        assert by_rule[rule].verdict is Verdict.AGREES, by_rule[rule]
    assert by_rule["clone-trigger"].verdict is Verdict.DIFFERS and not by_rule["clone-trigger"].broken


@pytest.mark.slow
def test_what_is_not_known_of_numerai_is_named_where_it_shows(sandbox_factory: Start, tmp_path: Path) -> None:
    switches = Switches(clones_listed=False, round_zero_after_deadline=False)
    sandbox = sandbox_factory(window_minutes=60.0, switches=switches)
    csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
    sandbox.clock(advance=90 * 60)
    assert {finding.rule for finding in differing(sandbox)} == {"round-zero"}
    sandbox.submit(csv)
    sandbox.clock(advance=23 * 3600)
    sandbox.open_round()
    assert {finding.rule for finding in differing(sandbox)} == {"clones-listed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "names", "means"),
    [
        ("remove Round.closeStakingTime", "Round.closeStakingTime is gone", "no watcher can warn"),
        ("rename Round.openTime opensAt", "Round.openTime is gone (renamed to opensAt?)", "cannot start runs"),
        ("remove LatestSubmission.status", "LatestSubmission.status is gone", "No run can be confirmed"),
        ("remove Model.computePickleUpload", "Model.computePickleUpload is gone", "is not noticed"),
        ("remove RootQueryType.listDatasets", "RootQueryType.listDatasets is gone", "nothing can be downloaded"),
        ("remove RootMutationType.setSubmissionWebhook", "setSubmissionWebhook is gone", "cannot be registered"),
    ],
)
@pytest.mark.parametrize("introspection", [True, False])
def test_a_field_that_is_gone_is_named_with_what_it_means(
    sandbox_factory: Start, change: str, names: str, means: str, introspection: bool
) -> None:
    sandbox = sandbox_factory(schema_changes=(change,), introspection=introspection)
    gone = [finding for finding in findings_of(sandbox) if finding.broken]
    if not introspection:  # a refusal does not say what the field is called now
        names = names.partition(" (renamed")[0]
    assert [finding.rule for finding in gone] == ["requests-valid"]
    assert names in gone[0].why and means in (gone[0].consequence or "")


@pytest.mark.slow
def test_a_field_that_is_deprecated_is_named_and_breaks_nothing(sandbox_factory: Start) -> None:
    sandbox = sandbox_factory(schema_changes=("deprecate Round.number",))
    (finding,) = differing(sandbox)
    assert (finding.verdict, finding.broken) == (Verdict.DEPRECATED, False)
    assert "Round.number is deprecated" in finding.why and "Once it is gone" in (finding.consequence or "")


@pytest.mark.slow
def test_without_an_introspection_that_is_said_and_the_rest_is_checked(sandbox_factory: Start) -> None:
    findings = findings_of(sandbox_factory(introspection=False))
    assert findings[0].verdict is Verdict.UNCHECKED and "does not show its schema" in findings[0].why
    assert findings[1].verdict is Verdict.AGREES
    assert not [finding for finding in findings if finding.verdict in (Verdict.DIFFERS, Verdict.DEPRECATED)]


@pytest.mark.slow
def test_the_old_meaning_of_close_time_is_named(sandbox_factory: Start) -> None:
    (finding,) = differing(sandbox_factory(close_is_deadline=True, window_minutes=60.0))
    assert (finding.rule, finding.broken) == ("late-period", True)
    assert "closeTime may have its old meaning, the deadline" in (finding.consequence or "")


@pytest.mark.slow
def test_it_stays_within_the_documented_rate_limits(sandbox_factory: Start) -> None:
    models = tuple(ModelSpec(f"model{number}", 8) for number in range(30))
    sandbox = sandbox_factory(models=models, documented_rate_limits=True, introspection=False)
    assert differing(sandbox) == []
    assert all(request["status"] == 200 for request in sandbox.state()["requests"])


@pytest.mark.slow
def test_a_model_with_webhook_and_pickle_is_named(sandbox_factory: Start) -> None:
    sandbox = sandbox_factory()
    core = sandbox.running.sandbox
    alice = core.account.model(sandbox.models["alice"])
    core.account.change(alice, pickle_id=upload_pickle(sandbox), webhook="https://x.example")
    (finding,) = differing(sandbox)
    assert (finding.rule, finding.why, finding.broken) == ("webhook-or-pickle", "both: alice", True)
