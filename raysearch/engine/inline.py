"""Runs trials in this process, one after the other: for debuggers, notebooks and tests."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .evaluate import evaluate
from .objective import examine, ready
from .records import Done, ExecutorEvent, Job, Lost, Reported, Reports, Results, Task
from .stream import stream


class Inline:
    """An executor with one slot: `poll` runs the oldest task to its end, or its next report.

    A breakpoint in the objective works, and Ctrl-C gets through. What ends the process
    ends the search; a trial that hangs is interrupted at its timeout only if it runs
    Python code or waits, and only when the search runs in the main thread.

    Raises ObjectiveError if the objective is a class that cannot be made an instance of.
    """

    interruptible = True

    def __init__(self, job: Job) -> None:
        self._signature = examine(job.objective)
        data = {name: _frozen(v) for name, v in job.data.items()}
        objective = ready(job.objective, data, device := _device())
        self._job = replace(job, objective=objective, data=data, device=device)
        self._tasks: deque[Task] = deque()
        self._cancelled: list[ExecutorEvent] = []
        self._stream: Iterator[Reports | Results] | None = None  # of the oldest task, begun

    def slots(self) -> int:
        """One."""
        return 1

    def submit(self, task: Task) -> None:
        """Put the task last in the queue."""
        self._tasks.append(task)

    def cancel(self, task: int) -> None:
        """Take the task out of the queue, or end its generator between two steps."""
        if self._stream is not None and self._tasks[0].id == task:
            self._tasks.popleft()
            self._end()
            self._cancelled.append(Lost(task, "cancelled", "between two steps"))
        elif any(waiting.id == task for waiting in self._tasks):
            self._tasks = deque(waiting for waiting in self._tasks if waiting.id != task)
            self._cancelled.append(Lost(task, "cancelled", "before it began"))

    def poll(self, timeout: float) -> Sequence[ExecutorEvent]:
        """Run one task, however long it takes; without one, wait in vain."""
        if self._cancelled:
            events, self._cancelled = self._cancelled, []
            return events
        if not self._tasks:
            time.sleep(timeout)
            return []
        task = self._tasks[0]
        if not self._signature.reports:
            results: Reports | Results = evaluate(self._job, self._signature, task.trials)
        else:
            self._stream = self._stream or stream(self._job, self._signature, task)
            results = next(self._stream)
        if isinstance(results, Reports):
            return [Reported(task.id, results)]
        self._tasks.popleft()  # only now: Ctrl-C leaves it in the queue
        self._end()
        return [Done(task.id, results)]

    def close(self) -> None:
        """Forget what waits."""
        self._tasks.clear()
        self._end()

    def _end(self) -> None:
        running, self._stream = self._stream, None
        if isinstance(running, Generator):
            running.close()


def _device() -> str:
    """What torch and others would take by default."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    return "cuda:0" if visible and os.path.exists("/dev/nvidiactl") else "cpu"


def _frozen(value: Any) -> Any:
    """Arrays are read-only views, as they are in Ray's workers."""
    if not isinstance(value, np.ndarray):
        return value
    view = value.view()
    view.flags.writeable = False
    return view
