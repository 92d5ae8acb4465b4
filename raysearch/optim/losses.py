"""Robust losses: less weight for residuals that are far out.

The cost is s^2 / 2 sum_i rho((r_i / s)^2), with s the size of an ordinary residual.

Triggs et al. (2000), "Bundle adjustment: a modern synthesis", sec. 4.3 and app. A.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rho = Callable[[Floats], tuple[Floats, Floats, Floats]]


def linear(z: Floats) -> tuple[Floats, Floats, Floats]:
    """rho = z: ordinary least squares."""
    return z, np.ones_like(z), np.zeros_like(z)


def soft_l1(z: Floats) -> tuple[Floats, Floats, Floats]:
    """rho = 2 (sqrt(1 + z) - 1): a smooth absolute value."""
    root = np.sqrt(1 + z)
    return 2 * z / (root + 1), 1 / root, -0.5 / root**3


def huber(z: Floats) -> tuple[Floats, Floats, Floats]:
    """rho = z up to 1, then 2 sqrt(z) - 1."""
    root = np.sqrt(np.maximum(z, 1.0))
    inside = z <= 1
    return (
        np.where(inside, z, 2 * root - 1),
        np.where(inside, 1.0, 1 / root),
        np.where(inside, 0.0, -0.5 / root**3),
    )


def cauchy(z: Floats) -> tuple[Floats, Floats, Floats]:
    """rho = log(1 + z): outliers hardly count; may have several minima."""
    return np.log1p(z), 1 / (1 + z), -1 / (1 + z) ** 2


def arctan(z: Floats) -> tuple[Floats, Floats, Floats]:
    """rho = arctan(z): bounded; may have several minima."""
    return np.arctan(z), 1 / (1 + z**2), -2 * z / (1 + z**2) ** 2


#: loss of `least_squares` -> rho with its first two derivatives
LOSSES: dict[str, Rho] = {
    "linear": linear,
    "soft_l1": soft_l1,
    "huber": huber,
    "cauchy": cauchy,
    "arctan": arctan,
}
