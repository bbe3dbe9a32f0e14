"""The webhooks by which Numerai wakes a node."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..compute import require_own_runs
from ..refusal import Refusal
from .caller import Caller


def set_submission_webhook(
    caller: Caller,
    modelId: str | None = None,  # noqa: N803 the API's own name
    newSubmissionWebhook: str | None = None,  # noqa: N803 the API's own name
) -> str:
    """Register the address that is called when a round opens; null clears it."""
    account = caller.sandbox.account
    url = newSubmissionWebhook or None
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise Refusal("Webhook must be an http or https URL")
    model = account.model(modelId)
    account.change(model if url is None else require_own_runs(model), webhook=url)
    return "true"


def trigger_model_webhook(caller: Caller, modelId: str) -> str:  # noqa: N803 the API's own name
    """Call the model's webhook now; the answer is the trigger id."""
    sandbox = caller.sandbox
    model = require_own_runs(sandbox.account.model(modelId))
    latest = sandbox.rounds.latest(model.tournament)
    return sandbox.webhooks.trigger(model, None if latest is None else latest.number)
