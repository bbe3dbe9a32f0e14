"""Runs one attempt of a process run beside the daemon, so that it outlives it: `python -m ...supervisor FOLDER`.

The folder holds `spec.json`; the run's environment, which has the keys, comes on standard input. The supervisor holds
`lock` while it lives, makes `started` exactly once (whoever finds it there starts nothing), writes the output to the
run's log, keeps the limits, and leaves `result.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ...files.locks import Held, holding, is_held
from ...files.private import replacing
from ...process import kill_group
from ...redaction import Redactor
from .run_log import LineSplitter, LogWriter
from .start_failures import fault_of, processor, programs_of

LOOK_SECONDS = 0.1
_DRAIN_SECONDS = 5.0
SECRETS = ("NUMERAI_SECRET_KEY", "NUMERAI_PUBLIC_ID")


@dataclass(frozen=True)
class Spec:
    """What to run: `deadline` in seconds since 1970, `memory_mib` in MiB for the whole tree of processes."""

    argv: list[str]
    cwd: str
    log: str
    deadline: float
    memory_mib: int
    grace_seconds: int


@dataclass(frozen=True)
class Result:
    """How it ended: `reason` is `ended`, `cancelled`, `timed-out`, `out-of-memory` or `could-not-start`."""

    exit_code: int | None
    reason: str
    message: str | None = None


def write_spec(folder: Path, spec: Spec) -> None:
    """Lay down what the supervisor of this folder runs."""
    _write(folder / "spec.json", asdict(spec))


def read_result(folder: Path) -> Result | None:
    """How the attempt of this folder ended; None as long as it has not."""
    try:
        return Result(**json.loads((folder / "result.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def was_started(folder: Path) -> bool:
    """Whether a supervisor has begun the attempt of this folder."""
    return (folder / "started").exists()


def is_alive(folder: Path) -> bool:
    """Whether a supervisor of this folder lives."""
    return is_held(folder / "lock")


def ask_to_stop(folder: Path) -> None:
    """Let the supervisor of this folder end the attempt."""
    (folder / "cancel").touch()


def end_orphans(folder: Path) -> None:
    """Kill what a supervisor that died has left running."""
    try:
        child = json.loads((folder / "child.json").read_text(encoding="utf-8"))
        process = psutil.Process(child["pid"])
        if abs(process.create_time() - child["created"]) < 1:
            _kill_tree(process, grace_seconds=0)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return


def main(folder: Path) -> int:
    """Execute the attempt of this folder, unless it was executed before. Returns 0 when there is a result."""
    content = sys.stdin.buffer.read()
    if not content.endswith(b"\n"):  # the daemon died before it had said everything: it will start another supervisor
        return 1
    environment: dict[str, str] = json.loads(content)
    try:
        with holding(folder / "lock"):
            try:
                os.close(os.open(folder / "started", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                return 1
            spec = Spec(**json.loads((folder / "spec.json").read_text(encoding="utf-8")))
            _write(folder / "result.json", asdict(_execute(folder, spec, environment)))
    except Held:
        return 1
    return 0


def _execute(folder: Path, spec: Spec, environment: Mapping[str, str]) -> Result:
    try:
        process = subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
        )
    except OSError as error:
        look = programs_of(Path(spec.cwd), environment.get("PATH", os.defpath))
        program = look(spec.argv[0]) if os.name == "posix" else None
        why = (program and fault_of(program, look, processor())) or error.strerror or error
        return Result(None, "could-not-start", f"{spec.argv[0]} cannot be started: {why}.")
    tree = psutil.Process(process.pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        _write(folder / "child.json", {"pid": process.pid, "created": tree.create_time()})
    reader = threading.Thread(target=_copy_output, args=(process, spec, environment), daemon=True)
    reader.start()
    reason = _watch(process, tree, folder, spec)
    if reason != "ended":
        _kill_tree(tree, grace_seconds=spec.grace_seconds if reason != "out-of-memory" else 0)
    code = process.wait()
    kill_group(process.pid)  # as in a container, nothing outlives the main process
    reader.join(_DRAIN_SECONDS)
    return Result(128 - code if code < 0 else code, reason)


def _watch(process: subprocess.Popen[bytes], tree: psutil.Process, folder: Path, spec: Spec) -> str:
    """Wait for the end of the process, or for a reason to end it."""
    limit = spec.memory_mib * 1024 * 1024
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
            return "ended"
        if (folder / "cancel").exists():
            return "cancelled"
        if time.time() >= spec.deadline:
            return "timed-out"
        if _memory(tree) > limit:
            return "out-of-memory"


def _memory(tree: psutil.Process) -> int:
    """The resident memory of a process and everything below it, in bytes."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [tree, *tree.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_info().rss
    return total


def _kill_tree(tree: psutil.Process, grace_seconds: float) -> None:
    """SIGTERM to a process and everything below it, SIGKILL to what is left after the grace."""
    processes = []
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = [tree, *tree.children(recursive=True)]
    if grace_seconds > 0:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, processes = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_DRAIN_SECONDS)


def _copy_output(process: subprocess.Popen[bytes], spec: Spec, environment: Mapping[str, str]) -> None:
    redact = Redactor(environment.get(name) for name in SECRETS)
    splitter = LineSplitter(redact)
    assert process.stdout is not None  # noqa: S101  (asked for with PIPE)
    with LogWriter(Path(spec.log), redact) as log:
        while piece := os.read(process.stdout.fileno(), 1 << 16):
            for line in splitter.feed(piece):
                log.add(line)
        for line in splitter.end():
            log.add(line)


def _write(path: Path, content: object) -> None:
    with replacing(path) as file:
        file.write(json.dumps(content).encode())


if __name__ == "__main__":
    if os.name == "posix":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(main(Path(sys.argv[1])))
