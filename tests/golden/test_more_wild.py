"""The Moré-Wild problems: solved as widely, and as soon, as by scipy's default."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

from raysearch import optim

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "bench"))
from smooth_problems import Problem, mgh, more_wild


def needed(problem: Problem, values: list[float], best: float) -> float:
    """Evaluations until all but 1e-5 of the possible decrease is made; inf: never."""
    goal = best + 1e-5 * (values[0] - best)
    return next((k + 1 for k, value in enumerate(values) if value <= goal), np.inf)


def test_least_squares_solves_as_many_as_scipy_at_every_budget() -> None:
    ours, theirs = [], []
    for problem in more_wild():
        runs: list[list[float]] = [[], []]
        for values, solve in zip(runs, (optim.least_squares, optimize.least_squares), strict=True):

            def residuals(x: Any, problem: Any = problem, values: Any = values) -> Any:
                with np.errstate(all="ignore"):
                    r = problem.residuals(x)
                values.append(float(r @ r))
                return r

            with np.errstate(all="ignore"):
                solve(residuals, problem.x0, problem.jacobian)
        best = min(min(values) for values in runs)
        ours.append(needed(problem, runs[0], best))
        theirs.append(needed(problem, runs[1], best))
    for budget in (5, 15, 20, 30, 50, 100, 1000):
        assert np.sum(np.array(ours) <= budget) >= np.sum(np.array(theirs) <= budget), budget
    assert np.sum(np.isfinite(ours)) >= 52


def test_minimisers_solve_moré_garbow_and_hillstroms_functions() -> None:
    """All 35 functions to 1e-6 of the possible decrease, by some method; most by each."""
    methods = ("L-BFGS", "BFGS", "Newton-trust")
    ends = np.array(
        [
            [
                optim.minimize(p.value, p.x0, p.gradient, p.hessian, method=method).fun
                for method in methods
            ]
            for p in mgh()
        ]
    )
    starts = np.array([p.value(p.x0) for p in mgh()])
    best = ends.min(axis=1)
    solved = ends <= (best + 1e-6 * (starts - best))[:, None]
    shares = dict(zip(methods, solved.mean(axis=0), strict=True))
    assert min(shares.values()) >= 0.9, shares
