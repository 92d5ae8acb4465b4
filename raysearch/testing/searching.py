"""Searches under way, and comparisons of what is asked in them, for checks of strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..space import Columns, Space
from ..strategies.base import AnyStrategy, State
from ..trial import ROOT, Batch, Floats, Ints, Outcome

Loss = Callable[[Columns], Floats]

_ROUNDS = 6  # of asking and telling, where a check only needs to be under way


def bowl(columns: Columns) -> Floats:
    """(k, 1) losses: squared distances from a point off the centre, in the unit cube."""
    total = np.zeros(columns.k)
    first = 0
    for name, parameter in columns.parameters.items():
        x = parameter.encode(columns.numbers[name]).reshape(columns.k, parameter.width)
        i = np.arange(first, first := first + parameter.width)
        active = columns.active.get(name, np.ones(columns.k, dtype=bool))
        total += (np.where(active[:, None], x - (0.3 + 0.4 * (i % 2)), 0.5) ** 2).sum(axis=1)
    return total[:, None]


def told(space: Space, batch: Batch, loss: Loss = bowl) -> tuple[Batch, Outcome]:
    """A batch as it comes back: in its canonical place, with its losses."""
    columns = space.decode(batch.x)
    return replace(batch, x=space.encode(columns)), Outcome(loss(columns))


def searched(
    strategy: AnyStrategy, space: Space, seed: int, rounds: int = _ROUNDS, loss: Loss = bowl
) -> Iterator[tuple[State, Batch]]:
    """(state, batch) after each ask of a search that tells every batch at once."""
    state = strategy.init(space, seed)
    for _ in range(rounds):
        state, batch = strategy.ask(state, 3)
        yield state, batch
        state = strategy.tell(state, *told(space, batch, loss))


def under_way(strategy: AnyStrategy, space: Space, seed: int) -> tuple[State, Batch]:
    """A state in the middle of a search, and the points that are pending in it."""
    *_, (state, batch) = searched(strategy, space, seed)
    return state, batch


def ask_until_nothing(
    strategy: AnyStrategy, space: Space, seed: int, most: int
) -> tuple[Floats, bool]:
    """New points of a whole search, at most about `most`; and whether it has finished."""
    state, found = strategy.init(space, seed), [np.empty((0, space.dim))]
    while sum(map(len, found)) < most:
        state, batch = strategy.ask(state, 7)
        if not len(batch):
            return np.concatenate(found), True
        found.append(batch.x[parents(batch) == ROOT])
        state = strategy.tell(state, *told(space, batch))
    return np.concatenate(found), False


def identity(space: Space, x: Floats) -> Floats:
    """Rows (n, d) that are equal only if the proposals are.

    Canonical points, but for the places of continuous parameters, as a Float may be so
    narrow that different places decode to one number.
    """
    endless = [math.isinf(axis.size) for axis in space.axes]
    return np.where(space.active(space.decode(x)) & endless, x, space.snap(x))


def parents(batch: Batch) -> Ints:
    """(k,) parents of a batch's points, ROOT where it names none."""
    return np.full(len(batch), ROOT) if batch.parent is None else batch.parent


def rows(batch: Batch, which: slice | NDArray[np.int64]) -> Batch:
    """Some points of a batch."""
    budget = None if batch.budget is None else batch.budget[which]
    return Batch(batch.x[which], batch.number[which], budget, parents(batch)[which])


def joined(*batches: Batch) -> Batch:
    """The points of several batches in one."""
    budgets = [batch.budget for batch in batches if batch.budget is not None]
    return Batch(
        np.concatenate([batch.x for batch in batches]),
        np.concatenate([batch.number for batch in batches]),
        np.concatenate(budgets) if budgets else None,
        np.concatenate([parents(batch) for batch in batches]),
    )


def assert_same(a: Batch, b: Batch, why: str) -> None:
    """Raise AssertionError unless the same is asked in both."""
    assert np.array_equal(a.number, b.number), f"{why}: numbers {a.number} and {b.number}"
    assert np.array_equal(a.x, b.x), f"{why}: found\n{a.x}\nand\n{b.x}"
    assert np.array_equal(parents(a), parents(b)), f"{why}: parents {a.parent} and {b.parent}"
    same = (a.budget is None) == (b.budget is None) and np.all(a.budget == b.budget)
    assert same, f"{why}: budgets {a.budget} and {b.budget}"
