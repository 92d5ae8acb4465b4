"""Linear systems H q = b with a symmetric H that is known by its products alone.

    CG       for H that has positive curvature only; notices if it has not
    MINRES   for any H
    Neumann  q = a (b + (I - a H) b + (I - a H)^2 b + ...), a = 1 / largest eigenvalue: slow, yet
             every partial sum is meaningful

Hestenes & Stiefel (1952), "Methods of conjugate gradients for solving linear systems";
Paige & Saunders (1975), "Solution of sparse indefinite systems of linear equations"; Lorraine,
Vicol & Duvenaud (2020), "Optimizing millions of hyperparameters by implicit differentiation".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator
from scipy.sparse.linalg import minres as scipy_minres

from ..errors import HypergradientError
from .problem import Floats

Product = Callable[[Floats], Floats]


class Solution(NamedTuple):
    """q (n,), what it leaves (b - H q), and the least curvature of H that was met."""

    q: Floats
    left: Floats
    least: float


def conjugate_gradients(
    product: Product, b: Floats, q: Floats, tolerance: float, limit: int
) -> Solution:
    """From q until norm(b - H q) <= tolerance norm(b); HypergradientError if H is indefinite."""
    goal, least = tolerance * float(np.linalg.norm(b)), np.inf
    q = q.copy()
    r = b - product(q) if q.any() else b.copy()
    p, rr = r.copy(), float(r @ r)
    for _ in range(limit):
        if rr**0.5 <= goal:
            break
        hp = product(p)
        curvature = float(p @ hp) / float(p @ p)
        if not curvature > 0:
            raise HypergradientError(
                f"curvature of the training loss: expected it positive at the trained parameters, "
                f"found {curvature:.3g} along a direction: w is no minimum, or not a strict one; "
                "train longer, add weight decay, or take "
                'curvature="gauss-newton" or solver="minres"'
            )
        least = min(least, curvature)
        a = rr / float(p @ hp)
        q += a * p
        r -= a * hp
        new = float(r @ r)
        p, rr = r + (new / rr) * p, new
    return Solution(q, r, least)


def minres(product: Product, b: Floats, q: Floats, tolerance: float, limit: int) -> Solution:
    """As above, for a symmetric H of any signs; least is that of H along q."""
    start = b - product(q) if q.any() else b
    size = float(np.linalg.norm(start))
    if size <= tolerance * float(np.linalg.norm(b)):
        return Solution(q.copy(), start, np.inf)
    operator = LinearOperator((b.size, b.size), matvec=product, dtype=np.float64)
    relative = tolerance * float(np.linalg.norm(b)) / size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more, _ = scipy_minres(operator, start, rtol=0.1 * relative, maxiter=limit)
    q = q + more
    hq = product(q)
    return Solution(q, b - hq, float(q @ hq) / max(float(q @ q), np.finfo(float).tiny))


def neumann(product: Product, b: Floats, q: Floats, tolerance: float, limit: int) -> Solution:
    """As above, by the series; HypergradientError if it diverges."""
    v, largest = b / max(float(np.linalg.norm(b)), np.finfo(float).tiny), 0.0
    for _ in range(15):  # the power method; the margin makes up for what it has not reached
        hv = product(v)
        largest = float(np.linalg.norm(hv))
        if largest == 0:
            break
        v = hv / largest
    a = 1 / (1.1 * largest) if largest else 1.0
    q, norm_b = q.copy(), float(np.linalg.norm(b))
    r = b - product(q) if q.any() else b.copy()
    for _ in range(limit):
        if np.linalg.norm(r) <= tolerance * norm_b:
            break
        q += a * r
        r -= a * product(r)
        if not np.linalg.norm(r) <= 10 * max(norm_b, 1e-300):
            raise HypergradientError(
                "Neumann series: expected it to converge, found terms that grow: the training "
                'loss has negative curvature at w; train longer, or take solver="minres"'
            )
    curvature = float(r @ product(r)) / float(r @ r) if r.any() else np.inf
    return Solution(q, r, curvature)


SOLVERS: dict[str, Callable[[Product, Floats, Floats, float, int], Solution]] = {
    "cg": conjugate_gradients,
    "minres": minres,
    "neumann": neumann,
}
