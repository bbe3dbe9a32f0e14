"""How many threads to compute with: the container's share of the machine, not all its cores."""

from __future__ import annotations

import os
from pathlib import Path


def usable_threads(root: Path = Path("/sys/fs/cgroup")) -> int:
    """The CPUs that this process may keep busy, at least 1: its control group's limit, and no more than the cores that
    it may run on."""
    quota = _cpu_quota(root)
    cores = _usable_cores()
    return cores if quota is None else max(1, min(int(quota), cores))


def _cpu_quota(root: Path) -> float | None:
    """The CPUs that the container may use: cgroup v2 `cpu.max`, else v1 `cpu.cfs_quota_us`; None without a limit.

    Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
    """
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((root / name).read_text() for name in files).split()
            if quota not in ("max", "-1"):
                return float(quota) / float(period)
        except (OSError, ValueError):
            continue
    return None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
