"""Objectives that are classes, in Ray actors."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import raysearch as rs
from raysearch.engine.ray_actors import in_actors
from raysearch.engine.records import Done, Job, Objectives, Task, Trials
from raysearch.errors import ObjectiveError
from raysearch.space import Float, Space

pytestmark = pytest.mark.usefixtures("ray_local")

SPACE = Space({"x": Float(0, 1)})


def executor_for(objective, ray_options=None, **options):
    job = Job(objective, SPACE, Objectives(("loss",), (False,)), 0, **options)
    return in_actors(job, ray_options)


def run(executor, n, first=0, waiting=0):
    """Tasks of one trial each; their events, and those of others, by the trial's number."""
    columns = SPACE.decode(np.full((1, 1), 0.5))
    for i in range(first, first + n):
        executor.submit(Task(i, Trials(np.array([i]), columns)))
    events = {}
    end = time.monotonic() + 60
    while len(events) < n + waiting and time.monotonic() < end:
        events |= {event.task: event for event in executor.poll(1.0)}
    return events


def of(events, metric):
    return {float(event.results.metrics[metric][0]) for event in events.values()}


def alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def gone(pids):
    end = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


class Opens:
    """Counts the trials of this very instance."""

    def __init__(self, data):
        self.start, self.calls = data["start"], 0

    def __call__(self, config):
        self.calls += 1
        time.sleep(0.05)
        return {"loss": self.start + self.calls, "pid": os.getpid()}


def test_an_instance_is_made_once_and_ends_with_the_search():
    executor = executor_for(Opens, data={"start": 10.0})
    events = run(executor, 12)
    pids = of(events, "pid")
    assert len(pids) == executor.slots() == 2
    losses = [float(event.results.metrics["loss"][0]) for event in events.values()]
    assert losses.count(11.0) == 2
    assert max(losses) > 12.0
    executor.close()
    assert gone(pids)


def test_as_many_actors_as_may_run_at_once():
    executor = executor_for(Opens, {"num_cpus": 2, "name": "trains"}, data={"start": 0.0})
    assert len(of(run(executor, 6), "pid")) == 1
    executor.close()


def test_a_task_that_waits_for_a_machine_begins_when_there_is_one(monkeypatch):
    executor = executor_for(Opens, data={"start": 0.0})
    with monkeypatch.context() as nowhere:
        nowhere.setattr(executor, "slots", lambda: 0)
        executor.submit(Task(0, Trials(np.array([0]), SPACE.decode(np.full((1, 1), 0.5)))))
        assert list(executor.poll(0.01)) == []
    assert run(executor, 0, waiting=1).keys() == {0}
    executor.close()


# --- when something goes wrong ----------------------------------------------------------------


def test_an_init_that_raises_ends_the_search_by_name():
    class Broken:
        def __init__(self):
            raise OSError("no such device")

        def __call__(self, config):
            return 0.0

    with pytest.raises(ObjectiveError, match=r"Broken.__init__ raised OSError: no such device"):
        rs.search(Broken, SPACE, rs.RandomSearch(), trials=10, progress=False)
    with pytest.raises(ObjectiveError, match=r"Broken.__init__ raised OSError: no such device"):
        rs.search(Broken, SPACE, trials=10, progress=False, address="inline")


def test_an_init_that_raises_later_is_the_machines_fault(tmp_path):
    class Fails:
        def __init__(self):
            if (tmp_path / "full").exists():
                raise OSError("disk full")

        def __call__(self, config, trial):
            if trial.number == 1:
                (tmp_path / "full").touch()
                os._exit(1)
            return 0.0

    executor = executor_for(Fails, {"num_cpus": 2})
    events = run(executor, 3)
    assert isinstance(events[0], Done)
    assert [(event.how, "disk full" in event.message) for event in (events[1], events[2])] == [
        ("crashed", False),
        ("node", True),
    ]
    (tmp_path / "full").unlink()
    assert isinstance(run(executor, 1, first=5)[5], Done)
    executor.close()


def test_a_trial_whose_actor_dies_gets_a_new_one(tmp_path):
    class Dies:
        def __init__(self):
            self.calls = 0

        def __call__(self, config, trial):
            self.calls += 1
            if trial.number == 3 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os._exit(1)
            return {"loss": config["x"], "calls": self.calls}

    study = rs.search(Dies, SPACE, rs.RandomSearch(), trials=8, concurrency=1, progress=False)
    rows = study.trials.sort_by("number").to_pydict()
    assert rows["state"] == ["complete"] * 8
    assert rows["attempts"][3] == 2
    assert rows["metrics.calls"].count(1.0) == 2


def test_the_same_trials_as_inline():
    class Noise:
        def __call__(self, config, trial):
            return config["x"] + trial.rng.normal()

    found = [
        rs.search(Noise, SPACE, trials=6, concurrency=1, progress=False, address=address)
        for address in (None, "inline")
    ]
    values = [study.trials.sort_by("number")["metrics.loss"].to_pylist() for study in found]
    assert values[0] == values[1]
