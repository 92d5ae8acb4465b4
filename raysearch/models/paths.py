"""Paths: whole functions drawn from a Gaussian process, cheap to evaluate anywhere.

A draw from the posterior is a draw from the prior, bent through what is known:

    f(x) = mu + phi(x)^T c + k(x, X) K^-1 (y - mu - phi(X)^T c - e),   e ~ N(0, v I)

The prior's draw is a sum of random waves: phi_j(x) = cos(a_j . x + b_j), c_j ~ N(0, 2 s / q)
has the covariance s k if a_j is drawn from the spectral density of k, which for Matern 5/2 is
Student's t with 5 degrees of freedom, over the length scales. Marks are corners of a simplex,
1 / sqrt 2 along axes of their own, so each of them has a random phase.

Rahimi & Recht (2007), "Random features for large-scale kernel machines"; Wilson et al.
(2020), "Efficiently sampling functions from Gaussian process posteriors".

q  waves    n  points known    p  features    X, K, y, mu, s, v  as in `gp`
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..trial import Floats
from .gp import Posterior

_WAVES = 256
_FREEDOM = 5  # 2 x 5/2


def path(posterior: Posterior, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """A function drawn from the posterior: features (m, p) -> values (m,)."""
    process = posterior.process
    layout = process.layout
    root_w = np.sqrt(process.w / (rng.chisquare(_FREEDOM, (_WAVES, 1)) / _FREEDOM))  # (q, g)
    b = rng.uniform(0.0, 2.0 * np.pi, _WAVES)
    c = rng.standard_normal(_WAVES) * np.sqrt(2.0 * process.scale / _WAVES)
    noise = rng.standard_normal(len(process.x)) * np.sqrt(process.noise)
    axes = [
        rng.standard_normal((max(1, int(marks)), _WAVES)) * root_w[:, group]
        for group, marks in zip(layout.group, layout.marks, strict=True)
    ]
    line = np.flatnonzero(layout.marks == 0)
    slopes = np.concatenate([np.empty((0, _WAVES)), *(axes[i] for i in line)])

    def wave(x: Floats) -> Floats:
        phase = x[:, line] @ slopes + b
        for i in np.flatnonzero(layout.marks):
            phase += axes[i][x[:, i].astype(np.int64)] / np.sqrt(2.0)
        return np.asarray(np.cos(phase) @ c)

    root = process.root
    bend = posterior.alpha - root.T @ (root @ (wave(process.x) + noise))

    def draw(x: Floats) -> Floats:
        return np.asarray(
            posterior.mean + wave(process.bent(x)) + process.covariance(x)[0].T @ bend
        )

    return draw
