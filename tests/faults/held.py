"""What Numerai holds after a fault: how many submissions for a round, its entry, and whether that one is right."""

from __future__ import annotations

from typing import Any

import pandas as pd
from numerai_compute.sandbox.data.source import Edition

from tests.faults.model import difference, predict
from tests.fixtures.sandbox import ServedSandbox
from tests.present import present

MODEL = "alice"
LIVE = "v5.3/live.parquet"
TOURNAMENT = 8


def latest_round(sandbox: ServedSandbox) -> int:
    """The number of the latest Classic round."""
    return max(int(each["number"]) for each in sandbox.state()["rounds"] if each["tournament"] == TOURNAMENT)


def held(sandbox: ServedSandbox, round_number: int | None = None, model: str = MODEL) -> list[dict[str, Any]]:
    """The submissions that were made for a model in a round (the latest for None), newest first: no clones."""
    number, model_id = round_number or latest_round(sandbox), sandbox.models[model]
    return [
        each
        for each in sandbox.state()["submissions"]
        if (each["model_id"], each["round_number"], each["clone_of"]) == (model_id, number, None)
    ]


def entry(sandbox: ServedSandbox, round_number: int | None = None, model: str = MODEL) -> dict[str, Any]:
    """Numerai's entry of a model in a round (the latest for None): its status, id and filename."""
    return sandbox.entry(model, round_number or latest_round(sandbox))


def wrong_with(sandbox: ServedSandbox, submission: dict[str, Any]) -> str | None:
    """What is wrong with the bytes of a submission; None when they are the right predictions of its day's rows."""
    own = sandbox.running.sandbox
    path = own.upload_store.path(submission["filename"])
    if not path.is_file():
        return "there is no file"
    try:
        frame = pd.read_csv(path)
        sent = dict(zip(frame["id"].astype(str), frame["prediction"].astype(float), strict=True))
    except (ValueError, KeyError) as error:
        return f"it is no file of predictions ({type(error).__name__})"
    number = submission["ids_round"]
    if number != submission["round_number"] and not submission["data_datestamp"]:
        return "its rows are those of the round before"
    day = Edition(number, present(own.rounds.get(TOURNAMENT, number)).data_datestamp)
    live = pd.read_parquet(own.catalog.file(LIVE, day).path)
    return difference(sent, {str(name): value for name, value in predict(live).items()})


def assert_submitted(
    sandbox: ServedSandbox,
    round_number: int | None = None,
    *,
    trigger_id: str | None,
    model: str = MODEL,
    made: int = 1,
    late: bool = False,
) -> dict[str, Any]:
    """The submission that Numerai's entry of the round names; AssertionError unless `made` were made, the entry is
    on-time (late for `late`) and not a clone of an earlier file, and the file is the right one, under that trigger."""
    found, counts = held(sandbox, round_number, model), entry(sandbox, round_number, model)
    assert len(found) == made, found
    assert counts["status"] == ("late" if late else "on-time"), counts
    mine = [each for each in found if each["filename"] == counts["filename"]]
    assert len(mine) == 1, f"the entry is of another file: {counts} {found}"
    assert mine[0]["late"] == late and mine[0]["trigger_id"] == trigger_id, mine
    assert wrong_with(sandbox, mine[0]) is None, wrong_with(sandbox, mine[0])
    return mine[0]
