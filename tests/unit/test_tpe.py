"""TPE and its densities: what they promise beyond the contract of all strategies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import truncnorm

from raysearch.errors import SpaceError, UsageError
from raysearch.models.parzen import Parzen, layout
from raysearch.rng import uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.state import dump, load
from raysearch.strategies.tpe import TPE
from raysearch.testing.conformance import SPACES, bowl, told
from raysearch.trial import FOREIGN, Batch, Outcome

ALL = Space(
    {
        "x": Float(0, 1),
        "units": Int(1, 9, log=True),
        "rule": Choice(["a", "b", "c"]),
        "y": Float(0, 1).when(rule="a"),
    }
)


def density(space, n=6, seed=3):
    """A mixture of n kernels, some of which know nothing of y."""
    x = uniform(seed, 0, n, space.dim)
    spread = 0.05 + 0.3 * uniform(seed, n, n, space.dim)
    weight = np.ones((1, space.dim, n))
    weight[0, 3, ::2] = 0
    return Parzen(layout(space), space.snap(x), spread, weight)


def active(space, x):
    found = space.decode(x).active
    return np.stack([found.get(n, np.ones(len(x), bool)) for n in space.parameters], axis=1)


def test_a_density_integrates_to_one():
    x = uniform(0, 0, 200_000, ALL.dim)
    p = np.exp(density(ALL).log(x, active(ALL, x)))
    assert abs(p.mean() - 1) < 0.02


def test_samples_are_of_the_density():
    """E[h] over samples is E[h p] over uniform points, for functions h of all parameters."""
    p = density(ALL)
    drawn = ALL.snap(p.sample(uniform(1, 0, 100_000, ALL.dim)))
    even = uniform(2, 0, 400_000, ALL.dim)
    weight = np.exp(p.log(even, active(ALL, even)))[:, 0]
    even = ALL.snap(even)
    for i in range(ALL.dim):
        for h in (lambda x, i=i: x[:, i], lambda x, i=i: (x[:, i] < 0.4) * x[:, 0]):
            assert abs(h(drawn).mean() - (h(even) * weight).mean()) < 0.01, i


def test_a_cell_holds_the_integral_of_the_kernel():
    space = Space({"n": Int(0, 3)})
    p = Parzen(layout(space), np.array([[0.125]]), np.array([[0.2]]), np.ones((1, 1, 1)))
    cells = np.exp(p.log(np.array([[0.1], [0.3], [0.6], [0.9]])))[:, 0] / 4
    exact = truncnorm.cdf(np.arange(5) / 4, -0.625, 4.375, 0.125, 0.2)
    assert cells == pytest.approx(np.diff(exact), abs=1e-12)


def test_many_points_have_the_densities_that_each_has_alone():
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    centre, spread = uniform(1, 0, 9, 2), 0.02 + uniform(2, 0, 9, 2)
    p = Parzen(layout(space), centre, spread, np.ones((1, 2, 9)))
    x = np.concatenate([uniform(3, 0, 1200, 2), [[0, 1], [1, 0]]])
    many = p.log(x)
    assert np.concatenate([p.log(x[i : i + 1]) for i in range(len(x))]) == pytest.approx(many)
    low, high = -centre / spread, (1 - centre) / spread
    near = np.rint(x * 1024) / 1024  # the nearest node
    each = truncnorm.pdf(near[:, None], low, high, centre, spread).mean(axis=1)
    assert many[:, 0] == pytest.approx(np.log(each).sum(axis=1), abs=1e-9)


def test_what_is_not_active_does_not_matter():
    x = np.array([[0.3, 0.5, 0.5, 0.1], [0.3, 0.5, 0.5, 0.9]])  # rule b: y is not active
    log_p = density(ALL).log(x, active(ALL, x))
    assert log_p[0] == log_p[1]


# --- the strategy -------------------------------------------------------------------------


def state_of(strategy, space, x, loss, constraint=None):
    batch = Batch(space.snap(x), np.full(len(x), FOREIGN))
    state = strategy.init(space, 0)
    return strategy.tell(state, batch, Outcome(loss, constraint=constraint))


PLANE = Space({"x": Float(0, 1), "y": Float(0, 1)})
POINTS = uniform(5, 0, 300, 2)


def test_constraints_come_before_losses():
    """The least losses lie where the constraint is broken: proposals lie beside it."""
    loss = POINTS[:, :1]
    state = state_of(TPE(), PLANE, POINTS, loss, 0.5 - POINTS[:, :1])
    _, batch = TPE().ask(state, 100)
    assert np.median(batch.x[:, 0]) == pytest.approx(0.52, abs=0.08)
    none_met = state_of(TPE(), PLANE, POINTS, loss, 2 - POINTS[:, :1])
    assert np.median(TPE().ask(none_met, 100)[1].x[:, 0]) > 0.85


def test_the_best_of_the_good_weigh_most():
    """Of 20 good trials the better ten lie at 0.2, the others at 0.8."""
    x = uniform(5, 0, 133, 2)
    x[:20] = 0.02 * x[:20] + np.repeat([0.2, 0.8], 10)[:, None]
    state = state_of(TPE(), PLANE, x, np.arange(133.0)[:, None])
    assert (TPE().ask(state, 100)[1].x[:, 0] < 0.5).mean() > 0.8


def test_neighbours_of_an_ordered_value_are_tried():
    space = Space({"k": Choice(list(range(6)), ordered=True), "y": Float(0, 1)})
    x = uniform(5, 0, 200, 2)
    x[:, 0] = 2.5 / 6  # no other has been tried
    state = state_of(TPE(), space, x, x[:, 1:])
    value = space.decode(TPE().ask(state, 50)[1].x).numbers["k"]
    assert np.isin(value, [1, 3]).any()


def test_several_objectives_spread_along_the_front():
    """The front of (x, 1 - x) + y is the edge y = 0."""
    loss = np.column_stack([POINTS[:, 0], 1 - POINTS[:, 0]]) + POINTS[:, 1:]
    _, batch = TPE().ask(state_of(TPE(), PLANE, POINTS, loss), 100)
    assert np.median(batch.x[:, 1]) < 0.15
    assert batch.x[:, 0].std() > 0.2


def test_what_fails_or_breaks_bounds_leaves_the_order_of_the_others():
    loss, x = uniform(6, 0, 60, 2), PLANE.snap(POINTS[:60])
    bound = np.where(uniform(7, 0, 60, 1) < 0.5, -1.0, uniform(8, 0, 60, 1))
    loss[::7] = math.nan
    fine = (bound[:, 0] <= 0) & ~np.isnan(loss[:, 0])
    alone = state_of(TPE(), PLANE, x[fine], loss[fine]).x[:25]
    among = state_of(TPE(), PLANE, x, loss, bound).x
    assert np.array_equal(among[: len(alone)], alone)
    assert len(alone) == 25


def test_several_objectives_are_told_one_by_one_as_at_once():
    loss = uniform(6, 0, 60, 3)
    whole = state_of(TPE(), PLANE, POINTS[:60], loss)
    parts = TPE().init(PLANE, 0)
    for i in range(60):
        batch = Batch(PLANE.snap(POINTS[i : i + 1]), np.array([FOREIGN]))
        parts = TPE().tell(parts, batch, Outcome(loss[i : i + 1]))
    assert dump(whole) == dump(parts)


def test_memory_is_bounded_and_order_of_telling_in_parts_is_irrelevant():
    x, n = uniform(8, 0, 1000, 2), 1000
    loss = bowl(PLANE.decode(x))
    whole = state_of(TPE(), PLANE, x, loss)
    parts = TPE().init(PLANE, 0)
    for rows in np.split(np.arange(n), [1, 30, 31, 500]):
        batch = Batch(PLANE.snap(x[rows]), np.full(len(rows), FOREIGN))
        parts = TPE().tell(parts, batch, Outcome(loss[rows]))
    assert dump(whole) == dump(parts)
    assert len(whole.x) < 200
    assert whole.key[0, 1] == loss.min()


@pytest.mark.parametrize("space", ["mixed", "conditional", "constrained"])
def test_large_batches_are_what_single_asks_are(space):
    strategy, where = TPE(startup=5), SPACES[space]
    state, batch = strategy.ask(strategy.init(where, 2), 8)
    state = strategy.tell(state, *told(where, batch))
    _, whole = strategy.ask(state, 60)
    for i in range(60):
        state, one = strategy.ask(state, 1)
        assert np.array_equal(one.x[0], whole.x[i]), i


def test_a_batch_repels_itself():
    state = state_of(TPE(), PLANE, POINTS, bowl(PLANE.decode(POINTS)))
    later, _ = TPE().ask(state, 64)
    crowd, alone = TPE().ask(later, 1)[1], TPE().ask(state, 1)[1]
    assert not np.array_equal(crowd.x, alone.x)
    assert len(load(dump(later), TPE(), PLANE).pending) == 64


def test_a_prior_is_followed_first():
    strategy = TPE(startup=1, prior={"x": (0.8, 0.05)})
    state = state_of(strategy, PLANE, np.array([[0.2, 0.2]]), np.array([[math.nan]]))
    even = np.concatenate([state.x, [[0.5, 0.5]]])
    state = state_of(strategy, PLANE, even, np.array([[math.nan], [1.0]]))
    near = np.abs(strategy.ask(state, 100)[1].x[:, 0] - 0.8) < 0.15
    plain = np.abs(TPE(startup=1).ask(state, 100)[1].x[:, 0] - 0.8) < 0.15
    assert near.mean() > plain.mean() + 0.2


def test_a_narrow_prior_is_no_argument_against_itself():
    """Beside a good trial at 0.2 and two bad ones at 0.5, it would be if the bad had it as well."""
    strategy = TPE(startup=1, prior={"x": (0.8, 0.02)})
    x = np.array([[0.2, 0.5], [0.5, 0.5], [0.5, 0.5]])
    state = state_of(strategy, PLANE, x, np.array([[0.0], [1.0], [1.0]]))
    seeds = [replace(state, seed=seed) for seed in range(20)]
    assert np.mean([abs(strategy.ask(s, 1)[1].x[0, 0] - 0.8) < 0.1 for s in seeds]) > 0.9


def test_a_right_prior_beats_none():
    """Of (x - 0.8)^2 in six parameters, after 16 trials."""
    space = Space({f"x{i}": Float(0, 1) for i in range(6)})

    def best(strategy):
        found = []
        for seed in range(5):
            state = strategy.init(space, seed)
            for _ in range(16):
                state, batch = strategy.ask(state, 1)
                loss = ((batch.x - 0.8) ** 2).sum(axis=1, keepdims=True)
                state = strategy.tell(state, batch, Outcome(loss))
            found.append(state.key[0, 1])
        return np.median(found)

    right = TPE(prior={name: (0.8, 0.1) for name in space.parameters})
    assert best(right) < best(TPE()) / 4


@pytest.mark.parametrize("belief", [0.5, (0.5,), (0.5, 0), (0.5, 2), (0.5, "wide")])
def test_an_impossible_prior_is_refused(belief):
    with pytest.raises(UsageError, match=r"prior\['x'\]: expected \(value, spread\)"):
        TPE(prior={"x": belief})


def test_a_prior_has_to_fit_the_space():
    with pytest.raises(SpaceError, match="no parameter 'z'"):
        TPE(prior={"z": (0.5, 0.1)}).init(PLANE, 0)
    with pytest.raises(SpaceError, match=r"prior\['x'\]: expected"):
        TPE(prior={"x": (7, 0.1)}).init(PLANE, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [0.0, 1e300, 1e-300, math.inf])
def test_extreme_losses_are_survived(scale):
    for space in (SPACES["mixed"], Space({"c": Choice(list(range(1000))), "x": Float(0, 1)})):
        x = uniform(1, 0, 50, space.dim)
        loss = np.full((50, 2), scale)
        loss[::3] = -loss[::3]
        for m in (1, 2):
            _, batch = TPE().ask(state_of(TPE(), space, x, loss[:, :m]), 20)
            assert np.isfinite(batch.x).all()
            assert len(np.unique(batch.x, axis=0)) == 20
