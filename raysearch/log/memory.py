"""The log of a search without a study: the same interface, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import pyarrow as pa

from ..engine.records import Checkpoint, Finished, Reports, Trials
from ..space import Space
from .checkpoints import Checkpoints
from .metrics import admit, learn
from .reports import to_batches
from .rows import Rows
from .schema import METRICS, REPORTS, TRIALS, Table, fit, part_of, unify


class MemoryLog:
    """Told trials, kept in memory.

    space  whose trials will be told
    spec   what is searched, as `StudyLog` notes it
    """

    place = "memory"
    folder = None

    def __init__(self, space: Space, spec: Mapping[str, Any]) -> None:
        self.spec = dict(spec)
        self.notes: list[str] = []
        self._rows = Rows(space)
        self._metrics: dict[str, pa.DataType] = {}
        self._batches: list[pa.RecordBatch] = []
        self._reports: list[pa.RecordBatch] = []
        self.checkpoints = Checkpoints()

    def admit(self, finished: Finished) -> Finished:
        """The trials as this log can hold them; see `StudyLog.admit`."""
        finished = admit(finished, self._metrics)
        self._metrics = learn(finished, self._metrics)
        return finished

    def append(self, finished: Sequence[Finished]) -> None:
        """Add trials, all of them or none."""
        batches = self._rows.to_batches(finished, self._metrics)
        if batches:
            self._batches += batches
            self._metrics = part_of(batches[-1].schema, METRICS)

    def record(self, reports: Sequence[Reports]) -> None:
        """Add reports."""
        known = part_of(self._reports[-1].schema, METRICS) if self._reports else {}
        self._reports += to_batches(reports, known)

    def save(self, saved: Sequence[Checkpoint]) -> None:
        """Keep what trials have saved."""
        for checkpoint in saved:
            self.checkpoints.save(checkpoint)

    def starts(self, trials: Trials) -> dict[int, Checkpoint]:
        """Index -> the checkpoint that a trial can go on from, of those that have one."""
        return self.checkpoints.starts(trials)

    def retain(self, numbers: frozenset[int] | None) -> None:
        """As of `Checkpoints`."""
        self.checkpoints.retain(numbers)

    def behind(self) -> Callable[[], None] | None:
        """As of `Checkpoints`."""
        return self.checkpoints.behind()

    def settle(self) -> None:
        """As of `Checkpoints`."""
        self.checkpoints.settle()

    def checkpoint(self, number: int) -> bytes | None:
        """What a trial has saved last, if it is there."""
        return self.checkpoints.last(number)

    def batches(
        self, names: Sequence[str] | None = None, table: Table = TRIALS
    ) -> Iterator[pa.RecordBatch]:
        """All rows told so far, in order, in batches of one schema."""
        if table is REPORTS:
            schema = unify((batch.schema for batch in self._reports), REPORTS)
        else:
            schema = self._rows.schema(self._metrics)
        if names is not None:
            schema = pa.schema([field for field in schema if field.name in set(names)])
        for batch in list(self._reports if table is REPORTS else self._batches):
            yield fit(batch, schema)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
