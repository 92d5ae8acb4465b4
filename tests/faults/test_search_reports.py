"""Objectives that report, among real deaths: of the driver, and of workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

import raysearch as rs

EXPERIMENT = """
import os, pathlib, time
import numpy as np
import raysearch as rs

here = pathlib.Path(__file__).parent
space = rs.Space({"x": rs.Float(-1, 1), "n": rs.Int(1, 9)})
strategy = rs.ASHA(max_budget=9)
settings = {"trials": 30, "seed": 5, "reproducible": True, "concurrency": 2}

def objective(config, trial):
    state = trial.checkpoint or {"step": 0, "sum": np.zeros(2)}
    step, total = state["step"], state["sum"].copy()
    while True:
        step += 1
        time.sleep(0.02 * ((7 * trial.number + step) % 3) if (here / "slow").exists() else 0)
        killed = here / f"killed-{trial.number}"
        if (here / "poison").exists() and trial.number % 4 == 1 and not killed.exists():
            killed.touch()
            os._exit(1)
        total += [config["x"] ** 2 / step, 1 / config["n"]]
        yield {"loss": float(total.sum()) / step}, {"step": step, "sum": total}
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "mine.py").write_text(EXPERIMENT)
    return tmp_path


def start(folder, *flags):
    command = [sys.executable, "-m", "raysearch.cli", "run", "mine.py", "--study", "study", *flags]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process, code=0):
    out, err = process.communicate(timeout=90)
    assert process.returncode == code, (out, err)


def stored(folder, name="study"):
    """The trials in the order told, without times, attempts and workers."""
    try:
        trials = rs.Study.load(folder / name).trials
    except rs.errors.StudyNotFound:
        return []
    names = [n for n in trials.schema.names if n.startswith(("config.", "metrics."))]
    return trials.select(["number", "state", "budget", "parent", *names]).to_pylist()


def reports(folder):
    try:
        return len(rs.Study.load(folder / "study").reports)
    except rs.errors.RaysearchError:
        return 0


def kill_in_the_middle(folder, flags, rounds):
    chance = random.Random(3)
    for _ in range(rounds):
        before, process = reports(folder), start(folder, *flags)
        while process.poll() is None and reports(folder) < before + 6:
            time.sleep(0.02)
        time.sleep(0.1 * chance.random())
        os.kill(process.pid, signal.SIGKILL)
        end(process, -signal.SIGKILL)
    end(start(folder, *flags))


def check(folder):
    end(start(folder, "--study", "whole", "--address", "inline"))
    assert stored(folder) == stored(folder, "whole")
    numbers = [row["number"] for row in stored(folder)]
    assert sorted(numbers) == list(range(30))


def test_a_search_with_checkpoints_killed_at_any_moment_is_the_same_once_resumed(experiment):
    (experiment / "slow").touch()
    kill_in_the_middle(experiment, ["--address", "inline"], rounds=2)
    check(experiment)


def test_under_ray_with_workers_and_drivers_killed_it_is_the_same_search(experiment, ray_local):
    import ray

    for trouble in ("slow", "poison"):
        (experiment / trouble).touch()
    address = ray.get_runtime_context().gcs_address
    kill_in_the_middle(experiment, ["--address", address], rounds=1)
    assert list(experiment.glob("killed-*"))
    (experiment / "poison").unlink()
    check(experiment)
