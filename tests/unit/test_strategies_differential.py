"""Differential evolution: turns, success memory, shrinking, mixed spaces."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from raysearch.errors import UsageError
from raysearch.rng import generator, uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.coordinates import renewed, snapped
from raysearch.strategies.differential import DifferentialEvolution, _means, _trials
from raysearch.strategies.random import RandomSearch
from raysearch.testing import conformance
from raysearch.testing.conformance import best_loss
from raysearch.trial import FOREIGN, Batch, Outcome

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})
MIXED = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "units": Int(8, 512, log=True),
        "batch": Choice([16, 32, 64], ordered=True),
        "rule": Choice(["sgd", "adam", "rmsprop"]),
        "momentum": Float(0.5, 0.99).when(rule="sgd"),
    }
)


def outcomes(*losses):
    return Outcome(np.array(losses, dtype=float)[:, None])


def started(search, space, losses, seed=0):
    """The state after the first points have been told these losses."""
    state, batch = search.ask(search.init(space, seed), len(losses))
    return search.tell(state, batch, outcomes(*losses))


def test_a_trial_takes_its_individuals_place_if_it_is_no_worse():
    search = DifferentialEvolution(population=4)
    state = started(search, SQUARE, [4.0, 3.0, 2.0, 1.0])
    state, batch = search.ask(state, 4)  # of individuals 0, 1, 2, 3
    after = search.tell(state, batch, outcomes(4.0, 5.0, 1.5, math.nan))
    assert np.array_equal(after.x[[0, 2]], batch.x[[0, 2]])
    assert np.array_equal(after.x[[1, 3]], state.x[[1, 3]])
    assert after.f.tolist() == [4.0, 3.0, 1.5, 1.0]
    assert np.array_equal(after.archive, state.x[[2]])  # replaced by what is truly better


def test_any_number_may_be_pending_and_be_told_in_any_order():
    search = DifferentialEvolution(population=6)
    state, waiting, best = search.init(SQUARE, 0), [], math.inf
    rng = generator(0, 0)
    for _ in range(400):
        state, batch = search.ask(state, 20 - len(waiting))
        waiting += list(zip(batch.x, batch.number, strict=True))
        x, k = waiting.pop(int(rng.integers(len(waiting))))
        loss = float(((x - 0.3) ** 2).sum())
        state = search.tell(state, Batch(x[None], np.array([k])), outcomes(loss))
        best = min(best, loss)
    assert best < 1e-6
    assert len(state.pending.number) == 19


def test_the_trial_is_the_mixture_that_the_paper_says():
    search = DifferentialEvolution(population=5)
    space = Space({f"x{i}": Float(0, 1) for i in range(3)})
    state = started(search, space, [5.0, 4.0, 1.0, 2.0, 3.0])
    state = replace(state, x=0.4 + 0.2 * state.x)  # far from the bounds
    numbers, u = np.arange(5, 25), uniform(1, 0, 20, 13)
    trials, rates = _trials(state, numbers, u)
    for k, (f, cr) in enumerate(rates):
        i = int(numbers[k] % 5)
        r = [j for j in range(5) if j != i][int(u[k, 10] * 4)]
        s = [j for j in range(5) if j not in (i, r)][int(u[k, 11] * 3)]
        p = [2, 3][int(u[k, 9] * 2)]
        v = state.x[i] + f * (state.x[p] - state.x[i] + state.x[r] - state.x[s])
        crossed = (u[k, :3] < cr) | (np.arange(3) == int(u[k, 12] * 3))
        assert trials[k] == pytest.approx(np.where(crossed, v, state.x[i]))
    assert np.all((rates > 0) & (rates <= 1))
    assert np.median(rates[:, 0]) == pytest.approx(0.5, abs=0.1)


def test_the_memory_is_the_weighted_mean_of_what_succeeded():
    success = np.array([[0.5, 0.2, 1.0], [0.9, 0.4, 3.0]])
    f, cr = _means(success, before=0.5)
    assert f == pytest.approx((0.25 + 3 * 0.81) / (0.5 + 3 * 0.9))
    assert cr == pytest.approx((0.04 + 3 * 0.16) / (0.2 + 3 * 0.4))
    assert _means(success * [1, 0, 1], before=0.5)[1] == -1.0  # only CR = 0 worked
    assert _means(success, before=-1.0)[1] == -1.0  # and stays
    infinite = np.array([[0.5, 0.2, math.inf], [0.9, 0.4, 3.0]])
    assert _means(infinite, 0.5)[0] == pytest.approx(0.9)
    assert _means(infinite * [[1, 1, 1], [1, 0, 1]], 0.5)[1] == -1.0


def test_the_population_shrinks_to_its_best():
    search = DifferentialEvolution(population=20, trials=100)
    state = started(search, SQUARE, range(20))
    assert len(state.x) == 17
    assert state.f.tolist() == list(range(17))
    for _ in range(90):
        state, batch = search.ask(state, 1)
        state = search.tell(state, batch, outcomes(99.0))
    assert state.f.tolist() == [0, 1, 2, 3]
    assert len(state.archive) <= 4


@pytest.mark.parametrize(("trials", "first"), [(100, 18), (3_000, 25), (10**6, 180)])
def test_the_more_trials_the_larger_a_population_that_shrinks_begins(trials, first):
    space = Space({f"x{i}": Float(0, 1) for i in range(10)})
    search = DifferentialEvolution(trials=trials)
    assert search.size(search.init(space, 0)) == first


def test_failures_and_points_from_elsewhere():
    search = DifferentialEvolution(population=4)
    state = started(search, SQUARE, [4.0, math.nan, math.inf, 1.0])
    assert state.f.tolist() == [4.0, math.inf, 1.0]
    x = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    foreign = Batch(x, np.full(3, FOREIGN))
    state = search.tell(state, foreign, outcomes(9.0, math.nan, 2.0))
    assert sorted(state.f.tolist()) == [1.0, 2.0, 4.0, 9.0]
    assert len(state.success) == 0


def test_a_converged_population_begins_anew_with_twice_as_many():
    search = DifferentialEvolution(population=5)
    state = started(search, SQUARE, [1.0] * 5)
    state, late = search.ask(state, 1)
    apart = search.tell(state, late, outcomes(1.0))
    assert len(apart.x) == 5  # a plateau is no reason
    state, batch = search.ask(replace(state, x=0.25 + 1e-5 * state.x), 1)
    lost = replace(state, f=np.full(5, math.inf))
    assert search.tell(lost, batch, outcomes(math.inf)).count == 1
    state = search.tell(state, batch, outcomes(1.0))
    assert (len(state.x), state.count, search.size(state)) == (0, 1, 10)
    state, batch = search.ask(state, 10)
    assert np.ptp(batch.x, axis=0).min() > 0.5
    assert len(search.tell(state, late, outcomes(0.0)).x) == 0  # from before


def test_something_continuous_always_changes():
    space = Space({"x": Float(0, 1).when(c=1), "y": Float(0, 1), "c": Choice([0, 1])})
    at = snapped(space, np.array([[0.3, 0.4, 0.2], [0.3, 0.4, 0.8], [0.3, 0.4, 0.2]]))
    crossed = np.array([[True, False, False], [True, False, True], [False, True, False]])
    keys = np.array([[0.9, 0.1, 0.5]] * 3)
    expected = [[True, True, False], [True, False, True], [False, True, False]]
    assert renewed(space, crossed, at, keys).tolist() == expected
    plain = renewed(SQUARE, np.array([[False, False], [True, False]]), at[:2, :2], keys[:2, :2])
    assert plain.tolist() == [[True, False], [True, False]]


def tuning(columns):
    """(k, 1) losses as of training a model: 0 at best."""
    n = columns.numbers
    loss = (np.log10(n["lr"]) + 3 - (n["rule"] == 0)) ** 2 + 0.3 * np.log2(n["units"] / 100) ** 2
    loss += 0.3 * (n["batch"] - 1) ** 2 + np.array([0, 0.1, 0.5])[n["rule"]]
    return (loss + np.where(n["rule"] == 0, 10 * (n["momentum"] - 0.9) ** 2, 0))[:, None]


def test_beats_random_search_on_mixed_parameters():
    search = DifferentialEvolution()
    ours = np.median([best_loss(search, MIXED, seed, 150, tuning) for seed in range(7)])
    random = np.median([best_loss(RandomSearch(), MIXED, seed, 150, tuning) for seed in range(7)])
    assert ours < 0.7 * random


def test_many_valleys_do_not_hold_it():
    space = Space({f"x{i}": Float(-5, 5) for i in range(5)})

    def rastrigin(columns):
        x = np.stack([*columns.numbers.values()]) - 0.7
        return (50 + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(axis=0))[:, None]

    search = DifferentialEvolution()
    assert np.median([best_loss(search, space, k, 3000, rastrigin) for k in range(3)]) < 0.1


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["mixed", "conditional", "fifty"])
def test_contract_with_options(name, check):
    check(DifferentialEvolution(population=6, trials=60), conformance.SPACES[name], seed=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DifferentialEvolution(population=3), "option population: .* >= 4, found 3"),
        (lambda: DifferentialEvolution(trials=0), "option trials: .* >= 1, found 0"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
