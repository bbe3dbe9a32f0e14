"""Measures this tool beside what a user would do otherwise, and writes docs/benchmarks.md.

python -m benchmarks [--share 0.05,0.25] [--only start,accepted,training,scoring,forest] [--rounds 3] [--data FOLDER]

What is measured anew replaces the earlier figures of the same things in benchmarks/results.json; the rest stays, under
the run that it is of. --page only writes the page. polars and the official tool are installed in environments of their
own, below build/; where that fails they are left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT
from benchmarks.page import PAGE, RESULTS, SECTIONS, write

PACKAGES = ("numpy", "pandas", "pyarrow", "lightgbm", "numerai-tools", "numerapi")
OTHERS = {"polars": "polars==2.1.0", "official": "numerai-cli==1.1.7"}


def main() -> None:
    """Run each section in a process of its own, keep what it measured, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", default="0.05", help="shares of Numerai's size; 1 takes an hour and 12 GB of disk")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", default="small,medium", help="feature sets to train on; all takes 9 GiB at 0.05")
    parser.add_argument("--data", type=Path, help="keep what the sandbox writes")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    if not options.page:
        with tempfile.TemporaryDirectory() as temporary:
            for section in options.only.split(","):
                for share in [None] if section in ("start", "accepted") else map(float, options.share.split(",")):
                    rows = measured(section, share, options, options.data or Path(temporary))
                    keep(section, rows, options, share)
    write()
    print(f"wrote {PAGE.relative_to(ROOT)}")


def measured(section: str, share: float | None, options: argparse.Namespace, data: Path) -> list[dict[str, Any]]:
    """The rows of one section at one size."""
    module = {"training": "training_memory"}.get(section, section)
    argv, environment = (
        [sys.executable, "-m", f"benchmarks.{module}", "--rounds", str(options.rounds)],
        dict(os.environ),
    )
    if share is not None:
        argv += ["--share", str(share)]
    if section == "training":
        argv += ["--data", str(data), "--sets", options.sets]
        if python := other("polars"):
            environment["PYTHONPATH"] = os.pathsep.join([site_packages(python), environment.get("PYTHONPATH", "")])
    if section == "start" and (python := other("official")):
        argv += ["--official", python]
    print(f"{section} {share or ''}", flush=True)
    done = subprocess.run(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def other(name: str) -> str | None:
    """A Python that has what others offer; None where it cannot be installed."""
    folder = ROOT / "build" / "benchmarks" / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "-qq", OTHERS[name]], check=False)
        if done.returncode:
            print(f"{OTHERS[name]} cannot be installed: left out", flush=True)
            return None
        (folder / "installed").touch()
    return str(python)


def site_packages(python: str) -> str:
    """Where that Python keeps its packages."""
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def keep(section: str, rows: list[dict[str, Any]], options: argparse.Namespace, share: float | None) -> None:
    """Put rows in the place of earlier ones of the same things."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"runs": {}, "sections": {}}
    number = str(max(map(int, results["runs"]), default=0) + 1)
    results["runs"][number] = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "command": f"python -m benchmarks --only {section}"
        + (f" --share {share:g}" if share else "")
        + (f" --sets {options.sets}" if section == "training" else ""),
        "rounds": options.rounds,
        "machine": machine(),
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
    new = {(row["what"], row["share"]) for row in rows}
    before = [row for row in results["sections"].get(section, []) if (row["what"], row["share"]) not in new]
    results["sections"][section] = [*before, *({**row, "run": number} for row in rows)]
    used = {row["run"] for section_rows in results["sections"].values() for row in section_rows}
    results["runs"] = {run: about for run, about in results["runs"].items() if run in used}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def machine() -> str:
    """What it was measured on, without its name."""
    import psutil

    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"


if __name__ == "__main__":
    main()
