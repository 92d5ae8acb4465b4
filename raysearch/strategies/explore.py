"""How population-based training explores: from a better member's hyperparameters to new ones.

perturb   each hyperparameter is multiplied by 0.8 or 1.2, with equal probability; or, with
          probability 1/4, drawn anew
resample  all of them are drawn anew
bandit    where a model of what stretches achieve promises most: `raysearch.strategies.bandit`

What is multiplied is the value of a logarithmic parameter, and of a number without bounds; of
others the distance from the lower bound. Results are kept within the bounds. Parameters with
steps move to a neighbour at least; unordered ones only change when they are drawn anew.

Jaderberg et al. (2017), "Population based training of neural networks", sec. 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from ..space import Space
from ..trial import Floats
from .coordinates import coordinates, straight

Explore = Callable[..., Floats]

_DOWN, _UP = 0.8, 1.2
_ANEW = 0.25  # probability that a hyperparameter is drawn anew
TRIES = 16  # to meet the constraints


def width(dim: int, tries: int = TRIES) -> int:
    """How many uniform numbers an exploration takes, that tries so often."""
    return tries * 3 * dim


def explored(explore: Explore, space: Space, x: Floats, u: Floats) -> Floats:
    """(1, d) near x (1, d), which is legal; x itself if no try meets the constraints.

    explore  `perturb`, `resample`, or a bandit
    u        (width,) uniform numbers
    """
    tries = explore(space, x, *u.reshape(3, -1, space.dim))
    legal = np.flatnonzero(space.allowed(space.decode(tries)))
    return tries[legal[:1]] if len(legal) else x


def resample(space: Space, x: Floats, anew: Floats, *unused: Floats) -> Floats:
    """All drawn anew; `anew` (k, d) is uniform."""
    return anew


def perturb(space: Space, x: Floats, anew: Floats, whether: Floats, side: Floats) -> Floats:
    """(k, d) tries; those of uniform numbers say whether to draw anew, and in which direction."""
    kinds, factor = coordinates(space), np.where(side < 0.5, _DOWN, _UP)
    to = np.repeat(x, len(side), axis=0)
    for i in kinds.metric:
        to[:, i] = _multiplied(space, int(i), to[:, i], factor[:, i])
    return np.where(whether < _ANEW, anew, to)


def _multiplied(space: Space, i: int, x: Floats, factor: Floats) -> Floats:
    """Coordinate i of points (k,), times factors (k,)."""
    axis = space.axes[i]
    if straight(space)[i]:
        z = ndtri(np.clip(x, 2.0**-53, 1 - 2.0**-53))
        return np.asarray(ndtr(factor * z), dtype=np.float64)
    if getattr(axis, "log", False):
        far = x + np.log(factor) / math.log(axis.high / axis.low)  # type: ignore[attr-defined]
    else:
        far = x * factor
    to: Floats = np.clip(far, 0.0, 1.0)
    if math.isinf(axis.size):
        return to
    before, after = (axis.index(axis.decode(at)) for at in (np.clip(x, 0, 1), to))
    after = np.where(after == before, before + np.where(factor < 1, -1, 1), after)
    return np.asarray(axis.encode(axis.nth(np.clip(after, 0, int(axis.size) - 1))))
