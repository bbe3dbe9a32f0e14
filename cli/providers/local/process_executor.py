"""Executes runs as processes: a virtual environment and a snapshot of the source per node, a supervisor per attempt."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...child_environment import PIP, PYTHON, child_environment
from ...errors import NumeraiError, ProviderError
from ...files.private import make_private_folder, owner_only, remove_tree
from ...models import Check, CheckStatus, Node, RunFailure, RunState
from ...ports import Artifact, Clock, Report
from ...process import run_process, spawn_detached
from ...source import DOCKERFILE, Source, copy_source
from ...source import source_hash as hash_of
from ..artifacts import artifacts_of, write_artifacts
from ..outcomes import Outcome, cancelled, ended, lost, timed_out
from . import supervisor
from .dockerfile import read_command
from .executor import Attempt, Control, StartFailed, writable_check
from .run_log import last_lines
from .settings import LocalPaths, LocalSettings
from .start_failures import LOOKED_AT, NOT_FOUND, processor, programs_of, why_not_started

REQUIREMENTS = "requirements.txt"
LOCK = "requirements.lock"
ARTIFACTS = "artifacts"
COMPLETE = "complete"
"""A file that an environment has once everything is installed in it."""
# What a run needs from this machine; everything else it gets is the contract's.
INHERITED = frozenset(
    """HOME LANG LC_ALL TZ TMPDIR TEMP TMP SYSTEMROOT SYSTEMDRIVE COMSPEC PATHEXT USERPROFILE APPDATA LOCALAPPDATA
    NUMBER_OF_PROCESSORS HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE LD_LIBRARY_PATH DYLD_LIBRARY_PATH""".split()  # noqa: SIM905
)
_LOOK_SECONDS = 0.1


def locked_requirements(lock: Path, requirements: bytes) -> bytes:
    """What a lock file holds when it was made of these requirements, which it names by their hash; else nothing.

    The examples' Dockerfiles ask the same.
    """
    content = lock.read_bytes() if lock.is_file() else b""
    return content if f"{hashlib.sha256(requirements).hexdigest()}  {REQUIREMENTS}".encode() in content else b""


# long: one method for each thing that is asked of an executor
class ProcessExecutor:
    """`Executor` without containers, on the Python that the tool itself runs on."""

    name = "process"

    def __init__(
        self, paths: LocalPaths, settings: LocalSettings, clock: Clock, environ: Mapping[str, str] = os.environ
    ):
        self._paths = paths
        self._settings = settings
        self._clock = clock
        self._environ = environ
        self._supervisors: dict[Path, subprocess.Popen[bytes]] = {}

    # deploying

    def build(self, node: Node, source_hash: str, report: Report, *, force: bool = False) -> tuple[str, str]:
        """Copy the source, make the virtual environment where it is missing, other requirements are, or by force."""
        if node.capabilities or node.base_digests is not None:
            report(f"{node.name} runs as a process: capabilities and pinned base images are for containers only.")
        source = Path(node.path)
        command = read_command(source / DOCKERFILE)
        folder = self._paths.node(node.name)
        with owner_only():
            environment = self._environment(folder, source / REQUIREMENTS, report, force)
            self._program(command[0], environment, source)
            snapshot = folder / f"source-{source_hash[:12]}"
            content = _content(snapshot)
            if content != hash_of(Source(source)):
                _copy(source, snapshot, self._paths.root)
                content = _content(snapshot)
        reference = {
            "source": str(snapshot),
            "content": content,
            "environment": str(environment),
            "command": command,
        }
        return f"process:{source_hash[:12]}", json.dumps(reference)

    def forget_old(self, node_name: str, keep: set[str]) -> None:
        """Remove the snapshots and virtual environments that nothing runs any more."""
        references = [json.loads(reference) for reference in keep if reference.startswith("{")]
        names = {Path(reference[part]).name for reference in references for part in ("source", "environment")}
        for folder in _children(self._paths.node(node_name)):
            if folder.name.startswith(("source-", "venv-")) and folder.name not in names:
                remove_tree(folder, self._paths.root)

    def present(self, reference: str) -> bool:
        """Whether the copy of the source and the virtual environment are there, and the copy is as it was made. What
        was deployed by earlier versions does not say how that was."""
        built = json.loads(reference)
        content = _content(Path(built["source"]))
        return (
            content is not None
            and built.get("content") in (None, content)
            and _python(Path(built["environment"])).exists()
        )

    def environment_places(self, node: Node) -> tuple[str, str]:
        return str(self._paths.node(node.name) / ARTIFACTS), str(self._paths.cache)

    def artifact(self, node_name: str, reference: str, name: str) -> bytes | None:
        path = self._paths.node(node_name) / ARTIFACTS / name
        return path.read_bytes() if path.is_file() else None

    def artifacts(self, node_name: str, reference: str) -> Iterator[Artifact]:
        return artifacts_of(self._paths.node(node_name) / "artifacts")

    def put_artifacts(self, node_name: str, reference: str, artifacts: Iterable[Artifact]) -> None:
        write_artifacts(self._paths.node(node_name) / "artifacts", artifacts)

    # executing

    def start(self, attempt: Attempt) -> None:
        """Start a supervisor, unless one has begun the attempt before. What the run makes is its owner's alone."""
        folder = self._paths.attempt(attempt.run_id, attempt.number)
        if not supervisor.was_started(folder):
            with owner_only():
                self._start(attempt, folder)

    def _start(self, attempt: Attempt, folder: Path) -> None:
        if not self.present(attempt.reference):
            raise StartFailed(
                RunFailure.NOT_DEPLOYED, "What was deployed is gone or damaged. Run `numerai node deploy` again."
            )
        built = json.loads(attempt.reference)
        environment, work = Path(built["environment"]), folder / "work"
        for path in (folder, *map(Path, self.environment_places(attempt.node))):
            make_private_folder(path)
        if not work.exists():
            copy = folder / "work.partial"
            remove_tree(copy, self._paths.root)
            shutil.copytree(built["source"], copy, symlinks=True)
            copy.replace(work)
        program, *arguments = attempt.command or built["command"]
        command = [self._program(program, environment, work), *arguments]
        node = attempt.node
        spec = supervisor.Spec(
            argv=command,
            cwd=str(work),
            log=str(self._paths.log(attempt.run_id, attempt.number)),
            deadline=attempt.deadline.timestamp(),
            memory_mib=node.memory_mib,
            grace_seconds=self._settings.grace_seconds,
        )
        supervisor.write_spec(folder, spec)
        self._spawn(folder, {**self._inherited(environment), **attempt.environment})

    def wait(self, attempt: Attempt, control: Control) -> Outcome | None:
        """Wait for the supervisor's result; one that vanished without a result is lost."""
        folder = self._paths.attempt(attempt.run_id, attempt.number)
        asked = False
        while not control.leaving:
            alive = self._alive(folder)
            result = supervisor.read_result(folder)
            if result is not None and not alive:
                return self._outcome(attempt, result)
            if not alive:
                supervisor.end_orphans(folder)
                return lost("The process that supervised it was killed.")
            if control.cancelled and not asked:
                asked = True
                supervisor.ask_to_stop(folder)
            control.wait(_LOOK_SECONDS)
        return None

    def _outcome(self, attempt: Attempt, result: supervisor.Result) -> Outcome:
        """How it ended, with the reason where the exit code alone would mislead."""
        limit = f"{attempt.node.memory_mib} MiB"
        if result.reason == "cancelled":
            return cancelled(result.exit_code)
        if result.reason == "timed-out":
            return timed_out(attempt.node.timeout_minutes, result.exit_code)
        if result.reason == "out-of-memory":
            return ended(result.exit_code or 137, limit=limit, out_of_memory=True)
        if result.exit_code is None:
            return Outcome(RunState.FAILED, None, RunFailure.COULD_NOT_START, result.message)
        outcome = ended(result.exit_code, limit=limit)
        if result.exit_code in NOT_FOUND and os.name == "posix":
            work = self._paths.attempt(attempt.run_id, attempt.number) / "work"
            look = programs_of(work, self._path(Path(json.loads(attempt.reference)["environment"])))
            lines = last_lines(self._paths.log(attempt.run_id, attempt.number), LOOKED_AT)
            if why := why_not_started(lines, "", look, processor()):
                return replace(outcome, message=f"It ended with exit code {result.exit_code}: {why}.")
        return outcome

    def discard(self, attempt: Attempt) -> None:
        """Remove the attempt's folder, its private copy of the source in it."""
        self.discard_leftover(str(self._paths.attempt(attempt.run_id, attempt.number)))

    def leftovers(self) -> dict[str, str]:
        return {str(folder): folder.name.rpartition("-")[0] for folder in _children(self._paths.attempts)}

    def discard_leftover(self, handle: str) -> None:
        """End what runs in an attempt's folder, and remove it."""
        folder = Path(handle)
        if self._alive(folder):
            supervisor.ask_to_stop(folder)
            while self._alive(folder):
                self._clock.sleep(_LOOK_SECONDS)
        supervisor.end_orphans(folder)
        remove_tree(folder, self._paths.root)

    def destroy(self, node_name: str, report: Report) -> None:
        """Remove the node's snapshots, virtual environments and artifacts, and look that they are gone."""
        folder = self._paths.node(node_name)
        if folder.exists():
            report(f"Removing {folder}")
        remove_tree(folder, self._paths.root)
        if folder.exists():
            raise ProviderError(f"{folder} could not be removed.", "Run `numerai node destroy` again.", code="not-gone")

    def destroy_shared(self) -> None:
        remove_tree(self._paths.cache, self._paths.root)

    def checks(self) -> Iterator[Check]:
        """This Python, and the folders that runs write to."""
        name, paths = "process executor", self._paths
        artifacts = [folder / ARTIFACTS for folder in _children(paths.root / "nodes")]
        wrong = list(writable_check(name, [paths.root, paths.attempts, paths.cache, *artifacts]))
        yield from wrong or [Check(name, CheckStatus.OK, f"runs nodes on {sys.executable}")]

    def _environment(self, folder: Path, requirements: Path, report: Report, force: bool = False) -> Path:
        """The node's virtual environment for these requirements and this Python, made when it is not there; by force
        another one, as runs may go on in it."""
        content = requirements.read_bytes() if requirements.is_file() else b""
        lock = requirements.with_name(LOCK)
        locked = locked_requirements(lock, content)
        key = hashlib.sha256(sys.version.encode() + sys.executable.encode() + content + locked).hexdigest()[:12]
        made = [each for each in sorted(folder.glob(f"venv-{key}*")) if (each / COMPLETE).exists()]
        if made and not force:
            return made[-1]
        environment = folder / f"venv-{key}-{secrets.token_hex(2)}" if made else folder / f"venv-{key}"
        remove_tree(environment, self._paths.root)
        report("Making a virtual environment")
        flags = [] if content.strip() else ["--without-pip"]
        _build_step([sys.executable, "-m", "venv", *flags, str(environment)], self._environ, report)
        if content.strip():
            report(f"Installing {LOCK if locked else REQUIREMENTS}")
            pip = [str(_python(environment)), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
            listed = ["--require-hashes", "-r", str(lock)] if locked else ["-r", str(requirements)]
            _build_step([*pip, *listed], self._environ, report)
        (environment / COMPLETE).touch()
        return environment

    def _program(self, name: str, environment: Path, folder: Path) -> str:
        """The program of a command: one by its path in the source's folder, or by its name the virtual environment's
        own before what is on PATH."""
        if "/" in name and (folder / name).is_file():
            return str(folder / name)
        if name in ("python", "python3"):
            return str(_python(environment))
        found = shutil.which(name, path=self._path(environment))
        if found is None:
            raise StartFailed(
                RunFailure.COULD_NOT_START, f"The Dockerfile's command starts '{name}', which is not on this machine."
            )
        return found

    def _path(self, environment: Path) -> str:
        return os.pathsep.join((str(_python(environment).parent), self._environ.get("PATH", os.defpath)))

    def _inherited(self, environment: Path) -> dict[str, str]:
        inherited = {name: self._environ[name] for name in INHERITED if name in self._environ}
        own = {"PATH": self._path(environment), "VIRTUAL_ENV": str(environment), "PYTHONUNBUFFERED": "1"}
        return {**inherited, **own}

    def _spawn(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Start a supervisor that outlives this process; the environment goes through a pipe, where nobody sees it."""
        environ = child_environment(self._environ, PYTHON)
        with (folder / "supervisor.out").open("ab") as output:
            process = spawn_detached(
                [sys.executable, "-m", supervisor.__name__, str(folder)],
                cwd=folder,
                env=environ,
                output=output,
                stdin=subprocess.PIPE,
            )
        assert process.stdin is not None  # noqa: S101  (asked for with PIPE)
        with process.stdin as pipe:
            pipe.write(json.dumps(environment).encode() + b"\n")
        self._supervisors[folder] = process

    def _alive(self, folder: Path) -> bool:
        own = self._supervisors.get(folder)
        if own is not None:
            if own.poll() is None:
                return True
            del self._supervisors[folder]
        return folder.exists() and supervisor.is_alive(folder)


def _build_step(argv: Sequence[str], environ: Mapping[str, str], report: Report) -> None:
    result = run_process(argv, env=child_environment(environ, PIP), on_line=lambda line: report(f"  {line}"))
    if result.exit_code != 0:
        lines = "\n".join(f"  {line}" for line in result.tail)
        raise NumeraiError(
            f"`{' '.join(argv[:4])} ...` failed with exit code {result.exit_code}:\n{lines}",
            "Mend requirements.txt and deploy again; what was deployed before is unchanged.",
            code="build-failed",
        )


def _copy(source: Path, snapshot: Path, within: Path) -> None:
    """Copy the source, in the place of a copy that was damaged."""
    fresh, damaged = (snapshot.with_name(f".{snapshot.name}.{os.getpid()}{end}") for end in ("", ".damaged"))
    remove_tree(fresh, within)
    copy_source(source, fresh)
    if snapshot.exists():
        snapshot.rename(damaged)
    fresh.replace(snapshot)
    remove_tree(damaged, within)


def _content(folder: Path) -> str | None:
    """The hash over a copy of the source; None where it is gone or cannot be read."""
    try:
        return hash_of(Source(folder)) if folder.is_dir() else None
    except (OSError, NumeraiError):
        return None


def _python(environment: Path) -> Path:
    return environment / "Scripts" / "python.exe" if os.name == "nt" else environment / "bin" / "python"


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
