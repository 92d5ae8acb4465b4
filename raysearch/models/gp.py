"""Gaussian process: a distribution over functions, given noisy values at some points.

    y_i = f(x_i) + e_i,   e_i ~ N(0, v),   f ~ GP(mu, s k)

k is a Matern-5/2 kernel with one length scale for each group of features (`kernels`), mu a
constant, estimated by generalised least squares. With K = s k(X, X) + v I = L L^T:

    mu       = 1^T K^-1 y / 1^T K^-1 1
    f(x)|y   ~ N(mu + k_x^T K^-1 (y - mu),  s - |L^-1 k_x|^2),     k_x = s k(X, x)

Places on lines are bent first (`warping`). Hyperparameters theta, those of the bends included, are
found by `fitting`.

Rasmussen & Williams (2006), ch. 2.

X  (n, p)  features of the points      L^-1  (n, n)  kept rather than L: what is asked of
y  (n,)    values                                    the model is then products of matrices
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from ..trial import Floats
from .kernels import Layout, distances, matern
from .warping import slopes, warp


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process that has seen points, but not what their values are.

    layout  of the features
    theta   (3 g + 2,) hyperparameters
    x       (n, p) features of the points, bent
    root    (n, n) L^-1, lower triangular
    """

    layout: Layout
    theta: Floats
    x: Floats
    root: Floats

    @property
    def w(self) -> Floats:
        """(g,) inverse squared length scales."""
        return np.asarray(np.exp(-2.0 * self.theta[: self.layout.groups]))

    def warps(self) -> tuple[NDArray[np.bool_], Floats]:
        """(p,) which features are warped; a and b of these, side by side."""
        lines, g = self.layout.bent, self.layout.groups
        return lines, np.exp(self.theta[g : 3 * g].reshape(2, g)[:, self.layout.group[lines]])

    def bent(self, x: Floats) -> Floats:
        """The features x (n, p), those on lines warped."""
        lines, ab = self.warps()
        bent = x.copy()
        bent[:, lines] = warp(x[:, lines], *ab)
        return bent

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
        k, slope = matern(distances(self.layout, self.w, self.x, self.bent(at)))
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
        x = self.bent(x)
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
        lines, ab = p.warps()
        weight = np.ones(x.shape) * np.where(p.layout.unordered, 0.0, 2.0 * p.w[p.layout.group])
        weight[:, lines] *= slopes(x[:, lines], *ab)[0]
        bent = p.bent(x)
        parts = []
        for q in (slope * self.alpha[:, None], -2.0 * slope * pull):
            parts.append(weight * (q.sum(axis=0)[:, None] * bent - q.T @ p.x))
        return self.mean + k.T @ self.alpha, np.maximum(variance, 1e-14), parts[0], parts[1]


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
