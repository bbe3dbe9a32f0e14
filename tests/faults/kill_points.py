"""Finds the moments at which a process can be killed while it writes, and kills it at one of them.

A moment is before or after every statement that changes a SQLite database (BEGIN and COMMIT among them), and before or
after every call that changes a file or folder: open to create, fsync, rename, remove, mkdir.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

SIGKILL = 9
READS = ("SELECT", "PRAGMA DATA_VERSION", "PRAGMA USER_VERSION;")
FILE_CALLS = ("open", "fsync", "replace", "rename", "unlink", "mkdir")


class KillPoints:
    """Counts the moments that a process passes; at number `kill_at` it ends as by kill -9."""

    def __init__(self, kill_at: int | None = None):
        self.labels: list[str] = []
        self._kill_at = kill_at

    def pass_by(self, label: str) -> None:
        """One such moment."""
        if len(self.labels) == self._kill_at:
            os.kill(os.getpid(), SIGKILL)
        self.labels.append(label)

    def watch(self) -> None:
        """Let every database and every file of this process pass by from now on. There is no way back."""
        points, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                words = " ".join(sql.split())
                if words.upper().startswith(READS):
                    return super().execute(sql, *arguments)
                points.pass_by(f"before {words[:60]}")
                done = super().execute(sql, *arguments)
                points.pass_by(f"after {words[:60]}")
                return done

            def close(self) -> None:
                points.pass_by("before the database is closed")
                super().close()
                points.pass_by("after the database is closed")

        def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
            return connect(*arguments, factory=Connection, **options)

        sqlite3.connect = connected  # type: ignore[assignment]
        for name in FILE_CALLS:
            setattr(os, name, self._around(name, getattr(os, name)))

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def around(first: Any, *arguments: Any, **options: Any) -> Any:
            if name == "open" and not (arguments and arguments[0] & os.O_CREAT):
                return call(first, *arguments, **options)
            what = f"{name} {Path(first).name}" if isinstance(first, (str, Path)) else name
            self.pass_by(f"before {what}")
            done = call(first, *arguments, **options)
            self.pass_by(f"after {what}")
            return done

        return around
