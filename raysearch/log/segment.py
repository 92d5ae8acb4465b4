"""One file of a running session: an ordinary Arrow IPC stream whose batches prove themselves.

::

    schema message | frame | frame | ... | end of stream, once the session is closed

A frame is one encapsulated record batch. Its custom metadata hold, under ``raysearch``,

    {"seq": number of the batch in the study, "bytes": length of the frame,
     "schema": crc of the schema message, "before": crc of the frame before, 0 for the first,
     "crc": crc of this frame}

in hexadecimal of fixed width. The crc32 of a frame is that of all its bytes, with zeros in
the place of the crc itself. So nothing is decoded before every byte of it has been checked,
and a frame proves itself, with its schema, even if what came before it is lost. The crc
guards against rot, not against forgery.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import pyarrow as pa

from ..errors import StudyCorrupt
from .schema import EXTENSION, TRIALS, Table, check_schema

END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of an Arrow stream

_START = END[:4]
_MARK = re.compile(
    rb'\{"seq":"([0-9a-f]{12})","bytes":"([0-9a-f]{12})",'
    rb'"schema":"([0-9a-f]{8})","before":"([0-9a-f]{8})","crc":"([0-9a-f]{8})"\}'
)
_FORM = '{"seq":"%012x","bytes":"%012x","schema":"%08x","before":"%08x","crc":"%08x"}'
_CRC_FROM_END = len('00000000"}')
_MAX_METADATA = 2**24
_MAX_FRAME = 2**31
MOST = _MAX_FRAME - 2**24  # bytes in the rows of a frame; compression may add a little
_LARGE = 2**16  # bytes; below, compression costs more than it spares


class Frame(NamedTuple):
    """One batch whose bytes are those that were written.

    seq     its number in the study
    data    its bytes
    schema  crc of the schema message that it belongs to
    before  crc of the frame before it
    crc     its own
    offset  where it starts in the file
    """

    seq: int
    data: bytes
    schema: int
    before: int
    crc: int
    offset: int


def encode_header(schema: pa.Schema, about: Mapping[str, Any]) -> tuple[pa.Schema, bytes]:
    """The schema marked with what the segment is about, and its message."""
    marked = schema.with_metadata({b"raysearch": json.dumps(about).encode()})
    return marked, marked.serialize().to_pybytes()


def encode_frame(
    schema: pa.Schema, header: bytes, batch: pa.RecordBatch, seq: int, before: int
) -> tuple[memoryview, int]:
    """A batch as bytes that follow the header (or an earlier frame), and their crc.

    Large ones are compressed, as Arrow itself does it and every reader undoes it: that is quicker
    than to sum up and write more than twice the bytes.
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(
        compression="lz4" if batch.nbytes >= _LARGE else None, use_threads=False
    )
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        blank = (_FORM % (seq, 0, 0, before, 0)).encode()
        writer.write_batch(batch, custom_metadata={b"raysearch": blank})
    frame = memoryview(sink.getvalue()).cast("B")[len(header) : -len(END)]
    mark = _MARK.search(frame)
    assert mark is not None
    span = slice(*mark.span())
    mine = (seq, len(frame), crc32(header), before)
    frame[span] = (_FORM % (*mine, 0)).encode()
    crc = crc32(frame)
    frame[span] = (_FORM % (*mine, crc)).encode()
    return frame, crc


class Segment:
    """A segment as it is read: `frames` gives what is intact, in order.

    file    positioned at its start
    name    for messages

    After `frames` is used up, `sealed` says whether the end of the stream was found, and
    `dropped` how many bytes after the last intact frame are of no use.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.sealed = False
        self.dropped = 0
        self._file = file
        self._header = b""

    def frames(self) -> Iterator[Frame]:
        """The intact frames; StudyCorrupt where one is damaged that others follow.

        Damage at the very end is what a crash in the middle of writing leaves behind, or
        what a writer is just about to complete.
        """
        self._read_header()
        last: Frame | None = None
        while True:
            offset = last.offset + len(last.data) if last else len(self._header)
            self._file.seek(offset)
            frame = _read_frame(self._file, offset)
            if frame is not None:
                expected = (last.seq + 1, last.crc) if last else (frame.seq, 0)
                if (frame.seq, frame.before) != expected:
                    raise self._corrupt(offset, "does not follow from what stands before it")
                yield frame
                last = frame
            elif not self._has_grown(last, offset):
                return

    def _has_grown(self, last: Frame | None, offset: int) -> bool:
        """Whether a writer has completed, meanwhile, the frame that was missing at `offset`.

        If not, and there are intact frames behind it, they prove the damage.
        """
        start = offset if last else 0  # without a frame to vouch for it, trust no header
        self._file.seek(start)
        rest = self._file.read()
        found = next(find_frames(rest, start), None)
        if found is None:
            rest = rest[offset - start :]
            self.sealed = rest == END
            self.dropped = 0 if self.sealed else len(rest)
            return False
        if last is None:
            length = _metadata_length(rest[:8])
            self._header = rest[: 8 + length] if length else b""
            offset = len(self._header)
        if found.offset != offset or not self._header:
            raise self._corrupt(offset, "is damaged, and intact batches follow it")
        return True

    def _corrupt(self, offset: int, what: str) -> StudyCorrupt:
        place = f"the batch at byte {offset}" if offset else "the header"
        return StudyCorrupt(
            f"{self.name}: {place} {what}; nothing was changed. Copy what is intact into "
            "a new study: raysearch doctor STUDY --salvage TARGET"
        )

    def _read_header(self) -> None:
        self._file.seek(0)
        self._header = _read_message(self._file) or b""

    def schema(self, frame: Frame, about: Mapping[str, Any], table: Table = TRIALS) -> pa.Schema:
        """The schema of a frame, checked against what a study's table may have.

        about  what the header must say it is about
        """
        if not self._header:
            self._read_header()
        if frame.schema != crc32(self._header):
            raise StudyCorrupt(f"{self.name}: the header is damaged")
        if EXTENSION in self._header:
            raise StudyCorrupt(f"{self.name}: has a column of an extension type; refused")
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(self._header))
            found = json.loads((schema.metadata or {})[b"raysearch"])
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise StudyCorrupt(f"{self.name}: the header cannot be read: {error}") from None
        check_schema(schema, self.name, table)
        if found != about:
            raise StudyCorrupt(f"{self.name}: expected a segment of {about}, found one of {found}")
        return schema

    def decode(self, frame: Frame, schema: pa.Schema) -> pa.RecordBatch:
        """The rows of a frame, every value valid."""
        try:
            batch = pa.ipc.read_record_batch(pa.py_buffer(frame.data), schema)
            batch.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise StudyCorrupt(
                f"{self.name}: the batch at byte {frame.offset} cannot be read: {error}"
            ) from None
        return batch


def find_frames(data: bytes, offset: int = 0) -> Iterator[Frame]:
    """Every intact frame in these bytes, wherever it starts; data[0] stands at `offset`."""
    place = data.find(_START)
    while place >= 0:
        frame = _frame_at(data, place, offset + place)
        if frame is not None:
            yield frame
        place = data.find(_START, place + (len(frame.data) if frame else 1))


def _frame_at(data: bytes, place: int, offset: int) -> Frame | None:
    length = _metadata_length(data[place : place + 8])
    mark = _MARK.search(data, place + 8, place + 8 + length) if length else None
    if mark is None:
        return None
    size = int(mark[2], 16)
    return _check(data[place : place + size], mark, place, offset) if size < _MAX_FRAME else None


def _read_frame(file: BinaryIO, offset: int) -> Frame | None:
    message = _read_message(file)
    mark = _MARK.search(message) if message else None
    if message is None or mark is None:
        return None
    size = int(mark[2], 16)
    if size >= _MAX_FRAME:
        return None
    data = message + file.read(max(size - len(message), 0))
    return _check(data[:size], mark, 0, offset)


def _check(data: bytes, mark: re.Match[bytes], place: int, offset: int) -> Frame | None:
    """The frame if it is whole and its crc is right. `mark` is relative to data[-place]."""
    at = mark.end() - place - _CRC_FROM_END
    crc = crc32(memoryview(data)[at + 8 :], crc32(b"00000000", crc32(memoryview(data)[:at])))
    seq, size, schema, before, stored = (int(group, 16) for group in mark.groups())
    return (
        Frame(seq, data, schema, before, crc, offset)
        if (len(data), crc) == (size, stored)
        else None
    )


def _read_message(file: BinaryIO) -> bytes | None:
    """The metadata of the message that starts here, with its prefix; None: there is none."""
    prefix = file.read(8)
    length = _metadata_length(prefix)
    metadata = file.read(length)
    return prefix + metadata if length and len(metadata) == length else None


def _metadata_length(prefix: bytes) -> int:
    if len(prefix) != 8 or prefix[:4] != _START:
        return 0
    length = int.from_bytes(prefix[4:], "little")
    return length if length < _MAX_METADATA else 0
