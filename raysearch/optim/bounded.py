"""L-BFGS with bounds l <= x <= u.

Byrd, Lu, Nocedal & Zhu (1995), "A limited memory algorithm for bound constrained
optimization", SIAM J. Sci. Comput. 16; the subspace step as in Morales & Nocedal (2011),
"Remark on Algorithm 778", ACM TOMS 38.

x (n,) point    g (n,) gradient    l, u (n,) bounds    d (n,) path direction
W (n, 2k), M (2k, 2k), theta (): the model's Hessian B = theta I - W M W^T (3.2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .descent import Descent, LineSearchSolver
from .machine import Floats, SolverState, Steps
from .problem import check_bounds
from .quasi_newton import remember


class Model(NamedTuple):
    """The Hessian's approximation in compact form."""

    theta: float
    w: Floats
    m: Floats


@dataclass(frozen=True, kw_only=True)
class LBFGSB(LineSearchSolver):
    """L-BFGS within bounds: `LBFGS` where none is active.

    lower, upper  (n,) bounds, infinite where there is none; lower <= x0 <= upper
    pairs         steps remembered

    Other options as in `LineSearchSolver`; gtol is for P(x - g) - x, with P the projection on
    the bounds. Every point asked for lies within the bounds.
    """

    lower: Floats
    upper: Floats
    pairs: int = 15

    def init(self, x0: ArrayLike) -> SolverState[Descent]:
        """The state before the first evaluation, at x0 (n,) within the bounds."""
        state = super().init(x0)
        check_bounds(state.x0, self.lower, self.upper)
        return state

    def direction(self, at: Descent) -> Steps[Floats]:
        yield from ()
        model = compact(at)
        corner, c = cauchy_point(at.x, at.jac, self.lower, self.upper, model)
        target = subspace_minimiser(at.x, at.jac, self.lower, self.upper, corner, c, model)
        return target - at.x

    def learn(self, at: Descent, new: Descent) -> tuple[Floats, ...]:
        return remember(at, new, self.pairs)

    def longest(self, at: Descent, p: Floats) -> float:
        """The length at which the first bound is met, at least 1."""
        room = np.where(p > 0, (self.upper - at.x) / p, (self.lower - at.x) / p)
        return max(1.0, float(np.min(room[p != 0], initial=np.inf)))

    def first_length(self, at: Descent, slope: float) -> float:
        """1; without memory, what moves x by at most 1."""
        return super().first_length(at, slope) if at.memory else min(1.0, 1 / abs(slope) ** 0.5)

    def place(self, x: Floats) -> Floats:
        return np.clip(x, self.lower, self.upper)

    def stationarity(self, at: Descent) -> float:
        return float(np.abs(self.place(at.x - at.jac) - at.x).max())


def compact(at: Descent) -> Model:
    """B from the remembered pairs: (3.2) to (3.4)."""
    if not at.memory:
        return Model(1.0, np.zeros((at.x.size, 0)), np.zeros((0, 0)))
    s, y = at.memory
    theta = float(y[-1] @ y[-1] / (s[-1] @ y[-1]))
    sy = s @ y.T
    lower = np.tril(sy, -1)
    middle = np.block([[-np.diag(np.diag(sy)), lower.T], [lower, theta * s @ s.T]])
    return Model(theta, np.vstack([y, theta * s]).T, np.linalg.inv(middle))


def cauchy_point(
    x: Floats, g: Floats, lower: Floats, upper: Floats, model: Model
) -> tuple[Floats, Floats]:
    """The model's first minimiser along P(x - t g), and c = W^T of the way there: alg. CP."""
    theta, w, m = model
    t = np.where(g < 0, (x - upper) / g, np.where(g > 0, (x - lower) / g, np.inf))  # (4.1)
    d = np.where(t > 0, -g, 0.0)
    p, c = w.T @ d, np.zeros(w.shape[1])
    slope = -float(d @ d)
    curvature = -theta * slope - float(p @ m @ p)
    corner, reached = x.copy(), 0.0
    for b in np.argsort(t, kind="stable"):
        if t[b] <= 0:
            continue
        if not slope < 0 or t[b] - reached > -slope / curvature:
            break
        dt, reached = float(t[b]) - reached, float(t[b])
        corner[b] = upper[b] if d[b] > 0 else lower[b]
        z, g_b, w_b = corner[b] - x[b], g[b], w[b]
        c = c + dt * p
        slope += dt * curvature + g_b**2 + theta * g_b * z - g_b * float(w_b @ m @ c)
        curvature -= theta * g_b**2 + 2 * g_b * float(w_b @ m @ p) + g_b**2 * float(w_b @ m @ w_b)
        p = p + g_b * w_b
        d[b] = 0.0
        curvature = max(curvature, np.finfo(np.float64).eps * theta)
    dt = max(0.0, -slope / curvature) if d.any() else 0.0
    moving = d != 0
    corner[moving] = x[moving] + (reached + dt) * d[moving]
    return corner, c + dt * p


def subspace_minimiser(
    x: Floats, g: Floats, lower: Floats, upper: Floats, corner: Floats, c: Floats, model: Model
) -> Floats:
    """The model's minimiser over the variables that are off their bounds at `corner`.

    Direct primal method, sec. 5.1; projected on the bounds if that descends, else cut short.
    """
    theta, w, m = model
    free = (corner > lower) & (corner < upper)
    if not free.any():
        return corner
    wf = w[free]
    r = (g + theta * (corner - x) - w @ (m @ c))[free]  # (5.4)
    v = m @ (wf.T @ r)
    v = np.asarray(np.linalg.solve(np.eye(len(m)) - m @ (wf.T @ wf) / theta, v), dtype=np.float64)
    step: Floats = -r / theta - wf @ v / theta**2  # (5.11)
    target = corner.copy()
    target[free] = np.clip(corner[free] + step, lower[free], upper[free])
    if (target - x) @ g < 0:
        return target
    room = np.where(step > 0, upper[free] - corner[free], lower[free] - corner[free]) / step
    target[free] = corner[free] + min(1.0, np.min(room[step != 0], initial=1.0)) * step
    return target
