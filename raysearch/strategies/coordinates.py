"""What the coordinates of a space are for methods that tell kinds of parameters apart.

metric     a neighbour is alike: continuous and ordered parameters; n of them
unordered  values that are merely different; c parameters with K_1 .. K_c values

A parameter with one value is neither. Samples y of a distribution are not bounded: `folded` takes
those of a continuous coordinate into [0, 1]; `images` goes back. Ordered coordinates end at their
outermost values, wherever y lies beyond. A number of an `Array` without bounds is a straight line:
value = sqrt(2 pi) (y - 1/2), which in the middle is as long in y as in its coordinate.

Hansen's transformation of bounded coordinates is that of the package cma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ..space import Array, Space
from ..trial import Floats, Ints
from .base import Mask
from .memo import per_space
from .moves import reflect

WIDEST = 0.25  # standard deviation; with it, four of them are the unit interval
EDGE = 0.05  # how far from the bounds places begin to turn, or means end beyond them
_BEYOND = 1e-12  # of how far a sample is beyond a bound, how far inside its place is
_LENGTH = math.sqrt(2 * math.pi)  # of the unit interval in y, in values without bounds
_INSIDE = 2.0**-53  # keeps 0 and 1 away from infinity


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Which coordinates are of which kind.

    metric     (n,) columns of the unit cube
    discrete   (n,) which of these have steps
    unordered  (c,) columns of the unit cube
    sizes      (c,) how many values each has
    plain      whether all are continuous and always active
    straight   (n,) which of the metric ones have no bounds
    """

    metric: Ints
    discrete: Mask
    unordered: Ints
    sizes: Ints
    plain: bool
    straight: Mask


@per_space
def coordinates(space: Space) -> Coordinates:
    """The coordinates of this space, by kind."""
    metric, discrete, unordered, sizes = [], [], [], []
    for i, parameter in enumerate(space.axes):
        if parameter.unordered:
            if parameter.size > 1:
                unordered.append(i)
                sizes.append(int(parameter.size))
        elif parameter.size > 1:
            metric.append(i)
            discrete.append(math.isfinite(parameter.size))
    return Coordinates(
        np.array(metric, dtype=np.int64),
        np.array(discrete, dtype=bool),
        np.array(unordered, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        plain=all(math.isinf(p.size) and not p.conditions for p in space.axes),
        straight=straight(space)[metric],
    )


@per_space
def straight(space: Space) -> Mask:
    """(d,) which coordinates have no bounds."""
    found = np.zeros(space.dim, dtype=bool)
    for name, parameter in space.parameters.items():
        found[space.places[name]] = isinstance(parameter, Array) and parameter.low is None
    return found


def snapped(space: Space, x: Floats) -> Floats:
    """The points (k, d) with their unordered coordinates where the values have their place."""
    kinds, x = coordinates(space), x.copy()
    k = np.minimum(np.floor(x[:, kinds.unordered] * kinds.sizes), kinds.sizes - 1)
    x[:, kinds.unordered] = (k + 0.5) / kinds.sizes
    return x


def renewed(space: Space, crossed: Mask, x: Floats, keys: Floats) -> Mask:
    """(k, d) coordinates that are to change, so that no point comes a second time.

    Where none of those `crossed` is continuous and active at x (k, d), one that is joins them:
    else the same values could be put together again. keys (k, d), random, say which.
    """
    kinds, can = coordinates(space), np.ones_like(crossed)
    if not kinds.plain:
        free = kinds.metric[~kinds.discrete]
        can[:] = False
        can[:, free] = space.active(space.decode(x))[:, free]
    lacking = np.flatnonzero(can.any(axis=1) & ~(can & crossed).any(axis=1))
    crossed = np.array(crossed)  # of the same layout, unlike crossed.copy()
    crossed[lacking, np.where(can[lacking], keys[lacking], -1.0).argmax(axis=1)] = True
    return crossed


def folded(y: Floats, straight: Mask | None = None) -> Floats:
    """The places in [0, 1] that samples y (any shape; (k, n) with `straight`) of the real line
    stand for.

    straight  (n,) which coordinates have no bounds; None: all have

    y itself, but for a margin e = 0.05 at the bounds, where a parabola turns round: x = 0 at
    y = -e, and (y + e)^2 / (4 e) up to y = e; beyond -e and 1 + e are mirrors. So an optimum at
    a bound is one like any other, and is come to exactly.

    >>> folded(np.array([-0.05, 0.5, 1.05, 1.1])).round(6).tolist()
    [0.0, 0.5, 1.0, 0.9875]
    """
    if straight is not None and straight.any():
        x = np.empty_like(y)
        x[:, straight] = ndtr(_LENGTH * (y[:, straight] - 0.5))
        x[:, ~straight] = folded(y[:, ~straight])
        return x
    e, span = EDGE, 1 + 2 * EDGE
    turned = (y < e) | (y > 1 - e)
    if not turned.any():
        return y
    t = span * reflect((y + e) / span) - e
    low, high = (t + e) ** 2 / (4 * e), 1 - (1 + e - t) ** 2 / (4 * e)
    return np.where(turned, np.where(t < e, low, np.where(t > 1 - e, high, t)), y)


def stopped(y: Floats, straight: Mask) -> Floats:
    """The places (k, n) of samples y (k, n): y itself, beyond the bounds as good as at them.

    straight  (n,) which coordinates have no bounds

    Places beyond are told apart by 1e-12 of how far they are, so that no point comes twice.

    >>> stopped(np.array([[-0.5, 0.5, 1.0]]), np.zeros(3, dtype=bool)).tolist()
    [[5e-13, 0.5, 1.0]]
    """
    inside = y.clip(0, 1)
    x = inside - _BEYOND * (y - inside)
    return np.where(straight, ndtr(_LENGTH * (y - 0.5)), x) if straight.any() else x


def begun(x: Floats, straight: Mask) -> Floats:
    """(k, n) samples whose places are x (k, n): inverse to `stopped`."""
    low, high = x / _BEYOND, (1 - x) / _BEYOND
    y = np.where(low < 1, -low, np.where(high < 1, 1 + high, x))
    far = ndtri(np.clip(x, _INSIDE, 1 - _INSIDE)) / _LENGTH + 0.5
    return np.where(straight, far, y)


def images(x: Floats, at: Floats, straight: Mask | None = None) -> Floats:
    """(k, n) of all samples that stand for places x (k, n), the nearest to `at` (n,).

    straight  (n,) which coordinates have no bounds; None: all have

    >>> images(np.array([[0.1], [0.8], [0.0]]), np.array([-0.2])).round(6).ravel().tolist()
    [-0.2, -0.9, -0.05]
    """
    if straight is not None and straight.any():
        y = np.empty_like(x)
        y[:, straight] = ndtri(np.clip(x[:, straight], _INSIDE, 1 - _INSIDE)) / _LENGTH + 0.5
        y[:, ~straight] = images(x[:, ~straight], at[~straight])
        return y
    e, span = EDGE, 1 + 2 * EDGE
    low, high = 2 * np.sqrt(e * x) - e, 1 + e - 2 * np.sqrt(e * (1 - x))
    t = (np.where(x < e, low, np.where(x > 1 - e, high, x)) + e) / span
    to = (at + e) / span
    same = t + 2 * np.rint((to - t) / 2)
    mirrored = 2 * np.rint((to + t) / 2) - t
    return span * np.where(np.abs(same - to) <= np.abs(mirrored - to), same, mirrored) - e


def thresholds(space: Space, m: Floats) -> tuple[Floats, Floats]:
    """Where the values begin and end in which discrete metric coordinates lie.

    m  (n,) places

    Returns (s,) lower and (s,) upper ends for the s discrete ones; of an outermost value both
    are its only neighbour's.
    """
    kinds = coordinates(space)
    ends = []
    for i, at in zip(kinds.metric[kinds.discrete], m[kinds.discrete], strict=True):
        parameter, last = space.axes[i], int(space.axes[i].size) - 1
        k = int(parameter.index(parameter.decode(np.clip(np.array([at]), 0, 1)))[0])
        edges = np.array([max(k - 1, 0), min(k, last - 1)])
        below, above = (parameter.encode(parameter.nth(edges + j)) for j in (0, 1))
        ends.append((below + above) / 2)
    low, high = np.array(ends).reshape(-1, 2).T
    return low, high
