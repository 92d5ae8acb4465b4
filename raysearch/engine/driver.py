"""The driver: carries out what the loop commands, and brings it what has happened.

One round takes in all events at hand, lets the loop plan until it has nothing more to
say, makes the results durable with one write, and only then acts on them: shows them, and
submits what was asked for because of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .executor import Executor
from .loop import (
    Ask,
    Asked,
    Cancel,
    Command,
    Finish,
    Loop,
    Slots,
    Stop,
    Submit,
    Tell,
    Told,
    Why,
)
from .proposer import Proposer
from .records import Finished, Lost

_POLL_SECONDS = 0.25  # the longest wait before time limits and wishes to stop are heard


class Log(Protocol):
    """Where finished trials go."""

    def admit(self, finished: Finished) -> Finished:
        """The trials as the log can hold them; called before they are told."""

    def append(self, finished: Sequence[Finished]) -> None:
        """Make the trials durable; they are when this returns."""


Watcher = Callable[[Loop, Sequence[Finished]], bool]


class Driver:
    """Runs a search until the loop says that it is over.

    watch  is called every round with the loop and the trials just made durable; if it
           returns True the search ends as if somebody had stopped it
    clock  ns since the epoch
    """

    def __init__(
        self,
        loop: Loop,
        proposer: Proposer,
        executor: Executor,
        log: Log,
        watch: Watcher,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.loop = loop
        self.proposer = proposer
        self.executor = executor
        self.log = log
        self.watch = watch
        self.clock = clock
        self._wishes: list[Stop] = []
        self._unwritten: list[Finished] = []
        self._unsubmitted: list[Submit] = []

    def stop(self, wish: Stop) -> None:
        """Have the search end; may be called from a signal handler."""
        self._wishes.append(wish)

    def run(self) -> Why:
        """Search. Returns why it ended."""
        loop = self.loop
        while True:
            self._perform(loop.handle(Slots(self.executor.slots()), self.clock()))
            while commands := loop.plan(self.clock()):
                self._perform(commands)
            self._commit()
            if loop.over:
                return loop.over.why
            events = [] if self._wishes else self.executor.poll(self._patience())
            for event in [*events, *self._heard()]:
                self._perform(loop.handle(event, self.clock()))

    def _heard(self) -> list[Stop]:
        wishes, self._wishes = self._wishes, []
        return wishes

    def _patience(self) -> float:
        deadline = self.loop.limits.deadline
        if deadline is None:
            return _POLL_SECONDS
        return min(_POLL_SECONDS, max(0.0, (deadline - self.clock()) / 1e9))

    def _perform(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Submit():
                    self._unsubmitted.append(command)
                case Tell(finished):
                    finished = self.log.admit(finished)
                    self._unwritten.append(finished)
                    self.proposer.tell(finished)
                    told = Told(self.proposer.max_pending(self.loop.slots))
                    self._perform(self.loop.handle(told, self.clock()))
                case Ask(n):
                    columns, numbers = self.proposer.ask(n)
                    max_pending = self.proposer.max_pending(self.loop.slots)
                    asked = Asked(columns, numbers, max_pending)
                    self._perform(self.loop.handle(asked, self.clock()))
                case Cancel(task):
                    self.executor.cancel(task)
                case Finish():
                    pass

    def _commit(self) -> None:
        """Write, then act."""
        finished, self._unwritten = self._unwritten, []
        if finished:
            self.log.append(finished)
        if self.watch(self.loop, finished) and not self.loop.draining:
            self.stop(Stop("drain"))
        submits, self._unsubmitted = self._unsubmitted, []
        for submit in submits:
            if self._wishes:
                unbegun = Lost(submit.task.id, "cancelled", "the search was to end")
                self._perform(self.loop.handle(unbegun, self.clock()))
            else:
                self.executor.submit(submit.task)
