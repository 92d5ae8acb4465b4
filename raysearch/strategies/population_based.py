"""Population-based training: hyperparameters evolve while the networks are trained.

A member of the population is a training under way: weights, and hyperparameters h. Each is
trained in stretches of `interval` steps. A member that is ready for its next stretch

    exploits  if it is bad, it takes over the weights and hyperparameters of a better one
    explores  and then changes these hyperparameters a little: `explore`

and otherwise goes on as it is. So a schedule of hyperparameters is found in the time of one
training of all members. The two ways to exploit:

    truncation  a member among the worst `fraction` copies one of the best `fraction`
    tournament  a member copies another one, drawn at random, that is better

A stretch is a trial. Its parent is the trial whose checkpoint it goes on from, its budget how far
that training is then: one stretch further than its parent. A member is compared with those that
are, or have been, as far as it is, so that nobody waits for a straggler; which, if it is bad, goes
on from where a faster member is now. Of members that are ready, those least far come first: more
members than slots take turns.

A member whose stretch has failed is the worst: it takes over another one, if there is one that
has not failed; else it goes on from its own last success, with other hyperparameters; else it
begins anew. A failed stretch counts like any other, so that there is an end.

Jaderberg, Dalibard, Osindero, Czarnecki, Donahue, Razavi, Vinyals, Green, Dunning, Simonyan,
Fernando & Kavukcuoglu (2017), "Population based training of neural networks", Algorithm 1.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import numpy as np

from .. import rng
from ..errors import UsageError
from ..space import Space
from ..trial import FOREIGN, ROOT, Batch, Floats, Ints, Outcome
from .bandit import CANDIDATES, Bandit, Progress, nothing
from .base import Mask, State, Strategy
from .explore import TRIES, Explore, explored, perturb, resample, width
from .fidelity import check_budget
from .options import check_choice, check_float, check_int, check_names
from .quasi_random import QuasiRandom
from .sequence import SequenceState

_EXPLORE: dict[str, Explore] = {"perturb": perturb, "resample": resample}
_FIRST = QuasiRandom()  # where members begin
_NOBODY = -2  # in `pending`
_STREAM = 8  # of random numbers


@dataclass(frozen=True, eq=False)
class Population(State):
    """p members; a trial is known by its number.

    first    state of the strategy that proposes where members begin
    clock    (p,) how many stretches each has begun, those of copies that it took over included
    number   (p,) the last trial of each that succeeded; ROOT: none
    x        (p, d) its hyperparameters
    level    (p,) how many stretches it is away from its very beginning
    curve    (p, s) losses on the way there, at the end of each stretch; NaN: not so far yet
    failed   (p,) whether the trial after that one has failed
    pending  (p,) the trial that runs; _NOBODY: none
    tried    (p, d) its hyperparameters
    parent   (p,) that it goes on from, or ROOT
    goal     (p,) the level where it ends
    before   (p, s) the curve of that parent
    seen     what stretches have achieved, of those that have a parent
    """

    _: KW_ONLY
    first: SequenceState
    clock: Ints
    number: Ints
    x: Floats
    level: Ints
    curve: Floats
    failed: Mask
    pending: Ints
    tried: Floats
    parent: Ints
    goal: Ints
    before: Floats
    seen: Progress


@dataclass(frozen=True)
class PopulationBased(Strategy[Population]):
    """Trains a population at once; bad members go on from copies of good ones, a little changed.

    population  members, at least 2, and with truncation at least 1 / fraction
    max_budget  of a full training, in steps or whatever the objective counts in, > 0
    interval    steps from one chance to exploit to the next, in (0, max_budget]
    exploit     "truncation" or "tournament"
    explore     "perturb", "resample" or "bandit"
    fraction    of the population that counts as bad, and as good, in (0, 0.5]

    inherit     names of the entries of a state, as it was saved, that a member takes over when it
                exploits; the others are left out of what it loads, so that they begin anew: such
                as an optimizer's momentum. None: everything. A member that goes on with its own
                training always does so with all of it

    Raises UsageError if an option is out of range.

    >>> from raysearch.space import Float, Space
    >>> from raysearch.trial import Outcome
    >>> pbt = PopulationBased(population=5, max_budget=2, interval=1)
    >>> state, batch = pbt.ask(pbt.init(Space({"lr": Float(0, 1)}), seed=0), 5)
    >>> state = pbt.tell(state, batch, Outcome(loss=np.array([[0.3], [0.1], [0.5], [0.9], [0.4]])))
    >>> _, batch = pbt.ask(state, 5)
    >>> batch.parent.tolist(), batch.budget.tolist()
    ([0, 1, 2, 1, 4], [2.0, 2.0, 2.0, 2.0, 2.0])
    """

    population: int = 20
    max_budget: float = 100.0
    interval: float = 10.0
    exploit: Literal["truncation", "tournament"] = "truncation"
    explore: Literal["perturb", "resample", "bandit"] = "perturb"
    fraction: float = 0.2
    inherit: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_int(self, "population", low=2)
        check_budget(self, "max_budget")
        check_budget(self, "interval", self.max_budget)
        check_choice(self, "exploit", ("truncation", "tournament"))
        check_choice(self, "explore", (*_EXPLORE, "bandit"))
        check_float(self, "fraction", 0, 0.5)
        check_names(self, "inherit")
        if self.exploit == "truncation" and not self._part(self.population):
            raise UsageError(
                f"option population: expected at least 1 / fraction = {1 / self.fraction:g}, so "
                f"that one member counts as bad, found {self.population}; raise it, or fraction"
            )

    def budgets(self) -> tuple[float, ...]:
        """Where stretches end."""
        n = int(np.ceil(self.max_budget / self.interval * (1 - 1e-9)))
        return (*(k * self.interval for k in range(1, n)), self.max_budget)

    def init(self, space: Space, seed: int) -> Population:
        """Nobody has begun."""
        p = self.population
        none, zero = np.full(p, ROOT), np.zeros(p, dtype=np.int64)
        unknown = np.full((p, len(self.budgets())), np.nan)
        return Population(
            space,
            seed,
            first=_FIRST.init(space, seed),
            clock=zero,
            number=none,
            x=np.zeros((p, space.dim)),
            level=zero,
            curve=unknown,
            failed=np.zeros(p, dtype=bool),
            pending=np.full(p, _NOBODY),
            tried=np.zeros((p, space.dim)),
            parent=none,
            goal=zero,
            before=unknown,
            seen=nothing(space.dim),
        )

    def ask(self, state: Population, n: int) -> tuple[Population, Batch]:
        """The next stretches of members that are ready."""
        first, points = state.asked, [np.empty((0, state.space.dim))]
        goals: list[float] = []
        parents: list[int] = []
        while state.asked < first + n and (i := self._ready(state)) is not None:
            state, x = self._begin(state, i)
            points.append(x)
            if len(x):
                goals.append(self.budgets()[state.goal[i] - 1])
                parents.append(int(state.parent[i]))
        numbers = np.arange(first, state.asked)
        budget, parent = np.array(goals, dtype=np.float64), np.array(parents, dtype=np.int64)
        return state, Batch(np.concatenate(points), numbers, budget, parent)

    def tell(self, state: Population, batch: Batch, outcome: Outcome) -> Population:
        """Members are ready again."""
        first = _FIRST.tell(state.first, *_foreign(batch, outcome))
        number, level, failed = state.number.copy(), state.level.copy(), state.failed.copy()
        pending, curve, x = state.pending.copy(), state.curve.copy(), state.x.copy()
        seen = state.seen
        for row in np.flatnonzero(batch.number != FOREIGN):
            i = int(np.argmax(pending == batch.number[row]))
            loss, goal = outcome.loss[row, 0], state.goal[[i]]
            if goal[0] > 1:
                with np.errstate(invalid="ignore"):  # both may be infinite
                    change = loss - state.before[i, goal - 2]
                seen = seen.told(batch.x[[row]], goal, change)
            pending[i], failed[i] = _NOBODY, np.isnan(loss)
            if not failed[i]:
                number[i], x[i], level[i] = batch.number[row], batch.x[row], state.goal[i]
                curve[i] = state.before[i]
                curve[i, level[i] - 1] = loss
        return replace(
            state,
            first=first,
            number=number,
            x=x,
            level=level,
            curve=curve,
            failed=failed,
            pending=pending,
            seen=seen,
        )

    def parents(self, state: Population) -> Ints:
        """The last success of each member, and what running stretches go on from."""
        runs = state.parent[state.pending != _NOBODY]
        return np.setdiff1d(np.concatenate([state.number, runs]), [ROOT])

    def inherits(self, state: Population, number: Ints) -> list[tuple[str, ...] | None] | None:
        """By those that exploit: they do not go on from their own last success."""
        if self.inherit is None:
            return None
        mine = [int(np.argmax(state.pending == n)) for n in number]
        own = (state.parent == ROOT) | (state.parent == state.number)
        return [None if own[i] else self.inherit for i in mine]

    def max_pending(self, state: Population, slots: int) -> int:
        """What can run: a stretch that is begun ahead of time knows less of the others."""
        return min(slots, self.population)

    def _part(self, members: int) -> int:
        """How many of them are bad, and how many good."""
        return int(self.fraction * members + 1e-9)

    def _ready(self, state: Population) -> int | None:
        """The member whose turn it is."""
        most = len(self.budgets())
        clock = np.where(state.pending == _NOBODY, state.clock, most)
        return int(np.argmin(clock)) if clock.min() < most else None

    def _begin(self, state: Population, i: int) -> tuple[Population, Floats]:
        """Member i goes on, where (1, d) says; (0, d): it cannot."""
        tries = CANDIDATES if self.explore == "bandit" else TRIES
        u = rng.uniform(state.seed, state.asked, 1, 1 + width(state.space.dim, tries), _STREAM)[0]
        j = self._exploited(state, i, u[0])
        first, parent, goal = state.first, int(state.number[j]), int(state.level[j]) + 1
        if parent == ROOT:
            first, new = _FIRST.ask(first, 1)
            x = new.x
        elif j != i or state.failed[i]:
            x = explored(self._explore(state, goal), state.space, state.x[[j]], u[1:])
        else:
            x = state.x[[i]]
        me = np.arange(self.population) == i
        if not len(x):  # there are no more points in this space
            retired = np.where(me, len(self.budgets()), state.clock)
            return replace(state, first=first, clock=retired), x
        return replace(
            state,
            asked=state.asked + 1,
            first=first,
            clock=np.where(me, np.maximum(state.clock + 1, goal), state.clock),
            pending=np.where(me, state.asked, state.pending),
            tried=np.where(me[:, None], x, state.tried),
            parent=np.where(me, parent, state.parent),
            goal=np.where(me, goal, state.goal),
            before=np.where(me[:, None], state.curve[j], state.before),
        ), x

    def _explore(self, state: Population, goal: int) -> Explore:
        """How hyperparameters of a stretch to this level are found."""
        if self.explore != "bandit":
            return _EXPLORE[self.explore]
        runs, levels = state.pending != _NOBODY, len(self.budgets())
        return Bandit(state.seen, state.tried[runs], state.goal[runs], goal, levels)

    def _exploited(self, state: Population, i: int, u: float) -> int:
        """The member whose weights member i goes on with; itself, if it is not bad."""
        failed = bool(state.failed[i])
        if not state.clock[i]:
            return i
        loss = state.curve[:, max(int(state.level[i]), 1) - 1]  # where member i is
        known = np.flatnonzero(~np.isnan(loss) & ~state.failed)
        order = known[np.argsort(loss[known], kind="stable")]
        if self.exploit == "tournament":
            others = order[order != i]
        else:
            part = self._part(len(order))
            if not failed and i not in order[len(order) - part :]:
                return i
            others = order[: max(part, 1)]
        others = others[state.level[others] < len(self.budgets())]  # not trained in full yet
        if not len(others):
            return i
        j = int(others[int(u * len(others))])
        return j if failed or loss[j] < loss[i] else i


def _foreign(batch: Batch, outcome: Outcome) -> tuple[Batch, Outcome]:
    """The points from elsewhere: nobody is to begin there once more."""
    rows = batch.number == FOREIGN
    return Batch(batch.x[rows], batch.number[rows]), Outcome(outcome.loss[rows])
