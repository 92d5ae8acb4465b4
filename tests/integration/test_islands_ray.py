"""Islands on a real Ray: the same trials as in this process, and workers that die."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import raysearch as rs
from raysearch.errors import Interrupted, SearchFailed
from raysearch.trial import FOREIGN

pytestmark = pytest.mark.usefixtures("ray_local")

SPACE = {"x": rs.Float(-1, 1), "y": rs.Float(-1, 1)}
ISLANDS = rs.Islands(rs.GeneticAlgorithm(population=8), islands=3, migrate_every=50)


def sphere(config):
    return config["x"] ** 2 + config["y"] ** 2


def search(objective=sphere, trials=900, strategy=ISLANDS, **options):
    return rs.search(objective, SPACE, strategy, trials=trials, progress=False, **options)


def rows(study):
    names = ["number", "state", "config.x", "config.y", "metrics.loss"]
    return study.trials.select(names).sort_by("number").to_pylist()


def test_the_same_trials_as_in_this_process_and_after_a_resume(tmp_path):
    expected = rows(search(address="inline"))
    assert rows(search()) == expected
    search(trials=333, study=tmp_path / "s")
    assert rows(search(study=tmp_path / "s")) == expected


def die_once(mark):
    """Kill this process, unless one has died here already."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Mortal(rs.GeneticAlgorithm):
    """Dies once, as it breeds the second generation of an island, or as a migrant arrives."""

    mark: str = ""

    def ask(self, state, n):
        if self.mark.endswith("breeds") and state.asked:
            die_once(self.mark)
        return super().ask(state, n)

    def tell(self, state, batch, outcome):
        if self.mark.endswith("migrates") and FOREIGN in batch.number:
            die_once(self.mark)
        return super().tell(state, batch, outcome)


@pytest.mark.parametrize("stage", ["breeds", "evaluates", "migrates"])
def test_a_worker_that_dies_costs_nothing(tmp_path, stage):
    mark = tmp_path / stage

    def once(config):
        if stage == "evaluates" and config["x"] > 0.9:
            die_once(mark)
        return sphere(config)

    mortal = replace(ISLANDS, strategy=Mortal(population=8, mark=str(mark)))
    assert rows(search(once, strategy=mortal)) == rows(search(address="inline"))
    assert mark.exists()


def test_a_trial_that_always_kills_its_worker_is_told_as_crashed():
    def deadly(config, trial):
        if trial.number == 40:
            os._exit(3)
        return sphere(config)

    study = search(deadly, trials=90, retries=0)
    states = {row["number"]: row["state"] for row in rows(study)}
    assert states == {n: "crashed" if n == 40 else "complete" for n in range(90)}


def test_instances_of_a_class_go_on_with_islands_in_actors():
    class Sphere:
        def __init__(self):
            self.calls = 0

        def __call__(self, config):
            self.calls += 1
            return {"loss": sphere(config), "calls": self.calls}

    study = search(Sphere, trials=300)
    assert rows(study) == rows(search(trials=300, address="inline"))
    assert max(study.trials["metrics.calls"].to_pylist()) > 50


def test_a_trial_that_hangs_is_ended_alone_by_a_signal_or_with_its_worker():
    def hangs(config, trial):
        if trial.number == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        if trial.number in (1, 40):
            time.sleep(100)
        return sphere(config)

    begin = time.monotonic()
    study = search(hangs, trials=90, timeout=0.5)
    assert time.monotonic() - begin < 60
    states = {row["number"]: row["state"] for row in rows(study)}
    assert states == {n: "timeout" if n in (1, 40) else "complete" for n in range(90)}


def test_a_search_in_which_all_fails_is_ended_after_so_many_failures(tmp_path):
    def never(config):
        raise ValueError("never")

    with pytest.raises(SearchFailed, match="first 10 trials"):
        search(never, study=tmp_path / "s")
    assert len(rs.Study.load(tmp_path / "s")) == 10


def test_signals_end_it_in_order_and_what_was_told_is_kept(tmp_path):
    expected, kept = rows(search(address="inline")), 0
    for number, times in ((signal.SIGINT, 1), (signal.SIGTERM, 2)):  # twice: cancels what runs
        left = iter(range(times))

        def press(trials, number=number, left=left):
            for _ in left:
                os.kill(os.getpid(), number)

        with pytest.raises(Interrupted, match="stored in"):
            search(study=tmp_path / "s", callbacks=[press])
        before, kept = kept, len(rs.Study.load(tmp_path / "s"))
        assert before < kept < 900
    assert rows(search(study=tmp_path / "s")) == expected
