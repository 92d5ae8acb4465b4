"""What every executor must do, whatever trials do."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from raysearch import rng
from raysearch.engine.executor import Executor
from raysearch.engine.inline import Inline
from raysearch.engine.objective import vectorized
from raysearch.engine.records import Done, ExecutorEvent, Job, Lost, Objectives, Task, Trials
from raysearch.space import Choice, Float, Space
from raysearch.trial import COMPLETE, CRASHED, FAILED, INVALID, TIMEOUT

SPACE = Space(
    {"x": Float(0, 1), "kind": Choice(["a", "b"]), "slope": Float(1, 2).when(kind="a")},
    [lambda config: config["x"] >= 0],
)
PATIENCE = 60.0

Make = Callable[..., Executor]

RAY = pytest.param("ray", marks=pytest.mark.xdist_group("ray"))


@pytest.fixture(params=["inline", RAY])
def make(request):
    """Make an executor for an objective."""
    if request.param == "ray":
        request.getfixturevalue("ray_local")
        from raysearch.engine.ray_tasks import RayTasks as Kind
    else:
        Kind = Inline
    made = []

    def build(objective, **options):
        made.append(Kind(Job(objective, SPACE, Objectives(("loss",), (False,)), 0, **options)))
        return made[-1]

    yield build
    for executor in made:
        executor.close()


@pytest.fixture
def make_ray(ray_local):
    from raysearch.engine.ray_tasks import RayTasks

    made = []

    def build(objective, ray_options=None, **options):
        job = Job(objective, SPACE, Objectives(("loss",), (False,)), 0, **options)
        made.append(RayTasks(job, ray_options))
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


@pytest.mark.parametrize(
    ("misdeed", "state"),
    [
        (lambda: 1 / 0, FAILED),
        (unpicklable, FAILED),
        (lambda: math.nan, INVALID),
        (lambda: -math.inf, INVALID),
        (lambda: "text", INVALID),
        (lambda: {"acc": 1.0}, INVALID),
        (lambda: (i for i in ()), INVALID),
        (lambda: sys.exit(3), CRASHED),
        (lambda: time.sleep(60), TIMEOUT),
    ],
)
def test_a_trial_that_goes_wrong_goes_wrong_alone(make: Make, misdeed, state):
    def objective(config, trial):
        return misdeed() if trial.number == 1 else 1.0

    events = run(make(objective, timeout=0.3), [task(0, k=3), task(1, first=5)])
    assert states(events[0]) == [COMPLETE, state, COMPLETE]
    assert list(events[0].results.errors) == [1]
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
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(60)


def deadlock() -> None:
    """In C, with the interpreter lock held."""
    mutex, lock = ctypes.create_string_buffer(64), ctypes.PyDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)


@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize(
    "misdeed",
    [
        lambda: os._exit(0),
        lambda: ctypes.string_at(0),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        hang,
        deadlock,
    ],
    ids=["exit", "segfault", "kill", "blocked", "deadlock"],
)
def test_the_death_of_a_worker_is_told(make_ray, misdeed):
    def objective(config, trial):
        return misdeed() if trial.number == 0 else 1.0

    events = run(make_ray(objective, timeout=0.3), [task(0), task(1)])
    assert isinstance(events[0], Lost)
    assert events[0].how == "crashed"
    assert "run.log" in events[0].message
    assert states(events[1]) == [COMPLETE]


@pytest.mark.xdist_group("ray")
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
