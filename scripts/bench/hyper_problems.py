"""Problems for hypergradients with derivatives written out, on scikit-learn's digits.

Softmax regression without offsets: images x (n, p), one-hot labels y (n, c), weights W (p, c),

    L = sum_i s_i l_i / n + 1/2 sum_j exp(a_j) W_j^2     V = mean of l over the validation set
    l_i = log sum exp(x_i W) - x_i W y_i                 s_i = 1 / (1 + exp(-b_i))

with hyperparameters a (logarithms of the regularisation weights, one for each group of entries
of W) or b (logits of the training images' weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from raysearch.hypergrad import Problem

Floats = NDArray[np.float64]
CLASSES, PIXELS = 10, 64


@cache
def digits(seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """All 1,797 images (n, 64) in [0, 1], and their labels (n,), shuffled."""
    from sklearn.datasets import load_digits

    images = load_digits()
    order = np.random.default_rng(seed).permutation(len(images.target))
    return images.data[order] / 16, images.target[order]


def losses(w: Floats, x: Floats, label: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """l (n,) and its derivative (n, c) with respect to x W."""
    z = x @ w
    z = z - z.max(axis=1, keepdims=True)
    rows, e = np.arange(len(x)), np.exp(z)
    total = e.sum(axis=1)
    dz = e / total[:, None]
    dz[rows, label] -= 1
    return np.log(total) - z[rows, label], dz


@dataclass(frozen=True, eq=False)
class Softmax:
    """The problem above; groups: (p, c) which entry of `a` each weight has; None: b instead.

    ridge  further regularisation of every weight
    """

    train: tuple[Floats, Any]
    valid: tuple[Floats, Any]
    test: tuple[Floats, Any]
    groups: NDArray[np.int64] | None
    ridge: float = 0.0

    @property
    def w(self) -> Floats:
        """Where training starts."""
        return np.zeros((PIXELS, CLASSES))

    def problem(self) -> Problem:
        """With an exact product."""
        return Problem(self.train_loss, self.valid_loss, self.product)

    def _parts(self, h: Floats) -> tuple[Any, Any]:
        """Regularisation of each weight, and weight of each image."""
        n = len(self.train[0])
        if self.groups is None:
            return self.ridge, expit(h) / n
        return np.exp(h)[self.groups] + self.ridge, np.full(n, 1 / n)

    def train_loss(self, w: Floats, h: Floats) -> tuple[float, Floats, Floats]:
        """L, dL/dW, dL/dh."""
        decay, s = self._parts(h)
        loss, dz = losses(w, *self.train)
        if self.groups is None:
            dh = s * (1 - expit(h)) * loss
        else:
            dh = np.bincount(self.groups.ravel(), (decay * w**2 / 2).ravel(), h.size)
        gradient = self.train[0].T @ (s[:, None] * dz) + decay * w
        return float(s @ loss + np.sum(decay * w**2) / 2), gradient, dh

    def valid_loss(self, w: Floats, h: Floats) -> tuple[float, Floats, None]:
        """V, dV/dW; V does not depend on h."""
        loss, dz = losses(w, *self.valid)
        return float(loss.mean()), self.valid[0].T @ dz / len(loss), None

    def product(self, w: Floats, h: Floats, v: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Derivatives of dL/dW and dL/dh along (v, u)."""
        decay, s = self._parts(h)
        x, _ = self.train
        loss, dz = losses(w, *self.train)
        q, z_dot = softmax(x @ w, axis=1), x @ v
        dz_dot = s[:, None] * q * (z_dot - (q * z_dot).sum(axis=1, keepdims=True))
        if self.groups is None:
            ds = s * (1 - expit(h))
            s_dot = ds * u
            dh = ds * (1 - 2 * expit(h)) * u * loss + ds * (dz * z_dot).sum(axis=1)
            return x.T @ (dz_dot + s_dot[:, None] * dz) + decay * v, dh
        decay_dot = decay * u[self.groups]
        both = decay_dot * w**2 / 2 + decay * w * v
        dh = np.bincount(self.groups.ravel(), both.ravel(), h.size)
        return x.T @ dz_dot + decay * v + decay_dot * w, dh

    def accuracy(self, w: Floats) -> float:
        """On the test images."""
        x, label = self.test
        return float(np.mean((x @ w).argmax(axis=1) == label))


def groups(number: int) -> NDArray[np.int64]:
    """1: all weights together; 10: by class; 100: by class and tenth of the image; 640: each."""
    pixel, label = np.indices((PIXELS, CLASSES))
    return {
        1: 0 * pixel,
        10: label,
        100: label * 10 + pixel * 10 // PIXELS,
        640: pixel * CLASSES + label,
    }[number]


def regularised(number: int, n: int = 600, valid: int = 600) -> Softmax:
    """Softmax regression with so many regularisation weights."""
    x, label = digits()
    cuts = [slice(0, n), slice(n, n + valid), slice(n + valid, None)]
    return Softmax(*((x[cut], label[cut]) for cut in cuts), groups(number))


def corrupted(share: float = 0.4, seed: int = 1) -> tuple[Softmax, NDArray[np.bool_]]:
    """500 images of which a share has random wrong labels, and which these are."""
    x, label = digits()
    rng = np.random.default_rng(seed)
    bad = rng.random(500) < share
    noisy = label[:500].copy()
    noisy[bad] = (noisy[bad] + rng.integers(1, CLASSES, bad.sum())) % CLASSES
    cuts = [slice(500, 1000), slice(1000, None)]
    valid, test = ((x[cut], label[cut]) for cut in cuts)
    return Softmax((x[:500], noisy), valid, test, None, ridge=1e-3), bad
