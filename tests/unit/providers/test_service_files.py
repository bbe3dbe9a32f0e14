"""The files of the three service managers: well formed, complete, without a secret, and read back as they were made."""

from __future__ import annotations

import configparser
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import UsageError
from numerai_compute.providers.local.service_files import (
    LABEL,
    RUN,
    ServiceCommand,
    ServiceFound,
    launchd_plist,
    read_plist,
    read_task,
    read_unit,
    systemd_unit,
    task_xml,
    windowless,
)

LINUX = ServiceCommand("/home/alice/my venv/bin/python", "/home/alice/100% numerai", "/usr/bin:/home/alice/$bin")
MAC = ServiceCommand("/Users/alice/venv/bin/python", "/Users/alice/.numerai", "/opt/homebrew/bin:/usr/bin")
WINDOWS = ServiceCommand(r"C:\Users\Zoë\venv\Scripts\python.exe", r"C:\Users\Zoë Müller\.numerai")
NAMESPACE = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
PATHS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30).map("/{}".format)
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters='<>:"/\\|?*\ufffd'))


def test_the_systemd_unit_runs_this_python_for_this_home_and_leaves_runs_alone() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(systemd_unit(LINUX).decode())
    service = parser["Service"]
    assert service["ExecStart"] == '"/home/alice/my venv/bin/python" -m numerai_compute daemon run'
    assert service["Environment"] == '"NUMERAI_HOME=/home/alice/100%% numerai" "PATH=/usr/bin:/home/alice/$bin"'
    assert service["WorkingDirectory"] == "/home/alice/100%% numerai/local"
    assert (service["Restart"], service["KillMode"]) == ("on-failure", "process")
    assert parser["Unit"]["StartLimitIntervalSec"] == "0", "it never gives up"
    assert parser["Install"]["WantedBy"] == "default.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_itself_accepts_the_unit(tmp_path: Path) -> None:
    home = tmp_path / 'odd "home" 100% $x \\ ü'
    (home / "local").mkdir(parents=True)
    unit = tmp_path / "numerai.service"
    unit.write_bytes(systemd_unit(ServiceCommand(sys.executable, str(home), "/usr/bin")))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    about = [line for line in done.stderr.splitlines() if "numerai" in line]
    assert about == [], done.stderr


def test_the_launchd_agent_starts_at_login_and_after_a_failure_only() -> None:
    job = plistlib.loads(launchd_plist(MAC))
    assert job["Label"] == LABEL
    assert job["ProgramArguments"] == [MAC.python, *RUN]
    assert job["EnvironmentVariables"] == {"NUMERAI_HOME": MAC.home, "PATH": MAC.path}
    assert job["RunAtLoad"] is True and job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["AbandonProcessGroup"] is True
    assert job["WorkingDirectory"] == "/Users/alice/.numerai/local"


def test_the_task_is_utf_16_starts_at_logon_and_is_never_ended_by_windows() -> None:
    content = task_xml(WINDOWS, r"DESKTOP\Zoë")
    assert content[:2] in (b"\xff\xfe", b"\xfe\xff"), "schtasks takes no other encoding"
    assert content.decode("utf-16").startswith('<?xml version="1.0" encoding="UTF-16"?>')
    task = ElementTree.fromstring(content)

    def text(path: str) -> str | None:
        return task.findtext("/".join(f"t:{step}" for step in path.split("/")), namespaces=NAMESPACE)

    assert text("Actions/Exec/Command") == r"C:\Users\Zoë\venv\Scripts\pythonw.exe"
    assert text("Actions/Exec/Arguments") == r'-m numerai_compute daemon run --home "C:\Users\Zoë Müller\.numerai"'
    assert text("Actions/Exec/WorkingDirectory") == r"C:\Users\Zoë Müller\.numerai\local"
    assert text("Triggers/LogonTrigger/UserId") == text("Principals/Principal/UserId") == r"DESKTOP\Zoë"
    for trigger in ("RegistrationTrigger", "LogonTrigger"):
        assert text(f"Triggers/{trigger}/Repetition/Interval") == "PT5M", "RestartOnFailure would not do it"
    assert text("Principals/Principal/LogonType") == "InteractiveToken", "no password is stored"
    assert text("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert text("Settings/ExecutionTimeLimit") == "PT0S", "three days otherwise"
    assert text("Settings/MultipleInstancesPolicy") == "IgnoreNew"
    for name in ("DisallowStartIfOnBatteries", "StopIfGoingOnBatteries"):
        assert text(f"Settings/{name}") == "false"


@pytest.mark.slow
@given(python=PATHS.map(lambda path: path.replace("$", "")), home=PATHS)
def test_a_unit_and_an_agent_say_what_they_run(python: str, home: str) -> None:
    command = ServiceCommand(python, home, "/usr/bin")
    assert read_unit(systemd_unit(command)) == ServiceFound(True, python, home)
    assert read_plist(launchd_plist(command)) == ServiceFound(True, python, home)


@pytest.mark.slow
@given(home=NAMES.map(r"C:\Users\{}".format))
def test_a_task_says_what_it_runs(home: str) -> None:
    printed = task_xml(ServiceCommand(r"C:\py\python.exe", home), "zoe").decode("utf-16")
    assert read_task(f"\r\n{printed}\r\n") == ServiceFound(True, r"C:\py\pythonw.exe", home)


def test_a_path_that_the_console_could_not_print_is_unknown_rather_than_another() -> None:
    printed = task_xml(WINDOWS, "zoe").decode("utf-16")
    assert read_task(printed.encode("ascii", "replace").decode()) == ServiceFound(True)
    assert read_task(printed.encode("cp850").decode("utf-8", "replace")) == ServiceFound(True)


@pytest.mark.parametrize("read", [read_unit, read_plist, lambda content: read_task(content.decode())])
@pytest.mark.parametrize("content", [b"", b"garbage", b"<plist", b"[Service]\nExecStart", b"<plist></plist>", b"\xff"])
def test_a_file_of_somebody_else_is_never_ours(read: object, content: bytes) -> None:
    if content == b"\xff":
        content = content.decode("utf-8", "replace").encode()
    assert read(content) == ServiceFound(False)  # type: ignore[operator]


def test_a_unit_written_by_hand_is_read_and_is_not_ours() -> None:
    by_hand = (
        b"[Service]\nExecStart=%h/.venv/bin/numerai daemon run\nRestart=always\n\n[Install]\nWantedBy=default.target\n"
    )
    assert read_unit(by_hand) == ServiceFound(False, "%h/.venv/bin/numerai", None)


@pytest.mark.parametrize(
    "home", ["/home/a\nExecStartPre=/bin/evil", "/home/\udcff", "/home/a\u2028b", "/home/\x1b[31m"]
)
def test_a_path_that_would_break_the_file_is_refused(home: str) -> None:
    for make in (systemd_unit, launchd_plist, lambda command: task_xml(command, "zoe")):
        with pytest.raises(UsageError) as caught:
            make(ServiceCommand("/usr/bin/python3", home))
        assert caught.value.code == "bad-path" and "\x1b" not in caught.value.message
        caught.value.message.encode()


def test_systemd_cannot_run_a_python_with_a_dollar() -> None:
    with pytest.raises(UsageError, match="has a \\$"):
        systemd_unit(ServiceCommand("/opt/$py/python", "/home"))


def test_only_python_exe_has_a_windowless_twin() -> None:
    assert windowless(r"C:\py\Python.EXE") == r"C:\py\pythonw.exe"
    assert windowless("/usr/bin/python3") == "/usr/bin/python3"
