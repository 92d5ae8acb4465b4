"""How genetic methods breed: parents by tournament, crossover, mutation.

tournament   the best of t random individuals, by their order
crossover    with probability `crossover` of the pair, of each coordinate with probability 1/2;
             the two children share what they do not change:
             metric, simulated binary: they lie as far from the parents' middle as the parents
             do, times beta, whose density falls with the power eta of beta, either one on the
             side of the first parent
             unordered: they have each other's parent's value
mutation     each coordinate with probability 1/d, mirrored at the bounds:
             polynomial: a step that is the smaller the likelier, by the power eta
             gaussian: a step sigma z, z ~ N(0, 1)
             ordered: at least to a neighbour; unordered: to any other value

A child that has no coordinate of its own is mutated in one, so that no point comes twice.

Deb & Agrawal (1995), "Simulated binary crossover for continuous search space", Complex Systems;
Deb & Deb (2014), "Analysing mutation schemes for real-parameter genetic algorithms".
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from ..space import Space
from ..trial import Floats, Ints
from .base import Mask
from .coordinates import coordinates, renewed
from .moves import reflect

_ETA_CROSSOVER, _ETA_MUTATION = 15, 20
_ALIKE = 1e-9  # parents whose child might only differ from one of them by rounding
_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity


def width(dim: int) -> int:
    """How many uniform numbers a pair of parents takes."""
    return 3 + 3 * dim


def children(
    space: Space,
    parents: Floats,
    u: Floats,
    tournament: int = 2,
    crossover: float = 0.9,
    sigma: float | None = None,
) -> Floats:
    """Children (r, 2, d), two of each of r pairs of parents (p, d), which are best first.

    u           (r, width) uniform numbers
    tournament  individuals that compete to be a parent
    crossover   probability of it
    sigma       of Gaussian mutation, in edges of the unit cube; None: polynomial mutation
    """
    kinds, d, r = coordinates(space), space.dim, len(u)
    u = np.ascontiguousarray(u.T)  # from here on (d, r), as numpy runs along rows
    best = (1 - (1 - u[:2]) ** (1 / tournament)) * len(parents)  # the least of t uniform numbers
    one, two = (np.ascontiguousarray(parents.take(i, axis=0).T) for i in best.astype(np.int64))
    side, how_far = _split(4 * u[3 : 3 + d])
    crossed = (u[2] < crossover) & (side < 2)
    apart = two - one
    shift = _simulated_binary(apart, how_far, side) * crossed

    child = np.hstack([one + shift, two - shift])  # (d, 2 r): the first ones, and the second ones
    for i in kinds.unordered:
        child[i] = np.where(crossed[i], (two[i], one[i]), (one[i], two[i])).ravel()
    child = _inside(child)
    cell, step = _split(d * u[3 + d :].reshape(d, 2 * r))
    mutated, mutant = cell < 1, child.copy()
    _mutate(mutant, np.flatnonzero(mutated), step, sigma)
    _to_other_values(space, child, mutant, step, mutated)
    own = mutated | np.tile(crossed & (np.abs(apart) > _ALIKE), 2)
    again = renewed(space, own.T, mutant.T, np.tile(how_far, 2).T).T & ~own
    _mutate(mutant, np.flatnonzero(again), step, sigma)
    return mutant.reshape(d, 2, r).transpose(2, 1, 0)


def _split(x: Floats) -> tuple[Floats, Floats]:
    """Which cell a number lies in, and where in it: uniform, whichever cell it is."""
    cell = np.floor(x)
    return cell, x - cell


def _simulated_binary(apart: Floats, u: Floats, side: Floats) -> Floats:
    """How far one child lies from the first parent, and the other, the other way, from the second.

    apart  from the first parent to the second
    side   0: either child lies on the side of its own parent; 1: of the other one
    """
    power = np.copysign(1 / (_ETA_CROSSOVER + 1), 0.5 - u)
    beta = (2 * np.minimum(u, 1 - u)) ** power
    return np.asarray(apart * (1 - np.copysign(beta, 0.5 - side)) / 2)


def _mutate(x: Floats, at: Ints, u: Floats, sigma: float | None) -> None:
    """Put mutants at these places of x; u are uniform numbers of its shape."""
    x, u = x.reshape(-1), u.reshape(-1)  # the same memory
    x[at] = _polynomial(x[at], u[at]) if sigma is None else _gaussian(x[at], u[at], sigma)


def _polynomial(x: Floats, u: Floats) -> Floats:
    """Mutants within the bounds; places x and uniform numbers of the same shape."""
    x, power = np.clip(x, 0, 1), _ETA_MUTATION + 1
    v, room = 2 * np.minimum(u, 1 - u), np.abs((u < 0.5) - x)  # beyond x, on the other side
    step = 1 - (v + (1 - v) * room**power) ** (1 / power)
    return np.asarray(np.clip(x + np.copysign(step, u - 0.5), 0, 1))


def _gaussian(x: Floats, u: Floats, sigma: float) -> Floats:
    return _inside(x + sigma * ndtri(u + _HALF_ULP))


def _inside(x: Floats) -> Floats:
    """x, mirrored at the bounds in place; what is inside stays exactly as it is."""
    out = (x < 0) | (x > 1)
    x[out] = reflect(x[out])
    return x


def _to_other_values(space: Space, x: Floats, moved: Floats, u: Floats, mutated: Mask) -> None:
    """Give mutated discrete coordinates other values than before; all arrays (d, k)."""
    kinds = coordinates(space)
    for i in kinds.metric[kinds.discrete]:
        parameter, last = space.axes[i], int(space.axes[i].size) - 1
        rows = np.flatnonzero(mutated[i])
        places = (np.clip(y[i, rows], 0, 1) for y in (x, moved))
        before, to = (parameter.index(parameter.decode(place)) for place in places)
        step = np.where((u[i, rows] < 0.5) & (before > 0) | (before == last), -1, 1)
        stays = to == before
        moved[i, rows[stays]] = parameter.encode(parameter.nth(before + step))[stays]
    for i, size in zip(kinds.unordered, kinds.sizes, strict=True):
        rows = np.flatnonzero(mutated[i])
        before = np.minimum((x[i, rows] * size).astype(np.int64), size - 1)
        to = (before + 1 + (u[i, rows] * (size - 1)).astype(np.int64)) % size
        moved[i, rows] = (to + 0.5) / size
