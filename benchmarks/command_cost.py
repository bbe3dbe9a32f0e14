"""CPU seconds of cheap commands, as multiples of `python -c "import click"`: run by hand, never by a test.

python benchmarks/command_cost.py [--runs 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Node

LIMITS = {"--help": 2.5, "node list": 4.0, "list-constants": None, "doctor": None}


def cpu_seconds(argv: list[str], environment: dict[str, str]) -> float:
    """User and system seconds of a program, its children included, as the system counts them at its end."""
    before = psutil.Process().cpu_times()
    subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = psutil.Process().cpu_times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    """Print a row per command: median seconds, the ratio to importing click, and the ratio that it may not exceed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "home"
        for name in ("alice", "bob", "carol"):
            HomeStore(folder).save_node(Node(f"numerai-{name}", name, "id", 8, "local", "/code", 2.0, 4096))
        environment = {**os.environ, "NUMERAI_HOME": str(folder)}
        base = statistics.median(cpu_seconds([sys.executable, "-c", "import click"], environment) for _ in range(runs))
        print(f"{'import click':16} {base:7.3f} s")
        for command, limit in LIMITS.items():
            argv = [sys.executable, "-m", "numerai_compute", *command.split()]
            seconds = statistics.median(cpu_seconds(argv, environment) for _ in range(runs))
            print(f"{command:16} {seconds:7.3f} s  x {seconds / base:4.2f}" + (f"  (at most {limit})" if limit else ""))


if __name__ == "__main__":
    main()
