"""Generators that report: how many reports a second, and how soon a strategy's word counts.

    python scripts/bench/reports.py

On a local Ray with 2 CPUs, with a study on disk. Prints one line a figure; medians where
something happens more than once.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

CPUS = 2
SECONDS = 5.0  # that a trial reports
STOPS = 12  # trials that are stopped early, of each kind


def at_full_speed(config: Mapping[str, Any]) -> Iterator[Any]:
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        yield config["x"]


def at_100_hertz(config: Mapping[str, Any]) -> Iterator[Any]:
    begin = time.perf_counter()
    for k in range(1, int(100 * SECONDS) + 1):
        time.sleep(max(0.0, begin + k / 100 - time.perf_counter()))
        yield config["x"]


def in_python(config: Mapping[str, Any]) -> Iterator[Any]:
    yield time.time()
    end = time.perf_counter() + 60
    while time.perf_counter() < end:
        sum(range(1000))
    yield time.time()


def in_sleep(config: Mapping[str, Any]) -> Iterator[Any]:
    yield time.time()
    time.sleep(60)
    yield time.time()


def in_one_that_does_not_listen(config: Mapping[str, Any]) -> Iterator[Any]:
    yield time.time()
    end = time.perf_counter() + 60
    while time.perf_counter() < end:
        with suppress(BaseException):
            time.sleep(0.01)
    yield time.time()


def stopping() -> tuple[Any, list[tuple[float, float]]]:
    """A strategy that stops every trial at its first step; when each had reported, and when
    that was decided: the losses are times."""
    from raysearch.strategies.random import RandomSearch

    heard: list[tuple[float, float]] = []

    @dataclass(frozen=True)
    class Stopping(RandomSearch):
        def rungs(self) -> tuple[float, ...]:
            return (1.0,)

        def max_pending(self, state: Any, slots: int) -> int:
            return slots

        def report(self, state: Any, batch: Any, rung: Any, loss: Any) -> Any:
            heard.append((float(loss[0, 0]), time.time()))
            return state, np.ones(len(batch), dtype=bool)

    return Stopping(), heard


def search(objective: Callable[..., Any], strategy: Any, **options: Any) -> Any:
    import raysearch as rs

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        space = {"x": rs.Float(0, 1)}
        place = f"{folder}/study"
        study = rs.search(objective, space, strategy, study=place, progress=False, **options)
        return study.trials, study.reports


def rate(name: str, objective: Callable[..., Any], at_once: int) -> None:
    """Reports of so many trials at once; workers are up before it counts."""
    import raysearch as rs

    cpus = {"num_cpus": CPUS / at_once}
    options = {"trials": 2 * at_once, "concurrency": at_once, "ray_options": cpus}
    trials, reports = search(objective, rs.RandomSearch(), **options)
    number, step = (reports[column].to_numpy() for column in ("number", "step"))
    late = np.isin(number, trials["number"].to_numpy()[-at_once:])
    rows = trials.slice(len(trials) - at_once)
    first, last = rows["started"].to_pylist(), rows["told"].to_pylist()
    seconds = (max(last) - min(first)).total_seconds()
    made = sum(step[number == n].max() for n in np.unique(number[late]))
    kept = int(late.sum())
    print(
        f"{name}, {at_once} at once: {made / seconds:,.0f} made a second, {kept / seconds:,.0f} "
        f"kept a second, {kept / made:.1%} of them"
    )


def stops(name: str, objective: Callable[..., Any]) -> None:
    strategy, heard = stopping()
    trials, _ = search(objective, strategy, trials=STOPS, concurrency=1)
    started = sorted(at.timestamp() for at in trials["started"].to_pylist())
    begun, decided = zip(*heard, strict=True)
    judged = [1e3 * (b - a) for a, b in heard]
    busy = [after - before for before, after in zip(decided[:-1], started[1:], strict=True)]
    assert len(begun) == STOPS
    print(
        f"{name}: decided after {median(judged):.1f} ms (most {max(judged):.1f}), "
        f"slot busy again after {median(busy):.3f} s (most {max(busy):.3f})"
    )


def main() -> None:
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=CPUS, include_dashboard=False, logging_level=logging.ERROR)
    rate("as fast as they can", at_full_speed, CPUS)
    rate("at 100 Hz", at_100_hertz, CPUS)
    rate("at 100 Hz", at_100_hertz, 16)
    stops("in Python code", in_python)
    stops("in time.sleep", in_sleep)
    stops("that does not listen", in_one_that_does_not_listen)


if __name__ == "__main__":
    main()
