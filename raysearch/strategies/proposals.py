"""How strategies come by points that can be proposed: legal ones, and none of them twice.

`explore` takes them from one endless sequence of candidates (random, quasi-random)
`listed`  takes them from the configurations of a lattice (grid)
`settle`  lets a method propose for every number, again if need be (local search, ...)

Where a finite space is nearly used up, `explore` and `settle` list what is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError
from ..rng import generator, uniform
from ..space import Space
from ..space.lattice import WORD, Lattice
from ..trial import Floats, Ints
from .known import DRAWING, Keys, Known, Mask, coding, fresh, keys_of
from .memo import per_space
from .permutation import shuffled

_PATIENCE = 1000  # candidates refused in a row, until what is left is listed
_HOPELESS = 100_000  # candidates refused in a row, until the constraints are to blame
_RETRIES = 64  # of a method for one point, until it is drawn from the whole space
_CHUNK = 4096  # candidates looked at together, at most: they stay in the processor's cache


def free(space: Space) -> bool:
    """Whether every point can be proposed at any time, so that none is ever replaced."""
    return coding(space).endless and not space.constraints


def hopeless(space: Space) -> SpaceError:
    """The error of a space whose constraints leave almost nothing."""
    names = [getattr(c, "__name__", repr(c)) for c in space.constraints]
    return SpaceError(
        f"constraints: expected that a fair share of the space meets them, found none in "
        f"{_HOPELESS} configurations; widen the constraints {names}, or put what they say into "
        "the parameters (narrower ranges, .when)"
    )


def sift(
    space: Space,
    known: Known,
    cursor: int,
    n: int,
    candidates: Callable[[int, int], Floats],
    limit: int,
) -> tuple[Floats, Known, int, bool]:
    """The next n legal, new points of a sequence.

    cursor      how many candidates have been used up
    candidates  (first, count) -> (count, d) points of the sequence; fewer where it ends
    limit       how many candidates may be refused in a row

    Returns the points, at most n; what is known then; the cursor then; and whether it gave
    up at the limit. What comes out does not depend on how many are wanted at once.
    """
    if free(space):
        x = candidates(cursor, n)
        return x, known, cursor + len(x), False
    found = [np.empty((0, space.dim))]
    missing, refused, size, tired = n, 0, max(n, 16), False
    while missing and not tired:
        x = candidates(cursor, min(size, _CHUNK))
        if not len(x):
            break
        ok, keys, finite = fresh(space, known, x)
        ok &= _first_of_their_kind(keys, finite)
        taken = np.flatnonzero(ok)[:missing]
        end = len(x) if len(taken) < missing else int(taken[-1]) + 1
        gaps = np.diff(taken, prepend=-1 - refused, append=end) - 1  # refused before each
        late = np.flatnonzero(gaps >= limit)
        tired = len(late) > 0
        taken = taken[: late[0]] if tired else taken
        found.append(x[taken])
        known = known.add(keys[taken][finite[taken]])
        missing, cursor, refused, size = missing - len(taken), cursor + end, int(gaps[-1]), 2 * size
    return np.concatenate(found), known, cursor, tired


def _first_of_their_kind(keys: Keys, finite: Mask) -> Mask:
    """(n,) whether no earlier row has the same key, where keys count."""
    first = ~finite
    rows = np.flatnonzero(finite)
    first[rows[np.unique(keys[rows], return_index=True)[1]]] = True
    return first


def explore(
    space: Space,
    known: Known,
    seed: int,
    cursor: int,
    n: int,
    candidates: Callable[[int, int], Floats],
) -> tuple[Floats, Known, int]:
    """As `sift`, from an endless sequence, until every configuration has been proposed.

    Raises SpaceError if hardly any configuration is legal.
    """
    x, tired = np.empty((0, space.dim)), known.scanned != DRAWING
    if not tired:
        limit = _HOPELESS if math.isinf(space.size) else _PATIENCE
        x, known, cursor, tired = sift(space, known, cursor, n, candidates, limit)
    if tired:
        if math.isinf(space.size):
            raise hopeless(space)
        every = _lattice(space)
        rest, known, scanned = listed(space, known, max(known.scanned, 0), n - len(x), every, seed)
        known = replace(known, scanned=scanned)
        x = np.concatenate([x, rest])
    return x, known, cursor


def listed(
    space: Space, known: Known, cursor: int, n: int, lattice: Lattice, seed: int | None
) -> tuple[Floats, Known, int]:
    """As `sift`, from the configurations of a lattice: in order, or shuffled by a seed."""

    def candidates(first: int, count: int) -> Floats:
        count = min(count, lattice.size - first)
        if seed is None:
            return lattice.points(_range(first, count, lattice.size))
        return lattice.points(shuffled(first, count, lattice.size, seed))

    limit = _HOPELESS if space.constraints else 2**62
    x, known, cursor, tired = sift(space, known, cursor, n, candidates, limit)
    if tired:
        raise hopeless(space)
    return x, known, cursor


def settle(
    space: Space,
    known: Known,
    seed: int,
    first: int,
    n: int,
    width: int,
    propose: Callable[[Ints, Floats], Floats],
    draw: Callable[[int, int, int, int], Floats] = uniform,
    litter: int = 1,
) -> tuple[Floats, Known]:
    """Legal, new points with the numbers first .. first+n-1, as a method proposes them.

    width    how many uniform numbers the method needs for a draw
    propose  (numbers of draws (r,), uniform numbers (r, width)) -> points (r, d), or
             (r, litter, d) if that is not 1
    draw     where the uniform numbers come from, as `raysearch.rng.uniform`
    litter   how many points come of one draw: draw j gives the points from number j litter on

    Where a proposal is illegal or known, the method tries again with other numbers, then
    the whole space is drawn from. Returns fewer points only if there are no more.
    """
    low, high = first // litter, -(-(first + n) // litter)
    born = np.empty((high - low, litter, space.dim))
    for start in range(low, high, _CHUNK):
        part = np.arange(start, min(start + _CHUNK, high))
        points = propose(part, draw(seed, start, len(part), width))
        born[start - low : start - low + _CHUNK] = points.reshape(-1, litter, space.dim)
    x = born.reshape(-1, space.dim)[first - low * litter :][:n]
    if free(space):
        return x, known
    ok, keys, finite = fresh(space, known, x)
    ours: set[int] = set()  # keys of this batch
    for i in range(n):
        key = int(keys[i])
        if not ok[i] or (finite[i] and key in ours):
            known = known.add(np.array(list(ours), dtype=np.uint64))
            one, known = _another(space, known, seed, first + i, width, propose, litter)
            if not len(one):
                return x[:i], known
            x[i] = one[0]
            replaced, finite[i : i + 1] = keys_of(space, space.decode(one))
            key = int(replaced[0])
        if finite[i]:
            ours.add(key)
    return x, known.add(np.array(list(ours), dtype=np.uint64))


def _another(
    space: Space,
    known: Known,
    seed: int,
    number: int,
    width: int,
    propose: Callable[[Ints, Floats], Floats],
    litter: int,
) -> tuple[Floats, Known]:
    """A point for this number that is legal and new, if there is any; it becomes known."""
    rng = generator(seed, number, stream=1)

    def retries(first: int, count: int) -> Floats:
        count = min(count, _RETRIES - first)
        points = propose(np.full(count, number // litter), rng.random((count, width)))
        return points.reshape(count, litter, space.dim)[:, 0]

    def draws(first: int, count: int) -> Floats:
        return rng.random((count, space.dim))

    x, known, _, _ = sift(space, known, 0, 1, retries, _RETRIES)
    if not len(x):
        x, known, _ = explore(space, known, seed, 0, 1, draws)
    return x, known


@per_space
def _lattice(space: Space) -> Lattice:
    return Lattice(space.parameters)


def _range(first: int, count: int, size: int) -> NDArray[Any]:
    """Indices first .. first+count-1, as integers of whatever size they need."""
    return np.array(range(first, first + count), dtype=np.int64 if size < WORD else object)
