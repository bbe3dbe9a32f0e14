"""Executes runs in containers: one container per attempt, its name made from the run's id so that it starts once."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ...errors import EnvironmentNotReady, NumeraiError, ProviderError
from ...models import Check, CheckStatus, Node, RunFailure
from ...ports import Artifact, Clock, ContainerEngine, ContainerSpec, ContainerState, Report
from ...redaction import Redactor
from ...source import build_arguments, source_of
from ..artifacts import checked
from ..outcomes import Outcome, cancelled, ended, lost, timed_out
from .executor import Attempt, Control, StartFailed, disk_check
from .run_log import LineSplitter, LogWriter, last_lines
from .settings import LocalPaths, LocalSettings
from .start_failures import LOOKED_AT, NOT_FOUND, Program, missing_capability, processor, why_not_started

ARTIFACTS = "/numerai/artifacts"
CACHE = "/numerai/cache"
KEPT_IMAGES = 3
READER_MIB = 64
"""Of a container that is never started. Less than 6 MiB an engine refuses."""
LOST_BY_ENGINE = "... a part of the output is lost here: the Docker engine has not kept it"
_RECONNECT_SECONDS = 1.0
_LOOK_SECONDS = 30.0
_END_SECONDS = 2.0
_SECRETS = ("NUMERAI_SECRET_KEY", "NUMERAI_PUBLIC_ID")


class DockerExecutor:
    """`Executor` on a container engine. `home_id` tells this home's containers from those of another one."""

    name = "docker"

    def __init__(
        self,
        engine: Callable[[], ContainerEngine],
        paths: LocalPaths,
        settings: LocalSettings,
        clock: Clock,
        home_id: Callable[[], str],
    ):
        self._get_engine = engine
        self._paths = paths
        self._settings = settings
        self._clock = clock
        self._home_id = home_id

    @property
    def _engine(self) -> ContainerEngine:
        return self._get_engine()

    # deploying

    def build(self, node: Node, source_hash: str, report: Report, *, force: bool = False) -> tuple[str, str]:
        """Build the image and give it its immutable tag and `latest`; older images beyond the last three go. Layers
        that the engine has are whole, so `force` changes nothing."""
        repository = f"numerai-local/{self._home_id()}/{repository_name(node.name)}"
        tag = f"{repository}:{source_hash[:12]}"
        available = self._engine.cpus()
        if node.cpu > available:
            report(f"{node.name} asks for {node.cpu:g} CPUs; this machine has {available}, so that is what it gets.")
        image_id = self._engine.build(
            source_of(node), tag, labels=self._labels(node.name), report=report, arguments=build_arguments(node, report)
        )
        self._engine.tag(image_id, f"{repository}:latest")
        return tag, image_id

    def forget_old(self, node_name: str, keep: set[str]) -> None:
        found = [image for image in self._engine.images(self._node_label(node_name)) if image not in keep]
        for image in found[KEPT_IMAGES:]:
            with contextlib.suppress(ProviderError):  # a container still uses it: it goes at a later deploy
                self._engine.remove_image(image)
        with contextlib.suppress(ProviderError):  # as above, for a run that began before nodes had a cache each
            self.destroy_shared()

    def present(self, reference: str) -> bool:
        return self._engine.image_id(reference) is not None

    def environment_places(self, node: Node) -> tuple[str, str]:
        return ARTIFACTS, CACHE

    def artifacts(self, node_name: str, reference: str) -> Iterator[Artifact]:
        if self._volume(node_name, "artifacts") in self._engine.volumes(self._node_label(node_name)):
            with self._with_volume(node_name, reference) as container:
                yield from self._engine.files_in(container, ARTIFACTS)

    def put_artifacts(self, node_name: str, reference: str, artifacts: Iterable[Artifact]) -> None:
        with self._with_volume(node_name, reference) as container:
            self._engine.put_files_in(container, ARTIFACTS, checked(artifacts))

    def artifact(self, node_name: str, reference: str, name: str) -> bytes | None:
        if self._volume(node_name, "artifacts") not in self._engine.volumes(self._node_label(node_name)):
            return None
        reader = self._volume(node_name, f"reader-{secrets.token_hex(4)}")  # others may read at the same time
        with self._with_volume(node_name, reference, reader) as container:
            return self._engine.file(container, f"{ARTIFACTS}/{name}")

    @contextlib.contextmanager
    def _with_volume(self, node_name: str, image: str, carrier: str | None = None) -> Iterator[str]:
        """A container that has the node's volume and is never started: what is in a volume can be reached in no other
        way."""
        volume, container = self._volume(node_name, "artifacts"), carrier or self._volume(node_name, "carrier")
        labels = {volume: self._labels(node_name)}
        spec = ContainerSpec(container, image, 1, 64, {}, volumes={ARTIFACTS: volume}, volume_labels=labels)
        try:
            self._engine.create_container(spec)
            self._engine.open_volumes(container, [ARTIFACTS])
            yield container
        finally:
            self._engine.remove_container(container)

    # executing

    def start(self, attempt: Attempt) -> None:
        """Create and start the container; one that was created before is started, one that was started is left."""
        name = _name(attempt)
        state = self._engine.container(name)
        try:
            if state is None:
                self._engine.create_container(self._spec(attempt))
                state = self._engine.container(name)
            if state is not None and state.status == "created":
                self._engine.open_volumes(name, [ARTIFACTS, CACHE])
                self._engine.start_container(name)
        except ProviderError as error:
            if error.code == "image-missing":
                message = f"{error.message} Build it again with `numerai node deploy`."
                raise StartFailed(RunFailure.NOT_DEPLOYED, message) from error
            if error.code == "could-not-start":
                raise StartFailed(RunFailure.COULD_NOT_START, error.message) from error
            raise

    def wait(self, attempt: Attempt, control: Control) -> Outcome | None:
        follower = _Follower(self._engine, attempt, self._paths.log(attempt.run_id, attempt.number), control)
        while not control.leaving:
            try:
                state = self._engine.container(_name(attempt))
                if state is None:
                    return lost("Its container was removed from outside.")
                if state.ended:
                    follower.copy_the_rest()
                    return self._outcome(attempt, state)
                follower.keep_following()
                if control.cancelled:
                    return self._stop(attempt, follower, cancelled)
                left = (attempt.deadline - self._clock.now()).total_seconds()
                if left <= 0:
                    return self._stop(attempt, follower, lambda code: timed_out(attempt.node.timeout_minutes, code))
                control.wait(min(left, _LOOK_SECONDS))
            except EnvironmentNotReady:
                control.wait(_RECONNECT_SECONDS)  # the engine restarts, say: the container may well be there afterwards
        return None

    def discard(self, attempt: Attempt) -> None:
        """Remove the container: its configuration holds the keys."""
        self._engine.remove_container(_name(attempt))

    def leftovers(self) -> dict[str, str]:
        found = self._engine.containers(f"numerai.home={self._home_id()}")
        return {name: labels.get("numerai.run", "") for name, labels in found.items()}

    def discard_leftover(self, handle: str) -> None:
        self._engine.remove_container(handle)

    def destroy(self, node_name: str, report: Report) -> None:
        engine, label = self._engine, self._node_label(node_name)
        engine.remove_container(self._volume(node_name, "carrier"))  # of a move that was killed
        for name, labels in engine.containers(label).items():
            if labels.get("numerai.home") == self._home_id():
                engine.remove_container(name)
        for image, tags in engine.images(label).items():
            for tag in tags:
                report(f"Removing the image {tag}")
                engine.remove_image(tag)
            engine.remove_image(image)
        engine.remove_volumes(label)
        left = [*engine.containers(label), *engine.images(label), *engine.volumes(label)]
        if left:
            raise ProviderError(
                f"Not everything of {node_name} could be removed: {', '.join(left)}.",
                "Run `numerai node destroy` again.",
                code="not-gone",
            )

    def destroy_shared(self) -> None:
        """Remove the volume of downloads that all nodes of a home once shared: today each node has its own."""
        self._engine.remove_volumes(f"numerai.cache={self._home_id()}")

    def checks(self) -> Iterator[Check]:
        """The engine: reachable, its version, and room for images."""
        name = "Docker engine"
        try:
            version, folder = self._engine.version(), self._engine.data_folder()
        except NumeraiError as error:
            yield Check(name, CheckStatus.FAILED, error.message, error.hint)
            return
        yield Check(name, CheckStatus.OK, f"version {version} answers")
        if folder is not None:
            yield disk_check("disk of the Docker engine", folder, "docker system prune")

    def _stop(self, attempt: Attempt, follower: _Follower, outcome: Callable[[int | None], Outcome]) -> Outcome:
        self._engine.stop_container(_name(attempt), self._settings.grace_seconds)
        state = self._engine.container(_name(attempt))
        if state is not None:
            follower.copy_the_rest()
        return outcome(state.exit_code if state else None)

    def _outcome(self, attempt: Attempt, state: ContainerState) -> Outcome:
        """How it ended, with the reason where the exit code alone would mislead."""
        limit, name = f"{attempt.node.memory_mib} MiB", _name(attempt)
        outcome = ended(state.exit_code, limit=limit, out_of_memory=state.out_of_memory)
        if outcome.failure is not RunFailure.EXIT_CODE or outcome.temporary:
            return outcome
        lines = last_lines(self._paths.log(attempt.run_id, attempt.number), LOOKED_AT)

        def look(program: str) -> Program | None:
            found = self._engine.program(name, program)
            return Program(*found) if found else None

        with contextlib.suppress(ProviderError):  # what could not be found out explains nothing
            if state.exit_code in NOT_FOUND:
                machine = processor(self._engine.architecture())
                if why := why_not_started(lines, state.program, look, machine):
                    return replace(outcome, message=f"It ended with exit code {state.exit_code}: {why}.")
            root = state.user.partition(":")[0] in ("", "0", "root")
            if why := missing_capability(lines, attempt.node, self._granted(attempt.node), root=root):
                return replace(outcome, message=f"{outcome.message} {why}")
        return outcome

    def _granted(self, node: Node) -> tuple[str, ...]:
        return tuple(sorted({*self._settings.capabilities, *node.capabilities}))

    def _volume(self, node_name: str, kind: str) -> str:
        return f"numerai-{self._home_id()}-{node_name}-{kind}"

    def _node_label(self, node_name: str) -> str:
        return f"numerai.node={self._home_id()}/{node_name}"

    def _labels(self, node_name: str) -> dict[str, str]:
        return {"numerai.home": self._home_id(), "numerai.node": f"{self._home_id()}/{node_name}"}

    def _spec(self, attempt: Attempt) -> ContainerSpec:
        node = attempt.node
        artifacts, cache = (self._volume(node.name, kind) for kind in ("artifacts", "cache"))
        labels = self._labels(node.name)
        return ContainerSpec(
            name=_name(attempt),
            image=attempt.reference,
            cpu=node.cpu,
            memory_mib=node.memory_mib,
            environment=attempt.environment,
            labels={**labels, "numerai.run": attempt.run_id, "numerai.attempt": str(attempt.number)},
            volumes={ARTIFACTS: artifacts, CACHE: cache},
            volume_labels={artifacts: labels, cache: labels},
            read_only=self._settings.read_only,
            command=attempt.command,
            capabilities=self._granted(node),
        )


class _Follower:
    """Copies a container's output into the run's log, in a thread of its own; wakes the waiting one at its end."""

    def __init__(self, engine: ContainerEngine, attempt: Attempt, path: Path, control: Control):
        self._engine = engine
        self._name = _name(attempt)
        self._path = path
        self._control = control
        self._thread: threading.Thread | None = None

    def keep_following(self) -> None:
        """Follow, unless that is going on already."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._follow, daemon=True, name=f"log-{self._name}")
            self._thread.start()

    def copy_the_rest(self) -> None:
        """Return when everything that an ended container has printed is in the log."""
        if self._thread is not None:
            self._thread.join()
        self._copy()

    def _follow(self) -> None:
        try:
            self._copy()
            self._engine.wait_container(self._name, _END_SECONDS)  # its output ends a moment before itself
        except (EnvironmentNotReady, ProviderError):
            return  # the one who waits looks at the container and comes back when it is still there
        finally:
            self._control.wake()

    def _copy(self) -> None:
        """Copy what the log does not hold yet. The engine keeps the output from its beginning, so lines are counted;
        once its file was full it begins later, so times are compared."""
        state = self._engine.container(self._name)
        secrets = [state.environment.get(name) for name in _SECRETS] if state else []
        redact = Redactor(secrets)
        with LogWriter(self._path, redact) as log:
            known, first, last = log.lines, log.first_stamp, log.last_stamp
            begins_later = False
            for number, (time, text) in enumerate(_lines(self._engine, self._name, redact), start=1):
                if number == 1 and known and first != time:
                    begins_later = True  # the engine's own file was full, and has lost its beginning
                    if last and time > last:
                        log.add(LOST_BY_ENGINE, time)
                if (time > (last or "")) if begins_later else (number > known):
                    log.add(text, time)


def _lines(engine: ContainerEngine, name: str, redact: Redactor) -> Iterator[tuple[str, str]]:
    """The output as lines with their times; a long line comes in pieces that each carry a time of their own, and what
    is printed to the other output meanwhile may come between them."""
    splitters, time = {1: LineSplitter(redact), 2: LineSplitter(redact)}, ""
    for output, piece in engine.container_output(name):
        stamp, _, content = piece.partition(b" ")
        time = stamp.decode("ascii", errors="replace")
        for text in splitters[output].feed(content):
            yield time, text
    for splitter in splitters.values():
        for text in splitter.end():
            yield time, text


def repository_name(node_name: str) -> str:
    """A node's name as the engine's rules for repositories allow it: runs of other characters become one dash, and a
    hash keeps two names that become the same apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", node_name.lower()).strip("-")
    return plain if plain == node_name else f"{plain}-{hashlib.sha256(node_name.encode()).hexdigest()[:6]}"


def _name(attempt: Attempt) -> str:
    return f"numerai-{attempt.run_id}" if attempt.number == 1 else f"numerai-{attempt.run_id}-{attempt.number}"
