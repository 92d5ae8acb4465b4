"""Levenberg-Marquardt: Gauss-Newton steps inside a trust region.

Each step minimises the model norm(r + J p)^2 / 2 within norm(D p) <= Delta, with D the
running maximum of J's column norms, so that the units of the parameters do not matter. When
the iteration has converged, a few undamped steps take out what the damping left.

Moré (1978), "The Levenberg-Marquardt algorithm: implementation and theory", LNM 630.
Transtrum & Sethna (2012), "Improvements to the Levenberg-Marquardt algorithm for nonlinear
least-squares minimization", arXiv:1201.5885.

x (n,) parameters    r (m,) residuals    J (m, n) Jacobian    p (n,) step    q = D p
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .fitting import EPS, Fit, LeastSquaresSolver, Model, column_norms
from .machine import Floats, Request, SolverState, Steps
from .minimizer import is_finite
from .problem import check_bounds
from .result import RUNNING, Status

#: undamped steps at the end, at most
POLISH = 10

#: a model that erred by less is trusted over four times the step
EXACT = 0.03


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(LeastSquaresSolver):
    """Levenberg-Marquardt in trust-region form.

    factor    Delta at the start is factor norm(D x0)
    eta       least ratio of actual to predicted reduction for a step to be taken
    geodesic  add second-order corrections, at the cost of one evaluation a step; for narrow
              curved valleys
    alpha     largest ratio 2 norm(D a) / norm(D p) of correction to step that is taken
    lower     (n,) bounds, or None; every point asked for lies within them
    upper     likewise

    Other options as in `LeastSquaresSolver`.
    """

    factor: float = 1.0
    eta: float = 1e-4
    geodesic: bool = False
    alpha: float = 0.75
    lower: Floats | None = None
    upper: Floats | None = None

    def init(self, x0: ArrayLike) -> SolverState[Fit]:
        """The state before the first evaluation, at x0 (n,) within the bounds."""
        state = super().init(x0)
        check_bounds(state.x0, *self._bounds(state.x0.size))
        return state

    def started(self, at: Fit) -> Fit:
        scale = np.where(at.scale > 0, at.scale, 1.0)
        size = float(np.linalg.norm(scale * at.x))
        return self.judged(replace(at, scale=scale, radius=self.factor * (size or 1.0)))

    def iterate(self, at: Fit) -> Steps[Fit]:
        j, r = self.weighted(at)
        g, d, radius = j.T @ r, at.scale, at.radius
        free = self.free(at, g)
        model = Model.of(j * free, r, d)
        size_x = float(np.linalg.norm(d * at.x))
        while True:
            p, damping = self._step(at, model, j, r, free, radius)
            size, jp = float(np.linalg.norm(d * p)), j @ p
            predicted = -float(g @ p + jp @ jp / 2)
            if self.geodesic:
                p = yield from self._bent(at, model, j, p, damping, free)
            inside = damping == 0 or size < 0.9 * radius
            x = self._place(at.x + p)
            fun = np.atleast_1d((yield Request(x, ("fun",))).fun)
            cost = self.cost(fun)
            actual = at.cost - cost
            ratio = actual / predicted if predicted > 0 else -1.0
            radius = self._resized(radius, size, ratio, damping, cost, float(g @ p), actual)
            if ratio > self.eta:
                jac = (yield Request(x, ("jac",))).jac
                norms = column_norms(jac)
                if is_finite(norms):
                    break
                radius = size / 10
            if predicted <= 10 * EPS * at.cost or radius <= EPS * max(size_x, EPS):
                if self._promises(at, model, j, r, free):
                    return replace(at, status=Status.NO_DESCENT)
                return (yield from self._polished(replace(at, status=Status.PRECISION)))
        new = self.judged(
            replace(
                at, x=x, nit=at.nit + 1, fun=fun, jac=jac, cost=cost, radius=radius,
                scale=np.maximum(d, norms),
            )
        )  # fmt: skip
        # a step that only the region makes short is no sign of convergence
        if new.status == RUNNING and inside and size <= self.xtol * size_x:
            new = replace(new, status=Status.STEP)
        if new.status == RUNNING and max(predicted, actual) <= self.ftol * at.cost:
            new = replace(new, status=Status.REDUCTION)
        return (yield from self._polished(new)) if new.status > 0 else new

    def _polished(self, at: Fit) -> Steps[Fit]:
        """Undamped steps, as long as each is less than half as long as the one before."""
        size = np.inf
        candidate = at
        for _ in range(POLISH + 1):
            j, r = self.weighted(candidate)
            free = self.free(candidate, j.T @ r)
            q = Model.of(j * free, r, candidate.scale).damped(0.0)
            if not np.linalg.norm(q) < 0.9 * size:
                break
            at, size = candidate, float(np.linalg.norm(q))
            x = self._place(at.x + q / at.scale)
            if size <= 4 * EPS * np.linalg.norm(at.scale * at.x) or np.array_equal(x, at.x):
                break
            fun = np.atleast_1d((yield Request(x, ("fun",))).fun)
            cost = self.cost(fun)
            if not cost <= at.cost * (1 + 1e-10):
                break
            jac = (yield Request(x, ("jac",))).jac
            if not is_finite(column_norms(jac)):
                break
            candidate = replace(at, x=x, fun=fun, jac=jac, cost=cost)
        return at

    def _step(
        self, at: Fit, model: Model, j: Floats, r: Floats, free: Any, radius: float
    ) -> tuple[Floats, float]:
        """A step p within the region and the bounds, and the damping it has."""
        q, damping = model.within(radius)
        p: Floats = q / at.scale
        if self.lower is None and self.upper is None:
            return p, damping
        lower, upper = self._bounds(at.x.size)
        low, high = lower - at.x, upper - at.x
        if ((p >= low) & (p <= high)).all():
            return p, damping
        steps = (
            active_set_step(j, r, at.scale, low, high, free, radius),
            cauchy_step(j, r, at.scale, low, high, radius),
        )
        best = max(steps, key=lambda p: -float(np.linalg.norm(r + j @ p)))
        return best, 1.0

    def _promises(self, at: Fit, model: Model, j: Floats, r: Floats, free: Any) -> bool:
        """Whether the model says, without a region, that much is left to gain, far from here."""
        p, _ = self._step(at, model, j, r, free, np.inf)
        jp, tol = j @ p, np.sqrt(EPS)
        gain = -float(r @ jp + jp @ jp / 2)
        size, size_x = np.linalg.norm(at.scale * p), np.linalg.norm(at.scale * at.x)
        return gain > tol * at.cost and bool(size > tol * size_x)

    def _bent(
        self, at: Fit, model: Model, j: Floats, p: Floats, damping: float, free: Any
    ) -> Steps[Floats]:
        """The step with its geodesic acceleration, p + a: Transtrum & Sethna, eq. (28)."""
        h = 0.1
        fun = np.atleast_1d((yield Request(self._place(at.x + h * p), ("fun",))).fun)
        second = 2 / h * ((fun - at.fun) / h - at.jac @ p)  # of r along p
        if not is_finite(second):
            return p
        bend = Model.of(j * free, second, at.scale).damped(damping)
        if 2 * np.linalg.norm(bend) > self.alpha * np.linalg.norm(at.scale * p):
            return p
        return self._place(at.x + p + bend / at.scale / 2) - at.x

    @staticmethod
    def _resized(
        radius: float, size: float, ratio: float, damping: float, cost: float, slope: float,
        actual: float,
    ) -> float:  # fmt: skip
        """Delta after a trial: Moré (1978), alg. 7.1, and bolder where the model was exact.

        A tenth where residuals are not finite.
        """
        if not np.isfinite(cost):
            return size / 10
        if ratio <= 0.25:
            cut = 0.5 if actual >= 0 else 0.5 * slope / (slope + actual)
            return min(max(cut, 0.1), 0.5) * min(radius, 10 * size)
        if abs(ratio - 1) <= EXACT:
            return 4 * size
        if ratio >= 0.75 or damping == 0:
            return 2 * size
        return radius

    def free(self, at: Fit, g: Floats) -> Any:
        lower, upper = self._bounds(at.x.size)
        return ~(((at.x <= lower) & (g > 0)) | ((at.x >= upper) & (g < 0)))

    def _place(self, x: Floats) -> Floats:
        return np.clip(x, *self._bounds(x.size))

    def _bounds(self, n: int) -> tuple[Floats, Floats]:
        lower = np.full(n, -np.inf) if self.lower is None else self.lower
        upper = np.full(n, np.inf) if self.upper is None else self.upper
        return lower, upper


def active_set_step(
    j: Floats, r: Floats, d: Floats, low: Floats, high: Floats, free: Any, radius: float
) -> Floats:
    """A step within low <= p <= high: what leaves is put on its bound, the rest solved again."""
    p, free = np.zeros_like(d), free.copy()
    while free.any():
        room = np.sqrt(max(radius**2 - float(np.sum((d * p)[~free] ** 2)), (0.1 * radius) ** 2))
        q, _ = Model.of(j[:, free], r + j[:, ~free] @ p[~free], d[free]).within(room)
        p[free] = q / d[free]
        outside = free & ((p < low) | (p > high))
        if not outside.any():
            break
        p = np.where(outside, np.clip(p, low, high), np.where(free, 0.0, p))
        free &= ~outside
    return p


def cauchy_step(
    j: Floats, r: Floats, d: Floats, low: Floats, high: Floats, radius: float
) -> Floats:
    """A step along the scaled gradient, projected on the bounds, that is sure to descend."""
    g = j.T @ r
    p = -g / d**2
    jp = j @ p
    length = -float(g @ p) / max(float(jp @ jp), np.finfo(np.float64).tiny)
    length = min(length, radius / max(float(np.linalg.norm(d * p)), np.finfo(np.float64).tiny))
    for _ in range(40):
        step = np.clip(length * p, low, high)
        jp = j @ step
        if float(g @ step + jp @ jp / 2) <= 0.1 * float(g @ step):
            break
        length /= 2
    return step
