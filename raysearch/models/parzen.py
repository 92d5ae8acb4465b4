"""Parzen densities on the unit cube, for parameters of every kind, conditional ones as well.

Mixtures of K product kernels, relative to the uniform distribution of the space,

    p(x) = sum_j w_j prod_i k_i(x_i | m_ji, s_ji)    over the parameters i active in x

continuous  normal, truncated to [0, 1]
ordered     the same, integrated over the cell of the unit interval that a value has; of more
            than 64 values the cells are so narrow that the density in their place will do
unordered   m_ji with probability 1 - s_ji, otherwise any value, each equally likely

A kernel that knows nothing of a parameter, because it is not active at the kernel's centre,
is flat there. So p is a density on the whole tree of a conditional space, and a parameter
that is not active drops out of it. In features of a point every kernel is log-linear,

    log k(x | j) = phi(x) . theta_j,   phi_i = (x_i^2, x_i, 1), or the cell of x_i as 0 and 1

so that many points and kernels meet in one matrix product.

Parzen (1962), "On estimation of a probability density function and mode"; Aitchison & Aitken
(1976), "Multivariate binary discrimination by the kernel method".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..space import Choice, Space
from ..trial import Floats, Ints

FLAT = 1e3  # a standard deviation, in edges of the cube, that leaves [0, 1] uniform
_CELLS = 64  # values of an ordered parameter, at most, whose cells are integrated
_LEAST = 1e-300  # probability of a cell, for its logarithm
_TINY = 2.0**-54  # keeps ndtri from infinity
_MOST = 600.0  # exponent of a kernel's density, so that sums stay finite
_ROWS = 2**18  # entries of the matrix of points and kernels that are worked on together


@dataclass(frozen=True)
class Layout:
    """How the parameters of a space lie on the unit interval.

    cells      parameter's index -> (n + 1,) edges of the cells of its values, where they count
    unordered  (d,) whether its values are without order
    """

    cells: dict[int, Floats]
    unordered: NDArray[np.bool_]

    @cached_property
    def smooth(self) -> Ints:
        """Indices of the parameters that have a density."""
        return np.array([i for i in range(len(self.unordered)) if i not in self.cells], dtype=int)

    @cached_property
    def mixed(self) -> bool:
        """Whether some parameter is unordered."""
        return bool(self.unordered.any())


def layout(space: Space) -> Layout:
    """The layout of a space.

    >>> from raysearch.space import Float
    >>> layout(Space({"x": Float(0, 1), "c": Choice(["a", "b"])})).cells
    {1: array([0. , 0.5, 1. ])}
    """
    cells, unordered = {}, []
    for i, parameter in enumerate(space.axes):
        unordered.append(isinstance(parameter, Choice) and not parameter.ordered)
        if parameter.size <= _CELLS or unordered[-1]:
            places = parameter.encode(parameter.nth(np.arange(int(parameter.size))))
            inner = (places[1:] + places[:-1]) / 2
            cells[i] = np.concatenate([[0.0], inner, [1.0]])
    return Layout(cells, np.array(unordered))


def features(layout: Layout, x: Floats, active: NDArray[np.bool_] | None = None) -> Floats:
    """phi of points (n, d), shape (n, F); `active` (n, d), where not all parameters are."""
    smooth = x[:, layout.smooth]
    on = np.ones_like(smooth) if active is None else active[:, layout.smooth].astype(float)
    parts = [smooth * smooth * on, smooth * on, on]
    for i, edges in layout.cells.items():
        cell = np.searchsorted(edges[1:-1], x[:, i], side="right")
        hot = np.zeros((len(x), len(edges) - 1))
        hot[np.arange(len(x)), cell] = 1.0 if active is None else active[:, i]
        parts.append(hot)
    return np.concatenate(parts, axis=1)


class Parzen:
    """Mixtures that share their kernels.

    layout  of the space
    centre  (K, d) m
    spread  (K, d) s: standard deviations in edges of the cube, FLAT: uniform; of unordered
            parameters the probability of being any value, 1: uniform
    weight  (K, r) w of r mixtures; each column sums to 1

    >>> from raysearch.space import Float
    >>> where = layout(Space({"x": Float(0, 1)}))
    >>> density = Parzen(where, np.array([[0.5]]), np.array([[FLAT]]), np.ones((1, 1)))
    >>> np.exp(density.log(features(where, np.array([[0.1], [0.9]])))).round(6).ravel().tolist()
    [1.0, 1.0]
    """

    def __init__(self, layout: Layout, centre: Floats, spread: Floats, weight: Floats) -> None:
        self.layout, self.centre, self.spread, self.weight = layout, centre, spread, weight
        self._low = ndtr(-centre / spread)
        self._mass = ndtr((1 - centre) / spread) - self._low

    @cached_property
    def theta(self) -> Floats:
        """(F, K) the kernels' parameters."""
        smooth = self.layout.smooth
        m, s, mass = (a.T[smooth] for a in (self.centre, self.spread, self._mass))
        precision = 1 / (s * s)
        height = -0.5 * m * m * precision - np.log(s * mass * math.sqrt(2 * math.pi))
        parts = [-0.5 * precision, m * precision, height]
        for i, edges in self.layout.cells.items():
            m, s = self.centre[:, i], self.spread[:, i]
            if self.layout.unordered[i]:
                n = len(edges) - 1
                own = np.searchsorted(edges[1:-1], m, side="right")
                ratio = np.repeat(s[None, :], n, axis=0)
                ratio[own, np.arange(len(m))] += n * (1 - s)
            else:
                below = ndtr((edges[:, None] - m) / s)
                ratio = np.diff(below, axis=0) / np.diff(edges)[:, None] / self._mass[:, i]
            parts.append(np.log(np.maximum(ratio, _LEAST)))
        return np.concatenate(parts)

    def log(self, phi: Floats) -> Floats:
        """(n, r) log densities of the mixtures at points with these features (n, F)."""
        step = max(1, _ROWS // len(self.centre))
        if len(phi) > step:
            parts = [self.log(phi[i : i + step]) for i in range(0, len(phi), step)]
            return np.concatenate(parts)
        exponent = phi @ self.theta
        np.minimum(exponent, _MOST, out=exponent)
        np.exp(exponent, out=exponent)
        return np.asarray(np.log(np.maximum(exponent @ self.weight, _LEAST)))

    def sample(self, u: Floats, mixture: int = 0) -> Floats:
        """Points (n, d) of a mixture, made of uniform numbers (n, 1 + d) by inversion."""
        steps = np.cumsum(self.weight[:, mixture])
        j = np.searchsorted(steps, u[:, 0] * steps[-1], side="right")
        m, s, v = self.centre[j], self.spread[j], u[:, 1:]
        z = ndtri(np.clip(self._low[j] + v * self._mass[j], _TINY, 1 - _TINY))
        x = np.clip(m + s * z, 0.0, 1.0)
        if self.layout.mixed:
            anew = np.minimum((v - (1 - s)) / s, 1.0)
            x = np.where(self.layout.unordered, np.where(v < 1 - s, m, anew), x)
        return np.asarray(x)
