"""Belief: what is held of the loss and the constraints of a search, and what points promise.

    promise(x) = log EI(x; t) + sum_j log P(c_j(x) <= 0)

t is the least expected loss of any known point that meets all constraints. As long as there
is none, the promise is that of meeting them.

n  points told    p  features    m  objectives    c  constraints
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.acquisition import Promise, log_ei, log_met
from ..models.gp import Posterior, Process
from ..models.outputs import normalised
from ..trial import Floats

Criterion = Callable[[Floats, Floats], Promise]

_STEEPEST = 3.0  # of a constraint, in the usual size of its values


def targets(loss: Floats, constraint: Floats) -> list[Floats]:
    """What models are given: the loss, and each constraint, (n,) each; NaN: unknown.

    Constraints keep their sign, and are limited to a few times their median size.
    """
    columns = [normalised(loss[:, 0])]
    for values in constraint.T:
        size = np.abs(values[np.isfinite(values)])
        unit = float(np.median(size)) if len(size) else 1.0
        columns.append(np.clip(values / (unit or 1.0), -_STEEPEST, _STEEPEST))
    return columns


def feasible(loss: Floats, constraint: Floats) -> NDArray[np.bool_]:
    """(n,) which trials have a loss and meet all constraints."""
    return np.isfinite(loss[:, 0]) & (constraint <= 0).all(axis=1)


def believed(
    models: tuple[Process, ...], y: list[Floats], at: Floats, good: NDArray[np.bool_]
) -> Belief:
    """What is held, given what was told.

    models  one for each of y, which have seen the points where it is known
    y       as of `targets`
    at      (n, p) features of the points
    good    (n,) as of `feasible`
    """
    held = [model.given(column[~np.isnan(column)]) for model, column in zip(models, y, strict=True)]
    target = float(held[0].at(at[good])[0].min()) if good.any() else math.inf
    return Belief(held[0], tuple(held[1:]), target)


@dataclass(frozen=True, eq=False)
class Belief:
    """The loss and the constraints as they are believed to be.

    loss         normalised
    constraints  c of them
    target       t; infinity: no point is known that meets all constraints
    """

    loss: Posterior
    constraints: tuple[Posterior, ...]
    target: float

    def expecting(self, at: Floats) -> Belief:
        """The belief once the points at (k, p) have turned out as expected."""
        met = np.ones(len(at), dtype=bool)
        for constraint in self.constraints:
            met &= constraint.at(at)[0] <= 0
        target = self.target
        if met.any():
            target = min(target, float(self.loss.at(at[met])[0].min()))
        rest = tuple(constraint.expecting(at) for constraint in self.constraints)
        return Belief(self.loss.expecting(at), rest, target)

    def promise(self, at: Floats) -> Floats:
        """(s,) what the points at (s, p) promise."""
        total = np.zeros(len(at))
        if self.target < math.inf:
            total += log_ei(*self.loss.at(at), self.target)[0]
        for constraint in self.constraints:
            total += log_met(*constraint.at(at))[0]
        return total

    def slopes(self, at: Floats) -> tuple[Floats, Floats]:
        """As `promise`, and its gradients (s, p)."""
        total, gradient = np.zeros(len(at)), np.zeros(at.shape)
        parts: list[tuple[Posterior, Criterion]] = [(c, log_met) for c in self.constraints]
        if self.target < math.inf:
            parts.append((self.loss, lambda mean, var: log_ei(mean, var, self.target)))
        for posterior, criterion in parts:
            mean, variance, mean_slopes, variance_slopes = posterior.slopes(at)
            value, by_mean, by_variance = criterion(mean, variance)
            total += value
            gradient += by_mean[:, None] * mean_slopes + by_variance[:, None] * variance_slopes
        return total, gradient
