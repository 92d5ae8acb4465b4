"""Counts, best and course of a search, kept up to date batch by batch."""

from __future__ import annotations

import math

import numpy as np

from ..trial import COMPLETE, STOPPED
from .progress import Best
from .records import Finished, Objectives

_HISTORY = 128  # points kept of the course, at most


class Tally:
    """What is worth knowing of all trials told, in constant memory.

    done     trials told
    failed   of these, how many have no result
    best     the best of those with a result; None with several objectives
    history  best value so far, after every so many trials
    error    what went wrong last: trial and last line
    """

    def __init__(self, objectives: Objectives) -> None:
        self.objectives = objectives
        self.done = 0
        self.failed = 0
        self.error: str | None = None
        self._best: Best | None = None
        self._told_at = 0  # value of `done` when the best was told
        self._loss = math.inf
        self._course: list[float] = []
        self._stride = 1

    def tell(self, finished: Finished) -> None:
        """Take in k trials; costs a few numpy calls, whatever k."""
        k = len(finished)
        if len(self.objectives.names) == 1 and k:
            self._compare(finished)
        self.done += k
        bad = (finished.state != COMPLETE) & (finished.state != STOPPED)
        self.failed += int(np.count_nonzero(bad))
        if finished.errors:
            row = max(finished.errors)
            reason = finished.errors[row].strip().splitlines() or ["no reason known"]
            self.error = f"#{finished.number[row]} {reason[-1]}"

    def _compare(self, finished: Finished) -> None:
        loss = self.objectives.losses(finished.state, finished.metrics)[:, 0]
        loss = np.where(np.isnan(loss), math.inf, loss)
        row = int(np.argmin(loss))
        if loss[row] < self._loss:
            name = self.objectives.names[0]
            self._told_at = self.done + row + 1
            self._best = Best(
                number=int(finished.number[row]),
                metric=name,
                value=float(finished.metrics[name][row]),
                config=finished.columns.take([row]).configs()[0],
            )
        so_far = np.minimum.accumulate(np.minimum(loss, self._loss))
        self._loss = float(so_far[-1])
        first = -self.done % self._stride
        self._course += so_far[first :: self._stride].tolist()
        while len(self._course) > _HISTORY:
            self._course = self._course[::2]
            self._stride *= 2

    @property
    def best(self) -> Best | None:
        """The best trial so far."""
        if self._best is None:
            return None
        b = self._best
        return Best(b.number, b.metric, b.value, b.config, self.done - self._told_at)

    @property
    def history(self) -> tuple[float, ...]:
        """Best value so far, in the order told, as the user reports it."""
        sign = -1.0 if self.objectives.maximize[0] else 1.0
        return tuple(sign * loss for loss in (*self._course, self._loss) if loss < math.inf)
