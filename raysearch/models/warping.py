"""Warping: parameters whose effect lives in a small part of their range.

A kernel of one length scale expects a loss to be as wiggly at one end of a parameter as at the
other. Where it is not, as with a learning rate on a linear scale, the parameter is bent first, by
Kumaraswamy's distribution function:

    w(u) = 1 - (1 - t^a)^b,    t = e + (1 - 2 e) u

a < 1 stretches the lower end of the range, b < 1 the upper one, and a = b = 1 leaves u as it is,
but for e, which keeps slopes finite at the bounds.

Snoek, Swersky, Zemel & Adams (2014), "Input warping for Bayesian optimization of non-stationary
functions"; Cowen-Rivers et al. (2022), "HEBO: pushing the limits of sample-efficient
hyperparameter optimisation".

u  (n, p) places on lines, in [0, 1]    a, b  (p,) of each line
"""

from __future__ import annotations

import numpy as np

from ..trial import Floats

_EDGE = 1e-3  # e


def warp(u: Floats, a: Floats, b: Floats) -> Floats:
    """w(u), (n, p).

    >>> one = np.ones(1)
    >>> warp(np.array([[0.0], [0.01], [1.0]]), 0.3 * one, one).round(2).tolist()
    [[0.13], [0.26], [1.0]]
    """
    t = _EDGE + (1 - 2 * _EDGE) * u
    return np.asarray(1.0 - (1.0 - t**a) ** b)


def slopes(u: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """The derivatives of w by u, by log a and by log b, (n, p) each."""
    t = _EDGE + (1 - 2 * _EDGE) * u
    power = t**a
    rest = 1.0 - power
    by_power = b * rest ** (b - 1.0)
    along = by_power * a * power
    return along * (1 - 2 * _EDGE) / t, along * np.log(t), -b * rest**b * np.log(rest)
