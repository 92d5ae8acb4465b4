"""`least_squares`: the whole of a nonlinear fit in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from . import derivatives
from .fitting import LeastSquaresSolver
from .gauss_newton import GaussNewton
from .levenberg_marquardt import LevenbergMarquardt
from .machine import Request, as_point, run, with_options
from .problem import as_bounds, expect_shape
from .result import LeastSquaresResult, Status

Floats = NDArray[np.float64]

#: method of `least_squares` -> its solver
LEAST_SQUARES: dict[str, type[LeastSquaresSolver]] = {
    "LM": LevenbergMarquardt,
    "GN": GaussNewton,
}

#: ends after which better differences are of no use
ENDED = (Status.EVALUATIONS, Status.STOPPED, Status.NOT_FINITE, Status.AT_INFINITY)


def least_squares(
    residuals: Callable[..., ArrayLike],
    x0: ArrayLike,
    jac: Callable[..., ArrayLike] | str | None = None,
    method: str | LeastSquaresSolver = "LM",
    bounds: Any = None,
    loss: str = "linear",
    *,
    args: tuple[Any, ...] = (),
    callback: Callable[[LeastSquaresResult], Any] | None = None,
    **options: Any,
) -> LeastSquaresResult:
    """Find parameters that make the sum of squared residuals (locally) least.

    residuals  from (n,) float64 to (m,), e.g. model - data, each divided by its error; inf or
               NaN where they are not defined
    x0         (n,) where to start; the residuals must be finite there
    jac        their Jacobian (m, n); "complex": by the complex step, exact, if the residuals
               are analytic and accept complex x. None: by differences, forward ones first,
               central ones at the end
    method     "LM", or "GN" for problems that are nearly linear; or a solver:
               ``optim.LevenbergMarquardt(geodesic=True)``
    bounds     for "LM": (lower, upper), each a number or (n,); or an object with lb and ub
    loss       "linear", or a robust one: "soft_l1", "huber", "cauchy", "arctan"; see loss_scale
    args       further arguments of the functions
    callback   is given the result so far after each iteration; returns True to stop
    options    of the solver: ``xtol=1e-10, loss_scale=1.0, geodesic=False``; see its class

    Returns a `LeastSquaresResult` with the covariance of x; look at its ``success`` and
    ``message``. UsageError if an argument, or the shape of what a function returned, is wrong.

    >>> t = np.array([0.0, 1.0, 2.0, 3.0])
    >>> y = 2.0 * np.exp(-0.5 * t)
    >>> result = least_squares(lambda x: x[0] * np.exp(-x[1] * t) - y, [1.0, 1.0])
    >>> result.success, result.x.round(6)
    (True, array([2. , 0.5]))
    """
    x = as_point(x0)
    limits = None if bounds is None else as_bounds(bounds, x.size)
    solver = _solver(method, limits, loss, options)
    if not (jac is None or jac == "complex" or callable(jac)):
        raise UsageError(f'jac: expected a function, "complex" or None, found {jac!r}')
    if not (callback is None or callable(callback)):
        raise UsageError(f"callback: expected a function or None, found {callback!r}")
    fit = _Residuals(residuals, jac, args, x, limits)
    if jac is not None:
        return fit.run(solver, x, callback)
    rough = fit.run(solver, x, callback)
    if rough.status in ENDED:
        return rough
    fit.scheme = "central"
    result = fit.run(solver, rough.x, callback)
    return replace(result, nit=rough.nit + result.nit)


def _solver(
    method: str | LeastSquaresSolver,
    limits: tuple[Floats, Floats] | None,
    loss: str,
    options: dict[str, Any],
) -> LeastSquaresSolver:
    """The solver that method, bounds, loss and options ask for."""
    if isinstance(method, LeastSquaresSolver):
        if limits is not None or loss != "linear" or options:
            raise UsageError(
                "method: a solver has its options already; leave out bounds, loss and "
                f"{sorted(options)}"
            )
        return method
    if method not in LEAST_SQUARES:
        raise UsageError(f"method: expected one of {list(LEAST_SQUARES)}, found {method!r}")
    if limits is not None:
        if method != "LM":
            raise UsageError(f'bounds: expected method "LM", found {method!r}')
        options = {**options, "lower": limits[0], "upper": limits[1]}
    return with_options(LEAST_SQUARES[method], {**options, "loss": loss})


class _Residuals:
    """The user's functions: called, counted, checked, and replaced by differences if absent."""

    def __init__(
        self,
        residuals: Callable[..., ArrayLike],
        jac: Callable[..., ArrayLike] | str | None,
        args: tuple[Any, ...],
        x0: Floats,
        limits: tuple[Floats, Floats] | None,
    ) -> None:
        self.residuals, self.jac, self.args = residuals, jac, args
        self.typical, self.limits, self.n = x0, limits, x0.size
        self.m: int | None = None  # known from the first call on
        self.scheme: derivatives.Scheme = "complex" if jac == "complex" else "forward"
        self.nfev = self.njev = 0
        self._last: tuple[Floats, Floats] | None = None

    def run(
        self,
        solver: LeastSquaresSolver,
        x: Floats,
        callback: Callable[[LeastSquaresResult], Any] | None,
    ) -> LeastSquaresResult:
        """Solve from x, calling the functions wherever the solver asks."""
        return run(
            solver, x, self._evaluate, lambda state: self._counted(solver.result(state)), callback
        )

    def _evaluate(self, request: Request) -> dict[str, Any]:
        known = {"fun": self.value, "jac": self.jacobian}
        return {want: known[want](request.x) for want in request.wants}

    def _counted(self, result: LeastSquaresResult) -> LeastSquaresResult:
        return replace(result, nfev=self.nfev, njev=self.njev)

    def value(self, x: Floats) -> Floats:
        self.nfev += 1
        try:
            r = np.atleast_1d(np.asarray(self.residuals(x.copy(), *self.args), dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise UsageError(f"residuals: expected real numbers, found {error}") from error
        if r.ndim != 1 or r.size == 0 or r.size != (self.m or r.size):
            expected = "(m,), m >= 1" if self.m is None else f"({self.m},), as at x0"
            raise UsageError(f"residuals: expected shape {expected}, found {r.shape}")
        self.m, self._last = r.size, (x.copy(), r)
        return r

    def jacobian(self, x: Floats) -> Floats:
        self.njev += 1
        if callable(self.jac):
            assert self.m is not None
            return expect_shape("jac", self.jac(x.copy(), *self.args), (self.m, self.n))
        if self.scheme == "complex":
            self.nfev += self.n
            j = derivatives.jacobian(self._at_complex, x, "complex")
            return j.reshape(-1, self.n)
        known = self._last is not None and np.array_equal(self._last[0], x)
        f0 = self._last[1] if known and self._last else None
        return derivatives.jacobian(
            self.value, x, self.scheme, f0=f0, typical=self.typical, bounds=self.limits
        )

    def _at_complex(self, z: NDArray[np.complex128]) -> NDArray[Any]:
        r = np.asarray(self.residuals(z, *self.args))
        if r.dtype.kind != "c":
            raise UsageError(
                f'residuals: expected complex numbers for complex x, as jac="complex" says, found '
                f"{r.dtype}: the imaginary part was lost; leave jac out"
            )
        return r
