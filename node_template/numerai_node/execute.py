"""Wraps a program in any language: gives it today's data in a work folder, takes its predictions.csv, submits it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import BadPredictions, ProgramFailed, own_exit_code
from .log import log
from .node import Node
from .program import child_environment, meaning, run_program

PREDICTIONS = "predictions.csv"
NOT_EXECUTABLE, NOT_FOUND = 126, 127


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
    try:
        code = run_program(argv, work, environment)
    except FileNotFoundError as error:
        raise ProgramFailed(f"The program {command[0]} was not found.", NOT_FOUND) from error
    except OSError as error:
        reason = error.strerror or error
        raise ProgramFailed(f"The program {command[0]} could not be started: {reason}.", NOT_EXECUTABLE) from error
    if code != 0:
        what = f"The program {command[0]} ended with exit code {code}{meaning(code)}."
        raise ProgramFailed(what, own_exit_code(code))
    log("finished", program=Path(argv[0]).name)


def _absolute(word: str) -> str:
    """A word that names a file here, made absolute, because the program runs in another folder."""
    path = Path(word)
    return str(path.absolute()) if path.is_file() else word
