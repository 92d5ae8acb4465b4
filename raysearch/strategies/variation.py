"""How genetic methods make a child: two parents by tournament, crossover, mutation.

tournament   the best of t random individuals, by their order
crossover    with probability `crossover` of the pair, of each coordinate with probability 1/2:
             metric, simulated binary: the child lies as far from the parents' middle as
             they do, times beta, whose density falls with the power eta of beta
             unordered: the value of either parent
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
from ..trial import Floats
from .base import Mask
from .coordinates import coordinates, renewed
from .moves import reflect

_ETA_CROSSOVER, _ETA_MUTATION = 15, 20
_ALIKE = 1e-9  # parents whose child might only differ from one of them by rounding
_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity


def width(dim: int) -> int:
    """How many uniform numbers a child takes."""
    return 3 + 2 * dim


def children(
    space: Space,
    parents: Floats,
    u: Floats,
    tournament: int = 2,
    crossover: float = 0.9,
    sigma: float | None = None,
) -> Floats:
    """Children (k, d) of parents (p, d), best first.

    u           (k, width) uniform numbers
    tournament  individuals that compete to be a parent
    crossover   probability of it
    sigma       of Gaussian mutation, in edges of the unit cube; None: polynomial mutation
    """
    kinds, d = coordinates(space), space.dim
    u = np.ascontiguousarray(u.T)  # from here on (d, k), as numpy runs along rows
    best = (1 - (1 - u[:2]) ** (1 / tournament)) * len(parents)  # the least of t uniform numbers
    one, two = (np.ascontiguousarray(parents.take(i, axis=0).T) for i in best.astype(np.int64))
    side, how_far = _split(4 * u[3 : 3 + d])
    cell, step = _split(d * u[3 + d :])
    crossed, mutated = (u[2] < crossover) & (side < 2), cell < 1

    child, blended = one.copy(), crossed.copy()
    blended[kinds.unordered] = False
    at = np.flatnonzero(blended)
    pair = (np.take(a, at) for a in (one, two, how_far, side))
    np.put(child, at, _simulated_binary(*pair))
    at = np.flatnonzero(crossed & ~blended)
    np.put(child, at, np.take(two, at))
    own = (crossed & (np.abs(one - two) > _ALIKE)) | mutated
    mutant, at = child.copy(), np.flatnonzero(mutated)
    np.put(mutant, at, _moved(np.take(child, at), np.take(step, at), sigma))
    _to_other_values(space, child, mutant, step, mutated)
    again = renewed(space, own.T, mutant.T, how_far.T).T & ~own
    mutant[again] = _moved(child[again], step[again], sigma)
    return mutant.T


def _split(x: Floats) -> tuple[Floats, Floats]:
    """Which cell a number lies in, and where in it: uniform, whichever cell it is."""
    cell = np.floor(x)
    return cell, x - cell


def _simulated_binary(one: Floats, two: Floats, u: Floats, side: Floats) -> Floats:
    """One of the two children: on the side of the first parent (0), or of the second (1)."""
    power = np.copysign(1 / (_ETA_CROSSOVER + 1), 0.5 - u)
    beta = (2 * np.minimum(u, 1 - u)) ** power
    return _inside((one + two + np.copysign(beta, 0.5 - side) * (one - two)) / 2)


def _moved(x: Floats, u: Floats, sigma: float | None) -> Floats:
    """Mutants of places x, at uniform numbers u of the same shape."""
    return _polynomial(x, u) if sigma is None else _gaussian(x, u, sigma)


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
    out = np.flatnonzero((x < 0) | (x > 1))
    np.put(x, out, reflect(np.take(x, out)))
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
