"""The AWS root without any AWS: its form, its plans against a mocked provider, and what checkov says of it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import EventPattern
from numerai_compute.models import NOT_SUBMITTED_CODE
from numerai_compute.triggers import NO_SUBMIT

from .conftest import ROOT
from .emulator import mirror_configuration
from .moto_batch import EXITED, Outcome, never_started

pytestmark = [pytest.mark.aws]

CHECKOV = os.environ.get("NUMERAI_TEST_CHECKOV", "checkov")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the root that Terraform may write to."""
    if not shutil.which("terraform"):
        pytest.skip("Terraform is missing.")
    folder = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT, folder, dirs_exist_ok=True)
    done = terraform(folder, "init", "-backend=false", "-input=false")
    if done.returncode != 0:
        pytest.skip(f"Terraform's provider cannot be had: {done.stderr[-500:]}")
    return folder


def terraform(folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **mirror_configuration(folder), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    argv = ["terraform", *arguments]
    return subprocess.run(argv, cwd=folder, env=environment, input=said, capture_output=True, text=True)


def test_it_is_formatted_and_valid(root: Path) -> None:
    formatted = terraform(root, "fmt", "-check", "-recursive", "-diff")
    assert formatted.returncode == 0, formatted.stdout
    valid = terraform(root, "validate", "-no-color")
    assert valid.returncode == 0, valid.stderr


def test_its_lock_file_knows_the_provider_that_is_installed_here(root: Path) -> None:
    """`init` has checked the provider against the hashes; it would have added the hash of one that it did not know."""
    name = ".terraform.lock.hcl"
    assert (root / name).read_bytes() == (ROOT / name).read_bytes()


def test_its_own_tests_pass(root: Path) -> None:
    done = terraform(root, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def value_of(root: Path, expression: str) -> Any:
    """What an expression is in the root."""
    digest = base64.b64encode(bytes(32)).decode()
    packages = ((f"{name}_package_path=x", f"{name}_package_sha256={digest}") for name in ("webhook", "watcher"))
    variables = [f"-var={each}" for each in ("region=us-east-1", "nodes={}", *itertools.chain(*packages))]
    told = terraform(root, "console", *variables, said=f"jsonencode({expression})")
    assert told.returncode == 0, told.stdout + told.stderr
    return json.loads(json.loads(told.stdout))


def failed(name: str, exit_code: int | None, status: str = "FAILED") -> Any:
    """What the event of a job holds of it."""
    return {"status": status, "jobName": name, "container": {} if exit_code is None else {"exitCode": exit_code}}


def test_people_hear_of_failures_and_of_no_test_that_ended_where_it_was_to(root: Path) -> None:
    pattern = EventPattern.load(json.dumps(value_of(root, "local.failures")))
    by_hand, test = "numerai-alice-by-hand", f"{NO_SUBMIT}numerai-alice"
    for job in (
        failed(by_hand, 1),
        failed(by_hand, None),
        failed(by_hand, NOT_SUBMITTED_CODE),
        failed("notice-numerai-alice-missed", 1),
        failed(test, 65),
        failed(test, None),
    ):
        assert pattern.matches_event(job), job
    for job in (failed(test, NOT_SUBMITTED_CODE), failed(by_hand, 0, "SUCCEEDED"), failed(by_hand, None, "RUNNING")):
        assert not pattern.matches_event(job), job


@pytest.mark.parametrize("fargate", [True, False])
def test_what_never_started_is_tried_again_whatever_the_service_calls_it(root: Path, fargate: bool) -> None:
    rules = [
        {"action": rule["action"], "onExitCode": rule["exit_code"], "onStatusReason": rule["status_reason"]}
        for rule in value_of(root, "local.retries")
    ]
    assert len(rules) <= 5, "AWS Batch takes five"
    for why in (
        "ResourceInitializationError: unable to pull secrets or registry auth: i/o timeout",
        "CannotPullContainerError: pull image manifest has been retried 5 time(s): 429 Too Many Requests",
        "Timeout waiting for network interface provisioning to complete.",
    ):
        assert never_started(why, fargate=fargate).retried(rules), why
    for outcome, again in (
        (Outcome(75, None, EXITED), True),
        (Outcome(143, None, "Your Spot Task was interrupted."), True),
        (Outcome(143, None, "ECS is performing maintenance on the underlying infrastructure hosting the task."), True),
        (Outcome(None, None, "Host EC2 (instance i-1) terminated."), True),
        (Outcome(1, None, EXITED), False),
        (Outcome(78, None, EXITED), False),
        (Outcome(137, "OutOfMemoryError: Container killed due to memory usage", EXITED), False),
    ):
        assert outcome.retried(rules) == again, outcome.__dict__


def test_every_variable_and_output_is_described_and_typed() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("*.tf"))
    for kind, needed in (("variable", ("description", "type")), ("output", ("description",))):
        blocks = re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.MULTILINE | re.DOTALL)
        assert blocks
        for name, block in blocks:
            for word in needed:
                assert re.search(rf"^  {word}\s*=", block, re.MULTILINE), f"{kind} {name} has no {word}"


def test_checkov_finds_nothing_and_every_suppression_has_a_reason() -> None:
    for path in ROOT.glob("*.tf"):
        for line in re.findall(r"#checkov:skip=.*", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"#checkov:skip=CKV\w+:.{25,}", line), line
    if not shutil.which(CHECKOV):
        pytest.skip("checkov is missing; NUMERAI_TEST_CHECKOV can name it.")
    done = subprocess.run(
        [CHECKOV, "-d", str(ROOT), "--skip-download", "--framework", "terraform", "-o", "json"],
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)
    failed = [f"{check['check_id']} {check['resource']}" for check in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["passed"] > 100
