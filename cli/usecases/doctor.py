"""Looks at everything a node depends on and says how it stands, why, and which command mends it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..counting import counted
from ..errors import ApiError, NumeraiError
from ..installation import beside_official
from ..models import DEFAULT_PROVIDER, Check, CheckStatus, Keys, Model, Node
from ..ports import Clock, NumeraiApi, Provider, Report, StateStore
from ..translation import EXPECTED
from .inspect import finish_move, list_nodes, places, unusable_note
from .node_checks import NodeChecks, guarded
from .overview import name_of, needs_watching, watching
from .setup import chosen_provider, scope_warnings
from .webhooks import FIX_RESTART, FIX_WEBHOOK, register, restart_if_elsewhere

if TYPE_CHECKING:
    from ..watching.ledger import Ledger

FIX_MODES, FIX_NODES_FILE, FIX_WAKE = "modes", "nodes-file", "start-daemon"
"""What `doctor --fix` may do by itself, beside what webhooks.py names. A provider's check may ask for FIX_WAKE."""

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
        checks = [_python(), *_other_tool(), *guarded("home", self._home), *guarded("nodes.json", self._files)]
        nodes = self._nodes()
        api = self._api(checks)
        models = self._models(api, checks) if api else None
        for name in sorted({DEFAULT_PROVIDER, *self._chosen(), *_providers(nodes)}):
            checks += guarded(name, partial(self._provider, name, [node for node in nodes if name in places(node)]))
        checks += guarded("watcher", lambda: self._watch(nodes), CheckStatus.WARNING)
        for node in nodes:
            checks += NodeChecks(node, self.store.home, self.provider_named, self._followed).examine(api, models)
        return checks

    def fix(self, checks: Iterable[Check], report: Report) -> list[str]:
        """Do the safe mends that the checks ask for; returns what was done, and what could not be, in words."""
        wanted = {check.safe_fix: check for check in checks if check.safe_fix}
        done: list[str] = []
        if FIX_NODES_FILE in wanted:
            _attempt(done, "put the previous nodes.json back", self.store.restore_previous_nodes)
        if FIX_MODES in wanted:
            _attempt(done, "made home and keys readable for you only", self._fix_modes)
        if FIX_WAKE in wanted:
            for name in _providers(self.store.nodes().values()):
                _attempt(
                    done,
                    f"started the daemon of the provider {name}",
                    lambda name=name: self.provider_named(name).wake(report),  # type: ignore[misc]
                )
        for check in checks:
            if check.safe_fix == FIX_WEBHOOK and check.node:
                mend = partial(self._fix_webhook, check.node, report)
                _attempt(done, f"registered the webhook of {check.node}", mend)
        if FIX_RESTART in wanted:
            for name in _providers(self.store.nodes().values()):
                _attempt(
                    done,
                    f"let the provider {name} serve the address that Numerai calls",
                    lambda name=name: restart_if_elsewhere(self.provider_named(name), report),  # type: ignore[misc]
                )
        return done

    # this machine

    def _home(self) -> Iterator[Check]:
        home = self.store.home
        if home.is_symlink() and not home.exists():  # said by the check of the file in it
            return
        if not home.exists():
            yield Check("home", CheckStatus.WARNING, f"{home} does not exist yet", "numerai setup")
            return
        if home.is_file() and not self._home_of_keys():
            mend = "move it away, or set NUMERAI_HOME to a folder"
            yield Check("home", CheckStatus.FAILED, f"{home} is a file, and no folder", mend)
            return
        if not os.access(home, os.W_OK if home.is_file() else os.W_OK | os.X_OK):
            yield Check("home", CheckStatus.FAILED, f"{home} is not writable for you", f"make {home} writable")
            return
        open_ones = [path.name for path in self._private() if _open_to_others(path)]
        if open_ones:
            why = f"others can read {', '.join(open_ones)} in {home.parent}"
            yield Check("home", CheckStatus.FAILED, why, "numerai doctor --fix", safe_fix=FIX_MODES)
        else:
            yield Check("home", CheckStatus.OK, f"{home}, for you only")

    def _home_of_keys(self) -> bool:
        """Whether the file that is in the home's place is, or may be, the one of numerai-cli until 0.2."""
        try:
            return self.store.is_legacy()
        except NumeraiError as error:
            return error.code == "home-open"

    def _private(self) -> list[Path]:
        folder = self.store.home
        names = [self.store.keys_path, self.store.nodes_path]
        kept = [path.with_name(path.name + ".previous") for path in names]
        return [folder, *(path for path in (*names, *kept) if path.is_file())]

    def _files(self) -> Iterator[Check]:
        try:
            count = len(self.store.nodes())
        except NumeraiError as error:
            fixable = error.code == "state-corrupt" and self.store.previous_nodes() is not None
            mend = "numerai doctor --fix" if fixable else error.hint
            fix = FIX_NODES_FILE if fixable else None
            yield Check("nodes.json", CheckStatus.FAILED, error.message, mend, safe_fix=fix)
            return
        if self._is_legacy():
            why = f"{self.store.home} is the official tool's"
            yield Check("nodes.json", CheckStatus.WARNING, why, "numerai upgrade")
        elif (note := unusable_note(self.store)) is not None:
            yield Check("nodes.json", CheckStatus.WARNING, f"{counted(count, 'node')}; {note}", "numerai node list")
        else:
            yield Check("nodes.json", CheckStatus.OK, counted(count, "node"))

    def _is_legacy(self) -> bool:
        try:
            return self.store.is_legacy()
        except NumeraiError:  # the keys' file cannot be read: said by the check of the keys
            return False

    def _nodes(self) -> list[Node]:
        try:
            return list_nodes(self.store)
        except NumeraiError:  # said by the check of the file
            return []

    def _chosen(self) -> list[str]:
        """The provider that `setup` was told, which is looked at before a node uses it."""
        try:
            chosen = chosen_provider(self.store)
        except NumeraiError:  # said by the check of the file
            return []
        return [chosen] if chosen else []

    # Numerai

    def _api(self, checks: list[Check]) -> NumeraiApi | None:
        try:
            keys = self.store.keys()
            if keys is None:
                checks.append(Check("keys", CheckStatus.FAILED, "there are none", "numerai setup"))
                return None
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

    def _models(self, api: NumeraiApi, checks: list[Check]) -> dict[str, Model] | None:
        try:
            return {model.id: model for model in api.models()}
        except ApiError as error:
            why = f"whether Numerai calls the nodes is not known: {error.message}"
            checks.append(Check("models", CheckStatus.WARNING, why, error.hint))
            return None

    def _provider(self, name: str, nodes: list[Node]) -> Iterator[Check]:
        """What a provider finds. What is wrong on the other side of a node that is between two, its move mends."""
        beside = {node.name: node for node in nodes if node.provider != name}
        for check in self.provider_named(name).checks(nodes):
            node = beside.get(check.node or "")
            wrong = node is not None and check.status is not CheckStatus.OK
            yield (
                replace(check, mend=finish_move(node, self.provider_named), safe_fix=None) if node and wrong else check
            )

    # who notices

    def _watch(self, nodes: list[Node]) -> Iterator[Check]:
        """Whether somebody follows the rounds and somebody is told, for nodes that do not see to that by themselves:
        of the others their provider's checks speak."""
        if not any(needs_watching(node, self.provider_named) for node in nodes):
            return
        yield self._watcher()
        yield from self._sleep()
        yield self._told()

    def _watcher(self) -> Check:
        watchers = watching(self.ledger, self.clock.now())
        if not watchers:
            why = "nobody on this machine follows the rounds: a run that does not come goes unnoticed"
            return Check("watcher", CheckStatus.WARNING, why, "numerai daemon start")
        return Check("watcher", CheckStatus.OK, f"{name_of(watchers[0])} follows the rounds")

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
        except EXPECTED:  # said by the check of the watcher
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

    def _fix_webhook(self, name: str, report: Report) -> None:
        node, keys = self.store.nodes()[name], self.store.keys()
        if keys is not None:
            register(node, self.provider_named, self.api_with(keys), self.store, report)


def _python() -> Check:
    version = sys.version_info[:2]
    text = ".".join(str(part) for part in sys.version_info[:3])
    if version < _TESTED[0]:
        return Check("python", CheckStatus.FAILED, f"{text} is too old", "install Python 3.10 or later")
    if version > _TESTED[1]:
        return Check("python", CheckStatus.WARNING, f"{text} is newer than what this version was tested with")
    return Check("python", CheckStatus.OK, text)


def _other_tool() -> Iterator[Check]:
    """The official tool in the same environment: both own the command `numerai` and the same home folder."""
    if (beside := beside_official()) is not None:
        yield Check("numerai-cli", CheckStatus.WARNING, *beside)


def _providers(nodes: Iterable[Node]) -> set[str]:
    return {name for node in nodes for name in places(node)}


def _open_to_others(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _attempt(done: list[str], what: str, mend: Callable[[], object]) -> None:
    try:
        mend()
        done.append(what)
    except EXPECTED as error:
        done.append(f"could not: {what}: {error}")
