"""Branches: points of a conditional space in which the same parameters are active.

A model of the whole space holds it against a branch that its few random points are worse than what
has been refined elsewhere, and would never go back to it. So no branch is given up before it has
had a search of its own: until two trials have been made for each free parameter that is active in
it, every third suggestion is one that is best for its branch, whatever is known of others. Of such
branches the one that was tried least comes first; that of the best trial needs no help.

A parameter is free if it takes several values and no other depends on it. A branch of k free
parameters has at least 2^k points, and 2^k >= 2 k; so those trials can be made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..space import Space
from ..trial import Floats
from .memo import per_space

Mask = NDArray[np.bool_]

_TRIALS = 2  # for each free parameter
_TURN = 3  # one of so many suggestions


def neglected(space: Space, asked: int, told: Floats, waiting: Floats, best: int) -> Mask | None:
    """(d,) which parameters are active in the branch that is to be searched for its own sake.

    asked    how many points have been asked for
    told     (n, d) points with results
    waiting  (p, d) points that are pending
    best     row of the best point told

    None if the whole space is to be searched.
    """
    free = _free(space)
    if free is None or asked % _TURN:
        return None
    active = space.active(space.decode(np.concatenate([told, waiting])))
    branches, of, tried = np.unique(active, axis=0, return_inverse=True, return_counts=True)
    of = of.reshape(-1)
    wanting = tried < _TRIALS * branches[:, free].sum(axis=1)
    wanting &= np.isin(np.arange(len(branches)), of[: len(told)])
    wanting[of[best]] = False
    if not wanting.any():
        return None
    return np.asarray(branches[np.argmin(np.where(wanting, tried, len(active)))])


def inside(space: Space, x: Floats, branch: Mask | None) -> Mask:
    """(n,) which of the points x (n, d) are of this branch; None: all are."""
    if branch is None:
        return np.ones(len(x), dtype=bool)
    return np.asarray((space.active(space.decode(x)) == branch).all(axis=1))


@per_space
def _free(space: Space) -> Mask | None:
    """(d,) which parameters are free; None: all are active everywhere."""
    parents = {p for parameter in space.parameters.values() for p, _ in parameter.conditions}
    if not parents:
        return None
    free = np.array([axis.size > 1 for axis in space.axes])
    for name in parents:
        free[space.places[name]] = False
    return free
