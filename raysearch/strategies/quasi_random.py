"""Quasi-random search: points that fill the unit cube more evenly than random ones.

Random points clump and leave holes; low-discrepancy sequences do not: each new point falls
into the largest gap, whenever one stops. Both are scrambled by the seed, which keeps their
evenness and makes different seeds different.

sobol   digital net in base 2, best where points number powers of 2; up to 21,201 parameters
        Sobol' (1967); scrambling: Matousek (1998), "On the L2-discrepancy for anchored boxes"
halton  radical inverses in the first d primes, digits permuted; for few parameters
        Halton (1960); scrambling: Owen (2017), "A randomized Halton algorithm in R"
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.stats import qmc

from ..errors import SpaceError
from ..space import Space
from ..trial import Floats
from .options import check_choice
from .sequence import Sequence, SequenceState

_BLOCK = 256  # points made together; a power of 2
_KEPT = 2**20  # numbers that are kept, at most, of each sequence in use


@dataclass(frozen=True)
class QuasiRandom(Sequence):
    """Evenly spread points (scrambled Sobol or Halton); the better random search.

    method  sobol or halton

    Raises UsageError if the method is unknown, SpaceError if there are too many parameters.

    >>> from raysearch.space import Float, Space
    >>> search = QuasiRandom()
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 4)
    >>> sorted((batch.x[:, 0] * 4).astype(int).tolist())  # one in every quarter
    [0, 1, 2, 3]
    """

    method: Literal["sobol", "halton"] = "sobol"

    def __post_init__(self) -> None:
        check_choice(self, "method", tuple(_ENGINES))

    def init(self, space: Space, seed: int) -> SequenceState:
        """Nothing used up yet."""
        if self.method == "sobol" and space.dim > qmc.Sobol.MAXDIM:
            raise SpaceError(
                f"QuasiRandom(method='sobol'): expected at most {qmc.Sobol.MAXDIM} parameters, "
                f"found {space.dim}; use RandomSearch()"
            )
        return super().init(space, seed)

    def candidates(self, space: Space, seed: int, first: int, n: int) -> Floats:
        """Points first .. first+n-1 of the sequence, shape (n, d)."""
        blocks = _blocks(self.method, space.dim, seed)
        parts = [np.empty((0, space.dim))]
        last = first + n
        while first < last:
            block, start = divmod(first, _BLOCK)
            end = min(start + last - first, _BLOCK)
            parts.append(blocks.get(block)[start:end])
            first += end - start
        return np.concatenate(parts)


class _Blocks:
    """The sequence, made block by block, of which the latest are kept.

    scipy's generators count on by themselves; here they only serve as a function of the
    block's number, as the generator is wound to where it is wanted.
    """

    def __init__(self, make: Callable[[], qmc.QMCEngine], keep: int) -> None:
        self._engine = make()
        self._next = 0  # block that the generator makes next
        self._keep = keep
        self._latest: dict[int, Floats] = {}
        self._lock = threading.Lock()

    def get(self, block: int) -> Floats:
        """Points (_BLOCK, d), not to be written to."""
        with self._lock:
            if block not in self._latest:
                if block < self._next:
                    self._engine.reset()
                    self._next = 0
                if block > self._next:
                    self._engine.fast_forward((block - self._next) * _BLOCK)
                if len(self._latest) == self._keep:
                    del self._latest[min(self._latest)]
                self._latest[block] = self._engine.random(_BLOCK)
                self._next = block + 1
            return self._latest[block]


def _sobol(dim: int, seed: int) -> qmc.QMCEngine:
    # 32 bits: 2**32 points; with more, scipy's fast_forward fails
    return qmc.Sobol(dim, scramble=True, bits=32, rng=seed)


def _halton(dim: int, seed: int) -> qmc.QMCEngine:
    return qmc.Halton(dim, scramble=True, rng=seed)


_ENGINES = {"sobol": _sobol, "halton": _halton}


@lru_cache(maxsize=4)
def _blocks(method: str, dim: int, seed: int) -> _Blocks:
    keep = max(2, _KEPT // (_BLOCK * dim))
    return _Blocks(lambda: _ENGINES[method](dim, seed), keep)
