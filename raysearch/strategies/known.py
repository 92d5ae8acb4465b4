"""Which points can be proposed: legal ones, and none of them twice.

A configuration with an active continuous parameter never comes twice by chance, so only
the others are remembered: 8 bytes each, in sorted runs of 64-bit keys, each run more than
twice as long as the next (a log-structured merge; O'Neil et al., 1996), so that n keys
cost O(n log n) altogether. The key of a configuration is its number among all, if 64 bits
can hold that, otherwise a hash of it.

"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..space import Columns, Space
from ..trial import FOREIGN, Batch, Floats
from .memo import per_space
from .permutation import mix

Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]

DRAWING = -1


@dataclass(frozen=True, eq=False)
class Known:
    """The configurations that are not to be proposed any more.

    runs     sorted keys of those that could come again; no key is in two runs
    scanned  how many places of the shuffled list of all configurations have been gone
             through; DRAWING as long as candidates are drawn
    """

    runs: tuple[Keys, ...] = ()
    scanned: int = DRAWING

    def has(self, keys: Keys) -> Mask:
        """(n,) which of the keys (n,) are known."""
        found = np.zeros(len(keys), dtype=bool)
        for run in self.runs:
            place = np.searchsorted(run, keys)
            place[place == len(run)] = 0
            found |= run[place] == keys
        return found

    def add(self, keys: Keys) -> Known:
        """With these keys, too."""
        new = np.unique(keys[~self.has(keys)])
        if not len(new):
            return self
        runs = list(self.runs)
        while runs and len(runs[-1]) <= 2 * len(new):
            new = np.sort(np.concatenate([runs.pop(), new]), kind="stable")
        return replace(self, runs=(*runs, new))

    def tell(self, space: Space, batch: Batch) -> Known:
        """With the points of a batch that no ask has proposed."""
        foreign = batch.number == FOREIGN
        if not foreign.any() or coding(space).endless:
            return self
        keys, finite = keys_of(space, space.decode(batch.x[foreign]))
        return self.add(keys[finite])


# --- keys ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coding:
    """How configurations of a space become keys.

    endless     some continuous parameter is always active: no configuration comes twice
    sizes       how many values each discrete parameter has
    continuous  the others
    wide        whether keys are hashes
    """

    endless: bool
    sizes: dict[str, int]
    continuous: tuple[str, ...]
    wide: bool


@per_space
def coding(space: Space) -> Coding:
    """How configurations of this space become keys."""
    size = {name: parameter.size for name, parameter in space.parameters.items()}
    continuous = tuple(name for name in size if math.isinf(size[name]))
    sizes = {name: int(n) for name, n in size.items() if name not in continuous}
    endless = any(not space.parameters[name].conditions for name in continuous)
    return Coding(endless, sizes, continuous, math.prod(sizes.values()) > 2**64)


def keys_of(space: Space, columns: Columns) -> tuple[Keys, Mask]:
    """Keys (n,), and which rows (n,) could come again: no continuous parameter is active."""
    code = coding(space)
    keys = np.zeros(columns.k, dtype=np.uint64)
    for name, size in code.sizes.items():
        digit = space.parameters[name].index(columns.numbers[name]).astype(np.uint64)
        if name in columns.active:
            digit[~columns.active[name]] = 0
        keys = keys * np.uint64(size) + digit
        if code.wide:
            keys = mix(keys)
    finite = np.ones(columns.k, dtype=bool)
    for name in code.continuous:
        finite &= ~columns.active.get(name, finite)
    return keys, finite


def fresh(space: Space, known: Known, x: Floats) -> tuple[Mask, Keys, Mask]:
    """(n,) which points are legal and not known; their keys; which rows need them."""
    columns = space.decode(x)
    ok = space.allowed(columns)
    if coding(space).endless:
        return ok, np.zeros(len(x), dtype=np.uint64), np.zeros(len(x), dtype=bool)
    keys, finite = keys_of(space, columns)
    ok &= ~(finite & known.has(keys))
    return ok, keys, finite
