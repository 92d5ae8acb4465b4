"""search() on a real Ray: the same trials as in this process, and faults that only it has."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import ray

import raysearch as rs
from raysearch.errors import ClusterError, Interrupted, UsageError
from raysearch.strategies.random import RandomSearch

pytestmark = pytest.mark.usefixtures("ray_local")

EVEN = rs.QuasiRandom()
SPACE = rs.Space({"x": rs.Float(-1, 1), "n": rs.Int(1, 100), "kind": rs.Choice(["a", "b"])})


def sphere(config):
    return config["x"] ** 2 / config["n"]


def search(objective=sphere, strategy=EVEN, **options):
    options = {"progress": False, "trials": 40, **options}
    return rs.search(objective, SPACE, strategy, **options)


def table(study):
    columns = [n for n in study.trials.schema.names if n.startswith(("config.", "metrics."))]
    return study.trials.select(["number", "state", *columns]).to_pylist()


def states(study):
    rows = study.trials.select(["number", "state"]).to_pylist()
    return {row["number"]: row["state"] for row in rows}


@pytest.mark.parametrize("strategy", [None, rs.LocalSearch(), RandomSearch()], ids=str)
def test_one_slot_gives_the_same_table_as_this_process(strategy):
    inline = search(strategy=strategy, trials=100, address="inline")
    assert table(search(strategy=strategy, trials=100, concurrency=1)) == table(inline)


def test_a_study_whose_points_were_asked_ahead_goes_on(tmp_path):
    options = {"strategy": rs.GaussianProcess(initial=4), "study": tmp_path, "concurrency": 2}
    search(trials=14, **options)
    study = search(trials=20, **options)  # refused, were the log not what the strategy does
    assert sorted(states(study)) == list(range(20))


def test_no_more_trials_run_at_once_than_concurrency_says(tmp_path):
    def alone(config):
        if (tmp_path / "busy").exists():
            return None
        (tmp_path / "busy").touch()
        time.sleep(0.01)
        (tmp_path / "busy").unlink()
        return 1.0

    assert search(alone, RandomSearch(), concurrency=1, trials=60).counts == {"complete": 60}


def test_a_reproducible_search_does_not_depend_on_timing_slots_and_crashes(tmp_path):
    def troubled(config, trial):
        crashed = tmp_path / str(trial.number)
        if trial.number % 13 == 5 and not crashed.exists():
            crashed.touch()
            os._exit(1)
        time.sleep(0.1 * np.random.default_rng().random())
        return sphere(config)

    options = {"strategy": rs.LocalSearch(), "reproducible": True, "concurrency": 4, "trials": 30}
    inline = table(search(address="inline", **options))
    study = search(troubled, retries=1, study=tmp_path / "study", **options)
    assert table(study) == inline
    assert study.trial(5).attempts > 1


def test_what_ends_a_worker_ends_one_trial(tmp_path):
    """Each trial that takes its worker along runs once and once again; its neighbours live."""

    def mine(config, trial):
        with (tmp_path / str(trial.number)).open("a") as file:
            file.write("x")
        match trial.number:
            case 3:
                os._exit(0)
            case 17:
                ctypes.string_at(0)
            case 20:
                sys.exit("enough")
        return 1.0

    study = search(mine, retries=1, trials=24, study=tmp_path / "study")
    failed = {n: state for n, state in states(study).items() if state != "complete"}
    assert failed == dict.fromkeys([3, 17, 20], "crashed")
    assert len(study) == 24
    for number in (3, 17):
        alone = study.trial(number)
        assert alone.started is None
        assert "its worker died" in alone.error
    assert "sys.exit('enough')" in study.trial(20).error
    assert study.trial(20).attempts == 1


def test_a_crashing_trial_runs_once_and_as_often_again_as_retries_say(tmp_path):
    def mine(config, trial):
        time.sleep(0.11)  # so that a task holds one trial
        with (tmp_path / str(trial.number)).open("a") as file:
            file.write("x")
        if trial.number == 2:
            os._exit(1)
        return 1.0

    study = search(mine, retries=2, trials=6)
    assert states(study) == {0: "complete", 1: "complete", 2: "crashed"} | dict.fromkeys(
        range(3, 6), "complete"
    )
    assert [(tmp_path / str(n)).read_text() for n in range(6)] == ["x", "x", "xxx", "x", "x", "x"]
    assert study.trial(2).attempts == 3


def test_a_hang_frees_its_slot_soon_after_its_timeout():
    def hangs(config, trial):
        time.sleep(0.11)
        if trial.number == 1:
            ctypes.PyDLL(None).sleep(600)  # holds the interpreter: only its end helps
        if trial.number == 2:
            threading.Event().wait()
        return 1.0

    begin = time.monotonic()
    study = search(hangs, timeout=1.0, trials=6, concurrency=2)
    assert time.monotonic() - begin < 20
    assert states(study)[1] == states(study)[2] == "timeout"
    assert study.counts == {"complete": 4, "timeout": 2}


def test_the_time_limit_is_kept_and_what_was_cancelled_runs_again(tmp_path):
    def long(config, trial):
        if trial.number >= 2:
            time.sleep(300)
        return 1.0

    begin = time.monotonic()
    study = search(long, time_limit=3, concurrency=2, study=tmp_path)
    assert time.monotonic() - begin < 3 + 2
    assert states(study) == {0: "complete", 1: "complete"}
    again = search(study=tmp_path, trials=10)
    assert sorted(states(again)) == list(range(10))


def test_ctrl_c_lets_trials_finish_and_twice_cancels_them(tmp_path):
    def slow(config, trial):
        (tmp_path / f"begun {trial.number}").touch()
        time.sleep(1.0 if trial.number < 2 else 300)
        return 1.0

    def press(times, trial):
        def wait():
            while not (tmp_path / f"begun {trial}").exists():
                time.sleep(0.05)
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)

        threading.Thread(target=wait).start()

    press(1, 1)
    with pytest.raises(Interrupted, match="2 trials, stored") as caught:
        search(slow, study=tmp_path / "study", concurrency=2)
    assert sorted(states(caught.value.study)) == [0, 1]
    press(2, 2)
    begin = time.monotonic()
    with pytest.raises(Interrupted, match="2 trials, stored"):
        search(slow, study=tmp_path / "study", concurrency=2)
    assert time.monotonic() - begin < 10
    assert sorted(states(search(study=tmp_path / "study", trials=9))) == list(range(9))


def test_shares_of_gpus_and_data_reach_the_trials():
    weights = np.arange(1000.0)

    def mine(config, trial):
        assert not trial.data["weights"].flags.writeable
        time.sleep(0.11)
        return {"loss": trial.data["weights"].sum(), "gpu": ray.get_gpu_ids()[0]}

    slots = []
    study = search(
        mine,
        trials=8,
        data={"weights": weights},
        ray_options={"num_cpus": 0.5, "num_gpus": 0.5},
        progress=lambda progress: slots.append(progress.slots),
    )
    assert set(study.trials["metrics.loss"].to_pylist()) == {weights.sum()}
    assert set(slots) == {4}


def test_what_the_cluster_cannot_give_is_refused(tmp_path):
    with pytest.raises(ClusterError, match="GPU: wanted 3, the most on one machine is 2"):
        search(ray_options={"num_gpus": 3}, study=tmp_path)
    with pytest.raises(UsageError, match=r"data\['lock'\]"):
        search(data={"lock": threading.Lock()}, study=tmp_path)
    assert len(search(study=tmp_path)) == 40


def test_an_address_where_nothing_answers_is_said_within_ten_seconds(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import raysearch as rs\nspace = rs.Space({'x': rs.Float(0, 1)})\n"
        "def objective(config): return config['x']\n"
    )
    command = [sys.executable, "-m", "raysearch.cli", "run", str(file), "--trials", "3"]
    begin = time.monotonic()
    done = subprocess.run(
        [*command, "--address", "127.0.0.1:9", "--study", str(tmp_path / "study")],
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - begin < 10
    assert done.returncode == 69
    assert "nothing answers at 127.0.0.1:9" in done.stderr
    assert done.stdout == ""
