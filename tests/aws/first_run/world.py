"""What the steps work with: the command `numerai` as the role's holder runs it, and clients to look with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .account import Account, until
from .model import NotAsSaid
from .recorded_cli import ANSWERS, STEP

MODEL = "try"
NODE = f"numerai-{MODEL}"
FINAL = ("SUCCEEDED", "FAILED")
COMMAND_SECONDS = 900
APART: dict[str, Any] = {
    "start_new_session": True,
    "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
}
"""Of a process that Ctrl-C in this terminal does not reach, on POSIX and on Windows."""
RUN_SECONDS = 600
"""Fargate takes one to two minutes to start a container, more for a large image."""
REPOSITORY = Path(__file__).parents[3]


@dataclass
class Cli:
    """How a command ended and what it printed."""

    exit_code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.out}{self.err}".strip()


@dataclass
class World:
    """One throwaway cluster, its home folder and its account. `numerai` is the API that the node is registered with: a
    sandbox on this machine, so that no Numerai account is needed and no model of yours is touched."""

    account: Account
    home: Path
    numerai: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    answers: Path = Path(os.devnull)
    """What AWS answered, redacted, as JSON lines."""
    step: str = ""
    begun: float = field(default_factory=time.monotonic)
    """When all of it began, by the monotonic clock."""
    started: dict[str, str] = field(default_factory=dict)
    """The jobs of cases that were started ahead of their steps, by case."""
    apart: bool = False
    """Whether commands are left alone by Ctrl-C in this terminal."""

    @property
    def emulated(self) -> bool:
        """Whether AWS is a stand-in."""
        return self.account.emulated

    @property
    def folder(self) -> Path:
        """The node's code."""
        return self.home / "node"

    # the command line

    def cli(self, *arguments: str, owner: bool = False) -> Cli:
        """Run `numerai` with the role's credentials, or the owner's. After Ctrl-C it is waited for: it lets Terraform
        stop in order."""
        command = [sys.executable, "-m", "tests.aws.first_run.recorded_cli", *arguments]
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=self._environment(owner),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **(APART if self.apart else {}),
        )
        try:
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        except BaseException:
            process.communicate()  # Ctrl-C reached it as well; it ends by itself
            raise
        return Cli(process.returncode, out, err)

    def ok(self, *arguments: str, owner: bool = False) -> Cli:
        """Run `numerai`; raises `NotAsSaid` with its words where it fails."""
        done = self.cli(*arguments, owner=owner)
        if done.exit_code != 0:
            raise NotAsSaid(f"`numerai {' '.join(arguments)}` ended with {done.exit_code}: {done.text[-1500:]}")
        return done

    def configure(self, *more: str) -> Cli:
        """Bring the cluster to its settings."""
        size = ("--cpu", "0.25", "--memory", "0.5", "--timeout-minutes", "5")
        return self.ok("node", "config", "-P", "aws", "--path", str(self.folder), *size, "--yes", *more)

    def _environment(self, owner: bool) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMERAI_")}
        if not owner:
            mine = ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS")
            kept = {name: value for name, value in kept.items() if not name.startswith("AWS_") or name in mine}
            kept |= self.account.write_profile(self.home / "aws-profile")
        elif self.account.profile:
            kept["AWS_PROFILE"] = self.account.profile
        return {
            **kept,
            **self.environment,
            "NUMERAI_HOME": str(self.home / "numerai"),
            "NUMERAI_AWS_CLUSTER": self.account.cluster,
            "NUMERAI_API_URL": self.numerai["url"],
            "NUMERAI_PUBLIC_ID": self.numerai["public_id"],
            "NUMERAI_SECRET_KEY": self.numerai["secret_key"],
            "COLUMNS": "200",
            ANSWERS: str(self.answers),
            STEP: self.step,
        }

    # the cluster

    @property
    def stack(self) -> dict[str, Any]:
        """The tool's record of the cluster."""
        file = self.home / "numerai" / "aws" / "stack.json"
        read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return read

    @property
    def outputs(self) -> dict[str, Any]:
        """What Terraform made."""
        found: dict[str, Any] = self.stack["outputs"]
        return found

    @property
    def made(self) -> dict[str, str]:
        """What the node consists of."""
        found: dict[str, str] = self.outputs["nodes"][NODE]
        return found

    @property
    def url(self) -> str:
        """The node's webhook."""
        return f"{self.outputs['webhook_base_url'].rstrip('/')}/{NODE}/{self.stack['nodes'][NODE]['token']}"

    def trigger_id(self, case: str) -> str:
        """Names a case of the node's script, once."""
        return f"{case}-{self.token}"

    def call(self, trigger_id: str) -> tuple[int, dict[str, Any]]:
        """Call the webhook as Numerai does."""
        body = json.dumps({"triggerId": trigger_id}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {"body": error.read().decode(errors="replace")[:300]}

    def start(self, case: str) -> str:
        """Let the webhook start the case; its job."""
        status, answer = until(lambda: self._unless_throttled(case), 60, "the webhook took the call")
        if status != 200:
            raise NotAsSaid(f"The webhook answered {status}: {answer}")
        return str(answer["runId"])

    def _unless_throttled(self, case: str) -> tuple[int, dict[str, Any]] | None:
        status, answer = self.call(self.trigger_id(case))
        return None if status == 429 else (status, answer)

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as Batch describes it."""
        jobs: list[dict[str, Any]] = self.account.role("batch").describe_jobs(jobs=[job_id])["jobs"]
        return jobs[0]

    def in_state(self, job_id: str, *states: str) -> dict[str, Any]:
        """A job once it is in one of these states, or has ended."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in (*states, *FINAL) else None

        every = 0.3 if self.emulated else 3.0
        found: dict[str, Any] = until(look, RUN_SECONDS, f"job {job_id} was {' or '.join(states or FINAL)}", every)
        return found

    def ahead(self, *cases: str) -> None:
        """Start cases now whose steps come later: on Fargate each takes a minute or two until it runs."""
        self.started |= {case: self.start(case) for case in cases}

    def run(self, case: str) -> dict[str, Any]:
        """Start a case, where it was not started ahead, and wait for its end."""
        return self.in_state(self.started.pop(case, "") or self.start(case))

    def printed(self, job: Mapping[str, Any]) -> list[str]:
        """What a job's last attempt printed, all pages."""
        group, stream = self.outputs["run_log_group"], job["container"]["logStreamName"]
        asked = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        lines: list[str] = []
        while True:
            answer = self.account.role("logs").get_log_events(**asked)
            lines += [event["message"] for event in answer["events"]]
            if answer["nextForwardToken"] == asked.get("nextToken") or not answer["events"]:
                return lines
            asked["nextToken"] = answer["nextForwardToken"]

    @cached_property
    def queue(self) -> str:
        """A queue that gets what the topic publishes, for the rest of the run: SQS lets no queue have the name of one
        that was deleted within the last minute (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/
        API_CreateQueue.html)."""
        sqs, sns, topic = self.account.owner("sqs"), self.account.owner("sns"), self.outputs["failures_topic_arn"]
        address = str(sqs.create_queue(QueueName=f"{self.account.name}-{self.token}")["QueueUrl"])
        arn = sqs.get_queue_attributes(QueueUrl=address, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=address, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return address

    def told(self, part: str) -> list[str]:
        """The messages with this part that the topic has published since the last look; takes all of them away."""
        sqs = self.account.owner("sqs")
        found = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        texts = [str(json.loads(message["Body"])["Message"]) for message in found]
        return [text for text in texts if part in text]


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds that it took."""
    begun = time.monotonic()
    return act(), time.monotonic() - begun
