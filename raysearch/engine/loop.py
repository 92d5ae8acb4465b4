"""The engine: a pure state machine that turns asks into work and results into tells.

Events go in, commands come out. The loop does no input or output, reads no clock and
starts no thread, so every race is a unit test and the same code runs in virtual time.
Whoever drives it (`raysearch.engine.driver`) carries out the commands in their order.

How a trial goes: Ask -> Asked -> Submit -> Done -> Tell. A task that is Lost
takes all its trials with it. One that held several is split, so that the trial which
killed the worker ends up alone and its neighbours survive; one that is lost alone is
tried again as often as `retries` allows.

With one slot, or if asked to be reproducible, the loop works in lockstep: results are
told in the order of their numbers, and each makes room for one new point. Point k then
depends on the results 0 .. k - window alone, however long each trial took; and so it does
when a search is stopped, for as long as results come in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..space import Columns
from ..trial import COMPLETE, CRASHED, FAILED, OOM, TIMEOUT, Ints
from .records import RETRIED, Done, Finished, Lost, Objectives, Results, Task
from .work import Work, lost, results_of

# --- events, beside those of the executor -------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """The strategy has proposed points; fewer than wanted if it has no more for now."""

    columns: Columns
    numbers: Ints
    max_pending: int


@dataclass(frozen=True)
class Told:
    """The strategy has taken in results."""

    max_pending: int


@dataclass(frozen=True)
class Slots:
    """How many tasks can run at once from now on."""

    n: int


@dataclass(frozen=True)
class Stop:
    """Somebody wants the search to end: let trials finish, or cancel them."""

    how: Literal["drain", "cancel"]


Event = Done | Lost | Asked | Told | Slots | Stop

Why = Literal["trials", "exhausted", "time", "failures", "stopped"]

# --- commands -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """Ask the strategy for n points."""

    n: int


@dataclass(frozen=True)
class Tell:
    """Tell the strategy these results, and make them durable before any later Submit."""

    finished: Finished


@dataclass(frozen=True)
class Submit:
    """Have the executor run a task."""

    task: Task


@dataclass(frozen=True)
class Cancel:
    """Have the executor end a task by force."""

    task: int


@dataclass(frozen=True)
class Finish:
    """The search is over.

    why  trials: as many as wanted; exhausted: the strategy has no more; time: the limit
         is reached; failures: the first trials all failed; stopped: somebody wished it
    """

    why: Why


Command = Ask | Tell | Submit | Cancel | Finish


@dataclass(frozen=True)
class Limits:
    """When the search ends, and how often a trial is tried again.

    trials        finished trials in the study, failed ones included; None: no limit
    deadline      ns since the epoch; None: no limit
    retries       how often a trial whose worker died is tried again
    max_failures  as many failures at the start, and nothing else, end it; None: never
    timeout       seconds per trial, or None; here only to tell a timeout from a crash
    """

    trials: int | None
    deadline: int | None = None
    retries: int = 1
    max_failures: int | None = 10
    timeout: float | None = None


_TASK_SECONDS = 0.1  # what a batch should take: long against dispatch, short for people
_MAX_BATCH = 32_768
_GROWTH = 8  # at most, from one batch to the next
_PREFETCH_SECONDS = 5.0  # shorter tasks are queued before their slot is free
_NODE_LOSSES = 10  # more lost machines than this are put down to the trial itself


class Loop:
    """The state machine. Feed it with `handle` and `plan`; it is over when it said Finish.

    limits       when to end
    objectives   what is optimised
    max_pending  points that the strategy can bear to be pending now
    finished     trials in the study already
    completed    how many of them have a valid result
    asked        points that the strategy has proposed already
    backlog      trials to run before anything is asked: those that were pending when the
                 driver died, or failed ones to be retried
    asks         whether to ask for new points at all; if not, the backlog is all
    lockstep     whether to tell results in the order of their numbers, while there is one
                 slot or the search has a window
    window       points pending in a reproducible search; None: as the strategy can bear
    """

    def __init__(
        self,
        limits: Limits,
        objectives: Objectives,
        max_pending: int,
        *,
        finished: int = 0,
        completed: int = 0,
        asked: int = 0,
        backlog: Sequence[Work] = (),
        asks: bool = True,
        lockstep: bool = False,
        window: int | None = None,
    ) -> None:
        self.limits = limits
        self.objectives = objectives
        self.finished = finished
        self.completed = completed
        self.failed = 0  # in this session
        self.asked = asked
        self.slots = 0
        self.draining = False  # nothing new is begun
        self.running: dict[int, Work] = {}
        self.over: Finish | None = None
        self.trial_seconds = math.nan  # of one trial, with all that belongs to it
        self._max_pending = max_pending
        self._ready: deque[Work] = deque(backlog)
        self._asks = asks
        self._lockstep = lockstep
        self._window = window
        self._asking = 0
        self._exhausted = False  # the strategy wants results before it proposes more
        self._batch = 1
        self._tasks = 0
        self._turn: deque[int] = deque(n for work in backlog for n in work.numbers.tolist())
        self._held: dict[int, Finished] = {}  # lockstep: results that wait for their turn

    @property
    def pending(self) -> int:
        """Points asked and not yet told."""
        ready = sum(map(len, self._ready))
        return ready + sum(map(len, self.running.values())) + len(self._held)

    @property
    def _due(self) -> bool:
        """Whether, in lockstep, the result whose turn it is has come in."""
        return bool(self._turn) and self._turn[0] in self._held

    # --- events -------------------------------------------------------------------------

    def handle(self, event: Event, now: int) -> list[Command]:
        """Take in an event that happened at `now`, ns since the epoch."""
        if self.over:
            return []
        match event:
            case Done(task, results):
                if work := self.running.pop(task, None):  # else a late copy, to be ignored
                    self._measure(results)
                    return self._finish(results_of(work, results, now))
            case Lost():
                return self._lose(event, now)
            case Asked(columns, numbers, max_pending):
                self._max_pending = max_pending
                self._exhausted = len(numbers) < self._asking
                if len(numbers):
                    self.asked += len(numbers)
                    self._ready.append(Work.new(numbers, columns, now))
                    self._turn.extend(numbers.tolist() if self._lockstep else ())
            case Told(max_pending):
                self._max_pending = max_pending
                self._exhausted = False
            case Slots(n):
                self.slots = n
                if self._lockstep and n > 1 and self._window is None:
                    return self._release()
            case Stop(how):
                return self._stop(how)
        return []

    def plan(self, now: int) -> list[Command]:
        """What to do next, now that events have been taken in; nothing: wait for events.

        It is to be called again after its commands have been carried out.
        """
        if self.over:
            return []
        if why := self.done(now):
            return self._end(why)
        self._asking = self._wanted()
        if self._asking:
            return [Ask(self._asking)]
        if self._due:
            return self._conclude(self._held.pop(self._turn.popleft()))
        return self._submit(now)

    def done(self, now: int) -> Why | None:
        """Why the search is to end now, or None if it is to go on."""
        limits = self.limits
        most = math.inf if limits.max_failures is None else limits.max_failures
        if not self.completed and self.failed >= most:
            return "failures"
        if limits.trials is not None and self.finished >= limits.trials and self._asks:
            return "trials"
        if self._due:
            return None
        if limits.deadline is not None and now >= limits.deadline:
            return "time"
        if self.draining and not self.running:
            return "stopped"
        if not self.pending and (self._exhausted or not self._asks):
            return "exhausted" if self._asks else "trials"
        return None

    # --- results ------------------------------------------------------------------------

    def _measure(self, results: Results) -> None:
        """Adapt the batch size to how long trials take now."""
        span = (results.started[-1] - results.started[0]) / 1e9 + results.seconds[-1]
        latest = max(float(span) / len(results.state), 1e-7)
        # slower at once, faster step by step: a batch that is too long hurts more
        old = self.trial_seconds
        self.trial_seconds = 0.5 * (old + latest) if old > latest else latest
        fitting = int(_TASK_SECONDS / self.trial_seconds)
        self._batch = max(1, min(fitting, self._batch * _GROWTH, _MAX_BATCH))

    def _finish(self, finished: Finished) -> list[Command]:
        """Tell; in lockstep `plan` does that when the turn of each has come."""
        if not self._lockstep:
            return self._conclude(finished)
        for i, number in enumerate(finished.number.tolist()):
            self._held[number] = finished.take(slice(i, i + 1))
        return []

    def _release(self) -> list[Command]:
        """Leave lockstep for good: nothing waits for its turn any more."""
        self._lockstep = False
        self._turn.clear()
        held, self._held = self._held, {}
        return [command for finished in held.values() for command in self._conclude(finished)]

    def _conclude(self, finished: Finished) -> list[Command]:
        after = np.full(len(finished), self.asked if self._asks else RETRIED)
        finished = replace(finished, after=after)
        completed = int(np.count_nonzero(finished.state == COMPLETE))
        self.finished += len(finished)
        self.completed += completed
        self.failed += len(finished) - completed
        return [Tell(finished)]

    def _lose(self, event: Lost, now: int) -> list[Command]:
        """Split, try again, or give up, as the head of this file says."""
        work = self.running.pop(event.task, None)
        if work is None:
            return []
        own_fault = event.how in ("crashed", "oom", "refused")
        if own_fault and len(work) > 1:
            middle = len(work) // 2
            for half in (work.take(slice(middle, None)), work.take(slice(0, middle))):
                self._ready.appendleft(replace(half, alone=True))
            return []
        work = replace(work, strikes=work.strikes + own_fault, losses=work.losses + 1)
        seconds = (now - work.submitted) / 1e9
        timeout = self.limits.timeout
        if event.how == "refused":
            state = FAILED
        elif event.how == "crashed" and timeout is not None and seconds >= timeout:
            state = TIMEOUT
        elif work.strikes.max() > self.limits.retries or work.losses.max() > _NODE_LOSSES:
            state = OOM if event.how == "oom" else CRASHED
        else:
            self._ready.appendleft(work)
            return []
        return self._finish(lost(work, state, event.message, now))

    # --- work ---------------------------------------------------------------------------

    def _size(self) -> int:
        """How many trials the next task is to hold."""
        size = self._batch
        share = max(1, self._capacity())
        if self.limits.trials is not None and self._asks:  # the end is shared by all slots
            left = self.limits.trials - self.finished
            size = min(size, -(-left // share))
        return max(1, min(size, self._room() // share))

    def _room(self) -> int:
        return self._max_pending if self._window is None else self._window

    def _capacity(self) -> int:
        """How many tasks the executor should have at once."""
        task_seconds = self._batch * self.trial_seconds
        ahead = self._room() >= 2 * self.slots and task_seconds < _PREFETCH_SECONDS
        return self.slots * 2 if ahead else self.slots

    def _submit(self, now: int) -> list[Command]:
        out: list[Command] = []
        if self.draining:
            return out
        while self._ready and len(self.running) < self._capacity():
            work = Work.gather(self._ready, self._size()).begun(now)
            self._tasks += 1
            self.running[self._tasks] = work
            out.append(Submit(Task(self._tasks, work.numbers, work.columns)))
        return out

    def _wanted(self) -> int:
        """How many points to ask for now."""
        if not self._asks or self._exhausted or not self.slots:
            return 0
        if self.draining and not self._due:
            return 0
        pending = self.pending
        room = self._room() - pending
        if self.limits.trials is not None:
            room = min(room, self.limits.trials - self.finished - pending)
        if self.limits.max_failures is not None and not self.completed:  # not one trial more
            room = min(room, max(self.limits.max_failures, self.slots) - self.failed - pending)
        if not self._lockstep:  # else keep the window full, however fast the trials are
            free = self._capacity() - len(self.running)
            room = min(room, free * self._size() - sum(map(len, self._ready)))
        return max(0, room)

    # --- the end ------------------------------------------------------------------------

    def _stop(self, how: Literal["drain", "cancel"]) -> list[Command]:
        self.draining = True
        if how == "cancel":
            return self._end("stopped")
        queued = list(self.running)[self.slots :]  # submitted last, hence not begun yet
        self._ready.extendleft(self.running.pop(task) for task in reversed(queued))
        return [Cancel(task) for task in queued]

    def _end(self, why: Why) -> list[Command]:
        self.over = Finish(why)
        cancelled: list[Command] = [Cancel(task) for task in self.running]
        self.running.clear()
        return [*cancelled, self.over]
