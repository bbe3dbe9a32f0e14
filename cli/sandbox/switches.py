"""What is not known of Numerai: one switch for each question, so that everything can be tested both ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UsageError


@dataclass(frozen=True)
class Switches:
    """The sandbox's answer to each open question. The defaults are what seems likelier."""

    round_zero_after_deadline: bool = True
    """Between a round's deadline and its close, `rounds(number: 0)` and `rounds(status: OPEN)` still name it."""
    previous_ids_need_datestamp: bool = False
    """A file with the previous round's ids is taken only if its dataDatestamp names that round."""
    entry_ids_match: bool = True
    """`latestSubmissions` and `submissions` show the id that createSubmission returned; else only the filename
    matches."""
    clone_keeps_trigger: bool = False
    """The clone of a queued submission has the trigger id of its original."""
    clones_listed: bool = True
    """Clones are in `submissions`; else in `latestSubmissions` only."""
    entry_delay_seconds: float = 0.0
    """How long after createSubmission a submission appears in `latestSubmissions`, in seconds."""
    downloads_keep_ids: bool = True
    """submissionDownloadAuth gives a file with the ids that were sent; else with others, which Numerai mapped them
    to."""
    live_minutes_before_opening: float = 0.0
    """How long before a round's opening its live data come out, in minutes; with the calendar only."""
    webhook_repeats: int = 0
    """How often a round's webhook call that was not answered 200 is made again, under the same trigger id."""
    webhook_seconds: float = 30.0
    """How long a webhook may take to answer, in seconds."""
    trigger_round_is_test: bool = False
    """`triggerModelWebhook` sends the roundNumber "test", as the website's button does, not the round's number."""
    null_pickle_unassigns: bool = False
    """`assignPickleToModel` without a pickleId takes the assigned pickle away; else it is refused."""
    run_pickles: bool = True
    """Model uploads are really run, by this Python; else each gives the example predictions without being run."""
    pickle_validation: bool = True
    """Without running it, the validation of a model upload passes; else it fails."""
    pickle_seconds: float = 600.0
    """How long a model upload may run, in seconds."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, bool) and value < 0:
                raise UsageError(f"The switch {name} must be at least 0, not {value}.")


def parse_switches(entries: Iterable[str]) -> Switches:
    """Switches from words like `clones_listed=false` and `webhook_repeats=2`; `UsageError` for anything else."""
    defaults = asdict(Switches())
    chosen: dict[str, Any] = {}
    for entry in entries:
        name, _, text = entry.strip().partition("=")
        name = name.replace("-", "_")
        if name not in defaults:
            raise UsageError(f"There is no switch '{name}'.", f"Choose from: {', '.join(defaults)}.")
        chosen[name] = _parsed(name, text.lower(), defaults[name])
    return Switches(**chosen)


def _parsed(name: str, text: str, default: float) -> float:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text]
        return type(default)(text)
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(default, bool) else "a number"
        raise UsageError(f"The switch {name} must be {kind}, not '{text}'.") from None
