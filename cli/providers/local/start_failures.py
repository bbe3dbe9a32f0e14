"""Names what only looks like "command not found": line endings, another processor, a missing interpreter or capability.

The system says ENOENT for a script whose interpreter is not there, and for a program whose loader is not there
(execve(2)); tini and shells pass that on as exit code 127 or 126, with the text of the error in the output.
"""

from __future__ import annotations

import platform
import re
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...models import Node

NOT_FOUND = (126, 127)
HEAD_BYTES = 1 << 16
LOOKED_AT = 20
"""How many of the last lines of the output may say why."""
ELF = b"\x7fELF"
MACHINES = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
"""ELF's e_machine (elf(5)) in the words of `docker build --platform`."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "AMD64": "amd64"}
_RUN_ALSO = {("amd64", "386"), ("arm64", "arm")}

_REASON = (
    "not found|no such file or directory|permission denied|operation not permitted|exec format error|cannot execute.*"
)
_FAILED = (
    re.compile(rf"\[FATAL tini \(\d+\)\] exec (?P<program>.+) failed: (?P<reason>{_REASON})", re.I),
    re.compile(rf"\bexec:? (?:line \d+: )?(?P<program>[^\s:]+): (?P<reason>{_REASON})", re.I),
    re.compile(rf"\b(?:sh|bash|dash|ash): (?:(?:line )?\d+: )?(?P<program>[^\s:]+): (?P<reason>{_REASON})", re.I),
    re.compile(rf"\benv: (?P<program>[^\s:]+): (?P<reason>{_REASON})", re.I),
    re.compile(r"(?P<program>[^\s:]+): .*: (?P<reason>bad interpreter)", re.I),
)
_CARRIAGE_RETURN = re.compile(
    r"(?:\\r|\r|\^M)['\u2019\"]?: (?:bad interpreter|command not found|not found|no such file)", re.I
)
_NOT_PERMITTED = re.compile(r"operation not permitted|EPERM\b", re.I)
_NEEDED = (
    (re.compile(r"\bchown|changing ownership", re.I), ("CHOWN",)),
    (
        re.compile(r"set[eg]*[ug]id|setgroups|initgroups|gosu|su-exec|setpriv|switch.* user|set groups|\bsu:", re.I),
        ("SETGID", "SETUID"),
    ),
    (re.compile(r"\bbind", re.I), ("NET_BIND_SERVICE",)),
    (re.compile(r"\bchroot", re.I), ("SYS_CHROOT",)),
    (re.compile(r"\bping|raw socket|socket:", re.I), ("NET_RAW",)),
    (re.compile(r"\bchmod|changing permissions", re.I), ("FOWNER",)),
)
CONVERT = "Save it with Unix line endings (LF), e.g. `sed -i 's/\\r$//' FILE`, and deploy again"


@dataclass(frozen=True)
class Program:
    """A file that was to be executed: where it is, how it begins, and its mode."""

    path: str
    head: bytes
    mode: int


Look = Callable[[str], "Program | None"]
"""Finds a program as the system would: by path, or by name in PATH; None when it is not there."""


def programs_of(folder: Path, path: str) -> Look:
    """Finds the programs of this machine as a process in a folder would, by a PATH."""

    def look(name: str) -> Program | None:
        found = folder / (name if "/" in name else shutil.which(name, path=path) or name)
        try:
            if not found.is_file():
                return None
            with found.open("rb") as file:
                return Program(str(found), file.read(HEAD_BYTES), found.stat().st_mode)
        except OSError:
            return None

    return look


def processor(machine: str | None = None) -> str:
    """A processor, by default that of this machine, as `why_not_started` takes it."""
    machine = machine or platform.machine()
    return ARCHITECTURES.get(machine, machine)


def why_not_started(lines: Sequence[str], started: str, look: Look, machine: str) -> str | None:
    """The reason behind an exit code 126 or 127, from the last lines of the output and the file that was to be run.

    `started` is the program that the container was made for: tini gives what is no program to /bin/sh (execvp(3)),
    whose words say nothing. `machine` is the processor that runs it, e.g. `amd64`. None when nothing is found.
    """
    for line in reversed(lines):
        match = next((match for pattern in _FAILED if (match := pattern.search(line))), None)
        if match is None:
            continue
        name = match["program"].strip("'\"\u2018\u2019")
        if "\r" in name or _CARRIAGE_RETURN.search(line):
            return _carriage_return(line)
        program = look(name)
        if program is None:
            return None if match["reason"].lower() == "bad interpreter" else f"there is no {name}"
        return fault_of(program, look, machine) or _denied(program, match["reason"])
    returned = next((line for line in reversed(lines) if _CARRIAGE_RETURN.search(line)), None)
    if returned is not None:
        return _carriage_return(returned)
    first = look(started) if started else None
    return fault_of(first, look, machine) if first else None


def fault_of(program: Program, look: Look, machine: str) -> str | None:
    """Why a file that is there cannot be executed; None when nothing is wrong with it."""
    head, path = program.head, program.path
    if not head:
        return f"{path} is empty"
    if head.startswith(b"\xef\xbb\xbf#!"):
        return f"{path} begins with a byte-order mark before its `#!`. Save it as UTF-8 without one, and deploy again"
    if head.startswith(ELF) and (fault := _fault_of_elf(path, head, look, machine)):
        return fault
    if head.startswith(b"#!"):
        first = head.partition(b"\n")[0]
        words = first[2:].decode("utf-8", errors="replace").split()
        if first.endswith(b"\r"):
            asked = words[0] if words else ""
            return f"{path} has Windows line endings (CRLF), so its first line asks for '{asked}\\r'. {CONVERT}"
        for name in [*words[:1], *(words[1:2] if words and words[0].endswith("/env") else ())]:
            if not name.startswith("-") and look(name) is None:
                return f"the first line of {path} asks for {name}, which is not there"
    if not program.mode & 0o111:
        return f"{path} is not executable. `chmod +x` makes it so"
    if not head.startswith((ELF, b"#!")):
        return f"{path} is neither a program nor a script with a first line such as #!/bin/sh"
    return None


def missing_capability(lines: Sequence[str], node: Node, granted: Sequence[str], *, root: bool) -> str | None:
    """What a refusal in the last lines of the output has to do with capabilities that the container was not given, and
    how to grant them. `granted` are those that it was given."""
    for line in reversed(lines):
        if _NOT_PERMITTED.search(line):
            names = next((names for pattern, names in _NEEDED if pattern.search(line)), ("CHOWN", "SETGID", "SETUID"))
            return _grant("Operation not permitted", names, node, granted, root=root)
        if root and re.search(r"permission denied", line, re.I):
            return _grant("Permission denied", ("DAC_OVERRIDE",), node, granted, root=root)
    return None


def _grant(said: str, names: Sequence[str], node: Node, granted: Sequence[str], *, root: bool) -> str | None:
    if root and set(names) <= set(granted):
        return None
    all_of_them = ",".join(sorted({*granted, *names}))  # what is set replaces what was
    command = f"numerai node -m {node.name} config --capability"
    if node.provider != "local":  # it runs here in a test only, and its own provider may grant none
        command = "numerai config set capabilities"
    command = f"`{command} {all_of_them}` grants what that may need."
    if not root:  # tried with Docker 26.1: with no-new-privileges, a user that is not root has none of those granted
        return (
            f"It was told '{said}': only root has Linux capabilities in a container here. Do that in the Dockerfile"
            f" (RUN), or without its USER line: {command}"
        )
    has = f"only {', '.join(granted)}" if granted else "none"
    return f"It was told '{said}', and of the Linux capabilities its container has {has}. {command}"


def _denied(program: Program, reason: str) -> str | None:
    if "not permitted" in reason.lower():
        return (
            f"{program.path} needs a Linux capability that containers do not have here."
            " `numerai node config --capability NAME` grants it (`getcap FILE` in the image names it)"
        )
    return None


def _carriage_return(line: str) -> str:
    return f"a script has Windows line endings (CRLF): {line.strip()[:200]!r}. {CONVERT}"


def _fault_of_elf(path: str, head: bytes, look: Look, machine: str) -> str | None:
    try:
        order = "<" if head[5] == 1 else ">"
        built_for = MACHINES.get(struct.unpack_from(order + "H", head, 18)[0], "another processor")
        if built_for != machine and (machine, built_for) not in _RUN_ALSO:
            return f"{path} is built for {built_for}, and this engine runs {machine}. Build or install it for {machine}"
        loader = _loader(head, order)
    except (struct.error, IndexError):
        return f"{path} is a damaged program"
    if loader and look(loader) is None:
        return f"{path} needs the loader {loader}, which is not there: it is built for another Linux (glibc, musl)"
    return None


def _loader(head: bytes, order: str) -> str | None:
    """The program interpreter of a 64-bit ELF file (elf(5): PT_INTERP)."""
    if head[4] != 2:
        return None
    table, size, count = (
        struct.unpack_from(order + kind, head, at)[0] for kind, at in (("Q", 32), ("H", 54), ("H", 56))
    )
    for number in range(count):
        at = table + number * size
        if struct.unpack_from(order + "I", head, at)[0] == 3:
            offset, length = (struct.unpack_from(order + "Q", head, at + part)[0] for part in (8, 32))
            return head[offset : offset + length].rstrip(b"\0").decode("ascii", errors="replace") or None
    return None
