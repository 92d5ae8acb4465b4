"""Configurations are numbered without gaps or repeats, however large the space."""

from __future__ import annotations

import json
import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.space import Choice, Float, Int, Space
from raysearch.space.lattice import Lattice
from raysearch.strategies.permutation import shuffled
from raysearch.testing.spaces import spaces


def configs(space, lattice, index):
    return space.decode(lattice.points(np.array(index))).configs()


def test_a_plain_space_is_numbered_as_itertools_product_does():
    space = Space({"a": Int(1, 3), "b": Choice(["x", "y"]), "c": Float(0, 1, step=0.5)})
    lattice = Lattice(space.parameters)
    expected = [
        dict(zip("abc", v, strict=True)) for v in product([1, 2, 3], ["x", "y"], [0.0, 0.5, 1.0])
    ]
    assert configs(space, lattice, range(18)) == expected


@settings(max_examples=40, deadline=None)
@given(space=spaces())
def test_every_configuration_has_one_number(space):
    lattice = Lattice(space.parameters, continuous=2)
    if not math.isinf(space.size):
        assert lattice.size == space.size
    index = range(lattice.size) if lattice.size < 2000 else range(lattice.size - 50, lattice.size)
    found = {json.dumps(c) for c in configs(space, lattice, np.array(index, dtype=object).tolist())}
    assert len(found) == len(index)


def test_conditions_at_depth_with_several_parents():
    space = Space(
        {
            "d": Int(0, 2).when(b=True).when(c="on"),
            "a": Choice([1, 2, 3]),
            "b": Choice([True, False]).when(a=[1, 3]),
            "c": Choice(["on", "off"]),
        }
    )
    expected = sum(
        (3 if b and c == "on" else 1)
        for a in (1, 2, 3)
        for b in ((True, False) if a != 2 else (None,))
        for c in ("on", "off")
    )
    lattice = Lattice(space.parameters)
    assert lattice.size == expected
    assert len({json.dumps(c) for c in configs(space, lattice, range(expected))}) == expected


def test_levels_spread_evenly_and_include_the_ends():
    space = Space({"x": Float(0, 1), "n": Int(0, 100), "z": Float(0, 1)})
    lattice = Lattice(space.parameters, levels={"n": 3, "z": 1}, continuous=3)
    found = configs(space, lattice, range(lattice.size))
    assert sorted({c["x"] for c in found}) == [0.0, 0.5, 1.0]
    assert sorted({c["n"] for c in found}) == [0, 50, 100]
    assert {c["z"] for c in found} == {0.5}


def test_a_level_left_out_leaves_its_children_out():
    space = Space({"n": Int(0, 10), "child": Choice([1, 2]).when(n=3), "kept": Int(1, 4).when(n=5)})
    assert Lattice(space.parameters, levels={"n": 3}).size == 1 + 4 + 1  # n = 0, 5, 10


def test_more_configurations_than_int64_can_count():
    space = Space({f"n{i}": Int(1, 1000) for i in range(30)})
    lattice = Lattice(space.parameters)
    assert lattice.size == 1000**30
    last = configs(space, lattice, [lattice.size - 1])[0]
    assert set(last.values()) == {1000}


def test_a_thousand_parameters_that_hang_together():
    names = [f"p{i}" for i in range(1000)]
    chain = {names[0]: Choice([0, 1])}
    chain |= {n: Choice([0, 1]).when({p: 1}) for p, n in pairwise(names)}
    found = configs(Space(chain), Lattice(chain), [0, 1, 500, 1000])
    assert [len(config) for config in found] == [1, 2, 501, 1000]

    overlapping = {n: Choice([0, 1]) for n in names[:60]}
    overlapping |= {f"c{n}": Int(0, 1).when({n: 1}).when({p: 1}) for p, n in pairwise(names[:60])}
    assert Lattice(overlapping).size == ways_of_overlapping_pairs(60)


def ways_of_overlapping_pairs(k):
    """By hand: off + on is the sum over settings of k switches of 2 ** (pairs both on)."""
    off, on = 1, 1
    for _ in range(k - 1):
        off, on = off + on, off + 2 * on
    return off + on


def test_one_child_of_many_parents():
    switches = {f"p{i}": Choice([0, 1]) for i in range(30)}
    child = Int(1, 4).when({name: 1 for name in switches})
    assert Lattice({**switches, "child": child}).size == 2**30 + 3


@given(size=st.integers(1, 300), seed=st.integers(0, 2**64 - 1))
def test_shuffled_is_a_permutation(size, seed):
    whole = shuffled(0, size, size, seed)
    assert sorted(whole.tolist()) == list(range(size))
    middle = size // 2
    assert shuffled(middle, size - middle, size, seed).tolist() == whole[middle:].tolist()


@pytest.mark.parametrize("size", [10**12, 1000**30])
def test_shuffled_is_spread_over_sizes_that_are_never_listed(size):
    places = shuffled(0, 200, size, seed=3).tolist()
    assert len(set(places)) == 200
    assert all(0 <= place < size for place in places)
    quarters = [sum(place * 4 // size == q for place in places) for q in range(4)]
    assert min(quarters) > 25, quarters
    assert shuffled(0, 200, size, seed=4).tolist() != places
