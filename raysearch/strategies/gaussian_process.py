"""Bayesian optimisation: evaluate where a Gaussian process promises the greatest improvement.

A Gaussian process (`models.gp`) says what is believed of the loss everywhere, given what was
told. The next point maximises the logarithm of the expected improvement on the best that is
believed of any point told so far, t, times the probability that all constraints are met:

    x = argmax  log EI(x; t) + sum_j log P(c_j(x) <= 0),    t = min over told points of E f

With two losses the improvement is that of the hypervolume below their front (`belief`).
Taking the belief at told points rather than what was told of them keeps noise out of t.
Points that are pending are believed to turn out as expected (the "kriging believer"). That
leaves the mean as it is, and takes away the variance around them: the next point goes
elsewhere. Where very many are pending, each point is the best of one function drawn from the
belief instead (Thompson sampling), which needs to know nothing of the others.

Jones, Schonlau & Welch (1998), "Efficient global optimization"; Ginsbourger, Le Riche &
Carraro (2010), "Kriging is well-suited to parallelize optimization"; Ament et al. (2023),
"Unexpected improvements to expected improvement for Bayesian optimization".

x           (n, d) told    loss    (n, m)    constraint  (n, c), at most 0 if met; NaN: unknown
waiting     (p, d) pending            numbers  (p,) theirs
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..rng import generator
from ..space import Space
from ..trial import Batch, Floats, Ints, Outcome
from .ascent import climb
from .base import State, Strategy
from .belief import Belief, believed, below, feasible, targets
from .features import encoding, features
from .known import Known
from .moves import neighbours
from .options import check_int
from .proposals import explore
from .quasi_random import QuasiRandom
from .surrogate import Surrogate, first_fresh, sequence

_BLOCK = 256  # candidates of the quasi-random sequence, for every point
_BESTS, _NEAR = 8, 16  # points whose neighbours are candidates, and how many of each
_STARTS = 6  # of the ascent
_MANY = 64  # points pending, from which on functions are drawn
_STREAM = 5  # of random numbers for neighbours and moves


@dataclass(frozen=True, eq=False)
class GaussianState(State):
    """What was told, and what is pending; see the head of this file.

    surrogate  models of the loss, then of each constraint
    cursor     how far the quasi-random sequence of the first points has been gone through
    """

    x: Floats = field(kw_only=True)
    loss: Floats = field(kw_only=True)
    constraint: Floats = field(kw_only=True)
    waiting: Floats = field(kw_only=True)
    numbers: Ints = field(kw_only=True)
    surrogate: Surrogate = field(default_factory=Surrogate)
    known: Known = field(default_factory=Known)
    cursor: int = 0


@dataclass(frozen=True)
class GaussianProcess(Strategy[GaussianState]):
    """Bayesian optimization with a Gaussian process; the most from each of 10 to 2,000 trials.

    initial  quasi-random points before the model is asked, >= 2

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = GaussianProcess()
    >>> state = search.init(Space({"lr": Float(0, 1)}), seed=0)
    >>> for _ in range(15):
    ...     state, batch = search.ask(state, 1)
    ...     state = search.tell(state, batch, Outcome(loss=(batch.x - 0.3) ** 2))
    >>> bool(state.loss.min() < 1e-6)
    True
    """

    beats_random: ClassVar[bool] = True
    multi_objective: ClassVar[bool] = True

    initial: int = 8

    def __post_init__(self) -> None:
        check_int(self, "initial", 2)

    def init(self, space: Space, seed: int) -> GaussianState:
        """Nothing known."""
        QuasiRandom().init(space, seed)  # refuses spaces of too many parameters
        return GaussianState(
            space,
            seed,
            x=np.empty((0, space.dim)),
            loss=np.empty((0, 1)),
            constraint=np.empty((0, 0)),
            waiting=np.empty((0, space.dim)),
            numbers=np.empty(0, np.int64),
        )

    def ask(self, state: GaussianState, n: int) -> tuple[GaussianState, Batch]:
        """The first points quasi-random, then each where the models promise most."""
        space, first = state.space, state.asked
        found, belief = [np.empty((0, space.dim))], None
        for _ in range(n):
            if self._knows_too_little(state):
                wide = sequence(space, state.seed)
                x, known, cursor = explore(space, state.known, state.seed, state.cursor, 1, wide)
                state = replace(state, cursor=cursor)
            else:
                if belief is None:
                    state = _up_to_date(state)
                    belief = _belief(state)
                x, known = _most_promising(state, belief)
                crowded = len(state.waiting) + 1 >= _MANY
                belief = None if crowded else belief.expecting(features(space, space.snap(x)))
            state = replace(state, known=known)
            if not len(x):
                break
            found.append(x)
            state = replace(
                state,
                asked=state.asked + 1,
                waiting=np.concatenate([state.waiting, space.snap(x)]),
                numbers=np.append(state.numbers, state.asked),
            )
        points = np.concatenate(found)
        return state, Batch(points, np.arange(first, first + len(points)))

    def asks_slowly(self) -> bool:
        return True

    def tell(self, state: GaussianState, batch: Batch, outcome: Outcome) -> GaussianState:
        """Remember; models take it in when they are asked next."""
        there = np.isin(state.numbers, batch.number)
        constraint = outcome.constraint
        if constraint is None:
            constraint = np.empty((len(batch), 0))
        return replace(
            state,
            x=np.concatenate([state.x, batch.x]),
            loss=_stacked(state.loss, outcome.loss),
            constraint=_stacked(state.constraint, constraint),
            waiting=state.waiting[~there],
            numbers=state.numbers[~there],
            known=state.known.tell(state.space, batch),
        )

    def _knows_too_little(self, state: GaussianState) -> bool:
        return len(state.x) + len(state.waiting) < self.initial or len(state.x) < 2


def _up_to_date(state: GaussianState) -> GaussianState:
    """The state whose models have taken in all that was told."""
    at, y = features(state.space, state.x), targets(state.loss, state.constraint)
    layout = encoding(state.space).layout
    return replace(state, surrogate=state.surrogate.updated(layout, at, y))


def _belief(state: GaussianState) -> Belief:
    """What is held, pending points included unless they are many."""
    waiting = features(state.space, state.waiting[: 0 if _is_crowded(state) else None])
    y, good = targets(state.loss, state.constraint), feasible(state.loss, state.constraint)
    belief = believed(state.surrogate.models, y, state.loss.shape[1], good)
    for i in range(len(waiting)):  # one by one, as asks may be made one by one
        belief = belief.expecting(waiting[i : i + 1])
    return belief


def _is_crowded(state: GaussianState) -> bool:
    return len(state.waiting) >= _MANY


def _most_promising(state: GaussianState, belief: Belief) -> tuple[Floats, Known]:
    """The point (1, d) that promises most of those that may be proposed, if there is any."""
    space, rng = state.space, generator(state.seed, state.asked, _STREAM)
    wide = sequence(space, state.seed)((state.asked + 1) * _BLOCK, _BLOCK)
    best = state.x[np.argsort(below(state.loss), kind="stable")[:_BESTS]]
    step = np.tile(0.5 ** np.arange(1, _NEAR + 1), len(best))
    draws = rng.random((len(step), 3 * space.dim))
    near = neighbours(space, np.repeat(best, _NEAR, axis=0), step, draws)
    x = space.snap(np.concatenate([wide, near]))
    if space.constraints:
        x = x[space.allowed(space.decode(x))]
    if len(belief.losses) > 2 or _is_crowded(state):
        x = x[np.argsort(-belief.drawn(features(space, x), rng), kind="stable")]
    elif len(x):
        promise = belief.promise(features(space, x))
        starts = np.argsort(-promise, kind="stable")[:_STARTS]
        x, _ = climb(space, belief.promise, belief.slopes, x, promise, starts, rng)
    taken = np.concatenate([state.x, state.waiting])
    return first_fresh(space, state.known, x, taken, rng)


def _stacked(old: Floats, new: Floats) -> Floats:
    """Rows one after the other; NaN in columns that some of them do not have."""
    c = max(old.shape[1], new.shape[1])
    wide = [np.pad(a, ((0, 0), (0, c - a.shape[1])), constant_values=np.nan) for a in (old, new)]
    return np.concatenate(wide)
