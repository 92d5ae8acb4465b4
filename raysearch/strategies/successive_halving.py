"""Successive halving: train all a little, keep the best 1 / eta, train them on, and so on.

A bracket begins with n points at the lowest budget. Once all points of a rung are told, the
best 1 / eta of them (at least one) are promoted. After its last rung a new bracket begins.

Jamieson & Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter
optimization". Rungs: `halving`. It waits for the slowest of each rung; `ASHA` does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .halving import Halving, HalvingState, Job, Rung
from .options import check_int


@dataclass(frozen=True)
class SuccessiveHalving(Halving):
    """Trains n points a little, the best 1/eta of them further, and so on; waits for all.

    sampler     strategy that proposes the points
    max_budget  of a point trained in full, in steps or whatever the objective counts in, > 0
    min_budget  of the lowest rung, in (0, max_budget]
    eta         factor between rungs, and one in how many is promoted, > 1
    points      at the lowest rung of each bracket, >= 1; None: so many that one is left at last

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> halving = SuccessiveHalving(max_budget=9)
    >>> _, batch = halving.ask(halving.init(Space({"lr": Float(0, 1)}), seed=0), 20)
    >>> len(batch), set(batch.budget.tolist())
    (9, {1.0})
    """

    points: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points is not None:
            check_int(self, "points")

    def bottoms(self) -> tuple[int, ...]:
        return (0,)

    def best(self, rung: Rung) -> int:
        return max(1, super().best(rung))

    def next(self, state: HalvingState) -> tuple[HalvingState, Job | None]:
        rungs, waiting = state.brackets[0], state.pending[:, 2]
        begun = len(rungs[0]) + int((waiting == 0).sum())
        if begun < self._size() and not rungs[0].promoted.any():
            state, job = self._sample(state, 0)
            if job is not None:
                return state, job
        for r in range(len(rungs) - 1):
            if (waiting == r).any():
                return state, None
            i = rungs[r].candidate(self.best(rungs[r]))
            if i is not None:
                return self._promote(state, 0, r, i)
        if len(waiting) or not len(rungs[0]):
            return state, None
        empty = (Rung.empty(state.space.dim),) * len(rungs)
        return self._sample(replace(state, brackets=(empty,)), 0)

    def _size(self) -> int:
        if self.points is not None:
            return self.points
        return math.ceil(self.eta ** (len(self.budgets()) - 1) * (1 - 1e-9))
