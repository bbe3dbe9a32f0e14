"""A database that is opened in several places of one process, and by others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from numerai_compute.files.database import Database

MIGRATIONS = ("CREATE TABLE marks (mark TEXT)",)
READ = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
    " print([mark for (mark,) in db.execute('SELECT mark FROM marks')])"
)


def seen_from_outside(path: Path) -> str:
    """The marks that another process reads. It opens and closes the file, as every command does."""
    return subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_opening_it_a_second_time_does_not_take_the_first_ones_locks_away(tmp_path: Path) -> None:
    path = tmp_path / "home" / "marks.db"
    first, second = Database(path, MIGRATIONS, "mend it"), Database(path, MIGRATIONS, "mend it")
    with first.writing() as db:
        db.execute("INSERT INTO marks VALUES ('one')")
    with second.reading() as db:
        db.execute("SELECT * FROM marks").fetchall()
    assert seen_from_outside(path) == "['one']\n"
    with first.writing() as db:
        db.execute("INSERT INTO marks VALUES ('two')")
    assert seen_from_outside(path) == "['one', 'two']\n"
    first.close()
    second.close()
    assert seen_from_outside(path) == "['one', 'two']\n"
