"""What the use cases need from the outside world, as Protocols. Adapters and providers implement them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from .errors import NumeraiError
from .models import (
    Check,
    CostEstimate,
    DataFile,
    DataListing,
    DataVersions,
    Deployment,
    Keys,
    LogLine,
    Model,
    Node,
    Notice,
    Round,
    Run,
    Submission,
    SubmissionEntry,
    TokenInfo,
    WebhookCall,
)
from .settings import Setting
from .source import Source

Report = Callable[[str], None]
"""Takes one line of progress for the person who waits. A line that begins with a blank is a detail (what a builder or
an installer prints), shown with `--verbose` only."""


Watch = Callable[[int, "int | None"], None]
"""Hears, as a file arrives, how many of its bytes are here, and how many it has where that is known."""


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class NumeraiApi(Protocol):
    """The part of Numerai's API that the tool itself uses. Every method may raise `ApiError`."""

    url: str

    def token_info(self) -> TokenInfo:
        """Who the keys belong to and what they may do; `ApiError` with code `keys-refused` when they are wrong."""

    def models(self) -> list[Model]:
        """Every model of the account, of all tournaments."""

    def set_webhook(self, model_id: str, url: str | None) -> None:
        """Register the address that Numerai calls for this model; None clears it."""

    def trigger(self, model_id: str) -> str:
        """Ask Numerai to call the model's webhook now; returns the trigger id.

        `ApiError` with code `webhook-failed` when the webhook did not answer 2xx; the message holds its answer.
        """

    def current_round(self, tournament: int) -> Round | None:
        """The round that is open now, or the latest one; None when there has been none."""

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        """The latest rounds that have opened, newest first; empty when Numerai says that there is none."""

    def upcoming_round(self, tournament: int) -> Round | None:
        """The round that opens next; None where Numerai does not say."""

    def submissions(self, model_id: str) -> list[Submission]:
        """The files that Numerai holds of a model, newest first."""

    def entries(self, model_id: str) -> list[SubmissionEntry]:
        """What Numerai says of a model in its latest rounds, newest round first; one entry for each round."""

    def data_versions(self, tournament: int) -> DataVersions:
        """The versions of a tournament's data that a node can use now."""

    def server_time(self) -> datetime:
        """What the API's Date header says, in UTC. Asks."""

    def heard_time(self) -> datetime | None:
        """What Numerai's clock shows now, by the Date of its latest answer and the time that has passed since. Asks
        nothing; None when there was no answer yet."""


class DataFiles(Protocol):
    """Numerai's data files, which need no keys. Every method may raise `ApiError`."""

    def listing(self, tournament: int) -> DataListing:
        """Which versions and files there are."""

    def folder(self, tournament: int, version: str) -> Path:
        """Where the files of a version are kept, when nobody says where: the nodes' own cache on this machine."""

    def download(self, tournament: int, version: str, name: str, folder: Path | None, watch: Watch) -> DataFile:
        """A whole and current copy of a file, in that folder or in `folder()`; what is here already is not downloaded
        again, and what has arrived before an interruption is gone on with.

        `NumeraiError` with code `disk-full` before anything is written that does not fit, `download-failed` when it
        does not arrive or is not whole; OSError when the folder cannot be written.
        """


class ApiProbe(Protocol):
    """Sends any request to Numerai's API and gives the answer as it is, for `numerai doctor --api`."""

    url: str

    @property
    def documents(self) -> Mapping[str, str]:
        """Every GraphQL document of this version by name."""

    def answer(self, document: str, variables: Mapping[str, object], *, signed: bool = True) -> Mapping[str, Any]:
        """The JSON object that answers a request, its `errors` included; `ApiError` when there is none. Without
        `signed` the keys are not sent."""

    def heard_time(self) -> datetime | None:
        """What Numerai's clock shows now, as far as it was heard."""


class Notifier(Protocol):
    """Tells people, through whatever `numerai notify` lists."""

    def tell(self, notice: Notice) -> Mapping[str, str | None]:
        """Send a notice to everybody; name -> None when it went out, else why not. Never raises: a notification that
        fails must not fail what it is about."""


class StateStore(Protocol):
    """The user's home folder: nodes, keys and settings. Writes are atomic and keep the previous version."""

    home: Path

    @property
    def nodes_path(self) -> Path:
        """Where the nodes and settings are kept."""

    @property
    def keys_path(self) -> Path:
        """Where the keys are kept."""

    def nodes(self) -> Mapping[str, Node]:
        """All configured nodes by name."""

    def unusable_nodes(self) -> Mapping[str, str]:
        """The records of nodes that cannot be used, by name, and why; nothing but `forget_node` changes them."""

    def save_node(self, node: Node) -> None:
        """Add or replace one node, under the lock."""

    def forget_node(self, name: str) -> None:
        """Remove one node, under the lock."""

    def settings(self, provider: str) -> Mapping[str, str | int]:
        """What `setup` has recorded for a provider."""

    def save_settings(self, provider: str, settings: Mapping[str, str | int]) -> None:
        """Replace what is recorded for a provider."""

    def keys(self) -> Keys | None:
        """The Numerai keys: environment variables win over the file; None when there are none."""

    def save_keys(self, keys: Keys) -> None:
        """Write the keys file (mode 0600), keeping whatever else it holds."""

    def notify_urls(self) -> Mapping[str, str]:
        """Whom to notify: name -> apprise URL. The URLs hold secrets and are kept like keys."""

    def save_notify_url(self, name: str, url: str) -> None:
        """Add or replace one of them, under the lock."""

    def forget_notify_url(self, name: str) -> None:
        """Remove one of them, under the lock."""

    def node_lock(self, name: str) -> AbstractContextManager[object]:
        """Held while a command changes one node; `NumeraiError` with code `busy` when another command holds it."""

    def folder_lock(self, folder: Path) -> AbstractContextManager[object]:
        """Held while a command changes files in a node's folder; `NumeraiError` with code `busy` when another command
        holds it for long."""

    def previous_nodes(self) -> tuple[Path, int] | None:
        """The kept previous nodes file, if it is readable, and how many nodes it holds."""

    def restore_previous_nodes(self) -> Path | None:
        """Put the kept previous nodes file in place; the broken one is moved aside and its new path returned. None
        where there was none."""

    def is_legacy(self) -> bool:
        """Whether the home folder holds files of the official tool that `upgrade` has not converted."""


@dataclass(frozen=True)
class OfficialFiles:
    """What the official tool has left: its `files`, the `nodes` in them and why others are `unusable`, which keys, why
    Numerai's cannot be used (`keys_problem`), and what is `left` where it is."""

    files: tuple[Path, ...]
    nodes: Mapping[str, Node]
    unusable: Mapping[str, str]
    numerai_keys: bool
    cloud_keys: tuple[str, ...]
    left: tuple[Path, ...]
    keys_problem: str | None = None


@dataclass(frozen=True)
class Undone:
    """What is again as it was before an upgrade, and where that is which had been changed since."""

    restored: tuple[Path, ...]
    aside: tuple[Path, ...]


class OfficialHome(Protocol):
    """The home folder as the official numerai-cli has left it."""

    def found(self) -> OfficialFiles | None:
        """What there is to take over; None where there is nothing. Changes nothing."""

    def take_over(self) -> Path:
        """Convert the official tool's files to this tool's; returns the folder with copies of them. Interrupted, it can
        be called again."""

    def aws_keys(self) -> tuple[str, str] | None:
        """The id and the secret of the AWS key that the official tool has kept, here or in the latest backup."""

    def aws_nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """What the official tool had recorded about its nodes on AWS, by name, here or in the latest backup."""

    def writing(self) -> AbstractContextManager[None]:
        """What is written within the block is the upgrade's own work: an undo takes it for no change since."""

    def undo(self, held: AbstractContextManager[object] | None = None) -> Undone | None:
        """Put the official tool's files back as they were; None where there was no upgrade. Nothing is lost: what was
        changed since is kept aside. `held` is what the home's nodes are put back under."""


@dataclass(frozen=True)
class OfficialNode:
    """What the official tool has made for one node: where its image is kept, the address that Numerai was given, and
    whether it runs by a schedule."""

    repository: str | None
    webhook_url: str | None
    scheduled: bool = False


@dataclass(frozen=True)
class OfficialCluster:
    """What the official tool has made in a cloud, as it recorded it itself. `resources` are the addresses of what its
    Terraform still knows. `unusable` says why that cannot be removed from here, None where it can; `by_hand` then names
    what has to be removed."""

    nodes: Mapping[str, OfficialNode]
    where: str = ""
    resources: tuple[str, ...] = ()
    unusable: str | None = None
    by_hand: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignImage:
    """An image in a registry: its name with the tag, its digest, and how to log in there. `auth` holds `username` and
    `password`, and is left out of `repr`."""

    name: str
    digest: str
    auth: Mapping[str, str] = field(repr=False)


class OfficialCloud(Protocol):
    """The official tool's resources in a cloud, reached with the keys that it kept or with this tool's own."""

    def cluster(self) -> OfficialCluster | None:
        """What there is by the files on this machine; None where there is nothing. Asks nobody."""

    def image(self, repository: str) -> ForeignImage | None:
        """The image that runs from this repository; None where there is none."""

    def active_runs(self) -> Sequence[str]:
        """The runs that go on there, in words."""

    def destroy(self, report: Report) -> None:
        """Remove everything that its Terraform has made, by its own record of that; returns only when nothing is left.
        Interrupted, it can be called again."""


class MoveRecord(Protocol):
    """Which steps of the move off the official tool's cluster are done. Each is kept before the next one begins."""

    def done(self) -> frozenset[str]:
        """The steps that are done; empty where no move was begun."""

    def add(self, step: str) -> None:
        """Keep that a step is done."""

    def take_back(self, step: str) -> None:
        """Keep that a step has to be done again."""

    def forget(self) -> None:
        """Forget all of them."""


@dataclass(frozen=True)
class ContainerSpec:
    """A container to be made: `cpu` in vCPUs, `memory_mib` in MiB, `volumes` path in the container -> volume name.

    `environment` holds secrets, so it is left out of `repr`. An empty `command` is the image's own. `capabilities` are
    the only Linux capabilities that it has. Without `network` it reaches nothing but itself.
    """

    name: str
    image: str
    cpu: float
    memory_mib: int
    environment: Mapping[str, str] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    volume_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    read_only: bool = False
    command: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    network: bool = True


@dataclass(frozen=True)
class ContainerState:
    """How a container stands; `status` is the engine's word: created, running, exited, ..."""

    status: str
    exit_code: int
    out_of_memory: bool
    environment: Mapping[str, str] = field(repr=False)
    error: str | None = None
    user: str = ""
    program: str = ""

    @property
    def ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self.status in ("exited", "dead")


class ContainerEngine(Protocol):
    """A Docker engine: builds images, runs containers, keeps volumes. Labels to look for are given as `name=value`.

    Every method may raise `EnvironmentNotReady` when the engine cannot be reached.
    """

    def version(self) -> str:
        """The engine's version."""

    def gateway(self) -> str | None:
        """The address at which a service on this host must listen to be reachable from a container, where loopback is
        not reachable (native Linux); None where loopback is enough (Docker Desktop and other engines in a machine of
        their own forward it)."""

    def image_id(self, tag: str) -> str | None:
        """The id of a local image, given by tag or id; None when there is none."""

    def build(
        self,
        source: Source,
        tag: str,
        *,
        labels: Mapping[str, str],
        report: Report,
        platform: str | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> str:
        """Build an image by a folder's Dockerfile and tag it; returns its id. Leaves no container behind.

        `platform` is what the image is for (e.g. `linux/amd64`), by default what the engine itself runs on. `arguments`
        are build arguments; those that the Dockerfile does not declare are left out. The image is labelled with the
        name and the digest of the image that it is based on, where its digest is known. Pinned images are taken by
        their digests.
        `NumeraiError` with code `build-failed`, holding the last lines of the build's output, `base-image-missing`,
        `base-not-pinned`, or `wrong-platform` when the image is not for `platform`.
        """

    def digest(self, image: str, platform: str | None = None) -> str | None:
        """The digest by which a registry knows an image: the engine's own copy, if that is for the platform, else what
        the registry holds now. None for one that was built here. `ProviderError` when there is none of that name."""

    def push(self, repository: str, tag: str, *, auth: Mapping[str, str], report: Report, platform: str) -> None:
        """Push one tag to its registry, saying each layer that arrived. `auth` holds `username` and `password`.

        `NumeraiError` with code `wrong-platform` when the image is not for `platform`, `push-failed` when the registry
        does not take it.
        """

    def pull(self, image: str, *, auth: Mapping[str, str], platform: str) -> None:
        """Fetch an image, given by its name and tag, for a platform. `auth` holds `username` and `password`.

        `NumeraiError` with code `pull-failed` when the registry does not give it.
        """

    def cpus(self) -> int:
        """How many CPUs containers can use at most."""

    def data_folder(self) -> Path | None:
        """Where images and volumes are kept, when that is a folder of this machine."""

    def images(self, label: str) -> dict[str, list[str]]:
        """The images that carry a label: id -> tags."""

    def tag(self, image: str, tag: str) -> None:
        """Give an image one more tag."""

    def remove_image(self, image: str) -> None:
        """Remove a tag or an image; what is gone already is fine."""

    def volumes(self, label: str) -> list[str]:
        """The names of the volumes that carry a label."""

    def remove_volumes(self, label: str) -> None:
        """Remove every volume that carries a label."""

    def create_container(self, spec: ContainerSpec) -> bool:
        """Create a container and its volumes, unless there is one of that name; says whether it was created.

        `ProviderError` with code `image-missing` when the image is gone, `could-not-start` when the engine refuses.
        """

    def open_volumes(self, name: str, paths: list[str]) -> None:
        """Let every user write to the volumes at these paths of a container that was not started yet."""

    def files_in(self, name: str, path: str) -> Iterator[Artifact]:
        """Every file in a folder of a container, running or not. Links and what else is no file are left out."""

    def put_files_in(self, name: str, path: str, files: Iterable[Artifact]) -> None:
        """Write files into a folder of a container, running or not, so that every user can change them."""

    def put_files(self, name: str, folder: str, files: Mapping[str, Path]) -> None:
        """Copy files into a folder that a container has, started or not; the names may have folders of their own."""

    def get_file(self, name: str, path: str, target: Path) -> bool:
        """Copy a file out of a container, running or not; False when there is none."""

    def start_container(self, name: str) -> None:
        """Start a created container; one that runs is left alone. `ProviderError` with code `could-not-start`."""

    def container(self, name: str) -> ContainerState | None:
        """How a container stands; None when there is none of that name."""

    def containers(self, label: str) -> dict[str, dict[str, str]]:
        """Every container, running or not, that carries a label: name -> labels."""

    def container_output(self, name: str) -> Iterator[tuple[int, bytes]]:
        """What a container prints, from its beginning until it ends: 1 for standard output or 2 for standard error, and
        a piece after its time and a blank. One without a newline at its end is continued by the next of the same
        number; pieces of the other may come between."""

    def wait_container(self, name: str, seconds: float) -> None:
        """Return when a container has ended or is gone, at the latest after so many seconds."""

    def stop_container(self, name: str, grace_seconds: int) -> None:
        """SIGTERM, and SIGKILL after the grace; one that has ended or is gone is fine."""

    def program(self, name: str, program: str) -> tuple[str, bytes, int] | None:
        """A file in a container, running or not, as the system finds it to execute it: by its path from the working
        folder, or by its name in PATH; its path, first 64 KiB and mode, None when there is none."""

    def file(self, name: str, path: str) -> bytes | None:
        """The content of a file in a container, running or not; None when there is none at that path, or no container.
        A link is followed. `ProviderError` when it is larger than 256 MiB."""

    def architecture(self) -> str:
        """The processor that the engine runs, as `uname -m` says it."""

    def remove_container(self, name: str) -> None:
        """Remove a container, running or not, with its anonymous volumes; one that is gone is fine."""


class Provider(Protocol):
    """Runs nodes. One contract suite (tests/contract) holds every implementation to this text."""

    name: str
    timed_here: bool
    """Whether its runs have their times from this machine's clock, which may be wrong; else from one that is right."""

    def configure(self, node: Node, report: Report) -> Node:
        """Provision what the node needs and return it with its `webhook_url`. Idempotent; the webhook's address stays
        the same over repeats; an interrupted call is finished by the next one."""

    def webhook_url(self, node_name: str) -> str | None:
        """The address that `configure` would give the node's webhook now, by the settings as they are; None when the
        node was never configured to its end. Changes nothing."""

    def reachable_by(self, api_url: str) -> bool:
        """Whether the Numerai at `api_url` can reach this provider's webhooks."""

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        """Build (and push) what the node runs. Builds nothing when the source has not changed, unless forced.
        A failed build leaves what is deployed as it was."""

    def deployment(self, node_name: str) -> Deployment | None:
        """What the node runs now, None when it was never deployed."""

    def source_hash(self, node: Node) -> str:
        """The hash over the node's folder as `deploy` would record it now."""

    def wake(self, report: Report) -> None:
        """Make the webhook answer: start what has to run on this machine. Nothing to do in a cloud."""

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        """Start one run. A trigger id that was seen before gives the run that it started."""

    def run(self, run_id: str) -> Run:
        """One run; `ProviderError` with code `no-such-run` when it is not known."""

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        """The node's latest runs, newest first."""

    def find_run(self, node_name: str, trigger_id: str) -> Run | None:
        """The run that a trigger started, None when there is none (yet)."""

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        """What the run printed, in order; with `follow` until the run has ended."""

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[WebhookCall]:
        """The latest requests that reached the node's webhook, newest first."""

    def cancel(self, run_id: str) -> Run:
        """Stop a run, whatever state it is in, and return it; a run that has ended stays as it is."""

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        """Remove everything the provider holds for the node; gone means verified gone. Refuses with code
        `run-active` while a run is active unless forced. Unknown nodes are fine: there is nothing to remove."""

    def checks(self, nodes: Iterable[Node]) -> Iterator[Check]:
        """The provider's own findings for `numerai doctor`."""


class OwnCommands(Protocol):
    """Runs the tool's own commands as a person would: as processes of their own, with a clean NUMERAI_ environment."""

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], on_line: Callable[[str], None]
    ) -> int:
        """Run one command to its end, handing on each line it prints; returns its exit code."""

    def serving(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path
    ) -> AbstractContextManager[Mapping[str, Any]]:
        """Keep a command running that announces itself with one line of JSON; gives that line's content."""


class Rehearsal(Protocol):
    """Runs a node's container on this machine, in the foreground, whatever its provider."""

    def rehearse(
        self,
        node: Node,
        command: Sequence[str],
        *,
        report: Report,
        on_log: Callable[[LogLine], None],
        submits: bool = True,
    ) -> Run:
        """Build what the node runs and run it to its end, with the environment and limits of a real run.

        `command` replaces the Dockerfile's when it is not empty. Interrupting the call stops the container. Without
        `submits` the run has NUMERAI_NO_SUBMIT set, as in `RunsWithoutSubmitting`.
        """


@dataclass(frozen=True)
class StackChange:
    """One resource that a plan touches; `action` is create, update, replace or delete."""

    address: str
    action: str


@dataclass(frozen=True)
class StackPlan:
    """What would change, and the file that `StackRunner.apply` executes. `drift` holds the resources that somebody else
    has removed; the plan makes them again."""

    changes: tuple[StackChange, ...]
    drift: tuple[str, ...]
    file: Path

    def count(self, *actions: str) -> int:
        """How many resources are touched in one of these ways."""
        return sum(change.action in actions for change in self.changes)


@dataclass(frozen=True)
class PlannedResource:
    """One resource that a plan makes: its address, its kind (`aws_vpc`), what is known of it before it is made, and
    what its description refers to (`aws_vpc.this`)."""

    address: str
    kind: str
    values: Mapping[str, Any]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PlannedResources:
    """What a plan makes, and the kind and id of everything that the stack knows already."""

    made: tuple[PlannedResource, ...]
    known: frozenset[tuple[str, str]]


class StackRunner(Protocol):
    """Provisions one stack of cloud resources from a description (Terraform or OpenTofu).

    Every method may raise `EnvironmentNotReady` (no program, no credentials, nothing reachable) and `ProviderError`
    (refused, clash, locked by another). Whatever is interrupted or fails is finished by the next call.
    """

    def prepare(self, report: Report) -> None:
        """Bring the working folder up to date; needed once before anything else."""

    def plan(self, variables: Mapping[str, Any], report: Report, *, destroy: bool = False) -> StackPlan:
        """What would have to change to reach the description."""

    def planned(self, plan: StackPlan) -> PlannedResources:
        """The plan in detail, as long as it was not carried out."""

    def plan_adoption(self, variables: Mapping[str, Any], existing: Mapping[str, str], report: Report) -> StackPlan:
        """What would have to change to make things that exist (their ids by address) a part of the stack, and to bring
        them, and nothing else, to the description."""

    def apply(self, plan: StackPlan, report: Report) -> Mapping[str, Any]:
        """Carry out a plan; returns the outputs."""

    def destroy(self, variables: Mapping[str, Any], report: Report) -> None:
        """Remove every resource of the stack; returns only when none is left."""

    def outputs(self) -> Mapping[str, Any]:
        """The outputs of the last apply; empty before the first one."""

    def resources(self) -> list[str]:
        """The addresses of everything that exists as far as the stack knows."""

    def move_state(self, report: Report) -> None:
        """Carry the stack's record of what exists over to where it is kept now (see the runner's backend)."""


# What only some providers can do. A command asks with `isinstance` and says so where it is not to be had.


@runtime_checkable
class RunByNumerai(Protocol):
    """A provider whose nodes Numerai itself runs every round: they need no webhook, no schedule and no Dockerfile, and
    all have one size."""

    size: str
    """The size of every node (`models.SIZES`)."""
    timeout_minutes: int
    """How long a run may take at most."""

    def check(self, node: Node) -> None:
        """`UsageError` with code `not-hosted` for a node that Numerai cannot run, with the reason."""

    def reads_models(self, node: Node) -> bool:
        """Whether a model file in the node's folder runs without code of the folder's own that reads it."""

    def ready(self, node: Node, source_hash: str) -> str | None:
        """The id of what was deployed of that source and is not run yet; None where there is nothing like that."""

    def assign(self, node: Node, upload: str, report: Report) -> None:
        """Let Numerai run the upload of that id from now on. The model must have no webhook then."""


@runtime_checkable
class PreviewsChanges(Protocol):
    """A provider whose `configure` makes things that are billed, and which can say them before."""

    def preview(self, node: Node) -> list[str]:
        """What `configure` would make and what it costs a month, in words. Changes nothing."""


@dataclass(frozen=True)
class HowItRuns:
    """How a deploy of now lets a node run: `what` in words, and `why` where that is no matter of course. It is `new`
    where that is another way than before, or the first one that there is."""

    what: str = ""
    why: str | None = None
    new: bool = False


@runtime_checkable
class RunsInWays(Protocol):
    """A provider that runs nodes in several ways, and records which at a node's first deploy."""

    def how_it_runs(self, node: Node) -> HowItRuns:
        """How a deploy of now would let the node run. `EnvironmentNotReady` where it could not run as it did."""


@runtime_checkable
class ChecksDeploys(Protocol):
    """A provider that can say before a deploy why it would refuse it."""

    def check_deploy(self, node: Node, *, force: bool) -> None:
        """Raise what `deploy` would raise before it builds anything; last of all that the node is not configured, with
        code `not-configured`. Changes nothing."""


@runtime_checkable
class HasSettings(Protocol):
    """A provider that says which settings it has."""

    settings_table: Sequence[Setting]


@runtime_checkable
class KnowsCapabilities(Protocol):
    """A provider that says whether containers can be given Linux capabilities there; another one cannot do it."""

    no_capabilities: str | None
    """Why they can be given none; None where they can."""


@runtime_checkable
class EstimatesCost(Protocol):
    """A provider that costs money and can tell how much."""

    def cost(self, node: Node) -> CostEstimate:
        """What the node costs a month."""


@dataclass(frozen=True)
class Silence:
    """Why a webhook does not answer where Numerai is to call it, and the command that mends it. `elsewhere` tells that
    what serves it does run, but serves another address, which `ServesWebhooks.restart` changes."""

    why: str
    mend: str
    elsewhere: bool = False


@runtime_checkable
class ServesWebhooks(Protocol):
    """A provider whose webhooks are served by a process on this machine."""

    def silence(self) -> Silence | None:
        """Why its webhooks do not answer at their address now, looked at by calling it; None when they answer."""

    def differences(self) -> Sequence[str]:
        """In words, where that process stands on something else than this shell, so that its runs end otherwise: keys,
        settings, a container engine."""

    def restart(self, report: Report) -> None:
        """Start what serves the webhooks, or start it again with the settings as they are now. Runs go on."""


@runtime_checkable
class StartsLater(Protocol):
    """A provider where a run waits for a machine before it starts."""

    def start_seconds(self, node: Node) -> float:
        """How long a run of this node may take to start before something must be wrong."""

    def waits_for(self, run_id: str) -> str | None:
        """What a run that has not started waits for, in words; None for one that has."""


@runtime_checkable
class RunsWithoutSubmitting(Protocol):
    """A provider that can start a run which does everything but submit."""

    def run_without_submitting(self, node: Node) -> Run:
        """Start one run with NUMERAI_NO_SUBMIT set. One that ends where it would submit has succeeded, with the exit
        code 79. Its trigger id begins with `no-submit-`."""


@runtime_checkable
class TrainsModels(Protocol):
    """A provider that can start a run which trains the node's model, and submits nothing."""

    def train(self, node: Node) -> Run:
        """Start one, with NUMERAI_TRAIN and NUMERAI_NO_SUBMIT set. It keeps no round from its run, and its trigger id
        begins with `no-submit-train-`."""


@runtime_checkable
class KeepsArtifacts(Protocol):
    """A provider whose nodes have an artifacts folder that can be read from here."""

    def artifact(self, node_name: str, name: str) -> bytes | None:
        """A file of it, by its path from there, as runs have left it; None where there is none. Changes nothing."""


@runtime_checkable
class RollsBack(Protocol):
    """A provider that can let an image run again that was deployed earlier."""

    def history(self, node_name: str) -> list[str]:
        """The tags of the images that the node could run, newest first."""

    def roll_back(self, node_name: str, tag: str) -> Deployment:
        """Let the image of that tag run again. Nothing is built or pushed."""


@runtime_checkable
class MakesTogether(Protocol):
    """A provider that makes what several nodes need in the time in which it makes it for one."""

    def expect(self, nodes: Iterable[Node], report: Report) -> None:
        """Let the next `configure` make what all of these nodes need, each of which is configured as well."""


@dataclass(frozen=True)
class Artifact:
    """A file that a run has left for later ones, by its name below the artifacts folder, with `/`. It can be opened
    until the next one is asked for."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@runtime_checkable
class HandsOverArtifacts(Protocol):
    """A provider that can be asked for what the runs of a node have left, such as trained models, and given that."""

    def artifacts(self, node_name: str) -> Iterator[Artifact]:
        """Every file of a node that is deployed."""

    def put_artifacts(self, node_name: str, artifacts: Iterable[Artifact]) -> None:
        """Keep files for the next runs of a node that is deployed, in place of those that have the same names."""


@runtime_checkable
class TakesImages(Protocol):
    """A provider that can run an image which was built elsewhere."""

    def take_image(self, node: Node, image: ForeignImage, report: Report) -> Deployment:
        """Copy the image as it is, and let the node run it. Nothing is copied again that is there already."""


@runtime_checkable
class LimitsDisk(Protocol):
    """A provider whose runs have a disk of a certain size."""

    disk_gib: tuple[int, int]
    """The smallest and the largest that it gives, in GiB; the smallest is its own."""


@runtime_checkable
class HoldsElsewhere(Protocol):
    """A provider that keeps things for all its nodes together, not on this machine."""

    def held(self) -> Sequence[str]:
        """What it may still hold, in words, as far as this home folder records it; empty when that is nothing."""


@runtime_checkable
class NotHere(Protocol):
    """What stands for a provider that this tool does not have."""

    not_here: str
    """Why nothing of it can be seen or run, in words."""

    def refusal(self, node: Node) -> NumeraiError:
        """The error for what would need it, with the commands that lead out."""


@runtime_checkable
class NotifiesItself(Protocol):
    """A provider whose runs tell people how they ended without this machine, so that the watcher need not."""

    def notifies(self) -> bool:
        """Whether it has been given somebody to tell."""


@runtime_checkable
class NamesPolicy(Protocol):
    """A provider that knows the permissions which suffice for everything it does."""

    def policy(self, note: Report) -> Mapping[str, Any]:
        """The policy as the cloud takes it. It is wanted before there are credentials, so what only they tell has a
        placeholder then, which `note` is told."""


@runtime_checkable
class MovesState(Protocol):
    """A provider whose record of what it made can be kept where several machines see it."""

    def move_state(self, remote: bool, report: Report) -> str | None:
        """Keep the record remotely from now on, or in the home folder again; returns what `setup` records as
        `state_bucket`. Nothing that was made changes."""
