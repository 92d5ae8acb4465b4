"""What multi-fidelity strategies share: budgets, and samplers that learn from each of them.

Losses at different budgets cannot be compared, so each rung has a sampler of its own: copy r
of the sampler's state is told what was observed at rung r. New points come from the copy of
the highest rung that at least d + 3 points have succeeded at, otherwise from that of the
lowest rung: the rule of BOHB (Falkner, Klein & Hutter, 2018, "BOHB: robust and efficient
hyperparameter optimization at scale", sec. 4), for any sampler; and with differential
evolution one subpopulation for each budget, as DEHB has (Awad, Mallik & Hutter, 2021).

A copy proposes points that begin at a lower rung than its own. Those that are passed over
there it is told as infinitely bad, so that it waits for none of them in vain; should one come
up later after all, it is told as a point from elsewhere. Samplers that do not look at losses
need no copies.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from ..errors import UsageError
from ..rng import derived
from ..scalars import real
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import ANY_NUMBER, AnyStrategy, State, Strategy
from .known import Known, fresh, keys_of
from .random import RandomSearch

#: number of a point with its copy, of one that its copy does not wait for; and who has proposed
#: it, where the sampler does not say
NOBODY = -1


class Origin(NamedTuple):
    """Where a point comes from: a copy of the sampler, its number there, its author's index."""

    copy: int
    own: int
    author: int


@dataclass(frozen=True, eq=False)
class Copies:
    """The sampler's states.

    blind      whether the sampler does not look at losses
    states     one for each rung; a single one if it is blind
    successes  (r,) how many points have succeeded at each rung
    known      the configurations that any of them has proposed or was told
    authors    whom the sampler has named as proposers of its points; none: itself
    """

    blind: bool
    states: tuple[State, ...]
    successes: Ints
    known: Known = field(default_factory=Known)
    authors: tuple[str, ...] = ()

    def propose(self, sampler: AnyStrategy, bottom: int) -> tuple[Copies, Floats, Origin]:
        """A new point that is to begin at rung `bottom`.

        Returns the copies; the point (1, d), or (0, d) if the sampler has none now; and where it
        comes from.
        """
        copies, space = self, self.states[0].space
        for c in self._order(bottom):
            while True:
                copy, batch = sampler.ask(copies.states[c], 1)
                copies = copies._with(c, copy)
                if not len(batch):
                    break
                ok, keys, finite = fresh(space, copies.known, batch.x)
                own = NOBODY if self.blind else int(batch.number[0])
                if ok[0]:
                    copies = replace(copies, known=copies.known.add(keys[finite]))
                    copies, author = copies._signed(sampler.proposers(copy, batch.number))
                    return copies, batch.x, Origin(c, own, author)
                copies = copies.pass_over(sampler, c, own, space.snap(batch.x), 1)
        return copies, np.empty((0, space.dim)), Origin(0, NOBODY, NOBODY)

    def _signed(self, names: list[str] | None) -> tuple[Copies, int]:
        """The copies that know who has proposed a point, and the index of that name."""
        if names is None:
            return self, NOBODY
        new = tuple(name for name in names if name not in self.authors)
        copies = replace(self, authors=self.authors + new)
        return copies, copies.authors.index(names[0])

    def _order(self, bottom: int) -> list[int]:
        """Copies to be asked: the highest that knows enough, then those below it."""
        if self.blind:
            return [0]
        enough = np.flatnonzero(self.successes >= self.states[0].space.dim + 3)
        first = max(bottom, int(enough.max(initial=bottom)))
        return list(range(first, bottom - 1, -1))

    def observe(
        self, sampler: AnyStrategy, rung: int, own: int, batch: Batch, outcome: Outcome
    ) -> Copies:
        """Take in a loss at a rung; `own` is the point's number with that rung's copy."""
        space = self.states[0].space
        ok = int(not np.isnan(outcome.loss).any())
        successes = self.successes + ok * (np.arange(len(self.successes)) == rung)
        keys, finite = keys_of(space, space.decode(batch.x))
        copies = replace(self, successes=successes, known=self.known.add(keys[finite]))
        if self.blind:
            return copies
        told = Batch(batch.x, np.array([own if own != NOBODY else FOREIGN]))
        return copies._with(rung, sampler.tell(self.states[rung], told, outcome))

    def pass_over(self, sampler: AnyStrategy, copy: int, own: int, x: Floats, m: int) -> Copies:
        """Tell a copy that a point of its own will not come as far as its rung."""
        if own == NOBODY:
            return self
        outcome = Outcome(np.full((1, m), math.inf))
        told = sampler.tell(self.states[copy], Batch(x, np.array([own])), outcome)
        return self._with(copy, told)

    def _with(self, c: int, state: State) -> Copies:
        return replace(self, states=(*self.states[:c], state, *self.states[c + 1 :]))


@dataclass(frozen=True, eq=False)
class FidelityState(State):
    """What every multi-fidelity strategy's state has.

    copies   of the sampler
    pending  (p, w) points asked and not told: first their number, last their origin
    """

    copies: Copies = field(kw_only=True)
    pending: Ints = field(kw_only=True)


S = TypeVar("S", bound=FidelityState)


@dataclass(frozen=True)
class Fidelity(Strategy[S]):
    """A strategy that decides how far the points of another one, the sampler, are trained."""

    multi_objective: ClassVar[bool] = True  # if the sampler is

    sampler: AnyStrategy = field(default_factory=RandomSearch)

    def __post_init__(self) -> None:
        from . import check

        check(self.sampler)
        if isinstance(self.sampler, Fidelity):
            raise UsageError(
                f"option sampler: expected a strategy that does not set budgets itself, found "
                f"{self.sampler!r}; take its sampler, {self.sampler.sampler!r}"
            )

    def takes(self, objectives: int) -> bool:
        return self.sampler.takes(objectives)

    def costs(self) -> str | None:
        return self.sampler.costs()

    def proposers(self, state: S, number: Ints) -> list[str] | None:
        """Whom the sampler has named; who goes on is named as the one that it was at first."""
        authors, pending = state.copies.authors, state.pending
        if not authors:
            return None
        rows = np.searchsorted(pending[:, 0], number)
        return [authors[author] for author in pending[rows, -1].tolist()]

    @abstractmethod
    def budgets(self) -> tuple[float, ...]:
        """The budgets at which points are compared, ascending; the last one is in full."""

    def _copies(self, space: Space, seed: int) -> Copies:
        first = self.sampler.init(space, seed)
        blind = self.sampler.max_pending(first, 1) >= ANY_NUMBER
        levels = len(self.budgets())
        others = () if blind else range(1, levels)
        states = (first, *(self.sampler.init(space, derived(seed, r)) for r in others))
        return Copies(blind, states, np.zeros(levels, dtype=np.int64))

    def _level(self, batch: Batch, outcome: Outcome) -> Ints:
        """(k,) the highest rung that each point told has reached; -1 if none."""
        budgets = np.array(self.budgets())
        reached = outcome.budget if outcome.budget is not None else batch.budget
        if reached is None:
            return np.full(len(batch), len(budgets) - 1)
        return np.searchsorted(budgets, reached * (1 + 1e-9), side="right") - 1


def row(batch: Batch, outcome: Outcome, i: int) -> tuple[Batch, Outcome]:
    """One point of a batch, with its loss, constraints, gradient and cost."""
    one = slice(i, i + 1)
    return Batch(batch.x[one], batch.number[one]), Outcome(
        outcome.loss[one],
        constraint=None if outcome.constraint is None else outcome.constraint[one],
        gradient=None if outcome.gradient is None else outcome.gradient[one],
        cost=None if outcome.cost is None else outcome.cost[one],
    )


def check_budget(strategy: object, option: str, high: float = math.inf) -> None:
    """Raise UsageError unless the option is a finite number with 0 < value <= high."""
    value = getattr(strategy, option)
    number = real(value)
    if number is None or not 0 < number <= high or math.isinf(number):
        wanted = "> 0" if math.isinf(high) else f"in (0, {high:g}]"
        raise UsageError(f"option {option}: expected a number {wanted}, found {value!r}")
    object.__setattr__(strategy, option, number)


def check_eta(strategy: object) -> None:
    """Raise UsageError unless option eta is a finite number > 1."""
    number = real(getattr(strategy, "eta"))  # noqa: B009  # whatever has one
    if number is None or not 1 < number < math.inf:
        raise UsageError(f"option eta: expected a number > 1, found {strategy.eta!r}")  # type: ignore[attr-defined]
    object.__setattr__(strategy, "eta", number)


def ladder(min_budget: float, max_budget: float, eta: float) -> tuple[float, ...]:
    """Budgets min eta^k below max, and max itself.

    >>> ladder(1, 81, 3)
    (1.0, 3.0, 9.0, 27.0, 81.0)
    >>> ladder(0.25, 1, 3)
    (0.25, 0.75, 1.0)
    """
    steps: list[float] = []
    while (budget := min_budget * float(eta) ** len(steps)) < max_budget * (1 - 1e-9):
        steps.append(budget)
    return (*steps, float(max_budget))
