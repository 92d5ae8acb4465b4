"""A finished study once more, with another number of workers.

Its own trials are run in the order in which they were asked, each for as long as it ran,
and return what they returned. That answers what the same work would have taken, not what a
strategy would have proposed had it heard results earlier or later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.limits import Limits
from ..engine.loop import Loop
from ..engine.records import Finished, Reports, Results, Trials
from ..errors import UsageError
from ..log.rows import Rows
from ..strategies.base import ANY_NUMBER
from ..study import Study
from ..trial import Floats, Ints
from .chance import Fates, Mishap
from .clock import VirtualClock
from .executor import Outage, SimulatedExecutor, no_mishap
from .ledger import Ledger
from .result import Simulation
from .run import check_workers, drive


def replay(
    study: Study,
    *,
    workers: int,
    retries: int = 1,
    mishaps: Sequence[Mishap] = (),
    outages: Sequence[Outage] = (),
) -> Simulation:
    """What the trials of a study would have taken with that many workers.

    study    finished or not; of trials that were tried again, the last attempt counts
    workers  how many trials can run at once
    retries, mishaps, outages  as of `raysearch.simulate.run`

    Raises UsageError if the study has no trials, or some of an earlier space.

    >>> import raysearch as rs
    >>> from raysearch import simulate
    >>> space = rs.Space({"x": rs.Float(-1, 1)})
    >>> study = simulate.run(lambda c: c["x"], space, workers=2, trials=30, duration=10).study
    >>> [simulate.replay(study, workers=n).makespan for n in (1, 3, 30)]
    [300.0, 100.0, 10.0]
    """
    check_workers(workers)
    record = _Record(study)
    clock = VirtualClock()
    executor = SimulatedExecutor(
        record.takes,
        record.returns,
        workers,
        clock,
        Fates(mishaps, study.spec["seed"]) if mishaps else no_mishap,
        outages,
    )
    limits = Limits(None, retries=retries, max_failures=None)
    loop = Loop(limits, ANY_NUMBER)
    return drive(loop, record, executor, Ledger(study.space, study.spec), clock, study.space)


class _Record:
    """Proposes the trials of a study again, and knows what became of each."""

    def __init__(self, study: Study) -> None:
        table = study.trials.combine_chunks()
        if not len(table):
            raise UsageError(f"study: expected one with finished trials, {study.place} has none")
        told = Rows(study.space).from_batch(table.to_batches()[0])
        self._told = told.take(np.argsort(told.number))
        way = (self._told.told - self._told.submitted) / 1e9
        self._seconds = np.where(np.isnan(self._told.seconds), way, self._told.seconds)
        self._asked = 0

    def max_pending(self, slots: int) -> int:
        """Any number."""
        return ANY_NUMBER

    def ask(self, n: int) -> Trials:
        """The next ones, in the order asked."""
        start, self._asked = self._asked, self._asked + n
        return self._told.trials.take(slice(start, self._asked))

    def signed(self, finished: Finished) -> Finished:
        """As they were."""
        return finished

    def tell(self, finished: Finished) -> Finished:
        """It is known already."""
        return finished

    def report(self, trials: Trials, reports: Reports) -> None:
        """Nothing is judged again."""

    def parents(self) -> None:
        """Nothing is saved again."""

    def takes(self, trials: Trials) -> Floats:
        """How long they ran; of those whose worker died, how long it took to hear of that."""
        seconds: Floats = self._seconds[self._rows(trials)]
        return seconds

    def returns(self, trials: Trials) -> Results:
        """What they returned."""
        found = self._told.take(self._rows(trials))
        return Results(
            found.state, found.metrics, found.errors, found.started, found.seconds, worker=""
        )

    def _rows(self, trials: Trials) -> Ints:
        return np.searchsorted(self._told.number, trials.number)
