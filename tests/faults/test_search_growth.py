"""A cluster that an autoscaler looks after: its machines come when a search needs them."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest

import raysearch as rs

RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"

SEARCH = """
import sys, time
import raysearch as rs
from raysearch.engine import ray_machines

def objective(config):
    time.sleep(3)
    return config["x"] ** 2

ray_machines._CHANCE = 2.0
rs.search(
    objective, {"x": rs.Float(-1, 1)}, rs.LocalSearch(), trials=12, study=sys.argv[2],
    address=sys.argv[1], ray_options={sys.argv[3]: 1},
    progress=lambda progress: print(progress.slots, flush=True),
)
"""

EVOLVE = """
import sys
import numpy as np
import raysearch as rs
from raysearch.engine import ray_machines

ray_machines._CHANCE = 2.0
run = rs.evolve(
    lambda x: (x**2).sum(axis=1), np.ones(10), population=4, generations=2, actors=2,
    address=sys.argv[1], ray_options={sys.argv[2]: 1},
)
print(*(metrics["generation"] for metrics, _ in run))
"""

MACHINES = """
import sys, time
import ray
ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) > 1:
    time.sleep(0.2)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def growing(home, start, wait, processes, monkeypatch):
    """The address of a head without CPUs; up to two machines with six each can come."""
    for name, value in {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }.items():
        monkeypatch.setenv(name, value)
    address = f"127.0.0.1:{free_port()}"
    nothing = ("cluster_synced_files", "initialization_commands", "setup_commands")
    nothing += ("head_setup_commands", "worker_setup_commands")
    nothing += ("head_start_ray_commands", "worker_start_ray_commands")
    size = {"object_store_memory": 80_000_000}
    config = {
        "cluster_name": "growing",
        "max_workers": 2,
        "idle_timeout_minutes": 0.05,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "auth": {"ssh_user": "nobody"},
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 6, **size}, "node_config": {}, "max_workers": 2},
        },
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        **{name: [] for name in nothing},
    }
    (home / "cluster.json").write_text(json.dumps(config))
    arguments = {
        "port": address.rpartition(":")[2],
        "dashboard-agent-listen-port": free_port(),
        "num-cpus": 0,
        "temp-dir": home / "ray",
        "include-dashboard": "false",
        "autoscaling-config": home / "cluster.json",
        **{name.replace("_", "-"): value for name, value in size.items()},
    }
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    head = start("-c", RAY, "start", "--head", *flags)
    _, err = head.communicate(timeout=60)
    assert head.returncode == 0, err
    yield address
    for pid in processes():
        os.kill(pid, signal.SIGKILL)


def test_machines_come_for_a_search_go_after_it_and_what_none_has_is_named(home, start, growing):
    evolution = start("-c", EVOLVE, growing, "num_cpus")
    search = start("-c", SEARCH, growing, "study", "num_cpus")
    out, err = search.communicate(timeout=90)
    assert search.returncode == 0, err
    slots = list(map(int, out.split()))
    assert min(slots) == 0
    assert max(slots) == 12
    rows = rs.Study.load(home / "study").trials.to_pylist()
    assert [row["error"] for row in rows] == [None] * 12
    out, err = evolution.communicate(timeout=60)
    assert evolution.returncode == 0, err
    assert out.split() == ["1.0", "2.0"]
    assert start("-c", MACHINES, growing).wait(60) == 0

    runs = [(SEARCH, growing, "none", "num_gpus"), (EVOLVE, growing, "num_gpus")]
    for run in [start("-c", *arguments) for arguments in runs]:
        _, err = run.communicate(timeout=60)
        assert run.returncode != 0
        assert "ClusterTooSmall" in err
        assert "GPU: wanted 1, the most on one machine is 0" in err
        assert "the autoscaler has brought none in " in err
