"""What a search says while it runs."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

import raysearch as rs
from raysearch.log import MemoryLog
from raysearch.monitor import Monitor
from raysearch.testing.told import made_up

SPACE = {"x": rs.Float(-1, 1)}


def watch(objective, **options):
    """All that a search shows of its progress, and the trials that its callbacks get."""
    shown, seen = [], []
    options = {"trials": 30, "address": "inline", "strategy": rs.LocalSearch(), **options}
    rs.search(objective, SPACE, progress=shown.append, callbacks=[seen.extend], **options)
    return shown, seen


def test_progress_counts_up_to_the_end_and_the_best_only_improves():
    shown, _ = watch(lambda config: config["x"] ** 2)
    done = [progress.done for progress in shown]
    assert done == sorted(done)
    assert (done[-1], shown[-1].trials, shown[-1].running) == (30, 30, 0)
    values = [progress.best.value for progress in shown if progress.best]
    assert values == sorted(values, reverse=True)
    assert list(shown[-1].history) == sorted(shown[-1].history, reverse=True)
    assert shown[-1].history[-1] == values[-1]
    assert all(progress.busy <= progress.slots for progress in shown)
    assert all(progress.overhead is None or 0 <= progress.overhead <= 1 for progress in shown)


def test_of_many_trials_at_once_the_best_is_that_of_the_study():
    @rs.vectorized
    def objective(columns):
        return np.where(columns["x"] < -0.5, np.nan, columns["x"] ** 2)  # NaN: invalid

    shown = []
    options = {"progress": shown.append, "address": "inline", "trials": 2000}
    study = rs.search(objective, SPACE, rs.RandomSearch(), **options)
    assert (shown[-1].best.number, shown[-1].best.value) == (
        study.best.number,
        study.best.metrics["loss"],
    )


def test_of_trials_with_budgets_the_furthest_are_compared():
    rows = made_up(rs.Space(SPACE), 4)
    budget, loss = np.array([1.0, 3.0, 3.0, 1.0]), np.array([0.0, 2.0, 1.0, 0.0])
    spec = {"space": rs.Space(SPACE).to_json(), "metric": {"loss": "min"}}
    shown = []
    known = dict.fromkeys(("strategy", "trials", "time_limit", "study"))
    monitor = Monitor(rs.Study(MemoryLog(rs.Space(SPACE), spec)), shown.append, [], **known)
    loop = SimpleNamespace(slots=1, running={}, finished=4, reported=0)
    monitor(loop, [replace(rows, budget=budget, metrics={"loss": loss})])
    assert (shown[-1].best.number, shown[-1].best.value) == (2, 1.0)


def test_trials_that_wait_for_the_best_to_improve_are_counted():
    shown, _ = watch(lambda config, trial: 0.0 if trial.number == 3 else 1.0)
    assert shown[-1].best.number == 3
    assert shown[-1].best.since == 30 - 4


def test_the_last_error_is_shown_in_one_line_and_failures_are_counted():
    def objective(config, trial):
        if trial.number in (2, 7):
            raise ValueError(f"trial {trial.number}")
        return 1.0

    shown, seen = watch(objective)
    assert (shown[-1].failed, shown[-1].error) == (2, "ValueError: trial 7")
    assert [t.number for t in seen if t.state == "failed"] == [2, 7]


def test_a_resumed_search_counts_and_knows_what_was_before(tmp_path):
    def objective(config, trial):
        if trial.number == 1:
            raise ValueError
        return 5.0 if trial.number == 4 else 9.0

    watch(objective, study=tmp_path, trials=10)
    shown, seen = watch(objective, study=tmp_path, trials=20)
    assert (shown[0].resumed, shown[0].failed, shown[0].best.number) == (10, 1, 4)
    assert (shown[-1].done, shown[-1].failed, shown[-1].best.number) == (20, 1, 4)
    assert sorted(t.number for t in seen) == list(range(10, 20))
    assert shown[-1].study == str(tmp_path)


def test_busy_slots_are_no_overhead():
    def objective(config):
        time.sleep(0.11)
        return 1.0

    shown, _ = watch(objective, trials=4)
    assert shown[-1].overhead < 0.5


def test_the_curve_of_a_long_search_is_thinned():
    shown, _ = watch(lambda config: config["x"], trials=1500)
    assert 256 <= len(shown[-1].history) <= 512
    assert shown[-1].history[-1] == shown[-1].best.value
