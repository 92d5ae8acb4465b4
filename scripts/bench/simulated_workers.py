"""How busy one driver keeps so many workers: the table in docs/simulation.md.

Virtual workers, the driver's real work. Trials take a median of so long (log-normal, spread
0.5), the search 20 medians.

    python scripts/bench/simulated_workers.py [--workers 1 10 100 1000 10000]
"""

from __future__ import annotations

import argparse
from typing import Any

import raysearch as rs
from raysearch import simulate
from raysearch.report.text import duration

SPACE = rs.Space(
    {
        "lr": rs.Float(1e-5, 1e-1, log=True),
        "hidden": rs.Int(32, 256, log=True),
        "dropout": rs.Float(0.0, 0.5),
        "optimizer": rs.Choice(["sgd", "adam"]),
    }
)


@rs.vectorized
def bowl(columns: Any) -> Any:
    return (columns["dropout"] - 0.2) ** 2 + columns["lr"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000])
    workers = parser.parse_args().workers
    print("| strategy | trial |", " | ".join(f"{n:,}" for n in workers), "|")
    print("|---|---|" + "---:|" * len(workers))
    for strategy in (rs.RandomSearch(), rs.LocalSearch()):
        for median in (0.1, 10.0, 600.0):
            cells = []
            for n in workers:
                found = simulate.run(
                    bowl,
                    SPACE,
                    strategy,
                    workers=n,
                    time_limit=20 * median,
                    duration=simulate.LogNormal(median, 0.5),
                    charge_driver=True,
                )
                cells.append(f"{100 * found.utilisation:.1f} %")
            row = " | ".join(cells)
            print(f"| {type(strategy).__name__} | {duration(median)} | {row} |", flush=True)


if __name__ == "__main__":
    main()
