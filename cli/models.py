"""The words of the project as frozen data: tournaments, sizes, nodes, runs, submissions, checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

from .names import check_name
from .pasted import PUBLIC_ID, SECRET_KEY, check_half, malformed, pasted_keys
from .redaction import hide
from .triggers import submits

NUMERAI_API_URL = "https://api-tournament.numer.ai"
MODEL_SUFFIX = ".model"
"""How the file ends that `numerai train` makes."""


class Tournament(IntEnum):
    """A Numerai tournament by its number in Numerai's API."""

    CLASSIC = 8
    SIGNALS = 11
    CRYPTO = 12

    @property
    def prefix(self) -> str:
        """The first part of the names of this tournament's nodes."""
        return {8: "numerai", 11: "signals", 12: "crypto"}[self.value]

    @property
    def title(self) -> str:
        """Its name as people write it."""
        return self.name.capitalize()


@dataclass(frozen=True)
class Size:
    """How big a node runs: `cpu` in vCPUs, `memory_mib` in MiB."""

    name: str
    cpu: float
    memory_mib: int


def _sizes(*rows: tuple[str, int, int]) -> dict[str, Size]:
    return {name: Size(name, cpu / 1024, memory) for name, cpu, memory in rows}


# Names and figures of the official tool (numerai-cli 1.1.7), so that its documentation still holds.
SIZES = _sizes(
    ("gen-xs", 512, 2048),
    ("gen-sm", 1024, 4096),
    ("gen-md", 2048, 8192),
    ("gen-lg", 4096, 16384),
    ("gen-xl", 8192, 30720),
    ("gen-2xl", 16384, 61440),
    ("cpu-xs", 512, 1024),
    ("cpu-sm", 1024, 2048),
    ("cpu-md", 2048, 4096),
    ("cpu-lg", 4096, 8192),
    ("cpu-xl", 8192, 16384),
    ("cpu-2xl", 16384, 30720),
    ("mem-xs", 512, 4096),
    ("mem-sm", 1024, 8192),
    ("mem-md", 2048, 16384),
    ("mem-lg", 4096, 30720),
    ("mem-xl", 8192, 61440),
    ("mem-2xl", 16384, 81920),
    ("mem-3xl", 16384, 102400),
    ("mem-4xl", 16384, 122880),
)
DEFAULT_SIZE = "mem-md"
DEFAULT_TIMEOUT_MINUTES = 60
DEFAULT_PROVIDER = "local"
DEFAULT_EXAMPLE = "tournament-python3"


@dataclass(frozen=True)
class Keys:
    """The two halves of a Numerai API token, and the API they belong to. Never printed: `repr` hides the secret.

    They may be as people paste them (`pasted`). `UsageError`, without the value, where a half holds anything but
    printable ASCII (an HTTP header cannot carry it) or cannot be one.
    """

    public_id: str
    secret_key: str
    api_url: str = NUMERAI_API_URL

    def __post_init__(self) -> None:
        public_id, secret_key = pasted_keys(self.public_id, self.secret_key)
        object.__setattr__(self, "public_id", check_half(PUBLIC_ID, public_id))
        object.__setattr__(self, "secret_key", check_half(SECRET_KEY, secret_key))
        hide(self.secret_key)
        if self.public_id == self.secret_key:
            raise malformed(f"{PUBLIC_ID} and {SECRET_KEY} are the same.")

    def __repr__(self) -> str:
        return f"Keys(public_id={self.public_id!r}, secret_key='***', api_url={self.api_url!r})"


@dataclass(frozen=True)
class Model:
    """A model slot in a Numerai account. `webhook` is the address that Numerai calls when a round opens; `pickle` is
    the id of the model upload that Numerai runs for it instead, if one is assigned."""

    id: str
    name: str
    tournament: int
    webhook: str | None = None
    pickle: str | None = None


@dataclass(frozen=True)
class TokenInfo:
    """Who an API token belongs to and what it may do."""

    username: str
    name: str
    scopes: tuple[str, ...]


OFFICIAL_PROVIDER = "aws"
"""Where the official tool's cluster can be moved from."""
MOVE_AWS = "numerai upgrade --move-aws"
"""What brings nodes from the official tool's cluster on AWS to this tool's (official_move.py)."""


@dataclass(frozen=True)
class Node:
    """One model, the folder with its code, and where and how big it runs.

    `cpu` is in vCPUs, `memory_mib` in MiB; `path` is absolute; `webhook_url` holds the unguessable token and is
    treated as a secret; `cron` is a UTC schedule, or None when Numerai's webhook starts the runs. `data_version` is a
    version of Numerai's data (`v5.3`) or `newest`; None lets a run use the version that its model was trained on.
    `context` is the folder above `path` that its image is built from, None for `path` itself; `base_digests` are the
    images that its Dockerfile builds on, by their full names, where they are pinned; `capabilities` are the Linux
    capabilities that its containers are given; `disk_gib` is what a run may write, where its provider has a limit, None
    for that provider's own. `also_on` is the other provider that holds a side of it while it is moved from one to the
    other. A model that is `retrain_days` old is trained again after a submission, None lets it be. `legacy` keeps what
    the official tool had recorded about the node, unread.
    """

    name: str
    model_name: str
    model_id: str
    tournament: int
    provider: str
    path: str
    cpu: float
    memory_mib: int
    timeout_minutes: int = DEFAULT_TIMEOUT_MINUTES
    cron: str | None = None
    webhook_url: str | None = None
    legacy: dict[str, Any] | None = None
    data_version: str | None = None
    context: str | None = None
    base_digests: dict[str, str] | None = None
    capabilities: tuple[str, ...] = ()
    disk_gib: int | None = None
    also_on: str | None = None
    retrain_days: int | None = None


def in_official_cluster(node: Node) -> bool:
    """Whether the address that counts is still the one that the official tool has made for the node on AWS. Numerai is
    given that of this tool's cluster by `MOVE_AWS`, once the node has run there."""
    recorded = (node.legacy or {}).get("webhook_url")
    return node.provider == OFFICIAL_PROVIDER and node.webhook_url is not None and node.webhook_url == recorded


def node_name(tournament: int, model_name: str) -> str:
    """The name of the node of a model: `<tournament>-<model>`, e.g. `numerai-alice`.

    `NumeraiError` with code `bad-name` for a model's name that this tool does not take in.
    """
    check_name(model_name, "A model of the account")
    return f"{Tournament(tournament).prefix}-{model_name}"


@dataclass(frozen=True)
class DataVersions:
    """The versions of a tournament's data, e.g. `v5.3`: those that a node can use, the oldest first, and the newest of
    them that is complete (Numerai lists a version file by file); None where there is none."""

    served: tuple[str, ...]
    newest: str | None


@dataclass(frozen=True)
class DataListing:
    """The files of each version of a tournament's data, e.g. `v5.3` -> `features.json`, ..., the oldest version first,
    and the newest version that is complete; None where there is none."""

    versions: Mapping[str, tuple[str, ...]]
    newest: str | None


@dataclass(frozen=True)
class DataFile:
    """A data file that is here and whole. `size` is in bytes; `new` is whether it was not here before."""

    name: str
    path: Path
    size: int
    new: bool


class RunState(str, Enum):
    """Where a run is in its life. A run moves only forward, and ends in one of the three final states."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether a run in this state will never change again."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


NOT_SUBMITTED_CODE = 79
"""How a run ends that was told not to submit and came to that point (numerai_node's `EXIT_NOT_SUBMITTED`)."""


class RunFailure(str, Enum):
    """Why a run failed, for programs; `Run.message` says it for people."""

    EXIT_CODE = "exit-code"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    NOT_DEPLOYED = "not-deployed"
    NO_KEYS = "no-keys"
    LATE = "late"
    COVERED = "covered"
    UNCONFIRMED = "unconfirmed"
    COULD_NOT_START = "could-not-start"
    LOST = "lost"


@dataclass(frozen=True)
class Run:
    """One execution of a node's container. Times are aware and in UTC."""

    id: str
    node: str
    state: RunState
    created_at: datetime
    trigger_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    failure: RunFailure | None = None
    message: str | None = None
    attempt: int = 1

    @property
    def is_test(self) -> bool:
        """Whether it was told not to submit, and so is no run of a round (`ports.RunsWithoutSubmitting`)."""
        return not submits(self.trigger_id)


@dataclass(frozen=True)
class LogLine:
    """One line that a run printed, without its newline; `time` is when it was received, in UTC."""

    text: str
    time: datetime | None = None


@dataclass(frozen=True)
class WebhookCall:
    """One request that reached a node's webhook, and what was answered. The token is never kept."""

    time: datetime
    node: str
    status: int
    answer: str
    trigger_id: str | None = None


@dataclass(frozen=True)
class Deployment:
    """What a node runs now. `source_hash` is over the files that the image is built from; `changed` tells whether
    the deploy that returned it built anything."""

    node: str
    image: str
    source_hash: str
    deployed_at: datetime
    changed: bool = True


@dataclass(frozen=True)
class Round:
    """A submission window of a tournament. Times are aware and in UTC.

    `deadline` (Numerai's closeStakingTime) ends the on-time window; `close_time` (its closeTime) ends the late period,
    usually with the next opening.
    """

    number: int
    tournament: int
    open_time: datetime
    deadline: datetime
    close_time: datetime

    def is_open(self, now: datetime) -> bool:
        """Whether a submission made at `now` (aware) is on time."""
        return self.open_time <= now < self.deadline


@dataclass(frozen=True)
class Submission:
    """A file that Numerai holds. It says nothing of whether the file counts for its round: `SubmissionEntry` does."""

    id: str
    round_number: int | None
    trigger_id: str | None = None
    filename: str | None = None
    inserted_at: datetime | None = None


class EntryStatus(str, Enum):
    """Numerai's word for a model in a round (`latestSubmissions`)."""

    ON_TIME = "on-time"
    LATE = "late"
    QUEUED = "queued"
    NONE = "none"


@dataclass(frozen=True)
class SubmissionEntry:
    """What Numerai says of a model in one round. `status` is None for a word that this version does not know."""

    round_number: int
    status: EntryStatus | None
    id: str | None = None
    filename: str | None = None
    timestamp: datetime | None = None


class CheckStatus(str, Enum):
    """How a check of `numerai doctor` ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One finding of `numerai doctor`: what was looked at, how it stands, why, and the command that mends it.

    `safe_fix` names a mend that `doctor --fix` may do by itself (see usecases/doctor.py).
    """

    name: str
    status: CheckStatus
    why: str
    mend: str | None = None
    node: str | None = None
    safe_fix: str | None = None


@dataclass(frozen=True)
class CostItem:
    """One item of a bill: `usd` a month, and how that is computed. A shared one is paid once for all nodes."""

    what: str
    usd: float
    how: str
    shared: bool = False


@dataclass(frozen=True)
class CostEstimate:
    """What a node costs a month. `dear_usd` is the total where no Spot capacity is ever had."""

    node: str
    items: tuple[CostItem, ...]
    runs: int
    minutes: float
    measured: bool
    dear_usd: float
    table: str

    @property
    def usd(self) -> float:
        """The total a month, shared items included."""
        return sum(item.usd for item in self.items)

    def describe(self) -> str:
        """The total in one sentence."""
        how = "as its latest runs took" if self.measured else "assumed"
        return (
            f"About {self.usd:.2f} USD a month for {self.runs} runs of {self.minutes:.1f} minutes ({how}); at most "
            f"{self.dear_usd:.2f} when no Spot capacity is to be had. Prices: {self.table}."
        )


class NoticeKind(str, Enum):
    """What somebody is told about."""

    SUCCESS = "success"
    FAILURE = "failure"
    LATE = "late"
    COVERED = "covered"
    MISSED = "missed"
    DATA = "data"
    TRAINING = "training"
    GATE = "gate"
    WATCHER_STOPPED = "watcher-stopped"
    TEST = "test"


@dataclass(frozen=True)
class Notice:
    """One thing to tell the people whom `numerai notify` lists. `text` never holds a secret."""

    kind: NoticeKind
    title: str
    text: str
    node: str | None = None
    round_number: int | None = None


class RoundOutcome(str, Enum):
    """How a round went for a node. It stays `open` until Numerai's answer after the deadline, or before, settles it.

    `late`: made after the deadline, so it is not staked and is queued for the next round. `covered`: the round has an
    on-time submission, but it is the clone of an earlier file and not of a run for this round.
    """

    OPEN = "open"
    ON_TIME = "on-time"
    COVERED = "covered"
    LATE = "late"
    MISSED = "missed"


@dataclass(frozen=True)
class TriggerAttempt:
    """One run that the watcher decided to start, recorded before it was started.

    `run_id` is None until the provider has taken it; `state` is how the run ended (a word of `RunState`, or `lost`),
    None until that is known; `message` says why it could not be started or how it ended.
    """

    number: int
    trigger_id: str
    why: str
    decided_at: datetime
    run_id: str | None = None
    state: str | None = None
    exit_code: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class RoundEntry:
    """What the watcher knows about a node in a round. `told` are the notices that were decided, `reached` those of them
    that went out to somebody."""

    node: str
    tournament: int
    round_number: int
    outcome: RoundOutcome = RoundOutcome.OPEN
    submission_id: str | None = None
    submission_status: str | None = None
    submitted_at: datetime | None = None
    attempts: tuple[TriggerAttempt, ...] = ()
    told: frozenset[NoticeKind] = frozenset()
    reached: frozenset[NoticeKind] = frozenset()


@dataclass(frozen=True)
class KeptNotice:
    """A notice that has yet to reach somebody. `tries` is how often that failed; `serial` grows from one notice to the
    next."""

    key: str
    notice: Notice
    tries: int = 0
    serial: int = 0


GOING_ON = ("daemon", "watch")
"""The kinds of watchers that look again and again; the others look once."""


@dataclass(frozen=True)
class WatcherRecord:
    """One watcher: `kind` is `daemon`, `watch`, `once` (a look by cron) or `hand` (a look by a person at a terminal);
    `seen` is its latest sign of life in Numerai's time and
    `machine_seen` the same by this machine's clock; `alive` is whether its process lives."""

    id: str
    kind: str
    pid: int
    since: datetime
    seen: datetime
    machine_seen: datetime
    ended_at: datetime | None = None
    alive: bool = False
