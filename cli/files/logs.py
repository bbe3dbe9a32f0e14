"""Log files that only their owner may read, from the first moment and after each rotation, without secrets."""

from __future__ import annotations

import io
import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ..redaction import Redactor
from .private import make_private_folder


class RedactingFormatter(logging.Formatter):
    """Formats records, tracebacks too, with the secrets of this process masked."""

    def __init__(self, layout: str):
        super().__init__(layout)
        self._redact = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return self._redact(super().format(record))


class PrivateLog(RotatingFileHandler):
    """A log file of at most `max_bytes`, beside which `kept` earlier ones stay (`<name>.1`, ...)."""

    def __init__(self, path: Path, layout: str, *, max_bytes: int, kept: int):
        make_private_folder(path.parent)
        super().__init__(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8")
        self.setFormatter(RedactingFormatter(layout))

    def _open(self) -> io.TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda name, _: os.open(name, flags, 0o600))
