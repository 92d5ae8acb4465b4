"""Where a strategy lives while it searches: points become trials, results losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from .. import rng
from ..errors import StudyMismatch
from ..space import Columns, Space
from ..strategies.base import ANY_NUMBER, AnyStrategy, State
from ..trial import FOREIGN, ROOT, Batch, Floats, Ints
from .objectives import Objectives
from .outcomes import outcome_of
from .records import RETRIED, Finished, Reports, Trials
from .work import Work

#: name of the metric that says which strategy of several has proposed a trial
PROPOSER = "proposer"
SAME = 1e-9  # in the unit cube: machines differ in the last bits of logarithms

#: number of a trial -> (rung, (m,) losses there) of each rung that it has reported
Curves = Mapping[int, Sequence[tuple[int, Floats]]]


class Host(Protocol):
    """Who proposes trials, and is told what became of them."""

    def max_pending(self, slots: int) -> int:
        """How many points can be pending without harm, given that many slots."""

    def ask(self, n: int) -> Trials:
        """At most n trials."""

    def signed(self, finished: Finished) -> Finished:
        """The results with the names of who has proposed them, where there are several."""

    def tell(self, finished: Finished) -> Finished:
        """Take in results; returns them with `after` as it is to be logged."""

    def report(self, trials: Trials, reports: Reports) -> int | None:
        """Take in how trials stand; the index of the report at which they are to be stopped."""

    def parents(self) -> frozenset[int] | None:
        """Trials that others may go on from; None: each from its own configuration's last."""


class Rebuilding(Protocol):
    """Brings a host back to where it was."""

    def take(self, finished: Finished, curves: Curves | None = None) -> None:
        """Go through these, which come next in the log; StudyMismatch if they do not fit."""

    def ask(self, top: int) -> object:
        """Ask for what had been asked since: the trials up to number top."""

    def pending(self, attempts: Mapping[int, int] | None = None) -> Sequence[Work]:
        """The trials that are to be run first."""


class Folding(Protocol):
    """A host that a stored study is folded into."""

    space: Space
    objectives: Objectives
    first: int

    @property
    def asked(self) -> int:
        """How many trials it knows as its own."""

    @property
    def rungs(self) -> tuple[float, ...]:
        """Budgets at which trials are judged."""

    def tell_foreign(self, finished: Finished) -> None:
        """Take in results of trials that it did not propose."""

    def replay(self) -> Rebuilding:
        """Who brings it back."""


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

    def signed(self, finished: Finished) -> Finished:
        """As they are."""
        return finished

    def tell(self, finished: Finished) -> Finished:
        """Mark them as told before."""
        return replace(finished, after=np.full(len(finished), RETRIED))

    def report(self, trials: Trials, reports: Reports) -> int | None:
        """Stops nothing."""
        return None

    def parents(self) -> None:
        """Nobody is asked for."""


@dataclass
class _Pending:
    """What is known of a point that was asked and not told yet.

    budget  that it was asked with; NaN: none
    parent  that it was asked with, by the strategy's numbers
    curve   (r, m) its losses at the rungs, as far as they are known
    judge   the state that judges it, in a reproducible search
    """

    budget: float
    parent: int
    curve: Floats | None
    judge: State | None


class Proposer:
    """Hosts a strategy and its state.

    strategy      whose state it is
    space         that is searched
    objectives    that turn metrics into losses
    seed          of the search
    first         number in the study of the strategy's first trial; where others have been
                  before, its draws are not theirs
    reproducible  judge a trial by what had been told when it was asked, and nothing later
    """

    def __init__(
        self,
        strategy: AnyStrategy,
        space: Space,
        objectives: Objectives,
        seed: int,
        first: int = 0,
        *,
        reproducible: bool = False,
    ) -> None:
        self.strategy = strategy
        self.space = space
        self.objectives = objectives
        self.first = first
        self.rungs = strategy.rungs()
        self.state = strategy.init(space, rng.derived(seed, first) if first else seed)
        self._reproducible = reproducible
        self._pending: dict[int, _Pending] = {}  # only where there are budgets or rungs

    @property
    def asked(self) -> int:
        """How many points the strategy has proposed."""
        return int(self.state.asked)

    def max_pending(self, slots: int) -> int:
        """How many points the strategy can bear to be pending, given that many slots."""
        return self.strategy.max_pending(self.state, slots)

    def parents(self) -> frozenset[int] | None:
        """Numbers in the study of trials that others may go on from, if the strategy says so."""
        found = self.strategy.parents(self.state)
        return None if found is None else frozenset((found + self.first).tolist())

    def ask(self, n: int) -> Trials:
        """At most n trials, with their numbers in the study."""
        return self.adopt(*self.strategy.ask(self.state, n))

    def adopt(self, state: State, batch: Batch) -> Trials:
        """Take over what an ask from the present state has come to."""
        self.state = state
        if self.rungs or batch.budget is not None:
            self._remember(batch)
        parent, names = batch.parent, self.strategy.inherits(state, batch.number)
        return Trials(
            batch.number + self.first,
            self.space.decode(batch.x),
            batch.budget,
            None if parent is None else np.where(parent == ROOT, ROOT, parent + self.first),
            None if names is None else np.array([n and json.dumps(n) for n in names], object),
        )

    def _remember(self, batch: Batch) -> None:
        r, m = len(self.rungs), len(self.objectives.names)
        budgets = np.full(len(batch), np.nan) if batch.budget is None else batch.budget
        parents = np.full(len(batch), ROOT) if batch.parent is None else batch.parent
        judge = self.state if self._reproducible and r else None
        for number, budget, parent in zip(
            batch.number.tolist(), budgets.tolist(), parents.tolist(), strict=True
        ):
            curve = np.full((r, m), np.nan) if r else None
            self._pending[number] = _Pending(budget, parent, curve, judge)

    # --- trials that run ------------------------------------------------------------------

    def report(self, trials: Trials, reports: Reports) -> int | None:
        """Show the strategy each rung that was reached; where it says stop, that report's index.

        trials  of the task; with a strategy that judges, there is one
        """
        at_rungs = np.flatnonzero(reports.rung >= 0).tolist() if self.rungs else []
        if not at_rungs:
            return None
        loss = self.losses(reports)
        for i in at_rungs:
            number, rung = int(reports.number[i]) - self.first, int(reports.rung[i])
            pending = self._pending.get(number)
            if pending is None or np.isnan(loss[i]).any():
                continue
            self.note(number, rung, loss[i])
            batch = self._batch(trials.take(reports.row[i : i + 1]), np.array([number]))
            judge = self.state if pending.judge is None else pending.judge
            state, stop = self.strategy.report(judge, batch, np.array([rung]), loss[i : i + 1])
            if pending.judge is None:
                self.state = state
            else:
                pending.judge = state  # which knows of no other trial's reports
            if stop[0]:
                return i
        return None

    def losses(self, reports: Reports) -> Floats:
        """(r, m) what the reports say."""
        metrics = {n: v for n, v in reports.metrics.items() if n in self.objectives.names}
        return self.objectives.losses(np.zeros(len(reports), dtype=np.uint8), metrics)

    def note(self, number: int, rung: int, loss: Floats) -> None:
        """A point that is pending has come to a rung."""
        if (pending := self._pending.get(number)) is not None and pending.curve is not None:
            pending.curve[rung] = loss

    # --- results --------------------------------------------------------------------------

    def signed(self, finished: Finished) -> Finished:
        """The results with a metric PROPOSER, where several strategies propose points.

        It is a metric, as any program reads these; one of the objective's own stays.
        """
        names = self.strategy.proposers(self.state, finished.number - self.first)
        if names is None or PROPOSER in finished.metrics:
            return finished
        return replace(finished, metrics={**finished.metrics, PROPOSER: np.array(names, object)})

    def tell(self, finished: Finished) -> Finished:
        """Take in results, as they come."""
        self.tell_own(finished)
        return replace(finished, after=np.full(len(finished), self.asked))

    def tell_own(self, finished: Finished) -> None:
        """Take in results of trials that this strategy has proposed."""
        number = finished.number - self.first
        batch = self._batch(finished.trials, number)
        curve = None
        if self.rungs:
            shape = (len(self.rungs), len(self.objectives.names))
            found = [self._pending.get(n) for n in number.tolist()]
            nothing = np.full(shape, np.nan)
            curve = np.array([nothing if p is None else p.curve for p in found]).reshape(-1, *shape)
            beyond = np.array(self.rungs) > finished.budget[:, None]  # said after it was stopped
            curve[beyond] = np.nan
        for n in number.tolist() if self._pending else ():
            self._pending.pop(n, None)
        self._tell(finished, batch, curve)

    def replay(self) -> Replay:
        """Who brings the strategy back to where it was."""
        return Replay(self)

    def tell_foreign(self, finished: Finished) -> None:
        """Take in results of trials that this strategy did not propose."""
        x = self.space.encode(finished.columns)
        self._tell(finished, Batch(x, np.full(len(finished), FOREIGN)), None)

    def _batch(self, trials: Trials, number: Ints) -> Batch:
        """The points of trials, as they were asked."""
        x = self.space.encode(trials.columns)
        found = [self._pending.get(n) for n in number.tolist()] if self._pending else []
        if not any(found):
            return Batch(x, number)
        budget = np.array([np.nan if p is None else p.budget for p in found])
        parent = np.array([ROOT if p is None else p.parent for p in found], dtype=np.int64)
        return Batch(x, number, None if np.isnan(budget).all() else budget, parent)

    def _tell(self, finished: Finished, batch: Batch, curve: Floats | None) -> None:
        outcome = outcome_of(self.objectives, finished, finished.columns, self.space)
        budget = None if np.isnan(finished.budget).all() else finished.budget
        outcome = replace(outcome, budget=budget, curve=curve)
        if not self.strategy.constrained:
            outcome = outcome.unconstrained()
        self.state = self.strategy.tell(self.state, batch, outcome)


class Replay:
    """Brings a strategy back to where it was, by asking and telling as the log says it went.

    proposer  that hosts the strategy, fresh or told of foreign results only
    """

    def __init__(self, proposer: Proposer) -> None:
        self._proposer = proposer
        self._pending: dict[int, tuple[Trials, int]] = {}

    def take(self, finished: Finished, curves: Curves | None = None) -> None:
        """Go through these, which come next in the log.

        curves  number in the study -> (rungs, losses (r, m)) that were reported

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
            self.ask(proposer.first + after - 1)
            self._check(part, [self._pending.pop(n, None) for n in part.number.tolist()])
            for n in part.number.tolist() if curves else ():
                self._note(n, curves)
            proposer.tell_own(part)

    def _note(self, number: int, curves: Curves | None) -> None:
        for rung, loss in (curves or {}).get(number, ()):
            self._proposer.note(number - self._proposer.first, rung, loss)

    def ask(self, top: int) -> None:
        """Ask for what had been asked since the last result: the trials up to number top.

        It is what it was, because nothing has been told since.
        """
        if (missing := top + 1 - self._proposer.first - self._proposer.asked) > 0:
            asked = self._proposer.ask(missing)
            numbers = enumerate(asked.number.tolist())
            self._pending |= {number: (asked, i) for i, number in numbers}

    def pending(self, attempts: Mapping[int, int] | None = None) -> list[Work]:
        """What the strategy knows as asked, and the log does not have.

        attempts  number -> how often it was begun, as far as is known
        """
        if not self._pending:
            return []
        trials = Trials.concat([t.take(slice(i, i + 1)) for t, i in self._pending.values()])
        begun = np.array([(attempts or {}).get(n, 0) for n in self._pending], dtype=np.int64)
        return [Work.new(trials, asked=0, attempts=begun)]

    def _check(self, told: Finished, proposed: list[tuple[Trials, int] | None]) -> None:
        """Refuse trials that are not what was proposed."""
        told_at = self._proposer.space.encode(told.columns)
        asked_at = self._points(proposed)
        differ = ~(np.abs(told_at - asked_at) <= SAME).all(axis=1)
        if differ.any():
            number = told.number[np.argmax(differ)]
            raise StudyMismatch(
                f"study: trial {number} is not what {self._proposer.strategy} proposes now, "
                "perhaps because raysearch or the strategy's code has changed since; "
                'go on with resume="changed" (--allow-change), or start a new study'
            )

    def _points(self, proposed: list[tuple[Trials, int] | None]) -> Floats:
        """(k, d) where the proposed trials lie; NaN for those that were not proposed."""
        space = self._proposer.space
        x = np.full((len(proposed), space.dim), np.nan)
        places: dict[int, tuple[Columns, list[int], list[int]]] = {}
        for row, found in enumerate(proposed):
            if found is not None:
                trials, i = found
                _, rows, indices = places.setdefault(id(trials), (trials.columns, [], []))
                rows.append(row)
                indices.append(i)
        for columns, rows, indices in places.values():
            x[rows] = space.encode(columns.take(np.array(indices)))
        return x
