"""Several objectives: who dominates whom, how lonely a point is, how much a set has gained.

a dominates b if it is nowhere worse and somewhere better; losses are minimised. The front of
rank 0 is dominated by nobody, that of rank r + 1 only by the ranks up to r.

Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC;
While, Bradstreet & Barone (2012), "A fast way of calculating exact hypervolumes", IEEE TEC.
"""

from __future__ import annotations

import math

import numpy as np

from ..trial import Floats, Ints
from .base import Mask


def violations(constraint: Floats | None, k: int) -> Floats:
    """(k,) by how much points violate their constraints (k, c); infinitely where unknown.

    >>> violations(np.array([[-1.0, 0.0], [2.0, 0.5], [np.nan, 0.0]]), 3).tolist()
    [0.0, 2.5, inf]
    """
    if constraint is None:
        return np.zeros(k)
    with np.errstate(over="ignore"):  # a sum beyond all numbers is infinite, and that is right
        return np.asarray(
            np.where(np.isnan(constraint), math.inf, constraint).clip(min=0).sum(axis=1)
        )


def front(loss: Floats) -> Ints:
    """Indices, ascending, of the losses (n, m) that no other one dominates; n may be large.

    >>> front(np.array([[1.0, 2.0], [2.0, 2.0], [2.0, 1.0]])).tolist()
    [0, 2]
    """
    order = np.lexsort(loss.T[::-1])  # whoever dominates a point comes before it
    best: list[int] = []
    for i in order.tolist():
        others = loss[best]
        dominated = (others <= loss[i]).all(axis=1) & (others < loss[i]).any(axis=1)
        if not dominated.any():
            best.append(i)
    return np.sort(np.array(best, dtype=np.int64))


def fronts(loss: Floats, violation: Floats | None = None) -> Ints:
    """(k,) the rank of each point's front.

    loss       (k, m); points with NaN rank last, as failures
    violation  (k,) of constraints, >= 0. None: none. Points that violate any rank after all
               that do not, by how much they do

    >>> fronts(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [3.0, np.nan]])).tolist()
    [0, 0, 1, 2]
    """
    failed = np.isnan(loss).any(axis=1)
    wrong = (
        np.zeros(len(loss))
        if violation is None
        else np.where(np.isnan(violation), np.inf, violation)
    )
    rank = np.zeros(len(loss), dtype=np.int64)
    fine = ~failed & (wrong <= 0)
    rank[fine] = _peeled(loss[fine])
    worse = ~failed & ~fine
    rank[worse] = rank[fine].max(initial=-1) + 1 + np.unique(wrong[worse], return_inverse=True)[1]
    rank[failed] = rank[~failed].max(initial=-1) + 1
    return rank


def _peeled(loss: Floats) -> Ints:
    """Ranks (k,) of points without NaN, front by front."""
    if loss.shape[1] == 1:
        return np.unique(loss[:, 0], return_inverse=True)[1].astype(np.int64)
    beats = np.ones((len(loss), len(loss)), dtype=bool)  # nowhere worse
    better = ~beats
    for column in loss.T:
        beats &= column[:, None] <= column
        better |= column[:, None] < column
    beats &= better
    above = beats.sum(axis=0)
    rank, r = np.full(len(loss), -1), 0
    while (rank < 0).any():
        front = (rank < 0) & (above == 0)
        rank[front] = r
        above = above - beats[front].sum(axis=0)
        r += 1
    return rank


def crowding(loss: Floats) -> Floats:
    """(k,) how far apart the neighbours of each point are, in a front with losses (k, m).

    The sum over objectives of the distance between the next lower and the next higher loss,
    as a share of the range; infinity at the ends.

    >>> crowding(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]])).tolist()
    [inf, 2.0, inf]
    """
    k, total = len(loss), np.zeros(len(loss))
    for column in np.where(np.isfinite(loss), loss, np.nan).T:
        order = np.argsort(column, kind="stable")  # NaN last
        values = column[order]
        known = np.count_nonzero(~np.isnan(values))
        gap = np.full(k, np.inf)
        if known > 2:
            extent = values[known - 1] - values[0]
            gap[1 : known - 1] = (values[2:known] - values[: known - 2]) / (extent or 1.0)
        gap[known:] = 0.0
        total[order] += gap
    return total


def ranked(loss: Floats) -> Ints:
    """(k,) indices of the rows of losses (k, m), best first; of equals the first; NaN last.

    By fronts, and within a front by crowding.

    >>> ranked(np.array([[3.0], [np.nan], [1.0], [np.inf]])).tolist()
    [2, 0, 3, 1]
    >>> ranked(np.array([[2.0, 2.0], [1.0, 1.0], [0.0, 3.0]])).tolist()
    [1, 2, 0]
    """
    if loss.shape[1] == 1:
        return np.argsort(loss[:, 0], kind="stable")
    front, apart = fronts(loss), np.zeros(len(loss))
    for i in range(int(front.max(initial=-1)) + 1):
        apart[front == i] = crowding(loss[front == i])
    return np.lexsort((-apart, front))


def nondominated(loss: Floats) -> Mask:
    """(k,) which points are dominated by none and equal to none before them."""
    keep = np.ones(len(loss), dtype=bool)
    for i, row in enumerate(loss):
        if keep[i]:
            worse = (row <= loss).all(axis=1)
            worse[i] = False
            keep &= ~worse
    return keep


def hypervolume(loss: Floats, reference: Floats) -> float:
    """The volume of what points dominate, up to a reference.

    loss       (k, m); points that are not better than the reference everywhere add nothing
    reference  (m,) a loss that is bad in every objective

    >>> hypervolume(np.array([[1.0, 3.0], [2.0, 1.0]]), np.array([4.0, 4.0]))
    7.0
    """
    inside = loss[(loss < reference).all(axis=1)]  # false for NaN
    return _volume(inside[nondominated(inside)], np.asarray(reference, dtype=np.float64))


def _volume(loss: Floats, reference: Floats) -> float:
    """Of points that do not dominate each other: slice by slice along the first loss.

    Sorted so that the first loss falls, what a point adds to those after it is a slice as thick
    as it is better than the reference, of what it dominates in the other losses and they do not.
    """
    if len(loss) <= 1 or loss.shape[1] == 1:
        return float((reference - loss).prod(axis=1).max(initial=0.0))
    loss = loss[np.argsort(-loss[:, 0], kind="stable")]
    thick, rest = reference[0] - loss[:, 0], reference[1:]
    if loss.shape[1] == 2:
        below = np.append(loss[1:, 1], rest[0])  # the last one has nobody after it
        return float((thick * (below - loss[:, 1])).sum())
    total = 0.0
    for i, row in enumerate(loss[:, 1:]):
        after = np.maximum(loss[i + 1 :, 1:], row)
        alone = float((rest - row).prod()) - _volume(after[nondominated(after)], rest)
        total += float(thick[i]) * alone
    return total
