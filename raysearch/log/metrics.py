"""Metrics as columns of a study: their types, and what becomes of values of other types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..engine.records import Finished, Metrics
from ..errors import StudyMismatch, UsageError
from ..trial import INVALID
from .schema import EXTENSION, FLAG, METRICS, NUMBER, TEXT, describe, nulls, part_of

MAX_METRICS = 1000  # names; more are a mistake in the objective, not a study


def metrics_of(batch: pa.RecordBatch) -> Metrics:
    """The metrics that any of the rows has: name -> values."""
    metrics: dict[str, NDArray[Any]] = {}
    for name, type_ in part_of(batch.schema, METRICS).items():
        column = batch.column(METRICS + name)
        if type_ == NUMBER and not column.null_count:
            metrics[name] = column.to_numpy()
        elif column.null_count < len(column):
            metrics[name] = objects(column.to_pylist())
    return metrics


def conform(
    metrics: Metrics, known: Mapping[str, pa.DataType]
) -> tuple[dict[str, NDArray[Any]], dict[int, str]]:
    """The metrics without values of another type than before, and which rows had such, and why.

    known  metric name -> type so far; a new metric takes the type of its first value
    """
    problems: dict[int, str] = {}
    kept_all = dict(metrics)
    room = MAX_METRICS - len(known)
    for name, values in metrics.items():
        if name not in known and (why := _unusable("metrics", name)):
            del kept_all[name]
            problems |= {i: why for i, value in enumerate(values.tolist()) if value is not None}
            continue
        room -= name not in known
        if values.dtype == np.float64 and known.get(name, NUMBER) == NUMBER and room >= 0:
            continue
        kinds = [_kind(value) for value in values.tolist()]
        wanted = known.get(name) or next((t for t in kinds if isinstance(t, pa.DataType)), None)
        kept = objects(values.tolist())
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
        kept_all[name] = kept
    return kept_all, problems


def admit(finished: Finished, known: Mapping[str, pa.DataType]) -> Finished:
    """The same trials; those with a metric of another type than before become invalid.

    The value at fault is left out and the trial's error says why, so that the rest of the
    batch, and the search, go on.
    """
    metrics, problems = conform(finished.metrics, known)
    if not problems and len(metrics) == len(finished.metrics):
        return finished
    state = finished.state.copy()
    state[list(problems)] = INVALID
    return replace(finished, state=state, metrics=metrics, errors={**finished.errors, **problems})


def learn(finished: Finished, known: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """The types of metrics as known after these trials, which have been admitted."""
    found = {n: _type_of(n, values, known.get(n)) for n, values in finished.metrics.items()}
    return {**known, **{name: type_ for name, type_ in found.items() if type_ is not None}}


def to_columns(
    metrics: Metrics, known: Mapping[str, pa.DataType], k: int
) -> tuple[dict[str, pa.DataType], list[pa.Array[Any]]]:
    """(name -> type, columns) of k rows; metrics in `known` that they lack are null.

    Raises StudyMismatch if a metric is not of its known type (see `conform`).
    """
    types = dict(known)
    columns = {}
    for name, values in metrics.items():
        type_ = _type_of(name, values, types.get(name))
        if type_ is not None:
            types[name] = type_
            columns[name] = _metric(values, type_)
    return types, [columns[n] if n in columns else nulls(k, t) for n, t in types.items()]


# --- small things ---------------------------------------------------------------------------


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
        check_name("metrics", name)
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
        return texts(values.tolist())
    cast = float if type_ == NUMBER else bool
    return pa.array([None if v is None else cast(v) for v in values.tolist()], type_)


def check_name(where: str, name: str) -> None:
    """Raise UsageError unless the name can be that of a column."""
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


def texts(values: list[str | None]) -> pa.Array[Any]:
    """A column of texts, None where there is none."""
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError:  # lone surrogates have no UTF-8
        return pa.array([v and v.encode(errors="backslashreplace").decode() for v in values], TEXT)


def objects(values: list[Any]) -> NDArray[Any]:
    """The values as an array of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
