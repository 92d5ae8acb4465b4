"""NSGA-II: a population that spreads along the front of what cannot be improved for free.

Parents are ordered by the rank of their front, and within a front by their crowding distance,
the lonelier first (`pareto`). Children come from tournaments in this order (`variation`). Once
N results have been told, the best N of parents and children together become the parents.

Constraints (`Outcome.constraint`, at most 0) count before losses: what violates none dominates
what violates any, and of two that do the less violating dominates; an unknown value violates.

No straggler is waited for: whatever N results come first make a generation. A failed trial
takes no part, as if its point had been drawn again. Points from elsewhere count as children.

x  (p, d)  parents, best first         loss       (p, m)  their losses
           p = 0 before the first N    violation  (p,)    sum of max(0, constraint)

Deb, Pratap, Agarwal & Meyarivan (2002), "A fast and elitist multiobjective genetic algorithm:
NSGA-II", IEEE Transactions on Evolutionary Computation 6(2).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import State, Strategy
from .known import Known
from .options import check_int
from .pareto import crowding, fronts, violations
from .pending import Pending
from .variation import bred


@dataclass(frozen=True, eq=False)
class Members:
    """Individuals, and what became of them; see the head of this file."""

    x: Floats
    loss: Floats
    violation: Floats

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Ints) -> Members:
        """Some of them, in this order."""
        return Members(self.x[rows], self.loss[rows], self.violation[rows])

    def __add__(self, others: Members) -> Members:
        loss = self.loss if len(self) else others.loss[:0]  # how many losses, is told first
        return Members(
            np.concatenate([self.x, others.x]),
            np.concatenate([loss, others.loss]),
            np.concatenate([self.violation, others.violation]),
        )


@dataclass(frozen=True, eq=False)
class NSGAState(State):
    """Parents, best first; children that have been told; places (d) of points that are pending."""

    parents: Members = field(kw_only=True)
    told: Members = field(kw_only=True)
    pending: Pending = field(kw_only=True)
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class NSGA2(Strategy[NSGAState]):
    """Several objectives: spreads along the front of the best compromises; constraints, too.

    population  individuals, >= 4

    Raises UsageError if the option is out of range.

    >>> from raysearch.space import Float, Space
    >>> search = NSGA2(population=4)
    >>> state, batch = search.ask(search.init(Space({"lr": Float(0, 1)}), seed=0), 4)
    >>> state = search.tell(state, batch, Outcome(loss=np.hstack([batch.x, 1 - batch.x])))
    >>> len(state.parents)
    4
    """

    multi_objective: ClassVar[bool] = True
    constrained: ClassVar[bool] = True

    population: int = 40

    def __post_init__(self) -> None:
        check_int(self, "population", 4)

    def init(self, space: Space, seed: int) -> NSGAState:
        """Nobody yet."""
        none = Members(np.zeros((0, space.dim)), np.zeros((0, 0)), np.zeros(0))
        return NSGAState(space, seed, parents=none, told=none, pending=Pending.none(space.dim))

    def ask(self, state: NSGAState, n: int) -> tuple[NSGAState, Batch]:
        """Children of the parents; random points as long as there are none."""
        parents = state.parents.x
        x, known = bred(state.space, state.known, state.seed, state.asked, n, parents)
        number = np.arange(state.asked, state.asked + len(x))
        pending = state.pending.add(number, x)
        state = replace(state, asked=state.asked + len(x), pending=pending, known=known)
        return state, Batch(x, number)

    def tell(self, state: NSGAState, batch: Batch, outcome: Outcome) -> NSGAState:
        """Complete the generation, and others after it."""
        pending, x, _ = state.pending.take(batch.number)
        foreign = batch.number == FOREIGN
        x[foreign] = batch.x[foreign]
        left = Members(x, outcome.loss, violations(outcome.constraint, len(batch)))
        left = left.take(np.flatnonzero(~np.isnan(outcome.loss).any(axis=1)))
        parents, told = state.parents, state.told
        while len(left):
            lacking = self.population - len(told)
            told = told + left.take(np.arange(min(lacking, len(left))))
            left = left.take(np.arange(min(lacking, len(left)), len(left)))
            if len(told) == self.population:
                parents = self._best(parents + told)
                told = told.take(np.arange(0))
        known = state.known.tell(state.space, batch)
        return replace(state, parents=parents, told=told, pending=pending, known=known)

    def max_pending(self, state: NSGAState, slots: int) -> int:
        """What the generation lacks, or every slot."""
        return max(slots, self.population - len(state.told))

    def _best(self, members: Members) -> Members:
        """Those that live on, best first: by their fronts, then by how lonely they are there."""
        n, rank = self.population, fronts(members.loss, members.violation)
        distance = np.zeros(len(members))
        for r in range(int(rank.max()) + 1):
            front = rank == r
            distance[front] = crowding(members.loss[front])
            if np.count_nonzero(rank <= r) >= n:
                break
        return members.take(np.lexsort((-distance, rank))[:n])
