"""From Numerai's call to an accepted submission, 42 features and a kept model: a node beside a bare script.

The bare script (numerapi, pandas, LightGBM) only downloads, predicts and uploads; it is started by hand, with the model
beside it. The node is called by the sandbox's webhook as a round opens, and ends when Numerai has confirmed what it
sent. What the node's daemon and the run's supervisor compute is counted with it; Docker's own work is not.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.measuring import Taken, emit, row
from tests.conftest import missing_docker
from tests.e2e.command_line import Shell
from tests.e2e.conftest import opened_shell

SIZE = ("--seed", "1", "--eras", "6", "--rows-per-era", "6900", "--features", "3555", "--rate-limit", "100000")
MODELS = ("--models", "alice,bob")
SPENT = """import atexit, resource
atexit.register(lambda: print("spent", *(lambda u: (u.ru_utime + u.ru_stime, u.ru_maxrss))(resource.getrusage(0))))
"""
BARE = """import json, sys, time  # numerapi takes the keys from the environment
import lightgbm, numerapi, numerapi.base_api, pandas

numerapi.base_api.API_TOURNAMENT_URL, model_id, model = sys.argv[1:]
api = numerapi.NumerAPI(show_progress_bars=False)
api.download_dataset("v5.3/features.json", "features.json")
api.download_dataset("v5.3/live.parquet", "live.parquet")
features = json.load(open("features.json"))["feature_sets"]["small"]
live = pandas.read_parquet("live.parquet", columns=features)
values = lightgbm.Booster(model_file=model).predict(live, num_threads=1)
pandas.Series(values, live.index, name="prediction").rank(pct=True).to_csv("predictions.csv")
api.upload_predictions("predictions.csv", model_id=model_id)
print(time.time())
"""


def measure(rounds: int) -> list[dict[str, Any]]:
    """A row for a node that is a process, and one for a container where an engine answers."""
    ways = {"a process": "process"} | ({} if missing_docker() else {"a container": "docker"})
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model.txt"
        return [_measured(name, executor, rounds, model) for name, executor in ways.items()]


def _measured(name: str, executor: str, rounds: int, model: Path) -> dict[str, Any]:
    """`model` is what the process has trained, which is the first to be measured."""
    node, bare = Taken(f"node as {name}"), Taken("script with numerapi, LightGBM and pandas, as a process")
    with tempfile.TemporaryDirectory() as temporary, opened_shell(Path(temporary), executor, *SIZE, *MODELS) as shell:
        _deploy(shell)
        if not model.exists():
            shutil.copy(next(shell.home.rglob("model.txt")), model)
        for _ in range(rounds + 1):
            _node_run(shell, node)
            _bare_run(shell, model, bare)
        for taken in (node, bare):  # the first run of each reads its programs from the disk
            taken.cpu, taken.wall, taken.mib = taken.cpu[1:], taken.wall[1:], taken.mib[1:]
    return row(f"called to accepted, {name}", node, [bare])


def _deploy(shell: Shell) -> None:
    """Deploy the Classic example, which trains in its first run."""
    shell.ok("copy-example", "-d", "node")
    predict = shell.folder / "node" / "predict.py"
    predict.write_text(SPENT + predict.read_text())
    shell.ok("setup")
    shell.ok("node", "-m", "alice", "config", "--path", "node", "--cpu", "1", "--memory", "4096")
    shell.ok("node", "-m", "alice", "deploy")
    shell.ok("node", "-m", "alice", "test")


def _node_run(shell: Shell, taken: Taken) -> None:
    """Open a round, and wait until Numerai lists the node's submission as on time."""
    daemon = psutil.Process(shell.ok("daemon", "status", "--json").json["pid"])
    before = _computed(daemon)
    requests.post(f"{shell.sandbox['url']}/sandbox/rounds", json={"tournament": 8}, timeout=60).raise_for_status()
    while not (wall := _until_accepted(shell)):
        time.sleep(0.1)
    log = shell.ok("node", "-m", "alice", "logs", "-f", "-n", "1000").out
    cpu, kib = map(float, re.findall(r"spent ([\d.]+) (\d+)", log)[-1])
    while (computed := _computed(daemon) - before) < cpu and shell.executor == "process":
        time.sleep(0.1)  # until the run's supervisor has ended, and counts as the daemon's
    taken.add(computed if shell.executor == "process" else computed + cpu, wall, kib / 1024)


def _until_accepted(shell: Shell) -> float | None:
    """Seconds from the opening of the latest round to the submission that counts for it."""
    state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=60).json()
    latest = max((one for one in state["rounds"] if one["tournament"] == 8), key=lambda one: one["number"])
    for entry in state["entries"]:
        if (entry["model"], entry["round_number"], entry["status"]) == ("alice", latest["number"], "on-time"):
            return _moment(entry["timestamp"]) - _moment(latest["open_time"])
    return None


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _bare_run(shell: Shell, model: Path, taken: Taken) -> None:
    folder = shell.folder / "bare"
    folder.mkdir(exist_ok=True)
    (folder / "bare.py").write_text(BARE)
    (folder / "live.parquet").unlink(missing_ok=True)  # a new round's is another file
    argv = [sys.executable, "bare.py", shell.sandbox["url"], shell.sandbox["models"]["bob"], str(model)]
    start = time.time()
    printed = taken.run(argv, cwd=folder, env=shell.environment)
    taken.wall[-1] = round(float(printed.split()[-1]) - start, 4)


def _computed(process: psutil.Process) -> float:
    """CPU seconds of a process and of its children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    emit(measure(parser.parse_args().rounds))
