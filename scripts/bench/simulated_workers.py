"""How busy one driver keeps so many workers: the table and the picture in docs/simulation.md.

Virtual workers, the driver's real work. Trials take a median of so long (log-normal, spread
0.5), the search 20 medians (5 with 10,000 workers and long trials, unless it waits). Where
trials have budgets, that is what the lowest of three rungs takes, and the higher ones take
three and nine times as long.

    python scripts/bench/simulated_workers.py [--workers 1 10 100]
    python scripts/bench/simulated_workers.py --draw docs/simulation.md docs/images/simulation.png
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import raysearch as rs
from raysearch import simulate

SPACE = rs.Space(
    {
        "lr": rs.Float(1e-5, 1e-1, log=True),
        "hidden": rs.Int(32, 256, log=True),
        "dropout": rs.Float(0.0, 0.5),
        "optimizer": rs.Choice(["sgd", "adam"]),
    }
)
MEDIANS = {"0.1 s": 0.1, "10 s": 10.0, "10 min": 600.0}


@rs.vectorized
def bowl(columns: Any) -> Any:
    return (columns["dropout"] - 0.2) ** 2 + columns["lr"]


def strategies(workers: int) -> list[Any]:
    """Those that are compared; successive halving with a bracket that fills all workers."""
    return [
        rs.RandomSearch(),
        rs.QuasiRandom(),
        rs.LocalSearch(),
        rs.SimulatedAnnealing(),
        rs.ASHA(max_budget=9),
        rs.Hyperband(max_budget=9),
        rs.SuccessiveHalving(max_budget=9, points=max(9, workers)),
    ]


def utilisation(strategy: Any, workers: int, median: float) -> float:
    waits = isinstance(strategy, rs.SuccessiveHalving)  # for the last of many
    medians = 5 if workers >= 10_000 and median > 1 and not waits else 20
    return simulate.run(
        bowl,
        SPACE,
        strategy,
        workers=workers,
        time_limit=medians * median,
        duration=simulate.LogNormal(median, 0.5),
        charge_driver=True,
    ).utilisation


def measure(workers: list[int]) -> None:
    """Print the table."""
    print("| strategy | trial |", " | ".join(f"{n:,}" for n in workers), "|")
    print("|---|---|" + "---:|" * len(workers))
    for same in zip(*map(strategies, workers), strict=True):
        for trial, median in MEDIANS.items():
            shares = [utilisation(s, n, median) for s, n in zip(same, workers, strict=True)]
            row = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(f"| {type(same[0]).__name__} | {trial} | {row} |", flush=True)


def draw(document: Path, picture: Path) -> None:
    """One panel for each length of trials in the document's table, one line for each strategy."""
    from matplotlib.figure import Figure

    text = document.read_text("utf-8")
    head = re.search(r"^\| strategy \| trial \| (.*) \|$", text, re.M)
    assert head is not None, f"{document} has no table of this program"
    workers = [int(cell.replace(",", "")) for cell in head[1].split(" | ")]
    rows = re.findall(r"^\| (\w+) \| ([\w. ]+) \| (.* % .*) \|$", text, re.M)
    trials = list(dict.fromkeys(trial for _, trial, _ in rows))
    figure = Figure(figsize=(9, 3), dpi=100, layout="constrained")
    panels = dict(zip(trials, figure.subplots(1, len(trials), sharey=True), strict=True))
    for name, trial, cells in rows:
        shares = [float(cell.removesuffix(" %").replace("–", "nan")) for cell in cells.split(" | ")]
        panels[trial].plot(workers, shares, ".-", label=name)
    for trial, panel in panels.items():
        panel.set(xscale="log", xlabel="workers", title=f"trials of {trial}", ylim=(0, 103))
        panel.grid(alpha=0.3)
    first = panels[trials[0]]
    first.set(ylabel="% of their time in trials")
    figure.legend(*first.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--draw", type=Path, nargs=2, metavar=("DOCUMENT", "PICTURE"))
    arguments = parser.parse_args()
    if arguments.draw:
        draw(*arguments.draw)
    else:
        measure(arguments.workers)


if __name__ == "__main__":
    main()
