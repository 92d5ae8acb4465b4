"""Quasi-Newton methods: curvature learned from gradients.

From each step s = x+ - x and its change of gradient y = g+ - g, B, an approximation of the
Hessian, or its inverse H is made to satisfy the secant equation H y = s.

Nocedal & Wright (2006), Numerical Optimization, ch. 6 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .descent import Descent, LineSearchSolver
from .machine import Floats, Steps


def curved(s: Floats, y: Floats) -> bool:
    """Whether a step has seen positive curvature; only such steps are learned from."""
    return bool(s @ y > 1e-10 * np.linalg.norm(s) * np.linalg.norm(y))


@dataclass(frozen=True, kw_only=True)
class BFGS(LineSearchSolver):
    """The method of Broyden, Fletcher, Goldfarb and Shanno; memory n^2.

    p = -H g,  H+ = (I - rho s y^T) H (I - rho y s^T) + rho s s^T,  rho = 1 / y^T s    (6.17)

    Options as in `LineSearchSolver`. Reference: Nocedal & Wright (2006), alg. 6.1.
    """

    def direction(self, at: Descent) -> Steps[Floats]:
        yield from ()
        return -(at.memory[0] @ at.jac) if at.memory else -at.jac

    def learn(self, at: Descent, new: Descent) -> tuple[Floats, ...]:
        s, y = new.x - at.x, new.jac - at.jac
        if not curved(s, y):
            return at.memory
        h = at.memory[0] if at.memory else np.eye(s.size) * (s @ y) / (y @ y)  # (6.20)
        rho, hy = 1 / (y @ s), h @ y
        cross = np.outer(s, hy)
        return (h - rho * (cross + cross.T) + rho * (1 + rho * (y @ hy)) * np.outer(s, s),)


@dataclass(frozen=True, kw_only=True)
class LBFGS(LineSearchSolver):
    """BFGS from the last few steps only; memory and time per iteration O(pairs n).

    pairs  steps remembered

    Other options as in `LineSearchSolver`. Reference: Liu & Nocedal (1989), "On the limited
    memory BFGS method for large scale optimization", Math. Program. 45.
    """

    pairs: int = 15

    def direction(self, at: Descent) -> Steps[Floats]:
        yield from ()
        if not at.memory:
            return -at.jac
        s, y = at.memory
        return -two_loops(s, y, at.jac)

    def learn(self, at: Descent, new: Descent) -> tuple[Floats, ...]:
        return remember(at, new, self.pairs)


def remember(at: Descent, new: Descent, pairs: int) -> tuple[Floats, ...]:
    """The last pairs (s, y), as two arrays (k, n), k <= pairs."""
    s, y = new.x - at.x, new.jac - at.jac
    if not curved(s, y):
        return at.memory
    if not at.memory:
        return s[None], y[None]
    past_s, past_y = at.memory
    return np.vstack([past_s, s])[-pairs:], np.vstack([past_y, y])[-pairs:]


def two_loops(s: Floats, y: Floats, g: Floats) -> Floats:
    """H g from the pairs s, y (k, n): Nocedal & Wright, alg. 7.4."""
    q = g.copy()
    rho = 1 / np.einsum("ij,ij->i", s, y)
    alpha = np.empty(len(s))
    for i in reversed(range(len(s))):
        alpha[i] = rho[i] * (s[i] @ q)
        q -= alpha[i] * y[i]
    q *= (s[-1] @ y[-1]) / (y[-1] @ y[-1])  # (7.20)
    for i in range(len(s)):
        q += (alpha[i] - rho[i] * (y[i] @ q)) * s[i]
    return q
