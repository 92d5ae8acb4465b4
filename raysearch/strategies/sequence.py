"""Strategies that go through an endless sequence of points, whatever the losses are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..space import Space
from ..trial import Batch, Floats, Outcome
from .base import ANY_NUMBER, State, Strategy
from .known import Known
from .proposals import explore


@dataclass(frozen=True, eq=False)
class SequenceState(State):
    """How far the sequence has been gone through.

    known   what is not to be proposed any more
    cursor  how many candidates have been used up; more than were asked for, where some
            were illegal or known
    """

    known: Known = field(default_factory=Known)
    cursor: int = 0


@dataclass(frozen=True)
class Sequence(Strategy[SequenceState]):
    """Proposes the candidates of a sequence in order, leaving out illegal and known ones."""

    multi_objective: ClassVar[bool] = True

    @abstractmethod
    def candidates(self, space: Space, seed: int, first: int, n: int) -> Floats:
        """Points first .. first+n-1 of the sequence, shape (n, d)."""

    def init(self, space: Space, seed: int) -> SequenceState:
        """Nothing used up yet."""
        return SequenceState(space, seed)

    def ask(self, state: SequenceState, n: int) -> tuple[SequenceState, Batch]:
        """The next n that are legal and new; fewer once a finite space is used up."""
        space, seed = state.space, state.seed

        def candidates(first: int, count: int) -> Floats:
            return self.candidates(space, seed, first, count)

        x, known, cursor = explore(space, state.known, seed, state.cursor, n, candidates)
        batch = Batch(x, np.arange(state.asked, state.asked + len(x)))
        return replace(state, asked=state.asked + len(x), known=known, cursor=cursor), batch

    def tell(self, state: SequenceState, batch: Batch, outcome: Outcome) -> SequenceState:
        """Losses change nothing; points from elsewhere are not proposed again."""
        return replace(state, known=state.known.tell(state.space, batch))

    def max_pending(self, state: SequenceState, slots: int) -> int:
        """Any number: the sequence does not depend on losses."""
        return ANY_NUMBER
