"""Gauss-Newton with line search: full steps where they help, shorter ones where not.

Nocedal & Wright (2006), Numerical Optimization, sec. 10.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .fitting import EPS, Fit, LeastSquaresSolver, Model, column_norms
from .line_search import Armijo, LineSearch
from .machine import Request, Steps
from .minimizer import is_finite
from .result import RUNNING, Status


@dataclass(frozen=True, kw_only=True)
class GaussNewton(LeastSquaresSolver):
    """Gauss-Newton: p minimises norm(r + J p); the shortest such p if J is rank-deficient.

    search  for the step length; it is given values, not slopes, so `Armijo` is the one to use

    Other options as in `LeastSquaresSolver`. From far away, `LevenbergMarquardt` is safer.
    """

    search: LineSearch = Armijo()

    def iterate(self, at: Fit) -> Steps[Fit]:
        j, r = self.weighted(at)
        scale = np.maximum(at.scale, np.finfo(np.float64).tiny)
        p = Model.of(j, r, scale).damped(0.0) / scale
        slope = float((j.T @ r) @ p)
        if not slope < 0:
            return replace(at, status=Status.PRECISION)
        lengths = self.search.search(at.cost, slope, 1.0)
        a = next(lengths)
        while True:
            fun = np.atleast_1d((yield Request(at.x + a * p, ("fun",))).fun)
            cost = self.cost(fun)
            try:
                a = lengths.send((cost, np.nan))
            except StopIteration as end:
                if end.value is None:
                    tiny = -slope <= np.sqrt(EPS) * at.cost
                    return replace(at, status=Status.PRECISION if tiny else Status.NO_DESCENT)
                break
        x = at.x + a * p
        jac = (yield Request(x, ("jac",))).jac
        norms = column_norms(jac)
        if not is_finite(norms):
            return replace(at, status=Status.NOT_FINITE)
        new = replace(
            at, x=x, nit=at.nit + 1, fun=fun, jac=jac, cost=cost, scale=np.maximum(scale, norms)
        )
        new = self.judged(new)
        size, size_x = np.linalg.norm(scale * a * p), np.linalg.norm(scale * x)
        if new.status == RUNNING and size <= self.xtol * size_x:
            return replace(new, status=Status.STEP)
        if new.status == RUNNING and max(-slope, at.cost - cost) <= self.ftol * at.cost:
            return replace(new, status=Status.REDUCTION)
        return new
