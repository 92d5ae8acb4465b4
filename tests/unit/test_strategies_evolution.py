"""Evolution strategies: mirrored pairs, gradients, rules."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from raysearch import optim
from raysearch.errors import UsageError
from raysearch.rng import generator
from raysearch.space import Float, Space
from raysearch.strategies import from_json, to_json
from raysearch.strategies.evolution_strategy import _MOVERS, EvolutionStrategy
from raysearch.strategies.state import dump, load
from raysearch.testing import conformance
from raysearch.trial import FOREIGN, Batch, Outcome

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})
METHODS = ("snes", "pgpe", "openai")


def outcomes(*losses):
    return Outcome(np.array(losses, dtype=float)[:, None])


def cube(d):
    return Space({f"x{i}": Float(0, 1) for i in range(d)})


def searched(search, space, loss, trials, seed=0, at_once=8):
    state = search.init(space, seed)
    for k in range(0, trials, at_once):
        state, batch = search.ask(state, at_once)
        state = search.tell(state, batch, Outcome(loss(batch.x, k)[:, None]))
    return state


def test_points_come_in_mirrored_pairs_however_they_are_asked_for():
    search = EvolutionStrategy(step=0.1)
    state, batch = search.ask(search.init(SQUARE, 0), 3)
    state, more = search.ask(state, 5)
    x = np.concatenate([batch.x, more.x])
    assert x[::2] + x[1::2] == pytest.approx(np.ones((4, 2)))
    assert np.std(x) > 0.05


def test_in_spaces_with_constraints_each_point_is_drawn_for_itself():
    space = Space({"x": Float(0, 1), "y": Float(0, 1)}, [lambda c: c["x"] + c["y"] <= 1])
    _, batch = EvolutionStrategy().ask(EvolutionStrategy().init(space, 0), 20)
    assert np.all(batch.x.sum(axis=1) <= 1)


def test_a_generation_moves_the_mean_as_the_formulas_say():
    space, losses = cube(3), np.array([3.0, 1.0, 4.0, 2.0])
    order = np.argsort(losses)
    u = np.maximum(0, math.log(3) - np.log(np.arange(1, 5)))
    utility = u / u.sum() - 1 / 4
    ranks = np.array([1 / 2, 1 / 6, -1 / 6, -1 / 2]) / 4
    for method, weights in (("snes", utility), ("pgpe", ranks), ("openai", ranks)):
        search = EvolutionStrategy(method, population=4, step=0.1, rule="SGD", lr=0.01)
        state, batch = search.ask(search.init(space, 0), 4)
        after = search.tell(state, batch, outcomes(*losses))
        s = ((batch.x - 0.5) / 0.1)[order]
        gradient = -0.1 * (weights @ s)
        assert after.m == pytest.approx(0.5 - 0.01 * gradient)
        spread = weights @ (s**2 - 1)
        expected = {
            "snes": 0.1 * np.exp((3 + math.log(3)) / (5 * math.sqrt(3)) / 2 * spread),
            "pgpe": 0.1 * (1 + np.clip(spread / 2, -0.2, 0.2)),
            "openai": np.full(3, 0.1),
        }
        assert after.sigma == pytest.approx(expected[method])


@pytest.mark.parametrize("method", METHODS)
def test_the_estimate_points_down_the_gradient(method):
    space = cube(20)
    slope = generator(0, 0).standard_normal(20)
    search = EvolutionStrategy(method, population=2000, step=0.05, rule="SGD", lr=1e-3)
    state, batch = search.ask(search.init(space, 0), 2000)
    state = search.tell(state, batch, Outcome((batch.x @ slope)[:, None]))
    step = state.m - 0.5
    cosine = -step @ slope / np.linalg.norm(step) / np.linalg.norm(slope)
    assert cosine > 0.98


@pytest.mark.parametrize("name", sorted(set(_MOVERS) - {"SOAP"}))
def test_any_rule_of_vectors_moves_the_mean(name):
    search = EvolutionStrategy("openai", population=8, step=0.05, rule=name)
    space = cube(5)
    state = searched(search, space, lambda x, k: x.sum(axis=1), 80)
    assert state.m.sum() < 2.5
    loaded = load(dump(state), search, space)
    assert dump(loaded) == dump(state)
    again, batch = search.ask(loaded, 8)
    direct, _ = search.ask(state, 8)
    losses = batch.x.sum(axis=1)
    assert np.array_equal(
        search.tell(again, batch, outcomes(*losses)).m,
        search.tell(direct, batch, outcomes(*losses)).m,
    )


def test_a_rule_may_bring_its_options():
    adam = EvolutionStrategy("openai", population=4, rule=optim.Adam(lr=0.3, betas=(0.5, 0.9)))
    assert from_json(json.loads(json.dumps(to_json(adam)))) == adam
    plain = EvolutionStrategy("openai", population=4, rule="Adam", lr=0.3)
    one, other = (searched(s, SQUARE, lambda x, k: x[:, 0], 12, at_once=4) for s in (adam, plain))
    assert not np.array_equal(one.m, other.m)
    same = replace(plain, rule=optim.Adam(lr=0.3), lr=None)
    assert np.array_equal(searched(same, SQUARE, lambda x, k: x[:, 0], 12, at_once=4).m, other.m)


def test_the_rule_remembers_from_generation_to_generation():
    search = EvolutionStrategy("openai", population=4, rule="Adam")
    state = searched(search, SQUARE, lambda x, k: x.sum(axis=1), 40, at_once=4)
    moments = dict(zip(state.names, state.moments, strict=True))
    assert moments["steps"] == 10
    assert state.m[0] == pytest.approx(0.5 - 10 * 0.02, abs=0.1)  # as Adam does: lr a step


def test_two_hundred_parameters():
    space = cube(200)
    search = EvolutionStrategy(step=0.05)
    assert search.population is None
    state = searched(search, space, lambda x, k: ((x - 0.4) ** 2).sum(axis=1), 6000, at_once=24)
    assert np.sum((state.m - 0.4) ** 2) < 0.1 * 2.0
    noisy = searched(
        search,
        space,
        lambda x, k: ((x - 0.4) ** 2).sum(axis=1) + 0.05 * generator(1, k).standard_normal(len(x)),
        6000,
        at_once=24,
    )
    assert np.sum((noisy.m - 0.4) ** 2) < 0.3 * 2.0


def test_late_results_failures_and_points_from_elsewhere():
    search = EvolutionStrategy(population=4, step=0.01)
    state, late = search.ask(search.init(SQUARE, 0), 1)
    for _ in range(30):
        state, batch = search.ask(state, 4)
        state = search.tell(state, batch, outcomes(*batch.x.sum(axis=1)))
    state, batch = search.ask(state, 4)
    state = search.tell(state, batch, outcomes(math.nan, 1.0, 2.0, 3.0))
    assert len(state.losses) == 3
    foreign = Batch(np.array([[0.9, 0.9]]), np.array([FOREIGN]))
    assert len(search.tell(state, foreign, outcomes(9.0)).losses) == 3
    for told in (
        search.tell(state, late, outcomes(-9.0)),
        search.tell(state, foreign, outcomes(-9.0)),
    ):
        assert told.generation == state.generation + 1
        moved = np.linalg.norm((told.m - state.m) / state.sigma)
        assert 0 < moved <= math.sqrt(2) + 1  # shortened, however far away it was


def test_a_vanished_step_begins_anew_and_ignores_what_is_left():
    search = EvolutionStrategy(population=4, step=0.25)
    state, straggler = search.ask(search.init(SQUARE, 0), 1)
    while not state.since:
        state, batch = search.ask(state, 4)
        state = search.tell(state, batch, outcomes(*np.abs(batch.x - 0.5).sum(axis=1)))
    assert state.since == state.asked
    assert state.sigma == pytest.approx(np.full(2, 0.25))
    assert np.abs(state.m - 0.5).max() > 0.01
    assert len(search.tell(state, straggler, outcomes(0.0)).losses) == 0


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_contract_with_options(method, check):
    for name in ("fifty", "conditional", "constrained"):
        check(EvolutionStrategy(method, rule="Adam"), conformance.SPACES[name], seed=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvolutionStrategy(method="sns"), "option method: .*did you mean 'snes'"),
        (lambda: EvolutionStrategy(population=3), "option population: .* >= 4, found 3"),
        (lambda: EvolutionStrategy(population=5), "option population: .*even number.*found 5"),
        (lambda: EvolutionStrategy(step=0), r"option step: .*\(0, 0.25\], found 0"),
        (lambda: EvolutionStrategy(rule="Adamm"), "option rule: .*did you mean 'Adam'"),
        (lambda: EvolutionStrategy(lr=0), r"option lr: .*found 0"),
        (lambda: EvolutionStrategy(rule="Muon"), "option rule: .*found 'Muon'"),
        (lambda: EvolutionStrategy(rule=optim.Muon()), "option rule: .*found Muon"),
        (lambda: EvolutionStrategy(rule=optim.SGD(), lr=1), "option lr: SGD.* leave it out"),
        (
            lambda: to_json(EvolutionStrategy(rule=optim.SGD(optim.Step(0.1, 5)))),
            "option rule: Step",
        ),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
