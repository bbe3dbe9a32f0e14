"""Seconds of `numerai node deploy` on the emulated AWS after only code has changed: run by hand, never by a test.

The second figure is what the command and the Docker command computed, on a machine that does other things too.

python -m benchmarks.redeploy [--runs 5] [--profile]

The image, the registry and the command are real. Terraform takes no part in a deploy, so what it would have made is
made here directly: a repository, the webhook's table, and the record of the cluster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import boto3
import msgspec
import psutil
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Node
from numerai_compute.providers.aws.settings import AwsPaths
from numerai_compute.providers.aws.stack_file import Stack, stack_node

from tests.aws.emulator import ACCOUNT, PYTHON_IMAGE, REGION, Emulator, emulated_aws

NAME = "numerai-alice"
LIMIT = 2.0
"""Seconds that the whole command may take."""
TEMPLATE = Path(__file__).parents[1] / "node_template"
DOCKERFILE = f'FROM {os.environ.get("PYTHON_IMAGE", PYTHON_IMAGE)}\nCOPY . /node\nCMD ["python", "/node/predict.py"]\n'


def node_folder(folder: Path) -> Path:
    """The files of the Python example, and a Dockerfile that installs nothing: no layer but the code's changes."""
    shutil.copytree(TEMPLATE / "tournament-python3", folder)
    shutil.copytree(TEMPLATE / "numerai_node", folder / "numerai_node")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def cluster(emulator: Emulator, home: Path, folder: Path) -> None:
    """What `config` would have made of it, as far as a deploy looks at it."""
    node = Node(NAME, "alice", "id-alice", 8, "aws", str(folder), 1.0, 2048)
    HomeStore(home).save_node(node)
    boto3.client("ecr").create_repository(repositoryName=f"numerai/{NAME}")
    boto3.client("dynamodb").create_table(
        TableName="numerai-webhook",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    repository = f"{emulator.registry}/numerai/{NAME}"
    record = Stack(
        cluster="numerai",
        account=ACCOUNT,
        region=REGION,
        begun=True,
        applied="by hand",
        outputs={"webhook_table": "numerai-webhook", "nodes": {NAME: {"repository_url": repository}}},
        nodes={NAME: stack_node(node, None, None, datetime.now(timezone.utc))},
    )
    paths = AwsPaths(home)
    paths.root.mkdir(parents=True)
    paths.stack.write_bytes(msgspec.json.encode(record))


def deploy(*before: str) -> tuple[float, float]:
    """Seconds that the command takes, and seconds that it computes."""
    start, cpu = time.perf_counter(), _computed()
    argv = [sys.executable, *before, "-m", "numerai_compute", "node", "deploy"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode or "is deployed" not in done.stdout:
        sys.exit(done.stdout + done.stderr)
    if before:
        sys.stdout.write("\n".join(sorted(done.stderr.splitlines(), key=_microseconds)[-40:]) + "\n")
    return seconds, _computed() - cpu


def _computed() -> float:
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def _microseconds(line: str) -> int:
    parts = line.partition("import time:")[2].split("|")
    return int(parts[1]) if len(parts) == 3 and parts[1].strip().isdigit() else -1


def main() -> None:
    """Print the seconds of the first deploy, of each one after a change of the code, and of one without a change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="Say what takes longest to import.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, emulated_aws() as emulator:
        home, folder = Path(temporary) / "home", node_folder(Path(temporary) / "node")
        os.environ.update({**emulator.environment, "NUMERAI_HOME": str(home)})
        cluster(emulator, home, folder)
        _print("first", deploy())
        taken = []
        for number in range(options.runs):
            with (folder / "predict.py").open("a") as file:
                file.write(f"# {number}\n")
            taken.append(deploy())
            _print("code changed", taken[-1])
        _print("nothing changed", deploy(*(["-X", "importtime"] if options.profile else [])))
        seconds, computed = (statistics.median(each) for each in zip(*taken, strict=True))
        _print("median", (seconds, computed), f"  (at most {LIMIT:g} s)")


def _print(what: str, took: tuple[float, float], more: str = "") -> None:
    print(f"{what:15}  {took[0]:6.2f} s  {took[1]:6.2f} s computed{more}", flush=True)


if __name__ == "__main__":
    main()
