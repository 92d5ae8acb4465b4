"""Points are legal and new: the memory of keys, and the ways to find points."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.errors import SpaceError
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.known import Known, keys_of
from raysearch.strategies.local_search import LocalSearch
from raysearch.strategies.quasi_random import QuasiRandom
from raysearch.strategies.random import RandomSearch
from raysearch.trial import FOREIGN, Batch, Outcome


@given(st.lists(st.lists(st.integers(0, 200), max_size=20), max_size=10))
def test_known_is_a_set_in_few_runs(additions):
    known, expected = Known(), set()
    for keys in additions:
        before = known
        known = known.add(np.array(keys, dtype=np.uint64))
        expected |= set(keys)
        assert before.has(np.array([1], dtype=np.uint64)).shape == (1,)
    every = np.arange(202, dtype=np.uint64)
    assert set(every[known.has(every)].tolist()) == expected
    assert sum(map(len, known.runs)) == len(expected)
    sizes = [len(run) for run in known.runs]
    assert all(a > 2 * b for a, b in pairwise(sizes))


def test_keys_are_different_where_configurations_are():
    space = Space({"a": Choice([1, 2]), "b": Int(0, 6).when(a=1), "c": Float(0, 0.5, step=0.1)})
    columns = space.decode(np.random.default_rng(0).random((3000, 3)))
    keys, finite = keys_of(space, columns)
    assert finite.all()
    by_key = {}
    for key, config in zip(keys.tolist(), columns.configs(), strict=True):
        by_key.setdefault(key, set()).add(json.dumps(config))
    assert len(by_key) == space.size
    assert all(len(found) == 1 for found in by_key.values())


def test_keys_of_spaces_too_large_for_a_number():
    space = Space({f"n{i}": Choice([0, 1]) for i in range(100)})
    x = np.zeros((100, 100))
    np.fill_diagonal(x, 1.0)  # each differs from the others in two parameters
    keys, _ = keys_of(space, space.decode(x))
    assert len(set(keys.tolist())) == 100


@pytest.mark.parametrize("strategy", [RandomSearch(), QuasiRandom(), LocalSearch()])
def test_a_finite_space_is_used_up_completely(strategy):
    space = Space({"a": Int(1, 30, log=True), "b": Choice(["x", "y", None])},
                  constraints=[lambda c: c["a"] != 13])  # fmt: skip
    state, batch = strategy.ask(strategy.init(space, 0), 200)
    found = {json.dumps(config) for config in space.decode(batch.x).configs()}
    assert len(batch) == len(found) == 29 * 3
    assert len(strategy.ask(state, 1)[1]) == 0


def test_told_points_from_elsewhere_are_not_proposed_again():
    space = Space({"a": Int(1, 10)})
    strategy = RandomSearch()
    x = space.encode(space.columns([{"a": 3}, {"a": 4}]))
    batch = Batch(x, np.array([FOREIGN, FOREIGN]))
    state = strategy.tell(strategy.init(space, 0), batch, Outcome(np.zeros((2, 1))))
    _, rest = strategy.ask(state, 100)
    assert sorted(space.decode(rest.x).numbers["a"].tolist()) == [1, 2, 5, 6, 7, 8, 9, 10]


def test_nothing_is_remembered_of_endless_spaces():
    space = Space({"x": Float(0, 1), "a": Choice([1, 2])}, constraints=[lambda c: c["x"] < 0.5])
    strategy = RandomSearch()
    state, _ = strategy.ask(strategy.init(space, 0), 1000)
    assert state.known.runs == ()


def test_what_a_condition_leaves_without_a_continuous_parameter_comes_once():
    space = Space({"rule": Choice(["plain", "sgd"]), "lr": Float(0, 1).when(rule="sgd")})
    _, batch = RandomSearch().ask(RandomSearch().init(space, 0), 100)
    rules = [config["rule"] for config in space.decode(batch.x).configs()]
    assert rules.count("plain") == 1
    assert len(rules) == 100


def test_a_parameter_that_can_never_be_active_does_not_make_a_space_endless():
    never = Float(0, 1).when(a=1).when(a=2)
    space = Space({"a": Choice([1, 2, 3]), "never": never})
    assert len(RandomSearch().ask(RandomSearch().init(space, 0), 10)[1]) == 3


@pytest.mark.parametrize("strategy", [RandomSearch(), QuasiRandom(), LocalSearch()])
def test_constraints_that_leave_nothing_are_named(strategy):
    def impossible(c):
        return c["x"] > 2

    space = Space({"x": Float(0, 1)}, constraints=[impossible])
    with pytest.raises(SpaceError, match=r"constraints: .*none in 100000.*impossible"):
        strategy.ask(strategy.init(space, 0), 1)


def test_rare_legal_points_of_a_finite_space_are_all_found():
    space = Space({"n": Int(1, 50_000)}, constraints=[lambda c: c["n"] % 10_000 == 7])
    _, batch = RandomSearch().ask(RandomSearch().init(space, 0), 10)
    assert sorted(space.decode(batch.x).numbers["n"].tolist()) == [7 + 10_000 * i for i in range(5)]
