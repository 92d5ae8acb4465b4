"""What every executor must do, whatever trials do."""

from __future__ import annotations

import ctypes
import inspect
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from raysearch import rng
from raysearch.engine.checkpoint import unpack
from raysearch.engine.executor import Executor
from raysearch.engine.inline import Inline
from raysearch.engine.objective import examine, vectorized
from raysearch.engine.records import (
    Done,
    ExecutorEvent,
    Job,
    Lost,
    Objectives,
    Reported,
    Task,
    Trials,
)
from raysearch.space import Choice, Float, Space
from raysearch.trial import COMPLETE, CRASHED, FAILED, INVALID, TIMEOUT

SPACE = Space(
    {"x": Float(0, 1), "kind": Choice(["a", "b"]), "slope": Float(1, 2).when(kind="a")},
    [lambda config: config["x"] >= 0],
)
PATIENCE = 60.0

Make = Callable[..., Executor]


def a_class(objective):
    """The objective as a class, an instance of which is called in its place."""
    if inspect.isclass(objective):
        return objective
    signature = examine(objective)

    class Trains:
        def __init__(self):
            self.objective = objective

        if signature.takes_trial and signature.reports:

            def __call__(self, config, trial):
                yield from self.objective(config, trial)

        elif signature.takes_trial:

            def __call__(self, config, trial):
                return self.objective(config, trial)

        elif signature.reports:

            def __call__(self, config):
                yield from self.objective(config)

        else:

            def __call__(self, config):
                return self.objective(config)

    return vectorized(Trains) if signature.vectorized else Trains


def kind_of(name, request):
    """What makes an executor."""
    if name == "inline":
        return Inline
    request.getfixturevalue("ray_local")
    from raysearch.engine.ray_actors import in_actors
    from raysearch.engine.ray_tasks import RayTasks

    if name == "ray":
        return RayTasks

    def actors(job, ray_options=None):
        options = {"num_cpus": 2, **(ray_options or {})}  # one, as each takes seconds to start
        return in_actors(replace(job, objective=a_class(job.objective)), options)

    return actors


@pytest.fixture(params=["inline", "ray", "actors"])
def make(request):
    """Make an executor for an objective."""
    Kind = kind_of(request.param, request)
    made = []

    def build(objective, **options):
        made.append(Kind(Job(objective, SPACE, Objectives(("loss",), (False,)), 0, **options)))
        return made[-1]

    yield build
    for executor in made:
        executor.close()


@pytest.fixture(params=["ray", "actors"])
def make_ray(request):
    kind = kind_of(request.param, request)
    made = []

    def build(objective, ray_options=None, **options):
        job = Job(objective, SPACE, Objectives(("loss",), (False,)), 0, **options)
        made.append(kind(job, ray_options))
        return made[-1]

    yield build
    for executor in made:
        executor.close()


def task(id: int, k: int = 1, first: int | None = None) -> Task:
    first = id if first is None else first
    columns = SPACE.decode(rng.uniform(0, first, k, SPACE.dim))
    return Task(id, Trials(np.arange(first, first + k), columns))


def run(executor: Executor, tasks: Sequence[Task]) -> dict[int, ExecutorEvent]:
    """Submit everything, and wait for one event each; none may come twice."""
    for each in tasks:
        executor.submit(each)
    events: dict[int, ExecutorEvent] = {}
    end = time.monotonic() + PATIENCE
    while len(events) < len(tasks) and time.monotonic() < end:
        for event in executor.poll(1.0):
            assert event.task not in events
            events[event.task] = event
    assert sorted(events) == sorted(each.id for each in tasks)
    assert list(executor.poll(0.0)) == []
    return events


def states(event: ExecutorEvent) -> list[int]:
    assert isinstance(event, Done), event
    return event.results.state.tolist()


# --- every executor ---------------------------------------------------------------------------


def test_each_task_comes_back_once_with_its_own_results(make: Make):
    executor = make(lambda config, trial: config["x"] + trial.rng.random())
    assert executor.slots() >= 1
    tasks = [task(i, k=i % 4 + 1, first=10 * i) for i in range(12)]
    events = run(executor, tasks)
    for each in tasks:
        seeds = rng.trial_seeds(0, each.trials.number).tolist()
        noise = [np.random.default_rng(seed).random() for seed in seeds]
        loss = events[each.id].results.metrics["loss"]
        assert loss.tolist() == (each.trials.columns["x"] + noise).tolist()


def test_conditional_parameters_are_absent_where_inactive(make: Make):
    events = run(make(lambda config: float("slope" in config)), [task(0, k=50)])
    expected = SPACE.decode(rng.uniform(0, 0, 50, SPACE.dim)).active["slope"]
    assert events[0].results.metrics["loss"].tolist() == expected.astype(float).tolist()


def test_columns_reach_a_vectorized_objective(make: Make):
    events = run(make(vectorized(lambda columns: columns["x"] * 2)), [task(0, k=50)])
    x = SPACE.decode(rng.uniform(0, 0, 50, SPACE.dim))["x"]
    assert events[0].results.metrics["loss"].tolist() == (x * 2).tolist()


def unpicklable(lock=threading.Lock) -> float:
    class Holds(Exception):
        def __init__(self):
            self.lock = lock()

    raise Holds


MISDEEDS = [
    (lambda: 1 / 0, FAILED),
    (unpicklable, FAILED),
    (lambda: math.nan, INVALID),
    (lambda: -math.inf, INVALID),
    (lambda: "text", INVALID),
    (lambda: {"acc": 1.0}, INVALID),
    (lambda: (i for i in ()), INVALID),
    (lambda: sys.exit(3), CRASHED),
    (lambda: time.sleep(60), TIMEOUT),
]


def test_a_trial_that_goes_wrong_goes_wrong_alone(make: Make):
    misdeeds = [misdeed for misdeed, _ in MISDEEDS]

    def objective(config, trial):
        which, wrong = divmod(trial.number, 2)
        return misdeeds[which]() if wrong else 1.0

    k = 2 * len(MISDEEDS)
    events = run(make(objective, timeout=0.5), [task(0, k=k), task(1, first=4)])
    expected = [state for _, wrong in MISDEEDS for state in (COMPLETE, wrong)]
    assert states(events[0]) == expected
    assert sorted(events[0].results.errors) == list(range(1, k, 2))
    assert states(events[1]) == [COMPLETE]


def test_data_arrives_and_cannot_be_written_to(make: Make):
    def objective(config, trial):
        if trial.number:
            trial.data["table"][0] = 5.0
        return trial.data["table"].sum() + trial.data["offset"]

    data = {"table": np.ones(200_000), "offset": 2}
    events = run(make(objective, data=data), [task(0), task(1)])
    assert events[0].results.metrics["loss"].tolist() == [200_002.0]
    assert states(events[1]) == [FAILED]


def test_a_task_that_is_cancelled_has_an_event_all_the_same(make: Make):
    executor = make(lambda config: 1.0)
    executor.submit(task(0))
    executor.submit(task(1))
    executor.cancel(1)
    executor.cancel(99)  # there is none
    events: dict[int, ExecutorEvent] = {}
    end = time.monotonic() + PATIENCE
    while len(events) < 2 and time.monotonic() < end:
        events |= {event.task: event for event in executor.poll(1.0)}
    assert states(events[0]) == [COMPLETE]
    assert isinstance(events[1], Lost)
    assert events[1].how == "cancelled"


def test_nothing_to_wait_for_is_no_error(make: Make):
    assert list(make(lambda config: 1.0).poll(0.01)) == []


# --- with workers of its own: what kills a process --------------------------------------------


def hang() -> None:
    """Beyond the reach of signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGURG])
    time.sleep(60)


def deadlock() -> None:
    """In C, with the interpreter lock held."""
    mutex, lock = ctypes.create_string_buffer(64), ctypes.PyDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)


def leave() -> None:
    os._exit(0)


def segfault() -> None:
    ctypes.string_at(0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("make_ray", "misdeed"),
    [
        *(("ray", misdeed) for misdeed in (leave, segfault, kill, hang, deadlock)),
        *(("actors", misdeed) for misdeed in (leave, hang)),
    ],
    indirect=["make_ray"],
)
def test_the_death_of_a_worker_is_told(make_ray, misdeed):
    def objective(config, trial):
        return misdeed() if trial.number == 0 else 1.0

    events = run(make_ray(objective, timeout=1.0), [task(0), task(1)])
    assert isinstance(events[0], Lost)
    assert events[0].how == "crashed"
    assert "run.log" in events[0].message
    assert states(events[1]) == [COMPLETE]


def test_a_running_task_is_ended_when_cancelled(make_ray):
    executor = make_ray(lambda config: time.sleep(60) or 1.0)
    executor.submit(task(0))
    time.sleep(0.5)
    executor.cancel(0)
    events: dict[int, ExecutorEvent] = {}
    end = time.monotonic() + 20
    while not events and time.monotonic() < end:
        events |= {event.task: event for event in executor.poll(1.0)}
    assert events[0].how == "cancelled"


# --- generators -------------------------------------------------------------------------------


def reported(executor: Executor, tasks: Sequence[Task], until: int = 1) -> list[ExecutorEvent]:
    """Everything that comes until so many tasks are over."""
    for each in tasks:
        executor.submit(each)
    events: list[ExecutorEvent] = []
    end = time.monotonic() + PATIENCE
    while sum(not isinstance(e, Reported) for e in events) < until and time.monotonic() < end:
        events += executor.poll(1.0)
    return events


def curve(events: Sequence[ExecutorEvent]) -> list[tuple[float, float]]:
    parts = [event.reports for event in events if isinstance(event, Reported)]
    return [
        pair
        for part in parts
        for pair in zip(part.step.tolist(), part.metrics["loss"].tolist(), strict=True)
    ]


def steps(config, trial):
    """Counts up to 5, on from where it was."""
    epoch = trial.checkpoint["epoch"] if trial.checkpoint else 0
    while epoch < 5:
        epoch += 1
        yield {"loss": config["x"] / epoch}, {"epoch": epoch}


def with_budget(one: Task, budget: float, **options: object) -> Task:
    trials = replace(one.trials, budget=np.full(len(one.trials), budget))
    return replace(one, trials=trials, **options)  # type: ignore[arg-type]


def test_a_generator_reports_each_step_and_ends_with_the_last(make: Make):
    events = reported(make(steps), [task(3)])
    x = float(task(3).trials.columns["x"][0])
    assert curve(events) == [(float(k), x / k) for k in range(1, 6)]
    assert states(events[-1]) == [COMPLETE]
    assert events[-1].results.metrics["loss"].tolist() == [x / 5]
    saved = [c for e in events if isinstance(e, Reported) for c in e.reports.saved][-1]
    assert (saved.number, saved.step, unpack(saved.data)) == (3, 5.0, {"epoch": 5})


def test_a_generator_is_ended_at_its_budget_and_goes_on_from_a_checkpoint(make: Make):
    executor = make(steps)
    *_, first = events = reported(executor, [with_budget(task(3), 2.0)])
    assert [step for step, _ in curve(events)] == [1.0, 2.0]
    assert first.results.budget.tolist() == [2.0]
    saved = [c for e in events if isinstance(e, Reported) for c in e.reports.saved][-1]
    assert saved.rung
    again = with_budget(task(4, first=3), 4.0, starts={0: saved})
    *_, second = events = reported(executor, [again])
    assert [step for step, _ in curve(events)] == [3.0, 4.0]
    assert second.results.budget.tolist() == [4.0]


def test_several_generators_share_a_task(make: Make):
    events = reported(make(steps), [task(0, k=4)])
    assert states(events[-1]) == [COMPLETE] * 4
    numbers = np.concatenate([e.reports.number for e in events if isinstance(e, Reported)])
    assert numbers.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_what_is_compared_is_reported_at_once_and_never_left_out(make: Make):
    def hurried(config):
        for k in range(1, 10_001):
            yield {"loss": 1.0, "step": k}

    executor = make(hurried, rungs=(10.0, 1000.0))
    events = reported(executor, [replace(task(0), pace=0.01)])
    parts = [event.reports for event in events if isinstance(event, Reported)]
    step = np.concatenate([part.step for part in parts]).tolist()
    rung = np.concatenate([part.rung for part in parts]).tolist()
    assert [(s, r) for s, r in zip(step, rung, strict=True) if r >= 0] == [(10, 0), (1000, 1)]
    assert step[-1] == 10_000
    assert len(step) < 5_000
    ends = [part.rung[-1] for part in parts[:-1] if (part.rung >= 0).any()]
    assert min(ends) >= 0, "a report that is compared did not end its sending"


WRONG = [
    (lambda c: (yield "text"), INVALID, "found str"),
    (lambda c: (yield 1.0, 2.0), INVALID, "a tuple of float, float"),
    (lambda c: (yield 1.0, {"f": print}), INVALID, "found builtin_function_or_method"),
    (lambda c: (yield {"loss": 1.0, "step": 0}), INVALID, "step: expected a number above 0"),
    (lambda c: (yield 1 / 0), FAILED, "ZeroDivisionError"),
    (lambda c: (yield from ()), INVALID, "without yield"),
    (lambda c: (yield math.nan), INVALID, "at step 1, where it is compared"),
]


def test_a_generator_that_goes_wrong_says_why(make: Make):
    generators = [generator for generator, _, _ in WRONG]

    def objective(config, trial):
        yield from generators[trial.number](config)

    *_, event = reported(make(objective, rungs=(1.0,)), [task(0, k=len(WRONG))])
    assert states(event) == [state for _, state, _ in WRONG]
    for i, (_, _, says) in enumerate(WRONG):
        assert says in event.results.errors[i]


def test_a_generator_is_stopped_between_two_steps(make: Make, tmp_path):
    def endless(config):
        try:
            for k in range(10**9):
                yield k
                time.sleep(0.01)
        finally:
            (tmp_path / "closed").touch()

    executor = make(endless)
    executor.submit(task(7))
    events: list[ExecutorEvent] = []
    while not events:
        events += executor.poll(1.0)
    executor.cancel(7)
    events = reported(executor, [])
    assert isinstance(events[-1], Lost)
    assert events[-1].how == "cancelled"
    assert (tmp_path / "closed").exists()
    assert not [e for e in events if isinstance(e, Reported)], "it was heard after it was stopped"
    *_, event = reported(executor, [with_budget(task(8), 3.0)])  # the slot is free
    assert states(event) == [COMPLETE]


@pytest.mark.parametrize("on", ["sleep", "lock"])
def test_who_waits_is_woken_and_its_worker_stays(make_ray: Make, on, monkeypatch):
    from raysearch.engine import ray_tasks

    monkeypatch.setattr(ray_tasks, "_GRACE", 20.0)  # for a busy machine: nothing is forced

    def sleeps(config):
        yield {"loss": 0.0, "pid": float(os.getpid())}
        time.sleep(60) if on == "sleep" else threading.Event().wait()

    executor = make_ray(sleeps, ray_options={"num_cpus": 2})
    pids = set()
    for number in range(2):
        executor.submit(task(number))
        (event,) = executor.poll(30.0)
        pids |= set(event.reports.metrics["pid"].tolist())
        executor.cancel(number)
        event = reported(executor, [])[-1]
        assert isinstance(event, Lost)
        assert event.how == "cancelled"
    assert len(pids) == 1


def test_who_does_not_listen_is_forced_and_its_worker_replaced(make_ray: Make):
    def deaf(config):
        while True:
            yield 1.0
            try:
                time.sleep(60)
            except BaseException:
                time.sleep(60)

    executor = make_ray(deaf, ray_options={"num_cpus": 2})
    executor.submit(task(0))
    events: list[ExecutorEvent] = []
    while not events:
        events += executor.poll(1.0)
    executor.cancel(0)
    event = reported(executor, [])[-1]
    assert isinstance(event, Lost)
    assert event.how == "cancelled"


def test_a_generator_that_hangs_is_ended_at_its_timeout(make: Make):
    def hangs(config):
        yield 1.0
        time.sleep(60)

    *_, event = reported(make(hangs, timeout=0.3), [task(0)])
    assert states(event) == [TIMEOUT]


def test_a_generator_whose_worker_dies_is_lost_after_what_it_said(make_ray: Make):
    def dies(config):
        yield 1.0
        time.sleep(0.2)
        os._exit(3)

    events = reported(make_ray(dies, rungs=(1.0,)), [task(0)])
    assert curve(events) == [(1.0, 1.0)]
    assert isinstance(events[-1], Lost)
    assert events[-1].how == "crashed"
