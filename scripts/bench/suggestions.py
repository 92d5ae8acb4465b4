"""Suggestions a second of processor time: one at a time (ask and tell), and in a batch.

    OMP_NUM_THREADS=1 python scripts/bench/suggestions.py [--strategies tpe] [--told 1000 10000]

Four parameters, one of each kind; the fastest of 3 rounds, of 300 singles or a batch of 20,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import raysearch as rs
from raysearch.strategies import get
from raysearch.strategies.base import AnyStrategy, State
from raysearch.testing.conformance import SPACES, bowl, told
from raysearch.trial import FOREIGN, Batch

SPACE = SPACES["mixed"]
SINGLES, BATCH = 300, 20_000


def fastest(work: Callable[[], object]) -> float:
    """Least processor time of 3 rounds, in seconds."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def singles(strategy: AnyStrategy, state: State) -> None:
    for _ in range(SINGLES):
        state, batch = strategy.ask(state, 1)
        state = strategy.tell(state, *told(SPACE, batch, bowl))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strategies", nargs="+", default=["tpe"])
    parser.add_argument("--told", type=int, nargs="+", default=[1000, 10_000])
    args = parser.parse_args()
    print(f"raysearch {rs.__version__}\n\n| strategy | told | single/s | batch/s |")
    print("|---|---:|---:|---:|")
    for name in args.strategies:
        strategy = get(name)()
        for n in args.told:
            x = np.random.default_rng(0).random((n, SPACE.dim))
            history = told(SPACE, Batch(x, np.full(n, FOREIGN)), bowl)
            first = strategy.tell(strategy.init(SPACE, 0), *history)

            one = SINGLES / fastest(lambda a=strategy, b=first: singles(a, b))
            many = BATCH / fastest(lambda a=strategy, b=first: a.ask(b, BATCH))
            print(f"| {name} | {n:,} | {one:,.0f} | {many:,.0f} |")


if __name__ == "__main__":
    main()
