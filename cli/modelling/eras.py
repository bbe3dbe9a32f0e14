"""Eras in time: their order, splits that never share one, walk-forward blocks, and the purge between the two sides.

Eras are strings as in the data, "0001", and compared as numbers. Pure, and standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from ..counting import counted
from ..errors import UsageError

BLOCK = 156
"""Eras that Numerai's benchmark models predict before they are trained again: three years of weeks.
Source: docs.numer.ai/numerai-tournament/models, Walk Forward Cross Validation."""
FIRST_PREDICTED = 157
"""The first era that those models predict: trained on 1-148, they predict 157-312, and so on. Source: the same page."""
PURGES = {20: 8, 60: 16}
"""Eras left out between training and what follows, by the days that a target looks ahead.
Source: the same page."""

_ERA = re.compile(r"(?:era_?)?(\d{1,9})")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HORIZON = re.compile(r"_(\d+)d?$")


@dataclass(frozen=True)
class Split:
    """The eras to train on and those to judge on, each in order. `purge` eras at least lie between them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    purge: int

    def __post_init__(self) -> None:
        check_apart(self.train, self.validation, self.purge)


def era_number(era: str) -> int:
    """The number of an era: 12 of "0012" and "era12"; of a date, as Signals has it, the number of its week.

    `UsageError` with code `bad-era` for what is none, e.g. "X", the era of live rows.
    """
    match = _ERA.fullmatch(era)
    if match:
        return int(match[1])
    if _DATE.fullmatch(era):
        try:
            return date.fromisoformat(era).toordinal() // 7
        except ValueError:
            pass
    raise UsageError(f"{era[:40]!r} is no era.", "Eras are numbers such as 0001, or dates.", code="bad-era")


def in_order(eras: Iterable[str]) -> list[str]:
    """The eras, each once, the earliest first. `UsageError` with code `bad-era` for what is none, for numbers and dates
    together, and for one number in two spellings."""
    ordered = sorted(set(eras), key=lambda era: (era_number(era), era))
    dates = [era for era in ordered if _DATE.fullmatch(era)]
    for one, other in pairwise(ordered):
        if not dates and era_number(one) == era_number(other):
            raise UsageError(
                f"{one} and {other} are one era, written in two ways.",
                "Write every era as Numerai does, as 0001: they would count as two.",
                code="bad-era",
            )
    if dates and len(dates) < len(ordered):
        number = next(era for era in ordered if era not in dates)
        raise UsageError(
            f"Era {number} is a number and era {dates[0]} a date: they have no order.",
            "Take both from one tournament.",
            code="bad-era",
        )
    return ordered


def purge_of(*targets: str) -> int:
    """How many eras to leave out after training on these targets: 8, or 16 where one looks more than 20 days ahead.

    The days are the number at the end of its name, `target_ender_60`; `target` itself looks 20 days ahead.
    """
    days = [int(match[1]) for target in targets if (match := _HORIZON.search(target))]
    return PURGES[20] if all(each <= 20 for each in days) else PURGES[60]


def every(eras: Iterable[str], step: int, offset: int = 0) -> list[str]:
    """Each `step`-th of the eras in order, from the one at `offset` on. Targets of neighbouring eras overlap, so every
    fourth holds most of what there is to learn (20-day targets, a new era each week)."""
    if step < 1 or not 0 <= offset < step:
        raise UsageError(f"Every {step}. era from {offset} on is no choice of eras.", "Give a step of at least 1.")
    return in_order(eras)[offset::step]


def split(eras: Iterable[str], validation: int, purge: int) -> Split:
    """The last `validation` eras to judge on, and all that end `purge` eras before them to train on.

    `UsageError` with code `too-few-eras` where that leaves nothing.
    """
    ordered = in_order(eras)
    if validation < 1:
        raise UsageError("At least one era must be held out.", code="too-few-eras")
    held = ordered[-validation:]
    first = era_number(held[0])
    train = [era for era in ordered[:-validation] if era_number(era) + purge < first]
    if not train:
        raise UsageError(
            f"{counted(len(ordered), 'era')}: too few to hold out {validation} after a purge of {purge}.",
            f"Hold out fewer, or give data with more than {validation + purge} eras.",
            code="too-few-eras",
        )
    return Split(tuple(train), tuple(held), purge)


def walk_forward(
    eras: Iterable[str], purge: int, *, block: int = BLOCK, first: int = FIRST_PREDICTED
) -> tuple[Split, ...]:
    """As Numerai's benchmark models go through time: blocks of `block` eras from era `first` on, each predicted by a
    model trained on all that ends `purge` eras before it. The last block may be shorter.

    `UsageError` with code `too-few-eras` where no block has anything to train on.
    """
    if block < 1:
        raise UsageError("A block has at least one era.", code="too-few-eras")
    ordered = in_order(eras)
    splits = []
    last = era_number(ordered[-1]) if ordered else 0
    for start in range(first, last + 1, block):
        predicted = tuple(era for era in ordered if start <= era_number(era) < start + block)
        train = tuple(era for era in ordered if era_number(era) + purge < start)
        if predicted and train:
            splits.append(Split(train, predicted, purge))
    if not splits:
        raise UsageError(
            f"In {counted(len(ordered), 'era')} there is no block of {block} from era {first} on with eras to train on"
            f" before a purge of {purge}.",
            "Give an earlier first era, or data with more eras.",
            code="too-few-eras",
        )
    return tuple(splits)


def check_apart(train: Iterable[str], validation: Sequence[str], purge: int) -> None:
    """Refuse what would judge a model on what it has seen: an era on both sides (`UsageError` with code
    `era-on-both-sides`), or one with fewer than `purge` eras between it and the other side (`purge-too-short`)."""
    seen, judged = in_order(train), in_order(validation)
    both = sorted(set(seen) & set(judged))
    if both:
        raise UsageError(
            f"{counted(len(both), 'era')} would be trained on and judged on: {_some(both)}.",
            "Take them from one of the two sides.",
            code="era-on-both-sides",
        )
    numbers = {era_number(era): era for era in seen}
    for era in judged:
        at = era_number(era)
        near = next((numbers[each] for each in range(at - purge, at + purge + 1) if each in numbers), None)
        if near is not None:
            raise UsageError(
                f"Era {era} is judged on, and era {near} is trained on: their targets overlap, so"
                f" {counted(purge, 'era')} must lie between them.",
                "Leave the eras between them out of training.",
                code="purge-too-short",
            )


def _some(eras: Sequence[str], most: int = 3) -> str:
    return ", ".join(eras[:most]) + (", ..." if len(eras) > most else "")
