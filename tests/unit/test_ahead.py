"""Strategies that think in a thread while trials run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Event

import numpy as np
import pytest

from raysearch import rng
from raysearch.engine.ahead import Ahead
from raysearch.engine.driver import Driver
from raysearch.engine.events import Stop
from raysearch.engine.limits import Limits
from raysearch.engine.loop import Loop
from raysearch.engine.proposer import Proposer, Replay
from raysearch.engine.records import Done, Finished, Objectives, Results, Task
from raysearch.space import Float, Space
from raysearch.strategies.base import State, Strategy
from raysearch.trial import Batch, Outcome

SPACE = Space({"x": Float(0, 1)})


@dataclass(frozen=True, eq=False)
class Seen(State):
    """The sum of what was told."""

    total: float = 0.0


@dataclass(frozen=True)
class Thinker(Strategy[Seen]):
    """Points that depend on what was told; from the second ask on it thinks until `go` is set."""

    go: Event
    fails: bool = False

    def init(self, space: Space, seed: int) -> Seen:
        return Seen(space, seed)

    def ask(self, state: Seen, n: int) -> tuple[Seen, Batch]:
        if state.asked:
            self.go.wait()
            if self.fails:
                raise ZeroDivisionError("in the thread")
        x = (rng.uniform(state.seed, state.asked, n, 1) + state.total) % 1
        number = np.arange(state.asked, state.asked + n)
        return replace(state, asked=state.asked + n), Batch(x, number)

    def tell(self, state: Seen, batch: Batch, outcome: Outcome) -> Seen:
        return replace(state, total=(state.total + float(outcome.loss.sum())) % 1)

    def asks_slowly(self) -> bool:
        return True


@dataclass
class Runner:
    """Runs the oldest task at each poll; once there is none, the strategy may go on."""

    go: Event
    n: int = 2
    queue: list[Task] = field(default_factory=list)
    early: list[int] = field(default_factory=list)  # trials begun before it might go on

    def want(self, tasks: int) -> None:
        pass

    def slots(self) -> int:
        return self.n

    def submit(self, task: Task) -> None:
        self.early += [] if self.go.is_set() else task.trials.number.tolist()
        self.queue.append(task)

    def cancel(self, task: int) -> None:
        self.queue = [t for t in self.queue if t.id != task]

    def poll(self, timeout: float) -> Sequence[Done]:
        if not self.queue:
            if self.early:
                self.go.set()
            return []
        task = self.queue.pop(0)
        x = task.trials.columns.numbers["x"]
        results = Results(
            np.zeros(len(x), np.uint8),
            {"loss": x},
            {},
            np.ones(len(x), int),
            np.full(len(x), 9.0),
            "w",
        )
        return [Done(task.id, results)]

    def close(self) -> None:
        self.queue.clear()


class Rows(list[Finished]):
    """A log in memory."""

    def admit(self, finished: Finished) -> Finished:
        return finished

    def append(self, finished: Sequence[Finished]) -> None:  # type: ignore[override]
        self.extend(finished)

    def starts(self, trials: object) -> dict[int, object]:
        return {}

    def behind(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def retain(self, parents: object) -> None:
        pass


def proposer(thinker: Thinker) -> Proposer:
    return Proposer(thinker, SPACE, Objectives(("loss",), (False,)), 0)


def search(n=2, fails=False, threads=True, stop=99):
    """Why it ended, the proposer, the runner and the log; cancelled after `stop` trials."""
    runner, log = Runner(Event(), n), Rows()
    host = proposer(Thinker(runner.go, fails))
    if not threads:
        runner.go.set()

    def watch(loop: Loop, finished: Sequence[Finished]) -> bool:
        if loop.finished == stop:
            driver.stop(Stop("cancel"))
        return False

    loop = Loop(Limits(12), n, in_order=True, ahead=True)
    driver = Driver(loop, host, runner, log, watch, ahead=Ahead(host) if threads else None)
    return driver.run(), host, runner, log


def replayed(log):
    """The proposer that a resumed search would have, and what it would run first."""
    go = Event()
    go.set()
    fresh = proposer(Thinker(go))
    replay = Replay(fresh)
    for finished in log:
        replay.take(finished)
    return fresh, [n for work in replay.pending() for n in work.trials.number.tolist()]


def test_a_free_slot_is_filled_while_the_strategy_thinks() -> None:
    why, _, runner, log = search()
    assert why == "trials"
    assert runner.early == [0, 1, 2]
    assert sorted(n for finished in log for n in finished.number.tolist()) == list(range(12))


def test_the_log_says_in_which_order_it_went() -> None:
    _, host, _, log = search()
    fresh, _ = replayed(log)  # which refuses points that are not what was proposed
    assert fresh.asked == host.asked
    assert fresh.state.total == host.state.total


def test_with_one_slot_thinking_in_a_thread_changes_nothing() -> None:
    tables = [
        [finished.columns.numbers["x"].tolist() for finished in search(1, threads=threads)[3]]
        for threads in (True, False)
    ]
    assert tables[0] == tables[1]


def test_nothing_is_asked_ahead_with_one_slot() -> None:
    _, _, runner, log = search(1)
    assert runner.early == [0]
    assert [finished.after.tolist() for finished in log] == [[k + 1] for k in range(12)]


def test_what_the_strategy_raises_ends_the_search() -> None:
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        search(fails=True)


def test_an_ask_that_is_not_over_at_the_end_was_never_made() -> None:
    why, host, runner, log = search(stop=1)
    assert why == "stopped"
    assert not runner.go.is_set()  # the end did not wait for the strategy
    assert [finished.number.tolist() for finished in log] == [[0]]
    fresh, pending = replayed(log)
    assert fresh.asked == host.asked == 3
    assert pending == [1, 2]
    runner.go.set()
