"""What the sandbox remembers, as frozen records that can be written to disk."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class ModelRecord(Struct, frozen=True):
    """A model slot of the account. `webhook` holds a secret address and is redacted wherever it is shown.

    `pickle_id` is the uploaded model that is assigned to the slot.
    """

    id: str
    name: str
    tournament: int
    inserted_at: datetime
    webhook: str | None = None
    bio: str | None = None
    link_url: str | None = None
    link_text: str | None = None
    pickle_id: str | None = None


class RoundRecord(Struct, frozen=True):
    """A round that has been opened, or that a queued submission waits for. Times are aware and in UTC.

    `deadline` ends the on-time window (Numerai's closeStakingTime), `close_time` the late period (its closeTime).
    """

    id: str
    tournament: int
    number: int
    open_time: datetime
    deadline: datetime
    close_time: datetime
    data_datestamp: int
    opened: bool = True


class UploadRecord(Struct, frozen=True):
    """A name given out for an upload. `id` is the filename that the API answers; `purpose` what it may be used for."""

    id: str
    purpose: str
    tournament: int
    model_id: str | None


class SubmissionRecord(Struct, frozen=True):
    """A submission whose file was found valid.

    `late`: made after the deadline of its round. `queued`: waits to be cloned when the next round opens; `clone_of` is
    the id of the submission that a clone was made from. `ids_round` is the round whose ids the file has. `invented`
    ones belong to the made-up history: their file is made when someone asks for it.
    """

    id: str
    model_id: str
    tournament: int
    round_number: int
    filename: str
    inserted_at: datetime
    ids_round: int
    late: bool = False
    queued: bool = False
    clone_of: str | None = None
    invented: bool = False
    trigger_id: str | None = None
    data_datestamp: int | None = None
    source: str | None = None
    submitted_count: int | None = None
    accepted_count: int | None = None
    invalid_tickers: tuple[str, ...] = ()


class WebhookCallRecord(Struct, frozen=True):
    """One call of a model's webhook. `url` is redacted; `reason` is `round` or `trigger`; `id` is the trigger id.

    `attempts` counts how often it was made; the other figures are the last attempt's.
    """

    id: str
    model_id: str
    reason: str
    url: str
    started_at: datetime
    round_number: int | None = None
    seconds: float | None = None
    status: int | None = None
    answer: str | None = None
    error: str | None = None
    attempts: int = 0


class DiagnosticsRecord(Struct, frozen=True):
    """A diagnostics run. `results` and `per_era` carry the names of the GraphQL schema."""

    id: str
    model_id: str | None
    tournament: int
    filename: str
    status: str
    inserted_at: datetime
    updated_at: datetime
    message: str | None = None
    results: dict[str, float | None] = {}
    per_era: tuple[dict[str, float | str | None], ...] = ()


class PickleRecord(Struct, frozen=True):
    """An uploaded model (a pickle) and the slot it was uploaded for."""

    id: str
    filename: str
    tournament: int
    model_id: str | None
    data_version_id: str | None
    docker_image_id: str | None
    inserted_at: datetime
    validation_status: str = "pending"


class TriggerStatusRecord(Struct, frozen=True):
    """A state that a run of a pickle came to, with Numerai's words about it."""

    id: str
    status: str
    inserted_at: datetime
    description: str | None = None


class TriggerRecord(Struct, frozen=True):
    """One run of a pickle on Numerai's side: its validation, or for a round. `logs` are times and lines."""

    id: str
    pickle_id: str
    type: str
    inserted_at: datetime
    model_id: str | None = None
    round_id: str | None = None
    submission_id: str | None = None
    statuses: tuple[TriggerStatusRecord, ...] = ()
    logs: tuple[tuple[datetime, str], ...] = ()


class FaultRecord(Struct, frozen=True):
    """A fault that the sandbox still has to commit. `times` None means until it is cleared."""

    id: str
    target: str
    kind: str
    status: int = 503
    times: int | None = 1
    match: str | None = None
    seconds: float | None = None
    when: str = "before"
    message: str | None = None


class RequestRecord(Struct, frozen=True):
    """One HTTP request that the sandbox answered; never its query string, headers or body.

    `client` is the product in the User-Agent header (`python-requests/2.32.3`). Of a GraphQL request: `error` is the
    first error of its answer, `deprecated` the deprecated fields that it asked for (`V2Submission.status`).
    """

    id: str
    time: datetime
    method: str
    path: str
    status: int | None
    milliseconds: float
    operation: str | None = None
    fault: str | None = None
    client: str | None = None
    error: str | None = None
    deprecated: tuple[str, ...] = ()
