"""Looks at everything a node depends on and says how it stands, why, and which command mends it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import ApiError, NumeraiError
from ..models import DEFAULT_PROVIDER, Check, CheckStatus, Keys, Model, Node
from ..ports import Clock, Ledger, NumeraiApi, Provider, Report, StateStore
from ..source import check_source
from .configure import NEWEST_DATA, PICKLE_ASSIGNED, UNASSIGN_PICKLE
from .overview import name_of, needs_watching, watching
from .runtime import RUNTIME, RuntimeState, own_version, runtime_copy
from .setup import scope_warnings

FIX_MODES, FIX_NODES_FILE, FIX_WEBHOOK, FIX_WAKE = "modes", "nodes-file", "webhook", "start-daemon"
"""What `doctor --fix` may do by itself. A provider's check may ask for FIX_WAKE."""

SKEW_WARNING_SECONDS = 30.0
SKEW_FAILED_SECONDS = 300.0
_TESTED = ((3, 10), (3, 13))


@dataclass
class Doctor:
    """Makes the checks. Each one stands alone: whatever one finds, the others are still made."""

    store: StateStore
    api_with: Callable[[Keys], NumeraiApi]
    provider_named: Callable[[str], Provider]
    clock: Clock
    ledger: Ledger
    may_sleep: Callable[[], tuple[str, str] | None] = lambda: None
    """What makes this machine likely to sleep, and what keeps it awake."""

    def examine(self) -> list[Check]:
        """Every check, in the order in which it makes sense to mend things."""
        checks = [_python(), *self._home(), *self._files()]
        nodes = self._nodes()
        api = self._api(checks)
        models = self._models(api) if api else None
        for name in sorted({DEFAULT_PROVIDER, *(node.provider for node in nodes)}):
            checks += self._provider(name, [node for node in nodes if node.provider == name])
        checks += self._watch(nodes)
        for node in nodes:
            checks += self._node(node, api, models)
        return checks

    def fix(self, checks: Iterable[Check], report: Report) -> list[str]:
        """Do the safe mends that the checks ask for; returns what was done, and what could not be, in words."""
        wanted = {check.safe_fix: check for check in checks if check.safe_fix}
        done: list[str] = []
        if FIX_NODES_FILE in wanted:
            _attempt(done, "put the previous nodes.json back", lambda: str(self.store.restore_previous_nodes()))
        if FIX_MODES in wanted:
            _attempt(done, "made home and keys readable for you only", self._fix_modes)
        if FIX_WAKE in wanted:
            for name in {node.provider for node in self.store.nodes().values()}:
                _attempt(
                    done, f"started the daemon of the provider {name}", partial(self.provider_named(name).wake, report)
                )
        for check in checks:
            if check.safe_fix == FIX_WEBHOOK and check.node:
                mend = partial(self._fix_webhook, check.node)
                _attempt(done, f"registered the webhook of {check.node}", mend)
        return done

    # this machine

    def _home(self) -> Iterator[Check]:
        home = self.store.home
        if not home.exists():
            yield Check("home", CheckStatus.WARNING, f"{home} does not exist yet", "numerai setup")
            return
        if not os.access(home, os.W_OK | os.X_OK):
            yield Check("home", CheckStatus.FAILED, f"{home} is not writable for you", f"make {home} writable")
            return
        open_ones = [path.name for path in self._private() if _open_to_others(path)]
        if open_ones:
            why = f"others can read {', '.join(open_ones)} in {home.parent}"
            yield Check("home", CheckStatus.FAILED, why, "numerai doctor --fix", safe_fix=FIX_MODES)
        else:
            yield Check("home", CheckStatus.OK, f"{home}, for you only")

    def _private(self) -> list[Path]:
        folder = self.store.home
        names = [self.store.keys_path, self.store.nodes_path]
        kept = [path.with_name(path.name + ".previous") for path in names]
        return [path for path in (folder, *names, *kept) if path.exists()]

    def _files(self) -> Iterator[Check]:
        try:
            count = len(self.store.nodes())
        except NumeraiError as error:
            fixable = error.code == "state-corrupt" and self.store.previous_nodes() is not None
            mend = "numerai doctor --fix" if fixable else error.hint
            fix = FIX_NODES_FILE if fixable else None
            yield Check("nodes.json", CheckStatus.FAILED, error.message, mend, safe_fix=fix)
            return
        if self.store.is_legacy():
            why = f"{self.store.home} is the official tool's"
            yield Check("nodes.json", CheckStatus.WARNING, why, "numerai upgrade")
        else:
            yield Check("nodes.json", CheckStatus.OK, f"{count} node(s)")

    def _nodes(self) -> list[Node]:
        try:
            return [node for _, node in sorted(self.store.nodes().items())]
        except NumeraiError:  # said by the check of the file
            return []

    # Numerai

    def _api(self, checks: list[Check]) -> NumeraiApi | None:
        try:
            keys = self.store.keys()
        except NumeraiError as error:
            checks.append(Check("keys", CheckStatus.FAILED, error.message, error.hint))
            return None
        if keys is None:
            checks.append(Check("keys", CheckStatus.FAILED, "there are none", "numerai setup"))
            return None
        try:
            api = self.api_with(keys)
            account = api.token_info()
        except NumeraiError as error:
            checks.append(Check("keys", CheckStatus.FAILED, error.message, error.hint))
            return None
        checks.append(Check("keys", CheckStatus.OK, f"accepted by {api.url} as {account.username}"))
        problems = scope_warnings(account)
        mend = "make another key at numer.ai (Settings, API keys), then numerai setup"
        if problems:
            checks += [Check("scopes", CheckStatus.WARNING, problem, mend) for problem in problems]
        else:
            checks.append(Check("scopes", CheckStatus.OK, "enough to run nodes, not enough to move stake"))
        checks.append(self._skew(api))
        return api

    def _skew(self, api: NumeraiApi) -> Check:
        try:
            seconds = (self.clock.now() - api.server_time()).total_seconds()
        except ApiError as error:
            return Check("clock", CheckStatus.WARNING, error.message)
        text = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {api.url}"
        mend = "set this machine's clock by the network (NTP)"
        if abs(seconds) >= SKEW_FAILED_SECONDS:
            return Check("clock", CheckStatus.FAILED, text, mend)
        if abs(seconds) >= SKEW_WARNING_SECONDS:
            return Check("clock", CheckStatus.WARNING, text, mend)
        return Check("clock", CheckStatus.OK, f"agrees with {api.url}")

    def _models(self, api: NumeraiApi) -> dict[str, Model] | None:
        try:
            return {model.id: model for model in api.models()}
        except ApiError:
            return None

    # providers and nodes

    def _provider(self, name: str, nodes: list[Node]) -> list[Check]:
        try:
            return list(self.provider_named(name).checks(nodes))
        except NumeraiError as error:
            return [Check(name, CheckStatus.FAILED, error.message, error.hint)]

    def _node(self, node: Node, api: NumeraiApi | None, models: dict[str, Model] | None) -> Iterator[Check]:
        try:
            check_source(Path(node.path), home=self.store.home)
            yield Check("folder", CheckStatus.OK, node.path, node=node.name)
        except NumeraiError as error:
            yield Check("folder", CheckStatus.FAILED, error.message, error.hint, node=node.name)
        yield from (replace(check, node=node.name) for check in self._runtime(node))
        if api is not None and models is not None:
            yield replace(self._webhook(node, api, models), node=node.name)
        if api is not None and node.data_version not in (None, NEWEST_DATA):
            yield replace(_data_version(node, api), node=node.name)

    def _runtime(self, node: Node) -> Iterator[Check]:
        """Whether the node's copy of the runtime, and what is deployed of it, are the tool's. Says nothing of folders
        without one."""
        deploy, own = f"numerai node -m {node.model_name} deploy", own_version()
        try:
            copy = runtime_copy(Path(node.path))
            if copy is None:
                return
            deployed = self.provider_named(node.provider).deployment(node.name)
            stale = deployed and deployed.source_hash != self.provider_named(node.provider).source_hash(node)
        except NumeraiError as error:
            yield Check("runtime", CheckStatus.WARNING, error.message, error.hint)
            return
        why, mend = {
            RuntimeState.OLD: (
                f"{copy.label} is older than this tool's, {own}; so is what was deployed from it",
                deploy,
            ),
            RuntimeState.CHANGED: (
                f"{copy.label} has changes of your own, so it does not get the fixes of {own}",
                f"{deploy} --runtime replace",
            ),
            RuntimeState.NEWER: (
                f"{copy.label} is newer than this tool's, {own}",
                "pip install --upgrade numerai-compute",
            ),
            RuntimeState.LINK: (f"{copy.folder / RUNTIME} is a link: deploy never replaces it", None),
            RuntimeState.INTERRUPTED: (f"replacing {RUNTIME} was interrupted", deploy),
            RuntimeState.CURRENT: (
                f"{copy.label}; what is deployed was built earlier and may hold an older one",
                deploy,
            ),
        }[copy.state]
        if copy.state is RuntimeState.CURRENT and not stale:
            yield Check("runtime", CheckStatus.OK, copy.label)
        elif copy.state is RuntimeState.CHANGED and copy.version == own:
            yield Check("runtime", CheckStatus.OK, f"{copy.label}, with changes of your own")
        else:
            yield Check("runtime", CheckStatus.WARNING, why, mend)

    def _webhook(self, node: Node, api: NumeraiApi, models: dict[str, Model]) -> Check:
        model = models.get(node.model_id)
        if model is None:
            why = f"the account has no model {node.model_name} any more"
            return Check("webhook", CheckStatus.FAILED, why, f"numerai node -m {node.model_name} destroy")
        if model.pickle is not None:
            return Check("model upload", CheckStatus.FAILED, PICKLE_ASSIGNED, UNASSIGN_PICKLE)
        if node.cron and model.webhook != node.webhook_url:
            return Check("webhook", CheckStatus.OK, "not registered: the node runs by its schedule")
        if node.webhook_url is None:
            mend = f"numerai node -m {node.model_name} config"
            return Check("webhook", CheckStatus.FAILED, "the node was never provisioned to its end", mend)
        if model.webhook == node.webhook_url:
            return Check("webhook", CheckStatus.OK, "Numerai calls it")
        if not self.provider_named(node.provider).reachable_by(api.url):
            why = f"{api.url} cannot call this machine"
            if self._followed():
                return Check("webhook", CheckStatus.OK, f"{why}; the watcher starts the node when a round opens")
            mend = "numerai daemon start, or numerai setup --public-url URL"
            return Check("webhook", CheckStatus.WARNING, why, mend)
        why = "Numerai calls another address" if model.webhook else "Numerai calls nobody"
        return Check("webhook", CheckStatus.FAILED, why, "numerai doctor --fix", safe_fix=FIX_WEBHOOK)

    # who notices

    def _watch(self, nodes: list[Node]) -> Iterator[Check]:
        """Whether somebody follows the rounds and somebody is told, for nodes that do not see to that by themselves:
        of the others their provider's checks speak."""
        if not any(needs_watching(node, lambda each: self.provider_named(each.provider)) for node in nodes):
            return
        try:
            yield self._watcher()
            yield from self._sleep()
            yield self._told()
        except NumeraiError as error:
            yield Check("watcher", CheckStatus.WARNING, error.message, error.hint)

    def _watcher(self) -> Check:
        found = watching(self.ledger, self.clock.now())
        if not found:
            why = "nobody on this machine follows the rounds: a run that does not come goes unnoticed"
            return Check("watcher", CheckStatus.WARNING, why, "numerai daemon start")
        return Check("watcher", CheckStatus.OK, f"{name_of(found[0])} follows the rounds")

    def _sleep(self) -> Iterator[Check]:
        """Whether rounds are followed by nothing but a machine that may sleep through them."""
        found = self.may_sleep()
        if found is None:
            return
        why = (
            f"only this machine can follow the rounds of your nodes, and {found[0]}: while it sleeps, no run starts and"
            " nobody is told; a round that opens and ends meanwhile is missed"
        )
        mend = f"{found[1]}, use a machine that stays on, or nodes on AWS (docs/watch.md)"
        yield Check("sleep", CheckStatus.WARNING, why, mend)

    def _followed(self) -> bool:
        try:
            return bool(watching(self.ledger, self.clock.now()))
        except NumeraiError:  # said by the check of the watcher
            return False

    def _told(self) -> Check:
        told = sorted(self.store.notify_urls())
        if not told:
            why = "nobody is told when a run fails or a round is missed"
            return Check("notifications", CheckStatus.WARNING, why, "numerai notify add NAME")
        return Check("notifications", CheckStatus.OK, f"told: {', '.join(told)}")

    # mends

    def _fix_modes(self) -> None:
        for path in self._private():
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _fix_webhook(self, name: str) -> None:
        node, keys = self.store.nodes()[name], self.store.keys()
        if keys is not None:
            self.api_with(keys).set_webhook(node.model_id, node.webhook_url)


def _data_version(node: Node, api: NumeraiApi) -> Check:
    """Whether the data version that the node is pinned to is served, and the newest one. What an unpinned node's model
    was trained on is known to its runs only, which say the same."""
    try:
        data = api.data_versions(node.tournament)
    except ApiError as error:
        return Check("data version", CheckStatus.WARNING, error.message, error.hint)
    pinned, newest = node.data_version, data.newest
    mend = f"train the model on {newest}, then numerai node -m {node.model_name} config --data-version trained"
    if pinned not in data.served:
        why = f"{pinned} is pinned, and Numerai no longer serves it: runs use {newest}, which the model may not fit"
        return Check("data version", CheckStatus.FAILED, why, mend)
    later = data.served[data.served.index(pinned) + 1 :]
    if newest in later:
        return Check("data version", CheckStatus.WARNING, f"{pinned} is pinned, and {newest} is out", mend)
    return Check("data version", CheckStatus.OK, f"{pinned} is pinned, and the newest")


def _python() -> Check:
    version = sys.version_info[:2]
    text = ".".join(str(part) for part in sys.version_info[:3])
    if version < _TESTED[0]:
        return Check("python", CheckStatus.FAILED, f"{text} is too old", "install Python 3.10 or later")
    if version > _TESTED[1]:
        return Check("python", CheckStatus.WARNING, f"{text} is newer than what this version was tested with")
    return Check("python", CheckStatus.OK, text)


def _open_to_others(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _attempt(done: list[str], what: str, mend: Callable[[], object]) -> None:
    try:
        mend()
        done.append(what)
    except (NumeraiError, OSError) as error:
        done.append(f"could not: {what}: {error}")
