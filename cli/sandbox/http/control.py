"""The sandbox's own endpoints below /sandbox/: health, state, rounds, clock, data, faults. They need no token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TypeGuard

from msgspec import to_builtins
from werkzeug.wrappers import Request, Response

from ...errors import UsageError
from ..core import Sandbox
from ..records import ModelRecord, RoundRecord
from ..refusal import HttpRefusal
from ..rounds import TOURNAMENTS
from ..settings import TOURNAMENT_NAMES
from ..submissions import Entry
from ..webhooks import redacted
from .messages import json_body, json_response

PREFIX = "/sandbox/"
Body = Mapping[str, object]
_ENTRIES = 40
"""How many rounds of each model the state shows."""


def answer_control(sandbox: Sandbox, request: Request) -> Response:
    """The answer of a control endpoint; `HttpRefusal` for an order that it does not take."""
    if request.headers.get("Origin") is not None:
        raise HttpRefusal(403, "the control endpoints are not for web pages")
    name = request.path.removeprefix(PREFIX).rstrip("/")
    if name not in _METHODS:
        raise HttpRefusal(404, f"there is no {request.path}; known are {', '.join(sorted(_METHODS))}")
    handler = _METHODS[name].get(request.method)
    if handler is None:
        raise HttpRefusal(405, f"{request.path} takes {' and '.join(_METHODS[name])} only")
    body = json_body(request) if request.method == "POST" else None
    if not isinstance(body, Mapping | None):
        raise HttpRefusal(400, "the body must be a JSON object")
    return json_response(200, handler(sandbox, body or {}))


def state_view(sandbox: Sandbox) -> dict[str, object]:
    """Everything the sandbox remembers, without secrets."""
    return {
        "clock": _clock_view(sandbox),
        "account": {
            "username": sandbox.account.username,
            "public_id": sandbox.account.token.public_id,
            "scopes": list(sandbox.account.scopes),
        },
        "models": [_model_view(model) for model in sandbox.account.models()],
        "data_versions": sandbox.catalog.versions(),
        "rounds": [_round_view(sandbox, round_) for round_ in sandbox.rounds.all()],
        "submissions": [
            {**to_builtins(submission), "selected": sandbox.submissions.is_selected(submission)}
            for submission in sandbox.submissions.all()
        ],
        "entries": [
            _entry_view(sandbox, model, entry)
            for model in sandbox.account.models()
            for entry in sandbox.submissions.entries(model, _ENTRIES)
        ],
        "webhook_calls": [{"trigger_id": call.id, **to_builtins(call)} for call in sandbox.webhooks.calls.all()],
        "diagnostics": [
            {"id": run.id, "model_id": run.model_id, "status": run.status, "message": run.message}
            for run in sandbox.diagnostics.all()
        ],
        "faults": to_builtins(sandbox.faults.ordered.all()),
        "requests": to_builtins(sandbox.requests.all()),
    }


def _open_round(sandbox: Sandbox, body: Body) -> object:
    _only(body, "tournament", "minutes")
    minutes = body.get("minutes")
    if minutes is not None and (not _is_number(minutes) or minutes <= 0):
        raise HttpRefusal(400, "minutes must be a number above 0")
    opened = [sandbox.rounds.open_next(each, minutes) for each in _tournaments(body)]
    return {"rounds": [_round_view(sandbox, round_) for round_ in opened]}


def _move_deadline(sandbox: Sandbox, body: Body) -> object:
    _only(body, "tournament", "minutes")
    minutes = body.get("minutes")
    if not _is_number(minutes):
        raise HttpRefusal(400, "minutes must be a number, below 0 for an earlier deadline")
    moved = [sandbox.rounds.move_deadline(each, minutes) for each in _tournaments(body)]
    return {"rounds": [_round_view(sandbox, round_) for round_ in moved if round_ is not None]}


def _move_clock(sandbox: Sandbox, body: Body) -> object:
    _only(body, "advance", "now", "freeze")
    if "freeze" in body:
        if not isinstance(body["freeze"], bool):
            raise HttpRefusal(400, "freeze must be true or false")
        if body["freeze"]:
            sandbox.clock.freeze()
        else:
            sandbox.clock.resume()
    if "now" in body:
        sandbox.clock.set(_moment(body["now"]))
    if "advance" in body:
        seconds = body["advance"]
        if not _is_number(seconds):
            raise HttpRefusal(400, "advance must be a number of seconds")
        sandbox.clock.advance(seconds)
    opened = sandbox.time_moved()
    return {**_clock_view(sandbox), "opened": [_round_view(sandbox, round_) for round_ in opened]}


def _change_data(sandbox: Sandbox, body: Body) -> object:
    _only(body, "publish", "files", "remove", "renames")
    publish, remove, files, renames = (body.get(name) for name in ("publish", "remove", "files", "renames"))
    if any(name is not None and not isinstance(name, str) for name in (publish, remove)):
        raise HttpRefusal(400, "publish and remove must be data versions such as v6.0")
    if files is not None and not (isinstance(files, list) and all(isinstance(name, str) for name in files)):
        raise HttpRefusal(400, "files must be a list of names such as train.parquet, or null for all")
    if renames is not None and not isinstance(renames, bool):
        raise HttpRefusal(400, "renames must be true or false")
    try:
        if isinstance(publish, str):
            sandbox.catalog.publish(publish, files, renames=bool(renames))
        if isinstance(remove, str):
            sandbox.catalog.remove(remove)
    except UsageError as error:
        raise HttpRefusal(400, error.message) from error
    return {"versions": sandbox.catalog.versions()}


Handler = Callable[[Sandbox, Body], object]
_METHODS: dict[str, dict[str, Handler]] = {
    "health": {"GET": lambda sandbox, _: {"status": "ok", "time": _text(sandbox.clock.now())}},
    "state": {"GET": lambda sandbox, _: state_view(sandbox)},
    "rounds": {"POST": _open_round},
    "deadline": {"POST": _move_deadline},
    "clock": {"GET": lambda sandbox, _: _clock_view(sandbox), "POST": _move_clock},
    "data": {"GET": lambda sandbox, _: {"versions": sandbox.catalog.versions()}, "POST": _change_data},
    "faults": {
        "GET": lambda sandbox, _: {"faults": to_builtins(sandbox.faults.ordered.all())},
        "POST": lambda sandbox, body: to_builtins(sandbox.faults.add(body)),
        "DELETE": lambda sandbox, _: {"cleared": sandbox.faults.clear()},
    },
}


def _clock_view(sandbox: Sandbox) -> dict[str, object]:
    return {
        "now": _text(sandbox.clock.now()),
        "frozen": sandbox.clock.frozen,
        "calendar": sandbox.settings.calendar,
        "next_opening": None if (opening := sandbox.rounds.next_opening()) is None else _text(opening),
    }


def _model_view(model: ModelRecord) -> dict[str, object]:
    return {
        "id": model.id,
        "name": model.name,
        "tournament": model.tournament,
        "webhook": redacted(model.webhook) if model.webhook else None,
        "pickle_id": model.pickle_id,
    }


def _round_view(sandbox: Sandbox, round_: RoundRecord) -> dict[str, object]:
    return {
        "tournament": round_.tournament,
        "number": round_.number,
        "open_time": _text(round_.open_time),
        "deadline": _text(round_.deadline),
        "close_time": _text(round_.close_time),
        "data_datestamp": round_.data_datestamp,
        "status": sandbox.rounds.phase(round_),
    }


def _entry_view(sandbox: Sandbox, model: ModelRecord, entry: Entry) -> dict[str, object]:
    submission = entry.submission
    return {
        "model": model.name,
        "model_id": model.id,
        "tournament": model.tournament,
        "round_number": entry.round.number,
        "status": entry.status,
        "id": None if submission is None else sandbox.submissions.listed_id(submission),
        "filename": None if submission is None else submission.filename,
        "timestamp": None if submission is None else _text(submission.inserted_at),
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise HttpRefusal(400, "now must be a time like 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _tournaments(body: Body) -> tuple[int, ...]:
    """The tournament that is named, else all."""
    value = body.get("tournament")
    if value is None:
        return TOURNAMENTS
    number = TOURNAMENT_NAMES.get(str(value).lower())
    if number not in TOURNAMENTS:
        raise HttpRefusal(400, "tournament must be 8, 11, 12, classic, signals or crypto")
    return (number,)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _only(body: Body, *names: str) -> None:
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise HttpRefusal(400, f"unknown field '{unknown[0]}'; known are {', '.join(names)}")
