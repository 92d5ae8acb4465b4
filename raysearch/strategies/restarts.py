"""When a run of CMA-ES is over, and how the next one begins.

A run is over when nothing more is to be gained from it: its losses no longer differ, its step
has vanished against the one it began with, or its covariance is numerically singular.

ipop   each run has twice the population of the one before (Auger & Hansen, 2005)
bipop  runs of twice the largest population so far, and runs of small random populations and
       steps, lambda_0 (lambda / (2 lambda_0))^(u^2) and sigma_0 10^(-2 v), take turns, so that
       both kinds come to the same number of trials (Hansen, 2009)

Auger & Hansen (2005), "A restart CMA evolution strategy with increasing population size", CEC;
Hansen (2009), "Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed", GECCO.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..trial import Floats
from .gaussian import Gaussian

_SAME = 1e-11  # range of losses
_TINY = 1e-11  # step, in first steps
_SINGULAR = 1e14  # condition number of the covariance


@dataclass(frozen=True, eq=False)
class Run:
    """One run, and what has been before it.

    population  results that make a generation
    step        sigma at its beginning
    since       number of the first point that belongs to it
    told        results it has used up
    recent      (h,) the best loss of its latest generations, the latest last
    small       whether its population is one of the small ones
    count       runs before it
    largest     population so far
    spent       (2,) results used up by runs before it: of large and of small populations
    """

    population: int
    step: float
    since: int = 0
    told: int = 0
    recent: Floats = field(default_factory=lambda: np.zeros(0))
    small: bool = False
    count: int = 0
    largest: int = 0
    spent: tuple[int, int] = (0, 0)


def history(n: int, population: int) -> int:
    """Over how many generations losses have to differ."""
    return 10 + -(-30 * n // population)


def same(best: float, worst: float) -> bool:
    """Whether losses from best to worst make no difference; two infinite ones make none."""
    return bool(best == worst or worst - best <= _SAME)


def is_over(run: Run, g: Gaussian, losses: Floats, condition: float) -> bool:
    """Whether a run is over after a generation with these losses, best first."""
    n = len(g.m)
    flat = len(run.recent) == history(n, len(losses))
    flat = flat and same(run.recent.min(), run.recent.max())
    if flat and same(losses[0], losses[-1]):
        return True
    if not n:
        return bool(flat)
    deviation = g.sigma * g.scale
    vanished = max(deviation.max(), g.sigma * np.abs(g.pc).max()) < _TINY * run.step
    return bool(vanished or condition > _SINGULAR)


def next_run(run: Run, first: Run, bipop: bool, u: Floats, since: int) -> Run:
    """The run that follows.

    first  run of the search
    u      (2,) uniform numbers
    since  number of its first point
    """
    large, small = run.spent
    spent = (large, small + run.told) if run.small else (large + run.told, small)
    largest = max(run.largest, run.population if not run.small else 0)
    if bipop and run.count and spent[1] < spent[0]:
        ratio = largest / (2 * first.population)
        population = int(first.population * ratio ** (u[0] ** 2))
        step, now_small = first.step * 10 ** (-2 * float(u[1])), True
    else:
        population, step, now_small = 2 * largest, first.step, False
    return Run(
        population, step, since, small=now_small, count=run.count + 1, largest=largest, spent=spent
    )
