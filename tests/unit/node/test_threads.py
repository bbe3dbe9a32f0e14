"""Threads follow the container's limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from numerai_node.threads import usable_threads


def limit(root: Path, files: dict[str, str]) -> int:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return usable_threads(root)


V1_QUOTA, V1_PERIOD = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
        ({V1_QUOTA: "200000\n", V1_PERIOD: "100000\n"}, 2),
        ({V1_QUOTA: "-1\n", V1_PERIOD: "100000\n"}, 8),
        ({"cpu.max": "300000 100000\n", V1_QUOTA: "100000\n", V1_PERIOD: "100000\n"}, 3),
    ],
)
def test_the_control_groups_limit_counts_and_the_cores_are_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert limit(tmp_path, files) == threads


@pytest.mark.parametrize(("cores", "threads"), [(6, 6), (None, 1)])
def test_where_nobody_says_which_cores_may_be_used_all_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert usable_threads(tmp_path) == threads
