"""What is made in AWS stays within AWS's documented limits, with the longest names and the largest values we allow.

Each test names the rule; the sources stand here or in tests/aws/limits.py. What breaks a limit today is marked so, and
the mark fails once it no longer does.
"""

from __future__ import annotations

import base64
import json
import re
import zipfile
from pathlib import Path

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Node
from numerai_compute.providers.aws import sizes
from numerai_compute.providers.aws.lambda_package import package_functions
from numerai_compute.providers.aws.policy import minimal_policy
from numerai_compute.providers.aws.settings import LOG_RETENTION_DAYS, read_settings
from numerai_compute.providers.aws.variables import check_name
from numerai_compute.providers.webhooks.calls import job_name
from numerai_compute.triggers import NO_SUBMIT

from tests.aws import limits
from tests.aws.limits import ACCOUNT, CLUSTER, GUIDE, KEYS, NAMES, NODE, REGION, ROOT

MIB, MANAGED_POLICY = 2**20, 6144


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(kind, name, id=address) for address, kind, name in limits.names()]
)
def test_aws_takes_the_longest_name(kind: str, name: str) -> None:
    assert kind in NAMES, f"say in NAMES what AWS takes for the name of a {kind}"
    assert NAMES[kind]().refuses(name) is None, NAMES[kind]().source


def test_names_and_keys_speak_of_resources_that_are_there() -> None:
    """A row for what is no longer made would hold nothing."""
    there = {f"{kind}.{name}" for kind, name, _ in limits.resources()}
    assert set(KEYS) <= there
    assert len({address for address, _, _ in limits.names()}) > 25


@pytest.mark.parametrize(("kind", "name"), [
    ("aws_iam_role", "r" * 65), ("aws_scheduler_schedule", "s" * 65), ("aws_lambda_function", "f" * 65),
    ("aws_s3_bucket", "Upper"), ("aws_s3_bucket", "b" * 64), ("aws_ecr_repository", "numerai/a-_b"),
    ("aws_batch_job_queue", "a.b"), ("aws_sns_topic", "a/b"), ("aws_budgets_budget", "a:b"),
    ("aws_ssm_parameter", "/aws/keys"), ("aws_ssm_parameter", "/a" * 16), ("aws_security_group", "sg-runs"),
    ("aws_cloudwatch_log_group", "a b"), ("aws_dynamodb_table", "ab"), ("aws_launch_template", "l" * 129),
])  # fmt: skip
def test_the_table_of_names_refuses_what_aws_refuses(kind: str, name: str) -> None:
    assert NAMES[kind]().refuses(name) is not None


@pytest.mark.parametrize("name", [
    "a-_b", "a_-b", "a___b",
    "a--b", "a__b", "a_b-c", "0", "a.b", "A", "-a",
])  # fmt: skip
def test_a_node_may_be_named_only_what_an_image_repository_may(name: str) -> None:
    try:
        check_name(Node(f"numerai-{name}", name, "an-id", 8, "aws", "/", 1, 2048), CLUSTER)
    except NumeraiError:
        return
    assert NAMES["aws_ecr_repository"]().refuses(f"{CLUSTER}/numerai-{name}") is None


def test_the_settings_allow_no_longer_cluster_than_is_reckoned_with_here() -> None:
    assert read_settings({}, {"NUMERAI_AWS_CLUSTER": CLUSTER}).cluster == CLUSTER
    with pytest.raises(NumeraiError, match="The setting cluster"):
        read_settings({}, {"NUMERAI_AWS_CLUSTER": f"{CLUSTER}c"})


def test_the_names_of_jobs_fit() -> None:
    """128 characters of [A-Za-z0-9_-]: docs.aws.amazon.com/batch/latest/APIReference/API_SubmitJob.html, jobName."""
    for name in (job_name(NODE, "t" * 128), f"{NODE}-by-hand", f"{NODE}-scheduled", f"{NO_SUBMIT}{NODE}"):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", name), name


def test_log_streams_of_a_node_fit() -> None:
    """`<prefix>/default/<task id>`: docs.aws.amazon.com/batch/latest/userguide/using_awslogs.html."""
    assert limits.shape("logs", "LogStreamName").refuses(f"{NODE}/default/{'0' * 32}") is None


@pytest.mark.parametrize("bucket", ["artifacts", "state"])
def test_bucket_names_fit(bucket: str) -> None:
    assert NAMES["aws_s3_bucket"]().refuses(f"{CLUSTER}-{bucket}-{ACCOUNT}-{REGION}") is None


# how many, how large


def blocks(name: str, text: str) -> list[str]:
    """The bodies of the blocks of this name, with their braces matched."""
    found = []
    for start in re.finditer(rf"(?m)^\s*{name}( \"\w+\")? \{{$", text):
        depth, end = 1, start.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(text[start.end() : end - 1])
    return found


def test_a_retry_strategy_has_at_most_five_rules() -> None:
    """botocore/data/batch, RetryStrategy.evaluateOnExit: "an array of up to 5 objects"; attempts 1 to 10."""
    said = limits.model("batch")._service_description["shapes"]["RetryStrategy"]["members"]
    assert "up to 5 objects" in said["evaluateOnExit"]["documentation"]
    assert "between 1 and 10 attempts" in said["attempts"]["documentation"]
    strategies = blocks("retry_strategy", limits.text())
    assert strategies and 1 <= len(retries()) <= 5
    for strategy in strategies:
        assert "for_each = local.retries" in strategy
        assert all(1 <= int(attempts) <= 10 for attempts in re.findall(r"attempts\s*=\s*(\d+)", strategy))


def retries() -> list[dict[str, str]]:
    """The rules after which a job is repeated or not, each with what it looks at."""
    listed = re.findall(r"retries = \[(.*?)\n  \]", limits.text("nodes"), re.DOTALL)[0]
    return [dict(re.findall(r'(\w+) = "([^"]*)"', rule)) for rule in re.findall(r"\{(.*?)\}", listed)]


def test_the_rules_of_a_retry_strategy_are_such_as_batch_reads() -> None:
    """botocore/data/batch, EvaluateOnExit: up to 512 letters, digits, periods, colons and white space, and `*` at the
    end only; exit codes are digits with `*` at the end."""
    members = limits.model("batch")._service_description["shapes"]["EvaluateOnExit"]["members"]
    assert "up to 512 characters" in members["onStatusReason"]["documentation"]
    rules = [(kind, value) for rule in retries() for kind, value in rule.items() if kind != "action"]
    assert rules
    for kind, value in rules:
        allowed = r"[0-9]*\*?" if kind == "exit_code" else r"[A-Za-z0-9.:\s]*\*?"
        assert value and len(value) <= 512 and re.fullmatch(allowed, value), value


def test_no_statement_lets_eventbridge_publish_on_a_condition() -> None:
    """eventbridge/latest/userguide/eb-use-resource-based.html, Amazon SNS permissions: "You can't use of Condition
    blocks in Amazon SNS topic policies for EventBridge"."""
    statements = [each for each in blocks("statement", limits.text()) if "sns:Publish" in each]
    topics = [each for each in statements if "events.amazonaws.com" in each]
    assert topics
    assert [each for each in topics if "condition" in each] == []


def test_lifecycle_rules_are_few_and_the_widest_comes_last() -> None:
    """At most 50 rules for a repository, and `any` has the highest number (AmazonECR/latest/userguide/
    lifecycle_policy_parameters.html, service-quotas.html); 1,000 for a bucket (AmazonS3, PutBucketLifecycle)."""
    for kind, _, body in limits.resources():
        if kind == "aws_ecr_lifecycle_policy":
            numbers = [int(number) for number in re.findall(r"rulePriority\s*=\s*(\d+)", body)]
            kinds = re.findall(r'tagStatus\s*=\s*"(\w+)"', body)
            assert 1 <= len(numbers) <= 50 and len(set(numbers)) == len(numbers)
            assert kinds.count("any") <= 1 and ("any" not in kinds or kinds[numbers.index(max(numbers))] == "any")
        if kind == "aws_s3_bucket_lifecycle_configuration":
            assert 1 <= len(blocks("rule", body)) <= 1000


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_the_printed_policy_fits_a_managed_policy(partition: str) -> None:
    """6,144 characters without white space: IAM/latest/UserGuide/reference_iam-quotas.html."""
    printed = json.dumps(minimal_policy(CLUSTER, ACCOUNT, REGION, partition=partition), separators=(",", ":"))
    assert len(re.sub(r"\s", "", printed)) <= MANAGED_POLICY


POLICIES = {"trust": 2_048, "failures": 30_720, "artifacts": 20_480}
"""Most characters of a policy by its name in the root: a role's trust (as an account has it at first), a topic's
(sns/latest/dg: 30 KB), a bucket's (AmazonS3/latest/userguide/example-bucket-policies.html: 20 KB)."""
INLINE = 10_240
"""All inline policies of one role: IAM/latest/UserGuide/reference_iam-quotas.html."""
LONGEST_ARN = len(f"arn:aws-us-gov:secretsmanager:{REGION}:{ACCOUNT}:secret:{CLUSTER}/{NODE}-aaaaaa")


def test_every_policy_of_the_root_fits() -> None:
    """A bound from above: the text as it is written here, with every reference as the longest ARN, in four queues."""
    documents = re.findall(r'(?ms)^data "aws_iam_policy_document" "(\w+)" \{\n(.*?)^\}', limits.text())
    assert len(documents) >= 8
    for name, body in documents:
        written = len(re.sub(r"\s", "", body))
        references = len(re.findall(r"\b(?:aws|local|var|each|data)[\w.\[\]\"]*\.\w+", body))
        assert written + references * LONGEST_ARN <= POLICIES.get(name, INLINE), name


def test_the_functions_zips_fit() -> None:
    """50 MB for a zip that is uploaded as such, 250 MB unpacked, 4 KB of environment, 15 minutes: lambda/latest/dg/
    gettingstarted-limits.html."""
    bodies = [body for kind, _, body in limits.resources() if kind == "aws_lambda_function"]
    assert len(bodies) == 2
    longest = f"arn:aws-us-gov:secretsmanager:{REGION}:{ACCOUNT}:secret:{CLUSTER}/numerai-keys-aaaaaa"
    for body in bodies:
        assert 1 <= int(re.findall(r"timeout\s*=\s*(\d+)", body)[0]) <= 900
        assert 128 <= int(re.findall(r"memory_size\s*=\s*(\d+)", body)[0]) <= 10_240
        variables = re.findall(r"(?m)^\s{6}([A-Z_]+)\s*=", body)
        assert variables and sum(len(name) + len(longest) for name in variables) <= 4096


def test_the_functions_packages_fit(tmp_path: Path) -> None:
    for name, place in package_functions(tmp_path).items():
        if not name.endswith("_package_path"):
            assert len(base64.b64decode(place)) == 32
            continue
        assert Path(place).stat().st_size <= 50 * MIB
        with zipfile.ZipFile(place) as packed:
            assert sum(entry.file_size for entry in packed.infolist()) <= 250 * MIB


@pytest.mark.slow
def test_descriptions_fit() -> None:
    """By the models of IAM, Lambda, EventBridge, Scheduler and CloudWatch; 255 for a security group (AWSEC2/latest/
    APIReference/API_CreateSecurityGroup.html). A role's has no letter beyond Latin-1."""
    most = {
        "aws_iam_role": limits.shape("iam", "roleDescriptionType"),
        "aws_lambda_function": limits.shape("lambda", "Description"),
        "aws_cloudwatch_event_rule": limits.shape("events", "RuleDescription"),
        "aws_scheduler_schedule": limits.shape("scheduler", "Description"),
        "aws_cloudwatch_metric_alarm": limits.shape("cloudwatch", "AlarmDescription"),
        "aws_security_group": limits.Name(255, r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]*", "EC2"),
    }
    seen = set()
    for kind, _, body in limits.resources():
        for description in re.findall(r'(?m)^  (?:alarm_)?description\s*=\s*"(.*)"$', body):
            if kind in most:
                seen.add(kind)
                if "each.value." not in description:  # those are below
                    assert most[kind].refuses(limits.rendered(description, NODE)) is None, description
    assert len(seen) >= 5


def test_alarms_texts_fit() -> None:
    for described in re.findall(r'text = "([^"]*)"', limits.text("alarms")):
        assert limits.shape("cloudwatch", "AlarmDescription").refuses(described) is None


def test_five_hundred_nodes_fit_the_item_that_holds_them() -> None:
    """400 KB for an item, its attributes' names included: amazondynamodb/latest/developerguide/ServiceQuotas.html."""
    arn = f"arn:aws-us-gov:batch:{REGION}:{ACCOUNT}:job-queue/{CLUSTER}-fargate"
    node = {
        "model_id": "0" * 36, "tournament": 12, "since": "2026-01-06T12:00:00+00:00", "cron": "30 12 ? * TUE-SAT *",
        "token_sha256": "0" * 64, "job_queue": arn, "job_definition": f"{CLUSTER}-{NODE}",
    }  # fmt: skip
    assert len(json.dumps({f"{NODE}-{number:03}": node for number in range(500)})) <= 400 * 1024


def test_the_failed_runs_pattern_and_message_fit() -> None:
    """2,048 characters for a pattern as an account has it at first (eventbridge/latest/userguide/eb-quota.html), 8,192
    for a template (botocore/data/events, TransformerInput)."""
    arn = f"arn:aws-us-gov:batch:{REGION}:{ACCOUNT}:job-queue/{CLUSTER}-fargate-now"
    rule = next(body for kind, name, body in limits.resources() if f"{kind}.{name}".endswith("rule.failed_run"))
    known = len(rule) + len(limits.text("alarms").partition("locals {")[2].partition("\nresource")[0])
    assert known + 4 * len(arn) <= 2048
    for template in re.findall(r'input_template\s*=\s*"(.*)"', limits.text()):
        assert len(template) <= 8192


# sizes


def test_our_pairs_of_fargate_are_batchs_own() -> None:
    """botocore/data/batch, ResourceRequirement.value. The 32 vCPUs that it lists besides we do not offer."""
    theirs = limits.fargate_pairs()
    assert set(sizes.FARGATE) == set(theirs) - {32.0}
    assert {cpu: set(memories) for cpu, memories in sizes.FARGATE.items()} == {
        cpu: theirs[cpu] for cpu in sizes.FARGATE
    }


def test_the_roots_pairs_are_the_same() -> None:
    lines = re.findall(r'(?m)^\s+"([\d.]+)"\s*= (\[[\d, ]+\]|range\([\d, ]+\))$', (ROOT / "variables.tf").read_text())
    theirs = {float(cpu): tuple(eval(values, {"range": range, "__builtins__": {}})) for cpu, values in lines}
    assert theirs == sizes.FARGATE


LARGEST = {
    "c6i": (128, 256), "m6i": (128, 512), "r6i": (128, 1024),
    "c7i": (192, 384), "m7i": (192, 768), "r7i": (192, 1536),
}  # fmt: skip
"""vCPUs and GiB of a family's largest host: ec2/latest/instancetypes/co.html, gp.html, mo.html."""
MEANT = {"optimal": ("c6i", "m6i", "r6i", "c7i"), "default_x86_64": ("c6i", "m6i", "r6i", "c7i")}
"""What Batch takes for these words since 2025-11-01: batch/latest/userguide/instance-type-compute-table.html."""


def test_every_size_that_is_offered_fits_a_host_of_the_families() -> None:
    named = re.findall(r'"([\w.]+)"', re.findall(r"(?m)^\s+ec2 = .* : (\[.*\])$", limits.text("batch"))[0])
    families = [family for name in named for family in MEANT.get(name, (name,))]
    hosts = [LARGEST[family] for family in families]
    for cpu in (1, 32, 128, sizes.EC2_CPU):
        memory = _most_memory(cpu)
        assert any(cpu <= vcpus and memory < gib * 1024 for vcpus, gib in hosts), (cpu, memory)


def _most_memory(cpu: int) -> int:
    """The most MiB that a node with so many vCPUs may ask for."""
    fitting = [gib * 1024 for gib in range(1, sizes.EC2_MEMORY // 1024 + 1) if _taken(cpu, gib * 1024)]
    return max(fitting)


def _taken(cpu: int, memory: int) -> bool:
    try:
        return sizes.provisioned_size(cpu, memory) == (cpu, memory)
    except NumeraiError:
        return False


def test_logs_are_kept_for_as_long_as_cloudwatch_can() -> None:
    """botocore/data/logs, Days."""
    said = limits.model("logs")._service_description["shapes"]["Days"]["documentation"]
    possible = {int(number) for number in re.findall(r"\d+", said.partition("Possible values")[2].partition("</p>")[0])}
    assert set(LOG_RETENTION_DAYS) <= possible
    listed = re.findall(r"contains\(\[([\d, ]+)\], var.log_retention_days\)", limits.text("variables"))[0]
    assert tuple(int(number) for number in listed.split(",")) == LOG_RETENTION_DAYS


def test_disks_and_time_limits_are_within_batchs_bounds() -> None:
    """21 to 200 GiB of ephemeral storage (botocore/data/batch, EphemeralStorage), 60 seconds and more for an attempt
    (JobTimeout), 14 days on Fargate (batch/latest/userguide/fargate.html)."""
    shapes = limits.model("batch")._service_description["shapes"]
    said = shapes["EphemeralStorage"]["members"]["sizeInGiB"]["documentation"]
    assert "<code>21</code>" in said and "<code>200</code>" in said
    assert "60 seconds" in shapes["JobTimeout"]["members"]["attemptDurationSeconds"]["documentation"]
    variables = limits.text("variables")
    assert "node.disk_gib >= 20 && node.disk_gib <= 200" in variables and "each.value.disk_gib > 20" in limits.text(
        "nodes"
    )
    assert "node.timeout_minutes >= 1 && node.timeout_minutes <= 1440" in variables


def test_retries_of_schedules_and_rules_are_within_their_bounds() -> None:
    """60 to 86,400 seconds and at most 185 attempts: botocore/data/scheduler and events."""
    for service in ("scheduler", "events"):
        age = limits.model(service).shape_for("MaximumEventAgeInSeconds").metadata
        attempts = limits.model(service).shape_for("MaximumRetryAttempts").metadata
        assert (age["min"], age["max"], attempts["max"]) == (60, 86_400, 185)
    policies = blocks("retry_policy", limits.text())
    assert len(policies) == 2
    for each in policies:
        assert 60 <= int(re.findall(r"maximum_event_age_in_seconds\s*=\s*(\d+)", each)[0]) <= 86_400
        assert 0 <= int(re.findall(r"maximum_retry_attempts\s*=\s*(\d+)", each)[0]) <= 185


def test_tags_are_few_and_none_is_amazons_own() -> None:
    """50 tags, 128 characters a key and 256 a value, no `aws:` in front: tag-editor/latest/userguide/
    best-practices-and-strats.html. ECR, Batch and IAM take `numerai:` with its colon."""
    keys = re.findall(r'"(numerai:\w+)"\s*=', limits.text("versions"))
    assert 2 <= len(keys) <= 50 and all(len(key) <= 128 and not key.startswith("aws:") for key in keys)


def test_permissions_and_targets_are_named_as_aws_takes_it() -> None:
    for statement in re.findall(r'statement_id\s*=\s*"(\w+)"', limits.text()):
        assert limits.shape("lambda", "StatementId").refuses(statement) is None
    for target in re.findall(r'target_id\s*=\s*"([\w-]+)"', limits.text()):
        assert limits.shape("events", "TargetId").refuses(target) is None


def test_each_name_rule_says_where_aws_says_so() -> None:
    for kind, rule in NAMES.items():
        assert rule().source.startswith((GUIDE, "botocore/data/")), kind
