"""What the tool makes is its owner's alone from its first moment, whatever the umask lets new files be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from numerai_compute.files.locks import holding
from numerai_compute.files.private import owner_only
from numerai_compute.source import copy_source

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")


@pytest.fixture(autouse=True)
def open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    assert os.umask(before) == 0, "it is as it was"


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def test_locks(tmp_path: Path) -> None:
    with holding(tmp_path / "new" / "a.lock"):
        assert modes(tmp_path) == {0o700, 0o600}


def test_what_programs_make(tmp_path: Path) -> None:
    with pytest.raises(KeyError), owner_only():
        subprocess.run([sys.executable, "-c", "open('made', 'w')"], cwd=tmp_path, check=True)
        raise KeyError
    assert modes(tmp_path) == {0o600}


def test_a_copy_of_a_source_is_as_private_as_its_folder_and_can_be_executed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for name in ("Dockerfile", "sub/run.sh", "sub/data"):
        (source / name).touch()
    (source / "sub" / "run.sh").chmod(0o755)
    (source / "link").symlink_to("sub")
    with owner_only():
        copy_source(source, tmp_path / "copy")
    assert (tmp_path / "copy" / "link").readlink() == Path("sub")
    copied = {
        path.name: oct(path.lstat().st_mode & 0o777) for path in (tmp_path / "copy").rglob("*") if path.name != "link"
    }
    assert copied == {"sub": "0o700", "Dockerfile": "0o600", "run.sh": "0o700", "data": "0o600"}
