"""How many trials a second, how busy the slots, how much memory: ours and the peers'.

Each peer gets the same four mixed parameters and an objective that does nothing, and is
timed in a process of its own, in turn with ours, several rounds; medians count. A peer
that is not installed is left out.

    python scripts/bench/throughput.py [--rounds 3] [noop sleep memory start]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPUS = 2


def space() -> Any:
    import raysearch as rs

    return rs.Space(
        {
            "lr": rs.Float(1e-5, 1e-1, log=True),
            "hidden": rs.Int(32, 256, log=True),
            "dropout": rs.Float(0.0, 0.5),
            "optimizer": rs.Choice(["sgd", "adam"]),
        }
    )


def nothing(config: Any) -> float:
    return 0.0


def wait_10ms(config: Any) -> float:
    time.sleep(0.01)
    return 0.0


def wait_1s(config: Any) -> float:
    time.sleep(1.0)
    return 0.0


def boot_ray() -> None:
    import logging

    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=CPUS, include_dashboard=False, logging_level=logging.ERROR)


def ours(objective: Callable[..., Any], trials: int, **options: Any) -> float:
    """Seconds of one search with a durable log, Ray being up."""
    import raysearch as rs

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        begin = time.perf_counter()
        study = rs.search(
            objective,
            space(),
            rs.RandomSearch(),
            trials=trials,
            study=f"{folder}/study",
            progress=False,
            **options,
        )
        seconds = time.perf_counter() - begin
        assert len(study) == trials, len(study)
    return seconds


# --- what is measured; each runs in a process of its own and prints one number ---------------


def noop_raysearch() -> float:
    boot_ray()
    ours(nothing, 20_000)  # workers are up
    return 1_000_000 / ours(nothing, 1_000_000)


def noop_ray_tasks() -> float:
    """The plain loop: one Ray task a trial, a window of 16."""
    import ray

    boot_ray()
    task = ray.remote(nothing)

    def loop(trials: int) -> float:
        import random

        begin = time.perf_counter()
        pending, results, best = [], [], None
        for _ in range(trials):
            config = {
                "lr": 10 ** random.uniform(-5, -1),
                "hidden": random.randint(32, 256),
                "dropout": random.uniform(0, 0.5),
                "optimizer": random.choice(["sgd", "adam"]),
            }
            pending.append(task.remote(config))
            if len(pending) == 16:
                ready, pending = ray.wait(pending, num_returns=1)
                results += ray.get(ready)
        results += ray.get(pending)
        best = min(results)
        assert best == 0.0
        return time.perf_counter() - begin

    loop(200)
    return 3000 / loop(3000)


def noop_ray_tune() -> float:
    from ray import tune

    boot_ray()

    def objective(config: Any) -> Any:
        return {"loss": 0.0}

    parameters = {
        "lr": tune.loguniform(1e-5, 1e-1),
        "hidden": tune.lograndint(32, 257),
        "dropout": tune.uniform(0.0, 0.5),
        "optimizer": tune.choice(["sgd", "adam"]),
    }

    def run(trials: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            tuner = tune.Tuner(
                objective,
                param_space=parameters,
                tune_config=tune.TuneConfig(num_samples=trials, metric="loss", mode="min"),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            )
            begin = time.perf_counter()
            tuner.fit()
            return time.perf_counter() - begin

    return 32 / run(32)


def _optuna_like(package: Any, trials: int) -> float:
    def objective(trial: Any) -> float:
        trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        trial.suggest_int("hidden", 32, 256, log=True)
        trial.suggest_float("dropout", 0.0, 0.5)
        trial.suggest_categorical("optimizer", ["sgd", "adam"])
        return 0.0

    study = package.create_study(sampler=package.samplers.RandomSampler(seed=0))
    begin = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return trials / (time.perf_counter() - begin)


def noop_optuna() -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return _optuna_like(optuna, 5000)


def noop_rustuna() -> float:
    import rustuna

    return _optuna_like(rustuna, 200_000)


def sleep_10ms_share() -> float:
    """Share of what the slots could do at best: trials x 10 ms / slots."""
    boot_ray()
    ours(wait_10ms, 200)
    return 4000 * 0.01 / CPUS / ours(wait_10ms, 4000)


def sleep_1s_share() -> float:
    boot_ray()
    ours(wait_1s, 4)
    return 60 * 1.0 / CPUS / ours(wait_1s, 60)


def memory_growth_mb() -> float:
    """By how much the driver's peak memory grows over a million trials."""
    boot_ray()
    ours(nothing, 100_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(nothing, 1_000_000)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def memory_last_tenth() -> float:
    """Speed of the last 100,000 of a million trials over that of the second 100,000."""
    import raysearch as rs

    boot_ray()
    told: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        rs.search(
            nothing,
            space(),
            rs.RandomSearch(),
            trials=1_000_000,
            study=f"{folder}/study",
            progress=lambda p: told.append((p.done, time.perf_counter())),
        )

    def when(done: int) -> float:
        return next(t for d, t in told if d >= done)

    return (when(200_000) - when(100_000)) / (when(1_000_000) - when(900_000))


def start_first_trial_s() -> float:
    """From the call of search to the first trial's first line, Ray being up."""
    import raysearch as rs

    boot_ray()
    begin = time.time_ns()
    study = rs.search(nothing, space(), trials=1, progress=False)
    started = study.trials["started"][0].value
    return (started - begin) / 1e9


def start_import_s() -> float:
    def python(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - begin

    return python("import raysearch; raysearch.Space; raysearch.Float") - python("pass")


def start_help_s() -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "raysearch.cli", "--help"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begin


NEEDS = {"noop_ray_tune": "pandas", "noop_optuna": "optuna", "noop_rustuna": "rustuna"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("groups", nargs="*", default=["noop", "sleep", "memory", "start"])
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(globals()[arguments.one]()))
        return
    names = [
        name
        for name in globals()
        if name.partition("_")[0] in arguments.groups
        and importlib.util.find_spec(NEEDS.get(name, "sys"))
    ]
    measured: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            command = [sys.executable, __file__, "--one", name]
            out = subprocess.run(command, capture_output=True, text=True, check=False)
            if out.returncode:
                print(f"{name} failed:\n{out.stderr[-2000:]}", file=sys.stderr)
                continue
            measured[name].append(json.loads(out.stdout.strip().rpartition("\n")[2]))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, values in measured.items():
        if values:
            spread = f"({min(values):.4g} to {max(values):.4g})"
            print(f"{name:24s} {statistics.median(values):12.4g}  {spread}")


if __name__ == "__main__":
    main()
