"""Conditions that end a search, repeats of a trial, and reruns of the best."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

import raysearch as rs
from raysearch.errors import ObjectiveError, UsageError
from raysearch.stopping import Seen

SPACE = {"x": rs.Float(-1, 1)}


def search(objective=lambda c: c["x"] ** 2, **options):
    options = {"trials": 200, "address": "inline", "progress": False, **options}
    return rs.search(objective, SPACE, **options)


def seen(*losses: float, parts: int = 1) -> Seen:
    found = Seen()
    for part in np.array_split(np.array(losses, dtype=np.float64), parts):
        found.take(part)
    return found


# --- conditions -------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_what_is_seen_does_not_depend_on_how_it_comes(parts):
    found = seen(3.0, math.nan, 1.0, 2.0, 1.0, math.nan, 5.0, parts=parts)
    assert (found.count, found.since) == (5, 4)
    assert found.lowest.tolist() == [1.0, 1.0, 2.0, 3.0, 5.0]


def test_failures_at_the_start_are_no_best():
    found = seen(math.nan, math.nan)
    assert (found.count, found.since) == (0, 2)
    assert not rs.NoImprovement(trials=1).met(found)
    assert not rs.Target(1e9).met(found)


def test_a_target_ends_the_search_as_soon_as_it_is_reached():
    study = search(stop_when=rs.Target(0.01))
    assert study.best.metrics["loss"] <= 0.01
    assert len(study) < 200


def test_a_target_is_in_the_units_of_a_metric_that_is_maximised():
    study = search(lambda c: 1 - c["x"] ** 2, mode="max", stop_when=[rs.Target(0.99)])
    assert study.best.metrics["loss"] >= 0.99
    assert len(study) < 200


def test_no_improvement_ends_the_search_after_so_many_trials():
    def objective(config, trial):
        time.sleep(0.03)  # too long for large batches
        return float(trial.number != 3)

    study = search(objective, stop_when=rs.NoImprovement(20))
    assert 24 <= len(study) <= 40


def test_a_condition_that_is_met_is_met_when_the_search_goes_on(tmp_path):
    first = search(stop_when=rs.Target(0.01), study=tmp_path / "study")
    again = search(stop_when=rs.Target(0.01), study=tmp_path / "study")
    assert len(again) == len(first)
    assert len(search(trials=len(first) + 2, study=tmp_path / "study")) == len(first) + 2


def test_only_trials_of_the_highest_budget_are_compared_with_a_target():
    def trained(config, trial):
        for step in range(1, 10):
            yield {"loss": -1.0 if step == 9 else 5.0}

    study = search(trained, strategy=rs.ASHA(max_budget=9), trials=60, stop_when=rs.Target(0.0))
    assert study.best.budget == 9.0
    assert study.best.metrics["loss"] == -1.0
    assert len(study) < 60


def test_the_bound_on_the_regret_holds_about_as_often_as_it_says():
    """For independent draws of the distance from a minimum in two dimensions."""
    rng = np.random.default_rng(0)
    condition = rs.RegretBelow(1.0, confidence=0.9)
    held = []
    for _ in range(400):
        losses = (rng.uniform(-1, 1, (200, 2)) ** 2).sum(axis=1)
        bound = condition.bound(seen(*losses))
        held.append(bound >= losses.min())
    assert 0.8 <= np.mean(held) <= 0.99


def test_little_is_no_ground_for_a_bound():
    assert rs.RegretBelow(1.0).bound(seen(1.0, 2.0, 3.0)) == math.inf


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rs.Target("low"), "value: expected a number"),
        (lambda: rs.NoImprovement(0), "trials: expected an integer >= 1"),
        (lambda: rs.RegretBelow(-1.0), "value: expected a number > 0"),
        (lambda: rs.RegretBelow(1.0, confidence=1.0), "confidence: expected"),
        (lambda: search(stop_when=0.1), "stop_when: expected conditions"),
        (lambda: search(stop_when=rs.Target), "stop_when: expected conditions"),
        (lambda: search(checkpoints="all"), "checkpoints: expected one of"),
        (lambda: search(confirm=0), "confirm: expected at least 1"),
        (lambda: rs.confirm(print, search(), repeats=1), "repeats: expected integers"),
        (lambda: rs.repeated(lambda c, trial: 0.0, times=1), "times: expected an integer >= 2"),
        (lambda: rs.repeated(lambda c, trial: 0.0, 2, "mode"), "aggregate: expected one of"),
    ],
)
def test_wrong_arguments_are_named(make, says):
    with pytest.raises(UsageError, match=says):
        make()


# --- repeats ----------------------------------------------------------------------------------


def noisy(config, trial):
    return {"loss": config["x"] + trial.rng.normal(), "name": "noisy"}


def test_runs_of_a_repeated_trial_have_seeds_of_their_own():
    values = []

    def objective(config, trial):
        values.append(trial.rng.normal())
        return {"loss": values[-1]}

    study = search(rs.repeated(objective, times=4), trials=2)
    assert len(set(values)) == 8
    first = study.trial(0).metrics
    assert first["loss"] == pytest.approx(np.mean(values[:4]))
    assert first["loss.std"] == pytest.approx(np.std(values[:4], ddof=1))


@pytest.mark.parametrize(("aggregate", "function"), [("median", np.median), ("max", np.max)])
def test_runs_are_put_together_as_wished(aggregate, function):
    values = []

    def objective(config, trial):
        values.append(trial.rng.normal())
        return values[-1]

    study = search(rs.repeated(objective, 3, aggregate), trials=1)
    assert study.trial(0).metrics == {"loss": pytest.approx(function(values))}


def test_one_run_that_fails_fails_the_trial():
    study = search(rs.repeated(lambda c, trial: math.nan, 2), trials=1)
    assert study.trial(0).state == "invalid"


def test_generators_are_repeated_step_by_step_and_saved_together():
    def trained(config, trial):
        state = dict(trial.checkpoint or {"seed": trial.seed, "epoch": 0})
        assert state["seed"] == trial.seed or state["epoch"], "a run got another one's state"
        while True:
            state["epoch"] += 1
            yield {"loss": config["x"] ** 2 / state["epoch"]}, state

    study = search(rs.repeated(trained, 3), strategy=rs.ASHA(max_budget=9), trials=40)
    assert set(study.counts) == {"complete"}
    best = study.checkpoint(study.best.number)
    assert [run["epoch"] for run in best["runs"]] == [9, 9, 9]
    assert len({run["seed"] for run in best["runs"]}) == 3


def test_what_knows_no_seed_cannot_be_repeated():
    with pytest.raises(ObjectiveError, match="take it as second argument"):
        rs.repeated(lambda config: 0.0, times=3)


# --- reruns -----------------------------------------------------------------------------------


def test_a_lucky_winner_is_found_out(tmp_path):
    """All are equally good: the best of many was lucky, and its fresh mean is not low."""
    study = search(lambda c, trial: trial.rng.normal(), confirm=3, study=tmp_path / "study")
    table = study.confirmed
    assert table["trial"].to_pylist()[0] in study.ranking[:3].tolist()
    assert table["runs"].to_pylist() == [5, 5, 5]
    means = table["mean"].to_pylist()
    assert means == sorted(means)
    assert min(means) > max(table["searched"].to_pylist())
    low, high = table["low"].to_pylist(), table["high"].to_pylist()
    assert all(a < m < b for a, m, b in zip(low, means, high, strict=True))
    assert len(study) == 200, "reruns are not trials of the search"


def test_reruns_that_are_there_are_not_run_again(tmp_path):
    study = search(noisy, study=tmp_path / "study")
    quiet = {"address": "inline", "progress": False}
    table = rs.confirm(noisy, tmp_path / "study", best=2, repeats=3, **quiet)

    def never(config, trial):
        raise AssertionError("run again")

    again = rs.confirm(never, tmp_path / "study", best=2, repeats=3, **quiet)
    assert again.equals(table)
    assert len(rs.Study.load(tmp_path / "study")) == len(study)


def test_reruns_are_trained_as_far_as_the_best_and_in_the_units_of_the_metric():
    def trained(config, trial):
        for epoch in range(1, 100):
            yield {"accuracy": 1 - config["x"] ** 2 / epoch}

    study = search(
        trained, strategy=rs.ASHA(max_budget=9), trials=60, metric="accuracy", mode="max", confirm=2
    )
    found = study.confirmed
    assert found["mean"].to_pylist() == pytest.approx(found["searched"].to_pylist(), rel=1e-12)
    assert found["mean"][0].as_py() == pytest.approx(study.best.metrics["accuracy"], rel=1e-12)


def test_reruns_of_a_vectorized_objective():
    @rs.vectorized
    class Squares:
        def __init__(self, data):
            self.power = data["power"]

        def __call__(self, columns):
            return columns["x"] ** self.power

    study = search(Squares, confirm=2, data={"power": 2})
    found = study.confirmed
    assert found["mean"].to_pylist() == pytest.approx(found["searched"].to_pylist(), rel=1e-12)


# --- found by use -----------------------------------------------------------------------------


def test_steps_that_miss_a_rung_by_rounding_reach_it():
    def tenths(config, trial):
        done = 0.0 if trial.checkpoint is None else trial.checkpoint["done"]
        while True:
            done += 0.1
            yield {"loss": config["x"] ** 2, "step": done}, {"done": done}

    study = search(tenths, strategy=rs.ASHA(min_budget=0.1, max_budget=1), trials=60)
    budgets = rs.ASHA(min_budget=0.1, max_budget=1).budgets()
    assert set(study.trials["budget"].to_pylist()) == set(budgets)


def test_trials_short_of_their_full_budget_are_no_failed_improvements():
    def trained(config):
        for _ in range(9):
            yield config["x"] ** 2

    study = search(
        trained, strategy=rs.ASHA(max_budget=9), trials=150, stop_when=rs.NoImprovement(5)
    )
    full = [b for b in study.trials["budget"].to_pylist() if b == 9.0]
    assert len(full) >= 6


def test_a_reproducible_search_knows_a_trials_own_past():
    def worse_and_worse(config, trial):
        for step in range(1, 41):
            yield 0.5 if trial.number < 10 else (0.1 if step <= 10 else 0.9)

    options = {"strategy": rs.MedianStopping(max_budget=40), "trials": 30}
    free = search(worse_and_worse, **options)
    tied = search(worse_and_worse, reproducible=True, concurrency=1, **options)
    assert tied.counts == free.counts == {"complete": 30}


def test_infinite_and_equal_losses_bound_nothing():
    condition = rs.RegretBelow(1.0)
    assert condition.bound(seen(*[1.0, 2.0, 3.0, *[math.inf] * 60])) == math.inf
    assert condition.bound(seen(*[0.5] * 64)) == math.inf
    assert rs.RegretBelow(1.0, confidence=1e-9).bound(seen(*np.linspace(0, 1, 64) ** 60)) >= 0


def test_one_run_without_a_number_spoils_a_repeated_trial():
    values = iter([0.0, None])
    study = search(rs.repeated(lambda c, trial: {"loss": next(values)}, 2), trials=1)
    assert study.trial(0).state == "invalid"


def test_gradients_of_repeated_runs_are_averaged():
    slopes = iter([1.0, 3.0])

    def objective(config, trial):
        return {"loss": 0.0, "gradient": {"x": next(slopes)}}

    study = search(rs.repeated(objective, 2), trials=1)
    assert study.trial(0).metrics["gradient.x"] == 2.0


@pytest.mark.parametrize("wish", [{"confirm": 2}, {"stop_when": rs.Target(0.1)}])
def test_several_objectives_have_no_best_to_confirm_or_to_wait_for(wish):
    with pytest.raises(UsageError, match="compare trials by one objective"):
        search(lambda c: {"a": 1.0, "b": 2.0}, metric={"a": "min", "b": "max"}, **wish)


def test_confirm_takes_only_what_says_where_and_how():
    with pytest.raises(UsageError, match="trials is no option of it"):
        rs.confirm(noisy, search(noisy, trials=10), trials=7)


def test_the_best_keeps_what_it_went_on_from(tmp_path):
    def saves_early(config, trial):
        step = trial.checkpoint["step"] if trial.checkpoint else 0
        while True:
            step += 1
            metrics = {"loss": config["x"] ** 2 / step}
            yield (metrics, {"step": step}) if step == 1 else metrics

    study = search(
        saves_early,
        strategy=rs.ASHA(max_budget=9),
        trials=60,
        checkpoints="best",
        study=tmp_path / "study",
    )
    assert study.best.budget == 9.0
    assert study.checkpoint(study.best.number) == {"step": 1}
    kept = {int(f.name.split("-")[0]) for f in (tmp_path / "study" / "checkpoints").iterdir()}
    family, one = set(), study.best
    while one.parent is not None:
        family.add(one.number)
        one = study.trial(one.parent)
    assert kept <= {*family, one.number}
