"""Keeps the CSV that a run has sent beside its artifacts, for `numerai history --csv`.

Keeping it never costs anything: it happens once the submission's fate is known, and a failure is a line in the log.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from .bucket import APART, Bucket
from .cache_folder import open_new
from .log import log
from .settings import Settings
from .transport import Transport

SUFFIX = ".csv.gz"
MOST = 60
"""So many are kept in a folder, the newest: the rounds of three months. A bucket removes them by its own rule."""
TAG = "numerai=sent"
"""terraform/aws/artifacts.tf has the rule for it."""


def keep(settings: Settings, transport: Transport, content: bytes) -> None:
    """Keep what was sent, for this user only; nothing to do in a run that has no id, as one by hand."""
    if settings.run_id is None:
        return
    name, packed = f"{settings.run_id}{SUFFIX}", gzip.compress(content, mtime=0)
    try:
        if settings.artifacts.startswith("s3://"):
            Bucket(settings.artifacts, transport).put_tagged(f"{APART}{name}", packed, TAG)
        elif "://" not in settings.artifacts:
            _write(Path(settings.artifacts) / APART, name, packed)
    except Exception as error:  # noqa: BLE001  (it is submitted: whatever goes wrong here must not fail the run)
        log("warning", what="the CSV that was sent is not kept", why=error)


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{name}.{os.getpid()}"
    with open_new(draft, 0o600) as file:
        file.write(content)
    draft.replace(folder / name)
    kept = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in kept[MOST:]:
        path.unlink(missing_ok=True)
