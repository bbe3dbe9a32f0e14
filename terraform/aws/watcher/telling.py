"""Notices of the watcher's function: each goes once to the topic, and once to the addresses of `numerai notify`.

The table keeps `notice#<node>#<round>#<key>` for what was told.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from numerai_compute.providers.aws import trigger_table as aws
from numerai_compute.providers.webhooks.claims import Busy, once
from numerai_compute.watching.policy import Notice

LONGEST_TEXT = 2000
"""A job's command takes 8 KiB in all. Source: docs.aws.amazon.com/batch/latest/userguide/service_limits.html."""
NOTICE_JOB_SECONDS = 300


class Telling:
    """Tells people of the nodes, once of each thing. `by_run` is whether the runs of their images notify people;
    `failed` is told what AWS refuses, and of which node."""

    def __init__(
        self,
        dynamodb: Any,
        sns: Any,
        batch: Any,
        nodes: Mapping[str, Mapping[str, str]],
        by_run: Callable[[], bool],
        failed: Callable[[str, str], None],
    ):
        self._table = aws.Table(dynamodb, os.environ["TABLE"], time, result="done_at")
        self._sns = sns
        self._batch = batch
        self._nodes = nodes
        self._by_run = by_run
        self._failed = failed

    def tell(self, name: str, during: int | str, notice: Notice, times: int = 0) -> bool:
        """Publish a notice, and let a run of the node's image send it where those notify, unless it is about a run's
        own end, which that run has sent itself. Whether both is done; what is not is done by a later call.

        `during` is the round, and `times` how often it was reopened: it is told anew then.
        """
        if notice.kind == "success":
            return True  # the topic is for what needs attention
        key = f"notice#{name}#{during}#{notice.key}" + (f"#{times}" if times else "")
        text = notice.text[:LONGEST_TEXT]

        def publish() -> str:
            self._sns.publish(TopicArn=os.environ["TOPIC"], Subject=notice.title[:100], Message=text)
            write({"watch": name, "round": during, "notice": notice.key, "kind": notice.kind})
            return "published"

        def notify() -> str:
            command = ["python", "-m", "numerai_node", "notify", notice.kind, notice.title, text]
            job = f"{aws.NOTICE_PREFIX}{name}-{notice.kind}"
            return aws.submit_job(self._batch, self._nodes[name], job, NOTICE_JOB_SECONDS, now=True, command=command)

        done = self._once(name, key, publish)  # neither may keep the other from being done
        return self._once(name, f"{key}#run", notify) and done if self._by_run() and not notice.of_run else done

    def _once(self, name: str, key: str, do: Callable[[], str]) -> bool:
        try:
            once(self._table, key, do, time, wait_seconds=0)
        except Busy:
            return False
        except (ClientError, BotoCoreError) as error:
            self._failed(name, aws.reason(error))
            return False
        return True


def write(line: Mapping[str, Any]) -> None:
    """One line of JSON for the log."""
    sys.stdout.write(json.dumps(line) + "\n")
