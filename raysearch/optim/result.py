"""How a solver ends: the status, and the result with scipy's field names."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RUNNING = 0


class Status(IntEnum):
    """Why a solver ended; positive means success."""

    GRADIENT = 1
    STEP = 2
    REDUCTION = 3
    PRECISION = 4
    EVALUATIONS = -1
    NO_DESCENT = -2
    UNBOUNDED = -3
    NOT_FINITE = -4
    STOPPED = -5
    AT_INFINITY = -6


MESSAGES = {
    RUNNING: "not finished",
    Status.GRADIENT: "converged: the gradient is within its tolerance of zero",
    Status.STEP: "converged: the step is smaller than xtol, relative to x",
    Status.REDUCTION: "converged: predicted and actual reduction are smaller than ftol",
    Status.PRECISION: "converged: a further reduction would drown in rounding errors",
    Status.EVALUATIONS: "not converged: max_evaluations reached",
    Status.NO_DESCENT: (
        "not converged: no lower value was found along a descent direction; fun and jac do not "
        "fit each other (see check_gradient), or fun is noisy, not smooth or very badly scaled"
    ),
    Status.UNBOUNDED: "not converged: fun seems to be unbounded below",
    Status.NOT_FINITE: "not converged: fun or its derivatives are not finite at x",
    Status.AT_INFINITY: (
        "not converged: x runs to infinity, and fun hardly depends on it any more; start "
        "elsewhere, or set bounds"
    ),
    Status.STOPPED: "not converged: stopped by the callback",
}


@dataclass(frozen=True, eq=False)
class Result:
    """The end of a minimisation.

    x        (n,) the best point found
    fun      the value there
    jac      (n,) the gradient there
    nfev     evaluations of fun; njev: of jac; nhev: of hess and of Hessian-vector products.
             With differences in place of jac, nfev counts the calls they made
    nit      iterations
    status   see `Status`; positive means success
    """

    x: Floats
    fun: float
    jac: Floats
    nfev: int
    njev: int
    nhev: int
    nit: int
    status: int

    @property
    def success(self) -> bool:
        """Whether a minimum was found, as far as can be told."""
        return self.status > 0

    @property
    def message(self) -> str:
        """The status in words."""
        return MESSAGES[self.status]


@dataclass(frozen=True, eq=False)
class LeastSquaresResult:
    """The end of a least-squares fit.

    x           (n,) the best parameters found
    cost        half the sum of squared residuals there, or of their losses
    fun         (m,) the residuals there
    jac         (m, n) their Jacobian there
    grad        (n,) the gradient of the cost there
    covariance  (n, n) of x: s^2 (J^T J)^-1 with s^2 = 2 cost / (m - n) and J as the loss weighs
                it; infinite for parameters that the residuals do not determine, and for m <= n
    rank        of J; smaller than n: the solution is not unique
    nfev        evaluations of fun, with those that differences made; njev: of jac
    nit         iterations
    status      see `Status`; positive means success
    """

    x: Floats
    cost: float
    fun: Floats
    jac: Floats
    grad: Floats
    covariance: Floats = field(repr=False)
    rank: int
    nfev: int
    njev: int
    nit: int
    status: int

    @property
    def success(self) -> bool:
        """Whether a minimum was found, as far as can be told."""
        return self.status > 0

    @property
    def standard_errors(self) -> Floats:
        """(n,) standard errors of x: the root of the covariance's diagonal."""
        errors: Floats = np.sqrt(np.diag(self.covariance))
        return errors

    @property
    def message(self) -> str:
        """The status in words, with a warning if the solution is not unique."""
        words = MESSAGES[self.status]
        if self.rank < self.x.size:
            words += (
                f"; the Jacobian has rank {self.rank} < {self.x.size}: the parameters are not "
                "determined by the residuals"
            )
        return words
