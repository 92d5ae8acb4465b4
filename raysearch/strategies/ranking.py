"""Ranks of losses: with several objectives by non-dominated sorting, then by crowding.

Row a dominates row b if it is nowhere worse and somewhere better. Front 0 is dominated by
nobody, front i by nobody but rows of the fronts before it; within a front, rows that are far
from their neighbours come first. Deb et al. (2002), "A fast and elitist multiobjective
genetic algorithm: NSGA-II", sec. III.
"""

from __future__ import annotations

import math

import numpy as np

from ..trial import Floats, Ints


def ranked(loss: Floats) -> Ints:
    """(k,) indices of the rows of losses (k, m), best first; of equals the first; NaN last.

    >>> ranked(np.array([[3.0], [np.nan], [1.0], [np.inf]])).tolist()
    [2, 0, 3, 1]
    >>> ranked(np.array([[2.0, 2.0], [1.0, 1.0], [0.0, 3.0]])).tolist()
    [1, 2, 0]
    """
    if loss.shape[1] == 1:
        return np.argsort(loss[:, 0], kind="stable")
    front = fronts(loss)
    crowding = np.zeros(len(loss))
    for i in range(int(front.max(initial=-1)) + 1):
        crowding[front == i] = _distances(loss[front == i])
    return np.lexsort((-crowding, front))


def fronts(loss: Floats) -> Ints:
    """(k,) the front of each row, from 0; failed rows are a front of their own, the last.

    >>> fronts(np.array([[2.0, 2.0], [1.0, 1.0], [0.0, 3.0]])).tolist()
    [1, 0, 0]
    """
    front = np.full(len(loss), -1)
    left = np.flatnonzero(~np.isnan(loss).any(axis=1))
    i = 0
    while len(left):
        a, b = loss[left, None], loss[None, left]
        beaten = ((a <= b).all(axis=2) & (a < b).any(axis=2)).any(axis=0)
        front[left[~beaten]] = i
        left, i = left[beaten], i + 1
    front[front < 0] = i
    return front


def _distances(loss: Floats) -> Floats:
    """(k,) crowding distances within a front; infinite at its ends."""
    total = np.zeros(len(loss))
    for column in loss.T:
        order = np.argsort(column, kind="stable")
        low, high = column[order[0]], column[order[-1]]
        total[order[[0, -1]]] = math.inf
        if low < high < math.inf:
            total[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / (high - low)
    return total
