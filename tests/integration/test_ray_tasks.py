from __future__ import annotations

import functools
import signal
import threading
import time

import numpy as np
import pytest

from raysearch.engine.ray_tasks import RayTasks
from raysearch.engine.ray_workers import _hear_interrupts
from raysearch.engine.records import Done, Job, Lost, Objectives, Task, Trials
from raysearch.errors import ClusterError, ObjectiveError, UsageError
from raysearch.space import Choice, Float, Space

pytestmark = pytest.mark.usefixtures("ray_local")

SPACE = Space({"x": Float(0, 1)})
LOCK = threading.Lock()
BIG = np.ones(2_000_000)


def job(objective, space=SPACE, **options):
    return Job(objective, space, Objectives(("loss",), (False,)), 0, **options)


def run(executor, n=1):
    columns = SPACE.decode(np.full((1, 1), 0.5))
    for i in range(n):
        executor.submit(Task(i, Trials(np.array([i]), columns)))
    events = []
    end = time.monotonic() + 60
    while len(events) < n and time.monotonic() < end:
        events += executor.poll(1.0)
    executor.close()
    return events


# --- what is refused before anything starts ---------------------------------------------------


class Holder:
    def __init__(self):
        self.inner = {"lock": threading.Lock()}

    def __call__(self, config):
        return 0.0


def closure():
    guard = threading.Lock()
    return lambda config: float(guard.locked())


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        (closure(), "'guard'"),
        (lambda config: float(LOCK.locked()), "'LOCK'"),
        (functools.partial(lambda lock, config: 0.0, threading.Lock()), "'argument 1'"),
        (Holder(), r"'inner'\.lock"),
        (lambda config, lock=LOCK: 0.0, "'lock'"),
    ],
)
def test_the_variable_that_cannot_be_sent_is_named(objective, name):
    with pytest.raises(ObjectiveError, match=rf"but {name} \(a _thread.lock\) cannot be serial"):
        RayTasks(job(objective))


def test_data_and_choices_that_cannot_be_sent_are_named():
    with pytest.raises(UsageError, match=r"data\['guard'\].* a lock cannot"):
        RayTasks(job(lambda config: 0.0, data={"guard": LOCK}))
    with pytest.raises(UsageError, match="values of a Choice"):
        RayTasks(job(lambda config: 0.0, Space({"c": Choice({"lock": LOCK, "none": None})})))


def test_a_large_capture_is_pointed_out():
    with pytest.warns(UserWarning, match=r"16 MB.*'BIG' \(16 MB\).*data=\{'BIG': BIG\}"):
        executor = RayTasks(job(lambda config: BIG[0]))
    assert [type(event) for event in run(executor)] == [Done]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"num_cpus": 3}, ClusterError, "CPU: wanted 3, the most on one machine is 2"),
        ({"num_gpus": 4}, ClusterError, "GPU: wanted 4, the most on one machine is 2"),
        ({"resources": {"disk": 1}}, ClusterError, "disk: wanted 1, .* is 0"),
        ({"num_cpu": 1}, UsageError, "ray_options: .*num_cpu"),
        ({"max_retries": 3}, UsageError, "max_retries is raysearch's own"),
    ],
)
def test_wrong_options_are_named(options, error, says):
    with pytest.raises(error, match=says):
        RayTasks(job(lambda config: 0.0), options)


# --- slots ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "slots"),
    [
        ({}, 2),
        ({"num_cpus": 0.5}, 4),
        ({"num_cpus": 0}, 2),
        ({"num_gpus": 1}, 2),
        ({"num_cpus": 0.1, "num_gpus": 0.25}, 8),
        ({"num_cpus": 0.1, "num_gpus": 0.4}, 4),  # a device holds two of them
        ({"num_cpus": 0.1, "num_gpus": 2}, 1),
    ],
)
def test_slots_are_what_fits(options, slots):
    assert RayTasks(job(lambda config: 0.0), options).slots() == slots
    assert RayTasks(job(lambda config: 0.0), options, concurrency=1).slots() == 1


def test_trials_share_a_worker_even_with_gpus():
    def objective(config):
        import os

        return {"loss": 0.0, "pid": os.getpid(), "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}

    executor = RayTasks(job(objective), {"num_gpus": 0.5, "num_cpus": 1})
    events = run(executor, 8)
    assert len({event.results.metrics["pid"][0] for event in events}) <= 3
    assert {event.results.metrics["gpu"][0] for event in events} <= {"0", "1"}


def test_a_worker_that_a_script_has_in_the_background_hears_that_it_is_cancelled():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _hear_interrupts()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


# --- on the way -------------------------------------------------------------------------------


class Opens:
    """Fails when it is unpacked."""

    def __call__(self, config):
        return 0.0

    def __reduce__(self):
        return _explode, ()


def _explode():
    raise RuntimeError("not on this machine")


def test_a_job_that_workers_cannot_open_is_refused():
    (event,) = run(RayTasks(job(Opens())))
    assert isinstance(event, Lost)
    assert event.how == "refused"
    assert "not on this machine" in event.message


def test_what_trials_print_stays_off_the_terminal(ray_local, capfd):
    def objective(config):
        for _ in range(20_000):
            print("flood")
        return 0.0

    run(RayTasks(job(objective)), 4)
    end = time.monotonic() + 20
    while "flood" not in ray_local.read_text() and time.monotonic() < end:
        time.sleep(0.2)
    assert "flood" in ray_local.read_text()
    assert capfd.readouterr() == ("", "")
