"""Newton's method with line search: directions from the Hessian, or from its products.

Nocedal & Wright (2006), Numerical Optimization, sec. 3.4 and 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.linalg, which is heavy, when it is first used

from .descent import EPS, Descent, LineSearchSolver
from .machine import Floats, Request, Steps


@dataclass(frozen=True, kw_only=True)
class _NewtonLike(LineSearchSolver):
    """Steps of natural length 1 from the start; nothing is remembered."""

    def learn(self, at: Descent, new: Descent) -> tuple[Floats, ...]:
        return ()

    def first_length(self, at: Descent, slope: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Newton(_NewtonLike):
    """Newton's method with a modified Cholesky factorisation and line search.

    p = -(H + E)^-1 g with E = 0 where the Hessian H is safely positive definite.

    Options as in `LineSearchSolver`. Reference: Nocedal & Wright (2006), alg. 3.2.
    """

    def direction(self, at: Descent) -> Steps[Floats]:
        answer = yield Request(at.x, ("hess",))
        if not np.isfinite(answer.hess).all():
            return -at.jac
        size = max(1.0, float(np.linalg.norm(at.x)))
        floor = EPS * float(np.linalg.norm(at.jac)) / size  # norm(p) <= size / eps
        return -modified_cholesky_solve(answer.hess, at.jac, floor)


def modified_cholesky_solve(h: Floats, g: Floats, floor: float) -> Floats:
    """(H + E)^-1 g, with H + E positive definite and E = 0 if H safely is.

    P H P^T = L D L^T with D of blocks 1x1 and 2x2 (Bunch & Kaufman); eigenvalues of D are
    replaced by their absolute value, at least floor and at least what rounding can tell.

    Cheng & Higham (1998), "A modified Cholesky algorithm based on a symmetric indefinite
    factorization", SIAM J. Matrix Anal. Appl. 19, with abs(lambda) for lambda < 0.
    """
    lower, d, order = scipy.linalg.ldl(h, lower=True)
    values, q = np.linalg.eigh(d)
    values = np.maximum(abs(values), max(floor, EPS * g.size * float(abs(h).max())))
    lower = lower[order]
    z = scipy.linalg.solve_triangular(lower, g[order], lower=True, unit_diagonal=True)
    z = q @ ((q.T @ z) / values)
    z = scipy.linalg.solve_triangular(lower, z, lower=True, unit_diagonal=True, trans="T")
    x = np.empty_like(g)
    x[order] = z
    return x


@dataclass(frozen=True, kw_only=True)
class NewtonCG(_NewtonLike):
    """Newton's method with H p = -g solved roughly, by conjugate gradients.

    Needs products of the Hessian with vectors only. Made for convex functions of many
    parameters; on others a trust region ("Newton-Steihaug") is safer.

    Options as in `LineSearchSolver`. Reference: Nocedal & Wright (2006), alg. 7.1.
    """

    def direction(self, at: Descent) -> Steps[Floats]:
        p, _ = yield from truncated_cg(at.x, at.jac, np.inf)
        return p


def truncated_cg(x: Floats, g: Floats, radius: float) -> Steps[tuple[Floats, Floats]]:
    """Minimise g^T p + p^T H p / 2 within norm(p) <= radius, roughly: p and H p.

    Steihaug's conjugate gradients: stop at the region's border, at negative curvature (then go
    to the border or, without one, return the last iterate), or when the residual is below
    min(1/2, sqrt(norm g)) norm(g).

    Steihaug (1983), SIAM J. Numer. Anal. 20; Nocedal & Wright (2006), alg. 7.2.
    """
    p, hp = np.zeros_like(g), np.zeros_like(g)
    r, d = g, -g
    norm = float(np.linalg.norm(g))
    enough = min(0.5, np.sqrt(norm)) * norm
    for _ in range(2 * g.size):
        hd = (yield Request(x, ("hessp",), d)).hessp
        curvature = float(d @ hd)
        if not curvature > EPS * float(np.linalg.norm(d) * np.linalg.norm(hd)):
            if np.isinf(radius):
                return (p, hp) if p.any() else (-g, -hd)
            a = to_border(p, d, radius)
            return p + a * d, hp + a * hd
        a = float(r @ r) / curvature
        if np.linalg.norm(p + a * d) >= radius:
            a = to_border(p, d, radius)
            return p + a * d, hp + a * hd
        p, hp, following = p + a * d, hp + a * hd, r + a * hd
        if np.linalg.norm(following) <= enough:
            break
        d = -following + float(following @ following) / float(r @ r) * d
        r = following
    return p, hp


def to_border(p: Floats, d: Floats, radius: float) -> float:
    """The a >= 0 with norm(p + a d) = radius."""
    dd, pd, gap = float(d @ d), float(p @ d), radius**2 - float(p @ p)
    root = np.sqrt(max(pd**2 + dd * gap, 0.0))
    return float(gap / (pd + root) if pd > 0 else (root - pd) / dd)
