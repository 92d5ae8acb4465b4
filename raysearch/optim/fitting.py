"""What all least-squares solvers share: iterate, loss, Gauss-Newton's model, result.

x (n,) parameters    r (m,) residuals    J (m, n) Jacobian    cost = r^T r / 2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from .losses import LOSSES
from .machine import Floats, Iterate, Request, Solver, SolverState, Steps
from .minimizer import is_finite
from .problem import expect_shape
from .result import RUNNING, LeastSquaresResult, Status

EPS = float(np.finfo(np.float64).eps)

#: see `LeastSquaresSolver.status`
FAR = 1e5


@dataclass(frozen=True, eq=False)
class Fit(Iterate):
    """An iterate of a least-squares method.

    fun     (m,) residuals at x
    jac     (m, n) Jacobian at x
    cost    of the residuals
    scale   D (n,), the units in which steps are measured: the largest norm of each column of
            the Jacobian so far
    radius  Delta, bound on norm(D p)
    """

    fun: Floats
    jac: Floats
    cost: float
    scale: Floats
    radius: float


@dataclass(frozen=True, kw_only=True)
class LeastSquaresSolver(Solver[Fit]):
    """A least-squares method: implement `iterate`.

    xtol        converged when norm(D p) <= xtol norm(D x)
    ftol        converged when predicted and actual reduction are at most ftol times the cost
    gtol        converged when the residuals' cosine with every column of J is at most gtol
    loss        "linear", "soft_l1", "huber", "cauchy" or "arctan"
    loss_scale  size of a residual beyond which it counts as far out
    """

    xtol: float = 1e-10
    ftol: float = 1e-15
    gtol: float = 1e-10
    loss: str = "linear"
    loss_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in LOSSES:
            raise UsageError(f"loss: expected one of {list(LOSSES)}, found {self.loss!r}")

    def begin(self, x0: Floats) -> Steps[Fit]:
        answer = yield Request(x0, ("fun", "jac"))
        r = np.atleast_1d(answer.fun)
        j = expect_shape("jac", answer.jac, (r.size, x0.size))
        at = Fit(x0, 0, RUNNING, r, j, self.cost(r), column_norms(j), np.inf)
        return self.started(at)

    def started(self, at: Fit) -> Fit:
        """The first iterate, completed."""
        return self.judged(at)

    def cost(self, r: Floats) -> float:
        """Half the sum of squares, or of the losses; inf where residuals are not finite."""
        if self.loss == "linear":
            cost = 0.5 * float(r @ r)
        else:
            rho, _, _ = LOSSES[self.loss]((r / self.loss_scale) ** 2)
            cost = 0.5 * self.loss_scale**2 * float(rho.sum())
        return cost if np.isfinite(cost) else np.inf

    def weighted(self, at: Fit) -> tuple[Floats, Floats]:
        """J and r of the least-squares problem that equals the loss to second order."""
        if self.loss == "linear":
            return at.jac, at.fun
        z = (at.fun / self.loss_scale) ** 2
        _, first, second = LOSSES[self.loss](z)
        curvature = np.sqrt(np.maximum(first + 2 * second * z, EPS))
        return at.jac * curvature[:, None], at.fun * first / curvature

    def judged(self, at: Fit) -> Fit:
        """The iterate, ended if its gradient is zero as far as can be told."""
        if not is_finite(at.cost, column_norms(at.jac)):
            return replace(at, status=Status.NOT_FINITE)
        j, r = self.weighted(at)
        size = np.linalg.norm(r)
        cosine = np.abs(j.T @ r) / (column_norms(j) * size)
        cosine = np.where(self.free(at, j.T @ r), cosine, 0.0)
        if np.nanmax(cosine, initial=0.0) <= self.gtol:
            return replace(at, status=Status.GRADIENT)
        return at

    def free(self, at: Fit, g: Floats) -> Any:
        """Which parameters (n,) are not held at a bound by the gradient g."""
        return np.ones(at.x.size, dtype=bool)

    def status(self, state: SolverState[Fit]) -> int:
        """RUNNING, or why the solver ended; a minimum at infinity is none.

        A parameter is at infinity if it is far away, and the residuals have ceased to depend
        on it: both by a factor of FAR, from the start and from the largest dependence.
        """
        status, at = super().status(state), state.at
        if at is None or not (status > 0 or status == Status.NO_DESCENT):
            return status
        start = np.abs(np.where(state.x0 == 0, 1.0, state.x0))
        far = np.abs(at.x) > FAR * start
        flat = column_norms(at.jac) * FAR < at.scale
        return int(Status.AT_INFINITY) if (far & flat).any() else status

    def result(self, state: SolverState[Fit]) -> LeastSquaresResult:
        """What has been found so far."""
        at, n = state.at, state.x0.size
        if at is None:
            none = np.zeros((0, n))
            at = Fit(state.x0, 0, RUNNING, none[:, 0], none, np.nan, np.ones(n), np.inf)
        j, r = self.weighted(at)
        covariance, rank = _covariance(j, at.cost)
        return LeastSquaresResult(
            x=at.x, cost=at.cost, fun=at.fun, jac=at.jac, grad=j.T @ r, covariance=covariance,
            rank=rank, nfev=state.nfev, njev=state.njev, nit=at.nit, status=int(self.status(state)),
        )  # fmt: skip


class Model(NamedTuple):
    """Gauss-Newton's model norm(J D^-1 q + r)^2 / 2, q = D p, by its singular values.

    s (k,) singular values, descending; v (n, k) their directions; c (k,) = U^T r.
    Singular values that rounding cannot tell from zero are left out, so that the undamped step
    is the shortest of the best.
    """

    s: Floats
    v: Floats
    c: Floats

    @classmethod
    def of(cls, j: Floats, r: Floats, scale: Floats) -> Model:
        """The model with J, r and D."""
        u, s, vt = np.linalg.svd(j / scale, full_matrices=False)
        keep = s > EPS * max(j.shape) * s[0] if s.size else s > 0
        return cls(s[keep], vt[keep].T, u[:, keep].T @ r)

    def damped(self, damping: float) -> Floats:
        """The q (n,) that minimises the model plus damping norm(q)^2 / 2."""
        return -self.v @ (self.s * self.c / (self.s**2 + damping))

    def within(self, radius: float) -> tuple[Floats, float]:
        """The q that minimises the model within norm(q) <= 1.1 radius, and its damping.

        norm(q(damping)) = radius to 10 %, by Newton's method on 1 / norm: Moré (1978), sec. 5.
        """
        s2, sc = self.s**2, self.s * self.c
        damping, low, high = 0.0, 0.0, float(np.linalg.norm(sc)) / radius
        for _ in range(30):
            size = float(np.linalg.norm(sc / (s2 + damping)))
            if (size <= 1.1 * radius and damping == 0) or abs(size - radius) <= 0.1 * radius:
                break
            low, high = (damping, high) if size > radius else (low, damping)
            slope = float(np.sum(sc**2 / (s2 + damping) ** 3)) / size
            damping += (size - radius) / radius * size / slope
            if not low < damping < high:
                damping = max(1e-3 * high, np.sqrt(low * high))
        return self.damped(damping), damping


def column_norms(j: Floats) -> Floats:
    """Norms (n,) of the columns of J; not finite where they overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms: Floats = np.linalg.norm(j, axis=0)
    return norms


def _covariance(j: Floats, cost: float) -> tuple[Floats, int]:
    """s^2 (J^T J)^-1, with infinite variance where J says nothing, and the rank of J."""
    m, n = j.shape
    if not is_finite(column_norms(j), cost) or m == 0:
        return np.full((n, n), np.nan), 0
    scale = column_norms(j)
    scale[scale == 0] = 1.0
    _, s, vt = np.linalg.svd(j / scale)
    rank = int(np.sum(s > EPS * max(m, n) * s[0]))
    if m <= n:
        return np.full((n, n), np.inf), rank
    half = vt[:rank].T / s[:rank]
    with np.errstate(over="ignore"):  # a variance may be too large for a number: inf
        covariance = half @ half.T * (2 * cost / (m - n)) / scale[:, None] / scale
    lost = np.linalg.norm(vt[rank:], axis=0) > np.sqrt(EPS)
    covariance[lost, :] = covariance[:, lost] = np.nan
    covariance[lost, lost] = np.inf
    return covariance, rank
