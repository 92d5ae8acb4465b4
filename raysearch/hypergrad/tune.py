"""Hyperparameters that follow their hypergradient down: quasi-Newton steps, rising precision.

    p    = -H g, H from the last pairs (s, y) as in L-BFGS, cut to at most delta in every entry
    h   <- h + p   if V falls by 1e-4 of what g promises; then delta may double
    delta <- delta / 4   otherwise

Training and the adjoint system are solved inexactly, both warm-started from the last. Where a
step fails, or gains less than the precision can tell, the next rung of a ladder of tolerances
is taken, so that effort goes where the search converges: the idea of HOAG. There is no line
search, which inexact values would mislead, and no step can leap to where training is hard.

Pedregosa (2016), "Hyperparameter optimization with approximate gradient"; Liu & Nocedal (1989).

h (m,) hyperparameters    g (m,) hypergradient    s, y (k, m) past steps, changes of g
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..optim.problem import as_bounds
from ..optim.quasi_newton import curved, two_loops
from .implicit import implicit
from .problem import Floats, Problem, Shape
from .result import Hypergradient

#: (largest entry of dL/dw, relative residual of the adjoint system), ever smaller
LADDER = ((1e-3, 0.1), (1e-4, 0.1), (1e-5, 3e-2), (1e-6, 1e-2), (1e-7, 1e-3))

_PAIRS = 20
_ENOUGH = 1e-4  # share of the promised decrease that makes a step a success
_SHORTEST = 1e-6  # delta at which the search has converged


@dataclass(frozen=True, eq=False)
class Tuned:
    """The end of `tune`.

    h          the best hyperparameters
    best       their `Hypergradient`
    gradients  (k,) gradients and products spent until each evaluation was done
    values     (k,) V at each
    """

    h: Any
    best: Hypergradient
    gradients: list[int]
    values: list[float]


def tune(
    problem: Problem,
    w: Any,
    h: Any,
    *,
    bounds: Any = (-np.inf, np.inf),
    gradients: int = 10_000,
    delta: float = 3.0,
    ladder: Sequence[tuple[float, float]] = LADDER,
    limit: int = 5000,
) -> Tuned:
    """Make the validation loss small by implicit hypergradients, with a budget.

    problem    losses and derivatives
    w, h       where training, and the search, start; entries of h should be logarithms or
               logits, so that a change by 1 means about as much for each
    bounds     (low, high) of h, each a number or one for every entry
    gradients  to spend, products included; it ends with the evaluation that exceeds this
    delta      the longest first step, in each entry of h
    ladder     tolerances (inner, adjoint) of `implicit`, the first for the beginning
    limit      as of `implicit`

    Returns a `Tuned`. Raises what `implicit` raises.

    >>> ridge = Problem(
    ...     train=lambda w, h: ((w - 1) ** 2 / 2 + h * w**2 / 2, w - 1 + h * w, w**2 / 2),
    ...     valid=lambda w, h: ((w - 0.25) ** 2 / 2, w - 0.25, None),
    ... )
    >>> found = tune(ridge, 0.0, 1.0, bounds=(0.0, 10.0))  # 1 / (1 + h) = 0.25
    >>> round(float(found.h), 3)
    3.0
    """
    if not ladder or gradients < 1 or not delta > 0:
        raise UsageError(
            "ladder, gradients, delta: expected a rung, a gradient and a length at least, found "
            f"{ladder!r}, {gradients!r}, {delta!r}"
        )
    shape = Shape("h", h)
    low, high = as_bounds(bounds, shape.vector.size)
    at = np.clip(shape.vector, low, high)
    spent: list[int] = []
    values: list[float] = []

    def evaluate(x: Floats, rung: int, warm: Hypergradient | None) -> Hypergradient:
        inner, adjoint = ladder[rung]
        found = implicit(
            problem, w, shape.build(x), inner=inner, adjoint=adjoint, warm=warm, limit=limit
        )
        spent.append(found.cost.gradients + (spent[-1] if spent else 0))
        values.append(found.value)
        return found

    rung, longest = 0, 2 * delta
    now = evaluate(at, rung, None)
    s, y = np.empty((0, at.size)), np.empty((0, at.size))
    while spent[-1] < gradients and delta > _SHORTEST:
        g = shape.flat("gradient", now.gradient)
        g_free = np.where(((at <= low) & (g > 0)) | ((at >= high) & (g < 0)), 0.0, g)
        if not g_free.any():
            break
        p = -two_loops(s, y, g_free) if len(s) else -g_free / np.abs(g_free).max() * delta
        p = np.where(g_free == 0, 0.0, p)
        if not p @ g_free < 0:
            s, y = s[:0], y[:0]
            continue
        wanted = float(np.abs(p).max())
        ahead = np.clip(at + p * min(1.0, delta / wanted), low, high)
        p = ahead - at
        new = evaluate(ahead, rung, now)
        change = shape.flat("gradient", new.gradient) - g
        if curved(p, change):
            s, y = np.vstack([s, p])[-_PAIRS:], np.vstack([y, change])[-_PAIRS:]
        gain = now.value - new.value
        success = gain >= -_ENOUGH * float(g @ p)
        if success:
            at, now = ahead, new
            delta = min(2 * delta, longest) if wanted >= delta else delta
        elif rung == len(ladder) - 1 or not p.any():
            delta = float(np.abs(p).max()) / 4
        else:
            delta = max(float(np.abs(p).max()) / 4, 1e-3)
        if (not success or gain < ladder[rung][0]) and rung < len(ladder) - 1:
            rung += 1
            now = evaluate(at, rung, now)
    return Tuned(shape.build(at), now, spent, values)
