"""Rungs that points climb by promotion: what the halving strategies share.

A point is trained to the budget of a rung and pauses there; if it is among the best it is
promoted: a new point, which goes on from the same configuration to the next rung's budget

    r_0 = min_budget,  r_k = min_budget eta^k,  ...,  the last one max_budget.

A bracket is a ladder of rungs that begins at one of them, its bottom. Points that have failed
are the worst of their rung, and never promoted. Points from elsewhere teach the sampler, but
are in no rung.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..space import Space
from ..trial import FOREIGN, ROOT, Batch, Floats, Ints, Outcome
from .fidelity import (
    NOBODY,
    Fidelity,
    FidelityState,
    Origin,
    check_budget,
    check_eta,
    ladder,
    row,
)
from .pareto import ranked


@dataclass(frozen=True, eq=False)
class Rung:
    """Results at one budget of one bracket, best first.

    number    (k,) of the points       x     (k, d) where they are    loss  (k, m)
    promoted  (k,) whether they went on
    origin    (k, 3) where each comes from
    """

    number: Ints
    x: Floats
    loss: Floats
    promoted: NDArray[np.bool_]
    origin: Ints

    @classmethod
    def empty(cls, dim: int) -> Rung:
        """Nobody has come here yet."""
        none = np.zeros(0, dtype=np.int64)
        origin = np.zeros((0, 3), dtype=np.int64)
        return cls(none, np.zeros((0, dim)), np.zeros((0, 1)), none.astype(bool), origin)

    def __len__(self) -> int:
        return len(self.number)

    def insert(self, number: int, x: Floats, loss: Floats, origin: Origin) -> Rung:
        """With one more result, x (1, d) and loss (1, m), in its place."""
        losses = np.concatenate([self.loss, loss]) if len(self) else loss
        order = ranked(losses)
        return Rung(
            np.append(self.number, number)[order],
            np.concatenate([self.x, x])[order],
            losses[order],
            np.append(self.promoted, False)[order],
            np.concatenate([self.origin, [origin]])[order],
        )

    def candidate(self, best: int) -> int | None:
        """The first of so many best that can be promoted, if there is one."""
        able = ~self.promoted[:best] & ~np.isnan(self.loss[:best]).any(axis=1)
        return int(np.argmax(able)) if able.any() else None

    def promote(self, i: int) -> Rung:
        """With point i gone on."""
        return replace(self, promoted=self.promoted | (np.arange(len(self)) == i))


@dataclass(frozen=True, eq=False)
class HalvingState(FidelityState):
    """Where all points are.

    brackets  their rungs; below a bracket's bottom they stay empty
    pending   (p, 6) points asked and not told: number, bracket, rung, origin
    spent     (b,) budget handed out in each bracket
    """

    brackets: tuple[tuple[Rung, ...], ...] = field(kw_only=True)
    spent: Floats = field(kw_only=True)


#: One point to ask for: x (1, d), budget, parent.
Job = tuple[Floats, float, int]


@dataclass(frozen=True)
class Halving(Fidelity[HalvingState]):
    """Promotes the best 1 / eta of each rung; subclasses say when."""

    max_budget: float = 81
    min_budget: float = 1
    eta: float = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budget(self, "max_budget")
        check_budget(self, "min_budget", self.max_budget)
        check_eta(self)

    @abstractmethod
    def bottoms(self) -> tuple[int, ...]:
        """The rung at which each bracket begins."""

    @abstractmethod
    def next(self, state: HalvingState) -> tuple[HalvingState, Job | None]:
        """The next point to ask for; None: nothing before something is told."""

    def budgets(self) -> tuple[float, ...]:
        return ladder(self.min_budget, self.max_budget, self.eta)

    def init(self, space: Space, seed: int) -> HalvingState:
        """Empty rungs."""
        bottoms, rungs = self.bottoms(), len(self.budgets())
        return HalvingState(
            space,
            seed,
            copies=self._copies(space, seed),
            brackets=((Rung.empty(space.dim),) * rungs,) * len(bottoms),
            pending=np.zeros((0, 6), dtype=np.int64),
            spent=np.zeros(len(bottoms)),
        )

    def ask(self, state: HalvingState, n: int) -> tuple[HalvingState, Batch]:
        """Points that go on, and new ones."""
        first, jobs = state.asked, [(np.empty((0, state.space.dim)), 0.0, ROOT)]
        while state.asked < first + n:
            state, job = self.next(state)
            if job is None:
                break
            jobs.append(job)
        x, budget, parent = zip(*jobs, strict=True)
        numbers = np.arange(first, state.asked)
        return state, Batch(np.concatenate(x), numbers, np.array(budget[1:]), np.array(parent[1:]))

    def tell(self, state: HalvingState, batch: Batch, outcome: Outcome) -> HalvingState:
        """Put points into their rungs, and let the samplers learn."""
        levels = self._level(batch, outcome).tolist()
        for i, (number, level) in enumerate(zip(batch.number.tolist(), levels, strict=True)):
            one, result = row(batch, outcome, i)
            if number == FOREIGN:
                if level >= 0:
                    copies = state.copies.observe(self.sampler, level, NOBODY, one, result)
                    state = replace(state, copies=copies)
            else:
                state = self._place(state, number, one, result)
        return state

    def _place(self, state: HalvingState, number: int, one: Batch, result: Outcome) -> HalvingState:
        at = int(np.argmax(state.pending[:, 0] == number))
        _, bracket, r, copy, own, author = state.pending[at].tolist()
        copies, failed = state.copies, np.isnan(result.loss).any()
        copies = copies.observe(self.sampler, r, own if copy == r else NOBODY, one, result)
        origin = Origin(copy, own, author)
        rung = state.brackets[bracket][r].insert(number, one.x, result.loss, origin)
        place = int(np.argmax(rung.number == number))
        if copy > r and (failed or place >= self.best(rung)):
            copies = copies.pass_over(self.sampler, copy, own, one.x, result.loss.shape[1])
            own = NOBODY
        origins = rung.origin.copy()
        origins[place] = copy, NOBODY if copy == r else own, author
        rung = replace(rung, origin=origins)
        state = _with_rung(replace(state, copies=copies), bracket, r, rung)
        return replace(state, pending=np.delete(state.pending, at, axis=0))

    def best(self, rung: Rung) -> int:
        """How many points of a rung are its best 1 / eta."""
        return int(len(rung) / self.eta)

    def max_pending(self, state: HalvingState, slots: int) -> int:
        """What is needed now: what is asked for ahead of time could not be promoted any more."""
        return min(slots, self.sampler.max_pending(state.copies.states[0], slots))

    def _sample(self, state: HalvingState, bracket: int) -> tuple[HalvingState, Job | None]:
        """A new point at the bottom of a bracket, if the sampler has one."""
        r = self.bottoms()[bracket]
        copies, x, origin = state.copies.propose(self.sampler, r)
        state = replace(state, copies=copies)
        return self._asked(state, bracket, r, origin, x, ROOT) if len(x) else (state, None)

    def _promote(
        self, state: HalvingState, bracket: int, r: int, i: int
    ) -> tuple[HalvingState, Job]:
        """Point i of a rung goes on to the next one."""
        rung = state.brackets[bracket][r]
        state = _with_rung(state, bracket, r, rung.promote(i))
        origin, parent = Origin(*rung.origin[i].tolist()), int(rung.number[i])
        return self._asked(state, bracket, r + 1, origin, rung.x[i : i + 1], parent)

    def _asked(
        self, state: HalvingState, bracket: int, r: int, origin: Origin, x: Floats, parent: int
    ) -> tuple[HalvingState, Job]:
        budget = self.budgets()[r]
        entry = np.array([[state.asked, bracket, r, *origin]])
        spent = state.spent + budget * (np.arange(len(state.spent)) == bracket)
        pending = np.concatenate([state.pending, entry])
        state = replace(state, asked=state.asked + 1, pending=pending, spent=spent)
        return state, (x, budget, parent)

    def _asynchronous(self, state: HalvingState, bracket: int) -> tuple[HalvingState, Job | None]:
        """get_job of Li et al. (2020), Algorithm 2, in one bracket."""
        for r in reversed(range(self.bottoms()[bracket], len(self.budgets()) - 1)):
            rung = state.brackets[bracket][r]
            i = rung.candidate(self.best(rung))
            if i is not None:
                return self._promote(state, bracket, r, i)
        return self._sample(state, bracket)


def _with_rung(state: HalvingState, bracket: int, r: int, rung: Rung) -> HalvingState:
    rungs = state.brackets[bracket]
    rungs = (*rungs[:r], rung, *rungs[r + 1 :])
    brackets = (*state.brackets[:bracket], rungs, *state.brackets[bracket + 1 :])
    return replace(state, brackets=brackets)
