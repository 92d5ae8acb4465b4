"""Checks of what users pass: bounds, and the shapes of what their functions return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError

Floats = NDArray[np.float64]


def as_bounds(bounds: Any, n: int) -> tuple[Floats, Floats]:
    """Bounds as two arrays (n,).

    bounds  (lower, upper), each a number or (n,), infinite where there is none; or an object
            with fields lb and ub
    """
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = bounds.lb, bounds.ub
    if not isinstance(bounds, Sequence) or len(bounds) != 2:
        raise UsageError(
            "bounds: expected (lower, upper), each a number or as long as x0, found "
            f"{bounds!r:.80}; for pairs (low, high), pass tuple(zip(*pairs))"
        )
    return _spread("lower", bounds[0], n), _spread("upper", bounds[1], n)


def _spread(name: str, bound: ArrayLike, n: int) -> Floats:
    array = np.asarray(bound, dtype=np.float64)
    if array.shape not in ((), (n,)):
        raise UsageError(
            f"bounds: expected {name} of shape ({n},), like x0, found shape {array.shape}"
        )
    return np.broadcast_to(array, (n,)).copy()


def check_bounds(x0: Floats, lower: Floats, upper: Floats) -> None:
    """Raise UsageError unless lower <= x0 <= upper, naming the first entry that is not."""
    for name, bound in (("lower", lower), ("upper", upper)):
        if np.shape(bound) != x0.shape:
            raise UsageError(f"{name}: expected shape {x0.shape}, found {np.shape(bound)}")
        if np.isnan(bound).any():
            raise UsageError(f"{name}: expected numbers, found NaN at entry {_first(bound)}")
    for wrong, text in (
        (lower > upper, "bounds: expected lower <= upper"),
        ((x0 < lower) | (x0 > upper), "x0: expected lower <= x0 <= upper"),
    ):
        if wrong.any():
            i = int(np.argmax(wrong))
            raise UsageError(
                f"{text}, found lower {lower[i]:g}, upper {upper[i]:g}, x0 {x0[i]:g} at entry {i}"
            )


def _first(bound: Floats) -> int:
    return int(np.argmax(np.isnan(bound)))


def expect_shape(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Values as a float64 array of this shape, or UsageError."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: expected numbers of shape {shape}, found {error}") from None
    if array.shape != shape:
        raise UsageError(f"{name}: expected shape {shape}, found {array.shape}")
    return array
