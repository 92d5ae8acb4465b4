"""Populations: islands, evolution strategies in a million dimensions, stragglers.

    python scripts/bench/populations.py islands [--trials 2000000]
    python scripts/bench/populations.py shares
    python scripts/bench/populations.py evolve [--population 256] [--actors 1 2]
    python scripts/bench/populations.py evotorch [--population 256]
    python scripts/bench/populations.py stragglers

Processor seconds are those of all processes of the run; on a machine with other work they tell
more than elapsed ones. "evotorch" needs that package, and nothing of this one.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from typing import Any

import numpy as np

D = 1_000_000


def processor(pid: int | None = None) -> float:
    """Processor seconds of a process, this one by default."""
    if pid is None:
        return time.process_time()
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> float:
    """MB of memory that a process has had of its own at most, shared memory left out."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        found = dict(line.split(":", 1) for line in file if ":" in line)
    return int(found["RssAnon"].split()[0]) / 1e3


def islands(options: argparse.Namespace) -> None:
    """Trials a second of two islands of a genetic algorithm, four parameters, in a study."""
    import ray

    import raysearch as rs

    def each(config: Any) -> float:
        return config["a"] ** 2 + config["b"] ** 2 + config["c"] ** 2 + config["d"] ** 2

    @rs.vectorized
    def many(columns: Any) -> Any:
        return columns["a"] ** 2 + columns["b"] ** 2 + columns["c"] ** 2 + columns["d"] ** 2

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")  # workers outlive a search
    space = {name: rs.Float(-1, 1) for name in "abcd"}
    for objective, population, trials in (
        (each, 1_000, options.trials // 10),
        (many, 50_000, options.trials),
    ):
        strategy = rs.Islands(
            rs.GeneticAlgorithm(population=population, elite=population // 10),
            islands=2,
            migrate_every=trials // 8,
        )
        seen: list[tuple[float, int]] = []

        def note(progress: Any, seen: Any = seen) -> None:
            seen.append((time.perf_counter(), progress.done))

        with tempfile.TemporaryDirectory() as study:
            spent = processor()
            found = rs.search(objective, space, strategy, trials=trials, study=study, progress=note)
            spent = processor() - spent
            workers = [name.split(":")[1] for name in found.trials["worker"].unique().to_pylist()]
            bred = sum(processor(int(pid)) for pid in workers)  # importing numpy included
        half = next(i for i, (_, done) in enumerate(seen) if done >= trials // 4)
        seconds, found = (b - a for a, b in zip(seen[half], seen[-1], strict=True))
        print(
            f"{objective.__name__:5} {trials:9,} trials: {found / seconds:12,.0f} a second, "
            f"processor ns a trial: driver {spent / trials * 1e9:5.0f}, workers "
            f"{bred / trials * 1e9:5.0f}"
        )


def shares(options: argparse.Namespace) -> None:
    """What a trial of vectorized islands costs, step by step, in one process: medians in ns."""
    import pickle
    from dataclasses import replace

    import raysearch as rs
    from raysearch.engine import stretch
    from raysearch.engine.archipelago import Archipelago
    from raysearch.engine.evaluate import evaluate
    from raysearch.engine.objective import examine
    from raysearch.engine.outcomes import outcome_of
    from raysearch.engine.records import Job, Objectives, Trials
    from raysearch.engine.work import Work, results_of
    from raysearch.log import Rows, StudyLog
    from raysearch.log.segment import encode_frame, encode_header

    @rs.vectorized
    def many(columns: Any) -> Any:
        return columns["a"] ** 2 + columns["b"] ** 2 + columns["c"] ** 2 + columns["d"] ** 2

    space, losses = (
        rs.Space({name: rs.Float(-1, 1) for name in "abcd"}),
        Objectives(("loss",), (False,)),
    )
    herd = rs.GeneticAlgorithm(population=50_000, elite=5_000)
    islands = rs.Islands(herd, islands=2, migrate_every=10**9)
    job, signature = Job(many, space, losses, 0, islands=islands), examine(many)
    spec = {"space": space.to_json(), "metric": {"loss": "min"}, "seed": 0}
    spent: dict[str, list[float]] = {}

    def step(name: str, what: Any, k: int) -> Any:
        start = time.thread_time_ns()
        found = what()
        spent.setdefault(name, []).append((time.thread_time_ns() - start) / k)
        return found

    def aside(buffer: pickle.PickleBuffer) -> None:
        bytes(buffer)  # as Ray copies it into its store

    def run(alone: Any) -> Any:
        trials = Trials(alone.number, space.decode(alone.x))
        results = evaluate(job, signature, trials)
        outcome = outcome_of(losses, results, trials.columns, space)
        return trials, results, space.encode(trials.columns), outcome

    value = Archipelago(islands, space, losses, 0).values()[0]
    with (
        tempfile.TemporaryDirectory() as study,
        StudyLog.open(study, space, spec, resume=False) as log,
    ):
        for _ in range(11):
            alone, parts = stretch.unpack(value, islands, space), []
            for _ in range(4):  # generations
                k = herd.population
                alone = step("ask", lambda a=alone: stretch.with_points(islands, a), k)
                trials, results, x, outcome = step("run", lambda a=alone: run(a), k)
                told = (islands, alone, x, outcome)
                alone = step("tell", lambda told=told: stretch.told(*told), k)
                parts.append((trials, results))
            k, value = 4 * k, stretch.pack(alone)
            parts = step("join", lambda parts=parts: tuple(stretch._joined(parts)), k)
            step("send", lambda p=parts: pickle.dumps(p, 5, buffer_callback=aside), k)
            trials, results = parts[0]
            work = replace(Work.new(trials, 1), submitted=1)
            finished = step("receive", lambda w=work, r=results: results_of(w, r, 1), k)
            batch = step("rows", lambda f=finished: Rows(space).to_batch(f), k)
            marked = (*encode_header(batch.schema, {}), batch, 0, 0)
            frame, _ = step("encode", lambda m=marked: encode_frame(*m), k)
            step("rows, encode, write, sync", lambda f=finished: log.append([f]), k)
    for name, found in spent.items():
        print(f"{name:26} {statistics.median(found):6.0f}")
    print(f"{len(frame) / k:.0f} bytes a trial")


def sphere(x: Any) -> Any:
    return np.einsum("kd,kd->k", x, x)


def evolve(options: argparse.Namespace) -> None:
    """Generations a second in 10^6 dimensions, and what an actor has in memory."""
    import ray

    import raysearch as rs

    class Sphere:
        def __init__(self) -> None:
            self.pid = os.getpid()

        def __call__(self, x: Any) -> Any:
            with open(f"{folder}/{self.pid}", "w", encoding="utf-8"):
                return sphere(x)

    ray.init(num_cpus=max(options.actors), include_dashboard=False, logging_level="ERROR")
    for method in ("snes", "pgpe"):
        for actors in options.actors:
            with tempfile.TemporaryDirectory() as folder:
                times, spent = [], []
                run = rs.evolve(
                    Sphere, np.ones(D, np.float32), method=method, population=options.population,
                    step=0.01, actors=actors, generations=options.generations,
                )  # fmt: skip
                start = time.perf_counter()
                for _ in run:
                    times.append(time.perf_counter() - start)
                    pids = [int(name) for name in os.listdir(folder)]
                    spent.append(processor() + sum(map(processor, pids)))
                    memory = max(map(peak, pids))
                    start = time.perf_counter()
            print(
                f"{method} population {options.population}, {actors} actors: "
                f"{1 / statistics.median(times[1:]):.2f} generations/s (best "
                f"{1 / min(times[1:]):.2f}), {(spent[-1] - spent[0]) / (len(spent) - 1):.2f} "
                f"processor s a generation, {memory:.0f} MB an actor",
                flush=True,
            )


def evotorch(options: argparse.Namespace) -> None:
    """The same with EvoTorch, in one process with two threads."""
    import torch
    from evotorch import Problem
    from evotorch.algorithms import PGPE, SNES

    torch.set_num_threads(2)
    problem = Problem(
        "min", lambda x: (x**2).sum(dim=-1), solution_length=D, initial_bounds=(1, 1),
        vectorized=True, dtype=torch.float32,
    )  # fmt: skip
    for name, search in (
        ("snes", SNES(problem, stdev_init=0.01, popsize=options.population)),
        (
            "pgpe",
            PGPE(
                problem, stdev_init=0.01, popsize=options.population, center_learning_rate=0.0025,
                stdev_learning_rate=0.1, ranking_method="centered",
            ),
        ),
    ):  # fmt: skip
        times, spent = [], processor()
        for _ in range(options.generations):
            start = time.perf_counter()
            search.step()
            times.append(time.perf_counter() - start)
        print(
            f"{name} population {options.population}: {1 / statistics.median(times[1:]):.2f} "
            f"generations/s (best {1 / min(times[1:]):.2f}), "
            f"{(processor() - spent) / len(times):.2f} processor s a generation",
            flush=True,
        )


def stragglers(options: argparse.Namespace) -> None:
    """How busy workers are where 95 of 100 trials differ tenfold in how long they take."""
    import raysearch as rs
    from raysearch import simulate

    space = {f"x{i}": rs.Float(-1, 1) for i in range(5)}

    def one(config: Any) -> Any:
        return sum(value**2 for value in config.values())

    def two(config: Any) -> Any:
        return {"loss": one(config), "first": config["x0"]}

    for strategy in (
        rs.CMAES(),
        rs.DifferentialEvolution(),
        rs.GeneticAlgorithm(),
        rs.NSGA2(),
        rs.EvolutionStrategy(),
        rs.Islands(),
    ):
        several = isinstance(strategy, rs.NSGA2)
        busy = [
            simulate.run(
                two if several else one, space, strategy, workers=workers, time_limit=3600,
                duration=simulate.LogNormal(60, math.log(10) / 4),
                metric={"loss": "min", "first": "min"} if several else "loss",
            ).utilisation
            for workers in (4, 16, 64)
        ]  # fmt: skip
        print(f"{type(strategy).__name__:24}", *(f"{100 * share:.1f} %" for share in busy))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["islands", "shares", "evolve", "evotorch", "stragglers"])
    parser.add_argument("--trials", type=int, default=2_000_000)
    parser.add_argument("--population", type=int, default=256)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--generations", type=int, default=6)
    arguments = parser.parse_args()
    globals()[arguments.what](arguments)
