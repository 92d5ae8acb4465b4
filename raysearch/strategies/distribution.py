"""The distribution of CMA-ES over a whole space: normal where values have neighbours, and
independent probabilities where they are merely different.

A sample is a row of n metric places y ~ N(m, sigma^2 C), as drawn, and of c indices of values.
Its point lies where y is folded into [0, 1], or in the stretch of m + a (y - m) where there are
steps.

n  metric coordinates, c  unordered ones (`coordinates`)
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..models.threads import one_thread
from ..space import Space
from ..trial import Floats
from .base import Mask
from .categories import Categories, moved, sampled, uniformly
from .coordinates import WIDEST, coordinates, folded, images
from .gaussian import Gaussian, constants, learn, settled, start, times
from .margin import with_margin
from .slowing import Rates, first_rates, slowed

_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity
_SMALL = 50  # coordinates up to which BLAS takes one thread by itself


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


def drawn(space: Space, now: Distribution, u: Floats) -> Floats:
    """Samples (k, n + c) at uniform numbers u (k, d)."""
    kinds, g = coordinates(space), now.g
    z = ndtri(u[:, kinds.metric] + _HALF_ULP)
    y = g.m + g.sigma * times(g.root, z)
    if not len(kinds.sizes):
        return y
    return np.concatenate([y, sampled(now.cats, u[:, kinds.unordered])], axis=1)


def points(space: Space, now: Distribution, rows: Floats) -> Floats:
    """Points (k, d) of samples; ordered coordinates may lie beyond [0, 1]."""
    kinds, m, n = coordinates(space), now.g.m, len(now.g.m)
    if kinds.plain:
        return folded(rows, kinds.straight)
    x = np.full((len(rows), space.dim), 0.5)
    y = rows[:, :n]
    x[:, kinds.metric] = np.where(kinds.discrete, m + now.a * (y - m), folded(y, kinds.straight))
    if len(kinds.sizes):
        x[:, kinds.unordered] = (rows[:, n:] + 0.5) / kinds.sizes
    return x


def samples(space: Space, now: Distribution, x: Floats) -> Floats:
    """Samples (k, n + c) that stand for points (k, d): inverse to `points`."""
    kinds, m = coordinates(space), now.g.m
    at = x[:, kinds.metric]
    y = images(np.clip(at, 0, 1), m, kinds.straight)
    y = np.where(kinds.discrete, m + (at - m) / now.a, y)
    k = np.minimum(np.floor(x[:, kinds.unordered] * kinds.sizes), kinds.sizes - 1)
    return np.concatenate([y, k], axis=1)


def after(
    space: Space, now: Distribution, rows: Floats, own: Mask, adaptive: bool
) -> tuple[Distribution, float]:
    """The distribution after a generation, and the condition number of its covariance.

    rows      (lambda, n + c) samples, best first
    own       (lambda,) which of them this very distribution has drawn
    adaptive  whether rates are measured
    """
    kinds, n, lam = coordinates(space), len(now.g.m), len(rows)
    weights = constants(n, lam, now.g.c.ndim == 1).weights[: lam // 2]
    cats = moved(now.cats, rows[: lam // 2, n:].astype(np.int64), weights, kinds.sizes)
    if not n:
        return Distribution(now.g, now.a, now.rates, cats), 1.0
    with one_thread() if n > _SMALL else nullcontext():
        g, rates = learn(now.g, rows[:, :n], own), now.rates
        if adaptive:
            rates, g = slowed(rates, now.g, g)
        g, condition = settled(g, WIDEST)
    g, a = with_margin(space, g, now.a, 1 / (n * lam))
    return Distribution(g, a, rates, cats), condition
