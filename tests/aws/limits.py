"""AWS's documented limits, and the root as text, with the longest names that it takes, to hold against them.

Where botocore's model of a service states a limit, it is taken from there (a copy of AWS's own API description, on the
disk as `botocore/data/<service>`); else it is written here with the page that says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from numerai_compute.providers.aws.variables import ROLE_LIMIT

ROOT = Path(__file__).parents[2] / "terraform" / "aws"
GUIDE = "https://docs.aws.amazon.com"
CLUSTER = "c" * 24
"""The longest that `var.name` takes."""
NODE = f"signals-{'n' * (ROLE_LIMIT - len(f'{CLUSTER}-run-signals-'))}"
"""The longest name of a node in a cluster of that name."""
REGION = "ap-southeast-7"
"""As long as a region's name gets (docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html)."""
ACCOUNT = "1" * 12
SUFFIX = "2" * 26
"""What Terraform puts behind a name prefix (hashicorp/terraform-plugin-sdk, helper/id: UniqueIDSuffixLength)."""

Resource = tuple[str, str, str]
"""Type, name and body of a resource in the root."""


@dataclass(frozen=True)
class Name:
    """How long a name may be and what it may consist of."""

    most: int
    pattern: str
    source: str
    least: int = 1

    def refuses(self, name: str) -> str | None:
        """Why AWS would not take the name."""
        if not self.least <= len(name) <= self.most:
            return f"{name} has {len(name)} characters; {self.least} to {self.most} are allowed"
        return None if re.fullmatch(self.pattern, name) else f"{name} does not match {self.pattern}"


@cache
def model(service: str) -> Any:
    """AWS's own description of a service's API."""
    return botocore.session.get_session().get_service_model(service)


def shape(service: str, name: str, most: int | None = None) -> Name:
    """A limit as the service's model has it; `most` where the documentation is narrower than the model."""
    found = model(service).shape_for(name).metadata
    pattern = model(service)._service_description["shapes"][name].get("pattern", ".*")
    limit = most or int(found["max"])
    return Name(limit, pattern, f"botocore/data/{service}, {name}", int(found.get("min", 1)))


NAMES: dict[str, Callable[[], Name]] = {
    "aws_batch_compute_environment": lambda: Name(
        128, r"[A-Za-z0-9_-]+", f"{GUIDE}/batch/latest/APIReference/API_CreateComputeEnvironment.html"
    ),
    "aws_batch_job_definition": lambda: Name(
        128, r"[A-Za-z0-9_-]+", f"{GUIDE}/batch/latest/APIReference/API_RegisterJobDefinition.html"
    ),
    "aws_batch_job_queue": lambda: Name(
        128, r"[A-Za-z0-9_-]+", f"{GUIDE}/batch/latest/APIReference/API_CreateJobQueue.html"
    ),
    "aws_budgets_budget": lambda: Name(100, r"[^:\\]+", "botocore/data/budgets, BudgetName"),
    "aws_cloudwatch_event_rule": lambda: shape("events", "RuleName"),
    "aws_cloudwatch_log_group": lambda: shape("logs", "LogGroupName"),
    "aws_cloudwatch_metric_alarm": lambda: shape("cloudwatch", "AlarmName"),
    "aws_dynamodb_table": lambda: shape("dynamodb", "TableName"),
    "aws_ecr_repository": lambda: shape("ecr", "RepositoryName"),
    "aws_iam_instance_profile": lambda: shape("iam", "instanceProfileNameType"),
    "aws_iam_role": lambda: shape("iam", "roleNameType"),
    "aws_iam_role_policy": lambda: shape("iam", "policyNameType"),
    # The name alone has 64 characters; the model's 140 are those of an ARN.
    "aws_lambda_function": lambda: Name(
        64, r"[A-Za-z0-9_-]+", f"{GUIDE}/lambda/latest/api/API_CreateFunction.html, FunctionName"
    ),
    "aws_launch_template": lambda: shape("ec2", "LaunchTemplateName"),
    "aws_s3_bucket": lambda: Name(
        63, r"[a-z0-9][a-z0-9.-]+[a-z0-9]", f"{GUIDE}/AmazonS3/latest/userguide/bucketnamingrules.html", 3
    ),
    "aws_scheduler_schedule": lambda: shape("scheduler", "Name"),
    "aws_secretsmanager_secret": lambda: Name(
        512, r"[A-Za-z0-9/_+=.@-]+", f"{GUIDE}/secretsmanager/latest/apireference/API_CreateSecret.html, Name"
    ),
    "aws_security_group": lambda: Name(
        255, r"(?!sg-)[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+",
        f"{GUIDE}/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html, GroupName",
    ),
    "aws_sns_topic": lambda: Name(
        256, r"[A-Za-z0-9_-]+", f"{GUIDE}/sns/latest/api/API_CreateTopic.html, Name"
    ),
    # With the ARN before it a name may have 1011 characters in all; 15 levels.
    "aws_ssm_parameter": lambda: Name(
        1011 - len(f"arn:aws-us-gov:ssm:{REGION}:{ACCOUNT}:parameter"), r"(?!/?(?i:aws|ssm))(/?[A-Za-z0-9_.-]+){1,15}",
        f"{GUIDE}/systems-manager/latest/APIReference/API_PutParameter.html, Name",
    ),
}  # fmt: skip
"""By type of resource: every type that has a name of its own is here, or the test fails."""

KEYS: dict[str, tuple[str, ...]] = {
    "aws_batch_compute_environment.this": ("fargate-on-demand", "fargate-now-on-demand", "gpu-on-demand"),
    "aws_batch_job_definition.node": (NODE,),
    "aws_batch_job_queue.this": ("fargate", "fargate-now", "ec2", "gpu"),
    "aws_cloudwatch_metric_alarm.webhook": ("errors", "throttles"),
    "aws_cloudwatch_metric_alarm.watcher": ("errors", "missing"),
    "aws_ecr_repository.node": (NODE,),
    "aws_iam_instance_profile.host": ("ec2", "gpu"),
    "aws_iam_role.host": ("ec2", "gpu"),
    "aws_launch_template.host": ("ec2", "gpu"),
    "aws_scheduler_schedule.node": (NODE,),
}
"""What `each.key` is at its longest; everywhere else where it occurs in a name it is a node's."""
_ATTRIBUTES = ("name", "name_prefix", "bucket", "function_name", "alarm_name", "compute_environment_name_prefix",
               "compute_environment_name")  # fmt: skip
_BLOCK = re.compile(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


def text(name: str = "*") -> str:
    """The root's files as one text, without comments."""
    files = sorted(ROOT.glob(f"{name}.tf"))
    return "\n".join(re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8")) for path in files)


def resources() -> Iterator[Resource]:
    """Every resource of the root."""
    for found in _BLOCK.finditer(text()):
        yield found[1], found[2], found[3]


def names() -> Iterator[tuple[str, str, str]]:
    """Address, type and name, as long as it gets, of each resource whose name the root chooses."""
    for kind, name, body in resources():
        for attribute, value in re.findall(r"(?m)^  (\w+)\s*=\s*(.+)$", body):
            if attribute in _ATTRIBUTES and (chosen := _chosen(value)):
                for key in KEYS.get(f"{kind}.{name}", (NODE,)):
                    suffix = SUFFIX if attribute.endswith("prefix") else ""
                    yield f"{kind}.{name}", kind, rendered(chosen, key) + suffix


def _chosen(value: str) -> str | None:
    """The template of a name that is written here; None for one that another resource has."""
    if value.startswith('"'):
        return value.strip('"')
    return "${" + value + "}" if value.startswith(("local.", "each.value.name")) else None


def rendered(template: str, key: str) -> str:
    """A template with the longest values; raises `KeyError` for what nobody has given a value."""
    values = {
        "var.name": CLUSTER,
        "var.region": REGION,
        "local.account": ACCOUNT,
        "each.key": key,
        "local.webhook_name": f"{CLUSTER}-webhook",
        "local.watcher_name": f"{CLUSTER}-watcher",
        "each.value.function_name": f"{CLUSTER}-watcher",
        "each.value.name": f"{CLUSTER}-{key}-host",
        "each.value": f"{CLUSTER}-blocked-run",
    }
    return re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], template)


def fargate_pairs() -> dict[float, set[int]]:
    """vCPUs -> MiB, as Batch's own model lists them for `ResourceRequirement.value`."""
    shapes = model("batch")._service_description["shapes"]
    words = re.sub(r"<[^>]+>", " ", shapes["ResourceRequirement"]["members"]["value"]["documentation"])
    lists = words.partition("The supported values are 0.25")[2]
    found = re.findall(r"value = ([\d.]+)\s+MEMORY\s+=\s+((?:\d+(?:, or | or |, )?)+)", lists)
    return {float(cpu): {int(memory) for memory in re.findall(r"\d+", memories)} for cpu, memories in found}
