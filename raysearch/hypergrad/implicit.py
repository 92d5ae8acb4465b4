"""Implicit differentiation: the hypergradient at the optimum of training.

There dL/dw = 0, and the implicit function theorem says how w follows h:

    q      = L_ww^-1 V_w                              the adjoint system
    dV/dh  = V_h - L_hw q

whatever algorithm has found w. Neither needs to be solved exactly, as long as both get more
precise while the search of h converges.

Larsen et al. (1996), "Design and regularization of neural networks: the optimal use of a
validation set"; Pedregosa (2016), "Hyperparameter optimization with approximate gradient".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import HypergradientError, UsageError
from ..optim import LBFGS
from .linear import SOLVERS, Solution, minres
from .problem import Floats, Functions, Problem, Shape
from .result import Hypergradient

#: a Newton step for the estimate of the error is solved to this
_ROUGH = 0.1
#: Newton steps at most, where L-BFGS sees the loss fall no more because of rounding
_POLISH = 5
#: w is not called trained if the hypergradient is off by more than the first, relatively (near
#: its zero it always is), and w itself by more than the second
_UNTRAINED = (0.1, 1e-3)
#: a gradient as small as this, relative to the loss, is as good as can be
_ROUNDING = 1e-10


def implicit(
    problem: Problem,
    w: Any,
    h: Any,
    *,
    inner: float | None = 1e-6,
    adjoint: float = 1e-6,
    solver: str = "cg",
    curvature: str = "exact",
    limit: int = 1000,
    warm: Hypergradient | None = None,
) -> Hypergradient:
    """dV/dh at the minimum of the training loss, which is sought from w first.

    problem    losses and derivatives
    w          parameters to start training from; like `Hypergradient.w`
    h          hyperparameters
    inner      training stops once no entry of dL/dw exceeds this; None: w is trained already,
               which is checked by one rough Newton step
    adjoint    the adjoint system is solved until its residual is this fraction of dV/dw
    solver     "cg", "minres" (any curvature) or "neumann" (a series)
    curvature  "exact", or "gauss-newton" (needs `Problem.gauss_newton`)
    limit      gradients that training may take, and products that the adjoint system may
    warm       an earlier result for nearby h: w and the adjoint go on from there

    Returns a `Hypergradient`. HypergradientError if training or the adjoint system does not
    converge, w that is said to be trained is not, the curvature is negative, or a derivative
    is missing. Example: see `Problem`.

    Reference: Pedregosa (2016), alg. 1.
    """
    if solver not in SOLVERS:
        raise UsageError(f"solver: expected one of {list(SOLVERS)}, found {solver!r}")
    if curvature not in ("exact", "gauss-newton"):
        raise UsageError(f"curvature: expected 'exact' or 'gauss-newton', found {curvature!r}")
    functions = Functions(problem, Shape("w", w if warm is None else warm.w), Shape("h", h))
    h_at = functions.h.vector
    w_at, off = _trained(functions, inner, limit)
    value, v_w, v_h = functions.valid(w_at, h_at)
    start = np.zeros_like(w_at)
    if warm is not None and warm.adjoint is not None and warm.adjoint.shape == start.shape:
        start = warm.adjoint
    solution = SOLVERS[solver](
        lambda v: functions.curvature(curvature, w_at, h_at, v), v_w, start, adjoint, limit
    )
    q, left, _ = solution
    residual = float(np.linalg.norm(left) / max(float(np.linalg.norm(v_w)), 1e-300))
    if not residual <= 2 * adjoint:  # as is rounding's
        raise HypergradientError(
            f"adjoint system: expected a relative residual of at most {adjoint:g}, found "
            f"{residual:.2g} after {limit} products with the curvature; raise limit or adjoint, "
            "or add weight decay, which makes it better conditioned"
        )
    gradient = v_h - functions.mixed(w_at, h_at, q)
    if inner is None:
        _check_trained(functions, w_at, off, solution, gradient, limit)
    cost = functions.cost
    return Hypergradient(
        value,
        functions.h.build(gradient),
        functions.w.build(w_at),
        cost,
        lambda: _error(
            Functions(problem, functions.w, functions.h), w_at, solution, gradient, limit
        )[0],
        inner=off,
        residual=residual,
        adjoint=q,
    )


def _trained(functions: Functions, inner: float | None, limit: int) -> tuple[Floats, float]:
    """The minimiser of the training loss, and the largest entry of the gradient there."""
    w, h = functions.w.vector, functions.h.vector
    if inner is None:
        return w, float(np.abs(functions.train(w, h)[1]).max())
    solver = LBFGS(gtol=inner, max_evaluations=limit)
    state = solver.init(w)
    while (request := solver.ask(state)) is not None:
        value, gradient, _ = functions.train(request.x, h)
        state = solver.tell(state, fun=value, jac=gradient)
    found = solver.result(state)
    w, g, off = found.x, found.jac, float(np.abs(found.jac).max())
    for _ in range(_POLISH if found.success else 0):
        if off <= inner:
            break
        step = _newton_step(functions, w, g, 1e-3, limit)
        g_next = functions.train(w + step, h)[1]
        if not np.abs(g_next).max() < off:
            break
        w, g, off = w + step, g_next, float(np.abs(g_next).max())
    if not off <= max(inner, _ROUNDING * (1 + abs(found.fun))):
        raise HypergradientError(
            f"training: expected no entry of its gradient above {inner:g}, found {off:.2g} after "
            f"{found.nfev} gradients ({found.message}); raise limit or inner, or check the "
            "gradient of the training loss by optim.check_gradient"
        )
    return w, off


def _newton_step(
    functions: Functions, w: Floats, g: Floats, tolerance: float, limit: int
) -> Floats:
    """-L_ww^-1 g (n,), to a relative residual."""
    h = functions.h.vector

    def product(v: Floats) -> Floats:
        return functions.curvature("exact", w, h, v)

    return -minres(product, g, np.zeros_like(w), tolerance, limit).q


def _check_trained(
    functions: Functions, w: Floats, off: float, solution: Solution, gradient: Floats, limit: int
) -> None:
    """HypergradientError unless the gradient at w is small enough to go by."""
    solved = solution._replace(left=np.zeros_like(w))
    error, step = _error(functions, w, solved, gradient, limit)
    most, far = _UNTRAINED
    if error > most and step > far * max(1.0, float(np.linalg.norm(w))):
        raise HypergradientError(
            f"w: expected the minimum of the training loss, as inner=None promises, found a "
            f"gradient of up to {off:.2g} there, by which the hypergradient is off by about "
            f"{error:.0%}; train longer, or give inner, and training goes on from w"
        )


def _error(
    functions: Functions,
    w: Floats,
    solution: Solution,
    gradient: Floats,
    limit: int,
) -> tuple[float, float]:
    """What a Newton step in w and the adjoint's remainder would change, relative; and the step."""
    h, (q, left, least) = functions.h.vector, solution
    zero = np.zeros_like(h)
    step = _newton_step(functions, w, functions.train(w, h)[1], _ROUGH, limit)
    moved = w + step
    there, here = functions.valid(moved, h), functions.valid(w, h)
    (hq, mq), (hq_here, mq_here) = (functions.along(x, h, q, zero) for x in (moved, w))
    assert mq is not None
    assert mq_here is not None
    left = left + (there[1] - here[1]) - (hq - hq_here)
    share = (there[2] - here[2]) - (mq - mq_here)
    least = least if np.isfinite(least) else float(q @ hq_here) / max(float(q @ q), 1e-300)
    off = np.linalg.norm(share) + np.linalg.norm(functions.mixed(w, h, left)) / abs(least or 1e-300)
    return float(off / max(float(np.linalg.norm(gradient)), 1e-300)), float(np.linalg.norm(step))
