"""A team: several strategies, the members, search together and learn from one history.

Each member has a state of its own. The one whose turn it is proposes a point; what becomes of
it is told to all of them: to the one that proposed it as its own, to the others as a point
from elsewhere. Where a member proposes what another one waits for already, that point is
claimed by both, and the member is asked again; so no configuration comes twice.

Whose turn it is, subclasses say: `relay`, `portfolio`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..errors import UsageError
from ..rng import derived
from ..space import Space
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .base import AnyStrategy, State, Strategy
from .known import Keys, Known, fresh, keys_of


@dataclass(frozen=True, eq=False)
class TeamState(State):
    """What the members hold, and whose points are pending.

    members  m states
    waiting  (p,) numbers of points asked and not told; keys: (p,) of their configurations
    author   (p,) the member that proposed each
    claims   (p, m) number of each with each member; FOREIGN: it has not proposed it
    told     how many results are known
    known    configurations that have been proposed or told
    """

    members: tuple[State, ...] = field(kw_only=True)
    waiting: Ints = field(kw_only=True)
    keys: Keys = field(kw_only=True)
    author: Ints = field(kw_only=True)
    claims: Ints = field(kw_only=True)
    told: int = 0
    known: Known = field(default_factory=Known)


S = TypeVar("S", bound=TeamState)


@dataclass(frozen=True)
class Team(Strategy[S]):
    """Several strategies that share one history."""

    multi_objective: ClassVar[bool] = True  # if all members are
    constrained: ClassVar[bool] = True  # those that are not are told that such points are bad

    members: tuple[AnyStrategy, ...] = ()

    def __post_init__(self) -> None:
        from . import check, get

        given: Any = self.members
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise UsageError(f"option members: expected a list of strategies, found {given!r}")
        members = tuple(get(m)() if isinstance(m, str) else m for m in given)
        for member in members:
            check(member)
            if member.budgets():
                raise UsageError(
                    "option members: expected strategies that set no budgets, found "
                    f"{member!r}; take its sampler"
                )
        costs = {member.costs() for member in members} - {None}
        if len(costs) > 1:
            raise UsageError(
                f"option members: expected one kind of cost, found {sorted(map(str, costs))}"
            )
        object.__setattr__(self, "members", members)

    @abstractmethod
    def turns(self, state: S) -> Sequence[int]:
        """Members in the order in which they are asked for the next point."""

    def takes(self, objectives: int) -> bool:
        return all(member.takes(objectives) for member in self.members)

    def costs(self) -> str | None:
        return next(filter(None, (member.costs() for member in self.members)), None)

    def asks_slowly(self) -> bool:
        return any(member.asks_slowly() for member in self.members)

    def proposers(self, state: S, number: Ints) -> list[str]:
        """Classes of the members, those that are there several times numbered from 1."""
        names = [type(member).__name__ for member in self.members]
        for i, name in enumerate(tuple(names)):
            same = [type(member).__name__ == name for member in self.members]
            if sum(same) > 1:
                names[i] = f"{name} {sum(same[: i + 1])}"
        rows = np.searchsorted(state.waiting, number)
        return [names[i] for i in state.author[rows].tolist()]

    def max_pending(self, state: S, slots: int) -> int:
        """What every member can bear."""
        members = zip(self.members, state.members, strict=True)
        return min(member.max_pending(own, slots) for member, own in members)

    def _begun(self, cls: type[S], space: Space, seed: int) -> S:
        """A state of this class in which nothing has been asked."""
        m = len(self.members)
        members = tuple(s.init(space, derived(seed, i)) for i, s in enumerate(self.members))
        return cls(
            space,
            seed,
            members=members,
            waiting=np.zeros(0, np.int64),
            keys=np.zeros(0, np.uint64),
            author=np.zeros(0, np.int64),
            claims=np.zeros((0, m), np.int64),
        )

    def ask(self, state: S, n: int) -> tuple[S, Batch]:
        """One point after the other, each from the first member in turn that has one."""
        first, found = state.asked, [np.empty((0, state.space.dim))]
        for _ in range(n):
            for i in self.turns(state):
                state, x = self._from(state, i)
                if len(x):
                    break
            else:
                break
            found.append(x)
        return state, Batch(np.concatenate(found), np.arange(first, state.asked))

    def _from(self, state: S, i: int) -> tuple[S, Floats]:
        """The next new point (1, d) of member i, if it has any."""
        while True:
            own, batch = self.members[i].ask(state.members[i], 1)
            state = replace(state, members=_with(state.members, i, own))
            if not len(batch):
                return state, batch.x
            number = int(batch.number[0])
            ok, keys, finite = fresh(state.space, state.known, batch.x)
            if ok[0]:
                claims = np.full((1, len(self.members)), FOREIGN)
                claims[0, i] = number
                return replace(
                    state,
                    asked=state.asked + 1,
                    waiting=np.append(state.waiting, state.asked),
                    keys=np.append(state.keys, keys),
                    author=np.append(state.author, i),
                    claims=np.concatenate([state.claims, claims]),
                    known=state.known.add(keys[finite]),
                ), batch.x
            claims = state.claims.copy()  # if it was told already, the member waits for nothing
            claims[state.keys == keys[0], i] = number
            state = replace(state, claims=claims)

    def tell(self, state: S, batch: Batch, outcome: Outcome) -> S:
        """All members learn."""
        keys, finite = keys_of(state.space, state.space.decode(batch.x))
        rows = np.searchsorted(state.waiting, batch.number)
        own = batch.number != FOREIGN
        members = []
        for i, (strategy, member) in enumerate(zip(self.members, state.members, strict=True)):
            number = np.full(len(batch), FOREIGN)
            number[own] = state.claims[rows[own], i]
            told = outcome if strategy.constrained else outcome.unconstrained()
            members.append(strategy.tell(member, Batch(batch.x, number), told))
        left = ~np.isin(state.waiting, batch.number)
        return replace(
            state,
            members=tuple(members),
            waiting=state.waiting[left],
            keys=state.keys[left],
            author=state.author[left],
            claims=state.claims[left],
            told=state.told + len(batch),
            known=state.known.add(keys[finite]),
        )


def _with(members: tuple[State, ...], i: int, member: State) -> tuple[State, ...]:
    return (*members[:i], member, *members[i + 1 :])
