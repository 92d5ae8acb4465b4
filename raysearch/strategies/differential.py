"""Differential evolution that remembers what worked (L-SHADE), one trial at a time.

The trial of individual i mixes the population, with F and CR of its own:

    v = x_i + F (x_p - x_i) + F (x_r - x_s)                       current-to-pbest/1
    u_j = v_j with probability CR, and for one j always, else x_ij

x_p is among the best tenth, x_r in the population, x_s there or in the archive of replaced
individuals. Where v leaves the unit cube it is put anywhere between x_i and the bound.
u takes the place of x_i if it is no worse. F ~ Cauchy(M_F, 0.1) within (0, 1), CR ~ N(M_CR, 0.1)
in [0, 1], from a random one of H memories; after every N results one of these becomes the mean of
what has succeeded since, sum w S^2 / sum w S, weighted by the improvements w. If every
successful CR was 0, that memory stays at 0.

A trial that differs in nothing continuous gets one place at random, so that none comes twice.

ordered    differences of places; a value is where its stretch of the unit interval is
unordered  v takes the value of x_p with probability F, else of x_r where it differs from x_s

Steady state: individual k mod N has its turn with point k, and a result takes effect as soon as
it is told, so that any number may be pending. `trials` lets the population shrink linearly to
4. One that has converged begins anew, with twice as many individuals unless it is to shrink.

x  (p, d)  individuals, p <= N, with places of parameters that are not active
f  (p,)    their losses              id  (p,)  numbers of the slots they hold

Tanabe & Fukunaga (2014), "Improving the search performance of SHADE using linear population
size reduction", CEC; Storn & Price (1997), "Differential evolution", J. Global Optimization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from ..rng import uniform
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .coordinates import coordinates, renewed, snapped
from .known import Known
from .options import check_int
from .pending import Pending
from .proposals import settle
from .restarts import same

_MEMORIES = 6  # H
_BEST = 0.1  # share of the population that x_p is drawn from
_LEAST = 4  # individuals
_NEAR = 1e-4  # size of the cube of one that has converged
_STILL = 1e-14  # a difference that is none: individuals share places that they inherited
_NOBODY = -1.0  # whose trial a random point is
_HALF_ULP = 2.0**-54  # keeps 0 away from -infinity


@dataclass(frozen=True, eq=False)
class DifferentialState(State):
    """The population and its memories; see the head of this file.

    archive  (a, d) individuals that were replaced, the latest last
    memory   (H, 2) M_F and M_CR
    turn     which of these is to be renewed next
    success  (s, 3) F, CR and improvement of each since
    told     results so far
    since    number of the first point after the population last began
    count    how often it has begun anew
    pending  of each point: its place (d), whose trial it is, F and CR
    """

    x: Floats = field(kw_only=True)
    f: Floats = field(kw_only=True)
    id: Ints = field(kw_only=True)
    archive: Floats = field(kw_only=True)
    memory: Floats = field(kw_only=True)
    success: Floats = field(kw_only=True)
    pending: Pending = field(kw_only=True)
    turn: int = 0
    told: int = 0
    since: int = 0
    count: int = 0
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class DifferentialEvolution(Strategy[DifferentialState]):
    """Recombines a population; robust on rugged functions, any kind of parameter.

    population  individuals, >= 4; None: 8 + one for each parameter, at most 100; if the
                population shrinks, trials / 120 at first, not below that, at most 18 for each
                parameter
    trials      over how many results the population shrinks to 4; None: it does not

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = DifferentialEvolution(population=8)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 8)
    >>> state = search.tell(state, batch, Outcome(loss=batch.x))
    >>> sorted(state.f.tolist()) == sorted(batch.x[:, 0].tolist())
    True
    """

    beats_random: ClassVar[bool] = True

    population: int | None = None
    trials: int | None = None

    def __post_init__(self) -> None:
        if self.population is not None:
            check_int(self, "population", _LEAST)
        if self.trials is not None:
            check_int(self, "trials")

    def size(self, state: DifferentialState) -> int:
        """N, as things stand."""
        dim = state.space.dim
        usual = min(8 + dim, 100)
        if self.trials is None:
            return (self.population or usual) << state.count
        first = self.population or min(18 * dim, max(usual, self.trials // 120))
        return max(_LEAST, round(first + (_LEAST - first) * min(state.told / self.trials, 1)))

    def init(self, space: Space, seed: int) -> DifferentialState:
        """Nobody yet."""
        return DifferentialState(
            space,
            seed,
            x=np.zeros((0, space.dim)),
            f=np.zeros(0),
            id=np.zeros(0, dtype=np.int64),
            archive=np.zeros((0, space.dim)),
            memory=np.full((_MEMORIES, 2), 0.5),
            success=np.zeros((0, 3)),
            pending=Pending.none(space.dim + 3),
        )

    def ask(self, state: DifferentialState, n: int) -> tuple[DifferentialState, Batch]:
        """Random points as long as the population begins; then trials of individuals."""
        space, seed, d = state.space, state.seed, state.space.dim
        begins = state.since + self.size(state) if len(state.x) >= _LEAST else math.inf

        def breed(numbers: Ints, draws: Floats) -> tuple[Floats, Floats]:
            x, rates = snapped(space, draws[:, :d]), np.full((len(draws), 2), math.nan)
            bred = numbers >= begins
            if bred.any():
                x[bred], rates[bred] = _trials(state, numbers[bred], draws[bred])
            return x, rates

        def propose(numbers: Ints, draws: Floats) -> Floats:
            return breed(numbers, draws)[0]

        width = 2 * d + 7
        x, known = settle(space, state.known, seed, state.asked, n, width, propose)
        number = np.arange(state.asked, state.asked + len(x))
        first, rates = breed(number, uniform(seed, state.asked, len(x), width))
        rates[(x != first).any(axis=1)] = math.nan  # another point was taken, of other rates
        whose = np.full(len(x), _NOBODY)
        bred = number >= begins
        whose[bred] = state.id[number[bred] % max(len(state.id), 1)]
        pending = state.pending.add(number, np.column_stack([x, whose, rates]))
        state = replace(state, asked=state.asked + len(x), pending=pending, known=known)
        return state, Batch(x, number)

    def tell(self, state: DifferentialState, batch: Batch, outcome: Outcome) -> DifferentialState:
        """Let each trial take its individual's place if it is no worse.

        A point from elsewhere takes the place of the worst individual, if it is better.
        """
        pending, rows, _ = state.pending.take(batch.number)
        known = state.known.tell(state.space, batch)
        state = replace(state, pending=pending, known=known)
        losses = outcome.loss[:, 0].tolist()
        for x, number, row, loss in zip(batch.x, batch.number.tolist(), rows, losses, strict=True):
            if number == FOREIGN:
                state = self._placed(state, x, loss, np.full(3, _NOBODY))
            elif number >= state.since:
                state = self._placed(state, row[:-3], loss, row[-3:])
                state = self._remembered(replace(state, told=state.told + 1))
        return state

    def max_pending(self, state: DifferentialState, slots: int) -> int:
        """One for each individual, or every slot."""
        return max(slots, self.size(state))

    # --- one result ---------------------------------------------------------------------------

    def _placed(
        self, state: DifferentialState, x: Floats, loss: float, made: Floats
    ) -> DifferentialState:
        """With the point in the population, if it deserves a place.

        made  (3,) whose trial it is, F and CR
        """
        if math.isnan(loss):
            return state
        if len(state.x) < self.size(state):
            slot = state.asked if not len(state.id) else int(state.id.max()) + 1
            return replace(
                state,
                x=np.concatenate([state.x, x[None]]),
                f=np.append(state.f, loss),
                id=np.append(state.id, slot),
            )
        own = np.flatnonzero(state.id == made[0])
        i = int(own[0]) if len(own) else int(np.argmax(state.f))
        gain = float(state.f[i]) - loss
        if not gain >= 0:
            return state
        places, losses = state.x.copy(), state.f.copy()
        places[i], losses[i] = x, loss
        archive, success = state.archive, state.success
        if gain > 0:
            archive = np.concatenate([archive, state.x[i : i + 1]])[-len(state.x) :]
            if len(own) and not math.isnan(made[1]):
                success = np.concatenate([success, [[made[1], made[2], gain]]])
        return replace(state, x=places, f=losses, archive=archive, success=success)

    def _remembered(self, state: DifferentialState) -> DifferentialState:
        """With its memories renewed, its size adapted, or begun anew, where it is time to."""
        size = self.size(state)
        if state.told % size == 0 and len(state.success):
            memory = state.memory.copy()
            memory[state.turn] = _means(state.success, float(memory[state.turn, 1]))
            turn = (state.turn + 1) % _MEMORIES
            state = replace(state, memory=memory, turn=turn, success=state.success[:0])
        if len(state.x) > size:
            best = np.sort(np.argsort(state.f, kind="stable")[:size])
            archive = state.archive[-size:]
            state = replace(
                state, x=state.x[best], f=state.f[best], id=state.id[best], archive=archive
            )
        alike = len(state.x) == size and np.ptp(state.x, axis=0).max() < _NEAR
        if alike and same(state.f.min(), state.f.max()):
            state = replace(
                state,
                x=state.x[:0],
                f=state.f[:0],
                id=state.id[:0],
                archive=state.archive[:0],
                since=state.asked,
                count=state.count + 1,
            )
        return state


def _means(success: Floats, before: float) -> tuple[float, float]:
    """The new M_F and M_CR; -1 stands for a CR that stays 0."""
    f, cr, gain = success.T
    w = np.where(np.isfinite(gain), gain, 0.0)
    w = w if w.sum() > 0 else np.ones_like(w)
    m_f = float(w @ f**2 / (w @ f))
    never = before < 0 or not w @ cr
    return m_f, -1.0 if never else float(w @ cr**2 / (w @ cr))


def _trials(state: DifferentialState, numbers: Ints, u: Floats) -> tuple[Floats, Floats]:
    """Trials (k, d) of the individuals whose turn it is, and their F and CR (k, 2).

    u  (k, 2 d + 7) uniform numbers
    """
    x, (p, d) = state.x, state.x.shape
    crossed, swapped, u = u[:, :d], u[:, d : 2 * d], u[:, 2 * d :]
    i = numbers % p
    m_f, m_cr = state.memory[(u[:, 0] * _MEMORIES).astype(np.int64)].T
    below, up_to = (0.5 + np.arctan((end - m_f) / 0.1) / math.pi for end in (0.0, 1.0))
    f = m_f + 0.1 * np.tan(math.pi * (below + (up_to - below) * u[:, 1] - 0.5))
    f = np.clip(f, 1e-3, 1.0)  # rounding
    cr = np.clip(m_cr + 0.1 * ndtri(u[:, 2] + _HALF_ULP), 0.0, 1.0)

    ranked = np.argsort(state.f, kind="stable")
    best = x[ranked[(u[:, 3] * max(2, round(_BEST * p))).astype(np.int64)]]
    r = (u[:, 4] * (p - 1)).astype(np.int64)
    r += r >= i
    pool = np.concatenate([x, state.archive])
    s = (u[:, 5] * (len(pool) - 2)).astype(np.int64)
    for used in np.sort([i, r], axis=0):
        s += s >= used
    own, one, other = x[i], x[r], pool[s]

    v = own + f[:, None] * (best - own + one - other)
    v = np.where(v < 0, own * swapped, np.where(v > 1, 1 - (1 - own) * swapped, v))
    plain = coordinates(state.space).unordered
    v[:, plain] = np.where(
        swapped[:, plain] < f[:, None],
        best[:, plain],
        np.where(one[:, plain] != other[:, plain], one[:, plain], own[:, plain]),
    )
    always = (u[:, 6] * d).astype(np.int64)[:, None] == np.arange(d)
    taken = (crossed < cr[:, None]) | always
    moved = taken & (np.abs(v - own) > _STILL)
    forced = renewed(state.space, moved, np.where(taken, v, own), swapped) & ~moved
    v = np.where(forced & (np.abs(v - own) <= _STILL), crossed, v)
    return np.where(taken | forced, v, own), np.column_stack([f, cr])
