"""What the rows of a study's two tables look like as Arrow schemas.

::

    trials, in log/:
    number, state                                        which trial, and how it ended
    config.<name>...                                     null where inactive
    metrics.<name>...                                    float64, bool or string
    budget, parent, started, finished, seconds, worker, attempts, error
    asked, submitted, told, after                        the ledger

    reports, in reports/:
    number, attempt, step                                whose, and how far it had got
    metrics.<name>...
    rung, time, seconds

Names of users ride in column names, never in paths. Only the types listed here are ever
read; anything else is refused before a value is touched.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..errors import StudyCorrupt, StudyMismatch

CONFIG, METRICS = "config.", "metrics."
NUMBER, TEXT, FLAG = pa.float64(), pa.string(), pa.bool_()
VECTOR = pa.list_(NUMBER)  # of one length, which Parquet would not keep in the type
TIME = pa.timestamp("ns", tz="UTC")

_CONFIG_TYPES = (NUMBER, pa.int64(), TEXT, FLAG, VECTOR)
_METRIC_TYPES = (NUMBER, FLAG, TEXT)
_KNOWN_TYPES = (*_CONFIG_TYPES, TIME, pa.int32())  # VECTOR is equal to lists of any child name


@dataclass(frozen=True, eq=False)
class Table:
    """One of the tables of a study.

    folder  where its files lie
    count   what a closing record calls the number of its next batch
    head    the columns before those of parameters and metrics: name -> type
    tail    the columns after them
    """

    folder: str
    count: str
    head: Mapping[str, pa.DataType]
    tail: Mapping[str, pa.DataType]

    @property
    def fixed(self) -> dict[str, pa.DataType]:
        """The columns that are always there."""
        return {**self.head, **self.tail}


TRIALS = Table(
    "log",
    "next",
    {"number": pa.int64(), "state": TEXT},
    {
        "budget": NUMBER,
        "parent": pa.int64(),
        "started": TIME,
        "finished": TIME,
        "seconds": NUMBER,
        "worker": TEXT,
        "attempts": pa.int32(),
        "error": TEXT,
        "asked": TIME,
        "submitted": TIME,
        "told": TIME,
        "after": pa.int64(),
    },
)
REPORTS = Table(
    "reports",
    "reports",
    {"number": pa.int64(), "attempt": pa.int32(), "step": NUMBER},
    {"rung": pa.int32(), "time": TIME, "seconds": NUMBER},
)

#: Arrow would hand a column so marked to whatever code is registered for it
EXTENSION = b"ARROW:extension:"


def make_schema(
    config: Mapping[str, pa.DataType], metrics: Mapping[str, pa.DataType], table: Table = TRIALS
) -> pa.Schema:
    """The schema of rows with these parameters and metrics."""
    return pa.schema(
        [
            *table.head.items(),
            *((CONFIG + name, type_) for name, type_ in config.items()),
            *((METRICS + name, type_) for name, type_ in metrics.items()),
            *table.tail.items(),
        ]
    )


def part_of(schema: pa.Schema, prefix: str) -> dict[str, pa.DataType]:
    """The columns that begin with `prefix`, taken off: name -> type."""
    return {
        field.name.removeprefix(prefix): field.type
        for field in schema
        if field.name.startswith(prefix)
    }


def check_schema(schema: pa.Schema, file: str, table: Table = TRIALS) -> None:
    """Raise StudyCorrupt unless the schema is one that this table may have."""
    fixed = table.fixed
    counts = Counter(schema.names)
    missing = [name for name in fixed if name not in counts]
    if missing:
        raise StudyCorrupt(f"{file}: the columns {missing} of a study are not there")
    for field in schema:
        allowed: Iterable[pa.DataType] = _KNOWN_TYPES  # unknown columns of a later minor version
        if field.name in fixed:
            allowed = (fixed[field.name],)
        elif field.name.startswith(CONFIG):
            allowed = _CONFIG_TYPES
        elif field.name.startswith(METRICS):
            allowed = _METRIC_TYPES
        extended = any(key.startswith(EXTENSION) for key in field.metadata or {})
        if counts[field.name] > 1 or extended or field.type not in allowed:
            raise StudyCorrupt(
                f"{file}: column {field.name!r} of type {field.type} is not one that a study has; "
                f"expected one of {sorted(map(str, allowed))}, once, without extension"
            )


def unify(schemas: Iterable[pa.Schema], table: Table = TRIALS) -> pa.Schema:
    """The schema into which rows of all these schemas fit.

    Metrics of one name must agree in type, else StudyMismatch; parameters that differ
    (the space was changed) become numbers if they can, else texts.
    """
    config: dict[str, pa.DataType] = {}
    metrics: dict[str, pa.DataType] = {}
    for schema in schemas:
        for name, type_ in part_of(schema, CONFIG).items():
            config[name] = _common(config.get(name, type_), type_)
        for name, type_ in part_of(schema, METRICS).items():
            if metrics.setdefault(name, type_) != type_:
                raise StudyMismatch(
                    f"metrics[{name!r}]: expected {describe(metrics[name])}, as in the trials "
                    f"before, found {describe(type_)}; return one type, or use another name"
                )
    return make_schema(config, metrics, table)


def describe(type_: pa.DataType) -> str:
    """What people call a metric of this type."""
    return {NUMBER: "a number", FLAG: "true or false", TEXT: "a text"}.get(type_, str(type_))


def _common(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if a == b:
        return a
    return NUMBER if {a, b} == {NUMBER, pa.int64()} else TEXT


def fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly the columns of the schema; absent ones are null."""
    if batch.schema.equals(schema):
        return batch
    names = set(batch.schema.names)
    arrays = [
        _cast(batch.column(field.name), field.type)
        if field.name in names
        else nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def nulls(k: int, type_: pa.DataType) -> pa.Array[Any]:
    """A column of k nulls."""
    return pa.nulls(k).cast(type_)


def _cast(array: pa.Array[Any], type_: pa.DataType) -> pa.Array[Any]:
    if array.type == type_:
        return array
    if type_ == TEXT:
        texts = [None if value is None else json.dumps(value) for value in array.to_pylist()]
        return pa.array(texts, TEXT)
    return array.cast(type_)
