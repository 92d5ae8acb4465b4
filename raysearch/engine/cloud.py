"""A generation of an evolution strategy in very many dimensions, share by share.

Members come in pairs m + sigma s, m - sigma s. s is not stored and does not travel: pair k of
generation g draws it from counters that are (g, k) alone, once to be evaluated and once more for
the sums that move m and sigma. s_j = (c_j - 4) / sqrt(2), c_j the number of ones among 8 random
bits: symmetric, of mean 0 and variance 1, independent, and ten times as cheap as a normal number;
its kurtosis is 2.75 instead of 3. Whoever has m and sigma can thus do any share of the pairs, and
what it returns are losses, or sums of as many numbers as m has.

Memory: m, sigma, the members that are evaluated together (at most 2^22 numbers, or two members)
and, for the sums, two vectors.

d  dimensions    m (d,), sigma (d,) of the same type
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ObjectiveError
from ..rng import ones
from ..trial import Floats

_TOGETHER = 2**22  # numbers in members that are evaluated together
_BLOCK = 2**16  # coordinates that are worked on together, so that they stay in the cache
_PAIRS = 2**32  # in one generation, at most

Vector = NDArray[Any]


@dataclass(frozen=True)
class Cloud:
    """The distribution of a generation.

    m, sigma    (d,) mean and steps
    seed        of the search
    generation  from 0
    """

    m: Vector
    sigma: Vector
    seed: int
    generation: int

    def blocks(self) -> Iterator[slice]:
        """The coordinates, in parts."""
        for first in range(0, len(self.m), _BLOCK):
            yield slice(first, min(first + _BLOCK, len(self.m)))

    def steps(self, pair: int, block: slice, out: Vector) -> Vector:
        """sqrt(2) s of a pair, in a block of coordinates."""
        n = block.stop - block.start
        k = self.generation * _PAIRS + pair
        np.subtract(ones(self.seed, k, block.start, n), 4, out=out[:n], dtype=out.dtype)
        return out[:n]


def losses(objective: Callable[[Vector], Any], cloud: Cloud, first: int, last: int) -> Floats:
    """(2 (last - first),) losses of pairs first .. last-1, those of a pair side by side.

    objective  of members (k, d), returns (k,)

    Raises ObjectiveError if it returns something else.
    """
    d = len(cloud.m)
    most = max(1, _TOGETHER // (2 * d))
    scratch = np.empty(_BLOCK, cloud.m.dtype)
    x = np.empty((2 * min(most, last - first), d), cloud.m.dtype)
    found = []
    for begin in range(first, last, most):
        pairs = range(begin, min(begin + most, last))
        for block in cloud.blocks():
            m, sigma = cloud.m[block], cloud.sigma[block] * np.sqrt(0.5, dtype=cloud.m.dtype)
            for i, pair in enumerate(pairs):
                step = cloud.steps(pair, block, scratch)
                step *= sigma
                np.add(m, step, out=x[2 * i, block])
                np.subtract(m, step, out=x[2 * i + 1, block])
        found.append(_checked(objective(x[: 2 * len(pairs)]), 2 * len(pairs)))
    return np.concatenate(found)


def sums(
    cloud: Cloud, first: int, slope: Vector, spread: Vector | None
) -> tuple[Vector, Vector | None]:
    """Sums over the pairs first .. first+p-1: of slope s, and of spread (s^2 - 1).

    slope, spread  (p,) numbers of the pairs; without spread there is no second sum

    Returns vectors (d,).
    """
    d, dtype = len(cloud.m), cloud.m.dtype
    g = np.zeros(d, dtype)
    v = None if spread is None else np.zeros(d, dtype)
    step, part = np.empty(_BLOCK, dtype), np.empty(_BLOCK, dtype)
    for block in cloud.blocks():
        n = block.stop - block.start
        for i in range(len(slope)):
            s = cloud.steps(first + i, block, step)
            g[block] += np.multiply(s, dtype.type(slope[i]), out=part[:n])
            if v is not None and spread is not None:
                s *= s
                s *= dtype.type(spread[i])
                v[block] += s
    g *= dtype.type(math.sqrt(0.5))
    if v is not None and spread is not None:
        v *= dtype.type(0.5)
        v -= dtype.type(spread.sum())
    return g, v


def _checked(value: Any, k: int) -> Floats:
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (k,):
        what = f"shape {np.shape(value)}" if hasattr(value, "shape") else f"{value!r:.80}"
        raise ObjectiveError(
            f"objective: expected the losses of {k} members, an array of shape ({k},), found {what}"
        )
    return found
