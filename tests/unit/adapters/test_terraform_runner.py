"""The Terraform runner against a stand-in program that prints what Terraform prints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.terraform_errors import Diagnostic, explain
from numerai_compute.adapters.terraform_runner import ADOPTION_FILE, LOCK_FILE, S3Backend, TerraformRunner, words
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError
from numerai_compute.ports import PlannedResource, PlannedResources, StackChange

from tests.fixtures.sandbox import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script with a first line for POSIX")

VERSION = json.dumps({"terraform_version": "1.11.4"})

LOCK = """Error acquiring the state lock
Error message: resource temporarily unavailable
Lock Info:
  ID:        5b1c1d1e-aaaa-bbbb-cccc-000000000000
  Path:      terraform.tfstate
  Operation: OperationTypeApply
  Who:       ada@laptop
  Version:   1.11.4
  Created:   2026-01-05 10:00:00.5 +0000 UTC
"""


class StandIn:
    """A program named `terraform` that answers each command with prepared lines and notes how it was called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "terraform"):
        self.folder = folder
        self.calls_file = folder / "calls.jsonl"
        self.answers: dict[str, tuple[list[str], int]] = {"version": ([VERSION], 0)}
        self._answers_file = folder / "answers.json"
        self._install(name)
        monkeypatch.setenv("PATH", str(folder / "bin"))

    def _install(self, name: str) -> None:
        (self.folder / "bin").mkdir()
        program = self.folder / "bin" / name
        program.write_text(
            f"#!{sys.executable}\n"
            + textwrap.dedent(
                f"""
                import json, os, sys
                answers = json.load(open({str(self._answers_file)!r}))
                note = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
                if os.path.exists("adoption.tf"):
                    note["adoption"] = open("adoption.tf").read()
                open({str(self.calls_file)!r}, "a").write(json.dumps(note) + "\\n")
                command = " ".join(sys.argv[1:3]) if sys.argv[1] == "state" else sys.argv[1]
                lines, code = answers.get(command, [[], 0])
                print("\\n".join(lines))
                sys.exit(code)
                """
            )
        )
        program.chmod(0o755)
        self.save()

    def answer(self, command: str, *lines: object, code: int = 0) -> None:
        text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.answers[command] = (text, code)
        self.save()

    def save(self) -> None:
        self._answers_file.write_text(json.dumps(self.answers))

    def calls(self, command: str) -> list[dict[str, Any]]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [call for call in map(json.loads, lines) if call["argv"][0] == command]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path, monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "main.tf").write_text("# one\n")
    (folder / "README.md").write_text("not for the working folder\n")
    return folder


@pytest.fixture
def runner(tmp_path: Path, root: Path, stand_in: StandIn) -> TerraformRunner:
    return TerraformRunner(root, tmp_path / "work", tmp_path / "plugins")


@pytest.fixture
def prepared(runner: TerraformRunner) -> TerraformRunner:
    runner.prepare(lambda _: None)
    return runner


def diagnostic(summary: str, detail: str = "", severity: str = "error", address: str | None = None) -> dict[str, Any]:
    return {
        "type": "diagnostic",
        "diagnostic": {"severity": severity, "summary": summary, "detail": detail, "address": address},
    }


def change(address: str, action: str) -> dict[str, Any]:
    return {"type": "planned_change", "change": {"resource": {"addr": address}, "action": action}}


def hook(kind: str, address: str, action: str, seconds: int = 0) -> dict[str, Any]:
    return {
        "type": kind,
        "hook": {"resource": {"addr": address}, "action": action, "elapsed_seconds": seconds},
    }


def test_nothing_installed_is_said_with_where_to_get_it(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentNotReady) as caught:
        TerraformRunner(root, tmp_path / "work", tmp_path / "plugins").prepare(lambda _: None)
    assert caught.value.code == "terraform-missing"
    assert "1.10" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("version", "accepted"), [("1.9.8", False), ("0.15.5", False), ("1.10.0", True), ("2.0", True)]
)
def test_versions_are_compared_as_numbers(
    runner: TerraformRunner, stand_in: StandIn, version: str, accepted: bool
) -> None:
    stand_in.answer("version", json.dumps({"terraform_version": version}, indent=2))
    if accepted:
        assert runner.program[1] == version
    else:
        with pytest.raises(EnvironmentNotReady) as caught:
            _ = runner.program
        assert caught.value.code == "terraform-too-old"
        assert version in caught.value.message


def test_opentofu_serves_as_well(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    StandIn(tmp_path, monkeypatch, name="tofu")
    runner = TerraformRunner(root, tmp_path / "work", tmp_path / "plugins")
    assert Path(runner.program[0]).name == "tofu"


def test_a_program_without_a_version_is_named(runner: TerraformRunner, stand_in: StandIn) -> None:
    stand_in.answer("version", "Segmentation fault", code=139)
    with pytest.raises(EnvironmentNotReady, match="Segmentation fault"):
        _ = runner.program


def test_the_root_is_copied_and_what_left_it_is_removed(
    prepared: TerraformRunner, root: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    work = tmp_path / "work"
    assert stat.S_IMODE(work.stat().st_mode) == 0o700
    assert sorted(path.name for path in work.iterdir()) == ["main.tf"]
    (root / "main.tf").unlink()
    (root / "other.tf").write_text("# two\n")
    prepared.prepare(lambda _: None)
    assert [path.name for path in work.glob("*.tf")] == ["other.tf"]
    assert stand_in.calls("init")[-1]["cwd"] == str(work)


@pytest.mark.slow
def test_terraform_gets_the_lock_file_and_opentofu_keeps_its_own(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / LOCK_FILE).write_text("# shipped\n")
    for name in ("tofu", "terraform"):
        folder = tmp_path / name
        folder.mkdir()
        StandIn(folder, monkeypatch, name=name)
        runner = TerraformRunner(root, folder / "work", folder / "plugins")
        runner.prepare(lambda _: None)
        locked = folder / "work" / LOCK_FILE
        assert locked.exists() == (name == "terraform")
        locked.write_text("# made by init\n")
        runner.prepare(lambda _: None)
        assert locked.read_text() == ("# shipped\n" if name == "terraform" else "# made by init\n")


def test_the_environment_is_quiet_and_free_of_what_would_change_the_command(
    tmp_path: Path, root: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_WORKSPACE", "other")
    monkeypatch.setenv("TF_VAR_region", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    extra = {"AWS_PROFILE": "numerai"}
    TerraformRunner(root, tmp_path / "work", tmp_path / "plugins", environment=extra).prepare(lambda _: None)
    seen = stand_in.calls("init")[0]["env"]
    assert seen["TF_IN_AUTOMATION"] == "1"
    assert seen["TF_PLUGIN_CACHE_DIR"] == str(tmp_path / "plugins")
    assert seen["AWS_PROFILE"] == "numerai"
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert not {"TF_WORKSPACE", "TF_VAR_region"} & set(seen)


@pytest.mark.slow
def test_a_backend_is_written_and_moved_to(tmp_path: Path, root: Path, stand_in: StandIn) -> None:
    backend = S3Backend("states", "aws/terraform.tfstate", "eu-west-1")
    runner = TerraformRunner(root, tmp_path / "work", tmp_path / "plugins", backend=backend)
    runner.move_state(lambda _: None)
    written = json.loads((tmp_path / "work" / "backend.tf.json").read_text())["terraform"]["backend"]["s3"]
    assert written["bucket"] == "states"
    assert written["use_lockfile"] is True
    assert "-migrate-state" in stand_in.calls("init")[0]["argv"]
    TerraformRunner(root, tmp_path / "work", tmp_path / "plugins").prepare(lambda _: None)
    assert not (tmp_path / "work" / "backend.tf.json").exists()


@pytest.mark.slow
def test_variables_go_through_a_private_file(prepared: TerraformRunner, stand_in: StandIn, tmp_path: Path) -> None:
    prepared.plan({"nodes": {"a": {"token_sha256": "s3cr3t"}}}, lambda _: None)
    file = tmp_path / "work" / "variables.tfvars.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["nodes"]["a"]["token_sha256"] == "s3cr3t"
    assert not any("s3cr3t" in argument for argument in stand_in.calls("plan")[0]["argv"])


@pytest.mark.slow
def test_a_plan_is_changes_and_drift(prepared: TerraformRunner, stand_in: StandIn) -> None:
    node = 'aws_ecr_repository.node["numerai-alice"]'
    stand_in.answer(
        "plan",
        "a warning about the CLI configuration",
        diagnostic("deprecated", severity="warning"),
        {"type": "resource_drift", "change": {"resource": {"addr": "aws_iam_role.run"}, "action": "update"}},
        {"type": "resource_drift", "change": {"resource": {"addr": "aws_sns_topic.failures"}, "action": "delete"}},
        change(node, "create"),
        change("aws_vpc.this", "replace"),
        change("data.aws_iam_policy_document.run", "read"),
        change("aws_dynamodb_table_item.nodes", "update"),
        change("aws_sns_topic.failures", "delete"),
    )
    plan = prepared.plan({}, lambda _: None, destroy=True)
    assert StackChange(node, "create") in plan.changes
    assert plan.count("create", "update", "replace", "delete") == 4
    assert plan.drift == ("aws_sns_topic.failures",)
    assert "-destroy" in stand_in.calls("plan")[0]["argv"]


def shown(address: str, actions: list[str], *, mode: str = "managed", **values: object) -> dict[str, Any]:
    """An entry of a plan as `show -json` prints it."""
    kind = address.partition(".")[0]
    return {"address": address, "type": kind, "mode": mode, "change": {"actions": actions, **values}}


@pytest.mark.slow
def test_a_plan_in_detail_is_what_it_makes_and_what_is_known(prepared: TerraformRunner, stand_in: StandIn) -> None:
    changes = [
        shown("aws_vpc.this", ["create"], before=None, after={"cidr_block": "10.0.0.0/22"}),
        shown("aws_ecr_repository.a", ["no-op"], before={"id": "n/a", "arn": "arn:a"}, after={"id": "n/a"}),
        shown("aws_iam_role.b", ["delete", "create"], before={"id": "b"}, after={"name": "b"}),
        shown("aws_sns_topic.c", ["delete"], before={"arn": "arn:c"}, after=None),
        shown("data.aws_partition.d", ["read"], mode="data", before=None, after={}),
    ]
    plan = prepared.plan({}, lambda _: None)
    expressions = {"name": {"references": ["var.name"]}, "route": [{"id": {"references": ["aws_x.y[0].id"]}}]}
    described = [{"address": "aws_vpc.this", "expressions": expressions}]
    shown_plan = {"resource_changes": changes, "configuration": {"root_module": {"resources": described}}}
    stand_in.answer("show", "Warning: something", shown_plan)
    planned = prepared.planned(plan)
    needs = frozenset({"var.name", "aws_x.y"})
    assert planned.made == (PlannedResource("aws_vpc.this", "aws_vpc", {"cidr_block": "10.0.0.0/22"}, needs),)
    assert planned.known == {
        ("aws_ecr_repository", "n/a"),
        ("aws_ecr_repository", "arn:a"),
        ("aws_iam_role", "b"),
        ("aws_sns_topic", "arn:c"),
    }
    assert stand_in.calls("show")[0]["argv"] == ["show", "-json", plan.file.name]
    stand_in.answer("show", {"format_version": "1.2"})
    assert prepared.planned(plan) == PlannedResources((), frozenset())


def test_adopting_plans_only_what_exists(prepared: TerraformRunner, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.answer("plan", change("aws_vpc.this", "import"), change('aws_subnet.public["first"]', "update"))
    existing = {"aws_vpc.this": "vpc-1", 'aws_subnet.public["first"]': "subnet-1"}
    plan = prepared.plan_adoption({"name": "n"}, existing, lambda _: None)
    assert plan.changes == (StackChange('aws_subnet.public["first"]', "update"),)
    (call,) = stand_in.calls("plan")
    assert [one for one in call["argv"] if one.startswith("-target")] == [
        '-target=aws_subnet.public["first"]',
        "-target=aws_vpc.this",
    ]
    assert call["adoption"] == (
        'import {\n  to = aws_subnet.public["first"]\n  id = "subnet-1"\n}\n'
        'import {\n  to = aws_vpc.this\n  id = "vpc-1"\n}\n'
    )
    assert not (tmp_path / "work" / ADOPTION_FILE).exists()


@pytest.mark.slow
def test_applying_tells_what_happens_and_returns_the_outputs(prepared: TerraformRunner, stand_in: StandIn) -> None:
    plan = prepared.plan({}, lambda _: None)
    plan.file.write_text("the plan")
    stand_in.answer(
        "apply",
        {"type": "version", "terraform": "1.11.4"},
        hook("apply_start", "aws_vpc.this", "create"),
        hook("apply_progress", "aws_vpc.this", "create", 10),
        hook("apply_complete", "aws_vpc.this", "create", 12),
        hook("apply_complete", 'aws_subnet.public["first"]', "update"),
    )
    stand_in.answer("output", "Warning: something", {"region": {"value": "us-east-1", "sensitive": False}})
    said: list[str] = []
    assert prepared.apply(plan, said.append) == {"region": "us-east-1"}
    assert said == ["making vpc (10 s so far)", "made vpc (12 s)", "changed subnet public first"]
    assert not plan.file.exists()
    assert stand_in.calls("apply")[0]["argv"][-1] == plan.file.name


@pytest.mark.slow
def test_a_failed_apply_says_which_action_was_denied(prepared: TerraformRunner, stand_in: StandIn) -> None:
    plan = prepared.plan({}, lambda _: None)
    stand_in.answer(
        "apply",
        hook("apply_errored", "aws_iam_role.run", "create"),
        diagnostic(
            "creating IAM Role (numerai-run): operation error IAM: CreateRole, https response error StatusCode: 403, "
            "AccessDenied: User: arn:aws:iam::123456789012:user/ada is not authorized to perform: iam:CreateRole on "
            "resource: arn:aws:iam::123456789012:role/numerai-run",
            address="aws_iam_role.run",
        ),
        code=1,
    )
    said: list[str] = []
    with pytest.raises(ProviderError) as caught:
        prepared.apply(plan, said.append)
    assert caught.value.code == "access-denied"
    assert "user/ada do iam:CreateRole" in caught.value.message
    assert said == ["failed: iam role run"]


@pytest.mark.slow
def test_destroy_is_done_only_when_nothing_is_left(prepared: TerraformRunner, stand_in: StandIn) -> None:
    stand_in.answer("state list", "data.aws_caller_identity.current", "aws_s3_bucket.artifacts")
    with pytest.raises(ProviderError, match="s3 bucket artifacts") as caught:
        prepared.destroy({}, lambda _: None)
    assert caught.value.code == "left-over"
    stand_in.answer("state list", "No state file was found!", code=1)
    prepared.destroy({}, lambda _: None)


def test_an_unsaved_state_is_saved_first(runner: TerraformRunner, stand_in: StandIn, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    (work / "errored.tfstate").write_text("{}")
    runner.prepare(lambda _: None)
    assert stand_in.calls("state")[0]["argv"] == ["state", "push", "errored.tfstate"]
    assert not (work / "errored.tfstate").exists()


def test_reading_a_broken_state_is_an_error(prepared: TerraformRunner, stand_in: StandIn) -> None:
    stand_in.answer("state list", "Error: Unsupported state file format", code=1)
    with pytest.raises(ProviderError, match="Unsupported state file format"):
        prepared.resources()


def test_nothing_provisioned_is_said(runner: TerraformRunner) -> None:
    with pytest.raises(ProviderError) as caught:
        runner.outputs()
    assert caught.value.code == "not-provisioned"


def test_no_outputs_before_the_first_apply(prepared: TerraformRunner) -> None:
    assert prepared.outputs() == {}


def test_words_leave_strange_addresses_alone() -> None:
    assert words("module.x") == "module.x"
    assert words("aws_vpc.this") == "vpc"
    assert words('module.a.aws_batch_job_queue.this["gpu"]') == "batch job queue gpu"


def one(text: str, address: str | None = None) -> NumeraiError:
    return explain([Diagnostic(text, address)], Path("/home/ada/.numerai/aws"))


def test_a_lock_says_by_whom_and_since_when() -> None:
    error = one(LOCK)
    assert error.code == "state-locked"
    assert "ada@laptop since 2026-01-05 10:00:00" in error.message
    assert "force-unlock 5b1c1d1e-aaaa-bbbb-cccc-000000000000" in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "code", "exit_code"),
    [
        ("No valid credential sources found\nPlease see https://registry.terraform.io", "no-credentials", 3),
        ("sts: GetCallerIdentity, StatusCode: 403, api error InvalidClientTokenId: invalid", "credentials-refused", 3),
        ("ExpiredToken: The security token included in the request is expired", "credentials-expired", 3),
        ("EC2: CreateSubnet, StatusCode: 400, RequestExpired: Request has expired.", "credentials-expired", 3),
        ("AWS account ID not allowed: 222222222222", "account-change", 1),
        ("Batch: DeleteComputeEnvironment: Cannot delete, found existing JobQueue relationship", "aws-not-ready", 1),
        (
            "state 'INVALID': CLIENT_ERROR - User: arn:aws:sts::1:assumed-role/x/aws-batch is not authorized to "
            "perform: ecs:DescribeClusters",
            "aws-not-ready",
            1,
        ),
        ("Unable to assume the service linked role. Please verify that it exists.", "aws-not-ready", 1),
        ("InvalidParameterValueException: The role cannot be assumed by Lambda.", "aws-not-ready", 1),
        (
            "ResourceConflictException: The function could not be updated due to a concurrent update operation.",
            "aws-not-ready",
            1,
        ),
        ("operation error EC2: CreateVpc, StatusCode: 403, UnauthorizedOperation", "access-denied", 1),
        ("StatusCode: 403", "access-denied", 1),
        ('request send failed, Post "http://127.0.0.1:9/": dial tcp: connection refused', "unreachable", 3),
        ("lookup sts.xx-west-1.amazonaws.com: no such host", "unreachable", 3),
        ("Failed to query available provider packages\ncould not connect", "registry-unreachable", 3),
        ("Failed to install provider\nthe package doesn't match any of the checksums recorded", "provider-altered", 1),
        ("EntityAlreadyExists: Role with name numerai-run already exists.", "name-clash", 1),
        ("VpcLimitExceeded: The maximum number of VPCs has been reached.", "quota", 1),
        (
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            "below its minimum value of [10].",
            "no-concurrency",
            1,
        ),
        ("ClientException: computeResources.type FARGATE_SPOT is not supported in this region", "no-spot", 1),
        ("Unsupported compute type: Fargate Spot", "no-spot", 1),
        ("Error: Backend configuration changed", "state-elsewhere", 1),
        ("something nobody has seen", "terraform-failed", 1),
    ],
)
def test_complaints_become_clear_messages(text: str, code: str, exit_code: int) -> None:
    error = one(text)
    assert (error.code, error.exit_code) == (code, exit_code)
    assert error.hint


def test_a_clash_names_every_resource_that_clashes() -> None:
    error = explain(
        [
            Diagnostic("something else first"),
            Diagnostic("RepositoryAlreadyExistsException: x", 'aws_ecr_repository.node["a"]'),
            Diagnostic("EntityAlreadyExists: y", "aws_iam_role.run"),
        ],
        Path(),
    )
    assert 'aws_ecr_repository.node["a"], aws_iam_role.run' in error.message


def test_an_unknown_complaint_is_quoted_with_its_place_and_how_many_more_there_are() -> None:
    error = explain([Diagnostic("strange\n  thing", "aws_vpc.this"), Diagnostic("other")], Path())
    assert error.message == "Terraform failed at aws_vpc.this: strange thing (and 1 more)"


INTERRUPTED = """
import sys
from pathlib import Path
from numerai_compute.adapters.terraform_runner import TerraformRunner
folder = Path(sys.argv[1])
runner = TerraformRunner(folder / "root", folder / "work", folder / "plugins")
runner.destroy({}, lambda line: print(line, flush=True))
"""

SLOW = """
import json, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[0]).parent.parent
if sys.argv[1] == "version":
    print(json.dumps({"terraform_version": "1.11.4"}))
    sys.exit()
asked = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: asked.append(1))
hook = {"resource": {"addr": "aws_vpc.this"}, "action": "delete", "elapsed_seconds": 1}
print(json.dumps({"type": "apply_progress", "hook": hook}), flush=True)
while not asked:
    time.sleep(0.01)
time.sleep(0.3)
(folder / "asked").write_text(str(len(asked)))
"""


@pytest.mark.slow
def test_an_interrupt_lets_the_program_stop_in_order(tmp_path: Path, root: Path, stand_in: StandIn) -> None:
    (tmp_path / "work").mkdir()
    program = tmp_path / "bin" / "terraform"
    program.write_text(f"#!{sys.executable}\n{SLOW}")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert b"removing vpc" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(20)
    process.stdout.close()
    assert (tmp_path / "asked").read_text() == "1"


PATIENT = """
import json, sys, time
from pathlib import Path
folder = Path({folder!r})
if sys.argv[1] == "version":
    print({version!r})
    sys.exit(0)
for number in range(2000):
    event = {{"type": "apply_complete", "hook": {{"resource": {{"addr": "aws_vpc.this"}}, "action": "create"}}}}
    print(json.dumps(event), flush=True)
    if number == 0:
        while not (folder / "killed").exists():
            time.sleep(0.01)
(folder / "finished").write_text("")
"""

KILLED = """
import sys
from pathlib import Path
from numerai_compute.adapters.terraform_runner import TerraformRunner
from numerai_compute.ports import StackPlan
folder = Path(sys.argv[1])
runner = TerraformRunner(folder / "root", folder / "work", folder / "plugins")
runner.apply(StackPlan((), (), folder / "work" / "plan"), lambda line: print(line, flush=True))
"""


@pytest.mark.slow
def test_what_terraform_has_begun_is_finished_when_the_command_is_killed(
    tmp_path: Path, root: Path, stand_in: StandIn
) -> None:
    (tmp_path / "work").mkdir()
    program = tmp_path / "bin" / "terraform"
    program.write_text(f"#!{sys.executable}\n" + PATIENT.format(folder=str(tmp_path), version=VERSION))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"made vpc" in process.stdout.readline()
    process.kill()
    process.wait(20)
    process.stdout.close()
    (tmp_path / "killed").write_text("")
    wait_for((tmp_path / "finished").exists)


@pytest.mark.slow
def test_the_terraform_of_a_killed_command_is_waited_for(
    tmp_path: Path, runner: TerraformRunner, stand_in: StandIn
) -> None:
    reported: list[str] = []
    runner.prepare(reported.append)
    runner.plan({}, reported.append)
    (tmp_path / "work" / "apply.log").write_text("")
    plan = runner.plan({}, reported.append)
    runner.apply(plan, reported.append)
    runner.plan({}, reported.append)
    waits = [word for call in stand_in.calls("plan") for word in call["argv"] if word.startswith("-lock-timeout")]
    assert waits == ["-lock-timeout=5s", "-lock-timeout=900s", "-lock-timeout=5s"]
    assert reported.count("waiting for what an interrupted command has begun") == 1


def test_a_lock_that_may_be_dead_is_not_waited_for(tmp_path: Path, root: Path, stand_in: StandIn) -> None:
    reported: list[str] = []
    backend = S3Backend("a-bucket", "k/terraform.tfstate", "eu-west-1")
    runner = TerraformRunner(root, tmp_path / "work", tmp_path / "plugins", backend=backend)
    runner.prepare(reported.append)
    (tmp_path / "work" / "apply.log").write_text("")
    runner.plan({}, reported.append)
    assert "-lock-timeout=5s" in stand_in.calls("plan")[0]["argv"]
    assert reported == ["preparing terraform 1.11.4", "comparing with what exists"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("terraform"), reason="Terraform is missing")
def test_whatever_the_umask_only_their_owner_reads_the_state_and_what_is_beside_it(tmp_path: Path) -> None:
    """With the real program, and a root that needs no provider from a registry."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "main.tf").write_text(
        'variable "word" {}\nresource "terraform_data" "a" {\n  input = var.word\n}\n'
        'output "word" {\n  value = terraform_data.a.output\n}\n'
    )
    runner = TerraformRunner(tmp_path / "root", tmp_path / "work", tmp_path / "plugins")
    before = os.umask(0)
    try:
        runner.prepare(lambda _: None)
        for word in ("one", "two"):
            assert runner.apply(runner.plan({"word": word}, lambda _: None), lambda _: None) == {"word": word}
    finally:
        os.umask(before)
    made = {path.name: path.stat().st_mode for path in (tmp_path / "work").rglob("*")}
    assert {"terraform.tfstate", "terraform.tfstate.backup"} <= set(made)
    assert {name: oct(mode) for name, mode in made.items() if mode & 0o077} == {}
