"""A change as data: steps that can be shown before they are carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The steps of a change in the order in which they are carried out, each in words and as what does it, and what
    should be known before."""

    steps: tuple[tuple[str, Callable[[], object]], ...]
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """Every step in words."""
        return [words for words, _ in self.steps]

    def carry_out(self, report: Callable[[str], None]) -> None:
        """Do the steps one by one, saying each before it is done."""
        for words, do in self.steps:
            report(words)
            do()
