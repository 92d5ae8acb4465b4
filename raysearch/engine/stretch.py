"""Islands that workers go on with: an island is a value, and so is what it becomes.

A worker gets an island as bytes, goes through a stretch of its trials (it asks for them, runs
them and tells them) and returns the results with the island that has come of it. Whichever
worker goes on from there, the trials are the same: the island asks only when nothing is pending,
and never beyond the end of its epoch. Trial k of island i of I has the number k I + i.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ..space import Space
from ..strategies.base import AnyStrategy, State
from ..strategies.islands import Island, Islands, Migrant
from ..strategies.state import put_together, taken_apart
from ..trial import Batch, Floats, Ints, Outcome
from .evaluate import evaluate, worker
from .objective import Signature
from .outcomes import outcome_of
from .passage import Passed, Stretch, Value
from .records import Job, Results, Trials


@dataclass(frozen=True, eq=False)
class Alone(State):
    """An island apart from the others.

    island  as its strategy knows it
    x       (w, d) points that it has asked for, and that are not told yet
    number  (w,) its own numbers of them
    """

    island: Island = field(kw_only=True)
    x: Floats = field(kw_only=True)
    number: Ints = field(kw_only=True)


@dataclass(frozen=True)
class Begin:
    """Where islands begin: what `load` wants to know of a strategy.

    islands  the strategy
    i        which island
    """

    islands: Islands
    i: int = 0

    def init(self, space: Space, seed: int) -> Alone:
        """The island at its beginning."""
        island = self.islands.island(space, seed, self.i)
        return Alone(space, seed, island=island, x=np.zeros((0, space.dim)), number=np.arange(0))


def pack(alone: Alone) -> Value:
    """The island without its space, as it travels."""
    return taken_apart(alone)


def unpack(value: Value, islands: Islands, space: Space) -> Alone:
    """Inverse to `pack`."""
    return cast(Alone, put_together(*value, cast(AnyStrategy, Begin(islands)), space))


def with_points(islands: Islands, alone: Alone) -> Alone:
    """The island with points to run; with none only if it has no more."""
    if len(alone.number):
        return alone
    state, batch = islands.strategy.ask(alone.island.state, islands.room(alone.island))
    island = replace(alone.island, state=state)
    return replace(alone, island=island, x=batch.x, number=batch.number)


def told(islands: Islands, alone: Alone, x: Floats, outcome: Outcome) -> Alone:
    """The island after the results of its next points, whose canonical places are x (k, d)."""
    k = len(x)
    island = islands.told(alone.island, Batch(x, alone.number[:k]), outcome)
    return replace(alone, island=island, x=alone.x[k:], number=alone.number[k:])


def taken_in(islands: Islands, alone: Alone, migrants: Sequence[Migrant]) -> Alone:
    """The island after migrants have arrived."""
    return replace(alone, island=islands.taken_in(alone.island, migrants))


def go(job: Job, signature: Signature, stretch: Stretch, kill: bool = False) -> Passed:
    """Go through the stretch; otherwise as `evaluate`."""
    islands, space = job.islands, job.space
    assert islands is not None
    alone = taken_in(islands, unpack(stretch.value, islands, space), stretch.migrants)
    parts: list[tuple[Trials, Results]] = []
    left = stretch.trials
    while left and len((alone := with_points(islands, alone)).number):
        k = min(left, len(alone.number))
        number = alone.number[:k] * islands.islands + stretch.island + stretch.first
        trials = Trials(number, space.decode(alone.x[:k]))
        if stretch.lost and not parts:
            trials = trials.take(slice(0, 1))
            results = nothing(*stretch.lost)
        else:
            results = evaluate(job, signature, trials, kill)
        outcome = outcome_of(job.objectives, results, trials.columns, space)
        alone = told(islands, alone, space.encode(trials.columns), outcome.unconstrained())
        parts.append((trials, results))
        left -= len(trials)
    ended = not alone.island.told % islands.migrate_every
    sent = alone.island.sent[1] if ended else None
    return Passed(tuple(_joined(parts)), pack(alone), sent, more=not left)


def nothing(state: int, why: str) -> Results:
    """What is known of a trial that killed its worker."""
    zero = np.zeros(1, dtype=np.int64)
    return Results(np.array([state], dtype=np.uint8), {}, {0: why}, zero, np.zeros(1), worker())


def _joined(parts: Sequence[tuple[Trials, Results]]) -> Iterator[tuple[Trials, Results]]:
    """The same trials in as few parts as their metrics allow."""
    begin = 0
    for end in range(1, len(parts) + 1):
        if end == len(parts) or _kinds(parts[end][1]) != _kinds(parts[begin][1]):
            some = [results for _, results in parts[begin:end]]
            yield Trials.concat([trials for trials, _ in parts[begin:end]]), _concat(some)
            begin = end


def _kinds(results: Results) -> list[tuple[str, Any]]:
    return [(name, values.dtype) for name, values in results.metrics.items()]


def _concat(parts: Sequence[Results]) -> Results:
    first, start = parts[0], 0
    errors: dict[int, str] = {}
    for part in parts:
        errors |= {start + i: why for i, why in part.errors.items()}
        start += len(part.state)
    return Results(
        np.concatenate([part.state for part in parts]),
        {name: np.concatenate([part.metrics[name] for part in parts]) for name in first.metrics},
        errors,
        np.concatenate([part.started for part in parts]),
        np.concatenate([part.seconds for part in parts]),
        first.worker,
    )
