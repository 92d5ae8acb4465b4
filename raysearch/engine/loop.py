"""The engine: a pure state machine that turns asks into work and results into tells.

Events go in, commands come out. The loop does no input or output, reads no clock and
starts no thread, so every race is a unit test and the same code runs in virtual time.
Whoever drives it (`raysearch.engine.driver`) carries out the commands in their order.

How a trial goes: Ask -> Asked -> Submit -> Done -> Tell. While it runs it may have
Reported; the strategy sees that as a Report, and may have it stopped (Judged), which ends
it with what it has reported, whatever it still returns. A task that is Lost
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
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ..trial import CRASHED, FAILED, OOM, TIMEOUT, has_result
from .events import (
    Ask,
    Asked,
    Cancel,
    Command,
    Event,
    Finish,
    Judged,
    Report,
    Slots,
    Stop,
    Submit,
    Tell,
    Told,
    Why,
)
from .limits import Limits
from .order import InOrder
from .records import Done, Finished, Lost, Reported, Results, Task
from .watchdog import GRACE
from .work import Queue, Work, lost, results_of, stopped

_MAX_BATCH = 32_768
_MAX_NUMBERS = 2**21  # in the configurations of a batch: 16 MB
_GROWTH = 8  # at most, from one batch to the next
_PREFETCH_SECONDS = 5.0  # shorter tasks are queued before their slot is free
NODE_LOSSES = 10  # more lost machines than this are put down to the trial itself
_REPORTS = 20_000  # a second, of all trials together; more are left out where they are made
_OVERDUE_SECONDS = 60.0  # beyond its timeout, a task's worker is given up: frozen, cut off


class Loop:
    """The state machine. Feed it with `handle` and `plan`; it is over when it said Finish.

    limits       when to end
    max_pending  points that the strategy can bear to be pending now
    finished     trials in the study already
    completed    how many of them have a valid result
    backlog      trials to run before anything is asked: those that were pending when the
                 driver died, or failed ones to be retried
    in_order     whether results are told in the order asked, while there is one slot or
                 the search has a window
    window       points pending in a reproducible search; None: as the strategy can bear
    judged       whether the strategy judges trials that run, so that each has a task of its own
    width        how many numbers a configuration has
    ahead        whether points are asked for before there is a slot for them, since that takes
                 long; results may come in between (see `raysearch.engine.ahead`)
    """

    task_seconds = 0.2  # of a batch: long against dispatch (2 to 5 ms), short for people

    def __init__(
        self,
        limits: Limits,
        max_pending: int,
        *,
        finished: int = 0,
        completed: int = 0,
        backlog: Sequence[Work] = (),
        in_order: bool = False,
        window: int | None = None,
        judged: bool = False,
        width: int = 1,
        ahead: bool = False,
    ) -> None:
        self.limits = limits
        self.finished = finished
        self.completed = completed
        self.failed = 0  # in this session
        self.reported = 0  # reports, in this session
        self.ahead = ahead
        self.pending = sum(map(len, backlog))  # points asked and not yet told
        self.slots = 0
        self.draining = False  # nothing new is begun
        self.running: dict[int, Work] = {}  # by task, in the order submitted
        self.ending: set[int] = set()  # tasks whose trials are over, and that hold a slot still
        self.over: Finish | None = None
        self.trial_seconds = math.nan  # of one trial, with all that belongs to it
        self._max_pending = max_pending
        self._window = window
        self._most = 1 if judged else max(1, min(_MAX_BATCH, _MAX_NUMBERS // width))
        self._ready = Queue(backlog)
        self._order: InOrder | None = None
        if in_order:
            self._order = InOrder(n for work in backlog for n in work.trials.number.tolist())
        self._asking = 0  # how many points were asked for; 0 if no ask is outstanding
        self._asked_at = 0  # when
        self._missed = 0  # trials that have ended since
        self._spare = 1  # points to be held ready, if any
        self._exhausted = False  # the strategy wants results before it proposes more
        self._batch = 1
        self._tasks = 0

    # --- events -------------------------------------------------------------------------

    def handle(self, event: Event, now: int) -> list[Command]:
        """Take in an event that happened at `now`, ns since the epoch."""
        if self.over:
            return []
        match event:
            case Done(task, results):
                self.ending.discard(task)
                work = self.running.pop(task, None)
                if work and isinstance(results, Results):  # else a late copy, to be ignored
                    self._measure(results)
                    return self._finish(results_of(work, results, now))
            case Lost():
                self.ending.discard(event.task)
                return self._lose(event, now)
            case Reported(task, reports):
                if task in self.running:
                    self.reported += len(reports)
                    return [Report(task, self.running[task].trials, reports)]
            case Judged(task, reports, at):
                if work := self.running.pop(task, None):
                    self.ending.add(task)
                    return [Cancel(task), *self._finish(stopped(work, reports, at, now))]
            case Asked(trials, max_pending):
                self._max_pending = max_pending
                self._exhausted = len(trials) < self._asking
                self._asking = 0
                self._spare = max(1, min(self._missed, self.slots))
                self.pending += len(trials)
                if len(trials):
                    self._ready.add(Work.new(trials, self._asked_at))
                if self._order is not None:
                    self._order.expect(trials.number.tolist())
            case Told(max_pending):
                self._max_pending = max_pending
                self._exhausted = False
            case Slots(n):
                self.slots = n
                if self._order is not None and n > 1 and self._window is None:
                    order, self._order = self._order, None  # for good
                    return [c for finished in order.release() for c in self._conclude(finished)]
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
        if overdue := self._overdue(now):
            return self._give_up(overdue)
        if wanted := self._wanted():
            self._asking, self._asked_at, self._missed = wanted, now, 0
            return [Ask(wanted)]
        if self._due and not self._asking:
            return self._conclude(self._order.next()) if self._order is not None else []
        return self._submit(now)

    def done(self, now: int) -> Why | None:
        """Why the search is to end now, or None if it is to go on."""
        limits = self.limits
        most = math.inf if limits.max_failures is None else limits.max_failures
        if not self.completed and self.failed >= most:
            return "failures"
        if limits.trials is not None and self.finished >= limits.trials:
            return "trials"
        if self._due:
            return None
        if limits.deadline is not None and now >= limits.deadline:
            return "time"
        if self.draining and not self.running:
            return "stopped"
        if self._exhausted and not self.pending:
            return "exhausted"
        return None

    def appetite(self, room: int) -> int:
        """How many tasks could run now, if there were slots and the strategy bore `room` points."""
        if self.draining:
            return 0
        trials = self.pending if self._exhausted else (self._window or room)
        if self.limits.trials is not None:
            trials = min(trials, self.limits.trials - self.finished)
        return -(-trials // self._batch)

    @property
    def _due(self) -> bool:
        """Whether a result waits to be told, and its turn has come."""
        return self._order is not None and self._order.due

    # --- results ------------------------------------------------------------------------

    def _measure(self, results: Results) -> None:
        """Adapt the batch size to how long trials take now."""
        span = (results.started[-1] - results.started[0]) / 1e9 + results.seconds[-1]
        self._adapt(float(span) / len(results.state))

    def _adapt(self, seconds: float) -> None:
        """So many seconds a trial has taken."""
        latest = max(seconds, 1e-7)
        # slower at once, faster step by step: a batch that is too long hurts more
        old = self.trial_seconds
        self.trial_seconds = 0.5 * (old + latest) if old > latest else latest
        fitting = int(self.task_seconds / self.trial_seconds)
        self._batch = max(1, min(fitting, self._batch * _GROWTH, self._most))

    def _finish(self, finished: Finished) -> list[Command]:
        """Tell, or have `plan` tell when the turn of each has come."""
        if self._order is None:
            return self._conclude(finished)
        self._order.hold(finished)
        return []

    def _conclude(self, finished: Finished) -> list[Command]:
        completed = int(np.count_nonzero(has_result(finished.state)))
        self.pending -= len(finished)
        self._missed += len(finished)
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
                self._ready.put_back(replace(half, alone=True))
            return []
        lost_again = not own_fault and event.how not in ("moved", "crowded")
        work = replace(work, strikes=work.strikes + own_fault, losses=work.losses + lost_again)
        if event.how == "refused":
            state = FAILED
        elif event.how == "crashed" and self._late(work, now) >= GRACE:
            state = TIMEOUT
        elif work.strikes.max() > self.limits.retries or work.losses.max() > NODE_LOSSES:
            state = OOM if event.how == "oom" else CRASHED
        else:
            self._ready.put_back(work)
            return []
        return self._finish(lost(work, state, event.message, now))

    # --- tasks that hang ----------------------------------------------------------------

    def _late(self, work: Work, now: int) -> float:
        """Seconds by which the work's time is exceeded."""
        if self.limits.timeout is None:
            return -math.inf
        return (now - work.submitted) / 1e9 - len(work) * self.limits.timeout

    def _overdue(self, now: int) -> int | None:
        """A task whose worker should have ended it long ago; only the oldest is looked at."""
        if self.limits.timeout is None:
            return None
        task, work = next(iter(self.running.items()), (None, None))
        if work is None or self._late(work, now) < _OVERDUE_SECONDS:
            return None
        return task

    def _give_up(self, task: int) -> list[Command]:
        """Treat a task as one whose machine is lost; what it still returns is ignored."""
        work = self.running.pop(task)
        self._ready.put_back(replace(work, losses=work.losses + 1))
        return [Cancel(task)]

    # --- work ---------------------------------------------------------------------------

    @property
    def _begun(self) -> int:
        """Trials that run, or whose results wait to be told."""
        return self.pending - len(self._ready)

    @property
    def _held(self) -> int:
        """Tasks that have a slot, or are queued for one."""
        return len(self.running) + len(self.ending)

    @property
    def _pace(self) -> float:
        """Seconds between two reports of a trial, so that all slots together bear them."""
        return max(self.slots, 1) / _REPORTS

    def _room(self) -> int:
        return self._max_pending if self._window is None else self._window

    def _size(self) -> int:
        """How many trials the next task is to hold."""
        size = self._batch
        share = max(1, self._capacity())
        if self.limits.trials is not None:  # the end is shared by all slots
            left = self.limits.trials - self.finished
            size = min(size, -(-left // share))
        return max(1, min(size, self._room() // share))

    def _capacity(self) -> int:
        """How many tasks the executor should have at once.

        Short ones are queued before their slot is free; but not where a task's time is
        limited, because it would be taken for late.
        """
        short = self._batch * self.trial_seconds < _PREFETCH_SECONDS
        ahead = short and self._room() >= 2 * self.slots and self.limits.timeout is None
        return self.slots * 2 if ahead else self.slots

    def _submit(self, now: int) -> list[Command]:
        out: list[Command] = []
        while self._ready and not self.draining and self._held < self._capacity():
            size = self._size()
            if self.limits.trials is not None:  # the backlog may hold more than is wanted
                size = min(size, self.limits.trials - self.finished - self._begun)
            if size < 1:
                break
            work = self._ready.take(size).begun(now)
            self._tasks += 1
            self.running[self._tasks] = work
            out.append(Submit(Task(self._tasks, work.trials, work.attempts, pace=self._pace)))
        return out

    def _wanted(self) -> int:
        """How many points to ask for now."""
        if self._exhausted or self._asking:
            return 0
        if (self.draining or not self.slots) and not self._due:
            return 0
        spare = self._spare if self.ahead and self._order is None else 0
        room = self._room() + spare - self.pending
        if self.limits.trials is not None:
            room = min(room, self.limits.trials - self.finished - self.pending)
        if self.limits.max_failures is not None and not self.completed:  # not one trial more
            slots = self.slots if self._window is None else self._window
            most = max(self.limits.max_failures, slots)
            room = min(room, most - self.failed - self.pending)
        if self._order is None:  # else keep the window full, however fast the trials are
            free = self._capacity() + spare - self._held
            room = min(room, free * self._size() - len(self._ready))
        return max(0, room)

    # --- the end ------------------------------------------------------------------------

    def _stop(self, how: Literal["drain", "cancel"]) -> list[Command]:
        self.draining = True
        if how == "cancel":
            return self._end("stopped")
        queued = list(self.running)[self.slots :]  # submitted last, hence not begun yet
        for task in reversed(queued):
            self._ready.put_back(self.running.pop(task))
        return [Cancel(task) for task in queued]

    def _end(self, why: Why) -> list[Command]:
        self.over = Finish(why)
        cancelled: list[Command] = [Cancel(task) for task in self.running]
        self.running.clear()
        return [*cancelled, self.over]
