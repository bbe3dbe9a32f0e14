"""The webhooks by which Numerai wakes a node."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..refusal import Refusal
from .caller import Caller
from .views import View

SET, TRIGGER = "setSubmissionWebhook", "triggerModelWebhook"


def set_submission_webhook(
    caller: Caller,
    modelId: str | None = None,  # noqa: N803 the API's own name
    newSubmissionWebhook: str | None = None,  # noqa: N803 the API's own name
) -> str:
    """Register the address that is called when a round opens; null clears it."""
    caller.sandbox.rate_limit.spend(caller.address, SET)
    account = caller.sandbox.account
    url = newSubmissionWebhook or None
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise Refusal("Webhook must be an http or https URL")
    account.change(account.model(modelId), webhook=url)
    return "true"


def trigger_model_webhook(caller: Caller, modelId: str) -> str:  # noqa: N803 the API's own name
    """Call the model's webhook now; the answer is the trigger id."""
    sandbox = caller.sandbox
    sandbox.rate_limit.spend(caller.address, TRIGGER)
    model = sandbox.account.model(modelId)
    current = sandbox.rounds.current(model.tournament)
    return sandbox.webhooks.trigger(model, None if current is None else current.number)


def trigger_logs(caller: Caller, triggerId: str) -> list[View]:  # noqa: N803 the API's own name
    """What is known of one trigger: the call and what came of it."""
    call = caller.sandbox.webhooks.get(triggerId)
    if call is None:
        raise Refusal("Trigger not found")
    milliseconds = int(call.started_at.timestamp() * 1000)
    lines = [(milliseconds, "webhook called")]
    if call.seconds is not None:
        outcome = f"answered {call.status}" if call.error is None else f"failed: {call.error}"
        lines.append((milliseconds + int(call.seconds * 1000), f"webhook {outcome}"))
    for found in caller.sandbox.submissions.all(call.model_id):
        if found.trigger_id == triggerId:
            lines.append((int(found.inserted_at.timestamp() * 1000), f"submission {found.id}: {found.status}"))
    return [{"timestamp": moment // 1000, "message": message} for moment, message in sorted(lines)]
