"""Numerai's API of model uploads: what runs them, how one is handed in, how it stands, and what its runs have printed.

Sources: numerapi 3.1.1 base_api.model_upload; docs.numer.ai model-uploads; numerai/example-scripts,
numerai-model-upload/SKILL.md; the API's introspection of 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ...adapters.numerai_api import keys_refused, refuses_keys
from ...errors import ApiError
from ...foreign import one_line
from ...models import LogLine, Tournament
from ...ports import ApiProbe
from .queries import QUERIES

T = TypeVar("T")
PUT_SECONDS = 600.0
MILLISECONDS_FROM = 10**11
"""A log's time from this on is in milliseconds: in seconds it would be the year 5138. Which it is, nobody says."""
CODE = "numerai-error"
VALIDATED, FAILED = "validated", "failed"


@dataclass(frozen=True)
class Image:
    """What Numerai runs uploads in: `python` is `3.13`, `reference` the image's name in its registry, if it has one."""

    id: str
    python: str
    reference: str | None
    default: bool


@dataclass(frozen=True)
class DataVersion:
    """A version of the Classic data that an upload can be given."""

    id: str
    name: str
    default: bool


@dataclass(frozen=True)
class Status:
    """A state that a run came to, with Numerai's words about it."""

    word: str
    time: datetime
    description: str | None = None


@dataclass(frozen=True)
class Trigger:
    """One run of an upload on Numerai's side; the newest status is the last. `round_id` is of the round that it runs
    for; of which of the upload's models it is, Numerai does not say (the API's introspection)."""

    id: str
    kind: str
    created_at: datetime
    statuses: tuple[Status, ...]
    submission_id: str | None = None
    round_id: str | None = None

    @property
    def validates(self) -> bool:
        """Whether it is no run of a round, but the validation. What Numerai calls the kinds is not known; a status
        `validating` is said of validations only (numerai/example-scripts, SKILL.md)."""
        return "valid" in self.kind.lower() or any(status.word == "validating" for status in self.statuses)


@dataclass(frozen=True)
class Upload:
    """An uploaded model as Numerai has it. `slots` are the models that it is assigned to."""

    id: str
    validation: str
    slots: tuple[str, ...]
    triggers: tuple[Trigger, ...]


class Uploads:
    """The questions and changes. A change is sent once: one that was carried out and not answered must not be again."""

    def __init__(self, api: ApiProbe, once: ApiProbe, send: Callable[[str, Path, float], None] | None = None):
        self._api = api
        self._once = once
        self._send = send or _put

    def images(self) -> list[Image]:
        """The images that uploads can run in."""
        return [
            Image(str(row["id"]), python, _reference(row), bool(row.get("default")))
            for row in self._ask("images", lambda data: list(data["computePickleDockerImages"]))
            if (python := str(row["name"]).rpartition(" ")[2])
        ]

    def data_versions(self) -> list[DataVersion]:
        """The versions of the Classic data."""
        rows = self._ask("data_versions", lambda data: list(data["computePickleDataVersions"]))
        return [
            DataVersion(str(row["id"]), str(row["name"]), bool(row.get("default")))
            for row in rows
            if row.get("type") in (None, "classic")
        ]

    def dataset_url(self, name: str) -> str:
        """Where a dataset's file can be got."""
        variables = {"filename": name, "tournament": Tournament.CLASSIC.value}
        return self._ask("dataset", lambda data: self._secure(data["dataset"]), variables)

    def hand_in(self, pickle: Path, version: DataVersion, image: Image) -> str:
        """Upload a pickle and let Numerai validate it; its id. It belongs to no model yet: that is what `assign` does.

        No Content-Type goes with the bytes, for the address is signed without one.
        """
        name, url = self._ask(
            "upload_address",
            lambda data: (
                str(data["computePickleUploadAuth"]["filename"]),
                self._secure(data["computePickleUploadAuth"]["url"]),
            ),
            {"filename": pickle.name},
        )
        self._send(url, pickle, PUT_SECONDS)
        variables = {
            "filename": name,
            "tournament": Tournament.CLASSIC.value,
            "dataVersionId": version.id,
            "dockerImageId": image.id,
        }
        return self._change("create", lambda data: str(data["createComputePickleUpload"]["id"]), variables)

    def upload(self, upload_id: str) -> Upload | None:
        """One upload; None when Numerai does not know it."""
        return self._ask(
            "upload", lambda data: next(map(_upload, data["computePickles"] or ()), None), {"id": upload_id}
        )

    def assigned(self, model_id: str) -> str | None:
        """The upload that Numerai runs for a model."""

        def read(data: Mapping[str, Any]) -> str | None:
            found = data["model"]["computePickleUpload"]
            return str(found["id"]) if found else None

        return self._ask("assigned", read, {"modelId": model_id})

    def assign(self, model_id: str, upload_id: str | None) -> None:
        """Let Numerai run an upload for a model from now on; None asks it to run none, which it may refuse."""
        answer = self._change(
            "assign", lambda data: data["assignPickleToModel"], {"modelId": model_id, "pickleId": upload_id}
        )
        if answer != "true":
            raise ApiError(f"Numerai answered {one_line(str(answer))} to the assignment.", code="not-assigned")

    def unassign(self, model_id: str) -> str | None:
        """Ask Numerai to run nothing for a model; the upload that it runs for it all the same."""
        try:
            self.assign(model_id, None)
        except ApiError as error:
            if error.code not in (CODE, "not-assigned"):
                raise
        return self.assigned(model_id)

    def start(self, model_id: str, upload_id: str) -> None:
        """Run an upload now."""
        self._change(
            "start",
            lambda data: data["triggerComputePickleUpload"]["id"],
            {"modelId": model_id, "pickleId": upload_id},
        )

    def submissions(self, model_id: str) -> set[str]:
        """The ids of a model's submissions."""
        return self._ask(
            "submissions",
            lambda data: {str(row["id"]) for row in data["submissions"] or ()},
            {"modelId": model_id},
        )

    def logs(self, trigger_id: str) -> list[LogLine]:
        """What a run has printed until now."""
        rows = self._ask("logs", lambda data: list(data["triggerLogs"] or ()), {"triggerId": trigger_id})
        return [LogLine(text, _log_time(row.get("timestamp"))) for row in rows for text in _lines(row)]

    def _ask(
        self, name: str, read: Callable[[Mapping[str, Any]], T], variables: Mapping[str, object] | None = None
    ) -> T:
        return self._read(self._api.answer(QUERIES[name], variables or {}), read)

    def _change(self, name: str, read: Callable[[Mapping[str, Any]], T], variables: Mapping[str, object]) -> T:
        try:
            return self._read(self._once.answer(QUERIES[name], variables), read)
        except ApiError as error:
            if "answered 429" not in error.message:
                raise
            raise _limited("too many requests (429)") from error

    def _read(self, answer: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> T:
        errors = answer.get("errors")
        if errors:
            said = "; ".join(one_line(str(each.get("message") or each.get("code") or each)) for each in errors)
            if refuses_keys(said):
                raise keys_refused(self._api.url, said)
            if "too many requests" in said.lower():
                raise _limited(said)
            raise ApiError(f"Numerai answered: {said}", code=CODE)
        try:
            return read(answer["data"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ApiError("Numerai answered without what was asked for.", "Try again later.") from error

    def _secure(self, url: object) -> str:
        """An address that Numerai gave for a file, encrypted where Numerai's own is."""
        address = str(url)
        if self._api.url.startswith("https:") and not address.startswith("https:"):
            raise ValueError("an address that is not encrypted")
        return address


def _limited(said: str) -> ApiError:
    hint = "It takes 3 uploads in 30 minutes and 3 triggers in 10 from one address; try again later."
    return ApiError(f"Numerai answered: {said}", hint, code="rate-limited", temporary=True)


def _upload(row: Mapping[str, Any]) -> Upload:
    triggers = tuple(map(_trigger, row.get("triggers") or ()))
    slots = tuple(str(slot) for slot in row.get("assignedModelSlots") or ())
    return Upload(str(row["id"]), str(row.get("validationStatus") or ""), slots, triggers)


def _trigger(row: Mapping[str, Any]) -> Trigger:
    statuses = [
        Status(str(each["status"]), _time(each["insertedAt"]), each.get("description") or None)
        for each in row.get("statuses") or ()
    ]
    submission, round_id = row.get("submissionId"), row.get("roundId")
    return Trigger(
        str(row["id"]),
        str(row.get("type") or ""),
        _time(row["insertedAt"]),
        tuple(sorted(statuses, key=lambda status: status.time)),
        str(submission) if submission else None,
        str(round_id) if round_id else None,
    )


def _time(text: object) -> datetime:
    moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _log_time(value: object) -> datetime | None:
    if not isinstance(value, (int, float)):
        return None
    return datetime.fromtimestamp(value / 1000 if value >= MILLISECONDS_FROM else value, timezone.utc)


def _lines(row: Mapping[str, Any]) -> list[str]:
    return [one_line(line, 2000) for line in str(row.get("message") or "").splitlines()] or [""]


def _reference(row: Mapping[str, Any]) -> str | None:
    """Where the image is: GitHub's registry, where the API names no other (numerai-predict, predict.py)."""
    image, tag = row.get("image"), row.get("tag")
    if not image or not tag:
        return None
    name = str(image) if "/" in str(image) else f"ghcr.io/numerai/{image}"
    return f"{name}:{tag}"


def _put(url: str, path: Path, seconds: float) -> None:
    import requests

    try:
        with path.open("rb") as file:
            response = requests.put(url, data=file, timeout=(30, seconds), allow_redirects=False)
    except requests.RequestException as error:
        raise ApiError(
            f"The upload to {urlsplit(url).hostname} broke off: {type(error).__name__}.",
            "Deploy again.",
            temporary=True,
        ) from error
    if response.status_code != 200:
        raise ApiError(
            f"The upload was answered {response.status_code} by {urlsplit(url).hostname}.",
            "Deploy again.",
            code="upload-refused",
        )
