"""Least squares on the Moré-Wild problems: residual evaluations to reach each accuracy.

    python scripts/bench/more_wild.py [--plot FILE.png]

A problem counts as solved at the first evaluation with f <= f* + tau (f0 - f*), where f* is the
best value that any solver found. All solvers get the same exact Jacobians; evaluations of the
residuals are counted. Ours runs with default settings, scipy's with its tolerances at 1e-15, so
that none stops early.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize
from smooth_problems import Problem, more_wild

from raysearch import optim

LIMIT = 1000
TAUS = (1e-3, 1e-5, 1e-7)
BUDGETS = (5, 10, 15, 20, 30, 50, 100, 300, 1000)


def ours(**options: Any) -> Callable[[Problem, Any], None]:
    """raysearch's Levenberg-Marquardt."""

    def solve(problem: Problem, residuals: Any) -> None:
        optim.least_squares(
            residuals, problem.x0, problem.jacobian, max_evaluations=LIMIT, **options
        )

    return solve


def theirs(**options: Any) -> Callable[[Problem, Any], None]:
    """scipy's least_squares."""

    def solve(problem: Problem, residuals: Any) -> None:
        tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": LIMIT}
        optimize.least_squares(residuals, problem.x0, problem.jacobian, **tight, **options)

    return solve


SOLVERS = {
    "raysearch LM": ours(),
    "raysearch LM geodesic": ours(geodesic=True),
    "raysearch GN": ours(method="GN"),
    "scipy lm": theirs(method="lm"),
    "scipy lm jac": theirs(method="lm", x_scale="jac"),
    "scipy trf": theirs(method="trf"),
    "scipy trf jac": theirs(method="trf", x_scale="jac"),
    "scipy dogbox": theirs(method="dogbox"),
    "scipy dogbox jac": theirs(method="dogbox", x_scale="jac"),
}


def trace(problem: Problem, solve: Callable[[Problem, Any], None]) -> np.ndarray:
    """The best value after each evaluation."""
    values: list[float] = []

    def residuals(x: Any) -> Any:
        with np.errstate(all="ignore"):
            r = problem.residuals(x)
            values.append(float(r @ r))
        return r

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            solve(problem, residuals)
        except (ValueError, np.linalg.LinAlgError) as error:  # scipy stops at what is not finite
            print(f"    {problem.name}: {error}")
    return np.fmin.accumulate(np.nan_to_num(values, nan=np.inf))


def measure() -> dict[str, dict[float, np.ndarray]]:
    """Solver -> tau -> evaluations needed for each problem, inf if not solved."""
    problems = more_wild()
    needed = {name: {tau: np.full(len(problems), np.inf) for tau in TAUS} for name in SOLVERS}
    for i, problem in enumerate(problems):
        traces = {name: trace(problem, solve) for name, solve in SOLVERS.items()}
        best = min(values[-1] for values in traces.values())
        start = float(np.sum(problem.residuals(problem.x0) ** 2))
        for name, values in traces.items():
            for tau in TAUS:
                reached = np.flatnonzero(values <= best + tau * (start - best))
                needed[name][tau][i] = reached[0] + 1 if reached.size else np.inf
    return needed


def plot(needed: dict[str, dict[float, np.ndarray]], path: str) -> None:
    """Performance profile: share of problems solved within a multiple of the best solver."""
    import matplotlib.pyplot as plt  # only needed here

    counts = {name: of_tau[1e-7] for name, of_tau in needed.items()}
    fastest = np.min(list(counts.values()), axis=0)
    for name, count in counts.items():
        ratio = np.sort(count / fastest)
        share = np.arange(1, len(ratio) + 1) / len(ratio)
        plt.step(ratio[np.isfinite(ratio)], share[np.isfinite(ratio)], where="post", label=name)
    plt.xscale("log")
    plt.xlabel("evaluations, as a multiple of the fastest solver's")
    plt.ylabel("share of the Moré-Wild problems solved to 1e-7")
    plt.legend()
    plt.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", help="write a performance profile to this file")
    arguments = parser.parse_args()
    needed = measure()
    for tau in TAUS:
        print(f"\n% of 53 problems solved to tau = {tau:g} within N residual evaluations")
        print(f"{'':24}" + "".join(f"{budget:7}" for budget in BUDGETS) + "   median")
        for name, of_tau in needed.items():
            shares = [100 * np.mean(of_tau[tau] <= budget) for budget in BUDGETS]
            print(f"{name:24}" + "".join(f"{s:7.0f}" for s in shares)
                  + f"{np.median(of_tau[tau]):9.0f}")  # fmt: skip
    unsolved = [
        p.name
        for p, n in zip(more_wild(), needed["raysearch LM"][1e-7], strict=True)
        if n == np.inf
    ]
    print("\nnot solved to 1e-7 by raysearch LM:", unsolved)
    if arguments.plot:
        plot(needed, arguments.plot)


if __name__ == "__main__":
    main()
