"""Where a strategy lives while it searches: points become columns, results losses."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import StudyMismatch
from ..space import Columns, Space
from ..strategies.base import AnyStrategy
from ..trial import FOREIGN, Batch, Ints, Outcome
from .records import RETRIED, Finished, Objectives
from .work import Work


class Proposer:
    """Hosts a strategy and its state.

    strategy    whose state it is
    space       that is searched
    objectives  that turn metrics into losses
    seed        of the search
    first       number in the study of the strategy's first trial
    """

    def __init__(
        self, strategy: AnyStrategy, space: Space, objectives: Objectives, seed: int, first: int = 0
    ) -> None:
        self.strategy = strategy
        self.space = space
        self.objectives = objectives
        self.first = first
        self.state = strategy.init(space, seed)

    @property
    def asked(self) -> int:
        """How many points the strategy has proposed."""
        return int(self.state.asked)

    def max_pending(self, slots: int) -> int:
        """How many points the strategy can bear to be pending, given that many slots."""
        return self.strategy.max_pending(self.state, slots)

    def ask(self, n: int) -> tuple[Columns, Ints]:
        """At most n configurations, and their numbers in the study."""
        self.state, batch = self.strategy.ask(self.state, n)
        return self.space.decode(batch.x), batch.number + self.first

    def tell(self, finished: Finished) -> None:
        """Take in results; those of retried trials as if they came from elsewhere."""
        number = np.where(finished.after == RETRIED, FOREIGN, finished.number - self.first)
        self._tell(finished, number)

    def tell_foreign(self, finished: Finished) -> None:
        """Take in results of trials that this strategy did not propose."""
        self._tell(finished, np.full(len(finished), FOREIGN))

    def _tell(self, finished: Finished, number: Ints) -> None:
        batch = Batch(self.space.encode(finished.columns), number)
        outcome = Outcome(self.objectives.losses(finished.state, finished.metrics))
        self.state = self.strategy.tell(self.state, batch, outcome)

    def replay(self, history: Iterable[Finished]) -> Work | None:
        """Ask and tell as the log says it went; returns what was pending in the end.

        Raises StudyMismatch if the strategy no longer proposes what it once did.
        """
        pending: dict[int, tuple[Columns, int]] = {}
        for finished in history:
            bounds = np.flatnonzero(np.diff(finished.after)) + 1
            for start, stop in zip([0, *bounds], [*bounds, len(finished)], strict=True):
                part = finished.take(slice(int(start), int(stop)))
                after = int(part.after[0])
                if after > self.asked:
                    columns, numbers = self.ask(after - self.asked)
                    pending.update((n, (columns, i)) for i, n in enumerate(numbers.tolist()))
                self.tell(part)
                if after != RETRIED:
                    for i, number in enumerate(part.number.tolist()):
                        self._check(part, i, pending.pop(number, None))
        if not pending:
            return None
        columns = Columns.concat([c.take(slice(i, i + 1)) for c, i in pending.values()])
        return Work.new(np.array(list(pending), dtype=np.int64), columns, asked=0)

    def _check(self, told: Finished, i: int, proposed: tuple[Columns, int] | None) -> None:
        if proposed is not None:
            columns, j = proposed
            if all(
                told.columns.numbers[name][i] == columns.numbers[name][j]
                or (name in columns.active and not columns.active[name][j])
                for name in columns.numbers
            ):
                return
        raise StudyMismatch(
            f"study: trial {told.number[i]} is not what {self.strategy} proposes now, "
            "perhaps because raysearch or the strategy's code has changed since; "
            'go on with resume="changed" (--allow-change), or start a new study'
        )
