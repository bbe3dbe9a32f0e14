"""The log of a run: one line per event on standard output, elapsed time first, then logfmt."""

from __future__ import annotations

import sys
import time

_started = time.monotonic()
_secrets: set[str] = set()


def hide(secret: str) -> None:
    """Replace `secret` by `***` in everything that is logged from now on."""
    if secret:
        _secrets.add(secret)


def redact(text: str) -> str:
    """The text without any secret that was given to `hide`."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def log(event: str, **fields: object) -> None:
    """Write one line, e.g. `+  1.2s downloaded file=v5.3/live.parquet bytes=131324`, without fields that are None."""
    words = [event, *(f"{key}={_value(value)}" for key, value in fields.items() if value is not None)]
    line = redact(f"+{time.monotonic() - _started:5.1f}s {' '.join(words)}")
    try:
        sys.stdout.write(line + "\n")
    except UnicodeEncodeError:
        sys.stdout.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")
    sys.stdout.flush()


def seconds_since(start: float) -> float:
    """Seconds since `start`, a `time.monotonic()`, with one decimal."""
    return round(time.monotonic() - start, 1)


def seconds_running() -> float:
    """Seconds since this process began to log."""
    return time.monotonic() - _started


def _value(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if text and not any(char.isspace() or char in '"=' or not char.isprintable() for char in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{"".join(char if char.isprintable() else ascii(char)[1:-1] for char in escaped)}"'
