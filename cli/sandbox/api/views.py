"""Records as the GraphQL schema names them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, structs

from ..core import Sandbox
from ..names import camel_case
from ..records import DiagnosticsRecord, ModelRecord, PickleRecord, RoundRecord, SubmissionRecord, TriggerRecord
from ..rounds import resolve_time, score_time
from ..scores import DAYS, METRICS, Score
from ..submissions import Entry

View = dict[str, object]

TARGETS = {8: "ender_20", 11: "target_20d", 12: "target_30d"}
_METRIC_MULTIPLIERS = {"canon_corr": 0.75, "canon_mmc": 2.25}


def own_fields(record: Struct) -> View:
    """A record's own fields. Those that the schema does not have are not asked for."""
    return {camel_case(name): value for name, value in structs.asdict(record).items()}


def round_view(sandbox: Sandbox, round_: RoundRecord) -> View:
    """A round."""
    resolved = sandbox.rounds.status(round_) == "RESOLVED"
    return {
        **own_fields(round_),
        "target": TARGETS[round_.tournament],
        "isDaily": True,
        "closeTime": shown_close(sandbox, round_),
        "closeStakingTime": round_.deadline,
        "scoreTime": score_time(round_),
        "resolveTime": resolve_time(round_),
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
        "roundScoreConfigs": lambda *_: score_configs(round_),
    }


def round_mention(round_: RoundRecord) -> View:
    """A round as other types mention it."""
    return {
        "roundId": round_.id,
        "roundNumber": round_.number,
        "roundOpenTime": round_.open_time,
        "roundDataDatestamp": round_.data_datestamp,
        "roundScoreTime": score_time(round_),
        "roundResolveTime": resolve_time(round_),
        "roundCloseStakingTime": round_.deadline,
        "roundPayoutFactor": "0.0",
        "roundTarget": TARGETS[round_.tournament],
    }


def shown_close(sandbox: Sandbox, found: RoundRecord) -> datetime:
    """A round's closeTime as the API tells it: the end of the late period, usually the next opening.

    Source: a recorded answer of the API, 2025-09. The setting `close_is_deadline` brings the wrong meaning back.
    """
    return found.deadline if sandbox.settings.close_is_deadline else found.close_time


def score_configs(round_: RoundRecord) -> list[View]:
    """How each metric is scored in a round, and what it weighs."""
    return [
        {
            "id": f"{round_.id}-{metric}",
            "scoreConfigId": metric,
            "roundNumberStart": 1,
            "roundNumberEnd": None,
            "name": metric.removeprefix("canon_"),
            "version": version,
            "displayName": metric,
            "totalScoreDays": DAYS,
            "returnsLagDays": 2,
            "dataDelayDays": 1,
            "universe": TARGETS[round_.tournament],
            "isCanonScore": True,
            "isPayout": True,
            "scoringStart": score_time(round_),
            "scoringEnd": resolve_time(round_),
            "minMultiplier": 0.0,
            "maxMultiplier": 3.0,
            "defaultMultiplier": _METRIC_MULTIPLIERS[metric],
            "multiplier": _METRIC_MULTIPLIERS[metric],
            "clipThreshold": 0.05,
            "stakeThreshold": 0.0,
            "payoutFactor": 0.0,
        }
        for metric, version in METRICS.items()
    ]


def submission_view(sandbox: Sandbox, found: SubmissionRecord, id: str | None = None) -> View:
    """A submission under its own id, or under the one given. Every field that is not here is always null.

    Source: the API's introspection, 2026, whose deprecations say "Always nil" of status, errorInfo and many others.
    """
    held = sandbox.rounds.get(found.tournament, found.round_number)
    return {
        "id": id or found.id,
        "filename": found.filename,
        "insertedAt": found.inserted_at,
        "selected": sandbox.submissions.is_selected(found),
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
    pickle = sandbox.compute.pickles.get(model.pickle_id)
    return {
        **own_fields(model),
        "username": model.name,
        "archived": False,
        "hidden": False,
        "submissionWebhook": model.webhook,
        "computeEnabled": model.webhook is not None,
        "isComputeWeekdayEnabled": True,
        "computePickleUpload": None if pickle is None else pickle_view(sandbox, pickle),
        "record": model,
    }


def score_view(score: Score) -> View:
    """A score."""
    return {
        **own_fields(score),
        **round_mention(score.round),
        "displayName": score.metric,
        "version": METRICS[score.metric],
        "resolveDate": resolve_time(score.round),
        "payoutPending": "0",
        "payoutSettled": "0",
        "submissionId": score.submission.id,
    }


def diagnostics_view(run: DiagnosticsRecord) -> View:
    """A diagnostics run."""
    return {
        **own_fields(run),
        "trainedOnVal": False,
        "erasMissing": [],
        "perEraDiagnostics": [dict(era) for era in run.per_era],
        **run.results,
    }


def pickle_view(sandbox: Sandbox, pickle: PickleRecord) -> View:
    """An uploaded model."""
    triggers = sandbox.compute.of(pickle.id)
    return {
        **own_fields(pickle),
        "label": pickle.filename,
        "updatedAt": pickle.inserted_at,
        "triggerStatus": triggers[-1].statuses[-1].status if triggers else None,
        "triggers": [trigger_view(each) for each in triggers],
        "assignedModelSlots": [model.id for model in sandbox.account.models() if model.pickle_id == pickle.id],
    }


def trigger_view(trigger: TriggerRecord) -> View:
    """A run of an uploaded model."""
    last = trigger.statuses[-1]
    return {
        **own_fields(trigger),
        "computePickleUploadId": trigger.pickle_id,
        "status": last.status,
        "updatedAt": last.inserted_at,
        "statuses": [
            {**own_fields(each), "computePickleTriggerId": trigger.id, "updatedAt": each.inserted_at}
            for each in trigger.statuses
        ],
    }
