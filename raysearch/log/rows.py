"""Rows: trials that are over, from numpy columns to Arrow record batches and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..engine.records import Finished, Trials
from ..errors import StudyMismatch
from ..space import Array, Choice, Columns, Parameter, Space
from ..trial import ROOT, STATES
from .metrics import check_name, metrics_of, objects, texts, to_columns
from .schema import CONFIG, FLAG, METRICS, NUMBER, TEXT, TIME, VECTOR, make_schema, nulls, part_of

_STATES = pa.array(STATES, TEXT)
_LEDGER = ("started", "finished", "asked", "submitted", "told")
_INT64 = 2**63


class Rows:
    """How the trials of a space become rows, and rows become trials again.

    >>> from raysearch.space import Float
    >>> Rows(Space({"lr": Float(0, 1)})).schema({"loss": NUMBER}).names[:4]
    ['number', 'state', 'config.lr', 'metrics.loss']
    """

    def __init__(self, space: Space) -> None:
        for name in space.parameters:
            check_name("space", name)
        self.space = space
        self._schemas: dict[tuple[tuple[str, pa.DataType], ...], pa.Schema] = {}
        self._codecs = {name: _codec(p) for name, p in space.parameters.items()}

    def schema(self, metrics: Mapping[str, pa.DataType]) -> pa.Schema:
        """The schema of rows with these metrics."""
        key = tuple(metrics.items())
        if key not in self._schemas:
            config = {name: codec.type for name, codec in self._codecs.items()}
            self._schemas = {key: make_schema(config, metrics)}  # the last one is enough
        return self._schemas[key]

    def to_batches(
        self, finished: Sequence[Finished], known: Mapping[str, pa.DataType]
    ) -> list[pa.RecordBatch]:
        """A batch for each group that is not empty; what one introduces, the next ones know."""
        batches = []
        for group in finished:
            if len(group):
                batches.append(self.to_batch(group, known))
                known = part_of(batches[-1].schema, METRICS)
        return batches

    def to_batch(
        self, finished: Finished, known: Mapping[str, pa.DataType] | None = None
    ) -> pa.RecordBatch:
        """The trials as rows; metrics in `known` that they lack are null.

        Raises StudyMismatch if a metric is not of its known type (see `admit`).
        """
        k = len(finished)
        metrics, columns = to_columns(finished.metrics, known or {}, k)
        numbers, active = finished.columns.numbers, finished.columns.active
        arrays: list[pa.Array[Any]] = [
            pa.array(finished.number, pa.int64()),
            _states(finished.state),
            *(c.to_arrow(numbers[n], active.get(n)) for n, c in self._codecs.items()),
            *columns,
            _numbers(finished.budget),
            _parents(finished.trials),
            _times(finished.started),
            _times(finished.finished),
            pa.array(finished.seconds, NUMBER),
            _workers(finished.worker),
            pa.array(finished.attempts.astype(np.int32)),
            texts([finished.errors.get(i) for i in range(k)])
            if finished.errors
            else nulls(k, TEXT),
            _times(finished.asked),
            _times(finished.submitted),
            _times(finished.told),
            pa.array(finished.after, pa.int64()),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema(metrics))

    def from_batch(self, batch: pa.RecordBatch) -> Finished:
        """The trials of these rows: inverse to `to_batch`, to the bit.

        Metrics that none of the rows has are left out. Raises StudyMismatch if a
        configuration is not of this space.
        """
        numbers: dict[str, NDArray[Any]] = {}
        active: dict[str, NDArray[np.bool_]] = {}
        conditional = {n for n, p in self.space.parameters.items() if p.conditions}
        for name, codec in self._codecs.items():
            if CONFIG + name not in batch.schema.names:
                raise StudyMismatch(f"space[{name!r}]: the stored trials have no such parameter")
            column = batch.column(CONFIG + name)
            if name in conditional:
                active[name] = column.is_valid().to_numpy(zero_copy_only=False)
            elif column.null_count:
                raise StudyMismatch(f"space[{name!r}]: some stored trials lack this parameter")
            numbers[name] = codec.from_arrow(name, column)
        columns = Columns(self.space.parameters, numbers, active, batch.num_rows)
        budget = _from_numbers(batch.column("budget"))
        parent = batch.column("parent").fill_null(ROOT).to_numpy()
        plain = np.isnan(budget).all() and (parent == ROOT).all()
        times = {name: _from_times(batch.column(name)) for name in _LEDGER}
        error = batch.column("error")
        failed = np.flatnonzero(error.is_valid().to_numpy(zero_copy_only=False)).tolist()
        return Finished(
            trials=Trials(
                batch.column("number").to_numpy(),
                columns,
                None if plain else budget,
                None if plain else parent,
            ),
            state=pc.index_in(batch.column("state"), _STATES).cast(pa.uint8()).to_numpy(),
            metrics=metrics_of(batch),
            errors={i: error[i].as_py() for i in failed},
            attempts=batch.column("attempts").to_numpy().astype(np.int64),
            worker=objects(batch.column("worker").to_pylist()),
            after=batch.column("after").to_numpy(),
            seconds=batch.column("seconds").to_numpy(),
            budget=budget,
            **times,
        )


# --- parameters ---------------------------------------------------------------------------


class _Codec:
    """Values of a number parameter, as they are."""

    def __init__(self, parameter: Parameter) -> None:
        self.type: pa.DataType = pa.float64() if parameter.dtype is np.float64 else pa.int64()
        self._filler = getattr(parameter, "low", 0)  # a legal value, where inactive

    def to_arrow(self, numbers: NDArray[Any], active: NDArray[np.bool_] | None) -> pa.Array[Any]:
        return pa.array(numbers, self.type, mask=None if active is None else ~active)

    def from_arrow(self, name: str, column: pa.Array[Any]) -> NDArray[Any]:
        if column.type != self.type:
            raise StudyMismatch(
                f"space[{name!r}]: expected {self.type}, found {column.type} in the stored trials"
            )
        return np.asarray(column.fill_null(self._filler).to_numpy())


class _ChoiceCodec(_Codec):
    """Values of a `Choice` by name, typed if all are of one type, else as JSON texts."""

    def __init__(self, parameter: Choice) -> None:
        names: list[Any] = list(parameter.names)
        kinds = {type(name) for name in names}
        plain = len(set(map(str, names))) == len(names) and len(kinds) == 1
        if plain and kinds == {str}:
            self.type = TEXT
        elif plain and kinds == {bool}:
            self.type = FLAG
        elif plain and kinds == {int} and all(-_INT64 <= n < _INT64 for n in names):
            self.type = pa.int64()
        elif plain and kinds == {float} and len(set(names)) == len(names):  # 0.0 == -0.0
            self.type = pa.float64()
        else:
            self.type, names = TEXT, [json.dumps(name, sort_keys=True) for name in names]
        self._names = pa.array(names, self.type)

    def to_arrow(self, numbers: NDArray[Any], active: NDArray[np.bool_] | None) -> pa.Array[Any]:
        mask = None if active is None else ~active
        return self._names.take(pa.array(numbers, pa.int64(), mask=mask))

    def from_arrow(self, name: str, column: pa.Array[Any]) -> NDArray[Any]:
        if column.type != self.type:
            raise StudyMismatch(
                f"space[{name!r}]: expected {self.type}, found {column.type} in the stored trials"
            )
        index = pc.index_in(column, self._names)
        if index.null_count > column.null_count:
            strangers = column.filter(pc.and_(index.is_null(), column.is_valid()))
            raise StudyMismatch(
                f"space[{name!r}]: expected one of {self._names.to_pylist()}, "
                f"found {strangers[0].as_py()!r} in the stored trials"
            )
        return np.asarray(index.fill_null(0).to_numpy()).astype(np.int64)


class _ArrayCodec(_Codec):
    """Values of an `Array`, flat, as lists of one length."""

    def __init__(self, parameter: Array) -> None:
        self.type = VECTOR
        self._shape, self._width = parameter.shape, parameter.width
        self._filler = parameter.lookup(parameter.default)

    def to_arrow(self, numbers: NDArray[Any], active: NDArray[np.bool_] | None) -> pa.Array[Any]:
        offsets: Any = pa.array(np.arange(len(numbers) + 1, dtype=np.int32) * self._width)
        mask = None if active is None else pa.array(~active, pa.bool_())
        return pa.ListArray.from_arrays(offsets, pa.array(numbers.ravel(), NUMBER), mask=mask)

    def from_arrow(self, name: str, column: pa.Array[Any]) -> NDArray[Any]:
        if (
            not isinstance(column, pa.ListArray)
            or column.type != self.type
            or (pc.list_value_length(column).drop_null().to_numpy() != self._width).any()
        ):
            raise StudyMismatch(
                f"space[{name!r}]: expected lists of {self._width} numbers, found {column.type} "
                "in the stored trials"
            )
        values = np.empty((len(column), *self._shape))
        there = column.is_valid().to_numpy(zero_copy_only=False)
        values[there] = column.flatten().to_numpy().reshape(-1, *self._shape)
        values[~there] = self._filler
        return values


def _codec(parameter: Parameter) -> _Codec:
    if isinstance(parameter, Array):
        return _ArrayCodec(parameter)
    return _ChoiceCodec(parameter) if isinstance(parameter, Choice) else _Codec(parameter)


# --- small things -------------------------------------------------------------------------


def _one(values: NDArray[Any]) -> bool:
    """Whether all of them are the same."""
    return not values.strides[0] or bool((values == values[0]).all())


def _states(codes: NDArray[np.uint8]) -> pa.Array[Any]:
    """Mostly all trials have ended in the same one."""
    if _one(codes):
        return pa.repeat(_STATES[int(codes[0])], len(codes))
    return _STATES.take(pa.array(codes, pa.uint8()))


def _numbers(values: NDArray[np.float64]) -> pa.Array[Any]:
    """NaN is null."""
    never = np.isnan(values)
    if never.all():
        return nulls(len(values), NUMBER)
    return pa.array(values, NUMBER, mask=never if never.any() else None)


def _from_numbers(column: pa.Array[Any]) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _workers(values: NDArray[Any]) -> pa.Array[Any]:
    """Mostly one has run them all."""
    if _one(values):
        return pa.repeat(pa.scalar(values[0], TEXT), len(values))
    return texts(values.tolist())


def _parents(trials: Trials) -> pa.Array[Any]:
    if trials.parent is None:
        return nulls(len(trials), pa.int64())
    return pa.array(trials.parent, pa.int64(), mask=trials.parent == ROOT)


def _times(values: NDArray[np.int64]) -> pa.Array[Any]:
    never = values == 0
    return pa.array(values, pa.int64(), mask=never if never.any() else None).view(TIME)


def _from_times(column: pa.Array[Any]) -> NDArray[np.int64]:
    return np.asarray(column.view(pa.int64()).fill_null(0).to_numpy())
