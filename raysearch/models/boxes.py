"""Boxes: the losses that would improve on a front, cut into boxes that do not overlap.

Whatever is no better than a point p of the front in any column, {z >= p}, has been had. What
improves on the front, up to a corner `worst`, is all the rest:

    {z <= worst} without the union over p of {z >= p}

It begins as one box, and each p takes {z >= p} out of every box [low, high] that reaches beyond
it. What is left of a box are slabs, cut off one after the other:

    z_i >= p_i for all i before j,   z_j <= p_j,       j = m, 1, .., m - 1

Those of different boxes that lie side by side are joined again. Points come by their last loss,
the least first; so what is cut off first, at j = m, lies before all points to come, and stays as
it is. Of f points there are f + 1 boxes of two losses and 2 f + 1 of three, as few as can be, and
more of the order of f^2 of four.

Yang, Emmerich, Deutz & Bäck (2019), "Efficient computation of expected hypervolume improvement
using box decomposition algorithms", which has this sweep for three losses; Lacour, Klamroth &
Fonseca (2017), "A box decomposition algorithm to compute the hypervolume indicator".

f  points of the front    m  losses    k  boxes    low, high  (k, m) their corners
"""

from __future__ import annotations

import numpy as np

from ..trial import Floats


def boxes(front: Floats, worst: Floats) -> tuple[Floats, Floats]:
    """The boxes, low and high, of what improves on a front (f, m) below the corner worst (m,).

    >>> low, high = boxes(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([2.0, 2.0]))
    >>> np.stack([low, high], axis=1).tolist()
    [[[-inf, -inf], [2.0, 0.0]], [[-inf, 0.0], [1.0, 1.0]], [[-inf, 1.0], [0.0, 2.0]]]
    """
    m = len(worst)
    low, high = np.full((1, m), -np.inf), np.asarray(worst, dtype=np.float64)[None]
    for p in front[np.argsort(front[:, -1], kind="stable")]:
        reach = (p < high).all(axis=1)
        kept = [(low[~reach], high[~reach])]
        low, high = low[reach], high[reach]
        for j in (m - 1, *range(m - 1)):
            below = low[:, j] < p[j]
            kept.append(_joined(low[below], _with(high[below], j, p[j])))
            low = _with(low, j, np.maximum(low[:, j], p[j]))
        low, high = (np.concatenate(corners) for corners in zip(*kept, strict=True))
    return low, high


def _with(corners: Floats, j: int, value: Floats) -> Floats:
    """The corners, column j of which is something else."""
    corners = corners.copy()
    corners[:, j] = value
    return corners


def _joined(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The same boxes, those that lie side by side as one."""
    if len(low) < 2:
        return low, high
    for j in range(low.shape[1]):
        others = np.delete(np.concatenate([low, high], axis=1), [j, j + low.shape[1]], axis=1)
        order = np.lexsort((low[:, j], *others.T))
        low, high, others = low[order], high[order], others[order]
        first = np.ones(len(low), dtype=bool)
        first[1:] = (others[1:] != others[:-1]).any(axis=1) | (low[1:, j] != high[:-1, j])
        last = np.append(first[1:], True)
        low, high = low[first], _with(high[first], j, high[last, j])
    return low, high
