"""What genetic methods share: points that are children of parents, and wait for their results.

How a child is made: `variation`. No straggler is waited for, so parents may have changed by the
time that a child is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from ..rng import uniform, uniform32
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
    space, d, settled = state.space, state.space.dim, (state.known, state.seed, state.asked, n)

    def propose(numbers: Ints, u: Floats) -> Floats:
        return children(space, parents, u, tournament, sigma=sigma)

    if len(parents):  # one number of 32 bits does not tell a million siblings apart
        draw = uniform32 if d > 1 else uniform
        x, known = settle(space, *settled, width(d), propose, draw, litter=2)
    else:
        x, known = settle(space, *settled, d, lambda _, u: snapped(space, u))
    number = np.arange(state.asked, state.asked + len(x))
    pending = state.pending.add(number, x)
    state = replace(state, asked=state.asked + len(x), pending=pending, known=known)
    return state, Batch(x, number)


def arrived(state: B, batch: Batch) -> tuple[B, Floats]:
    """The state that does not wait for these points any more, and (k, d) where they lie."""
    pending, x, _ = state.pending.take(batch.number)
    foreign = batch.number == FOREIGN
    x[foreign] = batch.x[foreign]
    return replace(state, pending=pending, known=state.known.tell(state.space, batch)), x
