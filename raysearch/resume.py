"""Going on where a study left off: what must agree, and what the strategy is told.

A study is a sequence of sessions; consecutive sessions that search the same space with
the same strategy, metric and seed form a chapter. Within its chapter a strategy is
brought back by asking and telling it again as the log says it went. Trials of earlier
chapters are told as points that come from elsewhere, as far as the space still has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .engine.objectives import Objectives, as_numbers
from .engine.proposer import Folding
from .engine.records import INHERITED, Finished, Reports
from .engine.work import Work
from .errors import StudyLocked, StudyMismatch, StudyNotFound
from .log.compare import DECISIVE
from .log.reader import Reader
from .log.reports import curves, from_batch, valid
from .log.rows import Rows
from .log.schema import REPORTS, TRIALS
from .log.storage import Storage
from .space import Space
from .study import Study
from .trial import Ints, has_result

History = Iterable[tuple[Mapping[str, Any], pa.RecordBatch]]


@dataclass
class Past:
    """What earlier sessions have done.

    finished   trials told, each counted once however often it was retried
    completed  how many of them have a valid result
    pending    trials that the strategy knows as asked, to be run first
    reported   number -> what such a trial had reported, as far as that still holds
    """

    finished: int = 0
    completed: int = 0
    pending: list[Work] = field(default_factory=list)
    reported: dict[int, Reports] = field(default_factory=dict)


def same_chapter(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a stored session is of the chapter that goes on now."""
    return all(old.get(key) == new.get(key) for key in ("first", *DECISIVE))


def first_number(
    place: str | Path,
    spec: Mapping[str, Any],
    proposer: Callable[[int], Folding] | None = None,
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
        proposer is None or _agrees(place, own, proposer(first))
    ):
        return first
    tables = (TRIALS, REPORTS)  # a trial of another chapter has another number
    numbers = [b["number"] for table in tables for b in reader.batches(["number"], table)]
    return max((pc.max(n).as_py() for n in numbers if len(n)), default=-1) + 1


def stored_history(place: str | Path | Storage) -> History:
    """All rows of a study in the order told, each batch with the spec of its session."""
    reader = Reader(place)
    specs = {number: about.get("spec", {}) for number, about in reader.sessions().items()}
    for part, chunk in reader.walk(reader.parts()):
        yield specs[part.session], chunk.decode(None)


def stored_reports(place: str | Path | Storage) -> Iterator[Reports]:
    """All reports of a study, in the order in which they came."""
    for batch in Reader(place).batches(table=REPORTS):
        yield from_batch(batch)


def _agrees(place: str | Path, spec: Mapping[str, Any], proposer: Folding) -> bool:
    try:
        fold(stored_history(place), spec, proposer, partial(stored_reports, place))
    except StudyMismatch:
        return False
    return True


def fold(
    history: History,
    spec: Mapping[str, Any],
    proposer: Folding,
    reports: Callable[[], Iterable[Reports]] = tuple,
) -> Past:
    """Bring the strategy to where it was, and count what has been done.

    reports  gives those of the study; it may be asked more than once
    """
    past, seen, replay = Past(), _Numbers(), proposer.replay()
    known = curves(reports(), proposer.objectives) if proposer.rungs else {}
    for session, batch in history:
        chapter = same_chapter(session, spec)
        space = proposer.space if chapter else Space.from_json(session["space"])
        finished = Rows(space).from_batch(batch)
        past.finished += int(np.count_nonzero(seen.add(finished.number)))
        past.completed += int(np.count_nonzero(has_result(finished.state)))
        if chapter:
            replay.take(finished, known)
        elif (moved := _moved(finished, proposer.space, proposer.objectives)) is not None:
            proposer.tell_foreign(moved)
    if not proposer.asked and seen.next > proposer.first:
        raise StudyLocked("study: another driver was at it until just now; start again")
    replay.ask(max((int(part.number.max(initial=-1)) for part in reports()), default=-1))
    past.reported = _reported(reports(), seen)
    attempts = {number: int(part.attempt.max()) for number, part in past.reported.items()}
    past.pending = [*replay.pending(attempts)]
    return past


def _reported(reports: Iterable[Reports], told: _Numbers) -> dict[int, Reports]:
    """Number -> what a trial has reported, of those that were not told."""
    parts: dict[int, list[Reports]] = {}
    for part in reports:
        wanted = ~told.has(part.number)
        for number in np.unique(part.number[wanted]).tolist():
            parts.setdefault(number, []).append(part.take(np.flatnonzero(part.number == number)))
    found = {number: Reports.concat(some) for number, some in parts.items()}
    return {
        number: part.take(np.flatnonzero(valid(part.number, part.attempt, part.step)))
        for number, part in found.items()
    }


def _moved(finished: Finished, space: Space, objectives: Objectives) -> Finished | None:
    """The trials that a space has, with their configurations in it.

    Complete trials that have not measured all objectives say nothing, and are left out.
    """
    measured = {
        name: as_numbers(values)
        for name, values in finished.metrics.items()
        if name in objectives.needed
    }
    loss = objectives.losses(finished.state, measured)
    told = ~has_result(finished.state) | ~np.isnan(loss).any(axis=1)
    return within(replace(finished, metrics=measured).take(np.flatnonzero(told)), space)


def within(finished: Finished, space: Space) -> Finished | None:
    """The trials whose configurations a space has, in it; None if there are none."""
    configs = finished.columns.configs()
    rows = [i for i, config in enumerate(configs) if space.contains(config)]
    if not rows:
        return None
    some = finished.take(np.array(rows))
    columns = space.columns([configs[i] for i in rows])
    return replace(some, trials=replace(some.trials, columns=columns))


def failed_trials(study: Study, space: Space, states: Collection[str]) -> list[Work]:
    """The trials of a study that ended in one of the states, to be run once more.

    Trials of an earlier space come as far as this one still has them.
    """
    latest = study.trials.select(["number", "state"])
    wanted = latest.filter(pc.is_in(latest["state"], pa.array(list(states))))["number"]
    rows = [
        (session, batch.filter(pc.is_in(batch["number"], wanted.combine_chunks())))
        for session, batch in stored_history(study.place)
    ]
    backlog, seen = [], _Numbers()
    for session, batch in reversed(rows):  # of each trial the latest row
        failed = Rows(Space.from_json(session["space"])).from_batch(batch)
        failed = failed.take(np.flatnonzero(seen.add(failed.number)))
        if session["strategy"]["options"].get("inherit"):
            inherit = failed.metrics.get(INHERITED)
            failed = replace(failed, trials=replace(failed.trials, inherit=inherit))
        if (finished := within(failed, space)) is not None:
            backlog.append(Work.new(finished.trials, finished.asked, finished.attempts))
    return backlog[::-1]


class _Numbers:
    """Which trial numbers have been seen; a bit map, since they are dense."""

    def __init__(self) -> None:
        self._seen = np.zeros(1024, dtype=bool)

    @property
    def next(self) -> int:
        """The lowest number above all that have been seen."""
        return int(np.flatnonzero(self._seen).max(initial=-1)) + 1

    def has(self, numbers: Ints) -> NDArray[np.bool_]:
        """Which of the numbers have been seen."""
        inside = numbers < len(self._seen)
        return np.asarray(inside & self._seen[np.where(inside, numbers, 0)])

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
