"""The service managers of this user: systemd, launchd, Task Scheduler. Each holds one service, the daemon's.

launchd and Task Scheduler follow launchctl(1), launchd.plist(5) and Microsoft's pages on schtasks; they were tried with
stand-ins for their programs only.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...errors import EnvironmentNotReady, NumeraiError
from ...files.places import users_home
from ...files.private import write_private
from ...process import ProcessResult, run_process
from .service_files import (
    LABEL,
    RUN,
    TASK,
    UNIT,
    ServiceCommand,
    ServiceFound,
    launchd_plist,
    read_plist,
    read_task,
    read_unit,
    systemd_unit,
    task_xml,
)

SECONDS = 90.0
"""For one command of a manager; systemd itself gives a service 90 seconds to end."""
LINGER = "loginctl enable-linger"
BOOTED_BY_SYSTEMD = Path("/run/systemd/system")
"""sd_booted(3): there only where systemd is the init system."""


@dataclass(frozen=True)
class Remark:
    """What is wrong with a service or should be known of it, and the command that changes it."""

    why: str
    mend: str | None = None


class ServiceManager(Protocol):
    """Keeps the daemon running for this user. Every method may raise `EnvironmentNotReady` with code `service-manager`
    when the manager refuses."""

    name: str
    place: str
    """The file or task that holds the service."""
    look: str
    """The command that shows how the service stands."""
    begins: str
    """When the service is started, in words."""
    restarts_after_stop: bool
    """Whether it starts the daemon again after a clean end too."""

    def missing(self) -> str | None:
        """Why it cannot be used here, None when it can. Cheap: no program is run."""

    def content(self, command: ServiceCommand) -> bytes:
        """What the service is made from."""

    def found(self) -> ServiceFound | None:
        """What is installed, None when nothing is."""

    def held(self) -> bytes | None:
        """The content that is installed, where it can be had byte for byte."""

    def loading(self) -> Sequence[Sequence[str]]:
        """The commands that `load` runs."""

    def write(self, content: bytes) -> None:
        """Put the content in its place. Nothing is started by it."""

    def load(self) -> None:
        """Register what was written and start it now."""

    def start(self) -> None:
        """Start what is registered."""

    def unloading(self) -> Sequence[Sequence[str]]:
        """The commands that `remove` runs."""

    def remove(self) -> None:
        """End the service's daemon and take the service away, and nothing else."""

    def registered(self) -> bool | None:
        """Whether the manager will start it by itself; None when it does not say."""

    def active(self) -> bool | None:
        """Whether it runs the daemon now; None when it does not say."""

    def given(self) -> frozenset[str]:
        """The names of the variables that its services get without being told."""

    def remark(self) -> Remark | None:
        """What the user should know about when it runs."""


def service_manager(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> ServiceManager:
    """The manager of that platform."""
    if platform == "darwin":
        return Launchd()
    if platform == "win32":
        return TaskScheduler(environ)
    return Systemd(environ)


class Systemd:
    """A user unit."""

    name = "systemd"
    restarts_after_stop = False
    look = f"systemctl --user status {UNIT}"
    begins = "when this machine starts, or you log in"

    def __init__(self, environ: Mapping[str, str] = os.environ):
        # systemd.unit(5): where the units of a user lie
        configured = environ.get("XDG_CONFIG_HOME", "")
        config = Path(configured) if Path(configured).is_absolute() else users_home() / ".config"
        self._file = config / "systemd" / "user" / UNIT
        self.place = str(self._file)

    def missing(self) -> str | None:
        """Whether systemd runs this machine and its program is there."""
        if shutil.which("systemctl") is None:
            return "there is no systemctl"
        return None if BOOTED_BY_SYSTEMD.is_dir() else "systemd does not run this machine"

    def content(self, command: ServiceCommand) -> bytes:
        """The unit."""
        return systemd_unit(command)

    def found(self) -> ServiceFound | None:
        """What the unit file says."""
        content = self.held()
        return None if content is None else read_unit(content)

    def held(self) -> bytes | None:
        """The unit file."""
        return _read(self._file)

    def loading(self) -> Sequence[Sequence[str]]:
        """What `load` runs."""
        return _systemctl("daemon-reload"), _systemctl("enable", UNIT), _systemctl("restart", UNIT)

    def write(self, content: bytes) -> None:
        """Write the unit file, if the user's systemd answers at all."""
        if (why := self._answers()) is not None:
            raise EnvironmentNotReady(
                f"Your user's systemd does not answer: {why}",
                "Log in as this user (not with su or sudo), or `sudo loginctl enable-linger $USER` and log in again.",
                code="service-manager",
            )
        _write(self._file, content)

    def load(self) -> None:
        """Enable and start the unit."""
        for argv in self.loading():
            _must(argv)

    def start(self) -> None:
        """Start the unit."""
        _must(_systemctl("start", UNIT))

    def unloading(self) -> Sequence[Sequence[str]]:
        """What `remove` runs."""
        return _systemctl("disable", "--now", UNIT), _systemctl("daemon-reload")

    def remove(self) -> None:
        """Stop, disable and remove the unit. Where the user's systemd does not answer, none of its services runs: the
        unit and the link of `enable` are removed without it."""
        disable, reload = self.unloading()
        answers = self._answers() is None
        if answers:
            done = _call(disable)
            if done.exit_code != 0 and _last(_call(_systemctl("is-active", UNIT))) not in ("inactive", "failed"):
                raise _failed(disable, done)
        link = self._file.parent / "default.target.wants" / UNIT
        if link.is_symlink():
            _remove(link)
        _remove(self._file)
        if answers:
            _call(reload)

    def registered(self) -> bool | None:
        """Whether the unit is enabled."""
        with suppress(NumeraiError):
            state = _last(_call(_systemctl("is-enabled", UNIT)))
            return {"enabled": True, "disabled": False, "masked": False}.get(state)
        return None

    def active(self) -> bool | None:
        """Whether the unit is active."""
        with suppress(NumeraiError):
            state = _last(_call(_systemctl("is-active", UNIT)))
            return {"active": True, "inactive": False, "failed": False, "activating": False}.get(state)
        return None

    def given(self) -> frozenset[str]:
        """The environment block of the user's systemd (environment.d(5))."""
        lines: list[str] = []
        with suppress(NumeraiError):
            run_process(_systemctl("show-environment"), timeout=SECONDS, on_line=lines.append)
        return frozenset(line.partition("=")[0] for line in lines if "=" in line)

    def remark(self) -> Remark | None:
        """Whether it ends with the user's last session (loginctl(1), enable-linger)."""
        with suppress(NumeraiError):
            done = _call(("loginctl", "show-user", str(_user_id()), "--property=Linger"))
            if done.exit_code == 0 and _last(done) == "Linger=yes":
                return None
        return Remark("it runs only while you are logged in, and does not start with the machine", LINGER)

    def _answers(self) -> str | None:
        """Why the user's systemd does not answer, None when it does."""
        try:
            done = _call(_systemctl("show-environment"))
        except NumeraiError as error:
            return error.message
        return None if done.exit_code == 0 else _last(done)


class Launchd:
    """A launch agent."""

    name = "launchd"
    restarts_after_stop = False
    begins = "when you log in"

    def __init__(self) -> None:
        self._file = users_home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self.place = str(self._file)
        self._domain = f"gui/{_user_id()}"
        self.look = f"launchctl print {self._domain}/{LABEL}"

    def missing(self) -> str | None:
        """Whether its program is there."""
        return None if shutil.which("launchctl") else "there is no launchctl"

    def content(self, command: ServiceCommand) -> bytes:
        """The property list."""
        return launchd_plist(command)

    def found(self) -> ServiceFound | None:
        """What the property list says."""
        content = self.held()
        return None if content is None else read_plist(content)

    def held(self) -> bytes | None:
        """The property list."""
        return _read(self._file)

    def loading(self) -> Sequence[Sequence[str]]:
        """What `load` runs; RunAtLoad starts it."""
        return (
            ("launchctl", "enable", f"{self._domain}/{LABEL}"),
            ("launchctl", "bootstrap", self._domain, self.place),
        )

    def write(self, content: bytes) -> None:
        """Write the property list."""
        _write(self._file, content)

    def load(self) -> None:
        """Load the agent anew."""
        if self.registered():
            _must(self.unloading()[0])
        for argv in self.loading():
            _must(argv, "An agent needs your session: log in at the Mac itself (not over ssh only), then try again.")

    def start(self) -> None:
        """Start the agent, and load it before if need be."""
        if self.registered():
            _must(("launchctl", "kickstart", f"{self._domain}/{LABEL}"))
        else:
            self.load()

    def unloading(self) -> Sequence[Sequence[str]]:
        """What `remove` runs."""
        return (("launchctl", "bootout", f"{self._domain}/{LABEL}"),)

    def remove(self) -> None:
        """Unload the agent and remove its file."""
        if self.registered():
            _must(self.unloading()[0])
        _remove(self._file)

    def registered(self) -> bool | None:
        """Whether launchd has loaded the agent."""
        with suppress(NumeraiError):
            return _call(("launchctl", "print", f"{self._domain}/{LABEL}")).exit_code == 0
        return None

    def active(self) -> bool | None:
        """Whether launchd says that it runs. What it prints is for people (launchctl(1)): only a yes counts."""
        lines: list[str] = []
        with suppress(NumeraiError):
            run_process(("launchctl", "print", f"{self._domain}/{LABEL}"), timeout=SECONDS, on_line=lines.append)
        return True if any(line.strip() == "state = running" for line in lines) else None

    def given(self) -> frozenset[str]:
        """Not known."""
        return frozenset()

    def remark(self) -> Remark | None:
        """An agent needs its user's session."""
        return None


class TaskScheduler:
    """A task."""

    name = "the Task Scheduler"
    place = TASK
    look = f"schtasks /Query /TN {TASK} /V /FO LIST"
    begins = "when you log in"
    restarts_after_stop = True

    def __init__(self, environ: Mapping[str, str] = os.environ):
        user, domain = environ.get("USERNAME", ""), environ.get("USERDOMAIN", "")
        self._user = f"{domain}\\{user}" if domain else user
        self._written: Path | None = None
        self._folder = Path(tempfile.gettempdir())

    def missing(self) -> str | None:
        """Whether its program is there."""
        return None if shutil.which("schtasks") else "there is no schtasks"

    def content(self, command: ServiceCommand) -> bytes:
        """The task's definition."""
        return task_xml(command, self._user)

    def found(self) -> ServiceFound | None:
        """What the task runs."""
        lines: list[str] = []
        argv = ("schtasks", "/Query", "/TN", TASK, "/XML")
        try:
            done = run_process(argv, timeout=SECONDS, on_line=lines.append)
        except NumeraiError:
            return None
        return read_task("\n".join(lines)) if done.exit_code == 0 else None

    def held(self) -> bytes | None:
        """Windows keeps the task in a form of its own."""
        return None

    def loading(self) -> Sequence[Sequence[str]]:
        """What `load` runs."""
        file = str(self._written or self._folder / f"{TASK}.xml")
        return ("schtasks", "/Create", "/TN", TASK, "/XML", file, "/F"), ("schtasks", "/Run", "/TN", TASK)

    def write(self, content: bytes) -> None:
        """Keep the definition in a file of this user until it is registered."""
        self._written = self._folder / f"{TASK}-{os.getpid()}.xml"
        _write(self._written, content)

    def load(self) -> None:
        """Register and start the task."""
        try:
            for argv in self.loading():
                _must(argv)
        finally:
            if self._written is not None:
                _remove(self._written)

    def start(self) -> None:
        """Start the task."""
        _must(("schtasks", "/Run", "/TN", TASK))

    def unloading(self) -> Sequence[Sequence[str]]:
        """What `remove` runs."""
        return ("schtasks", "/End", "/TN", TASK), ("schtasks", "/Delete", "/TN", TASK, "/F")

    def remove(self) -> None:
        """End and delete the task."""
        if self.found() is None:
            return
        end, delete = self.unloading()
        _call(end)  # refused when it does not run
        _must(delete)

    def registered(self) -> bool | None:
        """A task that is there is registered, unless somebody has disabled it."""
        return None

    def active(self) -> bool | None:
        """What schtasks says of that is in the language of the machine."""
        return None

    def given(self) -> frozenset[str]:
        """Not known: the variables of the account, but not those of one console."""
        return frozenset()

    def remark(self) -> Remark | None:
        """A task without a password needs its user's session."""
        return None


def by_cron(command: ServiceCommand) -> str:
    """The line of a crontab that starts the daemon with the machine; crontab(5) wants `%` escaped."""
    line = f"NUMERAI_HOME={shlex.quote(command.home)} {shlex.quote(command.python)} {' '.join(RUN)}"
    return "@reboot " + line.replace("%", "\\%")


def _systemctl(*arguments: str) -> tuple[str, ...]:
    return ("systemctl", "--user", *arguments)


def _user_id() -> int:
    return os.getuid() if sys.platform != "win32" else 0


def _call(argv: Sequence[str]) -> ProcessResult:
    return run_process(argv, timeout=SECONDS)


def _must(argv: Sequence[str], hint: str | None = None) -> None:
    done = _call(argv)
    if done.exit_code != 0:
        raise _failed(argv, done, hint)


def _failed(argv: Sequence[str], done: ProcessResult, hint: str | None = None) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"`{' '.join(argv)}` failed: {_last(done)}",
        hint or "Mend that and run the same command again.",
        code="service-manager",
    )


def _last(done: ProcessResult) -> str:
    words = [line.strip() for line in done.tail if line.strip()]
    return words[-1] if words else f"exit code {done.exit_code}"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _refused(path, "read", error.strerror) from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_private(path, content, keep_previous=False)
    except EnvironmentNotReady as error:
        cause = error.__cause__
        raise _refused(path, "write", cause.strerror if isinstance(cause, OSError) else None) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, "remove", error.strerror) from error


def _refused(path: Path, what: str, why: str | None) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"Cannot {what} {path}: {why or 'refused'}.", "Look at its owner and mode.", code="service-manager"
    )
