"""Scores, performances and leaderboards. Their fields are the schema's; rivals, multipliers and returns are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ..records import RoundRecord
from ..rounds import resolve_time, score_time
from ..scores import DAYS, Score, Standing
from .caller import Caller
from .views import View, own_fields, round_mention, score_configs, score_view


def submission_scores(
    caller: Caller,
    model_id: str,
    display_name: str | None = None,
    version: str | None = None,
    day: int | None = None,
    resolved: bool | None = None,
    last_n_rounds: int | None = None,
    distinct_on_round: bool | None = None,
    tournament: int | None = None,
) -> list[View]:
    """A model's scores, newest round first."""
    model = caller.sandbox.account.model(model_id, tournament)
    views = [score_view(score) for score in caller.sandbox.scores.of_model(model)]
    wanted = {"displayName": display_name, "version": version, "day": day, "resolved": resolved}
    views = [view for view in views if all(value is None or view[key] == value for key, value in wanted.items())]
    if last_n_rounds is not None:
        numbers = list(dict.fromkeys(view["roundNumber"] for view in views))[:last_n_rounds]
        views = [view for view in views if view["roundNumber"] in numbers]
    if distinct_on_round:
        views = list({(view["roundNumber"], view["displayName"]): view for view in views}.values())
    return views


def v2_round_model_performances(
    caller: Caller,
    model_id: str,
    tournament: int = 8,
    last_n_rounds: int | None = None,
    distinct_on_round: bool | None = None,
    limit: int | None = None,
    offset: int | None = None,
    **wanted: Any,
) -> list[View]:
    """How a model did in each round, newest first; `wanted` are the conditions of `_fits`."""
    model = caller.sandbox.account.model(model_id, tournament)
    sandbox = caller.sandbox
    by_round: dict[str, list[Score]] = {}
    for score in sandbox.scores.of_model(model):
        by_round.setdefault(score.round.id, []).append(score)
    views: list[View] = []
    for round_ in sandbox.rounds.all(model.tournament)[:last_n_rounds]:
        submission = sandbox.submissions.selected(model.id, round_.number)
        resolved = sandbox.rounds.status(round_) == "RESOLVED"
        if not _fits(round_, submission is not None, resolved, sandbox.clock.now(), wanted):
            continue
        scores = by_round.get(round_.id, [])
        last = max((score.day for score in scores), default=0)
        views.append(
            {
                **round_mention(round_),
                "atRisk": "0",
                "corrMultiplier": 0.75,
                "mmcMultiplier": 2.25,
                "tcMultiplier": 0.0,
                "payoutMultipliers": score_configs(round_),
                "roundResolved": resolved,
                "submissionId": None if submission is None else submission.id,
                "submissionScores": [score_view(score) for score in scores if score.day == last],
                "intraRoundSubmissionScores": [score_view(score) for score in scores if score.day < DAYS],
            }
        )
    return _page(views, limit, offset)


def _fits(round_: RoundRecord, submitted: bool, resolved: bool, now: datetime, wanted: Mapping[str, Any]) -> bool:
    """Whether a round meets every condition that is given, each an argument of `v2RoundModelPerformances`."""

    def lately(moment: datetime) -> Callable[[int], bool]:
        return lambda days: now - timedelta(days=days) <= moment <= now

    conditions: dict[str, Callable[[Any], bool]] = {
        "submitted_only": lambda only: submitted or not only,
        "resolved_only": lambda only: resolved or not only,
        "round_number_eq": lambda number: round_.number == number,
        "round_number_gte": lambda number: round_.number >= number,
        "round_number_lte": lambda number: round_.number <= number,
        "round_data_datestamp_gte": lambda day: round_.data_datestamp >= day,
        "scored_within_last_n_days": lately(score_time(round_)),
        "resolved_within_last_n_days": lately(resolve_time(round_)),
    }
    return all(conditions[name](value) for name, value in wanted.items() if value is not None)


def pending_model_payouts(caller: Caller, tournament: int) -> View:
    """Nothing is staked in the sandbox, so nothing is paid."""
    return {"actual": [], "pending": []}


def account_leaderboard(
    caller: Caller,
    limit: int | None = 500,
    offset: int | None = None,
    direction: str | None = None,
    tournament: int = 8,
    **_: Any,
) -> list[View]:
    """Accounts by CORR, whatever the order asked for: ours (its best model) and the made-up rivals."""
    ours = caller.sandbox.account.username
    best: dict[str, Standing] = {}
    for standing in caller.sandbox.scores.standings(tournament):
        best.setdefault(ours if standing.model else standing.name, standing)
    views = [
        {
            **_common(standing),
            "id": username,
            "username": username,
            "displayName": username,
            "rank": place,
            "v2Corr20": standing.corr,
            "return1y": 0.0,
            "return3m": 0.0,
            "returnAllTime": 0.0,
            "return1yNmr": "0",
            "return3mNmr": "0",
            "returnAllTimeNmr": "0",
        }
        for place, (username, standing) in enumerate(best.items(), 1)
    ]
    return _page(views, limit, offset, direction)


def leaderboard(tournament: int, scores: Callable[[Standing], View]) -> Callable[..., list[View]]:
    """A resolver of a model leaderboard; `scores` gives the fields that the tournament has of its own."""

    def resolve(
        caller: Caller, limit: int | None = None, offset: int | None = None, direction: str | None = None, **_: Any
    ) -> list[View]:
        views = [{**_common(each), **scores(each)} for each in caller.sandbox.scores.standings(tournament)]
        return _page(views, limit, offset, direction)

    return resolve


def classic_scores(standing: Standing) -> View:
    """What the Classic leaderboard shows."""
    return {"corr20Rep": standing.corr, "corr20V2Rep": standing.corr, "mmcRep": standing.mmc}


def signals_scores(standing: Standing) -> View:
    """What the Signals leaderboard shows."""
    return {"prevRank": standing.rank, "mmcRep": standing.mmc, "icRep": standing.corr, "icRank": standing.rank}


def crypto_scores(standing: Standing) -> View:
    """What the Crypto leaderboard shows."""
    return {"corrRep": standing.corr, "mmcRep": standing.mmc}


def _common(standing: Standing) -> View:
    return {
        **own_fields(standing),
        "id": standing.model.id if standing.model else standing.name,
        "username": standing.name,
        "nmrStaked": "0",
        "return1Day": 0.0,
        "return13Weeks": 0.0,
        "return52Weeks": 0.0,
        "team": False,
    }


def _page(views: list[View], limit: int | None, offset: int | None, direction: str | None = None) -> list[View]:
    start = offset or 0
    ordered = views[::-1] if (direction or "").lower() == "asc" else views
    return ordered[start : None if limit is None else start + limit]
