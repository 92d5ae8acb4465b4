"""How good the best of so many trials is: strategies and peers on synthetic tasks.

    python scripts/bench/quality.py [--tasks tuning] [--only tpe optuna-tpe] [--seeds 5]
        [--pending 8] [--families mixed]

Tasks for tuning and tasks for the report have other functions, and other seeds, which shift the
optima. Regret is that of the best point's loss without noise, over that of the median of 1,001
random points, and at most 1; ranks are among competitors on the same task and seed. Intervals
are of 95 %, by a bootstrap over tasks and seeds. With --pending, that many trials run at once,
for random times. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
from typing import Any

import numpy as np
from quality_competitors import COMPETITORS
from quality_tasks import TASKS, Task

import raysearch as rs

MARKS = (25, 50, 100, 200)


def searched(make: Any, task: Task, seed: int, pending: int) -> tuple[np.ndarray, float]:
    """Best regret at each of MARKS, (4,); and seconds per suggestion."""
    problem = task.build(seed)
    rng = np.random.default_rng([seed, 1])
    competitor, spent = make(problem.space, seed, task.constrained), 0.0
    running: list[tuple[float, int, Any, Any]] = []
    best, curve, now = math.inf, [], 0.0
    for number in range(MARKS[-1] + pending - 1):
        if number < MARKS[-1]:
            start = time.process_time()
            token, config = competitor.ask()
            spent += time.process_time() - start
            duration = rng.lognormal(0, 0.5) if pending > 1 else 1.0
            heapq.heappush(running, (now + duration, number, token, config))
        if number < pending - 1:
            continue
        now, _, token, config = heapq.heappop(running)
        loss, broken = problem(config)
        if broken <= 0:
            best = min(best, loss)
        curve.append(best)
        start = time.process_time()
        competitor.tell(token, loss + task.noise * problem.scale * rng.standard_normal(), broken)
        spent += time.process_time() - start
    regret = np.minimum(np.array(curve)[[mark - 1 for mark in MARKS]] / problem.scale, 1.0)
    return regret, spent / MARKS[-1]


def interval(values: np.ndarray, rng: np.random.Generator) -> str:
    """Mean of (n,) with its interval by bootstrap."""
    means = values[rng.integers(len(values), size=(1000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def ranks(regret: np.ndarray) -> np.ndarray:
    """Ranks along the first axis, from 1; equals share the mean of theirs."""
    less = (regret[:, None] > regret[None]).sum(axis=1)
    same = (regret[:, None] == regret[None]).sum(axis=1)
    return 1 + less + (same - 1) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", choices=["tuning", "report"], default="tuning")
    parser.add_argument("--only", nargs="+", default=list(COMPETITORS))
    parser.add_argument("--families", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pending", type=int, default=1)
    args = parser.parse_args()
    makers = {name: make for name in args.only if (make := COMPETITORS[name]()) is not None}
    tasks = [t for t in TASKS[args.tasks] if not args.families or t.family in args.families]
    first = 0 if args.tasks == "tuning" else 1000
    table = np.empty((len(makers), len(tasks), args.seeds, len(MARKS)))
    seconds = np.empty(table.shape[:3])
    for c, make in enumerate(makers.values()):
        for t, task in enumerate(tasks):
            for s in range(args.seeds):
                table[c, t, s], seconds[c, t, s] = searched(make, task, first + s, args.pending)
    print(f"raysearch {rs.__version__}, {args.tasks}, {len(tasks)} tasks, {args.seeds} seeds")
    rng, rank = np.random.default_rng(0), ranks(table)
    for title, values in (("regret", table), ("rank", rank)):
        print(f"\n| {title} |", " | ".join(f"{mark} trials" for mark in MARKS), "| ms |")
        print("|---|" + "---:|" * (len(MARKS) + 1))
        for c, name in enumerate(makers):
            cells = [interval(values[c, :, :, m].ravel(), rng) for m in range(len(MARKS))]
            print(f"| {name} |", " | ".join(cells), f"| {1000 * seconds[c].mean():.2f} |")
    print("\nmean regret at the last mark, by task")
    for t, task in enumerate(tasks):
        cells = [
            f"{name} {value:.4f}"
            for name, value in zip(makers, table[:, t, :, -1].mean(axis=1), strict=True)
        ]
        print(f"{task.family:12} {task.name:20}", ", ".join(cells))


if __name__ == "__main__":
    main()
