"""Rows: trials that are over, from numpy columns to Arrow record batches and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..engine.records import Finished, Metrics, Trials
from ..errors import StudyMismatch, UsageError
from ..space import Choice, Columns, Parameter, Space
from ..trial import INVALID, STATES
from .schema import (
    CONFIG,
    EXTENSION,
    FLAG,
    METRICS,
    NUMBER,
    TEXT,
    TIME,
    describe,
    make_schema,
    nulls,
    part_of,
)

MAX_METRICS = 1000  # names; more are a mistake in the objective, not a study
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
            _check_name("space", name)
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
        metrics = dict(known or {})
        columns = {}
        for name, values in finished.metrics.items():
            type_ = _type_of(name, values, metrics.get(name))
            if type_ is not None:
                metrics[name] = type_
                columns[name] = _metric(values, type_)
        numbers, active = finished.columns.numbers, finished.columns.active
        arrays: list[pa.Array[Any]] = [
            pa.array(finished.number, pa.int64()),
            _STATES.take(pa.array(finished.state, pa.uint8())),
            *(c.to_arrow(numbers[n], active.get(n)) for n, c in self._codecs.items()),
            *(columns[n] if n in columns else nulls(k, t) for n, t in metrics.items()),
            pa.array(np.ones(k)),  # budget: every trial is run in full
            _times(finished.started),
            _times(finished.finished),
            pa.array(finished.seconds, NUMBER),
            _texts(finished.worker.tolist()),
            pa.array(finished.attempts.astype(np.int32)),
            _texts([finished.errors.get(i) for i in range(k)])
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
        times = {name: _from_times(batch.column(name)) for name in _LEDGER}
        error = batch.column("error")
        failed = np.flatnonzero(error.is_valid().to_numpy(zero_copy_only=False)).tolist()
        return Finished(
            trials=Trials(batch.column("number").to_numpy(), columns),
            state=pc.index_in(batch.column("state"), _STATES).cast(pa.uint8()).to_numpy(),
            metrics=metrics_of(batch),
            errors={i: error[i].as_py() for i in failed},
            attempts=batch.column("attempts").to_numpy().astype(np.int64),
            worker=_objects(batch.column("worker").to_pylist()),
            after=batch.column("after").to_numpy(),
            seconds=batch.column("seconds").to_numpy(),
            **times,
        )


def metrics_of(batch: pa.RecordBatch) -> Metrics:
    """The metrics that any of the rows has: name -> values."""
    metrics: dict[str, NDArray[Any]] = {}
    for name, type_ in part_of(batch.schema, METRICS).items():
        column = batch.column(METRICS + name)
        if type_ == NUMBER and not column.null_count:
            metrics[name] = column.to_numpy()
        elif column.null_count < len(column):
            metrics[name] = _objects(column.to_pylist())
    return metrics


def admit(finished: Finished, known: Mapping[str, pa.DataType]) -> Finished:
    """The same trials; those with a metric of another type than before become invalid.

    known  metric name -> type so far; a new metric takes the type of its first value

    The value at fault is left out and the trial's error says why, so that the rest of the
    batch, and the search, go on.
    """
    problems: dict[int, str] = {}
    metrics = dict(finished.metrics)
    room = MAX_METRICS - len(known)
    for name, values in finished.metrics.items():
        if name not in known and (why := _unusable("metrics", name)):
            del metrics[name]
            problems |= {i: why for i, value in enumerate(values.tolist()) if value is not None}
            continue
        room -= name not in known
        if values.dtype == np.float64 and known.get(name, NUMBER) == NUMBER and room >= 0:
            continue
        kinds = [_kind(value) for value in values.tolist()]
        wanted = known.get(name) or next((t for t in kinds if isinstance(t, pa.DataType)), None)
        kept = _objects(values.tolist())
        for i, kind in enumerate(kinds):
            if kind is None or (kind == wanted and room >= 0):
                continue
            kept[i] = None
            found = describe(kind) if isinstance(kind, pa.DataType) else kind
            problems[i] = (
                f"metrics: more than {MAX_METRICS} different names in one study, such as {name!r}"
                if room < 0
                else f"metrics[{name!r}]: expected {describe(wanted or NUMBER)}, as in the trials "
                f"before, found {found}; return one type, or use another name"
            )
        metrics[name] = kept
    if not problems and len(metrics) == len(finished.metrics):
        return finished
    state = finished.state.copy()
    state[list(problems)] = INVALID
    return replace(finished, state=state, metrics=metrics, errors={**finished.errors, **problems})


def learn(finished: Finished, known: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """The types of metrics as known after these trials, which have been admitted."""
    found = {n: _type_of(n, values, known.get(n)) for n, values in finished.metrics.items()}
    return {**known, **{name: type_ for name, type_ in found.items() if type_ is not None}}


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


def _codec(parameter: Parameter) -> _Codec:
    return _ChoiceCodec(parameter) if isinstance(parameter, Choice) else _Codec(parameter)


# --- metrics ------------------------------------------------------------------------------


def _kind(value: Any) -> pa.DataType | str | None:
    """The type of a metric's value; None if it is missing, a text if it cannot be stored."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return FLAG
    if isinstance(value, str):
        return TEXT
    if isinstance(value, (float, np.floating, np.integer)):
        return NUMBER
    if isinstance(value, int):
        return NUMBER if value.bit_length() < 1024 else "an integer too large for a float"
    return type(value).__name__


def _type_of(name: str, values: NDArray[Any], known: pa.DataType | None) -> pa.DataType | None:
    """The type of a metric's column; None if it has no values at all."""
    if known is None:
        _check_name("metrics", name)
    if values.dtype == np.float64:
        found: set[Any] = {NUMBER}
    else:
        found = {_kind(value) for value in values.tolist()} - {None}
    strangers = found - {known} if known is not None else found
    if len(strangers) > (known is None) or any(isinstance(kind, str) for kind in strangers):
        kinds = sorted(describe(k) if isinstance(k, pa.DataType) else k for k in found)
        raise StudyMismatch(
            f"metrics[{name!r}]: expected {describe(known) if known else 'values of one type'}, "
            f"found {' and '.join(kinds)}; return one type, or use another name"
        )
    return known if known is not None else next(iter(found), None)


def _metric(values: NDArray[Any], type_: pa.DataType) -> pa.Array[Any]:
    if values.dtype == np.float64:
        return pa.array(values, NUMBER)
    if type_ == TEXT:
        return _texts(values.tolist())
    cast = float if type_ == NUMBER else bool
    return pa.array([None if v is None else cast(v) for v in values.tolist()], type_)


# --- small things -------------------------------------------------------------------------


def _check_name(where: str, name: str) -> None:
    if why := _unusable(where, name):
        raise UsageError(why)


def _unusable(where: str, name: str) -> str | None:
    """Why the name cannot be that of a column, if so."""
    if _encodable(name) and EXTENSION.decode() not in name:
        return None
    return (
        f"{where}[{name!r}]: expected a name of valid Unicode without {EXTENSION.decode()!r}, "
        "because it becomes the name of a column; choose another name"
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _texts(values: list[str | None]) -> pa.Array[Any]:
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError:  # lone surrogates have no UTF-8
        return pa.array([v and v.encode(errors="backslashreplace").decode() for v in values], TEXT)


def _objects(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _times(values: NDArray[np.int64]) -> pa.Array[Any]:
    never = values == 0
    return pa.array(values, pa.int64(), mask=never if never.any() else None).view(TIME)


def _from_times(column: pa.Array[Any]) -> NDArray[np.int64]:
    return np.asarray(column.view(pa.int64()).fill_null(0).to_numpy())
