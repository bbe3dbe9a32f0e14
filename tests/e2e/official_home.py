"""A home of numerai-cli 1.1 with a cluster on the emulated AWS, as that tool would have left both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.adapters.webhook_probe import why_no_answer
from numerai_compute.models import Keys
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.settings import AwsSettings
from numerai_compute.providers.aws.url_permission import let_the_url_call

from tests.aws.access_keys import OBSERVER, looking
from tests.aws.emulator import REGION, Emulator, mirror_configuration
from tests.aws.test_cluster import SUBMITS
from tests.e2e.command_line import Shell

ROOT = Path(__file__).parents[1] / "aws" / "official"
RUNTIME = Path(__file__).parents[2] / "node_template" / "numerai_node"
ALICE, BOB, CAROL = "numerai-alice", "numerai-bob", "numerai-carol"
MOVED = (ALICE, BOB)
HANDLER = '''
"""What the official webhook does: a trigger id becomes a job."""
import json, os

import boto3


def lambda_handler(event, context):
    try:
        trigger = json.loads(event["body"])["triggerId"]
    except (KeyError, TypeError, ValueError):
        return {"statusCode": 400, "body": json.dumps({"error": "no trigger id"})}
    job = boto3.client("batch").submit_job(
        jobName=context.function_name, jobQueue=os.environ["JOB_QUEUE"], jobDefinition=os.environ["JOB_DEFINITION"],
        containerOverrides={"environment": [{"name": "TRIGGER_ID", "value": trigger}]},
    )
    return {"statusCode": 200, "body": json.dumps({"jobId": job["jobId"]})}
'''
WITHHOLDS = "import os, sys\nif os.environ.get('NUMERAI_NO_SUBMIT'):\n    sys.exit(79)  # as numerai_node does\n"
YEARLY = "0 3 1 1 ? *"
"""A schedule that does not fire while a test runs."""
KINDS = {"Accept": "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"}


@dataclass
class AwsShell(Shell):
    """A terminal whose AWS is the emulator."""

    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.extra}


@dataclass
class OfficialHome:
    """The home of a terminal, and what is where. The node of alice has its folder, with code that can be told not to
    submit; bob's folder is gone, and he runs by a schedule, too; carol's node is on Google Cloud."""

    shell: AwsShell
    emulator: Emulator

    def make(self) -> None:
        """Write the files and apply the cluster, as `numerai node config` and `deploy` of numerai-cli have done."""
        shell = self.shell
        folder = shell.node("alice", {"Dockerfile": _dockerfile(), "main.py": WITHHOLDS + SUBMITS})
        shutil.copytree(RUNTIME, folder / "numerai_node", ignore=shutil.ignore_patterns("__pycache__"))
        models = {model.name: model.id for model in self.numerai.models()}
        nodes: dict[str, dict[str, Any]] = {
            f"numerai-{name}": {
                "provider": provider, "cpu": 1024, "memory": 2048, "path": str(shell.folder / name),
                "timeout_minutes": 10, "model_id": models[name],
            }
            for name, provider in (("alice", "aws"), ("bob", "aws"), ("carol", "gcp"))
        }  # fmt: skip
        nodes[BOB]["cron"] = YEARLY
        shell.home.mkdir()
        numerai = {f"NUMERAI_{part}": shell.sandbox[part.lower()] for part in ("PUBLIC_ID", "SECRET_KEY")}
        aws = {"AWS_ACCESS_KEY_ID": OBSERVER, "AWS_SECRET_ACCESS_KEY": OBSERVER}
        (shell.home / ".keys").write_text(json.dumps({"aws": aws, "numerai": numerai}))
        (shell.home / "nodes.json").write_text(json.dumps(nodes))
        for name, made in self._apply().items():
            nodes[name] |= made
            self.numerai.set_webhook(nodes[name]["model_id"], made["webhook_url"])
            self._push(made["docker_repo"])
        (shell.home / "nodes.json").write_text(json.dumps(nodes, indent=2))

    def _apply(self) -> Mapping[str, Any]:
        folder = self.shell.home / "aws"
        shutil.copytree(ROOT, folder)
        with zipfile.ZipFile(folder / "aws" / "main.zip", "w") as packed:
            packed.writestr("main.py", HANDLER)
        keys = {"AWS_ACCESS_KEY_ID": OBSERVER, "AWS_SECRET_ACCESS_KEY": OBSERVER}
        environment = {**os.environ, **self.shell.extra, **keys}
        for command in (["init"], ["apply", "-auto-approve"]):
            subprocess.run(
                ["terraform", *command, "-input=false", "-no-color"],
                cwd=folder,
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        state = json.loads((folder / "terraform.tfstate").read_text())
        made: Mapping[str, Any] = state["outputs"]["aws_nodes"]["value"]
        clients = AwsClients(AwsSettings(region=REGION))
        clients._clients["lambda"] = looking("lambda")
        for name in made:
            let_the_url_call(
                clients, name
            )  # AWS has given this to the addresses that were there before it asked for it
        return made

    def _push(self, repository: str) -> None:
        built = self.shell.folder / "image"
        built.mkdir(exist_ok=True)
        (built / "Dockerfile").write_text(_dockerfile())
        (built / "main.py").write_text(SUBMITS)
        engine = docker.from_env()
        engine.images.build(path=str(built), tag=f"{repository}:latest", rm=True, forcerm=True)
        engine.images.push(repository, tag="latest", auth_config={"username": "AWS", "password": "x"})
        engine.images.remove(f"{repository}:latest", force=True)

    @property
    def numerai(self) -> HttpNumeraiApi:
        """The user's account."""
        held = self.shell.sandbox
        return HttpNumeraiApi(Keys(held["public_id"], held["secret_key"], held["url"]))

    def webhooks(self) -> dict[str, str]:
        """What Numerai calls, by node; empty for a model that it does not call."""
        return {f"numerai-{model.name}": model.webhook or "" for model in self.numerai.models()}

    def schedules(self) -> list[str]:
        """What the new cluster runs by a schedule."""
        return [each["Name"] for each in looking("scheduler").list_schedules()["Schedules"]]

    def digest(self, repository: str, tag: str) -> str | None:
        """What the registry holds under a tag."""
        url = f"http://{self.emulator.registry}/v2/{repository}/manifests/{tag}"
        found = requests.head(url, headers=KINDS, timeout=20)
        return found.headers["Docker-Content-Digest"] if found.ok else None

    def holds(self) -> dict[str, str]:
        """Assert that Numerai calls one address for each node that answers, with an image behind it; returns in which
        cluster, by node."""
        clusters = {}
        for name in MOVED:
            url = self.webhooks()[name]
            assert why_no_answer(url) is None, (name, url)
            old = url.endswith(f"/{name}/")
            assert self.digest(name, "latest") if old else self.digest(f"numerai/{name}", "live"), name
            clusters[name] = "old" if old else "new"
        return clusters

    def left_over(self) -> list[str]:
        """What the emulated AWS still has of the old cluster."""
        batch, iam, ec2 = looking("batch"), looking("iam"), looking("ec2")
        functions = [each["FunctionName"] for each in looking("lambda").list_functions()["Functions"]]
        groups = [each["logGroupName"] for each in looking("logs").describe_log_groups()["logGroups"]]
        queues = [each["jobQueueName"] for each in batch.describe_job_queues()["jobQueues"]]
        environments = [
            each["computeEnvironmentName"] for each in batch.describe_compute_environments()["computeEnvironments"]
        ]
        definitions = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        roles = [each["RoleName"] for each in iam.list_roles()["Roles"]]
        found = [
            *(each["Name"] for each in looking("events").list_rules(NamePrefix=BOB)["Rules"]),
            *(each for each in functions if each in MOVED),
            *(each for each in groups if each.startswith(("/ec2/service/", "/aws/lambda/numerai-alice"))),
            *(each for each in queues if each.startswith("numerai-submission")),
            *(each for each in environments if each.startswith("numerai-submission")),
            *(each["jobDefinitionName"] for each in definitions if each["jobDefinitionName"] in MOVED),
            *(each for each in roles if each.startswith(("numerai-submission", "batch_ecs", "aws_batch"))),
            *(each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]
              if each["InstanceProfileName"].startswith("batch_ecs")),
            *(each["PolicyName"] for each in iam.list_policies(Scope="Local")["Policies"]
              if each["PolicyName"].startswith("numerai-submission")),
            *(each["repositoryName"] for each in looking("ecr").describe_repositories()["repositories"]
              if each["repositoryName"] in MOVED),
            *(each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if each["CidrBlock"] == "172.17.0.0/16"),
            *(each["LaunchTemplateId"] for each in ec2.describe_launch_templates()["LaunchTemplates"]),
        ]  # fmt: skip
        return sorted(found)


def _dockerfile() -> str:
    return (
        f'FROM {os.environ.get("PYTHON_IMAGE", "python:3.13-slim")}\nCOPY main.py .\nCMD ["python", "-u", "main.py"]\n'
    )


def opened(folder: Path, sandbox: dict[str, Any], emulator: Emulator) -> OfficialHome:
    """A terminal with such a home, made."""
    extra = {**emulator.environment, **mirror_configuration(folder)}
    home = OfficialHome(AwsShell(folder, sandbox, "docker", extra=extra), emulator)
    home.make()
    return home
