"""Runs the steps, and removes everything whatever happens: after a failure, after Ctrl-C, after a kill."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from botocore.exceptions import ClientError
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.remains import cluster_remains
from numerai_compute.providers.aws.settings import AwsSettings

from .model import NotAsSaid, Proof, Seen, Step, Verdict
from .world import World

Say = Callable[[str], None]
MOST_SECONDS = 38 * 60 - 240
"""From the beginning until the cluster is destroyed, which takes about four minutes: under 40 in all."""
TRIES = 3
"""How often everything is removed before a person has to look."""


@dataclass(frozen=True)
class Report:
    """How it went: what was proven, what is still in AWS, and whether somebody ended it before its time."""

    proofs: tuple[Proof, ...]
    left: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 when all is as documented and nothing is left; 130 after Ctrl-C; else 1."""
        if self.interrupted:
            return 130
        return int(bool(self.left) or any(proof.seen.verdict.bad for proof in self.proofs))


def run(world: World, steps: Sequence[Step], say: Say) -> Report:
    """Every step, then nothing left."""
    proofs: list[Proof] = []
    interrupted = False
    try:
        with ending_as_interrupt():
            for proof in prove(world, steps, say):
                proofs.append(proof)
    except KeyboardInterrupt:
        interrupted = True
        say("Interrupted. Everything is removed now; that takes some minutes.")
    finally:
        with deaf(say):
            left = clean(world, say)
    proofs += [Proof(step, Seen("", Verdict.NOT_RUN)) for step in steps[len(proofs) :]]
    return Report(tuple(proofs), tuple(left), interrupted)


def prove(world: World, steps: Sequence[Step], say: Say) -> Iterator[Proof]:
    """Each step and how it went. After an essential one that failed none is tried."""
    stopped = False
    for number, step in enumerate(steps, 1):
        if stopped:
            yield Proof(step, Seen("", Verdict.NOT_RUN))
            continue
        if time.monotonic() - world.begun + step.needs > MOST_SECONDS and step.needs:
            yield Proof(step, Seen("no time was left for it", Verdict.NOT_RUN))
            continue
        world.step = step.name
        begun = time.monotonic()
        seen = _seen(world, step)
        proof = Proof(step, seen, time.monotonic() - begun)
        say(f"{number:2}/{len(steps)}  {step.name}: {seen.verdict.value}, {proof.seconds:.0f} s. {seen.what}")
        stopped = step.essential and seen.verdict.bad
        yield proof


def _seen(world: World, step: Step) -> Seen:
    if step.hidden and world.emulated:
        return Seen(step.hidden, Verdict.UNTOLD)
    try:
        return step.prove(world)
    except NotAsSaid as error:
        return Seen(str(error), Verdict.OTHERWISE)
    except ClientError as error:
        return Seen(f"AWS refused {error.operation_name}: {error.response['Error']['Message']}", Verdict.FAILED)
    except Exception as error:  # noqa: BLE001 whatever a step dies of, the others are tried and everything is removed
        return Seen(f"{type(error).__name__}: {error}", Verdict.FAILED)


def clean(world: World, say: Say) -> list[str]:
    """Remove the cluster, the queue and the role; returns what is left, in words."""
    world.step = "removing"
    world.apart = True
    why: list[str] = []
    for _ in range(TRIES):
        why = []
        for act in (_remove_cluster, _remove_queue):
            try:
                act(world)
            except Exception as error:  # noqa: BLE001 what cannot be removed is said, and the rest is tried
                why.append(f"{error}")
        if not why:
            break
    try:
        left = [*why, *remains(world)]
        if not left:
            world.account.remove_role()
    except Exception as error:  # noqa: BLE001 as above
        left = [*why, f"AWS could not be asked what is left: {error}"]
    for line in left:
        say(f"STILL THERE: {line}")
    return left


def _remove_cluster(world: World) -> None:
    if not (world.home / "numerai" / "aws" / "stack.json").exists():
        return
    if not world.account.has_role():
        raise NotAsSaid(f"the role {world.account.name} is gone; run this again with --cluster {world.account.cluster}")
    world.ok("node", "destroy", "--yes", "--force")


def _remove_queue(world: World) -> None:
    sqs = world.account.owner("sqs")
    for address in sqs.list_queues(QueueNamePrefix=world.account.name).get("QueueUrls", []):
        sqs.delete_queue(QueueUrl=address)


def remains(world: World) -> list[str]:
    """What AWS still holds of the cluster, by the owner's eyes."""
    account = world.account
    clients = AwsClients(AwsSettings(), account.region, connect=lambda *_: account.session)
    left = list(cluster_remains(clients, account.cluster, account.number, account.region))
    buckets = account.owner("s3").list_buckets()["Buckets"]
    return left + [f"the bucket {each['Name']}" for each in buckets if each["Name"].startswith(f"{account.cluster}-")]


@contextmanager
def ending_as_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal are Ctrl-C as long as the block lasts."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(handle, "SIGTERM", "SIGHUP", "SIGBREAK"):
        yield


@contextmanager
def deaf(say: Say) -> Iterator[None]:
    """Whatever is to end this process only gets an answer as long as the block lasts."""

    def handle(number: int, frame: FrameType | None) -> None:
        say("Everything is being removed. Please wait: what is left when this is killed costs money.")

    with _handled(handle, "SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        yield


@contextmanager
def _handled(handle: Callable[[int, FrameType | None], None], *names: str) -> Iterator[None]:
    numbers = [number for name in names if (number := getattr(signal, name, None))]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
