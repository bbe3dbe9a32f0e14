"""Memory that a training takes, memory and disk that there are, and what would fit where it does not."""

from __future__ import annotations

import ctypes
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..counting import counted, sized
from ..errors import EnvironmentNotReady
from ..models import SIZES

MIB = 1 << 20
BASE = 340 * MIB
"""Python with numpy, pyarrow and LightGBM, and the blocks that are read and binned."""
PER_VALUE = 0.53
"""Bytes of a binned feature value: four bits, and what is lost between them."""
PER_ROW = 40
"""Bytes of a row beside its features: its era, label, score, gradients, and its place in the leaves."""
PER_TARGET = 4
PER_HISTOGRAM = 16 * 5
"""Bytes of a feature in a leaf: two float64 for each of its five values."""
# Taken from benchmarks/training_memory.py: LightGBM 4.7 and pyarrow 26 on Linux, 42 to 3,555 features.
MOST_STEPS = 16
"""Every sixteenth era is the fewest that are worth a training."""

_MMAP_THRESHOLD, _OWN_PAGES = -3, 1 << 16
"""mallopt's M_MMAP_THRESHOLD (malloc.h of glibc), and the bytes from which on a block gets pages of its own."""
_NO_LIMIT = 1 << 60
"""From here on a cgroup's limit is none: v1 writes the largest number of whole pages."""


def training_memory(rows: int, features: int, *, targets: int = 1, leaves: int = 64) -> int:
    """The most bytes that reading, binning and training take at once; measured peaks are 5 to 30 % below it."""
    values = PER_VALUE * rows * features
    return round(BASE + values + rows * (PER_ROW + PER_TARGET * targets) + PER_HISTOGRAM * features * leaves)


def check_memory(
    rows: int,
    features: int,
    sets: Mapping[str, int] | None = None,
    *,
    targets: int = 1,
    leaves: int = 64,
    available: int | None = None,
) -> int:
    """The bytes that a training takes. `sets` are the numbers of features of the sets that could be taken instead.

    `EnvironmentNotReady` with code `too-little-memory` when so much is not there, with what would fit.
    """
    free = available_memory() if available is None else available

    def needed(share: float, count: int) -> int:
        return training_memory(round(rows * share), count, targets=targets, leaves=leaves)

    need = needed(1, features)
    if need <= free:
        return need
    fitting = [(count, name) for name, count in (sets or {}).items() if count < features and needed(1, count) <= free]
    steps = [step for step in range(2, MOST_STEPS + 1) if needed(1 / step, features) <= free]
    machines = [
        size for size in sorted(SIZES.values(), key=lambda size: size.memory_mib) if size.memory_mib * MIB >= 1.1 * need
    ]
    ways = []
    if fitting:
        count, name = max(fitting)
        ways.append(f"the feature set {name} ({sized(needed(1, count))})")
    if steps:
        ways.append(f"every {_nth(steps[0])} era ({sized(needed(1 / steps[0], features))})")
    if machines:
        ways.append(f"a machine with {machines[0].memory_mib // 1024} GiB (size {machines[0].name})")
    raise EnvironmentNotReady(
        f"{counted(features, 'feature')} of {rows:,} rows take about {sized(need)} of memory,"
        f" and {sized(free)} are free.",
        f"What fits: {'; '.join(ways)}." if ways else "Take fewer features and fewer eras.",
        code="too-little-memory",
    )


def check_disk(folder: Path, size: int, what: str) -> None:
    """`EnvironmentNotReady` with code `disk-full` unless so many bytes fit into a folder, or where it is to be made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise EnvironmentNotReady(
            f"{what} takes {sized(size)}, and the disk of {folder} has {sized(free)} free.",
            "Make room, or use a folder on another disk.",
            code="disk-full",
        )


def available_memory() -> int:
    """The bytes that this process may still take: what the system has, and what its container's limit leaves."""
    import psutil

    left = cgroup_memory_left()
    free = psutil.virtual_memory().available
    return free if left is None else min(free, left)


def cgroup_memory_left(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """The bytes that the memory limits of this process's control groups leave, v2 and v1; None without a limit, as on
    macOS and Windows. Pages of files that can be dropped count as free.

    Source: the Linux kernel's Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current, memory.stat) and
    cgroup-v1/memory.rst (memory.limit_in_bytes, memory.usage_in_bytes, total_inactive_file).
    """
    left = [
        max(0, limit - used + _statistic(folder / "memory.stat", names[2]))
        for folder, names in _groups(root, membership)
        if (limit := _number(folder / names[0])) is not None
        and limit < _NO_LIMIT
        and (used := _number(folder / names[1])) is not None
    ]
    return min(left, default=None)


def free_at_once() -> None:
    """From now on larger blocks of memory go back to the system as they are freed.

    glibc raises the size from which on that is so up to 32 MiB as it sees blocks come and go, and what lies between
    others stays: a tenth of all memory while data are binned. Its own environment variable for it,
    MALLOC_MMAP_THRESHOLD_, would have to be set before Python starts. Nothing is done where there is no glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _OWN_PAGES)


def _groups(root: Path, membership: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The folders of this process's groups and of those above them, with the names of limit, use and statistic. In a
    container the path may be the host's, which is not there: then the root is its group."""
    v2 = ("memory.max", "memory.current", "inactive_file")
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, names = (root / "memory", v1) if controllers else (root, v2)
        folder = top / path.strip("/")
        while folder.is_relative_to(top):
            yield folder, names
            folder = folder.parent


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(value) for key, _, value in (line.partition(" ") for line in lines) if key == name), 0)


def _nth(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")
