"""Draw k depends on (seed, k) and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from raysearch import rng
from raysearch.errors import UsageError

seeds = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("draw", [rng.uniform, rng.normal])
@given(seed=seeds, first=st.integers(0, 2**40), n=st.integers(0, 9), m=st.integers(0, 9))
@settings(max_examples=50)
def test_how_draws_are_grouped_does_not_matter(draw, seed, first, n, m):
    whole = draw(seed, first, n + m, 5)

    parts = [draw(seed, first, n, 5), draw(seed, first + n, m, 5)]

    assert_array_equal(whole, np.concatenate(parts))


@given(seed=seeds, numbers=st.lists(st.integers(0, 2**62), max_size=12))
@settings(max_examples=50)
def test_a_trial_has_the_same_seed_in_any_company(seed, numbers):
    together = rng.trial_seeds(seed, np.array(numbers, dtype=np.int64))

    alone = [rng.trial_seeds(seed, np.array([number])).item() for number in numbers]

    assert together.tolist() == alone
    assert all(0 <= s < 2**32 for s in alone)


def test_consecutive_trials_have_different_seeds():
    assert len(set(rng.trial_seeds(0, np.arange(1000)).tolist())) == 1000


def test_seeds_streams_and_kinds_of_draw_are_independent():
    draws = [
        rng.uniform(0, 0, 4, 4),
        rng.uniform(1, 0, 4, 4),
        rng.uniform(0, 4, 4, 4),
        rng.uniform(0, 0, 4, 4, stream=1),
        rng.generator(0, 0).random((4, 4)),
        rng.generator(0, 1).random((4, 4)),
        rng.generator(0, 0, stream=1).random((4, 4)),
    ]
    values = np.concatenate(draws).ravel()

    assert len(np.unique(values)) == values.size


def test_draws_have_the_distribution_they_promise():
    u, z = rng.uniform(3, 0, 4000, 3), rng.normal(3, 0, 4000, 3)

    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(u.var() - 1 / 12) < 0.003
    assert abs(z.mean()) < 0.03
    assert abs(z.var() - 1) < 0.04


@pytest.mark.parametrize("extreme", [0.0, 1 - 2.0**-53])
def test_normal_draws_are_finite_even_at_the_ends(monkeypatch, extreme):
    monkeypatch.setattr(rng, "uniform", lambda *_: np.array([[extreme]]))

    assert np.isfinite(rng.normal(0, 0, 1, 1)).all()


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(UsageError, match="seed"):
        rng.check_seed(seed)


def test_numpy_integers_are_seeds():
    assert rng.check_seed(np.int32(7)) == 7
    assert type(rng.check_seed(np.uint64(7))) is int
