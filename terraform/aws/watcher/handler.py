"""The watcher: asks Numerai whether each node's submission of this round is there, and sees to it when it is not.

It is called every few minutes and asks Numerai which rounds there are; outside their windows that is all it does. What
it remembers is in the webhook's table:

- `trigger#<node>#watch-<tournament>-<round>-<n>`: the run of the n-th try, in the webhook's own form, so that a watcher
  elsewhere, which calls the webhook with the same trigger id, starts nothing twice;
- `notice#<node>#<round>#<kind>`: what was told;
- `round#<tournament>`: the latest round, up to which round the close was looked at, and since when Numerai has not said
  which rounds there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TRIES = 3
"""How many runs the watcher starts for one node and round, at least: in a long window it goes on until one was started
in the second half."""
PATIENCE = timedelta(minutes=30)
"""So long Numerai may not say which rounds there are before somebody is told."""
AFTER_CLOSE = timedelta(minutes=30)
"""So long a run that goes on over the close, and a submission that is not checked, are waited for."""
OUTAGE = 2
"""So many nodes in a row about which Numerai could not be asked are an outage: the others are not asked about."""
LONGEST_REASON, LONGEST_TEXT = 300, 2000
"""A job's command takes 8 KiB in all."""
TELL = timedelta(minutes=20)
"""So long before the close somebody is told: a call comes every five minutes, and a person shall have a quarter of an
hour to act."""
OWN_START = timedelta(minutes=30)
"""A node with a schedule that cannot be read here is left to it until so long before the close."""
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
CRON_FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (1, 7, DAYS), (1970, 2199, ()))
EARLY = timedelta(minutes=30)
"""A run that was started so long before the opening and goes on may be for this round; an older one hangs."""
FORGOTTEN = timedelta(days=2)
"""A round that closed longer ago is history."""
FIRST_PAUSE = timedelta(minutes=30)
SHORTEST_PAUSE = timedelta(minutes=1)
SETTLE = timedelta(minutes=2)
"""A run that was started within this time counts as active whether or not Batch lists it already."""
CLAIM_SECONDS = 60.0
"""After this a call that claimed a try or a notice and did not finish it is taken for dead."""
REMEMBER_SECONDS = 90 * 24 * 3600

CALL_SECONDS = 200.0
"""After this a call asks no more, so that it can still tell; Lambda ends it after 300 s."""
ASKS = 3
ASK_SECONDS = 10.0
ANSWER_SECONDS = 20.0
LONGEST_WAIT = 5.0
LARGEST_ANSWER = 8 * 1024 * 1024
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
FINAL = ("SUCCEEDED", "FAILED")
NOT_REPEATED = {65: "the predictions are not what Numerai takes", 78: "the node's configuration is not complete"}
"""Exit codes after which the same code would end the same way."""
NOTICE_PREFIX = "notice-"
"""Begins the names of jobs that only tell people something."""
NOTICE_JOB_SECONDS = 300

_fast: Any = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 3})
# Submitting is not idempotent at Batch, so it is never repeated blindly: see _start.
_once: Any = Config(connect_timeout=2, read_timeout=6, retries={"total_max_attempts": 1})
_dynamodb: Any = boto3.client("dynamodb", config=_fast)
_secrets: Any = boto3.client("secretsmanager", config=_fast)
_batch: Any = boto3.client("batch", config=_once)
_sns: Any = boto3.client("sns", config=_fast)


class CannotAsk(Exception):
    """Numerai could not be asked, or did not say it; `outage` when asking about another node would end the same way."""

    def __init__(self, why: str, *, outage: bool = False):
        super().__init__(why)
        self.outage = outage


class WatchFailed(Exception):
    """Something of AWS or of this function failed; the call ends as failed, and the alarm on that tells somebody."""


@dataclass(frozen=True)
class Round:
    """A submission window."""

    number: int
    tournament: int
    opens: datetime
    closes: datetime


@dataclass(frozen=True)
class Submission:
    """What Numerai holds of a node for a round; neither accepted nor refused while it is not checked."""

    accepted: bool
    refused: bool
    late: bool
    reason: str


@dataclass(frozen=True)
class Job:
    """A run of a node, as far as the watcher looks at it."""

    id: str
    created: datetime
    active: bool
    exit_code: int | None


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Entry point of the Lambda. What the event holds is of no interest: the schedule only wakes it."""
    del event, context
    nodes = _nodes()
    numerai = Numerai(os.environ["NUMERAI_API_URL"])
    failures: list[str] = []
    for tournament in sorted({int(node["tournament"]) for node in nodes.values()}):
        mine = {name: node for name, node in sorted(nodes.items()) if int(node["tournament"]) == tournament}
        failures += Watch(numerai, tournament, mine).look()
    if failures:
        raise WatchFailed("; ".join(failures))
    return {"nodes": len(nodes)}


# Numerai


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The keys go to Numerai's API and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """A redirect is an answer like any other that cannot be used."""


class Numerai:
    """Numerai's API: two questions, each with time limits and few repetitions. The keys are in memory only."""

    def __init__(self, url: str):
        self._url = url
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._end = time.monotonic() + CALL_SECONDS
        self.ahead = timedelta(0)

    @property
    def spent(self) -> bool:
        """Whether this call has no time left to ask."""
        return time.monotonic() > self._end

    def now(self) -> datetime:
        """The present moment by Numerai's clock, once it has been asked anything."""
        return self.at(time.time())

    def at(self, moment: float) -> datetime:
        """A moment of this machine's clock, in seconds since 1970, by Numerai's clock."""
        return datetime.fromtimestamp(moment, timezone.utc) + self.ahead

    @cached_property
    def secret(self) -> dict[str, str]:
        """The keys and whom to notify."""
        try:
            content = json.loads(_secrets.get_secret_value(SecretId=os.environ["SECRET"])["SecretString"])
        except _secrets.exceptions.ResourceNotFoundException:
            content = {}
        except ValueError:
            content = {}
        return {str(name): str(value) for name, value in content.items()} if isinstance(content, dict) else {}

    def rounds(self, tournament: int) -> list[Round]:
        """The latest rounds that have opened, oldest first."""
        query = "query($tournament: Int, $limit: Int) { rounds(tournament: $tournament, limit: $limit) "
        query += "{ number openTime closeTime } }"
        rows = self._ask(query, {"tournament": tournament, "limit": 10}, "rounds", signed=False)
        try:
            found = [
                Round(int(row["number"]), tournament, _time(row["openTime"]), _time(row["closeTime"]))
                for row in rows
                if row["openTime"] and row["closeTime"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CannotAsk("Numerai's answer about the rounds is not understood", outage=True) from error
        opened = sorted((each for each in found if each.opens <= self.now()), key=lambda each: each.number)
        if not opened:
            raise CannotAsk(f"Numerai names no round of tournament {tournament}", outage=True)
        return opened

    def submissions(self, model_id: str, this: Round) -> list[Submission]:
        """A model's submissions for a round."""
        query = "query($modelId: ID) { submissions(modelId: $modelId) "
        query += "{ status errorInfo insertedAt round { number } } }"
        rows = self._ask(query, {"modelId": model_id}, "submissions", signed=True)
        try:
            return [
                Submission(
                    row["status"] == "success",
                    row["status"] == "error",
                    bool(row["insertedAt"]) and _time(row["insertedAt"]) >= this.closes,
                    str(row["errorInfo"] or "no reason was given")[:LONGEST_REASON],
                )
                for row in rows
                if (row["round"] or {}).get("number") == this.number
            ]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CannotAsk("Numerai's answer about the submissions is not understood") from error

    def _ask(self, query: str, variables: dict[str, Any], field: str, *, signed: bool) -> list[Any]:
        headers = {"Content-Type": "application/json", "User-Agent": "numerai-watcher"}
        if signed:
            headers["Authorization"] = f"Token {self._key('NUMERAI_PUBLIC_ID')}${self._key('NUMERAI_SECRET_KEY')}"
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = self._send(urllib.request.Request(self._url, body, headers))  # noqa: S310 Terraform lets http(s) pass only
        errors = answer.get("errors")
        if errors:
            raise CannotAsk(f"Numerai refuses: {self._said(errors)}")
        data = answer.get("data")
        rows = data.get(field, data) if isinstance(data, dict) else data
        if not isinstance(data, dict) or not isinstance(rows, (list, type(None))):
            raise CannotAsk(f"Numerai's answer about the {field} is not understood", outage=True)
        return rows or []

    def _key(self, name: str) -> str:
        value = self.secret.get(name, "")
        if not re.fullmatch(r"[!-~]+", value):
            raise CannotAsk("the Numerai keys are not in Secrets Manager: `numerai node config` puts them there")
        return value

    def _send(self, request: urllib.request.Request) -> dict[str, Any]:
        why = "There was no time left to ask Numerai"
        for number in range(1, ASKS + 1):
            if self.spent:
                break
            wait = float(number)
            try:
                with self._opener.open(request, timeout=ASK_SECONDS) as answer:
                    return self._read(answer, answer.headers)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != TOO_MANY_REQUESTS and error.code < SERVER_ERROR:
                        return self._refusal(error)
                    why = f"Numerai answered HTTP {error.code}"
                    wait = max(wait, _seconds(error.headers.get("Retry-After")))
            except ValueError:
                why = "Numerai's answer is not understood"
            except OSError as error:
                why = f"Numerai did not answer: {getattr(error, 'reason', None) or type(error).__name__}"
            except Exception as error:  # noqa: BLE001 http.client raises its own kinds for a broken answer
                why = f"Numerai's answer broke off: {type(error).__name__}"
            if number < ASKS:
                time.sleep(min(wait, LONGEST_WAIT))
        raise CannotAsk(why, outage=True)

    def _refusal(self, error: urllib.error.HTTPError) -> dict[str, Any]:
        """An answer below 500 that is none: GraphQL's own errors come with 400 as well."""
        try:
            return self._read(error, error.headers)
        except Exception:  # noqa: BLE001 a refusal that cannot be read is one all the same
            raise CannotAsk(f"Numerai answered HTTP {error.code}", outage=True) from None

    def _read(self, answer: Any, headers: Any) -> dict[str, Any]:
        """The content of an answer; ValueError when it is none, is too large or takes too long."""
        deadline = time.monotonic() + ANSWER_SECONDS
        content = b""
        while piece := answer.read(64 * 1024):
            content += piece
            if len(content) > LARGEST_ANSWER or time.monotonic() > deadline:
                raise ValueError("too much")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError("no object")
        self._set_clock(headers.get("Date"))
        return found

    def _set_clock(self, date: str | None) -> None:
        """Go by Numerai's clock; by this machine's own while no answer says the time."""
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            here = datetime.fromtimestamp(time.time(), timezone.utc)
            self.ahead = parsedate_to_datetime(str(date)).astimezone(timezone.utc) - here

    def _said(self, errors: Any) -> str:
        rows = errors if isinstance(errors, list) else [errors]
        text = "; ".join(str(row.get("message") or row) if isinstance(row, dict) else str(row) for row in rows)
        for hidden in self.__dict__.get("secret", {}).values():
            text = text.replace(hidden, "***") if hidden else text
        return text[:300]


# the watch


class Watch:
    """One look at the nodes of a tournament."""

    def __init__(self, numerai: Numerai, tournament: int, nodes: dict[str, dict[str, Any]]):
        self._numerai = numerai
        self._tournament = tournament
        self._nodes = nodes
        self._failures: list[str] = []

    def look(self) -> list[str]:
        """Look at every round that is open, or has closed and was not looked at since; returns what failed here."""
        try:
            try:
                rounds = self._numerai.rounds(self._tournament)
            except CannotAsk as error:
                self._deaf(str(error))
            else:
                self._look_at(rounds)
        except Exception as error:  # noqa: BLE001 whatever it is, the other tournaments are watched before it is raised
            self._failed("rounds", error)
        return self._failures

    def _look_at(self, rounds: list[Round]) -> None:
        now, latest = self._numerai.now(), rounds[-1]
        item = _get(f"round#{self._tournament}") or {}
        judged = int(item["judged"]["N"]) if "judged" in item else latest.number - 1
        for each in rounds:
            if each.number <= judged or each.closes < now - FORGOTTEN:
                continue
            if self._round(each, now) and now >= each.closes:
                judged = max(judged, each.number)
        remembered = {
            "number": str(latest.number),
            "opens": str(latest.opens.timestamp()),
            "closes": str(latest.closes.timestamp()),
            "judged": str(judged),
        }
        if "deaf_since" in item or {name: item[name]["N"] for name in remembered if name in item} != remembered:
            numbers = {name: {"N": value} for name, value in remembered.items()}
            key = {"pk": {"S": f"round#{self._tournament}"}}
            _dynamodb.put_item(TableName=_table(), Item={**key, **numbers, "expires_at": _expiry()})

    def _round(self, this: Round, now: datetime) -> bool:
        """Look at every node; whether the round is settled for all of them."""
        settled, unseen, in_a_row = True, {}, 0
        for name, node in self._nodes.items():
            if in_a_row == OUTAGE or self._numerai.spent:
                unseen[name] = next(reversed(unseen.values()), "There was no time left to look")
                continue
            try:
                settled &= self._node(name, node, this, now)
                in_a_row = 0
            except CannotAsk as error:
                unseen[name] = str(error)
                in_a_row = in_a_row + 1 if error.outage else 0
            except Exception as error:  # noqa: BLE001 whatever it is, the other nodes are watched before it is raised
                unseen[name] = self._failed(name, error)
        if unseen and (in_a_row == OUTAGE or self._numerai.spent or len(unseen) == len(self._nodes)):
            self._cannot_ask(this, list(unseen.values())[-1], list(unseen))
        else:
            for name, why in unseen.items():
                self._cannot_ask(this, why, [name])
        return settled and not unseen

    def _node(self, name: str, node: dict[str, Any], this: Round, now: datetime) -> bool:
        """See to it that a node submits; whether nothing more is to be expected of it in this round."""
        since = node.get("since")
        if since and _time(since) + self._numerai.ahead > this.opens:
            return True
        if now < _due(node, this):
            return False
        # the runs first: what one that has ended by then has submitted is in the answer about the submissions
        jobs, failure = self._runs(name, node, this)
        held = self._numerai.submissions(node["model_id"], this)
        if any(each.accepted and not each.late for each in held):
            _log(name, this, "submitted")
            return True
        if failure:
            raise failure
        if any(not each.accepted and not each.refused for each in held):
            return self._unchecked(name, this, now)
        if any(each.accepted for each in held):
            text = f"{name} submitted for round {this.number} after its close: that is scored and cannot be staked."
            title = f"{name} submitted late for round {this.number}"
            return self._tell("late", name, this, title, f"{text} {_last(jobs)}", by_run=False)  # it tells itself
        refused = f"Numerai refused what was submitted: {held[0].reason}. " if held else ""
        if now >= this.closes:
            return self._closed(name, this, now, jobs, refused)
        self._missing(name, node, this, now, jobs, refused)
        return False

    def _runs(self, name: str, node: dict[str, Any], this: Round) -> tuple[list[Job], Exception | None]:
        """The node's runs, or why they are not known: where Numerai holds a submission that is of no interest."""
        try:
            return _jobs(name, node, this, self._numerai.ahead), None
        except (ClientError, BotoCoreError) as error:
            return [], error

    def _unchecked(self, name: str, this: Round, now: datetime) -> bool:
        _log(name, this, "not checked yet")
        if now < this.closes + AFTER_CLOSE:
            return False
        title = f"{name}: the submission for round {this.number} is not checked"
        text = f"Numerai holds a submission of {name} for round {this.number} and has not checked it since the close. "
        return self._tell("failure", name, this, title, f"{text}Look at https://numer.ai.", about="unchecked")

    def _closed(self, name: str, this: Round, now: datetime, jobs: list[Job], refused: str) -> bool:
        """Tell that the round is missed, once a run that goes on over the close has had some time."""
        if now < this.closes + AFTER_CLOSE and any(job.active for job in jobs):
            _log(name, this, "running over the close")
            return False
        text = f"Round {this.number} has closed and Numerai holds no valid submission of {name}. {refused}{_last(jobs)}"
        return self._tell("missed", name, this, f"{name} missed round {this.number}", text)

    def _missing(
        self, name: str, node: dict[str, Any], this: Round, now: datetime, jobs: list[Job], refused: str
    ) -> None:
        """Nothing valid is submitted in a round that is open: start what can be started, and tell near the close."""
        try:
            at_once, state = self._mend(name, node, this, jobs)
        except (ClientError, BotoCoreError) as error:
            at_once, state = False, f"A run could not be started: {self._failed(name, error)}. {_last(jobs)}"
        if at_once or now >= this.closes - TELL:
            left = f"which closes in {int((this.closes - now).total_seconds() // 60)} min"
            text = f"Numerai holds no valid submission of {name} for round {this.number}, {left}. {refused}{state}"
            self._tell("failure", name, this, f"{name} has not submitted for round {this.number}", text)

    def _mend(self, name: str, node: dict[str, Any], this: Round, jobs: list[Job]) -> tuple[bool, str]:
        """Start the run that is missing; whether somebody is to hear of it at once, and how it stands, in words."""
        active = [job for job in jobs if job.active]
        if active:
            _log(name, this, "running")
            return False, _last(active)
        if jobs and jobs[-1].exit_code in NOT_REPEATED:
            _log(name, this, "not repeated")
            code = jobs[-1].exit_code
            return True, (
                f"Its run {jobs[-1].id} ended with exit code {code}: {NOT_REPEATED[code]}. "
                "The same code would end the same way, so it is not started again. `numerai node logs` shows more."
            )
        now, due = self._numerai.now(), this.opens
        for number in itertools.count(1):
            trigger_id = f"watch-{this.tournament}-{this.number}-{number}"
            made = self._made(name, trigger_id)
            if made is None and now < due:
                _log(name, this, "waiting", trigger_id)
                return number > TRIES, f"{_last(jobs)} From {due:%H:%M} UTC on it is started again."
            if made is None and _called_lately(name):
                _log(name, this, "called a moment ago")
                return False, "Its webhook was called a moment ago."
            if made is None:
                found = _start(name, node, trigger_id)
                _log(name, this, found, trigger_id)
                return number > TRIES, f"A run of it is {found}."
            if now < made + SETTLE:
                _log(name, this, "started a moment ago", trigger_id)
                return False, "A run of it was started a moment ago."
            if number >= TRIES and made >= this.opens + (this.closes - this.opens) / 2:
                break
            due = made + _pause(number, made, this)
        _log(name, this, "given up")
        return True, f"It was started {number} times in vain. {_last(jobs)}"

    def _made(self, name: str, trigger_id: str) -> datetime | None:
        """When the run of a try was started, None when it was not."""
        item = _get(f"trigger#{name}#{trigger_id}")
        return self._numerai.at(float(item["claimed_at"]["N"])) if item and "run_id" in item else None

    def _tell(
        self, kind: str, name: str, when: Round | str, title: str, text: str, about: str = "", *, by_run: bool = True
    ) -> bool:
        """Publish a notice once in a round (or on a day), and let a run of the node's own image tell the people whom
        `numerai notify` lists; whether both is done. One `about` something else is another notice of that kind."""
        during = when if isinstance(when, str) else when.number
        key = f"notice#{name}#{during}#{about or kind}"
        with_image = name if name in self._nodes else next(iter(self._nodes))
        text = text.strip()[:LONGEST_TEXT]

        def publish() -> None:
            _sns.publish(TopicArn=os.environ["TOPIC"], Subject=title[:100], Message=text)
            _write({"watch": name, "round": during, "found": f"told: {about or kind}"})

        def start_run() -> None:
            _submit_notice(with_image, self._nodes[with_image], kind, title, text)

        # neither may keep the other from being done
        done = self._tried(name, lambda: _once_only(key, publish))
        if by_run:
            done &= self._tried(name, lambda: self._notifies() and _once_only(f"{key}#run", start_run))
        return done

    def _notifies(self) -> bool:
        return bool(self._numerai.secret.get("NUMERAI_NOTIFY", "").strip())

    def _tried(self, whose: str, do: Callable[[], object]) -> bool:
        try:
            do()
        except (ClientError, BotoCoreError) as error:
            self._failed(whose, error)
            return False
        return True

    def _cannot_ask(self, this: Round | None, why: str, names: list[str]) -> None:
        """An outage passes: it is asked again at the next call. Near the close somebody is told that nobody knows."""
        whose = names[0] if len(names) == 1 else f"tournament-{self._tournament}"
        _write({"watch": whose, "round": this.number if this else None, "cause": why})
        now = self._numerai.now()
        if this is None or not this.closes - TELL <= now < this.closes + FORGOTTEN:
            return
        text = f"Whether these submitted for round {this.number} could not be looked up: {', '.join(names)}. {why}. "
        title = f"Round {this.number}: submissions cannot be looked up"
        self._tell("failure", whose, this, title, f"{text}It is asked again.", about="unseen")

    def _deaf(self, why: str) -> None:
        """Numerai does not say which rounds there are: remember since when, and tell that once a day if it lasts."""
        key, now = f"round#{self._tournament}", self._numerai.now()
        item = _get(key) or {}
        self._cannot_ask(_remembered(item, self._tournament), why, list(self._nodes))
        if "deaf_since" not in item:
            _mark(key, deaf_since={"N": f"{now.timestamp():.0f}"})
            return
        since = datetime.fromtimestamp(float(item["deaf_since"]["N"]), timezone.utc)
        if now >= since + PATIENCE:
            text = f"Since {since:%Y-%m-%d %H:%M} UTC Numerai does not say which rounds there are: {why}. "
            text += (
                f"Until it does, nobody knows whether a round is open and what is submitted: {', '.join(self._nodes)}."
            )
            title = f"The watcher cannot ask Numerai for rounds of tournament {self._tournament}"
            self._tell("failure", f"tournament-{self._tournament}", f"{now:%Y-%m-%d}", title, text, about="deaf")

    def _failed(self, whose: str, error: Exception) -> str:
        why = (
            f"{error.operation_name}: {error.response.get('Error', {}).get('Code')}"
            if isinstance(error, ClientError)
            else f"{type(error).__name__}: {error}"
        )
        _write({"watch": whose, "failed": why})
        self._failures.append(f"{whose}: {why}")
        return why


def _remembered(item: dict[str, Any], tournament: int) -> Round | None:
    """The latest round that Numerai has named, unless its close was looked at."""
    if "number" not in item or int(item["judged"]["N"]) >= int(item["number"]["N"]):
        return None
    opens, closes = (datetime.fromtimestamp(float(item[name]["N"]), timezone.utc) for name in ("opens", "closes"))
    return Round(int(item["number"]["N"]), tournament, opens, closes)


def _due(node: dict[str, Any], this: Round) -> datetime:
    """When the node's own start has had its time, and somebody must be told at the latest."""
    tell, grace = this.closes - TELL, timedelta(minutes=float(os.environ["GRACE_MINUTES"]))
    start = this.opens
    if node.get("cron"):
        try:
            start = _occurrence(node["cron"], this.opens, tell) or this.opens
        except ValueError:  # one with L, W or # is left as much time as there is
            return max(this.opens + grace, this.closes - OWN_START)
    return min(start + grace, tell)


def _occurrence(cron: str, begin: datetime, end: datetime) -> datetime | None:
    """The first minute from `begin` on and before `end` that a schedule in EventBridge's six fields names; ValueError
    for one that is not read here."""
    fields = [_values(field, *kind) for field, kind in zip(cron.upper().split(), CRON_FIELDS, strict=True)]
    moment = begin.replace(second=0, microsecond=0)
    moment += timedelta(minutes=1) if moment < begin else timedelta(0)
    while moment < end:
        now = (moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7 + 1, moment.year)
        if all(value in field for value, field in zip(now, fields, strict=True)):
            return moment
        moment += timedelta(minutes=1)
    return None


def _values(field: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    """What a field of a schedule stands for: `*`, `?`, numbers or names, ranges, steps, and lists of these."""
    found: set[int] = set()
    for item in field.split(","):
        base, _, step = item.partition("/")
        first, _, last = (str(low), "-", str(high)) if base in ("*", "?") else base.partition("-")
        numbers = [names.index(text) + low if text in names else int(text) for text in (first, last or first)]
        if step and not last:
            numbers[1] = high
        if numbers[0] > numbers[1]:
            raise ValueError(item)
        found.update(range(numbers[0], numbers[1] + 1, int(step or 1)))
    return found


def _pause(number: int, made: datetime, this: Round) -> timedelta:
    """After a try: a third of what is left of the window, at most half an hour after the first one and twice as long
    after each further one. With a try in the second half, half a window's trouble costs no round."""
    return min(FIRST_PAUSE * (1 << (number - 1)), max(SHORTEST_PAUSE, (this.closes - made) / 3))


# runs


def _jobs(name: str, node: dict[str, Any], this: Round, ahead: timedelta) -> list[Job]:
    """The node's runs for this round, oldest first, with their times by Numerai's clock."""
    found = []
    for job in _listed(node, {"name": "JOB_DEFINITION", "values": [node["job_definition"]]}):
        created = datetime.fromtimestamp(job["createdAt"] / 1000, timezone.utc) + ahead
        active = job["status"] not in FINAL
        ours = _definition(job) == node["job_definition"] and not job["jobName"].startswith(f"{NOTICE_PREFIX}{name}-")
        if ours and created >= this.opens - (EARLY if active else timedelta(0)):
            found.append(Job(job["jobId"], created, active, (job.get("container") or {}).get("exitCode")))
    return sorted(found, key=lambda job: job.created)


def _listed(node: dict[str, Any], wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pages = _batch.get_paginator("list_jobs").paginate(jobQueue=node["job_queue"], filters=[wanted])
    for page in pages:
        yield from page["jobSummaryList"]


def _definition(job: dict[str, Any]) -> str:
    """The name of a job's definition, without account and revision."""
    return str(job.get("jobDefinition", "")).rpartition("job-definition/")[2].partition(":")[0]


def _last(jobs: list[Job]) -> str:
    """What became of the latest run, in words."""
    if not jobs:
        return "No run was started for it."
    job = jobs[-1]
    if job.active:
        return f"Its run {job.id} goes on."
    if job.exit_code is None:
        return f"Its last run {job.id} did not start. `numerai node status` says why."
    return f"Its last run {job.id} ended with exit code {job.exit_code}. `numerai node logs` shows what it printed."


def _start(name: str, node: dict[str, Any], trigger_id: str) -> str:
    """Start the run of this try, once; what was done, in words."""
    key = f"trigger#{name}#{trigger_id}"
    taken, before = _claim(key, "run_id")
    if not taken:
        return "being started"
    job_name = f"{name}-{hashlib.sha256(trigger_id.encode()).hexdigest()[:32]}"
    known = list(_listed(node, {"name": "JOB_NAME", "values": [job_name]})) if before else []
    try:
        run_id = known[0]["jobId"] if known else _submit(node, job_name, trigger_id)
    except (ClientError, BotoCoreError):
        _mark(
            key, claimed_at={"N": "0"}
        )  # the next call looks for the job first: an error does not prove there is none
        raise
    _mark(key, run_id={"S": run_id})
    return f"started: {run_id}"


def _called_lately(name: str) -> bool:
    """Whether the webhook was just called for the node: Batch may not list that run yet."""
    now, settle = time.time(), SETTLE.total_seconds()
    items = [_get(f"rate#{name}#{hour}") for hour in {int(now // 3600), int((now - settle) // 3600)}]
    return any(item and now - float(item.get("called_at", {"N": "0"})["N"]) < settle for item in items)


def _submit(node: dict[str, Any], job_name: str, trigger_id: str) -> str:
    """Without TRIGGER_ID: Numerai did not make this trigger."""
    job = _batch.submit_job(
        jobName=job_name,
        jobQueue=node["job_queue"],
        jobDefinition=node["job_definition"],
        containerOverrides={"environment": [{"name": "NUMERAI_OWN_TRIGGER", "value": trigger_id}]},
    )
    return str(job["jobId"])


def _submit_notice(name: str, node: dict[str, Any], kind: str, title: str, text: str) -> None:
    job = _batch.submit_job(
        jobName=f"{NOTICE_PREFIX}{name}-{kind}",
        jobQueue=node["job_queue"],
        jobDefinition=node["job_definition"],
        containerOverrides={"command": ["python", "-m", "numerai_node", "notify", kind, title, text]},
        timeout={"attemptDurationSeconds": NOTICE_JOB_SECONDS},
    )
    _write({"watch": name, "notice": kind, "run": job["jobId"]})


# the table


def _nodes() -> dict[str, dict[str, Any]]:
    item = _get("nodes")
    nodes: dict[str, dict[str, Any]] = json.loads(item["nodes"]["S"]) if item else {}
    return nodes


def _once_only(key: str, do: Callable[[], None]) -> None:
    """Do something unless it was done, or is being done by another call. What fails is done by a later call."""
    taken, _ = _claim(key, "done_at")
    if not taken:
        return
    try:
        do()
    except (ClientError, BotoCoreError):
        _mark(key, claimed_at={"N": "0"})
        raise
    _mark(key, done_at={"N": f"{time.time():.3f}"})


def _claim(key: str, done: str) -> tuple[bool, bool]:
    """Make this call the one that does it; whether it is, and whether an earlier one died over it."""
    now = time.time()
    try:
        old = _dynamodb.put_item(
            TableName=_table(),
            Item={"pk": {"S": key}, "claimed_at": {"N": f"{now:.3f}"}, "expires_at": _expiry()},
            ConditionExpression="attribute_not_exists(pk) OR (attribute_not_exists(#done) AND claimed_at < :dead)",
            ExpressionAttributeNames={"#done": done},
            ExpressionAttributeValues={":dead": {"N": f"{now - CLAIM_SECONDS:.3f}"}},
            ReturnValues="ALL_OLD",
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return False, False
    return True, "Attributes" in old


def _mark(key: str, **values: dict[str, str]) -> None:
    _dynamodb.update_item(
        TableName=_table(),
        Key={"pk": {"S": key}},
        UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in values),
        ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
    )


def _get(key: str) -> dict[str, Any] | None:
    answer = _dynamodb.get_item(TableName=_table(), Key={"pk": {"S": key}}, ConsistentRead=True)
    item: dict[str, Any] | None = answer.get("Item")
    return item


def _table() -> str:
    return os.environ["TABLE"]


def _expiry() -> dict[str, str]:
    return {"N": str(int(time.time()) + REMEMBER_SECONDS)}


# words


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _seconds(text: str | None) -> float:
    """A Retry-After in seconds; 0 for none, or for a date."""
    return float(text) if text and text.isdecimal() else 0.0


def _log(name: str, this: Round, found: str, trigger_id: str | None = None) -> None:
    _write({"watch": name, "round": this.number, "found": found, **({"triggerId": trigger_id} if trigger_id else {})})


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
