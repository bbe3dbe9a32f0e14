"""Tournaments, rounds and the state of Numerai's pipeline."""

from __future__ import annotations

import datetime as dt

from ..refusal import Refusal
from ..rounds import TOURNAMENTS
from .caller import Caller
from .views import TARGETS, View, round_mention, round_view

NO_ROUND = "Current round not open for submissions"
_NAMES = {8: "numerai", 11: "signals", 12: "crypto"}


def tournaments(caller: Caller) -> list[View]:
    """Every tournament with its rounds."""
    return [
        {
            "id": str(number),
            "name": name,
            "tournament": number,
            "active": True,
            "rounds": [round_view(caller.sandbox, each) for each in caller.sandbox.rounds.all(number)],
        }
        for number, name in _NAMES.items()
    ]


def rounds(
    caller: Caller,
    tournament: int | None = None,
    number: int | None = None,
    status: str | None = None,
    target: str | None = None,
    limit: int | None = None,
) -> list[View]:
    """The rounds that fit, newest first; number 0 stands for the current round. Source: numerapi 3.1.1.

    `rounds(tournament: 8, status: OPEN, limit: 1)` is how docs.numer.ai asks for the open round.
    """
    held = caller.sandbox.rounds
    chosen = TOURNAMENTS if tournament is None else (tournament,)
    if number == 0:
        found = [current for each in chosen if (current := held.current(each)) is not None]
        if not found:
            raise Refusal(NO_ROUND)
    elif status == "UPCOMING":
        found = [held.upcoming(each) for each in chosen if each in TOURNAMENTS]
    else:
        found = [each for each in held.all(tournament) if number is None or each.number == number]
    fitting = [
        each
        for each in found
        if (status is None or held.status(each) == status) and (target is None or TARGETS[each.tournament] == target)
    ]
    return [round_view(caller.sandbox, each) for each in fitting[:limit]]


def round_details(caller: Caller, round_number: int, tournament: int) -> View:
    """How a round stands."""
    sandbox = caller.sandbox
    round_ = sandbox.rounds.get(tournament, round_number) if tournament in TOURNAMENTS else None
    if round_ is None:
        raise Refusal("Round not found")
    models = {
        each.model_id
        for each in sandbox.submissions.all()
        if (each.tournament, each.round_number) == (tournament, round_number)
    }
    status = sandbox.rounds.status(round_)
    return {
        **round_view(sandbox, round_),
        **round_mention(round_),
        "status": status.lower(),
        "totalSubmitted": len(models),
        "totalStakes": 0,
        "totalAtStake": 0.0,
        "roundResolved": status == "RESOLVED",
    }


def pipeline_status(caller: Caller, date: str | None = None, tournament: str = "classic") -> View:
    """What the scoring pipeline did on a day, at made-up hours: data are ready at 11:00 UTC, scores come at 21:00."""
    now = caller.sandbox.clock.now()
    try:
        day = dt.date.fromisoformat(date) if date else now.date()
    except ValueError:
        raise Refusal(f"'{date}' is not a date like 2026-01-31") from None
    scoring = day.weekday() not in (6, 0)

    def reached(hour: int) -> dt.datetime | None:
        moment = dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.timezone.utc)
        return moment if scoring and moment <= now else None

    return {
        "dataReadyAt": reached(11),
        "startedAt": reached(20),
        "scoredAt": reached(21),
        "resolvedAt": reached(22),
        "isScoringDay": scoring,
        "tournament": tournament,
    }
