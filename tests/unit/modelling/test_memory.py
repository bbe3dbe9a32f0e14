"""What a training takes, what there is, and what would fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.modelling.memory import (
    MIB,
    available_memory,
    cgroup_memory_left,
    check_disk,
    check_memory,
    training_memory,
)

GIB = 1024 * MIB
SETS = {"small": 42, "medium": 780, "all": 3555}
FULL = 2_697_800


def group(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


def member(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cgroup"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("rows", "features", "measured"),
    [
        (136_300, 42, 268),
        (136_300, 780, 383),
        (136_300, 3555, 567),
        (267_900, 3555, 782),
        (FULL, 42, 441),
        (FULL, 780, 1407),
    ],
)
def test_the_estimate_is_a_little_above_the_peaks_that_were_measured(rows: int, features: int, measured: int) -> None:
    """Source: benchmarks/training_memory.py, in MiB."""
    assert 1.04 < training_memory(rows, features) / MIB / measured < 1.31


def test_what_fits_is_let_through() -> None:
    assert check_memory(FULL, 42, SETS, available=GIB) == training_memory(FULL, 42) < GIB


def test_what_does_not_fit_is_refused_with_everything_that_would() -> None:
    with pytest.raises(EnvironmentNotReady, match=r"3555 features of 2,697,800 rows take about 5\.\d GiB") as refused:
        check_memory(FULL, 3555, SETS, available=3 * GIB)
    assert refused.value.code == "too-little-memory"
    hint = refused.value.hint or ""
    assert f"the feature set medium ({training_memory(FULL, 780) / GIB:.1f} GiB)" in hint
    assert f"every 2nd era ({training_memory(FULL // 2, 3555) / GIB:.1f} GiB)" in hint
    assert "a machine with 8 GiB" in hint


def test_where_nothing_fits_no_set_and_no_step_is_promised() -> None:
    with pytest.raises(EnvironmentNotReady) as refused:
        check_memory(6_750_000, 3555, SETS, available=300 * MIB)
    assert refused.value.hint == "What fits: a machine with 16 GiB (size gen-lg)."
    with pytest.raises(EnvironmentNotReady) as refused:
        check_memory(10**9, 3555, SETS, available=GIB)
    assert refused.value.hint == "Take fewer features and fewer eras."


def test_a_container_of_the_second_kind_leaves_what_its_narrowest_group_leaves(tmp_path: Path) -> None:
    root = group(tmp_path / "fs")
    group(root / "a", memory__max=900, memory__current=100)
    group(root / "a" / "b", memory__max="max", memory__current=100)
    assert cgroup_memory_left(root, member(tmp_path, "0::/a/b\n")) == 800
    group(root / "a" / "b", memory__max=600, memory__current=500, memory__stat="anon 1\ninactive_file 250")
    assert cgroup_memory_left(root, member(tmp_path, "0::/a/b\n")) == 350


def test_in_a_container_that_sees_the_hosts_path_the_root_is_its_group(tmp_path: Path) -> None:
    root = group(tmp_path / "fs", memory__max=1000, memory__current=300)
    assert cgroup_memory_left(root, member(tmp_path, "0::/docker/abc\n")) == 700


def test_a_container_of_the_first_kind(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    unlimited = 9223372036854771712
    group(root / "memory", memory__limit_in_bytes=unlimited, memory__usage_in_bytes=5)
    text = "5:cpu,cpuacct:/x\n4:memory:/docker/x\n0::/\n"
    assert cgroup_memory_left(root, member(tmp_path, text)) is None
    group(
        root / "memory" / "docker" / "x",
        memory__limit_in_bytes=1000,
        memory__usage_in_bytes=900,
        memory__stat="cache 7\ntotal_inactive_file 100",
    )
    assert cgroup_memory_left(root, member(tmp_path, text)) == 200


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_memory_left(tmp_path, tmp_path / "none") is None


def test_this_machines_memory_is_known() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


def test_little_memory_and_little_room_are_not_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentNotReady, match=r"and 20\.0 MiB are free"):
        check_memory(1000, 42, available=20 * MIB)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=3 * MIB))
    with pytest.raises(EnvironmentNotReady, match=r"takes 7\.0 MiB, and the disk of .* has 3\.0 MiB free"):
        check_disk(tmp_path, 7 * MIB, "The training")


def test_a_disk_that_is_too_small_is_said_for_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    check_disk(tmp_path / "new" / "newer", 1, "The data")
    with pytest.raises(EnvironmentNotReady, match="The data takes 1073741824") as refused:
        check_disk(tmp_path / "new", 1 << 60, "The data")
    assert refused.value.code == "disk-full"
