"""What one driver holds: slots, trials a second, reports a second. For docs/scale.md.

    python scripts/bench/scale.py nodes --nodes 8 --slots 12   # Ray, many small machines in one
    python scripts/bench/scale.py costs                        # a local Ray with 2 CPUs
    python scripts/bench/scale.py draw docs/images/scale.png   # in virtual time, as measured

Prints one line a figure. Costs are processor time of the driver's process, Ray's threads in it
included, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 1.0  # that a trial takes on many machines
ROUNDS = 15  # of trials that each slot runs there
LEAST = 4 * 2**30  # bytes of memory that are left to others
TASK = 0.002  # seconds of the driver for each task, as `costs` has measured


def sleeps(config: Mapping[str, Any]) -> float:
    time.sleep(SECONDS)
    return float(config["x"])


def does_nothing(config: Mapping[str, Any]) -> float:
    return float(config["x"])


def alone() -> None:
    """A task of Ray's with nothing of ours."""


def reports(config: Mapping[str, Any]) -> Iterator[float]:
    end = time.perf_counter() + 5.0
    while time.perf_counter() < end:
        yield config["x"]


def search(objective: Callable[..., Any], address: str | None, **options: Any) -> Any:
    """The study, and the processor time that this process has taken meanwhile."""
    import raysearch as rs

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        space = {"x": rs.Float(0, 1)}
        options |= {"study": f"{folder}/study", "progress": False, "address": address}
        before = time.process_time()
        study = rs.search(objective, space, rs.RandomSearch(), **options)
        return study.trials, study.reports, time.process_time() - before


def memory() -> int:
    """Bytes that are free, or can be made so."""
    text = Path("/proc/meminfo").read_text()
    return int(text.partition("MemAvailable:")[2].split()[0]) * 1024


def nodes(count: int, slots: int) -> None:
    """A search over so many machines with so many slots each, all of them on this one."""
    from ray.cluster_utils import Cluster

    size = {"object_store_memory": 80_000_000}
    head = {"num_cpus": 0, "include_dashboard": False, **size}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=slots, **size)
        spent: list[tuple[float, float]] = []

        def watch(trials: Any) -> bool:
            spent.append((time.time(), time.process_time()))
            return memory() < LEAST

        trials, _, _ = search(
            sleeps, cluster.address, trials=count * slots * ROUNDS, callbacks=[watch]
        )
    finally:
        cluster.shutdown()
    started, finished = (
        trials[name].cast("int64").to_numpy() / 1e9 for name in ("started", "finished")
    )
    first = {}
    for worker, begin in zip(trials["worker"].to_pylist(), started, strict=True):
        first[worker] = min(begin, first.get(worker, begin))
    begin, end = max(first.values()), np.sort(started)[-count * slots]  # all are up; none ends
    inside = np.clip(np.minimum(finished, end) - np.maximum(started, begin), 0, None)
    busy = inside.sum() / (count * slots * (end - begin))
    order = np.lexsort((started, trials["worker"].to_numpy(zero_copy_only=False)))
    worker = trials["worker"].to_numpy(zero_copy_only=False)[order]
    submitted = trials["submitted"].cast("int64").to_numpy()[order] / 1e9
    ready = submitted[1:] < finished[order][:-1]  # when the one before it had ended
    ready = ready[worker[1:] == worker[:-1]]
    begun, ended = np.interp([begin, end], *np.array(spent).T)
    done = int(((begin < finished) & (finished < end)).sum())
    print(
        f"{count} machines, {count * slots} slots, {len(first)} workers, {done} trials of "
        f"{SECONDS:g} s in {end - begin:.1f} s: {busy:.1%} busy; {ready.mean():.1%} were handed "
        f"out before their slot was free; driver "
        f"{1e3 * (ended - begun) / done:.2f} ms a trial, load {os.getloadavg()[0]:.0f}"
    )


def costs() -> None:
    """Of a task of Ray's alone, of a trial in a batch or by itself, and of a report."""
    import ray

    from raysearch.engine import loop

    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    bare = ray.remote(alone).options(max_retries=0, enable_task_events=False)
    ray.get([bare.remote() for _ in range(200)])
    before = time.process_time()
    for _ in range(10):
        ray.get([bare.remote() for _ in range(200)])
    print(f"a task of Ray's without anything of ours: {(time.process_time() - before) / 2:.2f} ms")
    search(does_nothing, None, trials=20_000)
    _, _, few = search(does_nothing, None, trials=20_000)
    _, _, many = search(does_nothing, None, trials=220_000)
    print(f"a trial in a batch: {1e6 * (many - few) / 200_000:.1f} us")
    batches, loop._MAX_BATCH = loop._MAX_BATCH, 1
    _, _, few = search(does_nothing, None, trials=500)
    trials, _, many = search(does_nothing, None, trials=4500)
    told = trials["told"].cast("int64").to_numpy() / 1e9
    print(
        f"a trial in a task of its own: {1e3 * (many - few) / 4000:.2f} ms, "
        f"{4500 / (told[-1] - told[0]):.0f} a second"
    )
    loop._MAX_BATCH = batches
    _, _, none = search(reports, None, trials=2)  # both workers begin with this
    _, found, spent = search(reports, None, trials=6)
    kept = len(found) * 2 / 3
    print(f"a report: {1e6 * (spent - none) / kept:.1f} us, {kept / 10:.0f} kept a second")


def share(slots: int, seconds: float) -> float:
    """How busy so many slots are, in virtual time, the driver's work and Ray's included."""
    import raysearch as rs
    from raysearch import simulate

    def value(columns: Any) -> Any:
        return columns["x"]

    return simulate.run(
        rs.vectorized(value),
        {"x": rs.Float(0, 1)},
        rs.RandomSearch(),
        workers=slots,
        time_limit=8 * (seconds + slots * TASK),  # eight times what it takes to fill them once
        duration=simulate.LogNormal(seconds, 0.5),
        resolution=seconds / 1000,
        dispatch=TASK,
    ).utilisation


def draw(picture: Path) -> None:
    """How busy slots are against their number, for trials of several lengths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), dpi=100, layout="constrained")
    panel = figure.subplots()
    slots = [100, 300, 1000, 3000, 10_000]
    for label, seconds in {"1 s": 1.0, "10 s": 10.0, "1 min": 60.0}.items():
        shares = [100 * share(n, seconds) for n in slots]
        print(label, " ".join(f"{s:.1f}" for s in shares), flush=True)
        panel.plot(slots, shares, ".-", label=f"trials of {label}")
    panel.set(xscale="log", xlabel="slots of one driver", ylabel="% of their time in trials")
    panel.set(ylim=(0, 103))
    panel.grid(alpha=0.3)
    panel.legend()
    figure.savefig(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["nodes", "costs", "draw"])
    parser.add_argument("picture", type=Path, nargs="?", default=Path("scale.png"))
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--slots", type=int, default=12, help="of each machine")
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    match arguments.what:
        case "nodes":
            nodes(arguments.nodes, arguments.slots)
        case "costs":
            costs()
        case "draw":
            draw(arguments.picture)


if __name__ == "__main__":
    sys.exit(main())
