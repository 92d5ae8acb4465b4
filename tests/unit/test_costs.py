"""What a trial costs: how a strategy that looks at it comes to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

import raysearch as rs
from raysearch.errors import SearchFailed, UsageError
from raysearch.strategies.asha import ASHA
from raysearch.strategies.gaussian_process import GaussianProcess
from raysearch.strategies.random import RandomSearch

SPACE = rs.Space({"x": rs.Float(0, 1)})


@dataclass(frozen=True)
class Listener(RandomSearch):
    """Random search that keeps what it is told."""

    constrained: ClassVar[bool] = True

    cost: str | None = None
    heard: list[Any] = field(default_factory=list, init=False)

    def costs(self):
        return self.cost

    def max_pending(self, state, slots):
        return slots  # one that looks at losses

    def tell(self, state, batch, outcome):
        self.heard.append(outcome)
        return super().tell(state, batch, outcome)


def search(strategy, function, **options):
    options = {"address": "inline", "progress": False, "trials": 10, **options}
    return rs.search(function, SPACE, strategy, **options)


def objective(config):
    return {"loss": config["x"], "gb": 1 + config["x"], "late": None}


def heard(listener, name):
    return np.concatenate([getattr(outcome, name) for outcome in listener.heard])


def test_a_metric_tells_the_cost() -> None:
    listener = Listener("gb")
    study = search(listener, objective)
    np.testing.assert_array_equal(
        heard(listener, "cost"), study.columns("metrics.gb")["metrics.gb"].to_numpy()
    )


def test_time_tells_the_cost() -> None:
    listener = Listener("seconds")
    study = search(listener, objective)
    np.testing.assert_array_equal(
        heard(listener, "cost"), study.columns("seconds")["seconds"].to_numpy()
    )


def test_nothing_is_told_if_it_does_not_matter() -> None:
    listener = Listener()
    search(listener, objective)
    assert all(outcome.cost is None for outcome in listener.heard)


def test_samplers_under_budgets_come_to_know_costs() -> None:
    listener = Listener("gb")

    def training(config):
        for _ in range(4):
            yield objective(config)

    search(ASHA(listener, max_budget=4, eta=2), training)
    known = [outcome for outcome in listener.heard if outcome.cost is not None]
    assert len(known) == 10  # others were passed over
    for outcome in known:
        np.testing.assert_allclose(outcome.cost, 1 + outcome.loss[:, 0])


def test_a_cost_that_is_missing_is_unknown() -> None:
    listener = Listener("late")
    search(listener, objective)
    assert np.isnan(heard(listener, "cost")).all()


def test_a_result_without_its_cost_is_invalid() -> None:
    with pytest.raises(SearchFailed, match="expected the metric 'memory'"):
        search(GaussianProcess(cost="memory"), objective)


def test_time_is_not_reproducible() -> None:
    with pytest.raises(UsageError, match=r"reproducible: .* looks at how long trials run"):
        search(GaussianProcess(cost="seconds"), objective, reproducible=True, concurrency=2)
    search(GaussianProcess(cost="gb"), objective, reproducible=True, concurrency=2)


@pytest.mark.parametrize("cost", [3, ""])
def test_an_option_that_names_no_metric_is_refused(cost) -> None:
    with pytest.raises(UsageError, match="option cost: expected the name of a metric"):
        GaussianProcess(cost=cost)


def test_ask_and_tell_takes_costs() -> None:
    listener = Listener("any")
    loop = rs.AskTell(SPACE, listener)
    one, two = loop.ask(2)
    loop.tell(one, 1.0, cost=3)
    with pytest.raises(
        UsageError, match="cost: expected a number > 0, or None if unknown, found 0"
    ):
        loop.tell(two, 1.0, cost=0)
    assert heard(listener, "cost").tolist() == [3]


def test_earlier_trials_tell_a_new_strategy_of_costs_and_bounds(tmp_path) -> None:
    search(RandomSearch(), objective, study=tmp_path)
    listener = Listener("gb")
    require = {"gb": "<= 1.5"}
    search(listener, objective, study=tmp_path, trials=11, resume="changed", require=require)
    cost, constraint = heard(listener, "cost"), heard(listener, "constraint")[:, 0]
    assert len(cost) == 11
    np.testing.assert_allclose(constraint, (cost - 1.5) / 1.5)
