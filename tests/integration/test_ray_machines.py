"""What is known of a cluster's machines, and whether more can come."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from raysearch.engine import ray_machines
from raysearch.engine.ray_machines import can_grow, fit, leaving, request_of

REFUSED = {"category": "VcpuLimitExceeded", "description": "the quota of gpu is 0"}
NOTE = {
    "active_nodes": {},
    "pending_launches": {},
    "pending_nodes": [],
    "node_availability_summary": {"node_availabilities": {}},
}
QUOTA = {
    "active_nodes": {"head": 1},
    "node_availability_summary": {
        "node_availabilities": {
            "cpu": {"unavailable_node_information": None},
            "gpu": {"unavailable_node_information": REFUSED},
        }
    },
}


@pytest.fixture
def kept(ray_local, monkeypatch):
    """What is in the head's store, to be filled in."""
    from ray.experimental import internal_kv

    store: dict[bytes, bytes] = {}
    monkeypatch.setattr(internal_kv, "_internal_kv_get", lambda key, namespace=None: store.get(key))
    return store


@pytest.mark.parametrize(
    ("report", "answer"),
    [
        (None, "unknown"),  # the autoscaler, if it is one, has only just begun
        (NOTE, "no"),
        ({**NOTE, "active_nodes": {"node_0123": 1}}, "no"),  # one that only looks on
        ({**NOTE, "active_nodes": {"head": 1}}, "yes"),
        ({**NOTE, "active_nodes": {"head": 1}, "pending_launches": {"gpu": 1}}, "starts"),
        ({**NOTE, "pending_nodes": [["10.0.0.2", "gpu", "setting-up"]]}, "starts"),
        ({**NOTE, **QUOTA, "pending_launches": {"gpu": 1}}, "yes"),  # again, and in vain
        ({**NOTE, **QUOTA, "pending_nodes": [["10.0.0.2", "cpu", "setting-up"]]}, "starts"),
    ],
)
def test_the_older_autoscaler_is_known_by_its_note(kept, report, answer):
    kept[b"__autoscaling_status"] = json.dumps({"time": 1.0} | {"autoscaler_report": report})
    assert can_grow() == answer
    said = ray_machines._autoscaler()
    if report and "gpu" in report["node_availability_summary"]["node_availabilities"]:
        assert said.refused == ("gpu: VcpuLimitExceeded, the quota of gpu is 0",)
    else:
        assert said is None or said.refused == ()


@pytest.mark.parametrize(
    ("names", "coming", "failed", "version", "answer"),
    [
        (["head"], [], [], "0", "no"),  # it has never said anything
        (["node_01"], [], [], "3", "no"),
        (["head", "node_01"], [], [], "3", "yes"),
        (["head"], ["one"], [], "3", "starts"),
        (["head"], ["one"], ["quota"], "3", "yes"),
    ],
)
def test_the_newer_autoscaler_is_asked(kept, monkeypatch, names, coming, failed, version, answer):
    from ray.autoscaler.v2 import sdk

    nodes = [SimpleNamespace(ray_node_type_name=name) for name in names]
    status = SimpleNamespace(
        active_nodes=nodes[:1],
        idle_nodes=nodes[1:],
        pending_launches=coming,
        pending_nodes=[],
        failed_launches=[SimpleNamespace(ray_node_type_name="gpu", details=why) for why in failed],
        stats=SimpleNamespace(autoscaler_version=version),
    )
    monkeypatch.setattr(sdk, "get_cluster_status", lambda address: status)
    kept[b"__autoscaler_v2_enabled"] = b"1"
    assert can_grow() == answer
    assert ray_machines._autoscaler().refused == tuple(f"gpu: {why}" for why in failed)


def test_a_ray_of_one_machine_neither_grows_nor_leaves(ray_local):
    while (answer := can_grow()) == "unknown":
        time.sleep(0.1)
    assert answer == "no"
    assert leaving() == {}


def test_machines_that_leave_are_not_counted(monkeypatch):
    machines = {"a": {"CPU": 4.0}, "b": {"CPU": 8.0, "GPU": 1.0}}
    monkeypatch.setattr(ray_machines, "_machines", lambda: machines)
    assert fit(request_of({}), {}) == 12
    assert fit(request_of({}), {"b": 0}) == 4
    assert fit(request_of({"num_gpus": 0.25}), {}) == 4
    assert fit(request_of({"num_gpus": 0.25}), {"b": 0}) == 0
