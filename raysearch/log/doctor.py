"""Examining a study file by file, and rescuing what is intact. The study is never touched."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StudyCorrupt, StudyMismatch
from ..space import Space
from .parts import ArrowPart, ParquetPart, Part, about_segment, read_footer, read_group
from .reader import Reader
from .segment import Segment, find_frames
from .storage import Storage
from .writer import StudyLog


@dataclass(frozen=True)
class Finding:
    """What was found out about one file of a study, or about the whole ("").

    file     path in the study
    kind     sealed: whole, and nothing will be added; open: whole, may still grow; torn:
             the end was not written completely, all before it is there; corrupt: damaged
             or missing
    rows     that are intact
    message  for people, if there is something to say
    """

    file: str
    kind: Literal["sealed", "open", "torn", "corrupt"]
    rows: int
    message: str = ""


def check(place: str | Path | Storage) -> list[Finding]:
    """Read all of a study: a finding for each file, and one for the whole, at the end."""
    reader = Reader(place)
    findings = [_check_part(reader, name) for name in _files(reader.storage)]
    rows = 0
    try:
        for session in reader.sessions().values():
            Space.from_json(session["spec"]["space"])
        for batch in reader.batches():
            rows += batch.num_rows
    except (StudyCorrupt, StudyMismatch, ValueError, KeyError, TypeError) as error:
        return [*findings, Finding("", "corrupt", rows, str(error))]
    return [*findings, Finding("", "open" if reader.holder() else "sealed", rows)]


def _check_part(reader: Reader, name: str) -> Finding:
    rows = 0
    try:
        part = _part(reader, name)
        for chunk in part.chunks():
            rows += chunk.decode(None).num_rows
    except StudyCorrupt as error:
        return Finding(name, "corrupt", rows, str(error))
    if part.dropped:
        return Finding(name, "torn", rows, f"{part.dropped} bytes at the end are of no use")
    return Finding(name, "sealed" if part.sealed else "open", rows)


def salvage(place: str | Path | Storage, target: str | Path | Storage) -> int:
    """Copy every row that proves itself into a new study; returns how many there are.

    Rows come in the order told; where two sessions wrote a batch of the same number, the
    newer one counts. Raises StudyMismatch if the target is a study already.
    """
    reader = Reader(place)
    sessions = []
    for name in reader.storage.names("sessions"):
        try:
            sessions.append(json.loads(reader.storage.read(name))["spec"])
        except (ValueError, KeyError):
            continue  # a closing record, or damaged
    if not sessions:
        raise StudyCorrupt(f"study {reader.place}: no record of a session can be read")
    spec = {**sessions[-1], "salvaged from": reader.uuid}
    rows = 0
    with StudyLog.open(target, Space.from_json(spec["space"]), spec, resume=False) as log:
        for batch in _intact(reader):
            log.append_rows([batch])
            rows += batch.num_rows
    return rows


def _files(storage: Storage) -> list[str]:
    return [n for n in storage.names("log") if n.endswith((".arrow", ".parquet"))]


def _part(reader: Reader, name: str) -> Part:
    """The part of this name, read on its own."""
    session, _, rest = name.removeprefix("log/").partition("-")
    stem = rest.partition(".")[0]
    try:
        if name.endswith(".arrow"):
            return ArrowPart(reader.storage, int(session), int(stem), reader.uuid)
        return ParquetPart(reader.storage, name, int(session), reader.uuid)
    except ValueError:
        raise StudyCorrupt(f"{name}: is no file of a study") from None


def _intact(reader: Reader) -> Iterator[pa.RecordBatch]:
    """Every batch of the study that proves itself, in order."""
    files = _files(reader.storage)
    compacted = {n.partition("-")[0] for n in files if n.endswith(".parquet")}
    newest: dict[int, str] = {}  # number of a batch -> the last file that has it
    for name in files:
        if name.endswith(".arrow") and name.partition("-")[0] not in compacted:
            for frame in find_frames(reader.storage.read(name)):
                newest[frame.seq] = name
    sources = [(min(seqs), name, seqs) for name, seqs in _by_file(newest).items()]
    sources += [(_first(reader, n), n, []) for n in files if n.endswith(".parquet")]
    for _, name, seqs in sorted(sources):
        yield from _frames(reader, name, set(seqs)) if seqs else _groups(reader, name)


def _by_file(newest: dict[int, str]) -> dict[str, list[int]]:
    files: dict[str, list[int]] = {}
    for seq, name in newest.items():
        files.setdefault(name, []).append(seq)
    return files


def _first(reader: Reader, name: str) -> int:
    try:
        with reader.storage.open(name) as file:
            return int(read_footer(file, name)[1]["first"])
    except (StudyCorrupt, KeyError):
        return 0


def _frames(reader: Reader, name: str, seqs: set[int]) -> Iterator[pa.RecordBatch]:
    session, part = (int(number) for number in name[4:-6].split("-"))
    about = about_segment(reader.uuid, session, part)
    data = reader.storage.read(name)
    segment = Segment(io.BytesIO(data), name)
    for frame in find_frames(data):
        if frame.seq in seqs:
            try:
                yield segment.decode(frame, segment.schema(frame, about))
            except StudyCorrupt:
                continue


def _groups(reader: Reader, name: str) -> Iterator[pa.RecordBatch]:
    with reader.storage.open(name) as file:
        try:
            read_footer(file, name)
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
        except (StudyCorrupt, pa.ArrowException, OSError):
            return
        for group in range(parquet.num_row_groups):
            try:
                yield read_group(parquet, group, None, name)
            except StudyCorrupt:
                continue
