"""Hyperband: several brackets, for it is unknown how early losses can be trusted.

Bracket s, s = s_max .. 0, begins at rung s_max - s: the first one stops most points early, the
last one trains all of them in full. All brackets get equal shares of the total budget, so
that bracket s samples in proportion to eta^s / (s + 1). Each is an ASHA of its own; the next
job comes from the bracket to which the least budget has been handed out.

Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar (2018), "Hyperband: a novel bandit-based
approach to hyperparameter optimization"; asynchronous: Li et al. (2020), see `asha`. With a
model-based sampler it is BOHB, with differential evolution DEHB; see `fidelity`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .halving import Halving, HalvingState, Job


@dataclass(frozen=True)
class Hyperband(Halving):
    """ASHA from several lowest rungs at once, where early losses may mislead.

    sampler     strategy that proposes the points
    max_budget  of a point trained in full, in steps or whatever the objective counts in, > 0
    min_budget  of the lowest rung, in (0, max_budget]
    eta         factor between rungs, and one in how many is promoted, > 1

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> hyperband = Hyperband(max_budget=9)
    >>> _, batch = hyperband.ask(hyperband.init(Space({"lr": Float(0, 1)}), seed=0), 6)
    >>> batch.budget.tolist()
    [1.0, 3.0, 9.0, 1.0, 1.0, 1.0]
    """

    def bottoms(self) -> tuple[int, ...]:
        return tuple(range(len(self.budgets())))

    def next(self, state: HalvingState) -> tuple[HalvingState, Job | None]:
        for bracket in np.argsort(state.spent, kind="stable").tolist():
            state, job = self._asynchronous(state, bracket)
            if job is not None:
                return state, job
        return state, None
