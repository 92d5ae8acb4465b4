"""Random local search: (1+1) evolution strategies, several side by side.

Each chain proposes neighbours of its best point m and moves to any that is no worse. Its
step sigma grows with every success and shrinks with every failure, so that one proposal in
five succeeds; once it is tiny the chain is stuck, and starts again at random points.

    x ~ neighbours(m, sigma)
    sigma <- sigma exp((success - 1/5) / sqrt(d + 1))
    m <- x  if f(x) <= f(m)

Kern et al. (2004), "Learning probability distributions in continuous evolutionary
algorithms"; Hansen, Arnold & Auger (2015), "Evolution strategies", sec. 3.1.

m      (c, d)  each chain's best point      f      (c,)  its loss; +inf: none yet
sigma  (c,)    step, in edges of the cube   since  (c,)  number of the first point of its life

Point k belongs to chain k mod c, so that any number may be pending, and told in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .known import Known
from .moves import neighbours
from .options import check_float, check_int
from .proposals import settle

_WIDEST = 0.5  # step


@dataclass(frozen=True, eq=False)
class LocalState(State):
    """The chains; see the head of this file."""

    m: Floats = field(kw_only=True)
    f: Floats = field(kw_only=True)
    sigma: Floats = field(kw_only=True)
    since: Ints = field(kw_only=True)
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class LocalSearch(Strategy[LocalState]):
    """Random neighbours of the best point, step adapted; quick where one valley leads down.

    chains     searches side by side, >= 1; more of them find more valleys, more slowly
    step       initial, in edges of the unit cube, in (0, 0.5]
    tolerance  step below which a chain is stuck and starts again, in (0, step]

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = LocalSearch(chains=2)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 2)
    >>> state = search.tell(state, batch, Outcome(loss=batch.x**2))
    >>> bool((state.m == batch.x).all())
    True
    """

    beats_random: ClassVar[bool] = True

    chains: int = 2
    step: float = 0.2
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        check_int(self, "chains")
        check_float(self, "step", 0, _WIDEST)
        check_float(self, "tolerance", 0, self.step)

    def init(self, space: Space, seed: int) -> LocalState:
        """Chains without a point."""
        c = self.chains
        return LocalState(
            space,
            seed,
            m=np.full((c, space.dim), 0.5),
            f=np.full(c, math.inf),
            sigma=np.full(c, self.step),
            since=np.zeros(c, dtype=np.int64),
        )

    def ask(self, state: LocalState, n: int) -> tuple[LocalState, Batch]:
        """Neighbours of the chains' points, in turn; random points where there is none yet."""
        space, d = state.space, state.space.dim

        def propose(numbers: Ints, draws: Floats) -> Floats:
            chain = numbers % self.chains
            x = neighbours(space, state.m[chain], state.sigma[chain], draws)
            lost = np.isinf(state.f[chain])
            x[lost] = draws[lost, :d]
            return x

        x, known = settle(space, state.known, state.seed, state.asked, n, 3 * d, propose)
        batch = Batch(x, np.arange(state.asked, state.asked + len(x)))
        return replace(state, asked=state.asked + len(x), known=known), batch

    def tell(self, state: LocalState, batch: Batch, outcome: Outcome) -> LocalState:
        """Move the chains and adapt their steps.

        A point from elsewhere takes the place of the worst chain's, if it is better.
        """
        m, f = state.m.copy(), state.f.copy()
        sigma, since = state.sigma.copy(), state.since.copy()
        pace = 1 / math.sqrt(state.space.dim + 1)
        losses = outcome.loss[:, 0].tolist()
        for x, number, loss in zip(batch.x, batch.number.tolist(), losses, strict=True):
            foreign = number == FOREIGN
            c = int(np.argmax(f)) if foreign else number % self.chains
            if not foreign and number < since[c]:
                continue  # from before the chain started again
            started = f[c] < math.inf
            success = loss <= f[c]  # false for NaN: a failed trial is a failure
            if success:
                m[c], f[c] = x, loss
            if started and not foreign:
                sigma[c] = min(sigma[c] * math.exp((success - 1 / 5) * pace), _WIDEST)
            if sigma[c] < self.tolerance:
                f[c], sigma[c], since[c] = math.inf, self.step, state.asked
        known = state.known.tell(state.space, batch)
        return replace(state, m=m, f=f, sigma=sigma, since=since, known=known)

    def max_pending(self, state: LocalState, slots: int) -> int:
        """One for every chain, or every slot."""
        return max(slots, self.chains)
