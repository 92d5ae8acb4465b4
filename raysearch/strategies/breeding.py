"""What genetic methods share: points that are children of parents, and wait for their results.

How a child is made: `variation`. No straggler is waited for, so parents may have changed by the
time that a child is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from ..trial import FOREIGN, Batch, Floats, Ints
from .base import State
from .coordinates import snapped
from .known import Known
from .pending import Pending
from .proposals import settle
from .variation import children, width


@dataclass(frozen=True, eq=False)
class Breeding(State):
    """Places (d) of points that are pending, and the configurations that came before."""

    pending: Pending = field(kw_only=True)
    known: Known = field(default_factory=Known)


B = TypeVar("B", bound=Breeding)


def bred(
    state: B, n: int, parents: Floats, tournament: int = 2, sigma: float | None = None
) -> tuple[B, Batch]:
    """n children of the parents (p, d), best first; random points as long as there are none.

    tournament, sigma  as of `children`
    """
    space, d = state.space, state.space.dim

    def propose(numbers: Ints, draws: Floats) -> Floats:
        if not len(parents):
            return snapped(space, draws[:, :d])
        return children(space, parents, draws, tournament, sigma=sigma)

    x, known = settle(space, state.known, state.seed, state.asked, n, width(d), propose)
    number = np.arange(state.asked, state.asked + len(x))
    pending = state.pending.add(number, x)
    state = replace(state, asked=state.asked + len(x), pending=pending, known=known)
    return state, Batch(x.copy(), number)


def arrived(state: B, batch: Batch) -> tuple[B, Floats]:
    """The state that does not wait for these points any more, and (k, d) where they lie."""
    pending, x, _ = state.pending.take(batch.number)
    foreign = batch.number == FOREIGN
    x[foreign] = batch.x[foreign]
    return replace(state, pending=pending, known=state.known.tell(state.space, batch)), x
