"""`minimize`: the whole of a minimisation in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from . import derivatives
from .bounded import LBFGSB
from .conjugate_gradient import ConjugateGradient
from .machine import Request, as_point, run, with_options
from .minimizer import AnyMinimizer, Minimizer
from .newton import Newton, NewtonCG
from .problem import as_bounds, expect_shape
from .quasi_newton import BFGS, LBFGS
from .result import Result, Status
from .trust_region import TrustNewton, TrustNewtonCG

Floats = NDArray[np.float64]

#: method of `minimize` -> its solver
MINIMIZERS: dict[str, type[AnyMinimizer]] = {
    "L-BFGS": LBFGS,
    "BFGS": BFGS,
    "CG": ConjugateGradient,
    "Newton": Newton,
    "Newton-CG": NewtonCG,
    "Newton-trust": TrustNewton,
    "Newton-Steihaug": TrustNewtonCG,
}


def minimize(
    f: Callable[..., Any],
    x0: ArrayLike,
    jac: Callable[..., Any] | bool | None = None,
    hess: Callable[..., Any] | None = None,
    hessp: Callable[..., Any] | None = None,
    method: str | AnyMinimizer = "L-BFGS",
    bounds: Any = None,
    *,
    args: tuple[Any, ...] = (),
    callback: Callable[[Result], Any] | None = None,
    **options: Any,
) -> Result:
    """Find a local minimum of a smooth function of n parameters.

    f         from (n,) float64 to a number; inf or NaN where it is not defined
    x0        (n,) where to start; f must be finite there
    jac       its gradient (n,); True: f returns (value, gradient). None: by differences,
              forward ones first, central ones at the end
    hess      its Hessian (n, n), for "Newton" and "Newton-trust"; None: differences of jac
    hessp     hessp(x, v), the Hessian times v, for "Newton-CG" and "Newton-Steihaug"; None: from
              hess, or a difference of jac along v
    method    "L-BFGS" (any n), "BFGS" (n to some hundreds), "CG" (least memory), with Hessians
              "Newton-trust" (n to some hundreds) and "Newton", with products of the Hessian
              "Newton-Steihaug" and "Newton-CG"; or a solver: ``optim.LBFGS(pairs=30)``
    bounds    for "L-BFGS": (lower, upper), each a number or (n,); or an object with lb and ub
    args      further arguments of f and its derivatives
    callback  is given the result so far after each iteration; returns True to stop
    options   of the solver: ``gtol=1e-8, max_evaluations=1000``; see its class

    Returns a `Result`; look at its ``success`` and ``message``. UsageError if an argument, or
    the shape of what a function returned, is wrong.

    >>> rosenbrock = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> result = minimize(rosenbrock, [-1.2, 1.0])
    >>> result.success, result.x.round(6)
    (True, array([1., 1.]))
    """
    x = as_point(x0)
    limits = None if bounds is None else as_bounds(bounds, x.size)
    solver = _solver(method, limits, options)
    if not (jac is None or isinstance(jac, bool) or callable(jac)):
        raise UsageError(f"jac: expected a function, True or None, found {jac!r}")
    for name, function in (("hess", hess), ("hessp", hessp), ("callback", callback)):
        if not (function is None or callable(function)):
            raise UsageError(f"{name}: expected a function or None, found {function!r}")
    functions = _Functions(f, jac, hess, hessp, args, x, limits)
    if functions.exact:
        return functions.run(solver, x, callback)
    rough = functions.run(replace(solver, gtol=max(1e-4, solver.gtol)), x, callback)
    if rough.status in (Status.EVALUATIONS, Status.STOPPED, Status.UNBOUNDED, Status.NOT_FINITE):
        return rough
    functions.scheme = "central"
    result = functions.run(replace(solver, gtol=max(1e-6, solver.gtol)), rough.x, callback)
    return replace(result, nit=rough.nit + result.nit)


def _solver(
    method: str | AnyMinimizer, limits: tuple[Floats, Floats] | None, options: dict[str, Any]
) -> AnyMinimizer:
    """The solver that method, bounds and options ask for."""
    if isinstance(method, Minimizer):
        if limits is not None or options:
            given = sorted(options) + ["bounds"] * (limits is not None)
            raise UsageError(f"method: a solver has its options already; leave out {given}")
        return method
    if method not in MINIMIZERS:
        raise UsageError(f"method: expected one of {list(MINIMIZERS)}, found {method!r}")
    kind = MINIMIZERS[method]
    if limits is not None:
        if method != "L-BFGS":
            raise UsageError(f'bounds: expected method "L-BFGS", found {method!r}')
        kind, options = LBFGSB, {**options, "lower": limits[0], "upper": limits[1]}
    return with_options(kind, options)


class _Functions:
    """The user's functions: called, counted, checked, and replaced by differences if absent."""

    def __init__(
        self,
        f: Callable[..., Any],
        jac: Callable[..., Any] | bool | None,
        hess: Callable[..., Any] | None,
        hessp: Callable[..., Any] | None,
        args: tuple[Any, ...],
        x0: Floats,
        limits: tuple[Floats, Floats] | None,
    ) -> None:
        self.f, self.jac, self.hess, self.hessp, self.args = f, jac, hess, hessp, args
        self.limits, self.typical, self.n = limits, x0, x0.size
        self.exact = callable(jac) or jac is True
        self.scheme: derivatives.Scheme = "forward"
        self.calls = {"fun": 0, "jac": 0, "hess": 0}
        self._last: tuple[Floats, float, Floats] | None = None  # of f that returns both

    def run(
        self, solver: AnyMinimizer, x: Floats, callback: Callable[[Result], Any] | None
    ) -> Result:
        """Solve from x, calling the functions wherever the solver asks."""
        return run(
            solver, x, self._evaluate, lambda state: self._counted(solver.result(state)), callback
        )

    def _evaluate(self, request: Request) -> dict[str, Any]:
        return {want: getattr(self, f"_{want}")(request) for want in request.wants}

    def _counted(self, result: Result) -> Result:
        calls = self.calls
        return replace(result, nfev=calls["fun"], njev=calls["jac"], nhev=calls["hess"])

    def value(self, x: Floats) -> float:
        if self.jac is True:
            return self._both(x)[0]
        self.calls["fun"] += 1
        return _number(self.f(x.copy(), *self.args))

    def gradient(self, x: Floats) -> Floats:
        if self.jac is True:
            return self._both(x)[1]
        self.calls["jac"] += 1
        if callable(self.jac):
            return expect_shape("jac", self.jac(x.copy(), *self.args), (self.n,))
        return derivatives.gradient(
            self.value, x, self.scheme, typical=self.typical, bounds=self.limits
        )

    def _both(self, x: Floats) -> tuple[float, Floats]:
        if self._last is None or not np.array_equal(self._last[0], x):
            self.calls["fun"] += 1
            self.calls["jac"] += 1
            try:
                value, gradient = self.f(x.copy(), *self.args)
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"f: expected (value, gradient), as jac=True says, found {error}"
                ) from error
            self._last = x.copy(), _number(value), expect_shape("jac", gradient, (self.n,))
        return self._last[1:]

    def _fun(self, request: Request) -> float:
        return self.value(request.x)

    def _jac(self, request: Request) -> Floats:
        return self.gradient(request.x)

    def _hess(self, request: Request) -> Floats:
        self.calls["hess"] += 1
        if self.hess is not None:
            return expect_shape("hess", self.hess(request.x.copy(), *self.args), (self.n, self.n))
        return derivatives.hessian(self.gradient, request.x)

    def _hessp(self, request: Request) -> Floats:
        assert request.v is not None
        self.calls["hess"] += 1
        if self.hessp is not None:
            return expect_shape(
                "hessp", self.hessp(request.x.copy(), request.v.copy(), *self.args), (self.n,)
            )
        if self.hess is not None:
            h = expect_shape("hess", self.hess(request.x.copy(), *self.args), (self.n, self.n))
            return h @ request.v
        return derivatives.hessian_product(self.gradient, request.x, request.v)


def _number(value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iufb":
        raise UsageError(
            f"f: expected a real number, found {value!r:.80}; for residuals use least_squares"
        )
    return float(array.reshape(()))
