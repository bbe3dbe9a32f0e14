"""Reads a submission back from Numerai and compares it with what was sent, where the key may do so."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from .api import NumeraiApi
from .errors import NodeError
from .log import log
from .transport import DOWNLOAD_TIMEOUT, LOOK_SECONDS, Passing, Patience, Transport, host

TOLERANCE = 1e-6


@dataclass(frozen=True)
class ReadBack:
    """That a submission was read back; `difference` says how it is not what was sent."""

    difference: str | None


class Incomparable(Exception):
    """What Numerai gave back does not tell whether it holds what was sent."""


def read_back(api: NumeraiApi, transport: Transport, submission_id: str, content: bytes) -> ReadBack | None:
    """Compare what Numerai holds with `content`, a CSV file; None when it cannot be read back, which only warns."""
    patience = transport.briefly()
    try:
        if not api.may_read_back(patience):
            return None
        held = transport.retry(
            "reading the submission back", lambda: _get(api, transport, submission_id, patience), patience
        )
        return ReadBack(None if held == content else _difference(held, content))
    except (NodeError, Incomparable) as error:
        log("warning", what="the submission could not be read back", why=error)
        return None


def _get(api: NumeraiApi, transport: Transport, submission_id: str, patience: Patience) -> bytes:
    url = api.submission_url(submission_id, patience)
    with transport.request("GET", url, timeout=DOWNLOAD_TIMEOUT, seconds=LOOK_SECONDS, patience=patience) as answer:
        if answer.ok:
            return answer.content()
        raise Passing(f"{host(url)} answered {answer.status}")


def _difference(held: bytes, content: bytes) -> str | None:
    """How two CSV files of ids and values differ, but for their order and rounding; None when they do not.

    Whether Numerai gives ids back as they were sent, or those that it mapped them to, is not known: values without an
    id that both have are compared as a whole. Raises `Incomparable`.
    """
    import numpy as np
    import pandas as pd

    def read(data: bytes) -> pd.Series[float]:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        return frame.set_index(frame.columns[0])[frame.columns[1]].astype(float)

    def differing(one: Any, other: Any) -> int:
        return int((~np.isclose(one, other, rtol=0, atol=TOLERANCE)).sum())

    try:
        there, sent = read(held), read(content)
        if (there.index.name, there.name) != (sent.index.name, sent.name):
            raise ValueError
    except (ValueError, IndexError, UnicodeDecodeError):
        raise Incomparable("what Numerai holds is no CSV file of these columns") from None
    known = sent.index.intersection(there.index)
    if len(there) != len(sent) or there.index.has_duplicates:
        wrong = f"Numerai holds {len(there)} rows with other ids than the {len(sent)} that were sent"
    else:
        others = [np.sort(each.drop(known)) for each in (there, sent)]
        number = differing(there[known], sent[known]) + differing(*others)
        wrong = f"{number} of the {len(there)} values that Numerai holds differ" if number else ""
    if wrong and known.empty:
        raise Incomparable(f"none of its {len(there)} ids is ours, and it has other values")
    return wrong or None
