"""The genetic algorithm, and how genetic methods make children."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raysearch.errors import UsageError
from raysearch.rng import uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.genetic import GeneticAlgorithm
from raysearch.strategies.nsga2 import NSGA2
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.variation import _polynomial, _simulated_binary, children, width
from raysearch.testing import conformance
from raysearch.testing.conformance import best_loss
from raysearch.trial import Batch, Outcome

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})
MIXED = Space(
    {
        "x": Float(0, 1),
        "n": Int(0, 9),
        "big": Int(0, 10_000),
        "c": Choice(["a", "b", "c", "d"]),
    }
)


def outcomes(*losses):
    return Outcome(np.array(losses, dtype=float)[:, None])


def bred(space, parents, k=2000, **options):
    u = uniform(0, 0, k // 2, width(space.dim))
    return children(space, parents, u, **options).reshape(k, space.dim)


# --- variation --------------------------------------------------------------------------------


def test_simulated_binary_crossover_has_the_density_of_its_paper():
    k = 200_000
    u = uniform(3, 0, k, 2)
    one, two = np.full(k, 0.45), np.full(k, 0.55)
    shift = _simulated_binary(two - one, u[:, 0], np.floor(2 * u[:, 1]))
    for child in (one + shift, two - shift):
        beta = np.abs(child - 0.5) / 0.05
        assert np.mean(child) == pytest.approx(0.5, abs=1e-3)
        assert np.mean(beta < 1) == pytest.approx(0.5, abs=0.01)
        assert np.mean(beta < 0.9) == pytest.approx(0.5 * 0.9**16, abs=0.01)
        assert np.mean(beta > 1.1) == pytest.approx(0.5 * 1.1**-16, abs=0.01)


def test_two_children_are_mirrors_of_each_other_where_nothing_mutates():
    space = Space({**{f"x{i}": Float(0, 1) for i in range(6)}, "c": Choice(["a", "b", "c", "d"])})
    parents = np.array([[0.4] * 6 + [0.125], [0.6] * 6 + [0.625]])
    u = uniform(5, 0, 3000, width(space.dim))
    u[:, 3 + space.dim :] = 0.999  # no mutation by its rate
    one, two = children(space, parents, u, tournament=1).transpose(1, 0, 2)
    mixed = (u[:, 0] < 0.5) != (u[:, 1] < 0.5)  # both parents take part
    whole = one[mixed] + two[mixed]  # whoever has no coordinate of its own is mutated in one
    middle = np.r_[np.ones(6), 0.75]
    assert np.mean((np.abs(whole - middle) < 1e-12).all(axis=1)) > 0.85
    swapped = one[mixed][:, 6] != np.where(u[mixed, 0] < 0.5, 0.125, 0.625)
    assert np.mean(swapped) == pytest.approx(0.45, abs=0.03)
    near = np.abs(one[mixed][:, :6] - 0.4) < np.abs(one[mixed][:, :6] - 0.6)
    first = (u[mixed, 0] < 0.5)[:, None]
    assert np.mean(near == first) == pytest.approx(1 - 0.9 / 4, abs=0.02)


@pytest.mark.parametrize("x", [0.0, 0.02, 0.5, 1.0])
def test_polynomial_mutation_stays_within_the_bounds_and_is_mostly_small(x):
    u = (np.arange(1000)[:, None] + 0.5) / 1000
    moved = _polynomial(np.full((1000, 1), x), u)
    assert np.all((moved >= 0) & (moved <= 1))
    assert np.mean(np.abs(moved - x) < 0.1) > 0.7
    if x == 0.5:
        delta = 1 - (2 * 0.25 + 0.5 * 0.5**21) ** (1 / 21)  # at u = 1/4 and 3/4
        assert moved[249:251].mean() == pytest.approx(0.5 - delta, abs=1e-3)
        assert moved[749:751].mean() == pytest.approx(0.5 + delta, abs=1e-3)


def test_a_tournament_favours_what_comes_first():
    space = Space({"c": Choice(range(8))})
    parents = (np.arange(8)[:, None] + 0.5) / 8
    for t in (1, 2, 4):
        u = uniform(1, 0, 10_000, width(1))
        u[:, -2:] = 1.0  # no mutation by its rate
        child = children(space, parents, u, tournament=t, crossover=0.0).reshape(-1, 1)
        best = uniform(2, 0, 20_000, t).min(axis=1)
        for r in range(8):
            expected = np.mean((best * 8).astype(int) <= r)
            assert np.mean(child <= parents[r]) == pytest.approx(expected, abs=0.015)


def test_a_child_of_one_parent_differs_from_it_where_it_can():
    at = np.array([[0.3, 0.35, 0.5, 0.125]])
    child = bred(MIXED, at)
    columns, parent = MIXED.decode(child), MIXED.decode(at)
    assert np.all(child[:, 0] != 0.3)  # else the same might come again
    for name, rate in (("n", 0.25), ("big", 0.25), ("c", 0.25)):
        changed = columns.numbers[name] != parent.numbers[name]
        assert np.mean(changed) == pytest.approx(rate, abs=0.05)
    n = columns.numbers["n"][columns.numbers["n"] != 3]
    assert {2, 4} <= set(n.tolist()) <= {1, 2, 3, 4, 5, 6}
    c = columns.numbers["c"]
    assert np.bincount(c[c != 0], minlength=4)[1:].min() > 100


def test_categories_come_from_either_parent():
    space = Space({f"c{i}": Choice(range(6)) for i in range(40)})
    parents = np.repeat([[1 / 12], [3 / 12]], 40, axis=1)
    c = np.stack([*space.decode(bred(space, parents, crossover=1.0)).numbers.values()])
    assert np.mean(c == 0) == pytest.approx(0.75 * 0.975, abs=0.02)  # 1/4 x 1 + 3/4 x 2/3
    assert np.mean(c > 1) < 0.05
    first = np.mean(c == 0, axis=0)  # of each child, how much is the first parent's
    mixed = first[(first > 0.1) & (first < 0.9)]
    assert len(mixed) == pytest.approx(2000 * 2 * 0.75 * 0.25, rel=0.1)
    assert np.mean(np.abs(mixed - 0.5) < 0.2) > 0.97


def test_a_million_children_of_few_parents_differ_in_one_dimension():
    ga = GeneticAlgorithm(population=16)
    state, batch = ga.ask(ga.init(Space({"x": Float(0, 1)}), 0), 16)
    _, batch = ga.ask(ga.tell(state, batch, Outcome(batch.x.copy())), 1_000_000)
    assert len(np.unique(batch.x)) == 1_000_000


def test_gaussian_steps_have_their_size():
    space = Space({"x": Float(0, 1)})
    child = bred(space, np.array([[0.5]]), sigma=0.05)
    assert np.std(child - 0.5) == pytest.approx(0.05, rel=0.1)


# --- the algorithm ----------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SQUARE, MIXED], ids=["square", "mixed"])
@pytest.mark.parametrize("method", [GeneticAlgorithm(population=8), NSGA2(population=8)])
def test_a_child_depends_on_its_number_alone(space, method):
    losses = np.arange(8.0)[:, None]
    state, batch = method.ask(method.init(space, 0), 8)
    state = method.tell(state, batch, Outcome(np.hstack([losses] * (1 + method.multi_objective))))
    _, whole = method.ask(state, 9)
    parts = []
    for n in (1, 2, 3, 3):
        state, part = method.ask(state, n)
        parts.append(part)
    assert np.array_equal(np.concatenate([p.x for p in parts]), whole.x)
    assert np.array_equal(np.concatenate([p.number for p in parts]), whole.number)
    assert len(np.unique(whole.x, axis=0)) == 9


def generation(search, state, losses):
    state, batch = search.ask(state, len(losses))
    return search.tell(state, batch, outcomes(*losses)), batch


def test_the_elite_survives_as_long_as_it_may():
    search = GeneticAlgorithm(population=4, elite=1, lifetime=2)
    state, _ = generation(search, search.init(SQUARE, 0), [4.0, 1.0, 2.0, 3.0])
    assert state.f.tolist() == [1.0, 2.0, 3.0, 4.0]
    state, _ = generation(search, state, [7.0, 5.0, 6.0, 8.0])
    assert state.f.tolist() == [1.0, 5.0, 6.0, 7.0]
    assert state.age.tolist() == [1, 0, 0, 0]
    state, _ = generation(search, state, [9.0, 9.0, 9.0, 9.0])
    assert state.f.tolist() == [5.0, 9.0, 9.0, 9.0]
    none = GeneticAlgorithm(population=4, elite=0)
    state, _ = generation(none, state, [9.0, 9.0, 9.0, 8.0])
    assert state.f.tolist() == [8.0, 9.0, 9.0, 9.0]


def test_of_equal_losses_the_first_told_comes_first():
    search = GeneticAlgorithm(population=300, elite=0)
    losses = [float(k % 2) for k in range(300)]
    state, batch = generation(search, search.init(SQUARE, 0), losses)
    assert np.array_equal(state.x, np.concatenate([batch.x[::2], batch.x[1::2]]))


def test_a_generation_waits_for_no_straggler_and_takes_no_failure():
    search = GeneticAlgorithm(population=3)
    state, batch = search.ask(search.init(SQUARE, 0), 7)
    rows = [6, 2, 4, 1]
    told = Batch(batch.x[rows], batch.number[rows])
    state = search.tell(state, told, outcomes(3.0, math.nan, 1.0, math.inf))
    assert state.f.tolist() == [1.0, 3.0, math.inf]
    assert np.array_equal(state.x[0], batch.x[4])
    assert state.pending.number.tolist() == [0, 3, 5]
    assert search.max_pending(state, 1) == 3
    assert search.max_pending(state, 50) == 50


def test_beats_random_search_on_mixed_parameters():
    def loss(columns):
        n = columns.numbers
        total = 4 * (n["x"] - 0.3) ** 2 + 0.1 * np.abs(n["n"] - 6) + (n["c"] != 2)
        return (total + np.abs(n["big"] / 10_000 - 0.8))[:, None]

    search = GeneticAlgorithm()
    ours = np.median([best_loss(search, MIXED, seed, 150, loss) for seed in range(7)])
    random = np.median([best_loss(RandomSearch(), MIXED, seed, 150, loss) for seed in range(7)])
    assert ours < 0.7 * random


def test_many_bits_are_set():
    space = Space({f"b{i}": Choice([False, True]) for i in range(40)})

    def zeros(columns):
        return 40.0 - sum(columns.numbers.values())[:, None]

    assert best_loss(GeneticAlgorithm(), space, 0, 800, zeros) <= 1


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["mixed", "conditional", "one"])
def test_contract_with_options(name, check):
    search = GeneticAlgorithm(population=5, elite=2, lifetime=3, tournament=3, mutation="gaussian")
    check(search, conformance.SPACES[name], seed=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneticAlgorithm(population=1), "option population: .* >= 2, found 1"),
        (lambda: GeneticAlgorithm(elite=-1), "option elite: .* >= 0, found -1"),
        (lambda: GeneticAlgorithm(lifetime=0), "option lifetime: .* >= 1, found 0"),
        (lambda: GeneticAlgorithm(tournament=0), "option tournament: .* >= 1, found 0"),
        (lambda: GeneticAlgorithm(mutation="gauss"), "option mutation: .*mean 'gaussian'"),
        (lambda: GeneticAlgorithm(step=2), r"option step: .*\(0, 1\], found 2"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
