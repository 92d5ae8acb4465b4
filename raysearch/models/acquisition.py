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

Of two losses it is the hypervolume below a front that is to grow: `log_ehvi`.

Jones, Schonlau & Welch (1998), "Efficient global optimization"; Srinivas, Krause, Kakade & Seeger
(2010), "Gaussian process optimization in the bandit setting"; Huang, Allen, Notz & Zeng (2006),
"Global optimization of stochastic black-box systems via sequential kriging meta-models"; Emmerich,
Deutz & Klinkenberg (2011), "Hypervolume-based expected improvement: monotonicity properties and
exact computation"; Gardner et al. (2014), "Bayesian optimization with inequality constraints";
Ament et al. (2023), "Unexpected improvements to expected improvement for Bayesian optimization",
sec. 4.
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


def log_ehvi(mean: Floats, variance: Floats, front: Floats, worst: Floats) -> Promise:
    """Logarithm of the expected improvement of the hypervolume, of two losses.

    mean, variance  (2, m) of both losses at m points
    front           (f, 2) losses that none of the others is below in both columns
    worst           (2,) the point that bounds the volume; the front lies below it

    The front a_1 < .. < a_f, b_1 > .. > b_f cuts the plane into stripes. In the stripe that
    ends at a_i+1, where losses are to be below b_i, the area that f gains is

        (max(a_i+1 - f_1, 0) - max(a_i - f_1, 0)) max(b_i - f_2, 0),  a_0 = -infinity,

    with a_f+1 and b_0 from `worst`. Both factors are independent, and their means are
    expected improvements; so the sum is exact. Returns the value (m,), and its slopes by
    mean and variance, (2, m) each.
    """
    front = front[np.argsort(front[:, 0])]
    ends, tops = np.append(front[:, 0], worst[0]), np.insert(front[:, 1], 0, worst[1])
    end, end_mean, end_variance = log_ei(mean[0], variance[0], ends[:, None])
    top, top_mean, top_variance = log_ei(mean[1], variance[1], tops[:, None])
    nothing = np.zeros((1, mean.shape[1]))
    start = np.concatenate([nothing - np.inf, end[:-1]])
    less = np.exp(start - end)  # what is lost to the stripes before
    rest = np.maximum(1.0 - less, 1e-300)
    area = end + np.log(rest) + top
    value = logsumexp(area, axis=0)
    share = np.exp(area - value)
    by = []
    for slopes, others in ((end_mean, top_mean), (end_variance, top_variance)):
        before = np.concatenate([nothing, slopes[:-1]])
        first = np.sum(share * (slopes - less * before) / rest, axis=0)
        by.append(np.stack([first, np.sum(share * others, axis=0)]))
    return value, by[0], by[1]
