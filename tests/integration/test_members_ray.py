"""Members of populations, in Ray actors."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import raysearch as rs
from raysearch.engine.ray_shared import Shared
from raysearch.engine.ray_tasks import RayTasks
from raysearch.engine.records import Checkpoint, Task
from raysearch.log.checkpoints import Checkpoints
from raysearch.space import Float

pytestmark = pytest.mark.usefixtures("ray_local")

SPACE = {"lr": Float(0.001, 0.5, log=True)}


def pbt():
    return rs.PopulationBased(population=5, max_budget=6, interval=2, inherit=("w",))


class Large:
    """A quadratic of 50,000 numbers, that now and then is killed."""

    def __init__(self, data):
        self.folder = data["folder"]

    def load(self, state, trial):
        self.at("load", trial)
        self.w = np.full(50_000, 2.0) if state is None else state["w"].copy()
        self.age = (state or {}).get("age", 0)

    def step(self, config, trial):
        self.at("step", trial)
        self.age += 1
        self.w *= 1 - config["lr"] / self.age
        self.trial = trial
        return {"loss": float(self.w[0])}

    def save(self):
        self.at("save", self.trial)
        return {"w": self.w, "age": self.age}

    def at(self, stage, trial):
        """Die here, once, if it is trial 7 and somebody wants that."""
        wish = os.path.join(self.folder, stage)
        if trial.number == 7 and os.path.exists(wish):
            os.remove(wish)
            os.kill(os.getpid(), signal.SIGKILL)


def found(tmp_path, **options):
    data = {"folder": str(tmp_path)}
    how = {"reproducible": True, "concurrency": 2, "progress": False}
    study = rs.search(Large, SPACE, pbt(), data=data, **how, **options)
    assert not list(tmp_path.glob("[ls]*"))
    table = study.trials.sort_by("number")
    names = ["number", "parent", "budget", "config.lr", "metrics.loss", "metrics.inherited"]
    return study, table.select(names).to_pydict()


@pytest.mark.parametrize("stage", ["load", "step", "save"])
def test_an_actor_that_is_killed_loses_nothing(tmp_path, stage, monkeypatch):
    near, starts = [], Checkpoints.starts

    def noted(self, trials):
        given = starts(self, trials)
        near.extend(type(start.near) for start in given.values())
        return given

    _, whole = found(tmp_path, address="inline")
    monkeypatch.setattr(Checkpoints, "starts", noted)
    (tmp_path / stage).touch()
    study, rows = found(tmp_path)
    assert rows == whole
    assert '["w"]' in rows["metrics.inherited"]
    assert study.trial(7).attempts == 2
    assert set(near) == {Shared}


def test_bytes_are_sent_where_workers_may_have_lost_them():
    class Near:
        def get(self):
            raise AssertionError("it is not fetched here")

    def sent(attempts):
        task = Task(0, None, np.array([attempts]))
        return RayTasks._sent(None, Checkpoint(3, 1.0, b"weights", near=Near()), task)

    assert sent(1).data == b""
    assert (sent(2).data, sent(2).near) == (b"weights", None)
