"""What all minimisers share: the value and gradient at an iterate, gtol, the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .machine import Answer, Floats, Iterate, Solver, SolverState
from .problem import expect_shape
from .result import Result


@dataclass(frozen=True, eq=False)
class Minimum(Iterate):
    """An iterate of a minimiser.

    fun  value at x
    jac  (n,) gradient at x
    """

    fun: float
    jac: Floats


M = TypeVar("M", bound=Minimum)


@dataclass(frozen=True, kw_only=True)
class Minimizer(Solver[M]):
    """A solver for `minimize`.

    gtol  converged when every entry of the gradient is at most gtol
    """

    gtol: float = 1e-8

    def check_answer(self, state: SolverState[M], answer: Answer) -> None:
        """One number, and derivatives of the shapes that n parameters have."""
        n = state.x0.size
        shapes = {"fun": (), "jac": (n,), "hess": (n, n), "hessp": (n,)}
        for name, shape in shapes.items():
            if (values := getattr(answer, name)) is not None:
                expect_shape(name, values, shape)

    def result(self, state: SolverState[M]) -> Result:
        """What has been found so far."""
        at, n = state.at, state.x0.size
        return Result(
            x=state.x0 if at is None else at.x,
            fun=np.nan if at is None else at.fun,
            jac=np.full(n, np.nan) if at is None else at.jac,
            nfev=state.nfev,
            njev=state.njev,
            nhev=state.nhev,
            nit=0 if at is None else at.nit,
            status=int(self.status(state)),
        )


AnyMinimizer = Minimizer[Any]


def is_finite(*values: Any) -> bool:
    """Whether all numbers in these are finite."""
    return all(bool(np.isfinite(value).all()) for value in values)
