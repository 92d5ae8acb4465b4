"""A bandit that explores: hyperparameters that promise the most progress in the next stretch.

That a stretch with hyperparameters x, from level t - 1 to level t, changes the loss by y is
believed to be

    y = f(x, t) + noise,   f ~ GP(mu, s k(r)),   r^2 = sum_g w_g d_g(x, x') + w_t |t - t'| / T

over T levels. What was good early in a training says less and less of what is good later: with
k = exp(-r^2 / 2) the last term is the factor (1 - omega)^(|t - t'| / 2) of the paper, for
1 - omega = exp(-w_t / T). Here k is Matern's, as of all models of this package (`models.gp`), and
w_t is learned as the other weights are. |t - t'| is a squared distance: that of the points
(1 .. 1, 0 .. 0) with t and t' ones. As stretches achieve less and less, y is standardised among
those of the same level. Stretches that run count as if they had gone as expected, so that they only
take doubt away. The bandit goes where

    m(x, t) - sqrt(b_t) s(x, t),   b_t = 0.8 log(4 t)

is least, of random candidates; m and s are the mean of f and its standard deviation. Unordered
parameters are not among what it chooses: they are perturbed.

Parker-Holder, Nguyen & Roberts (2020), "Provably efficient online hyperparameter optimization with
population-based bandits" (PB2), Algorithm 1; Bogunovic, Scarlett & Cevher (2016), "Time-varying
Gaussian process bandit optimization", sec. 5, for b_t; Desautels, Krause & Burdick (2014),
"Parallelizing exploration-exploitation tradeoffs in Gaussian process bandit optimization".

x  (n, d)  points of the unit cube    t  (n,)  levels from 1 to T    y  (n,)  changes of the loss
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.fitting import fit, prior
from ..models.gp import condition
from ..models.kernels import Layout
from ..models.outputs import normalised
from ..models.threads import one_thread
from ..space import Space
from ..trial import Floats, Ints
from .coordinates import coordinates
from .explore import perturb
from .features import encoding, features

CANDIDATES = 512
_SEEN = 256  # stretches that are remembered


@dataclass(frozen=True, eq=False)
class Progress:
    """What the latest stretches have achieved; y is NaN where one has failed."""

    x: Floats
    t: Ints
    y: Floats

    def told(self, x: Floats, t: Ints, y: Floats) -> Progress:
        """With these stretches, too."""
        return Progress(
            np.concatenate([self.x, x])[-_SEEN:],
            np.concatenate([self.t, t])[-_SEEN:],
            np.concatenate([self.y, y])[-_SEEN:],
        )


def nothing(dim: int) -> Progress:
    """Before the first stretch."""
    return Progress(np.empty((0, dim)), np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True, eq=False)
class Bandit:
    """Explores as `perturb` does, on being called.

    seen     what stretches have achieved
    running  (k, d) hyperparameters of those that run
    until    (k,) the levels where they end
    t        the level where the stretch to be explored for ends
    levels   T
    """

    seen: Progress
    running: Floats
    until: Ints
    t: int
    levels: int

    @one_thread()
    def __call__(
        self, space: Space, x: Floats, anew: Floats, whether: Floats, side: Floats
    ) -> Floats:
        """(k, d) candidates, the best first; the uniform numbers are as of `perturb`."""
        fixed = coordinates(space).unordered
        at = anew.copy()
        at[:, fixed] = perturb(space, x, anew[:1], whether[:1], side[:1])[:, fixed]
        return at[np.argsort(self.bound(space, at), kind="stable")]

    def bound(self, space: Space, at: Floats) -> Floats:
        """(k,) what the loss may change by in the next stretch, in the best case, at (k, d)."""
        layout, points = self._layout(space), self._features(space, self.seen.x, self.seen.t)
        y, theta = self._normalised(), prior(layout.groups)[0]
        if len(y) > 1:
            theta = fit(layout, points, y)
        believed = condition(layout, theta, points).given(y)
        believed = believed.expecting(self._features(space, self.running, self.until))
        levels = np.full(len(at), self.t)
        mean, variance = believed.at(self._features(space, space.snap(at), levels))
        return np.asarray(mean - np.sqrt(0.8 * np.log(4 * self.t) * variance))

    def _normalised(self) -> Floats:
        """(n,) changes as a model can take them: each among those of its level."""
        y = np.empty(len(self.seen.y))
        for t in np.unique(self.seen.t):
            there = self.seen.t == t
            y[there] = normalised(self.seen.y[there])
        return y

    def _layout(self, space: Space) -> Layout:
        """Of the space, and one group more, for the time."""
        own, more = encoding(space).layout, np.zeros(self.levels, dtype=np.int64)
        group, marks = np.append(own.group, more + own.groups), np.append(own.marks, more)
        return Layout(group, marks, np.zeros(len(group), dtype=bool))

    def _features(self, space: Space, x: Floats, t: Ints) -> Floats:
        """(n, p) of stretches."""
        past = np.arange(self.levels) < t[:, None]
        return np.concatenate([features(space, x), past / np.sqrt(self.levels)], axis=1)
