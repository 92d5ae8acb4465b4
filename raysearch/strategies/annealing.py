"""Simulated annealing: a random walk that accepts worse points less and less often.

Each chain proposes a neighbour x of where it stands, m, and goes there with probability

    min(1, exp(-(f(x) - f(m)) / (T s)))                    (Metropolis et al., 1953)

s is the usual size of a difference of losses, a running mean of |f(x) - f(m)|, so that no
temperature has to be guessed. T falls geometrically from 1 to `coldest` (Kirkpatrick,
Gelatt & Vecchi, 1983), and steps shrink with it, as step * sqrt(T). Then the chain is
heated up again at its best point, and cools down twice as slowly:
cooling i, i = 0, 1, ..., takes 2**i * period trials of the chain.

m  (c, d)  where each chain stands     f     (c,)  its loss; +inf: nowhere yet
b  (c, d)  its best point              g     (c,)  its loss; +inf: none yet
s  (c,)    usual difference; 0: none   told  (c,)  trials of the chain that are over

Point k belongs to chain k mod c, so that any number may be pending, and told in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..rng import uniform
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .known import Known
from .moves import neighbours
from .options import check_float, check_int
from .proposals import settle

_MEMORY = 0.1  # weight of the latest difference in s
_STREAM = 3  # of random numbers for accepting


@dataclass(frozen=True, eq=False)
class AnnealingState(State):
    """The chains; see the head of this file."""

    m: Floats = field(kw_only=True)
    f: Floats = field(kw_only=True)
    b: Floats = field(kw_only=True)
    g: Floats = field(kw_only=True)
    s: Floats = field(kw_only=True)
    told: Ints = field(kw_only=True)
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class SimulatedAnnealing(Strategy[AnnealingState]):
    """A walk that cools down; leaves shallow valleys, and needs no smoothness.

    chains   walks side by side, >= 1
    step     of the hot walk, in edges of the unit cube, in (0, 1]
    period   trials of a chain until it is cold for the first time, >= 1
    coldest  temperature at the end of a cooling, in (0, 1]

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = SimulatedAnnealing(chains=1)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 1)
    >>> state = search.tell(state, batch, Outcome(loss=batch.x**2))
    >>> bool((state.m == batch.x).all())
    True
    """

    beats_random: ClassVar[bool] = True

    chains: int = 2
    step: float = 0.3
    period: int = 50
    coldest: float = 0.001

    def __post_init__(self) -> None:
        check_int(self, "chains")
        check_float(self, "step", 0, 1)
        check_int(self, "period")
        check_float(self, "coldest", 0, 1)

    def init(self, space: Space, seed: int) -> AnnealingState:
        """Chains that stand nowhere."""
        c = self.chains
        nowhere, worst = np.full((c, space.dim), 0.5), np.full(c, math.inf)
        return AnnealingState(
            space,
            seed,
            m=nowhere,
            f=worst,
            b=nowhere,
            g=worst,
            s=np.zeros(c),
            told=np.zeros(c, dtype=np.int64),
        )

    def cooling(self, told: int) -> tuple[int, int]:
        """(trials since the chain was heated up, trials until it is cold) after `told` trials.

        >>> [SimulatedAnnealing(period=10).cooling(told) for told in (0, 9, 10, 29, 30)]
        [(0, 10), (9, 10), (0, 20), (19, 20), (0, 40)]
        """
        i = (told // self.period + 1).bit_length() - 1
        length = self.period * 2**i
        return told - (length - self.period), length

    def temperature(self, told: int) -> float:
        """T after so many trials of a chain."""
        done, length = self.cooling(told)
        return float(self.coldest ** (done / length))

    def ask(self, state: AnnealingState, n: int) -> tuple[AnnealingState, Batch]:
        """Neighbours of where the chains stand, in turn; random points at the start."""
        space, d = state.space, state.space.dim
        step = self.step * np.sqrt([self.temperature(t) for t in state.told.tolist()])

        def propose(numbers: Ints, draws: Floats) -> Floats:
            chain = numbers % self.chains
            x = neighbours(space, state.m[chain], step[chain], draws)
            lost = np.isinf(state.f[chain])
            x[lost] = draws[lost, :d]
            return x

        x, known = settle(space, state.known, state.seed, state.asked, n, 3 * d, propose)
        batch = Batch(x, np.arange(state.asked, state.asked + len(x)))
        return replace(state, asked=state.asked + len(x), known=known), batch

    def tell(self, state: AnnealingState, batch: Batch, outcome: Outcome) -> AnnealingState:
        """Let the chains walk on, and cool them.

        A point from elsewhere becomes the best of the worst chain, which goes there.
        """
        m, f, b, g = state.m.copy(), state.f.copy(), state.b.copy(), state.g.copy()
        s, told = state.s.copy(), state.told.copy()
        losses = outcome.loss[:, 0].tolist()
        for x, number, loss in zip(batch.x, batch.number.tolist(), losses, strict=True):
            if number == FOREIGN:
                c = int(np.argmax(g))
                accepted = loss < g[c]
            else:
                c = number % self.chains
                worse = loss - float(f[c])  # NaN if failed: not accepted
                heat = self.temperature(int(told[c])) * s[c]
                accepted = worse <= 0 or _dares(state, number, worse, heat)
                if math.isfinite(worse):
                    s[c] += (abs(worse) - s[c]) * (_MEMORY if s[c] else 1.0)
                told[c] += 1
            if accepted:
                m[c], f[c] = x, loss
            if loss < g[c]:
                b[c], g[c] = x, loss
            if number != FOREIGN and self.cooling(int(told[c]))[0] == 0:
                m[c], f[c] = b[c], g[c]
        known = state.known.tell(state.space, batch)
        return replace(state, m=m, f=f, b=b, g=g, s=s, told=told, known=known)

    def max_pending(self, state: AnnealingState, slots: int) -> int:
        """One for every chain, or every slot."""
        return max(slots, self.chains)


def _dares(state: AnnealingState, number: int, worse: float, heat: float) -> bool:
    """Whether trial `number` is accepted although it is worse; false for NaN."""
    if not heat or not worse < math.inf:
        return False
    u = uniform(state.seed, number, 1, 1, _STREAM)[0, 0]
    return bool(u < math.exp(-worse / heat))
