"""What service managers read to run the daemon, made from plain values and read back: systemd, launchd, Task Scheduler.

Pure: no file is touched, no program is run. The launchd and Task Scheduler forms follow their documented formats and
were not tried on macOS or Windows.
"""

from __future__ import annotations

import configparser
import plistlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

from ...errors import UsageError

RUN = ("-m", "numerai_compute", "daemon", "run")
MARK = "Written by `numerai daemon install`; `numerai daemon uninstall` removes it."
DESCRIPTION = "Numerai nodes: webhooks, runs and rounds (numerai daemon)"
UNIT = "numerai.service"
LABEL = "numerai-compute.daemon"
TASK = "numerai-daemon"
RESTART_SECONDS = 10
TASK_MINUTES = 5
_TASK_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass(frozen=True)
class ServiceCommand:
    """The daemon as a service runs it: this Python, this home folder, and the programs that runs find in PATH. No key
    is ever among it: what holds it can be read by others."""

    python: str
    home: str
    path: str | None = None


@dataclass(frozen=True)
class ServiceFound:
    """What an installed service runs. `ours` is whether `numerai daemon install` wrote it; python and home are None
    where it does not say."""

    ours: bool
    python: str | None = None
    home: str | None = None


# systemd


def systemd_unit(command: ServiceCommand) -> bytes:
    """The user unit.

    systemd.service(5): `KillMode=process` leaves runs that go on to the next daemon, as `numerai daemon stop` does;
    after a clean end (`numerai daemon stop`) it is not started again. systemd.unit(5), "%h", and systemd.syntax(7) for
    the quoting. systemd would replace `$` in the path of Python: `UsageError`.
    """
    _check(command)
    if "$" in command.python:
        raise UsageError(f"systemd cannot run a Python whose path has a $: {command.python}.", code="bad-path")
    working = str(PurePosixPath(command.home) / "local").replace("%", "%%")
    argv = " ".join([_quoted(command.python), *RUN])
    environment = [_quoted(f"NUMERAI_HOME={command.home}")]
    if command.path:
        environment.append(_quoted(f"PATH={command.path}"))
    return f"""\
# {MARK}
# For changes of your own: systemctl --user edit {UNIT}
[Unit]
Description={DESCRIPTION}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={argv}
Environment={" ".join(environment)}
WorkingDirectory={working}
Restart=on-failure
RestartSec={RESTART_SECONDS}
KillMode=process

[Install]
WantedBy=default.target
""".encode()


def read_unit(content: bytes) -> ServiceFound:
    """What a user unit runs, whoever wrote it."""
    text = content.decode("utf-8", errors="replace")
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error:
        return ServiceFound(MARK in text)
    words = _words(parser.get("Service", "ExecStart", fallback=""))
    environment = dict(
        word.split("=", 1) for word in _words(parser.get("Service", "Environment", fallback="")) if "=" in word
    )
    return ServiceFound(MARK in text, words[0] if words else None, environment.get("NUMERAI_HOME"))


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _words(line: str) -> list[str]:
    words = [re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2] for match in _WORD.finditer(line)]
    return [word.replace("%%", "%") for word in words]


# launchd


def launchd_plist(command: ServiceCommand) -> bytes:
    """The agent of the user.

    launchd.plist(5): started when the user logs in and after a failure, not after a clean end (`numerai daemon stop`);
    `AbandonProcessGroup` leaves runs that go on to the next daemon; `Interactive` keeps launchd from throttling them.
    """
    _check(command)
    environment = {"NUMERAI_HOME": command.home, **({"PATH": command.path} if command.path else {})}
    folder = str(PurePosixPath(command.home) / "local")
    content = plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [command.python, *RUN],
            "EnvironmentVariables": environment,
            "WorkingDirectory": folder,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": RESTART_SECONDS,
            "AbandonProcessGroup": True,
            "ProcessType": "Interactive",
            "StandardOutPath": f"{folder}/daemon.out",
            "StandardErrorPath": f"{folder}/daemon.out",
        },
        sort_keys=False,
    )
    head, plist = content.split(b"<plist", 1)
    return head + f"<!-- {MARK} -->\n".encode() + b"<plist" + plist


def read_plist(content: bytes) -> ServiceFound:
    """What an agent runs, whoever wrote it."""
    ours = MARK.encode() in content
    try:
        job = plistlib.loads(content)
    except (ValueError, plistlib.InvalidFileException, ElementTree.ParseError, OverflowError):
        return ServiceFound(ours)
    except Exception as error:  # expat's own error, which plistlib hands on
        if type(error).__name__ != "ExpatError":
            raise
        return ServiceFound(ours)
    if not isinstance(job, dict):
        return ServiceFound(ours)
    arguments, environment = job.get("ProgramArguments"), job.get("EnvironmentVariables")
    return ServiceFound(
        ours,
        str(arguments[0]) if isinstance(arguments, list) and arguments else None,
        str(environment["NUMERAI_HOME"]) if isinstance(environment, dict) and "NUMERAI_HOME" in environment else None,
    )


# Task Scheduler


def task_xml(command: ServiceCommand, user: str) -> bytes:
    """The task of a user (`DOMAIN\\name`), in UTF-16 with a byte order mark, as `schtasks /Create /XML` takes it.

    Task Scheduler Schema: it starts now and when the user logs on, also on batteries, and has no time limit (the
    default is three days). `RestartOnFailure` is for tasks that cannot start (MS-TSCH 2.5.4.2), so a repetition starts
    it again when it has ended, and is ignored while it runs. A task has no environment of its own: the home is an
    option.
    """
    _check(command)
    task = ElementTree.Element("Task", {"version": "1.2", "xmlns": _TASK_NAMESPACE})
    tree: Sequence[tuple[str, str]] = (
        ("RegistrationInfo/Description", f"{DESCRIPTION}. {MARK}"),
        ("Triggers/RegistrationTrigger/Repetition/Interval", f"PT{TASK_MINUTES}M"),
        ("Triggers/RegistrationTrigger/Repetition/StopAtDurationEnd", "false"),
        ("Triggers/RegistrationTrigger/Enabled", "true"),
        ("Triggers/LogonTrigger/Repetition/Interval", f"PT{TASK_MINUTES}M"),
        ("Triggers/LogonTrigger/Repetition/StopAtDurationEnd", "false"),
        ("Triggers/LogonTrigger/Enabled", "true"),
        ("Triggers/LogonTrigger/UserId", user),
        ("Principals/Principal/UserId", user),
        ("Principals/Principal/LogonType", "InteractiveToken"),
        ("Principals/Principal/RunLevel", "LeastPrivilege"),
        ("Settings/MultipleInstancesPolicy", "IgnoreNew"),
        ("Settings/DisallowStartIfOnBatteries", "false"),
        ("Settings/StopIfGoingOnBatteries", "false"),
        ("Settings/AllowStartOnDemand", "true"),
        ("Settings/ExecutionTimeLimit", "PT0S"),
        ("Settings/Priority", "5"),
        ("Actions/Exec/Command", windowless(command.python)),
        ("Actions/Exec/Arguments", subprocess.list2cmdline([*RUN, "--home", command.home])),
        ("Actions/Exec/WorkingDirectory", str(PureWindowsPath(command.home) / "local")),
    )
    for path, text in tree:
        *parents, name = path.split("/")
        element = task
        for parent in parents:
            found = element.find(parent)
            element = ElementTree.SubElement(element, parent) if found is None else found
        ElementTree.SubElement(element, name).text = text
    for path, name, value in (("Principals/Principal", "id", "Author"), ("Actions", "Context", "Author")):
        element_with = task.find(path)
        assert element_with is not None  # noqa: S101  (made above)
        element_with.set(name, value)
    ElementTree.indent(task)
    text = ElementTree.tostring(task, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'.encode("utf-16")


def read_task(text: str) -> ServiceFound:
    """What a task runs, from what `schtasks /Query /XML` prints. Paths with letters that the console's code page lacks
    come out changed, and are then left out."""
    ours = MARK in text
    begin = text.find("<Task")
    try:
        task = ElementTree.fromstring(text[begin:] if begin >= 0 else text)  # noqa: S314  (of this user's own tasks)
    except ElementTree.ParseError:
        return ServiceFound(ours)
    run = {name: task.findtext(f".//{{{_TASK_NAMESPACE}}}Exec/{{{_TASK_NAMESPACE}}}{name}") for name in _TASK_RUNS}
    _, _, home = (run["Arguments"] or "").partition("--home ")
    if home.startswith('"'):
        home = re.sub(r"\\\\$", r"\\", home.strip()[1:-1])
    return ServiceFound(ours, _readable(run["Command"]), _readable(home or None))


_TASK_RUNS = ("Command", "Arguments")


def windowless(python: str) -> str:
    """The Python beside this one that opens no console window, which somebody could close."""
    return re.sub(r"(?i)python\.exe$", "pythonw.exe", python)


def _readable(path: str | None) -> str | None:
    return None if path is None or "\ufffd" in path or "?" in path else path


def _check(command: ServiceCommand) -> None:
    for what, text in (("Python", command.python), ("NUMERAI_HOME", command.home), ("PATH", command.path or "")):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            odd = True
        else:
            odd = bool(_CONTROL.search(text))
        if odd:
            raise UsageError(
                f"{what} has a character that no service can be given: {text!a}.",
                "Use a folder with a plain name.",
                code="bad-path",
            )
