"""The log of a search that is going on: told trials go in, durable, in the order told."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa

from ..engine.records import Finished
from ..errors import RaysearchError, StudyLocked, StudyMismatch, StudyStorage
from ..space import Space
from . import lease
from .compact import compact
from .compare import check_same
from .parts import ArrowPart, about_segment, segment_name
from .place import open_storage
from .reader import FORMAT, Reader, closing_name, session_name
from .rows import Rows, admit, learn
from .schema import METRICS, fit, part_of, unify
from .segment import END, encode_frame, encode_header
from .storage import Appender, Storage, storing

_OURS = {"lock", "run.log"}  # what may lie in a folder that is not a study yet


class StudyLog:
    """The writing end of a study; one at a time. Use `open`, and `close` or ``with``.

    spec      what is searched, as noted for this session
    session   number of this session; a newer one anywhere ends this one's right to write
    notes     what was found at opening and could be tolerated, for people
    """

    def __init__(
        self, storage: Storage, space: Space, spec: Mapping[str, Any], durable: bool
    ) -> None:
        self.spec = dict(spec)
        self.session = 0
        self.notes: list[str] = []
        self.place = storage.place
        self._storage = storage
        self._rows = Rows(space)
        self._durable = durable
        self._next = 0  # number of the next batch in the study
        self._part = 0
        self._segment: _Segment | None = None
        self._metrics: dict[str, pa.DataType] = {}
        self._dead: str | None = None  # why nothing may be written any more
        self._release: Callable[[], None] = lambda: None

    @property
    def folder(self) -> Path | None:
        """The study's folder on this machine; None if it lies elsewhere."""
        return self._storage.folder

    @classmethod
    def open(
        cls,
        place: str | Path | Storage,
        space: Space,
        spec: Mapping[str, Any],
        *,
        resume: bool = True,
        allow: Collection[str] = (),
        durability: Literal["power", "process"] = "power",
    ) -> StudyLog:
        """Start a session in a study, which is made if there is none.

        place       folder or URI (file, s3, gs, abfs)
        space       whose trials will be told
        spec        JSON values to be noted: "space", "metric", "strategy", "seed", and more
        resume      False: refuse a study that is there already
        allow       which of the four may differ from those stored
        durability  "process": rows survive the death of this process, but not a power cut

        Raises StudyLocked if another driver is at it, StudyMismatch if it is another
        search, StudyCorrupt, StudyFormat or StudyStorage if it cannot be used.
        """
        storage = open_storage(place)
        log = cls(storage, space, json.loads(json.dumps(spec)), durability == "power")
        with storing(storage, "opening"):
            _check_place(storage)
            storage.prepare()
            log._release = storage.lock()
            try:
                log._begin(resume, allow)
            except BaseException:
                log._release()
                raise
        return log

    def _begin(self, resume: bool, allow: Collection[str]) -> None:
        storage = self._storage
        if not storage.exists("study.json"):
            about = {"format": "{}.{}".format(*FORMAT), "uuid": uuid.uuid4().hex}
            storage.create("study.json", json.dumps(about).encode())
        self._reader = Reader(storage)
        sessions = self._reader.sessions()
        if sessions and not resume:
            raise StudyMismatch(
                f"study {self.place}: there is a study already; resume=True goes on with it, "
                "another name starts a new one"
            )
        if sessions:
            check_same(sessions[max(sessions)].get("spec", {}), self.spec, allow, self.place)
        # The record of the session goes first: whoever writes after it knows that it has
        # been taken over, and whatever was acknowledged before it is counted now.
        self.session = max(sessions, default=0) + 1
        opening = {"spec": self.spec, "id": uuid.uuid4().hex, **lease.mine(), **_versions()}
        opening["durability"] = "power" if self._durable else "process"
        try:
            storage.create(session_name(self.session), json.dumps(opening).encode())
        except FileExistsError:
            raise StudyLocked(f"study {self.place}: another driver has just begun") from None
        if json.loads(storage.read(session_name(self.session)))["id"] != opening["id"]:
            raise StudyLocked(f"study {self.place}: another driver has just begun")
        self._take_stock()

    def _take_stock(self) -> None:
        """Find out where the study ends, and make sure that it will not end earlier."""
        parts = self._reader.parts()
        for part in parts:
            if isinstance(part, ArrowPart):
                self._storage.sync(part.name)
        for _, chunk in self._reader.walk(parts):
            self._next = chunk.next
        schema = unify(part.schema for part in parts if part.schema is not None)
        self._metrics = part_of(schema, METRICS)
        self.notes += [
            f"{part.name}: the last {part.dropped} bytes were not written completely when its "
            "session ended; what was told before is there"
            for part in parts
            if part.dropped
        ]

    # --- writing --------------------------------------------------------------------------

    def admit(self, finished: Finished) -> Finished:
        """The trials as this study can hold them; call it before telling the strategy.

        A metric of another type than before is left out and its trial becomes invalid.
        """
        finished = admit(finished, self._metrics)
        self._metrics = learn(finished, self._metrics)
        return finished

    def append(self, finished: Sequence[Finished]) -> None:
        """Add trials, all of them or none; when this returns they are durable.

        Raises StudyStorage if that was impossible (it may be tried again once there is
        space, unless the message says otherwise), StudyMismatch if a metric has changed
        its type (see `admit`), StudyLocked if another driver has taken over.
        """
        self.append_rows(self._rows.to_batches(finished, self._metrics))

    def append_rows(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Add rows as `batches` gives them; otherwise as `append`."""
        if self._dead:
            raise StudyStorage(None, f"study {self.place}: {self._dead}")
        if not batches:
            return
        if self._segment is None or any(b.schema != self._segment.schema for b in batches):
            current = [self._segment.schema] if self._segment else []
            schema = unify([*current, *(batch.schema for batch in batches)])
            batches = [fit(batch, schema) for batch in batches]
        batch = batches[0]
        if len(batches) > 1:
            batch = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
        with storing(self._storage, "recording trials"):
            segment = self._segment_for(batch.schema)
            try:
                segment.append(batch, self._next)
            except OSError:
                self._check_segment(segment)
                raise
        self._next += 1
        self._metrics = {**self._metrics, **segment.metrics}
        if segment.full:
            self._segment = None
        self._check_fence()

    def _segment_for(self, schema: pa.Schema) -> _Segment:
        if self._segment is not None and self._segment.schema.equals(schema):
            return self._segment
        if self._segment is not None:
            self._segment.close()
        about = about_segment(self._reader.uuid, self.session, self._part + 1)
        name = segment_name(self.session, self._part + 1)
        self._segment = _Segment(self._storage, name, schema, about, self._durable)
        self._part += 1
        return self._segment

    def _check_segment(self, segment: _Segment) -> None:
        if segment.broken:
            self._dead = (
                "the disk failed at recording trials, so that nothing more is written; "
                "what was recorded before is safe. Start again to go on"
            )

    def _check_fence(self) -> None:
        """After writing and before acknowledging: has a newer session begun?"""
        with storing(self._storage, "looking for newer sessions"):
            fenced = self._storage.exists(session_name(self.session + 1))
        if fenced:
            self._dead = "another driver has taken over; this one no longer writes"
            raise StudyLocked(f"study {self.place}: {self._dead}")

    # --- reading and ending ---------------------------------------------------------------

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows told so far, in order, by this session and those before."""
        return self._reader.batches(names)

    def close(self) -> None:
        """Seal and compact, and let others in. Calling it again does nothing."""
        release, self._release = self._release, lambda: None
        try:
            if self._segment is not None:
                self._segment.close()
                self._segment = None
            if self._dead is None:
                self._dead = "is closed"
                self._seal()
        finally:
            with suppress(OSError, pa.ArrowException):  # a lease that stays is seen to be dead
                release()

    def _seal(self) -> None:
        try:
            self._check_fence()
            record = json.dumps({"next": self._next}).encode()
            self._storage.create(closing_name(self.session), record)
            compact(self._reader)
        except (OSError, pa.ArrowException, RaysearchError) as error:
            self.notes.append(f"closed, but not compacted: {error}")  # the rows are safe

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = self._storage.appender(self._name, self._durable)
        if self._file is not None:
            self._file.append(data)
            return
        folder, _, name = self._name.rpartition("/")

        def write(file: Any) -> str:
            file.write(data + END)
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


def _check_place(storage: Storage) -> None:
    """Refuse a folder that holds something else, so that nothing of it is ever touched."""
    if storage.exists("study.json"):
        return
    strangers = [name for name in storage.names("") if name not in {*_OURS, "sessions", "log"}]
    if strangers or storage.names("log") or storage.names("sessions"):
        found = (strangers or ["log/"])[0]
        raise StudyMismatch(
            f"study {storage.place}: expected a study or an empty folder, found {found!r} and "
            "no study.json; choose another folder"
        )


def _versions() -> dict[str, Any]:
    try:
        own = metadata.version("raysearch")
    except metadata.PackageNotFoundError:
        own = "source"
    python = platform.python_version()
    found = {"raysearch": own, "python": python, "pyarrow": pa.__version__}
    return {"versions": found}
