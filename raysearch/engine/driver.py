"""The driver: carries out what the loop commands, and brings it what has happened.

One round takes in all events at hand, lets the loop plan until it has nothing more to
say, makes the results durable with one write, and only then acts on them: shows them, and
submits what was asked for because of them.

States that live actors have left in this machine's memory are the exception, since they are large,
and trials can go on from there: what follows from a result is submitted at once, while a thread
writes states. The rows of all that was told by then are written, and shown, when it is done. A
driver that is killed has to do those trials again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Protocol

from ..errors import StudyStorage
from .ahead import Ahead
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
from .executor import Executor
from .loop import Loop
from .proposer import Host
from .records import Checkpoint, Finished, Lost, Reported, Reports, Task, Trials

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SECONDS = (1, 2, 4, 8, 15)  # waits for space on a full disk; nothing is begun meanwhile
_LAG = 500_000_000  # ns from one group that a thread stores to the next: most states pass by then
_GLANCE = 0.005  # seconds between two looks at an ask that goes on in a thread
_EPOCH = time.time_ns() - time.monotonic_ns()


def steady_clock() -> int:
    """Time in ns since the epoch, which goes on evenly when the machine's clock is set."""
    return _EPOCH + time.monotonic_ns()


class Log(Protocol):
    """Where finished trials, reports and checkpoints go."""

    def admit(self, finished: Finished) -> Finished:
        """The trials as the log can hold them; called before they are told."""

    def append(self, finished: Sequence[Finished]) -> None:
        """Make the trials durable; they are when this returns."""

    def record(self, reports: Sequence[Reports]) -> None:
        """Likewise the reports."""

    def save(self, saved: Sequence[Checkpoint]) -> None:
        """Likewise what trials have saved; what they reported by then is recorded."""

    def starts(self, trials: Trials) -> Mapping[int, Checkpoint]:
        """Index -> the checkpoint that a trial can go on from, of those that have one."""

    def retain(self, numbers: frozenset[int] | None) -> None:
        """Keep what these trials have saved, and drop what was to be kept until now.

        None: of every configuration the last one stays. Nothing durable goes before `settle`.
        """

    def behind(self) -> Callable[[], None] | None:
        """What makes durable all that is to be kept now, for a thread; None: it is."""

    def settle(self) -> None:
        """That is done, and all told by then is appended."""


_Round = tuple[list[Finished], list[Reports]]
Watcher = Callable[[Loop, Sequence[Finished]], bool]


class Driver:
    """Runs a search until the loop says that it is over.

    watch     is called every round with the loop and the trials just made durable; if it
              returns True the search ends as if somebody had stopped it
    clock     ns since the epoch
    sleep     waits so many seconds, for space on a full disk
    patience  seconds to wait at most before time limits and wishes to stop are heard
    reported  number -> what trials of the backlog had reported in an earlier session
    ahead     asks the proposer in a thread; None: asks are waited for
    """

    def __init__(
        self,
        loop: Loop,
        proposer: Host,
        executor: Executor,
        log: Log,
        watch: Watcher,
        clock: Callable[[], int] = steady_clock,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = 0.25,
        reported: Mapping[int, Reports] | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.loop = loop
        self.proposer = proposer
        self.executor = executor
        self.log = log
        self.watch = watch
        self.clock = clock
        self.sleep = sleep
        self.patience = patience
        self._reported = dict(reported or {})
        self._ahead = ahead
        self._wishes: list[Stop] = []
        self._untold: list[Finished] = []  # until an ask is over
        self._unwritten: list[Finished] = []
        self._reports: list[Reports] = []  # not written either
        self._saved: list[Checkpoint] = []  # not handed to the log
        self._writer = ThreadPoolExecutor(1)
        self._due = 0  # when the writer may begin again
        self._held: list[_Round] = []  # rounds that wait for a thread
        self._group: tuple[list[_Round], Callable[[], None], Future[None]] | None = None
        self._unsubmitted: list[Submit] = []

    def stop(self, wish: Stop) -> None:
        """Have the search end; may be called from a signal handler."""
        self._wishes.append(wish)

    def run(self) -> Why:
        """Search. Returns why it ended."""
        with self._writer:
            try:
                return self._run()
            except BaseException:
                with suppress(Exception):
                    self._grouped(wait=True)
                raise

    def _run(self) -> Why:
        loop = self.loop
        self.log.retain(self.proposer.parents())
        while True:
            room = self.proposer.max_pending(2 * max(1, loop.slots))
            self.executor.want(loop.appetite(room))
            self._perform(loop.handle(Slots(self.executor.slots()), self.clock()))
            if self._ahead is not None and (trials := self._ahead.answer()) is not None:
                self._asked(trials)
            while commands := loop.plan(self.clock()):
                self._perform(commands)
            self._commit()
            if loop.over:
                return loop.over.why
            events = [] if self._wishes else self.executor.poll(self._patience())
            self._take([*events, *self._heard()])

    def _take(self, events: Sequence[Event]) -> None:
        """Handle events; what follows from a report is done before the next one is handled."""
        commands: list[Command] = []
        for event in events:
            commands += self.loop.handle(event, self.clock())
            if isinstance(event, Reported):
                self._perform(commands)
                commands = []
        self._perform(commands)

    def _heard(self) -> list[Stop]:
        wishes, self._wishes = self._wishes, []
        return wishes

    def _patience(self) -> float:
        patience, deadline = self.patience, self.loop.limits.deadline
        if self._ahead is not None and self._ahead.busy:
            patience = min(patience, _GLANCE)
        if deadline is None:
            return patience
        return min(patience, max(0.0, (deadline - self.clock()) / 1e9))

    def _perform(self, commands: Sequence[Command]) -> None:
        for command in _merged(commands):
            match command:
                case Submit():
                    self._unsubmitted.append(command)
                case Tell(finished):
                    self._untold.append(self.log.admit(self.proposer.signed(finished)))
                    self._tell()
                case Ask(n) if self._ahead is not None:
                    self._ahead.ask(n)
                case Ask(n):
                    self._asked(self.proposer.ask(n))
                case Report(task, trials, reports):
                    self._report(task, trials, reports)
                case Cancel(task):
                    self.executor.cancel(task)
                case Finish():
                    if self._ahead is not None:
                        self._ahead.forget()
                    self._tell()

    def _asked(self, trials: Trials) -> None:
        """The strategy has proposed trials; now it hears what has come in meanwhile."""
        asked = Asked(trials, self._max_pending())
        self._perform(self.loop.handle(asked, self.clock()))
        self._tell()

    def _tell(self) -> None:
        """Tell results, unless an ask goes on, which began without them."""
        if self._ahead is not None and self._ahead.busy:
            return
        untold, self._untold = self._untold, []
        for finished in untold:
            self._unwritten.append(self.proposer.tell(finished))
            self._perform(self.loop.handle(Told(self._max_pending()), self.clock()))

    def _report(self, task: int, trials: Trials, reports: Reports) -> None:
        self._reports.append(reports)
        behind = self.proposer.parents() is not None
        self._saved += [s if behind and s.rung else s.in_bytes() for s in reports.saved]
        self._judge(task, trials, reports)

    def _judge(self, task: int, trials: Trials, reports: Reports) -> None:
        if (at := self.proposer.report(trials, reports)) is not None:
            self._perform(self.loop.handle(Judged(task, reports, at), self.clock()))

    def _max_pending(self) -> int:
        """As if there were a slot where there is none now, so that nothing depends on that."""
        return self.proposer.max_pending(max(1, self.loop.slots))

    def _commit(self) -> None:
        """Write, then act."""
        near = any(not isinstance(saved.data, bytes) for saved in self._saved)
        far = any(isinstance(saved.data, bytes) for saved in self._saved)
        at_once = bool(self.loop.over) or far or not (near or self._held or self._group)
        finished = self._grouped(wait=at_once)
        if at_once:
            finished += self._now()
        else:
            self._hold()
        if self.watch(self.loop, finished) and not self.loop.draining:
            self.stop(Stop("drain"))
        submits, self._unsubmitted = self._unsubmitted, []
        for submit in submits:
            if self._wishes:
                unbegun = Lost(submit.task.id, "cancelled", "the search was to end")
                self._perform(self.loop.handle(unbegun, self.clock()))
            else:
                self._submit(submit.task)

    def _now(self) -> list[Finished]:
        """Make durable what is held, and then what this round has brought."""
        if self._held:
            self._begin()
        finished = self._grouped(wait=True)
        told, reports = self._round()
        if reports:
            self._write(partial(self.log.record, reports))
        self._keep(told)
        if (store := self.log.behind()) is not None:
            self._write(store)
        return finished + self._append(told)

    def _hold(self) -> None:
        """What this round has brought waits for a thread, which begins if it is time to."""
        if any(rest := self._round()):
            self._held.append(rest)
            self._keep(rest[0])
        if self._held and self._group is None and self.clock() >= self._due:
            self._begin()

    def _round(self) -> tuple[list[Finished], list[Reports]]:
        told, self._unwritten = self._unwritten, []
        reports, self._reports = self._reports, []
        return told, reports

    def _keep(self, told: Sequence[Finished]) -> None:
        if self._saved:
            saved, self._saved = self._saved, []
            self._write(partial(self.log.save, saved))
        if told:
            self.log.retain(self.proposer.parents())

    def _begin(self) -> None:
        """Have a thread store what rows that are held speak of."""
        held, self._held = self._held, []
        store = self.log.behind() or _nothing
        self._group = held, store, self._writer.submit(store)
        self._due = self.clock() + _LAG

    def _grouped(self, wait: bool) -> list[Finished]:
        """Write the rows of which all is stored; returns the trials that are durable since.

        All at once, since states that have been succeeded meanwhile were never stored. Reports
        follow: a trial that has reported is asked for on resume, when all is told that it came of.
        """
        if self._group is None or not (wait or self._group[2].done()):
            return []
        held, store, future = self._group
        if future.exception() is not None:
            self._write(store)
        self._group = None
        finished = self._append([one for told, _ in held for one in told])
        if reports := [one for _, reports in held for one in reports]:
            self._write(partial(self.log.record, reports))
        return finished

    def _append(self, finished: list[Finished]) -> list[Finished]:
        if finished:
            self._write(partial(self.log.append, finished))
        self.log.settle()
        return finished

    def _submit(self, task: Task) -> None:
        starts = self.log.starts(task.trials)
        self.executor.submit(replace(task, starts=starts) if starts else task)
        if self._reported:  # the last session may have ended before these were judged
            for number in task.trials.number.tolist():
                if (reports := self._reported.pop(number, None)) is not None:
                    self._judge(task.id, task.trials, reports)

    def _write(self, write: Callable[[], None]) -> None:
        """Write to the log; on a full disk, wait for space for a while."""
        for seconds in _FULL_SECONDS:
            try:
                return write()
            except StudyStorage as error:
                if error.errno not in _FULL:
                    raise
                self.sleep(seconds)
        write()


def _nothing() -> None:
    pass


def _merged(commands: Sequence[Command]) -> Sequence[Command]:
    """The same, but with one Tell where several follow each other: that costs less."""
    if len(commands) < 2:
        return commands
    merged: list[Command] = []
    for kinds, group in groupby(commands, lambda c: c.finished.kinds if type(c) is Tell else None):
        together = list(group)
        if kinds is not None and len(together) > 1:
            told = [command.finished for command in together if isinstance(command, Tell)]
            together = [Tell(Finished.concat(told))]
        merged += together
    return merged
