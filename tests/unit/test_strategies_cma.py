"""CMA-ES: generations, injection, margins, categories, restarts, rates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from raysearch.errors import UsageError
from raysearch.rng import generator
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.categories import moved, sampled, uniformly
from raysearch.strategies.cma_es import CMAES
from raysearch.strategies.coordinates import begun, folded, images, stopped, thresholds
from raysearch.strategies.gaussian import constants, learn, settled, start
from raysearch.strategies.margin import with_margin
from raysearch.strategies.pending import Pending
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.restarts import Run, history, is_over, next_run
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


def tell(search, state, batch, rows, *losses):
    return search.tell(state, Batch(batch.x[rows], batch.number[rows]), outcomes(*losses))


# --- generations ------------------------------------------------------------------------------


def test_a_generation_closes_with_its_last_result_and_waits_for_no_straggler():
    search = CMAES(population=4)
    state, batch = search.ask(search.init(SQUARE, 0), 6)
    assert search.max_pending(state, 1) == 4
    state = tell(search, state, batch, [5, 2, 4], 3.0, 2.0, 1.0)
    assert state.now.g.generation == 0
    assert search.max_pending(state, 1) == 1
    assert search.max_pending(state, 9) == 9
    state = tell(search, state, batch, [0], 5.0)
    assert state.now.g.generation == 1
    assert state.pending.number.tolist() == [1, 3]
    for generation in range(2, 6):  # point 1 is never told
        state, more = search.ask(state, 4)
        state = tell(search, state, more, slice(None), *more.x[:, 0])
        assert state.now.g.generation == generation


def test_failures_are_drawn_again():
    search = CMAES(population=4)
    state, batch = search.ask(search.init(SQUARE, 0), 8)
    with_failures = tell(
        search, state, batch, slice(0, 7), 1, math.nan, 2, math.nan, math.nan, 3, 4
    )
    without = tell(search, state, batch, [0, 2, 5, 6], 1, 2, 3, 4)
    assert np.array_equal(with_failures.now.g.c, without.now.g.c)
    assert with_failures.pending.number.tolist() == [7]


def test_an_infinite_loss_is_the_worst_of_its_generation():
    search = CMAES(population=4)
    state, batch = search.ask(search.init(SQUARE, 0), 4)
    infinite = tell(search, state, batch, slice(None), 2, math.inf, 1, 3)
    assert np.array_equal(
        infinite.now.g.m, tell(search, state, batch, slice(None), 2, 9, 1, 3).now.g.m
    )


def test_a_late_result_is_shortened_as_an_injected_one():
    g = start(np.full(3, 0.5), 0.01, diagonal=False)
    x = np.array([[0.9, 0.5, 0.5], [0.5, 0.51, 0.5], [0.5, 0.5, 0.51], [0.49, 0.5, 0.5]])
    longest = math.sqrt(3) + 6 / 5
    late = learn(g, x, np.array([False, True, True, True]))
    on_time = learn(g, x, np.ones(4, dtype=bool))
    weights = constants(3, 4).weights
    assert late.m == pytest.approx(
        [0.5 + 0.01 * weights[0] * longest, 0.5 + 0.01 * weights[1], 0.5]
    )
    assert on_time.m[0] == pytest.approx(0.5 + 0.4 * weights[0])
    assert on_time.sigma == pytest.approx(0.01 * math.e)  # and no step grows faster


def test_only_a_better_point_from_elsewhere_is_injected():
    search = CMAES(population=4)
    state, batch = search.ask(search.init(SQUARE, 0), 4)
    state = tell(search, state, batch, [0, 1], 3.0, 4.0)
    x = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    foreign = Batch(x, np.full(3, FOREIGN))
    after = search.tell(state, foreign, outcomes(5.0, 1.0, 2.0))
    assert after.rows[2:, :-1].tolist() == [[0.2, 0.8]]
    assert after.losses.tolist() == [3.0, 4.0, 1.0]
    assert len(search.tell(state, foreign, outcomes(*[math.nan] * 3)).losses) == 2


def test_eight_at_a_time_find_what_one_at_a_time_finds():
    search, state, number = CMAES(), CMAES().init(SQUARE, 0), 0
    waiting: list[tuple[np.ndarray, int]] = []
    best = math.inf
    rng = generator(0, 0)
    while number < 300:
        state, batch = search.ask(state, 8 - len(waiting))
        waiting += list(zip(batch.x, batch.number, strict=True))
        x, k = waiting.pop(int(rng.integers(len(waiting))))
        loss = float(((x - 0.3) ** 2).sum())
        state = search.tell(state, Batch(x[None], np.array([k])), outcomes(loss))
        best, number = min(best, loss), number + 1
    assert best < 1e-5


# --- kinds of coordinates ---------------------------------------------------------------------


@given(x=st.floats(0, 1), at=st.floats(-5, 5))
def test_the_image_of_a_point_is_the_nearest_that_stands_for_it(x, at):
    y = images(np.array([[x]]), np.array([at]))[0, 0]
    assert folded(np.array([y]))[0] == pytest.approx(x, abs=1e-12)
    assert abs(y - at) <= 1.1 + 1e-12


def test_places_are_smooth_and_stay_inside():
    y = np.linspace(-2.3, 2.3, 100_001)
    x = folded(y)
    assert np.all((x >= 0) & (x <= 1))
    slope = np.diff(x) / np.diff(y)
    assert np.all(np.abs(slope) <= 1 + 1e-6)
    assert np.abs(np.diff(slope)).max() < 1e-3
    assert folded(np.array([0.05, 0.3, 0.95])).tolist() == [0.05, 0.3, 0.95]


def test_places_beyond_the_bounds_are_there_and_told_apart():
    y, lines = np.linspace(-0.9, 1.9, 57)[:, None], np.array([False])
    x = stopped(y, lines)
    assert np.abs(x - y.clip(0, 1)).max() < 1e-12
    assert len(np.unique(x)) == len(y)
    assert begun(x, lines) == pytest.approx(y, abs=1e-3)


def test_an_optimum_at_the_bounds_is_come_to():
    space = Space({f"x{i}": Float(0, 1) for i in range(5)})

    def slope(columns):
        n = columns.numbers
        return (n["x0"] + 10 * n["x1"] + 1 - n["x2"] + 100 * (1 - n["x3"]) + n["x4"])[:, None]

    assert np.median([best_loss(CMAES(), space, seed, 600, slope) for seed in range(5)]) < 1e-3


def test_thresholds_are_where_values_change():
    space = Space({"n": Int(1, 100, log=True), "x": Float(0, 1), "s": Int(0, 2)})
    for u in (0.0, 0.2, 0.5, 0.77, 1.0):
        low, high = thresholds(space, np.full(3, u))
        for j, i in enumerate((0, 2)):
            parameter = list(space.parameters.values())[i]
            k, last = parameter.index(parameter.decode(np.array([u])))[0], parameter.size - 1

            def value(at, parameter=parameter):
                return parameter.index(parameter.decode(np.array([at])))[0]

            for end, below in ((low[j], max(k - 1, 0)), (high[j], min(k, last - 1))):
                assert (value(end - 1e-9), value(end + 1e-9)) == (below, below + 1)


@given(
    m=st.floats(-0.2, 1.2), sigma=st.floats(1e-8, 1.0), n=st.integers(1, 30), lam=st.integers(4, 40)
)
def test_every_value_keeps_its_margin(m, sigma, n, lam):
    space = Space({"n": Int(0, n)})
    alpha = 1 / lam
    g, a = with_margin(space, start(np.array([m]), sigma, False), np.ones(1), alpha)
    low, high = thresholds(space, np.clip(np.array([m]), 0, 1))
    s = a[0] * sigma
    below, above = ndtr((low[0] - g.m[0]) / s), ndtr((g.m[0] - high[0]) / s)
    if max(below, above) > 0.5:  # one of the outermost values, whose neighbour may come
        assert min(below, above) >= alpha * (1 - 1e-6)
    else:
        assert min(below, above) >= alpha / 2 * (1 - 1e-6)


def test_values_without_an_order_are_found_and_none_is_lost():
    sizes = np.array([2, 5])
    categories = uniformly(sizes)
    weights = constants(2, 8).weights[:4]
    for k in range(200):
        drawn = sampled(categories, generator(0, k).random((8, 2)))
        order = np.argsort((drawn != [1, 3]).sum(axis=1), kind="stable")
        categories = moved(categories, drawn[order][:4], weights, sizes)
        assert categories.q.sum(axis=1) == pytest.approx(1)
    least = (1 - math.sqrt(0.73)) / (sizes - 1)
    assert categories.q.argmax(axis=1).tolist() == [1, 3]
    assert categories.q.max(axis=1) == pytest.approx(1 - least * (sizes - 1), abs=0.05)
    assert categories.q[0].tolist()[2:] == [0, 0, 0]
    assert np.all(categories.q[1] >= least[1] * (1 - 1e-9))


def test_samples_have_the_probabilities_of_their_categories():
    categories = replace(uniformly(np.array([3])), q=np.array([[0.5, 0.2, 0.3]]))
    k = sampled(categories, (np.arange(1000)[:, None] + 0.5) / 1000)
    assert np.bincount(k[:, 0]).tolist() == [500, 200, 300]
    assert sampled(categories, np.array([[1 - 1e-17]])).tolist() == [[2]]


def tuning(columns):
    """(k, 1) losses as of training a model: 0 at best."""
    n = columns.numbers
    loss = (np.log10(n["lr"]) + 3 - (n["rule"] == 0)) ** 2 + 0.3 * np.log2(n["units"] / 100) ** 2
    loss += 0.3 * (n["batch"] - 1) ** 2 + np.array([0, 0.1, 0.5])[n["rule"]]
    return (loss + np.where(n["rule"] == 0, 10 * (n["momentum"] - 0.9) ** 2, 0))[:, None]


def test_beats_random_search_on_mixed_parameters():
    ours = np.median([best_loss(CMAES(), MIXED, seed, 150, tuning) for seed in range(7)])
    random = np.median([best_loss(RandomSearch(), MIXED, seed, 150, tuning) for seed in range(7)])
    assert ours < 0.7 * random


def test_the_optimum_among_unordered_values_is_found():
    def wrong(columns):
        return sum((columns.numbers[f"c{i}"] != i).astype(float) for i in range(4))[:, None]

    space = Space({f"c{i}": Choice(range(9)) for i in range(4)})
    assert best_loss(CMAES(), space, 0, 600, wrong) == 0


def test_the_optimum_of_all_kinds_together_is_found():
    def loss(columns):
        n = columns.numbers
        total = (np.log10(n["lr"]) + 3) ** 2 + (n["batch"] - 2) ** 2 + (n["rule"] != 2)
        return (total + 0.1 * np.abs(n["units"] - 100))[:, None]

    assert best_loss(CMAES(), MIXED, 0, 800, loss) < 0.01


# --- restarts, rates, many parameters -----------------------------------------------------------


@pytest.mark.parametrize("loss", [1.0, math.inf])
def test_a_run_that_sees_no_difference_is_over_and_its_stragglers_are_ignored(loss):
    search = CMAES(population=4)
    state, straggler = search.ask(search.init(SQUARE, 0), 1)
    for _ in range(history(2, 4)):
        state, batch = search.ask(state, 4)
        state = search.tell(state, batch, outcomes(*[loss] * 4))
    assert (state.run.count, state.run.population, state.now.g.generation) == (1, 8, 0)
    assert state.run.since == state.asked
    assert not np.array_equal(state.now.g.m, [0.5, 0.5])
    state = search.tell(state, straggler, outcomes(0.0))
    assert len(state.losses) == 0


def test_a_run_is_over_when_its_step_has_vanished():
    g, run = start(np.full(2, 0.5), 0.3, diagonal=False), Run(4, 0.3)
    losses = np.array([1.0, 2.0])
    assert not is_over(run, g, losses, 1.0)
    assert is_over(run, replace(g, sigma=1e-13), losses, 1.0)
    assert is_over(run, g, losses, 1e15)


def test_runs_of_both_kinds_take_turns():
    run = first = Run(10, 0.3, largest=10)
    sizes = []
    for u in np.linspace(0.05, 0.95, 12):
        run = next_run(replace(run, told=100 * run.population), first, True, np.array([u, u]), 7)
        sizes.append((run.small, run.population, run.step))
    large = [population for small, population, _ in sizes if not small]
    assert large == [20 * 2**i for i in range(len(large))]
    few = [(population, step) for small, population, step in sizes if small]
    assert len(few) > len(large)
    assert all(
        10 <= population <= large[-1] / 2 and 0.003 <= step < 0.3 for population, step in few
    )
    assert abs(np.diff(run.spent)[0]) <= 100 * large[-1]
    growing = next_run(first, first, False, np.array([0.5, 0.5]), 7)
    assert (growing.population, growing.step, growing.since) == (20, 0.3, 7)


def test_rates_fall_where_there_is_no_signal_and_rise_again_where_there_is():
    search = CMAES(population=6, learning="adaptive")
    state = search.init(SQUARE, 0)

    def go(state, loss, generations):
        for t in range(generations):
            state, batch = search.ask(state, 6)
            state = search.tell(state, batch, outcomes(*loss(batch.x, t)))
        return state

    noise = go(state, lambda x, t: generator(1, t).random(len(x)), 150)
    assert noise.now.rates.m.eta < 0.1
    assert noise.now.rates.s.eta < 0.1
    clear = go(noise, lambda x, t: x[:, 0], 50)
    assert clear.now.rates.m.eta > noise.now.rates.m.eta


def test_learning_adaptively_gets_nearer_under_noise():
    space = Space({f"x{i}": Float(0, 1) for i in range(5)})

    def distance(search, seed):
        state = search.init(space, seed)
        for t in range(250):
            state, batch = search.ask(state, 8)
            noise = 0.1 * generator(seed, t).standard_normal(8)
            loss = ((batch.x - 0.3) ** 2).sum(axis=1) + noise
            state = search.tell(state, batch, Outcome(loss[:, None]))
        return np.linalg.norm(folded(state.now.g.m) - 0.3)

    fast, slow = (
        np.median([distance(CMAES(8, learning=learning), seed) for seed in range(5)])
        for learning in ("fast", "adaptive")
    )
    assert slow < 0.5 * fast


def test_a_diagonal_covariance_for_many_parameters():
    space = Space({f"x{i}": Float(0, 1) for i in range(300)})
    state = CMAES().init(space, 0)
    assert state.now.g.c.shape == (300,)
    assert CMAES(covariance="full").init(space, 0).now.g.c.shape == (300, 300)
    search, ten = CMAES(covariance="diagonal"), Space({f"x{i}": Float(0, 1) for i in range(10)})
    state = search.init(ten, 0)
    scale = 10 ** np.linspace(0, 4, 10)
    for _ in range(150):
        state, batch = search.ask(state, 10)
        loss = (scale * (batch.x - 0.3) ** 2).sum(axis=1)
        state = search.tell(state, batch, Outcome(loss[:, None]))
    assert state.best < 1e-6
    assert np.array_equal(settled(state.now.g, 1.0)[0].root, np.sqrt(state.now.g.c))


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "search",
    [CMAES(learning="adaptive", restarts="bipop"), CMAES(covariance="diagonal", population=5)],
    ids=["adaptive", "diagonal"],
)
def test_contract_with_options(search, check):
    for name in ("mixed", "conditional", "finite"):
        check(search, conformance.SPACES[name], seed=2)


def test_what_is_pending_is_given_back_once():
    pending = Pending.none(1).add(np.array([3, 5]), np.array([[0.3], [0.5]]))
    rest, row, found = pending.take(np.array([5, FOREIGN, 4]))
    assert rest.number.tolist() == [3]
    assert row[0, 0] == 0.5
    assert np.isnan(row[1:]).all()
    assert found.tolist() == [True, False, False]
    assert not rest.take(np.array([5]))[2].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CMAES(population=3), "option population: expected an integer >= 4, found 3"),
        (lambda: CMAES(step=0), r"option step: expected a number in \(0, 0.25\], found 0"),
        (lambda: CMAES(restarts="ipo"), "option restarts: .*did you mean 'ipop'"),
        (lambda: CMAES(covariance="ful"), "option covariance: .*did you mean 'full'"),
        (lambda: CMAES(learning="slow"), "option learning: expected one of"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
