"""Feature sets and targets by name, as features.json has them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NumeraiError, UsageError


@dataclass(frozen=True)
class FeatureSets:
    """What a features.json holds: the features of each set by its name, and the names of the targets."""

    sets: dict[str, tuple[str, ...]]
    targets: tuple[str, ...]

    def features(self, *names: str) -> list[str]:
        """The features of these sets, each once, in the order of the sets as they are given.

        A name may be that of one feature. `UsageError` with code `unknown-feature-set`, which lists near ones.
        """
        known = {feature for features in self.sets.values() for feature in features}
        chosen: dict[str, None] = {}
        for name in names:
            if name in self.sets:
                chosen |= dict.fromkeys(self.sets[name])
            elif name in known:
                chosen[name] = None
            else:
                raise UsageError(
                    f"There is no feature set {name}.",
                    near(name, self.sets) or f"There are: {', '.join(self.sets)}.",
                    code="unknown-feature-set",
                )
        if not chosen:
            raise UsageError("No feature set is given.", f"There are: {', '.join(self.sets)}.", code="no-features")
        return list(chosen)

    def target(self, name: str) -> str:
        """The target of that name. `UsageError` with code `unknown-target`, which lists near ones."""
        if name not in self.targets:
            raise UsageError(
                f"There is no target {name}.",
                near(name, self.targets) or f"There are: {', '.join(self.targets)}.",
                code="unknown-target",
            )
        return name


def read_feature_sets(path: Path) -> FeatureSets:
    """What a features.json holds. `NumeraiError` with code `data-missing` where there is none, `data-unreadable` where
    it holds something else."""
    if not path.is_file():
        raise NumeraiError(f"There is no file {path}.", "`numerai data download features.json`", code="data-missing")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sets = {str(name): tuple(map(str, features)) for name, features in found["feature_sets"].items()}
        if any(isinstance(features, str) for features in found["feature_sets"].values()):
            raise TypeError("a set is a list")
        targets = tuple(map(str, found.get("targets", ())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NumeraiError(
            f"{path} holds no feature sets.",
            "Delete it and run `numerai data download features.json` again.",
            code="data-unreadable",
        ) from error
    return FeatureSets(sets, targets)


def near(name: str, known: Iterable[str], most: int = 3) -> str:
    """`Did you mean small?` for a name that is nearly a known one; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), most, cutoff=0.6)
    return f"Did you mean {_either(close)}?" if close else ""


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
