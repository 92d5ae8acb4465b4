"""Parzen densities on the unit cube, for parameters of every kind, conditional ones as well.

Each parameter i has mixtures of its own, of K kernels around the same points,

    p_i(x_i) = sum_j w_ji k_i(x_i | m_ji, s_ji),    p(x) = prod_i p_i(x_i)   over i active in x

relative to the uniform distribution of the space. The kernels are

continuous  normal, truncated to [0, 1]
ordered     the same, integrated over the cell of the unit interval that a value has; of more
            than 64 values the cells are so narrow that the density in their place will do
unordered   m_ji with probability 1 - s_ji, otherwise any value, each equally likely

A kernel whose centre has no such parameter weighs nothing there. So p is a density on the
whole tree of a conditional space, and a parameter that is not active drops out of it.

Densities that are not of cells are those of the nearest node of a grid, so that many points
cost little.

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

from ..space import Space
from ..trial import Floats, Ints

FLAT = 1e3  # a standard deviation, in edges of the cube, that leaves [0, 1] uniform
_CELLS = 64  # values of an ordered parameter, at most, whose cells are integrated
_LEAST = 1e-30  # a density, for its logarithm
_TINY = 2.0**-54  # keeps ndtri from infinity
_ROUNDING = 2.0**-52  # 1 minus this is below 1
_GRID = 1024  # steps of a grid on which densities are computed; kernels are a few steps wide


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
    def width(self) -> Floats:
        """(d,) mean width of the cells of ordered parameters; 0 for others."""
        width = np.zeros(len(self.unordered))
        for i, edges in self.cells.items():
            width[i] = 0.0 if self.unordered[i] else 1 / (len(edges) - 1)
        return width

    @cached_property
    def mixed(self) -> bool:
        """Whether some parameter is unordered."""
        return bool(self.unordered.any())


def layout(space: Space) -> Layout:
    """The layout of a space.

    >>> from raysearch.space import Choice, Float
    >>> layout(Space({"x": Float(0, 1), "c": Choice(["a", "b"])})).cells
    {1: array([0. , 0.5, 1. ])}
    """
    cells = {}
    for i, parameter in enumerate(space.axes):
        if parameter.size <= _CELLS or parameter.unordered:
            places = parameter.encode(parameter.nth(np.arange(int(parameter.size))))
            inner = (places[1:] + places[:-1]) / 2
            cells[i] = np.concatenate([[0.0], inner, [1.0]])
    return Layout(cells, np.array([parameter.unordered for parameter in space.axes]))


class Parzen:
    """Mixtures that share their kernels.

    layout  of the space
    centre  (K, d) m
    spread  (K, d) s: standard deviations in edges of the cube, FLAT: uniform; of unordered
            parameters the probability of being any value, 1: uniform
    weight  (r, d, K) w of r mixtures, up to a factor for each parameter; some above 0

    >>> from raysearch.space import Float
    >>> where = layout(Space({"x": Float(0, 1)}))
    >>> density = Parzen(where, np.array([[0.5]]), np.array([[FLAT]]), np.ones((1, 1, 1)))
    >>> np.exp(density.log(np.array([[0.1], [0.9]]))).round(6).ravel().tolist()
    [1.0, 1.0]
    """

    def __init__(self, layout: Layout, centre: Floats, spread: Floats, weight: Floats) -> None:
        self.layout, self.centre, self.spread = layout, centre, spread
        self.weight = weight / weight.sum(axis=2, keepdims=True)
        self._low, self._high = ndtr(-centre / spread), ndtr((1 - centre) / spread)
        self._mass = self._high - self._low

    @cached_property
    def _normal(self) -> tuple[Floats, Floats, Floats]:
        """m and -1 / (2 s^2) (e, K, 1), heights (e, r, K), of the e parameters with a density."""
        smooth = self.layout.smooth
        m, s, mass = (a.T[smooth, :, None] for a in (self.centre, self.spread, self._mass))
        height = self.weight[:, smooth] / (s * mass * math.sqrt(2 * math.pi))[None, :, :, 0]
        return m, -0.5 / (s * s), height.transpose(1, 0, 2)

    @cached_property
    def _tables(self) -> dict[int, Floats]:
        """Parameter's index -> (n, r) log densities in its n cells."""
        tables = {}
        for i, edges in self.layout.cells.items():
            m, s = self.centre[:, i], self.spread[:, i]
            if self.layout.unordered[i]:
                n = len(edges) - 1
                own = edges[1:-1].searchsorted(m, side="right")
                ratio = s + (own == np.arange(n)[:, None]) * (n * (1 - s))
            else:
                inner = ndtr((edges[1:-1, None] - m) / s)
                below = np.concatenate([self._low[None, :, i], inner, self._high[None, :, i]])
                width = edges[1:, None] - edges[:-1, None]
                ratio = (below[1:] - below[:-1]) / (width * self._mass[:, i])
            tables[i] = np.log(np.maximum(ratio @ self.weight[:, i].T, _LEAST))
        return tables

    def log(self, x: Floats, active: NDArray[np.bool_] | None = None) -> Floats:
        """(n, r) log densities of the mixtures at points (n, d).

        active  (n, d) which parameters the points have; None: all of them
        """
        total = np.zeros((len(x), len(self.weight)))
        for i, table in self._tables.items():
            cell = self.layout.cells[i][1:-1].searchsorted(x[:, i], side="right")
            total += table[cell] if active is None else table[cell] * active[:, i : i + 1]
        smooth = self.layout.smooth
        if len(smooth):
            log = self._nearest(x.T[smooth])
            if active is not None:
                log *= active.T[smooth, None]
            total += log.sum(axis=0).T
        return total

    def _nearest(self, x: Floats) -> Floats:
        """(e, r, n) log densities of the parameters that have one, at x (e, n).

        They are those of the nearest node of a grid, of which few points need only their own.
        """
        node = np.rint(x * _GRID)
        if x.shape[1] < _GRID:
            return self._at(node / _GRID)
        every = np.arange(_GRID + 1) / _GRID
        table = self._at(np.tile(every, (len(x), 1)))
        return np.take_along_axis(table, node.astype(int)[:, None], axis=2)

    def _at(self, x: Floats) -> Floats:
        """The same, exactly."""
        m, slope, height = self._normal
        z = x[:, None] - m
        z *= z
        z *= slope
        np.exp(z, out=z)
        return np.log(np.maximum(height @ z, _LEAST))

    def sample(self, u: Floats, mixture: int = 0) -> Floats:
        """Points (n, d) of a mixture, made of uniform numbers (n, d) by inversion.

        A number chooses the kernel, and what is left of it the place in there.
        """
        weight = self.weight[mixture]
        weight = weight[:, : weight.any(axis=0).nonzero()[0][-1] + 1]
        steps = np.cumsum(weight, axis=1)
        t = np.minimum(u, 1 - _ROUNDING).T * steps[:, -1:]
        j = (steps[:, :-1, None] <= t[:, None]).sum(axis=1)
        at = np.arange(len(steps))[:, None] + len(steps) * j
        m, s, low, mass, step, w = (
            a.ravel().take(at)
            for a in (self.centre, self.spread, self._low, self._mass, steps.T, weight.T)
        )
        v = _clipped(1 - (step - t) / w, 0.0, 1.0)
        inside = _clipped(low + v * mass, _TINY, 1 - _ROUNDING)
        x = _clipped(m + s * ndtri(inside), 0.0, 1.0)
        if self.layout.mixed:
            anew = np.minimum((v - (1 - s)) / s, 1.0)
            x = np.where(self.layout.unordered[:, None], np.where(v < 1 - s, m, anew), x)
        return np.ascontiguousarray(x.T)


def _clipped(x: Floats, low: float, high: float) -> Floats:
    """As np.clip, which takes longer for few numbers."""
    return np.minimum(np.maximum(x, low), high)
