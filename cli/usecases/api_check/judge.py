"""Holds what the API has answered against the rules. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from ...models import EntryStatus, Tournament
from .answers import NOT_TRIED, Answers, EntryRow, RoundRow, gone_in
from .rules import CONSEQUENCES, RULES, SCOPES
from .schema import Change, Difference, differences

LATE_PERIOD = timedelta(hours=6)
NEAR = timedelta(minutes=90)
"""Rounds open up to an hour late (seen in a recorded answer of the API, 2025-09: 54 minutes)."""
DATE_STEP = timedelta(seconds=1)
CLASSIC_FILES = frozenset(
    (
        "features.json",
        "live.parquet",
        "live_benchmark_models.parquet",
        "live_example_preds.csv",
        "live_example_preds.parquet",
        "meta_model.parquet",
        "train.parquet",
        "train_benchmark_models.parquet",
        "validation.parquet",
        "validation_benchmark_models.parquet",
        "validation_example_preds.csv",
        "validation_example_preds.parquet",
    )
)
"""The files of a Classic version (listDatasets; docs.numer.ai, data)."""


class Verdict(str, Enum):
    """How a rule stands."""

    AGREES = "agrees"
    DIFFERS = "differs"
    DEPRECATED = "deprecated"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Finding:
    """What was found about a rule (`RULES`), why, and what that means for a user; the latter only where the
    API differs. `broken` is whether something of this version does not work."""

    rule: str
    verdict: Verdict
    why: str
    consequence: str | None = None
    broken: bool = False


Outcome = tuple[bool | None, str]
"""Whether a rule holds, None where the answers do not tell, and why."""


def judge(answers: Answers) -> list[Finding]:
    """Every rule, as far as the answers tell."""
    return [*_requests_valid(answers), *(_finding(rule, *check(answers)) for rule, check in CHECKS.items())]


def _finding(rule: str, holds: bool | None, why: str) -> Finding:
    if holds is None:
        return Finding(rule, Verdict.UNCHECKED, why)
    if holds:
        return Finding(rule, Verdict.AGREES, why)
    known = RULES[rule]
    return Finding(rule, Verdict.DIFFERS, why, known.consequence, broken=not known.harmless)


def _requests_valid(answers: Answers) -> Iterator[Finding]:
    schema = answers.schema
    uses: dict[Difference, list[str]] = {}
    for name, request in answers.requests.items():
        for difference in differences(request, schema) if schema else _tried_differences(answers.tried.get(name)):
            uses.setdefault(difference, []).append(name)
    for difference, names in uses.items():
        yield _of_difference(difference, sorted(set(names)))
    not_tried = sorted(name for name, met in answers.tried.items() if met == NOT_TRIED)
    gone = any(difference.change is not Change.DEPRECATED for difference in uses)
    if schema is None:
        yield Finding(
            "requests-valid",
            Verdict.UNCHECKED,
            f"the API does not show its schema ({answers.refused}); each request was tried instead: deprecated fields "
            f"are not seen{'; not tried: ' + ', '.join(not_tried) if not_tried else ''}",
        )
    if not gone and len(not_tried) < len(answers.requests):
        yield Finding("requests-valid", Verdict.AGREES, f"{len(answers.requests) - len(not_tried)} requests")


def _of_difference(difference: Difference, names: Sequence[str]) -> Finding:
    where = difference.where
    used = f"used by: {', '.join(names)}"
    fails = f"These requests fail: {', '.join(names)}."
    consequence = CONSEQUENCES.get(where.partition("(")[0], fails)
    if difference.change is Change.DEPRECATED:
        why = f"{where} is deprecated ({difference.detail}); {used}"
        later = f"It still works. Once it is gone: {consequence}"
        return Finding("requests-valid", Verdict.DEPRECATED, why, later)
    words = {
        Change.GONE: f"{where} is gone",
        Change.NEEDED: f"{where} must be given now",
        Change.RESHAPED: f"{where} has another shape ({difference.detail})",
    }[difference.change]
    if difference.change is Change.GONE and difference.detail:
        words += f" (renamed to {difference.detail}?)"
    return Finding("requests-valid", Verdict.DIFFERS, f"{words}; {used}", consequence, broken=True)


def _tried_differences(met: str | None) -> list[Difference]:
    return [Difference(Change.GONE, where) for where in gone_in(met or "")]


def _count(fits: Sequence[bool], what: str, nothing: str) -> Outcome:
    """Whether all fit; `nothing` is why there are none."""
    return (all(fits), f"{sum(fits)} of {len(fits)} {what}") if fits else (None, nothing)


def _no_rounds(answers: Answers) -> str:
    return answers.unread.get("rounds", "no round is listed")


def _no_entries(answers: Answers) -> str:
    return answers.unread.get("entries", "no model has an entry")


def _always_null(answers: Answers) -> Outcome:
    fields = answers.schema.types.get("V2Submission", {}) if answers.schema else {}
    names = [name for name in ("status", "errorInfo") if name in fields]
    if not names:
        return None, "the schema does not show these fields"
    alive = [name for name in names if fields[name].deprecated is None]
    return not alive, f"not deprecated: {', '.join(alive)}" if alive else "both are deprecated"


def _times_ordered(answers: Answers) -> Outcome:
    fits = [round_.opens < round_.deadline <= round_.closes for round_ in answers.rounds]
    return _count([*fits, *[False] * answers.odd_rounds], "rounds", _no_rounds(answers))


def _lasts(least: timedelta, length: Callable[[RoundRow], timedelta]) -> Callable[[Answers], Outcome]:
    """Whether something of the latest round of each tournament that has opened lasts long enough."""

    def check(answers: Answers) -> Outcome:
        opened = sorted((row for row in answers.rounds if row.opens <= answers.now), key=lambda row: row.number)
        latest = {_name(row.tournament): length(row) for row in opened}
        if not latest:
            return None, _no_rounds(answers)
        words = ", ".join(f"{name} {long.total_seconds() / 3600:.3g} h" for name, long in latest.items())
        return all(long >= least for long in latest.values()), words

    return check


def _closes_at_next_opening(answers: Answers) -> Outcome:
    opens = {(row.tournament, row.number): row.opens for row in answers.rounds}
    following = [(row, opens.get((row.tournament, row.number + 1))) for row in answers.rounds]
    near = [abs(opening - row.closes) <= NEAR for row, opening in following if opening is not None]
    return _count(near, "rounds", "no two rounds in a row are listed")


def _round_zero(answers: Answers) -> Outcome:
    if not answers.round_zero:
        return None, "no round is between its deadline and its close now; ask again then"
    given = all(answers.round_zero.values())
    return given, "it gives a round" if given else "it gives none"


def _datestamp(answers: Answers) -> Outcome:
    days = [(row.datestamp, row.opens - timedelta(days=1)) for row in answers.rounds if row.datestamp]
    fits = [stamp == int(f"{day:%Y%m%d}") for stamp, day in days]
    return _count(fits, "rounds", "no round shows a dataDatestamp")


def _entry_words(answers: Answers) -> Outcome:
    if not answers.entries:
        return None, _no_entries(answers)
    words = Counter(str(entry.status) for entry in answers.entries)
    unknown = set(words) - {status.value for status in EntryStatus}
    return not unknown, ", ".join(f"{count} {word}" for word, count in sorted(words.items()))


def _entry_per_round(answers: Answers) -> Outcome:
    if not answers.entries:
        return None, _no_entries(answers)
    counts = Counter((entry.model_id, entry.round_number) for entry in answers.entries)
    twice = sum(count > 1 for count in counts.values())
    return not twice, f"{twice} rounds have several" if twice else "one each"


def _entry_times(answers: Answers) -> Outcome:
    fits = []
    for entry in answers.entries:
        round_ = answers.round_of(entry)
        if round_ is not None and entry.moment is not None:
            if entry.status == "on-time":
                fits.append(entry.moment < round_.deadline + DATE_STEP)
            elif entry.status == "late":
                fits.append(entry.moment >= round_.deadline - DATE_STEP)
    return _count(fits, "entries", "no entry of a listed round has a time")


def _listed(field: str) -> Callable[[Answers], Outcome]:
    """Whether `submissions` lists a file with the same value in a field."""

    def check(answers: Answers) -> Outcome:
        known = {(file.model_id, getattr(file, field)) for file in answers.files}
        fits = [(entry.model_id, getattr(entry, field)) in known for entry in _comparable(answers)]
        return _count(fits, "entries", "no entry can be compared with a listed file")

    return check


def _comparable(answers: Answers) -> list[EntryRow]:
    """The entries that `submissions` should list: as far back as it reaches, and no clones."""
    oldest: dict[str, datetime] = {}
    for file in answers.files:
        if file.moment is not None:
            oldest[file.model_id] = min(file.moment, oldest.get(file.model_id, file.moment))
    clones = {clone.entry for clone in answers.clones()}
    return [
        entry
        for entry in answers.entries
        if entry.moment is not None
        and entry.model_id in oldest
        and entry.moment >= oldest[entry.model_id] - DATE_STEP
        and entry not in clones
    ]


def _late_queued(answers: Answers) -> Outcome:
    before = {(entry.model_id, entry.round_number + 1): entry for entry in answers.entries}
    queued = [(entry, before.get((entry.model_id, entry.round_number))) for entry in answers.entries]
    fits = [
        last is None or last.status == "on-time" or (last.status, last.id) == ("late", entry.id)
        for entry, last in queued
        if entry.status == "queued"
    ]
    return _count(fits, "queued entries", "nothing is queued now")


def _clone(answers: Answers) -> Outcome:
    fits = []
    for clone in answers.clones():
        entry, round_ = clone.entry, answers.round_of(clone.entry)
        near = round_ is None or entry.moment is None or abs(entry.moment - round_.opens) <= NEAR
        fits.append(entry.status == "on-time" and entry.id != clone.original_id and near)
    return _count(fits, "clones", "no queued file was submitted again in the rounds listed")


def _clones_listed(answers: Answers) -> Outcome:
    entries = [clone.entry for clone in answers.clones()]
    fits = [answers.file(entry.model_id, entry.id) is not None for entry in entries]
    return _count(fits, "clones", "there is no clone to look for")


def _clone_trigger(answers: Answers) -> Outcome:
    kept = []
    for clone in answers.clones():
        original = answers.file(clone.entry.model_id, clone.original_id)
        copy = answers.file(clone.entry.model_id, clone.entry.id)
        if original and copy and original.trigger_id:
            kept.append(original.trigger_id == copy.trigger_id)
    if not kept:
        return None, "there is no listed clone of a file with a trigger id"
    return not any(kept), f"{sum(kept)} of {len(kept)} clones keep it"


def _data_listed(answers: Answers) -> Outcome:
    if not any(answers.datasets.values()):
        return None, answers.unread.get("datasets", "nothing is listed")
    words, whole = [], True
    for tournament, names in answers.datasets.items():
        versions: dict[str, set[str]] = {}
        for name in names:
            version, _, file = name.rpartition("/")
            versions.setdefault(version, set()).add(file)
        listed = []
        for version, files in sorted(versions.items()):
            lacking = tournament == Tournament.CLASSIC and not files >= CLASSIC_FILES
            listed.append(f"{version} ({len(files & CLASSIC_FILES)} of 12 files)" if lacking else version)
        words.append(f"{_name(tournament)} {' and '.join(listed) or 'nothing'}")
        whole &= any({"live.parquet", "train.parquet"} <= files for files in versions.values())
    return whole, ", ".join(words)


def _webhook_or_pickle(answers: Answers) -> Outcome:
    if not answers.models:
        return None, answers.unread.get("models", "the account has no model")
    both = sorted(model.name for model in answers.models if model.webhook and model.pickle)
    pickles = sum(model.pickle for model in answers.models)
    return not both, f"both: {', '.join(both)}" if both else f"{pickles} of {len(answers.models)} models have a pickle"


def _scopes(answers: Answers) -> Outcome:
    if answers.scopes is None:
        return None, answers.unread.get("token_info", "the API does not say")
    unknown = sorted(set(answers.scopes) - set(SCOPES))
    return not unknown, ", ".join(unknown or sorted(answers.scopes))


def _name(tournament: int) -> str:
    return Tournament(tournament).title


CHECKS: dict[str, Callable[[Answers], Outcome]] = {
    "always-null": _always_null,
    "times-ordered": _times_ordered,
    "window-one-hour": _lasts(timedelta(hours=1), lambda round_: round_.deadline - round_.opens),
    "late-period": _lasts(LATE_PERIOD, lambda round_: round_.closes - round_.deadline),
    "closes-at-next-opening": _closes_at_next_opening,
    "round-zero": _round_zero,
    "datestamp-day-before": _datestamp,
    "entry-words": _entry_words,
    "entry-per-round": _entry_per_round,
    "entry-times": _entry_times,
    "entry-ids": _listed("id"),
    "entry-filenames": _listed("filename"),
    "late-queued": _late_queued,
    "clone-at-opening": _clone,
    "clones-listed": _clones_listed,
    "clone-trigger": _clone_trigger,
    "data-listed": _data_listed,
    "webhook-or-pickle": _webhook_or_pickle,
    "scopes-known": _scopes,
}
"""What looks at each rule; that of the requests, which has a finding for each difference, is apart."""
