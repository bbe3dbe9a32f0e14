"""What the system refuses is said with what helps: a full disk, a lock, a folder or a file in the way."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.files import database
from numerai_compute.files.database import Database, DatabaseUnusable
from numerai_compute.files.private import make_private_folder, write_private
from numerai_compute.translation import translated


def test_a_full_disk_is_named_and_not_the_folders_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentNotReady) as caught:
        write_private(tmp_path / "nodes.json", b"{}")
    assert "Make room on the disk" in str(caught.value.hint) and not list(tmp_path.iterdir())
    told = translated(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "nodes.json"))
    assert told is not None and str(caught.value.hint).startswith(str(told.hint)), "one rule for both"


def test_a_locked_database_is_not_blamed_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    marks = Database(tmp_path / "marks.db", ("CREATE TABLE marks (mark TEXT)",), "mend it")
    with marks.writing() as db:
        db.execute("INSERT INTO marks VALUES ('one')")
    with closing(sqlite3.connect(tmp_path / "marks.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnusable) as caught, marks.writing():
            pass
    marks.close()
    assert "locked" in caught.value.message and "Another program uses it" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["nodes.json", ".keys"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home").chmod(0o700)
    store = HomeStore(tmp_path / "home", {})
    with pytest.raises(NumeraiError) as caught:
        store.nodes() if name == "nodes.json" else store.keys()
    assert "readable for you" not in str(caught.value.hint)
    assert os.name == "nt" or "A folder is where a file should be" in str(caught.value.hint)


@pytest.mark.skipif(os.name == "nt", reason="Windows says that the access is denied")
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_home_that_is_no_folder_is_named(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    if kind == "file":
        home.write_text("not a folder")
    else:
        home.symlink_to(tmp_path / "not mounted")
    with pytest.raises(NumeraiError) as caught:
        make_private_folder(home / "locks")
    assert "is in the way" in str(caught.value.hint)
    if kind == "file":
        home.chmod(stat.S_IRUSR)
        with pytest.raises(NumeraiError) as caught:
            HomeStore(home, {}).nodes()
        assert "is in the way" in str(caught.value.hint)
