"""Records as the GraphQL schema names them."""

from __future__ import annotations

from datetime import datetime

from ..core import Sandbox
from ..records import DiagnosticsRecord, ModelRecord, PickleRecord, RoundRecord, SubmissionRecord
from ..rounds import resolve_time, score_time
from ..scores import DAYS, METRICS, Score
from ..submissions import Entry

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
        "closeTime": shown_close(sandbox, found),
        "closeStakingTime": found.deadline,
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


def shown_close(sandbox: Sandbox, found: RoundRecord) -> datetime:
    """A round's closeTime as the API tells it: the end of the late period, usually the next opening.

    Source: a recorded answer of the API, 2025-09. The setting `close_is_deadline` brings the wrong meaning back.
    """
    return found.deadline if sandbox.settings.close_is_deadline else found.close_time


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


def submission_view(sandbox: Sandbox, found: SubmissionRecord, id: str | None = None) -> View:
    """A submission under its own id, or under the one given. Every field that is not here is always null.

    Source: the API's introspection, 2026, whose deprecations say "Always nil" of status, errorInfo and many others.
    """
    held = sandbox.rounds.get(found.tournament, found.round_number)
    selected = sandbox.submissions.selected(found.model_id, found.round_number)
    return {
        "id": id or found.id,
        "filename": found.filename,
        "insertedAt": found.inserted_at,
        "selected": selected is not None and selected.id == found.id,
        "triggerId": found.trigger_id,
        "dataDatestamp": found.data_datestamp,
        "round": None if held is None else round_view(sandbox, held),
        "sourcePlatform": found.source,
        "tickersAcceptedCount": found.accepted_count,
        "tickersSubmittedCount": found.submitted_count,
    }


def entry_view(sandbox: Sandbox, entry: Entry) -> View:
    """A model in one round (LatestSubmission)."""
    submission = entry.submission
    return {
        "id": None if submission is None else sandbox.submissions.listed_id(submission),
        "roundNumber": entry.round.number,
        "roundOpen": entry.round.open_time.date(),
        "roundClose": shown_close(sandbox, entry.round).date(),
        "roundCloseStaking": entry.round.deadline.date(),
        "filename": None if submission is None else submission.filename,
        "status": entry.status,
        "timestamp": None if submission is None else submission.inserted_at,
    }


def model_view(sandbox: Sandbox, model: ModelRecord) -> View:
    """A model slot as its owner sees it.

    computeEnabled is true exactly when a webhook is set. Source: 19 of 19 models in a recorded answer of the API.
    """
    pickle = sandbox.compute.get(model.pickle_id)
    return {
        "id": model.id,
        "name": model.name,
        "username": model.name,
        "tournament": model.tournament,
        "archived": False,
        "hidden": False,
        "insertedAt": model.inserted_at,
        "submissionWebhook": model.webhook,
        "computeEnabled": model.webhook is not None,
        "isComputeWeekdayEnabled": True,
        "v2Stake": None,
        "computePickleUpload": None if pickle is None else pickle_view(sandbox, pickle),
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
        "roundCloseStakingTime": score.round.deadline,
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


def pickle_view(sandbox: Sandbox, found: PickleRecord) -> View:
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
        "validationStatus": "validated",
        "diagnosticsStatus": None,
        "assignedModelSlots": [model.id for model in sandbox.account.models() if model.pickle_id == found.id],
    }
