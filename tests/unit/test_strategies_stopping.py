"""Strategies that stop running trials: who is stopped, and what is learned of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raysearch.errors import UsageError
from raysearch.space import Float, Space
from raysearch.strategies import check
from raysearch.strategies.asha_stopping import StoppingASHA
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.median_stopping import MedianStopping
from raysearch.strategies.quasi_random import QuasiRandom
from raysearch.strategies.state import dump
from raysearch.trial import FOREIGN, Batch, Outcome

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def asked(strategy, n):
    return strategy.ask(strategy.init(SPACE, 0), n)


def reported(strategy, state, batch, rung, losses):
    k = len(losses)
    part = Batch(batch.x[:k], batch.number[:k])
    loss = np.array(losses, dtype=float).reshape(k, -1)
    return strategy.report(state, part, np.full(k, rung), loss)


def test_points_start_in_full():
    _, batch = asked(StoppingASHA(max_budget=9), 3)
    assert (batch.budget.tolist(), batch.parent) == ([9.0] * 3, None)


def test_asha_stops_all_but_the_best_so_far():
    strategy = StoppingASHA(max_budget=9)
    state, batch = asked(strategy, 7)
    # of the first two nothing is known; then the best of 3, of 4, of 5, and the best 2 of 6, of 7
    _, stop = reported(strategy, state, batch, 0, [5, 6, 7, 4, 4.5, 4.2, 4.1])
    assert stop.tolist() == [False, False, True, False, True, False, False]


def test_at_each_rung_those_that_came_there_count():
    strategy = StoppingASHA(max_budget=9, eta=2)
    state, batch = asked(strategy, 4)
    state, _ = reported(strategy, state, batch, 0, [1, 2, 3, 4])
    state, stop = reported(strategy, state, batch, 1, [3, 2])
    assert stop.tolist() == [False, False]
    assert np.isnan(state.curve[:, 1, 0]).tolist() == [False, False, True, True]


def test_reports_count_once_and_what_is_told_is_right():
    strategy = StoppingASHA(max_budget=9)
    state, batch = asked(strategy, 3)
    state, _ = reported(strategy, state, batch, 0, [1, 2, 3])
    again, _ = reported(strategy, state, batch, 0, [1, 2, 3])
    assert dump(again) == dump(state)

    curve = np.array([[[1.0], [0.5]], [[2.0], [0.7]], [[3.5], [np.nan]]])
    outcome = Outcome(np.array([[0.1], [0.2], [3.5]]), np.array([9.0, 9.0, 1.0]), curve)
    told = strategy.tell(state, batch, outcome)
    assert np.array_equal(told.curve, curve, equal_nan=True)
    never_reported = strategy.tell(asked(strategy, 3)[0], batch, outcome)
    assert dump(never_reported) == dump(told)


def test_the_sampler_learns_at_every_rung_reached():
    strategy = StoppingASHA(LocalSearch(chains=1), max_budget=9)
    state, batch = asked(strategy, 2)
    curve = np.array([[[1.0], [0.5]], [[0.8], [np.nan]]])
    outcome = Outcome(np.array([[0.1], [0.8]]), np.array([9.0, 1.0]), curve)
    state = strategy.tell(state, batch, outcome)
    assert state.copies.successes.tolist() == [2, 1, 1]
    assert [copy.f.tolist() for copy in state.copies.states] == [[0.8], [0.5], [0.1]]


def test_copies_do_not_wait_for_points_that_were_stopped():
    strategy = StoppingASHA(LocalSearch(chains=1), max_budget=9)
    state = strategy.init(SPACE, 0)
    for k in range(12):  # rung 1 knows enough after 5, and proposes; then all stop at rung 0
        state, batch = strategy.ask(state, 1)
        reached = [9.0] if k < 5 else [1.0]
        curve = np.array([[[1.0], [1.0 if k < 5 else np.nan]]])
        state = strategy.tell(state, batch, Outcome(np.array([[1.0]]), np.array(reached), curve))
    top = state.copies.states[-1]
    assert top.asked == 7
    assert top.sigma[0] < strategy.sampler.step  # it has heard of failures


def test_failures_are_told_to_those_who_proposed_them():
    strategy = StoppingASHA(LocalSearch(chains=1), max_budget=9)
    state, batch = asked(strategy, 1)
    curve = np.array([[[0.1], [np.nan]]])
    state = strategy.tell(state, batch, Outcome(np.array([[np.nan]]), np.array([1.0]), curve))
    assert state.copies.successes.tolist() == [0, 0, 0]
    assert math.isinf(state.copies.states[0].f[0])


def test_points_from_elsewhere_are_learned_in_full():
    strategy = StoppingASHA(LocalSearch(), max_budget=9)
    batch = Batch(np.full((1, 2), 0.5), np.array([FOREIGN]))
    state = strategy.tell(strategy.init(SPACE, 0), batch, Outcome(np.array([[0.5]])))
    assert state.copies.successes.tolist() == [0, 0, 1]
    assert len(state.judged) == 0


def test_several_objectives_are_stopped_by_rank():
    strategy = StoppingASHA(QuasiRandom(), max_budget=9, eta=2)
    check(strategy, 2)
    state, batch = asked(strategy, 4)
    _, stop = reported(strategy, state, batch, 0, [[0, 4], [3, 3], [4, 4], [4, 0]])
    assert stop.tolist() == [False, True, True, False]


def test_the_median_rule_by_hand():
    strategy = MedianStopping(max_budget=30, first=10, every=10)
    assert strategy.rungs() == (10.0, 20.0)
    state, batch = asked(strategy, 5)
    state, stop = reported(strategy, state, batch, 0, [1, 3, 5, 3.5])
    # the last one: 3.5 against the median 3 of 1, 3, 5
    assert stop.tolist() == [False, False, False, True]
    state, stop = reported(strategy, state, batch, 1, [9, 1, 3, 4])
    # running averages 5, 2, 4 have the median 4; the best of the last one is 3.5
    assert stop.tolist() == [False] * 4
    one = Batch(batch.x[4:], batch.number[4:])
    _, stop = strategy.report(state, one, np.array([1]), np.array([[3.9]]))
    assert stop.tolist() == [True]  # against 5, 2, 4, 3.75, of which the median is 3.875


def test_the_median_rule_takes_one_objective():
    with pytest.raises(UsageError, match="takes one objective"):
        check(MedianStopping(), 2)


def test_the_last_rung_lies_below_the_full_budget():
    assert MedianStopping(max_budget=30, first=7, every=8).rungs() == (7.0, 15.0, 23.0)
    assert MedianStopping(max_budget=1, first=0.1, every=0.1).budgets()[-2:] == (
        pytest.approx(0.9),
        1.0,
    )
    assert MedianStopping(max_budget=10).rungs() == ()
    with pytest.raises(UsageError, match=r"option every: expected a number in \(0, 100\], found 0"):
        MedianStopping(every=0)
