"""Islands on their way, as the driver sees them: where each has got to, and what it has sent.

The driver asks for no points and tells no results: workers do that, island by island
(`raysearch.engine.stretch`). It knows each island as it was after its last trial that is in the
log, hands it to a worker, and passes migrants on. A worker that dies costs a stretch; an island
is where it was, and the next worker goes on with it. When a study goes on, the islands are
brought back by telling them what the log says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import rng
from ..errors import StudyMismatch
from ..space import Space
from ..strategies.base import ANY_NUMBER
from ..strategies.islands import Islands, Migrant
from ..strategies.proposals import free
from ..trial import FOREIGN, Batch, Outcome
from .objective import examine
from .outcomes import outcome_of
from .passage import Value
from .proposer import SAME, Curves
from .records import RETRIED, Finished, Objectives, Reports, Trials
from .stretch import Alone, Begin, pack, taken_in, told, with_points
from .work import Work


def can_part(space: Space, objective: Callable[..., Any]) -> bool:
    """Whether islands can go on apart: no configuration comes twice, and trials do not report."""
    return free(space) and not examine(objective).reports


class Archipelago:
    """The host of all islands, and their way back from the log.

    strategy    whose islands they are
    space       that is searched
    objectives  that turn metrics into losses
    seed        of the search
    first       number in the study of the first trial of all islands
    """

    rungs: tuple[float, ...] = ()

    def __init__(
        self, strategy: Islands, space: Space, objectives: Objectives, seed: int, first: int = 0
    ) -> None:
        self.strategy = strategy
        self.space = space
        self.objectives = objectives
        self.first = first
        self.seed = rng.derived(seed, first) if first else seed
        self.told = [0] * strategy.islands
        self._sent: list[dict[int, Migrant | None]] = [{} for _ in self.told]
        self._alone: list[Alone] = [
            Begin(strategy, i).init(space, self.seed) for i in range(strategy.islands)
        ]

    def values(self) -> list[Value]:
        """The islands, as workers want them; what the log says is not told to them after this."""
        values, self._alone = [pack(alone) for alone in self._alone], []
        return values

    # --- what travels -------------------------------------------------------------------------

    def passed(self, i: int, trials: int, sent: Migrant | None) -> None:
        """Island i has gone through so many trials."""
        self.told[i] += trials
        if self.told[i] % self.strategy.migrate_every == 0:
            self._sent[i][self.epoch(i) - 1] = sent
            oldest = min(map(self.epoch, range(len(self.told)))) - 2
            for kept in self._sent:
                for epoch in [epoch for epoch in kept if epoch < oldest]:
                    del kept[epoch]

    def migrants(self, i: int) -> tuple[Migrant, ...] | None:
        """What island i takes in before its next trial; None: its sources are not so far yet."""
        epoch, begun = divmod(self.told[i], self.strategy.migrate_every)
        if begun or epoch < 2:
            return ()
        found = []
        for j in self.strategy.sources(i, epoch, self.seed):
            if self.epoch(j) < epoch - 1:
                return None
            found.append(self._sent[j][epoch - 2])
        return tuple(migrant for migrant in found if migrant is not None)

    def epoch(self, i: int) -> int:
        """The epoch that island i is in."""
        return self.told[i] // self.strategy.migrate_every

    # --- a host for the driver ----------------------------------------------------------------

    @property
    def asked(self) -> int:
        """How many trials of the islands are over."""
        return sum(self.told)

    def max_pending(self, slots: int) -> int:
        """Any number."""
        return ANY_NUMBER

    def ask(self, n: int) -> Trials:
        """None: islands are asked by workers."""
        return Trials(np.arange(0), self.space.decode(np.zeros((0, self.space.dim))))

    def signed(self, finished: Finished) -> Finished:
        """The same: who has proposed a trial is its island, by its number."""
        return finished

    def tell(self, finished: Finished) -> Finished:
        """The same; islands have been told by workers, who have asked for all that are over."""
        return replace(finished, after=np.full(len(finished), self.asked))

    def report(self, trials: Trials, reports: Reports) -> int | None:
        """Stops nothing."""
        return None

    def parents(self) -> None:
        """Each goes on from its own: trials of islands save nothing."""

    # --- the way back -------------------------------------------------------------------------

    def replay(self) -> Archipelago:
        """Who brings the islands back to where they were: they themselves."""
        return self

    def take(self, finished: Finished, curves: Curves | None = None) -> None:
        """Go through these, which come next in the log.

        Raises StudyMismatch if the islands no longer propose what they once did.
        """
        island = np.where(
            finished.after == RETRIED, FOREIGN, (finished.number - self.first) % len(self.told)
        )
        bounds = np.flatnonzero(np.diff(island)) + 1
        for start, stop in zip([0, *bounds], [*bounds, len(finished)], strict=True):
            part = finished.take(slice(int(start), int(stop)))
            if not len(part):
                continue
            if island[start] == FOREIGN:
                self.tell_foreign(part)
            else:
                self._relive(int(island[start]), part)

    def _relive(self, i: int, finished: Finished) -> None:
        left, every = np.arange(len(finished)), self.strategy.migrate_every
        while len(left):
            migrants = self.migrants(i)
            alone = taken_in(self.strategy, self._alone[i], migrants or ())
            alone = with_points(self.strategy, alone)
            these = finished.take(left[: len(alone.number)])
            self._check(i, alone, these)
            x = self.space.encode(these.columns)
            outcome = outcome_of(self.objectives, these, these.columns, self.space)
            self._alone[i] = told(self.strategy, alone, x, outcome.unconstrained())
            ended = not self._alone[i].island.told % every
            self.passed(i, len(these), self._alone[i].island.sent[1] if ended else None)
            left = left[len(these) :]

    def _check(self, i: int, alone: Alone, these: Finished) -> None:
        """Refuse trials that are not what the island proposes."""
        number = alone.number[: len(these)] * len(self.told) + i + self.first
        same = len(these) > 0 and np.array_equal(number, these.number)
        if same:
            there = self.space.encode(these.columns)
            here = self.space.encode(self.space.decode(alone.x[: len(these)]))
            same = bool((np.abs(there - here) <= SAME).all())
        if not same:
            raise StudyMismatch(
                f"study: the trials of island {i} are not what {self.strategy} proposes now, "
                "perhaps because raysearch or the strategy's code has changed since; "
                'go on with resume="changed" (--allow-change), or start a new study'
            )

    def tell_foreign(self, finished: Finished) -> None:
        """Take in results of trials that the islands did not propose."""
        x = self.space.encode(finished.columns)
        outcome = outcome_of(self.objectives, finished, finished.columns, self.space)
        outcome = outcome.unconstrained()
        batch = Batch(x, np.full(len(finished), FOREIGN))
        for i, alone in enumerate(self._alone):
            state = self.strategy.strategy.tell(alone.island.state, batch, Outcome(outcome.loss))
            self._alone[i] = replace(alone, island=replace(alone.island, state=state))

    def pending(self, attempts: Mapping[int, int] | None = None) -> Sequence[Work]:
        """None: what was asked beyond the log is asked again."""
        return []
