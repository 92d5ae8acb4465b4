"""Gradient search: starts from another strategy's points that follow their gradient downhill.

Several *lanes* (`lane`) descend side by side. Each begins at a point of the outer strategy, which
so decides on discrete and conditional parameters; the continuous ones then move along the
gradient that comes with the loss, in the coordinates of the unit cube: logarithms for parameters
with ``log=True``. Where a loss comes without a gradient, it is estimated from probes, which are
points like any others. A lane ends once it hardly moves, fails, or trails: once it cannot reach
the best lane at the pace of its last steps. The outer strategy is told its best loss, and a new
one begins.

For steps: Kingma & Ba (2015), Liu & Nocedal (1989). For probes: Spall (1992), "Multivariate
stochastic approximation using a simultaneous perturbation gradient approximation".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import UsageError
from ..optim import VECTOR_RULES
from ..rng import derived, uniform
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from . import lane as lanes
from .base import AnyStrategy, State, Strategy
from .known import Known, fresh
from .lane import CANDIDATE, Lane
from .options import check_choice, check_float, check_int
from .random import RandomSearch

_STILL = 1e-7  # a step shorter than this, in each coordinate, ends a lane
_SAME = 1e-6  # as does coming so near to where another lane is or has ended
_ENDS = 1000  # of which so many are remembered


@dataclass(frozen=True)
class Waiting:
    """A point asked and not told: its number, its lane and that lane's life, its role there."""

    number: int
    lane: int
    life: int
    role: int


@dataclass(frozen=True, eq=False)
class Offer:
    """A point from elsewhere: x (d,), its loss, and its gradient g (d,)."""

    x: Floats
    loss: float
    g: Floats


@dataclass(frozen=True, eq=False)
class GradientState(State):
    """Lanes at work; see the head of this file.

    outer    state of the outer strategy
    lanes    one for each start; None: to be begun
    lives    how often each place has been filled
    waiting  points asked and not told
    offers   points from elsewhere with their losses and gradients, where lanes may begin
    ends     (e, d) where lanes have ended
    """

    outer: State = field(kw_only=True)
    lanes: tuple[Lane | None, ...] = field(kw_only=True)
    lives: tuple[int, ...] = field(kw_only=True)
    ends: Floats = field(kw_only=True)
    waiting: tuple[Waiting, ...] = ()
    offers: tuple[Offer, ...] = ()


@dataclass(frozen=True)
class GradientSearch(Strategy[GradientState]):
    """Follows gradients that trials return, from several starts; few trials, many parameters.

    outer     proposes where starts begin, and all of their discrete parameters
    starts    descents side by side, >= 1
    rule      "L-BFGS", or an update rule of the optimizer core, by name: "Adam", "SGD", ...
    rate      longest first step of L-BFGS, or lr of the rule, in edges of the unit cube, (0, 0.5]
    estimate  where no gradient comes: "spsa" (2 probes a step), "differences" (2 for each
              continuous parameter)
    spread    distance of a probe, in edges of the unit cube, in (0, 0.25]
    patience  steps that a start is given before it may be dropped, >= 1

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search, space = GradientSearch(starts=1), Space({"x": Float(0, 1)})
    >>> state, best = search.init(space, seed=0), 1.0
    >>> for _ in range(8):
    ...     state, batch = search.ask(state, 1)
    ...     outcome = Outcome((batch.x - 0.3) ** 2, gradient=2 * (batch.x - 0.3))
    ...     state = search.tell(state, batch, outcome)
    ...     best = min(best, float(outcome.loss[0, 0]))
    >>> best < 1e-10
    True
    """

    outer: AnyStrategy = field(default_factory=RandomSearch)
    starts: int = 2
    rule: str = "L-BFGS"
    rate: float = 0.1
    estimate: str = "spsa"
    spread: float = 0.01
    patience: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.outer, Strategy):
            raise UsageError(f"option outer: expected a strategy, found {self.outer!r}")
        if self.outer.budgets():
            raise UsageError(
                f"option outer: expected a strategy that sets no budgets, found {self.outer!r}; "
                "take its sampler"
            )
        check_int(self, "starts")
        check_choice(self, "rule", ["L-BFGS", *VECTOR_RULES])
        check_float(self, "rate", 0, 0.5)
        check_choice(self, "estimate", ["spsa", "differences"])
        check_float(self, "spread", 0, 0.25)
        check_int(self, "patience")

    def init(self, space: Space, seed: int) -> GradientState:
        """No lane has begun."""
        outer = self.outer.init(space, derived(seed, 0))
        n = self.starts
        none = np.empty((0, space.dim))
        return GradientState(space, seed, outer=outer, lanes=(None,) * n, lives=(0,) * n, ends=none)

    def ask(self, state: GradientState, n: int) -> tuple[GradientState, Batch]:
        """What the lanes want, in turn; the starts of new ones."""
        x = np.empty((n, state.space.dim))
        k = 0
        while k < n:
            state, found = self._next(state)
            if found is None:
                break
            x[k] = found
            k += 1
        return state, Batch(x[:k].copy(), np.arange(state.asked - k, state.asked))

    def _next(self, state: GradientState) -> tuple[GradientState, Floats | None]:
        """One point, if any is wanted."""
        for i, lane in enumerate(state.lanes):
            if lane is None:
                state, lane = self._begin(state, i)
            if lane is not None and (roles := lane.wants()):
                role = roles[0]
                waiting = Waiting(state.asked, i, state.lives[i], role)
                state = _placed(state, i, lane.ask(role))
                state = replace(state, waiting=(*state.waiting, waiting), asked=state.asked + 1)
                return state, lane.place(role)
        return state, None

    def _begin(self, state: GradientState, i: int) -> tuple[GradientState, Lane | None]:
        """A lane in an empty place: from the best offer, else from the outer strategy."""
        while state.offers:
            offer, *rest = state.offers
            state = replace(state, offers=tuple(rest))
            state, lane = self._opened(state, i, np.array([FOREIGN]), offer.x)
            lane = replace(lane, f=offer.loss, steps=1)
            state = self._go_on(state, i, lane, np.where(lane.free, offer.g, 0.0))
            if state.lanes[i] is not None:
                return state, state.lanes[i]
        outer, batch = self.outer.ask(state.outer, 1)
        state = replace(state, outer=outer)
        if not len(batch):
            return state, None
        return self._opened(state, i, batch.number.copy(), batch.x)

    def _opened(
        self, state: GradientState, i: int, number: Ints, x: Floats
    ) -> tuple[GradientState, Lane]:
        columns = state.space.decode(np.atleast_2d(x))
        free = np.array([math.isinf(axis.size) for axis in state.space.axes])
        free &= state.space.active(columns)[0]
        lane = lanes.begun(number, state.space.encode(columns)[0], free, self.rate)
        lives = tuple(life + (j == i) for j, life in enumerate(state.lives))
        return replace(_placed(state, i, lane), lives=lives), lane

    def tell(self, state: GradientState, batch: Batch, outcome: Outcome) -> GradientState:
        """Losses and gradients go to their lanes; points from elsewhere to the outer strategy.

        Those that bring a gradient are also where the next lanes begin, the best first.
        """
        foreign = batch.number == FOREIGN
        if foreign.any():
            part = Batch(batch.x[foreign].copy(), batch.number[foreign].copy())
            told = Outcome(outcome.loss[foreign].copy())
            state = replace(state, outer=self.outer.tell(state.outer, part, told))
            if outcome.gradient is not None:
                new = [
                    Offer(batch.x[row].copy(), float(outcome.loss[row, 0]), g)
                    for row in np.flatnonzero(foreign).tolist()
                    if np.isfinite(outcome.loss[row, 0])
                    and np.isfinite(g := outcome.gradient[row].copy()).any()
                ]
                best = sorted((*state.offers, *new), key=lambda offer: offer.loss)
                state = replace(state, offers=tuple(best[: self.starts]))
        for row in np.flatnonzero(~foreign).tolist():
            number = int(batch.number[row])
            found = next(w for w in state.waiting if w.number == number)
            left = tuple(w for w in state.waiting if w.number != number)
            state = replace(state, waiting=left)
            if state.lives[found.lane] == found.life and state.lanes[found.lane] is not None:
                g = None if outcome.gradient is None else outcome.gradient[row]
                state = self._told(state, found, float(outcome.loss[row, 0]), g)
        return state

    def _told(
        self, state: GradientState, what: Waiting, loss: float, g: Floats | None
    ) -> GradientState:
        """The state after one result of a lane."""
        lane = state.lanes[what.lane]
        assert lane is not None
        if what.role != CANDIDATE:
            seen = lane.seen.copy()
            seen[what.role] = loss if math.isfinite(loss) else math.inf
            lane = replace(lane, seen=seen)
            if np.isnan(seen).any():
                return _placed(state, what.lane, lane)
            g = lanes.slope(lane, self.estimate, self.spread)
            return self._go_on(state, what.lane, lane, g)
        lane = replace(lane, f=loss, steps=lane.steps + 1)
        if not lane.free.any() or (lane.steps == 1 and not math.isfinite(loss)):
            return self._end(state, what.lane, replace(lane, best=min(lane.best, loss)))
        known = g is not None and bool(np.isfinite(g[lane.free]).all())
        if known or not loss <= lane.best:
            slope = np.where(lane.free, g, 0.0) if g is not None and known else 0.0 * lane.x
            return self._go_on(state, what.lane, lane, slope)
        draws = uniform(state.seed, what.number, 1, lane.x.size, stream=2)[0]
        lane = lanes.probed(lane, self.estimate, self.spread, draws)
        return self._kept(state, what.lane, lane, lane.probes)

    def _go_on(self, state: GradientState, i: int, lane: Lane, g: Floats) -> GradientState:
        """A lane's step, unless it ends here."""
        if not math.isfinite(lane.f) or not np.isfinite(g).all():
            after = lanes.back(lane) if np.isfinite(lane.g).all() else lane
        else:
            after = lanes.moved(lane, g, self.rule, self.rate)
        after = replace(after, best=min(lane.best, lane.f) if not math.isnan(lane.f) else lane.best)
        after = replace(after, history=(*lane.history, after.best)[-self.patience - 1 :])
        still = np.abs(after.x - lane.x).max() < _STILL
        if still or _meets(state, i, after.x) or self._trails(state, i, after):
            return self._end(state, i, after)
        return self._kept(state, i, after, after.x[None])

    def _trails(self, state: GradientState, i: int, lane: Lane) -> bool:
        """Whether another lane's loss is out of its reach, at the pace of its last steps."""
        others = [o.best for j, o in enumerate(state.lanes) if o is not None and j != i]
        if len(lane.history) <= self.patience or not others:
            return False
        return lane.best - (lane.history[0] - lane.best) > min(others)

    def _kept(self, state: GradientState, i: int, lane: Lane, x: Floats) -> GradientState:
        """The lane in its place, if the points it wants next are legal and new; else it ends."""
        legal = fresh(state.space, Known(), x)[0].all()
        return _placed(state, i, lane) if legal else self._end(state, i, lane)

    def _end(self, state: GradientState, i: int, lane: Lane) -> GradientState:
        """The lane's place is free; the outer strategy learns what came of its start."""
        best = np.array([[lane.best if math.isfinite(lane.best) else math.nan]])
        outer = self.outer.tell(state.outer, Batch(lane.start[None], lane.outer), Outcome(best))
        ends = np.vstack([state.ends, lane.x, lane.at])[-_ENDS:]
        return replace(_placed(state, i, None), outer=outer, ends=ends)

    def max_pending(self, state: GradientState, slots: int) -> int:
        """As many as the lanes can ask."""
        return max(slots, 2 * self.starts)


def _placed(state: GradientState, i: int, lane: Lane | None) -> GradientState:
    return replace(state, lanes=(*state.lanes[:i], lane, *state.lanes[i + 1 :]))


def _meets(state: GradientState, i: int, x: Floats) -> bool:
    """Whether another lane is here, or one has ended here."""
    others = [p for j, o in enumerate(state.lanes) if o is not None and j != i for p in (o.x, o.at)]
    places = np.vstack([state.ends, *others])
    return bool((np.abs(places - x).max(axis=1) < _SAME).any())
