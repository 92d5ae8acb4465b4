"""Ray itself dies under a search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import raysearch as rs

EXPERIMENT = """
import os, signal, time
import ray
import raysearch as rs

space, strategy = {"x": rs.Float(-1, 1)}, rs.QuasiRandom()
settings = {"trials": 300, "address": "local", "study": "study"}

def objective(config):
    time.sleep(0.1)
    return config["x"] ** 2
"""
# The head dies while it is asked, and not between two questions: Ray waits for another head then.
ASKED = """
answer = ray.nodes

def nodes():
    if os.path.exists("victim"):
        os.kill(int(open("victim").read()), signal.SIGKILL)
        os.remove("victim")
    return answer()

ray.nodes = nodes
"""


def below(pid: int) -> Iterator[tuple[int, str]]:
    """Id and name of all processes that this one has started, and those that they have."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child, Path(f"/proc/{child}/comm").read_text().strip()
            yield from below(child)


@pytest.mark.parametrize("victim", ["gcs_server", "raylet"])
def test_a_lost_cluster_ends_the_search_and_the_same_command_goes_on(tmp_path, victim):
    (tmp_path / "mine.py").write_text(EXPERIMENT + ASKED)
    command = [sys.executable, "-m", "raysearch.cli", "run", "mine.py"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    rows = tmp_path / "study/log"
    while not any(rows.glob("*")) or len(rs.Study.load(tmp_path / "study")) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    started = list(below(process.pid))
    try:
        lost = next(pid for pid, name in started if name == victim)
        if victim == "gcs_server":
            (tmp_path / "new").write_text(str(lost))
            (tmp_path / "new").rename(tmp_path / "victim")
        else:
            os.kill(lost, signal.SIGKILL)
        out, err = process.communicate(timeout=90)
    finally:
        for pid, name in started:
            if Path(f"/proc/{pid}/comm").exists() and name in Path(f"/proc/{pid}/comm").read_text():
                os.kill(pid, signal.SIGKILL)
    assert process.returncode == 75, (out, err)
    assert "Ray has gone away" in err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    stored = rs.Study.load(tmp_path / "study").trials.to_pylist()
    flags = ["--address", "inline", "--trials", str(len(stored) + 3)]
    subprocess.run([*command, *flags], cwd=tmp_path, check=True, capture_output=True)
    after = rs.Study.load(tmp_path / "study").trials.to_pylist()
    assert after[: len(stored)] == stored
    assert sorted(t["number"] for t in after) == list(range(len(after)))
