"""Scores, performances and leaderboards. Their fields are the schema's; rivals, multipliers and returns are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from ..records import ModelRecord
from ..refusal import Refusal
from ..rounds import resolve_time, score_time
from ..scores import DAYS, Score, Standing
from .caller import Caller
from .views import TARGETS, View, payout_multipliers, score_view


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
    model = _model(caller, model_id, tournament)
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
    last_n_rounds: int | None = None,
    distinct_on_round: bool | None = None,
    submitted_only: bool | None = None,
    resolved_only: bool | None = None,
    round_number_eq: int | None = None,
    round_number_gte: int | None = None,
    round_number_lte: int | None = None,
    round_data_datestamp_gte: int | None = None,
    scored_within_last_n_days: int | None = None,
    resolved_within_last_n_days: int | None = None,
    limit: int | None = None,
    offset: int | None = None,
    tournament: int = 8,
) -> list[View]:
    """How a model did in each round, newest first."""
    model = _model(caller, model_id, tournament)
    sandbox = caller.sandbox
    now = sandbox.clock.now()
    by_round: dict[str, list[Score]] = {}
    for score in sandbox.scores.of_model(model):
        by_round.setdefault(score.round.id, []).append(score)
    views = []
    for held in sandbox.rounds.all(model.tournament)[:last_n_rounds]:
        submission = sandbox.submissions.selected(model.id, held.number)
        resolved = sandbox.rounds.status(held) == "RESOLVED"
        unwanted = (
            (submitted_only and submission is None)
            or (resolved_only and not resolved)
            or (round_number_eq is not None and held.number != round_number_eq)
            or (round_number_gte is not None and held.number < round_number_gte)
            or (round_number_lte is not None and held.number > round_number_lte)
            or (round_data_datestamp_gte is not None and held.data_datestamp < round_data_datestamp_gte)
            or (scored_within_last_n_days is not None and not _within(score_time(held), now, scored_within_last_n_days))
            or (
                resolved_within_last_n_days is not None
                and not _within(resolve_time(held), now, resolved_within_last_n_days)
            )
        )
        if unwanted:
            continue
        scores = by_round.get(held.id, [])
        last = max((score.day for score in scores), default=0)
        views.append(
            {
                "atRisk": "0",
                "corrMultiplier": 0.75,
                "mmcMultiplier": 2.25,
                "tcMultiplier": 0.0,
                "payoutMultipliers": payout_multipliers(held),
                "roundId": held.id,
                "roundNumber": held.number,
                "roundOpenTime": held.open_time,
                "roundDataDatestamp": held.data_datestamp,
                "roundScoreTime": score_time(held),
                "roundResolveTime": resolve_time(held),
                "roundCloseStakingTime": held.deadline,
                "roundPayoutFactor": "0.0",
                "roundResolved": resolved,
                "roundTarget": TARGETS[held.tournament],
                "submissionId": None if submission is None else submission.id,
                "submissionScores": [score_view(score) for score in scores if score.day == last],
                "intraRoundSubmissionScores": [score_view(score) for score in scores if score.day < DAYS],
            }
        )
    return _page(views, limit, offset)


def pending_model_payouts(caller: Caller, tournament: int) -> View:
    """Nothing is staked in the sandbox, so nothing is paid."""
    return {"actual": [], "pending": []}


def account_leaderboard(
    caller: Caller,
    limit: int | None = 500,
    offset: int | None = None,
    direction: str | None = None,
    filter_by: str | None = None,
    order_by: str | None = None,
    tournament: int = 8,
) -> list[View]:
    """Accounts by CORR: ours (its best model) and the made-up rivals."""
    ours = caller.sandbox.account.username
    best: dict[str, Standing] = {}
    for standing in caller.sandbox.scores.standings(tournament):
        best.setdefault(ours if standing.model else standing.name, standing)
    views = [
        {
            **_common(standing, place),
            "id": username,
            "username": username,
            "displayName": username,
            "corr": standing.corr,
            "mmc": standing.mmc,
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
    return _page(_directed(views, direction), limit, offset)


def leaderboard(tournament: int, scores: Callable[[Standing], View]) -> Callable[..., list[View]]:
    """A resolver of a model leaderboard; `scores` gives the fields that the tournament has of its own."""

    def resolve(
        caller: Caller,
        limit: int | None = None,
        offset: int | None = None,
        order_by: str | None = None,
        direction: str | None = None,
        filter_by: str | None = None,
    ) -> list[View]:
        standings = caller.sandbox.scores.standings(tournament)
        by_mmc = sorted(standings, key=lambda each: -(each.mmc if each.mmc is not None else -9))
        views = [{**_common(each, each.rank), "mmcRank": by_mmc.index(each) + 1, **scores(each)} for each in standings]
        return _page(_directed(views, direction), limit, offset)

    return resolve


def classic_scores(standing: Standing) -> View:
    """What the Classic leaderboard shows."""
    return {"corr20Rep": standing.corr, "corr20V2Rep": standing.corr, "mmcRep": standing.mmc}


def signals_scores(standing: Standing) -> View:
    """What the Signals leaderboard shows."""
    return {
        "prevRank": standing.rank,
        "mmc": standing.mmc,
        "mmcRep": standing.mmc,
        "icRep": standing.corr,
        "icRank": standing.rank,
    }


def crypto_scores(standing: Standing) -> View:
    """What the Crypto leaderboard shows."""
    return {"corrRep": standing.corr, "mmcRep": standing.mmc}


def _within(moment: datetime, now: datetime, days: int) -> bool:
    return now - timedelta(days=days) <= moment <= now


def _model(caller: Caller, model_id: str, tournament: int | None) -> ModelRecord:
    found = caller.sandbox.account.model(model_id)
    if tournament is not None and found.tournament != tournament:
        raise Refusal("Model not found")
    return found


def _common(standing: Standing, rank: int) -> View:
    return {
        "id": standing.model.id if standing.model else standing.name,
        "username": standing.name,
        "rank": rank,
        "nmrStaked": "0",
        "return1Day": 0.0,
        "return13Weeks": 0.0,
        "return52Weeks": 0.0,
        "team": False,
    }


def _directed(views: list[View], direction: str | None) -> list[View]:
    return views[::-1] if (direction or "").lower() == "asc" else views


def _page(views: Sequence[View], limit: int | None, offset: int | None) -> list[View]:
    start = offset or 0
    return list(views[start : None if limit is None else start + limit])
