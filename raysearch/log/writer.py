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

from ..engine.records import Checkpoint, Finished, Reports, Trials
from ..errors import RaysearchError, StudyLocked, StudyMismatch, StudyStorage
from ..space import Space
from . import lease
from .appending import Appending
from .checkpoints import StoredCheckpoints
from .compact import compact
from .compare import check_same
from .metrics import admit, learn
from .place import open_storage
from .reader import FORMAT, Reader, closing_name, session_name
from .reports import to_batches
from .rows import Rows
from .schema import REPORTS, TRIALS, Table
from .storage import FOLDERS, Storage, storing

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
        self._tables: dict[Table, Appending] = {}
        self.checkpoints = StoredCheckpoints(storage)
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
        for table in (TRIALS, REPORTS):
            appending = Appending(self._reader, self.session, table, self._durable)
            self._tables[table] = appending
            self.notes += appending.notes
        self._metrics = self._tables[TRIALS].metrics
        self.checkpoints.look()
        self.checkpoints.forget(self._numbers)

    def _numbers(self) -> set[int]:
        """The trials that are over."""
        batches = self._reader.batches(["number"])
        return {int(number) for batch in batches for number in batch["number"].to_numpy()}

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

    def append_rows(self, batches: Sequence[pa.RecordBatch], table: Table = TRIALS) -> None:
        """Add rows as `batches` gives them; otherwise as `append`."""
        self._write(table, batches)
        self._metrics = {**self._metrics, **self._tables[TRIALS].metrics}

    def record(self, reports: Sequence[Reports]) -> None:
        """Add reports; otherwise as `append`."""
        self._write(REPORTS, to_batches(reports, self._tables[REPORTS].metrics))

    def save(self, saved: Sequence[Checkpoint]) -> None:
        """Keep what trials have saved; it may be tried again as `append`.

        What they have reported by then is to be recorded before: a trial that goes on from
        a checkpoint reports nothing of what lies behind it.
        """
        with storing(self._storage, "keeping checkpoints"):
            for checkpoint in saved:
                self.checkpoints.save(checkpoint)

    def starts(self, trials: Trials) -> dict[int, Checkpoint]:
        """Index -> the checkpoint that a trial can go on from, of those that have one."""
        with storing(self._storage, "reading checkpoints"):
            return self.checkpoints.starts(trials)

    def retain(self, numbers: frozenset[int] | None) -> None:
        """As of `Checkpoints`."""
        self.checkpoints.retain(numbers)

    def behind(self) -> Callable[[], None] | None:
        """As of `Checkpoints`; what it says may be tried again as `append`."""
        store = self.checkpoints.behind()
        return storing(self._storage, "keeping checkpoints")(store) if store else None

    def settle(self) -> None:
        """As of `Checkpoints`."""
        with storing(self._storage, "dropping checkpoints"):
            self.checkpoints.settle()

    def checkpoint(self, number: int) -> bytes | None:
        """What a trial has saved last, if it is there."""
        return self._reader.checkpoint(number)

    def _write(self, table: Table, batches: Sequence[pa.RecordBatch]) -> None:
        if self._dead:
            raise StudyStorage(None, f"study {self.place}: {self._dead}")
        if not batches:
            return
        try:
            self._tables[table].append(batches)
        except StudyStorage:
            self._dead = self._tables[table].dead
            raise
        self._check_fence()

    def _check_fence(self) -> None:
        """After writing and before acknowledging: has a newer session begun?"""
        with storing(self._storage, "looking for newer sessions"):
            fenced = self._storage.exists(session_name(self.session + 1))
        if fenced:
            self._dead = "another driver has taken over; this one no longer writes"
            raise StudyLocked(f"study {self.place}: {self._dead}")

    # --- reading and ending ---------------------------------------------------------------

    def batches(
        self, names: Sequence[str] | None = None, table: Table = TRIALS
    ) -> Iterator[pa.RecordBatch]:
        """All rows told so far, in order, by this session and those before."""
        return self._reader.batches(names, table)

    def close(self) -> None:
        """Seal and compact, and let others in. Calling it again does nothing."""
        release, self._release = self._release, lambda: None
        try:
            for table in self._tables.values():
                table.close()
            if self._dead is None:
                self._dead = "is closed"
                self._seal()
        finally:
            with suppress(OSError, pa.ArrowException):  # a lease that stays is seen to be dead
                release()

    def _seal(self) -> None:
        try:
            self._check_fence()
            record = {table.count: appending.next for table, appending in self._tables.items()}
            self._storage.create(closing_name(self.session), json.dumps(record).encode())
            for table in self._tables:
                compact(self._reader, table)
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


def _check_place(storage: Storage) -> None:
    """Refuse a folder that holds something else, so that nothing of it is ever touched."""
    if storage.exists("study.json"):
        return
    strangers = [name for name in storage.names("") if name not in {*_OURS, *FOLDERS}]
    if full := [folder for folder in FOLDERS if storage.names(folder)] or strangers:
        found = (strangers or [f"{full[0]}/"])[0]
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
