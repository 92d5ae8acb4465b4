"""Compaction: the segments of a session that is over become one Parquet file.

The file appears whole and durable before the segments go, so that a crash at any point
leaves the old files, or the new one, or both (then the new one counts).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa

from .parts import ArrowPart, Chunk, Part, leftovers, write_parquet
from .reader import Reader
from .schema import Table, fit, unify


def compact(reader: Reader, table: Table) -> None:
    """Compact every session of a table. Only under the lock, and with none going on."""
    parts = reader.parts(table)
    chunks = groupby(reader.walk(parts, table), key=lambda pair: pair[0].session)
    for session, group in chunks:
        own = [part for part in parts if part.session == session]
        if isinstance(own[0], ArrowPart):
            schema = unify((part.schema for part in own if part.schema is not None), table)
            _compact(reader, session, schema, group, table)
    # Segments of no session's Parquet are empty, or were never acknowledged.
    done = [part.name for part in parts if isinstance(part, ArrowPart)]
    for name in [*done, *leftovers(reader.storage, table)]:
        reader.storage.remove(name)


def _compact(
    reader: Reader,
    session: int,
    schema: pa.Schema,
    chunks: Iterator[tuple[Part, Chunk]],
    table: Table,
) -> None:
    about: dict[str, Any] = {"study": reader.uuid, "session": session}

    def rows() -> Iterator[pa.RecordBatch]:
        for part, chunk in chunks:
            about.setdefault("first", part.first)
            about["next"] = chunk.next
            yield fit(chunk.decode(None), schema)

    write_parquet(reader.storage, schema, rows(), lambda: about, table)
