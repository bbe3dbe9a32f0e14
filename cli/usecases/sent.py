"""Gives back the CSV that a run has sent to Numerai, as the runtime has kept it among the node's artifacts."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..files.private import remedy, replacing
from ..models import Node
from ..ports import KeepsArtifacts, Provider

KEPT = "sent/{}.csv.gz"
"""Where numerai_node (kept.py) puts it in the artifacts folder."""
LISTED = 5
_RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


MOST_RUNS = 500
"""How many of a node's latest runs an id is looked for among."""


def sent_csv(nodes: Sequence[Node], run_id: str, provider_named: Callable[[str], Provider]) -> tuple[Node, str, bytes]:
    """The node whose run it is, the run's whole id, and what it has sent. Asks the providers in turn. `run_id` may be
    the beginning of one.

    `UsageError` for what is no run id, or begins several; `NumeraiError` with code `not-kept` where nothing is kept of
    such a run, `no-such-run` where there is none, or `damaged` where that cannot be read.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"'{run_id}' is not a run's id.", "`numerai history` lists the runs.", code="bad-run-id")
    found = _kept_of(nodes, run_id, provider_named)
    if found is None and (whole := _whole(nodes, run_id, provider_named)) != run_id:
        run_id = whole
        found = _kept_of(nodes, run_id, provider_named)
    if found is not None:
        return found
    raise NumeraiError(
        f"There is no file that the run {run_id} has sent: none is kept.",
        "`numerai history` lists the runs. A node keeps its last 60 (on AWS those of 90 days) once `numerai node"
        " deploy` has given it this version's numerai_node.",
        code="not-kept",
    )


def _kept_of(
    nodes: Iterable[Node], run_id: str, provider_named: Callable[[str], Provider]
) -> tuple[Node, str, bytes] | None:
    for node in nodes:
        provider = provider_named(node.provider)
        content = provider.artifact(node.name, KEPT.format(run_id)) if isinstance(provider, KeepsArtifacts) else None
        if content is not None:
            return node, run_id, _unpacked(content, run_id)
    return None


def _whole(nodes: Iterable[Node], run_id: str, provider_named: Callable[[str], Provider]) -> str:
    """The id of the one run that it is, or begins."""
    runs = (run.id for node in nodes for run in provider_named(node.provider).runs(node.name, MOST_RUNS))
    meant = list(dict.fromkeys(each for each in runs if each.startswith(run_id)))
    if run_id in meant:
        return run_id
    if len(meant) > 1:
        listed = ", ".join(meant[:LISTED]) + (", ..." if meant[LISTED:] else "")
        raise UsageError(
            f"Several runs begin with {run_id}: {listed}.", "Give more of its id.", code="ambiguous-run-id"
        )
    if not meant:
        raise NumeraiError(
            f"There is no file that a run {run_id} has sent: none is kept, and no run that is known begins with that.",
            "`numerai history` lists the runs.",
            code="no-such-run",
        )
    return meant[0]


def write_output(content: bytes, path: Path, otherwise: str, *, replaces: bool = True) -> None:
    """Write it for this user only; `NumeraiError` where the system refuses, with `otherwise` where there is no other
    remedy. `UsageError` with code `would-overwrite` for another file that is there, unless it `replaces` that."""
    try:
        if not replaces and path.is_file() and path.read_bytes() != content:
            raise UsageError(f"{path} is there already.", f"{otherwise} --force replaces it.", code="would-overwrite")
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
