"""The distribution of CMA-ES over a whole space: normal where values have neighbours, and
independent probabilities where they are merely different.

A sample is a row of n metric places y ~ N(m, sigma^2 C), as drawn, and of c indices of values.
Its point lies at reflect(y), or in the stretch of m + a (y - m) where there are steps.

n  metric coordinates, c  unordered ones (`coordinates`)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..space import Space
from ..trial import Floats
from .base import Mask
from .categories import Categories, moved, sampled, uniformly
from .coordinates import coordinates, folded, images
from .gaussian import Gaussian, constants, learn, settled, start, times
from .margin import with_margin
from .slowing import Rates, first_rates, slowed

_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity


@dataclass(frozen=True, eq=False)
class Distribution:
    """What is known of good points.

    g      of metric coordinates
    a      (n,) scales of the margin
    rates  at which g learns
    cats   of unordered coordinates
    """

    g: Gaussian
    a: Floats
    rates: Rates
    cats: Categories


def fresh(space: Space, m: Floats, sigma: float, diagonal: bool) -> Distribution:
    """N(m, sigma^2 I), and every value as likely as the others."""
    g = start(m, sigma, diagonal)
    return Distribution(g, np.ones_like(m), first_rates(g), uniformly(coordinates(space).sizes))


def points(space: Space, now: Distribution, u: Floats) -> Floats:
    """Points (k, d) at uniform numbers u (k, d); ordered coordinates may lie beyond [0, 1]."""
    kinds, g = coordinates(space), now.g
    z = ndtri(u[:, kinds.metric] + _HALF_ULP)
    x = np.full(u.shape, 0.5)
    x[:, kinds.metric] = folded(kinds, g.m + now.a * g.sigma * times(g.root, z))
    if len(kinds.sizes):
        x[:, kinds.unordered] = (sampled(now.cats, u[:, kinds.unordered]) + 0.5) / kinds.sizes
    return x


def samples(space: Space, now: Distribution, x: Floats) -> Floats:
    """Rows (k, n + c) of the samples that stand for points, as `points` gave them."""
    kinds, m = coordinates(space), now.g.m
    at = x[:, kinds.metric]
    y = m + (np.where(kinds.discrete, at, images(at, m)) - m) / now.a
    if not len(kinds.sizes):
        return y
    k = np.floor(x[:, kinds.unordered] * kinds.sizes)
    return np.concatenate([y, np.minimum(k, kinds.sizes - 1)], axis=1)


def after(
    space: Space, now: Distribution, rows: Floats, drawn: Mask, adaptive: bool
) -> tuple[Distribution, float]:
    """The distribution after a generation, and the condition number of its covariance.

    rows      (lambda, n + c) samples, best first
    drawn     (lambda,) which of them this very distribution has drawn
    adaptive  whether rates are measured
    """
    kinds, n, lam = coordinates(space), len(now.g.m), len(rows)
    weights = constants(n, lam, now.g.c.ndim == 1).weights[: lam // 2]
    cats = moved(now.cats, rows[: lam // 2, n:].astype(np.int64), weights, kinds.sizes)
    if not n:
        return Distribution(now.g, now.a, now.rates, cats), 1.0
    g, rates = learn(now.g, rows[:, :n], drawn), now.rates
    if adaptive:
        rates, g = slowed(rates, now.g, g)
    g, condition = settled(g)
    g, a = with_margin(space, g, now.a, 1 / (n * lam))
    return Distribution(g, a, rates, cats), condition
