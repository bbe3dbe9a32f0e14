"""The daemon as a service of this user: installs it, takes it away, and says how it stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...adapters.state_store import HomeStore
from ...encodings import as_utf_8
from ...errors import EnvironmentNotReady, NumeraiError, ProviderError
from ...files.private import make_private_folder
from ...models import Check, CheckStatus
from ...ports import Report
from ..registry import ProviderContext
from .daemon import (
    COMMAND,
    LOOK_SECONDS,
    RESTART,
    START_SECONDS,
    DaemonStatus,
    daemon_status,
    lock_is_held,
    start_daemon,
    stop_daemon,
)
from .service_files import TASK_MINUTES, ServiceCommand, ServiceFound, windowless
from .service_managers import Remark, ServiceManager, by_cron, service_manager
from .settings import LocalPaths

KEYS = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY", "NUMERAI_API_URL")
READ_BY_THE_DAEMON = ("NUMERAI_", "AWS_", "DOCKER_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class ServiceStatus:
    """How the service stands. `ours` is whether `numerai daemon install` made it; `here` whether it is for this home,
    None when it does not say."""

    manager: str
    place: str
    installed: bool
    ours: bool = False
    here: bool | None = None
    python: str | None = None
    home: str | None = None
    problems: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Installation:
    """What `install_service` did or, with `dry_run`, would do. `daemon` is the daemon that now runs."""

    dry_run: bool
    changed: bool
    manager: str
    place: str
    content: str
    commands: tuple[tuple[str, ...], ...]
    look: str
    begins: str
    warnings: tuple[Remark, ...]
    handed_over: int | None = None
    daemon: DaemonStatus | None = None


@dataclass(frozen=True)
class Removal:
    """What `uninstall_service` did or, with `dry_run`, would do. `removed` is False when there was nothing;
    `stopped` whether the daemon ended with it."""

    dry_run: bool
    removed: bool
    manager: str
    place: str
    commands: tuple[tuple[str, ...], ...] = ()
    stopped: bool = False


def service_command(home: Path, environ: Mapping[str, str] = os.environ) -> ServiceCommand:
    """What the service of this home runs: this Python, and the programs that this shell finds."""
    return ServiceCommand(sys.executable, str(home), environ.get("PATH"))


def install_service(
    context: ProviderContext,
    *,
    report: Report,
    dry_run: bool = False,
    manager: ServiceManager | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Installation:
    """Make the daemon a service and start it there. A daemon that runs already is ended first; its runs go on and are
    taken over. Repeating it is fine; after a failure all is as it was.

    Raises `EnvironmentNotReady` with code `no-service-manager`, `no-keys`, `keys-in-environment` or `service-manager`,
    `ProviderError` with code `service-foreign`, `service-elsewhere` or `daemon-failed`.
    """
    manager = manager or service_manager()
    command = service_command(context.home, environ)
    if (why := manager.missing()) is not None:
        raise _no_manager(why, command)
    _refuse_keys_that_a_service_lacks(context.home, environ)
    content, before = manager.content(command), manager.found()
    if before is not None:
        _refuse_another(before, manager, context.home)
    warnings = tuple(_warnings(manager, environ))
    same = manager.held() == content and manager.registered() is True
    plan = Installation(
        dry_run,
        not same,
        manager.name,
        manager.place,
        as_utf_8(content).decode(),
        tuple(tuple(argv) for argv in manager.loading()),
        manager.look,
        manager.begins,
        warnings,
    )
    if dry_run:
        return plan
    status = daemon_status(context)
    handed_over = None
    if not (same and status.answering and manager.active()):
        handed_over = _bring_in(context, manager, content, status, report)
        status = _answering(context, manager)
    return replace(plan, handed_over=handed_over, daemon=status)


def uninstall_service(
    context: ProviderContext, *, dry_run: bool = False, manager: ServiceManager | None = None
) -> Removal:
    """Take away what `install_service` made, and nothing else; fine when there is nothing.

    Raises `ProviderError` with code `service-foreign` or `service-elsewhere`, `EnvironmentNotReady` with code
    `service-manager`.
    """
    manager = manager or service_manager()
    found = manager.found()
    if found is None:
        return Removal(dry_run, False, manager.name, manager.place)
    _refuse_another(found, manager, context.home)
    commands = tuple(tuple(argv) for argv in manager.unloading())
    if dry_run:
        return Removal(True, True, manager.name, manager.place, commands)
    before = daemon_status(context)
    if manager.restarts_after_stop and before.running:  # it would be ended without a chance to say so
        stop_daemon(context)
    manager.remove()
    stopped = before.running and not daemon_status(context).running
    return Removal(False, True, manager.name, manager.place, commands, stopped)


def service_status(home: Path, manager: ServiceManager | None = None) -> ServiceStatus:
    """How the service stands, from what its manager holds. Asks only."""
    manager = manager or service_manager()
    try:
        found = manager.found()
    except NumeraiError as error:
        return ServiceStatus(manager.name, manager.place, True, problems=(Remark(error.message, error.hint),))
    if found is None:
        return ServiceStatus(manager.name, manager.place, False)
    here = None if found.home is None else _same(found.home, str(home))
    problems = tuple(_problems(found, manager, home)) if found.ours else ()
    return ServiceStatus(
        manager.name,
        manager.place,
        True,
        found.ours,
        here,
        found.python,
        found.home,
        problems,
    )


def service_check(home: Path, *, needed: bool, manager: ServiceManager | None = None) -> Check:
    """The finding of `numerai doctor`; `needed` is whether nodes depend on the daemon of this machine."""
    manager = manager or service_manager()
    status = service_status(home, manager)
    if status.problems:
        severity = CheckStatus.WARNING if needed else CheckStatus.OK
        why = "; ".join(problem.why for problem in status.problems)
        return Check("service", severity, f"{status.place}: {why}", status.problems[0].mend)
    if status.installed:
        whose = f"{status.manager} starts the daemon" if status.ours else "there is a service of your own"
        return Check("service", CheckStatus.OK, f"{whose} ({status.place})")
    if (missing := manager.missing()) is not None:
        why = f"not installed, and cannot be ({missing}): start the daemon after a restart in another way"
        return Check("service", CheckStatus.OK, why)
    if not needed:
        return Check("service", CheckStatus.OK, "not installed, and need not be: no node is configured here")
    why = "not installed: nothing that numerai knows of starts the daemon after a restart of this machine"
    return Check("service", CheckStatus.WARNING, why, "numerai daemon install")


def bring_up_daemon(
    context: ProviderContext,
    *,
    report: Report,
    command: Sequence[str] = COMMAND,
    environ: Mapping[str, str] = os.environ,
) -> DaemonStatus:
    """Start the daemon unless it runs: as the service where one is installed for this home and Python, so that it is
    restarted after a failure; else in the background.

    A shell whose environment says something that the service does not know gets a daemon in the background, since its
    settings would be lost otherwise. Raises `ProviderError` with code `daemon-failed`.
    """
    if tuple(command) == COMMAND and not daemon_status(context).running:
        manager, started = service_manager(), False
        with suppress(NumeraiError):
            if _is_for(context.home, manager, environ):
                report(f"Starting the daemon ({manager.name})")
                manager.start()
                started = True
        if started:
            return _answering(context, manager)
    return start_daemon(context, report=report, command=command)


def starts_again(home: Path, manager: ServiceManager | None = None) -> str | None:
    """When the service starts a daemon again that was stopped just now, in words; None without a service for it."""
    manager = manager or service_manager()
    with suppress(NumeraiError):
        found = manager.found()
        if found is not None and found.ours and not (found.home and not _same(found.home, str(home))):
            if manager.restarts_after_stop:
                return (
                    f"The service starts it again within {TASK_MINUTES} minutes, unless you `numerai daemon uninstall`."
                )
            return f"The service starts it again {manager.begins}; `numerai daemon start` does so now."
    return None


def left_out(environ: Mapping[str, str]) -> list[str]:
    """The variables of this environment that change what the daemon does, and that a service does not get."""
    told = (*KEYS, "NUMERAI_HOME")
    return sorted(
        name
        for name, value in environ.items()
        if value and name not in told and (name.startswith(READ_BY_THE_DAEMON) or name.upper() in PROXIES)
    )


def _bring_in(
    context: ProviderContext, manager: ServiceManager, content: bytes, status: DaemonStatus, report: Report
) -> int | None:
    """Write and load the service, in the place of a daemon that runs; returns that one's process id."""
    before = manager.held()
    make_private_folder(LocalPaths(context.home).root)  # where it is started
    report(f"Installing the service ({manager.name})")
    manager.write(content)
    try:
        if status.running:
            stop_daemon(context)
        manager.load()
    except BaseException:
        with suppress(NumeraiError):
            if before is None:
                manager.remove()
            else:
                manager.write(before)
                manager.load()
        if status.running and not daemon_status(context).running:
            start_daemon(context, report=report)
        raise
    return status.pid if status.running else None


def _answering(context: ProviderContext, manager: ServiceManager) -> DaemonStatus:
    give_up = context.clock.monotonic() + START_SECONDS
    while not (status := daemon_status(context)).answering:
        if context.clock.monotonic() > give_up:
            log = LocalPaths(context.home).daemon_log
            raise ProviderError(
                f"The service is installed, but the daemon does not answer; its log is {log}.",
                f"Look: {manager.look}",
                code="daemon-failed",
            )
        context.clock.sleep(LOOK_SECONDS)
    return status


def _is_for(home: Path, manager: ServiceManager, environ: Mapping[str, str]) -> bool:
    found = manager.found()
    if found is None or not found.ours or manager.missing() or any(_differences(found, home)):
        return False
    lost = left_out(environ)
    if any(name.startswith("NUMERAI_") for name in lost):
        return False
    if (engine := {name for name in lost if name.startswith("DOCKER_")}) and not engine <= manager.given():
        return False
    return HomeStore(home, {}).keys() == HomeStore(home, environ).keys()


def _refuse_keys_that_a_service_lacks(home: Path, environ: Mapping[str, str]) -> None:
    here, recorded = HomeStore(home, environ).keys(), HomeStore(home, {}).keys()
    if here is None:
        raise EnvironmentNotReady("There are no Numerai keys.", "Run `numerai setup`.", code="no-keys")
    if here != recorded:
        only = "are only in this shell's environment" if recorded is None else "are others than those in your home"
        raise EnvironmentNotReady(
            f"Your Numerai keys {only}. A service does not get them, and they are never written into its file.",
            "Record them with `numerai setup`, then install again.",
            code="keys-in-environment",
        )


def _refuse_another(found: ServiceFound, manager: ServiceManager, home: Path) -> None:
    if not found.ours:
        raise ProviderError(
            f"{manager.place} is there already, and numerai did not make it.",
            f"Look at it ({manager.look}); remove it yourself if you do not need it.",
            code="service-foreign",
        )
    if found.home is not None and not _same(found.home, str(home)):
        raise ProviderError(
            f"The service is installed for another home folder: {found.home}. There is one service for each user.",
            "Set NUMERAI_HOME to that folder and run `numerai daemon uninstall`, then try again.",
            code="service-elsewhere",
        )


def _no_manager(why: str, command: ServiceCommand) -> EnvironmentNotReady:
    if sys.platform in ("darwin", "win32"):
        hint = "Start the daemon after each login with `numerai daemon start`."
    else:
        hint = (
            "Let cron start the daemon with the machine (`crontab -e`), with this line:\n"
            f"{by_cron(command)}\n"
            "or give `numerai daemon run` to the service manager that you have."
        )
    return EnvironmentNotReady(f"A service cannot be installed here: {why}.", hint, code="no-service-manager")


def _warnings(manager: ServiceManager, environ: Mapping[str, str]) -> Iterator[Remark]:
    """What the user should know of the service."""
    if (remark := manager.remark()) is not None:
        yield remark
    if names := sorted(set(left_out(environ)) - manager.given()):
        why = f"the service does not get {', '.join(names)} from this shell: record what it needs with `numerai setup`"
        yield Remark(why)


def _differences(found: ServiceFound, home: Path) -> Iterator[Remark]:
    if found.home is not None and not _same(found.home, str(home)):
        mend = "set NUMERAI_HOME to that folder, numerai daemon uninstall; then numerai daemon install for this one"
        yield Remark(f"is for another home folder, {found.home}", mend)
    if found.python is not None and not _same(found.python, windowless(sys.executable), sys.executable):
        yield Remark(f"runs another Python, {found.python}", "numerai daemon install")


def _problems(found: ServiceFound, manager: ServiceManager, home: Path) -> Iterator[Remark]:
    differences = list(_differences(found, home))
    yield from differences
    if found.python is not None and not Path(found.python).exists():
        yield Remark(f"its Python is gone, {found.python}", "numerai daemon install")
    if manager.registered() is False:
        yield Remark(f"is there, but {manager.name} does not start it", "numerai daemon install")
    elif (remark := manager.remark()) is not None:
        yield remark
    if not differences and manager.active() is False and lock_is_held(LocalPaths(home)):
        why = f"the daemon that runs was not started by {manager.name}, which would start it again after a failure"
        yield Remark(why, RESTART)


def _same(path: str, *others: str) -> bool:
    return any(os.path.normcase(path) == os.path.normcase(other) for other in others)
