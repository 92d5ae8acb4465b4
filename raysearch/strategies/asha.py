"""ASHA: successive halving that never waits.

Whenever there is a free slot, from the highest rung down, a point that is among the best
1 / eta of its rung and has not gone on yet is promoted; if there is none, a new point begins
at the lowest rung. Some are promoted that would not be, had one waited for all of the rung;
their share vanishes as rungs fill.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht & Talwalkar (2020), "A system for
massively parallel hyperparameter tuning", Algorithm 2. Rungs: `halving`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .halving import Halving, HalvingState, Job


@dataclass(frozen=True)
class ASHA(Halving):
    """Trains many points a little and the best 1/eta of each rung further; never waits.

    sampler     strategy that proposes the points
    max_budget  of a point trained in full, in steps or whatever the objective counts in, > 0
    min_budget  of the lowest rung, in (0, max_budget]
    eta         factor between rungs, and one in how many is promoted, > 1

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> from raysearch.trial import Outcome
    >>> asha = ASHA(max_budget=9)
    >>> state, batch = asha.ask(asha.init(Space({"lr": Float(0, 1)}), seed=0), 3)
    >>> state = asha.tell(state, batch, Outcome(loss=batch.x))
    >>> _, batch = asha.ask(state, 2)
    >>> batch.budget.tolist(), (batch.parent >= 0).tolist()
    ([3.0, 1.0], [True, False])
    """

    def bottoms(self) -> tuple[int, ...]:
        return (0,)

    def next(self, state: HalvingState) -> tuple[HalvingState, Job | None]:
        return self._asynchronous(state, 0)
