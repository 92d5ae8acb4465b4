"""Objectives that report on a real Ray: the same trials, whatever happens to workers."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import raysearch as rs
from raysearch import simulate
from raysearch.testing.reporting import SPACE, Cutter, curves, table, train

pytestmark = pytest.mark.usefixtures("ray_local")


@pytest.mark.parametrize("strategy", [rs.ASHA(max_budget=9), Cutter()], ids=["promote", "stop"])
def test_delays_and_killed_workers_change_nothing(tmp_path, strategy):
    def objective(config, trial):
        chance = np.random.default_rng()  # another one each time
        dies_at = chance.integers(1, 4) if trial.number % 5 == 2 else 0
        dies_at = 1 if trial.number == 2 else dies_at  # one dies for certain
        mark = tmp_path / f"{trial.number}"
        for k, step in enumerate(train(config, trial), 1):
            time.sleep(chance.random() * 0.01)
            if k == dies_at and not mark.exists():
                mark.touch()
                os._exit(1)
            yield step

    options = {"trials": 24, "reproducible": True}
    study = rs.search(objective, SPACE, strategy, concurrency=2, progress=False, **options)
    simulated = simulate.run(train, SPACE, strategy, workers=2, **options).study
    assert any(tmp_path.iterdir())
    assert table(study) == table(simulated)
    seen = [(number, step) for number, step, _ in curves(study)]
    assert len(seen) == len(set(seen))  # never two attempts at one step
