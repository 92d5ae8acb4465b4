"""What a search says while it runs: progress for people, trials for callbacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from .engine.loop import Loop
from .engine.progress import Best, Progress
from .engine.records import RETRIED, Finished
from .errors import UsageError
from .finished import FinishedTrial
from .stopping import Condition, Seen
from .study import Study
from .trial import ROOT, STATES, Floats, has_result

Callback = Callable[[Sequence[FinishedTrial]], Any]

_HISTORY = 512  # points of the best-so-far curve that are kept


class Monitor:
    """Watches the engine: keeps the best trial and the books, and calls who wants to know.

    before     the study as it was before this session
    show       gets a `Progress` after every round; None: nobody
    callbacks  get the trials of every round, once they are durable
    conditions  any of which ends the search
    full        budget of trials that are trained in full
    known      what of a `Progress` stays the same: strategy, trials, time_limit, study
    """

    def __init__(
        self,
        before: Study,
        /,
        show: Callable[[Progress], None] | None,
        callbacks: Sequence[Callback],
        conditions: Sequence[Condition] = (),
        full: float = -math.inf,
        **known: Any,
    ) -> None:
        self.failed = 0  # trials without a result, in this session
        self.error: str | None = None  # of the trial that failed last
        self._objectives = before.objectives
        self._show = show
        self._callbacks = callbacks
        self._conditions = conditions
        self._seen = Seen(-1.0 if before.objectives.maximize[0] else 1.0)
        self._known = {"name": before.place.rstrip("/").rpartition("/")[2], **known}
        self._known["require"] = tuple(map(str, before.objectives.bounds))
        self._best: Best | None = None
        self._furthest = -math.inf  # budget of the best
        self._full = full
        self._since = 0  # trials told after the best
        self._history: list[float] = []
        self._busy = 0.0  # seconds that trials of this session took
        self._available = 0.0  # seconds that slots were there
        self._start = self._last = math.nan  # of the first and the latest round
        self._failed_before = len(before) - before.counts.get("complete", 0)  # and not retried
        self._known["resumed"] = len(before)
        if conditions and before.furthest >= full:
            self._seen.take(before.losses)
        with suppress(UsageError):  # there is none yet, or a front
            best = before.best
            self._furthest = math.inf if best.budget is None else best.budget
            self._take(best.number, best.metrics[before.objectives.names[0]], best.config)

    def __call__(self, loop: Loop, finished: Sequence[Finished]) -> bool:
        """Take in one round; True if a callback wants the search to end."""
        now = time.monotonic()
        if math.isnan(self._start):
            self._start = self._last = now
        self._available += loop.slots * (now - self._last)
        self._last = now
        for record in finished:
            self._since += len(record)
            self._record(record)
        if self._show is not None:
            self._show(self._progress(loop))
        if not finished:
            return False
        trials = [t for record in finished for t in _trials(record)] if self._callbacks else []
        wishes = [callback(trials) is True for callback in self._callbacks]
        return any(wishes) or self.met

    @property
    def met(self) -> bool:
        """Whether what was found so far is enough."""
        return any(condition.met(self._seen) for condition in self._conditions)

    def _record(self, finished: Finished) -> None:
        self._busy += float(np.nansum(finished.seconds))
        self._failed_before -= int(np.count_nonzero(finished.after == RETRIED))
        self.failed += int(np.count_nonzero(~has_result(finished.state)))
        if finished.errors:
            self.error = finished.errors[max(finished.errors)]
        if self._conditions:
            self._note(finished)
        loss = self._loss(finished)
        if len(self._objectives.names) > 1 or np.isnan(loss).all():
            return
        budget = np.where(np.isnan(finished.budget), np.inf, finished.budget)
        budget[np.isnan(loss)] = -np.inf
        loss = np.where(budget == budget.max(), loss, np.nan)  # the furthest are compared
        rows = np.flatnonzero(loss == np.nanmin(loss))
        i = int(rows[np.argmin(finished.number[rows])])
        sign = -1 if self._objectives.maximize[0] else 1
        now = (-budget[i], loss[i], finished.number[i])
        best = self._best
        if best is None or now < (-self._furthest, sign * best.value, best.number):
            config = finished.columns.take(slice(i, i + 1)).configs()[0]
            self._furthest = float(budget[i])
            self._take(int(finished.number[i]), sign * float(loss[i]), config)
        if self._best is not None:
            self._history.append(self._best.value)
            if len(self._history) > _HISTORY:
                del self._history[1::2]

    def _note(self, finished: Finished) -> None:
        """For conditions, which are told the losses of trials trained in full."""
        loss = self._loss(finished)
        self._seen.take(loss[~(finished.budget < self._full) | np.isnan(loss)])

    def _loss(self, finished: Finished) -> Floats:
        """(k,) of the first objective; NaN if the trial failed, or breaks a bound."""
        loss = self._objectives.losses(finished.state, finished.metrics)[:, 0]
        return np.where(self._objectives.met(len(loss), finished.metrics), loss, np.nan)

    def _take(self, number: int, value: float, config: Mapping[str, Any]) -> None:
        self._best = Best(number, self._objectives.names[0], value, config)
        self._since = 0

    def _progress(self, loop: Loop) -> Progress:
        running = sum(map(len, loop.running.values()))
        busy = self._busy + self._running_seconds(loop)
        return Progress(
            **self._known,
            done=loop.finished,
            failed=self._failed_before + self.failed,
            running=running,
            busy=min(len(loop.running), loop.slots),
            slots=loop.slots,
            reports=loop.reported,
            elapsed=self._last - self._start,
            best=None if self._best is None else replace(self._best, since=self._since),
            history=tuple(self._history),
            overhead=max(0.0, 1 - busy / self._available) if self._available else None,
            error=self.error.strip().rpartition("\n")[2] if self.error else None,
        )

    @staticmethod
    def _running_seconds(loop: Loop) -> float:
        begun = list(loop.running.values())[: loop.slots]
        now = time.time_ns()
        return sum((now - work.submitted) / 1e9 for work in begun)


def _trials(finished: Finished) -> list[FinishedTrial]:
    """The trials of a record, one by one."""
    configs = finished.columns.configs()
    metrics = {name: values.tolist() for name, values in finished.metrics.items()}
    return [
        FinishedTrial(
            number=int(finished.number[i]),
            config=configs[i],
            metrics={n: values[i] for n, values in metrics.items() if values[i] is not None},
            state=STATES[finished.state[i]],
            seconds=float(finished.seconds[i]),
            attempts=int(finished.attempts[i]),
            started=_moment(int(finished.started[i])),
            worker=str(finished.worker[i]),
            error=finished.errors.get(i),
            budget=None if math.isnan(finished.budget[i]) else float(finished.budget[i]),
            parent=None if finished.trials.parents[i] == ROOT else int(finished.trials.parents[i]),
        )
        for i in range(len(finished))
    ]


def _moment(ns: int) -> datetime | None:
    """The time to the microsecond, as it is read from a study; None if it never came."""
    if not ns:
        return None
    return datetime.fromtimestamp(ns // 10**9, UTC) + timedelta(microseconds=ns // 1000 % 10**6)
