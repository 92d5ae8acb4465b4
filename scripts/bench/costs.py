"""What it brings to prefer cheap trials, where costs differ: GaussianProcess(cost="seconds").

    python scripts/bench/costs.py [--seeds 6]

A shifted ellipsoid of 4 parameters, of which the first makes a trial last from 10 to 546 s of
simulated time; one worker. Losses are medians over seeds, after so many seconds.
"""

from __future__ import annotations

import argparse

import numpy as np

import raysearch as rs
from raysearch import simulate

SPACE = rs.Space({f"x{i}": rs.Float(0, 1) for i in range(4)})
STRATEGIES = {
    "cost=None": rs.GaussianProcess(),
    'cost="seconds"': rs.GaussianProcess(cost="seconds"),
}


def found(strategy: rs.GaussianProcess, seed: int, seconds: float) -> tuple[float, int]:
    """The least loss in this time, and the number of trials."""
    optimum = np.random.default_rng(seed).uniform(0.2, 0.8, 4)

    def loss(config: dict[str, float]) -> float:
        z = np.array(list(config.values())) - optimum
        return float((z**2 * 10 ** np.linspace(0, 1, 4)).sum())

    def duration(config: dict[str, float]) -> float:
        return 10 * float(np.exp(4 * config["x0"]))

    result = simulate.run(
        loss, SPACE, strategy, workers=1, time_limit=seconds, duration=duration, seed=seed
    )
    return result.study.best.metrics["loss"], len(result.study)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=6)
    seeds = range(parser.parse_args().seeds)
    for seconds in (1500, 3000, 6000):
        for name, strategy in STRATEGIES.items():
            losses, trials = zip(*(found(strategy, seed, seconds) for seed in seeds), strict=True)
            loss, count = np.median(losses), np.median(trials)
            print(f"{seconds} s  {name:16} loss {loss:.1e}, {count:g} trials", flush=True)


if __name__ == "__main__":
    main()
