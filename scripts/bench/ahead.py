"""How soon a free slot is filled while the strategy thinks: asked ahead, and waited for.

    python scripts/bench/ahead.py [--seconds 0.3] [--slots 4] [--trials 60]

A local Ray; trials sleep for 1 to 1.5 s. `Slow` is random search whose ask takes that many
seconds of waiting; `GaussianProcess` has been told of 500 results, and really computes. Printed
are, in ms, the median and the 95 % quantile from the arrival of a result to the next submission
for its slot; which share of the time slots were in use; and how many results came in between a
trial's being asked for and its start.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import raysearch as rs
from raysearch.report.overhead import LEDGER, overhead
from raysearch.strategies.random import RandomSearch
from raysearch.trial import FOREIGN, Batch, Outcome

SPACE = rs.Space({f"x{i}": rs.Float(0, 1) for i in range(5)})


def objective(config: dict[str, float]) -> float:
    time.sleep(1 + config["x0"] / 2)
    return sum((x - 0.3) ** 2 for x in config.values())


@dataclass(frozen=True)
class Slow(RandomSearch):
    """Random search that takes its time."""

    seconds: float = 0.3
    ahead: bool = True

    def ask(self, state: Any, n: int) -> Any:
        time.sleep(self.seconds)
        return super().ask(state, n)

    def max_pending(self, state: Any, slots: int) -> int:
        return slots

    def asks_slowly(self) -> bool:
        return self.ahead


@dataclass(frozen=True)
class Model(rs.GaussianProcess):
    """A Gaussian process that knows much from the beginning."""

    ahead: bool = True

    def init(self, space: rs.Space, seed: int) -> Any:
        x = np.random.default_rng(0).random((500, space.dim))
        told = Outcome(((x - 0.3) ** 2).sum(axis=1, keepdims=True))
        return self.tell(super().init(space, seed), Batch(x, np.full(len(x), FOREIGN)), told)

    def asks_slowly(self) -> bool:
        return self.ahead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--trials", type=int, default=60)
    args = parser.parse_args()
    for ahead in (False, True):
        for strategy in (Slow(args.seconds, ahead), Model(ahead=ahead)):
            study = rs.search(
                objective,
                SPACE,
                strategy,
                trials=args.trials,
                concurrency=args.slots,
                ray_options={"num_cpus": 0.01},
                address="local",
                progress=False,
            )
            ledger = study.columns(*LEDGER)
            times = {n: np.sort(ledger[n].cast("int64").to_numpy()) for n in LEDGER}
            warm = 2 * args.slots  # workers have started by then
            gap = times["submitted"][warm + args.slots :] - times["told"][warm : -args.slots]
            low, high = np.quantile(gap / 1e6, [0.5, 0.95])
            found = overhead(ledger)
            assert found is not None
            print(
                f"{type(strategy).__name__:6} {'ahead' if ahead else 'waited for':10} "
                f"{low:7.1f} {high:7.1f} ms, in use {found.utilisation:.1%}, "
                f"missed {found.missed:.2f}"
            )


if __name__ == "__main__":
    main()
