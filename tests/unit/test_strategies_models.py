"""Strategies that model the loss: what they make of constraints, fronts, batches and trouble."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from raysearch.errors import UsageError
from raysearch.rng import uniform
from raysearch.space import Choice, Float, Int, Space
from raysearch.strategies.belief import below
from raysearch.strategies.branches import inside, neglected
from raysearch.strategies.features import encoding, features
from raysearch.strategies.gaussian_process import GaussianProcess
from raysearch.strategies.moves import neighbours
from raysearch.strategies.trust_region import TrustRegion, _succeeds
from raysearch.trial import FOREIGN, Batch, Outcome

SQUARE = Space({"a": Float(0, 1), "b": Float(0, 1)})
METHODS = [GaussianProcess(initial=4), TrustRegion(initial=4)]
OTHERS = [GaussianProcess(acquisition=name) for name in ("ucb", "thompson")]


def searched(strategy, space, trials, outcome, at_once=1, seed=0):
    """The state after so many trials; outcome: points (k, d) -> Outcome."""
    state = strategy.init(space, seed)
    for _ in range(0, trials, at_once):
        state, batch = strategy.ask(state, at_once)
        assert len(batch) == at_once
        batch = replace(batch, x=space.snap(batch.x))
        state = strategy.tell(state, batch, outcome(batch.x))
    return state


def test_constraints_are_kept_near_the_best() -> None:
    """The least a + b with a b >= 1/8 lies at a = b = sqrt(1/8)."""

    def outcome(x):
        constraint = 1 / 8 - x[:, :1] * x[:, 1:]
        return Outcome(x.sum(axis=1, keepdims=True), constraint=constraint)

    state = searched(GaussianProcess(), SQUARE, 30, outcome)
    met = state.constraint[:, 0] <= 0
    assert state.loss[met].min() == pytest.approx(2 * math.sqrt(1 / 8), abs=0.01)


def test_a_region_keeps_to_its_constraint() -> None:
    def outcome(x):
        constraint = 1 / 8 - x[:, :1] * x[:, 1:]
        return Outcome(x.sum(axis=1, keepdims=True), constraint=constraint)

    state = searched(TrustRegion(), SQUARE, 60, outcome)
    met = state.constraint[:, 0] <= 0
    assert state.loss[met].min() == pytest.approx(2 * math.sqrt(1 / 8), abs=0.01)


def test_a_region_goes_where_less_is_violated() -> None:
    space = Space({f"x{i}": Float(0, 1) for i in range(6)})

    def outcome(x):
        return Outcome(x[:, :1], constraint=np.linalg.norm(x - 0.77, axis=1, keepdims=True) - 0.2)

    state = searched(TrustRegion(), space, 30, outcome)
    assert (state.constraint <= 0).any()
    assert not (state.constraint[:15] <= 0).any()


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
def test_a_constraint_of_which_nothing_is_known_is_borne(strategy) -> None:
    searched(
        strategy, SQUARE, 8, lambda x: Outcome(x[:, :1], constraint=np.full((len(x), 1), np.nan))
    )


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
def test_a_constraint_that_nothing_meets_is_sought_first(strategy) -> None:
    def outcome(x):
        return Outcome(x[:, :1], constraint=np.linalg.norm(x - 0.77, axis=1, keepdims=True) - 0.02)

    state = searched(strategy, SQUARE, 30, outcome)
    assert (state.constraint <= 0).any()


def test_a_constraint_that_appears_late_is_unknown_before() -> None:
    state = searched(GaussianProcess(initial=4), SQUARE, 6, lambda x: Outcome(x[:, :1]))
    state, batch = GaussianProcess(initial=4).ask(state, 2)
    outcome = Outcome(batch.x[:, :1], constraint=batch.x[:, 1:] - 0.5)
    state = GaussianProcess(initial=4).tell(state, batch, outcome)
    assert np.isnan(state.constraint[:6]).all()
    assert len(GaussianProcess(initial=4).ask(state, 2)[1]) == 2


def fronts(x):
    """Squared distances from two corners: the front is the diagonal."""
    return Outcome(np.stack([np.sum(x**2, axis=1), np.sum((x - 1) ** 2, axis=1)], axis=1))


def test_a_front_is_filled() -> None:
    x = searched(GaussianProcess(), SQUARE, 40, fronts).x[20:]
    assert np.median(np.abs(x[:, 0] - x[:, 1])) < 0.02
    assert np.ptp(x[:, 0]) > 0.7


def anchors(*places):
    """Squared distances from some places: the front is what lies between them."""
    return lambda x: Outcome(((x[:, None] - np.array(places)) ** 2).sum(axis=2))


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_front_of_three_losses_is_filled(at_once) -> None:
    triangle = anchors([0.1, 0.1], [0.9, 0.1], [0.1, 0.9])
    x = searched(GaussianProcess(), SQUARE, 40, triangle, at_once).x[20:]
    outside = np.maximum(x.sum(axis=1) - 1.0, 0.1 - x.min(axis=1))
    assert np.median(outside) < 0.02
    for corner in ([0.1, 0.1], [0.9, 0.1], [0.1, 0.9]):
        assert np.linalg.norm(x - corner, axis=1).min() < 0.25


def test_points_for_three_losses_do_not_depend_on_how_many_are_asked_for_at_once() -> None:
    state = searched(GaussianProcess(), SQUARE, 14, anchors([0, 0], [1, 0], [0, 1]))
    state, some = GaussianProcess().ask(state, 1)
    _, once = GaussianProcess().ask(state, 3)
    state, more = GaussianProcess().ask(state, 2)
    _, last = GaussianProcess().ask(state, 1)
    np.testing.assert_array_equal(np.concatenate([more.x, last.x]), once.x)
    assert len(np.unique(np.concatenate([some.x, once.x]), axis=0)) == 4


def test_any_point_of_a_front_may_have_neighbours_among_the_candidates(monkeypatch) -> None:
    state = searched(GaussianProcess(), SQUARE, 30, fronts)
    parents = []

    def recorded(space, x, step, draws):
        parents.append(x)
        return neighbours(space, x, step, draws)

    monkeypatch.setattr("raysearch.strategies.gaussian_process.neighbours", recorded)
    GaussianProcess().ask(state, 6)
    assert [len(np.unique(x, axis=0)) for x in parents] == [8] * 6
    every = np.unique(np.concatenate(parents), axis=0)
    assert len(every) > 12
    assert len(every) <= np.count_nonzero(below(state.loss) == 0)


def test_where_boxes_would_be_too_many_functions_are_drawn(monkeypatch) -> None:
    """Of 12 losses, 8 points of the front would have boxes by the hundred thousand."""
    monkeypatch.setattr("raysearch.strategies.belief.log_ehvi", None)
    places = [[0, 0], [0, 1], [1, 0], [1, 1], *np.random.default_rng(0).random((8, 2)).tolist()]
    assert len(searched(GaussianProcess(), SQUARE, 11, anchors(*places)).x) == 11


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
def test_a_batch_is_spread(strategy) -> None:
    def outcome(x):
        return Outcome(np.sum((x - 0.3) ** 2, axis=1, keepdims=True))

    state = searched(strategy, SQUARE, 20, outcome)
    _, batch = strategy.ask(state, 12)
    apart = np.abs(batch.x[:, None] - batch.x).max(axis=2) + np.eye(12)
    assert apart.min() > 1e-7


@pytest.mark.parametrize("strategy", OTHERS, ids=lambda s: s.acquisition)
def test_other_acquisitions_find_the_least_loss(strategy) -> None:
    assert searched(strategy, SQUARE, 30, distance).loss.min() < 1e-3


@pytest.mark.parametrize("strategy", OTHERS, ids=lambda s: s.acquisition)
def test_other_acquisitions_keep_the_contract(strategy) -> None:
    state = searched(strategy, SQUARE, 10, distance)
    state, some = strategy.ask(state, 2)
    state, more = strategy.ask(state, 2)
    _, once = strategy.ask(searched(strategy, SQUARE, 10, distance), 4)
    np.testing.assert_array_equal(np.concatenate([some.x, more.x]), once.x)


def test_confidence_bounds_take_one_objective() -> None:
    assert OTHERS[0].takes(1)
    assert not OTHERS[0].takes(2)
    assert OTHERS[1].takes(2)


def wells(x):
    """Two equal minima, the right one of which costs a hundred times as much."""
    loss = np.minimum(np.abs(x[:, :1] - 0.2), np.abs(x[:, :1] - 0.8)) + (x[:, 1:] - 0.4) ** 2
    return Outcome(loss, cost=np.where(x[:, 0] < 0.5, 1.0, 100.0))


@pytest.mark.parametrize("acquisition", ["ei", "ucb"])
def test_cheap_points_are_preferred(acquisition) -> None:
    strategy = GaussianProcess(cost="gb", acquisition=acquisition)
    x = searched(strategy, SQUARE, 30, wells).x[8:, 0]
    assert np.mean(x < 0.5) > 0.8


def test_costs_go_with_an_acquisition_that_looks_at_them() -> None:
    with pytest.raises(UsageError, match=r"option cost: .*'thompson'.* found 'gb'; take"):
        GaussianProcess(cost="gb", acquisition="thompson")


def test_costs_that_are_unknown_do_not_matter() -> None:
    def unknown(x):
        return replace(distance(x), cost=np.full(len(x), np.nan))

    with_cost = searched(GaussianProcess(cost="gb"), SQUARE, 12, unknown)
    np.testing.assert_array_equal(with_cost.x, searched(GaussianProcess(), SQUARE, 12, distance).x)


def test_pending_points_drive_others_away() -> None:
    def outcome(x):
        return Outcome(np.sin(5 * x[:, :1]) * np.cos(4 * x[:, 1:]))

    state = searched(GaussianProcess(initial=4), SQUARE, 12, outcome)
    _, batch = GaussianProcess(initial=4).ask(state, 6)
    apart = np.abs(batch.x[:, None] - batch.x).max(axis=2) + np.eye(6)
    assert np.median(apart.min(axis=0)) > 0.05


def test_hyperparameters_are_fitted_as_more_is_known() -> None:
    state = searched(GaussianProcess(initial=4), SQUARE, 40, distance)
    assert 36 <= state.surrogate.fitted <= 39
    assert state.surrogate.seen == 39


def test_a_category_that_is_better_is_found() -> None:
    space = Space({"kind": Choice([str(i) for i in range(12)]), "x": Float(0, 1)})

    def outcome(x):
        kind = space.decode(x).numbers["kind"]
        return Outcome(((kind != 7) * 0.5 + (x[:, 1] - 0.4) ** 2)[:, None])

    state = searched(GaussianProcess(), space, 40, outcome)
    assert state.loss.min() < 1e-3


ONE = np.ones((1, 1))
TROUBLE = {
    "constant": lambda x: np.ones((len(x), 1)),
    "failures": lambda x: np.full((len(x), 1), math.nan),
    "huge": lambda x: 1e300 * (x[:, :1] - 0.5),
    "tiny": lambda x: 1e-300 * x[:, :1],
    "huge and tiny": lambda x: np.where(x[:, :1] > 0.3, 1e300, 1e-300) * x[:, 1:],
    "tails": lambda x: np.exp(700 * x[:, :1]),
    "infinite": lambda x: np.where(x[:, :1] > 0.3, math.inf, x[:, :1]),
    "minus infinity": lambda x: np.where(x[:, :1] > 0.9, -math.inf, x[:, :1]),
}


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_any_losses_are_borne(strategy, trouble) -> None:
    state = searched(strategy, SQUARE, 20, lambda x: Outcome(TROUBLE[trouble](x)), at_once=2)
    assert len(np.unique(state.x, axis=0)) == 20


@pytest.mark.parametrize("trouble", TROUBLE)
def test_any_two_losses_are_borne(trouble) -> None:
    def outcome(x):
        return Outcome(np.concatenate([TROUBLE[trouble](x), 1 - x[:, :1]], axis=1))

    state = searched(GaussianProcess(initial=4), SQUARE, 12, outcome, at_once=2)
    assert len(np.unique(state.x, axis=0)) == 12


@pytest.mark.parametrize("values", [[0, 1e-300, 1e-300, 1e300], [0, 1e-5, 2e-5, 1e305]])
def test_few_large_among_small_ones_are_borne(values) -> None:
    y = np.array(values * 3)
    for strategy in (GaussianProcess(), TrustRegion()):
        state = searched(strategy, SQUARE, 12, lambda x: Outcome(y[: len(x), None]), at_once=12)
        strategy.ask(state, 1)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1.7e308])
def test_constraints_of_any_size_are_learnt_alike(size) -> None:
    """Most of them are met exactly."""

    def bounded(x):
        broken = np.maximum(0, 0.5 - x)
        return Outcome(x.sum(axis=1, keepdims=True), constraint=size * broken)

    for strategy in (GaussianProcess(), TrustRegion()):
        state = searched(strategy, SQUARE, 40, bounded)
        assert (state.x[20:] >= 0.5).all(axis=1).sum() >= 8


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
def test_one_result_is_enough_to_go_on(strategy) -> None:
    state = strategy.init(SQUARE, 0)
    state = strategy.tell(state, Batch(np.full((1, 2), 0.5), np.array([FOREIGN])), Outcome(ONE))
    _, batch = strategy.ask(state, 12)
    assert len(np.unique(batch.x, axis=0)) == 12


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
def test_one_point_with_two_losses_is_borne(strategy) -> None:
    state = strategy.init(SQUARE, 0)
    batch = Batch(np.full((9, 2), 0.5), np.full(9, FOREIGN))
    state = strategy.tell(state, batch, Outcome(np.arange(9.0)[:, None]))
    for _ in range(8):
        state, batch = strategy.ask(state, 1)
        state = strategy.tell(state, batch, Outcome(batch.x[:, :1]))


WIDE = {
    "a thousand values": Space({"kind": Choice(list(range(1000))), "x": Float(0, 1)}),
    "a hundred children": Space(
        {"on": Choice([False, True])}
        | {f"x{i}": Float(0, 1).when(on=True) for i in range(50)}
        | {f"n{i}": Int(0, 9).when(on=True) for i in range(50)}
    ),
}


def mean(x):
    return Outcome(x.mean(axis=1, keepdims=True))


@pytest.mark.parametrize("strategy", METHODS, ids=repr)
@pytest.mark.parametrize("space", WIDE)
def test_wide_spaces_are_borne(strategy, space) -> None:
    state = searched(strategy, WIDE[space], 12, mean, at_once=3)
    assert len(np.unique(state.x, axis=0)) == 12


def test_what_is_not_active_is_off_the_line() -> None:
    space = Space(
        {
            "on": Choice([False, True]),
            "x": Float(0, 1).when(on=True),
            "kind": Choice(["a", "b"]).when(on=True),
            "size": Choice([1, 2, 3], ordered=True),
        }
    )
    x = space.snap(np.array([[0.9, 0.2, 0.1, 0.5], [0.1, 0.2, 0.1, 0.5]]))
    assert features(space, x).tolist() == [[1, 0.2, 0, 0, 0.5], [0, 0.5, 0.5, 2, 0.5]]
    assert encoding(space).layout.group.tolist() == [0, 1, 1, 2, 3]
    assert encoding(space).layout.bent.tolist() == [False, True, False, False, False]
    assert encoding(space).movable.tolist() == [False, True, False, True]


def distance(x):
    return Outcome(np.sum((x - 0.3) ** 2, axis=1, keepdims=True))


def test_regions_shrink_and_begin_anew() -> None:
    strategy = TrustRegion(initial=4, patience=1)
    state = searched(strategy, SQUARE, 20, lambda x: Outcome(np.ones((len(x), 1))))
    assert state.since[0] > 0
    assert (state.home == -1).any()


@pytest.mark.parametrize(
    ("found", "best", "success"),
    [
        ((0.0, 5.0), (1.0, 0.0), True),
        ((0.5, 5.0), (1.0, 0.0), True),
        ((0.9999, 0.0), (1.0, 0.0), False),
        ((0.5, math.nan), (1.0, 0.0), False),
        ((0.5, 9.0), (math.inf, math.inf), True),
        ((0.0, 1.0), (0.0, 2.0), True),
        ((0.0, 1.9999), (0.0, 2.0), False),
        ((0.0, math.nan), (0.0, 2.0), False),
        ((0.1, 0.0), (0.0, 2.0), False),
    ],
)
def test_success_is_less_violation_then_less_loss(found, best, success) -> None:
    assert _succeeds(found, best) == success


def test_regions_grow_with_success() -> None:
    strategy = TrustRegion(initial=4)
    count = iter(range(1000))
    state = searched(strategy, SQUARE, 7, lambda x: Outcome(np.array([[-(2.0 ** next(count))]])))
    assert state.size[0] == 1.6


def test_each_region_has_its_own_points() -> None:
    state = searched(TrustRegion(regions=3, initial=3), SQUARE, 18, distance, at_once=3)
    assert np.bincount(state.home).tolist() == [6, 6, 6]


def test_a_foreign_point_helps_the_worst_region() -> None:
    strategy = TrustRegion(regions=2, initial=2)
    state = strategy.init(SQUARE, 0)
    batch = Batch(np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]), np.full(3, FOREIGN))
    state = strategy.tell(state, batch, Outcome(np.array([[3.0], [2.0], [1.0]])))
    assert state.home.tolist() == [0, 1, 0]


def test_regions_find_more_in_many_dimensions() -> None:
    space = Space({f"x{i}": Float(0, 1) for i in range(40)})
    state = searched(TrustRegion(), space, 80, distance)
    random = distance(uniform(0, 0, 80, 40)).loss.min()
    assert state.loss.min() < 0.5 * random


# --- branches -------------------------------------------------------------------------------

TREE = Space(
    {
        "branch": Choice(["a", "b"]),
        "x": Float(0, 1),
        **{f"{b}{i}": Float(0, 1).when(branch=b) for b in "ab" for i in range(4)},
    }
)
A = [False] * 2 + [True] * 4 + [False] * 4  # the parameters of the branches
B = [False] * 6 + [True] * 4
SWITCHES = Space(
    {
        **{f"on{i}": Choice([False, True]) for i in range(6)},
        **{f"x{i}": Float(0, 1).when(**{f"on{i}": True}) for i in range(6)},
    }
)
AT_A, AT_B = TREE.snap(np.array([[0.2] * 10, [0.8] * 10]))


def two_valleys(x):
    """Far from the best points all is alike; the best of branch a is worse than that of b."""
    of_b, active = inside(TREE, x, np.array(B)), TREE.active(TREE.decode(x))
    off = np.where(active, x - np.where(of_b, 0.7, 0.3)[:, None], 0.0)[:, 1:]
    near = np.exp(-4 * np.sqrt((off**2).mean(axis=1)))
    ripples = 0.05 * (1 - np.cos(20 * np.pi * off)).mean(axis=1)
    return Outcome((1 - np.where(of_b, 1.0, 0.8) * near + ripples)[:, None])


@pytest.mark.parametrize(
    ("a", "b", "waiting", "asked", "best", "branch"),
    [
        (9, 9, 0, 9, 0, B),  # b has 4 parameters, and x
        (9, 9, 0, 10, 0, None),  # one of three suggestions
        (9, 10, 0, 9, 0, None),
        (9, 8, 2, 9, 0, None),  # pending ones count
        (9, 0, 2, 9, 0, None),  # nothing is known of b yet
        (12, 9, 0, 9, -1, None),  # where the best is needs no help
        (9, 12, 0, 9, -1, A),
        (8, 9, 0, 9, -1, A),
    ],
)
def test_branches_tried_less_than_their_parameters_ask_for(
    a, b, waiting, asked, best, branch
) -> None:
    told = np.concatenate([[AT_A] * a, np.reshape([AT_B] * b, (b, 10))])
    found = neglected(
        TREE, asked, told, np.reshape([AT_B] * waiting, (waiting, 10)), best % (a + b)
    )
    assert (found if found is None else found.tolist()) == branch


def test_switches_have_a_branch_each_and_not_one_for_each_combination() -> None:
    told = SWITCHES.snap(uniform(0, 0, 24, SWITCHES.dim))
    best = int(SWITCHES.active(SWITCHES.decode(told)).sum(axis=1).argmax())
    for asked in range(0, 60, 3):
        assert neglected(SWITCHES, asked, told, told[:0], best) is None


def test_where_nothing_is_left_of_a_branch_the_whole_space_is_searched() -> None:
    """Branch b has four parameters and one legal point."""
    space = Space(
        {
            "branch": Choice(["a", "b"]),
            **{f"x{i}": Float(0, 1).when(branch="a") for i in range(4)},
            **{f"n{i}": Int(0, 2).when(branch="b") for i in range(4)},
        },
        [lambda c: c["branch"] == "a" or all(c[f"n{i}"] == 1 for i in range(4))],
    )

    def loss(x):
        of_a = space.active(space.decode(x))[:, 1]
        return Outcome(np.where(of_a, ((x[:, 1:5] - 0.3) ** 2).sum(axis=1), 2.0)[:, None])

    found = searched(GaussianProcess(), space, 48, loss).loss[:, 0]
    assert np.sum(found == 2.0) == 1
    assert np.median(found[24::3]) < 1e-3


def test_without_conditions_there_are_no_branches() -> None:
    x = np.full((1, 2), 0.5)
    assert neglected(SQUARE, 9, x, x, 0) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_branch_that_looks_bad_is_searched_for_its_own_sake(seed) -> None:
    assert searched(GaussianProcess(), TREE, 60, two_valleys, seed=seed).loss.min() < 0.1
