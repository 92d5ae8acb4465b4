"""Fitting: the hyperparameters of a Gaussian process that explain best what was seen.

theta = (log l_1 .. log l_g, log a_1 .. log a_g, log b_1 .. log b_g, log s, log v): length scales
(`kernels`), warps (`warping`), variances of the function and of the noise (`gp`). They maximise

    log evidence + log prior,
    log evidence = -1/2 (y - mu)^T K^-1 (y - mu) - sum_i log L_ii - n/2 log 2 pi

The prior of a length scale grows with the number of groups, as distances in a cube do, so that
functions of many parameters are believed to be no more wiggly than those of few:

    log l         ~ N(log(g) / 2 - 1, 0.8^2)
    log a, log b  ~ Cauchy(0, 0.25)
    log s         ~ N(0, 1)                               y is standardised
    log v         ~ N(-8, 2^2)

The tails of Cauchy's distribution are heavy: most parameters need no warp, and the others a strong
one. Growth with the dimension is Hvarfner's; the scales are shorter than his, which won in our
measurements.

L-BFGS counts theta in widths of the prior from its middle, so that all directions are of one size.

Rasmussen & Williams (2006), sec. 5.4.1; Hvarfner, Hellsten & Nardi (2024), "Vanilla Bayesian
optimization performs great in high dimensions"; Snoek et al. (2014), as in `warping`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from ..trial import Floats
from .kernels import Layout, Points, corners, matern, squares
from .warping import slopes, warp

_LOG_2PI = math.log(2 * math.pi)
_LOW = (math.log(1e-2), -2.0, -2.0, math.log(0.05), math.log(1e-7))  # of l, a, b, s, v
_HIGH = (math.log(1e3), 2.0, 2.0, math.log(20.0), math.log(1.0))
_WIDTH = (0.8, 0.25, 0.25, 1.0, 2.0)


def prior(groups: int) -> tuple[Floats, Floats]:
    """Middle and width (3 g + 2,) of theta; see the head of this file."""
    middle = _each(groups, (math.log(groups) / 2 - 1.0, 0.0, 0.0, 0.0, -8.0))
    return middle, _each(groups, _WIDTH)


def unlikely(off: Floats) -> tuple[float, Floats]:
    """-log prior up to a constant, and its gradient, (3 g + 2,) widths off the middle."""
    g = (len(off) - 2) // 3
    cost, slope = 0.5 * off**2, off.copy()
    cost[g : 3 * g] = np.log1p(2.0 * cost[g : 3 * g])  # of the warps
    slope[g : 3 * g] *= 2.0 / (1.0 + off[g : 3 * g] ** 2)
    return float(cost.sum()), slope


def _each(groups: int, of: tuple[float, ...]) -> Floats:
    """(3 g + 2,) what holds of each l, a, b, of s and of v."""
    return np.repeat(of, [groups, groups, groups, 1, 1])


def evidence(theta: Floats, points: Points, y: Floats) -> tuple[float, Floats]:
    """-log(evidence x prior) up to a constant, and its gradient (3 g + 2,).

    With W = K^-1 - alpha alpha^T, alpha = K^-1 (y - mu), the evidence changes by -1/2 tr(W dK).
    In coordinates z, r^2_ij = sum_f w_f (z_if - z_jf)^2, and with V = 1/2 W s dk/d(r^2), entry by
    entry, that is for w and for z

        sum_ij V_ij (z_if - z_jf)^2 = 2 sum_i z_if A_if,    4 w_f A_if,    A = diag(V 1) z - V z

    Returns infinity and 0 where K is not positive definite in floating point.
    """
    n, g = len(y), (len(theta) - 2) // 3
    lines, flat = np.split(points.x, [points.bent], axis=1)
    group, bent = points.group, points.group[: points.bent]
    w, a, b = np.exp(theta[: 3 * g].reshape(3, g) * np.array([[-2.0], [1.0], [1.0]]))
    scale, noise = math.exp(theta[-2]), math.exp(theta[-1])
    z = np.concatenate([warp(lines, a[bent], b[bent]), flat], axis=1)
    k, slope = matern(squares(z * np.sqrt(w[group])))
    full = scale * k
    full[np.diag_indices(n)] = scale + noise
    lower, failed = lapack.dpotrf(full.T, lower=True)
    if failed:
        return math.inf, np.zeros_like(theta)
    inverse, _ = lapack.dpotri(lower, lower=True)  # its lower triangle
    both = np.stack([y, np.ones(n)], axis=1)
    solved, _ = lapack.dpotrs(lower, both, lower=True)
    mean = solved[:, 0].sum() / solved[:, 1].sum()
    alpha = solved[:, 0] - mean * solved[:, 1]
    value = 0.5 * float((y - mean) @ alpha) + float(np.log(np.diag(lower)).sum()) + n * _LOG_2PI / 2

    inverse[np.diag_indices(n)] /= 2.0
    outside = inverse + inverse.T - np.outer(alpha, alpha)  # W
    v = 0.5 * scale * slope * outside
    pull = v.sum(axis=1)[:, None] * z - v @ z  # A
    by_w = 2.0 * np.bincount(group, (z * pull).sum(axis=0), g)
    by_z = 4.0 * w[bent] * pull[:, : points.bent]
    _, *by = slopes(lines, a[bent], b[bent])
    by_a, by_b = (np.bincount(bent, (by_z * one).sum(axis=0), g) for one in by)
    by_scale = 0.5 * scale * np.vdot(outside, k)
    by_noise = 0.5 * noise * np.trace(outside)
    gradient = np.concatenate([-2.0 * w * by_w, by_a, by_b, [by_scale, by_noise]])

    middle, width = prior(g)
    cost, by_off = unlikely((theta - middle) / width)
    return value + cost, gradient + by_off / width


def fit(
    layout: Layout, x: Floats, y: Floats, starts: Sequence[Floats] = (), steps: int = 50
) -> Floats:
    """theta (3 g + 2,) of the greatest evidence x prior that L-BFGS finds from some starts.

    First from the prior's middle without warps; then all of theta, from what was found, and from
    the starts. So warps are never worse than none, though they have many local optima.

    x       (n, p) features of the points
    y       (n,) their values, standardised
    starts  where to begin, too, (3 g + 2,) each
    steps   at most, from each
    """
    points, g = corners(layout, x), layout.groups
    middle, width = prior(g)
    low, high = ((_each(g, bound) - middle) / width for bound in (_LOW, _HIGH))

    def down(off: Floats) -> tuple[float, Floats]:
        value, gradient = evidence(middle + width * off, points, y)
        return value, width * gradient

    def least(off: Floats, warps: float) -> tuple[float, Floats]:
        bound = _each(g, (1.0, warps, warps, 1.0, 1.0))
        found = minimize(
            down,
            np.clip(off, bound * low, bound * high),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip((bound * low).tolist(), (bound * high).tolist(), strict=True)),
            options={"maxiter": steps, "ftol": 1e-5, "gtol": 1e-3},
        )
        return float(found.fun), found.x

    straight = least(np.zeros(3 * g + 2), 0.0)[1]
    begun = [straight, *((start - middle) / width for start in starts)]
    return np.asarray(
        middle + width * min((least(off, 1.0) for off in begun), key=lambda found: found[0])[1]
    )
