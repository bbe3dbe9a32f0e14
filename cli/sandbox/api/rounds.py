"""Tournaments, rounds and the state of Numerai's pipeline."""

from __future__ import annotations

import datetime as dt

from ..refusal import Refusal
from ..rounds import TOURNAMENTS, resolve_time, score_time
from ..submissions import SUCCESS
from .caller import Caller
from .views import TARGETS, View, round_view

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
    """The rounds that fit, newest first; number 0 stands for the round that is open now."""
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


def round_details(caller: Caller, roundNumber: int, tournament: int) -> View:  # noqa: N803 the API's own name
    """How a round stands."""
    held = caller.sandbox.rounds
    found = held.get(tournament, roundNumber) if tournament in TOURNAMENTS else None
    if found is None:
        raise Refusal("Round not found")
    models = {
        each.model_id
        for each in caller.sandbox.submissions.all()
        if (each.tournament, each.round_number, each.status) == (tournament, roundNumber, SUCCESS)
    }
    return {
        "roundId": found.id,
        "roundNumber": found.number,
        "tournament": found.tournament,
        "status": held.status(found).lower(),
        "openTime": found.open_time,
        "closeTime": found.close_time,
        "scoreTime": score_time(found),
        "roundResolveTime": resolve_time(found),
        "totalSubmitted": len(models),
        "totalStakes": 0,
        "totalAtStake": 0.0,
        "payoutFactor": "0.0",
    }


def pipeline_status(caller: Caller, date: str | None = None, tournament: str = "classic") -> View:
    """What the scoring pipeline did on a day: data are ready at 11:00 UTC, scores come at 21:00."""
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
