"""Fronts, crowding, hypervolume; NSGA-II and NSGA-III."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysearch import AskTell
from raysearch.errors import UsageError
from raysearch.rng import generator
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.nsga2 import NSGA2, Members
from raysearch.strategies.nsga3 import NSGA3, directions, niches, normalised
from raysearch.strategies.pareto import crowding, fronts, hypervolume, nondominated, violations
from raysearch.testing import conformance
from raysearch.trial import FOREIGN, Batch, Outcome

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})
LOSSES = st.integers(1, 4).flatmap(
    lambda m: arrays(
        np.float64, st.tuples(st.integers(0, 12), st.just(m)), elements=st.integers(0, 4)
    )
)


def dominates(a, b):
    return bool(np.all(a <= b) and np.any(a < b))


@given(LOSSES)
def test_fronts_are_what_is_left_of_fronts(loss):
    rank, left = fronts(loss), set(range(len(loss)))
    for r in range(int(rank.max(initial=-1)) + 1):
        front = {i for i in left if not any(dominates(loss[j], loss[i]) for j in left)}
        assert front == set(np.flatnonzero(rank == r).tolist())
        left -= front
    assert not left


def test_violations_rank_after_all_that_violates_nothing_and_failures_last():
    loss = np.array([[1.0, 1.0], [9.0, 9.0], [0.0, 0.0], [0.0, 0.0], [math.nan, 0.0], [0.0, 0.0]])
    violation = np.array([0.0, 0.0, 0.5, 0.2, 0.0, math.nan])
    assert fronts(loss, violation).tolist() == [0, 1, 3, 2, 5, 4]
    assert violations(None, 2).tolist() == [0, 0]


def test_crowding_is_the_distance_of_neighbours():
    loss = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]])
    assert crowding(loss).tolist() == [math.inf, 0.4 + 0.5, 0.9 + 0.6, math.inf]
    assert crowding(loss[[2, 0, 3, 1]]).tolist() == [1.5, math.inf, math.inf, 0.9]
    assert crowding(np.ones((3, 2))).tolist()[1] == 0.0
    assert not np.isnan(crowding(np.array([[1, math.inf], [2, 3], [3, 2], [4, 1.0]]))).any()


@settings(max_examples=60, deadline=None)
@given(LOSSES, st.integers(1, 5))
def test_the_hypervolume_is_the_number_of_dominated_cells(loss, far):
    reference = np.full(loss.shape[1], float(far))
    cells = np.stack(np.meshgrid(*[np.arange(far)] * loss.shape[1]), axis=-1)
    cells = cells.reshape(-1, loss.shape[1])
    covered = np.zeros(len(cells), dtype=bool)
    for row in loss:
        covered |= (row <= cells).all(axis=1)
    assert hypervolume(loss, reference) == pytest.approx(covered.sum())
    assert nondominated(loss).sum() == len({tuple(row) for row in loss[fronts(loss) == 0]})


def test_hypervolumes_that_are_known_exactly():
    x = np.linspace(0, 1, 2001)
    zdt1 = np.stack([x, 1 - np.sqrt(x)], axis=1)
    assert hypervolume(zdt1, np.array([1.0, 1.0])) == pytest.approx(2 / 3, abs=1e-3)
    a, b = np.meshgrid(np.linspace(0, math.pi / 2, 25), np.linspace(0, math.pi / 2, 25))
    sphere = np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], -1).reshape(-1, 3)
    exact = 1 - math.pi / 6  # of the unit cube without an eighth of the ball
    assert exact - 0.05 < hypervolume(sphere, np.ones(3)) < exact
    assert hypervolume(np.array([[math.nan, 0.0], [2.0, 0.0]]), np.ones(2)) == 0
    assert hypervolume(np.zeros((0, 2)), np.ones(2)) == 0


# --- NSGA-II ----------------------------------------------------------------------------------


def zdt1(x):
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    return np.stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))], axis=1)


def test_parents_are_the_best_of_both_generations_best_first():
    loss = np.array([[0.0, 9.0], [9.0, 0.0], [4.0, 5.0], [5.0, 4.0], [5.0, 6.0], [3.0, 8.0]])
    members = Members(np.arange(6.0)[:, None], loss, np.zeros(6))
    six, three = NSGA2(population=6), NSGA2(population=4)
    assert six._best(members).x.ravel().tolist() == [0, 1, 3, 5, 2, 4]  # loneliness 10, 8, 6
    assert three._best(members).x.ravel().tolist() == [0, 1, 3, 5]
    infeasible = Members(members.x, loss, np.array([1.0, 0, 0, 0, 0, 0]))
    assert six._best(infeasible).x[-1] == 0
    assert NSGA3(population=6)._best(infeasible).x[-1] == 0


def test_the_front_of_zdt1_is_found():
    space = Space({f"x{i}": Float(0, 1) for i in range(10)})
    search = NSGA2(population=40)
    state = search.init(space, 0)
    for _ in range(100):
        state, batch = search.ask(state, 40)
        state = search.tell(state, batch, Outcome(zdt1(batch.x)))
    exact = 1.1**2 - 1 / 3  # what lies below the front f = 1 - sqrt(x) is lost
    assert hypervolume(state.parents.loss, np.full(2, 1.1)) > 0.97 * exact
    assert (fronts(state.parents.loss) == 0).all()


@pytest.mark.parametrize("search", [NSGA2(population=20), NSGA3(population=20)], ids=repr)
def test_constraints_are_met_first(search):
    state = search.init(SQUARE, 0)
    for _ in range(30):
        state, batch = search.ask(state, 20)
        constraint = (0.8 - batch.x.sum(axis=1))[:, None]  # x + y >= 0.8
        state = search.tell(state, batch, Outcome(batch.x.copy(), constraint=constraint))
    total = state.parents.x.sum(axis=1)
    assert np.all(total >= 0.8)
    assert np.median(total) < 0.85
    assert np.ptp(state.parents.x[:, 0]) > 0.5


def test_a_generation_waits_for_no_straggler_and_takes_no_failure():
    search = NSGA2(population=4)
    state, batch = search.ask(search.init(SQUARE, 0), 9)
    loss = batch.x.copy()
    loss[[1, 3]] = math.nan

    def tell(state, rows):
        return search.tell(state, Batch(batch.x[rows], batch.number[rows]), Outcome(loss[rows]))

    state = tell(state, [8, 1, 3, 2, 0])
    assert len(state.parents) == 0
    assert search.max_pending(state, 1) == 1
    state = tell(state, [6])
    assert len(state.parents) == 4
    assert state.pending.number.tolist() == [4, 5, 7]
    foreign = Batch(np.zeros((4, 2)), np.full(4, FOREIGN))
    assert (search.tell(state, foreign, Outcome(np.zeros((4, 2)))).parents.loss == 0).all()


def test_mixed_spaces_and_three_objectives_through_ask_and_tell():
    space = Space({"x": Float(0, 1), "n": Int(1, 9), "c": Choice(["a", "b", "c"])})
    loop = AskTell(space, NSGA2(population=12), mode=["min", "max", "min"])
    rng = generator(0, 0)
    pending = []
    for _ in range(400):
        pending += loop.ask(6 - len(pending))
        trial = pending.pop(int(rng.integers(len(pending))))
        c = trial.config
        loop.tell(
            trial, [c["x"] + (c["c"] != "b"), c["n"], c["n"] * (1 - c["x"]) + (c["c"] == "a")]
        )
    assert np.mean([t.config["c"] == "b" for t in loop.pareto]) > 0.7
    assert len({t.config["n"] for t in loop.pareto}) > 2


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["mixed", "conditional", "constrained"])
@pytest.mark.parametrize("search", [NSGA2(population=4), NSGA3(population=4)], ids=repr)
def test_contract_with_small_populations(search, name, check):
    check(search, conformance.SPACES[name], seed=3)


# --- NSGA-III ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "most", "h"), [(1, 9, 1), (2, 9, 9), (3, 92, 91), (8, 160, 156), (9, 4, 9)]
)
def test_directions_are_spread_over_the_simplex(m, most, h):
    w = directions(m, most)
    assert w.shape == (h, m)
    assert np.linalg.norm(w, axis=1) == pytest.approx(1)
    assert len(np.unique(w.round(9), axis=0)) == h
    assert np.ptp(w.sum(axis=0)) < 1e-9  # no objective is preferred
    assert (w.max(axis=1) > 1 - 1e-9).sum() == m


def test_units_of_losses_do_not_matter():
    loss = np.abs(generator(0, 0).normal(size=(60, 3)))
    rank = fronts(loss)
    f = normalised(loss, rank == 0)
    assert f.min(axis=0).tolist() == [0, 0, 0]
    assert normalised(loss * [1, 1e3, 1e-3] + [5, -9, 0], rank == 0) == pytest.approx(f)
    plane = np.array([[3.0, 0, 0], [0, 5, 0], [0, 0, 7], [1, 1, 1]])
    assert normalised(plane, np.ones(4, bool))[:3] == pytest.approx(np.eye(3))
    infinite = np.array([[math.inf, 1.0], [math.inf, -math.inf], [math.inf, 3.0]])
    assert normalised(infinite, np.array([1, 1, 0], bool)).tolist() == [[0, 0], [0, 0], [0, 1]]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_emptiest_niche_is_filled_first(seed, n):
    rng = generator(seed, 0)
    f, rank, w = rng.random((40, 3)), rng.integers(0, 3, 40), directions(3, 10)
    before, distance = niches(f, rank, w)
    niche = (f @ w.T).argmax(axis=1)  # of a ray the nearest is the one at the least angle
    last = np.sort(rank)[n - 1]
    chosen, left = np.flatnonzero(rank < last).tolist(), np.flatnonzero(rank == last).tolist()
    while len(chosen) < n:  # as in the paper, but the nearest instead of any
        filled = np.bincount(niche[chosen], minlength=len(w))
        chosen.append(min(left, key=lambda i: (filled[niche[i]], distance[i])))
        left.remove(chosen[-1])
    assert set(np.lexsort((distance, before, rank))[:n]) == set(chosen)


def test_the_front_of_dtlz2_is_covered_evenly_whatever_the_units():
    space, search, units = Space({f"x{i}": Float(0, 1) for i in range(12)}), NSGA3(), [1, 10, 1e-3]
    state = search.init(space, 0)
    for _ in range(100):
        state, batch = search.ask(state, 92)
        (a, b), g = batch.x[:, :2].T * math.pi / 2, ((batch.x[:, 2:] - 0.5) ** 2).sum(axis=1)
        loss = np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], axis=1)
        state = search.tell(state, batch, Outcome(loss * (1 + g)[:, None] * units))
    loss = state.parents.loss / units
    apart = np.linalg.norm(directions(3, 91)[:, None] - loss, axis=2).min(axis=1)
    assert hypervolume(loss, np.full(3, 1.1)) > 0.73  # pymoo: 0.734 to 0.738
    assert apart.mean() < 0.02  # pymoo: 0.009 to 0.012; NSGA-II: 0.075


def test_wrong_options_are_refused():
    with pytest.raises(UsageError, match="option population: expected an integer >= 4, found 3"):
        NSGA2(population=3)
