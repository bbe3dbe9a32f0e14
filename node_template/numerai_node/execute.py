"""Wraps a program in any language: gives it today's data in a work folder, takes its predictions.csv, submits it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import BadPredictions, Interrupted, ProgramFailed, own_exit_code
from .log import log
from .node import Node
from .running import sigterm_held
from .settings import SECRET_VARIABLES

PREDICTIONS = "predictions.csv"
STOP_SECONDS = 5.0
NOT_EXECUTABLE, NOT_FOUND = 126, 127
MEANINGS = {
    65: "bad predictions",
    75: "a temporary failure",
    78: "a configuration error",
    126: "not executable",
    127: "command not found",
    137: "killed, perhaps for want of memory",
    139: "crashed: segmentation fault",
    143: "terminated",
}


def execute(node: Node, command: Sequence[str], *, csv: bool = False) -> None:
    """Run `command` in a fresh work folder and submit the predictions.csv that it writes there.

    The folder holds live.parquet, features.json where the tournament has one, and with `csv` live.csv. Raises
    `ProgramFailed` with the program's exit code (1 for 69, 73, 76 and 79, which would say what became of a
    submission), and `BadPredictions` when it wrote no file.
    """
    node.check_access()
    with tempfile.TemporaryDirectory(prefix="numerai-run-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        files = _provide(node, work, csv)
        _run(command, work, child_environment(os.environ, files))
        predictions = work / PREDICTIONS
        if not predictions.is_file():
            raise BadPredictions(f"The program ended well but wrote no {PREDICTIONS} in its folder.")
        node.submit(predictions)


def child_environment(environment: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, str]:
    """What the program sees: everything but the Numerai keys and whom to notify, plus where its files are."""
    kept = {name: value for name, value in environment.items() if name not in SECRET_VARIABLES}
    return kept | {name: str(path) for name, path in files.items()}


def _provide(node: Node, work: Path, csv: bool) -> dict[str, Path]:
    files = {"NUMERAI_CODE": Path.cwd(), "NUMERAI_PREDICTIONS": work / PREDICTIONS}
    files["NUMERAI_LIVE"] = work / "live.parquet"
    shutil.copyfile(node.live_file, files["NUMERAI_LIVE"])
    if "features.json" in node.dataset.files():
        files["NUMERAI_FEATURES"] = work / "features.json"
        shutil.copyfile(node.dataset.file("features.json"), files["NUMERAI_FEATURES"])
    if csv:
        files["NUMERAI_LIVE_CSV"] = work / "live.csv"
        write_csv(files["NUMERAI_LIVE"], files["NUMERAI_LIVE_CSV"])
    return files


def write_csv(parquet: Path, csv: Path) -> None:
    """The same rows as CSV, the id first, missing values empty, and no quotes where none are needed."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    table = pq.read_table(parquet)
    first = [name for name in ("id",) if name in table.column_names]
    table = table.select([*first, *(name for name in table.column_names if name not in first)])
    with csv.open("wb") as file:
        file.write((",".join(table.column_names) + "\n").encode())
        try:
            options = pc.WriteOptions(include_header=False, quoting_style="none")
            pc.write_csv(table, file, options)
        except pa.ArrowInvalid:
            file.truncate(0)
            file.seek(0)
            pc.write_csv(table, file)


def _run(command: Sequence[str], work: Path, environment: Mapping[str, str]) -> None:
    argv = [_absolute(word) for word in command]
    log("started", program=Path(argv[0]).name)
    process = None
    try:
        with sigterm_held():
            process = subprocess.Popen(argv, cwd=work, env=dict(environment))
        code = process.wait()
    except FileNotFoundError as error:
        raise ProgramFailed(f"The program {command[0]} was not found.", NOT_FOUND) from error
    except OSError as error:
        reason = error.strerror or error
        raise ProgramFailed(f"The program {command[0]} could not be started: {reason}.", NOT_EXECUTABLE) from error
    except (Interrupted, KeyboardInterrupt):
        if process is not None:
            _stop(process)
        raise
    if code != 0:
        code = code if code > 0 else 128 - code
        meaning = f" ({MEANINGS[code]})" if code in MEANINGS else ""
        raise ProgramFailed(f"The program {command[0]} ended with exit code {code}{meaning}.", own_exit_code(code))
    log("finished", program=Path(argv[0]).name)


def _absolute(word: str) -> str:
    """A word that names a file here, made absolute, because the program runs in another folder."""
    path = Path(word)
    return str(path.absolute()) if path.is_file() else word


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
