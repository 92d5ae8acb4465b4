"""The loop, driver and proposer against executors that behave in every way allowed."""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch import rng
from raysearch.engine.driver import Driver
from raysearch.engine.events import Ask, Asked, Cancel, Slots, Stop
from raysearch.engine.limits import Limits
from raysearch.engine.loop import Loop
from raysearch.engine.proposer import Nobody, Proposer, Replay
from raysearch.engine.records import (
    RETRIED,
    Checkpoint,
    Done,
    ExecutorEvent,
    Finished,
    Lost,
    Objectives,
    Reports,
    Results,
    Task,
    Trials,
)
from raysearch.engine.work import Work
from raysearch.errors import StudyMismatch, StudyStorage
from raysearch.space import Float, Int, Space
from raysearch.strategies.base import ANY_NUMBER, State, Strategy
from raysearch.trial import COMPLETE, CRASHED, FAILED, TIMEOUT, Batch, Outcome

SPACE = Space({"a": Float(0, 1), "b": Int(1, 10)})
LOSS = Objectives(("loss",), (False,))
FEW = settings(max_examples=40, deadline=None)  # each example is a whole search, or three


@dataclass(frozen=True, eq=False)
class Seen(State):
    """How much has been told, and a sum that depends on the order of telling."""

    told: int = 0
    mixed: float = 0.0


@dataclass(frozen=True)
class Probe(Strategy[Seen]):
    """Proposes points that depend on all that it was told, in the order told."""

    pending: int = ANY_NUMBER
    most: int = ANY_NUMBER

    def init(self, space: Space, seed: int) -> Seen:
        return Seen(space, seed)

    def ask(self, state: Seen, n: int) -> tuple[Seen, Batch]:
        n = max(0, min(n, self.most - state.asked))
        x = rng.uniform(state.seed, state.asked, n, state.space.dim)
        if self.pending < ANY_NUMBER:
            x = (x + state.mixed) % 1.0
        batch = Batch(x, np.arange(state.asked, state.asked + n))
        return replace(state, asked=state.asked + n), batch

    def tell(self, state: Seen, batch: Batch, outcome: Outcome) -> Seen:
        mixed = state.mixed
        for loss in outcome.loss[:, 0].tolist():
            mixed = 0.0 if loss != loss else (mixed * 0.5 + loss) % 1.0
        return replace(state, told=state.told + len(batch), mixed=mixed)

    def max_pending(self, state: Seen, slots: int) -> int:
        return min(self.pending, ANY_NUMBER) if self.pending > 1 else slots


@dataclass
class Fake:
    """Runs tasks in any order, loses some, tells some twice; all from a seed."""

    n: int
    seed: int = 0
    crash: float = 0.0
    twice: bool = False
    poison: frozenset[int] = frozenset()
    fails: bool = False
    seconds: float = 1e-6
    queue: list[Task] = field(default_factory=list)
    runs: Counter[int] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    most_running: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def slots(self) -> int:
        return self.n

    def want(self, tasks: int) -> None:
        self.wanted.append(tasks)

    def submit(self, task: Task) -> None:
        self.queue.append(task)
        self.most_running = max(self.most_running, len(self.queue))

    def cancel(self, task: int) -> None:
        self.queue = [t for t in self.queue if t.id != task]

    def poll(self, timeout: float) -> Sequence[ExecutorEvent]:
        events: list[ExecutorEvent] = []
        for _ in range(self.random.randint(1, 2)):
            if not self.queue:
                break
            task = self.queue.pop(self.random.randrange(min(self.n, len(self.queue))))
            self.sizes.append(len(task.trials))
            self.runs.update(task.trials.number.tolist())
            if self.poison & set(task.trials.number.tolist()) or self.random.random() < self.crash:
                events.append(Lost(task.id, "crashed", "gone"))
                continue
            done = Done(task.id, self.results(task))
            events += [done, done] if self.twice else [done]
        return events

    def results(self, task: Task) -> Results:
        k = len(task.trials)
        a = task.trials.columns.numbers["a"]
        state = np.full(k, FAILED if self.fails else COMPLETE, dtype=np.uint8)
        started = 1 + np.arange(k) * int(self.seconds * 1e9)
        return Results(state, {"loss": a**2}, {}, started, np.full(k, self.seconds), "here")

    def close(self) -> None:
        self.queue.clear()


class Rows(list[Finished]):
    """A log in memory."""

    def admit(self, finished: Finished) -> Finished:
        return finished

    def append(self, finished: Sequence[Finished]) -> None:  # type: ignore[override]
        self.extend(finished)

    def record(self, reports: Sequence[Reports]) -> None:
        raise AssertionError("nothing reports here")

    def save(self, saved: Sequence[Checkpoint]) -> None:
        raise AssertionError("nothing is saved here")

    def starts(self, trials: Trials) -> dict[int, Checkpoint]:
        return {}

    def behind(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def retain(self, numbers: frozenset[int] | None) -> None:
        assert numbers is None, "nothing goes on from others here"

    def column(self, name: str) -> list[int]:
        return [v for finished in self for v in getattr(finished, name).tolist()]

    def table(self) -> list[tuple[object, ...]]:
        rows = []
        for f in self:
            losses = LOSS.losses(f.state, f.metrics)[:, 0].tolist()
            a = f.columns.numbers["a"].tolist()
            rows += list(zip(f.number.tolist(), f.state.tolist(), a, losses, strict=True))
        return rows


def run(
    executor: Fake,
    *,
    strategy: Probe = Probe(),
    limits: Limits = Limits(trials=100),
    history: Rows | None = None,
    in_order: bool = False,
    window: int | None = None,
    stop_after: int | None = None,
) -> tuple[str, Rows, Proposer]:
    """One session on top of a history; the log holds only what is new."""
    history = history or Rows()
    proposer = Proposer(strategy, SPACE, LOSS, seed=3)
    replay = Replay(proposer)
    for finished in history:
        replay.take(finished)
    loop = Loop(
        limits,
        proposer.max_pending(executor.n),
        finished=sum(map(len, history)),
        completed=history.column("state").count(COMPLETE),
        backlog=replay.pending(),
        in_order=in_order,
        window=window,
    )
    log = Rows()

    def watch(loop: Loop, finished: Sequence[Finished]) -> bool:
        return stop_after is not None and sum(map(len, log)) >= stop_after

    why = Driver(loop, proposer, executor, log, watch).run()
    return why, log, proposer


@FEW
@given(
    seed=st.integers(0, 10**6),
    slots=st.integers(1, 5),
    pending=st.sampled_from([1, 3, 10, ANY_NUMBER]),
    trials=st.integers(1, 300),
    in_order=st.booleans(),
    twice=st.booleans(),
)
def test_every_trial_is_told_exactly_once_and_never_one_more(
    seed: int, slots: int, pending: int, trials: int, in_order: bool, twice: bool
) -> None:
    executor = Fake(slots, seed, crash=0.1, twice=twice)
    why, log, proposer = run(
        executor,
        strategy=Probe(pending),
        limits=Limits(trials, retries=1000),
        in_order=in_order,
    )
    assert why == "trials"
    assert sorted(log.column("number")) == list(range(trials))
    assert proposer.state.told == trials
    assert set(log.column("state")) == {COMPLETE}


@FEW
@given(seed=st.integers(0, 10**6), window=st.integers(1, 6))
def test_a_reproducible_search_does_not_depend_on_timing(seed: int, window: int) -> None:
    tables = [
        run(
            Fake(slots, seed + slots, crash=crash, seconds=seconds),
            strategy=Probe(pending=4),
            limits=Limits(60, retries=1000),
            in_order=True,
            window=window,
        )[1].table()
        for slots, crash, seconds in [(1, 0.0, 1e-6), (2, 0.3, 1.0), (7, 0.1, 1e-6)]
    ]
    assert tables[0] == tables[1] == tables[2]


@FEW
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 80), pending=st.sampled_from([1, 4, 9]))
def test_a_resumed_search_goes_on_as_the_uninterrupted_one(
    seed: int, cut: int, pending: int
) -> None:
    """Cut the log of a one-slot search anywhere: what follows is the same, bit for bit."""
    strategy = Probe(pending)
    whole = run(Fake(1, seed), strategy=strategy, in_order=True)[1]
    prefix = Rows(whole[:cut])  # in lockstep every record is one row
    rest = run(Fake(1, seed + 1), strategy=strategy, history=prefix, in_order=True)[1]
    assert prefix.table() + rest.table() == whole.table()


@FEW
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 50))
def test_resuming_a_parallel_search_runs_each_trial_once(seed: int, cut: int) -> None:
    strategy = Probe(pending=8)
    whole = run(Fake(4, seed, crash=0.1), strategy=strategy, limits=Limits(60, retries=99))[1]
    prefix = Rows(whole[:cut])
    rest = run(Fake(3, seed), strategy=strategy, limits=Limits(60), history=prefix)[1]
    assert sorted(prefix.column("number") + rest.column("number")) == list(range(60))


def test_replay_refuses_a_strategy_that_proposes_something_else() -> None:
    history = run(Fake(2), limits=Limits(20))[1]
    moved = Rows(
        replace(
            f, trials=Trials(f.number, SPACE.decode(np.clip(SPACE.encode(f.columns) + 0.01, 0, 1)))
        )
        for f in history
    )
    with pytest.raises(StudyMismatch, match="is not what Probe"):
        run(Fake(2), limits=Limits(30), history=moved)


def test_a_poisonous_trial_fails_alone() -> None:
    executor = Fake(2, poison=frozenset({700}))
    _, log, _ = run(executor, limits=Limits(2000, retries=2))
    states = dict(zip(log.column("number"), log.column("state"), strict=True))
    assert states.pop(700) == CRASHED
    assert set(states.values()) == {COMPLETE}


@pytest.mark.parametrize("retries", [0, 3, 40])
def test_a_crashing_trial_runs_once_and_as_often_again_as_retries_say(retries: int) -> None:
    executor = Fake(1, poison=frozenset({0}))
    _, log, _ = run(executor, limits=Limits(5, retries=retries))
    assert executor.runs[0] == 1 + retries
    by_number = dict(zip(log.column("number"), log.column("attempts"), strict=True))
    assert by_number == {0: 1 + retries, 1: 1, 2: 1, 3: 1, 4: 1}


def test_a_crash_after_the_timeout_is_a_timeout_and_not_tried_again() -> None:
    loop = Loop(Limits(10, timeout=2.0), 1)
    proposer = Proposer(Probe(), SPACE, LOSS, 0)
    loop.running[1] = Work.new(proposer.ask(1), 0).begun(10)
    commands = loop.handle(Lost(1, "crashed", "watchdog"), now=10 + 4_000_000_000)
    (tell,) = commands
    assert tell.finished.state.tolist() == [TIMEOUT]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("most", [1, 10])
def test_as_many_failures_at_the_start_end_the_search(most: int, slots: int) -> None:
    why, log, _ = run(Fake(slots, fails=True), limits=Limits(1000, max_failures=most))
    assert why == "failures"
    assert most <= len(log.column("number")) <= max(most, slots)


def test_a_strategy_with_nothing_left_ends_the_search() -> None:
    why, log, _ = run(Fake(3), strategy=Probe(most=17), limits=Limits(trials=None))
    assert why == "exhausted"
    assert len(log.column("number")) == 17


def test_the_time_limit_ends_the_search_and_drops_what_runs() -> None:
    why, log, proposer = run(Fake(2), limits=Limits(trials=None, deadline=0))
    assert (why, len(log), proposer.state.told) == ("time", 0, 0)


def test_draining_tells_what_runs_and_asks_for_nothing_more() -> None:
    executor = Fake(2, seconds=100.0)
    why, log, _ = run(executor, limits=Limits(trials=None), stop_after=10)
    assert why == "stopped"
    assert 10 <= len(log.column("number")) <= 12
    assert not executor.queue


def test_batches_grow_for_short_trials_and_stay_at_one_for_long_ones() -> None:
    short, long = Fake(2, seconds=1e-6), Fake(2, seconds=60.0)
    run(short, limits=Limits(200_000))
    run(long, limits=Limits(50))
    assert len(short.sizes) < 100
    assert set(long.sizes) == {1}


def test_batches_of_large_configurations_stay_small() -> None:
    short = Fake(2, seconds=1e-6)
    loop = Loop(Limits(2_000), ANY_NUMBER, width=10_000)
    Driver(loop, Proposer(Probe(), SPACE, LOSS, 0), short, Rows(), lambda *_: False).run()
    assert 1 < max(short.sizes) <= 2**21 / 10_000


def test_results_that_come_together_are_told_together() -> None:
    executor = Fake(2, seconds=1e-6)
    _, log, proposer = run(executor, limits=Limits(20_000))
    assert len(log) < len(executor.sizes)
    assert proposer.state.told == 20_000


def test_long_trials_are_not_queued_ahead_of_a_free_slot() -> None:
    executor = Fake(4, seconds=60.0)
    run(executor, limits=Limits(50))
    assert executor.most_running == 4


def test_a_strategy_that_looks_at_losses_is_never_asked_for_more_than_it_bears() -> None:
    executor = Fake(4, seconds=1e-6)
    run(executor, strategy=Probe(pending=5), limits=Limits(500))
    assert executor.most_running <= 5


def test_slots_that_come_are_used() -> None:
    executor = Fake(1, seconds=60.0)
    log = Rows()
    proposer = Proposer(Probe(), SPACE, LOSS, 0)

    def watch(loop: Loop, finished: Sequence[Finished]) -> bool:
        executor.n = 6 if len(log) > 5 else 1
        return False

    loop = Loop(Limits(60), ANY_NUMBER, in_order=True)
    assert Driver(loop, proposer, executor, log, watch).run() == "trials"
    assert executor.most_running == 6


def test_a_backlog_alone_is_run_and_nothing_is_asked() -> None:
    trials = Proposer(Probe(), SPACE, LOSS, 0).ask(5)
    backlog = Work.new(trials, 0, attempts=np.array([1, 2, 1, 1, 1]))
    log = Rows()
    loop = Loop(Limits(None), ANY_NUMBER, finished=5, backlog=[backlog])
    why = Driver(loop, Nobody(SPACE), Fake(2), log, lambda *_: False).run()
    assert why == "exhausted"
    assert sorted(log.column("attempts")) == [2, 2, 2, 2, 3]
    assert set(log.column("after")) == {RETRIED}


def test_a_second_wish_to_stop_cancels() -> None:
    executor = Fake(2, seconds=60.0)
    proposer = Proposer(Probe(), SPACE, LOSS, 0)
    driver: Driver

    def watch(loop: Loop, finished: Sequence[Finished]) -> bool:
        driver.stop(Stop("cancel"))
        return False

    driver = Driver(Loop(Limits(60), 9), proposer, executor, Rows(), watch)
    assert driver.run() == "stopped"
    assert not executor.queue


def test_replay_forgives_the_last_bits_of_other_machines() -> None:
    history = run(Fake(2), limits=Limits(20))[1]
    moved = Rows(
        replace(f, trials=Trials(f.number, SPACE.decode(SPACE.encode(f.columns) * (1 - 1e-15))))
        for f in history
    )
    assert run(Fake(2), limits=Limits(30), history=moved)[0] == "trials"


def test_a_new_chapter_draws_other_points() -> None:
    first, second = (Proposer(Probe(), SPACE, LOSS, 3, first=n).ask(5) for n in (0, 50))
    assert second.number.tolist() == [50, 51, 52, 53, 54]
    assert not set(first.columns.numbers["a"]) & set(second.columns.numbers["a"])


def test_a_backlog_larger_than_what_is_left_is_cut() -> None:
    trials = Proposer(Probe(), SPACE, LOSS, 0).ask(20)
    log = Rows()
    loop = Loop(Limits(trials=10), ANY_NUMBER, finished=3, backlog=[Work.new(trials, 0)])
    assert Driver(loop, Nobody(SPACE), Fake(4), log, lambda *_: False).run() == "trials"
    assert len(log.column("number")) == 7


def test_a_task_that_is_long_overdue_is_given_up_and_run_again() -> None:
    loop = Loop(Limits(10, timeout=2.0), 1)
    loop.handle(Slots(1), 0)
    loop.plan(0)
    loop.handle(Asked(Proposer(Probe(), SPACE, LOSS, 0).ask(1), 1), 0)
    (submit,) = loop.plan(0)
    assert loop.plan(int(61e9)) == []
    assert loop.plan(int(63e9)) == [Cancel(submit.task.id)]
    (again,) = loop.plan(int(63e9))
    assert again.task.trials.number.tolist() == [0]
    late = Fake(1).results(submit.task)
    assert loop.handle(Done(submit.task.id, late), int(64e9)) == []


def test_nothing_is_asked_while_an_ask_is_outstanding() -> None:
    loop = Loop(Limits(10), 4)
    loop.handle(Slots(2), 0)
    assert [type(c) for c in loop.plan(0)] == [Ask]
    assert loop.plan(0) == []


def test_a_full_disk_is_waited_for() -> None:
    waited: list[float] = []

    class Full(Rows):
        def append(self, finished: Sequence[Finished]) -> None:  # type: ignore[override]
            if len(waited) < 2:
                raise StudyStorage(errno.ENOSPC, "disk full")
            super().append(finished)

    proposer = Proposer(Probe(), SPACE, LOSS, 0)
    log = Full()
    loop = Loop(Limits(5), ANY_NUMBER)
    Driver(loop, proposer, Fake(1), log, lambda *_: False, sleep=waited.append).run()
    assert sorted(log.column("number")) == list(range(5))
    assert waited == [1, 2]


@pytest.mark.parametrize(("how", "ends"), [("moved", False), ("crowded", False), ("node", True)])
def test_machines_may_die_ten_times_and_leave_as_often_as_they_like(how: Any, ends: bool) -> None:
    loop = Loop(Limits(10, retries=0), 1)
    loop.handle(Slots(1), 0)
    loop.plan(0)
    loop.handle(Asked(Proposer(Probe(), SPACE, LOSS, 0).ask(1), 1), 0)
    for _ in range(11):
        (submit,) = loop.plan(0)
        told = loop.handle(Lost(submit.task.id, how, "gone"), 0)
    assert bool(told) == ends


def test_the_executor_hears_how_many_trials_could_run_at_once() -> None:
    """Of what is left, as far as the strategy bears it, for twice the slots that there are."""
    executor = Fake(3, seconds=60.0)
    run(executor, limits=Limits(20))
    assert executor.wanted[0] == 20
    assert executor.wanted == sorted(executor.wanted, reverse=True)
    executor = Fake(3, seconds=60.0)
    run(executor, strategy=Probe(pending=5), limits=Limits(20))
    assert executor.wanted[0] == 5
    executor = Fake(3, seconds=60.0)
    run(executor, limits=Limits(20), in_order=True, window=4)
    assert executor.wanted[0] == 4
    executor = Fake(3, seconds=60.0)
    run(executor, limits=Limits(40), stop_after=5)
    assert executor.wanted[-1] == 0
