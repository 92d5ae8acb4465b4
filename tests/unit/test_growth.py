"""How long a search waits for the first machine, and how it ends if none comes."""

from __future__ import annotations

import pytest

import raysearch as rs
from raysearch.cli.exits import CLUSTER, exit_code
from raysearch.engine import ray_machines
from raysearch.engine.inline import Inline
from raysearch.engine.ray_machines import Growth, _Autoscaler
from raysearch.errors import ClusterLost, ClusterTooSmall

KNOWN = frozenset({"head"})
QUOTA = "gpu: VcpuLimitExceeded, the quota is 0"


class Cluster:
    """What an autoscaler says, at a time of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.says = 1000.0, _Autoscaler()
        monkeypatch.setattr(ray_machines.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(ray_machines, "_autoscaler", lambda: self.says)
        monkeypatch.setattr(ray_machines, "_machines", dict)
        monkeypatch.setattr(Growth, "_wait", lambda self, n: None)
        self.growth = Growth({"num_gpus": 1})

    def ends_after(self, seconds: float = 4000.0) -> tuple[float, str]:
        """When it gives up, and what it says then."""
        began = self.now
        while self.now < began + seconds:
            try:
                self.growth.follow(8, slots=0)
            except ClusterTooSmall as error:
                return self.now - began, str(error)
            self.now += 1.0
        return float("inf"), ""


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


@pytest.mark.parametrize(
    ("says", "least", "most"),
    [
        (_Autoscaler(), 0, 0),  # nobody looks after the cluster
        (_Autoscaler(KNOWN), 30, 40),  # it has no such machines
        (_Autoscaler(KNOWN, refused=(QUOTA,)), 30, 40),
        (_Autoscaler(KNOWN, starts=True), 900, 910),  # it begins, again and again
    ],
)
def test_an_autoscaler_has_a_chance_and_not_for_ever(cluster, says, least, most):
    cluster.says = says
    waited, message = cluster.ends_after()
    assert least <= waited <= most
    assert "GPU: wanted 1, the most on one machine is 0" in message
    assert ("the autoscaler has brought none" in message) == bool(says.types)
    assert (QUOTA in message) == bool(says.refused)


def test_what_has_been_there_may_come_back(cluster):
    cluster.growth.follow(8, slots=1)
    assert cluster.ends_after()[0] == float("inf")


def test_a_cluster_that_is_too_small_has_not_been_lost(monkeypatch):
    def slots(self):
        raise ClusterTooSmall("no machine has it")

    monkeypatch.setattr(Inline, "slots", slots)
    with pytest.raises(ClusterTooSmall) as caught:
        rs.search(lambda c: c["x"], {"x": rs.Float(0, 1)}, trials=2, address="inline")
    assert not isinstance(caught.value, ClusterLost)
    assert exit_code(caught.value) == CLUSTER
