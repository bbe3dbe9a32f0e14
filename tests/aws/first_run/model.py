"""What a step is, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World


class Verdict(Enum):
    """How what AWS did compares with what is documented."""

    PROVEN = "as documented"
    OTHERWISE = "OTHERWISE"
    UNTOLD = "only an account can tell"
    ABSENT = "this version does not have it"
    FAILED = "FAILED"
    NOT_RUN = "not run"

    @property
    def bad(self) -> bool:
        """Whether the whole run has failed by it."""
        return self in (Verdict.OTHERWISE, Verdict.FAILED, Verdict.NOT_RUN)


@dataclass(frozen=True)
class Seen:
    """What a step saw: one sentence that is the same in every run, and its measures in words, which are not."""

    what: str
    verdict: Verdict = Verdict.PROVEN
    measured: str = ""


@dataclass(frozen=True)
class Step:
    """One thing to prove. `source` says where AWS documents what `expected` claims. What follows an `essential` step
    makes no sense without it. It `needs` so many seconds on an account at most, and is not begun when there are fewer
    left. `hidden` says why the emulator cannot show it."""

    name: str
    expected: str
    source: str
    prove: Callable[[World], Seen]
    essential: bool = False
    needs: float = 150
    hidden: str = ""


@dataclass(frozen=True)
class Proof:
    """A step and how it went; `seconds` is what it took."""

    step: Step
    seen: Seen
    seconds: float = 0.0


class NotAsSaid(Exception):
    """AWS did something else than what is documented; the text says what."""


class CannotStart(Exception):
    """Nothing was made, and nothing can be: the text says why and what to do."""
