"""What Numerai holds after a fault: how many submissions for a round, and whether the one that counts is right."""

from __future__ import annotations

from typing import Any

import pandas as pd
from numerai_compute.sandbox.data.source import Edition

from tests.faults.model import difference, predict
from tests.fixtures.sandbox import ServedSandbox, wait_for

MODEL = "alice"
LIVE = "v5.3/live.parquet"
TOURNAMENT = 8


def latest_round(sandbox: ServedSandbox) -> int:
    """The number of the latest Classic round."""
    return max(each["number"] for each in sandbox.state()["rounds"] if each["tournament"] == TOURNAMENT)


def held(sandbox: ServedSandbox, round_number: int | None = None, model: str = MODEL) -> list[dict[str, Any]]:
    """The submissions of a model for a round (the latest and what waits for the next), none pending but those."""
    number = round_number or latest_round(sandbox)
    numbers = {number} if round_number else {number, number + 1}
    model_id = sandbox.models[model]

    def judged() -> list[dict[str, Any]] | None:
        found = [
            each
            for each in sandbox.state()["submissions"]
            if each["model_id"] == model_id and each["round_number"] in numbers
        ]
        pending = [each for each in found if each["status"] == "pending" and not each["queued"]]
        return None if pending else [{}, *found]

    return list(wait_for(judged)[1:])


def wrong_with(sandbox: ServedSandbox, submission: dict[str, Any]) -> str | None:
    """What is wrong with the bytes of a submission; None when they are the right predictions of its day's rows."""
    own = sandbox.running.sandbox
    number = submission["round_number"]
    if submission["data_datestamp"]:
        days = {each.data_datestamp: each.number for each in own.rounds.all(TOURNAMENT)}
        number = days[submission["data_datestamp"]]
    path = own.upload_store.path(submission["filename"])
    if not path.is_file():
        return "there is no file"
    try:
        frame = pd.read_csv(path)
        sent = dict(zip(frame["id"].astype(str), frame["prediction"].astype(float), strict=True))
    except (ValueError, KeyError) as error:
        return f"it is no file of predictions ({type(error).__name__})"
    day = Edition(number, own.rounds.get(TOURNAMENT, number).data_datestamp)
    live = pd.read_parquet(own.catalog.file(LIVE, day).path)
    return difference(sent, dict(predict(live).items()))


def assert_submitted(
    sandbox: ServedSandbox,
    round_number: int | None = None,
    *,
    trigger_id: str | None,
    model: str = MODEL,
    made: int = 1,
    late: bool = False,
) -> dict[str, Any]:
    """The one submission that counts for the round; AssertionError unless `made` were made and it is the right one,
    under that trigger."""
    found = held(sandbox, round_number, model)
    assert len(found) == made, found
    counting = [each for each in found if each["selected"]]
    assert len(counting) == 1, found
    assert counting[0]["status"] == "success"
    assert counting[0]["late"] == late, counting
    assert counting[0]["trigger_id"] == trigger_id, counting
    assert wrong_with(sandbox, counting[0]) is None, wrong_with(sandbox, counting[0])
    return counting[0]
