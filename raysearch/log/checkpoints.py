"""What trials have saved, so that they, or those that continue them, can go on from there.

One file each, ``checkpoints/<number>-<step>.npz``; an ``r`` after the step marks those at a
rung, or at the end of a trial, a ``b`` those stored behind. A new one appears whole and durable
before older ones go.

What lies in shared memory of this machine is stored behind the search: `behind` says what is to be
written, once for many trials, of which most have been succeeded by then. What was stored before
goes when the rows of those that take its place are durable, too (`settle`). So whenever the search
is killed, there is all that the rows speak of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Literal, NamedTuple, get_args

from ..engine.records import Checkpoint, Elsewhere, Trials
from ..engine.saved import Packed
from ..trial import ROOT
from .storage import Storage, storing

#: Which checkpoints are kept: of every configuration the last one; of the best trial alone,
#: once the search is over; or the last one and those at rungs.
Keep = Literal["last", "best", "rungs"]
KEEP = get_args(Keep)

_NAME = re.compile(r"checkpoints/(\d+)-([0-9.e+-]+)(r?)(b?)\.npz")


class _Entry(NamedTuple):
    """A checkpoint that is there."""

    step: float
    rung: bool
    behind: bool = False


@dataclass(frozen=True)
class _Kept:
    """A checkpoint that is read when it is needed."""

    get: Callable[[], bytes]


class Checkpoints:
    """Checkpoints in memory.

    keep  which ones are kept
    """

    def __init__(self) -> None:
        self.keep: Keep = "last"
        self._entries: dict[int, list[_Entry]] = {}
        self._parents: dict[int, int] = {}  # of trials that go on from others
        self._retained: frozenset[int] | None = None
        self._data: dict[str, bytes] = {}
        self._near: dict[str, Elsewhere] = {}  # where workers have them, too
        self._behind: dict[str, Elsewhere] = {}  # not stored yet
        self._writing: dict[str, Elsewhere] = {}  # of these
        self._late: list[str] = []  # stored, and not to be kept any more
        self._going: list[str] = []  # of these, once the rows are written

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep it, and no more what it takes the place of; bytes are stored at once."""
        number, behind = checkpoint.number, not isinstance(checkpoint.data, bytes)
        entry = _Entry(checkpoint.step, checkpoint.rung, behind)
        name = _name(number, entry)
        for gone in (self._late, self._going):
            if name in gone:  # a second attempt has come as far
                gone.remove(name)
        if isinstance(checkpoint.data, bytes):
            self._put(name, checkpoint.data)
        else:
            self._behind[name] = checkpoint.data
        if checkpoint.near is not None:
            self._near[name] = checkpoint.near
        older = [old for old in self._entries.get(number, []) if old != entry]
        self._entries[number] = [*older, entry]
        self._thin(number, entry)
        if self._retained is None and (parent := self._parents.get(number)) is not None:
            self._thin(parent, None)

    def retain(self, numbers: frozenset[int] | None) -> None:
        """From now on keep what these trials have saved, and no more what others had to be kept
        for; None: a parent's goes once its child has saved.
        """
        for number in sorted((self._retained or frozenset()) - (numbers or frozenset())):
            self._thin(number, None)
        self._retained = numbers

    def starts(self, trials: Trials) -> dict[int, Checkpoint]:
        """Index -> the checkpoint that a trial can go on from, of those that have one.

        That is the last one of its own, else of the nearest ancestor that has one.
        """
        starts: dict[int, Checkpoint] = {}
        if not self._entries and trials.parent is None:
            return starts
        pairs = zip(trials.number.tolist(), trials.parents.tolist(), strict=True)
        for i, (number, parent) in enumerate(pairs):
            if parent != ROOT:
                self._parents[number] = parent
            source: int | None = number
            while source is not None and not self._entries.get(source):
                source = self._parents.get(source)
            if source is not None:
                entry = max(self._entries[source])
                name = _name(source, entry)
                data = self._behind.get(name) or _Kept(partial(self._get, name))
                starts[i] = Checkpoint(source, entry.step, data, entry.rung, self._near.get(name))
        return starts

    def numbers(self) -> list[int]:
        """The trials that have saved something that is still there."""
        return sorted(number for number, entries in self._entries.items() if entries)

    def last(self, number: int) -> bytes | None:
        """What the trial has saved last; None if nothing of it is there."""
        entries = self._entries.get(number)
        if not entries:
            return None
        name = _name(number, max(entries))
        return _bytes(self._behind[name]) if name in self._behind else self._get(name)

    def only(self, numbers: Collection[int]) -> None:
        """Drop all but those of these trials, at once."""
        for number in self.numbers():
            if number not in numbers:
                self._drop_all(number, self._entries[number])
        self.behind()
        self.settle()

    def behind(self) -> Callable[[], None] | None:
        """What stores all that is to be kept now; it may run beside all else, again if it fails.

        None: it is stored. Then write the rows of all trials told by now, and then `settle`.
        """
        self._writing, self._going, self._late = dict(self._behind), self._late, []
        return partial(self._store, self._writing) if self._writing else None

    def _store(self, states: Mapping[str, Elsewhere]) -> None:
        for name, state in states.items():
            self._put(name, state.get())

    def settle(self) -> None:
        """All that `behind` spoke of is stored, and so are the rows."""
        for name, state in self._writing.items():
            if self._behind.get(name) is state:
                del self._behind[name]
        for name in self._going:
            self._drop(name)
        self._writing, self._going = {}, []

    def _thin(self, number: int, latest: _Entry | None) -> None:
        entries = self._entries.get(number, [])
        old = [e for e in entries if e != latest and not (self.keep == "rungs" and e.rung)]
        self._drop_all(number, old)

    def _drop_all(self, number: int, entries: list[_Entry]) -> None:
        self._entries[number] = [e for e in self._entries.get(number, []) if e not in entries]
        for entry in entries:
            name = _name(number, entry)
            self._near.pop(name, None)
            if name in self._behind and name not in self._writing:
                del self._behind[name]
            else:
                self._late.append(name)

    # --- where they are -------------------------------------------------------------------

    def _put(self, name: str, data: bytes | Packed) -> None:
        self._data[name] = data if isinstance(data, bytes) else data.tobytes()

    def _get(self, name: str) -> bytes:
        return self._data[name]

    def _drop(self, name: str) -> None:
        self._data.pop(name, None)


class StoredCheckpoints(Checkpoints):
    """Checkpoints in a study's storage."""

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage

    def look(self) -> None:
        """Find what earlier sessions have left."""
        for name in self._storage.names("checkpoints"):
            if match := _NAME.fullmatch(name):
                entry = _Entry(float(match[2]), bool(match[3]), bool(match[4]))
                self._entries.setdefault(int(match[1]), []).append(entry)

    def forget(self, rows: Callable[[], Collection[int]]) -> None:
        """Drop what was stored behind for rows that were never written, of trials not in `rows`.

        Such a trial may be another one when it is asked for again.
        """
        ahead = [n for n, entries in self._entries.items() if any(e.behind for e in entries)]
        for number in set(ahead) - set(rows() if ahead else ()):
            self._drop_all(number, [e for e in self._entries[number] if e.behind])
        self.behind()
        self.settle()

    def _put(self, name: str, data: bytes | Packed) -> None:
        folder, _, file = name.rpartition("/")

        def write(stream: IO[bytes]) -> str:
            stream.write(data) if isinstance(data, bytes) else data.write(stream)
            return file

        self._storage.publish(folder, write)

    def _get(self, name: str) -> bytes:
        with storing(self._storage, "reading checkpoints"):
            return self._storage.read(name)

    def _drop(self, name: str) -> None:
        self._storage.remove(name)


def _bytes(state: Elsewhere) -> bytes:
    data = state.get()
    return data if isinstance(data, bytes) else data.tobytes()


def _name(number: int, entry: _Entry) -> str:
    marks = ("r" if entry.rung else "") + ("b" if entry.behind else "")
    return f"checkpoints/{number}-{entry.step!r}{marks}.npz"
