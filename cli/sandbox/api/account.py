"""The account, its token and its models; public profiles."""

from __future__ import annotations

from typing import Any

from ..records import ModelRecord
from ..refusal import Refusal
from ..scores import Standing
from ..settings import ALL_SCOPES
from .caller import Caller
from .views import View, entry_view, model_view, own_fields, submission_view


def account(caller: Caller) -> View:
    """The account that the token belongs to."""
    ours = caller.sandbox.account
    return {
        "id": ours.username,
        "username": ours.username,
        "email": f"{ours.username}@example.com",
        "status": "VERIFIED",
        "mfaEnabled": False,
        "insertedAt": ours.token.inserted_at,
        "walletAddress": None,
        "availableNmr": "0",
        "models": [model_view(caller.sandbox, model) for model in ours.models()],
        "apiTokens": [_token(caller)],
    }


def api_token_info(caller: Caller) -> View:
    """What the token may do."""
    return {"accountUsername": caller.sandbox.account.username, **_token(caller)}


def api_token_scopes(caller: Caller) -> list[View]:
    """Every scope that a token may have."""
    return [{"name": scope, "description": scope.replace("_", " ")} for scope in ALL_SCOPES]


def model_name_available(caller: Caller, name: str, tournament: int) -> bool:
    """Whether a new slot may have that name."""
    return caller.sandbox.account.named(name, tournament) is None


def account_profile(caller: Caller, username: str, tournament: int = 8) -> View:
    """An account's public models."""
    ours = caller.sandbox.account
    if username != ours.username:
        raise Refusal("User not found")
    models = [model for model in ours.models() if model.tournament == tournament]
    return {
        "id": ours.username,
        "username": ours.username,
        "displayName": ours.username,
        "totalStake": "0",
        "startDate": ours.token.inserted_at,
        "models": [
            {
                **own_fields(model),
                "displayName": model.name,
                "username": model.name,
                "stake": "0",
                "startDate": model.inserted_at,
            }
            for model in models
        ],
    }


def v3_user_profile(caller: Caller, model_name: str, tournament: int = 8) -> View:
    """A model's public profile."""
    model = caller.sandbox.account.named(model_name, tournament)
    if model is None:
        raise Refusal("Model not found")
    return {
        **own_fields(model),
        "username": model.name,
        "accountName": caller.sandbox.account.username,
        "startDate": model.inserted_at,
        "computeEnabled": model.webhook is not None,
        "latestRanks": lambda *_: _ranks(_standing(caller, model)),
        "latestReps": lambda *_: own_fields(_standing(caller, model)),
        "latestReturns": {"oneDay": 0.0, "threeMonths": 0.0, "oneYear": 0.0, "allTime": 0.0},
        "dailyModelPerformances": lambda *_: _daily(caller, model),
    }


def model(caller: Caller, model_id: str | None = None) -> View:
    """One of the account's models."""
    return model_view(caller.sandbox, caller.sandbox.account.model(model_id))


def add_model(caller: Caller, name: str, tournament: int) -> View:
    """A new model slot."""
    return model_view(caller.sandbox, caller.sandbox.account.create_model(name, tournament))


def set_user_bio(caller: Caller, value: str, model_id: str | None = None) -> bool:
    """Change a model's bio."""
    ours = caller.sandbox.account
    ours.change(ours.model(model_id), bio=value)
    return True


def set_user_link(caller: Caller, link_url: str, link_text: str | None = None, model_id: str | None = None) -> bool:
    """Change a model's link."""
    ours = caller.sandbox.account
    ours.change(ours.model(model_id), link_url=link_url, link_text=link_text)
    return True


def model_submissions(caller: Caller, view: dict[str, Any]) -> list[View]:
    """Every submission of a model, newest first."""
    ours = caller.sandbox.submissions
    return [submission_view(caller.sandbox, each, ours.listed_id(each)) for each in ours.listed(view["record"].id)]


def model_latest_submission(caller: Caller, view: dict[str, Any]) -> list[View]:
    """The model's newest submission, as a list of at most one."""
    return model_submissions(caller, view)[:1]


def model_latest_submissions(caller: Caller, view: dict[str, Any], latest_n_rounds: int | None = 20) -> list[View]:
    """The model in each of the latest rounds, newest first."""
    record: ModelRecord = view["record"]
    return [entry_view(caller.sandbox, each) for each in caller.sandbox.submissions.entries(record, latest_n_rounds)]


def _token(caller: Caller) -> View:
    ours = caller.sandbox.account
    return {"name": "sandbox", "publicId": ours.token.public_id, "scopes": list(ours.scopes)}


def _standing(caller: Caller, wanted: ModelRecord) -> Standing:
    standings = caller.sandbox.scores.standings(wanted.tournament)
    return next(each for each in standings if each.model is not None and each.model.id == wanted.id)


def _ranks(standing: Standing) -> View:
    return {"corr": standing.rank, "mmc": standing.mmc_rank}


def _daily(caller: Caller, wanted: ModelRecord) -> list[View]:
    """One row for each round that has been scored, newest first."""
    by_round: dict[str, dict[str, Any]] = {}
    for score in caller.sandbox.scores.of_model(wanted):
        row = by_round.setdefault(score.round.id, {})
        rank = 1 + round((1 - score.percentile) * 10)
        name = score.metric.removeprefix("canon_")
        row |= {"date": score.date, f"{name}Rep": score.value, f"{name}Rank": rank}
        row |= {f"{name}20dRep": score.value, f"{name}20dRank": rank}
    return list(by_round.values())
