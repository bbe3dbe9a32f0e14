"""What the first run does to prove a step. Each gets the world and says what it saw; what differs from what AWS
documents is `NotAsSaid`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import ClientError
from numerai_compute.adapters.terraform_runner import TerraformRunner
from numerai_compute.providers.aws.terraform import terraform_root

from . import node
from .account import MANAGED_POLICY_CHARACTERS, until
from .model import NotAsSaid, Seen, Verdict
from .world import FINAL, NODE, World, timed

CALLS = 50
SPOT_REASON = "Your Spot Task was interrupted."


def expect(true: Any, otherwise: str) -> None:
    """Go on where it is as documented; `NotAsSaid` where it is not."""
    if not true:
        raise NotAsSaid(otherwise)


def codes(job: dict[str, Any]) -> list[int | None]:
    """The exit code of each attempt."""
    return [attempt["container"].get("exitCode") for attempt in job["attempts"]]


def reasons(job: dict[str, Any]) -> str:
    """Where AWS put the words about an end: the job's, and each attempt's of both kinds."""
    attempts = [(attempt.get("statusReason"), attempt["container"].get("reason")) for attempt in job["attempts"]]
    return f"status reason {job.get('statusReason')!r}; attempts (status reason, container's reason) {attempts}"


# the account, and the cluster


def role(world: World) -> Seen:
    """Make the role, and be it."""
    printed = world.ok("setup", "-P", "aws", "--print-policy", "--region", world.account.region, owner=True).out
    size = len("".join(json.dumps(json.loads(printed), separators=(",", ":"))))
    expect(size <= MANAGED_POLICY_CHARACTERS, f"the printed policy has {size} characters")
    world.account.make_role(printed)
    _, seconds = timed(lambda: until(lambda: allowed(world), 60, "the role could do what its policy allows"))
    who = world.account.role("sts").get_caller_identity()["Arn"]
    expect(f":assumed-role/{world.account.name}/" in who, "the credentials are not those of the role")
    measured = f"{size} characters; {seconds:.0f} s until the role could do something"
    return Seen(
        "the policy fits a managed policy; the role holds it and nothing else, and was assumed", measured=measured
    )


def allowed(world: World) -> bool:
    """Whether the policy is known everywhere: IAM is eventually consistent."""
    try:
        world.account.role("batch").describe_job_queues()
    except ClientError as error:
        if "Denied" not in error.response["Error"]["Code"]:
            raise
        return False
    return True


def bounds(world: World) -> Seen:
    """Whether the role may do nothing else."""
    for service, operation in (("iam", "list_users"), ("s3", "list_buckets")):
        try:
            getattr(world.account.role(service), operation)()
        except ClientError as error:
            expect("Denied" in error.response["Error"]["Code"], f"{operation}: {error}")
        else:
            raise NotAsSaid(f"{service}:{operation} was allowed")
    return Seen("AWS refused what the policy does not name")


def config(world: World) -> Seen:
    """Make the cluster."""
    if not (world.home / "numerai" / "nodes.json").exists():
        world.ok("setup", "-P", "aws", "--set", f"permissions_boundary={world.account.policy_arn}")
    if not world.folder.exists():
        world.ok("copy-example", "-e", "shell-any-language", "-d", str(world.folder))
    node.rewrite(world.folder)
    _, seconds = timed(world.configure)
    return Seen("one `numerai node config` made the whole cluster", measured=f"{seconds:.0f} s")


def again(world: World) -> Seen:
    """Look whether Terraform would change anything now."""
    _, seconds = timed(world.configure)
    changes, drift = planned(world)
    expect(not changes and not drift, f"a second plan would change {changes} and sees as changed {drift}")
    return Seen("a second `config` and a second plan change nothing", measured=f"{seconds:.0f} s")


def planned(world: World) -> tuple[list[str], list[str]]:
    """What Terraform would change, and what it finds changed."""
    folder = world.home / "numerai" / "aws" / "terraform"
    keys = {name.upper(): value for name, value in asdict(world.account.credentials()).items()}
    environment = {**keys, "AWS_REGION": world.account.region, **world.environment}
    runner = TerraformRunner(
        terraform_root(), folder, world.home / "numerai" / "terraform-plugins", environment=environment
    )
    plan = runner.plan(json.loads((folder / "variables.tfvars.json").read_text()), lambda _: None)
    return [f"{change.action} {change.address}" for change in plan.changes], list(plan.drift)


def deploy(world: World) -> Seen:
    """Build and push the image."""
    _, seconds = timed(lambda: world.ok("node", "deploy"))
    expect(has_live(world), "the repository has no image `live`")
    return Seen("the image was built, pushed, and is `live`", measured=f"{seconds:.0f} s")


def has_live(world: World) -> bool:
    """Whether the node's repository has an image that runs would pull."""
    asked = {"repositoryName": world.made["repository"], "imageIds": [{"imageTag": "live"}]}
    return len(world.account.role("ecr").batch_get_image(**asked)["images"]) == 1


# the webhook


def first_call(world: World) -> Seen:
    """Call the new address until it answers, then the same again."""

    def answered() -> tuple[int, dict[str, Any]] | None:
        status, answer = world.call(world.trigger_id("fine"))
        return None if status == 403 else (status, answer)

    (status, answer), first = timed(lambda: until(answered, 60, "the address answered anything but 403"))
    expect(status == 200, f"the webhook answered {status}: {answer}")
    (status, same), warm = timed(lambda: world.call(world.trigger_id("fine")))
    expect((status, same["runId"]) == (200, answer["runId"]), "the same trigger id started another run")
    job = world.in_state(answer["runId"])
    expect(job["status"] == "SUCCEEDED", reasons(job))
    measured = f"first answer after {first:.1f} s, the next one after {warm:.2f} s"
    return Seen("the address answers, and the same trigger id is the same run", measured=measured)


def many_calls(world: World) -> Seen:
    """Call with one trigger id from many sides at once."""
    with ThreadPoolExecutor(CALLS) as pool:
        answers = list(pool.map(lambda _: world.call(world.trigger_id("at-once")), range(CALLS)))
    runs = {answer["runId"] for status, answer in answers if status == 200}
    others = sorted({status for status, _ in answers} - {200})
    expect(len(runs) == 1, f"{len(runs)} runs were started")
    expect(others in ([], [429]), f"the webhook also answered {others}")
    world.in_state(runs.pop())
    turned_away = sum(status == 429 for status, _ in answers)
    return Seen(f"{CALLS} equal calls at once are one run", measured=f"{turned_away} of them answered 429")


# runs


def environment(world: World) -> Seen:
    """Look at what a container is given."""
    world.ahead("env", "lines", "keep", "again", "bad", "big", "slow")
    world.started["limited"] = limited(world)
    job = world.run("env")
    expect(job["status"] == "SUCCEEDED", reasons(job))
    lines = world.printed(job)
    wanted = [
        f"TRIGGER_ID={world.trigger_id('env')}",
        f"NUMERAI_NODE={NODE}",
        "NUMERAI_TOURNAMENT=8",
        f"NUMERAI_ARTIFACTS={world.made['artifacts']}",
        f"AWS_REGION={world.account.region}",
        "NUMERAI_PUBLIC_ID is there",
        "NUMERAI_SECRET_KEY is there",
    ]
    missing = [line for line in wanted if line not in lines]
    expect(not missing, f"the container did not print {missing}")
    expect(not any("uid" in line or line == "0" for line in lines), "the container runs as root")
    return Seen("the container has every variable, the keys, and no root user")


def logs(world: World) -> Seen:
    """Look whether every line arrives, in order."""
    job = world.run("lines")
    wanted = [f"line {number} of {node.LINES}" for number in range(1, node.LINES + 1)]
    wait = 5 if world.emulated else 60
    until(lambda: len(world.printed(job)) >= len(wanted), wait, f"all {len(wanted)} lines had arrived")
    expect(world.printed(job) == wanted, "the lines are not in order")
    shown = world.ok("node", "logs", "--run", job["jobId"], "-n", str(2 * node.LINES)).out.splitlines()
    expect(sum("line " in line for line in shown) == len(wanted), "`numerai node logs` does not show every line")
    return Seen(f"{node.LINES} lines printed at once arrive complete and in order")


def bucket(world: World) -> Seen:
    """Put a file into the node's folder of the bucket and get it back, with the run's own role."""
    job = world.run("keep")
    lines = world.printed(job)
    expect("got back: kept" in lines, f"{reasons(job)}; {lines[-3:]}")
    return Seen("the run's role writes and reads the node's folder of the bucket")


def temporary(world: World) -> Seen:
    """End with 75 at first, then with 0; and with 65."""
    job = world.run("again")
    expect((job["status"], codes(job)) == ("SUCCEEDED", [75, 0]), f"exit codes {codes(job)}; {reasons(job)}")
    job = world.run("bad")
    expect((job["status"], codes(job)) == ("FAILED", [65]), f"exit codes {codes(job)}; {reasons(job)}")
    return Seen("exit code 75 is tried again, 65 is not")


def memory(world: World) -> Seen:
    """Use more memory than there is."""
    job = world.run("big")
    said = json.dumps(job["container"]) + json.dumps(job["attempts"])
    expect(job["status"] == "FAILED" and "OutOfMemory" in said, reasons(job))
    expect(len(job["attempts"]) == 1, f"{len(job['attempts'])} attempts")
    return Seen("a run beyond its memory says OutOfMemoryError, and is not tried again", measured=reasons(job))


def time_limit(world: World) -> Seen:
    """Run longer than allowed."""
    job = world.in_state(world.started.pop("limited", "") or limited(world))
    expect(job["status"] == "FAILED" and "duration exceeded" in job["statusReason"], reasons(job))
    expect(len(job["attempts"]) == 1, f"{len(job['attempts'])} attempts")
    return Seen("a run over its time limit is stopped and not tried again", measured=reasons(job))


def limited(world: World) -> str:
    """A job that does not end within its time. AWS allows 60 seconds and more
    (docs.aws.amazon.com/batch/latest/userguide/job_timeouts.html)."""
    return submit(world, "slow", timeout={"attemptDurationSeconds": 2 if world.emulated else 60})


def submit(world: World, case: str, queue: str | None = None, **more: Any) -> str:
    """A job of the node that no webhook started."""
    variables = [{"name": "TRIGGER_ID", "value": world.trigger_id(case)}, {"name": "NUMERAI_NODE", "value": NODE}]
    job = world.account.role("batch").submit_job(
        jobName=f"{NODE}-{case}",
        jobQueue=queue or world.made["job_queue"],
        jobDefinition=world.made["job_definition"],
        containerOverrides={"environment": variables},
        **more,
    )
    return str(job["jobId"])


def cancel_waiting(world: World) -> Seen:
    """Cancel before there is a container."""
    run = world.start("slow-waiting")
    world.in_state(run, "RUNNABLE", "STARTING")
    _, seconds = timed(lambda: world.ok("node", "cancel", run))
    job = world.job(run)
    expect(job["status"] == "FAILED" and len(job["attempts"]) <= 1, reasons(job))
    return Seen("a run that waits for capacity can be cancelled", measured=f"{seconds:.0f} s; {reasons(job)}")


def cancel_running(world: World) -> Seen:
    """Cancel while it runs."""
    run = world.started.pop("slow", "") or world.start("slow")
    world.in_state(run, "RUNNING")
    _, seconds = timed(lambda: world.ok("node", "cancel", run))
    job = world.job(run)
    expect(job["status"] == "FAILED" and len(job["attempts"]) == 1, reasons(job))
    return Seen("a run that goes on can be cancelled, and is not tried again", measured=f"{seconds:.0f} s")


def on_demand(world: World) -> Seen:
    """Start on the queue that never waits for Spot."""
    queue = world.outputs["queues"].get("fargate-now") or world.outputs.get("now_queue")
    if queue is None:
        return Seen("there is no queue over On-Demand alone", Verdict.ABSENT)
    job = world.in_state(submit(world, "fine", queue))
    expect(job["status"] == "SUCCEEDED", reasons(job))
    waited = (job["startedAt"] - job["createdAt"]) / 1000
    return Seen("the queue over On-Demand alone runs the same definition", measured=f"{waited:.0f} s until it started")


# what goes wrong at the start of a run


def no_image(world: World) -> Seen:
    """Take the tag `live` away."""
    repository = world.made["repository"]
    world.account.role("ecr").batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "live"}])
    job = world.run("no-image")
    said = json.dumps([job.get("statusReason"), job["container"].get("reason"), job["attempts"]])
    expect(job["status"] == "FAILED" and "CannotPull" in said, reasons(job))
    world.ok("node", "deploy")
    expect(has_live(world), "`deploy` did not put the image back")
    measured = f"{len(job['attempts'])} attempts; {reasons(job)}"
    return Seen("without an image the run says CannotPullContainerError; `deploy` puts it back", measured=measured)


def no_key(world: World) -> Seen:
    """Take a key away that the container is to be given."""
    with without_key(world):
        job = world.run("no-key")
    said = json.dumps([job.get("statusReason"), job["container"].get("reason"), job["attempts"]])
    expect(job["status"] == "FAILED" and "ResourceInitializationError" in said, reasons(job))
    measured = f"{len(job['attempts'])} attempts; {reasons(job)}"
    return Seen("without a key the run says ResourceInitializationError", measured=measured)


class without_key:
    """As long as the block lasts, NUMERAI_NOTIFY is not where the job definition says: in a secret's JSON, or as a
    parameter. The owner takes it away and puts it back."""

    def __init__(self, world: World):
        definitions = world.account.role("batch").describe_job_definitions(
            jobDefinitionName=world.made["job_definition"], status="ACTIVE"
        )["jobDefinitions"]
        newest = max(definitions, key=lambda definition: int(definition["revision"]))
        places = {entry["name"]: entry["valueFrom"] for entry in newest["containerProperties"]["secrets"]}
        self._place = places["NUMERAI_NOTIFY"]
        self._in_secret = ":secretsmanager:" in self._place
        self._client = world.account.owner("secretsmanager" if self._in_secret else "ssm")
        self._before: Any = None

    def __enter__(self) -> None:
        if self._in_secret:
            arn = ":".join(self._place.split(":")[:7])
            self._before = self._client.get_secret_value(SecretId=arn)["SecretString"]
            rest = {name: value for name, value in json.loads(self._before).items() if name != "NUMERAI_NOTIFY"}
            self._client.put_secret_value(SecretId=arn, SecretString=json.dumps(rest))
            return
        name = self._place.partition(":parameter")[2] or self._place
        self._before = self._client.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        self._client.delete_parameter(Name=name)

    def __exit__(self, *_: object) -> None:
        if self._in_secret:
            arn = ":".join(self._place.split(":")[:7])
            self._client.put_secret_value(SecretId=arn, SecretString=self._before)
            return
        kept = {name: self._before[name] for name in ("Name", "Value", "Type")}
        self._client.put_parameter(**kept, Overwrite=True)


def spot_taken(world: World) -> Seen:
    """Stop a task with the words that Fargate has for a Spot host that was taken away."""
    run = world.start("slow-spot")
    task = world.in_state(run, "RUNNING")["container"]["taskArn"]
    world.account.owner("ecs").stop_task(cluster=task.split("/")[1], task=task, reason=SPOT_REASON)

    def decided() -> dict[str, Any] | None:
        found = world.job(run)
        again = found["status"] == "RUNNABLE" or found["container"].get("taskArn") not in (None, task)
        return found if found["attempts"] and (found["status"] in FINAL or again) else None

    found = until(decided, 300, "the stopped attempt was recorded", 2)
    retried = found["status"] not in FINAL
    world.ok("node", "cancel", run)
    expect(retried, f"the run was not tried again: {reasons(found)}")
    return Seen("a run whose Spot host is taken away is tried again", measured=reasons(found))


# who is told


def topic(world: World) -> Seen:
    """Publish to the topic, until the new queue's policy is known everywhere."""
    asked = {"TopicArn": world.outputs["failures_topic_arn"], "Message": f"first run {world.token}"}
    sns = world.account.owner("sns")
    assert world.queue
    until(lambda: sns.publish(**asked) and world.told(world.token), 90, "the message had arrived")
    return Seen("what is published to the topic reaches a subscriber")


def failed_run_told(world: World) -> Seen:
    """Wait for the message about a run that failed."""
    assert world.queue
    run = world.start("bad-told")
    world.in_state(run)
    message, seconds = timed(lambda: until(lambda: world.told(run), 120, "it was told"))
    expect("failed" in message[0], "the message does not say that the run failed")
    return Seen("EventBridge tells the topic about a failed run", measured=f"{seconds:.0f} s")


def alarm_told(world: World) -> Seen:
    """Raise an alarm by hand."""
    assert world.queue
    name = f"{world.outputs['webhook_function']}-errors"
    world.account.owner("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="first run")
    _, seconds = timed(lambda: until(lambda: world.told(name), 120, "it was told"))
    return Seen("an alarm tells the topic", measured=f"{seconds:.0f} s")


def watcher(world: World) -> Seen:
    """Wake the watcher as its schedule does."""
    name = world.outputs["watcher_function"]
    answer, seconds = timed(lambda: world.account.role("lambda").invoke(FunctionName=name, Payload=b"{}"))
    content = json.loads(answer["Payload"].read())
    expect(content.get("nodes") == 1, f"it answered {content}")
    return Seen("the watcher reads its table and the keys, and ends well", measured=f"{seconds:.1f} s")


def watcher_woken(world: World) -> Seen:
    """Look for a call of the watcher: nobody here has made one yet."""
    asked = {"logGroupName": world.outputs["watcher_log_group"], "filterPattern": "START"}

    def woken() -> Any:
        return world.account.role("logs").filter_log_events(**asked)["events"]

    _, seconds = timed(lambda: until(woken, 420, "the watcher was woken", 10))
    return Seen("the schedule wakes the watcher every five minutes", measured=f"{seconds:.0f} s")


# changes


def without_spot(world: World) -> Seen:
    """No Spot any more."""
    world.ok("config", "set", "-P", "aws", "use_spot", "0")
    _, seconds = timed(world.configure)
    expect(environments(world) == 1, f"the queue has {environments(world)} environments")
    return Seen("the queue lets go of the Spot environment in one `config`", measured=f"{seconds:.0f} s")


def environments(world: World) -> int:
    """How many compute environments the node's queue has."""
    queues = world.account.role("batch").describe_job_queues(jobQueues=[world.made["job_queue"]])["jobQueues"]
    return len(queues[0]["computeEnvironmentOrder"])


def schedule(world: World) -> Seen:
    """A schedule some minutes ahead."""
    at = datetime.now(timezone.utc) + timedelta(minutes=3)
    _, seconds = timed(lambda: world.configure("--cron", f"{at.minute} {at.hour} * * *", "--register-webhook"))
    made = world.account.role("scheduler").get_schedule(Name=world.made["schedule"])
    expect(made["ScheduleExpressionTimezone"] == "UTC", "the schedule is not in UTC")
    expect(f"cron({at.minute} {at.hour} " in made["ScheduleExpression"], f"it is {made['ScheduleExpression']}")
    return Seen("the schedule is there, in UTC", measured=f"{seconds:.0f} s")


def scheduled_run(world: World) -> Seen:
    """Wait for the run of the schedule."""
    name = f"{NODE}-scheduled"

    def started() -> Any:
        filters = [{"name": "JOB_NAME", "values": [name]}]
        queue = world.made["job_queue"]
        return world.account.role("batch").list_jobs(jobQueue=queue, filters=filters)["jobSummaryList"]

    (job, *_), seconds = timed(lambda: until(started, 360, "the schedule had started a run", 5))
    expect(world.in_state(job["jobId"])["status"] == "SUCCEEDED", "the run failed")
    return Seen("the schedule starts a run", measured=f"waited {seconds:.0f} s")


def with_spot(world: World) -> Seen:
    """Spot again, and no schedule."""
    world.ok("config", "unset", "-P", "aws", "use_spot")
    _, seconds = timed(lambda: world.configure("--cron", ""))
    expect(environments(world) == 2, f"the queue has {environments(world)} environments")
    expect(world.made["schedule"] is None, "the schedule is still there")
    return Seen("Spot comes back, and the schedule goes, in one `config`", measured=f"{seconds:.0f} s")


def remote_state(world: World) -> Seen:
    """The state into a bucket, and back."""
    bucket_of = unless_absent_bucket(world)
    _, there = timed(lambda: world.ok("setup", "-s", "-P", "aws", "--remote-state"))
    expect(bucket_of() == 1, "there is no bucket for the state")
    _, back = timed(lambda: world.ok("setup", "-s", "-P", "aws", "--local-state", "--yes"))
    expect(bucket_of() == 0, "the state's bucket is still there")
    return Seen("the state moves into a bucket and back", measured=f"{there:.0f} s there, {back:.0f} s back")


def unless_absent_bucket(world: World) -> Any:
    """Counts the buckets for states of this cluster."""
    prefix = f"{world.account.cluster}-state-"

    def count() -> int:
        buckets = world.account.owner("s3").list_buckets()["Buckets"]
        return sum(bucket["Name"].startswith(prefix) for bucket in buckets)

    return count


def doctor(world: World) -> Seen:
    """Ask `numerai doctor`."""
    checks = json.loads(world.cli("doctor", "--json").out)["checks"]
    failed = [f"{check['name']}: {check['why']}" for check in checks if check["status"] == "failed"]
    failed = [line for line in failed if not line.startswith("daemon")]
    expect(not failed, f"doctor says {failed}")
    return Seen("doctor finds nothing that failed")


# the end


def destroy(world: World) -> Seen:
    """Remove everything, with the role's permissions."""
    _, seconds = timed(lambda: world.ok("node", "destroy", "--yes", "--force"))
    return Seen("one `numerai node destroy` removed the whole cluster and said so", measured=f"{seconds:.0f} s")


def made_again(world: World) -> Seen:
    """The same names again at once, and away."""
    _, seconds = timed(world.configure)
    world.ok("node", "destroy", "--yes", "--force")
    return Seen("the same names can be made again at once", measured=f"{seconds:.0f} s")


def nothing_denied(world: World) -> Seen:
    """Ask CloudTrail whether the role was refused anything."""
    client, refused = world.account.owner("cloudtrail"), []
    asked = {"LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": world.account.cluster}]}
    for page in client.get_paginator("lookup_events").paginate(**asked):
        for event in page["Events"]:
            told = json.loads(event["CloudTrailEvent"])
            if "Denied" in told.get("errorCode", "") or "Unauthorized" in told.get("errorCode", ""):
                refused.append(f"{event['EventSource']}:{event['EventName']}")
    tried = {"iam.amazonaws.com:ListUsers", "s3.amazonaws.com:ListBuckets"}  # `bounds` asked for those
    expect(not set(refused) - tried, f"the role was refused {sorted(set(refused) - tried)}")
    return Seen("CloudTrail knows of nothing that the role was refused (it lags up to 15 minutes)")
