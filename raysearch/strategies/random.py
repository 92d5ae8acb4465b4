"""Random search: independent draws from the prior that the parameters' scales describe.

Every point is drawn uniformly from the unit cube, u ~ U[0, 1)^d, and decoded. With few
important parameters among many it covers each of them better than a grid of the same size
does: n points give n values of every parameter, a grid n**(1/d).
Bergstra & Bengio (2012), "Random search for hyper-parameter optimization", JMLR 13.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..rng import uniform
from ..space import Space
from ..trial import Floats
from .sequence import Sequence


@dataclass(frozen=True)
class RandomSearch(Sequence):
    """Independent random points; needs no choices, bears any concurrency.

    >>> from raysearch.space import Float, Space
    >>> search = RandomSearch()
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 3)
    >>> batch.x.shape
    (3, 1)
    """

    def candidates(self, space: Space, seed: int, first: int, n: int) -> Floats:
        """Draws first .. first+n-1, shape (n, d)."""
        return uniform(seed, first, n, space.dim)
