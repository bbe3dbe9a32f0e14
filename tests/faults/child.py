"""What runs in a child process: a node with the real runtime, or numerapi as its README uses it.

Imported by the fork server, so that a child starts in milliseconds with everything loaded. A child's sleeps move the
sandbox's clock instead of lasting: half a window of waiting is then over in a moment.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults import warp

NODE_TEMPLATE = Path(__file__).parents[2] / "node_template"
CHUNK = 1 << 14
"""How many bytes numerapi writes at once here; with its own mebibyte the small file would show nothing."""

sys.path.insert(0, str(NODE_TEMPLATE))
import apprise  # noqa: E402
import numerai_node.__main__  # noqa: E402  with the clock above
import numerapi  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow.parquet  # noqa: E402, F401
import requests  # noqa: E402
from numerai_node.node import Node  # noqa: E402
from numerai_node.running import run_and_submit  # noqa: E402

from tests.faults.job import Job  # noqa: E402
from tests.faults.model import features_of, predict  # noqa: E402

apprise.Apprise().add("json://127.0.0.1/")  # loads every notification service, which lasts


def work(job: Job) -> None:
    """Do the job and end the process with its exit code; everything that it prints goes into its output file."""
    descriptor = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.clear()
    os.environ.update(job.environment)
    os.chdir(job.folder)
    tempfile.tempdir = os.environ["TMPDIR"]  # as it stands, without a look whether it can be written
    warp.begin(job.sandbox, job.skew)
    for name, value in job.patches.items():
        module_name, _, attribute = name.rpartition(".")
        module = importlib.import_module(module_name)
        assert hasattr(module, attribute), name
        setattr(module, attribute, value)
    if job.what == "cli":
        numerai_node.__main__.main(job.arguments)
    elif job.what == "node":
        run_and_submit(lambda node: _node(node, job.spoil))
    else:
        _numerapi(job)


def _node(node: Node, spoil: str) -> None:
    columns = features_of(node.columns("live.parquet"))
    live = node.live(columns)
    node.submit(SPOILED[spoil](predict(live)))


def _numerapi(job: Job) -> None:
    """Download, predict, upload, as numerapi's README does it; the result is one line of JSON."""
    numerapi.base_api.API_TOURNAMENT_URL = job.environment["NUMERAI_API_URL"]
    numerapi.utils.DOWNLOAD_CHUNK_SIZE = CHUNK
    limits = _shorten_time_limits()
    try:
        api = numerapi.NumerAPI(verbosity="critical", show_progress_bars=False)
        live = pd.read_parquet(api.download_dataset("v5.3/live.parquet"))
        frame = SPOILED[job.spoil](predict(live))
        if isinstance(frame, Path):
            frame = pd.read_csv(frame)
        elif isinstance(frame, pd.Series):
            frame = frame.rename_axis("id").reset_index()
        model = job.environment["MODEL_ID"]
        if job.spoil == "index":
            submission = api.upload_predictions(df=predict(live).to_frame(), model_id=model)
        else:
            frame.to_csv("predictions.csv", index=False)
            submission = api.upload_predictions("predictions.csv", model_id=model)
    except Exception as error:  # noqa: BLE001  whatever it raises is the result
        result = {"error": type(error).__name__, "message": str(error).splitlines()[0] if str(error) else ""}
    else:
        result = {"submission": submission}
    if "timed out" in result.get("message", ""):
        result = {"error": result["error"], "message": "timed out"}
        warp.slept += limits[-1]
    print(json.dumps({**result, "waited": round(warp.slept)}), flush=True)


def _shorten_time_limits() -> list[float]:
    """Let every request that has a time limit reach it after a second; returns the list of the real limits."""
    real, send = [0.0], requests.Session.send

    def sooner(session: requests.Session, request: Any, **options: Any) -> Any:
        limit = options.get("timeout")
        if limit is not None:
            real.append(limit[1] if isinstance(limit, tuple) else limit)
            options["timeout"] = 1.0
        return send(session, request, **options)

    requests.Session.send = sooner  # type: ignore[assignment,method-assign]
    return real


def _above_one(right: pd.Series) -> pd.Series:
    return right.where(right.index != right.index[3], 1.5)


def _nan(right: pd.Series) -> pd.Series:
    return right.where(right.index != right.index[3])


def _doubled(right: pd.Series) -> pd.DataFrame:
    frame = right.rename_axis("id").reset_index()
    frame["id"] = frame["id"].where(frame.index != 4, frame["id"].iloc[3])
    return frame


def _foreign(right: pd.Series) -> pd.DataFrame:
    frame = right.rename_axis("id").reset_index()
    frame.loc[:9, "id"] = [f"stranger{number}" for number in range(10)]
    return frame


SPOILED: dict[str, Any] = {
    "": lambda right: right,
    "index": lambda right: right,
    "nan": _nan,
    "above-one": _above_one,
    "constant": lambda right: right * 0 + 0.5,
    "doubled": _doubled,
    "foreign": _foreign,
    "missing": lambda right: right.iloc[:-5],
    "empty": lambda right: right.iloc[:0],
}
"""How predictions are spoiled before they are submitted."""
