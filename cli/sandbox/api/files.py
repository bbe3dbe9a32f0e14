"""Datasets, uploads, submissions, diagnostics and uploaded models."""

from __future__ import annotations

from ..account import Account
from ..compute import VALIDATION, require_own_runs
from ..data.catalog import CLASSIC
from ..records import TriggerRecord
from ..refusal import Refusal
from ..submissions import upload_for
from .caller import Caller
from .views import View, diagnostics_view, pickle_view, submission_view

SUBMISSION, DIAGNOSTICS, PICKLE = "submission", "diagnostics", "pickle"


def list_datasets(caller: Caller, round: int | None = None, tournament: int | None = None) -> list[str]:
    """The names of the files of a tournament."""
    chosen = tournament if tournament in (8, 11, 12) else None
    return caller.sandbox.catalog.names(chosen)


def dataset(caller: Caller, filename: str, round: int | None = None, tournament: int | None = None) -> str:
    """A URL from which the file can be got."""
    owner = caller.sandbox.catalog.tournament_of(filename)
    if owner is None:
        raise Refusal(f"Dataset {filename} not found")
    edition = caller.sandbox.edition(owner, round)
    return caller.signed_url(f"datasets/{edition.round_number}/{filename}", "GET")


def submission_upload_auth(caller: Caller, filename: str, tournament: int, model_id: str | None = None) -> View:
    """Where to put predictions."""
    model = require_own_runs(caller.sandbox.account.model(model_id, tournament))
    return _upload_auth(caller, filename, SUBMISSION, tournament, model.id)


def diagnostics_upload_auth(caller: Caller, filename: str, tournament: int, model_id: str | None = None) -> View:
    """Where to put validation predictions."""
    model_id = _optional_model(caller.sandbox.account, model_id, tournament)
    return _upload_auth(caller, filename, DIAGNOSTICS, tournament, model_id)


def compute_pickle_upload_auth(caller: Caller, filename: str = "model.pkl", model_id: str | None = None) -> View:
    """Where to put a model."""
    return _upload_auth(caller, filename, PICKLE, 0, _optional_model(caller.sandbox.account, model_id))


def submission_download_auth(caller: Caller, id: str) -> View:
    """Where to get the file of a submission."""
    found = caller.sandbox.submissions.get(id)
    if found is None:
        raise Refusal("Submission not found")
    return {"filename": found.filename, "url": caller.signed_url(f"submissions/{found.id}", "GET")}


def submissions(caller: Caller, id: str | None = None, model_id: str | None = None) -> list[View]:
    """Submissions, newest first; of one model, or the one of that id."""
    model_id = caller.sandbox.account.model(model_id).id if model_id else None
    ours = caller.sandbox.submissions
    found = [(each, ours.listed_id(each)) for each in ours.listed(model_id)]
    return [submission_view(caller.sandbox, each, shown) for each, shown in found if id in (None, each.id, shown)]


def create_submission(
    caller: Caller,
    filename: str,
    tournament: int,
    model_id: str | None = None,
    trigger_id: str | None = None,
    source: str | None = None,
    data_datestamp: int | None = None,
    version: int | None = None,
) -> View:
    """Make an uploaded file count. A file that is not valid is refused in `errors`, while this is called.

    Source: several threads at forum.numer.ai; nothing was found of a later rejection of an accepted CSV.
    """
    sandbox = caller.sandbox
    model = require_own_runs(sandbox.account.model(model_id, tournament))
    upload = upload_for(sandbox.uploads, filename, SUBMISSION)
    if (upload.model_id, upload.tournament) != (model.id, tournament):
        raise Refusal(f"File {filename} was uploaded for another model")
    return submission_view(sandbox, sandbox.submissions.create(upload, model, trigger_id, data_datestamp, source))


def diagnostics(caller: Caller, id: str | None = None, model_id: str | None = None) -> list[View]:
    """Diagnostics runs, newest first."""
    wanted = _optional_model(caller.sandbox.account, model_id)
    return [
        diagnostics_view(each)
        for each in caller.sandbox.diagnostics.all()
        if id in (None, each.id) and wanted in (None, each.model_id)
    ]


def create_diagnostics(caller: Caller, filename: str, tournament: int, model_id: str | None = None) -> View:
    """Measure uploaded validation predictions."""
    sandbox = caller.sandbox
    model_id = _optional_model(sandbox.account, model_id, tournament)
    upload = upload_for(sandbox.uploads, filename, DIAGNOSTICS)
    return diagnostics_view(sandbox.diagnostics.create(upload.id, tournament, model_id))


def compute_pickles(
    caller: Caller, id: str | None = None, model_id: str | None = None, unassigned: bool = False
) -> list[View]:
    """Uploaded models, newest first; `modelId` is the slot that they were uploaded for."""
    views = [
        pickle_view(caller.sandbox, each)
        for each in reversed(caller.sandbox.compute.pickles.all())
        if id in (None, each.id) and (not model_id or each.model_id == model_id)
    ]
    return [view for view in views if not (unassigned and view["assignedModelSlots"])]


def assign_pickle_to_model(caller: Caller, model_id: str | None = None, pickle_id: str | None = None) -> str:
    """Let Numerai run an uploaded model in a slot from now on. The slot's webhook has to be cleared before that.

    Source: docs.numer.ai model-uploads (Classic only); no model in a recorded answer had a webhook and a pickle.
    """
    sandbox = caller.sandbox
    model = sandbox.account.model(model_id)
    if pickle_id is None and sandbox.settings.switches.null_pickle_unassigns:
        sandbox.account.change(model, pickle_id=None)
        return "true"
    if sandbox.compute.pickles.get(pickle_id) is None:
        raise Refusal("Pickle not found")
    if model.tournament != CLASSIC:
        raise Refusal("Model uploads are for the tournament numerai only")
    if model.webhook is not None:
        raise Refusal("This model has a submission webhook: clear it first")
    sandbox.account.change(model, pickle_id=pickle_id)
    return "true"


def trigger_compute_pickle_upload(
    caller: Caller, model_id: str | None = None, pickle_id: str | None = None, trigger_validation: bool = False
) -> View:
    """Run an uploaded model at once, or validate it again. Without a pickle's id it is the one of the slot."""
    sandbox = caller.sandbox
    model = sandbox.account.model(model_id) if model_id else None
    pickle = sandbox.compute.pickles.get(pickle_id or (model.pickle_id if model is not None else None))
    if pickle is None:
        raise Refusal("Pickle not found")
    if model is not None and model.pickle_id != pickle.id and not trigger_validation:
        raise Refusal("This pickle is not assigned to the model")
    sandbox.compute.trigger(pickle, model, validation=trigger_validation)
    return pickle_view(sandbox, pickle)


def trigger_logs(caller: Caller, trigger_id: str) -> list[View]:
    """What a run of an uploaded model has printed. Of the times is known that they are whole numbers."""
    found = caller.sandbox.compute.triggers.get(trigger_id)
    if found is None:
        raise Refusal("Trigger not found")
    return _log_view(found)


def diagnostics_trigger_logs(caller: Caller, pickle_id: str) -> list[View]:
    """What the latest validation of an uploaded model has printed."""
    found = [each for each in caller.sandbox.compute.of(pickle_id) if each.type == VALIDATION]
    return _log_view(found[-1]) if found else []


def _log_view(found: TriggerRecord) -> list[View]:
    return [{"timestamp": int(moment.timestamp()), "message": text} for moment, text in found.logs]


def create_compute_pickle_upload(
    caller: Caller,
    filename: str,
    tournament: int,
    data_version_id: str | None = None,
    docker_image_id: str | None = None,
    model_id: str | None = None,
    source: str | None = None,
) -> View:
    """Take an uploaded model."""
    sandbox = caller.sandbox
    model_id = _optional_model(sandbox.account, model_id, tournament)
    upload = upload_for(sandbox.uploads, filename, PICKLE)
    if not sandbox.upload_store.path(upload.id).is_file():
        raise Refusal(f"File {filename} was not uploaded")
    return pickle_view(
        sandbox, sandbox.compute.create(upload.id, tournament, model_id, data_version_id, docker_image_id)
    )


def _optional_model(account: Account, model_id: str | None, tournament: int | None = None) -> str | None:
    return account.model(model_id, tournament).id if model_id else None


def _upload_auth(caller: Caller, filename: str, purpose: str, tournament: int, model_id: str | None) -> View:
    upload = caller.sandbox.new_upload(filename, purpose, tournament, model_id)
    url = caller.signed_url(f"uploads/{upload.id}", "PUT")
    return {"filename": upload.id, "url": url, "accelerated": False, "countryCode": None}
