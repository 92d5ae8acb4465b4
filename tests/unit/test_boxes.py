"""What improves on a front, cut into boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raysearch.models.boxes import boxes
from raysearch.strategies.pareto import hypervolume

FAR = 4
#: whole numbers, so that many are equal, and some dominate others
FRONTS = st.integers(2, 4).flatmap(
    lambda m: arrays(
        np.float64, st.tuples(st.integers(0, 9), st.just(m)), elements=st.integers(0, FAR)
    )
)


def sphere(f: int, m: int, seed: int = 0) -> np.ndarray:
    """Points (f, m) of which none dominates another."""
    points = np.abs(np.random.default_rng(seed).standard_normal((f, m)))
    return 1.0 - points / np.linalg.norm(points, axis=1, keepdims=True)


@settings(max_examples=200, deadline=None)
@given(FRONTS)
def test_what_improves_lies_in_one_box_and_what_does_not_in_none(front):
    """Unit cells, one beyond the least loss included, are counted."""
    m = front.shape[1]
    low, high = boxes(front, np.full(m, float(FAR)))
    cells = np.stack(np.meshgrid(*[np.arange(-1, FAR)] * m), axis=-1).reshape(-1, 1, m)
    inside = ((low <= cells) & (cells + 1 <= high)).all(axis=2).sum(axis=1)
    dominated = (front <= cells).all(axis=2).any(axis=1)
    np.testing.assert_array_equal(inside, np.where(dominated, 0, 1))
    assert (low < high).all()


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("f", [1, 7, 30])
def test_volumes_add_up_to_what_the_front_leaves(m, f):
    front, worst = sphere(f, m), np.full(m, 1.5)
    least = front.min(axis=0) - 0.1
    low, high = boxes(front, worst)
    volume = (high - np.maximum(low, least)).clip(min=0).prod(axis=1).sum()
    expected = (worst - least).prod() - hypervolume(front, worst)
    assert volume == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("f", [0, 1, 2, 25, 100])
def test_there_are_as_few_as_can_be_of_two_and_three_losses(f):
    for m, least in ((2, f + 1), (3, 2 * f + 1)):
        assert len(boxes(sphere(f, m), np.ones(m))[0]) == least


def test_the_order_of_points_and_dominated_ones_make_no_difference():
    front = sphere(12, 3)
    worse = front[::-1] + np.random.default_rng(1).random((12, 3))
    found = boxes(np.concatenate([worse, front[::-1]]), np.ones(3))
    for corners, alone in zip(found, boxes(front, np.ones(3)), strict=True):
        np.testing.assert_array_equal(np.unique(corners, axis=0), np.unique(alone, axis=0))
