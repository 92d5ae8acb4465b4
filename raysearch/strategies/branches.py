"""Branches of a conditional space: the parameters that one condition opens.

A model of the whole space holds it against a branch that its few random points are worse than what
has been refined elsewhere, and would never go back to it. So no branch of which a result is known
is given up before it has had a search of its own: until two trials have been made for each of its
parameters and of those that are active everywhere, every third suggestion is one that is best for
its branch, whatever is known of others. Of such branches the one that was tried least comes first;
that of the best trial needs no help.

A branch has the parameters that are active under the same condition, but for those that take one
value only, or that open branches themselves. So where k switches open one parameter each, there are
k branches, and not 2^k. A value that opens nothing is no branch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..space import Space
from ..trial import Floats
from .memo import per_space

Mask = NDArray[np.bool_]

_TRIALS = 2  # for each parameter that matters in the branch
_TURN = 3  # one of so many suggestions


def neglected(space: Space, asked: int, told: Floats, waiting: Floats, best: int) -> Mask | None:
    """(d,) the parameters of the branch that is to be searched for its own sake.

    asked    how many points have been asked for
    told     (n, d) points with results
    waiting  (p, d) points that are pending
    best     row of the best point told

    None if the whole space is to be searched.
    """
    branches = _branches(space)
    if not branches or asked % _TURN:
        return None
    active = space.active(space.decode(np.concatenate([told, waiting])))
    least, found = len(active), None
    for branch, wanted in branches:
        there = np.asarray(active[:, branch].all(axis=1))
        tried = int(there.sum())
        wanting = tried < min(least, wanted)
        if wanting and there[: len(told)].any() and not there[best]:
            least, found = tried, branch
    return found


def inside(space: Space, x: Floats, branch: Mask | None) -> Mask:
    """(n,) which of the points x (n, d) are of this branch; None: all are."""
    if branch is None:
        return np.ones(len(x), dtype=bool)
    return np.asarray(space.active(space.decode(x))[:, branch].all(axis=1))


@per_space
def _branches(space: Space) -> tuple[tuple[Mask, int], ...]:
    """The branches, as masks (d,) of their parameters, and how many trials each is to have."""
    openers = {p for parameter in space.parameters.values() for p, _ in parameter.conditions}
    found: dict[str, Mask] = {}
    for name, parameter in space.parameters.items():
        if parameter.size > 1 and name not in openers:
            condition = repr(parameter.conditions)
            mask = found.setdefault(condition, np.zeros(space.dim, dtype=bool))
            mask[space.places[name]] = True
    everywhere = int(found.pop(repr(()), np.zeros(0)).sum())
    return tuple((mask, _TRIALS * (int(mask.sum()) + everywhere)) for mask in found.values())
