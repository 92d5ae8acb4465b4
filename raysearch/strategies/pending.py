"""What a method remembers of points on their way, and which of their results it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import Mask


@dataclass(frozen=True, eq=False)
class Pending:
    """Points that were asked and not told yet.

    number  (p,) of the points, ascending
    row     (p, w) what the method remembers of each
    """

    number: Ints
    row: Floats

    @classmethod
    def none(cls, width: int) -> Self:
        """No points, of which so many numbers will be remembered each."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros((0, width)))

    def add(self, number: Ints, row: Floats) -> Pending:
        """With these, too, whose numbers are higher than all before."""
        return Pending(np.concatenate([self.number, number]), np.concatenate([self.row, row]))

    def take(self, number: Ints) -> tuple[Pending, Floats, Mask]:
        """Without those of these numbers (k,).

        Returns the rest; (k, w) the rows, of NaN where there is none; (k,) where there is one.
        """
        if not len(self.number):
            return (
                self,
                np.full((len(number), self.row.shape[1]), np.nan),
                np.zeros(len(number), bool),
            )
        k = len(number)
        if np.array_equal(self.number[:k], number):  # the oldest, as they come from one slot
            rest = Pending(self.number[k:].copy(), self.row[k:].copy())
            return rest, self.row[:k].copy(), np.ones(k, dtype=bool)
        place = np.minimum(np.searchsorted(self.number, number), len(self.number) - 1)
        found = self.number[place] == number
        row = np.where(found[:, None], self.row[place], np.nan)
        keep = np.ones(len(self.number), dtype=bool)
        keep[place[found]] = False
        return Pending(self.number[keep], self.row[keep]), row, found


def counting(batch: Batch, outcome: Outcome, best: float) -> tuple[Ints, Floats, float]:
    """Which results a distribution learns from: all that have not failed, and of points from
    elsewhere those that are better than all before.

    best  loss so far

    Returns the rows; the losses (k,), infinite where failed; and the best then.
    """
    failed = np.isnan(outcome.loss[:, 0])
    losses = np.where(failed, np.inf, outcome.loss[:, 0])
    bests = np.minimum.accumulate(np.concatenate([[best], losses]))
    foreign = batch.number == FOREIGN
    rows = np.flatnonzero(~failed & (~foreign | (losses < bests[:-1])))
    return rows, losses, float(bests[-1])
