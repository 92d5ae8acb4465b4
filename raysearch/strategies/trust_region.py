"""Trust regions: Bayesian optimisation that looks only around the best point of a region.

In many dimensions a model of the whole cube knows little, and most of the cube is far from
what it knows. A region is a box around its best point m, whose sides follow the length scales
l of a Gaussian process fitted to the region's own points:

    side_i = L l_i / (l_1 l_2 .. l_d)^(1/d)

Of many candidates in the box the next point is the least of a function drawn from the
posterior (Thompson sampling), so that any number may be pending. A candidate differs from m
in about 20 coordinates. L doubles after 3 successes in a row, and is halved after `patience`
failures in a row; once it is tiny the region begins anew, at quasi-random points.

Constraints have models and draws of their own. Points that meet all constraints come before
those that do not, and these are compared by how much they violate: so m is chosen, so is the
next of the candidates, and so it is told whether a point is a success.

Eriksson et al. (2019), "Scalable global optimization via local Bayesian optimization"; Eriksson
& Poloczek (2021), "Scalable constrained Bayesian optimization".

Point k belongs to region k mod r.

x     (n, d) points told             loss       (n,)    theirs
home  (n,)   region of each          constraint (n, c)  at most 0 if met; NaN: unknown
size  (r,)   L                       since      (r,)    number of the first point of its life
wins  (r,)   successes in a row      losses     (r,)    failures in a row
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..models.paths import path
from ..models.threads import one_thread
from ..rng import generator
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import Strategy
from .belief import targets
from .coordinates import coordinates
from .features import encoding, features
from .known import Known
from .options import check_int
from .pareto import violations
from .quasi_random import QuasiRandom
from .surrogate import (
    Modelled,
    Surrogate,
    arrived,
    awaiting,
    explored,
    first_fresh,
    sequence,
    stacked,
)

_FIRST, _LEAST, _MOST = 0.8, 0.5**7, 1.6  # L at the start, at the end, at most
_SUCCESSES = 3  # in a row, until L is doubled
_BETTER = 1e-3  # by which part of the best loss, or violation, a success is to be better
_MOVED = 20.0  # coordinates in which a candidate differs from m, about
_BLOCK = 512  # candidates
_STREAM = 6  # of random numbers for candidates and paths


@dataclass(frozen=True, eq=False)
class TrustState(Modelled):
    """The regions and their points; see the head of this file.

    surrogates  of the losses and constraints of each region
    """

    home: Ints = field(kw_only=True)
    size: Floats = field(kw_only=True)
    wins: Ints = field(kw_only=True)
    losses: Ints = field(kw_only=True)
    since: Ints = field(kw_only=True)
    surrogates: tuple[Surrogate, ...] = ()


@dataclass(frozen=True)
class TrustRegion(Strategy[TrustState]):
    """Gaussian processes in boxes around the best points; many parameters, thousands of trials.

    regions   side by side, >= 1; more of them find more valleys, more slowly
    initial   quasi-random points at the start of a region, >= 2
    patience  failures in a row until a region is halved, >= 1

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = TrustRegion()
    >>> state = search.init(Space({f"x{i}": Float(0, 1) for i in range(30)}), seed=0)
    >>> for _ in range(60):
    ...     state, batch = search.ask(state, 1)
    ...     losses = ((batch.x - 0.3) ** 2).sum(axis=1, keepdims=True)
    ...     state = search.tell(state, batch, Outcome(loss=losses))
    >>> bool(state.loss.min() < 1.5)  # 3.7 is what a random point has
    True
    """

    beats_random: ClassVar[bool] = True
    constrained: ClassVar[bool] = True

    regions: int = 1
    initial: int = 10
    patience: int = 10

    def __post_init__(self) -> None:
        check_int(self, "regions")
        check_int(self, "initial", 2)
        check_int(self, "patience")

    def init(self, space: Space, seed: int) -> TrustState:
        """Regions without a point."""
        QuasiRandom().init(space, seed)  # refuses spaces of too many parameters
        r = self.regions
        zeros = np.zeros(r, dtype=np.int64)
        return TrustState(
            space,
            seed,
            x=np.empty((0, space.dim)),
            loss=np.empty(0),
            constraint=np.empty((0, 0)),
            home=np.empty(0, np.int64),
            size=np.full(r, _FIRST),
            wins=zeros,
            losses=zeros,
            since=zeros,
            waiting=np.empty((0, space.dim)),
            numbers=np.empty(0, np.int64),
            surrogates=(Surrogate(),) * r,
        )

    @one_thread()
    def ask(self, state: TrustState, n: int) -> tuple[TrustState, Batch]:
        """Points of the regions in turn: at first quasi-random, then by Thompson sampling."""
        space, first = state.space, state.asked
        found = [np.empty((0, space.dim))]
        for _ in range(n):
            j = state.asked % self.regions
            if self._young(state, j) or np.isfinite(state.loss[state.home == j]).sum() < 2:
                state, x = explored(state)
            else:
                state = _up_to_date(state, j)
                x, known = _thompson(state, j)
                state = replace(state, known=known)
            if not len(x):
                break
            found.append(x)
            state = awaiting(state, x)
        points = np.concatenate(found)
        return state, Batch(points, np.arange(first, first + len(points)))

    def _young(self, state: TrustState, j: int) -> bool:
        """Whether region j has too few points, pending ones included."""
        pending = (state.numbers % self.regions == j) & (state.numbers >= state.since[j])
        return bool((state.home == j).sum() + pending.sum() < self.initial)

    def asks_slowly(self) -> bool:
        return True

    def tell(self, state: TrustState, batch: Batch, outcome: Outcome) -> TrustState:
        """Resize regions by their successes and failures, one point after the other.

        A point from elsewhere goes to the region whose best point is the worst.
        """
        state = arrived(state, batch)
        constraint = outcome.constraint
        if constraint is None:
            constraint = np.empty((len(batch), 0))
        for i, number in enumerate(batch.number.tolist()):
            loss = float(outcome.loss[i, 0])
            state = self._told(state, batch.x[i], number, loss, constraint[i : i + 1])
        return state

    def _told(
        self, state: TrustState, x: Floats, number: int, loss: float, constraint: Floats
    ) -> TrustState:
        """The state after one more outcome."""
        best = [_best(state, j) for j in range(self.regions)]
        foreign = number == FOREIGN
        j = best.index(max(best)) if foreign else number % self.regions
        if not foreign and number < state.since[j]:
            j = -1  # of a life that is over
        wins, fails, size = state.wins.copy(), state.losses.copy(), state.size.copy()
        since, home, surrogates = state.since.copy(), state.home, list(state.surrogates)
        if j >= 0 and not foreign and (home == j).sum() >= self.initial:
            success = _succeeds((float(violations(constraint, 1)[0]), loss), best[j])
            wins[j], fails[j] = (wins[j] + 1, 0) if success else (0, fails[j] + 1)
            if wins[j] == _SUCCESSES:
                size[j], wins[j] = min(2 * size[j], _MOST), 0
            elif fails[j] == self.patience:
                size[j], fails[j] = size[j] / 2, 0
        home = np.append(home, j)
        if size[j] < _LEAST and j >= 0:
            home = np.where(home == j, -1, home)
            size[j], wins[j], fails[j], since[j] = _FIRST, 0, 0, state.asked
            surrogates[j] = Surrogate()
        return replace(
            state,
            x=np.concatenate([state.x, x[None]]),
            loss=np.append(state.loss, loss),
            constraint=stacked(state.constraint, constraint),
            home=home,
            size=size,
            wins=wins,
            losses=fails,
            since=since,
            surrogates=tuple(surrogates),
        )


def _best(state: TrustState, j: int) -> tuple[float, float]:
    """The least violation in region j, and the least loss there; infinite: none."""
    mine = (state.home == j) & np.isfinite(state.loss)
    if not mine.any():
        return math.inf, math.inf
    broken, loss = violations(state.constraint[mine], int(mine.sum())), state.loss[mine]
    return float(broken.min()), float(loss[broken == broken.min()].min())


def _succeeds(found: tuple[float, float], best: tuple[float, float]) -> bool:
    """Whether (violation, loss) is clearly better; false if the loss is NaN."""
    less = [b - _BETTER * abs(b) if math.isfinite(b) else math.inf for b in best]
    if best[0] > 0:
        return not math.isnan(found[1]) and found[0] < less[0]
    return found[0] <= 0 and found[1] < less[1]


def _up_to_date(state: TrustState, j: int) -> TrustState:
    """The state whose models of region j have taken in all its points."""
    at = features(state.space, state.x[state.home == j])
    updated = state.surrogates[j].updated(encoding(state.space).layout, at, _targets(state, j))
    surrogates = (*state.surrogates[:j], updated, *state.surrogates[j + 1 :])
    return replace(state, surrogates=surrogates)


def _targets(state: TrustState, j: int) -> list[Floats]:
    """What the models of region j are given."""
    mine = state.home == j
    return targets(state.loss[mine, None], state.constraint[mine])


def _thompson(state: TrustState, j: int) -> tuple[Floats, Known]:
    """The point (1, d) of region j that is least of one function, if there is any left."""
    space, rng = state.space, generator(state.seed, state.asked, _STREAM)
    mine = state.home == j
    loss, *constraints = (
        model.given(y[~np.isnan(y)])
        for model, y in zip(state.surrogates[j].models, _targets(state, j), strict=True)
    )
    broken = violations(state.constraint[mine], int(mine.sum()))
    m = state.x[mine][np.lexsort((loss.fitted, broken))[0]]
    at = features(space, x := _candidates(space, state, j, m, rng))
    drawn = path(loss, rng)(at)
    breaks = sum((path(c, rng)(at).clip(min=0) for c in constraints), np.zeros(len(x)))
    order = np.lexsort((drawn, breaks))
    return first_fresh(space, state.known, x[order], np.concatenate([state.x, state.waiting]), rng)


def _candidates(
    space: Space, state: TrustState, j: int, m: Floats, rng: np.random.Generator
) -> Floats:
    """(_BLOCK, d) legal values in the box of region j around m."""
    scales = state.surrogates[j].models[0].theta[: space.dim]  # log l
    side = state.size[j] * np.exp(scales - scales.mean())
    side[coordinates(space).unordered] = 2.0  # all of the edge
    low, high = np.maximum(m - side / 2, 0.0), np.minimum(m + side / 2, 1.0)
    wide = sequence(space, state.seed)((state.asked + 1) * _BLOCK, _BLOCK)
    moved = rng.random(wide.shape) < min(1.0, _MOVED / space.dim)
    moved[np.arange(_BLOCK), rng.integers(space.dim, size=_BLOCK)] = True
    x = space.snap(np.where(moved, low + (high - low) * wide, m))
    return x[space.allowed(space.decode(x))] if space.constraints else x
