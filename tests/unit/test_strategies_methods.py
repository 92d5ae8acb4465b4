"""What is particular to each of the five methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import qmc

from raysearch.errors import SpaceError, UsageError
from raysearch.rng import uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.annealing import SimulatedAnnealing
from raysearch.strategies.grid import GridSearch
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.moves import neighbours
from raysearch.strategies.quasi_random import QuasiRandom
from raysearch.strategies.random import RandomSearch
from raysearch.testing.conformance import best_loss, bowl, told
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


def ask(strategy, space, n, seed=0):
    return strategy.ask(strategy.init(space, seed), n)


# --- random, grid, quasi-random -----------------------------------------------------------


def test_random_search_draws_what_the_seed_and_number_say():
    _, batch = ask(RandomSearch(), SQUARE, 100, seed=9)
    assert np.array_equal(batch.x, uniform(9, 0, 100, 2))
    assert not np.array_equal(ask(RandomSearch(), SQUARE, 100, seed=8)[1].x, batch.x)


def test_a_huge_grid_starts_at_once():
    space = Space({f"x{i}": Int(1, 100) for i in range(6)})  # 10**12 points
    for order in ("lexicographic", "shuffled"):
        _, batch = ask(GridSearch(order=order), space, 50)
        assert len(np.unique(batch.x, axis=0)) == 50


def test_the_orders_of_a_grid_have_the_same_points():
    in_order = ask(GridSearch(levels=3), MIXED, 10**5)[1].x
    shuffled = ask(GridSearch(levels=3, order="shuffled"), MIXED, 10**5)[1].x
    assert not np.array_equal(in_order, shuffled)
    assert np.array_equal(np.unique(in_order, axis=0), np.unique(shuffled, axis=0))
    assert len(in_order) == 3 * 505 * 3 * (3 + 2)


def test_a_grid_has_the_levels_it_is_told():
    grid = GridSearch(levels={"units": 4, "lr": 2})
    _, batch = ask(grid, MIXED, 1000)
    columns = MIXED.decode(batch.x)
    assert sorted(set(columns.numbers["lr"].tolist())) == [1e-5, 1e-1]
    assert sorted(set(columns.numbers["units"].tolist())) == [8, 176, 344, 512]
    assert len(batch) == 2 * 4 * 3 * (5 + 2)


@pytest.mark.parametrize("method", ["sobol", "halton"])
def test_quasi_random_points_are_even(method):
    _, quasi = ask(QuasiRandom(method=method), SQUARE, 256)
    _, random = ask(RandomSearch(), SQUARE, 256)
    assert qmc.discrepancy(quasi.x) < 0.2 * qmc.discrepancy(random.x)
    assert not np.array_equal(ask(QuasiRandom(method=method), SQUARE, 256, seed=1)[1].x, quasi.x)


def test_sobol_points_are_those_of_scipy():
    expected = qmc.Sobol(2, scramble=True, bits=32, rng=5).random(1024)
    state, first = ask(QuasiRandom(), SQUARE, 300, seed=5)
    _, second = QuasiRandom().ask(state, 724)
    assert np.array_equal(np.concatenate([first.x, second.x]), expected)
    far, _ = QuasiRandom().ask(state, 100_000)  # wind on, and back
    assert np.array_equal(QuasiRandom().ask(state, 724)[1].x, second.x)
    assert far.cursor == 100_300


def test_sobol_says_where_its_dimensions_end():
    space = Space({f"x{i}": Float(0, 1) for i in range(qmc.Sobol.MAXDIM + 1)})
    with pytest.raises(SpaceError, match=r"at most 21201 parameters, found 21202.*RandomSearch"):
        QuasiRandom().init(space, 0)


# --- neighbours -----------------------------------------------------------------------------


def neighbours_of(config, sigma, n=2000):
    at = np.repeat(MIXED.encode(MIXED.columns([config])), n, axis=0)
    x = neighbours(MIXED, at, np.full(n, sigma), np.random.default_rng(0).random((n, 15)))
    assert np.all((x >= 0) & (x <= 1))
    return MIXED.decode(x)


def test_neighbours_change_every_kind_of_parameter_a_little():
    start = {"lr": 1e-3, "units": 64, "batch": 32, "rule": "adam"}
    near = neighbours_of(start, sigma=0.001)
    assert np.all(np.abs(np.log10(near.numbers["lr"]) + 3) < 0.1)
    assert set(near.numbers["units"].tolist()) >= {63, 64, 65}
    assert np.mean(near.numbers["units"] != 64) > 0.1
    assert set(near.numbers["batch"].tolist()) == {0, 1, 2}
    assert 0.1 < np.mean(near.numbers["rule"] != 1) < 0.3  # 1 of 5 parameters
    assert set(near.numbers["rule"].tolist()) == {0, 1, 2}


def test_what_becomes_active_is_drawn_anew():
    near = neighbours_of({"lr": 1e-3, "units": 64, "batch": 32, "rule": "adam"}, sigma=0.001)
    momentum = near.numbers["momentum"][near.active["momentum"]]
    assert momentum.min() < 0.55
    assert momentum.max() > 0.94
    stays = neighbours_of(
        {"lr": 1e-3, "units": 64, "batch": 32, "rule": "sgd", "momentum": 0.9}, sigma=0.001
    )
    momentum = stays.numbers["momentum"][stays.active["momentum"]]
    assert np.all(np.abs(momentum - 0.9) < 0.01)


# --- local search, annealing ----------------------------------------------------------------


def outcomes(*losses):
    return Outcome(np.array(losses)[:, None])


def test_local_search_moves_to_what_is_no_worse_and_adapts_its_step():
    search = LocalSearch(chains=1)
    state, batch = search.ask(search.init(SQUARE, 0), 4)
    state = search.tell(state, batch, outcomes(3.0, math.nan, 2.0, 5.0))
    assert np.array_equal(state.m[0], batch.x[2])
    assert state.f[0] == 2.0
    pace = 1 / math.sqrt(3)
    assert state.sigma[0] == pytest.approx(0.2 * math.exp(pace * (0.8 - 0.2 - 0.2)))


def test_a_stuck_chain_starts_again_and_ignores_what_is_left_of_its_former_life():
    search = LocalSearch(chains=1, step=0.2, tolerance=0.19)
    state, batch = search.ask(search.init(SQUARE, 0), 3)
    state = search.tell(state, batch, outcomes(1.0, 2.0, 0.5))
    assert math.isinf(state.f[0])
    assert state.sigma[0] == 0.2
    state, batch = search.ask(state, 1)
    assert search.tell(state, batch, outcomes(9.0)).f[0] == 9.0


@pytest.mark.parametrize("search", [LocalSearch(), SimulatedAnnealing()])
def test_a_better_point_from_elsewhere_is_taken_up(search):
    state, batch = search.ask(search.init(SQUARE, 0), 2)
    state = search.tell(state, batch, outcomes(3.0, 4.0))
    x = np.array([[0.1, 0.9]])
    foreign = Batch(x, np.array([FOREIGN]))
    assert np.array_equal(search.tell(state, foreign, outcomes(1.0)).m, [batch.x[0], x[0]])
    assert np.array_equal(search.tell(state, foreign, outcomes(5.0)).m, batch.x)
    assert np.array_equal(search.tell(state, foreign, outcomes(math.nan)).m, batch.x)


def tuning(columns):
    """(k, 1) losses as of training a model: 0 at best."""
    n = columns.numbers
    loss = (np.log10(n["lr"]) + 3 - (n["rule"] == 0)) ** 2 + 0.3 * np.log2(n["units"] / 100) ** 2
    loss += 0.3 * (n["batch"] - 1) ** 2 + np.array([0, 0.1, 0.5])[n["rule"]]
    return (loss + np.where(n["rule"] == 0, 10 * (n["momentum"] - 0.9) ** 2, 0))[:, None]


@pytest.mark.parametrize("search", [LocalSearch(), SimulatedAnnealing()])
def test_beats_random_search_on_mixed_parameters(search):
    ours = np.median([best_loss(search, MIXED, seed, 150, tuning) for seed in range(7)])
    random = np.median([best_loss(RandomSearch(), MIXED, seed, 150, tuning) for seed in range(7)])
    assert ours < 0.7 * random


@pytest.mark.parametrize("search", [LocalSearch(), SimulatedAnnealing()])
def test_state_does_not_grow_and_parallel_search_works(search):
    state = search.init(SQUARE, 0)
    best = math.inf
    for _ in range(40):
        state, batch = search.ask(state, 8)
        batch, outcome = told(SQUARE, batch, bowl)
        state = search.tell(state, batch, outcome)
        best = min(best, outcome.loss.min())
    assert best < 1e-3
    assert state.known.runs == ()


def test_annealing_accepts_worse_points_when_hot_and_hardly_when_cold():
    search = SimulatedAnnealing(chains=1, period=100)

    def share(start):
        state = search.init(SQUARE, 0)
        accepted = 0
        for _ in range(200):
            state, batch = search.ask(state, 1)
            settled = type(state)(
                SQUARE, 0, state.asked, m=batch.x * 0, f=np.zeros(1), b=batch.x, g=np.zeros(1),
                s=np.ones(1), told=np.array([start]))  # fmt: skip
            accepted += search.tell(settled, batch, outcomes(1.0)).f[0] == 1.0
        return accepted / 200

    assert share(0) == pytest.approx(math.exp(-1), abs=0.12)
    assert share(98) == 0


@pytest.mark.parametrize("search", [LocalSearch(chains=1), SimulatedAnnealing(chains=1)])
def test_a_failure_never_wins(search):
    state, batch = search.ask(search.init(SQUARE, 0), 4)
    state = search.tell(state, batch, outcomes(math.nan, 1.0, math.nan, math.inf))
    assert np.array_equal(state.m[0], batch.x[1])
    assert state.f[0] == 1.0


def test_annealing_is_heated_up_at_its_best_point():
    search = SimulatedAnnealing(chains=1, period=3)
    state, batch = search.ask(search.init(SQUARE, 0), 3)
    state = search.tell(state, batch, outcomes(1.0, 1.0 + 1e-12, 1.0 + 2e-12))
    assert np.array_equal(state.m[0], batch.x[0])
    assert search.temperature(3) == 1.0
    assert search.temperature(2) < 0.1


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GridSearch(levels=0), "option levels: expected an integer >= 1, found 0"),
        (lambda: GridSearch(levels="3"), "option levels: expected an integer >= 1, found '3'"),
        (lambda: GridSearch(levels={"lr": 0.5}), r"option levels\['lr'\]: .* found 0.5"),
        (lambda: GridSearch(order="shufled"), "option order: .*did you mean 'shuffled'"),
        (lambda: QuasiRandom(method="soboll"), "option method: .*did you mean 'sobol'"),
        (lambda: LocalSearch(chains=0), "option chains: expected an integer >= 1, found 0"),
        (lambda: LocalSearch(chains=True), "option chains: .*found True"),
        (lambda: LocalSearch(step=0.6), r"option step: expected a number in \(0, 0.5\], found 0.6"),
        (lambda: LocalSearch(step=math.nan), "option step: .*found nan"),
        (lambda: LocalSearch(tolerance=0.3), r"option tolerance: .*\(0, 0.2\], found 0.3"),
        (lambda: SimulatedAnnealing(coldest=0), "option coldest: .*found 0"),
        (lambda: SimulatedAnnealing(period=-1), "option period: .*found -1"),
        (lambda: GridSearch({"lrr": 2}).init(Space({"lr": Float(0, 1)}), 0), "'lrr'; did you mean"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
