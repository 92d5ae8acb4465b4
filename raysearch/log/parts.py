"""The files that hold a study's rows: segments of sessions, and Parquet once closed.

A session's segments are ``log/<session>-<part>.arrow``. When it is over they become one
``log/<session>-<crc>.parquet``, the crc32 of all of the file being part of its name; from
then on it is the truth, and segments that a crash left beside it are ignored. So it is with
``reports/``.
"""

from __future__ import annotations

import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StudyCorrupt
from .schema import TRIALS, Table, check_schema
from .segment import Segment
from .storage import Storage

_ARROW = re.compile(r"\w+/(\d{6,})-(\d{6,})\.arrow")
_PARQUET = re.compile(r"\w+/(\d{6,})-([0-9a-f]{8})\.parquet")
_ROWS = 65_536  # of a row group: what is held in memory at once
_BYTES = 2**28  # the same, where rows are large
_CHUNK = 2**20


class Chunk(NamedTuple):
    """Rows not decoded yet.

    next    the number of the first batch after them
    decode  gives the rows; argument: the columns wanted, None for all
    """

    next: int
    decode: Callable[[Sequence[str] | None], pa.RecordBatch]


class Part(ABC):
    """One file with rows.

    name     its path in the study
    session  that wrote it
    first    number of its first batch in the study; None if it has none
    schema   of its rows
    """

    name: str
    session: int
    first: int | None
    schema: pa.Schema | None
    dropped: int = 0  # bytes after the last intact batch
    sealed: bool = False

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """Its rows in order, verified; StudyCorrupt where they are not what was written."""


def segment_name(session: int, part: int, table: Table = TRIALS) -> str:
    """The path of a segment."""
    return f"{table.folder}/{session:06}-{part:06}.arrow"


def about_segment(study: str, session: int, part: int) -> dict[str, Any]:
    """What the header of a segment says, so that no file passes for another."""
    return {"study": study, "session": session, "part": part}


def list_parts(storage: Storage, study: str, table: Table = TRIALS) -> list[Part]:
    """All parts with rows, in order; segments that were compacted already are left out."""
    names = storage.names(table.folder)
    compacted = {int(m[1]): m[0] for name in names if (m := _PARQUET.fullmatch(name))}
    segments = sorted((int(m[1]), int(m[2])) for name in names if (m := _ARROW.fullmatch(name)))
    keys = [(session, 0) for session in compacted]
    keys += [key for key in segments if key[0] not in compacted]
    parts: list[Part] = []
    for session, part in sorted(keys):
        if part:
            parts.append(ArrowPart(storage, session, part, study, table))
        else:
            parts.append(ParquetPart(storage, compacted[session], session, study, table))
    return parts


def leftovers(storage: Storage, table: Table = TRIALS) -> list[str]:
    """Segments of sessions that have been compacted: they may go."""
    names = storage.names(table.folder)
    compacted = {m[1] for name in names if (m := _PARQUET.fullmatch(name))}
    return [n for n in names if (m := _ARROW.fullmatch(n)) and m[1] in compacted]


class ArrowPart(Part):
    """A segment (see `raysearch.log.segment`)."""

    def __init__(
        self, storage: Storage, session: int, part: int, study: str, table: Table = TRIALS
    ) -> None:
        self.name = segment_name(session, part, table)
        self.session = session
        self._storage = storage
        self._about = about_segment(study, session, part)
        with storage.open(self.name) as file:
            segment = Segment(file, f"{storage.place}/{self.name}")
            frame = next(segment.frames(), None)
            self.first = frame.seq if frame else None
            self.schema = segment.schema(frame, self._about, table) if frame else None
            self.dropped, self.sealed = segment.dropped, segment.sealed

    def chunks(self) -> Iterator[Chunk]:
        schema = self.schema
        if schema is None:
            return
        with self._storage.open(self.name) as file:
            segment = Segment(file, f"{self._storage.place}/{self.name}")
            for frame in segment.frames():

                def decode(names: Sequence[str] | None) -> pa.RecordBatch:
                    batch = segment.decode(frame, schema)  # noqa: B023, called before the next
                    return batch if names is None else batch.select(list(names))

                yield Chunk(frame.seq + 1, decode)
            self.dropped, self.sealed = segment.dropped, segment.sealed


class ParquetPart(Part):
    """A session that is over."""

    sealed = True

    def __init__(
        self, storage: Storage, name: str, session: int, study: str, table: Table = TRIALS
    ) -> None:
        self.name = name
        self.session = session
        self._storage = storage
        self._place = f"{storage.place}/{name}"
        found = self._crc()
        match = _PARQUET.fullmatch(name)
        if match is None or f"{found:08x}" != match[2]:
            raise StudyCorrupt(
                f"{self._place}: the checksum of the file is {found:08x}, not that of its name; "
                "nothing was changed. Copy what is intact into a new study: "
                "raysearch doctor STUDY --salvage TARGET"
            )
        with storage.open(name) as file:
            self.schema, about = read_footer(file, self._place, table)
        if about.get("study") != study or about.get("session") != session:
            raise StudyCorrupt(f"{self._place}: belongs to another study or session: {about}")
        self.first, self._next = about["first"], about["next"]

    def _crc(self) -> int:
        crc = 0
        with self._storage.open(self.name) as file:
            while data := file.read(_CHUNK):
                crc = crc32(data, crc)
        return crc

    def chunks(self) -> Iterator[Chunk]:
        with self._storage.open(self.name) as file:
            parquet = pq.ParquetFile(file)
            groups = parquet.num_row_groups
            for group in range(groups):

                def decode(names: Sequence[str] | None) -> pa.RecordBatch:
                    return read_group(parquet, group, names, self._place)  # noqa: B023

                yield Chunk(self._next if group == groups - 1 else self.first or 0, decode)


def read_footer(
    file: IO[bytes], place: str, table: Table = TRIALS
) -> tuple[pa.Schema, dict[str, Any]]:
    """The schema of a Parquet file, checked, and what raysearch noted in it."""
    try:
        metadata = pq.read_metadata(file)
        notes = metadata.metadata or {}
        if b"ARROW:schema" in notes:
            raise StudyCorrupt(f"{place}: carries an Arrow schema of its own; refused")
        schema = metadata.schema.to_arrow_schema().remove_metadata()
        about = json.loads(notes[b"raysearch"])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise StudyCorrupt(f"{place}: cannot be read: {error}") from None
    check_schema(schema, place, table)
    return pa.schema([pa.field(field.name, field.type) for field in schema]), about


def read_group(
    parquet: pq.ParquetFile, group: int, names: Sequence[str] | None, place: str
) -> pa.RecordBatch:
    """The rows of one row group, every value valid."""
    try:
        table = parquet.read_row_group(group, columns=None if names is None else list(names))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise StudyCorrupt(f"{place}: row group {group} cannot be read: {error}") from None
    schema = pa.schema([pa.field(field.name, field.type) for field in table.schema])
    columns = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def write_parquet(
    storage: Storage,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    about: Callable[[], dict[str, Any]],
    table: Table = TRIALS,
) -> str:
    """Rows as the Parquet file of a session, and its name.

    about  what to note in the file; asked after the last batch was taken
    """

    def write(file: IO[bytes]) -> str:
        counting = _Counting(file)
        # Plain Parquet types only: a stored Arrow schema could name extension types.
        with pq.ParquetWriter(
            pa.PythonFile(counting, mode="w"),
            schema,
            compression="zstd",
            store_schema=False,
            write_page_checksum=True,
            **_encodings(schema),
        ) as writer:
            held: list[pa.RecordBatch] = []
            rows = size = 0
            for batch in batches:
                held.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows >= _ROWS or size >= _BYTES:
                    writer.write_table(pa.Table.from_batches(held, schema))
                    held, rows, size = [], 0, 0
            if held:
                writer.write_table(pa.Table.from_batches(held, schema))
            notes = about()
            writer.add_key_value_metadata({"raysearch": json.dumps(notes)})
        return f"{notes['session']:06}-{counting.crc:08x}.parquet"

    return storage.publish(table.folder, write)


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """How columns are packed: numbers hardly repeat, so that dictionaries only cost time."""
    deltas = [
        f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_timestamp(f.type)
    ]
    return {
        "use_dictionary": [f.name for f in schema if pa.types.is_string(f.type)],
        "column_encoding": dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
    }


class _Counting(io.RawIOBase):
    """A file to write to that knows the crc32 of what went through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.crc = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.crc = crc32(data, self.crc)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()
