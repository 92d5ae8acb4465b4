"""How good the best of so many trials is: strategies and peers on equal tasks and seeds.

    python scripts/bench/quality.py run [--tasks tuning] [--only gp optuna-tpe] [--seeds 3]
        [--pending 1 8] [--trials 200] [--families mixed]
    python scripts/bench/quality.py report [the same] [--plot docs/images/quality.png]

`run` searches and keeps each search as a file below --results, which it does not repeat; so it
may be stopped, and peers that do not go together be run in environments of their own. Those that
are not installed are named and left out. `report` prints tables of what is there, without
repeating anything: over those searches that all competitors named have.

Tasks for tuning and tasks for the report are apart: other functions or data, and other seeds.
Regret is that of the best point's loss without noise, over that of the median of 1,001 random
points, and at most 1; ranks are among competitors on the same task and seed. Intervals are of
95 %, by a bootstrap over tasks and seeds. With 8 pending, that many trials run at once in
simulated time, and take random times (log-normal, 0.5).
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from quality_competitors import COMPETITORS
from quality_report import print_report
from quality_tables import Table
from quality_tasks import TASKS, Task

FIRST_SEED = {"tuning": 0, "wide": 0, "report": 1000}


def searched(make: Any, task: Task | Table, seed: int, pending: int, trials: int) -> dict[str, Any]:
    """Best regret after each trial, seconds of each suggestion, and duplicates proposed."""
    problem = task.build(seed)
    rng = np.random.default_rng([seed, 1])
    competitor = make(problem.space, seed, task.constrained, pending, trials)
    running: list[tuple[float, int, Any, Any]] = []
    best, curve, seconds, now = math.inf, [], [], 0.0
    seen: set[str] = set()
    for number in range(trials + pending - 1):
        if number < trials:
            start = time.process_time()
            token, config = competitor.ask()
            seconds.append(time.process_time() - start)
            seen.add(repr(sorted(config.items())))
            duration = rng.lognormal(0, 0.5) if pending > 1 else 1.0
            heapq.heappush(running, (now + duration, number, token, config))
        if number < pending - 1:
            continue
        now, _, token, config = heapq.heappop(running)
        loss, broken = problem(config)
        if broken <= 0:
            best = min(best, loss)
        curve.append(min(best / problem.scale, 1.0))
        start = time.process_time()
        competitor.tell(token, loss + task.noise * problem.scale * rng.standard_normal(), broken)
        seconds[-1] += time.process_time() - start
    return {"regret": curve, "seconds": seconds, "duplicates": trials - len(seen)}


def run(args: argparse.Namespace, tasks: list[Task | Table]) -> None:
    """Search what has not been searched, seed by seed, so that any part of it is balanced."""
    missing = [name for name in args.only if not importlib.util.find_spec(COMPETITORS[name][0])]
    if missing:
        print("not installed:", ", ".join(missing))
    names = [name for name in args.only if name not in missing]
    first = FIRST_SEED[args.tasks]
    for seed in range(first, first + args.seeds):
        for pending in args.pending:
            for task in tasks:
                for name in names:
                    place = path(args, name, task, seed, pending)
                    if place.exists() and len(read(place)["regret"]) >= args.trials:
                        continue
                    try:
                        found = searched(COMPETITORS[name][1], task, seed, pending, args.trials)
                    except Exception as error:  # of a peer; the others go on
                        print(f"{name} failed on {task.name}: {error!r}", flush=True)
                        continue
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(json.dumps(found))
                    print(
                        f"{name:22}{task.name:20}{seed:5d}{pending:3d} pending"
                        f"{found['regret'][-1]:10.5f}{sum(found['seconds']):8.1f} s",
                        flush=True,
                    )


def path(args: argparse.Namespace, name: str, task: Task | Table, seed: int, pending: int) -> Path:
    return Path(args.results, name, task.name.replace(" ", "-"), f"{seed}-{pending}.json")


def read(place: Path) -> dict[str, Any]:
    return dict(json.loads(place.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--tasks", choices=list(TASKS), default="tuning")
    parser.add_argument("--only", nargs="+", default=list(COMPETITORS), choices=list(COMPETITORS))
    parser.add_argument("--families", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pending", type=int, nargs="+", default=[1])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--results", default="runs/quality")
    parser.add_argument("--plot", help="PNG of the regret after each trial")
    args = parser.parse_args()
    tasks = [t for t in TASKS[args.tasks] if not args.families or t.family in args.families]
    if args.command == "run":
        warnings.simplefilter("ignore")
        run(args, tasks)
        return
    first = FIRST_SEED[args.tasks]
    for pending in args.pending:
        found = {
            (task.name, task.family, seed): {
                name: read(place)
                for name in args.only
                if (place := path(args, name, task, seed, pending)).exists()
            }
            for task in tasks
            for seed in range(first, first + args.seeds)
        }
        print(f"\n{args.tasks}, {pending} pending")
        print_report(found, args.only, args.trials, args.plot)


if __name__ == "__main__":
    main()
