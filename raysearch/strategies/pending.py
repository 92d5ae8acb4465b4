"""What a method remembers of points on their way, until they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..trial import Floats, Ints
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
        place = np.minimum(np.searchsorted(self.number, number), len(self.number) - 1)
        found = self.number[place] == number
        row = np.where(found[:, None], self.row[place], np.nan)
        keep = np.ones(len(self.number), dtype=bool)
        keep[place[found]] = False
        return Pending(self.number[keep], self.row[keep]), row, found
