"""Bounds on metrics: search(require=...) and AskTell.tell(constraint=...)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import raysearch as rs
from raysearch.cli.best import best_trials
from raysearch.cli.overview import lines, overview
from raysearch.engine.objectives import bounds_of, constraints, to_json
from raysearch.errors import SearchFailed, StudyMismatch, UsageError
from raysearch.report.live import block
from raysearch.strategies.asha import ASHA
from raysearch.strategies.gaussian_process import GaussianProcess
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.nsga2 import NSGA2
from raysearch.strategies.quasi_random import QuasiRandom
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.tpe import TPE
from raysearch.strategies.trust_region import TrustRegion

SPACE = rs.Space({"x": rs.Float(0, 1), "y": rs.Float(0, 1)})
PLACE = {"sum": ">= 1", "x": "<= 0.4"}  # the least loss is at (0.4, 0.6)


def objective(config):
    x, y = config["x"], config["y"]
    return {"loss": x + 2 * y, "sum": x + y, "x": x}


def search(strategy=None, require=PLACE, function=objective, **options):
    options = {"address": "inline", "progress": False, "trials": 60, **options}
    return rs.search(function, SPACE, strategy or QuasiRandom(), require=require, **options)


def feasible(study):
    table = study.columns("number", "metrics.loss", "metrics.sum", "metrics.x").to_pydict()
    rows = zip(*table.values(), strict=True)
    return {n: loss for n, loss, total, x in rows if total >= 1 and x <= 0.4}


# --- the texts --------------------------------------------------------------------------------


def test_bounds_become_constraints_in_units_of_the_limit() -> None:
    bounds = bounds_of({"gb": "<= 8", "speed": ">=-2.5e1", "balance": ">= 0", "none": "<= 1"})
    metrics = {
        "gb": np.array([8.0, 12.0, 4.0]),
        "speed": np.array([-25.0, -30.0, math.nan]),
        "balance": np.array([True, None, -3.0], dtype=object),
    }
    found = constraints(bounds, metrics, 3)
    expected = [[0, 0, -1, np.nan], [0.5, 0.2, np.nan, np.nan], [-0.5, np.nan, 3, np.nan]]
    np.testing.assert_allclose(found, expected)
    assert bounds_of(to_json(bounds)) == bounds


@pytest.mark.parametrize(
    ("require", "message"),
    [
        (["gb"], r"require: expected a mapping .* found \['gb'\]"),
        ({"gb": 8}, r"require\['gb'\]: expected '<= 8' or '>= 8', say, found 8"),
        ({"gb": "< 8"}, "found '< 8'"),
        ({"gb": "<= many"}, "found '<= many'"),
        ({"gb": "<= inf"}, "found '<= inf'"),
        ({"gb": "<= 1 2"}, "found '<= 1 2'"),
        ({"": "<= 1"}, "require: expected the name of a metric, found ''"),
    ],
)
def test_what_is_no_bound_is_refused(require, message) -> None:
    with pytest.raises(UsageError, match=message):
        search(require=require)


# --- the best ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_is_the_best_that_meets_all_bounds(mode) -> None:
    seen = []
    study = search(mode=mode, progress=seen.append)
    meeting = feasible(study)
    assert 2 < len(meeting) < 20
    choose = min if mode == "min" else max
    assert meeting[study.best.number] == choose(meeting.values())
    assert seen[-1].best.number == study.best.number
    assert set(study.ranking.tolist()) == set(meeting)
    assert seen[-1].require == ("sum >= 1", "x <= 0.4")


def test_the_front_is_of_those_that_meet_all_bounds() -> None:
    study = search(NSGA2(), metric={"loss": "min", "x": "max"})
    front = study.pareto["number"].to_pylist()
    assert front
    assert set(front) <= set(feasible(study))


def test_where_none_meets_the_bounds_it_is_said_so() -> None:
    seen = []
    study = search(require={"sum": ">= 3"}, stop_when=rs.Target(1.0), progress=seen.append)
    assert len(study) == 60  # no target was reached by what does not count
    assert block(seen[-1])[1] == "no result yet that meets sum >= 3"
    with pytest.raises(UsageError, match="no trial meets sum >= 3"):
        study.best  # noqa: B018
    assert not len(study.pareto)


def test_an_unknown_value_does_not_meet_a_bound() -> None:
    study = search(function=lambda c: {"loss": c["x"], "gb": None}, require={"gb": "<= 8"})
    assert study.counts == {"complete": 60}
    with pytest.raises(UsageError, match="no trial meets gb <= 8"):
        study.best  # noqa: B018


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, r"expected a mapping with the metrics 'loss', 'gb', found 1.0"),
        ({"loss": 1.0}, "expected the metric 'gb'"),
        ({"loss": 1.0, "gb": "8"}, "metric 'gb': expected a number, as it has a bound"),
    ],
)
def test_a_result_without_the_metric_is_invalid(value, message) -> None:
    with pytest.raises(SearchFailed, match=message):
        search(function=lambda c: value, require={"gb": "<= 8"})


def test_vectorized_objectives_and_the_objective_itself_may_have_bounds() -> None:
    @rs.vectorized
    def plain(columns):
        return columns.numbers["x"]

    study = search(function=plain, require={"loss": ">= 0.5"})
    assert (
        study.best.metrics["loss"]
        == study.columns("metrics.loss").to_pandas()["metrics.loss"].loc[lambda v: v >= 0.5].min()
    )


# --- what is stored ---------------------------------------------------------------------------


def test_bounds_are_stored_and_compared(tmp_path) -> None:
    search(study=tmp_path, trials=30)
    assert rs.Study.load(tmp_path).best.number in feasible(rs.Study.load(tmp_path))
    assert len(search(study=tmp_path, trials=40)) == 40
    assert "min loss, sum >= 1, x <= 0.4" in lines(overview(str(tmp_path)))[0]
    study = rs.Study.load(tmp_path)
    best = [trial.number for trial in best_trials(study, 100)]
    assert best == sorted(feasible(study), key=feasible(study).get)
    with pytest.raises(StudyMismatch, match=r"require.x: stored '<= 0.4', now '<= 0.5'"):
        search(study=tmp_path, require={**PLACE, "x": "<= 0.5"})
    study = search(study=tmp_path, require={"x": "<= 0.1"}, resume="changed", trials=50)
    assert study.best.metrics["x"] <= 0.1


def test_earlier_trials_tell_a_new_strategy_of_bounds(tmp_path) -> None:
    search(study=tmp_path, trials=30)
    study = search(GaussianProcess(), study=tmp_path, trials=40, resume="changed")
    assert study.best.metrics["loss"] < 1.65


# --- what strategies make of it ---------------------------------------------------------------


@pytest.mark.parametrize("strategy", [GaussianProcess(), TrustRegion()], ids=repr)
def test_models_find_the_corner(strategy) -> None:
    study = search(strategy, trials=40)
    assert study.best.metrics["loss"] == pytest.approx(1.6, abs=0.02)


@pytest.mark.parametrize("strategy", [TPE(), NSGA2(population=10), LocalSearch()], ids=repr)
def test_every_strategy_keeps_to_what_meets_the_bounds(strategy) -> None:
    random = len(feasible(search(RandomSearch(), trials=100)))
    assert len(feasible(search(strategy, trials=100))) > 1.5 * random


def test_strategies_with_budgets_promote_what_meets_the_bounds() -> None:
    def training(config):
        for _ in range(4):
            yield objective(config)

    study = search(ASHA(max_budget=4, eta=2), function=training, trials=90)
    full = study.columns("budget", "metrics.sum", "metrics.x").to_pandas()
    full = full[full["budget"] == 4]
    assert ((full["metrics.sum"] >= 1) & (full["metrics.x"] <= 0.4)).mean() > 0.3  # 0.08 at random


# --- ask and tell -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [GaussianProcess(), LocalSearch()], ids=repr)
def test_ask_and_tell_takes_constraints(strategy) -> None:
    loop = rs.AskTell(SPACE, strategy)
    for _ in range(40):
        (trial,) = loop.ask()
        x, y = trial.config["x"], trial.config["y"]
        loop.tell(trial, x + 2 * y, constraint=[1 - x - y, x - 0.4])
    best = loop.best.config
    assert best["x"] + best["y"] >= 1
    assert best["x"] <= 0.4
    assert loop.best.value < 1.9


def test_constraints_are_equally_many() -> None:
    loop = rs.AskTell(SPACE, RandomSearch())
    one, two, three, four = loop.ask(4)
    loop.tell(one, 1.0, constraint=0.0)
    with pytest.raises(UsageError, match=r"constraint: expected 1 numbers, found \[0, 1\]"):
        loop.tell(two, 0.0, constraint=[0, 1])
    with pytest.raises(UsageError, match="constraint: expected a number, or None if unknown"):
        loop.tell(two, 0.0, constraint="0")
    loop.tell(two, 0.0, constraint=math.nan)
    loop.tell(three, 0.0)
    loop.tell(four, 0.0, constraint=1e-9)
    assert loop.best.number == one.number
