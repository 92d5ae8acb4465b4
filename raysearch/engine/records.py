"""What passes between the engine and its executors, and from the engine to the log.

Everything is columnar: one record holds k trials, k = 1 being the ordinary case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..space import Columns, Space
from ..trial import Floats, Ints, has_result

#: Finished.after of a trial that was run once more after it had been told as failed.
RETRIED = -1

#: metric name -> (k,) float64; or objects (float, bool, str; None where missing)
Metrics = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Objectives:
    """What is optimised: the metrics' names, and for each whether large is good.

    names     of the metrics that are objectives, in order
    maximize  for each, whether it is to be maximised
    """

    names: tuple[str, ...]
    maximize: tuple[bool, ...]

    @classmethod
    def from_json(cls, modes: Mapping[str, str]) -> Objectives:
        """Inverse to `to_json`."""
        return cls(tuple(modes), tuple(mode == "max" for mode in modes.values()))

    def to_json(self) -> dict[str, str]:
        """For each name, "min" or "max"."""
        modes = ("max" if maximize else "min" for maximize in self.maximize)
        return dict(zip(self.names, modes, strict=True))

    def losses(self, state: NDArray[np.uint8], metrics: Metrics) -> Floats:
        """(k, m) losses to be minimised, NaN in the rows of trials that failed."""
        columns = []
        for name, maximize in zip(self.names, self.maximize, strict=True):
            if name in metrics:
                column = np.array(metrics[name], dtype=np.float64)  # None becomes NaN
            else:
                column = np.full(len(state), np.nan)
            columns.append(-column if maximize else column)
        loss = np.stack(columns, axis=1)
        loss[~has_result(state)] = np.nan
        return loss


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
    """

    objective: Callable[..., Any]
    space: Space
    objectives: Objectives
    seed: int
    timeout: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    reproducible: bool = False


@dataclass(frozen=True)
class Trials:
    """k configurations on their way; what a trial is, wherever it is.

    number   (k,) of the trials in the study
    columns  their configurations
    """

    number: Ints
    columns: Columns

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: slice | Ints) -> Trials:
        """Some of them."""
        return Trials(self.number[rows], self.columns.take(rows))

    @staticmethod
    def concat(parts: Sequence[Trials]) -> Trials:
        """All of them, one after the other."""
        number = np.concatenate([part.number for part in parts])
        return Trials(number, Columns.concat([part.columns for part in parts]))


@dataclass(frozen=True)
class Task:
    """k trials to be run one after the other by one worker.

    id      of the task; every submission has a new one
    trials  to be run
    """

    id: int
    trials: Trials


@dataclass(frozen=True)
class Results:
    """What a worker found out about the k trials of a task.

    state    (k,) codes of trial.STATES
    metrics  of the trials
    errors   index in the batch -> traceback or explanation, for trials that failed
    started  (k,) when each began, ns since the epoch, by the worker's clock
    seconds  (k,) how long each took, by a monotonic clock
    worker   "host:pid"
    """

    state: NDArray[np.uint8]
    metrics: Metrics
    errors: Mapping[int, str]
    started: Ints
    seconds: Floats
    worker: str


# --- events: from executors to the engine -------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A task has come back with results."""

    task: int
    results: Results


@dataclass(frozen=True)
class Lost:
    """A task will never come back.

    how      crashed: its worker died; oom: of lack of memory; node: the machine was lost,
             or the worker was taken away (not the trial's fault); cancelled: on request;
             refused: the executor could not send or run it at all
    message  what is known about it, for people
    """

    task: int
    how: Literal["crashed", "oom", "node", "cancelled", "refused"]
    message: str


ExecutorEvent = Done | Lost


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
