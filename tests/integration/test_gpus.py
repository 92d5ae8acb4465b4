"""Whole and fractional GPUs, pretended ones: Ray counts them, and hides those of others."""

from __future__ import annotations

import os
import time
from collections import defaultdict

import pytest
import ray

import raysearch as rs
from raysearch.errors import ClusterError

pytestmark = pytest.mark.usefixtures("ray_local")

SPACE = {"x": rs.Float(0, 1)}
SHARED = {"num_cpus": 0.1, "num_gpus": 0.5}  # two a device: with two devices, four at once


class Member:
    """Says where it is, and when."""

    def __init__(self, device):
        self.visible, self.device = os.environ["CUDA_VISIBLE_DEVICES"], device

    def __call__(self, config, trial):
        assert trial.device == self.device == "cuda:0"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == self.visible
        began = time.time()
        time.sleep(0.3)
        return {
            "loss": config["x"],
            "gpu": self.visible,
            "pid": os.getpid(),
            "began": began,
            "ended": time.time(),
        }


def function(config, trial):
    return Member(trial.device)(config, trial)


def most_at_once(spans):
    """How many of the (begin, end) pairs overlap at most."""
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def free_gpus():
    end = time.monotonic() + 20
    while ray.available_resources().get("GPU", 0) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    return ray.available_resources().get("GPU", 0)


@pytest.mark.parametrize("objective", [Member, function])
def test_members_share_devices_and_none_is_given_to_too_many(objective):
    study = rs.search(
        objective, SPACE, rs.RandomSearch(), trials=16, ray_options=SHARED, progress=False
    )
    trials = study.trials.to_pydict()
    assert trials["state"] == ["complete"] * 16, trials["error"]
    spans = defaultdict(list)
    for gpu, began, ended in zip(
        *(trials[f"metrics.{name}"] for name in ("gpu", "began", "ended")), strict=True
    ):
        spans[gpu].append((began, ended))
    assert spans.keys() == {"0", "1"}  # each member sees one device
    assert max(map(most_at_once, spans.values())) == 2
    assert free_gpus() == 2


def test_without_gpus_the_device_is_the_cpu():
    def objective(config, trial):
        return float(trial.device != "cpu")

    for address in (None, "inline"):
        study = rs.search(objective, SPACE, trials=2, progress=False, address=address)
        assert study.best.metrics["loss"] == 0


def test_devices_are_released_when_a_search_is_stopped():
    class Endless:
        def __call__(self, config, trial):
            time.sleep(60 if trial.number > 1 else 0)
            return config["x"]

    begin = time.monotonic()
    study = rs.search(
        Endless, SPACE, time_limit=4, ray_options={**SHARED, "num_gpus": 1}, progress=False
    )
    assert len(study) <= 2
    assert free_gpus() == 2
    assert time.monotonic() - begin < 40


@pytest.mark.parametrize("objective", [Member, function])
def test_more_gpus_than_there_will_ever_be_are_named_at_once(objective):
    with pytest.raises(ClusterError, match="GPU: wanted 3, the most on one machine is 2"):
        rs.search(objective, SPACE, trials=2, ray_options={"num_gpus": 3}, progress=False)
