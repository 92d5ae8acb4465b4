"""Neighbours of a point, in every kind of parameter.

continuous  x + sigma z, z ~ N(0, 1), reflected at the bounds
ordered     the same, rounded to a value; where that is no move, with probability 1/d one
            value up or down
unordered   with probability max(1/d, sigma) another value, each equally likely
not active  drawn anew, uniformly: so a parameter that becomes active starts afresh

d is the number of parameters, so that about one discrete parameter changes at a time.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from ..space import Space
from ..trial import Floats, Ints
from .memo import per_space

_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity


def neighbours(space: Space, at: Floats, sigma: Floats, draws: Floats) -> Floats:
    """One neighbour of each point.

    at     (n, d) points of the unit cube
    sigma  (n,) steps, in edges of the cube
    draws  (n, 3 d) uniform numbers in [0, 1)

    Returns (n, d) points; constraints are not looked at.
    """
    z, coin, anew = np.split(draws, 3, axis=1)
    x = np.where(space.active(space.decode(at)), at, anew)
    moved = reflect(x + sigma[:, None] * ndtri(z + _HALF_ULP))
    rate = 1 / space.dim
    for i in _discrete(space):
        parameter = space.axes[i]
        last = int(parameter.size) - 1
        k = parameter.index(parameter.decode(x[:, i]))
        if not parameter.unordered:
            to = parameter.index(parameter.decode(moved[:, i]))
            nudge = (to == k) & (coin[:, i] < rate)
            step = np.where(z[:, i] < 0.5, -1, 1)
            step = np.where((k + step < 0) | (k + step > last), -step, step)
            to = np.where(nudge, np.clip(k + step, 0, last), to)
        else:
            other = (k + 1 + np.floor(anew[:, i] * last).astype(np.int64)) % (last + 1)
            to = np.where(coin[:, i] < np.maximum(rate, sigma), other, k)
        moved[:, i] = parameter.encode(parameter.nth(to))
    return moved


def reflect(x: Floats) -> Floats:
    """Back into [0, 1], mirrored at the bounds.

    >>> reflect(np.array([-0.25, 0.5, 1.25, 2.5]))
    array([0.25, 0.5 , 0.75, 0.5 ])
    """
    return 1.0 - np.abs(1.0 - np.mod(x, 2.0))


@per_space
def _discrete(space: Space) -> Ints:
    return np.array([i for i, p in enumerate(space.axes) if math.isfinite(p.size)])
