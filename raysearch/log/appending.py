"""The growing end of one table: batches go in, numbered, each durable when it is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from ..errors import StudyStorage
from .parts import ArrowPart, Chunk, Part, about_segment, segment_name
from .reader import Reader
from .schema import METRICS, Table, fit, part_of, unify
from .segment import END, MOST, encode_frame, encode_header
from .storage import Appender, Storage, storing


class Appending:
    """What a session adds to a table of a study.

    next     number of the next batch
    metrics  name -> type, of all metrics in the table so far
    notes    what was found at its end and could be tolerated, for people
    dead     why nothing may be written any more; None: all is well
    """

    def __init__(self, reader: Reader, session: int, table: Table, durable: bool) -> None:
        self.next = 0
        self.dead: str | None = None
        self._reader = reader
        self._storage = reader.storage
        self._session = session
        self._table = table
        self._durable = durable
        self._part = 0
        self._segment: _Segment | None = None
        parts = reader.parts(table)
        self._take_stock(parts, reader.walk(parts, table))
        schema = unify((part.schema for part in parts if part.schema is not None), table)
        self.metrics = part_of(schema, METRICS)
        self.notes = [
            f"{part.name}: the last {part.dropped} bytes were not written completely when its "
            "session ended; what was told before is there"
            for part in parts
            if part.dropped
        ]

    def _take_stock(self, parts: Sequence[Part], chunks: Iterator[tuple[Part, Chunk]]) -> None:
        """Find out where the table ends, and make sure that it will not end earlier."""
        for part in parts:
            if isinstance(part, ArrowPart):
                self._storage.sync(part.name)
        for _, chunk in chunks:
            self.next = chunk.next

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Add rows, all of them or none; when this returns they are durable.

        Raises StudyStorage if that was impossible (it may be tried again once there is
        space, unless the message says otherwise).
        """
        if self.dead:
            raise StudyStorage(None, f"study {self._storage.place}: {self.dead}")
        if not batches:
            return
        if self._segment is None or any(b.schema != self._segment.schema for b in batches):
            current = [self._segment.schema] if self._segment else []
            schema = unify([*current, *(batch.schema for batch in batches)], self._table)
            batches = [fit(batch, schema) for batch in batches]
        batch = batches[0]
        if len(batches) > 1:
            batch = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
        if batch.nbytes > MOST:
            raise StudyStorage(
                None,
                f"study {self._storage.place}: {batch.nbytes / 1e9:.1f} GB of rows at once are "
                "more than a study takes; run fewer trials at once, or smaller Arrays",
            )
        with storing(self._storage, "recording trials"):
            segment = self._segment_for(batch.schema)
            try:
                segment.append(batch, self.next)
            except OSError:
                if segment.broken:
                    self.dead = (
                        "the disk failed at recording trials, so that nothing more is written; "
                        "what was recorded before is safe. Start again to go on"
                    )
                raise
        self.next += 1
        self.metrics = {**self.metrics, **segment.metrics}
        if segment.full:
            self._segment = None

    def _segment_for(self, schema: pa.Schema) -> _Segment:
        if self._segment is not None and self._segment.schema.equals(schema):
            return self._segment
        self.close()
        about = about_segment(self._reader.uuid, self._session, self._part + 1)
        name = segment_name(self._session, self._part + 1, self._table)
        self._segment = _Segment(self._storage, name, schema, about, self._durable)
        self._part += 1
        return self._segment

    def close(self) -> None:
        """Seal what was written, and free the file."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()


class _Segment:
    """The segment that is being written: encodes, and knows how far it is durable."""

    def __init__(
        self, storage: Storage, name: str, schema: pa.Schema, about: dict[str, Any], durable: bool
    ) -> None:
        self.schema = schema
        self.metrics = part_of(schema, METRICS)
        self._marked, self._header = encode_header(schema, about)
        self._storage = storage
        self._name = name
        self._durable = durable
        self._file: Appender | None = None
        self._before = 0
        self._begun = False
        self.full = False  # whether the next commit needs a segment of its own

    @property
    def broken(self) -> bool:
        return self._file is not None and self._file.broken

    def append(self, batch: pa.RecordBatch, seq: int) -> None:
        """Write a batch, which is number seq of the study, in one go.

        One frame a commit: then damage before another frame can never be a torn end.
        """
        frame, crc = encode_frame(self._marked, self._header, batch, seq, self._before)
        self._write(frame if self._begun else self._header + frame)
        self._before, self._begun = crc, True

    def _write(self, data: bytes | memoryview) -> None:
        if self._file is None:
            self._file = self._storage.appender(self._name, self._durable)
        if self._file is not None:
            self._file.append(data)
            return
        folder, _, name = self._name.rpartition("/")

        def write(file: Any) -> str:
            file.write(b"".join((data, END)))
            return name

        self._storage.publish(folder, write)
        self.full = True

    def close(self) -> None:
        """Mark the end for other readers, if that works, and free the file."""
        if self._file is None:
            return
        with suppress(OSError):  # the closing record says where the rows end
            if self._begun and not self._file.broken:
                self._file.append(END)
        self._file.close()
