"""Reads a submission back from Numerai and compares it with what was sent, where the key may do so."""

from __future__ import annotations

import io
from dataclasses import dataclass

from .api import NumeraiApi
from .errors import NodeError
from .log import log
from .transport import DOWNLOAD_TIMEOUT, LOOK_SECONDS, Passing, Patience, Transport, host

TOLERANCE = 1e-6


@dataclass(frozen=True)
class ReadBack:
    """That a submission was read back; `difference` says how it is not what was sent."""

    difference: str | None


def read_back(api: NumeraiApi, transport: Transport, submission_id: str, content: bytes) -> ReadBack | None:
    """Compare what Numerai holds with `content`, a CSV file; None when it cannot be read back, which only warns."""
    patience = transport.briefly()
    try:
        if not api.may_read_back(patience):
            return None
        held = transport.retry(
            "reading the submission back", lambda: _get(api, transport, submission_id, patience), patience
        )
    except NodeError as error:
        log("warning", what="the submission could not be read back", why=error)
        return None
    if held == content:
        return ReadBack(None)
    difference = _difference(held, content)
    if difference == UNREADABLE:
        log("warning", what="the submission could not be read back", why=difference)
        return None
    return ReadBack(difference)


def _get(api: NumeraiApi, transport: Transport, submission_id: str, patience: Patience) -> bytes:
    url = api.submission_url(submission_id, patience)
    with transport.request("GET", url, timeout=DOWNLOAD_TIMEOUT, seconds=LOOK_SECONDS, patience=patience) as answer:
        if answer.ok:
            return answer.content()
        raise Passing(f"{host(url)} answered {answer.status}")


UNREADABLE = "what Numerai holds is no CSV file of these columns"


def _difference(held: bytes, content: bytes) -> str | None:
    """How two CSV files of ids and values differ, but for their order and rounding; None when they do not."""
    import numpy as np
    import pandas as pd

    def read(data: bytes) -> pd.Series[float]:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        return frame.set_index(frame.columns[0])[frame.columns[1]].astype(float)

    try:
        there, sent = read(held), read(content)
    except (ValueError, IndexError, UnicodeDecodeError):
        return UNREADABLE
    if (there.index.name, there.name) != (sent.index.name, sent.name):
        return UNREADABLE
    if len(there) != len(sent) or set(there.index) != set(sent.index):
        return f"Numerai holds {len(there)} rows with other ids than the {len(sent)} that were sent"
    if sent.index.has_duplicates or there.index.has_duplicates:
        return None
    wrong = int((~np.isclose(sent.loc[there.index], there, rtol=0, atol=TOLERANCE)).sum())
    return f"{wrong} of the {len(there)} values that Numerai holds differ" if wrong else None
