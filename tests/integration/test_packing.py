"""`num_gpus="auto"` on pretended GPUs, whose memory is pretended, too, and so is its measure."""

from __future__ import annotations

import sys
import time

import pytest
import ray

import raysearch as rs
from raysearch.engine import ray_packing
from raysearch.engine.packing import Memory
from raysearch.errors import ClusterTooSmall

pytestmark = pytest.mark.usefixtures("ray_local")

NEED = {4: 10.0}  # GB that trials take, of 16; the others 3
OPTIONS = {"num_cpus": 0.1, "num_gpus": "auto"}


def train(config, trial):
    """Takes memory; fails if its share has too little."""
    share = ray.get_runtime_context().get_assigned_resources()["GPU"]
    need, began = NEED.get(trial.number, 3.0), time.time()
    sys.pretended_peak = max(need, getattr(sys, "pretended_peak", 0.0))
    time.sleep(0.3)
    if need > 16 * share:
        raise type("OutOfMemoryError", (RuntimeError,), {})("16 GB are not enough")
    gpu = float(ray.get_gpu_ids()[0])
    return {"loss": 0.0, "share": share, "gpu": gpu, "began": began, "ended": time.time()}


class Trains:
    """The same, as a class of generators."""

    def __call__(self, config, trial):
        yield train(config, trial)


def measure():
    return Memory(sys.pretended_peak, 16.0)


def rows(objective, trials, monkeypatch):
    """Of three trials at once on two GPUs, by their numbers."""
    monkeypatch.setattr(ray_packing, "measure", measure)
    study = rs.search(
        objective,
        {"x": rs.Float(0, 1)},
        rs.RandomSearch(),
        trials=trials,
        retries=0,
        concurrency=3,
        ray_options=OPTIONS,
        progress=False,
    )
    return sorted(study.trials.to_pylist(), key=lambda row: row["number"])


def test_shares_follow_what_trials_take(monkeypatch):
    trials = rows(train, 6, monkeypatch)
    assert [row["state"] for row in trials] == ["complete"] * 6
    assert [row["attempts"] for row in trials] == [1, 1, 1, 1, 2, 1]  # its first was no failure
    share = [row["metrics.share"] for row in trials]
    assert share[:2] == [1, 1]  # nothing is known yet
    assert share[2:4] == [0.5, 0.5]  # a quarter would do, but leave a GPU empty
    after = [row for row in trials if row["metrics.began"] >= trials[4]["metrics.began"]]
    assert {row["metrics.share"] for row in after} == {1}  # since memory has run out
    for now in trials:
        with_it = [
            row["metrics.share"]
            for row in trials
            if row["metrics.gpu"] == now["metrics.gpu"]
            and row["metrics.began"] <= now["metrics.began"] < row["metrics.ended"]
        ]
        assert sum(with_it) <= 1


def test_classes_and_generators_are_packed_too(monkeypatch):
    assert [row["metrics.share"] for row in rows(Trains, 3, monkeypatch)] == [1, 1, 0.5]


def test_a_cluster_without_gpus_is_refused_as_with_one_gpu(monkeypatch):
    machines = {"a": {"CPU": 4.0}}
    monkeypatch.setattr("raysearch.engine.ray_machines._machines", lambda: machines)
    with pytest.raises(ClusterTooSmall, match="GPU: wanted 1, the most on one machine is 0"):
        rs.search(train, {"x": rs.Float(0, 1)}, trials=1, ray_options=OPTIONS)
