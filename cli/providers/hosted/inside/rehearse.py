"""Runs a pickle as Numerai does: `python rehearse.py PICKLE LIVE BENCHMARKS OUTPUT RESULT CHECK`.

What numerai-predict checks is checked in its order (github.com/numerai/numerai-predict, predict.py, read 2026-11), then
Numerai's rules for a submission, by the node runtime's own `rules` in the folder CHECK, which the model cannot import.
The model runs in a process of its own, so that one that is killed can still be explained.
"""

from __future__ import annotations

import dis
import faulthandler
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import CodeType
from typing import Any

OFFLINE = (
    "Name or service not known",
    "name resolution",
    "Network is unreachable",
    "NameResolutionError",
    "No address associated",
)
VERSION = "{}.{}".format(*sys.version_info[:2])


def main(pickle: str, live: str, benchmarks: str, output: str, result: str, check: str) -> None:
    """Write into the result how it went: `kind` and `why` where it failed, else rows, seconds and memory."""
    began = time.monotonic()
    child = subprocess.run([sys.executable, __file__, "--model", pickle, live, benchmarks, output, result], check=False)
    found: dict[str, Any] = {}
    try:
        with Path(result).open(encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        pass
    if child.returncode == -9:
        found = {"kind": "memory", "why": "it was killed for its memory"}
    elif child.returncode < 0:
        why = f"Python {VERSION} crashed (signal {-child.returncode}), as it does on a pickle of another Python"
        found = {"kind": "crash", "why": why}
    elif not found:
        found = {"kind": "model", "why": f"the model ended the process with exit code {child.returncode}"}
    elif "why" not in found:
        found = {**found, **rules(output, live, check)}
    found["seconds"] = round(time.monotonic() - began, 1)
    write(result, found)


def write(path: str, found: dict[str, Any]) -> None:
    """Leave what was found where the host reads it."""
    with Path(path).open("w", encoding="utf-8") as file:
        json.dump(found, file)


def rules(output: str, live: str, check: str) -> dict[str, Any]:
    """Whether Numerai would take the predictions."""
    import pandas as pd

    sys.path.insert(0, check)
    from numerai_node.errors import BadPredictions
    from numerai_node.rules import check_predictions

    universe = pd.read_parquet(live, columns=[]).reset_index()
    try:
        return {"rows": len(check_predictions(output, universe, 8))}
    except BadPredictions as error:
        problems = getattr(error, "problems", None) or ()
        return {"kind": "rules", "why": "; ".join([str(error), *map(str, problems)])}


class Wrong(Exception):
    """What numerai-predict would refuse."""

    def __init__(self, kind: str, why: str):
        super().__init__(why)
        self.kind = kind


def model(pickle: str, live: str, benchmarks: str, output: str, result: str) -> None:
    """The model's own process."""
    try:
        predict(pickle, live, benchmarks, output)
        write(result, {"memory_mib": peak_mib()})
    except Wrong as wrong:
        sys.stdout.write(f"{wrong}\n")
        write(result, {"kind": wrong.kind, "why": str(wrong)})
    except MemoryError:
        traceback.print_exc()
        write(result, {"kind": "memory", "why": "it ran out of memory"})
    except BaseException as error:  # noqa: BLE001  whatever the model raises, SystemExit too, is the reason
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        offline = any(word in text or word in traceback.format_exc() for word in OFFLINE)
        write(result, {"kind": "network" if offline else "model", "why": text})


def predict(pickle: str, live: str, benchmarks: str, output: str) -> None:
    """What numerai-predict does, up to the CSV file."""
    import inspect

    import pandas as pd

    function = loaded(pickle)
    wanted = len(inspect.signature(function).parameters)
    if wanted not in (1, 2):
        raise Wrong("model", f"the function in the pickle must have 1 or 2 arguments, not {wanted}")
    try:
        given = [pd.read_parquet(path) for path in (live, benchmarks)[:wanted]]
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise Wrong("data", f"{type(error).__name__}: {error}") from error
    ids = given[0].index.copy()  # the model may change what it is given
    predictions = function(*given)
    if type(predictions) is not pd.DataFrame:
        raise Wrong("rules", f"it returned {type(predictions).__name__} instead of a DataFrame")
    if len(predictions) == 0:
        raise Wrong("rules", "it returned 0 predictions")
    if predictions.index.name != ids.name or not predictions.index.isin(ids).any():
        raise Wrong("rules", "the index of what it returned must be live_features.index, the ids")
    if predictions.isna().any().any():
        raise Wrong("rules", "it returned at least 1 NaN prediction")
    if not predictions.iloc[:, 0].between(0, 1).all():
        raise Wrong("rules", "its predictions are not between 0 and 1")
    predictions.to_csv(output, index=True)


def loaded(path: str) -> Any:
    """The function in a pickle."""
    import pickle

    import pandas as pd

    try:
        function = pd.read_pickle(path)  # noqa: S301  the user's own
    except TypeError as error:
        raise Wrong("python", f"the pickle does not fit Python {VERSION}: {error}") from error
    except ModuleNotFoundError as error:
        raise Wrong("import", f"{error}: it is not in Numerai's image, and no file of the folder is") from error
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError) as error:
        raise Wrong("model", f"it is no pickle that can be read: {error}") from error
    if not own_bytecode(getattr(function, "__code__", None)):
        raise Wrong("python", f"the pickle was made by another Python than {VERSION}")
    return function


def own_bytecode(code: CodeType | None) -> bool:
    """Whether a function's code is that of this Python, as far as its beginning shows: since 3.11 there is RESUME 0."""
    resume = dis.opmap.get("RESUME")
    if code is None or resume is None:
        return True
    before = {dis.opmap.get(name) for name in ("COPY_FREE_VARS", "MAKE_CELL", "RETURN_GENERATOR", "POP_TOP")}
    content = code.co_code
    for at in range(0, len(content), 2):
        if content[at] not in before:
            return (content[at], content[at + 1]) == (resume, 0)
    return False


def peak_mib() -> int | None:
    """The most memory that this process has used, in MiB."""
    try:
        import resource
    except ImportError:  # Windows has none; a container does
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    if "NUMERAI_ALARM" in os.environ:  # which ends the process, and so the container, where nobody else does
        faulthandler.dump_traceback_later(int(os.environ["NUMERAI_ALARM"]), exit=True)
    model(*sys.argv[2:]) if sys.argv[1] == "--model" else main(*sys.argv[1:])
