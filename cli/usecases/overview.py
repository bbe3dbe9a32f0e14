"""All nodes at a glance: the round that is open or was last, how each node stands in it, and who follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from ..models import GOING_ON, Check, CheckStatus, Node, Tournament, WatcherRecord
from ..ports import NotHere, NotifiesItself, Provider, RunByNumerai, StateStore
from ..translation import EXPECTED, as_error
from .history import RoundReader, RoundRecord
from .inspect import list_nodes, move_check, unusable_note
from .webhooks import webhook_check

if TYPE_CHECKING:
    from ..watching.ledger import Ledger

LOOKED_LATELY = timedelta(hours=1)
"""The shortest time in which a round is on time (docs/truth.md, `window-one-hour`). Two looks by cron in it follow the
rounds; one says nothing of the next, and neither does a look by hand."""
SOON = timedelta(minutes=10)
"""How long after a look the next one is never overdue."""
NOT_LOOKED = timedelta(minutes=15)
"""A process that has not looked for so long follows nothing, though it lives: it is stopped, or hangs. Two looks are
ten minutes apart at most (`watch_seconds`)."""


@dataclass(frozen=True)
class TournamentGlance:
    """The latest round of a tournament and the next one. `deadline` is None when no on-time window is open; `opens`
    when Numerai does not say. Where not `known`, Numerai could not be asked: all of it is what was seen earlier, and a
    round may be open that was not seen."""

    tournament: int
    name: str
    round_number: int | None
    deadline: datetime | None
    deadline_in_seconds: int | None
    opens: datetime | None
    opens_in_seconds: int | None
    known: bool = True


@dataclass(frozen=True)
class NodeGlance:
    """A node; `deployed` is None when its provider could not be asked (`not_here` says why where this tool has none
    such), `latest` when no round is known. `pickle` is the id of the model upload that is assigned to its model:
    Numerai then neither calls nor hears the node. `webhook` is what is wrong with what starts its runs, as `doctor`
    finds it; `move` that one to or from `also_on` is not finished.
    """

    node: str
    model_name: str
    tournament: int
    provider: str
    deployed: bool | None
    latest: RoundRecord | None
    pickle: str | None = None
    webhook: Check | None = None
    also_on: str | None = None
    move: Check | None = None
    not_here: str | None = None


@dataclass(frozen=True)
class Overview:
    """How everything stands. `told` are the names of those who are told, `watchers` those who follow the rounds from
    this machine; `needs_watching` is whether any node depends on that. `last_look` is by whoever looked last, and
    perhaps never again. `problems` is what could not be asked, or is no node."""

    now: datetime
    tournaments: tuple[TournamentGlance, ...]
    nodes: tuple[NodeGlance, ...]
    watchers: tuple[WatcherRecord, ...]
    last_look: WatcherRecord | None
    needs_watching: bool
    told: tuple[str, ...]
    problems: tuple[str, ...]


def overview(store: StateStore, reader: RoundReader, ledger: Ledger) -> Overview:
    """How every node stands. Asks only; what could not be asked is said in the result.

    Raises `NumeraiError` when nodes.json cannot be read.
    """
    nodes = list_nodes(store)
    watchers = tuple(reader.kept(lambda: watching(ledger, reader.clock.now())) or ())
    glances = tuple(_glance(node, reader, followed=bool(watchers)) for node in nodes)
    tournaments = tuple(_tournament(number, reader) for number in sorted({int(node.tournament) for node in nodes}))
    told = tuple(sorted(reader.kept(store.notify_urls) or ()))
    needed = any(needs_watching(node, reader.provider_named) for node in nodes)
    latest = reader.kept(lambda: last_look(ledger))
    note = unusable_note(store)
    problems = (*reader.problems, *([note] if note else []))
    return Overview(reader.now(), tournaments, glances, watchers, latest, needed, told, problems)


def needs_watching(node: Node, provider_named: Callable[[str], Provider]) -> bool:
    """Whether a round of this node goes unnoticed when this machine does not follow it. Where runs tell people by
    themselves, a watcher beside them does that too."""
    try:
        return not isinstance(provider_named(node.provider), NotifiesItself)
    except NumeraiError:
        return True


def watching(ledger: Ledger, machine_now: datetime) -> list[WatcherRecord]:
    """Who follows the rounds from this machine: watchers whose process lives, then looks that come again and again."""
    known = ledger.watchers() if ledger.exists() else []
    living = [each for each in known if each.alive and each.kind in GOING_ON and _looks(each, machine_now)]
    by_cron = [each for each in known if each.kind == "once" and machine_now - each.machine_seen < LOOKED_LATELY]
    return living + (by_cron if _go_on(by_cron, machine_now) else [])


def _go_on(looks: list[WatcherRecord], machine_now: datetime) -> bool:
    """Whether looks come at a pace, and the next one is not overdue; the newest is the first."""
    if len(looks) < 2:
        return False
    pace = looks[0].machine_seen - looks[1].machine_seen
    return machine_now - looks[0].machine_seen <= max(2 * pace, SOON)


def last_look(ledger: Ledger) -> WatcherRecord | None:
    """Whoever looked last from this machine."""
    return next(iter(ledger.watchers()), None) if ledger.exists() else None


def name_of(watcher: WatcherRecord) -> str:
    """What a person calls a watcher."""
    once = "`numerai watch --once`"
    names = {"daemon": "the daemon", "watch": "`numerai watch`", "once": f"{once} from cron", "hand": once}
    return names.get(watcher.kind, watcher.kind)


def _looks(watcher: WatcherRecord, machine_now: datetime) -> bool:
    return machine_now - watcher.machine_seen < NOT_LOOKED


def _glance(node: Node, reader: RoundReader, *, followed: bool) -> NodeGlance:
    deployed: bool | None = None
    not_here: str | None = None
    hosted = False
    webhook: Check | None = None
    latest = next(iter(reader.records(node, 1)), None)
    models = reader.models()
    model = models.get(node.model_id) if models is not None else None
    try:
        provider = reader.provider_named(node.provider)
        hosted = isinstance(provider, RunByNumerai)
        if isinstance(provider, NotHere):
            not_here = provider.not_here
        else:
            deployed = provider.deployment(node.name) is not None
        if models is not None and reader.api_url is not None:
            webhook = webhook_check(node, model, reader.provider_named, reader.api_url, lambda: followed)
    except EXPECTED as error:
        reader.note(f"{node.name}: {as_error(error).message}")
    return NodeGlance(
        node=node.name,
        model_name=node.model_name,
        tournament=int(node.tournament),
        provider=node.provider,
        deployed=deployed,
        latest=latest,
        pickle=model.pickle if model is not None and not hosted else None,
        webhook=webhook if webhook is not None and webhook.status is not CheckStatus.OK else None,
        also_on=node.also_on,
        move=move_check(node, reader.provider_named),
        not_here=not_here,
    )


def _tournament(tournament: int, reader: RoundReader) -> TournamentGlance:
    latest = next(iter(reader.rounds(tournament, 1)), None)
    now = reader.now()  # after the rounds were asked for: their answer tells Numerai's time
    upcoming = reader.upcoming(tournament)
    deadline = latest.deadline if latest is not None and latest.is_open(now) else None
    opens = upcoming.open_time if upcoming is not None else None
    return TournamentGlance(
        tournament=tournament,
        name=_name(tournament),
        round_number=latest.number if latest is not None else None,
        deadline=deadline,
        deadline_in_seconds=_seconds(deadline, now),
        opens=opens,
        opens_in_seconds=_seconds(opens, now),
        known=reader.sees_rounds(tournament),
    )


def _name(tournament: int) -> str:
    return next((known.title for known in Tournament if known == tournament), f"Tournament {tournament}")


def _seconds(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else int((moment - now).total_seconds())
