"""Work: k trials on their way through the engine, with what has happened to them so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..trial import STOPPED, Ints
from .records import INHERITED, Finished, Reports, Results, Trials


@dataclass(frozen=True)
class Work:
    """k trials that wait or run.

    trials     that wait or run
    asked      (k,) when the strategy proposed them, ns since the epoch
    attempts   (k,) how often each was begun
    strikes    (k,) how often its worker died with it alone
    losses     (k,) how often it was lost for other reasons
    submitted  when the executor got them last
    alone      not to be put together with others: one of them killed its worker
    """

    trials: Trials
    asked: Ints
    attempts: Ints
    strikes: Ints
    losses: Ints
    submitted: int = 0
    alone: bool = False

    def __len__(self) -> int:
        return len(self.trials)

    @classmethod
    def new(cls, trials: Trials, asked: int | Ints, attempts: Ints | None = None) -> Self:
        """Trials that wait to be run, asked at the given time, begun `attempts` times before."""
        zeros = np.zeros(len(trials), dtype=np.int64)
        return cls(trials, zeros + asked, zeros if attempts is None else attempts, zeros, zeros)

    def take(self, rows: slice) -> Self:
        """Some of the trials."""
        return replace(
            self,
            trials=self.trials.take(rows),
            asked=self.asked[rows],
            attempts=self.attempts[rows],
            strikes=self.strikes[rows],
            losses=self.losses[rows],
        )

    @staticmethod
    def concat(parts: Sequence[Work]) -> Work:
        """The trials of all parts, none of which has been submitted."""
        return Work(
            trials=Trials.concat([part.trials for part in parts]),
            asked=np.concatenate([part.asked for part in parts]),
            attempts=np.concatenate([part.attempts for part in parts]),
            strikes=np.concatenate([part.strikes for part in parts]),
            losses=np.concatenate([part.losses for part in parts]),
        )

    def begun(self, now: int) -> Self:
        """The same trials, once more begun."""
        return replace(self, attempts=self.attempts + 1, submitted=now)


class Queue:
    """Work that waits to be begun; its length is the number of trials.

    first  waits already, in order
    """

    def __init__(self, first: Iterable[Work] = ()) -> None:
        self._works = deque(first)
        self._trials = sum(map(len, self._works))

    def __len__(self) -> int:
        return self._trials

    def add(self, work: Work) -> None:
        """Put it last."""
        self._works.append(work)
        self._trials += len(work)

    def put_back(self, work: Work) -> None:
        """Put it first."""
        self._works.appendleft(work)
        self._trials += len(work)

    def take(self, size: int) -> Work:
        """At most `size` trials from the front; all of the first one if that is to be alone."""
        first = self._works.popleft()
        parts, total = [first], len(first)
        while self._works and total < size and not (first.alone or self._works[0].alone):
            parts.append(self._works.popleft())
            total += len(parts[-1])
        work = first if len(parts) == 1 else Work.concat(parts)
        if total > size and not work.alone:
            self._works.appendleft(work.take(slice(size, None)))
            work = work.take(slice(0, size))
        self._trials -= len(work)
        return work


def results_of(work: Work, results: Results, now: int) -> Finished:
    """Trials that came back with results."""
    k = len(work)
    metrics, budget = results.metrics, work.trials.budgets
    if work.trials.inherit is not None:
        metrics = {**metrics, INHERITED: work.trials.inherit}
    if results.budget is not None:
        budget = np.where(np.isnan(results.budget), budget, results.budget)
    return Finished(
        trials=work.trials,
        state=results.state,
        metrics=metrics,
        errors=results.errors,
        attempts=work.attempts,
        worker=np.broadcast_to(np.array(results.worker, dtype=object), k),  # one object, once
        after=np.zeros(k, dtype=np.int64),
        asked=work.asked,
        submitted=np.full(k, work.submitted),
        started=results.started,
        finished=results.started + np.round(results.seconds * 1e9).astype(np.int64),
        told=np.full(k, now),
        seconds=results.seconds,
        budget=budget,
    )


def stopped(work: Work, reports: Reports, i: int, now: int) -> Finished:
    """A trial that was stopped early: its result is what it said in report i."""
    results = Results(
        state=np.array([STOPPED], dtype=np.uint8),
        metrics={name: values[i : i + 1] for name, values in reports.metrics.items()},
        errors={},
        started=reports.time[i : i + 1] - np.int64(reports.seconds[i] * 1e9),
        seconds=reports.seconds[i : i + 1],
        worker=reports.worker,
        budget=reports.step[i : i + 1],
    )
    return results_of(work, results, now)


def lost(work: Work, state: int, message: str, now: int) -> Finished:
    """Trials that will never come back."""
    k = len(work)
    nothing = Results(
        state=np.full(k, state, dtype=np.uint8),
        metrics={},
        errors=dict.fromkeys(range(k), message),
        started=np.zeros(k, dtype=np.int64),
        seconds=np.zeros(k),
        worker="",
    )
    return replace(results_of(work, nothing, now), seconds=np.full(k, np.nan))
