"""Writes Parquet files piece by piece, so that a file may be much larger than the memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ...files.private import replacing

_BUFFER_BYTES = 48 * 1024 * 1024


def write_parquet(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    """Write the frames, all of the same columns, as one file. It appears under its name only when it is complete.

    Rows are gathered until they fill about 48 MiB, which become one row group. Statistics are kept for text columns
    only (so that a filter on `era` can skip row groups): for thousands of features they would outweigh the data.
    """
    tables = (pa.Table.from_pandas(frame) for frame in _gathered(frames))
    first = next(tables, None)
    if first is None:
        raise ValueError(f"no rows for {path.name}")
    schema = first.schema
    with replacing(path) as file, pq.ParquetWriter(file, schema, write_statistics=_text_columns(schema)) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.cast(schema))


def write_whole(path: Path, body: bytes) -> None:
    """Write a small file; it appears under its name only when it is complete."""
    with replacing(path) as file:
        file.write(body)


def _gathered(frames: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    held: list[pd.DataFrame] = []
    size = 0
    for frame in frames:
        held.append(frame)
        size += len(frame) * (8 + sum(getattr(kind, "itemsize", 8) for kind in frame.dtypes))
        if size >= _BUFFER_BYTES:
            yield pd.concat(held) if len(held) > 1 else held[0]
            held, size = [], 0
    if held:
        yield pd.concat(held) if len(held) > 1 else held[0]


def _text_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
