"""Bins: n discrete values side by side on the unit interval, each with a stretch of its own.

`bin` says in which bin a place lies, `place` where in its bin a value belongs, so that
``bin(place(k)) == k`` for k = 0 .. n-1 and any n up to `MOST`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: So many bins can be told apart on the unit interval in float64, with room to spare.
MOST = 2**40
_FEW = 1024  # bins whose ends are kept, at most


@dataclass(frozen=True)
class EvenBins:
    """n bins of equal length; a value belongs in the middle of its bin.

    >>> EvenBins(4).bin(np.array([0.0, 0.3, 1.0]))
    array([0, 1, 3])
    """

    n: int

    def bin(self, u: Floats) -> Ints:
        """(any shape) the bins in which the places u in [0, 1] lie."""
        return np.minimum((u * self.n).astype(np.int64), self.n - 1)

    def place(self, k: Ints) -> Floats:
        """(any shape) the middles of the bins k."""
        return np.asarray((k + 0.5) / self.n)


@dataclass(frozen=True)
class LogBins:
    """n bins for the values low + k step, by their logarithm.

    A value belongs at its logarithm, measured from that of low: t_k = log(1 + k ratio).
    Neighbours meet half-way between t_k and t_k+1; the outermost bins reach as far
    outwards as inwards.

    n      number of bins, >= 2
    ratio  step / low, > 0

    >>> LogBins(3, 1.0).bin(np.array([0.0, 0.5, 1.0]))
    array([0, 1, 2])
    """

    n: int
    ratio: float
    _start: float = field(init=False)  # logarithm at u = 0
    _span: float = field(init=False)  # from there to u = 1

    def __post_init__(self) -> None:
        first, second, before, last = self._log(np.array([0, 1, self.n - 2, self.n - 1])).tolist()
        start, end = 1.5 * first - 0.5 * second, 1.5 * last - 0.5 * before
        object.__setattr__(self, "_start", start)
        object.__setattr__(self, "_span", end - start)

    @cached_property
    def _ends(self) -> Floats:
        """(n - 1,) the logarithms at which bins meet; of few bins only."""
        t = self._log(np.arange(self.n))
        return np.asarray((t[:-1] + t[1:]) / 2)

    def _log(self, k: Ints) -> Floats:
        return np.asarray(np.log1p(k * self.ratio))  # log1p, as neighbours may differ by little

    def bin(self, u: Floats) -> Ints:
        """(any shape) the bins in which the places u in [0, 1] lie."""
        t = self._start + self._span * u
        if self.n <= _FEW:
            return np.asarray(self._ends.searchsorted(t))
        below = np.floor(np.expm1(t) / self.ratio)
        k = np.minimum(np.maximum(below, 0), self.n - 2).astype(np.int64)
        return np.asarray(k + (t > (self._log(k) + self._log(k + 1)) / 2))

    def place(self, k: Ints) -> Floats:
        """(any shape) where in the bins k the values have their logarithms."""
        return np.asarray((self._log(k) - self._start) / self._span)


Bins = EvenBins | LogBins
