"""The driver is killed, interrupted or doubled: what was acknowledged is there, each trial once."""

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
import os, time
import raysearch as rs

space = rs.Space({"x": rs.Float(-1, 1), "n": rs.Int(1, 100)})
strategy = rs.LocalSearch()
settings = {"trials": 60, "seed": 5}

def objective(config, trial):
    time.sleep(0.5 if os.path.exists(os.path.dirname(__file__) + "/slow") else 0.01)
    if trial.number == 12 and os.path.exists(os.path.dirname(__file__) + "/poison"):
        os._exit(1)
    return config["x"] ** 2 / config["n"]
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "mine.py").write_text(EXPERIMENT)
    return tmp_path


def start(folder, *flags, module="raysearch.cli"):
    command = [sys.executable, "-m", module, "run", "mine.py", "--study", "study", *flags]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process, code):
    out, err = process.communicate(timeout=90)
    assert process.returncode == code, (out, err)
    return out, err


def wait_for(folder, trials, process):
    """Until so many trials are stored; returns their rows as they are read from outside."""
    while process.poll() is None:
        rows = stored(folder)
        if len(rows) >= trials:
            return rows
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def stored(folder):
    try:
        return rs.Study.load(folder / "study").trials.to_pylist()
    except rs.errors.StudyNotFound:
        return []


def configs(rows):
    return {row["number"]: (row["config.x"], row["config.n"], row["metrics.loss"]) for row in rows}


def uninterrupted(folder):
    """What the search finds when nothing happens to it."""
    end(start(folder, "--study", "whole", "--address", "inline"), 0)
    return configs(rs.Study.load(folder / "whole").trials.to_pylist())


def kill_again_and_again(folder, flags, rounds):
    chance = random.Random(3)
    for k in range(rounds):
        process = start(folder, *flags)
        before = wait_for(folder, len(stored(folder)) + 1 + 3 * k, process)
        time.sleep(0.05 * chance.random())
        os.kill(process.pid, signal.SIGKILL)
        end(process, -signal.SIGKILL)
        assert stored(folder)[: len(before)] == before  # byte for byte
    end(start(folder, *flags), 0)
    rows = stored(folder)
    assert rows[: len(before)] == before
    assert sorted(row["number"] for row in rows) == list(range(60))
    return configs(rows)


def test_a_search_killed_at_any_moment_is_the_same_search_once_resumed(experiment):
    found = kill_again_and_again(experiment, ["--address", "inline"], rounds=3)
    assert found == uninterrupted(experiment)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_in_order_and_says_how_to_go_on(experiment, number, code):
    process = start(experiment, "--address", "inline")
    wait_for(experiment, 5, process)
    process.send_signal(number)
    out, err = end(process, code)
    assert out == ""
    assert "the same command goes on from there" in err
    assert f"ended by {number.name}, in order: {len(stored(experiment))} trials" in err
    assert "Traceback" not in err
    end(start(experiment, "--address", "inline"), 0)
    assert configs(stored(experiment)) == uninterrupted(experiment)


def test_a_second_driver_is_refused_and_the_first_goes_on(experiment):
    (experiment / "slow").touch()
    first = start(experiment, "--address", "inline")
    wait_for(experiment, 1, first)
    _, err = end(start(experiment, "--address", "inline"), 73)
    assert f"process {first.pid}" in err
    (experiment / "slow").unlink()
    end(first, 0)
    assert len(stored(experiment)) == 60


def test_a_search_that_only_fails_ends_with_the_users_error(experiment):
    (experiment / "mine.py").write_text(
        EXPERIMENT.replace('return config["x"]', 'raise OSError("no digits here")\n    return 2')
    )
    _, err = end(start(experiment, "--address", "inline"), 3)
    errors = [line for line in err.splitlines() if line.startswith("error")]
    assert "no digits here" in errors[0]
    assert "max_failures" in err


# --- under Ray -----------------------------------------------------------------------------------


def test_a_search_on_ray_killed_at_any_moment_loses_nothing(experiment, head):
    flags = ["--address", head, "--concurrency", "1"]
    found = kill_again_and_again(experiment, flags, rounds=2)
    assert found == uninterrupted(experiment)


def test_the_terminal_stays_clean_when_workers_die(experiment, head):
    (experiment / "poison").touch()
    out, err = end(start(experiment, "--address", head), 0)
    for text in (out, err):
        for noise in ("raylet", "pid=", "Traceback", "WARNING", "core_worker", "ray::"):
            assert noise not in text
    assert "60" in err
    assert {r["state"] for r in stored(experiment) if r["number"] == 12} == {"crashed"}
    assert "exit" in (experiment / "study" / "run.log").read_text().lower()
