"""Reads what the checks need from Numerai's API. Asks only; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from ...errors import ApiError
from ...models import Tournament
from ...ports import ApiProbe, Report
from .answers import NOT_TRIED, Answers, gone_in, read_entries, read_files, read_models, read_rounds, rows_of
from .schema import INTROSPECTION, Request, read_request, read_schema

MOST_MODELS = 20
"""How many models are looked at: two requests each. Numerai allows 100 `submissions` a minute and address
(graphqlRateLimits of the API, 2026-07-20)."""
ROUNDS = 25
"""How many rounds of each tournament are asked for: latestSubmissions reaches back 20."""
NO_SUCH_FIELD = "doctorAsksForNoSuchField"


def ask_api(probe: ApiProbe, now: Callable[[], datetime], report: Report) -> Answers:
    """Read everything that the checks need; `now` is Numerai's time as far as it was heard.

    `ApiError` when the keys are refused or Numerai cannot be reached.
    """
    requests = {name: read_request(text) for name, text in probe.documents.items()}
    answers = Answers(now(), requests)
    read = partial(_read, probe, answers)
    report("Asking for the schema")
    _ask_schema(probe, answers)
    report("Reading rounds, models, submissions and data")
    token = read("token_info")
    if isinstance(token, dict) and isinstance(token.get("scopes"), list):
        answers.scopes = tuple(map(str, token["scopes"]))
    answers.now = now()
    for tournament in map(int, Tournament):
        _ask_tournament(tournament, read, answers)
    account = read("models")
    answers.models = read_models(account.get("models") if isinstance(account, dict) else None)
    if len(answers.models) > MOST_MODELS:
        report(f"Reading the submissions of the first {MOST_MODELS} of {len(answers.models)} models")
    for model in answers.models[:MOST_MODELS]:
        of_model = read("entries", modelId=model.id)
        rows = of_model.get("latestSubmissions") if isinstance(of_model, dict) else None
        answers.entries += read_entries(model.id, rows)
        answers.files += read_files(model.id, read("submissions", modelId=model.id))
    if answers.schema is None:
        report("The schema is not shown: trying each request")
        for name, request in requests.items():
            answers.tried[name] = _try(probe, name, request, answers)
    return answers


def _ask_schema(probe: ApiProbe, answers: Answers) -> None:
    """Ask without the keys, and with them where that is refused."""
    for signed in (False, True):
        try:
            answer = probe.answer(INTROSPECTION, {}, signed=signed)
            if not isinstance(answer.get("data"), dict):
                raise ValueError("; ".join(messages_in(answer)) or "no usable answer")
            answers.schema, answers.introspected = read_schema(answer["data"]), answer["data"]
            return
        except ValueError as error:
            answers.refused = str(error)
        except ApiError as error:
            if error.temporary:
                raise
            answers.refused = error.message


def _ask_tournament(tournament: int, read: Callable[..., Any], answers: Answers) -> None:
    rows = [*read_rounds(tournament, read("rounds", tournament=tournament, limit=ROUNDS))]
    rounds = [row for row in rows if row is not None]
    answers.odd_rounds += len(rows) - len(rounds)
    answers.rounds += rounds
    if any(round_.deadline <= answers.now < round_.closes for round_ in rounds):
        zero = rows_of(read("round", tournament=tournament, number=0))
        answers.round_zero[tournament] = tuple(row["number"] for row in zero if isinstance(row.get("number"), int))
    names = read("datasets", tournament=tournament)
    answers.datasets[tournament] = tuple(map(str, names)) if isinstance(names, list) else ()


def _read(probe: ApiProbe, answers: Answers, name: str, **variables: object) -> Any:
    """What the only field of a document holds; None when it could not be read, and why is noted."""
    try:
        answer = probe.answer(probe.documents[name], variables)
    except ApiError as error:
        if error.temporary or error.code == "keys-refused":
            raise
        answers.unread.setdefault(name, error.message)
        return None
    if problems := messages_in(answer):
        answers.unread.setdefault(name, "; ".join(problems))
    data = answer.get("data")
    return data.get(answers.requests[name].fields[0].name) if isinstance(data, dict) else None


def _try(probe: ApiProbe, name: str, request: Request, answers: Answers) -> str | None:
    """What a request meets: None for an answer, or the words of its errors.

    A change is sent without the keys and with a field that no API has: it is not valid, and even a server that
    executed it would not know for whom.
    """
    document = probe.documents[name]
    try:
        if request.operation != "query":
            problems = messages_in(probe.answer(with_no_such_field(document), {}, signed=False))
            if not any(NO_SUCH_FIELD in problem for problem in problems):
                return NOT_TRIED
            return "; ".join(each for each in problems if gone_in(each) and NO_SUCH_FIELD not in each) or None
        variables = _samples(request, answers)
        if variables is None:
            return NOT_TRIED
        return "; ".join(messages_in(probe.answer(document, variables))) or None
    except ApiError as error:
        return error.message


def with_no_such_field(document: str) -> str:
    """A document whose outermost selection asks for one more field, which no API has."""
    depth = 0
    for at, mark in enumerate(document):
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if mark == "{" and depth == 0:
            return f"{document[: at + 1]} {NO_SUCH_FIELD} {document[at + 1 :]}"
    raise ValueError("the document selects nothing")


def _samples(request: Request, answers: Answers) -> dict[str, object] | None:
    """Values for a query's variables, from what was read; None where one that must be given is not there."""
    model = next(iter(answers.models), None)
    tournament = model.tournament if model and model.tournament else int(Tournament.CLASSIC)
    file = next(iter(answers.files), None)
    files = answers.datasets.get(tournament) or ("live.parquet",)
    known: dict[str, object] = {
        "tournament": tournament,
        "limit": 1,
        "number": next((round_.number for round_ in answers.rounds if round_.tournament == tournament), 0),
        "modelId": model.id if model else None,
        "id": file.id if file else None,
        "filename": files[0] if request.fields[0].name == "dataset" else "predictions.csv",
    }
    if any(kind.endswith("!") and known.get(name) is None for name, kind in request.variables.items()):
        return None
    return {name: known.get(name) for name in request.variables}


def messages_in(answer: Mapping[str, Any]) -> list[str]:
    """What an answer's errors say. Numerai's error objects may lack `message` ({"error", "code"})."""
    errors = answer.get("errors") or []
    return [
        str(error.get("message") or error.get("error") or error) if isinstance(error, dict) else str(error)
        for error in (errors if isinstance(errors, list) else [errors])
    ]
