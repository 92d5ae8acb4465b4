"""Belief: what is held of the losses and the constraints of a search, and what points promise.

    promise(x) = log I(x) + sum_j log P(c_j(x) <= 0) - E log cost(x)

I is the expected improvement on the front: with one loss, the augmented one (`acquisition`) on the
least that is expected of any known point which meets all constraints; with several, that of the
hypervolume. Or else I is the gain by an upper confidence bound. As long as no known point meets
all constraints, the promise is that of meeting them. The last term is there where costs matter:
what is promised, by the median of the cost. Where all this takes too long, functions drawn from the
belief promise instead, several of them weighed at random.

Knowles (2006), "ParEGO"; Paria, Kandasamy & Poczos (2020), "A flexible framework for
multi-objective Bayesian optimization using random scalarizations"; Snoek, Larochelle & Adams
(2012), "Practical Bayesian optimization of machine learning algorithms", sec. 3.2, for costs.

n  points told    p  features    m  losses    c  constraints    f  points of the front
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..models.acquisition import log_aei, log_ehvi, log_met, log_ucb
from ..models.boxes import boxes
from ..models.gp import Posterior, Process
from ..models.outputs import normalised, signed
from ..models.paths import path
from ..trial import Floats, Ints

_MEAN = 0.05  # weight of the mean of several losses beside their maximum
_MARGIN = 0.1  # by which the volume's corner lies beyond the worst loss, at least,
_BEYOND = 0.2  # and beyond the worst of the front, in parts of its depth


def targets(loss: Floats, constraint: Floats) -> list[Floats]:
    """What models are given: each loss, and each constraint, (n,); NaN: unknown.

    Constraints of which nothing is known yet are left out.
    """
    known = constraint.T[~np.isnan(constraint).all(axis=0)]
    losses = zip(loss.T, _worst(loss, constraint), strict=True)
    return [*(normalised(*each) for each in losses), *(signed(values) for values in known)]


def log_cost(cost: Floats) -> tuple[Floats, float]:
    """(n,) logarithms of costs, standardised, NaN: unknown; and their standard deviation."""
    known = np.isfinite(cost) & (cost > 0)
    logs = np.log(np.where(known, cost, 1.0))
    if not known.any():
        return np.full(len(cost), np.nan), 0.0
    unit = float(logs[known].std())
    return np.where(known, (logs - logs[known].mean()) / (unit or 1.0), np.nan), unit


def feasible(loss: Floats, constraint: Floats) -> NDArray[np.bool_]:
    """(n,) which trials have losses and meet all constraints."""
    return np.asarray(np.isfinite(loss).all(axis=1) & (constraint <= 0).all(axis=1))


def below(loss: Floats) -> Ints:
    """(n,) by how many others each row of (n, m) losses is matched or beaten in every column.

    A failed trial is beaten by all others.
    """
    y = np.where(np.isnan(loss), np.inf, loss)
    if y.shape[1] == 1:
        return np.searchsorted(np.sort(y[:, 0]), y[:, 0])
    no_worse = (y[None] <= y[:, None]).all(axis=2)
    return np.asarray((no_worse & ~no_worse.T).sum(axis=1))


def _worst(loss: Floats, constraint: Floats) -> Sequence[float | None]:
    """(m,) the worst of each of several losses on their front; None where there is no front."""
    good = feasible(loss, constraint)
    some = loss[good if good.any() else np.isfinite(loss).all(axis=1)]
    if loss.shape[1] == 1 or not len(some):
        return [None] * loss.shape[1]
    worst: list[float | None] = some[below(some) == 0].max(axis=0).tolist()
    return worst


def believed(
    models: Sequence[Process],
    y: Sequence[Floats],
    m: int,
    good: NDArray[np.bool_],
    width: float | None = None,
) -> Belief:
    """What is held, given what was told.

    models  one for each of y, which have seen the points where it is known
    y       as of `targets`, of m losses
    good    (n,) as of `feasible`
    width   as of `Belief`
    """
    held = [model.given(column[~np.isnan(column)]) for model, column in zip(models, y, strict=True)]
    worst = np.array([column.max() + _MARGIN for column in y[:m]])
    nothing = Belief(tuple(held[:m]), tuple(held[m:]), np.empty((0, m)), worst, width)
    if not good.any():
        return nothing
    found = nothing.known(np.stack([loss.fitted for loss in held[:m]], axis=1)[good])
    if len(found.front) and m > 1:  # the front may grow at its ends
        top, depth = found.front.max(axis=0), np.ptp(found.front, axis=0)
        return replace(found, worst=np.maximum(worst, top + _BEYOND * depth))
    return found


@dataclass(frozen=True, eq=False)
class Price:
    """What points are believed to cost.

    model  of the logarithm, standardised
    unit   its standard deviation
    """

    model: Posterior
    unit: float


@dataclass(frozen=True, eq=False)
class Belief:
    """The losses and the constraints as they are believed to be.

    losses       m of them, normalised
    constraints  c of them
    front        (f, m) expected losses to be improved on; none: no point is known that meets
                 all constraints
    worst        (m,) the corner of the hypervolume
    price        what points cost; None: that does not matter
    width        of the confidence bound of a single loss, in standard deviations; None: the
                 expected improvement counts
    """

    losses: tuple[Posterior, ...]
    constraints: tuple[Posterior, ...]
    front: Floats
    worst: Floats
    width: float | None = None
    price: Price | None = None

    def expected(self, at: Floats) -> Floats:
        """(k, m) expected losses at (k, p)."""
        return np.stack([loss.expected(at) for loss in self.losses], axis=1)

    @cached_property
    def room(self) -> tuple[Floats, Floats]:
        """The boxes of losses that improve on the front, low and high (k, m)."""
        return boxes(self.front, self.worst)

    def known(self, losses: Floats) -> Belief:
        """The belief with these losses (k, m) as possible points of the front."""
        every = np.unique(np.concatenate([self.front, losses]), axis=0)
        return replace(self, front=every[(below(every) == 0) & (every < self.worst).all(axis=1)])

    def among(self, rows: NDArray[np.bool_]) -> Belief:
        """The belief with a front of these points alone, rows (n,) of those told."""
        fitted = np.stack([loss.fitted[: len(rows)][rows] for loss in self.losses], axis=1)
        return replace(self, front=fitted[:0]).known(fitted)

    def expecting(self, at: Floats) -> Belief:
        """The belief once the points at (k, p) have turned out as expected."""
        met = np.ones(len(at), dtype=bool)
        for constraint in self.constraints:
            met &= constraint.expected(at) <= 0
        found = self.known(self.expected(at[met])) if met.any() else self
        losses = tuple(loss.expecting(at) for loss in self.losses)
        rest = tuple(constraint.expecting(at) for constraint in self.constraints)
        return replace(found, losses=losses, constraints=rest)

    def promise(self, at: Floats) -> Floats:
        """(s,) what the points at (s, p) promise."""
        total = np.zeros(len(at))
        if len(self.front):
            total += self._improvement(*_stack([loss.at(at) for loss in self.losses]))[0]
        for constraint in self.constraints:
            total += log_met(*constraint.at(at))[0]
        if self.price is not None:
            total -= self.price.unit * self.price.model.expected(at)
        return total

    def slopes(self, at: Floats) -> tuple[Floats, Floats]:
        """As `promise`, and its gradients (s, p)."""
        total, gradient = np.zeros(len(at)), np.zeros(at.shape)
        if len(self.front):
            mean, variance, means, variances = _stack([loss.slopes(at) for loss in self.losses])
            value, by_mean, by_variance = self._improvement(mean, variance)
            total += value
            gradient += (by_mean[..., None] * means + by_variance[..., None] * variances).sum(0)
        for constraint in self.constraints:
            mean, variance, means, variances = constraint.slopes(at)
            value, by_mean, by_variance = log_met(mean, variance)
            total += value
            gradient += by_mean[:, None] * means + by_variance[:, None] * variances
        if self.price is not None:
            mean, _, means, _ = self.price.model.slopes(at)
            total -= self.price.unit * mean
            gradient -= self.price.unit * means
        return total, gradient

    def drawn(self, at: Floats, rng: np.random.Generator) -> Floats:
        """(s,) what points at (s, p) promise if the losses are functions drawn from the belief.

        They are weighed at random into one, by the augmented Chebyshev norm, which reaches
        every point of the front: the mean is for all losses, the maximum for one.
        """
        weights = rng.standard_exponential(len(self.losses))
        losses = np.stack([path(loss, rng)(at) for loss in self.losses], axis=1)
        losses = (losses - self.worst) * (weights / weights.sum())
        total = -losses.max(axis=1) - _MEAN * losses.sum(axis=1)
        for constraint in self.constraints:
            total += log_met(*constraint.at(at))[0]
        return np.asarray(total)

    def _improvement(self, mean: Floats, variance: Floats) -> tuple[Floats, Floats, Floats]:
        """log I (s,) and its slopes (m, s) by mean and variance, (m, s) each."""
        if len(self.losses) == 1:
            if self.width is None:
                noise = self.losses[0].process.noise
                found = log_aei(mean[0], variance[0], float(self.front[0, 0]), noise)
            else:
                found = log_ucb(mean[0], variance[0], float(self.worst[0]), self.width)
            value, *slopes = found
            return value, slopes[0][None], slopes[1][None]
        return log_ehvi(mean, variance, *self.room)


def _stack(parts: Sequence[tuple[Floats, ...]]) -> tuple[Floats, ...]:
    """What is held of each loss, side by side: arrays that begin with m."""
    return tuple(np.stack(part) for part in zip(*parts, strict=True))
