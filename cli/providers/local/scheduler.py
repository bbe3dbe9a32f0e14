"""Executes queued runs, each exactly once: claims, starts, waits, retries, and takes over what a killed daemon left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from ...errors import EnvironmentNotReady, NumeraiError, UsageError
from ...files.database import DatabaseDamaged, DatabaseUnusable
from ...models import Keys, Node, Run, RunFailure, RunState
from ...ports import Clock
from ...schedule import next_occurrence
from ...triggers import submits, trains
from ..environment import container_environment
from ..outcomes import Outcome, cancelled, explained, of_test
from ..reasons import reason_in
from ..webhooks.calls import is_own
from .executor import Attempt, Executor, StartFailed
from .rehearsals import PREFIX as REHEARSALS
from .settings import LocalSettings
from .store import Job, RunStore

LOOK_SECONDS = 0.25
CRON_LOOK_SECONDS = 1.0
MISSED_CRON = timedelta(hours=1)
"""An occurrence that the daemon was not there for is made up for when it is not older than a round is open at least."""
DATABASE_ERRORS = (DatabaseUnusable, DatabaseDamaged)

log = logging.getLogger(__name__)


class RunControl:
    """What the thread of one run listens to: `executor.Control`."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.cancelled = False
        self.leaving = False

    def wait(self, seconds: float) -> None:
        """Return after that many seconds, or when woken."""
        if self._event.wait(seconds):
            self._event.clear()

    def wake(self) -> None:
        """Let `wait` return."""
        self._event.set()

    def cancel(self) -> None:
        """Ask to stop the run."""
        self.cancelled = True
        self.wake()

    def leave(self) -> None:
        """Ask to leave the run alone and return."""
        self.leaving = True
        self.wake()


class RunExecution:
    """Brings one claimed run to its end."""

    def __init__(
        self,
        store: RunStore,
        executors: Callable[[str], Executor],
        keys: Callable[[], Keys | None],
        clock: Clock,
        settings: LocalSettings,
        printed: Callable[[str, int], Sequence[str]] = lambda run_id, attempt: (),
    ):
        """`printed` gives the last lines that an attempt of a run printed."""
        self._store = store
        self._printed = printed
        self._executors = executors
        self._keys = keys
        self._clock = clock
        self._settings = settings

    def execute(self, job: Job, control: RunControl) -> None:
        """Start the run's attempt, or take it over where it was started before, and record how it ended.

        Returns early, with the attempt going on, when the control says to leave. Raises `DatabaseUnusable`: the run is
        then as it was, and to be executed again.
        """
        started: tuple[Executor, Attempt] | None = None
        try:
            executor, attempt, fresh = self._prepare(job)
            started = executor, attempt
            if fresh:
                executor.start(attempt)
                self._store.started(job.run.id, self._clock.now())
                log.info("run %s of %s: attempt %d goes on", job.run.id, job.run.node, attempt.number)
            outcome = executor.wait(attempt, control)
            if outcome is None:
                return
            if control.cancelled and outcome.failure is RunFailure.LOST:
                outcome = cancelled()  # it had not been started yet, or somebody else has stopped it
            if not submits(job.run.trigger_id):
                outcome = of_test(outcome)
            outcome = self._explained(job.run, attempt.node, outcome)
        except DATABASE_ERRORS:
            raise
        except NumeraiError as error:
            failure = error.failure if isinstance(error, StartFailed) else RunFailure.COULD_NOT_START
            outcome = Outcome(RunState.FAILED, None, failure, error.message)
            infrastructure = isinstance(error, EnvironmentNotReady)
        except OSError as error:
            outcome = Outcome(RunState.FAILED, None, RunFailure.COULD_NOT_START, f"This machine refused: {error}.")
            infrastructure = True
        except Exception as error:  # a bug must not block the node: the run fails, and the daemon goes on
            log.exception("run %s of %s", job.run.id, job.run.node)
            why = f"A bug in the daemon ended it ({type(error).__name__}); daemon.log has the details."
            outcome, infrastructure = Outcome(RunState.FAILED, None, RunFailure.COULD_NOT_START, why), False
        else:
            infrastructure = False
        if (outcome.temporary or infrastructure) and not control.cancelled:
            self._retry(job.run, outcome)
        else:
            self._end(job.run, outcome)
        if started:
            self._discard(*started)

    def _explained(self, run: Run, node: Node, outcome: Outcome) -> Outcome:
        """The outcome of a failed attempt with the reason that it printed."""
        command = f"numerai node -m {node.name} logs --run {run.id}"
        with suppress(OSError):  # a log that cannot be read changes nothing of how the run ended
            return explained(outcome, lambda: reason_in(self._printed(run.id, run.attempt)), command)
        return outcome

    def _discard(self, executor: Executor, attempt: Attempt) -> None:
        try:
            executor.discard(attempt)
        except NumeraiError as error:
            log.warning("what is left of run %s is removed at the next start: %s", attempt.run_id, error.message)

    def cancel_abandoned(self, job: Job) -> None:
        """Stop a run that was going on when its daemon died. Only while no daemon runs."""
        control = RunControl()
        control.cancelled = True
        if job.executor is None:
            self._end(job.run, Outcome(RunState.CANCELLED, None, None, "Cancelled before it started."))
        else:
            self.execute(replace(job, phase="started"), control)

    def _prepare(self, job: Job) -> tuple[Executor, Attempt, bool]:
        """What executes the run, its attempt, and whether it has yet to be started."""
        run, stored = job.run, self._store.node(job.run.node)
        if stored is None:
            raise StartFailed(RunFailure.NOT_DEPLOYED, f"The node {run.node} is not configured any more.")
        node, fresh = stored.node, job.phase == "starting"
        if job.executor is None or job.reference is None or job.deadline is None:
            deployed = self._store.deployment(run.node)
            if deployed is None:
                raise StartFailed(
                    RunFailure.NOT_DEPLOYED, f"{run.node} was never deployed. Run `numerai node deploy` first."
                )
            deadline = self._clock.now() + timedelta(minutes=node.timeout_minutes)
            self._environment_or_fail(deployed.executor, node, run)
            job = self._store.prepare(run.id, deployed.executor, deployed.reference, deadline)
        assert job.executor and job.reference and job.deadline  # noqa: S101  (prepare has set them)
        executor = self._executors(job.executor)
        attempt = Attempt(
            run_id=run.id,
            number=run.attempt,
            node=node,
            reference=job.reference,
            deadline=job.deadline,
            environment=self._environment_or_fail(job.executor, node, run) if fresh else {},
        )
        return executor, attempt, fresh

    def _environment_or_fail(self, executor_name: str, node: Node, run: Run) -> Mapping[str, str]:
        try:
            keys = self._keys()
        except NumeraiError as error:
            raise StartFailed(RunFailure.NO_KEYS, f"The Numerai keys cannot be read: {error.message}") from error
        if keys is None:
            raise StartFailed(RunFailure.NO_KEYS, "There are no Numerai keys. Run `numerai setup`.")
        artifacts, cache = self._executors(executor_name).environment_places(node)
        trigger = run.trigger_id if run.trigger_id and not is_own(run.trigger_id) else None
        in_container = executor_name == "docker"
        return container_environment(
            node,
            keys,
            run.id,
            trigger,
            artifacts,
            in_container=in_container,
            cache=cache,
            submits=submits(run.trigger_id),
            trains=trains(run.trigger_id),
        )

    def _retry(self, run: Run, outcome: Outcome) -> None:
        """Let the run wait for its next attempt, or end it when that was the last one."""
        if run.attempt >= self._settings.attempts:
            tried = f" It was tried {run.attempt} times." if run.attempt > 1 else ""
            self._end(run, replace(outcome, message=f"{outcome.message}{tried}"))
            return
        seconds = self._settings.retry_seconds * 2 ** (run.attempt - 1)
        message = f"{outcome.message} Attempt {run.attempt + 1} of {self._settings.attempts} follows in {seconds} s."
        self._store.retry(run.id, self._clock.now() + timedelta(seconds=seconds), message)
        log.info("run %s of %s: %s", run.id, run.node, message)

    def _end(self, run: Run, outcome: Outcome) -> None:
        final = replace(
            run,
            state=outcome.state,
            ended_at=self._clock.now(),
            exit_code=outcome.exit_code,
            failure=outcome.failure,
            message=outcome.message,
        )
        self._store.finish(run.id, final)
        log.info("run %s of %s: %s %s", run.id, run.node, outcome.state.value, outcome.message or "")


class Scheduler:
    """The daemon's heart: a thread that starts what is due, and one thread per run that goes on."""

    def __init__(
        self,
        store: RunStore,
        execution: RunExecution,
        executors: Callable[[], list[Executor]],
        clock: Clock,
        settings: LocalSettings,
        tidy_more: Callable[[], object] = list,
    ):
        self._tidy_more = tidy_more
        self._store = store
        self._execution = execution
        self._executors = executors
        self._clock = clock
        self._settings = settings
        self._poke = threading.Event()
        self._stopping = threading.Event()
        self._threads: dict[str, tuple[threading.Thread, RunControl]] = {}
        self._loop = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Take over what an earlier daemon left, then start what is queued."""
        for job in self._store.active():
            if job.phase in ("starting", "started"):
                log.info("run %s of %s: taken over", job.run.id, job.run.node)
                self._begin(job)
        self._loop.start()

    def poke(self) -> None:
        """Look for new runs now."""
        self._poke.set()

    def stop(self, seconds: float = 5.0) -> list[str]:
        """Stop starting runs and leave those that go on; returns their ids."""
        self._stopping.set()
        self._poke.set()
        if self._loop.is_alive():
            self._loop.join(seconds)
        going_on = [run_id for run_id, (thread, _) in self._threads.items() if thread.is_alive()]
        for _, control in self._threads.values():
            control.leave()
        for thread, _ in self._threads.values():
            thread.join(seconds)
        return going_on

    def _run(self) -> None:
        seen, next_look, tidy = -1, self._clock.monotonic(), False
        while not self._stopping.is_set():
            try:
                if not tidy:
                    self._tidy()
                    tidy = True
                if self._clock.monotonic() >= next_look:
                    next_look = self._clock.monotonic() + CRON_LOOK_SECONDS
                    self._start_scheduled()
                    self._take_up_what_nobody_executes()
                changes = self._store.changes()
                if changes != seen:
                    seen = changes
                    for run_id in self._store.cancel_requests() & self._threads.keys():
                        self._threads[run_id][1].cancel()
                self._start_due()
            except NumeraiError as error:  # a full disk, say: what is queued stays queued until it is mended
                log.error("%s", error.message)
                self._stopping.wait(CRON_LOOK_SECONDS)
            except Exception:  # a bug must not end the one thread that starts runs
                log.exception("the scheduler goes on after a bug")
                self._stopping.wait(CRON_LOOK_SECONDS)
            self._poke.wait(LOOK_SECONDS)
            self._poke.clear()

    def _take_up_what_nobody_executes(self) -> None:
        """Execute again what was given up because the database could not be used."""
        self._forget_ended_threads()  # before the look at the database, so that what it says of them is final
        for job in self._store.active():
            if job.phase in ("starting", "started") and job.run.id not in self._threads:
                log.info("run %s of %s: taken up again", job.run.id, job.run.node)
                self._begin(job)

    def _forget_ended_threads(self) -> None:
        self._threads = {run_id: entry for run_id, entry in self._threads.items() if entry[0].is_alive()}

    def _start_due(self) -> None:
        self._forget_ended_threads()
        while not self._stopping.is_set():
            job = self._store.claim(self._settings.concurrency, self._clock.now())
            if job is None:
                return
            self._begin(job)

    def _begin(self, job: Job) -> None:
        control = RunControl()
        thread = threading.Thread(target=self._work, args=(job, control), name=f"run-{job.run.id}", daemon=True)
        self._threads[job.run.id] = (thread, control)
        if job.cancel:
            control.cancel()
        thread.start()

    def _work(self, job: Job, control: RunControl) -> None:
        try:
            self._execution.execute(job, control)
        except NumeraiError as error:
            log.error("run %s of %s: %s", job.run.id, job.run.node, error.message)
        self.poke()

    def _start_scheduled(self) -> None:
        now = self._clock.now()
        for node, cron, after in self._store.schedules():
            try:
                occurrence = next_occurrence(cron, after)
            except UsageError as error:
                log.error("%s: %s", node, error.message)
                continue
            if occurrence <= now:
                start = now - occurrence <= MISSED_CRON
                self._store.schedule_passed(node, cron, occurrence, now, start=start)
                log.info("%s: %s of its schedule %s", node, occurrence, "starts a run" if start else "was missed")

    def _tidy(self) -> None:
        """Remove what is left of attempts that have ended: a daemon died between their end and their removal."""
        active = {job.run.id for job in self._store.active()}
        for executor in self._executors():
            try:
                for handle, run_id in executor.leftovers().items():
                    if run_id not in active and not run_id.startswith(REHEARSALS):
                        executor.discard_leftover(handle)
            except NumeraiError as error:
                log.warning("%s: %s", executor.name, error.message)
        self._tidy_more()
