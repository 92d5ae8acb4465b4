"""Where a strategy lives while it searches: points become trials, results losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from .. import rng
from ..errors import StudyMismatch
from ..space import Columns, Space
from ..strategies.base import ANY_NUMBER, AnyStrategy
from ..trial import FOREIGN, Batch, Floats, Ints, Outcome
from .gradients import gradient_of
from .records import RETRIED, Finished, Objectives, Trials
from .work import Work

_SAME = 1e-9  # in the unit cube: machines differ in the last bits of logarithms


class Host(Protocol):
    """Who proposes trials, and is told what became of them."""

    def max_pending(self, slots: int) -> int:
        """How many points can be pending without harm, given that many slots."""

    def ask(self, n: int) -> Trials:
        """At most n trials."""

    def tell(self, finished: Finished) -> Finished:
        """Take in results; returns them with `after` as it is to be logged."""


class Nobody:
    """Proposes nothing, for a session that only runs its backlog once more."""

    def __init__(self, space: Space) -> None:
        self._none = Trials(np.zeros(0, np.int64), space.decode(np.zeros((0, space.dim))))

    def max_pending(self, slots: int) -> int:
        """Any number."""
        return ANY_NUMBER

    def ask(self, n: int) -> Trials:
        """None."""
        return self._none

    def tell(self, finished: Finished) -> Finished:
        """Mark them as told before."""
        return replace(finished, after=np.full(len(finished), RETRIED))


class Proposer:
    """Hosts a strategy and its state.

    strategy    whose state it is
    space       that is searched
    objectives  that turn metrics into losses
    seed        of the search
    first       number in the study of the strategy's first trial; where others have been
                before, its draws are not theirs
    """

    def __init__(
        self, strategy: AnyStrategy, space: Space, objectives: Objectives, seed: int, first: int = 0
    ) -> None:
        self.strategy = strategy
        self.space = space
        self.objectives = objectives
        self.first = first
        self.state = strategy.init(space, rng.derived(seed, first) if first else seed)

    @property
    def asked(self) -> int:
        """How many points the strategy has proposed."""
        return int(self.state.asked)

    def max_pending(self, slots: int) -> int:
        """How many points the strategy can bear to be pending, given that many slots."""
        return self.strategy.max_pending(self.state, slots)

    def ask(self, n: int) -> Trials:
        """At most n trials, with their numbers in the study."""
        self.state, batch = self.strategy.ask(self.state, n)
        return Trials(batch.number + self.first, self.space.decode(batch.x))

    def tell(self, finished: Finished) -> Finished:
        """Take in results, as they come."""
        self.tell_own(finished)
        return replace(finished, after=np.full(len(finished), self.asked))

    def tell_own(self, finished: Finished) -> None:
        """Take in results of trials that this strategy has proposed."""
        self._tell(finished, finished.number - self.first)

    def tell_foreign(self, finished: Finished) -> None:
        """Take in results of trials that this strategy did not propose."""
        self._tell(finished, np.full(len(finished), FOREIGN))

    def _tell(self, finished: Finished, number: Ints) -> None:
        batch = Batch(self.space.encode(finished.columns), number)
        gradient = gradient_of(finished.metrics, finished.columns, self.space)
        if gradient is not None and self.objectives.maximize[0]:
            gradient = -gradient
        loss = self.objectives.losses(finished.state, finished.metrics)
        outcome = Outcome(loss, gradient=gradient)
        self.state = self.strategy.tell(self.state, batch, outcome)


class Replay:
    """Brings a strategy back to where it was, by asking and telling as the log says it went.

    proposer  that hosts the strategy, fresh or told of foreign results only
    """

    def __init__(self, proposer: Proposer) -> None:
        self._proposer = proposer
        self._pending: dict[int, tuple[Columns, int]] = {}

    def take(self, finished: Finished) -> None:
        """Go through these, which come next in the log.

        Raises StudyMismatch if the strategy no longer proposes what it once did.
        """
        proposer = self._proposer
        bounds = np.flatnonzero(np.diff(finished.after)) + 1
        for start, stop in zip([0, *bounds], [*bounds, len(finished)], strict=True):
            part = finished.take(slice(int(start), int(stop)))
            after = int(part.after[0]) if len(part) else RETRIED
            if after == RETRIED:
                proposer.tell_foreign(part)
                continue
            if after > proposer.asked:
                asked = proposer.ask(after - proposer.asked)
                numbers = enumerate(asked.number.tolist())
                self._pending |= {number: (asked.columns, i) for i, number in numbers}
            self._check(part, [self._pending.pop(n, None) for n in part.number.tolist()])
            proposer.tell_own(part)

    def pending(self) -> list[Work]:
        """What the strategy knows as asked, and the log does not have."""
        if not self._pending:
            return []
        columns = Columns.concat([c.take(slice(i, i + 1)) for c, i in self._pending.values()])
        numbers = np.array(list(self._pending), dtype=np.int64)
        return [Work.new(Trials(numbers, columns), asked=0)]

    def _check(self, told: Finished, proposed: list[tuple[Columns, int] | None]) -> None:
        """Refuse trials that are not what was proposed."""
        told_at = self._proposer.space.encode(told.columns)
        asked_at = self._points(proposed)
        differ = ~(np.abs(told_at - asked_at) <= _SAME).all(axis=1)
        if differ.any():
            number = told.number[np.argmax(differ)]
            raise StudyMismatch(
                f"study: trial {number} is not what {self._proposer.strategy} proposes now, "
                "perhaps because raysearch or the strategy's code has changed since; "
                'go on with resume="changed" (--allow-change), or start a new study'
            )

    def _points(self, proposed: list[tuple[Columns, int] | None]) -> Floats:
        """(k, d) where the proposed trials lie; NaN for those that were not proposed."""
        space = self._proposer.space
        x = np.full((len(proposed), space.dim), np.nan)
        places: dict[int, tuple[Columns, list[int], list[int]]] = {}
        for row, found in enumerate(proposed):
            if found is not None:
                columns, i = found
                _, rows, indices = places.setdefault(id(columns), (columns, [], []))
                rows.append(row)
                indices.append(i)
        for columns, rows, indices in places.values():
            x[rows] = space.encode(columns.take(np.array(indices)))
        return x
