"""What goes wrong, drawn from a seed: every draw of one simulation comes from here."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...engine.loop import Loop
from ...engine.records import Done, ExecutorEvent, Finished, Lost, Reported, Results, Task
from ...simulate.executor import Death
from .scenario import Scenario

_MOST_LOSSES = 5  # of one trial: few enough never to be put down to the trial itself
_HOUR = 3600 * 10**9  # ns
_LONG = 50.0  # seconds after which a result that is lost is given up


class Died(BaseException):
    """The driver's process is gone. now: it has died here, not earlier."""

    def __init__(self, now: bool) -> None:
        super().__init__("the driver has died")
        self.now = now


class Hazards:
    """The troubles of one session.

    scenario  says how much goes wrong
    draw      makes all draws
    lost      how often each trial was lost so far, in all sessions
    struck    how often each trial has died alone with its worker
    """

    def __init__(
        self,
        scenario: Scenario,
        draw: np.random.Generator,
        lost: Counter[int],
        struck: Counter[int],
        dies_after: int | None = None,
    ) -> None:
        self.scenario = scenario
        self._draw = draw
        self._lost = lost
        self._struck = struck
        self._left = dies_after
        self._dead = False
        self._tasks: dict[int, Task] = {}

    def _chance(self, p: float) -> bool:
        return bool(p and self._draw.random() < p)

    # --- the driver -----------------------------------------------------------------------

    def step(self) -> None:
        """One of the moments at which the driver may die; a dead one does nothing more."""
        if self._dead:
            raise Died(now=False)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._dead = True
                raise Died(now=True)

    def stop(self, loop: Loop, finished: Sequence[Finished]) -> bool:
        """Whether somebody ends the search now, in order."""
        return self._chance(self.scenario.stops)

    def deadline(self, now: int) -> int | None:
        """The end of this session, if it has one."""
        scenario = self.scenario
        if not self._chance(scenario.time_limits):
            return None
        whole = scenario.scale * scenario.trials / scenario.workers
        return now + int(self._draw.random() * whole * 1e9)

    def jump(self) -> int:
        """By how many ns somebody sets the clock."""
        return int(self._draw.normal() * _HOUR) if self._chance(self.scenario.jumps) else 0

    # --- the disk -------------------------------------------------------------------------

    def disk(self) -> int:
        """The error number of a write that fails, else 0."""
        if self._chance(self.scenario.disk_full):
            return errno.ENOSPC
        return errno.EIO if self._chance(self.scenario.disk_broken) else 0

    def cut(self, size: int) -> int:
        """How many bytes of a write that fails are there."""
        return int(self._draw.integers(0, size + 1))

    # --- workers --------------------------------------------------------------------------

    def fate(self, task: Task, seconds: float) -> Death | None:
        """How a task's worker dies."""
        self._tasks[task.id] = task
        numbers = task.trials.number.tolist()
        after = seconds * self._draw.random()
        if self.scenario.poison.intersection(numbers):
            judged = self.scenario.strategy.rungs()  # before that can make a difference
            return Death(0.0 if judged else after, "crashed", "poison")
        alone = len(numbers) == 1
        if self._chance(self.scenario.crashes) and self._may_lose(task):
            if alone and self._struck[numbers[0]] >= self.scenario.retries:
                return None
            self._struck.update(numbers if alone else ())
            away = self._draw.random() * seconds
            return Death(after, "oom" if self._chance(0.3) else "crashed", "chance", away)
        if self._chance(self.scenario.preemptions) and self._may_lose(task):
            return Death(after, "node", "chance", away=self._draw.random() * 3 * seconds)
        return None

    def _may_lose(self, task: Task) -> bool:
        """Whether one more loss is not yet put down to one of its trials; counts it."""
        numbers = task.trials.number.tolist()
        if any(self._lost[number] >= _MOST_LOSSES for number in numbers):
            return False
        self._lost.update(numbers)
        return True

    # --- the network ----------------------------------------------------------------------

    def network(self, event: ExecutorEvent) -> list[tuple[float, ExecutorEvent]]:
        """How an event arrives: late, twice, contradicted, or not at all."""
        scenario, draw = self.scenario, self._draw
        if isinstance(event, Reported):  # a stream keeps its order
            return [(0.0, event)]
        delay = draw.random() * scenario.scale * 3 if self._chance(scenario.delays) else 0.0
        if isinstance(event, Done) and isinstance(event.results, Results):
            skew = scenario.skew * (event.task % 3 - 1)
            event = Done(event.task, replace(event.results, started=event.results.started + skew))
            if self._chance(scenario.losses) and self._may_lose(self._tasks[event.task]):
                gone = Lost(event.task, "node", "no word of it for a long time")
                late = self._chance(0.5)
                return [(delay + _LONG, gone), *([(delay + 2 * _LONG, event)] if late else [])]
        out: list[tuple[float, ExecutorEvent]] = [(delay, event)]
        if self._chance(scenario.copies):
            out.append((delay + draw.random() * scenario.scale * 5, event))
        return out
