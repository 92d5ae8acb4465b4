"""Several objectives, few trials: hypervolume after 50, 100 and 200 of them, ours and peers.

    python scripts/bench/hypervolume.py [--problems dtlz2 vehicle] [--only gp tpe optuna-gp]
        [--seeds 3] [--trials 200] [--pending 1]

Each trial's share of the greatest hypervolume there is; medians over seeds, and the processor time
of a suggestion, telling included. Problems for tuning: dtlz7, corners. For the report: dtlz2
and vehicle (crash safety: mass, acceleration, intrusion). With some pending, that many trials
have been asked for and not told. Competitors that are not installed are left out.

Deb, Thiele, Laumanns & Zitzler (2005), "Scalable test problems for evolutionary multiobjective
optimization"; Liao et al. (2008), "Multiobjective optimization for crash safety design of
vehicles using stepwise regression model"; Tanabe & Ishibuchi (2020), "An easy-to-use real-world
multi-objective optimization problem suite".
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from evolution import cube

from raysearch.strategies import get
from raysearch.strategies.pareto import hypervolume
from raysearch.trial import Batch, Outcome

AT = (50, 100, 200)


def dtlz2(m: int, x: np.ndarray) -> np.ndarray:
    """The front is the part of the unit sphere whose coordinates are positive."""
    angle = np.pi / 2 * x[:, : m - 1]
    one, g = np.ones(len(x)), ((x[:, m - 1 :] - 0.5) ** 2).sum(axis=1)
    before = np.column_stack([one, np.cumprod(np.cos(angle), axis=1)])
    return (1 + g)[:, None] * before * np.column_stack([np.sin(angle), one])


def dtlz7(x: np.ndarray) -> np.ndarray:
    """Four separate regions of the front."""
    a, g = x[:, :2], 1 + 9 * x[:, 2:].mean(axis=1)
    h = 3 - (a / (1 + g[:, None]) * (1 + np.sin(3 * np.pi * a))).sum(axis=1)
    return np.column_stack([a, (1 + g) * h])


def corners(m: int, x: np.ndarray) -> np.ndarray:
    """Distances from some corners of the cube, rippled."""
    far = [np.linalg.norm(x - corner, axis=1) for corner in np.eye(m, x.shape[1])]
    return np.stack(far, axis=1) + 0.1 * (1 - np.cos(4 * np.pi * x[:, m:])).mean(axis=1)[:, None]


def vehicle(x: np.ndarray) -> np.ndarray:
    """Mass, acceleration and intrusion of a car's front, by five thicknesses from 1 to 3 mm."""
    a, b, c, d, e = (1 + 2 * x).T
    mass = 1640.2823 + 2.3573285 * a + 2.3220035 * b + 4.5688768 * c + 7.7213633 * d + 4.4559504 * e
    acceleration = (
        *(6.5856 + 1.15 * a, -1.0427 * b, 0.9738 * c, 0.8364 * d, -0.3695 * a * d),
        *(0.0861 * a * e, 0.3628 * b * d, -0.1106 * a**2, -0.3437 * c**2, 0.1764 * d**2),
    )
    intrusion = (
        *(-0.0551 + 0.0181 * a, 0.1024 * b, 0.0421 * c, -0.0073 * a * b, 0.024 * b * c),
        *(-0.0118 * b * d, -0.0204 * c * d, -0.008 * c * e, -0.0241 * b**2, 0.0109 * d**2),
    )
    return np.stack([mass, sum(acceleration), sum(intrusion)], axis=1)


@dataclass(frozen=True)
class Problem:
    """losses of points (n, d); worst: the corner; most: the greatest hypervolume up to it."""

    losses: Callable[[np.ndarray], np.ndarray]
    d: int
    worst: tuple[float, ...]
    most: float


PROBLEMS = {
    "dtlz2": Problem(partial(dtlz2, 3), 6, (1.1,) * 3, 1.1**3 - np.pi / 6),
    "dtlz2-4": Problem(partial(dtlz2, 4), 7, (1.1,) * 4, 1.1**4 - np.pi**2 / 32),
    "vehicle": Problem(vehicle, 5, (1864.72022, 11.81993945, 0.2903999384), 246.816),
    "dtlz7": Problem(dtlz7, 5, (1.0, 1.0, 7.0), 1.0),  # most: not known, as of the next ones
    "corners": Problem(partial(corners, 3), 5, (1.5,) * 3, 1.0),
    "corners-4": Problem(partial(corners, 4), 6, (1.5,) * 4, 1.0),
}

#: (problem, seed) -> points asked; each is sent the losses of the one told next
Asker = Callable[[Problem, int], tuple[Callable[[], Any], Callable[[Any, np.ndarray], None]]]


def ours(name: str) -> Asker:
    def asker(problem: Problem, seed: int) -> Any:
        strategy = get(name)()
        states = [strategy.init(cube(problem.d), seed)]

        def ask() -> tuple[Any, np.ndarray]:
            states[0], batch = strategy.ask(states[0], 1)
            return batch, batch.x[0]

        def tell(batch: Batch, loss: np.ndarray) -> None:
            states[0] = strategy.tell(states[0], batch, Outcome(loss[None]))

        return ask, tell

    return asker


def optunas(sampler: str) -> Asker:
    def asker(problem: Problem, seed: int) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            directions=["minimize"] * len(problem.worst),
            sampler=getattr(optuna.samplers, sampler)(seed=seed),
        )

        def ask() -> tuple[Any, np.ndarray]:
            trial = study.ask()
            return trial, np.array([trial.suggest_float(f"x{i}", 0, 1) for i in range(problem.d)])

        return ask, lambda trial, loss: study.tell(trial, loss.tolist())

    return asker


def botorchs(problem: Problem, seed: int) -> Any:
    """qLogEHVI with independent models, as its tutorial; it knows the corner. One at a time."""
    import torch
    from botorch.acquisition.multi_objective.logei import qLogExpectedHypervolumeImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.optim import optimize_acqf
    from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning
    from gpytorch.mlls import SumMarginalLogLikelihood
    from scipy.stats import qmc

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    first = list(qmc.Sobol(problem.d, rng=seed).random(8))
    bounds = torch.tensor([[0.0] * problem.d, [1.0] * problem.d], dtype=torch.double)
    worst = -torch.tensor(problem.worst, dtype=torch.double)
    x: list[np.ndarray] = []
    y: list[np.ndarray] = []

    def ask() -> tuple[Any, np.ndarray]:
        if len(x) < len(first):
            return first[len(x)], first[len(x)]
        at, gain = torch.tensor(np.array(x)), -torch.tensor(np.array(y))
        models = [SingleTaskGP(at, gain[:, j : j + 1]) for j in range(len(worst))]
        model = ModelListGP(*models)
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        promise = qLogExpectedHypervolumeImprovement(
            model, worst, FastNondominatedPartitioning(ref_point=worst, Y=gain)
        )
        point = optimize_acqf(promise, bounds, q=1, num_restarts=10, raw_samples=512)[0][0].numpy()
        return point, point

    def tell(point: np.ndarray, loss: np.ndarray) -> None:
        x.append(point)
        y.append(loss)

    return ask, tell


#: name -> the module that must be there, and who asks and tells
COMPETITORS: dict[str, tuple[str, Asker]] = {
    **{name: ("raysearch", ours(name)) for name in ("gp", "tpe", "nsga2", "nsga3", "random")},
    "optuna-gp": ("optuna", optunas("GPSampler")),
    "optuna-tpe": ("optuna", optunas("TPESampler")),
    "botorch": ("botorch", botorchs),
}


def searched(
    asker: Asker, problem: Problem, seed: int, trials: int, pending: int
) -> Iterator[tuple[int, float, float]]:
    """After some trials: how many, share of the hypervolume, seconds so far."""
    ask, tell = asker(problem, seed)
    waiting: list[tuple[Any, np.ndarray]] = []
    losses, seconds = [], 0.0
    while len(losses) < trials:
        begin = time.process_time()
        if len(losses) + len(waiting) < trials:
            waiting.append(ask())
        seconds += time.process_time() - begin
        if len(waiting) == pending or len(losses) + len(waiting) == trials:
            token, x = waiting.pop(0)
            losses.append(problem.losses(x[None])[0])
            begin = time.process_time()
            tell(token, losses[-1])
            seconds += time.process_time() - begin
            if len(losses) in AT or len(losses) == trials:
                found = hypervolume(np.array(losses), np.array(problem.worst))
                yield len(losses), found / problem.most, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=["dtlz2", "vehicle"], choices=PROBLEMS)
    parser.add_argument("--only", nargs="+", default=list(COMPETITORS), choices=COMPETITORS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--pending", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in args.problems:
        for who in args.only:
            module, asker = COMPETITORS[who]
            if not importlib.util.find_spec(module):
                print(f"not installed: {module}")
                continue
            shares: dict[int, list[float]] = {}
            taken = []
            for seed in range(args.seeds):
                for n, share, seconds in searched(  # noqa: B007 (the last counts)
                    asker, PROBLEMS[name], seed, args.trials, args.pending
                ):
                    shares.setdefault(n, []).append(share)
                taken.append(1e3 * seconds / args.trials)
            cells = [
                f"{n}: {np.median(found):.4f} [{min(found):.4f}, {max(found):.4f}]"
                for n, found in shares.items()
            ]
            print(f"{name:8} {who:10}", *cells, f"{np.median(taken):.0f} ms", flush=True)


if __name__ == "__main__":
    main()
