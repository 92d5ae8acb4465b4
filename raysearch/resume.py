"""Going on where a study left off: what must agree, and what the strategy is told.

A study is a sequence of sessions; consecutive sessions that search the same space with
the same strategy, metric and seed form a chapter. Within its chapter a strategy is
brought back by asking and telling it again as the log says it went. Trials of earlier
chapters are told as points that come from elsewhere, as far as the space still has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .engine.proposer import Proposer
from .engine.records import Finished, Objectives
from .engine.work import Work
from .errors import StudyLocked, StudyMismatch, StudyNotFound
from .log.compare import DECISIVE
from .log.reader import Reader
from .log.rows import Rows
from .space import Space
from .study import Study
from .trial import COMPLETE, Ints

History = Iterable[tuple[Mapping[str, Any], pa.RecordBatch]]


@dataclass
class Past:
    """What earlier sessions have done.

    finished   trials told, each counted once however often it was retried
    completed  how many of them have a valid result
    next       the lowest trial number that has not been used
    pending    trials that the strategy knows as asked, to be run first
    """

    finished: int = 0
    completed: int = 0
    next: int = 0
    pending: list[Work] = field(default_factory=list)


def same_chapter(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a stored session is of the chapter that goes on now."""
    return all(old.get(key) == new.get(key) for key in ("first", *DECISIVE))


def first_number(
    place: str | Path,
    spec: Mapping[str, Any],
    proposer: Callable[[int], Proposer] | None = None,
) -> int:
    """The number of the first trial of the chapter that a session with this spec belongs to.

    proposer  makes the strategy's host for a chapter with this first number; if given, a
              new chapter begins where the strategy no longer proposes what it once did
    """
    try:
        reader = Reader(place)
    except StudyNotFound:
        return 0
    first = int(reader.spec.get("first", 0))
    own = {**spec, "first": first}
    if same_chapter(reader.spec, own) and (
        proposer is None or _agrees(stored_history(place), own, proposer(first))
    ):
        return first
    numbers = [batch["number"] for batch in reader.batches(["number"])]
    return max((pc.max(n).as_py() for n in numbers if len(n)), default=-1) + 1


def stored_history(place: str | Path) -> History:
    """All rows of a study in the order told, each batch with the spec of its session."""
    reader = Reader(place)
    specs = {number: about.get("spec", {}) for number, about in reader.sessions().items()}
    for part, chunk in reader.walk(reader.parts()):
        yield specs[part.session], chunk.decode(None)


def _agrees(history: History, spec: Mapping[str, Any], proposer: Proposer) -> bool:
    try:
        fold(history, spec, proposer)
    except StudyMismatch:
        return False
    return True


def fold(history: History, spec: Mapping[str, Any], proposer: Proposer) -> Past:
    """Bring the strategy to where it was, and count what has been done."""
    past = Past()
    seen = _Numbers()

    def own() -> Iterator[Finished]:
        for session, batch in history:
            chapter = same_chapter(session, spec)
            space = proposer.space if chapter else Space.from_json(session["space"])
            finished = Rows(space).from_batch(batch)
            new = seen.add(finished.number)
            past.finished += int(np.count_nonzero(new))
            past.completed += int(np.count_nonzero(finished.state == COMPLETE))
            past.next = max(past.next, int(finished.number.max(initial=-1)) + 1)
            if chapter:
                yield finished
            elif (moved := _moved(finished, proposer.space, proposer.objectives)) is not None:
                proposer.tell_foreign(moved)

    pending = proposer.replay(own())
    if not proposer.asked and past.next > proposer.first:
        raise StudyLocked("study: another driver was at it until just now; start again")
    past.next = max(past.next, proposer.first + proposer.asked)
    past.pending = [] if pending is None else [pending]
    return past


def _moved(finished: Finished, space: Space, objectives: Objectives) -> Finished | None:
    """The trials that a space has, with their configurations in it.

    Complete trials that have not measured all objectives say nothing, and are left out.
    """
    measured = {
        name: np.array([v if isinstance(v, float) else np.nan for v in values.tolist()])
        for name, values in finished.metrics.items()
        if name in objectives.names
    }
    loss = objectives.losses(finished.state, measured)
    told = (finished.state != COMPLETE) | ~np.isnan(loss).any(axis=1)
    configs = finished.columns.configs()
    rows = [i for i, config in enumerate(configs) if told[i] and space.contains(config)]
    if not rows:
        return None
    columns = space.columns([configs[i] for i in rows])
    return replace(replace(finished, metrics=measured).take(np.array(rows)), columns=columns)


def failed_trials(study: Study, space: Space, states: Collection[str]) -> list[Work]:
    """The trials of a study that ended in one of the states, to be run once more."""
    table = study.trials
    table = table.filter(pc.is_in(table["state"], pa.array(list(states))))
    rows = Rows(space)
    return [
        Work.new(finished.number, finished.columns, finished.asked, finished.attempts)
        for batch in table.to_batches()
        if len(finished := rows.from_batch(batch))
    ]


class _Numbers:
    """Which trial numbers have been seen; a bit map, since they are dense."""

    def __init__(self) -> None:
        self._seen = np.zeros(1024, dtype=bool)

    def add(self, numbers: Ints) -> NDArray[np.bool_]:
        """Mark the numbers; returns which were new."""
        top = int(numbers.max(initial=-1)) + 1
        if top > len(self._seen):
            grown = np.zeros(max(top, 2 * len(self._seen)), dtype=bool)
            grown[: len(self._seen)] = self._seen
            self._seen = grown
        new: NDArray[np.bool_] = ~self._seen[numbers]
        self._seen[numbers] = True
        return new
