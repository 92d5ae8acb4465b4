"""Seconds for a suggestion, by how many results are known, beside Optuna's and BoTorch's.

    python scripts/bench/ask_speed.py [--told 100 500 1000 2000] [--asks 5] [--dim 5] [--threads 1]

Each is told the same results of the same quasi-random points of a shifted, rippled bowl, then
asked for one point, told its loss, asked again, and so on; the figure is the median of the asks,
telling included, after a first one that is not counted (ours builds its model there; Optuna and
BoTorch fit theirs at every ask). The greatest is given as well, since a model that is fitted
anew costs more. BoTorch: SingleTaskGP fitted by fit_gpytorch_mll, LogExpectedImprovement,
optimize_acqf with 10 starts out of 512 points, as its documentation shows. Optuna: its samplers.
Those that are not installed are left out. All take turns in one process, in one run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator

Points = list[list[float]]
#: What is told (points, losses), and whoever asks: a generator that takes a loss, gives a point.
Asker = Callable[[Points, list[float]], Iterator[None]]


def loss(x: list[float]) -> float:
    import math

    z = [u - 0.3 - 0.4 * (i % 2) for i, u in enumerate(x)]
    return sum(v * v - 0.05 * math.cos(6 * math.pi * v) for v in z)


def ours(name: str) -> Asker:
    def asker(x: Points, y: list[float]) -> Iterator[None]:
        import numpy as np

        from raysearch.space import Float, Space
        from raysearch.strategies import get
        from raysearch.trial import FOREIGN, Batch, Outcome

        strategy, n = get(name)(), len(x)
        state = strategy.init(Space({f"x{i}": Float(0, 1) for i in range(len(x[0]))}), seed=0)
        known = Batch(np.array(x), np.full(n, FOREIGN))
        state = strategy.tell(state, known, Outcome(np.array(y)[:, None]))
        while True:
            state, batch = strategy.ask(state, 1)
            outcome = Outcome(np.array([[loss(row)] for row in batch.x.tolist()]))
            state = strategy.tell(state, batch, outcome)
            yield

    return asker


def optunas(sampler: str) -> Asker:
    def asker(x: Points, y: list[float]) -> Iterator[None]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        names = [f"x{i}" for i in range(len(x[0]))]
        uniform = optuna.distributions.FloatDistribution(0, 1)
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=0))
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=dict(zip(names, row, strict=True)),
                    distributions=dict.fromkeys(names, uniform),
                    value=value,
                )
                for row, value in zip(x, y, strict=True)
            ]
        )
        while True:
            trial = study.ask()
            study.tell(trial, loss([trial.suggest_float(name, 0, 1) for name in names]))
            yield

    return asker


def botorch_gp(x: Points, y: list[float]) -> Iterator[None]:
    import torch
    from botorch.acquisition import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood

    at, values = torch.tensor(x, dtype=torch.double), torch.tensor(y, dtype=torch.double)
    cube = torch.tensor([[0.0] * at.shape[1], [1.0] * at.shape[1]], dtype=torch.double)
    while True:
        better = -values[:, None]
        model = SingleTaskGP(at, better)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        promise = LogExpectedImprovement(model, better.max())
        point, _ = optimize_acqf(promise, cube, q=1, num_restarts=10, raw_samples=512)
        at = torch.cat([at, point])
        values = torch.cat([values, torch.tensor([loss(point[0].tolist())])])
        yield


#: name -> the module that must be there, who asks, and the most results that it is told
ASKERS: dict[str, tuple[str, Asker, int]] = {
    "raysearch gp": ("raysearch", ours("gp"), 2000),
    "raysearch trust-region": ("raysearch", ours("trust-region"), 2000),
    "raysearch tpe": ("raysearch", ours("tpe"), 2000),
    "Optuna GPSampler": ("optuna", optunas("GPSampler"), 1000),
    "Optuna TPESampler": ("optuna", optunas("TPESampler"), 2000),
    "BoTorch": ("botorch", botorch_gp, 500),
}


def measured(asker: Asker, x: Points, y: list[float], asks: int) -> list[float]:
    asking, seconds = asker(x, y), []
    next(asking)
    for _ in range(asks):
        start = time.perf_counter()
        next(asking)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--told", type=int, nargs="+", default=[100, 500, 1000, 2000])
    parser.add_argument("--asks", type=int, default=5)
    parser.add_argument("--dim", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL"):  # before numpy and torch are imported
        os.environ[f"{library}_NUM_THREADS"] = str(args.threads)
    warnings.simplefilter("ignore")
    from scipy.stats import qmc

    x = qmc.Sobol(args.dim, rng=1).random(max(args.told)).tolist()
    y = [loss(row) for row in x]
    print(
        f"{args.dim} parameters, {args.threads} threads; seconds: median, greatest of {args.asks}"
    )
    for n in args.told:
        for name, (module, asker, most) in ASKERS.items():
            if importlib.util.find_spec(module) and n <= most:
                taken = measured(asker, x[:n], y[:n], args.asks)
                print(f"{n:6d} told  {name:24s}{statistics.median(taken):9.4f}{max(taken):9.4f}")


if __name__ == "__main__":
    main()
