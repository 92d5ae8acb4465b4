"""What stands between a driver and its world: a clock, a log and an executor that are watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...engine.executor import Executor
from ...engine.loop import Loop
from ...engine.proposer import Proposer
from ...engine.records import Checkpoint, ExecutorEvent, Finished, Reports, Task, Trials
from ...log import StudyLog
from ...simulate.clock import VirtualClock
from .hazards import Hazards

_MOST_ROUNDS = 20_000  # of one session


class SetClock:
    """A clock that somebody sets now and then, by an hour or so."""

    def __init__(self, clock: VirtualClock, hazards: Hazards) -> None:
        self._clock = clock
        self._hazards = hazards
        self._offset = 0

    def __call__(self) -> int:
        self._offset += self._hazards.jump()
        return self._clock.now + self._offset


class Record:
    """The log, with a note of what it has acknowledged."""

    def __init__(self, log: StudyLog, hazards: Hazards, told: list[Finished]) -> None:
        self._log = log
        self._hazards = hazards
        self._told = told

    def admit(self, finished: Finished) -> Finished:
        return self._log.admit(finished)

    def record(self, reports: Sequence[Reports]) -> None:
        self._log.record(reports)
        self._hazards.step()

    def save(self, saved: Sequence[Checkpoint]) -> None:
        self._log.save(saved)
        self._hazards.step()

    def starts(self, trials: Trials) -> Mapping[int, Checkpoint]:
        return self._log.starts(trials)

    def retain(self, numbers: frozenset[int] | None) -> None:
        self._log.retain(numbers)
        self._hazards.step()

    def behind(self) -> Callable[[], None] | None:
        return self._log.behind()

    def settle(self) -> None:
        self._log.settle()
        self._hazards.step()

    def append(self, finished: Sequence[Finished]) -> None:
        self._log.append(finished)
        self._told += finished
        self._hazards.step()


class Guard:
    """The executor, with an eye on whether the loop keeps it busy.

    host  proposes any number of trials at any time; None: it may have reasons to wait
    """

    interruptible = True

    def __init__(
        self, executor: Executor, loop: Loop, hazards: Hazards, host: Proposer | None
    ) -> None:
        self._executor = executor
        self._loop = loop
        self._hazards = hazards
        self._host = host
        self._rounds = 0

    def slots(self) -> int:
        return self._executor.slots()

    def want(self, tasks: int) -> None:
        self._executor.want(tasks)

    def submit(self, task: Task) -> None:
        self._hazards.step()
        self._executor.submit(task)

    def cancel(self, task: int) -> None:
        self._executor.cancel(task)

    def poll(self, timeout: float) -> Sequence[ExecutorEvent]:
        self._rounds += 1
        assert self._rounds < _MOST_ROUNDS, "a session that does not end"
        loop = self._loop
        if loop.slots and not loop.draining:
            assert loop.running or loop.ending, "slots are free, and the search waits for nothing"
            if self._host is not None and len(loop.running) + len(loop.ending) < loop.slots:
                begun = sum(map(len, loop.running.values()))
                assert begun == loop.pending, "slots are free, and trials wait"
                wanted = self._hazards.scenario.trials - loop.finished - loop.pending
                left = self._host.asked < self._host.space.size
                assert not (wanted and left), f"slots are free, and {wanted} trials not asked"
        self._hazards.step()
        events = self._executor.poll(timeout)
        self._hazards.step()
        return events

    def close(self) -> None:
        self._executor.close()
