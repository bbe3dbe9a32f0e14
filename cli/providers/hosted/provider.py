"""Numerai behind `ports.Provider`: it runs an upload of the node's model every round, for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from msgspec import structs

from ...adapters.numerai_api import HttpNumeraiApi
from ...counting import sized
from ...errors import ApiError, EnvironmentNotReady, NumeraiError, ProviderError
from ...models import Check, CheckStatus, Deployment, LogLine, Node, Run, WebhookCall
from ...ports import Report
from ..checks import deployment_check, last_run_check
from ..registry import ProviderContext
from .packing import Packer, working_folder
from .record import HandedIn, NodeRecord, Records
from .refusal import MINUTES, SIZE, refuse
from .runs import HostedRuns
from .settings import SETTINGS, read_settings
from .uploads import FAILED, VALIDATED, Trigger, Upload, Uploads

POLL_SECONDS = 4.0
"""How often a run is looked at while somebody waits: Numerai answers triggerLogs 20 times a minute."""
VALIDATION_SECONDS = 3600.0
"""How long a validation is waited for. It may queue; how long, nobody says."""
ASSIGNED_SECONDS = 30.0
UNASSIGN = "at numer.ai (Submissions, Settings of the model) unassign the upload"


def create(context: ProviderContext) -> HostedProvider:
    """The provider; nothing is touched before it is used."""
    return HostedProvider(context)


class HostedProvider:
    """`ports.Provider` and `ports.RunByNumerai` on Numerai's Model Uploads."""

    name = "hosted"
    timed_here = False
    settings_table = SETTINGS
    no_capabilities: str | None = "Numerai runs it, and gives none"
    size = SIZE
    timeout_minutes = MINUTES
    check = staticmethod(refuse)

    def __init__(self, context: ProviderContext, packer: Packer | None = None, poll_seconds: float = POLL_SECONDS):
        self._context = context
        self._clock = context.clock
        self._records = Records(context.home / "hosted")
        self._poll_seconds = poll_seconds
        self._packer = packer or Packer(context.engine)

    @cached_property
    def _uploads(self) -> Uploads:
        keys = self._context.keys()
        if keys is None:
            raise EnvironmentNotReady("There are no Numerai keys.", "Run `numerai setup`.", code="no-keys")
        return Uploads(HttpNumeraiApi(keys), HttpNumeraiApi(keys, tries=1))

    # a node's life

    def configure(self, node: Node, report: Report) -> Node:
        """Record the node; nothing has to be made. `UsageError` with code `not-hosted` for what cannot run there."""
        refuse(node)
        with self._records.locked(node.name):
            known = self._records.get(node.name)
            if known is None or known.model_id != node.model_id:
                self._records.put(NodeRecord(node.name, node.model_id))
        return replace(node, webhook_url=None)

    def webhook_url(self, node_name: str) -> str | None:
        """None: Numerai calls nobody."""
        return None

    def reachable_by(self, api_url: str) -> bool:
        """There is no webhook to be reached."""
        return False

    def wake(self, report: Report) -> None:
        """Nothing has to run here."""

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[WebhookCall]:
        return []

    def source_hash(self, node: Node) -> str:
        return self._packer.source_hash(node, read_settings(self._context.settings))

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        """Pack, rehearse, upload, and wait for Numerai's validation. What Numerai runs stays as it is: see `assign`."""
        refuse(node)
        record, settings = self._record(node.name), read_settings(self._context.settings)
        digest = self._packer.source_hash(node, settings)
        latest = next((each for each in reversed(record.uploads) if each.source_hash == digest), None)
        known = self._uploads.upload(latest.id) if latest is not None and not force else None
        if latest is not None and known is not None and known.validation != FAILED:
            if not latest.validated:
                report(f"The upload {latest.id} was handed in before.")
                self._await_validation(node.name, latest, report)
            return _deployment(node.name, latest, changed=False)
        self._records.spend("upload", self._clock.now(), look=True)
        with working_folder() as folder:
            packed = self._packer.pack(node, settings, self._uploads, folder, digest, report)
            self._records.spend("upload", self._clock.now())
            report(f"Uploading {sized(packed.pickle.stat().st_size)} to Numerai")
            upload_id = self._uploads.hand_in(packed.pickle, packed.version, packed.image)
        made = HandedIn(upload_id, digest, self._clock.now(), packed.image.python)
        self._records.change(node.name, lambda known: known.with_upload(made))
        self._await_validation(node.name, made, report)
        return _deployment(node.name, made, changed=True)

    def deployment(self, node_name: str) -> Deployment | None:
        """What Numerai runs for the model; an upload of which this home knows nothing has an empty source hash."""
        record = self._records.get(node_name)
        assigned = self._uploads.assigned(record.model_id) if record is not None else None
        if record is None or assigned is None:
            return None
        made = next((each for each in record.uploads if each.id == assigned), None)
        unknown = HandedIn(assigned, "", self._clock.now(), "")
        return _deployment(node_name, made or unknown, changed=False)

    def reads_models(self, node: Node) -> bool:
        """Whether the folder's code defines no `predict`, so that a model file runs with its reader."""
        return self._packer.reads_models(node, read_settings(self._context.settings))

    def ready(self, node: Node, source_hash: str) -> str | None:
        """The newest upload of that source, validated and not assigned yet. The folder may have changed since."""
        uploads = reversed(self._record(node.name).uploads)
        made = next((each for each in uploads if each.source_hash == source_hash and each.validated), None)
        return made.id if made is not None and self._uploads.assigned(node.model_id) != made.id else None

    def assign(self, node: Node, upload: str, report: Report) -> None:
        """Assign it, and see that it is. `ProviderError` with code `not-assigned` where it is not."""
        self._uploads.assign(node.model_id, upload)
        end = self._clock.monotonic() + ASSIGNED_SECONDS
        while self._uploads.assigned(node.model_id) != upload:
            if self._clock.monotonic() > end:
                raise ProviderError(
                    f"Numerai took the assignment of {upload}, and does not show it.",
                    "Look at the model on https://numer.ai, then deploy again.",
                    code="not-assigned",
                )
            self._clock.sleep(self._poll_seconds)
        report(f"Numerai runs the upload {upload} for {node.model_name} from now on.")

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        """Ask Numerai to run nothing for the model, look whether that helped, and only then forget the node.

        The API has no mutation for it; whether an assignment of nothing does it is not known, so it is tried. An upload
        of another home is left alone, and said. With `force` the node is forgotten all the same, whatever Numerai
        answers, and what it goes on with is said. Uploads stay at Numerai: it deletes none.
        """
        record = self._records.get(node_name)
        if record is None:
            report(f"{self.name} has no record of {node_name}. If Numerai runs an upload for it, {UNASSIGN}.")
            return
        try:
            left = _end(record, self._uploads, self.runs(node_name, 5), force=force)
        except NumeraiError as error:
            if not force:
                raise
            left = f"Whether Numerai goes on running an upload is not known: {error.message} If it does, {UNASSIGN}."
        if left is not None:
            report(left)
        self._records.forget(node_name)

    # runs

    @cached_property
    def _runs(self) -> HostedRuns:
        return HostedRuns(self._uploads, self._records, self._clock, self._poll_seconds)

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        self._record(node.name)
        return self._runs.trigger(node, trigger_id)

    def run(self, run_id: str) -> Run:
        return self._runs.run(run_id)

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        record = self._records.get(node_name)
        return self._runs.of(record)[:limit] if record is not None else []

    def find_run(self, node_name: str, trigger_id: str) -> Run | None:
        return next((run for run in self.runs(node_name, 1000) if trigger_id in (run.trigger_id, run.id)), None)

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        return self._runs.logs(run_id, follow=follow)

    def cancel(self, run_id: str) -> Run:
        """A run that has ended stays as it is; `ProviderError` with code `cannot-cancel` for any other."""
        run = self.run(run_id)
        if not run.state.final:
            raise ProviderError(
                f"Run {run_id} goes on: Numerai's API has nothing that stops one.",
                f"It ends after {self.timeout_minutes} minutes at most.",
                code="cannot-cancel",
            )
        return run

    def checks(self, nodes: Iterable[Node]) -> Iterator[Check]:
        mine = [node for node in nodes if node.provider == self.name]
        try:
            images = self._uploads.images()
        except NumeraiError as error:
            yield Check("model uploads", CheckStatus.FAILED, error.message, error.hint)
            return
        pythons = ", ".join(image.python for image in images)
        yield Check("model uploads", CheckStatus.OK, f"Numerai runs them on Python {pythons}")
        for node in mine:
            deployed, mend = self.deployment(node.name), f"numerai node -m {node.name} deploy"
            record = self._records.get(node.name)
            made = next((each for each in reversed(record.uploads) if each.validated), None) if record else None
            if deployed is None and made is not None:
                why = f"the upload {made.id} is validated and not assigned: Numerai does not run it"
                yield Check("deployment", CheckStatus.FAILED, why, mend, node.name)
            elif deployed is not None and not deployed.source_hash:
                why = f"Numerai runs an upload that was not made here ({deployed.image})"
                yield Check("deployment", CheckStatus.WARNING, why, mend, node.name)
            else:
                yield deployment_check(node, deployed, lambda: True, self.source_hash)
            yield last_run_check(node, self.runs(node.name, 5), self._clock.now())

    # looking

    def _record(self, node_name: str) -> NodeRecord:
        record = self._records.get(node_name)
        if record is None:
            raise ProviderError(
                f"{node_name} is not configured on {self.name}.",
                "Run `numerai node config` first.",
                code="not-configured",
            )
        return record

    def _await_validation(self, node_name: str, made: HandedIn, report: Report) -> None:
        """Return once Numerai has found the upload valid, telling what its log says."""
        end, said, words = self._clock.monotonic() + VALIDATION_SECONDS, 0, ""
        report("Numerai validates it")
        while True:
            with _handed_in(made.id):
                upload = self._uploads.upload(made.id)
                trigger = _validation(upload)
                lines = self._uploads.logs(trigger.id) if trigger is not None else []
            for line in lines[said:]:
                report(f"| {line.text}")
            said = max(said, len(lines))
            if trigger is not None and trigger.statuses:
                words = trigger.statuses[-1].description or ""
            if upload is not None and upload.validation == VALIDATED:
                self._records.change(node_name, lambda known: known.with_upload(structs.replace(made, validated=True)))
                report(f"Numerai has validated the upload {made.id}" + (f" ({words})" if words else ""))
                return
            if upload is not None and upload.validation == FAILED:
                raise ProviderError(
                    f"Numerai's validation of the upload failed: {words or 'it says no reason'}.",
                    "What Numerai runs is as it was. --verbose shows more; correct it and deploy again.",
                    code="validation-failed",
                )
            if self._clock.monotonic() > end:
                raise ProviderError(
                    f"Numerai has not validated the upload {made.id} yet.",
                    "Deploy again to go on waiting.",
                    code="not-validated",
                )
            self._clock.sleep(self._poll_seconds)


def _end(record: NodeRecord, uploads: Uploads, runs: Iterable[Run], *, force: bool) -> str | None:
    """Let Numerai run nothing for a node any more; what it goes on with, in words. `ProviderError` for what this home
    has made and cannot end, unless with `force`."""
    active = next((run for run in runs if not run.state.final), None)
    if active is not None and not force:
        raise ProviderError(
            f"Run {active.id} of {record.node} is {active.state.value}.",
            "Wait for its end, or use --force, which leaves it to Numerai.",
            code="run-active",
        )
    still = uploads.assigned(record.model_id)
    ours = still in {each.id for each in record.uploads}
    if ours:
        still = uploads.unassign(record.model_id)
    if still is None:
        return None
    if ours and not force:
        raise ProviderError(
            f"Numerai still runs the upload {still} for {record.node}: only its website takes that away.",
            f"First, {UNASSIGN}; then destroy the node again.",
            code="still-assigned",
        )
    whose = "" if ours else ", which was not made by this home"
    return f"Numerai goes on running the upload {still}{whose}. To end that, {UNASSIGN}."


def _deployment(node_name: str, made: HandedIn, *, changed: bool) -> Deployment:
    return Deployment(node_name, f"upload {made.id}", made.source_hash, made.made_at, changed=changed)


@contextmanager
def _handed_in(upload_id: str) -> Iterator[None]:
    """Where Numerai cannot be asked how an upload stands, say that it has it."""
    try:
        yield
    except ApiError as error:
        again = "eploy again: that goes on waiting, and uploads nothing anew."
        raise ApiError(
            f"{error.message} The upload {upload_id} is handed in, and Numerai goes on validating it.",
            f"{error.hint} Then d{again}" if error.hint else f"D{again}",
            code=error.code,
            temporary=error.temporary,
        ) from error


def _validation(upload: Upload | None) -> Trigger | None:
    """The run that validates an upload: the first one, as nothing else runs before."""
    return upload.triggers[0] if upload is not None and upload.triggers else None
