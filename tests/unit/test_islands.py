"""Islands that workers go on with: the same trials whoever goes on, when, and after what."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import raysearch as rs
from raysearch.engine.archipelago import Archipelago
from raysearch.engine.driver import Driver
from raysearch.engine.events import Cancel, Stop, Submit
from raysearch.engine.island_loop import IslandLoop
from raysearch.engine.limits import Limits
from raysearch.engine.objective import examine
from raysearch.engine.records import Done, Job, Lost, Objectives
from raysearch.engine.stretch import go
from raysearch.errors import SearchFailed, StudyMismatch
from raysearch.log import MemoryLog
from raysearch.strategies.genetic import GeneticAlgorithm
from raysearch.trial import STATES

SPACE = rs.Space({"x": rs.Float(-1, 1), "y": rs.Float(0.1, 10, log=True), "n": rs.Int(1, 9)})
LOSS = Objectives(("loss",), (False,))
HERD = GeneticAlgorithm(population=6, elite=2)
ISLANDS = rs.Islands(HERD, islands=3, migrate_every=10, topology="random")


def sphere(config):
    return config["x"] ** 2 + np.log(config["y"]) ** 2 + config["n"]


def search(strategy=ISLANDS, objective=sphere, trials=150, **options):
    options = {"address": "inline", "progress": False, **options}
    return rs.search(objective, SPACE, strategy, trials=trials, **options)


def rows(study):
    """What does not depend on clocks, by number."""
    names = [n for n in study.trials.schema.names if n.startswith(("config.", "metrics."))]
    table = study.trials.select(["number", "state", *names]).sort_by("number")
    return table.to_pylist()


def test_rows_say_how_many_trials_were_over_when_they_were_told():
    after = search().trials["after"].to_numpy()
    assert (np.diff(after) >= 0).all()
    assert (after >= np.arange(1, 151)).all()
    assert after[-1] == 150


class Rough:
    """An executor of some slots that finishes in any order, and loses stretches at any time.

    poison  numbers of trials that kill their worker
    """

    interruptible = False

    def __init__(self, job, seed, slots=2, losses=0.0, poison=()):
        self.job, self.n, self.losses, self.poison = job, slots, losses, set(poison)
        self.draw, self.tasks, self.events = random.Random(seed), {}, []
        self.sizes = []

    def want(self, tasks):
        pass

    def slots(self):
        return self.n

    def submit(self, task):
        self.tasks[task.id] = task
        self.sizes.append(task.stretch.trials)

    def cancel(self, task):
        if self.tasks.pop(task, None):
            self.events.append(Lost(task, "cancelled", "on request"))

    def poll(self, timeout):
        events, self.events = self.events, []
        if self.tasks:
            task = self.tasks.pop(self.draw.choice(list(self.tasks)))
            passed = go(self.job, examine(self.job.objective), task.stretch)
            numbers = {n for trials, _ in passed.parts for n in trials.number.tolist()}
            if numbers & self.poison and task.stretch.lost is None:
                events.append(Lost(task.id, "crashed", "poison"))
            elif self.draw.random() < self.losses:
                events.append(Lost(task.id, "node", "gone"))
            else:
                events.append(Done(task.id, passed))
        return events


def driven(seed=0, trials=150, strategy=ISLANDS, limits=None, **rough):
    host = Archipelago(strategy, SPACE, LOSS, 0)
    loop = IslandLoop(limits or Limits(trials), host)
    job = Job(sphere, SPACE, LOSS, 0, islands=strategy)
    log = MemoryLog(SPACE, {"metric": {"loss": "min"}})
    executor = Rough(job, seed, **rough)
    why = Driver(loop, host, executor, log, lambda loop, finished: False).run()
    return rs.Study(log, SPACE), executor, why


def test_told_one_by_one_the_strategy_gives_the_same_trials():
    loop = rs.AskTell(SPACE, ISLANDS, seed=0)
    expected = []
    for _ in range(150):
        (trial,) = loop.ask(1)
        expected.append(trial.config)
        loop.tell(trial, sphere(trial.config))
    found = rows(search())
    assert [{k: row[f"config.{k}"] for k in SPACE.parameters} for row in found] == expected


@pytest.mark.parametrize("seed", range(6))
def test_no_timing_and_no_loss_of_workers_changes_a_trial(seed):
    study, _, why = driven(seed, slots=1 + seed, losses=0.2 * (seed % 3))
    assert why == "trials"
    assert rows(study) == rows(search())


def test_migrants_travel():
    apart = rows(search(replace(ISLANDS, migrate_every=1000)))
    together = rows(search())
    assert apart[:60] == together[:60]  # of epochs 0 and 1
    assert apart[60:] != together[60:]


@pytest.mark.parametrize("strategy", [rs.CMAES(population=4), rs.EvolutionStrategy(), rs.TPE()])
def test_other_strategies_live_on_islands(strategy):
    islands = rs.Islands(strategy, islands=2, migrate_every=8)
    study, _, _ = driven(1, 60, islands, losses=0.2)
    assert rows(study) == rows(search(islands, trials=60))


def test_a_trial_that_kills_its_worker_is_found_and_its_neighbours_survive():
    study, executor, _ = driven(poison=[61])
    bad = [row for row in study.trials.to_pylist() if row["state"] != "complete"]
    assert [(row["number"], row["state"], row["error"]) for row in bad] == [
        (61, "crashed", "poison")
    ]
    assert bad[0]["attempts"] >= 2
    assert len(study) == 150
    assert 1 in executor.sizes


def test_a_study_goes_on_as_if_it_had_never_stopped(tmp_path):
    for trials in (1, 17, 44, 91, 150):
        search(trials=trials, study=tmp_path / "parts")
    assert rows(rs.Study.load(tmp_path / "parts")) == rows(search())


def test_a_study_that_others_have_begun_is_told_to_all_islands(tmp_path):
    search(rs.RandomSearch(), trials=30, study=tmp_path / "s")
    study = search(trials=60, study=tmp_path / "s", resume="changed")
    assert sorted(study.trials["number"].to_pylist()) == list(range(60))
    again = search(trials=90, study=tmp_path / "s")
    assert sorted(again.trials["number"].to_pylist()) == list(range(90))


def test_other_islands_are_another_search(tmp_path):
    search(trials=20, study=tmp_path / "s")
    with pytest.raises(StudyMismatch, match="migrate_every"):
        search(replace(ISLANDS, migrate_every=11), trials=30, study=tmp_path / "s")


def test_where_configurations_come_twice_or_trials_report_islands_stay_together(tmp_path):
    finite = rs.Space({"n": rs.Int(1, 30)})

    def reporting(config):
        yield {"loss": config["x"]}

    study = rs.search(
        lambda c: c["n"], finite, ISLANDS, address="inline", progress=False, study=tmp_path / "f"
    )
    assert sorted(study.trials["config.n"].to_pylist()) == list(range(1, 31))
    study = search(objective=reporting, study=tmp_path / "r", trials=30)
    assert len(study.reports) == 30
    for name, apart in (("f", None), ("r", None)):
        assert rs.Study.load(tmp_path / name).spec.get("apart") == apart


def test_failures_stay_in_their_trial_and_take_no_part():
    def picky(config):
        if config["n"] == 3:
            raise ValueError("not 3")
        return sphere(config)

    study = search(objective=picky)
    failed = [row for row in study.trials.to_pylist() if row["state"] == "failed"]
    assert failed
    assert all(row["config.n"] == 3 and "not 3" in row["error"] for row in failed)


def test_a_search_in_which_all_fails_is_ended_early():
    def never(config):
        raise ValueError("never")

    with pytest.raises(SearchFailed, match="first 10 trials"):
        search(objective=never)


def test_a_vectorized_objective_gets_a_generation_at_a_time():
    sizes = []

    @rs.vectorized
    def many(columns):
        sizes.append(len(columns["x"]))
        return columns["x"] ** 2

    search(objective=many)
    assert max(sizes) == 6


def test_it_ends_on_request_and_when_there_is_no_time_left():
    study = search(trials=None, callbacks=[lambda trials: len(trials) >= 8])
    assert len(study) >= 8
    _, _, why = driven(limits=Limits(None, deadline=1))
    assert why == "time"


def test_stop_lets_running_stretches_end_or_cancels_them():
    host = Archipelago(ISLANDS, SPACE, LOSS, 0)
    for how, expected in (("drain", []), ("cancel", [Cancel])):
        loop = IslandLoop(Limits(None), Archipelago(ISLANDS, SPACE, LOSS, 0))
        loop.slots = 1
        (submit,) = loop.plan(0)
        assert isinstance(submit, Submit)
        commands = loop.handle(Stop(how), 1)
        assert [type(c) for c in commands][:-1] == expected[: len(commands) - 1] or not commands
        assert not loop.over if how == "drain" else loop.over.why == "stopped"
    assert host.asked == 0


def test_states_are_those_of_all_trials():
    assert set(search().counts) <= set(STATES)
