"""The median rule: stop what has never been better than an average half of the others.

A trial is stopped at budget b if its best loss up to b is worse than the median of the
running averages, up to b, of all other trials that have reached b:

    min_{b' <= b} f(b')  >  median over others of  mean_{b' <= b} f_other(b')

Losses count at the rungs. The rule assumes nothing about the shape of learning curves.

Golovin, Solnik, Moitra, Kochanski, Karro & Sculley (2017), "Google Vizier: a service for
black-box optimization".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..trial import Floats
from .fidelity import check_budget
from .stopping import Stopping

_ENOUGH = 3  # others, before anything is stopped


@dataclass(frozen=True)
class MedianStopping(Stopping):
    """Stops trials that are worse than the median of the others; careful, assumes little.

    sampler     strategy that proposes the points
    max_budget  of a point trained in full, in steps or whatever the objective counts in, > 0
    first       budget at which trials are judged first, in (0, max_budget]
    every       distance of the further ones, in (0, max_budget]

    Raises UsageError if an option is out of range.

    >>> MedianStopping(max_budget=50).rungs()
    (10.0, 20.0, 30.0, 40.0)
    """

    multi_objective: ClassVar[bool] = False

    max_budget: float = 100
    first: float = 10
    every: float = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budget(self, "max_budget")
        check_budget(self, "first", self.max_budget)
        check_budget(self, "every", self.max_budget)

    def takes(self, objectives: int) -> bool:
        return objectives == 1

    def budgets(self) -> tuple[float, ...]:
        count = int(np.ceil((self.max_budget - self.first) / self.every * (1 - 1e-9)))
        rungs = (float(self.first + k * self.every) for k in range(count))
        return (*rungs, float(self.max_budget))

    def stops(self, curve: Floats, i: int, rung: int) -> bool:
        so_far = curve[:, : rung + 1, 0]
        others = ~np.isnan(so_far[:, rung])
        others[i] = False
        if others.sum() < _ENOUGH:
            return False
        return bool(np.nanmin(so_far[i]) > np.median(np.nanmean(so_far[others], axis=1)))
