"""Where the time of a search went, from the ledger that every trial carries.

A trial is asked for, submitted, started, finished and told. What lies between is, in this
order, planning, the way to the worker (with the wait for those before it in its batch),
the trial itself, and the way back (with the wait for the rest of its batch). Told is the
moment of its arrival: the log, which writes many trials at once, comes after that, and
shows in the ledger only where it keeps others waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
#: columns of a study: when a trial was asked for, submitted, started, finished and told
LEDGER = ("asked", "submitted", "started", "finished", "told")
_STAGES = ("planned", "on the way", "in the trial", "on the way back")
_RARE = 1e-3  # share of the time below which a number of trials at once is a clock's error


@dataclass(frozen=True)
class Stage:
    """One leg of the way, over all trials: seconds, and its share of all legs in [0, 1]."""

    name: str
    median: float
    p95: float
    share: float


@dataclass(frozen=True)
class Overhead:
    """Where the time went.

    trials       whose ledger is complete
    stages       of their way
    span         seconds during which at least one trial was under way
    slots        how many trials ran at once, at the most
    busy         seconds spent in trials
    missed       results that came in between a trial's being asked for and its start, on
                 average: what it has not profited from, where points are asked for ahead
    utilisation  busy / (slots * span)
    per_trial    seconds of slot time beside the trial itself, for each trial
    """

    trials: int
    stages: tuple[Stage, ...]
    span: float
    slots: int
    busy: float
    missed: float

    @property
    def utilisation(self) -> float:
        return self.busy / (self.slots * self.span)

    @property
    def per_trial(self) -> float:
        return max(0.0, self.slots * self.span - self.busy) / self.trials


def overhead(trials: pa.Table) -> Overhead | None:
    """Where the time went; None if no trial's ledger is complete.

    trials  of a study, with the columns asked, submitted, started, finished and told
    """
    ledger = np.stack([_nanoseconds(trials[name]) for name in LEDGER])  # (5, k)
    ledger = ledger[:, (ledger > 0).all(axis=0)]
    k = ledger.shape[1]
    if not k:
        return None
    ledger = np.maximum.accumulate(ledger, axis=0)  # the clocks of two hosts may differ
    legs = np.diff(ledger, axis=0) / 1e9  # (4, k) s
    totals = legs.sum(axis=1)
    medians, p95 = np.quantile(legs, [0.5, 0.95], axis=1)
    stages = tuple(
        Stage(name, float(m), float(p), float(t / (totals.sum() or 1.0)))
        for name, m, p, t in zip(_STAGES, medians, p95, totals, strict=True)
    )
    asked, submitted, started, finished, told = ledger
    span = _length_of_union(submitted, told) / 1e9
    come = np.searchsorted(np.sort(told), [asked, submitted])  # (2, k) results by then
    missed = float((come[1] - come[0]).mean())
    return Overhead(k, stages, span or 1e-9, _at_once(started, finished), float(totals[2]), missed)


def _nanoseconds(column: pa.ChunkedArray[Any]) -> Ints:
    """Times as ns since the epoch, 0 where there is none."""
    values: Ints = column.cast(pa.int64()).fill_null(pa.scalar(0)).to_numpy()
    return values


def _length_of_union(begin: Ints, end: Ints) -> int:
    """How much time the intervals cover together; gaps between sessions do not count."""
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(end[order])
    gaps = np.maximum(begin[1:] - end[:-1], 0)
    return int(end[-1] - begin[0] - gaps.sum())


def _at_once(begin: Ints, end: Ints) -> int:
    """The largest number of intervals that overlap for a time worth counting."""
    times = np.concatenate([begin, end])
    change = np.repeat([1, -1], [len(begin), len(end)])
    order = np.lexsort((change, times))  # at the same time, ends before beginnings
    level = np.cumsum(change[order])[:-1]
    held = np.bincount(np.maximum(level, 0), weights=np.diff(times[order]))
    at_least = np.cumsum(held[::-1])[::-1]  # time spent with this many or more
    enough = np.flatnonzero(at_least >= _RARE * at_least[0])
    return max(1, int(enough[-1]))
