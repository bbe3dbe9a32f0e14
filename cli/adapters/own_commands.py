"""Runs the tool's own commands as a person would: as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import NumeraiError
from ..process import run_process

_STOP_SECONDS = 10


class ChildCommands:
    """`ports.OwnCommands` with this interpreter."""

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], on_line: Callable[[str], None]
    ) -> int:
        return run_process(_argv(arguments), cwd=cwd, env=_environment(environment), on_line=on_line).exit_code

    @contextmanager
    def serving(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path
    ) -> Iterator[Mapping[str, Any]]:
        with log.open("ab") as errors:
            process = subprocess.Popen(
                _argv(arguments),
                cwd=cwd,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=os.name == "posix",  # Ctrl-C reaches the demo only, which then ends this one
            )
        try:
            assert process.stdout is not None  # noqa: S101  (asked for with PIPE above)
            line = process.stdout.readline()
            if not line:
                why = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
                raise NumeraiError(f"`numerai {' '.join(arguments)}` did not start: {' '.join(why)}")
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _argv(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", __package__.rpartition(".")[0], *arguments]


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMERAI_")}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **changes}
