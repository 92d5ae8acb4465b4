"""Gaussian process: a distribution over functions, given noisy values at some points.

    y_i = f(x_i) + e_i,   e_i ~ N(0, v),   f ~ GP(mu, s k)

k is a Matern-5/2 kernel with one length scale for each group of features (`kernels`), mu a
constant, estimated by generalised least squares. With K = s k(X, X) + v I = L L^T:

    mu       = 1^T K^-1 y / 1^T K^-1 1
    f(x)|y   ~ N(mu + k_x^T K^-1 (y - mu),  s - |L^-1 k_x|^2),     k_x = s k(X, x)
    evidence = -1/2 (y - mu)^T K^-1 (y - mu) - sum_i log L_ii - n/2 log 2 pi

Hyperparameters theta = (log l_1 .. log l_g, log s, log v) maximise evidence x prior. The
prior of a length scale grows with the number of groups, as distances in a cube do, so that
functions of many parameters are believed to be no more wiggly than those of few:

    log l ~ N(log(g) / 2 - 1, 0.8^2)
    log s ~ N(0, 1)                                   y is standardised
    log v ~ N(-8, 2^2)

Growth with the dimension is Hvarfner's; the scales are shorter than his, which won in our
measurements.

Rasmussen & Williams (2006), chs. 2 and 5; Hvarfner, Hellsten & Nardi (2024), "Vanilla
Bayesian optimization performs great in high dimensions".

X  (n, p)  features of the points      L^-1  (n, n)  kept rather than L: what is asked of
y  (n,)    values                                    the model is then products of matrices
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import blas, lapack
from scipy.optimize import minimize

from ..trial import Floats
from .kernels import Layout, by_group, distances, matern

_LOG_2PI = math.log(2 * math.pi)
_LOW = (math.log(1e-2), math.log(0.05), math.log(1e-7))  # of l, s, v
_HIGH = (math.log(1e3), math.log(20.0), math.log(1.0))


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process that has seen points, but not what their values are.

    layout  of the features
    theta   (g + 2,) hyperparameters
    x       (n, p) features of the points
    root    (n, n) L^-1, lower triangular
    """

    layout: Layout
    theta: Floats
    x: Floats
    root: Floats

    @property
    def w(self) -> Floats:
        """(g,) inverse squared length scales."""
        return np.asarray(np.exp(-2.0 * self.theta[:-2]))

    @property
    def scale(self) -> float:
        """s, the variance of f before anything is seen."""
        return math.exp(self.theta[-2])

    @property
    def noise(self) -> float:
        """v, the variance of the noise."""
        return math.exp(self.theta[-1])

    def covariance(self, at: Floats) -> tuple[Floats, Floats]:
        """s k(X, at), and its derivative with respect to r^2; both (n, m)."""
        k, slope = matern(distances(self.layout, self.w, self.x, at))
        return self.scale * k, self.scale * slope

    def whitened(self, a: Floats) -> Floats:
        """L^-1 a, for a (n, m); half of L^-1 being 0, a general product would do twice the work."""
        return np.asarray(blas.dtrmm(1.0, self.root.T, a, trans_a=True)) if a.size else a

    def unwhitened(self, a: Floats) -> Floats:
        """L^-T a, for a (n, m)."""
        return np.asarray(blas.dtrmm(1.0, self.root.T, a)) if a.size else a

    def extended(self, x: Floats) -> Process:
        """The process that has also seen the points x (k, p).

        L^-1 grows by rows: with v = L^-1 k_x and c^2 = s + noise - |v|^2, its new row is
        (-v^T L^-1, 1) / c; for several points at once, c is a matrix.
        """
        n, k = len(self.x), len(x)
        v = self.whitened(self.covariance(x)[0])
        own, _ = matern(distances(self.layout, self.w, x, x))
        corner = inverse_root(self.scale * own + self.noise * np.eye(k) - v.T @ v)
        root = np.zeros((n + k, n + k))
        root[:n, :n] = self.root
        root[n:, :n] = -corner @ self.unwhitened(v).T
        root[n:, n:] = corner
        return replace(self, x=np.concatenate([self.x, x]), root=root)

    def given(self, y: Floats) -> Posterior:
        """The posterior, the values of the points being y (n,)."""
        ones = self.root.sum(axis=1)  # L^-1 1
        inside = self.root @ y
        total = float(ones @ ones)
        mean = float(ones @ inside) / total if len(y) else 0.0
        alpha = self.root.T @ (inside - mean * ones)
        return Posterior(self, mean, alpha, y - self.noise * alpha)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is believed of f, once values have been seen.

    process  that has seen the points
    mean     mu
    alpha    (n,) K^-1 (y - mu)
    fitted   (n,) the mean of f at the points seen, y - v alpha
    """

    process: Process
    mean: float
    alpha: Floats
    fitted: Floats

    def at(self, x: Floats) -> tuple[Floats, Floats]:
        """Mean and variance (m,) of f at the points x (m, p)."""
        k, _ = self.process.covariance(x)
        v = self.process.whitened(k)
        variance = self.process.scale - np.einsum("ij,ij->j", v, v)
        return self.mean + k.T @ self.alpha, np.maximum(variance, 1e-14)

    def expected(self, x: Floats) -> Floats:
        """Mean (m,) of f at the points x (m, p)."""
        return np.asarray(self.mean + self.process.covariance(x)[0].T @ self.alpha)

    def expecting(self, x: Floats) -> Posterior:
        """The posterior once the points x (k, p) have turned out as expected.

        Their K^-1 (y - mu) is 0: the mean stays what it was, the variance shrinks.
        """
        alpha = np.concatenate([self.alpha, np.zeros(len(x))])
        fitted = np.concatenate([self.fitted, self.expected(x)])
        return Posterior(self.process.extended(x), self.mean, alpha, fitted)

    def slopes(self, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Mean and variance (m,) at x (m, p), and their gradients (m, p); 0 for marks."""
        p = self.process
        k, slope = p.covariance(x)
        v = p.whitened(k)
        variance = p.scale - np.einsum("ij,ij->j", v, v)
        pull = p.unwhitened(v)  # K^-1 k_x
        weight = np.where(p.layout.unordered, 0.0, 2.0 * p.w[p.layout.group])
        parts = []
        for q in (slope * self.alpha[:, None], -2.0 * slope * pull):
            parts.append(weight * (q.sum(axis=0)[:, None] * x - q.T @ p.x))
        return self.mean + k.T @ self.alpha, np.maximum(variance, 1e-14), parts[0], parts[1]


def prior(groups: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (g + 2,) of theta; see the head of this file."""
    mean = np.array([math.log(groups) / 2 - 1.0] * groups + [0.0, -8.0])
    spread = np.array([0.8] * groups + [1.0, 2.0])
    return mean, spread


def condition(layout: Layout, theta: Floats, x: Floats) -> Process:
    """The process with these hyperparameters that has seen the points x (n, p)."""
    nothing = Process(layout, theta, np.empty((0, x.shape[1])), np.empty((0, 0)))
    return nothing.extended(x)


def inverse_root(k: Floats) -> Floats:
    """L^-1 of a matrix L L^T, lower triangular.

    What rounding takes away from its diagonal is given back, as little as it needs.
    """
    n, jitter = len(k), 0.0
    if not n:  # of which LAPACK complains
        return np.zeros((0, 0))
    while True:
        lower, failed = lapack.dpotrf(k + jitter * np.eye(n), lower=True, clean=True)
        if not failed:
            return np.asarray(lapack.dtrtri(lower, lower=True)[0])
        jitter = max(10.0 * jitter, 1e-10 * float(np.trace(k)) / n, 1e-300)


def evidence(theta: Floats, parts: Floats, y: Floats) -> tuple[float, Floats]:
    """-log(evidence x prior) up to a constant, and its gradient (g + 2,).

    theta  (g + 2,) hyperparameters
    parts  (g, n (n-1) / 2) distances of all pairs, by group (`kernels.by_group`)
    y      (n,) values

    Returns infinity and 0 where K is not positive definite in floating point.
    """
    n = len(y)
    w, scale, noise = np.exp(-2.0 * theta[:-2]), math.exp(theta[-2]), math.exp(theta[-1])
    k, slope = matern(w @ parts)
    pairs = np.tril_indices(n, -1)
    full = np.zeros((n, n), order="F")
    full[pairs] = scale * k
    full[np.diag_indices(n)] = scale + noise
    lower, failed = lapack.dpotrf(full, lower=True, overwrite_a=True)
    if failed:
        return math.inf, np.zeros_like(theta)
    inverse, _ = lapack.dpotri(lower, lower=True)  # its lower triangle
    both = np.stack([y, np.ones(n)], axis=1)
    solved, _ = lapack.dpotrs(lower, both, lower=True)
    mean = solved[:, 0].sum() / solved[:, 1].sum()
    alpha = solved[:, 0] - mean * solved[:, 1]
    value = 0.5 * float((y - mean) @ alpha) + float(np.log(np.diag(lower)).sum()) + n * _LOG_2PI / 2

    # d value = 1/2 tr(W dK), W = K^-1 - alpha alpha^T; each pair counts twice
    outside = inverse[pairs] - alpha[pairs[0]] * alpha[pairs[1]]
    diagonal = float((np.diag(inverse) - alpha**2).sum())
    gradient = np.empty_like(theta)
    gradient[:-2] = -2.0 * w * (parts @ (outside * (scale * slope)))
    gradient[-2] = scale * (float(outside @ k) + diagonal / 2)
    gradient[-1] = noise * diagonal / 2

    centre, spread = prior(len(w))
    off = (theta - centre) / spread
    return value + 0.5 * float(off @ off), gradient + off / spread


def fit(layout: Layout, x: Floats, y: Floats, starts: Floats, steps: int = 50) -> Floats:
    """theta (g + 2,) of the greatest evidence x prior that L-BFGS finds from some starts.

    x       (n, p) features of the points
    y       (n,) their values, standardised
    starts  (k, g + 2) where to begin; from the better half of them
    steps   at most, from each
    """
    parts = by_group(layout, x)
    low = np.array([_LOW[0]] * layout.groups + [*_LOW[1:]])
    high = np.array([_HIGH[0]] * layout.groups + [*_HIGH[1:]])
    bounds = list(zip(low.tolist(), high.tolist(), strict=True))
    best, least = np.clip(starts[0], low, high), math.inf
    for start in starts:
        found = minimize(
            evidence,
            np.clip(start, low, high),
            args=(parts, y),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": steps, "ftol": 1e-5, "gtol": 1e-3},
        )
        if found.fun < least:
            best, least = found.x, found.fun
    return np.asarray(best)
