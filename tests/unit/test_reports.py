"""Searches whose objectives report: what is stored, and that troubles change nothing of it."""

from __future__ import annotations

import errno
import math
import os
import random
from collections import Counter

import numpy as np
import pytest

import raysearch as rs
from raysearch import simulate
from raysearch.errors import StudyStorage
from raysearch.log import StudyLog
from raysearch.log.reports import valid
from raysearch.resume import stored_reports
from raysearch.simulate import Crashes, LogNormal
from raysearch.strategies.random import RandomSearch
from raysearch.testing.reporting import SPACE, Cutter, curves, table, train

HALVING = rs.SuccessiveHalving(max_budget=9)
STRATEGIES = {
    "promote": rs.ASHA(max_budget=9),
    "stop": Cutter(),
    "wait": rs.SuccessiveHalving(max_budget=9),
}


@pytest.fixture(autouse=True)
def unthinned(monkeypatch):
    """Steps of microseconds are reported one and all."""
    monkeypatch.setattr("raysearch.engine.loop._REPORTS", math.inf)


def search(place=None, strategy=None, objective=train, **options):
    options = {"address": "inline", "progress": False, "trials": 40, "study": place, **options}
    strategy = strategy or STRATEGIES["promote"]
    return rs.search(objective, SPACE, strategy, **options)


def test_reports_have_steps_and_metrics_and_stay(tmp_path):
    def objective(config):
        for k in range(1, 5):
            yield {"loss": config["x"] / k, "odd": bool(k % 2), **({"late": 1.0} if k > 2 else {})}

    study = search(tmp_path / "s", RandomSearch(), objective, trials=3)
    rows = study.reports.to_pylist()
    assert [(r["number"], r["step"]) for r in rows] == [(i, float(k)) for i in range(3)
                                                        for k in range(1, 5)]  # fmt: skip
    xs = {r["number"]: r["config.x"] for r in study.trials.to_pylist()}
    for row in rows:
        assert row["metrics.loss"] == xs[row["number"]] / row["step"]
        assert row["metrics.odd"] == bool(row["step"] % 2)
        assert row["metrics.late"] == (1.0 if row["step"] > 2 else None)
    assert rs.Study.load(tmp_path / "s").reports.equals(study.reports)
    in_memory = search(None, RandomSearch(), objective, trials=3)
    assert in_memory.reports.equals(study.reports)


def test_the_first_and_the_last_report_of_a_trial_stay_however_fast_they_come(monkeypatch):
    monkeypatch.setattr("raysearch.engine.loop._REPORTS", 1e-9)  # one in 30 years
    study = search(strategy=RandomSearch(), trials=12)
    assert [step for _, step, _ in curves(study)] == [1, 12] * 12


def test_what_is_saved_was_reported_before_and_a_full_disk_doubles_nothing(tmp_path, monkeypatch):
    save, full = StudyLog.save, [True]

    def checked(log, saved):
        rows = [(n, s) for part in stored_reports(log.place)
                for n, s in zip(part.number.tolist(), part.step.tolist(), strict=True)]  # fmt: skip
        assert {(c.number, c.step) for c in saved} <= set(rows)
        if full.pop() if full else False:
            raise StudyStorage(errno.ENOSPC, "no space left")
        save(log, saved)

    monkeypatch.setattr(StudyLog, "save", checked)
    monkeypatch.setattr("raysearch.engine.driver._FULL_SECONDS", (0,))
    study = search(tmp_path / "s", trials=12)
    assert not full
    assert curves(study) == curves(search(trials=12))


def test_budget_and_parent_of_trials_stay(tmp_path):
    study = search(tmp_path / "s")
    rows = {row["number"]: row for row in table(study)}
    children = [row for row in rows.values() if row["parent"] is not None]
    assert children
    for child in children:
        parent = rows[child["parent"]]
        assert child["budget"] == 3 * parent["budget"]
        assert (child["config.x"], child["config.n"]) == (parent["config.x"], parent["config.n"])
    assert table(rs.Study.load(tmp_path / "s")) == list(rows.values())
    steps = Counter(number for number, _, _ in curves(study))
    assert all(steps[c["number"]] == c["budget"] * 2 // 3 for c in children)  # went on from there


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_troubles_change_nothing_of_a_reproducible_search(strategy):
    options = {"workers": 4, "trials": 40, "reproducible": True}
    calm = simulate.run(train, SPACE, strategy, **options).study
    assert len(calm) == 40
    for seed in range(2):
        troubled = simulate.run(
            train,
            SPACE,
            strategy,
            duration=LogNormal(1.0 + seed, 1.0),
            mishaps=[Crashes(0.2)],
            retries=100,
            **options,
        ).study
        assert table(troubled) == table(calm), seed
        assert max(troubled.trials["attempts"].to_pylist()) > 1


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_this_process_and_the_simulation_agree(strategy):
    inline = search(strategy=strategy, reproducible=True, concurrency=4)
    simulated = simulate.run(train, SPACE, strategy, workers=4, trials=40, reproducible=True)
    assert table(inline) == table(simulated.study)
    assert set(inline.counts) == ({"complete", "stopped"} if strategy == Cutter() else {"complete"})


def send_at_once(monkeypatch):
    """Each step is sent, and each state saved."""
    monkeypatch.setattr("raysearch.engine.stream._FLUSH", -1)
    monkeypatch.setattr("raysearch.engine.stream._SAVE", -1)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_driver_that_dies_in_the_middle_of_trials_goes_on_as_if_it_had_not(
    tmp_path, strategy, at_once, monkeypatch
):
    if at_once:
        send_at_once(monkeypatch)
    options = {"strategy": strategy, "reproducible": True, "concurrency": 4}
    whole = search(**options)
    chance, steps = random.Random(5), len(curves(whole))
    deaths = 0
    while not finish(tmp_path / "s", options, chance.randint(1, steps // 4) if deaths else 4):
        deaths += 1
    resumed = rs.Study.load(tmp_path / "s")
    assert deaths > 1
    assert table(resumed) == table(whole)
    assert curves(resumed) == curves(whole)  # no step twice, and none of a stopped trial beyond


def finish(place, options, steps):
    """Search until so many steps are done, and die; True if the search has ended before."""
    left = [steps]

    def mortal(config, trial):
        for step in train(config, trial):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            yield step

    try:
        search(place, objective=mortal, **options)
    except KeyboardInterrupt:
        return False
    return True


def test_what_was_reported_before_any_result_is_known_on_resume(tmp_path, monkeypatch):
    send_at_once(monkeypatch)
    options = {"strategy": Cutter(), "trials": 3}
    assert not finish(tmp_path / "s", options, 4)
    heard = []
    monkeypatch.setattr(
        Cutter,
        "report",
        lambda _, state, batch, rung, loss: heard.append(int(rung[0])) or no(state),
    )

    def no(state):
        return state, np.array([False])

    study = search(tmp_path / "s", **options)
    assert study.trial(0).attempts == 2
    assert heard[:3] == [0, 1, 2]  # two of them from the session that died
    assert [step for number, step, _ in curves(study) if number == 0] == list(range(1, 10))


def test_a_new_chapter_does_not_go_on_from_what_others_have_saved(tmp_path, monkeypatch):
    send_at_once(monkeypatch)
    assert not finish(tmp_path / "s", {"trials": 20}, 4)
    dead = curves(rs.Study.load(tmp_path / "s"))[-1]
    assert dead[:2] == (3, 2)  # a child, on its way
    study = search(tmp_path / "s", seed=9, trials=20, resume="changed")
    rows = table(study)
    assert dead[0] not in [row["number"] for row in rows]
    for row in rows:
        steps = [step for number, step, _ in curves(study) if number == row["number"]]
        assert steps[0] == (1 if row["parent"] is None else row["budget"] / 3 + 1)


def test_a_curve_is_of_a_single_training():
    def holds(*rows):
        number, attempt, step = map(np.array, zip(*rows, strict=True))
        return valid(number, attempt, step.astype(float)).tolist()

    assert holds((0, 1, 1), (0, 1, 2), (1, 1, 1)) == [True] * 3
    assert holds((0, 1, 1), (0, 1, 2), (0, 2, 1)) == [False, False, True]
    assert holds((0, 1, 1), (0, 1, 2), (0, 1, 3), (0, 2, 2)) == [True, False, False, True]
    assert holds((0, 1, 1), (0, 1, 5), (0, 2, 3), (0, 3, 2), (0, 3, 4)) == [
        True, False, False, True, True]  # fmt: skip
    assert holds((0, 1, 4), (1, 1, 9), (0, 2, 4), (0, 1, 9)) == [False, True, True, False]


def test_nan_at_a_rung_is_invalid_and_elsewhere_it_is_not():
    def objective(config):
        for k in range(1, 10):
            nan = k == (3 if config["n"] > 5 else 2)
            yield {"loss": float("nan") if nan else config["x"]}

    study = search(strategy=Cutter(), objective=objective, max_failures=None)
    for row in study.trials.to_pylist():
        if row["config.n"] > 5 and row["state"] != "stopped":
            assert row["state"] == "invalid"
            assert "step 3" in row["error"]
        else:
            assert row["state"] in ("complete", "stopped")
    promoted = search(objective=objective, max_failures=None)
    rows = {row["number"]: row for row in promoted.trials.to_pylist()}
    assert {r["state"] for r in rows.values()} == {"complete", "invalid"}
    for row in rows.values():
        assert row["state"] == ("invalid" if row["budget"] == 3 and row["config.n"] > 5
                                else "complete")  # fmt: skip
        assert row["parent"] is None or rows[row["parent"]]["state"] == "complete"


def test_a_damaged_checkpoint_fails_its_trial_alone(tmp_path):
    place = tmp_path / "s"
    search(place, trials=3)
    for file in (place / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:-40])
    study = search(place, trials=12)
    states = {row["number"]: row for row in study.trials.to_pylist()}
    failed = [row for row in states.values() if row["state"] == "failed"]
    assert failed
    for row in failed:
        assert row["parent"] is not None
        assert "checkpoint: expected what a trial has saved" in row["error"]
    assert all(row["state"] == "complete" for row in states.values() if row["parent"] is None)


def test_one_checkpoint_of_each_configuration_stays(tmp_path):
    study = search(tmp_path / "s")
    rows = table(study)
    gone_on = {row["parent"] for row in rows}
    kept = sorted(os.listdir(tmp_path / "s" / "checkpoints"))
    assert kept == sorted(
        f"{row['number']}-{row['budget']}r.npz" for row in rows if row["number"] not in gone_on
    )


def test_who_cannot_know_of_a_checkpoint_begins_anew():
    def objective(config):
        for k in range(1, 20):
            yield {"loss": config["x"] / k}, {"k": k}

    study = search(objective=objective)
    steps = Counter(number for number, _, _ in curves(study))
    assert all(steps[row["number"]] == row["budget"] for row in table(study))


def test_who_has_ended_before_its_budget_is_as_good_as_it_was():
    def objective(config, trial):
        for k in range((trial.checkpoint or {"k": 0})["k"] + 1, 3):
            yield {"loss": config["x"] / k}, {"k": k}

    study = search(objective=objective)
    assert study.counts == {"complete": 40}
    rows = {row["number"]: row for row in table(study)}
    for row in rows.values():
        assert row["metrics.loss"] == row["config.x"] / min(row["budget"], 2)


@pytest.mark.parametrize(
    ("objective", "strategy", "says"),
    [
        (lambda c: c["x"], rs.ASHA(), "ASHA says how far .* trial.budget"),
        (lambda c: c["x"], rs.StoppingASHA(), "StoppingASHA says how far .* yield metrics"),
        (rs.vectorized(lambda columns: columns["x"]), rs.Hyperband(), "Hyperband says how far"),
    ],
)
def test_a_strategy_with_budgets_needs_an_objective_that_has_them(objective, strategy, says):
    with pytest.raises(rs.UsageError, match=says):
        rs.search(objective, {"x": rs.Float(0, 1)}, strategy, trials=3, address="inline")
