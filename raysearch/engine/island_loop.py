"""The engine's loop where workers go on with islands: who goes on with which, and how far.

A free slot goes to an island of the earliest epoch, of those whose sources have sent what it is
to take in; so with one slot not even the order of trials depends on timing. A stretch takes about
as long as a task of other searches; after its worker has died, it is tried again with half as
many trials, until the one trial that killed it is alone, is tried as often as `retries` allows, and
is told to the island as lost. With a limit of trials, every island has its share of them, so that
the study then holds the same trials however long each took.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ..trial import CRASHED, FAILED, OOM, TIMEOUT, Ints
from .archipelago import Archipelago
from .events import Cancel, Command, Event, Submit
from .limits import Limits
from .loop import NODE_LOSSES, Loop
from .passage import Passed, Stretch, Value
from .records import Done, Lost, Task, Trials
from .watchdog import GRACE
from .work import Work, lost, results_of

_ALL = 2**62
_MAX_STRETCH = 2**19  # trials


@dataclass
class _Place:
    """An island between two stretches.

    value    the island
    most     trials of its next stretch
    strikes  how often the worker died with its next trial alone
    losses   how often that was lost for other reasons
    lost     the state of its next trial, and why, if that is given up
    begun    how often each of its next trials was begun
    more     whether it has more trials
    """

    value: Value
    most: int = _ALL
    strikes: int = 0
    losses: int = 0
    lost: tuple[int, str] | None = None
    begun: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    more: bool = True


class IslandLoop(Loop):
    """As `Loop`, for islands.

    archipelago  their host, brought back to where they were
    finished     trials in the study already
    completed    how many of them have a valid result
    """

    task_seconds = 0.5  # of a stretch

    def __init__(
        self, limits: Limits, archipelago: Archipelago, *, finished: int = 0, completed: int = 0
    ) -> None:
        room = archipelago.max_pending(1)
        super().__init__(limits, room, finished=finished, completed=completed)
        self._most = _MAX_STRETCH
        self._host = archipelago
        self._before = finished - archipelago.asked  # trials that are not the islands'
        self._places = [_Place(value) for value in archipelago.values()]
        self._at: dict[int, int] = {}  # task -> island
        self._nothing = archipelago.ask(0)

    def appetite(self, room: int) -> int:
        """As many tasks as there are islands that have more trials."""
        return 0 if self.draining else sum(place.more for place in self._places)

    def handle(self, event: Event, now: int) -> list[Command]:
        """Take in an event that happened at `now`, ns since the epoch."""
        match event:
            case Done(task, Passed() as passed) if not self.over:
                work = self.running.pop(task, None)
                return [] if work is None else self._pass(self._at.pop(task), work, passed, now)
        return super().handle(event, now)

    def _pass(self, i: int, work: Work, passed: Passed, now: int) -> list[Command]:
        place, commands, k = self._places[i], [], 0
        for trials, results in passed.parts:
            begun = place.begun[k : k + len(trials)]
            attempts = 1 + np.pad(begun, (0, len(trials) - len(begun)))
            done = replace(Work.new(trials, work.submitted, attempts), submitted=work.submitted)
            self.pending += len(trials)
            given_up = lost(done, *place.lost, now) if place.lost and not k else None
            commands += self._finish(given_up or results_of(done, results, now))
            k += len(trials)
        if k and place.lost is None:
            self._adapt((now - work.submitted) / 1e9 / k)
        more = min(_ALL, 2 * place.most)
        self._places[i] = _Place(passed.value, more, begun=place.begun[k:], more=passed.more)
        self._host.passed(i, k, passed.sent)
        self._exhausted = not any(place.more for place in self._places)
        return commands

    def _lose(self, event: Lost, now: int) -> list[Command]:
        work = self.running.pop(event.task, None)
        if work is None:
            return []
        place, alone = self._places[self._at.pop(event.task)], len(work) == 1
        begun = np.zeros(max(len(work), len(place.begun)), dtype=np.int64)
        begun[: len(place.begun)] += place.begun
        begun[: len(work)] += 1
        place.begun = begun
        if event.how == "cancelled":
            return []
        own_fault = event.how in ("crashed", "oom", "refused")
        if own_fault and not alone:
            place.most = len(work) // 2
            return []
        place.strikes += own_fault
        place.losses += not own_fault
        if event.how == "refused":
            state = FAILED
        elif event.how == "crashed" and self._late(work, now) >= GRACE:
            state = TIMEOUT
        elif place.strikes > self.limits.retries or place.losses > NODE_LOSSES:
            state = OOM if event.how == "oom" else CRASHED
        else:
            return []
        place.begun[0] -= 1  # it will not be begun once more
        place.most, place.lost = 1, (state, event.message)
        return []

    def _give_up(self, task: int) -> list[Command]:
        """Treat a task as one whose machine is lost; what it still returns is ignored."""
        return [*self._lose(Lost(task, "node", "it is long overdue"), 0), Cancel(task)]

    def _wanted(self) -> int:
        return 0  # workers ask

    def _submit(self, now: int) -> list[Command]:
        out: list[Command] = []
        while not self.draining and self._held < self.slots:
            ready = [i for i in range(len(self._places)) if self._ready_at(i)]
            if not ready:
                break
            i = min(ready, key=self._host.epoch)
            place, n = self._places[i], self._length(i)
            stretch = Stretch(
                i, place.value, self._host.first, n, self._host.migrants(i) or (), place.lost
            )
            self._tasks += 1
            self._at[self._tasks] = i
            self.running[self._tasks] = self._work(n, now)
            out.append(Submit(Task(self._tasks, self._nothing, stretch=stretch)))
        return out

    def _ready_at(self, i: int) -> bool:
        waits = i not in self._at.values() and self._places[i].more
        return waits and self._length(i) > 0 and self._host.migrants(i) is not None

    def _length(self, i: int) -> int:
        """How many trials the next stretch of an island is to hold."""
        place, told, every = self._places[i], self._host.told, self._host.strategy.migrate_every
        n = min(self._batch, place.most, every - told[i] % every)
        if self.limits.trials is not None:
            own = self.limits.trials - self._before
            n = min(n, max(0, -(-(own - i) // len(told))) - told[i])
        if self.limits.max_failures is not None and not self.completed:  # not one trial more
            running = sum(map(len, self.running.values()))
            n = min(n, max(self.limits.max_failures, self.slots) - self.failed - running)
        return n

    def _work(self, n: int, now: int) -> Work:
        """What is known of trials that a worker will ask for: how many they are."""
        unknown = self._nothing.columns.take(np.zeros(0, dtype=np.int64))
        return Work.new(Trials(np.zeros(n, dtype=np.int64), unknown), now).begun(now)

    def _stop(self, how: Literal["drain", "cancel"]) -> list[Command]:
        self.draining = True
        return self._end("stopped") if how == "cancel" else []
