"""A pseudo-random permutation of 0 .. size-1, computed place by place and never listed.

A Feistel network on the least even number of bits that holds all numbers is a permutation
of them; where it leaves the range it is applied again, until it comes back ("cycle walking";
Black & Rogaway, 2002, "Ciphers with arbitrary finite domains").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..space.lattice import WORD

_ROUNDS = 6
_ODD = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads the rounds' keys


def shuffled(first: int, n: int, size: int, seed: int) -> NDArray[Any]:
    """Places first .. first+n-1 of a pseudo-random permutation of range(size).

    >>> sorted(shuffled(0, 10, 10, seed=1).tolist()) == list(range(10))
    True
    """
    half = max(1, -(-(size - 1).bit_length() // 2))
    if size < WORD:
        index = np.arange(first, first + n).astype(np.uint64)
        mixed: Callable[[Any, int], Any] = mix
    else:
        index = np.array(range(first, first + n), dtype=object)
        mixed = np.frompyfunc(_digest(-(-half // 8)), 2, 1)
    outside = np.ones(n, dtype=bool)
    while outside.any():
        index[outside] = _feistel(index[outside], half, seed, mixed)
        outside = index >= size
    return index.astype(np.int64) if size < WORD else index


def _feistel(
    index: NDArray[Any], half: int, seed: int, mixed: Callable[[Any, int], Any]
) -> NDArray[Any]:
    mask = 2**half - 1
    left, right = index >> half, index & mask
    for r in range(_ROUNDS):
        key = (seed * _ROUNDS + r + 1) * _ODD % 2**64
        left, right = right, left ^ (mixed(right, key) & mask)
    return np.asarray(left << half | right)


def mix(word: NDArray[np.uint64], key: int = 0) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood, 2014): a bijection of 64 bits."""
    word = word ^ np.uint64(key)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _digest(length: int) -> Callable[[int, int], int]:
    """A keyed hash of integers of any size, in `length` bytes."""

    def mixed(word: int, key: int) -> int:
        data = word.to_bytes(length + 1, "little")
        digest = hashlib.shake_128(key.to_bytes(8, "little") + data).digest(length)
        return int.from_bytes(digest, "little")

    return mixed
