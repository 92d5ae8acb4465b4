"""Acquisition: what evaluating a point promises, given what is believed of its losses.

For a loss f ~ N(m, v) to be minimised, with s = sqrt v, and t the loss to be improved on:

    log EI     = log E max(t - f, 0) = log s + log h(z),  z = (t - m) / s
                 h(z) = phi(z) + z Phi(z)
    log AEI    = log EI + log(1 - sqrt(e / (v + e))), for losses seen with noise of variance e
    log UCB    = log log(1 + exp(w - m + b s)), which rises with the confidence bound -m + b s
    log P(c)   = log Phi(-m / s), the probability that a constraint c ~ N(m, v) is met: c <= 0

Logarithms keep a slope where the improvement itself is zero in floating point, which is in
most of the cube: where there is a slope, a point can be led uphill.

The augmented improvement, AEI, counts how much less there is to learn where a loss is known but
for its noise: else a noisy search would come back again and again to where it has been.

Of several losses it is the hypervolume that a front dominates that is to grow: `log_ehvi`.

Jones, Schonlau & Welch (1998), "Efficient global optimization"; Srinivas, Krause, Kakade & Seeger
(2010), "Gaussian process optimization in the bandit setting"; Huang, Allen, Notz & Zeng (2006),
"Global optimization of stochastic black-box systems via sequential kriging meta-models"; Emmerich,
Deutz & Klinkenberg (2011), "Hypervolume-based expected improvement: monotonicity properties and
exact computation"; Yang, Emmerich, Deutz & Bäck (2019), "Efficient computation of expected
hypervolume improvement using box decomposition algorithms"; Gardner et al. (2014), "Bayesian
optimization with inequality constraints"; Ament et al. (2023), "Unexpected improvements to expected
improvement for Bayesian optimization", sec. 4.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, log_ndtr, logsumexp

from ..trial import Floats

_C1 = 0.5 * math.log(2 * math.pi)
_C2 = 0.5 * math.log(math.pi / 2)
_FLAT = -40.0  # below this g, log(1 + exp g) is exp g
_TAIL = -1e3  # below this z, the series phi(z) / z^2 (1 - 3 / z^2) is the more exact

#: The value at each point (m,), and its slopes by mean and by variance, each (m,).
Promise = tuple[Floats, Floats, Floats]


def log_h(z: Floats) -> Floats:
    """log(phi(z) + z Phi(z)), exact for all z.

    >>> float(np.exp(log_h(np.array([0.0])))[0])  # phi(0)
    0.3989...
    """
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near**2 - _C1) + near * np.exp(log_ndtr(near)))
    far = np.minimum(z, -1.0)
    # h / phi = 1 - |z| sqrt(pi/2) erfcx(|z| / sqrt 2), which loses its digits far out
    ratio = np.log(erfcx(-far / math.sqrt(2)) * -far) + _C2
    middle = np.log(-np.expm1(np.minimum(ratio, -1e-300)))
    tail = -2.0 * np.log(-far) - np.log1p(3.0 / far**2)
    below = -0.5 * far**2 - _C1 + np.where(far < _TAIL, tail, middle)
    return np.where(z > -1.0, direct, below)


def log_ei(mean: Floats, variance: Floats, target: float | Floats) -> Promise:
    """Logarithm of the expected improvement on `target`, with its slopes."""
    s = np.sqrt(variance)
    z = (target - mean) / s
    value = log_h(z)
    rise = np.exp(log_ndtr(z) - value)  # h'(z) / h(z)
    return np.log(s) + value, -rise / s, (1.0 - rise * z) / (2.0 * variance)


def log_aei(mean: Floats, variance: Floats, target: float, noise: float) -> Promise:
    """Logarithm of the augmented expected improvement, with its slopes; noise > 0."""
    value, by_mean, by_variance = log_ei(mean, variance, target)
    known = np.log1p(variance / noise) / -2.0  # log sqrt(e / (v + e))
    fresh = -np.expm1(known)
    slope = np.exp(known) / (2.0 * (variance + noise) * fresh)
    return value + np.log(fresh), by_mean, by_variance + slope


def log_ucb(mean: Floats, variance: Floats, worst: float, width: float) -> Promise:
    """Logarithm of a gain that rises with the confidence bound, with its slopes.

    A loss of m - width s gains as much as it lies below `worst`, and hardly anything above it.
    """
    s = np.sqrt(variance)
    gain = worst - mean + width * s
    near = np.maximum(gain, _FLAT)
    value = np.where(gain > _FLAT, np.log(np.logaddexp(0.0, near)), gain)
    rise = np.exp(-np.logaddexp(0.0, -gain) - value)
    return value, -rise, rise * width / (2.0 * s)


def log_met(mean: Floats, variance: Floats) -> Promise:
    """Logarithm of the probability that a constraint's value is at most 0, with its slopes."""
    s = np.sqrt(variance)
    z = -mean / s
    value = log_ndtr(z)
    rise = np.exp(-0.5 * z**2 - _C1 - value)  # phi(z) / Phi(z)
    return value, -rise / s, -rise * z / (2.0 * variance)


def log_ehvi(mean: Floats, variance: Floats, low: Floats, high: Floats) -> Promise:
    """Logarithm of the expected improvement of the hypervolume, of m >= 2 losses.

    mean, variance  (m, s) of all losses at s points
    low, high       (k, m) boxes of what improves on the front (`boxes`)

    Of a box [a, b], losses f that lie below b gain the volume

        prod_j (max(b_j - f_j, 0) - max(a_j - f_j, 0))

    The factors are independent, and their means are differences of expected improvements; so the
    sum over all boxes is exact. Returns the value (s,), and its slopes by mean and variance,
    (m, s) each.
    """
    nothing = np.zeros((1, mean.shape[1]))
    volume, slopes = np.zeros((len(low), mean.shape[1])), []
    for j in range(len(mean)):
        edges, which = np.unique(np.stack([low[:, j], high[:, j]]), return_inverse=True)
        start, end = which.reshape(2, -1)
        found = log_ei(mean[j], variance[j], edges[1:, None])  # the first edge is -infinity
        value, *by = (
            np.concatenate([nothing + least, some])
            for least, some in zip((-np.inf, 0.0, 0.0), found, strict=True)
        )
        less = np.exp(value[start] - value[end])
        rest = np.maximum(1.0 - less, 1e-300)
        volume += value[end] + np.log(rest)
        slopes.append([(slope[end] - less * slope[start]) / rest for slope in by])
    total = logsumexp(volume, axis=0)
    share = np.exp(volume - total)
    by_mean, by_variance = (
        np.stack([np.sum(share * slope, axis=0) for slope in each])
        for each in zip(*slopes, strict=True)
    )
    return total, by_mean, by_variance
