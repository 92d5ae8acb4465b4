"""Bayesian optimisation: evaluate where a Gaussian process promises the greatest improvement.

A Gaussian process (`models.gp`) says what is believed of the loss everywhere, given what was
told. The next point maximises the logarithm of the expected improvement on the best that is
believed of any point told so far, t, times the probability that all constraints are met:

    x = argmax  log EI(x; t) + sum_j log P(c_j(x) <= 0),    t = min over told points of E f

With several losses the improvement is that of the hypervolume which their front dominates
(`belief`), for fronts on which that takes no more than a second or two.
Taking the belief at told points rather than what was told of them keeps noise out of t, and EI is
the augmented one, which leaves what is known but for its noise.
Points that are pending are believed to turn out as expected (the "kriging believer"). That
leaves the mean as it is, and takes away the variance around them: the next point goes
elsewhere. Where very many are pending, each point is the best of one function drawn from the
belief instead (Thompson sampling), which needs to know nothing of the others.

Where costs differ and `cost` is set, log EI is less the expected logarithm of the cost, by one more
model: improvement per unit of cost.

In spaces with conditions, branches of which little is known get suggestions for their own sake:
t is then the least that is expected of the branch (`branches`).

With acquisition "ucb" the confidence bound -m + sqrt(b) s takes the place of the expected
improvement. b grows with the number n of points told, of d parameters; it is a fifth of what
theory asks for, as in the experiments of Srinivas et al.:

    b = 2/5 log(d n^2 pi^2 / (6 delta)),    delta = 0.1

Jones, Schonlau & Welch (1998), "Efficient global optimization"; Srinivas, Krause, Kakade & Seeger
(2010), "Gaussian process optimization in the bandit setting"; Ginsbourger, Le Riche &
Carraro (2010), "Kriging is well-suited to parallelize optimization"; Ament et al. (2023),
"Unexpected improvements to expected improvement for Bayesian optimization".

x           (n, d) told    loss    (n, m)    constraint  (n, c), at most 0 if met; NaN: unknown
waiting     (p, d) pending            numbers  (p,) theirs
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from ..errors import UsageError
from ..models.threads import one_thread
from ..rng import generator
from ..space import Space
from ..trial import Batch, Floats, Ints, Outcome
from .ascent import climb
from .base import Strategy
from .belief import Belief, Price, believed, below, feasible, log_cost, targets
from .branches import Mask, inside, neglected
from .features import encoding, features
from .known import Known
from .moves import neighbours
from .options import check_choice, check_int
from .pareto import violations
from .quasi_random import QuasiRandom
from .surrogate import (
    Modelled,
    Surrogate,
    arrived,
    awaiting,
    explored,
    first_fresh,
    sequence,
    stacked,
)

_BLOCK = 256  # candidates of the quasi-random sequence, for every point
_BESTS, _NEAR = 8, 16  # points whose neighbours are candidates, and how many of each
_STARTS = 6  # of the ascent
_DEAREST = 1e5  # f^(m / 2), of a front of f points and m losses, for which volumes are computed
_MANY = 64  # points pending, from which on functions are drawn
_DELTA = 0.1  # probability that a confidence bound does not hold
_STREAM, _LUCK = 5, 9  # of random numbers: for neighbours and moves; for who of equals has them


@dataclass(frozen=True, eq=False)
class GaussianState(Modelled):
    """What was told, and what is pending.

    cost       (n,) of each point; NaN: unknown
    surrogate  models of the losses, then of each constraint, then of the cost
    """

    cost: Floats = field(kw_only=True)
    surrogate: Surrogate = field(default_factory=Surrogate)


@dataclass(frozen=True)
class GaussianProcess(Strategy[GaussianState]):
    """Bayesian optimization with a Gaussian process; the most from each of 10 to 2,000 trials.

    initial      quasi-random points before the model is asked, >= 2
    acquisition  "ei", the expected improvement; "ucb", the upper confidence bound, for one
                 objective; "thompson", functions drawn from the model
    cost         name of a metric, > 0, that tells what a trial has cost, or "seconds", how long it
                 ran: cheap trials are preferred. Functions that are drawn do not look at it

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
    constrained: ClassVar[bool] = True

    initial: int = 8
    acquisition: Literal["ei", "ucb", "thompson"] = "ei"
    cost: str | None = None

    def __post_init__(self) -> None:
        check_int(self, "initial", 2)
        check_choice(self, "acquisition", ("ei", "ucb", "thompson"))
        if self.cost is not None and (not isinstance(self.cost, str) or not self.cost):
            raise UsageError(f"option cost: expected the name of a metric, found {self.cost!r}")
        if self.cost is not None and self.acquisition == "thompson":
            raise UsageError(
                "option cost: expected None with acquisition='thompson', which does not look at "
                f"costs, found {self.cost!r}; take acquisition='ei' or 'ucb'"
            )

    def takes(self, objectives: int) -> bool:
        return objectives == 1 or self.acquisition != "ucb"

    def costs(self) -> str | None:
        return self.cost

    def init(self, space: Space, seed: int) -> GaussianState:
        """Nothing known."""
        QuasiRandom().init(space, seed)  # refuses spaces of too many parameters
        return GaussianState(
            space,
            seed,
            x=np.empty((0, space.dim)),
            loss=np.empty((0, 1)),
            constraint=np.empty((0, 0)),
            cost=np.empty(0),
            waiting=np.empty((0, space.dim)),
            numbers=np.empty(0, np.int64),
        )

    @one_thread()
    def ask(self, state: GaussianState, n: int) -> tuple[GaussianState, Batch]:
        """The first points quasi-random, then each where the models promise most."""
        space, first = state.space, state.asked
        found, belief = [np.empty((0, space.dim))], None
        for _ in range(n):
            if self._knows_too_little(state):
                state, x = explored(state)
            else:
                if belief is None:
                    state = _up_to_date(state)
                    belief = self._belief(state)
                x, known = self._most_promising(state, belief)
                state = replace(state, known=known)
                crowded = len(state.waiting) + 1 >= _MANY
                belief = None if crowded else belief.expecting(features(space, space.snap(x)))
            if not len(x):
                break
            found.append(x)
            state = awaiting(state, x)
        points = np.concatenate(found)
        return state, Batch(points, np.arange(first, first + len(points)))

    def asks_slowly(self) -> bool:
        return True

    def tell(self, state: GaussianState, batch: Batch, outcome: Outcome) -> GaussianState:
        """Remember; models take it in when they are asked next."""
        constraint = outcome.constraint
        if constraint is None:
            constraint = np.empty((len(batch), 0))
        cost = np.full(len(batch), np.nan) if outcome.cost is None else outcome.cost
        return replace(
            arrived(state, batch),
            x=np.concatenate([state.x, batch.x]),
            loss=stacked(state.loss, outcome.loss),
            constraint=stacked(state.constraint, constraint),
            cost=np.concatenate([state.cost, cost]),
        )

    def _knows_too_little(self, state: GaussianState) -> bool:
        return len(state.x) + len(state.waiting) < self.initial or len(state.x) < 2

    def _belief(self, state: GaussianState) -> Belief:
        """What is held, pending points included unless they are many."""
        waiting = features(state.space, state.waiting[: 0 if _is_crowded(state) else None])
        y, good = targets(state.loss, state.constraint), feasible(state.loss, state.constraint)
        models, m = state.surrogate.models, state.loss.shape[1]
        belief = believed(models[: len(y)], y, m, good, self._width(state))
        if len(models) > len(y):
            logs, unit = log_cost(state.cost)
            price = Price(models[-1].given(logs[~np.isnan(logs)]), unit)
            belief = replace(belief, price=price)
        for i in range(len(waiting)):  # one by one, as asks may be made one by one
            belief = belief.expecting(waiting[i : i + 1])
        return belief

    def _most_promising(self, state: GaussianState, belief: Belief) -> tuple[Floats, Known]:
        """The point (1, d) that promises most of those that may be proposed, if there is any."""
        broken = violations(state.constraint, len(state.x))
        luck = generator(state.seed, state.asked, _LUCK).random(len(state.x))  # of a whole front
        order = np.lexsort((luck, below(state.loss), broken))
        branch = neglected(state.space, state.asked, state.x, state.waiting, int(order[0]))
        x, known = self._best_of(state, belief, order, branch)
        if not inside(state.space, x, branch).all():  # nothing is left of the branch
            x, known = self._best_of(state, belief, order, None)
        return x, known

    def _best_of(
        self, state: GaussianState, belief: Belief, order: Ints, branch: Mask | None
    ) -> tuple[Floats, Known]:
        """Likewise of a branch, as long as something is left there; order: told points, by rank."""
        space, rng = state.space, generator(state.seed, state.asked, _STREAM)
        wide = sequence(space, state.seed)((state.asked + 1) * _BLOCK, _BLOCK)
        own = inside(space, state.x, branch)
        if branch is not None:
            belief = belief.among(own & feasible(state.loss, state.constraint))
        best = state.x[order[own[order]][:_BESTS]]
        step = np.tile(0.5 ** np.arange(1, _NEAR + 1), len(best))
        draws = rng.random((len(step), 3 * space.dim))
        near = neighbours(space, np.repeat(best, _NEAR, axis=0), step, draws)
        x = space.snap(np.concatenate([wide, near]))
        if space.constraints:
            x = x[space.allowed(space.decode(x))]
        x = x[inside(space, x, branch)]
        if self._draws(state, belief):
            x = x[np.argsort(-belief.drawn(features(space, x), rng), kind="stable")]
        elif len(x):
            promise = belief.promise(features(space, x))
            starts = np.argsort(-promise, kind="stable")[:_STARTS]
            x, _ = climb(space, belief.promise, belief.slopes, x, promise, starts, rng)
        x = x[np.argsort(~inside(space, x, branch), kind="stable")]  # climbs may leave the branch
        taken = np.concatenate([state.x, state.waiting])
        return first_fresh(space, state.known, x, taken, rng)

    def _width(self, state: GaussianState) -> float | None:
        """sqrt(b), of the confidence bound; None: there is none."""
        if self.acquisition != "ucb":
            return None
        n = len(state.x)
        return math.sqrt(0.4 * math.log(state.space.dim * (n * math.pi) ** 2 / (6 * _DELTA)))

    def _draws(self, state: GaussianState, belief: Belief) -> bool:
        """Whether the promise is that of functions drawn from the belief."""
        f, m = belief.front.shape
        return self.acquisition == "thompson" or f ** (m / 2) > _DEAREST or _is_crowded(state)


def _up_to_date(state: GaussianState) -> GaussianState:
    """The state whose models have taken in all that was told."""
    at, y = features(state.space, state.x), targets(state.loss, state.constraint)
    if not np.isnan(logs := log_cost(state.cost)[0]).all():
        y.append(logs)
    layout = encoding(state.space).layout
    return replace(state, surrogate=state.surrogate.updated(layout, at, y))


def _is_crowded(state: GaussianState) -> bool:
    return len(state.waiting) >= _MANY
