"""The first run on a real account when things go wrong: it removes everything, says one clear thing, and fails."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tests.aws.first_run.__main__ import main
from tests.aws.first_run.account import Account, owner_identity
from tests.aws.first_run.model import CannotStart, NotAsSaid, Seen, Step, Verdict
from tests.aws.first_run.plan import STEPS
from tests.aws.first_run.recording import ACCOUNT, MASK, Recorder, entries, leaks, redacted, write_fixtures
from tests.aws.first_run.running import MOST_SECONDS, Report, run
from tests.aws.first_run.table import BEGIN, DOCUMENT, END, section, table, written
from tests.aws.first_run.world import Cli, World

pytestmark = pytest.mark.slow

CLUSTER = "numerai-try-0a1b"
REPOSITORY = f"{CLUSTER}/numerai-try"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]})


@dataclass
class SmallWorld(World):
    """A world whose `numerai node destroy` removes one image repository, which is all that its `config` made."""

    commands: list[tuple[str, ...]] = field(default_factory=list)
    destroying: Callable[[int], None] = lambda time: None
    """Called first by the first, second, ... `destroy`."""

    def cli(self, *arguments: str, owner: bool = False) -> Cli:
        """Keeps the command; only `node destroy` does something."""
        self.commands.append(arguments)
        if arguments[:2] == ("node", "destroy"):
            try:
                self.destroying(self.commands.count(arguments))
            except RuntimeError as error:
                return Cli(1, "", str(error))
            self.account.role("ecr").delete_repository(repositoryName=REPOSITORY, force=True)
            (self.home / "numerai" / "aws" / "stack.json").unlink()
        return Cli(0, "", "")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """moto's account, in this process."""
    for name, value in (("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "x" * 40)):
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield Account(None, "us-east-1", CLUSTER)


@pytest.fixture
def world(account: Account, tmp_path: Path) -> SmallWorld:
    folder = tmp_path / "home" / CLUSTER
    folder.mkdir(parents=True)
    return SmallWorld(account, folder, {})


def make(world: World) -> Seen:
    """A role, and a repository in place of a cluster."""
    world.account.make_role(POLICY)
    world.account.role("ecr").create_repository(repositoryName=REPOSITORY)
    stack = world.home / "numerai" / "aws" / "stack.json"
    stack.parent.mkdir(parents=True)
    stack.write_text("{}")
    world.account.owner("sqs").create_queue(QueueName=world.account.name)
    return Seen("it was made")


def well(world: World) -> Seen:
    return Seen("all is well")


def otherwise(world: World) -> Seen:
    raise NotAsSaid("`numerai node config` ended with 1: AWS allows this account 10 calls of functions at once.")


def interrupted(world: World) -> Seen:
    raise KeyboardInterrupt


def ended(world: World) -> Seen:
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError("the signal did nothing")


def steps(*proves: Callable[[World], Seen], essential: bool = False) -> list[Step]:
    return [Step(prove.__name__, "expected", "docs/aws.md", prove, essential) for prove in (make, *proves)]


def in_aws(account: Account) -> dict[str, list[str]]:
    """What the owner sees of the run."""
    repositories = account.owner("ecr").describe_repositories()["repositories"]
    return {
        "repositories": [each["repositoryName"] for each in repositories],
        "roles": [each["RoleName"] for each in account.owner("iam").list_roles()["Roles"]],
        "policies": [each["PolicyName"] for each in account.owner("iam").list_policies(Scope="Local")["Policies"]],
        "queues": account.owner("sqs").list_queues().get("QueueUrls", []),
    }


def done(world: SmallWorld, *proves: Callable[[World], Seen], essential: bool = False) -> tuple[Report, list[str]]:
    said: list[str] = []
    return run(world, steps(*proves, essential=essential), said.append), said


NOTHING: dict[str, list[str]] = {"repositories": [], "roles": [], "policies": [], "queues": []}


def test_what_went_well_is_removed(world: SmallWorld, account: Account) -> None:
    report, _ = done(world, well)
    assert (report.exit_code, report.left, in_aws(account)) == (0, (), NOTHING)


def test_a_step_that_is_otherwise_fails_the_run_and_the_next_ones_are_tried(
    world: SmallWorld, account: Account
) -> None:
    report, said = done(world, otherwise, well)
    assert [proof.seen.verdict for proof in report.proofs] == [Verdict.PROVEN, Verdict.OTHERWISE, Verdict.PROVEN]
    assert "10 calls of functions at once" in said[1]
    assert (report.exit_code, in_aws(account)) == (1, NOTHING)


def test_nothing_is_tried_after_a_step_that_all_others_need(world: SmallWorld, account: Account) -> None:
    report, _ = done(world, otherwise, well, essential=True)
    assert [proof.seen.verdict for proof in report.proofs][1:] == [Verdict.OTHERWISE, Verdict.NOT_RUN]
    assert (report.exit_code, in_aws(account)) == (1, NOTHING)


def test_an_error_of_any_kind_is_one_line_and_no_reason_to_leave_anything(world: SmallWorld, account: Account) -> None:
    def broken(world: World) -> Seen:
        return Seen(world.numerai["missing"])

    def refused(world: World) -> Seen:
        world.account.role("ecr").describe_repositories(repositoryNames=["numerai-try-0a1b/other"])
        raise AssertionError

    report, said = done(world, broken, refused)
    assert [proof.seen.verdict for proof in report.proofs][1:] == [Verdict.FAILED, Verdict.FAILED]
    assert "KeyError" in said[1] and "AWS refused DescribeRepositories" in said[2]
    assert (report.exit_code, in_aws(account)) == (1, NOTHING)


def test_a_step_is_not_begun_when_its_time_is_over(world: SmallWorld, account: Account) -> None:
    def lasts(world: World) -> Seen:
        world.begun -= MOST_SECONDS
        return Seen("it took for ever")

    last = Step("last", "", "docs/aws.md", well, needs=0)
    report = run(world, [*steps(lasts, well), last], print)
    verdicts = [proof.seen.verdict for proof in report.proofs]
    assert verdicts == [Verdict.PROVEN, Verdict.PROVEN, Verdict.NOT_RUN, Verdict.PROVEN]
    assert (report.exit_code, in_aws(account)) == (1, NOTHING)


@pytest.mark.parametrize("how", [interrupted, ended])
def test_ctrl_c_or_a_signal_removes_everything_first(
    world: SmallWorld, account: Account, how: Callable[[World], Seen]
) -> None:
    report, said = done(world, how, well)
    assert (report.exit_code, in_aws(account)) == (130, NOTHING)
    assert [proof.seen.verdict for proof in report.proofs][1:] == [Verdict.NOT_RUN, Verdict.NOT_RUN]
    assert said[-1].startswith("Interrupted.")


def test_ctrl_c_while_everything_is_removed_only_says_so(world: SmallWorld, account: Account) -> None:
    world.destroying = lambda time: signal.raise_signal(signal.SIGINT)
    report, said = done(world, well)
    assert (report.exit_code, in_aws(account)) == (0, NOTHING)
    assert said[-1].startswith("Everything is being removed.")


def test_a_destroy_that_fails_is_tried_again(world: SmallWorld, account: Account) -> None:
    def fails_once(time: int) -> None:
        if time == 1:
            raise RuntimeError("AWS is asked too often.")

    world.destroying = fails_once
    report, _ = done(world, well)
    assert (report.exit_code, in_aws(account)) == (0, NOTHING)


def test_what_cannot_be_removed_is_said_and_the_next_run_goes_on_with_it(world: SmallWorld, account: Account) -> None:
    def fails(time: int) -> None:
        raise RuntimeError("AWS cannot be reached.")

    world.destroying = fails
    report, said = done(world, well)
    assert report.exit_code == 1
    assert any(line.startswith("STILL THERE: ") and "cannot be reached" in line for line in said)
    assert f"STILL THERE: the image repository {REPOSITORY}" in said
    assert in_aws(account)["roles"] == [account.name]

    world.destroying = lambda time: None
    report = run(world, [Step("again", "", "docs/aws.md", well)], said.append)
    assert (report.exit_code, in_aws(account)) == (0, NOTHING)


def test_the_role_of_a_run_that_was_killed_is_brought_to_the_policy_of_today(account: Account) -> None:
    account.make_role(POLICY)
    account.make_role(POLICY.replace("ecr:*", "s3:*"))
    document = account.owner("iam").get_policy_version(PolicyArn=account.policy_arn, VersionId="v1")
    assert document["PolicyVersion"]["Document"]["Statement"][0]["Action"] == "s3:*"


def test_without_credentials_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert main(["--yes", "--region", "us-east-1", "--home", str(tmp_path / "runs")]) == 3
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "There are no AWS credentials." in said.err
    assert main(["--yes", "--profile", "nobody", "--home", str(tmp_path / "runs")]) == 3
    assert "nobody" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_credentials_that_aws_does_not_take_are_said(code: str) -> None:
    sts = boto3.client("sts", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    with Stubber(sts) as stub:
        stub.add_client_error("get_caller_identity", code, "The security token included in the request is expired.")
        with pytest.raises(CannotStart, match=r"does not accept the credentials.*expired.*--profile NAME"):
            owner_identity(sts)


def test_the_root_user_is_told_that_it_can_assume_no_role() -> None:
    sts = boto3.client("sts", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    with Stubber(sts) as stub:
        answer = {"Account": "111122223333", "Arn": "arn:aws:iam::111122223333:root", "UserId": "111122223333"}
        stub.add_response("get_caller_identity", answer)
        with pytest.raises(CannotStart, match="root user"):
            owner_identity(sts)


def test_nobody_who_can_be_asked_means_no(
    account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "answers").open("w+"))
    assert main(["--region", "us-east-1", "--home", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr()
    assert "under 5 US cents" in said.out and "under 40 minutes" in said.out and "--yes" in said.err
    assert in_aws(account) == NOTHING and not (tmp_path / "runs").exists()


# what AWS answers, without what belongs to anybody

PLANTED = {
    "account": "arn:aws:iam::498765432109:role/numerai-try-0a1b-run",
    "access_key": "AKIA1234567890ABCDEF",
    "user": "arn:aws:iam::498765432109:user/people/ada",
    "session": "arn:aws:sts::498765432109:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/ada",
    "id": "AROAABCDEFGHIJKLMNOPQ:ada",
    "token": "x" * 43,
    "url": "https://abcdefghijklmnop.lambda-url.us-east-1.on.aws/numerai-try/",
    "endpoint": "498765432109.dkr.ecr.us-east-1.amazonaws.com/numerai-try-0a1b/numerai-try:live",
    "mail": "ada@example.org",
    "address": "54.239.28.85",
    "v6": "2001:4860:4860::8888",
}
NAMED = {
    "SecretString": "hidden-1",
    "AuthorizationToken": "hidden-2",
    "SessionToken": "hidden-3",
    "UserName": "hidden-4",
}


def test_nothing_that_belongs_to_somebody_is_kept(tmp_path: Path) -> None:
    inside = json.dumps({"Principal": PLANTED["account"], "Deep": [NAMED, PLANTED["mail"]]})
    parameter = {"Name": "/keys", "Type": "SecureString", "Value": "hidden-5"}
    answer = {
        **NAMED,
        **PLANTED,
        "Parameter": parameter,
        "Policy": inside,
        "Number": 498765432109,
        "Body": b"498765432109",
    }
    file = tmp_path / "answers.jsonl"
    Recorder(file, lambda: "step", lambda text: text.replace("own-secret", MASK)).answer(
        "sts", "GetCallerIdentity", {"Asked": "own-secret", **PLANTED}, {**answer, "ResponseMetadata": {"a": "b"}}
    )
    kept = file.read_text(encoding="utf-8")
    for secret in (*PLANTED.values(), *NAMED.values(), "hidden-5", "498765432109", "own-secret", "ResponseMetadata"):
        assert secret not in kept, secret
    (entry,) = entries(file)
    assert entry["answer"]["account"] == f"arn:aws:iam::{ACCOUNT}:role/numerai-try-0000-run"


@pytest.mark.parametrize(
    "harmless",
    ["2026-11-28T15:04:05Z", "10.119.0.0/22", "0.0.0.0/0", "Your Spot Task was interrupted.", "python3.13", "v5.3",
     "ResourceInitializationError: unable to pull secrets", "sha256:" + "a" * 64],
)  # fmt: skip
def test_what_says_nothing_about_anybody_stays(harmless: str) -> None:
    assert redacted({"value": harmless}) == {"value": harmless}


def test_fixtures_hold_each_answer_once_and_are_not_written_with_a_leak(tmp_path: Path) -> None:
    file, folder = tmp_path / "answers.jsonl", tmp_path / "fixtures"
    recorder = Recorder(file, lambda: "step")
    for status in ("RUNNING", "RUNNING", "FAILED"):
        recorder.answer("batch", "DescribeJobs", {"jobs": ["a"]}, {"status": status})
    recorder.answer("iam", "GetRole", {}, None, {"Code": "NoSuchEntity", "Message": "no"})
    with file.open("a") as cut:
        cut.write('{"step": "killed')
    assert leaks(file.read_text(), ["RUNNING"]) == ["RUNNING"]
    with pytest.raises(ValueError, match="1 things are left"):
        write_fixtures(file, folder, ["RUNNING"])
    assert not folder.exists()
    assert [path.name for path in write_fixtures(file, folder, ["498765432109"])] == [
        "batch.DescribeJobs.json",
        "iam.GetRole.json",
    ]
    kept = json.loads((folder / "batch.DescribeJobs.json").read_text())
    assert [entry["answer"]["status"] for entry in kept] == ["RUNNING", "FAILED"]


def test_a_leak_is_found_by_other_means_than_the_redaction() -> None:
    assert leaks('{"a": "arn:aws:iam::498765432109:role/x"}', []) == ["498765432109"]
    assert leaks('{"a": "AKIA1234567890ABCDEF"}', []) == ["AKIA1234567890ABCDEF"]
    assert leaks(f'{{"a": "arn:aws:iam::{ACCOUNT}:role/x"}}', ["ada"]) == []


def test_everything_that_an_sdk_client_is_answered_is_recorded(account: Account, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    with Recorder(file, lambda: "step").installed():
        account.owner("sts").get_caller_identity()
        with pytest.raises(account.owner("ecr").exceptions.RepositoryNotFoundException):
            account.owner("ecr").describe_repositories(repositoryNames=["none"])
    account.owner("sts").get_caller_identity()
    first, second = entries(file)
    assert (first["operation"], first["answer"]["Account"]) == ("GetCallerIdentity", ACCOUNT)
    assert (second["operation"], second["error"]["Code"]) == ("DescribeRepositories", "RepositoryNotFoundException")


# the table


def test_the_document_and_the_terminal_show_every_step(world: SmallWorld) -> None:
    report, _ = done(world, otherwise, well)
    shown = table(report.proofs)
    assert "OTHERWISE" in shown and "10 calls of functions at once" in shown and shown.count("\n") == 3
    text = written(f"before\n{BEGIN}\nold\n{END}\nafter\n", report.proofs)
    assert text.startswith(f"before\n{BEGIN}\nOn the emulator 2 of 3 steps") and text.endswith(f"{END}\nafter\n")
    assert "old" not in text and section(text) == section(written(text, report.proofs))


def test_docs_have_a_row_for_each_step() -> None:
    rows = [line.split("|") for line in section(DOCUMENT.read_text(encoding="utf-8")).splitlines() if "](" in line]
    assert [row[2].strip()[1:].partition("](")[0] for row in rows] == [step.name for step in STEPS]
    assert [row[3].strip() for row in rows] == [step.expected for step in STEPS]


def test_a_step_names_its_source_and_every_name_is_its_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    for step in STEPS:
        assert step.source and step.expected and step.prove.__doc__
