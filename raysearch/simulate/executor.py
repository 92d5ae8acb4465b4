"""An executor in virtual time: workers, queues and mishaps of any size in one process.

Nothing here waits: `poll` lets virtual time pass until something happens. When a trial
comes back is decided by how long it is said to take; what it returns is found out by
running it, together with all others at work, once the first of them comes back. A generator
is run at once instead, to know how many steps there are; each takes as long.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from typing import Literal

import numpy as np

from ..engine.records import Done, ExecutorEvent, Lost, Reported, Reports, Results, Task, Trials
from ..errors import UsageError
from ..trial import Floats
from .clock import VirtualClock
from .streams import lengths, timed

#: How long trials take: (k,) seconds.
Takes = Callable[[Trials], Floats]

#: What trials return; times and worker in it do not count.
Returns = Callable[[Trials], Results]

#: What the generators of a task report and, at last, return.
Streams = Callable[[Task], tuple[Sequence[Reports], Results]]


@dataclass(frozen=True)
class Death:
    """The end of a worker with its task.

    after    seconds since the task began
    how      crashed, oom: through the task's own fault; node: not
    message  for people
    away     seconds until the worker's place is filled again
    """

    after: float
    how: Literal["crashed", "oom", "node"]
    message: str
    away: float = 0.0


#: (task, seconds it would take) -> how its worker dies before it is done, if so
Fate = Callable[[Task, float], Death | None]


def no_mishap(task: Task, seconds: float) -> None:
    """The fate of a task on a machine that never fails."""


#: How an event gets to the driver: after how many seconds, as what; more than once, or never.
Network = Callable[[ExecutorEvent], Sequence[tuple[float, ExecutorEvent]]]


def at_once(event: ExecutorEvent) -> Sequence[tuple[float, ExecutorEvent]]:
    """The way of an event through a perfect network."""
    return ((0.0, event),)


@dataclass(frozen=True)
class Outage:
    """Some workers are away for a while, and what they run then is lost.

    begin    seconds since the start
    end      likewise; math.inf: they never come back
    workers  which ones, by their numbers from 0

    >>> Outage(begin=3600, end=7200, workers=range(0, 32))
    Outage(begin=3600, end=7200, workers=range(0, 32))
    """

    begin: float
    end: float
    workers: range

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end:
            raise UsageError(f"outage: expected 0 <= begin < end, found {self.begin}, {self.end}")


class Stalled(RuntimeError):
    """The search waits, but nothing will ever happen: it hangs."""


@dataclass(frozen=True, eq=False)
class _Run:
    """A task at work: which, where, since when, and how long each of its trials takes."""

    task: Task
    worker: int
    begin: int
    seconds: Floats


class SimulatedExecutor:
    """Workers in virtual time.

    takes          how long trials take; a generator, how long each of its steps does
    returns        what they return, if the objective is no generator
    workers        how many there are
    clock          that this lets pass
    fate           what becomes of a task's worker
    outages        of workers
    network        how events get to the driver
    resolution     seconds: what happens so soon after something else is heard with it
    charge_driver  whether the processor time that the driver really takes between two
                   polls passes in virtual time, too
    dispatch       seconds of the driver's time that handing out one task takes besides
    streams        what a generator reports and returns; None: the objective is none
    """

    interruptible = True

    def __init__(
        self,
        takes: Takes,
        returns: Returns,
        workers: int,
        clock: VirtualClock,
        fate: Fate = no_mishap,
        outages: Sequence[Outage] = (),
        network: Network = at_once,
        *,
        resolution: float = 0.0,
        charge_driver: bool = False,
        dispatch: float = 0.0,
        streams: Streams | None = None,
    ) -> None:
        self.busy = 0.0  # seconds of work, that which was lost included
        self.driver = 0.0  # seconds that the driver was charged
        self._takes = takes
        self._returns = returns
        self._clock = clock
        self._fate = fate
        self._network = network
        self._resolution = round(resolution * 1e9)
        self._charges = charge_driver
        self._each = dispatch
        self._streams = streams
        self._left = time.thread_time()  # when `poll` was left last, really
        self._new: OrderedDict[int, Task] = OrderedDict()  # submitted since then
        self._queue: OrderedDict[int, tuple[Task, Floats]] = OrderedDict()
        self._running: dict[int, _Run] = {}
        self._returned: dict[int, Results] = {}  # of some that run
        self._happened: list[ExecutorEvent] = []
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []  # a heap
        self._entries = 0
        self._free = list(range(workers))  # a heap; some of them may be away or busy again
        self._runs: list[_Run | None] = [None] * workers  # what each worker runs
        self._absent = [0] * workers  # for how many reasons each worker is away
        self._slots = self._known = workers  # that are there; what the driver knows of that
        self._there = 0  # ns of all workers that were there, until `_counted`
        self._counted = clock.now
        for outage in outages:
            for worker in outage.workers:
                self._plan(clock.now, outage.begin, partial(self._leave, worker))
                self._plan(clock.now, outage.end, partial(self._return, worker))
        self._pass(clock.now)

    def available(self) -> float:
        """Seconds of all workers that have been there, busy or not."""
        self._count(self._clock.now)
        return self._there / 1e9

    # --- what the engine sees -------------------------------------------------------------

    def slots(self) -> int:
        """How many workers are there."""
        self._known = self._slots
        return self._slots

    def want(self, tasks: int) -> None:
        """More come when their time has come."""

    def submit(self, task: Task) -> None:
        """Put the task last in the queue."""
        self._new[task.id] = task
        if self._each:
            self.driver += self._each
            self._clock.sleep(self._each)
            self._pass(self._clock.now)
            self._accept()
            self._dispatch(self._clock.now)

    def cancel(self, task: int) -> None:
        """End the task, wherever it is."""
        run = self._running.get(task)
        if run is not None:
            self._end(run, self._clock.now)
        elif self._new.pop(task, None) is None and self._queue.pop(task, None) is None:
            return
        self._send(Lost(task, "cancelled", "on request"), self._clock.now)

    def poll(self, timeout: float) -> Sequence[ExecutorEvent]:
        """What has happened; if nothing has, what happens first within so many seconds.

        No events come early where the number of slots is not the one that was asked last.
        Raises Stalled if nothing will ever happen, and the timeout is infinite.
        """
        if self._charges:
            spent = time.thread_time() - self._left
            self.driver += spent
            self._clock.sleep(spent)
        self._pass(self._clock.now)
        self._accept()
        self._dispatch(self._clock.now)
        horizon = self._clock.now + timeout * 1e9
        while self._agenda and not self._happened and self._slots == self._known:
            first = self._agenda[0][0]
            if first > horizon:
                break
            self._clock.advance(int(min(first + self._resolution, horizon)))
            self._pass(self._clock.now)
        if not self._happened and self._slots == self._known:
            if math.isinf(timeout):
                raise Stalled(f"{self._slots} workers are there, and nothing is left to happen")
            self._clock.sleep(timeout)
        happened, self._happened = self._happened, []
        self._left = time.thread_time()
        return happened

    def close(self) -> None:
        """Forget everything."""
        self._new.clear()
        self._queue.clear()
        self._running.clear()
        self._agenda.clear()

    # --- tasks ----------------------------------------------------------------------------

    def _accept(self) -> None:
        """Queue the tasks that are new."""
        if not self._new:
            return
        tasks = list(self._new.values())
        self._new.clear()
        seconds = self._takes(_together(tasks))
        stop = 0
        for task in tasks:
            start, stop = stop, stop + len(task.trials)
            self._queue[task.id] = task, seconds[start:stop]

    def _dispatch(self, now: int) -> None:
        """Have free workers, those with the lowest numbers, begin what has waited longest."""
        while self._queue and self._free:
            worker = heappop(self._free)
            if not self._absent[worker] and self._runs[worker] is None:
                _, (task, seconds) = self._queue.popitem(last=False)
                self._begin(_Run(task, worker, now, seconds))

    def _begin(self, run: _Run) -> None:
        reports: Sequence[Reports] = ()
        if self._streams is not None:
            reports, self._returned[run.task.id] = self._streams(run.task)
            run = replace(run, seconds=lengths(run.seconds, reports))
        self._running[run.task.id] = self._runs[run.worker] = run
        for part in timed(reports, run.seconds, run.begin, f"worker {run.worker}"):
            at = (int(part.time[0]) - run.begin) / 1e9
            self._plan(run.begin, at, partial(self._report, run, part))
        seconds = float(run.seconds.sum())
        death = self._fate(run.task, seconds)
        if death is None:
            self._plan(run.begin, seconds, partial(self._finish, run))
        else:
            self._plan(run.begin, death.after, partial(self._die, run, death))

    def _report(self, run: _Run, reports: Reports, now: int) -> None:
        if self._running.get(run.task.id) is run:
            self._send(Reported(run.task.id, reports), now)

    def _finish(self, run: _Run, now: int) -> None:
        if run.task.id not in self._running:
            return
        if run.task.id not in self._returned:
            self._evaluate()
        returned = self._returned[run.task.id]
        self._end(run, now)
        started = run.begin + np.round((run.seconds.cumsum() - run.seconds) * 1e9)
        results = Results(
            returned.state,
            returned.metrics,
            returned.errors,
            started.astype(np.int64),
            run.seconds,
            f"worker {run.worker}",
        )
        self._send(Done(run.task.id, results), now)

    def _evaluate(self) -> None:
        """Find out what the tasks at work return, as far as it is not known."""
        tasks = [r.task for r in self._running.values() if r.task.id not in self._returned]
        results = self._returns(_together(tasks))
        stop = 0
        for task in tasks:
            start, stop = stop, stop + len(task.trials)
            self._returned[task.id] = _part(results, start, stop)

    def _die(self, run: _Run, death: Death, now: int) -> None:
        if run.task.id in self._running:
            self._end(run, now)
            self._send(Lost(run.task.id, death.how, death.message), now)
            if death.away:
                self._leave(run.worker, now)
                self._plan(now, death.away, partial(self._return, run.worker))

    def _end(self, run: _Run, now: int) -> None:
        """Free the task's worker."""
        del self._running[run.task.id]
        self._returned.pop(run.task.id, None)
        self._runs[run.worker] = None
        self.busy += (now - run.begin) / 1e9
        heappush(self._free, run.worker)

    def _send(self, event: ExecutorEvent, now: int) -> None:
        """Let the driver know."""
        for delay, copy in self._network(event):
            if delay:
                self._plan(now, delay, partial(self._arrive, copy))
            else:
                self._happened.append(copy)

    def _arrive(self, event: ExecutorEvent, now: int) -> None:
        self._happened.append(event)

    # --- workers --------------------------------------------------------------------------

    def _leave(self, worker: int, now: int) -> None:
        self._absent[worker] += 1
        if self._absent[worker] > 1:
            return
        self._count(now)
        self._slots -= 1
        if (run := self._runs[worker]) is not None:
            self._end(run, now)
            self._send(Lost(run.task.id, "node", "its machine was taken away"), now)

    def _return(self, worker: int, now: int) -> None:
        self._absent[worker] -= 1
        if not self._absent[worker]:
            self._count(now)
            self._slots += 1
            heappush(self._free, worker)

    def _count(self, now: int) -> None:
        self._there += self._slots * (now - self._counted)
        self._counted = now

    # --- time -----------------------------------------------------------------------------

    def _plan(self, now: int, seconds: float, action: Callable[[int], None]) -> None:
        """Have something happen so many seconds from now."""
        if seconds < math.inf:
            self._entries += 1  # what happens at the same time happens in the order planned
            heappush(self._agenda, (now + round(seconds * 1e9), self._entries, action))

    def _pass(self, until: int) -> None:
        """Everything that happens until then, in order."""
        while self._agenda and self._agenda[0][0] <= until:
            now, _, action = heappop(self._agenda)
            action(now)
            self._dispatch(now)


def _together(tasks: Sequence[Task]) -> Trials:
    """The trials of all tasks."""
    return tasks[0].trials if len(tasks) == 1 else Trials.concat([task.trials for task in tasks])


def _part(results: Results, start: int, stop: int) -> Results:
    """The results of some of the trials."""
    return Results(
        results.state[start:stop],
        {name: values[start:stop] for name, values in results.metrics.items()},
        {i - start: why for i, why in results.errors.items() if start <= i < stop},
        results.started[start:stop],
        results.seconds[start:stop],
        results.worker,
    )
