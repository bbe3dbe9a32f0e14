"""How long commands take to start, beside the official tool's. `python -m benchmarks --only start` runs it.

The official tool asks Numerai for the tournaments before it shows any help: here it asks the sandbox.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import Taken, emit, row
from tests.e2e.command_line import sandbox_process

OFFICIAL = "numerai-cli==1.1.7"
BY_SANDBOX = """import sys
import numerapi.base_api
numerapi.base_api.API_TOURNAMENT_URL = sys.argv.pop(1)
from numerai import main
main()
"""
COMMANDS = ("--help", "node --help", "setup --help", "list-constants")


def measure(rounds: int, official: str | None) -> list[dict[str, Any]]:
    """A row for each command; `official` is a Python that has the official tool."""
    rows = []
    with tempfile.TemporaryDirectory() as home, sandbox_process("--models", "alice", cwd=Path(home)) as sandbox:
        environment = {**os.environ, "NUMERAI_HOME": home, "HOME": home}
        for command in COMMANDS:
            ours, theirs = Taken("numerai"), Taken(OFFICIAL.replace("==", " "))
            for _ in range(rounds):
                ours.run([sys.executable, "-m", "numerai_compute", *command.split()], env=environment)
                if official:
                    asked = [official, "-c", BY_SANDBOX, sandbox["url"], *command.split()]
                    theirs.run(asked, env=environment)
            rows.append(row(f"numerai {command}", ours, [theirs] if official else []))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--official", help="a Python that has the official tool")
    options = parser.parse_args()
    emit(measure(options.rounds, options.official))
