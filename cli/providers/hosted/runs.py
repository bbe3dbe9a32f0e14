"""The runs of an upload on Numerai's side, as those of a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from msgspec import structs

from ...errors import ApiError, ProviderError
from ...foreign import one_line
from ...models import LogLine, Node, Run, RunFailure, RunState
from ...ports import Clock
from .record import Call, NodeRecord, Records
from .uploads import Trigger, Uploads

APPEAR_SECONDS = 60.0
"""How long a run that was asked for may take to appear."""
UPLOADS_BACK = 3
"""So many uploads are looked through for runs; Numerai runs the assigned one only."""

STATES = {
    "pending": RunState.QUEUED,
    "running": RunState.RUNNING,
    "validating": RunState.RUNNING,
    "success": RunState.SUCCEEDED,
    "validated": RunState.SUCCEEDED,
    "error": RunState.FAILED,
    "failed": RunState.FAILED,
}
"""What Numerai's words mean (the schema's header: `error` is Numerai's own fault, `failed` the model's). A word that
this version does not know is taken for a run that goes on."""


def run_of(trigger: Trigger, node_name: str, trigger_id: str | None = None) -> Run:
    """The run. `trigger_id` is the one that it was asked for with here, or Numerai's; None if a person asked for it."""
    last = trigger.statuses[-1] if trigger.statuses else None
    state = STATES.get(last.word, RunState.RUNNING) if last is not None else RunState.QUEUED
    started = next((each.time for each in trigger.statuses if STATES.get(each.word) is not RunState.QUEUED), None)
    message = one_line(last.description) if last is not None and last.description else None
    failure = None
    if last is not None and state is RunState.FAILED:
        failure = RunFailure.LOST if last.word == "error" else RunFailure.EXIT_CODE
        whose = "Numerai could not run it" if last.word == "error" else "The model failed"
        message = f"{whose}: {message or 'no reason is given'}"
    return Run(
        id=trigger.id,
        node=node_name,
        state=state,
        created_at=trigger.created_at,
        trigger_id=trigger_id,
        started_at=started,
        ended_at=last.time if last is not None and state.final else None,
        exit_code=0 if state is RunState.SUCCEEDED else None,
        failure=failure,
        message=message,
    )


class HostedRuns:
    """The runs of every node's uploads, as Numerai has them."""

    def __init__(self, uploads: Uploads, records: Records, clock: Clock, poll_seconds: float):
        self._uploads = uploads
        self._records = records
        self._clock = clock
        self._poll_seconds = poll_seconds

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        """Let Numerai run the assigned upload now. The same trigger id again gives the run that came of it."""
        with self._records.locked(node.name):
            record = self._records.get(node.name)
            if record is None:
                raise _no_such_run(node.name)
            asked = (each for each in record.calls if trigger_id is not None and each.trigger_id == trigger_id)
            call = next(asked, None)
            if call is not None and call.run_id is not None:
                return self.run(call.run_id)
            assigned = self._uploads.assigned(node.model_id)
            if assigned is None:
                raise ProviderError(
                    f"Numerai runs no upload for {node.model_name}.",
                    f"Run `numerai node -m {node.name} deploy` first.",
                    code="not-deployed",
                )
            known = [trigger.id for trigger in self._triggers(assigned)]
            if call is None or set(known) <= set(call.known):
                self._records.spend("trigger", self._clock.now())
                call = Call(trigger_id, self._clock.now(), tuple(known))
                self._records.put(record.with_call(call))
                self._uploads.start(node.model_id, assigned)
            started = self._appeared(assigned, set(call.known))
            self._records.put(record.with_call(structs.replace(call, run_id=started.id)))
            return run_of(started, node.name, trigger_id)

    def _appeared(self, upload_id: str, known: set[str]) -> Trigger:
        """The run that was not there before."""
        end = self._clock.monotonic() + APPEAR_SECONDS
        while True:
            new = [each for each in self._triggers(upload_id) if each.id not in known]
            if new:
                return max(new, key=lambda each: each.created_at)
            if self._clock.monotonic() > end:
                raise ProviderError("Numerai took the trigger, and shows no run of it.", code="no-run")
            self._clock.sleep(self._poll_seconds)

    def run(self, run_id: str) -> Run:
        """One run; `ProviderError` with code `no-such-run` for one that no node of this home has."""
        record, trigger = self._found(run_id)
        return run_of(trigger, record.node, _asked_as(record, trigger))

    def of(self, record: NodeRecord) -> list[Run]:
        """A node's runs, newest first; validations are none."""
        found = [
            run_of(trigger, record.node, _asked_as(record, trigger))
            for upload_id in self._looked_through(record)
            for trigger in self._own_triggers(record, upload_id)
            if not trigger.validates
        ]
        found.reverse()  # of two in one second the later one comes first
        return sorted(found, key=lambda run: run.created_at, reverse=True)

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        """What a run has printed; with `follow` until it has ended."""
        said = 0
        while True:
            run = self.run(run_id)
            lines = self._uploads.logs(run_id)
            yield from lines[said:]
            said = max(said, len(lines))
            if run.state.final or not follow:
                return
            self._clock.sleep(self._poll_seconds)

    def _looked_through(self, record: NodeRecord) -> list[str]:
        """The uploads that may have run for the node."""
        assigned = self._uploads.assigned(record.model_id)
        ours = [each.id for each in record.uploads if each.validated][-UPLOADS_BACK:]
        return list(dict.fromkeys([*([assigned] if assigned else []), *ours]))

    def _triggers(self, upload_id: str) -> tuple[Trigger, ...]:
        upload = self._uploads.upload(upload_id)
        return upload.triggers if upload is not None else ()

    def _own_triggers(self, record: NodeRecord, upload_id: str) -> list[Trigger]:
        """An upload's runs without those that are known to be of another model that it is assigned to: by the
        submission they made, or by who asked for them. Whose a run is that has made none, Numerai does not say."""
        upload = self._uploads.upload(upload_id)
        if upload is None:
            return []
        others = set(upload.slots) - {record.model_id}
        if not others:
            return list(upload.triggers)
        known = {call.run_id for each in self._records.all() if each.model_id in others for call in each.calls}
        made: set[str] = set()
        for model_id in others:
            with suppress(ApiError):  # what cannot be told apart is shown
                made |= self._uploads.submissions(model_id)
        return [each for each in upload.triggers if each.id not in known and each.submission_id not in made]

    def _found(self, run_id: str) -> tuple[NodeRecord, Trigger]:
        for record in self._records.all():
            for upload_id in self._looked_through(record):
                for trigger in self._own_triggers(record, upload_id):
                    if trigger.id == run_id:
                        return record, trigger
        raise _no_such_run(run_id)


def _asked_as(record: NodeRecord, trigger: Trigger) -> str | None:
    """The id of what started a run: Numerai's own where it ran for a round and this home has not asked for it."""
    own = trigger.id if trigger.round_id is not None else None
    return next((call.trigger_id for call in record.calls if call.run_id == trigger.id), own)


def _no_such_run(run_id: str) -> ProviderError:
    return ProviderError(
        f"There is no run {run_id}.", "`numerai node status` lists the runs of a node.", code="no-such-run"
    )
