"""What doctor looks at for each node: folder, runtime, webhook and the data version that it is pinned to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..counting import counted
from ..installation import install_command
from ..models import DEFAULT_TIMEOUT_MINUTES, Check, CheckStatus, Model, Node
from ..ports import NumeraiApi, Provider
from ..source import check_source, source_of
from ..translation import EXPECTED, as_error
from ..watching.training import training_of
from .configure import NEWEST_DATA
from .hosting import needs_dockerfile
from .inspect import move_check
from .runtime import RUNTIME, RuntimeState, own_version, runtime_copy
from .timetable import timetable
from .webhooks import webhook_check


def guarded(
    name: str, make: Callable[[], Iterable[Check]], status: CheckStatus = CheckStatus.FAILED
) -> Iterator[Check]:
    """The checks, and one of that name and status for the error that they end with."""
    try:
        yield from make()
    except EXPECTED as error:
        known = as_error(error)
        yield Check(name, status, known.message, known.hint)


@dataclass(frozen=True)
class NodeChecks:
    """Looks at one node. `home` is the tool's home folder; `followed` tells whether a watcher starts its runs."""

    node: Node
    home: Path
    provider_named: Callable[[str], Provider]
    followed: Callable[[], bool]

    def examine(self, api: NumeraiApi | None, models: Mapping[str, Model] | None) -> Iterator[Check]:
        """Every check that can be made with what is known of the account."""
        checks = [*guarded("folder", self._folder), *guarded("runtime", self._runtime, CheckStatus.WARNING)]
        checks += [*filter(None, [move_check(self.node, self.provider_named)]), *self._time_limit()]
        checks += guarded("training", self._training, CheckStatus.WARNING)
        if api is not None and models is not None:
            checks += guarded("webhook", lambda: [self._webhook(api, models)])
        if api is not None and self.node.cron:
            checks += guarded("schedule", lambda: [self._schedule(api, str(self.node.cron))], CheckStatus.WARNING)
        if api is not None and self.node.data_version not in (None, NEWEST_DATA):
            checks += guarded("data version", lambda: [self._data_version(api)], CheckStatus.WARNING)
        return (replace(check, node=self.node.name) for check in checks)

    def _folder(self) -> Iterator[Check]:
        source = source_of(self.node)
        check_source(source, home=self.home, dockerfile=needs_dockerfile(self.provider()))
        yield Check("folder", CheckStatus.OK, str(source))

    def provider(self) -> Provider:
        """The node's own."""
        return self.provider_named(self.node.provider)

    def _time_limit(self) -> Iterator[Check]:
        """Whether runs get any time: records of earlier versions may say that they get none."""
        if self.node.timeout_minutes < 1:
            why = f"runs get {counted(self.node.timeout_minutes, 'minute')}: each one is ended at once"
            mend = f"numerai node -m {self.node.name} config --timeout-minutes {DEFAULT_TIMEOUT_MINUTES}"
            yield Check("time limit", CheckStatus.FAILED, why, mend)

    def _training(self) -> Iterator[Check]:
        """Whether a model that is to be trained again is."""
        training = training_of(self.node, self.provider()) if self.node.retrain_days is not None else None
        if training is not None and training.failed_at is not None:
            why = f"its model could not be trained again since {training.failed_at:%Y-%m-%d}: {training.why}"
            yield Check("training", CheckStatus.WARNING, why, f"numerai node -m {self.node.name} logs")

    def _runtime(self) -> Iterator[Check]:
        """Whether the node's copy of the runtime, and what is deployed of it, are the tool's. Says nothing of folders
        without one."""
        deploy, own = f"numerai node -m {self.node.name} deploy", own_version()
        copy = runtime_copy(Path(self.node.path))
        if copy is None:
            return
        provider = self.provider()
        deployed = provider.deployment(self.node.name)
        stale = deployed and deployed.source_hash != provider.source_hash(self.node)
        label, again = copy.label, f"{deploy} --runtime replace"
        if copy.state is RuntimeState.CURRENT and not stale:
            yield Check("runtime", CheckStatus.OK, label)
            return
        if copy.state is RuntimeState.CHANGED and copy.version == own:
            yield Check("runtime", CheckStatus.OK, f"{label}, with changes of your own")
            return
        why, mend = {
            RuntimeState.OLD: (f"{label} is older than this tool's, {own}; so is what was deployed from it", deploy),
            RuntimeState.CHANGED: (f"{label} has changes of your own, so it does not get the fixes of {own}", again),
            RuntimeState.NEWER: (f"{label} is newer than this tool's, {own}", install_command()),
            RuntimeState.LINK: (f"{copy.folder / RUNTIME} is a link: deploy never replaces it", None),
            RuntimeState.INTERRUPTED: (f"replacing {RUNTIME} was interrupted", deploy),
            RuntimeState.CURRENT: (f"{label}; what is deployed was built earlier and may hold an older one", deploy),
        }[copy.state]
        yield Check("runtime", CheckStatus.WARNING, why, mend)

    def _webhook(self, api: NumeraiApi, models: Mapping[str, Model]) -> Check:
        return webhook_check(self.node, models.get(self.node.model_id), self.provider_named, api.url, self.followed)

    def _schedule(self, api: NumeraiApi, cron: str) -> Check:
        """Whether the schedule has a run in the on-time window of every round; a watcher makes up for the others."""
        times = timetable(cron, self.node.tournament, api)
        if not times.misses or self.followed():
            makes_up = "; the watcher starts the runs that are missing" if times.misses else ""
            return Check("schedule", CheckStatus.OK, times.words + makes_up)
        mend = f"numerai daemon start, or another time: numerai node -m {self.node.name} config --cron"
        return Check("schedule", CheckStatus.WARNING, times.words, mend)

    def _data_version(self, api: NumeraiApi) -> Check:
        """Whether the pinned data version is served, and the newest one. What the model of an unpinned node was trained
        on is known to its runs only, which say the same."""
        data = api.data_versions(self.node.tournament)
        pinned, newest = self.node.data_version, data.newest
        mend = f"train the model on {newest}, then numerai node -m {self.node.name} config --data-version trained"
        if pinned not in data.served:
            why = f"{pinned} is pinned, and Numerai no longer serves it: runs use {newest}, which the model may not fit"
            return Check("data version", CheckStatus.FAILED, why, mend)
        later = data.served[data.served.index(pinned) + 1 :]
        if newest in later:
            return Check("data version", CheckStatus.WARNING, f"{pinned} is pinned, and {newest} is out", mend)
        return Check("data version", CheckStatus.OK, f"{pinned} is pinned, and the newest")
