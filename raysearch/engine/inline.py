"""Runs trials in this process, one after the other: for debuggers, notebooks and tests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .evaluate import evaluate
from .objective import examine
from .records import Done, ExecutorEvent, Job, Lost, Task


class Inline:
    """An executor with one slot: `poll` runs the oldest task to its end.

    A breakpoint in the objective works, and Ctrl-C gets through. What ends the process
    ends the search; a trial that hangs is interrupted at its timeout only if it runs
    Python code or waits, and only when the search runs in the main thread.
    """

    interruptible = True

    def __init__(self, job: Job) -> None:
        self._signature = examine(job.objective)
        self._job = replace(job, data={name: _frozen(v) for name, v in job.data.items()})
        self._tasks: deque[Task] = deque()
        self._cancelled: list[ExecutorEvent] = []

    def slots(self) -> int:
        """One."""
        return 1

    def submit(self, task: Task) -> None:
        """Put the task last in the queue."""
        self._tasks.append(task)

    def cancel(self, task: int) -> None:
        """Take the task out of the queue."""
        if any(waiting.id == task for waiting in self._tasks):
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
        results = evaluate(self._job, self._signature, task.trials)
        self._tasks.popleft()  # only now: Ctrl-C leaves it in the queue
        return [Done(task.id, results)]

    def close(self) -> None:
        """Forget what waits."""
        self._tasks.clear()


def _frozen(value: Any) -> Any:
    """Arrays are read-only views, as they are in Ray's workers."""
    if not isinstance(value, np.ndarray):
        return value
    view = value.view()
    view.flags.writeable = False
    return view
