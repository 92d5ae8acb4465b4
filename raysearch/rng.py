"""The only source of randomness: draw k depends on (seed, k) alone.

Philox is a counter-based generator (Salmon et al., 2011, "Parallel random numbers: as
easy as 1, 2, 3"): block c of the stream with key s is a pure function of (s, c). Giving
draw k blocks of its own makes it independent of how draws are grouped into batches, of
the order in which they are made, and of the machine that makes them.

A counter has four words of 64 bits; they are shared out as
``(block, 0, stream, kind)``, with kind 0 for `uniform`, 1 for `generator`, 2 for `trial_seeds`,
3 for `derived`, 4 for `ones` and 5 for `uniform32`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray
from scipy.special import ndtri

from .errors import UsageError

_WORDS = 4  # 64-bit words in one block of Philox
_LIMIT = 2**64
_FAR = 256  # numbers further apart have generators of their own


class _Key(ISeedSequence):
    """Seeds a generator with the very key of a stream; what is given as `key=` comes after entropy
    of the operating system, which takes longer than a block.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """The seed, and zeros."""
        return np.array([self._seed, *[0] * (n_words - 1)], dtype=dtype)


def _philox(seed: int, *counter: int) -> np.random.Philox:
    """The generator of a stream, before the block of these four words."""
    key = _Key(seed)
    return np.random.Philox(key, counter=list(counter))  # type: ignore[arg-type]  # see ISeedSequence


def check_seed(seed: int) -> int:
    """Return the seed as an int if it lies in [0, 2**64), else raise UsageError."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise UsageError(f"seed: expected an integer, found {seed!r}")
    if not 0 <= seed < _LIMIT:
        raise UsageError(f"seed: expected 0 <= seed < 2**64, found {seed}")
    return int(seed)


def uniform(seed: int, first: int, n: int, width: int, stream: int = 0) -> NDArray[np.float64]:
    """Draws first .. first+n-1 of `width` numbers each, uniform in [0, 1).

    seed    of the search, in [0, 2**64)
    first   number of the first draw, >= 0
    n       how many draws
    width   numbers per draw
    stream  independent streams have different numbers, in [0, 2**64)

    Returns an array of shape (n, width).

    >>> whole = uniform(7, 0, 5, 3)
    >>> bool((uniform(7, 2, 1, 3) == whole[2]).all())
    True
    """
    blocks = -(-width // _WORDS)  # per draw, so that every draw starts a block
    bits = _philox(seed, first * blocks, 0, stream, 0)
    return np.random.Generator(bits).random((n, blocks * _WORDS))[:, :width]


def uniform32(seed: int, first: int, n: int, width: int, stream: int = 0) -> NDArray[np.float64]:
    """Draws as of `uniform`, multiples of 2**-32, in less than half the time.

    The array is that of (width, n) transposed, for those who work along the draws.

    >>> whole = uniform32(7, 0, 5, 9)
    >>> bool((uniform32(7, 2, 1, 9) == whole[2]).all())
    True
    """
    blocks = -(-width // (2 * _WORDS))
    bits = _philox(seed, first * blocks, 0, stream, 5)
    halves = bits.random_raw(n * blocks * _WORDS).astype("<u8", copy=False).view("<u4")
    u = np.empty((width, n))
    np.multiply(halves.reshape(n, -1).T[:width], 2.0**-32, out=u)
    return u.T


def normal(seed: int, first: int, n: int, width: int, stream: int = 0) -> NDArray[np.float64]:
    """Draws as of `uniform`, from the standard normal distribution (by inversion).

    >>> normal(7, 0, 2, 3).shape
    (2, 3)
    """
    u = np.maximum(uniform(seed, first, n, width, stream), 2.0**-54)  # 0 would give -infinity
    return np.asarray(ndtri(u))


def generator(seed: int, k: int, stream: int = 0) -> np.random.Generator:
    """A numpy generator of its own for draw k, for use where the number of draws varies."""
    return np.random.Generator(_philox(seed, 0, k, stream, 1))


def derived(seed: int, k: int) -> int:
    """A seed of its own for part k of a search, in [0, 2**64)."""
    return int(_philox(seed, k, 0, 0, 3).random_raw())


def ones(seed: int, k: int, first: int, n: int, stream: int = 0) -> NDArray[np.uint8]:
    """Numbers first .. first+n-1 of draw k, each how many of 8 random bits are 1.

    (ones - 4) / sqrt(2) has mean 0, variance 1 and kurtosis 2.75, and costs a tenth of a normal
    number, which has kurtosis 3.

    first  a multiple of 32, so that it begins a block

    >>> bool((ones(7, 3, 0, 96)[32:] == ones(7, 3, 32, 64)).all())
    True
    """
    bits = _philox(seed, first // 32, k, stream, 4)
    return np.bitwise_count(bits.random_raw(-(-n // 8)).view(np.uint8)[:n])


def trial_seeds(seed: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The seeds, in [0, 2**32), of the trials with these numbers, shape (k,).

    >>> trial_seeds(7, np.array([3, 4])).tolist() == trial_seeds(7, np.arange(5))[3:].tolist()
    True
    """
    seeds = np.empty(len(numbers), dtype=np.uint64)
    if not len(numbers):
        return seeds.astype(np.int64)
    step = numbers[1:] - numbers[:-1]
    breaks = ((step < 1) | (step > _FAR)).nonzero()[0] + 1
    for start, end in pairwise([0, *breaks.tolist(), len(numbers)]):
        first, last = int(numbers[start]), int(numbers[end - 1])
        words = _philox(seed, first, 0, 0, 2).random_raw((last - first + 1) * _WORDS)
        seeds[start:end] = words[(numbers[start:end] - first) * _WORDS]  # one word per block
    return (seeds >> np.uint64(32)).astype(np.int64)
