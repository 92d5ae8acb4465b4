"""Reading a study: its sessions, and all rows in the order told. Never locks, never writes.

Batches are numbered through the whole study, from 0 and without gaps; that is what proves
that nothing is missing between parts. Where a part ends is said by the one after it: what
a driver that had been taken over still wrote beyond that was never acknowledged and is
left aside. The last part ends where its session's closing record says or, while there is
none, with its last intact batch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import StudyCorrupt, StudyFormat, StudyNotFound
from .checkpoints import StoredCheckpoints
from .parts import Chunk, Part, list_parts
from .place import open_storage
from .schema import TRIALS, Table, fit, unify
from .storage import Storage, storing

FORMAT = (1, 0)

_SESSION = re.compile(r"sessions/(\d{6,})\.json")
_CLOSING = re.compile(r"sessions/(\d{6,})-end\.json")
_OPEN = 2**62  # the limit of a part that may still grow
_TRIES = 3  # at reading files that a driver just replaces


def session_name(session: int) -> str:
    """The path of the record that opens a session."""
    return f"sessions/{session:06}.json"


def closing_name(session: int) -> str:
    """The path of the record that closes a session."""
    return f"sessions/{session:06}-end.json"


class Reader:
    """A stored study.

    place  its folder, URI or storage

    Raises StudyNotFound if there is none, StudyFormat if it is of a newer major version.
    """

    def __init__(self, place: str | Path | Storage) -> None:
        self.storage = open_storage(place)
        self.place = self.storage.place
        with storing(self.storage, "reading"):
            self.uuid = self._identify()

    def _identify(self) -> str:
        try:
            about = self._json("study.json")
        except FileNotFoundError:
            raise StudyNotFound(
                f"study {self.place}: there is no study here (no study.json); "
                "check the path, or start one with raysearch run"
            ) from None
        try:
            major = int(about["format"].split(".")[0])
            uuid = str(about["uuid"])
        except (KeyError, ValueError, AttributeError):
            raise StudyCorrupt(f"{self.place}/study.json: expected format and uuid") from None
        if major > FORMAT[0]:
            raise StudyFormat(
                f"study {self.place}: its format is {about['format']}, and this raysearch knows "
                f"up to {FORMAT[0]}.x; install a newer raysearch"
            )
        return uuid

    # --- sessions -----------------------------------------------------------------------

    def sessions(self) -> dict[int, dict[str, Any]]:
        """What each session noted when it began, by number."""
        with storing(self.storage, "reading"):
            names = self.storage.names("sessions")
            return {
                int(m[1]): self._json(name)
                for name in names
                if (m := _SESSION.fullmatch(name)) is not None
            }

    @property
    def spec(self) -> dict[str, Any]:
        """What the newest session searches: space, strategy, metric, seed and so on."""
        sessions = self.sessions()
        spec = sessions[max(sessions)].get("spec", {}) if sessions else {}
        return dict(spec)

    def holder(self) -> str | None:
        """Who is writing to the study now, as far as can be seen; None: nobody."""
        return self.storage.holder()

    def _end(self, table: Table) -> tuple[int, int] | None:
        """(session, number of the table's next batch) of the newest closing record."""
        found = [int(m[1]) for n in self.storage.names("sessions") if (m := _CLOSING.fullmatch(n))]
        if not found:
            return None
        record = self._json(closing_name(max(found)))
        return max(found), int(record.get(table.count, 0))

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self.storage.read(name))
        except ValueError as error:
            raise StudyCorrupt(f"{self.place}/{name}: is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise StudyCorrupt(f"{self.place}/{name}: expected a JSON object")
        return content

    # --- rows ---------------------------------------------------------------------------

    def walk(self, parts: list[Part], table: Table = TRIALS) -> Iterator[tuple[Part, Chunk]]:
        """Every chunk of these parts in order, none missing, each with its part."""
        return self._walk(parts, self._end(table), table)

    def parts(self, table: Table = TRIALS) -> list[Part]:
        """The files that hold the rows, in order."""
        return list_parts(self.storage, self.uuid, table)

    def _walk(
        self, parts: list[Part], end: tuple[int, int] | None, table: Table
    ) -> Iterator[tuple[Part, Chunk]]:
        at = 0
        for part, limit in _limits(parts, end):
            if part.first != at:
                raise self._gap(at, part.first or 0, f"before {part.name}")
            for chunk in part.chunks():
                if chunk.next > limit:
                    break
                yield part, chunk
                at = chunk.next
            if at < limit < _OPEN:
                raise self._gap(at, limit, f"at the end of {part.name}")
        if end is not None and not parts and end[1] > 0:
            raise self._gap(0, end[1], f"in {table.folder}/")

    def _gap(self, at: int, until: int, where: str) -> StudyCorrupt:
        return StudyCorrupt(
            f"study {self.place}: batches {at} to {until - 1}, {where}, are missing or "
            "damaged; nothing was changed. Restore the files, or copy what is intact "
            "into a new study: raysearch doctor STUDY --salvage TARGET"
        )

    def batches(
        self, names: Sequence[str] | None = None, table: Table = TRIALS
    ) -> Iterator[pa.RecordBatch]:
        """All rows in the order told, in batches of one schema; memory stays bounded.

        names  of the columns wanted; those that the study lacks are left out
        table  whose rows

        A driver may go on writing meanwhile: every row that was there at the start comes.
        """
        with storing(self.storage, "reading"):
            yield from self._patiently(names, table)

    def _patiently(self, names: Sequence[str] | None, table: Table) -> Iterator[pa.RecordBatch]:
        schema: pa.Schema | None = None
        done = 0  # rows given; a part may be replaced by its compacted form between two tries
        for attempt in range(_TRIES):
            skip = done
            try:
                end = self._end(table)  # before the parts are listed: they hold at least as much
                parts = self.parts(table)
                schema = schema or _select(parts, names, table)
                for part, chunk in self._walk(parts, end, table):
                    batch = chunk.decode(_shared(schema, part) if names is not None else None)
                    if skip < batch.num_rows:
                        done += batch.num_rows - skip
                        yield fit(batch, schema).slice(skip)
                    skip = max(skip - batch.num_rows, 0)
                return
            except FileNotFoundError as error:
                if attempt == _TRIES - 1:
                    raise StudyCorrupt(f"study {self.place}: a file is gone: {error}") from None

    def checkpoint(self, number: int) -> bytes | None:
        """What a trial has saved last, if it is there."""
        with storing(self.storage, "reading"):
            checkpoints = StoredCheckpoints(self.storage)
            checkpoints.look()
            return checkpoints.last(number)

    def schema(self) -> pa.Schema:
        """The columns that `batches` gives."""
        return _select(self.parts(), None, TRIALS)


def _limits(parts: Sequence[Part], end: tuple[int, int] | None) -> list[tuple[Part, int]]:
    """The parts that count, each with the number of the first batch that is not its own."""
    limits: list[tuple[Part, int]] = []
    limit = _OPEN
    for part in reversed(parts):
        if limit == _OPEN and end is not None and end[0] >= part.session:
            limit = end[1]
        if part.first is not None and part.first < limit:
            limits.append((part, limit))
            limit = part.first
    return limits[::-1]


def _select(parts: Sequence[Part], names: Sequence[str] | None, table: Table) -> pa.Schema:
    """The schema of all parts, or of the wanted columns that are there."""
    schema = unify((part.schema for part in parts if part.schema is not None), table)
    if names is None:
        return schema
    return pa.schema([field for field in schema if field.name in set(names)])


def _shared(schema: pa.Schema, part: Part) -> list[str]:
    there = set(part.schema.names if part.schema is not None else ())
    return [name for name in schema.names if name in there]
