"""Newton's method in a trust region: safe where the Hessian is indefinite.

Each step minimises the quadratic model m(p) = f + g^T p + p^T H p / 2 within norm(p) <=
Delta; Delta grows and shrinks with the agreement of model and function.

Nocedal & Wright (2006), Numerical Optimization, ch. 4. Moré & Sorensen (1983), "Computing a
trust region step", SIAM J. Sci. Stat. Comput. 4. Conn, Gould & Toint (2000), Trust-Region
Methods.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from .descent import EPS, FAR
from .machine import Answer, Floats, Request, Steps
from .minimizer import Minimizer, Minimum, is_finite
from .newton import truncated_cg
from .result import RUNNING, Status


@dataclass(frozen=True, eq=False)
class Region(Minimum):
    """An iterate of a trust-region method.

    radius  Delta
    model   what the step is computed from, e.g. the Hessian's eigensystem
    """

    radius: float
    model: tuple[Floats, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class TrustRegionSolver(Minimizer[Region]):
    """A trust-region method: implement `model` and `step`.

    radius  Delta at the start
    eta     least ratio of actual to predicted reduction for a step to be taken
    """

    radius: float = 1.0
    eta: float = 1e-4

    #: derivatives needed at each new iterate, beside the value
    wants: ClassVar[tuple[str, ...]] = ("jac",)

    @abstractmethod
    def model(self, answer: Answer) -> tuple[Floats, ...]:
        """What `step` needs of the derivatives at a new iterate."""

    @abstractmethod
    def step(self, at: Region) -> Steps[tuple[Floats, float]]:
        """A step p within the radius, and the reduction m(0) - m(p) it promises."""

    def begin(self, x0: Floats) -> Steps[Region]:
        answer = yield Request(x0, ("fun", *self.wants))
        at = Region(x0, 0, RUNNING, answer.fun, answer.jac, self.radius)
        return self._judged(at, answer)

    def iterate(self, at: Region) -> Steps[Region]:
        p, predicted = yield from self.step(at)
        length = float(np.linalg.norm(p))
        if not is_finite(p, predicted):
            return replace(at, status=Status.NOT_FINITE)
        if not predicted > 0:
            return replace(at, status=Status.PRECISION)
        fun = (yield Request(at.x + p, ("fun",))).fun
        # Conn, Gould & Toint, sec. 17.4.2: do not let rounding errors decide
        slack = 10 * EPS * max(abs(at.fun), EPS)
        ratio = (at.fun - fun + slack) / (predicted + slack) if np.isfinite(fun) else -np.inf
        at = replace(at, radius=self._resized(at.radius, length, ratio), nit=at.nit + 1)
        if fun == -np.inf or (ratio > self.eta and length > FAR * max(1.0, self.radius)):
            return replace(at, x=at.x + p, fun=fun, status=Status.UNBOUNDED)
        if ratio > self.eta:
            answer = yield Request(at.x + p, self.wants)
            if is_finite(answer.jac):
                new = replace(at, x=at.x + p, fun=fun, jac=answer.jac)
                return self._judged(new, answer)
            at = replace(at, radius=length / 10)
        if at.radius <= EPS * max(float(np.linalg.norm(at.x)), EPS):
            tiny = predicted <= slack
            return replace(at, status=Status.PRECISION if tiny else Status.NO_DESCENT)
        return at

    def _judged(self, at: Region, answer: Answer) -> Region:
        if not is_finite(at.fun, at.jac) or not (answer.hess is None or is_finite(answer.hess)):
            return replace(at, status=Status.NOT_FINITE)
        if np.abs(at.jac).max() <= self.gtol:
            return replace(at, status=Status.GRADIENT)
        return replace(at, model=self.model(answer))

    @staticmethod
    def _resized(radius: float, length: float, ratio: float) -> float:
        """Nocedal & Wright, alg. 4.1; a tenth where the function is not finite."""
        if ratio == -np.inf:
            return length / 10
        if ratio < 0.25:
            return length / 4
        if ratio > 0.75 and length > 0.9 * radius:
            return 2 * radius
        return radius


@dataclass(frozen=True, kw_only=True)
class TrustNewton(TrustRegionSolver):
    """Newton's method with exact steps in a trust region, for n up to some hundreds.

    The Hessian's eigensystem H = Q diag(w) Q^T makes the model a sum of parabolas, and
    p = -Q (w + lambda)^-1 Q^T g with the lambda >= 0 for which norm(p) = Delta.

    Options as in `TrustRegionSolver`. Reference: Moré & Sorensen (1983).
    """

    wants: ClassVar[tuple[str, ...]] = ("jac", "hess")

    def model(self, answer: Answer) -> tuple[Floats, ...]:
        h = (answer.hess + answer.hess.T) / 2
        w, q = np.linalg.eigh(h)
        return w, q

    def step(self, at: Region) -> Steps[tuple[Floats, float]]:
        yield from ()
        w, q = at.model
        c = q.T @ at.jac
        z = minimise_parabolas(w, c, at.radius)
        return q @ z, -float(c @ z + w @ z**2 / 2)


def minimise_parabolas(w: Floats, c: Floats, radius: float) -> Floats:
    """The z that minimises c^T z + z^T diag(w) z / 2 within norm(z) <= radius; w ascends.

    z = -c / (w + lambda) with norm(z) = radius, found by Newton's method on
    1 / radius - 1 / norm(z). In the hard case, where c has no part along the lowest w and the
    others are too short, the lowest direction fills the length up (Moré & Sorensen, sec. 3).
    """
    if w[0] > 0 and np.linalg.norm(c / w) <= radius:
        return -c / w
    lowest = w <= w[0] + 10 * EPS * max(abs(w[0]), abs(w[-1]))
    rest = np.where(lowest, 0.0, c / np.where(lowest, 1.0, w - w[0]))
    if w[0] <= 0 and np.linalg.norm(rest) <= radius:
        gap = float(np.linalg.norm(c[lowest])) / radius
        if gap <= EPS * float(np.linalg.norm(c)):
            z = -rest
            z[0] -= np.copysign(np.sqrt(max(radius**2 - float(z @ z), 0.0)), c[0])
            return z
    # lambda + w[0] = mu > 0, norm(z) falls with mu: bracketed by the parts and the whole of c
    size = float(np.linalg.norm(c))
    low = max(0.0, w[0], float(np.linalg.norm(c[lowest])) / radius)
    high = size / radius + max(0.0, w[0])
    mu = max(low, EPS * high)
    for _ in range(60):
        z = c / (w - w[0] + mu)
        norm = float(np.linalg.norm(z))
        if abs(norm - radius) <= 1e-6 * radius:
            break
        low, high = (mu, high) if norm > radius else (low, mu)
        slope = float(z**2 @ (1 / (w - w[0] + mu))) / norm**2
        mu += (norm - radius) / radius / slope
        if not low < mu < high:
            mu = float(np.sqrt(low * high)) if low > 0 else high / 1e3
    return np.asarray(-c / (w - w[0] + mu))


@dataclass(frozen=True, kw_only=True)
class TrustNewtonCG(TrustRegionSolver):
    """Newton's method in a trust region with steps by Steihaug's conjugate gradients.

    Needs products of the Hessian with vectors only; for many parameters.

    Options as in `TrustRegionSolver`. Reference: Nocedal & Wright (2006), alg. 7.2.
    """

    def model(self, answer: Answer) -> tuple[Floats, ...]:
        return ()

    def step(self, at: Region) -> Steps[tuple[Floats, float]]:
        p, hp = yield from truncated_cg(at.x, at.jac, at.radius)
        return p, -float(at.jac @ p + p @ hp / 2)
