"""Study: what a search has found, for reading. It never locks and never writes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .engine.checkpoint import unpack
from .engine.objectives import Objectives, as_numbers
from .errors import SpaceError, StudyNotFound, UsageError
from .finished import FinishedTrial, html_table
from .log import Reader
from .log.metrics import metrics_of
from .log.reports import valid
from .log.schema import CONFIG, METRICS, REPORTS, TIME, TRIALS, Table, make_schema
from .space import Array, Choice, Space
from .space.names import nearest
from .strategies.pareto import crowding, front, hypervolume
from .trial import COMPLETE, STATES, Floats, Ints

_STATES = pa.array(STATES, pa.string())
_SAME = ("number", "state", "seconds", "attempts", "started", "worker", "error", "budget", "parent")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)(.*)", re.DOTALL)  # with one slash


def check_place(place: Any) -> None:
    """Raise UsageError unless a study may be there: in a folder, or at a URI."""
    if not isinstance(place, (str, Path)):
        raise UsageError(
            f"study: expected a folder or URI, found {type(place).__name__} {place!r:.80}"
        )
    if scheme := _SCHEME.match(str(place)):
        uri = f"{scheme[1]}://{scheme[2]}"
        raise UsageError(f"study: expected a folder or URI, found {place!r}; did you mean {uri!r}?")
    if os.path.isfile(place):
        raise UsageError(f"study: expected a folder, found the file {str(place)!r}")


class Source(Protocol):
    """Where rows come from: a `Reader`, a `StudyLog` or a `MemoryLog`."""

    @property
    def place(self) -> str:
        """What people call it."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was searched: "space", "metric", "strategy", "seed", and more."""

    def batches(
        self, names: Sequence[str] | None = None, table: Table = TRIALS
    ) -> Iterator[pa.RecordBatch]:
        """All rows in the order told, of all or some columns."""

    def checkpoint(self, number: int) -> bytes | None:
        """What a trial has saved last, if it is there."""


@dataclass(frozen=True)
class _Index:
    """One entry a trial, in the order told: what is needed to find trials."""

    number: Ints
    state: NDArray[np.uint8]
    loss: Floats
    met: NDArray[np.bool_]  # whether it meets all bounds
    budget: Floats  # infinite where there was none
    row: Ints  # among all rows, those superseded by a retry included
    rows: int

    @property
    def furthest(self) -> NDArray[np.bool_]:
        """Which trials meet all bounds, and got as far as any of these: only they compare."""
        done = self.met & ~np.isnan(self.loss).any(axis=1)
        most = np.max(self.budget[done], initial=-np.inf)
        return np.asarray(done & (self.budget == most))


class Study:
    """The trials of a search, as they were when first looked at.

    source  where they come from; `Study.load` opens a stored study
    space   the space as the search had it; left out: as it is stored, where the objects
            of a Choice are known by name

    >>> Study.load("no/such/folder")
    Traceback (most recent call last):
    raysearch.errors.StudyNotFound: study no/such/folder: there is no study here ...
    """

    #: what `search(confirm=...)` has found: means over fresh seeds; see `raysearch.confirm`
    confirmed: pa.Table | None = None

    def __init__(self, source: Source, space: Space | None = None) -> None:
        if not hasattr(source, "batches"):
            raise UsageError(f"Study: expected what holds rows, found {source!r}; use Study.load()")
        self._source = source
        self.place = source.place
        self.spec = dict(source.spec)
        self.space = space if space is not None else Space.from_json(self.spec["space"])
        self.objectives = Objectives.from_json(self.spec["metric"], self.spec.get("require", {}))

    @classmethod
    def load(cls, place: str | Path) -> Study:
        """The study in a folder or at a URI, also while a search writes to it.

        Raises UsageError, StudyNotFound, StudyFormat, or, as soon as rows are read, StudyCorrupt.
        """
        check_place(place)
        reader = Reader(place)
        if not reader.spec:
            raise StudyNotFound(
                f"study {reader.place}: nothing was searched here yet (its first session has not "
                "begun); start it with raysearch run"
            )
        return cls(reader)

    # --- tables ---------------------------------------------------------------------------

    @property
    def trials(self) -> pa.Table:
        """All trials, each with its latest result, in the order told."""
        return self._take(self._index.row)

    def columns(self, *names: str) -> pa.Table:
        """Some columns of `trials`; no others are read.

        Raises UsageError if there is no column of a name.

        >>> import raysearch as rs
        >>> study = rs.search(
        ...     lambda c: c["x"], {"x": rs.Float(0, 1)}, trials=4, address="inline", progress=False
        ... )
        >>> study.columns("number", "metrics.loss").column_names
        ['number', 'metrics.loss']
        """
        table = self._take(self._index.row, names)
        for name in names:
            if name not in table.column_names:
                known = nearest(name, self.trials.column_names)
                raise UsageError(f"study.columns: there is no column {name!r}; {known}")
        return table.select(names)

    @property
    def reports(self) -> pa.Table:
        """What generators have yielded: number, step, metrics, in the order in which it came.

        Of a trial that was tried again, what a later attempt has said anew is left out.
        """
        found = list(self._source.batches(table=REPORTS))
        schema = found[0].schema if found else make_schema({}, {}, REPORTS)
        table = pa.Table.from_batches(found, schema)
        columns = [table[name].to_numpy() for name in ("number", "attempt", "step")]
        names = [n for n in table.column_names if n in ("number", "step") or n.startswith(METRICS)]
        return table.filter(pa.array(valid(*columns))).select(names)

    @property
    def pareto(self) -> pa.Table:
        """Complete trials of the highest budget that meet all bounds, and that none dominates."""
        return self._take(self._index.row[self._front])

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """The volume that `pareto` dominates, up to a value of each metric that is bad."""
        return hypervolume(self._index.loss[self._front], self.objectives.reference(reference))

    @property
    def _front(self) -> Ints:
        complete = np.flatnonzero((self._index.state == COMPLETE) & self._index.furthest)
        return np.asarray(complete[front(self._index.loss[complete])])

    def to_pandas(self) -> Any:
        """`trials` as a pandas data frame."""
        return self.trials.to_pandas()

    # --- trials ---------------------------------------------------------------------------

    @property
    def best(self) -> FinishedTrial:
        """The trial with the best metric, the lowest number if there are several.

        Of those that meet `search(require=...)`; where trials have budgets, those that got
        furthest are compared. Raises UsageError with several objectives (see `pareto`), or
        without such a trial.
        """
        if len(self.objectives.names) > 1:
            raise UsageError(
                f"study.best: there are several objectives, {list(self.objectives.names)}; "
                "use study.pareto"
            )
        loss = self.losses
        if np.isnan(loss).all():
            raise UsageError(f"study.best: {self._why_none()}")
        equal = np.flatnonzero(loss == np.nanmin(loss))
        first = equal[np.argmin(self._index.number[equal])]  # whenever it was told
        return self._trial(int(self._index.row[first]))

    @property
    def losses(self) -> Floats:
        """(n,) of the first objective, to be minimised, in the order told; NaN: not comparable."""
        return np.where(self._index.furthest, self._index.loss[:, 0], np.nan)

    @property
    def furthest(self) -> float:
        """The highest budget that a trial has reached; infinite where there are none."""
        return float(np.max(self._index.budget[self._index.furthest], initial=-np.inf))

    @property
    def ranking(self) -> Ints:
        """Numbers of the comparable trials, the best first; of a front, the loneliest first."""
        index, several = self._index, len(self.objectives.names) > 1
        rows = np.flatnonzero(index.furthest)
        rows = rows[front(index.loss[rows])] if several else rows
        worse = -crowding(index.loss[rows]) if several else index.loss[rows, 0]
        return np.asarray(index.number[rows[np.lexsort((index.number[rows], worse))]])

    def checkpoint(self, number: int) -> dict[str, Any] | None:
        """What a trial, or the one that it has gone on from, has saved last; None: nothing.

        Tensors come as numpy arrays. Raises StudyCorrupt if it is damaged.
        """
        trial: FinishedTrial | None = self.trial(number)
        while trial is not None:
            if (data := self._source.checkpoint(trial.number)) is not None:
                return unpack(data)
            trial = None if trial.parent is None else self.trial(trial.parent)
        return None

    def schedule(self, number: int | None = None) -> pa.Table:
        """The way to a trial, or the best: number, from, to, config, metrics; see `replay`."""
        line = [(self.best if number is None else self.trial(number)).number]
        parent = dict(zip(*self.columns("number", "parent").to_pydict().values(), strict=True))
        while (before := parent[line[-1]]) is not None:
            line.append(before)
        table = self.trials.filter(pc.is_in(self.trials["number"], pa.array(line)))
        table = table.sort_by("number").rename_columns({"budget": "to"})
        table = table.append_column("from", pa.array([0.0, *table["to"].to_pylist()[:-1]]))
        named = (n for n in table.column_names if n.startswith((CONFIG, METRICS)))
        return table.select(["number", "from", "to", *named])

    def trial(self, number: int) -> FinishedTrial:
        """The trial of this number; UsageError if there is none that is over."""
        found = np.flatnonzero(self._index.number == number)
        if not len(found):
            raise UsageError(
                f"study.trial: expected the number of a finished trial, found {number}; "
                f"there are {len(self)}"
            )
        return self._trial(int(self._index.row[found[0]]))

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended in each state; states that none ended in are left out."""
        counts = np.bincount(self._index.state, minlength=len(STATES)).tolist()
        return {state: n for state, n in zip(STATES, counts, strict=True) if n}

    def __len__(self) -> int:
        return len(self._index.number)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.counts.items())
        return f"<Study {self.place}: {counts or 'no trials'}>"

    def _repr_html_(self) -> str:
        pairs: dict[str, Any] = dict(self.counts)
        try:
            best = self.best
        except UsageError:
            pass
        else:
            pairs |= {"best": best.number, **best.metrics, **best.config}
        return html_table(f"Study {self.place}", pairs)

    # --- reading --------------------------------------------------------------------------

    @cached_property
    def _index(self) -> _Index:
        columns = [METRICS + name for name in self.objectives.needed]
        numbers, states, losses, budgets, met = [], [], [], [], []
        for batch in self._source.batches(["number", "state", "budget", *columns]):
            state = pc.index_in(batch.column("state"), _STATES).cast(pa.uint8()).to_numpy()
            metrics = {n: as_numbers(values) for n, values in metrics_of(batch).items()}
            numbers.append(batch.column("number").to_numpy())
            budgets.append(batch.column("budget").fill_null(np.inf).to_numpy())
            states.append(state)
            losses.append(self.objectives.losses(state, metrics))
            met.append(self.objectives.met(len(state), metrics))
        if not numbers:
            none = np.zeros(0, np.int64)
            nothing = np.zeros((0, len(self.objectives.names)))
            codes, nobody = none.astype(np.uint8), none.astype(bool)
            return _Index(none, codes, nothing, nobody, np.zeros(0), none, 0)
        number = np.concatenate(numbers)
        rows = len(number)
        _, from_end = np.unique(number[::-1], return_index=True)
        row = np.sort(rows - 1 - from_end)  # of each number's last entry
        return _Index(
            number[row],
            np.concatenate(states)[row],
            np.concatenate(losses)[row],
            np.concatenate(met)[row],
            np.concatenate(budgets)[row],
            row,
            rows,
        )

    def _batches(self, names: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(row of its first, batch) of all rows that the index knows: later ones are left."""
        start = 0
        for batch in self._source.batches(names):
            batch = batch.slice(0, self._index.rows - start)
            yield start, batch
            start += batch.num_rows
            if start >= self._index.rows:
                return

    def _take(self, rows: Ints, names: Sequence[str] | None = None) -> pa.Table:
        found = []
        schema = None
        for start, batch in self._batches(names):
            schema = batch.schema
            first, last = np.searchsorted(rows, [start, start + batch.num_rows])
            if last - first == batch.num_rows:
                found.append(batch)
            elif last > first:
                found.append(batch.take(rows[first:last] - start))
        if schema is None:
            from .log.rows import Rows

            schema = Rows(self.space).schema({n: pa.float64() for n in self.objectives.needed})
        return pa.Table.from_batches(found, schema)

    def _trial(self, row: int) -> FinishedTrial:
        for start, batch in self._batches():
            if start <= row < start + batch.num_rows:
                table = pa.Table.from_batches([batch.slice(row - start, 1)])
                started = table["started"].cast(pa.timestamp("us", tz="UTC"), safe=False)
                plain = table.drop_columns([f.name for f in table.schema if f.type == TIME])
                return self._from_row({**plain.to_pylist()[0], "started": started[0].as_py()})
        raise AssertionError("a row of the index is there")

    def _from_row(self, row: Mapping[str, Any]) -> FinishedTrial:
        def named(prefix: str) -> dict[str, Any]:
            return {
                name.removeprefix(prefix): value
                for name, value in row.items()
                if name.startswith(prefix) and value is not None
            }

        return FinishedTrial(
            config={name: self._value(name, value) for name, value in named(CONFIG).items()},
            metrics=named(METRICS),
            **{name: row[name] for name in _SAME},
        )

    def _value(self, name: str, stored: Any) -> Any:
        """The value that the objective saw, for one in the table."""
        parameter = self.space.parameters.get(name)
        if isinstance(parameter, Array) and isinstance(stored, list):
            return np.array(stored).reshape(parameter.shape)
        if not isinstance(parameter, Choice):
            return stored
        if isinstance(stored, str) and not all(isinstance(n, str) for n in parameter.names):
            stored = json.loads(stored)
        try:
            return parameter.to_list(np.array([parameter.lookup(stored)]))[0]
        except SpaceError:
            return stored  # of an earlier space

    def _why_none(self) -> str:
        """Why there is no best trial."""
        if not np.isnan(self._index.loss).any(axis=1).all():
            bounds = " and ".join(map(str, self.objectives.bounds))
            return f"no trial meets {bounds}; the metrics are in study.trials"
        errors: Counter[str] = Counter()
        for batch in self._source.batches(["error"]):
            for text in filter(None, batch.column("error").to_pylist()):
                errors[text.strip().rpartition("\n")[2][:200]] += 1
        if not errors:
            return f"no trial is complete; there are {len(self)} trials"
        text, n = errors.most_common(1)[0]
        often = f"the most frequent error, {n} times in {len(self)} trials"
        return f"no trial is complete; {often}: {text}"
