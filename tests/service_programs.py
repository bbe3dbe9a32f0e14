"""Stand-ins for the programs of service managers, as real executables: they write down how they were called, keep what
they were given, and the one of systemd really runs the daemon as its unit says."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_HEAD = """#!{python}
import json, os, pathlib, subprocess, sys
room = pathlib.Path({room!r})
argv = sys.argv[1:]
with (room / "calls").open("a") as calls:
    calls.write(json.dumps([pathlib.Path(sys.argv[0]).name, *argv]) + "\\n")
fail = room / f"fail-{{next((each for each in argv if not each.startswith('-')), '')}}"
if fail.exists():
    print(fail.read_text())
    sys.exit(1)
"""

SYSTEMCTL = """
import configparser, shlex, psutil
unit = pathlib.Path(os.environ["XDG_CONFIG_HOME"]) / "systemd/user/numerai.service"
link = unit.parent / "default.target.wants" / unit.name
running = room / "pid"

def process():
    try:
        found = psutil.Process(int(running.read_text()))
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    except (OSError, psutil.NoSuchProcess):
        return None

def end():
    if process():
        process().terminate()
        psutil.wait_procs([process()], timeout=60) if process() else None

assert argv[0] == "--user"
verb = argv[1]
if verb == "show-environment":
    print("DOCKER_HOST=unix:///run/user/1/docker.sock")
elif verb == "enable":
    if not unit.exists():
        sys.exit("Unit numerai.service does not exist")
    link.parent.mkdir(exist_ok=True)
    link.is_symlink() or link.symlink_to(unit)
elif verb == "is-enabled":
    print("enabled" if link.is_symlink() else "disabled")
elif verb == "is-active":
    print("active" if process() else "inactive")
    sys.exit(0 if process() else 3)
elif verb in ("start", "restart"):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(unit)
    service = parser["Service"]
    if verb == "restart":
        end()
    environment = dict(word.split("=", 1) for word in shlex.split(service["Environment"]))
    with open(os.devnull, "wb") as nothing:
        started = subprocess.Popen(
            shlex.split(service["ExecStart"]), cwd=service["WorkingDirectory"], stdin=subprocess.DEVNULL,
            env={"HOME": os.environ["HOME"], **environment}, stdout=nothing, stderr=nothing, start_new_session=True)
    running.write_text(str(started.pid))
elif verb == "disable":
    if "--now" in argv:
        end()
    link.unlink(missing_ok=True)
"""

LOGINCTL = """
print("Linger=" + ("yes" if (room / "lingers").exists() else "no"))
"""

LAUNCHCTL = """
loaded = room / "loaded"
verb = argv[0]
if verb == "print":
    if not loaded.exists():
        sys.exit(113)
    print("numerai-compute.daemon = {\\n\\tstate = running\\n}")
elif verb == "bootstrap":
    if loaded.exists():
        sys.exit("Bootstrap failed: 5: Input/output error")
    loaded.write_text(argv[2])
elif verb == "bootout":
    loaded.unlink()
"""

SCHTASKS = """
task = room / "task.xml"
verb = argv[0]
if verb == "/Create":
    content = pathlib.Path(argv[argv.index("/XML") + 1]).read_bytes()
    assert content[:2] in (b"\\xff\\xfe", b"\\xfe\\xff"), "ERROR: The task XML is malformed."
    task.write_text(content.decode("utf-16"), encoding="utf-8")
elif not task.exists():
    sys.exit("ERROR: The system cannot find the file specified.")
elif verb == "/Query":
    sys.stdout.buffer.write(task.read_bytes())
elif verb == "/End":
    sys.exit("ERROR: The task is not running.")
elif verb == "/Delete":
    task.unlink()
"""


@dataclass(frozen=True)
class Programs:
    """The stand-ins, in a folder for PATH."""

    room: Path

    @property
    def folder(self) -> Path:
        """What PATH has to hold."""
        return self.room / "bin"

    def add(self, name: str, body: str) -> None:
        """Make a program."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(_HEAD.format(python=sys.executable, room=str(self.room)) + body, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def fail(self, verb: str, why: str) -> None:
        """Let calls with that verb fail from now on."""
        (self.room / f"fail-{verb}").write_text(why)

    def heal(self, verb: str) -> None:
        """Let them work again."""
        (self.room / f"fail-{verb}").unlink()

    @property
    def calls(self) -> list[list[str]]:
        """Every call, in order."""
        path = self.room / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def pid(self) -> int | None:
        """The daemon that systemd runs."""
        path = self.room / "pid"
        return int(path.read_text()) if path.exists() else None

    def end(self) -> None:
        """End what systemd runs."""
        if self.pid is not None and psutil.pid_exists(self.pid) and self.pid != os.getpid():
            process = psutil.Process(self.pid)
            process.terminate()
            psutil.wait_procs([process], timeout=60)
