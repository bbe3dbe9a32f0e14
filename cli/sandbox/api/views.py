"""Records as the GraphQL schema names them."""

from __future__ import annotations

from datetime import timedelta

from ..core import Sandbox
from ..records import DiagnosticsRecord, ModelRecord, PickleRecord, RoundRecord, SubmissionRecord
from ..rounds import resolve_time, score_time
from ..scores import DAYS, METRICS, Score

View = dict[str, object]

TARGETS = {8: "ender_20", 11: "target_20d", 12: "target_30d"}
_METRIC_MULTIPLIERS = {"canon_corr": 0.75, "canon_mmc": 2.25}


def round_view(sandbox: Sandbox, found: RoundRecord) -> View:
    """A round."""
    resolved = sandbox.rounds.status(found) == "RESOLVED"
    return {
        "id": found.id,
        "number": found.number,
        "tournament": found.tournament,
        "target": TARGETS[found.tournament],
        "isDaily": True,
        "dataDatestamp": found.data_datestamp,
        "openTime": found.open_time,
        "closeTime": found.close_time,
        "closeStakingTime": found.close_time,
        "scoreTime": score_time(found),
        "resolveTime": resolve_time(found),
        "resolvedGeneral": resolved,
        "resolvedStaking": resolved,
        "payoutFactor": "0.0",
        "stakeThreshold": 0.0,
        "minCorrMultiplier": 0.0,
        "maxCorrMultiplier": 1.0,
        "defaultCorrMultiplier": _METRIC_MULTIPLIERS["canon_corr"],
        "minMmcMultiplier": 0.0,
        "maxMmcMultiplier": 3.0,
        "defaultMmcMultiplier": _METRIC_MULTIPLIERS["canon_mmc"],
        "minTcMultiplier": 0.0,
        "maxTcMultiplier": 0.0,
        "defaultTcMultiplier": 0.0,
        "roundScoreConfigs": lambda *_: [_score_config(found, name) for name in METRICS],
    }


def _score_config(found: RoundRecord, metric: str) -> View:
    return {
        "id": f"{found.id}-{metric}",
        "scoreConfigId": metric,
        "roundNumberStart": 1,
        "roundNumberEnd": None,
        "name": metric.removeprefix("canon_"),
        "version": METRICS[metric],
        "displayName": metric,
        "totalScoreDays": DAYS,
        "returnsLagDays": 2,
        "dataDelayDays": 1,
        "universe": TARGETS[found.tournament],
        "isCanonScore": True,
        "isPayout": True,
        "scoringStart": score_time(found),
        "scoringEnd": resolve_time(found),
        "minMultiplier": 0.0,
        "maxMultiplier": 3.0,
        "defaultMultiplier": _METRIC_MULTIPLIERS[metric],
        "clipThreshold": 0.05,
        "stakeThreshold": 0.0,
        "payoutFactor": 0.0,
    }


def payout_multipliers(found: RoundRecord) -> list[View]:
    """What each metric weighs in a round."""
    return [
        {
            "id": f"{found.id}-{metric}",
            "scoreConfigId": metric,
            "name": metric.removeprefix("canon_"),
            "version": version,
            "displayName": metric,
            "multiplier": _METRIC_MULTIPLIERS[metric],
        }
        for metric, version in METRICS.items()
    ]


def submission_view(sandbox: Sandbox, found: SubmissionRecord) -> View:
    """A submission."""
    held = sandbox.rounds.get(found.tournament, found.round_number)
    selected = sandbox.submissions.selected(found.model_id, found.round_number)
    accepted, submitted = found.accepted_count, found.submitted_count
    return {
        "id": found.id,
        "filename": found.filename,
        "insertedAt": found.inserted_at,
        "status": found.status,
        "selected": selected is not None and selected.id == found.id,
        "triggerId": found.trigger_id,
        "errorInfo": found.error,
        "dataDatestamp": found.data_datestamp,
        "round": None if held is None else round_view(sandbox, held),
        "sourcePlatform": found.source,
        "tickersAcceptedCount": accepted,
        "tickersSubmittedCount": submitted,
        "submittedCount": submitted,
        "filteredCount": None if accepted is None or submitted is None else submitted - accepted,
        "invalidTickers": ",".join(found.invalid_tickers) or None,
        "firstEffectiveDate": None if held is None else (held.open_time + timedelta(days=1)).date(),
    }


def latest_submission_view(sandbox: Sandbox, found: SubmissionRecord) -> View:
    """A submission beside the days of its round."""
    held = sandbox.rounds.get(found.tournament, found.round_number)
    return {
        "id": found.id,
        "roundNumber": found.round_number,
        "roundOpen": None if held is None else held.open_time.date(),
        "roundClose": None if held is None else held.close_time.date(),
        "roundCloseStaking": None if held is None else held.close_time.date(),
        "filename": found.filename,
        "status": found.status,
        "timestamp": found.inserted_at,
    }


def model_view(sandbox: Sandbox, model: ModelRecord) -> View:
    """A model slot as its owner sees it."""
    return {
        "id": model.id,
        "name": model.name,
        "username": model.name,
        "tournament": model.tournament,
        "accountId": sandbox.settings.username,
        "archived": False,
        "hidden": False,
        "insertedAt": model.inserted_at,
        "submissionWebhook": model.webhook,
        "computeEnabled": model.webhook is not None,
        "isComputeWeekdayEnabled": model.webhook is not None,
        "v2Stake": None,
        "record": model,
    }


def score_view(score: Score) -> View:
    """A score."""
    return {
        "date": score.date,
        "day": score.day,
        "displayName": score.metric,
        "value": score.value,
        "percentile": score.percentile,
        "version": METRICS[score.metric],
        "resolved": score.resolved,
        "resolveDate": resolve_time(score.round),
        "payoutPending": "0",
        "payoutSettled": "0",
        "roundId": score.round.id,
        "roundNumber": score.round.number,
        "roundScoreTime": score_time(score.round),
        "roundResolveTime": resolve_time(score.round),
        "roundCloseStakingTime": score.round.close_time,
        "submissionId": score.submission.id,
    }


def diagnostics_view(found: DiagnosticsRecord) -> View:
    """A diagnostics run."""
    return {
        "id": found.id,
        "status": found.status,
        "message": found.message,
        "filename": found.filename,
        "insertedAt": found.inserted_at,
        "updatedAt": found.updated_at,
        "tournament": found.tournament,
        "trainedOnVal": False,
        "erasMissing": [],
        "perEraDiagnostics": [dict(era) for era in found.per_era],
        **found.results,
    }


def pickle_view(found: PickleRecord) -> View:
    """An uploaded model."""
    return {
        "id": found.id,
        "filename": found.filename,
        "label": found.filename,
        "modelId": found.model_id,
        "insertedAt": found.inserted_at,
        "updatedAt": found.inserted_at,
        "dataVersionId": found.data_version_id,
        "dockerImageId": found.docker_image_id,
        "triggerStatus": None,
        "validationStatus": "pending",
        "diagnosticsStatus": None,
        "assignedModelSlots": [found.model_id] if found.model_id else [],
    }
