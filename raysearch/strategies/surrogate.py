"""Surrogates: models of all that was told, kept up to date; and who may be proposed of many.

Hyperparameters are fitted anew whenever a tenth more is known, from where they were and from
the prior's mean; between fits, models only take points in. Models are brought up to date when
a point is wanted, not when results are told, so that it does not matter how results are
grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from ..models.fitting import fit
from ..models.gp import Process, condition
from ..models.kernels import Layout
from ..space import Space
from ..trial import Batch, Floats, Ints
from .base import State
from .known import Known, fresh
from .proposals import explore
from .quasi_random import QuasiRandom

_FITTED = 300  # points that hyperparameters are fitted to, at most
_APART = 1e-7  # distance, in edges of the cube, under which two points are the same
_CHUNK = 64  # candidates looked at together


@dataclass(frozen=True, eq=False)
class Modelled(State):
    """What strategies on surrogates know.

    x           (n, d) points told
    loss        (n, m)
    constraint  (n, c), at most 0 if met; NaN: unknown
    waiting     (p, d) points that are pending
    numbers     (p,) theirs
    known       configurations that have been proposed or told
    cursor      how far the quasi-random sequence of first points has been gone through
    """

    x: Floats = field(kw_only=True)
    loss: Floats = field(kw_only=True)
    constraint: Floats = field(kw_only=True)
    waiting: Floats = field(kw_only=True)
    numbers: Ints = field(kw_only=True)
    known: Known = field(default_factory=Known)
    cursor: int = 0


M = TypeVar("M", bound=Modelled)


def explored(state: M) -> tuple[M, Floats]:
    """The next quasi-random point (1, d), or none (0, d)."""
    wide = sequence(state.space, state.seed)
    x, known, cursor = explore(state.space, state.known, state.seed, state.cursor, 1, wide)
    return replace(state, known=known, cursor=cursor), x


def awaiting(state: M, x: Floats) -> M:
    """The state once the point x (1, d) has been proposed."""
    return replace(
        state,
        asked=state.asked + 1,
        waiting=np.concatenate([state.waiting, state.space.snap(x)]),
        numbers=np.append(state.numbers, state.asked),
    )


def arrived(state: M, batch: Batch) -> M:
    """The state that does not wait for these points any more."""
    there = np.isin(state.numbers, batch.number)
    return replace(
        state,
        waiting=state.waiting[~there],
        numbers=state.numbers[~there],
        known=state.known.tell(state.space, batch),
    )


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Models of several quantities at the same points.

    models  one for each quantity
    fitted  how many points hyperparameters are fitted to
    seen    how many points the models have taken in
    """

    models: tuple[Process, ...] = ()
    fitted: int = 0
    seen: int = 0

    def updated(self, layout: Layout, at: Floats, y: Sequence[Floats]) -> Surrogate:
        """The surrogate that has taken in all points.

        at  (n, p) features of all points, those taken in before first
        y   the quantities, (n,) each, standardised; NaN: unknown. The first is the loss, by
            which points are chosen that hyperparameters are fitted to
        """
        n, new = len(at), len(self.models) != len(y)
        known = [~np.isnan(column) for column in y]
        if new or n - self.fitted >= max(1, self.fitted // 10):
            chosen, models = _telling(y[0]), []
            for j, (column, there) in enumerate(zip(y, known, strict=True)):
                rows = chosen[there[chosen]]
                starts = () if new else (self.models[j].theta,)
                theta = fit(layout, at[rows], column[rows], starts)
                models.append(condition(layout, theta, at[there]))
            return Surrogate(tuple(models), n, n)
        if n == self.seen:
            return self
        grown = [
            model.extended(at[self.seen :][there[self.seen :]])
            for model, there in zip(self.models, known, strict=True)
        ]
        return Surrogate(tuple(grown), self.fitted, n)


def _telling(loss: Floats) -> Ints:
    """Rows that tell most of the hyperparameters: the best, and others evenly spread in time."""
    n = len(loss)
    if n <= _FITTED:
        return np.arange(n)
    best = np.argsort(loss, kind="stable")[: _FITTED // 2]
    others = np.setdiff1d(np.arange(n), best)
    spread = np.linspace(0, len(others) - 1, _FITTED - len(best)).astype(np.int64)
    return np.union1d(best, others[spread])


def stacked(old: Floats, new: Floats) -> Floats:
    """Rows one after the other; NaN in columns that some of them do not have."""
    c = max(old.shape[1], new.shape[1])
    wide = [np.pad(a, ((0, 0), (0, c - a.shape[1])), constant_values=np.nan) for a in (old, new)]
    return np.concatenate(wide)


def sequence(space: Space, seed: int) -> Callable[[int, int], Floats]:
    """The quasi-random sequence of a search: (first, count) -> (count, d) points."""
    return lambda first, count: QuasiRandom().candidates(space, seed, first, count)


def first_fresh(
    space: Space, known: Known, x: Floats, taken: Floats, rng: np.random.Generator
) -> tuple[Floats, Known]:
    """The first point (1, d) that is legal and new of candidates, and what is known then.

    x      (n, d) candidates, the best first
    taken  (k, d) points told and pending, which continuous parameters are to stay clear of
    rng    draws from the whole space if none of them will do

    Returns no point if there is none left.
    """
    for first in range(0, len(x), _CHUNK):
        rows = x[first : first + _CHUNK]
        ok, keys, finite = fresh(space, known, rows)
        for i in np.flatnonzero(ok):
            if finite[i] or (np.abs(taken - rows[i]) > _APART).any(axis=1).all():
                return rows[i : i + 1], known.add(keys[i : i + 1][finite[i : i + 1]])
    drawn, known, _ = explore(
        space, known, 0, 0, 1, lambda _, count: rng.random((count, space.dim))
    )
    return drawn, known
