"""The watcher of AWS: collects the facts of each node in each round, and does what the policy decides.

What to do is `watching/policy.py`, which this function's zip carries with Numerai's client. Here are only its edges:
what Batch, the webhook's table and Numerai (`asking.py`) say, and how runs are started and people notified
(`telling.py`). The table keeps

- `trigger#<node>#watch-<tournament>-<round>-<n>`: the n-th run that was started for a round, in the webhook's own form,
  so that a watcher elsewhere, which calls the webhook with the same trigger id, starts nothing twice;
- `watch#<node>#<round>`: how a round went for a node, when it opened, and how often it was reopened, be it by another
  round that got the same number;
- `round#<tournament>`: the latest round, up to which round all is settled, and since when Numerai is silent. Of what
  earlier versions wrote there (`closes` was the end of the late period) only `judged` and `deaf_since` are read.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from numerai_compute.providers.aws import trigger_table as aws
from numerai_compute.providers.aws.occurrences import scheduled_start
from numerai_compute.providers.webhooks.claims import Busy, Claim
from numerai_compute.triggers import is_another, watch_trigger
from numerai_compute.watching import policy

if TYPE_CHECKING:
    from numerai_node.clock import moment

    from terraform.aws.watcher.asking import CannotAsk, Numerai
    from terraform.aws.watcher.telling import Telling, write
else:
    from asking import CannotAsk, Numerai
    from numerai_compute.node_template.numerai_node.clock import moment
    from telling import Telling, write

FORGOTTEN = timedelta(days=2)
"""A round whose deadline passed longer ago is history."""

_fast: Any = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 3})
# Neither SubmitJob nor Publish is idempotent, so they are never repeated blindly: see claims.once.
_once: Any = Config(connect_timeout=2, read_timeout=6, retries={"total_max_attempts": 1})
_dynamodb: Any = boto3.client("dynamodb", config=_fast)
_ssm: Any = boto3.client("ssm", config=_fast)
_batch: Any = boto3.client("batch", config=_once)
_reads: Any = boto3.client("batch", config=_fast)
_sns: Any = boto3.client("sns", config=_once)


class WatchFailed(Exception):
    """AWS or this function failed. The call ends as failed, and the alarm on that notifies people."""


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Entry point of the Lambda. The event is ignored: the schedule only wakes it."""
    del event, context
    table = aws.Table(_dynamodb, os.environ["TABLE"], time)
    item = table.get("nodes")
    nodes: dict[str, dict[str, Any]] = json.loads(item["nodes"]["S"]) if item else {}
    numerai = Numerai(_ssm)
    failures: list[str] = []
    for tournament in sorted({int(node["tournament"]) for node in nodes.values()}):
        mine = {name: node for name, node in sorted(nodes.items()) if int(node["tournament"]) == tournament}
        failures += Watch(numerai, table, tournament, mine).look()
    if failures:
        raise WatchFailed("; ".join(failures))
    return {"nodes": len(nodes)}


class Watch:
    """One look at the nodes of a tournament."""

    def __init__(self, numerai: Numerai, table: aws.Table, tournament: int, nodes: dict[str, dict[str, Any]]):
        self._numerai = numerai
        self._table = table
        self._tournament = tournament
        self._nodes = nodes
        self._telling = Telling(_dynamodb, _sns, _batch, nodes, lambda: numerai.notifies, self._failed)
        self._failures: list[str] = []

    def look(self) -> list[str]:
        """Look at every round that is open, or whose deadline passed before all was settled; returns what failed."""
        key = f"round#{self._tournament}"
        try:
            item = self._table.get(key) or {}
            kept = ("latest", "judged", "deaf_since")
            state: dict[str, dict[str, str]] = {name: item[name] for name in kept if name in item}
            before = dict(state)
            rounds, unseen = self._rounds(state)
            if rounds:
                settled = int(state["judged"]["N"]) if "judged" in state else rounds[-1].number - 1
                state["judged"] = {"N": str(self._follow(rounds, unseen, settled))}
            if state != before:
                self._table.put(key, **state)
        except Exception as error:  # noqa: BLE001 whatever it is, the other tournaments are watched before it is raised
            self._failed("rounds", aws.reason(error))
        return self._failures

    def _rounds(self, state: dict[str, dict[str, str]]) -> tuple[list[policy.Round], str]:
        """The rounds that have opened, oldest first. When Numerai does not list them: the latest that it has listed,
        and why; people hear once a day of a silence that lasts."""
        try:
            rounds = self._numerai.rounds(self._tournament)
        except CannotAsk as error:
            why, now = str(error), self._numerai.now()
            write({"watch": f"tournament-{self._tournament}", "cause": why})
            since = _epoch(float(state.setdefault("deaf_since", {"N": f"{now.timestamp():.0f}"})["N"]))
            if notice := policy.silence(self._tournament, since, now, f"{why.rstrip('.')}."):
                self._telling.tell(next(iter(self._nodes)), "silence", notice)
            if "latest" not in state:
                return [], why
            number, *times = json.loads(state["latest"]["S"])
            return [policy.Round(number, self._tournament, *map(_epoch, times))], why
        times = (rounds[-1].open_time, rounds[-1].deadline, rounds[-1].close_time)
        state.pop("deaf_since", None)
        state["latest"] = {"S": json.dumps([rounds[-1].number, *(each.timestamp() for each in times)])}
        return rounds, ""

    def _follow(self, rounds: list[policy.Round], unseen: str, settled: int) -> int:
        """Look at every node in every round; returns up to which round all is settled."""
        now, whole = self._numerai.now(), True
        for round_ in rounds:
            over = now >= round_.deadline
            if not over:
                settled = min(settled, round_.number - 1)  # also when its deadline was put off after that
            elif round_.number <= settled or round_.deadline < now - FORGOTTEN:
                continue
            for name, node in self._nodes.items():
                try:
                    whole &= self._act(name, node, round_, unseen)
                except Exception as error:  # noqa: BLE001 whatever it is, the other nodes are watched before it is raised
                    self._failed(name, aws.reason(error))
                    whole = False
            if over and whole and not unseen:
                settled = round_.number
        return settled

    def _act(self, name: str, node: dict[str, Any], round_: policy.Round, unseen: str) -> bool:
        """Do what the policy decides for a node in a round; whether nothing more is expected of it there."""
        try:
            if self._runs_elsewhere(node):
                write({"watch": name, "round": round_.number, "step": "moving"})
                return True
        except CannotAsk as error:
            unseen = unseen or str(error)
        since = (moment(node.get("since")) or round_.open_time - self._numerai.ahead) + self._numerai.ahead
        if not round_.followed_since(since):
            return since >= round_.deadline  # else it is followed should the deadline be put off
        key, opened = f"watch#{name}#{round_.number}", round_.open_time.timestamp()
        record = {"outcome": {"S": "open"}, "reopened": {"N": "0"}, **(self._table.get(key) or {})}
        outcome, before = record["outcome"]["S"], int(record["reopened"]["N"])
        times = before + is_another(float(record.get("opened", {"N": opened})["N"]), opened)
        facts = self._facts(name, node, round_, since, outcome if times == before else "open", unseen)
        if policy.at_rest(facts):
            return policy.is_settled(round_, facts.outcome, facts.now)
        decision = policy.decide(facts)
        if decision.start is not None and (prevented := self._start(name, node, round_, decision)):
            facts = replace(facts, prevented=prevented)
            decision = policy.decide(facts)
        if facts.prevented and decision.step is not policy.Step.SUBMITTED:
            self._failed(name, facts.prevented)
        times += decision.reopened
        done = [self._telling.tell(name, round_.number, notice, times) for notice in decision.notices]
        outcome = decision.outcome if decision.outcome and all(done) else "open" if decision.reopened else facts.outcome
        if (outcome, times) != (facts.outcome, before):
            self._table.put(key, outcome={"S": outcome}, reopened={"N": str(times)}, opened={"N": str(opened)})
        write({"watch": name, "round": round_.number, "step": decision.step.value, "detail": decision.detail})
        return policy.is_settled(round_, outcome, facts.now)

    def _runs_elsewhere(self, node: dict[str, Any]) -> bool:
        """Whether a node that is being moved here still runs where it was. It is left to that: it would run twice, and
        what is deployed here may not have been proven. A schedule begins here once the node is deployed."""
        if not node.get("moving") or node.get("cron"):
            return False
        return not self._numerai.calls(node["model_id"], node["token_sha256"])

    # facts

    def _facts(
        self, name: str, node: dict[str, Any], round_: policy.Round, since: datetime, outcome: str, unseen: str
    ) -> policy.Facts:
        """What Batch, the table and Numerai say, in this order: what a run that has ended by then has submitted is in
        Numerai's answer. Nothing is asked about a round that is settled."""
        grace = timedelta(minutes=float(os.environ["GRACE_MINUTES"]))
        facts = policy.Facts(
            now=self._numerai.now(),  # before anything is asked: what an answer cannot hold yet is not missed
            round=round_,
            node=name,
            command=f"numerai node -m {name}",
            models=(policy.Model(name),),
            begin=max(round_.open_time, since),
            grace=None if grace == policy.GRACE else grace,  # the default shrinks with the window
            outcome=outcome,
        )
        if policy.is_settled(round_, outcome, facts.now):
            return facts
        runs, prevented = self._runs(name, node)
        scheduled, unread = scheduled_start(node.get("cron"), round_.open_time, round_.deadline)
        called = aws.called_at(self._table, name, time.time(), policy.JUST_STARTED.total_seconds())
        deployed = self._table.get(aws.deployment_key(name)) if runs else None
        facts = replace(
            facts,
            runs=runs,
            attempts=tuple(
                policy.Attempt(number, self._at(claim.claimed_at), claim.result)
                for number, claim in enumerate(self._attempts(name, round_)[1], 1)
            ),
            scheduled=scheduled,
            schedule_unread=unread,
            called_at=None if called is None else self._at(called),
            deployed_at=self._at(float(deployed["deployed_at"]["N"])) if deployed else None,
            prevented=prevented,
        )
        try:
            return replace(facts, unseen=unseen) if unseen else self._numerai.learn(facts, node["model_id"])
        except CannotAsk as error:
            return replace(facts, unseen=str(error))

    def _runs(self, name: str, node: dict[str, Any]) -> tuple[tuple[policy.Run, ...], str]:
        """The node's runs, or why Batch does not say them."""
        try:
            jobs = aws.jobs(_reads, node, "JOB_DEFINITION", node["job_definition"])
            ours = [job for job in jobs if aws.is_run(job, name, node["job_definition"]) and not aws.is_test(job)]
        except (ClientError, BotoCoreError) as error:
            return (), aws.reason(error)
        return tuple(policy.Run(**aws.run_of_job(job, self._numerai.ahead)) for job in ours), ""

    def _attempts(self, name: str, round_: policy.Round) -> tuple[int, list[Claim]]:
        opened = (round_.open_time - self._numerai.ahead).timestamp()
        return aws.attempts(self._table, name, round_.tournament, round_.number, opened)

    def _at(self, moment: float) -> datetime:
        """A moment of AWS's clock, in seconds since 1970, by Numerai's."""
        return _epoch(moment) + self._numerai.ahead

    # deeds

    def _start(self, name: str, node: dict[str, Any], round_: policy.Round, decision: policy.Decision) -> str:
        """Start the run of an attempt, once, after cancelling what waits in vain; why that failed, if it did. What has
        just begun to start goes on beside it (docs.aws.amazon.com/batch/latest/APIReference/API_CancelJob.html)."""
        try:
            for job_id in decision.cancel:
                _batch.cancel_job(jobId=job_id, reason="The watcher cancelled it: it waited too long for its start")
            serial = self._attempts(name, round_)[0] + (decision.start or 0)
            trigger_id = watch_trigger(round_.tournament, round_.number, serial)
            aws.run_of_trigger(self._table, _batch, name, node, trigger_id, time, wait_seconds=0)
        except Busy:
            pass  # another call is starting it
        except (ClientError, BotoCoreError) as error:
            return aws.reason(error)
        return ""

    def _failed(self, whose: str, why: str) -> None:
        write({"watch": whose, "failed": why})
        self._failures.append(f"{whose}: {why}")


def _epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
