"""Kernels: how alike the losses of two points are expected to be.

Points are rows of features, each of which belongs to a group (a parameter of the search).
All features of a group share one length scale l_g; one of them may have been bent before
(`warping`):

    r^2(a, b) = sum_g w_g d_g(a, b),   w_g = 1 / l_g^2
    d_g       = sum over the features of g of (a - b)^2,  or of 1[a != b] if unordered
    k(a, b)   = (1 + √5 r + 5 r^2 / 3) exp(-√5 r)          (Matern 5/2)

Unequal marks are as far apart as any other unequal marks: the corners of a simplex. So d_g is
a squared Euclidean distance for either kind, and k is positive definite.

Rasmussen & Williams (2006), "Gaussian processes for machine learning", sec. 4.2.

n, m  points    p  features    g  groups    w  (g,) inverse squared length scales
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..trial import Floats, Ints

_SQRT5 = 5**0.5


@dataclass(frozen=True, eq=False)
class Layout:
    """What the features are.

    group  (p,) to which of the groups 0 .. g-1 each feature belongs
    marks  (p,) 0: it is a place on a line. Otherwise it is one of the marks 0 .. marks-1,
           which are equal or not
    bent   (p,) which places on lines are warped, one of a group at most
    """

    group: Ints
    marks: Ints
    bent: NDArray[np.bool_]

    @property
    def unordered(self) -> NDArray[np.bool_]:
        """(p,) which features are marks."""
        return self.marks > 0

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return int(self.group.max()) + 1


def distances(layout: Layout, w: Floats, a: Floats, b: Floats) -> Floats:
    """r^2 between the points a (n, p) and b (m, p), shape (n, m).

    >>> layout = Layout(np.array([0, 1]), np.array([0, 3]), np.array([True, False]))
    >>> distances(layout, np.array([4.0, 9.0]), np.array([[0.0, 1]]), np.array([[0.5, 2]]))
    array([[10.]])
    """
    line = ~layout.unordered
    root = np.sqrt(w[layout.group[line]])
    left, right = a[:, line] * root, b[:, line] * root
    squares = np.sum(left**2, axis=1)[:, None] + np.sum(right**2, axis=1)
    r2 = np.maximum(squares - 2.0 * (left @ right.T), 0.0)
    for mark in np.flatnonzero(layout.unordered):
        r2 += w[layout.group[mark]] * (a[:, mark, None] != b[:, mark])
    return np.asarray(r2)


@dataclass(frozen=True, eq=False)
class Points:
    """Points whose r^2 is that of Euclid: each mark that occurs is the corner of a simplex.

    x      (n, q) coordinates, those that are warped first
    group  (q,) to which group each belongs
    bent   how many of them are warped
    """

    x: Floats
    group: Ints
    bent: int


def corners(layout: Layout, x: Floats) -> Points:
    """The points with features x (n, p).

    >>> layout = Layout(np.array([0, 1]), np.array([3, 0]), np.array([False, True]))
    >>> corners(layout, np.array([[2, 0.5], [0, 0.25]])).x
    array([[0.5       , 0.        , 0.70710678],
           [0.25      , 0.70710678, 0.        ]])
    """
    bent, flat = layout.bent, ~(layout.bent | layout.unordered)
    found, group = [x[:, bent], x[:, flat]], [layout.group[bent], layout.group[flat]]
    for mark in np.flatnonzero(layout.unordered):
        corner = (x[:, mark, None] == np.unique(x[:, mark])) / np.sqrt(2.0)
        found.append(corner)
        group.append(np.full(corner.shape[1], layout.group[mark]))
    return Points(np.concatenate(found, axis=1), np.concatenate(group), int(bent.sum()))


def squares(z: Floats) -> Floats:
    """Squared distances between any two of the points z (n, q), shape (n, n)."""
    norm = np.einsum("ij,ij->i", z, z)
    return np.asarray(np.maximum(norm[:, None] + norm - 2.0 * (z @ z.T), 0.0))


def matern(r2: Floats) -> tuple[Floats, Floats]:
    """k and dk / d(r^2), at squared distances of any shape.

    >>> matern(np.array([0.0]))
    (array([1.]), array([-0.83333333]))
    """
    r = _SQRT5 * np.sqrt(r2)
    decay = np.exp(-r)
    linear = (1.0 + r) * decay
    return linear + (5 / 3) * r2 * decay, (-5 / 6) * linear
