"""What a simulation has found out."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from ..engine.events import Why
from ..study import Study
from .clock import START


@dataclass(frozen=True)
class Simulation:
    """A search in virtual time, and what it took.

    study      what was found; its times count from the first moment of the year 2000
    workers    how many there were
    why        the search ended
    makespan   seconds from the start until the last result was known
    busy       seconds that workers ran trials, those that were lost included
    available  seconds that workers were there, which is what they cost
    driver     seconds of the driver's own work that were charged
    """

    study: Study
    workers: int
    why: Why
    makespan: float
    busy: float
    available: float
    driver: float = 0.0

    @property
    def utilisation(self) -> float:
        """Share of the workers' time that was spent in trials, in [0, 1]."""
        return self.busy / self.available if self.available else 0.0

    def time_to(self, value: float) -> float | None:
        """Seconds until a result at least as good as this was known; None: it never was.

        value  of the objective, as the objective returns it; as in `Study.best`, only trials
               count that meet `require`, and got furthest where there are budgets
        """
        worst = -value if self.study.objectives.maximize[0] else value
        told = self.study.trials["told"].cast(pa.int64()).to_numpy()[self.study.losses <= worst]
        return float((told.min() - START) / 1e9) if len(told) else None
