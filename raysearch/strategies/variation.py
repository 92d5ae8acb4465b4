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
from .coordinates import coordinates, renewed
from .moves import reflect

_ETA_CROSSOVER, _ETA_MUTATION = 15, 20
_ALIKE = 1e-9  # parents whose child might only differ from one of them by rounding
_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity


def width(dim: int, tournament: int) -> int:
    """How many uniform numbers a child takes."""
    return 2 * tournament + 1 + 5 * dim


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
    kinds, d, t = coordinates(space), space.dim, tournament
    picked = (u[:, : 2 * t] * len(parents)).astype(np.int64)
    one, two = parents[picked[:, :t].min(axis=1)], parents[picked[:, t:].min(axis=1)]
    crossed = (u[:, [2 * t]] < crossover) & (u[:, 2 * t + 1 : 2 * t + 1 + d] < 0.5)
    how_far, which, step, key = np.split(u[:, 2 * t + 1 + d :], 4, axis=1)

    child = one.copy()
    blend = _simulated_binary(one, two, how_far, which)
    blend[:, kinds.unordered] = two[:, kinds.unordered]
    child[crossed] = blend[crossed]
    own = crossed & (np.abs(one - two) > _ALIKE)
    mutated = key < 1 / d
    moved = _polynomial(child, step) if sigma is None else _gaussian(child, step, sigma)
    moved = _to_other_values(space, child, moved, step)
    mutant = np.where(mutated, moved, child)
    mutated |= renewed(space, mutated | own, mutant, which) & ~own
    return np.where(mutated, moved, child)


def _simulated_binary(one: Floats, two: Floats, u: Floats, side: Floats) -> Floats:
    """One of the two children, by the side of the first parent or of the second."""
    near = np.minimum(2 * u, 1.0) ** (1 / (_ETA_CROSSOVER + 1))
    far = np.minimum(1.0, 2 * (1 - u)) ** (-1 / (_ETA_CROSSOVER + 1))
    beta = np.where(u <= 0.5, near, far) * np.where(side < 0.5, 1, -1)
    return _inside((one + two + beta * (one - two)) / 2)


def _polynomial(x: Floats, u: Floats) -> Floats:
    """Mutants within the bounds; x (k, d) and uniform numbers of the same shape."""
    x, power = np.clip(x, 0, 1), _ETA_MUTATION + 1
    down = (2 * u + (1 - 2 * u) * (1 - x) ** power) ** (1 / power) - 1
    v = 2 * (1 - u)
    up = 1 - (v + (1 - v) * x**power) ** (1 / power)
    return np.clip(x + np.where(u < 0.5, down, up), 0, 1)


def _gaussian(x: Floats, u: Floats, sigma: float) -> Floats:
    return _inside(x + sigma * ndtri(u + _HALF_ULP))


def _inside(x: Floats) -> Floats:
    """Mirrored at the bounds; what is inside stays exactly as it is."""
    return np.where((x < 0) | (x > 1), reflect(x), x)


def _to_other_values(space: Space, x: Floats, moved: Floats, u: Floats) -> Floats:
    """The mutants with their discrete coordinates at other values than before."""
    kinds = coordinates(space)
    for i in kinds.metric[kinds.discrete]:
        parameter, last = space.axes[i], int(space.axes[i].size) - 1
        before, to = (parameter.index(parameter.decode(np.clip(y[:, i], 0, 1))) for y in (x, moved))
        step = np.where((u[:, i] < 0.5) & (before > 0) | (before == last), -1, 1)
        stays = to == before
        moved[stays, i] = parameter.encode(parameter.nth(before + step))[stays]
    for i, size in zip(kinds.unordered, kinds.sizes, strict=True):
        before = np.minimum((x[:, i] * size).astype(np.int64), size - 1)
        moved[:, i] = ((before + 1 + (u[:, i] * (size - 1)).astype(np.int64)) % size + 0.5) / size
    return moved
