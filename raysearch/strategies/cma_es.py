"""CMA-ES: a normal distribution that learns where losses fall, in which directions and how far.

Points are drawn from N(m, sigma^2 C). The better half of a generation of lambda results moves
m, and shapes C so that steps which paid off become likelier (`gaussian`). Around that:

discrete, ordered    the same distribution, with a margin for every value        (`margin`)
unordered            distributions of their own, moved by the same generation    (`categories`)
noise, many valleys  updates shortened to what their signal deserves             (`slowing`)
local minima         restarts with larger and smaller populations                (`restarts`)
many parameters      a diagonal C

No straggler is waited for. A generation closes with its lambda-th result, whichever it is;
what was drawn from an earlier distribution counts as injected (Hansen, 2011). As long as no
more points are pending than the generation lacks, this is exactly the generational method.
A failed trial takes no part, as if its point had been drawn again. A point from elsewhere is
injected if it is better than all before.

A parameter that is not active is learned from like any other; as it has no effect, its mean
walks at random. References: in the files named above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from ..rng import uniform
from ..space import Space
from ..trial import Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .coordinates import WIDEST, coordinates
from .distribution import Distribution, after, drawn, fresh, points, samples
from .known import Known
from .options import check_choice, check_float, check_int
from .pending import Pending, counting
from .proposals import free, settle
from .restarts import Run, history, is_over, next_run

_STREAM = 3  # of random numbers for restarts
_MANY = 200  # metric parameters; C is diagonal where there are more
_ELSEWHERE = -1.0  # generation of a point that no distribution has drawn


@dataclass(frozen=True, eq=False)
class CMAState(State):
    """A distribution, and the generation that it is being told.

    now      the distribution
    run      where the search stands in its restarts
    pending  of each point: its sample (n + c), and the generation that drew it
    rows     (b, n + c + 1) the same of those that were told, b < lambda
    losses   (b,) of these
    best     loss of the whole search
    """

    now: Distribution = field(kw_only=True)
    run: Run = field(kw_only=True)
    pending: Pending = field(kw_only=True)
    rows: Floats = field(kw_only=True)
    losses: Floats = field(kw_only=True)
    best: float = math.inf
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class CMAES(Strategy[CMAState]):
    """Learns scales and directions; strong from about 50 trials a parameter on, any kind.

    population  results that make a generation, >= 4; None: 4 + 3 ln(parameters), rounded down
    step        initial standard deviation, in edges of the unit cube, in (0, 0.25]
    restarts    ipop: with larger populations; bipop: with larger and smaller ones in turn
    covariance  full; diagonal: for many parameters that do not depend on each other;
                auto: full up to 200 parameters
    learning    fast: as few trials as possible; adaptive: as slow as noise and local minima
                demand

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = CMAES(population=4)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 4)
    >>> state = search.tell(state, batch, Outcome(loss=batch.x))
    >>> bool(state.now.g.m[0] < 0.5)
    True
    """

    beats_random: ClassVar[bool] = True

    population: int | None = None
    step: float = 0.25
    restarts: Literal["ipop", "bipop"] = "ipop"
    covariance: Literal["auto", "full", "diagonal"] = "auto"
    learning: Literal["fast", "adaptive"] = "fast"

    def __post_init__(self) -> None:
        if self.population is not None:
            check_int(self, "population", 4)
        check_float(self, "step", 0, WIDEST)
        check_choice(self, "restarts", ("ipop", "bipop"))
        check_choice(self, "covariance", ("auto", "full", "diagonal"))
        check_choice(self, "learning", ("fast", "adaptive"))

    def init(self, space: Space, seed: int) -> CMAState:
        """In the middle of the space, every value as likely as the others."""
        kinds = coordinates(space)
        n, width = len(kinds.metric), len(kinds.metric) + len(kinds.unordered) + 1
        return CMAState(
            space,
            seed,
            now=self._fresh(space, np.full(n, 0.5), self.step),
            run=self._first(space),
            pending=Pending.none(width),
            rows=np.zeros((0, width)),
            losses=np.zeros(0),
        )

    def ask(self, state: CMAState, n: int) -> tuple[CMAState, Batch]:
        """Samples of the distribution as it is now."""
        space, now, known = state.space, state.now, state.known

        def propose(numbers: Ints, u: Floats) -> Floats:
            return points(space, now, drawn(space, now, u))

        if free(space):
            rows = drawn(space, now, uniform(state.seed, state.asked, n, space.dim))
            x = points(space, now, rows)
        else:
            x, known = settle(space, known, state.seed, state.asked, n, space.dim, propose)
            rows = samples(space, now, x)
        number = np.arange(state.asked, state.asked + len(x))
        drawn_by = np.full((len(x), 1), float(now.g.generation))
        pending = state.pending.add(number, np.concatenate([rows, drawn_by], axis=1))
        state = replace(state, asked=state.asked + len(x), pending=pending, known=known)
        return state, Batch(np.clip(x, 0, 1), number)

    def tell(self, state: CMAState, batch: Batch, outcome: Outcome) -> CMAState:
        """Complete the generation, and others after it."""
        pending, rows, own = state.pending.take(batch.number)
        left, losses, best = counting(batch, outcome, state.best)
        now, run, told, heard = state.now, state.run, state.rows, state.losses
        while len(left):
            lacking = run.population - len(heard)
            these, left = left[:lacking], left[lacking:]
            these = these[~own[these] | (batch.number[these] >= run.since)]
            outside = these[~own[these]]
            if len(outside):
                sample = samples(state.space, now, batch.x[outside])
                rows[outside] = np.insert(sample, sample.shape[1], _ELSEWHERE, axis=1)
            told = np.concatenate([told, rows[these]])
            heard = np.concatenate([heard, losses[these]])
            if len(heard) == run.population:
                now, run = self._closed(state, now, run, told, heard)
                told, heard = told[:0], heard[:0]
        known = state.known.tell(state.space, batch)
        return replace(
            state,
            now=now,
            run=run,
            pending=pending,
            rows=told,
            losses=heard,
            best=best,
            known=known,
        )

    def max_pending(self, state: CMAState, slots: int) -> int:
        """What the generation lacks, or every slot."""
        return max(slots, state.run.population - len(state.losses))

    # --- generations ------------------------------------------------------------------------

    def _closed(
        self, state: CMAState, now: Distribution, run: Run, rows: Floats, losses: Floats
    ) -> tuple[Distribution, Run]:
        """What is known and where the search stands after a generation."""
        space, order = state.space, np.argsort(losses, kind="stable")
        losses, rows = losses[order], rows[order]
        own = rows[:, -1] == now.g.generation
        if not free(space):
            own[:] = False  # some may have been drawn from the whole space
        now, condition = after(space, now, rows[:, :-1], own, self.learning == "adaptive")
        lately = history(len(now.g.m), len(losses))
        recent = np.concatenate([run.recent, losses[:1]])[-lately:]
        run = replace(run, told=run.told + len(losses), recent=recent)
        if is_over(run, now.g, losses, condition):
            n = len(now.g.m)
            u = uniform(state.seed, run.count, 1, n + 2, _STREAM)[0]
            bipop = self.restarts == "bipop"
            run = next_run(run, self._first(space), bipop, u[n:], state.asked)
            now = self._fresh(space, u[:n], run.step)
        return now, run

    def _first(self, space: Space) -> Run:
        population = self.population or 4 + int(3 * math.log(space.dim))
        return Run(population, self.step, largest=population)

    def _fresh(self, space: Space, m: Floats, step: float) -> Distribution:
        many = self.covariance == "auto" and len(m) > _MANY
        return fresh(space, m, step, diagonal=many or self.covariance == "diagonal")
