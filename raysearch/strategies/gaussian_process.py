"""Bayesian optimisation: evaluate where a Gaussian process promises the greatest improvement.

A Gaussian process (`models.gp`) says what is believed of the loss everywhere, given what was
told. The next point maximises the logarithm of the expected improvement on the best that is
believed of any point told so far, t, times the probability that all constraints are met:

    x = argmax  log EI(x; t) + sum_j log P(c_j(x) <= 0),    t = min over told points of E f

Taking the belief at told points rather than what was told of them keeps noise out of t.

Points that are pending are believed to turn out as expected (the "kriging believer"). That
leaves the mean as it is, and takes away the variance around them: the next point goes
elsewhere. Losses are made normal by rank (`models.outputs`), hyperparameters are fitted anew
whenever a tenth more is known; between fits the model takes points in at O(n^2).

Jones, Schonlau & Welch (1998), "Efficient global optimization"; Ginsbourger, Le Riche &
Carraro (2010), "Kriging is well-suited to parallelize optimization"; Ament et al. (2023).

x           (n, d) told    loss    (n, m)    constraint  (n, c), at most 0 if met; NaN: unknown
waiting     (p, d) pending            numbers  (p,) theirs
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..models.gp import Process, condition, fit, prior
from ..rng import generator
from ..space import Space
from ..trial import Batch, Floats, Ints, Outcome
from .ascent import climb
from .base import State, Strategy
from .belief import Belief, believed, feasible, targets
from .features import encoding, features
from .known import Known, fresh
from .moves import neighbours
from .options import check_int
from .proposals import explore
from .quasi_random import QuasiRandom

_BLOCK = 256  # candidates of the quasi-random sequence, for every point
_BESTS, _NEAR = 8, 16  # points whose neighbours are candidates, and how many of each
_STARTS = 6  # of the ascent
_APART = 1e-7  # distance, in edges of the cube, under which two points are the same
_FITTED = 300  # points that hyperparameters are fitted to, at most
_STREAM = 5  # of random numbers for neighbours and moves


@dataclass(frozen=True, eq=False)
class GaussianState(State):
    """What was told, what is pending, and the models; see the head of this file.

    models  one for the loss, then one for each constraint; none: too little is known yet
    fitted  how many points the hyperparameters are fitted to
    seen    how many points the models have taken in
    cursor  how far the quasi-random sequence of the first points has been gone through
    """

    x: Floats = field(kw_only=True)
    loss: Floats = field(kw_only=True)
    constraint: Floats = field(kw_only=True)
    waiting: Floats = field(kw_only=True)
    numbers: Ints = field(kw_only=True)
    models: tuple[Process, ...] = ()
    fitted: int = 0
    seen: int = 0
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
                x, known, cursor = explore(
                    space, state.known, state.seed, state.cursor, 1, _sequence(state)
                )
                state = replace(state, known=known, cursor=cursor)
            else:
                if belief is None:
                    state = _up_to_date(state)
                    belief = _belief(state)
                x, known = _most_promising(state, belief)
                state = replace(state, known=known)
                belief = belief.expecting(features(space, space.snap(x)))
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

    def tell(self, state: GaussianState, batch: Batch, outcome: Outcome) -> GaussianState:
        """Remember; models take it in when they are asked next."""
        there = np.isin(state.numbers, batch.number)
        constraint = outcome.constraint
        if constraint is None:
            constraint = np.empty((len(batch), 0))
        return replace(
            state,
            x=np.concatenate([state.x, batch.x]),
            loss=np.concatenate([state.loss, outcome.loss]),
            constraint=_stacked(state.constraint, constraint),
            waiting=state.waiting[~there],
            numbers=state.numbers[~there],
            known=state.known.tell(state.space, batch),
        )

    def _knows_too_little(self, state: GaussianState) -> bool:
        return len(state.x) + len(state.waiting) < self.initial or len(state.x) < 2


def _sequence(state: GaussianState) -> Callable[[int, int], Floats]:
    """Candidates first .. first+count-1 of the search's quasi-random sequence."""
    return lambda first, count: QuasiRandom().candidates(state.space, state.seed, first, count)


def _up_to_date(state: GaussianState) -> GaussianState:
    """The state whose models have taken in all that was told."""
    told, layout = len(state.x), encoding(state.space).layout
    y = targets(state.loss, state.constraint)
    at = features(state.space, state.x)
    models = state.models
    if len(models) != len(y) or told - state.fitted >= max(1, state.fitted // 10):
        mean, _ = prior(layout.groups)
        chosen = _subset(state.loss[:, 0])
        fitted = []
        for j, column in enumerate(y):
            known = ~np.isnan(column)
            rows = chosen[known[chosen]]
            starts = [mean, models[j].theta] if len(models) == len(y) else [mean]
            theta = fit(layout, at[rows], column[rows], np.array(starts))
            fitted.append(condition(layout, theta, at[known]))
        return replace(state, models=tuple(fitted), fitted=told, seen=told)
    if told > state.seen:
        new = [at[state.seen :][~np.isnan(column[state.seen :])] for column in y]
        models = tuple(model.extended(rows) for model, rows in zip(models, new, strict=True))
    return replace(state, models=models, seen=told)


def _belief(state: GaussianState) -> Belief:
    """What is held, pending points included."""
    at, waiting = features(state.space, state.x), features(state.space, state.waiting)
    y, good = targets(state.loss, state.constraint), feasible(state.loss, state.constraint)
    belief = believed(state.models, y, at, good)
    for i in range(len(waiting)):  # one by one, as asks may be made one by one
        belief = belief.expecting(waiting[i : i + 1])
    return belief


def _subset(loss: Floats) -> Ints:
    """Rows that hyperparameters are fitted to: the best ones, and others evenly spread in time."""
    n = len(loss)
    if n <= _FITTED:
        return np.arange(n)
    best = np.argsort(loss, kind="stable")[: _FITTED // 2]
    others = np.setdiff1d(np.arange(n), best)
    spread = others[np.linspace(0, len(others) - 1, _FITTED - len(best)).astype(np.int64)]
    return np.union1d(best, spread)


def _most_promising(state: GaussianState, belief: Belief) -> tuple[Floats, Known]:
    """The point (1, d) that promises most among those that may be proposed, if there is any."""
    space, k = state.space, state.asked
    rng = generator(state.seed, k, _STREAM)
    wide = _sequence(state)((k + 1) * _BLOCK, _BLOCK)
    best = state.x[np.argsort(state.loss[:, 0], kind="stable")[:_BESTS]]
    step = np.tile(0.5 ** np.arange(1, _NEAR + 1), len(best))
    near = neighbours(
        space, np.repeat(best, _NEAR, axis=0), step, rng.random((len(step), 3 * space.dim))
    )
    x = space.snap(np.concatenate([wide, near]))
    if space.constraints:
        x = x[space.allowed(space.decode(x))]
    if len(x):
        x = _climbed(space, belief, x, rng)
    for first in range(0, len(x), _BLOCK):
        rows = x[first : first + _BLOCK]
        ok, keys, finite = fresh(space, state.known, rows)
        ok &= finite | _apart(rows, state.x, state.waiting)
        if ok.any():
            i = int(np.argmax(ok))
            return rows[i : i + 1], state.known.add(keys[i : i + 1][finite[i : i + 1]])
    drawn, known, _ = explore(
        space, state.known, state.seed, 0, 1, lambda _, count: rng.random((count, space.dim))
    )
    return drawn, known


def _climbed(space: Space, belief: Belief, x: Floats, rng: np.random.Generator) -> Floats:
    """Candidates, the most promising first, after an ascent from the best of x."""
    v = belief.promise(features(space, x))
    starts = np.argsort(-v, kind="stable")[:_STARTS]
    return climb(space, belief.promise, belief.slopes, x, v, starts, rng)[0]


def _apart(x: Floats, *others: Floats) -> NDArray[np.bool_]:
    """(n,) which points x (n, d) are none of the others."""
    apart = np.ones(len(x), dtype=bool)
    for other in others:
        for at in other:
            apart &= np.abs(x - at).max(axis=1) > _APART
    return apart


def _stacked(old: Floats, new: Floats) -> Floats:
    """Constraint values one after the other; NaN where there are fewer of them."""
    c = max(old.shape[1], new.shape[1])
    wide = [np.pad(a, ((0, 0), (0, c - a.shape[1])), constant_values=np.nan) for a in (old, new)]
    return np.concatenate(wide)
