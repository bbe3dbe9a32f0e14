"""The webhooks by which Numerai wakes a node."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..compute import require_own_runs
from ..refusal import Refusal
from .caller import Caller


def set_submission_webhook(
    caller: Caller, model_id: str | None = None, new_submission_webhook: str | None = None
) -> str:
    """Register the address that is called when a round opens; null clears it."""
    account = caller.sandbox.account
    url = new_submission_webhook or None
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise Refusal("Webhook must be an http or https URL")
    model = account.model(model_id)
    account.change(model if url is None else require_own_runs(model), webhook=url)
    return "true"


def trigger_model_webhook(caller: Caller, model_id: str) -> str:
    """Call the model's webhook now; the answer is the trigger id."""
    sandbox = caller.sandbox
    model = require_own_runs(sandbox.account.model(model_id))
    latest = sandbox.rounds.latest(model.tournament)
    return sandbox.webhooks.trigger(model, None if latest is None else latest.number)
