"""What every strategy must do, as checks that the author of one can run on theirs.

Each check takes a strategy, a space and a seed, and raises AssertionError if the strategy
breaks the contract of `raysearch.strategies.base`. With pytest::

    import pytest
    from raysearch.testing import conformance

    @pytest.mark.parametrize("space", conformance.SPACES)
    @pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
    def test_my_strategy(check, space):
        check(MyStrategy(), conformance.SPACES[space], seed=0)

    def test_my_strategy_finds_something():
        conformance.check_beats_random(MyStrategy())   # if it sets beats_random

Hypothesis can draw the space (`raysearch.testing.spaces`) and the seed, too.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable

import numpy as np

from ..rng import generator
from ..space import Array, Choice, Columns, Float, Int, Space
from ..strategies import from_json, to_json
from ..strategies.base import AnyStrategy
from ..strategies.random import RandomSearch
from ..strategies.state import dump, load
from ..trial import FOREIGN, ROOT, Batch, Floats, Outcome
from .searching import (
    Loss,
    ask_until_nothing,
    assert_same,
    bowl,
    identity,
    joined,
    parents,
    rows,
    searched,
    told,
    under_way,
)

_MOST = 250  # points asked for where a space is to be used up
_SOME = 60  # where it cannot be

#: Spaces that between them have everything a space can have.
SPACES: dict[str, Space] = {
    "one": Space({"x": Float(0, 1)}),
    "fifty": Space({**{f"x{i}": Float(-1, 1) for i in range(40)}, "w": Array((2, 5))}),
    "mixed": Space(
        {
            "lr": Float(1e-5, 1e-1, log=True),
            "batch size": Choice([16, 32, 64, 128], ordered=True),
            "units": Int(8, 512, log=True),
            "rule": Choice(["sgd", "adam", "rmsprop"]),
        }
    ),
    "conditional": Space(
        {
            "momentum": Float(0.5, 0.99).when(rule="sgd"),
            "rule": Choice(["sgd", "adam", "none"]),
            "schedule": Choice(["step", "cosine"]).when(rule=["sgd", "adam"]),
            "every": Int(1, 5).when(schedule="step"),
        }
    ),
    "constrained": Space(
        {"a": Float(0, 1), "b": Float(0, 1), "n": Int(0, 9)},
        constraints=[lambda c: c["a"] + c["b"] <= 1, lambda c: c["n"] != 5],
    ),
    "finite": Space(
        {
            "rule": Choice(["sgd", "adam"]),
            "nesterov": Choice([True, False]).when(rule="sgd"),
            "units": Int(1, 12, log=True),
            "dropout": Float(0, 0.5, step=0.1),
        },
        constraints=[lambda c: c["units"] != 7],
    ),
    "single": Space({"only": Choice(["value"])}),
}


# --- checks ---------------------------------------------------------------------------------


def check_points_are_legal(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """Points lie in the unit cube, meet the constraints, and are numbered on from 0."""
    number = 0
    for state, batch in searched(strategy, space, seed):
        assert batch.x.shape == (len(batch), space.dim), f"shape {batch.x.shape}"
        assert len(batch) <= 3, f"asked for 3 points, got {len(batch)}"
        assert np.all((batch.x >= 0) & (batch.x <= 1)), f"outside the unit cube: {batch.x}"
        columns = space.decode(batch.x)
        assert space.allowed(columns).all(), f"constraints broken: {columns.configs()}"
        assert batch.number.tolist() == list(range(number, number + len(batch)))
        number += len(batch)
        assert state.asked == number, f"asked is {state.asked} after {number} points"


def check_batch_size_is_irrelevant(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """ask(m) then ask(n) is ask(m + n); tell(a) then tell(b) is tell(a + b)."""
    state, pending = under_way(strategy, space, seed)
    at_once, whole = strategy.ask(state, 9)
    in_parts, parts = state, []
    for n in (1, 2, 0, 6):
        in_parts, part = strategy.ask(in_parts, n)
        parts.append(part)
    assert_same(whole, joined(*parts), "ask(9) is not ask(1), ask(2), ask(0), ask(6)")

    batch, outcome = told(space, joined(pending, whole))
    at_once = strategy.tell(at_once, batch, outcome)
    for i in range(len(batch)):
        one = slice(i, i + 1)
        in_parts = strategy.tell(in_parts, rows(batch, one), Outcome(outcome.loss[one]))
    assert_same(
        strategy.ask(at_once, 5)[1], strategy.ask(in_parts, 5)[1], "tell is not tell one by one"
    )


def check_state_survives_a_round_trip(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """A state that was stored in the middle of a search continues it exactly."""
    state, pending = under_way(strategy, space, seed)
    stored = dump(state)
    loaded = load(stored, strategy, space)
    assert dump(loaded) == stored, "the state that was loaded is not the one that was stored"
    back = told(space, pending)
    assert_same(
        strategy.ask(strategy.tell(state, *back), 5)[1],
        strategy.ask(strategy.tell(loaded, *back), 5)[1],
        "the loaded state continues differently",
    )


def check_told_in_any_order(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """Any subset may be told, in any order, while the rest stays pending."""
    state, pending = under_way(strategy, space, seed)
    state, more = strategy.ask(state, 6)
    batch, outcome = told(space, joined(pending, more))
    order = generator(seed, 0).permutation(len(batch))
    for which in (order[::2], order[1::4], order[:0]):  # some are never told
        state = strategy.tell(state, rows(batch, which), Outcome(outcome.loss[which]))
        state, _ = strategy.ask(state, 2)


def check_failures_are_survived(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """A search in which everything fails, or is infinitely bad, goes on."""
    for value in (math.nan, math.inf):

        def loss(columns: Columns, value: float = value) -> Floats:
            return np.full((columns.k, 1), value)

        for _, batch in searched(strategy, space, seed, rounds=12, loss=loss):
            assert np.isfinite(batch.x).all(), f"not finite after losses of {value}: {batch.x}"


def check_failures_and_successes_mix(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """Where a part of the trials fails, the search goes on with legal points."""

    def loss(columns: Columns) -> Floats:
        losses = bowl(columns)
        losses[1::2] = np.nan
        return losses

    for _, batch in searched(strategy, space, seed, rounds=12, loss=loss):
        assert space.allowed(space.decode(batch.x)).all(), f"illegal after failures: {batch.x}"


def check_arguments_are_left_alone(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """What is passed is neither changed nor kept where the caller could change it."""
    state, pending = under_way(strategy, space, seed)
    before = dump(state)
    batch, outcome = told(space, pending)
    kept = copy.deepcopy((batch.x, batch.number, outcome.loss))
    after = strategy.tell(state, batch, outcome)
    later, asked = strategy.ask(after, 4)
    assert dump(state) == before, "ask or tell has changed the state it was given"
    for given, original in zip((batch.x, batch.number, outcome.loss), kept, strict=True):
        assert np.array_equal(given, original, equal_nan=True), "tell has changed its arguments"
    stored, stored_later = dump(after), dump(later)
    for array in (batch.x, batch.number, outcome.loss, asked.x, asked.number):
        array[...] = 0
    assert dump(after) == stored, "the state shares memory with what tell was given"
    assert dump(later) == stored_later, "the state shares memory with the points it proposed"


def check_foreign_points_are_accepted(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """Points from elsewhere may be told at any time, before the first ask as well."""
    _, points = RandomSearch().ask(RandomSearch().init(space, seed), 5)
    batch, outcome = told(space, Batch(points.x, np.full(len(points), FOREIGN)))
    failed = Outcome(np.full_like(outcome.loss, np.nan))
    for state in (strategy.init(space, seed), under_way(strategy, space, seed)[0]):
        for what in (outcome, failed):
            state, asked = strategy.ask(strategy.tell(state, batch, what), 4)
            assert space.allowed(space.decode(asked.x)).all(), "an illegal point"


def check_nothing_comes_twice(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """No point begins twice; a finite space is used up completely or left finished."""
    most = _SOME if math.isinf(space.size) else _MOST
    x, finished = ask_until_nothing(strategy, space, seed, most)
    distinct = np.unique(identity(space, x), axis=0)
    assert len(distinct) == len(x), f"{len(x) - len(distinct)} of {len(x)} points came twice"
    if space.size < _MOST:
        assert finished, f"asked for {len(x)} points of a space that has {space.size}"


def check_points_go_on_from_told_ones(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """A parent was told, has not failed, and had less budget; it lies where its only child does,
    or the strategy had named it among its `parents`.
    """
    known: dict[int, tuple[Floats, float]] = {}

    def loss(columns: Columns) -> Floats:
        return np.where(np.arange(columns.k)[:, None] % 4 == 3, np.nan, bowl(columns))

    state = strategy.init(space, seed)
    for _ in range(30):
        named = strategy.parents(state)
        state, batch = strategy.ask(state, 4)
        back, outcome = told(space, batch, loss)
        budget = np.full(len(batch), math.inf) if batch.budget is None else batch.budget
        for x, own, parent in zip(
            space.snap(batch.x), budget, parents(batch).tolist(), strict=True
        ):
            if parent != ROOT:
                assert parent in known, f"point {parent} failed, was not told, or went on already"
                at, before = known[parent]
                if named is None:
                    del known[parent]
                    same = np.allclose(x, at, rtol=0, atol=1e-9)
                    assert same, f"{parent} is at {at}, its child {x}"
                else:
                    assert parent in named, f"point {parent} goes on, but is none of {named}"
                assert before < own, f"{parent} has budget {before}, its child {own}"
        state = strategy.tell(state, back, outcome)
        for i in np.flatnonzero(~np.isnan(outcome.loss).any(axis=1)):
            known[int(batch.number[i])] = (back.x[i], float(budget[i]))


def check_reports_only_stop(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """What is reported changes nothing that is asked; reported again, it changes nothing at all."""
    state, pending = under_way(strategy, space, seed)
    batch, outcome = told(space, pending)
    for rung in range(len(strategy.rungs())):
        arguments = (batch, np.full(len(batch), rung), outcome.loss)
        after, stop = strategy.report(state, *arguments)
        again, _ = strategy.report(after, *arguments)
        assert stop.shape == (len(batch),), f"{len(batch)} points, but decisions {stop}"
        assert dump(again) == dump(after), "a second report of the same changes the state"
        assert_same(
            strategy.ask(state, 5)[1], strategy.ask(after, 5)[1], "a report changes what is asked"
        )
        state = after


def check_seeds_matter(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """The same seed gives the same search, bit for bit."""
    first = [batch for _, batch in searched(strategy, space, seed)]
    again = [batch for _, batch in searched(strategy, space, seed)]
    for a, b in zip(first, again, strict=True):
        assert_same(a, b, "the same seed, but other points")


def check_options_survive_json(strategy: AnyStrategy, space: Space, seed: int) -> None:
    """The options of a registered strategy go to JSON text and back."""
    text = json.dumps(to_json(strategy), allow_nan=False)
    if ":" in to_json(strategy)["strategy"]:
        return  # not registered: there is no way back
    assert from_json(json.loads(text)) == strategy, f"not what it was: {text}"


CHECKS: tuple[Callable[[AnyStrategy, Space, int], None], ...] = (
    check_points_are_legal,
    check_batch_size_is_irrelevant,
    check_state_survives_a_round_trip,
    check_told_in_any_order,
    check_failures_are_survived,
    check_failures_and_successes_mix,
    check_arguments_are_left_alone,
    check_foreign_points_are_accepted,
    check_nothing_comes_twice,
    check_points_go_on_from_told_ones,
    check_reports_only_stop,
    check_seeds_matter,
    check_options_survive_json,
)


# --- quality --------------------------------------------------------------------------------


def best_loss(
    strategy: AnyStrategy, space: Space, seed: int, trials: int, loss: Loss = bowl
) -> float:
    """The least loss after so many trials, asked and told one by one; failures count as inf."""
    state, best = strategy.init(space, seed), math.inf
    for _ in range(trials):
        state, batch = strategy.ask(state, 1)
        batch, outcome = told(space, batch, loss)
        state = strategy.tell(state, batch, outcome)
        best = min([best, *outcome.loss[~np.isnan(outcome.loss)].tolist()])
    return best


def check_beats_random(
    strategy: AnyStrategy, trials: int = 100, seeds: int = 7, dims: tuple[int, ...] = (4, 10)
) -> None:
    """Its median loss is clearly lower than random search's, in so many parameters.

    Also where a part of the space near the optimum fails: failures never win.
    """

    def failing(columns: Columns) -> Floats:
        return np.where(columns.numbers["x0"][:, None] < 0.25, np.nan, bowl(columns))

    for dim in dims:
        space = Space({f"x{i}": Float(0, 1) for i in range(dim)})
        for loss in (bowl, failing):
            ours, random = (
                float(np.median([best_loss(s, space, k, trials, loss) for k in range(seeds)]))
                for s in (strategy, RandomSearch())
            )
            assert ours < 0.7 * random, f"{dim} parameters: {ours:.3g}, random {random:.3g}"
