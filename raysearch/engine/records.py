"""What passes between the engine and its executors, and from the engine to the log.

Everything is columnar: one record holds k trials, k = 1 being the ordinary case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..space import Columns, Space
from ..strategies.islands import Islands
from ..trial import ROOT, Floats, Ints
from .objectives import Metrics as Metrics
from .objectives import Objectives as Objectives
from .packing import Memory
from .passage import Passed, Stretch
from .saved import Packed

#: Finished.after of a trial that was run once more after it had been told as failed.
RETRIED = -1

#: name of the metric that holds `Trials.inherit`, where a strategy says that
INHERITED = "inherited"


@dataclass(frozen=True)
class Job:
    """What all trials of a search share; it travels to each worker once.

    objective  the user's function
    space      that is searched
    objectives which metrics must be there
    seed       of the search
    timeout    seconds that one trial may take, or None
    data       what was passed as ``search(data=...)``
    reproducible  whether every trial gets fresh global random generators, however short
    rungs      budgets at which the strategy judges trials that run, ascending
    islands    the strategy whose islands workers go on with; None: workers know of no strategy
    device     of the process that it is in, as of `Trial`
    probe      tells what a worker has taken of its GPU; None: nobody wants to know
    """

    objective: Callable[..., Any]
    space: Space
    objectives: Objectives
    seed: int
    timeout: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    reproducible: bool = False
    rungs: tuple[float, ...] = ()
    islands: Islands | None = None
    device: str = "cpu"
    probe: Callable[[], Memory | None] | None = None


@dataclass(frozen=True)
class Trials:
    """k configurations on their way; what a trial is, wherever it is.

    number   (k,) of the trials in the study
    columns  their configurations
    budget   (k,) how far each is to be trained; NaN, or None for all: in full
    parent   (k,) number of the trial that each goes on from; ROOT, or None for all: none
    inherit  (k,) names of the entries of its parent's state that each takes over, as a JSON list;
             None, or None for all: everything
    """

    number: Ints
    columns: Columns
    budget: Floats | None = None
    parent: Ints | None = None
    inherit: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: slice | Ints) -> Trials:
        """Some of them."""
        return Trials(
            self.number[rows],
            self.columns.take(rows),
            None if self.budget is None else self.budget[rows],
            None if self.parent is None else self.parent[rows],
            None if self.inherit is None else self.inherit[rows],
        )

    @property
    def budgets(self) -> Floats:
        """(k,) as `budget`, NaN where there is none."""
        return np.full(len(self), np.nan) if self.budget is None else self.budget

    @property
    def parents(self) -> Ints:
        """(k,) as `parent`, ROOT where there is none."""
        return np.full(len(self), ROOT) if self.parent is None else self.parent

    @property
    def inherits(self) -> NDArray[Any]:
        """(k,) as `inherit`."""
        return np.full(len(self), None) if self.inherit is None else self.inherit

    @staticmethod
    def concat(parts: Sequence[Trials]) -> Trials:
        """All of them, one after the other."""
        plain = all(part.budget is None and part.parent is None for part in parts)
        return Trials(
            np.concatenate([part.number for part in parts]),
            Columns.concat([part.columns for part in parts]),
            None if plain else np.concatenate([part.budgets for part in parts]),
            None if plain else np.concatenate([part.parents for part in parts]),
            None
            if all(part.inherit is None for part in parts)
            else np.concatenate([part.inherits for part in parts]),
        )


class Elsewhere(Protocol):
    """A state that lies in a file, or in another process."""

    def get(self) -> bytes | Packed:
        """Bring it here."""


@dataclass(frozen=True)
class Checkpoint:
    """What a trial has saved, to go on from there.

    number  of the trial
    step    it had reached
    data    its state, as `raysearch.engine.checkpoint` packs it; what is not bytes is safe only
            as long as this machine runs
    rung    whether it stood at one of the strategy's rungs, or at the end of its budget
    near    where workers have the data; None: nowhere
    """

    number: int
    step: float
    data: bytes | Elsewhere
    rung: bool = False
    near: Elsewhere | None = None

    def in_bytes(self) -> Checkpoint:
        """The same, as it can be stored."""
        if isinstance(self.data, bytes):
            return self
        data = self.data.get()
        return replace(self, data=data if isinstance(data, bytes) else data.tobytes())

    @property
    def content(self) -> bytes | Packed:
        """The data, from the nearest place."""
        data = self.near or self.data
        return data if isinstance(data, bytes) else data.get()


@dataclass(frozen=True)
class Task:
    """k trials to be run one after the other by one worker.

    id        of the task; every submission has a new one
    trials    to be run
    attempts  (k,) how often each was begun, this time included; None: once
    starts    index in the batch -> the checkpoint that the trial goes on from
    pace      seconds between two reports of a trial, at least; more are left out
    stretch   of an island, to be gone through instead
    """

    id: int
    trials: Trials
    attempts: Ints | None = None
    starts: Mapping[int, Checkpoint] = field(default_factory=dict)
    pace: float = 0.0
    stretch: Stretch | None = None


@dataclass(frozen=True)
class Results:
    """What a worker found out about the k trials of a task.

    state    (k,) codes of trial.STATES
    metrics  of the trials
    errors   index in the batch -> traceback or explanation, for trials that failed
    started  (k,) when each began, ns since the epoch, by the worker's clock
    seconds  (k,) how long each took, by a monotonic clock
    worker   "host:pid"
    budget   (k,) how far each got; NaN: as far as it was to; None: all of them
    memory   that the worker has taken of its GPU, if it was asked
    """

    state: NDArray[np.uint8]
    metrics: Metrics
    errors: Mapping[int, str]
    started: Ints
    seconds: Floats
    worker: str
    budget: Floats | None = None
    memory: Memory | None = None


_OF_REPORTS = ("row", "number", "attempt", "step", "rung", "time", "seconds")


@dataclass(frozen=True)
class Reports:
    """What r yields of generators have said, in the order in which they came.

    row      (r,) index in the task of the trial that each is about
    number   (r,) of that trial
    attempt  (r,) of that trial, from 1
    step     (r,) that it had reached
    rung     (r,) index of the rung that it had reached with this step; -1: none
    time     (r,) ns since the epoch, by the worker's clock
    seconds  (r,) since the trial began
    metrics  of the reports
    saved    what trials have saved meanwhile
    worker   "host:pid"
    memory   as of `Results`
    """

    row: Ints
    number: Ints
    attempt: Ints
    step: Floats
    rung: Ints
    time: Ints
    seconds: Floats
    metrics: Metrics
    saved: tuple[Checkpoint, ...] = ()
    worker: str = ""
    memory: Memory | None = None

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: Ints) -> Reports:
        """Some of them, without what was saved."""
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in _OF_REPORTS}
        metrics = {name: values[rows] for name, values in self.metrics.items()}
        return Reports(**arrays, metrics=metrics, worker=self.worker)

    @staticmethod
    def concat(parts: Sequence[Reports]) -> Reports:
        """All of them, one after the other, without what was saved."""
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_REPORTS
        }
        names = dict.fromkeys(name for part in parts for name in part.metrics)
        missing = [np.full(len(part), None, dtype=object) for part in parts]
        metrics = {
            name: np.concatenate(
                [p.metrics.get(name, none) for p, none in zip(parts, missing, strict=True)]
            )
            for name in names
        }
        return Reports(**arrays, metrics=metrics, worker=parts[-1].worker)


# --- events: from executors to the engine -------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A task has come back with results."""

    task: int
    results: Results | Passed


@dataclass(frozen=True)
class Lost:
    """A task will never come back.

    how      crashed: its worker died; oom: of lack of memory; node: the machine was lost,
             or the worker was taken away (not the trial's fault); cancelled: on request;
             moved: its machine is about to leave, and the trial goes on elsewhere from what it
             has saved; crowded: others have left it too little of a GPU's memory, and it is to
             run again with more; refused: the executor could not send or run it at all
    message  what is known about it, for people
    """

    task: int
    how: Literal["crashed", "oom", "node", "cancelled", "moved", "crowded", "refused"]
    message: str


@dataclass(frozen=True)
class Reported:
    """Trials of a task that goes on have reported. Comes before its `Done`, in order."""

    task: int
    reports: Reports


ExecutorEvent = Done | Lost | Reported


@dataclass(frozen=True)
class Finished:
    """k trials that are over, as they go into the log and to the strategy.

    trials     that are over
    state      (k,) codes of trial.STATES
    metrics    of the trials
    errors     index in the batch -> explanation
    attempts   (k,) how often each was begun
    worker     (k,) who ran each, "" if unknown
    after      (k,) how many points the strategy had been asked for when this was told;
               RETRIED for a trial that was told before, as failed
    asked, submitted, started, finished, told
               (k,) the ledger: ns since the epoch; 0 where it never came to that
    seconds    (k,) how long each ran, by a monotonic clock
    budget     (k,) how far each got, or was to get if it failed; NaN: there was no budget
    """

    trials: Trials
    state: NDArray[np.uint8]
    metrics: Metrics
    errors: Mapping[int, str]
    attempts: Ints
    worker: NDArray[Any]
    after: Ints
    asked: Ints
    submitted: Ints
    started: Ints
    finished: Ints
    told: Ints
    seconds: Floats
    budget: Floats

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def number(self) -> Ints:
        """(k,) numbers of the trials in the study."""
        return self.trials.number

    @property
    def columns(self) -> Columns:
        """Their configurations."""
        return self.trials.columns

    def take(self, rows: slice | Ints) -> Finished:
        """Some of the trials."""
        index = np.arange(len(self))[rows].tolist()
        arrays = {
            f.name: getattr(self, f.name)[rows]
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        return replace(
            self,
            trials=self.trials.take(rows),
            metrics={name: values[rows] for name, values in self.metrics.items()},
            errors={i: self.errors[old] for i, old in enumerate(index) if old in self.errors},
            **arrays,
        )

    @property
    def kinds(self) -> tuple[tuple[str, Any], ...]:
        """(name, dtype) of each metric."""
        return tuple((name, values.dtype) for name, values in self.metrics.items())

    @staticmethod
    def concat(parts: Sequence[Finished]) -> Finished:
        """All of them, one after the other; their `kinds` are the same."""
        first = parts[0]
        arrays: dict[str, Any] = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(first)
            if isinstance(getattr(first, f.name), np.ndarray)
        }
        errors: dict[int, str] = {}
        start = 0
        for part in parts:
            errors |= {start + i: why for i, why in part.errors.items()}
            start += len(part)
        return Finished(
            trials=Trials.concat([part.trials for part in parts]),
            metrics={n: np.concatenate([part.metrics[n] for part in parts]) for n in first.metrics},
            errors=errors,
            **arrays,
        )
