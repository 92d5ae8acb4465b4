"""NSGA-III: a front of three and more losses, as evenly covered as rays through it are spread.

As NSGA-II (`nsga2`), but who is lonely is told by directions instead of neighbours: where
nearly nobody dominates anybody, distances along single losses mean little.

    W        (h, m)  directions: all points of the simplex whose coordinates are multiples of 1/p
                     (Das & Dennis, 1998), p the largest with h <= N; where p < m, and so none
                     lies inside, a second such grid half as large as the first
    f        (k, m)  losses, less the least ones, in units of where the plane through the m points
                     that are nearest to the axes meets these; an infinite one is as the worst
                     of the others
    niche    (k,)    of each point the direction it is nearest to, |f - (f w) w| with |w| = 1

The fronts count first. Within a niche the nearer point comes first; everybody is preferred by how
many are before it in its niche, then by distance. That is the paper's choice, member by member from
the emptiest niche, without its dice.

Deb & Jain (2014), "An evolutionary many-objective optimization algorithm using
reference-point-based nondominated sorting approach, part I", IEEE Transactions on Evolutionary
Computation 18(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

from ..trial import Floats, Ints
from .base import Mask
from .nsga2 import NSGA2, Members
from .pareto import fronts

_AXIS = 1e6  # how much more than along an axis a loss counts off it


@dataclass(frozen=True)
class NSGA3(NSGA2):
    """Three objectives and more: covers the front evenly; constraints, too.

    population  individuals, >= 4; 91 directions of three objectives, 70 of five want one each

    Raises UsageError if the option is out of range.

    >>> from raysearch.space import Float, Space
    >>> from raysearch.trial import Outcome
    >>> search = NSGA3(population=4)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 4)
    >>> loss = np.hstack([batch.x, 1 - batch.x, batch.x**2])
    >>> len(search.tell(state, batch, Outcome(loss)).parents)
    4
    """

    population: int = 92

    def _best(self, members: Members) -> Members:
        """Those that live on, best first."""
        rank = fronts(members.loss, members.violation)
        last = np.sort(rank)[min(self.population, len(rank)) - 1]
        members, rank = members.take(np.flatnonzero(rank <= last)), rank[rank <= last]
        f = normalised(members.loss, rank == 0)
        before, distance = niches(f, rank, directions(f.shape[1], self.population))
        return members.take(np.lexsort((distance, before, rank))[: self.population])


@lru_cache(maxsize=16)
def directions(m: int, most: int) -> Floats:
    """(h, m) evenly spread, of length 1; m at least, otherwise h <= most.

    >>> (directions(2, 3) ** 2).round(1).tolist()
    [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """
    p = max(_divisions(m, most), 1)
    w = _grid(m, p)
    if p < m and (inner := _divisions(m, most - len(w))):
        w = np.concatenate([w, (_grid(m, inner) + 1 / m) / 2])
    return np.asarray(w / np.linalg.norm(w, axis=1, keepdims=True))


def _divisions(m: int, most: int) -> int:
    """The largest p whose grid has no more points."""
    p = 0
    while comb(m + p, p + 1) <= most and p < most:
        p += 1
    return p


def _grid(m: int, p: int) -> Floats:
    """(h, m) the points of the simplex whose coordinates are multiples of 1/p."""
    bars = np.array(list(combinations(range(m + p - 1), m - 1)), dtype=np.int64)
    return (np.diff(bars, axis=1, prepend=-1, append=m + p - 1) - 1) / p


def normalised(loss: Floats, first: Mask) -> Floats:
    """Losses f (k, m) as described in the head of this file.

    first  (k,) which points are of the first front, whose largest losses are the units where the
           plane is none, or meets an axis behind all points or before the least loss
    """
    m, finite = loss.shape[1], np.isfinite(loss)
    low = np.where(finite, loss, np.inf).min(axis=0)
    low = np.where(np.isfinite(low), low, 0.0)
    high = np.where(finite, loss, low).max(axis=0)
    half = high / 2 - low / 2  # the whole may be beyond the largest number
    f = (np.clip(loss, low, high) / 2 - low / 2) / np.where(half > 0, half, 1.0)
    off_axis = np.where(np.eye(m, dtype=bool), 1.0, _AXIS)
    nearest = f[(f[:, None] * off_axis).max(axis=2).argmin(axis=0)]
    plane = np.linalg.lstsq(nearest, np.ones(m), rcond=None)[0]
    right = np.allclose(nearest @ plane, 1.0) and bool((plane >= 1.0).all())
    unit = 1 / plane if right else f[first].max(axis=0)
    return f / np.where(unit > 0, unit, 1.0)


def niches(f: Floats, rank: Ints, w: Floats) -> tuple[Ints, Floats]:
    """(k,) how many are before each point in its niche, and how far it is from its direction.

    >>> f = np.array([[1.0, 0.0], [3.0, 0.1], [0.0, 1.0]])
    >>> niches(f, np.zeros(3, dtype=np.int64), np.eye(2))[0].tolist()
    [0, 1, 0]
    """
    along = f @ w.T
    off = np.sqrt(np.maximum((f**2).sum(axis=1, keepdims=True) - along**2, 0.0))
    niche, distance = off.argmin(axis=1), off.min(axis=1)
    order = np.lexsort((distance, rank, niche))
    starts = np.searchsorted(niche[order], niche[order])
    before = np.empty(len(f), dtype=np.int64)
    before[order] = np.arange(len(f)) - starts
    return before, distance
