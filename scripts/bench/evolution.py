"""Evolution beside its peers: the section "Evolution" of docs/benchmarks.md.

    pip install cmaes cma pymoo ioh
    python scripts/bench/evolution.py [targets] [bbob] [times] [fronts] [stragglers]

targets     evaluations until a loss of 1e-8
bbob        12 functions of that suite, 1,000 evaluations a parameter: area under the ECDF
times       ask and tell, per generation
fronts      hypervolume after so many evaluations
stragglers  trials whose durations spread 10-fold, in virtual time

A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import raysearch as rs
from raysearch import simulate
from raysearch.strategies.pareto import hypervolume
from raysearch.trial import Batch, Outcome

warnings.filterwarnings("ignore")  # of peers, about packages that they would like to have

Loss = Callable[[np.ndarray], np.ndarray]
TARGET, RUNS = 1e-8, 11


def sphere(x: np.ndarray) -> np.ndarray:
    return (x**2).sum(axis=1)


def ellipsoid(x: np.ndarray) -> np.ndarray:
    return (10 ** (6 * np.arange(x.shape[1]) / (x.shape[1] - 1)) * x**2).sum(axis=1)


def rosenbrock(x: np.ndarray) -> np.ndarray:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)


def rastrigin(x: np.ndarray) -> np.ndarray:
    return 10 * x.shape[1] + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(axis=1)


def shifted(loss: Loss, d: int, seed: int) -> Loss:
    """The function on the unit cube, whose optimum is somewhere in the middle of [-5, 5]^d."""
    shift = 0.0 if loss is rosenbrock else np.random.default_rng(seed).uniform(-2, 2, d)
    return lambda u: loss(10 * u - 5 - shift)


def cube(d: int) -> rs.Space:
    return rs.Space({f"x{i}": rs.Float(0, 1) for i in range(d)})


# --- who takes part -------------------------------------------------------------------------

Search = Callable[[Loss, int, int], Iterator[np.ndarray]]  # losses, generation by generation


def ours(strategy: Any) -> Search:
    def run(loss: Loss, d: int, seed: int) -> Iterator[np.ndarray]:
        state = strategy.init(cube(d), seed)
        while True:
            state, batch = strategy.ask(state, strategy.max_pending(state, 1))
            losses = loss(batch.x)
            yield losses
            state = strategy.tell(state, batch, Outcome(losses[:, None]))

    return run


def package_cmaes(loss: Loss, d: int, seed: int) -> Iterator[np.ndarray]:
    """IPOP, as in the package's documentation."""
    import cmaes

    rng, bounds = np.random.default_rng(seed), np.array([[0.0, 1.0]] * d)
    es = cmaes.CMA(np.full(d, 0.5), 0.25, seed=seed, bounds=bounds)
    while True:
        xs = [es.ask() for _ in range(es.population_size)]
        losses = loss(np.array(xs))
        yield losses
        es.tell(list(zip(xs, losses, strict=True)))
        if es.should_stop():
            size = 2 * es.population_size
            es = cmaes.CMA(rng.random(d), 0.25, seed=seed, bounds=bounds, population_size=size)


def package_cma(loss: Loss, d: int, seed: int) -> Iterator[np.ndarray]:
    """IPOP, with the package's own termination."""
    import cma

    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"bounds": [0, 1], "verbose": -9, "seed": seed + 1}
    es = cma.CMAEvolutionStrategy(np.full(d, 0.5), 0.25, options)
    while True:
        xs = es.ask()
        losses = loss(np.array(xs))
        yield losses
        es.tell(xs, losses.tolist())
        if es.stop():
            options["popsize"] = 2 * es.popsize
            es = cma.CMAEvolutionStrategy(rng.random(d), 0.25, options)


class _Enough(Exception):
    pass


def package_scipy(budget: int) -> Search:
    """scipy's differential evolution without its polishing, which is L-BFGS-B."""
    from scipy.optimize import differential_evolution

    def run(loss: Loss, d: int, seed: int) -> Iterator[np.ndarray]:
        told: list[np.ndarray] = []

        def objective(x: np.ndarray) -> float:
            value = loss(x[None])
            told.append(value)
            if value[0] < TARGET or len(told) >= budget:
                raise _Enough
            return float(value[0])

        while len(told) < budget:
            try:
                differential_evolution(
                    objective, [(0, 1)] * d, polish=False, rng=seed, maxiter=10**9, tol=0
                )
            except _Enough:
                break
            seed += 1000
        yield from told

    return run


def package_nevergrad(loss: Loss, d: int, seed: int) -> Iterator[np.ndarray]:
    """Nevergrad's differential evolution."""
    import nevergrad

    cube = nevergrad.p.Array(shape=(d,), lower=0.0, upper=1.0)
    cube.random_state.seed(seed)
    search = nevergrad.optimizers.DE(parametrization=cube, budget=1000 * d)
    while True:
        point = search.ask()
        losses = loss(point.value[None])
        yield losses
        search.tell(point, float(losses[0]))


@dataclass
class Result:
    evaluations: float
    solved: int


def expected_running_time(search: Search, loss: Loss, d: int, budget: int) -> Result:
    """All evaluations over the number of runs that came to the target."""
    total, solved = 0, 0
    for seed in range(RUNS):
        n = 0
        for losses in search(shifted(loss, d, seed), d, seed):
            hits = np.flatnonzero(losses < TARGET)
            n += int(hits[0]) + 1 if len(hits) else len(losses)
            if len(hits) or n >= budget:
                solved += bool(len(hits))
                break
        total += n
    return Result(total / solved if solved else np.inf, solved)


def targets() -> None:
    budgets = {5: 50_000, 10: 100_000}
    print(f"### evaluations to {TARGET}, mean of {RUNS} runs (unsolved runs count in full)\n")
    names = ["CMAES", "cmaes", "cma", "DifferentialEvolution", "scipy DE"]
    print("| function | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for loss in (sphere, ellipsoid, rosenbrock, rastrigin):
        for d, budget in budgets.items():
            taking_part: list[Search | None] = [
                ours(rs.CMAES()),
                package_cmaes if importlib.util.find_spec("cmaes") else None,
                package_cma if importlib.util.find_spec("cma") else None,
                ours(rs.DifferentialEvolution()),
                package_scipy(budget),
            ]
            cells = []
            for search in taking_part:
                if search is None:
                    cells.append("")
                    continue
                found = expected_running_time(search, loss, d, budget)
                share = "" if found.solved == RUNS else f" ({found.solved}/{RUNS})"
                cells.append(f"{found.evaluations:,.0f}{share}" if found.solved else "never")
            print(f"| {loss.__name__} {d} | " + " | ".join(cells) + " |", flush=True)


# --- BBOB -----------------------------------------------------------------------------------

BBOB = (3, 4, 5, 7, 9, 11, 12, 14, 16, 18, 19, 23)
PRECISIONS = 10.0 ** np.linspace(2, -8, 51)


def area(search: Search, function: int, d: int, instance: int) -> float:
    """Share of targets met, averaged over the logarithm of evaluations from 1 to 1,000 d."""
    import ioh

    problem = ioh.get_problem(function, instance, d, ioh.ProblemClass.BBOB)
    optimum, budget, best, n = problem.optimum.y, 1000 * d, np.inf, 0
    met = np.full(len(PRECISIONS), np.inf)

    def loss(u: np.ndarray) -> np.ndarray:
        return np.array(problem(10 * u - 5)) - optimum

    for losses in search(loss, d, instance):
        for value in losses[: budget - n]:
            n += 1
            best = min(best, value)
            met = np.where((best <= PRECISIONS) & np.isinf(met), n, met)
        if n >= budget or best <= PRECISIONS[-1]:
            break
    return float(np.clip(1 - np.log(met) / np.log(budget), 0, 1).mean())


def bbob() -> None:
    if not importlib.util.find_spec("ioh"):
        return
    print("\n### BBOB, area under the ECDF of 51 targets, 5 instances\n")
    names = ["CMAES", "cma", "DifferentialEvolution", "scipy DE", "Nevergrad DE"]
    print("| parameters | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for d in (5, 10, 20):
        searches = [
            ours(rs.CMAES()),
            package_cma if importlib.util.find_spec("cma") else None,
            ours(rs.DifferentialEvolution()),
            package_scipy(1000 * d),
            package_nevergrad if importlib.util.find_spec("nevergrad") else None,
        ]
        table = np.array(
            [
                [
                    np.mean([area(search, f, d, i) for i in range(1, 6)]) if search else np.nan
                    for search in searches
                ]
                for f in BBOB
            ]
        )
        print(f"| {d} | " + " | ".join(f"{x:.3f}" for x in table.mean(axis=0)) + " |", flush=True)
        for f, row in zip(BBOB, table, strict=True):
            print(f"  f{f}: " + " ".join(f"{x:.3f}" for x in row))


# --- time -----------------------------------------------------------------------------------


def times() -> None:
    print("\n### ms to ask and tell a generation\n")
    print("| parameters | population | CMAES | cmaes | cma |\n|---|---|---:|---:|---:|")
    for d in (10, 100):
        searches = [ours(rs.CMAES())]
        searches += [package_cmaes] if importlib.util.find_spec("cmaes") else []
        searches += [package_cma] if importlib.util.find_spec("cma") else []
        rounds: list[list[float]] = [[] for _ in searches]
        for _ in range(5):
            for search, kept in zip(searches, rounds, strict=True):
                run = search(shifted(ellipsoid, d, 0), d, 0)
                for _ in range(10):
                    losses = next(run)
                begin = time.perf_counter()
                for _ in range(50):
                    next(run)
                kept.append((time.perf_counter() - begin) / 50)
        cells = [f"{1e3 * np.median(kept):.2f}" for kept in rounds]
        print(f"| {d} | {len(losses)} | " + " | ".join(cells) + " |")
    print("\nas single points, told one by one:")
    for d in (10, 100):
        strategy: Any
        for strategy in (rs.CMAES(), rs.DifferentialEvolution(), rs.EvolutionStrategy()):
            state, loss, n = strategy.init(cube(d), 0), shifted(ellipsoid, d, 0), 500
            begin = time.perf_counter()
            for _ in range(n):
                state, batch = strategy.ask(state, 1)
                state = strategy.tell(state, batch, Outcome(loss(batch.x)[:, None]))
            micro = 1e6 * (time.perf_counter() - begin) / n
            print(f"  {type(strategy).__name__} in {d}: {micro:.0f} us a point")


# --- several objectives ---------------------------------------------------------------------


def zdt1(x: np.ndarray) -> np.ndarray:
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    return np.stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))], axis=1)


def dtlz2(x: np.ndarray) -> np.ndarray:
    g = ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
    a, b = np.pi / 2 * x[:, :2].T
    circle = [np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)]
    return np.stack(circle, axis=1) * (1 + g)[:, None]


def our_front(name: str, loss: Loss, d: int, population: int, budget: int, seed: int) -> np.ndarray:
    strategy = getattr(rs, name)(population)
    state = strategy.init(cube(d), seed)
    for _ in range(budget // population):
        state, batch = strategy.ask(state, population)
        state = strategy.tell(state, batch, Outcome(loss(batch.x)))
    return state.parents.loss


def pymoo_front(
    name: str, loss: Loss, d: int, population: int, budget: int, seed: int
) -> np.ndarray:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize
    from pymoo.util.ref_dirs import get_reference_directions

    class Wrapped(Problem):
        def _evaluate(self, x: np.ndarray, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = loss(x)

    m = loss(np.zeros((1, d))).shape[1]
    problem = Wrapped(n_var=d, n_obj=m, xl=0, xu=1)
    if name == "NSGA2":
        algorithm = NSGA2(pop_size=population)
    else:
        w = get_reference_directions("das-dennis", m, n_partitions=12)
        algorithm = NSGA3(pop_size=population, ref_dirs=w)
    return minimize(problem, algorithm, ("n_eval", budget), seed=seed).F


def fronts() -> None:
    print("\n### hypervolume up to 1.1, median of 5 runs; seconds\n")
    print("| | problem | evaluations | ours | | pymoo | |\n|---|---|---|---:|---:|---:|---:|")
    for name, loss, d, population, budget in (
        ("NSGA2", zdt1, 10, 40, 4000),
        ("NSGA2", zdt1, 30, 100, 10_000),
        ("NSGA2", dtlz2, 12, 92, 9200),
        ("NSGA3", dtlz2, 12, 92, 9200),
    ):
        cells = []
        for front in (our_front, pymoo_front):
            if front is pymoo_front and not importlib.util.find_spec("pymoo"):
                continue
            volumes, seconds = [], []
            for seed in range(5):
                begin = time.perf_counter()
                found = front(name, loss, d, population, budget, seed)
                seconds.append(time.perf_counter() - begin)
                volumes.append(hypervolume(found, np.full(found.shape[1], 1.1)))
            cells.append(f"{np.median(volumes):.4f} | {np.median(seconds):.2f} s")
        print(f"| {name} | {loss.__name__} {d} | {budget} | " + " | ".join(cells) + " |")


# --- stragglers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Generational(rs.CMAES):
    """Waits for the last of each generation, as most packages do."""

    def ask(self, state: Any, n: int) -> tuple[Any, Batch]:
        lacking = state.run.population - len(state.losses) - len(state.pending.number)
        return super().ask(state, max(0, min(n, lacking)))

    def max_pending(self, state: Any, slots: int) -> int:
        return int(state.run.population - len(state.losses))


def stragglers() -> None:
    """16 workers; 90 of 100 trials within a factor of 10: exp(2 1.645 spread) = 10."""
    spread, median, d = float(np.log(10) / (2 * 1.645)), 60.0, 10
    print("\n### 16 workers, durations spread 10-fold, 100 medians of virtual time\n")
    print("| | population | workers busy | trials | loss (median of 9) |\n|---|---|---:|---:|---:|")
    strategies: list[tuple[str, Any]] = [
        (label, make(population))
        for population in (None, 16, 32)
        for label, make in (("CMAES", rs.CMAES), ("the same, generational", Generational))
    ]
    strategies += [
        ("DifferentialEvolution", rs.DifferentialEvolution()),
        ("EvolutionStrategy", rs.EvolutionStrategy()),
        ("GeneticAlgorithm", rs.GeneticAlgorithm()),
        ("QuasiRandom", rs.QuasiRandom()),
    ]
    for label, strategy in strategies:
        busy, trials, best = [], [], []
        for seed in range(9):
            loss = shifted(rosenbrock, d, seed)
            found = simulate.run(
                lambda c, loss=loss: float(loss(np.array([list(c.values())]))[0]),
                cube(d),
                strategy,
                workers=16,
                time_limit=100 * median,
                duration=simulate.LogNormal(median, spread),
                seed=seed,
            )
            busy.append(found.utilisation)
            trials.append(found.study.trials.num_rows)
            best.append(found.study.best.metrics["loss"])
        size = getattr(strategy, "population", None)
        print(
            f"| {label} | {size or 'default'} | {100 * np.median(busy):.0f} % | "
            f"{np.median(trials):.0f} | {np.median(best):.3g} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {f.__name__: f for f in (targets, bbob, times, fronts, stragglers)}
    parser.add_argument("parts", nargs="*", default=list(parts), help=", ".join(parts))
    for part in parser.parse_args().parts:
        parts[part]()


if __name__ == "__main__":
    main()
