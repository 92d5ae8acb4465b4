"""The network between machines is cut, and heals: three hosts in namespaces of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import raysearch as rs
from raysearch.engine.ray_session import WATCHFUL

RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"

SEARCH = """
import os, sys, time
import raysearch as rs
from ray.util import get_node_ip_address

def objective(config, trial):
    with open(f"begun/{trial.number}", "a") as file:
        file.write(f"{get_node_ip_address()}\\n")
    time.sleep(1)
    return {"loss": config["x"] ** 2, "machine": get_node_ip_address()}

rs.search(
    objective, {"x": rs.Float(-1, 1)}, rs.RandomSearch(), study=sys.argv[1], retries=0,
    address="10.0.0.1:6379", ray_options={sys.argv[2]: 1}, progress=False,
    callbacks=[lambda trials: os.path.exists("enough")],
)
"""


class Hosts:
    """A head without CPUs and workers with one each, linked by a bridge that the head has."""

    def __init__(self, home, names):
        self.home = home
        self.names = ["head", *names]
        self.running = []
        for name in self.names:
            self.ip("netns", "add", self.host(name))
        self.at("head", "link", "add", "bridge", "type", "bridge")
        self.at("head", "addr", "add", "10.0.0.1/24", "dev", "bridge")
        self.at("head", "link", "set", "bridge", "up")
        for i, name in enumerate(names, 2):
            there = ("type", "veth", "peer", "name", "eth0", "netns", self.host(name))
            self.at("head", "link", "add", name, *there)
            self.at("head", "link", "set", name, "master", "bridge", "up")
            self.at(name, "addr", "add", f"10.0.0.{i}/24", "dev", "eth0")
            self.at(name, "link", "set", "eth0", "up")
        for name in self.names:
            self.at(name, "link", "set", "lo", "up")

    def host(self, name):
        return f"{self.home.name}-{name}"

    def ip(self, *words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def at(self, name, *words):
        self.ip("-n", self.host(name), *words)

    def link(self, name, state):
        """Cut the link of a worker, down, or heal it, up."""
        self.at("head", "link", "set", name, state)

    def start(self, name, *arguments):
        """Start Python on a host."""
        inside = ["ip", "netns", "exec", self.host(name), sys.executable, *arguments]
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.running.append(subprocess.Popen(inside, cwd=self.home, env=environment, **pipes))
        return self.running[-1]

    def ray(self, name, *flags):
        """Start Ray on a host."""
        size = f"--object-store-memory={80_000_000}"
        return self.start(name, "-c", RAY, "start", *flags, size)

    def close(self):
        for name in self.names:
            host = self.host(name)
            pids = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True)
            for pid in map(int, pids.stdout.split()):
                os.kill(pid, signal.SIGKILL)
            self.ip("netns", "del", host)
        for process in self.running:
            with process:
                process.kill()


def may_link():
    """Whether this user may make network namespaces, and links between them."""
    name = f"rs-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
        if made.returncode == 0:
            subprocess.run(["ip", "netns", "del", name], check=True)
    except OSError:
        return False
    return made.returncode == 0


@pytest.fixture
def hosts(home, monkeypatch):
    """Ray on a head and two workers, one and two."""
    for name, value in {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, **WATCHFUL}.items():
        monkeypatch.setenv(name, value)
    made = Hosts(home, ["one", "two"])
    try:
        head = ("--head", "--num-cpus=0", "--port=6379", "--include-dashboard=false")
        steps = [[("head", *head, "--node-ip-address=10.0.0.1", f"--temp-dir={home}/head")]]
        worker = ("--address=10.0.0.1:6379", "--num-cpus=1")
        steps += [
            [
                (name, *worker, f"--node-ip-address=10.0.0.{i}", f"--temp-dir={home}/{name}")
                for i, name in enumerate(["one", "two"], 2)
            ]
        ]
        for step in steps:
            for process in [made.ray(*one) for one in step]:
                out, _ = process.communicate(timeout=60)
                assert process.returncode == 0, out
        yield made
    finally:
        made.close()


def stored(home):
    try:
        return rs.Study.load(home / "study").trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


def begun(home):
    """Where each trial was begun, and begun again."""
    return {int(path.name): path.read_text().split() for path in (home / "begun").iterdir()}


@pytest.mark.skipif(not may_link(), reason="this user may not make network namespaces")
def test_a_short_cut_loses_nothing_and_a_long_one_is_noticed_and_its_trials_run_again(
    home, hosts, wait
):
    (home / "begun").mkdir()
    one = "10.0.0.2"
    search = hosts.start("head", "-c", SEARCH, "study", "num_cpus")
    hopeless = hosts.start("head", "-c", SEARCH, "none", "num_gpus")

    def at_work(since):
        return len({row["metrics.machine"] for row in stored(home)[since:]}) == 2

    wait(lambda: at_work(0) or search.poll() is not None, "both at work")
    hosts.link("one", "down")
    time.sleep(4)  # less than three checks that each take two seconds
    hosts.link("one", "up")
    healed = len(stored(home))
    wait(lambda: at_work(healed), "both at work again")
    assert {len(places) for places in begun(home).values()} == {1}

    before = set(begun(home))

    def new():
        return [number for number, at in begun(home).items() if number not in before and one in at]

    wait(new, "a trial has just begun where the link is to be cut")
    hosts.link("one", "down")
    held = set(begun(home))
    wait(lambda: held <= {row["number"] for row in stored(home)}, "all that was begun is there")
    hosts.link("one", "up")
    done = len(stored(home))
    wait(lambda: len(stored(home)) > done + 5, "it goes on")
    (home / "enough").touch()
    out, _ = search.communicate(timeout=60)
    assert search.returncode == 0, out
    rows = stored(home)
    assert sorted(row["number"] for row in rows) == sorted(begun(home))
    assert {row["state"] for row in rows} == {"complete"}
    assert all(len(begun(home)[number]) == 2 for number in new())
    assert max(row["attempts"] for row in rows) == 2

    out, _ = hopeless.communicate(timeout=60)
    assert hopeless.returncode != 0
    assert "GPU: wanted 1, the most on one machine is 0" in out
    assert "autoscaler" not in out, "there is none here"
