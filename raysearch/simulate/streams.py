"""Generators in virtual time: run at once, then each step is given its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..engine.objective import Signature
from ..engine.records import Job, Reports, Results, Task
from ..engine.stream import stream
from ..trial import Floats


def run_through(job: Job, signature: Signature, task: Task) -> tuple[list[Reports], Results]:
    """What the generators of a task report, none left out, and what they return at last."""
    *reports, results = stream(job, signature, replace(task, pace=0.0))
    assert isinstance(results, Results)
    return [part for part in reports if isinstance(part, Reports)], results


def lengths(seconds: Floats, reports: Sequence[Reports]) -> Floats:
    """(k,) how long the trials of a task take, from how long a step of each does."""
    rows = [part.row for part in reports]
    steps = np.bincount(np.concatenate(rows), minlength=len(seconds)) if rows else 1
    return seconds * np.maximum(steps, 1)


def timed(
    reports: Sequence[Reports], seconds: Floats, begin: int, worker: str
) -> Iterator[Reports]:
    """The reports, one by one, with the times at which they are made.

    seconds  (k,) how long each trial of the task takes
    begin    of the task, ns since the epoch
    """
    if not reports:
        return
    totals = np.bincount(np.concatenate([part.row for part in reports]), minlength=len(seconds))
    begun, steps = seconds.cumsum() - seconds, np.zeros(len(seconds), dtype=np.int64)
    for part in reports:
        for i, row in enumerate(part.row.tolist()):
            steps[row] += 1
            spent = seconds[row] * steps[row] / totals[row]
            one = part.take(np.array([i]))
            yield replace(
                one,
                time=np.array([begin + round((begun[row] + spent) * 1e9)]),
                seconds=np.array([spent]),
                saved=tuple(
                    saved
                    for saved in part.saved
                    if saved.number == one.number[0] and saved.step == one.step[0]
                ),
                worker=worker,
            )
