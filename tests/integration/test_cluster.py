"""A real cluster of two nodes, made by the commands of docs/cluster.md, and jobs on it.

It lives in name spaces of its own for network and processes, so that the default ports are
free, `ray stop` stops nothing else, and nothing is left behind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import raysearch as rs

ROOT = Path(__file__).parents[2]
ALONE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
ADDRESS = "--address http://127.0.0.1:8265"
CANARY = f"canary-{os.getpid()}-that-nobody-may-see"
PATIENCE = 200.0

pytest.importorskip("aiohttp", reason="needs ray[default]")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        sys.platform != "linux" or subprocess.run([*ALONE, "true"], check=False).returncode != 0,
        reason="needs name spaces, and root",
    ),
]

SLOW = """
import os, time
import raysearch as rs

space = {"x": rs.Float(-1, 1)}

def objective(config):
    print(os.environ["HARMLESS"])
    if config["x"] > 0.5:
        raise ValueError("refused " + os.environ["CLUSTER_SECRET"])
    time.sleep(0.2)
    return config["x"] ** 2
"""


class Place:
    """A machine of its own, as far as network and processes go."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "project"
        self.folder.mkdir()
        reaper = "while :; do sleep 1000 & wait; done"  # the first process has to do that
        self.first = subprocess.Popen([*ALONE, "bash", "-c", reaper])
        self.pid = wait(lambda: children(self.first.pid), "it is there")[0]
        self.run("ip link set lo up")

    def start(self, line: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """Begin with a line of bash."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY")}
        environment |= {
            "HOME": str(self.home),
            "RAY_TMPDIR": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CLUSTER_SECRET": CANARY,
        }
        enter = ["nsenter", "--target", str(self.pid), "--net", "--pid", "--mount"]
        return subprocess.Popen(
            [*enter, "bash", "-c", f"cd {folder or self.folder} || exit\n{line}"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, line: str, code: int = 0, folder: Path | None = None) -> str:
        """Run a line of bash to its end; returns what it said."""
        return finish(self.start(line, folder), code)

    def close(self) -> None:
        """End all that runs there."""
        self.first.kill()  # and with it, the first process there, and so all
        self.first.wait()


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the end; returns what was said."""
    try:
        said = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        raise AssertionError(process.communicate()[0]) from None
    assert process.returncode == code, said
    return said


def children(pid: int) -> list[int]:
    return [int(t) for t in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, for what was started there."""
    for pid in children(process.pid):
        os.kill(pid, signal.SIGINT)


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"after {PATIENCE:g} s still not so: {what}"
        time.sleep(0.1)
    return found


def commands() -> list[str]:
    """The first screen of docs/cluster.md."""
    text = (ROOT / "docs/cluster.md").read_text("utf-8")
    block = re.search(r"^```console\n(.*?)^```", text, re.M | re.S)
    assert block is not None
    return block[1].removeprefix("$ ").replace("\\\n", "").strip().split("\n$ ")


@pytest.fixture(scope="module")
def place():
    made = Place(Path(tempfile.mkdtemp(prefix="rs", dir="/tmp")))
    try:
        setup, *lines, last = commands()
        assert setup == "scripts/setup cluster && source .venv/bin/activate"  # where tests run
        assert last == "ray stop"
        made.said = made.run("\n".join(["set -e", *lines]), folder=ROOT)
        (made.folder / "slow.py").write_text(SLOW)
        (made.folder / ".env").write_text(f"KEY={CANARY}")
        yield made
        assert "Stopped all" in made.run(last)
    finally:
        made.close()
        shutil.rmtree(made.home, ignore_errors=True)


def trials(study):
    try:
        return rs.Study.load(study).trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


def test_one_screen_leads_from_nothing_to_a_search_on_two_nodes(place):
    found = trials(place.home / "digits")
    assert [trial["state"] for trial in found] == ["complete"] * 8
    assert re.search(r"^digits-\w+ +SUCCEEDED +0 ", place.said, re.M)
    assert place.said.count("accuracy") >= 2  # while it ran, and of the best
    assert (place.home / ".ray/auth_token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (f"RAY_AUTH_TOKEN=wrong raysearch jobs {ADDRESS}", 69, "refuses the token from RAY_AUTH"),
        (f"raysearch stop another {ADDRESS}", 2, "no job 'another'"),
        ("raysearch run slow.py --address 127.0.0.1:8265", 69, "a web server answers"),
    ],
)
def test_what_is_wrong_is_named_at_once(place, command, code, message):
    """More such cases, with less around them, are in test_access.py and test_cluster_door.py."""
    begin = time.monotonic()
    assert message in place.run(command, code)
    assert time.monotonic() - begin < 15


def test_a_job_is_left_joined_and_stopped_and_shows_no_secret(place):
    study = place.home / "study"
    options = f"--study {study} --trials 2000 --env HARMLESS=1"
    job = place.start(f"exec raysearch submit slow.py {options} {ADDRESS}")
    wait(lambda: len(trials(study)) > 3, "trials are done")
    interrupt(job)
    said = finish(job, 130)
    assert "left out, as it may hold a secret: .env" in said
    attach = re.search(r"watch it: (.*)", said)[1]
    stop = re.search(r"stop it: +(.*)", said)[1]
    done = len(trials(study))
    wait(lambda: len(trials(study)) > done, "the job goes on")

    assert "RUNNING" in place.run(attach.removesuffix(" --watch"))
    watching = place.start(attach)
    assert re.search(r"job slow-\w+: STOPPED", place.run(stop))
    heard = finish(watching, 143)
    assert "ended by SIGTERM, in order" in heard
    assert "running" not in place.run(f"raysearch status {study}")

    listed = place.run(f"raysearch jobs {ADDRESS} --json")
    everything = [said, heard, listed, *texts(study), *texts(place.home / "ray")]
    assert not [text for text in everything if CANARY in text]
    assert any("<CLUSTER_SECRET>" in (trial["error"] or "") for trial in trials(study))


def texts(folder):
    """All that lies below a folder, as text."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.read_bytes().decode(errors="replace")


def test_a_driver_whose_node_dies_goes_on_elsewhere_and_no_trial_is_lost(place):
    study = place.home / "lost"
    node = f"{ROOT}/cluster/node/start worker 127.0.0.1:6379 --num-cpus=4"
    node += " --node-ip-address=127.0.0.1 --dashboard-agent-listen-port=0"
    place.run(node)
    options = f"--study {study} --trials 30 --driver-cpus 3 --env HARMLESS=1"
    job = place.start(f"exec raysearch submit slow.py {options} {ADDRESS}")
    wait(lambda: len(trials(study)) > 3, "trials are done")
    place.run("kill -9 $(ps -o ppid= -p $(pgrep -f ^ray::Host.run))")  # the raylet
    place.run(node)
    said = finish(job)
    assert "starting another driver" in said
    assert sorted(trial["number"] for trial in trials(study)) == list(range(30))
