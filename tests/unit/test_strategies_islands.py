"""Islands: who hears of what, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raysearch.errors import UsageError
from raysearch.space import Float, Int, Space
from raysearch.strategies.asha import ASHA
from raysearch.strategies.cma_es import CMAES
from raysearch.strategies.genetic import GeneticAlgorithm
from raysearch.strategies.gradient_search import GradientSearch
from raysearch.strategies.grid import GridSearch
from raysearch.strategies.islands import Islands
from raysearch.strategies.nsga2 import NSGA2
from raysearch.strategies.population_based import PopulationBased
from raysearch.strategies.portfolio import Portfolio
from raysearch.strategies.random import RandomSearch
from raysearch.strategies.state import dump
from raysearch.strategies.warm_start import WarmStart
from raysearch.trial import FOREIGN, Batch, Outcome

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})
HERD = GeneticAlgorithm(population=4)


def sphere(x):
    return Outcome(((x - 0.3) ** 2).sum(axis=1, keepdims=True))


def advance(search, state, n):
    """Ask and tell n points one by one; returns them, too."""
    batches = []
    for _ in range(n):
        state, batch = search.ask(state, 1)
        state = search.tell(state, batch, sphere(batch.x))
        batches.append(batch.x[0])
    return state, np.array(batches)


@pytest.mark.parametrize("topology", ["ring", "full", "random"])
def test_every_island_hears_of_others_and_never_of_itself(topology):
    search = Islands(HERD, islands=5, topology=topology)
    for epoch in range(20):
        for i in range(5):
            sources = search.sources(i, epoch, seed=3)
            assert len(sources) == (4 if topology == "full" else 1)
            assert i not in sources
            assert set(sources) <= set(range(5))


def test_random_neighbours_change_and_come_to_all():
    search = Islands(HERD, islands=4, topology="random")
    found = {search.sources(0, epoch, seed=0)[0] for epoch in range(40)}
    assert found == {1, 2, 3}


def test_a_lonely_island_hears_of_nobody():
    alone = Islands(HERD, islands=1, migrate_every=2)
    state, _x = advance(alone, alone.init(SQUARE, 0), 20)
    assert state.islands[0].told == 20


def test_islands_have_draws_of_their_own():
    _state, x = advance(Islands(HERD, islands=4), Islands(HERD, islands=4).init(SQUARE, 0), 4)
    assert len(np.unique(x, axis=0)) == 4


def test_the_best_of_each_epoch_arrives_two_epochs_later():
    search = Islands(RandomSearch(), islands=2, migrate_every=3)
    heard = []
    state = search.init(SQUARE, 0)

    class Spy(RandomSearch):
        def tell(self, state, batch, outcome):
            heard.extend(batch.x[batch.number == FOREIGN].tolist())
            return super().tell(state, batch, outcome)

    search = replace(search, strategy=Spy())
    state, x = advance(search, state, 6 * 4)
    for e in range(2):  # at the beginning of epochs 2 and 3, island by island
        for i in (0, 1):
            sent = x[1 - i :: 2][3 * e : 3 * e + 3]
            best = sent[np.argmin(sphere(sent).loss)]
            assert np.array_equal(heard[2 * e + i], best)
    assert len(heard) == 6  # the last ones are from epoch 2


@pytest.mark.parametrize(
    "strategy",
    [
        GridSearch(order="shuffled"),
        WarmStart(HERD),
        Portfolio((HERD, GradientSearch(GridSearch()))),
    ],
)
def test_what_would_come_again_on_every_island_is_refused(strategy):
    with pytest.raises(UsageError, match=r"(GridSearch|WarmStart) proposes the same points"):
        Islands(strategy)
    assert WarmStart(Islands(HERD)).outer == Islands(HERD)


def test_what_is_told_at_once_migrates_as_if_told_one_by_one():
    search = Islands(HERD, islands=3, migrate_every=4, topology="full")
    state, batch = search.ask(search.init(SQUARE, 0), 60)
    at_once = search.tell(state, batch, sphere(batch.x))
    for k in range(60):
        one = Batch(batch.x[k : k + 1], batch.number[k : k + 1])
        state = search.tell(state, one, sphere(one.x))
    assert dump(state) == dump(at_once)


def test_a_failed_or_forbidden_point_is_not_sent():
    search = Islands(NSGA2(), islands=2, migrate_every=2)
    state, batch = search.ask(search.init(SQUARE, 0), 4)
    loss = np.array([[np.nan] * 2, [1.0, 2.0], [3.0, 1.0], [0.0, 0.0]])
    forbidden = np.array([[0.0], [0.0], [0.0], [1.0]])
    state = search.tell(state, batch, Outcome(loss, constraint=forbidden))
    assert [island.sent[1].loss.tolist() for island in state.islands] == [[[3, 1]], [[1, 2]]]


def test_an_epoch_in_which_all_fail_sends_nothing():
    search = Islands(HERD, islands=2, migrate_every=2)
    state = search.init(SQUARE, 0)
    for _ in range(8):
        state, batch = search.ask(state, 2)
        state = search.tell(state, batch, Outcome(np.full((2, 1), np.nan)))
    assert [island.sent for island in state.islands] == [(None, None)] * 2


def test_points_from_elsewhere_are_told_to_all():
    search = Islands(HERD, islands=3)
    x = np.array([[0.3, 0.3]])
    state = search.tell(search.init(SQUARE, 0), Batch(x, np.array([FOREIGN])), sphere(x))
    assert [len(island.state.told) for island in state.islands] == [1, 1, 1]
    assert [island.told for island in state.islands] == [0, 0, 0]


def test_islands_share_a_small_space():
    space = Space({"n": Int(0, 19)})
    search = Islands(HERD, islands=4, migrate_every=3)
    state, found = search.init(space, 0), []
    while True:
        state, batch = search.ask(state, 3)
        if not len(batch):
            break
        found += space.decode(batch.x).numbers["n"].tolist()
        state = search.tell(state, batch, sphere(batch.x))
    assert sorted(found) == list(range(20))


def test_one_slot_waits_for_each_generation():
    """So that asking as the engine does is asking one by one."""
    search = Islands(HERD, islands=3, migrate_every=5)
    _, expected = advance(search, search.init(SQUARE, 0), 60)
    state, x, told = search.init(SQUARE, 0), np.zeros((0, 2)), 0
    while told < 60:
        state, batch = search.ask(state, search.max_pending(state, 1) - (len(x) - told))
        x = np.concatenate([x, batch.x])
        state = search.tell(
            state, Batch(x[told : told + 1], np.array([told])), sphere(x[told : told + 1])
        )
        told += 1
    assert np.array_equal(x[:60], expected)


def test_every_slot_gets_a_point_while_stragglers_are_out():
    search = Islands(HERD, islands=2)
    state, _batch = search.ask(search.init(SQUARE, 0), 8)
    for slots in (1, 4, 64):
        assert search.max_pending(state, slots) >= slots


def test_a_strategy_may_be_named():
    assert Islands("cma-es") == Islands(CMAES())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"islands": 0}, "islands"),
        ({"migrate_every": 0}, "migrate_every"),
        ({"topology": "star"}, "topology"),
        ({"strategy": 3}, "strategy"),
        ({"strategy": "cma"}, "strategy: .*did you mean 'cma-es'"),
        ({"strategy": ASHA(max_budget=9)}, r"ASHA\(Islands"),
        ({"strategy": PopulationBased()}, "PopulationBased .*; leave the islands out"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(UsageError, match=words):
        Islands(**options)
