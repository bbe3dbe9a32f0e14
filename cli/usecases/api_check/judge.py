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


def judge(answers: Answers) -> list[Finding]:
    """Every rule, as far as the answers tell."""
    checks = (
        _always_null,
        _times_ordered,
        _window,
        _late_period,
        _closes_at_next_opening,
        _round_zero,
        _datestamp,
        _entry_words,
        _entry_per_round,
        _entry_times,
        _entry_ids,
        _entry_filenames,
        _late_queued,
        _clone,
        _clones_listed,
        _clone_trigger,
        _data_listed,
        _webhook_or_pickle,
        _scopes,
    )
    return [*_requests_valid(answers), *(check(answers) for check in checks)]


def _requests_valid(answers: Answers) -> Iterator[Finding]:
    schema = answers.schema
    found: dict[Difference, list[str]] = {}
    for name, request in answers.requests.items():
        for difference in differences(request, schema) if schema else _tried_differences(answers.tried.get(name)):
            found.setdefault(difference, []).append(name)
    for difference, names in found.items():
        yield _of_difference(difference, sorted(set(names)))
    not_tried = sorted(name for name, met in answers.tried.items() if met == NOT_TRIED)
    gone = any(difference.change is not Change.DEPRECATED for difference in found)
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


def _always_null(answers: Answers) -> Finding:
    fields = answers.schema.types.get("V2Submission", {}) if answers.schema else {}
    names = [name for name in ("status", "errorInfo") if name in fields]
    if not names:
        return _unchecked("always-null", "the schema does not show these fields")
    alive = [name for name in names if fields[name].deprecated is None]
    return _verdict("always-null", not alive, f"not deprecated: {', '.join(alive)}" if alive else "both are deprecated")


def _times_ordered(answers: Answers) -> Finding:
    total = len(answers.rounds) + answers.odd_rounds
    if not total:
        return _no_rounds("times-ordered", answers)
    fitting = sum(round_.opens < round_.deadline <= round_.closes for round_ in answers.rounds)
    return _count("times-ordered", fitting, total, "rounds")


def _window(answers: Answers) -> Finding:
    return _of_latest("window-one-hour", answers, timedelta(hours=1), lambda round_: round_.deadline - round_.opens)


def _late_period(answers: Answers) -> Finding:
    return _of_latest("late-period", answers, LATE_PERIOD, lambda round_: round_.closes - round_.deadline)


def _of_latest(rule: str, answers: Answers, least: timedelta, length: Callable[[RoundRow], timedelta]) -> Finding:
    """Whether something of the latest round of each tournament that has opened lasts long enough."""
    opened = sorted((row for row in answers.rounds if row.opens <= answers.now), key=lambda row: row.number)
    latest = {row.tournament: length(row) for row in opened}
    if not latest:
        return _no_rounds(rule, answers)
    words = ", ".join(f"{_name(tournament)} {long.total_seconds() / 3600:.3g} h" for tournament, long in latest.items())
    return _verdict(rule, all(long >= least for long in latest.values()), words)


def _closes_at_next_opening(answers: Answers) -> Finding:
    by_number = {(row.tournament, row.number): row for row in answers.rounds}
    pairs = [
        (row, following)
        for (tournament, number), row in by_number.items()
        if (following := by_number.get((tournament, number + 1))) is not None
    ]
    if not pairs:
        return _unchecked("closes-at-next-opening", "no two rounds in a row are listed")
    near = sum(abs(following.opens - row.closes) <= NEAR for row, following in pairs)
    return _count("closes-at-next-opening", near, len(pairs), "rounds")


def _round_zero(answers: Answers) -> Finding:
    if not answers.round_zero:
        return _unchecked("round-zero", "no round is between its deadline and its close now; ask again then")
    given = all(answers.round_zero.values())
    return _verdict("round-zero", given, "it gives a round" if given else "it gives none")


def _datestamp(answers: Answers) -> Finding:
    stamped = [row for row in answers.rounds if row.datestamp]
    if not stamped:
        return _unchecked("datestamp-day-before", "no round shows a dataDatestamp")
    fitting = sum(row.datestamp == int(f"{row.opens - timedelta(days=1):%Y%m%d}") for row in stamped)
    return _count("datestamp-day-before", fitting, len(stamped), "rounds")


def _entry_words(answers: Answers) -> Finding:
    if not answers.entries:
        return _no_entries("entry-words", answers)
    words = Counter(str(entry.status) for entry in answers.entries)
    unknown = set(words) - {status.value for status in EntryStatus}
    return _verdict("entry-words", not unknown, ", ".join(f"{count} {word}" for word, count in sorted(words.items())))


def _entry_per_round(answers: Answers) -> Finding:
    if not answers.entries:
        return _no_entries("entry-per-round", answers)
    counts = Counter((entry.model_id, entry.round_number) for entry in answers.entries)
    twice = sum(count > 1 for count in counts.values())
    return _verdict("entry-per-round", not twice, f"{twice} rounds have several" if twice else "one each")


def _entry_times(answers: Answers) -> Finding:
    fitting = total = 0
    for entry in answers.entries:
        round_ = answers.round_of(entry)
        if round_ is None or entry.moment is None or entry.status not in ("on-time", "late"):
            continue
        total += 1
        if entry.status == "on-time":
            fitting += entry.moment < round_.deadline + DATE_STEP
        else:
            fitting += entry.moment >= round_.deadline - DATE_STEP
    if not total:
        return _unchecked("entry-times", "no entry of a listed round has a time")
    return _count("entry-times", fitting, total, "entries")


def _entry_ids(answers: Answers) -> Finding:
    known = {(file.model_id, file.id) for file in answers.files}
    comparable = _comparable(answers)
    return _shared("entry-ids", [(entry.model_id, entry.id) in known for entry in comparable])


def _entry_filenames(answers: Answers) -> Finding:
    known = {(file.model_id, file.filename) for file in answers.files}
    comparable = _comparable(answers)
    return _shared("entry-filenames", [(entry.model_id, entry.filename) in known for entry in comparable])


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


def _shared(rule: str, listed: Sequence[bool]) -> Finding:
    if not listed:
        return _unchecked(rule, "no entry can be compared with a listed file")
    return _count(rule, sum(listed), len(listed), "entries")


def _late_queued(answers: Answers) -> Finding:
    before = {(entry.model_id, entry.round_number): entry for entry in answers.entries}
    queued = [entry for entry in answers.entries if entry.status == "queued"]
    if not queued:
        return _unchecked("late-queued", "nothing is queued now")
    fitting = 0
    for entry in queued:
        last = before.get((entry.model_id, entry.round_number - 1))
        fitting += last is None or last.status == "on-time" or (last.status, last.id) == ("late", entry.id)
    return _count("late-queued", fitting, len(queued), "queued entries")


def _clone(answers: Answers) -> Finding:
    clones = answers.clones()
    if not clones:
        return _unchecked("clone-at-opening", "no queued file was submitted again in the rounds listed")
    fitting = 0
    for clone in clones:
        entry, round_ = clone.entry, answers.round_of(clone.entry)
        near = round_ is None or entry.moment is None or abs(entry.moment - round_.opens) <= NEAR
        fitting += entry.status == "on-time" and entry.id != clone.original_id and near
    return _count("clone-at-opening", fitting, len(clones), "clones")


def _clones_listed(answers: Answers) -> Finding:
    clones = [clone.entry for clone in answers.clones()]
    if not clones:
        return _unchecked("clones-listed", "there is no clone to look for")
    listed = sum(answers.file(entry.model_id, entry.id) is not None for entry in clones)
    return _count("clones-listed", listed, len(clones), "clones")


def _clone_trigger(answers: Answers) -> Finding:
    kept = []
    for clone in answers.clones():
        original = answers.file(clone.entry.model_id, clone.original_id)
        copy = answers.file(clone.entry.model_id, clone.entry.id)
        if original and copy and original.trigger_id:
            kept.append(original.trigger_id == copy.trigger_id)
    if not kept:
        return _unchecked("clone-trigger", "there is no listed clone of a file with a trigger id")
    return _verdict("clone-trigger", not any(kept), f"{sum(kept)} of {len(kept)} clones keep it")


def _data_listed(answers: Answers) -> Finding:
    if not any(answers.datasets.values()):
        return _unchecked("data-listed", answers.unread.get("datasets", "nothing is listed"))
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
    return _verdict("data-listed", whole, ", ".join(words))


def _webhook_or_pickle(answers: Answers) -> Finding:
    if not answers.models:
        return _unchecked("webhook-or-pickle", answers.unread.get("models", "the account has no model"))
    both = sorted(model.name for model in answers.models if model.webhook and model.pickle)
    pickles = sum(model.pickle for model in answers.models)
    why = f"both: {', '.join(both)}" if both else f"{pickles} of {len(answers.models)} models have a pickle"
    return _verdict("webhook-or-pickle", not both, why)


def _scopes(answers: Answers) -> Finding:
    if answers.scopes is None:
        return _unchecked("scopes-known", answers.unread.get("token_info", "the API does not say"))
    unknown = sorted(set(answers.scopes) - set(SCOPES))
    return _verdict("scopes-known", not unknown, ", ".join(unknown or sorted(answers.scopes)))


def _name(tournament: int) -> str:
    return Tournament(tournament).name.capitalize()


def _no_rounds(rule: str, answers: Answers) -> Finding:
    return _unchecked(rule, answers.unread.get("rounds", "no round is listed"))


def _no_entries(rule: str, answers: Answers) -> Finding:
    return _unchecked(rule, answers.unread.get("entries", "no model has an entry"))


def _unchecked(rule: str, why: str) -> Finding:
    return Finding(rule, Verdict.UNCHECKED, why)


def _count(rule: str, fitting: int, total: int, what: str) -> Finding:
    return _verdict(rule, fitting == total, f"{fitting} of {total} {what}")


def _verdict(rule: str, holds: bool, why: str) -> Finding:
    if holds:
        return Finding(rule, Verdict.AGREES, why)
    known = RULES[rule]
    return Finding(rule, Verdict.DIFFERS, why, known.consequence, broken=not known.harmless)
