"""Outputs: losses as a model can take them, whatever their scale, tails and failures.

A Gaussian process expects values that look normal. What matters to a search is which of the
good losses is better; of the bad ones it is enough to know that they are bad. So the worse
half of the losses is replaced by what ranks of a normal sample with the better half's spread
would be, and everything is standardised:

    y <- y                                              y <= median
    y <- median + q Phi^-1(rank / (n + 1))              y >  median
    q  = root mean square of median - y over the better half

A trial that failed, or whose loss is infinite, is as bad as the worst that did not.

Song et al. (2024), "The Vizier Gaussian process bandit algorithm", sec. 3.2.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from ..trial import Floats

_LARGEST = 1e300


def normalised(loss: Floats) -> Floats:
    """(n,) the losses (n,), of mean 0 and variance 1; NaN is a failure.

    All 0 if no two losses differ.

    >>> normalised(np.array([0.0, 1.0, np.nan, 1e300])).round(2)
    array([-1.64,  0.02,  0.81,  0.81])
    """
    known = np.isfinite(loss) | (loss < 0)
    if not known.any():
        return np.zeros(len(loss))
    y = np.clip(loss[known], -_LARGEST, _LARGEST)
    y = y - np.median(y)
    worse, rank = y > 0, rankdata(y)
    y = np.minimum(y, 0.0) / (-float(y.min()) or 1.0)  # in [-1, 0], whatever the unit
    q = float(np.sqrt(np.mean(y[~worse] ** 2))) or 1.0
    y[worse] = q * ndtri(rank[worse] / (len(y) + 1))
    filled = np.full(len(loss), y.max())
    filled[known] = y
    centred = filled - filled.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    return np.asarray(centred / spread if spread > 0 else centred)
