"""Whatever Numerai's address answers, a command ends with one of its exit codes and a message; nothing else happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import COMMANDS, PUBLIC_ID, SECRET_KEY, Hostile, generated, hostile_numerai

pytestmark = pytest.mark.e2e

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LARGEST_MIB = 300
TOGETHER = 24
"""How many cases one process works on."""
CASES = generated(seed=10, each=2)
BATCHES = [CASES[start : start + TOGETHER] for start in range(0, len(CASES), TOGETHER)]
ROOT = Path(__file__).parents[2]


def environment(folder: Path, url: str, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMERAI_", "AWS_"))}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "HOME": str(folder / "user"),
        "TMPDIR": str(folder / "temporary"),
        "COLUMNS": "200",
        "NUMERAI_HOME": str(home),
        "NUMERAI_API_URL": url,
        "NUMERAI_PUBLIC_ID": PUBLIC_ID,
        "NUMERAI_SECRET_KEY": SECRET_KEY,
        "NUMERAI_EXECUTOR": "process",
    }


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder beside the homes: sizes and times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] not in ("homes", "screen") and path.is_file():
            found[str(relative)] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with hostile_numerai() as served:
        yield served


@pytest.fixture(scope="module")
def template(hostile: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home that has a node, made with honest answers."""
    folder = tmp_path_factory.mktemp("template")
    for name in ("user", "temporary", "code", "victim"):
        (folder / name).mkdir()
    (folder / "code" / "Dockerfile").write_text('FROM python:3.13-slim\nCMD ["python", "main.py"]\n')
    (folder / "code" / "main.py").write_text("print('hello')\n")
    (folder / "victim" / "file").write_text("theirs")
    for command in COMMANDS[:2]:
        done = subprocess.run(
            [sys.executable, "-m", "numerai_compute", *command],
            cwd=folder,
            env=environment(folder, f"{hostile.url}/honest", folder / "homes" / "template"),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("batch", range(len(BATCHES)))
def test_a_hostile_answer_is_said_and_no_more(hostile: Hostile, template: Path, tmp_path: Path, batch: int) -> None:
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    before = listing(folder)
    lines = []
    for number, kind in enumerate(BATCHES[batch]):
        home = folder / "homes" / str(number)
        shutil.copytree(folder / "homes" / "template", home)
        case = {"environment": {"NUMERAI_HOME": str(home), "NUMERAI_API_URL": f"{hostile.url}/{kind}"}}
        more = () if number % 5 else (("doctor", "--api"),)
        lines.append(json.dumps({**case, "commands": (*COMMANDS, *more)}))
    worker = subprocess.run(
        [sys.executable, "-m", "tests.hostile", str(folder)],
        cwd=folder,
        env=environment(folder, hostile.url, folder / "homes" / "none"),
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
    )
    reports = [json.loads(line) for line in worker.stdout.splitlines()]
    faults = []
    for kind, report in zip(BATCHES[batch], reports, strict=False):
        output = report["output"]
        wrong = [code for code in report["codes"] if code not in (0, 1, 2, 3)]
        faults += [f"{kind}: exit codes {report['codes']}"] if wrong else []
        for words in ("Traceback", "bug in numerai", SECRET_KEY):
            faults += [f"{kind}: {words}: {output[-3000:]}"] if words in output else []
        faults += [f"{kind}: control characters {found!r}"] if (found := CONTROL.findall(output)) else []
        faults += [f"{kind}: {report['peak']:.0f} MiB"] if report["peak"] > LARGEST_MIB else []
    assert not faults, "\n".join(faults)
    assert worker.returncode == 0, worker.stderr
    assert len(reports) == len(BATCHES[batch])
    assert listing(folder) == before
    assert not hostile.strayed


@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
@pytest.mark.parametrize("kind", ["giant", "bomb-gzip", "bomb-objects"])
def test_a_command_as_it_is_stays_small(hostile: Hostile, template: Path, tmp_path: Path, kind: str) -> None:
    measured = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        " print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured, sys.executable, "-m", "numerai_compute", "setup"],
        cwd=template,
        env=environment(template, f"{hostile.url}/{kind}", tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    code, peak = map(int, done.stdout.split()[-2:])
    assert code == 1, done.stdout + done.stderr
    assert peak / (1 << (20 if sys.platform == "darwin" else 10)) < LARGEST_MIB


@pytest.mark.parametrize("name", ["numerai-../../../../victim", "../../../victim", "..", "numerai-alice/../../x"])
def test_a_planted_record_deletes_nothing(hostile: Hostile, template: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    home = folder / "homes" / "template"
    nodes = json.loads((home / "nodes.json").read_text())
    record = {**nodes["nodes"].pop("numerai-alice"), "name": name, "model_name": name.partition("-")[2] or name}
    (home / "nodes.json").write_text(json.dumps({**nodes, "nodes": {name: record}}))
    before = listing(folder)
    for model in (name, record["model_name"]):
        done = subprocess.run(
            [sys.executable, "-m", "numerai_compute", "node", "-m", model, "destroy", "--yes", "--force"],
            cwd=folder,
            env=environment(folder, f"{hostile.url}/honest", home),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (1, 2, 3), done.stdout + done.stderr
        assert "bug in numerai" not in done.stdout + done.stderr
    assert listing(folder) == before
    assert (folder / "victim" / "file").read_text() == "theirs"
