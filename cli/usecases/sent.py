"""Gives back the CSV that a run has sent to Numerai, as the runtime has kept it among the node's artifacts."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..files.private import remedy, replacing
from ..models import Node
from ..ports import KeepsArtifacts, Provider

KEPT = "sent/{}.csv.gz"
"""Where numerai_node (kept.py) puts it in the artifacts folder."""
_RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


def sent_csv(nodes: Iterable[Node], run_id: str, provider_named: Callable[[str], Provider]) -> tuple[Node, bytes]:
    """The node whose run it is, and what that has sent. Asks the providers in turn.

    `UsageError` for what is no run id, `NumeraiError` with code `not-kept` where nothing is kept of such a run, or
    `damaged` where that cannot be read.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"'{run_id}' is not a run's id.", "`numerai history` lists the runs.", code="bad-run-id")
    for node in nodes:
        provider = provider_named(node.provider)
        content = provider.artifact(node.name, KEPT.format(run_id)) if isinstance(provider, KeepsArtifacts) else None
        if content is not None:
            return node, _unpacked(content, run_id)
    raise NumeraiError(
        f"There is no file that the run {run_id} has sent: none is kept.",
        "`numerai history` lists the runs. A node keeps its last 60 (on AWS those of 90 days) once `numerai node"
        " deploy` has given it this version's numerai_node.",
        code="not-kept",
    )


def write_output(content: bytes, path: Path, otherwise: str) -> None:
    """Write it for this user only; `NumeraiError` where the system refuses, with `otherwise` where there is no other
    remedy."""
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        hint = remedy(error) or otherwise
        raise NumeraiError(f"{path} cannot be written: {error.strerror or error}.", hint) from error


def _unpacked(content: bytes, run_id: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise NumeraiError(f"The file that is kept of run {run_id} is damaged: {error}.", code="damaged") from error
