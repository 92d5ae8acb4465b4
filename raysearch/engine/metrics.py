"""What an objective may return: it is checked, and laid out in columns.

A trial returns a number, or a mapping from names to metrics: numbers, bool, str or None.
Metrics that are objectives must be there and be numbers. NaN is invalid, and so is an
infinity on the good side, which no real trial reaches; on the bad side it is a legal
worst value. Metrics that have a bound must be there, too; NaN or None, where one could not be
measured, does not meet it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scalars import plain, real
from .records import Objectives

MAX_BYTES = 2**20  # of all metrics of one trial

Row = dict[str, Any]  # the metrics of one trial: float, bool, str or None


class Invalid(Exception):
    """What was returned is not a result; says why."""


def clean(value: Any, objectives: Objectives) -> Row:
    """The metrics of one trial, from what its objective returned; raises Invalid."""
    value = plain(value)
    names = objectives.needed
    if not isinstance(value, Mapping):
        number = _number(value)
        if number is None:
            raise Invalid(f"expected a number or a mapping of metrics, found {_describe(value)}")
        if len(names) > 1:
            raise Invalid(f"expected a mapping with the metrics {_list(names)}, found {number}")
        return {names[0]: number}
    _check_names(value, objectives)
    row = {name: _metric(name, metric, objectives) for name, metric in value.items()}
    size = sum(len(k) + (len(v) if isinstance(v, str) else 8) for k, v in row.items())
    if size > MAX_BYTES:
        raise Invalid(f"expected at most 1 MiB of metrics, found {size / 2**20:.1f} MiB")
    return row


def clean_columns(value: Any, objectives: Objectives, k: int) -> dict[str, NDArray[Any]]:
    """The metrics of k trials, from what a vectorized objective returned; raises Invalid."""
    names = objectives.needed
    if not isinstance(value, Mapping):
        if len(names) > 1:
            raise Invalid(
                f"expected a mapping with arrays for {_list(names)}, found {_describe(value)}"
            )
        value = {names[0]: value}
    _check_names(value, objectives)
    columns = {}
    for name, metric in value.items():
        array = np.asarray(metric)
        if array.shape != (k,):
            raise Invalid(
                f"metric {name!r}: expected an array of shape ({k},), one value per "
                f"configuration, found {_describe(metric)} of shape {array.shape}"
            )
        if array.dtype.kind in "iuf":
            columns[name] = array.astype(np.float64)
        else:
            columns[name] = _column([_metric(name, v, objectives) for v in array.tolist()])
    return columns


def columns_of(rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Rows of metrics as columns: float64 where all are numbers, else objects."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _column([row.get(name) for row in rows]) for name in names}


def impossible(metrics: Mapping[str, NDArray[Any]], objectives: Objectives) -> dict[int, str]:
    """Which trials have no value, or one that no objective can have, and why."""
    errors: dict[int, str] = {}
    for name, maximize in zip(objectives.names, objectives.maximize, strict=True):
        if name not in metrics:
            continue
        values = metrics[name].astype(np.float64)  # None becomes NaN
        best = np.inf if maximize else -np.inf
        for i in np.flatnonzero(np.isnan(values) | (values == best)).tolist():
            errors.setdefault(i, f"metric {name!r}: expected a number, found {values[i]}")
    return errors


def _check_names(metrics: Mapping[Any, Any], objectives: Objectives) -> None:
    for name in metrics:
        if not isinstance(name, str):
            raise Invalid(f"expected names (str) of metrics as keys, found {name!r:.80}")
    missing = [name for name in objectives.needed if name not in metrics]
    if missing:
        raise Invalid(
            f"expected the metric {_list(missing)}, found "
            + (f"only {_list(metrics)}" if metrics else "no metrics at all")
        )


def _metric(name: str, value: Any, objectives: Objectives) -> float | bool | str | None:
    value = plain(value)
    number = _number(value)
    if number is not None:
        return number
    if name in objectives.names:
        raise Invalid(f"metric {name!r}: expected a number, found {_describe(value)}")
    if value is None or isinstance(value, bool):
        return value
    if name in objectives.needed:
        raise Invalid(
            f"metric {name!r}: expected a number, as it has a bound, found {_describe(value)}"
        )
    if isinstance(value, str):
        return text(value)
    raise Invalid(
        f"metric {name!r}: expected a number, bool, str or None, found {_describe(value)}"
    )


def text(value: str) -> str:
    """An ordinary str that can be stored: no subclass, no half characters."""
    return str.encode(value, "utf-8", "replace").decode()


def _number(value: Any) -> float | None:
    try:
        return real(value)
    except OverflowError:
        raise Invalid("expected a number in the range of float, found a larger one") from None


def _column(values: list[Any]) -> NDArray[Any]:
    if all(type(value) is float for value in values):
        return np.array(values, dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _describe(value: Any) -> str:
    if value is None:
        return "None; does the objective return its result?"
    kind = type(value).__name__
    short = repr(value) if isinstance(value, (bool, complex, str)) and len(str(value)) < 80 else ""
    return f"{kind} {short}".strip()


def _list(names: Any, most: int = 8) -> str:
    names = list(names)
    shown = ", ".join(repr(name)[:80] for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
