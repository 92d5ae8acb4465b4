"""Ascent: where in a space a smooth promise is greatest.

Discrete and continuous parameters are climbed in turn, from several starts at once:

1. numbers, relaxed to the continuum, by L-BFGS on the sum over the starts, whose gradient
   falls apart into theirs; then back to legal values;
2. discrete parameters, by the best of all moves that change a single one of them.

All points on the way are candidates in the end, so that a climb that leaves the legal part
of the space costs nothing but time.

Balandat et al. (2020), "BoTorch", app. F.1, for optimising several starts as one problem.

s  starts    d  parameters    p  features
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from ..space import Space
from ..trial import Floats, Ints
from .features import encoding, features
from .memo import per_space

#: Features (s, p) -> values (s,)
Value = Callable[[Floats], Floats]
#: Features (s, p) -> values (s,) and gradients (s, p)
Slopes = Callable[[Floats], tuple[Floats, Floats]]

_STEPS = 30  # of L-BFGS
_MOVES = 200  # that change one discrete parameter, of each start, at most
_LOWEST = -1e10  # of a value, where it is -infinity


def climb(
    space: Space,
    value: Value,
    slopes: Slopes,
    x: Floats,
    v: Floats,
    starts: Ints,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """More candidates, uphill from some.

    x       (n, d) candidates, legal values
    v       (n,) what they promise
    starts  (s,) which of them to climb from
    rng     chooses among discrete moves, where there are very many

    Returns all candidates and what they promise, the best first.
    """
    xs, vs = [x], [v]
    at = x[starts]
    for _ in range(2 if len(_discrete(space)) else 1):
        top = space.snap(_ascended(space, slopes, at))
        tops = value(features(space, top))
        xs.append(top)
        vs.append(tops)
        parent, moved = _moves(space, top, rng)
        if not len(moved):
            break
        gains = value(features(space, moved))
        xs.append(moved)
        vs.append(gains)
        better = []
        for i in range(len(top)):
            mine = np.flatnonzero(parent == i)
            if len(mine) and gains[mine].max() > tops[i]:
                better.append(mine[np.argmax(gains[mine])])
        if not better:
            break
        at = moved[better]
    every, values = np.concatenate(xs), np.concatenate(vs)
    order = np.argsort(-values, kind="stable")
    return every[order], values[order]


def _ascended(space: Space, slopes: Slopes, x: Floats) -> Floats:
    """(s, d) where L-BFGS leads from x, numbers being relaxed to the continuum."""
    code, columns = encoding(space), space.decode(x)
    movable = np.flatnonzero(code.movable)
    free = space.active(columns)[:, movable]
    if not free.any():
        return x
    place = code.column[movable]
    at = features(space, x)

    def down(u: Floats) -> tuple[float, Floats]:
        block = at[:, place]
        block[free] = u
        at[:, place] = block
        values, gradient = slopes(at)
        return -float(np.maximum(values, _LOWEST).sum()), -gradient[:, place][free]

    found = minimize(
        down,
        at[:, place][free],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * int(free.sum()),
        options={"maxiter": _STEPS, "ftol": 1e-6, "gtol": 1e-4},
    )
    up = x.copy()
    block = up[:, movable]
    block[free] = found.x
    up[:, movable] = np.clip(block, 0.0, 1.0)
    return up


def _moves(space: Space, x: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """All changes of one active discrete parameter of x (s, d); and of which row each is.

    Unordered ones may take any other value, the others the next one up or down.
    """
    active = space.active(space.decode(x))
    rows, moved = [np.empty(0, np.int64)], [np.empty((0, space.dim))]
    for i in _discrete(space):
        parameter, size = space.axes[i], int(space.axes[i].size)
        k = parameter.index(parameter.decode(x[:, i]))
        near = not parameter.unordered
        others = np.array([-1, 1]) if near else np.arange(1, size)
        if len(others) > _MOVES:
            others = np.sort(rng.choice(others, _MOVES, replace=False))
        to = k[:, None] + others
        ok = (to >= 0) & (to < size) if near else np.ones_like(to, dtype=bool)
        ok &= active[:, i : i + 1]
        row, _ = np.nonzero(ok)
        change = x[row]
        change[:, i] = parameter.encode(parameter.nth(to[ok] % size))
        rows.append(row)
        moved.append(change)
    row, changed = np.concatenate(rows), np.concatenate(moved)
    if len(row) > _MOVES * len(x):
        kept = np.sort(rng.choice(len(row), _MOVES * len(x), replace=False))
        row, changed = row[kept], changed[kept]
    return row, space.snap(changed)


@per_space
def _discrete(space: Space) -> Ints:
    """Which parameters have several, separate values."""
    sizes = [axis.size for axis in space.axes]
    return np.array([i for i, n in enumerate(sizes) if 1 < n < math.inf], dtype=np.int64)
