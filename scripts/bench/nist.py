"""NIST StRD nonlinear regression: certified digits of each solver, from both starts.

    python scripts/bench/nist.py

54 fits; digits are the log relative error of the worst parameter, at most 11. Default settings,
and for scipy also tolerances at 1e-14. Exact Jacobians by the complex step; evaluations are of
the residuals, with those that differences made.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from nist_problems import Problem, problems
from scipy import optimize

from raysearch import optim


def ours(exact: bool, **options: Any) -> Callable[[Problem], Any]:
    """raysearch."""

    def solve(problem: Problem) -> Any:
        jac = jacobian_of(problem) if exact else None
        return optim.least_squares(problem.residuals, problem.x0, jac, **options)

    return solve


def theirs(exact: bool, tight: bool = False, **options: Any) -> Callable[[Problem], Any]:
    """scipy."""
    tolerances = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "max_nfev": 2000} if tight else {}

    def solve(problem: Problem) -> Any:
        calls = []

        def residuals(x: Any) -> Any:
            calls.append(x)
            return problem.residuals(x)

        jac = jacobian_of(problem) if exact else "2-point"
        result = optimize.least_squares(residuals, problem.x0, jac, **tolerances, **options)
        result.nfev = len(calls)
        return result

    return solve


def jacobian_of(problem: Problem) -> Callable[[Any], Any]:
    """The exact Jacobian."""
    return lambda x: optim.jacobian(problem.residuals, x, "complex")


SOLVERS = {
    "raysearch LM, exact J": ours(True),
    "raysearch LM geodesic, exact J": ours(True, geodesic=True),
    "scipy lm, exact J, tight": theirs(True, True, method="lm", x_scale="jac"),
    "scipy trf, exact J, tight": theirs(True, True, method="trf", x_scale="jac"),
    "raysearch LM, differences": ours(False),
    "scipy lm, defaults": theirs(False, method="lm"),
    "scipy trf, defaults": theirs(False, method="trf"),
    "scipy lm, tight": theirs(False, True, method="lm", x_scale="jac"),
    "scipy trf, tight": theirs(False, True, method="trf", x_scale="jac"),
}


def main() -> None:
    print(f"{'of 54 fits, digits':34}   >= 4   >= 6   >= 8   median evaluations")
    for name, solve in SOLVERS.items():
        digits, counts = [], []
        for problem in problems():
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    result = solve(problem)
                except (ValueError, np.linalg.LinAlgError):  # scipy stops at what is not finite
                    digits.append(0.0)
                    continue
            digits.append(problem.digits(result.x))
            counts.append(result.nfev)
        shares = "".join(f"{np.sum(np.array(digits) >= d):7}" for d in (4, 6, 8))
        print(f"{name:34}{shares}{np.median(counts):12.1f}")


if __name__ == "__main__":
    main()
