"""A change as data: steps that can be shown before they are carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Step = tuple[str, Callable[[], object]]
"""One step, in words and as what does it."""


@dataclass(frozen=True)
class Plan:
    """The steps of a change in the order in which they are carried out, and what should be known before."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """Every step in words."""
        return [words for words, _ in self.steps]

    def carry_out(self, report: Callable[[str], None]) -> None:
        """Do the steps one by one, saying each before it is done."""
        for words, do in self.steps:
            report(words)
            do()
