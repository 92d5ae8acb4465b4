"""Islands on a real Ray: the same trials as in this process, and workers that die."""

from __future__ import annotations

import os
import signal

import pytest

import raysearch as rs

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("ray_local")]

SPACE = {"x": rs.Float(-1, 1), "y": rs.Float(-1, 1)}
ISLANDS = rs.Islands(rs.GeneticAlgorithm(population=8), islands=3, migrate_every=50)


def sphere(config):
    return config["x"] ** 2 + config["y"] ** 2


def search(objective=sphere, trials=900, **options):
    return rs.search(objective, SPACE, ISLANDS, trials=trials, progress=False, **options)


def rows(study):
    names = ["number", "state", "config.x", "config.y", "metrics.loss"]
    return study.trials.select(names).sort_by("number").to_pylist()


def test_the_same_trials_as_in_this_process_and_after_a_resume(tmp_path):
    expected = rows(search(address="inline"))
    assert rows(search()) == expected
    search(trials=333, study=tmp_path / "s")
    assert rows(search(study=tmp_path / "s")) == expected


def test_a_worker_that_dies_costs_nothing(tmp_path):
    def once(config):
        if config["x"] > 0.9:
            try:
                (tmp_path / "dead").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return sphere(config)

    assert rows(search(once)) == rows(search(address="inline"))
    assert (tmp_path / "dead").exists()


def test_a_trial_that_always_kills_its_worker_is_told_as_crashed():
    def deadly(config, trial):
        if trial.number == 40:
            os._exit(3)
        return sphere(config)

    study = search(deadly, trials=90, retries=0)
    states = {row["number"]: row["state"] for row in rows(study)}
    assert states == {n: "crashed" if n == 40 else "complete" for n in range(90)}


def test_instances_of_a_class_go_on_with_islands_in_actors():
    class Sphere:
        def __init__(self):
            self.calls = 0

        def __call__(self, config):
            self.calls += 1
            return {"loss": sphere(config), "calls": self.calls}

    study = search(Sphere, trials=300)
    assert rows(study) == rows(search(trials=300, address="inline"))
    assert max(study.trials["metrics.calls"].to_pylist()) > 50
