"""Outputs: losses as a model can take them, whatever their scale, tails and failures.

A Gaussian process expects values that look normal. What matters to a search is which of the
good losses is better; of the bad ones it is enough to know that they are bad. So the tail is
cut off, at a distance that the better half of the losses says, and everything is standardised:

    y <- min(y, median + 2 (median - least))
    y <- (y - mean) / standard deviation

Of several losses a bad one may be the price of a good one, and half of them may be the least there
is. So the worst of their front may say that the tail begins further away:

    y <- min(y, max(median + 2 (median - least), worst + (worst - least)))

A trial that failed, or whose loss is infinite, is as bad as the worst that did not.

Of constraints the sign is what matters: their values c are only scaled, and cut off,

    c <- max(-3, min(3, c / median |c|))
"""

from __future__ import annotations

import numpy as np

from ..trial import Floats

_LARGEST = 2e307  # three differences of such losses are finite
_TAIL, _BEYOND = 2.0, 1.0  # of the median's depth, of the depth of the front's worst
_STEEPEST = 3.0  # of a constraint, in the usual size of its values


def normalised(loss: Floats, worst: float | None = None) -> Floats:
    """(n,) the losses (n,), of mean 0 and variance 1; NaN is a failure.

    worst  of those on the front, of several losses; None: there are no others

    All 0 if no two losses differ.

    >>> normalised(np.array([0.0, 1.0, 2.0, np.nan, 1e300])).round(2)
    array([-1.31, -0.77, -0.22,  1.15,  1.15])
    """
    known = np.isfinite(loss) | (loss < 0)
    if not known.any():
        return np.zeros(len(loss))
    y = np.clip(loss[known], -_LARGEST, _LARGEST)
    least = float(y.min())
    y = y - least
    depth = float(np.median(y))
    front = 0.0 if worst is None else float(np.clip(worst, -_LARGEST, _LARGEST)) - least
    if depth == front == 0.0:
        depth = float(np.median(y[y > 0])) if y.any() else 1.0
    end, unit = max(((1.0 + _TAIL) * depth, depth), ((1.0 + _BEYOND) * front, front))
    y = np.minimum(y, end) / unit
    filled = np.full(len(loss), y.max())
    filled[known] = y
    centred = filled - filled.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    return np.asarray(centred / spread if spread > 0 else centred)


def signed(constraint: Floats) -> Floats:
    """(n,) of a constraint's values (n,), in the median size of those that are not 0; NaN stays.

    >>> signed(np.array([-2e300, 0.0, 1e300, np.inf, np.nan])).round(2)
    array([-1.33,  0.  ,  0.67,  3.  ,   nan])
    """
    size = np.abs(constraint[np.isfinite(constraint) & (constraint != 0)])
    unit = float(np.median(np.minimum(size, _LARGEST))) if len(size) else 1.0
    return np.asarray(np.clip(constraint, -_STEEPEST * unit, _STEEPEST * unit) / unit)
