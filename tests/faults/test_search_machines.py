"""Machines come, go, die and freeze under a search: two to four raylets, each with workers."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

import raysearch as rs
from raysearch.engine.ray_session import WATCHFUL

CLUSTER = """
import sys
import ray
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION

size = {"object_store_memory": 80_000_000}
cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, **size})
machines = {}
print(cluster.address, flush=True)
for line in sys.stdin:
    do, name = line.split()
    if do == "add":
        machines[name] = cluster.add_node(num_cpus=2, **size)
        print(machines[name].all_processes["raylet"][0].process.pid, flush=True)
    elif do == "drain":
        notice = (DRAIN_NODE_REASON_PREEMPTION, "taken away soon", 0)
        head = ray._raylet.GcsClient(address=cluster.address)
        print(head.drain_node(machines[name].node_id, *notice), flush=True)
    else:
        cluster.remove_node(machines.pop(name))
        print(flush=True)
cluster.shutdown()
"""

SEARCH = """
import os, sys, time
import raysearch as rs
def objective(config, trial):
    with open(f"begun/{trial.number}", "a") as file:
        file.write(f"{os.getppid()}\\n")
    time.sleep(0.4)
    return {"loss": config["x"] ** 2, "machine": os.getppid()}

study = rs.search(
    objective, {"x": rs.Float(-1, 1)}, rs.RandomSearch(), study="study", address=sys.argv[1],
    retries=0, timeout=30, callbacks=[lambda trials: os.path.exists("enough")],
    progress=lambda progress: print(progress.slots, flush=True),
)
"""

SAVING = """
import os, sys, time
import raysearch as rs

def objective(config, trial):
    from raysearch.engine import stream

    stream._SAVE = 300_000_000
    step = trial.checkpoint["step"] if trial.checkpoint else 0
    with open(f"begun/{trial.number}", "a") as file:
        file.write(f"{step} {os.getppid()}\\n")
    try:
        while step == 0 or not os.path.exists("enough"):
            time.sleep(0.1)
            step += 1
            metrics = {"loss": config["x"] ** 2, "machine": os.getppid()}
            yield (metrics, {"step": step}) if trial.number % 2 else metrics
    finally:
        open(f"left-{trial.number}", "w").close()

rs.search(
    objective, {"x": rs.Float(-1, 1)}, rs.RandomSearch(), trials=6, study="study",
    address=sys.argv[1], retries=0,
    progress=lambda progress: print(progress.slots, flush=True),
)
"""


class Cluster:
    """A Ray of several machines, all of them here; each has two workers, and a pid."""

    def __init__(self, start, home):
        self.home = home
        self.process = start("-c", CLUSTER, stderr=None)
        self.address = self.process.stdout.readline().strip()

    def say(self, words):
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def add(self, name):
        return int(self.say(f"add {name}"))

    def drain(self, name):
        assert "True" in self.say(f"drain {name}")

    def remove(self, name):
        self.say(f"remove {name}")


@pytest.fixture
def cluster(home, start, monkeypatch):
    for name, value in {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
        **WATCHFUL,
    }.items():
        monkeypatch.setenv(name, value)
    (home / "begun").mkdir()
    made = Cluster(start, home)
    yield made
    made.process.stdin.close()
    made.process.wait(60)


def workers(raylet):
    """The processes of a machine: its raylet and what that has started."""
    found = [raylet]
    for children in Path(f"/proc/{raylet}/task").glob("*/children"):
        found += map(int, children.read_text().split())
    return found


def stored(home):
    try:
        return rs.Study.load(home / "study").trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


def begin(start, cluster):
    return start("-c", SEARCH, cluster.address, stdin=None)


def slots_of(process, n):
    """Read on until the search says that it has so many slots."""
    for line in process.stdout:
        if int(line) == n:
            return
    raise AssertionError(process.communicate())


def machines(home):
    return {row["metrics.machine"] for row in stored(home)}


def begun_at(home):
    """The machines on which each trial was begun."""
    return {
        int(path.name): list(map(int, path.read_text().split()))
        for path in (home / "begun").iterdir()
    }


def conclude(home, process):
    """Have the search end: every trial that was ever begun is there, complete, and once."""
    (home / "enough").touch()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    rows = stored(home)
    begun = {number: len(places) for number, places in begun_at(home).items()}
    assert sorted(row["number"] for row in rows) == sorted(begun)
    assert {row["state"] for row in rows} == {"complete"}
    for row in rows:
        assert row["attempts"] >= begun[row["number"]]
    assert max(row["attempts"] for row in rows) > 1


def test_machines_come_go_and_die_under_load_and_nothing_is_lost(home, start, cluster, wait):
    """Though retries=0: that a machine dies is no fault of the trial."""
    one = cluster.add("one")
    search = begin(start, cluster)
    slots_of(search, 2)
    two = cluster.add("two")
    slots_of(search, 4)
    wait(lambda: machines(home) == {one, two}, "both at work")
    before = stored(home)
    for pid in workers(one):
        os.kill(pid, signal.SIGKILL)
    slots_of(search, 2)
    assert stored(home)[: len(before)] == before
    cluster.remove("two")
    slots_of(search, 0)
    held = set(begun_at(home))
    three = cluster.add("three")
    slots_of(search, 2)
    wait(lambda: held <= {row["number"] for row in stored(home)}, "the new one has run them")
    assert three in machines(home)
    conclude(home, search)


def test_a_frozen_machine_is_given_up_and_what_it_says_later_is_ignored(home, start, cluster, wait):
    """Long before their timeout, since the cluster was started to miss it soon."""
    one, two = cluster.add("one"), cluster.add("two")
    search = begin(start, cluster)
    wait(lambda: machines(home) == {one, two}, "both at work")
    frozen = workers(one)
    before = begun_at(home)
    wait(
        lambda: [n for n, at in begun_at(home).items() if n not in before and one in at],
        "one has just begun a trial",
    )
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    held = {int(path.name) for path in (home / "begun").iterdir()}
    wait(lambda: held <= {row["number"] for row in stored(home)}, "the other machine has run them")
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    done = len(stored(home))
    wait(lambda: len(stored(home)) > done + 10, "and still does")
    conclude(home, search)
    for pid in frozen:  # what is left of it would try for a minute to report its end
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_from_a_machine_about_to_leave_who_has_saved_moves_and_others_end(
    home, start, cluster, wait
):
    names = {cluster.add("one"): "one", cluster.add("two"): "two"}
    search = start("-c", SAVING, cluster.address, stdin=None)

    def begun():
        """Trial -> the steps at which it was begun, and on which machines."""
        found = {}
        for path in (home / "begun").iterdir():
            lines = [line.split() for line in path.read_text().splitlines()]
            found[int(path.name)] = [(int(step), int(machine)) for step, machine in lines]
        return found

    wait(lambda: len(begun()) == 4, "four trials at once")
    before = begun()
    one = before[1][0][1]
    (two,) = names.keys() - {one}
    movers = [n for n, [(_, machine)] in before.items() if machine == one and n % 2]
    cluster.drain(names[one])
    slots_of(search, 2)
    wait(lambda: all((home / f"left-{n}").exists() for n in movers), "those who save have left")
    (home / "enough").touch()
    _, err = search.communicate(timeout=60)
    assert search.returncode == 0, err
    rows = {row["number"]: row for row in stored(home)}
    assert {row["state"] for row in rows.values()} == {"complete"}
    assert sorted(rows) == list(range(6))
    for number, ((first, _), *again) in begun().items():
        assert first == 0
        assert len(again) == (number in movers)
        if again:
            assert again[0][0] > 0, "it has not gone on from what it had saved"
            assert again[0][1] == two
    assert {machine for n in (4, 5) for _, machine in begun()[n]} == {two}
