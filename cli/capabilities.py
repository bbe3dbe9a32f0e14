"""Linux capabilities: their names, as Docker knows them."""

from __future__ import annotations

import re

CAPABILITIES = frozenset(
    """AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID
    SYS_CHROOT AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND BPF CHECKPOINT_RESTORE DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE
    LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE NET_ADMIN NET_BROADCAST PERFMON SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE
    SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM""".split()  # noqa: SIM905
)
"""Those of docs.docker.com/engine/containers/run (runtime privilege and Linux capabilities)."""
WANTED = f"some of {', '.join(sorted(CAPABILITIES))}, with commas between"


def read_capabilities(text: str) -> tuple[str, ...]:
    """The names in a text, which stand between commas or blanks, in any case and with CAP_ or without. Sorted.

    `ValueError` holding the first word that is none.
    """
    names = {word.upper().removeprefix("CAP_"): word for word in re.split(r"[\s,]+", text) if word}
    unknown = [names[name] for name in names if name not in CAPABILITIES]
    if unknown:
        raise ValueError(unknown[0])
    return tuple(sorted(names))
