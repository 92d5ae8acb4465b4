"""Memory under a search: of a worker, of the object store; and a driver that is killed itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import raysearch as rs

GROUP = Path("/sys/fs/cgroup/memory")

#: Goes into a control group of its own that has little memory, and sees that as the machine.
CONTAINER = """
import ctypes, os, pathlib, subprocess, sys

group = pathlib.Path(sys.argv.pop(1))
(group / "cgroup.procs").write_text(str(os.getpid()))
assert ctypes.CDLL(None).unshare(0x20000) == 0  # CLONE_NEWNS
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "--bind", group, "/sys/fs/cgroup/memory"], check=True)

from raysearch.cli import main

main()
"""

GREEDY = """
import pathlib, time
import raysearch as rs

space, strategy = {"x": rs.Float(-1, 1)}, rs.QuasiRandom()
settings = {"trials": 6, "study": "study", "address": "local", "concurrency": 1, "retries": 1}

def objective(config, trial):
    group = pathlib.Path("/sys/fs/cgroup/memory")
    used, limit = (group / "memory.usage_in_bytes", group / "memory.limit_in_bytes")
    held = []
    while trial.number == 2:
        most = int(used.read_text()) > 0.85 * int(limit.read_text())
        held.append(b"x" * (2**22 if most else 2**25))
        time.sleep(0.05 if most else 0)
    time.sleep(0.11)
    return config["x"] ** 2
"""

STORE = """
import numpy as np, ray
import raysearch as rs

ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)

def objective(config, trial):
    first, second = (trial.data[f"part {(trial.number + k) % 6}"] for k in range(2))
    return {"loss": float(first[-1] + second[-1]), "note": "n" * 900_000}

data = {f"part {i}": np.full(4_000_000, float(i)) for i in range(6)}
study = rs.search(
    objective, {"x": rs.Float(-1, 1)}, rs.RandomSearch(), trials=24, data=data, progress=False,
    study="study",
)
ray.shutdown()
"""

SLOW = """
import time
import raysearch as rs

space, strategy = {"x": rs.Float(-1, 1)}, rs.QuasiRandom()
settings = {"trials": 1000, "study": "study", "address": "local", "concurrency": 2}

def objective(config):
    time.sleep(0.2)
    return config["x"] ** 2
"""


def stored(home):
    try:
        return rs.Study.load(home / "study").trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


@pytest.fixture
def group(home):
    """A control group with 1.2 GB of memory."""
    made = GROUP / home.name
    try:
        made.mkdir()
        (made / "memory.limit_in_bytes").write_text("1200000000")
    except OSError as error:
        pytest.skip(f"this needs a control group (v1) for memory, which cannot be had: {error}")
    yield made
    made.rmdir()


def test_a_trial_that_takes_all_memory_is_ended_and_the_others_live(home, start, group, wait):
    (home / "mine.py").write_text(GREEDY)
    process = start("-c", CONTAINER, str(group), "run", "mine.py")
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    states = {row["number"]: row["state"] for row in stored(home)}
    assert states == {n: "oom" if n == 2 else "complete" for n in range(6)}
    greedy = rs.Study.load(home / "study").trial(2)
    assert greedy.attempts == 2
    assert "low on memory" in greedy.error
    assert "exceeded threshold" in greedy.error
    assert "python" not in greedy.error  # nor any other command of this machine
    wait(lambda: not (group / "cgroup.procs").read_text(), "no process is left")


def test_more_data_than_the_object_store_holds_are_moved_to_disk(home, start):
    """Six arrays of 32 MB, two of them used at once, in a store of 80 MB."""
    process = start("-c", STORE)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    losses = {row["number"]: row["metrics.loss"] for row in stored(home)}
    assert losses == {n: float(n % 6 + (n + 1) % 6) for n in range(24)}


def test_a_killed_driver_takes_its_ray_along(home, start, wait, processes):
    """But for two small agents of Ray, which wait a minute for an answer and then go, too."""
    (home / "mine.py").write_text(SLOW)
    process = start("-m", "raysearch.cli", "run", "mine.py")
    wait(lambda: len(stored(home)) >= 5, "trials are stored")
    before = stored(home)
    assert any("raylet" in name for name in processes().values())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    agents = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}
    wait(lambda: set(processes().values()) <= agents, "workers and servers are gone")
    for pid in processes():
        os.kill(pid, signal.SIGKILL)
    after = start("-m", "raysearch.cli", "run", "mine.py", "--trials", "20", "--address", "inline")
    assert after.wait(60) == 0
    rows = stored(home)
    assert rows[: len(before)] == before
    assert sorted(row["number"] for row in rows) == list(range(len(rows)))
