"""What this version relies on at Numerai: the rules that `numerai doctor --api` can check by reading, and what follows
when a field is gone. docs/truth.md tells the source of each rule, under the same id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule about Numerai's API, and what it means for a user when it does not hold. `harmless`: nothing breaks."""

    sentence: str
    consequence: str
    harmless: bool = False


RULES = {
    "requests-valid": Rule(
        "Every request of this version fits the API's schema.",
        "The requests named fail, and with them whatever needs them.",
    ),
    "always-null": Rule(
        "V2Submission.status and errorInfo are deprecated: they are always null.",
        "Nothing breaks: this version does not read them. They may mean something again.",
        harmless=True,
    ),
    "times-ordered": Rule(
        "A round has openTime < closeStakingTime < closeTime.",
        "The deadline is unknown or wrong: warnings and retries come at the wrong time.",
    ),
    "window-one-hour": Rule(
        "closeStakingTime is at least one hour after openTime.",
        "A node has less time than its retries are planned for.",
        harmless=True,
    ),
    "late-period": Rule(
        "closeTime is at least six hours after closeStakingTime: it ends the late period and is not the deadline.",
        "closeTime may have its old meaning, the deadline: closeStakingTime cannot be trusted to be the end of the "
        "on-time window.",
    ),
    "closes-at-next-opening": Rule(
        "closeTime is about the next opening.",
        "Nothing breaks: this version asks for the next round. `status` may show a gap between rounds.",
        harmless=True,
    ),
    "round-zero": Rule(
        "rounds(number: 0) goes on giving the latest round after its deadline.",
        "Nothing breaks: this version decides by the times.",
        harmless=True,
    ),
    "datestamp-day-before": Rule(
        "dataDatestamp is the day before the opening, as YYYYMMDD.",
        "Nothing breaks: this version sends the datestamp that the round gives.",
        harmless=True,
    ),
    "entry-words": Rule(
        "latestSubmissions knows the words on-time, late, queued and none.",
        "A round with another word is shown as unconfirmed.",
    ),
    "entry-per-round": Rule(
        "latestSubmissions has one entry per round.",
        "A round may be called confirmed by the wrong entry.",
    ),
    "entry-times": Rule(
        "An on-time entry was made before the deadline, a late one after it.",
        "The deadline is not what Numerai goes by: submissions that look on time may be late.",
    ),
    "entry-ids": Rule(
        "An entry shows the id under which `submissions` lists the file. Whether createSubmission returned it "
        "cannot be read.",
        "Runs are confirmed by the filename alone.",
    ),
    "entry-filenames": Rule(
        "An entry shows the filename under which the file was uploaded, which `submissions` lists too.",
        "Without the id as well, no run can be confirmed: runs end as unconfirmed (exit code 76).",
    ),
    "late-queued": Rule(
        "A late submission is listed twice under one id: late for its round, unless that has one on time, and queued "
        "for the next.",
        "A queued file may go unnoticed before it is submitted again.",
    ),
    "clone-at-opening": Rule(
        "A queued file is submitted again at the next opening: a new id, the same filename, on-time.",
        "A round that an earlier file covers may look like one that today's run has submitted.",
    ),
    "clones-listed": Rule(
        "`submissions` lists that clone too.",
        "Nothing breaks: a clone is told by its filename.",
        harmless=True,
    ),
    "clone-trigger": Rule(
        "The clone does not carry the trigger id of the file that it was made from.",
        "Nothing breaks: no run is found by a clone's trigger id.",
        harmless=True,
    ),
    "data-listed": Rule(
        "listDatasets names a version of the data with its live and training files for each tournament.",
        "Runs wait for data that does not come.",
    ),
    "webhook-or-pickle": Rule(
        "A model has a webhook or an assigned model upload (pickle), not both.",
        "Numerai neither calls the webhook nor accepts submissions of a model with an assigned upload.",
    ),
    "scopes-known": Rule(
        "The key has scopes that this version knows.",
        "A scope that is new may be needed, or may allow more than it should.",
        harmless=True,
    ),
}

_UNKNOWN_DEADLINE = "The deadline of a round is unknown: nodes do not know how long to try, and no watcher can warn."
_UNCONFIRMED = "No run can be confirmed: it is not known whether a submission counts."
_NO_UPLOAD = "Nothing can be submitted."

CONSEQUENCES = {
    "Round.closeStakingTime": _UNKNOWN_DEADLINE,
    "Round.openTime": "When a round opens is unknown: the watcher cannot start runs.",
    "Round.closeTime": "Rounds cannot be read: nodes and watchers do not know what is open.",
    "Round.number": "Rounds cannot be told apart: no run knows what it submits for.",
    "Round.dataDatestamp": "Runs cannot tell today's data from yesterday's.",
    "LatestSubmission.status": _UNCONFIRMED,
    "LatestSubmission.roundNumber": _UNCONFIRMED,
    "LatestSubmission.id": "Runs are confirmed by the filename alone.",
    "LatestSubmission.filename": "A clone of a queued file cannot be told from today's submission.",
    "Model.latestSubmissions": _UNCONFIRMED,
    "Model.computePickleUpload": "A model with an assigned model upload is not noticed; its node never works.",
    "Model.submissionWebhook": "Whether Numerai calls a node is unknown.",
    "V2Submission.filename": "A submission whose answer was lost cannot be found again: it might be made twice.",
    "RootQueryType.rounds": _UNKNOWN_DEADLINE,
    "RootQueryType.model": _UNCONFIRMED,
    "RootQueryType.submissionUploadAuth": _NO_UPLOAD,
    "RootQueryType.submissionUploadSignalsAuth": "Nothing can be submitted in Signals.",
    "RootMutationType.createSubmission": _NO_UPLOAD,
    "RootMutationType.createSignalsSubmission": "Nothing can be submitted in Signals.",
    "RootMutationType.setSubmissionWebhook": "Webhooks cannot be registered: Numerai starts no node.",
    "RootMutationType.triggerModelWebhook": "`node test` cannot ask Numerai to call the webhook.",
    "RootQueryType.dataset": "The data cannot be downloaded.",
    "RootQueryType.listDatasets": "Which data there are is unknown: nothing can be downloaded.",
}
"""What it means when a field that this version asks for is gone; for others the requests that fail are named."""

SCOPES = (
    "read_user_info",
    "read_submission_info",
    "upload_submission",
    "download_submission",
    "write_user_info",
    "stake",
    "web3_staking",
    "delete",
)
"""The scopes of an API token (apiTokenScopes; numer.ai, Settings, API keys)."""
