"""Record what the packages cmaes and cma do: tests/golden/evolution.npz.

    pip install cmaes==0.13.1 cma==4.5.0
    python scripts/golden_evolution.py

Trajectories: the samples and losses of each generation of cmaes, and the mean, step and
covariance after it. Evaluations: medians of 20 (5 parameters) or 10 runs until a loss of 1e-8.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cma
import cmaes
import numpy as np

warnings.filterwarnings("ignore")  # of cma, about its optional packages

SEEDS = {5: 20, 10: 10}


def sphere(x: np.ndarray) -> float:
    return float((x**2).sum())


def ellipsoid(x: np.ndarray) -> float:
    return float((10 ** (6 * np.arange(len(x)) / (len(x) - 1)) * x**2).sum())


def rosenbrock(x: np.ndarray) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


FUNCTIONS: dict[str, Callable[[np.ndarray], float]] = {
    "sphere": sphere,
    "ellipsoid": ellipsoid,
    "rosenbrock": rosenbrock,
}


# --- trajectories ---------------------------------------------------------------------------


def trajectory(es: Any, loss: Callable[[np.ndarray], float], generations: int) -> dict[str, Any]:
    """Samples (t, lambda, n) best first, and m, sigma, C after each of t generations."""
    inner = getattr(es, "_cma", es)
    kept: dict[str, list[Any]] = {name: [] for name in ("x", "m", "sigma", "c", "a")}
    for _ in range(generations):
        asked = [es.ask() for _ in range(es.population_size)]
        pairs = [x if isinstance(x, tuple) else (x, x) for x in asked]  # evaluated, and told
        told = sorted(((y, loss(x)) for x, y in pairs), key=lambda pair: pair[1])
        kept["x"].append([y.copy() for y, _ in told])
        es.tell(told)
        kept["m"].append(inner._mean.copy())
        kept["sigma"].append(inner._sigma)
        kept["c"].append(inner._C.copy())
        kept["a"].append(getattr(es, "_A", np.ones(len(inner._mean))).copy())
    return {name: np.array(values) for name, values in kept.items()}


def plain(**options: Any) -> Any:
    return cmaes.CMA(np.full(5, 0.5), 0.002, seed=3, **options)


def with_margin() -> Any:
    """Three real numbers, one of 0, 1, .. 9 and one of 0 and 5: the unit cube, times 10."""
    return cmaes.CMAwM(
        mean=np.array([5.0, 5.0, 5.0, 4.4, 2.0]),
        sigma=0.2,
        bounds=np.array([[-90, 90], [-90, 90], [-90, 90], [0, 9], [0, 5]], dtype=float),
        steps=np.array([0, 0, 0, 1, 5], dtype=float),
        seed=5,
    )


def trajectories() -> dict[str, np.ndarray]:
    def bent(x: np.ndarray) -> float:
        return ellipsoid((x - 0.49) / 10) + 3 * (x[0] - x[1]) ** 2

    def mixed(x: np.ndarray) -> float:
        return ellipsoid(x[:3] / 10 - 0.3) + (x[3] - 6) ** 2 + (x[4] - 5) ** 2

    found = {
        "plain": trajectory(plain(), bent, 150),
        "large": trajectory(plain(population_size=40), bent, 60),
        "adaptive": trajectory(plain(lr_adapt=True), bent, 100),
    }
    margin = trajectory(with_margin(), mixed, 80)
    offset = np.array([0, 0, 0, 0.5, 2.5])  # values lie in the middle of their stretches
    margin["x"] = (margin["x"] + offset) / 10
    margin["m"] = (margin["m"] + offset) / 10
    margin["sigma"] = margin["sigma"] / 10
    found["margin"] = margin
    return {f"{case}.{name}": array for case, kept in found.items() for name, array in kept.items()}


# --- evaluations ----------------------------------------------------------------------------


def start(name: str, d: int, seed: int) -> np.ndarray:
    """Where the optimum lies in [-5, 5]^d: at 1 for Rosenbrock's function, else somewhere."""
    return np.zeros(d) if name == "rosenbrock" else np.random.default_rng(seed).uniform(-2, 2, d)


def begun(package: str, d: int, seed: int) -> Any:
    if package == "cmaes":
        return cmaes.CMA(np.full(d, 0.5), 0.3, seed=seed, bounds=np.array([[0.0, 1.0]] * d))
    options = {"bounds": [0, 1], "verbose": -9, "seed": seed + 1}
    return cma.CMAEvolutionStrategy(np.full(d, 0.5), 0.3, options)


def evaluations(package: str, name: str, d: int, seed: int) -> int:
    """Until a loss of 1e-8; what stops elsewhere begins again with another seed."""
    shift, loss = start(name, d, seed), FUNCTIONS[name]
    es, n = begun(package, d, seed), 0
    while True:
        xs = [es.ask() for _ in range(es.population_size)] if package == "cmaes" else es.ask()
        losses = [loss(10 * x - 5 - shift) for x in xs]
        if min(losses) < 1e-8:
            return n + int(np.argmax(np.array(losses) < 1e-8)) + 1
        n += len(losses)
        if package == "cmaes":
            es.tell(list(zip(xs, losses, strict=True)))
        else:
            es.tell(xs, losses)
        if es.should_stop() if package == "cmaes" else es.stop():
            seed += 1000
            es = begun(package, d, seed)


def main() -> None:
    table = {
        f"{name} {d}": {
            package: float(np.median([evaluations(package, name, d, s) for s in range(SEEDS[d])]))
            for package in ("cmaes", "cma")
        }
        for name in FUNCTIONS
        for d in (5, 10)
    }
    out = Path(__file__).parent.parent / "tests" / "golden" / "evolution.npz"
    np.savez_compressed(out, evaluations=np.array(json.dumps(table)), **trajectories())
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB\n{json.dumps(table, indent=1)}")


if __name__ == "__main__":
    main()
