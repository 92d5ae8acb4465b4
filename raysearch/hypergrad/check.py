"""Hypergradients checked by differences of the validation loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import HypergradientError, UsageError
from .problem import Shape
from .result import Hypergradient


@dataclass(frozen=True)
class Check:
    """How a hypergradient compares with differences.

    error     norm of the difference, relative to the gradient's; of the entries compared
    worst     name of the entry that is furthest off
    found     the hypergradient there
    expected  what differences say
    entries   how many were compared
    """

    error: float
    worst: str
    found: float
    expected: float
    entries: int

    def __str__(self) -> str:
        return (
            f"{self.worst}: expected {self.expected:.10g}, found {self.found:.10g}; relative error "
            f"of the {self.entries} entries compared {self.error:.1e}"
        )


def check(
    run: Callable[[Any], Hypergradient],
    h: Any,
    *,
    rtol: float = 1e-5,
    step: float = 1e-3,
    entries: Sequence[int] | None = None,
) -> Check:
    """Compare the hypergradient at h with differences of fourth order, and name the worst entry.

    dV/dh_j = (8 (V(h + e_j) - V(h - e_j)) - (V(h + 2 e_j) - V(h - 2 e_j))) / (12 e)

    run      h -> `Hypergradient`, such as ``lambda h: implicit(problem, w, h, inner=1e-10)``. Of a
             mapping h, those entries that its `gradient` lacks are looked up in its `options`
    h        hyperparameters: where to check
    rtol     the error allowed
    step     of the differences, relative to each entry's size; 0 counts as 1
    entries  which to check, by their place in the flat h; None: all. Each costs 4 runs

    Returns a `Check`. HypergradientError, with its text, if the error is larger.

    >>> from raysearch.hypergrad import Problem, implicit
    >>> ridge = Problem(
    ...     train=lambda w, h: ((w - 1) ** 2 / 2 + h * w**2 / 2, w - 1 + h * w, w**2 / 2),
    ...     valid=lambda w, h: (w**2 / 2, w, None),
    ... )
    >>> check(lambda h: implicit(ridge, 0.0, h), 1.0).error < 1e-8
    True
    """
    shape = Shape("h", h)
    found = shape.flat("gradient", _gradient(run(h), h))
    chosen = range(shape.vector.size) if entries is None else entries
    if not len(chosen):
        raise UsageError(f"entries: expected at least one, found {entries!r}")
    expected = np.array([_difference(run, shape, j, step) for j in chosen])
    off = found[list(chosen)] - expected
    worst = int(np.argmax(np.where(np.isnan(off), np.inf, np.abs(off))))
    error = float(np.linalg.norm(off) / max(float(np.linalg.norm(expected)), 1e-300))
    name = shape.name(list(chosen)[worst])
    report = Check(
        error, name, float(found[list(chosen)[worst]]), float(expected[worst]), len(expected)
    )
    if not error <= rtol:
        raise HypergradientError(f"hypergradient: {report}, more than {rtol:g}")
    return report


def _gradient(found: Hypergradient, h: Any) -> Any:
    """The gradient in the layout of h, with the options' parts."""
    if not isinstance(h, dict) or not found.options:
        return found.gradient
    known = {**(found.gradient or {}), **found.options}
    missing = [name for name in h if name not in known]
    if missing:
        raise UsageError(f"run: expected derivatives for {list(h)}, found none for {missing}")
    return {name: known[name] for name in h}


def _difference(run: Callable[[Any], Hypergradient], shape: Shape, j: int, step: float) -> float:
    e = step * (abs(float(shape.vector[j])) or 1.0)

    def value(by: float) -> float:
        moved = shape.vector.copy()
        moved[j] += by
        return run(shape.build(moved)).value

    near, far = value(e) - value(-e), value(2 * e) - value(-2 * e)
    return (8 * near - far) / (12 * e)
