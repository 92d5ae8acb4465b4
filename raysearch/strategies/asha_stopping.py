"""ASHA by stopping: no point is ever paused.

Every point starts to be trained in full. Where it reaches a rung it is stopped, unless it is
among the best 1 / eta of those that have reached that rung so far. While there are fewer than
eta of them, all go on. Nothing has to be saved and resumed, but points that were stopped too
early are lost, and those that came early have it easier.

Klein, Tiao, Lienart, Archambeau & Seeger (2020), "Model-based asynchronous hyperparameter and
neural architecture search", compare it with promotion, for which see `asha`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..trial import Floats
from .fidelity import check_budget, check_eta, ladder
from .pareto import ranked
from .stopping import Stopping


@dataclass(frozen=True)
class StoppingASHA(Stopping):
    """ASHA for objectives that save no checkpoints: stops trials that are not among the best.

    sampler     strategy that proposes the points
    max_budget  of a point trained in full, in steps or whatever the objective counts in, > 0
    min_budget  of the lowest rung, in (0, max_budget]
    eta         factor between rungs, and one in how many goes on, > 1

    Raises UsageError if an option is out of range.

    >>> StoppingASHA(max_budget=27).rungs()
    (1.0, 3.0, 9.0)
    """

    max_budget: float = 81
    min_budget: float = 1
    eta: float = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budget(self, "max_budget")
        check_budget(self, "min_budget", self.max_budget)
        check_eta(self)

    def budgets(self) -> tuple[float, ...]:
        return ladder(self.min_budget, self.max_budget, self.eta)

    def stops(self, curve: Floats, i: int, rung: int) -> bool:
        there = np.flatnonzero(~np.isnan(curve[:, rung]).any(axis=1))
        best = ranked(curve[there, rung])[: int(len(there) / self.eta)]
        return len(there) >= self.eta and i not in there[best]
