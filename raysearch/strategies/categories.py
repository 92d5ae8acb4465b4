"""Independent distributions over unordered values, moved along their natural gradient.

    G = sum_i w_i (onehot(k_i) - q),        q <- q + delta G / |F^1/2 G|

w are the positive weights of a sorted generation, F is Fisher's information. The step length
delta = 1 / Delta shrinks where the gradients disagree, as their path s tells:

    s     <- (1 - b) s + sqrt(b (2 - b)) F^1/2 G / |F^1/2 G|,   b = delta / sqrt(sum (K - 1))
    gamma <- (1 - b)^2 gamma + b (2 - b)
    Delta <- Delta exp(b (gamma - |s|^2 / 1.5))

No value's probability falls below (1 - 0.73^(1/c)) / (K - 1), so that none is lost for ever.

q  (c, K)  probabilities; 0 where a parameter has fewer values than the largest K
k  (c,)    which value a sample has for each parameter

Akimoto, Shirakawa et al. (2019), "Adaptive stochastic natural gradient method", ICML; Hamano
et al. (2024), "CatCMA: stochastic optimization for mixed-category problems", arXiv:2405.09962.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..trial import Floats, Ints

_ALPHA = 1.5


@dataclass(frozen=True, eq=False)
class Categories:
    """The distributions and their path; see the head of this file."""

    q: Floats
    s: Floats
    gamma: float = 0.0
    inverse_step: float = 1.0


def uniformly(sizes: Ints) -> Categories:
    """Every value as likely as the others.

    >>> uniformly(np.array([2, 4])).q.tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """
    there = np.arange(sizes.max(initial=0)) < sizes[:, None]
    return Categories(there / sizes[:, None], np.zeros(there.shape))


def sampled(categories: Categories, u: Floats) -> Ints:
    """Values (r, c) at the uniform numbers u (r, c)."""
    bounds = np.cumsum(categories.q, axis=1)
    last = (categories.q > 0).sum(axis=1) - 1
    return np.asarray(np.minimum((u[:, :, None] >= bounds).sum(axis=2), last))


def moved(categories: Categories, k: Ints, weights: Floats, sizes: Ints) -> Categories:
    """The distributions after a generation.

    k        (mu, c) values, best sample first
    weights  (mu,) > 0, of sum 1
    sizes    (c,) how many values there are
    """
    if not len(sizes):
        return categories
    q = categories.q
    onehot = k[:, :, None] == np.arange(q.shape[1])
    gradient = np.einsum("i,ick->ck", weights, onehot - q)
    free = np.arange(q.shape[1]) < sizes[:, None] - 1  # the last one follows from the others
    last = q[np.arange(len(q)), sizes - 1][:, None]
    root = np.sqrt(np.where(free, q, 1.0))
    total = np.where(free, gradient, 0.0).sum(axis=1, keepdims=True)
    scaled = np.where(free, gradient / root + root * total / (last + np.sqrt(last)), 0.0)
    length = math.sqrt(float((scaled**2).sum())) + 1e-30

    delta = 1 / categories.inverse_step
    b = delta / math.sqrt(float((sizes - 1).sum()))
    s = (1 - b) * categories.s + math.sqrt(b * (2 - b)) * scaled / length
    gamma = (1 - b) ** 2 * categories.gamma + b * (2 - b)
    inverse_step = categories.inverse_step * math.exp(b * (gamma - float((s**2).sum()) / _ALPHA))
    return Categories(_kept(q + delta * gradient / length, sizes), s, gamma, inverse_step)


def _kept(q: Floats, sizes: Ints) -> Floats:
    """The distributions with the least probabilities raised to the margin."""
    least = ((1 - 0.73 ** (1 / len(sizes))) / (sizes - 1))[:, None]
    there = np.arange(q.shape[1]) < sizes[:, None]
    q = np.where(there, np.maximum(q, least), 0.0)
    total = q.sum(axis=1, keepdims=True)
    spare = total - least * sizes[:, None]
    q = np.where(there, q - (total - 1) * (q - least) / spare, 0.0)
    return np.asarray(q / q.sum(axis=1, keepdims=True))
