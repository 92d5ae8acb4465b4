"""Reports: what trials said while they ran, as rows and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..engine.records import Objectives, Reports
from ..trial import Floats, Ints
from .metrics import conform, metrics_of, to_columns
from .schema import METRICS, REPORTS, TIME, make_schema, part_of


def to_batches(
    reports: Sequence[Reports], known: Mapping[str, pa.DataType]
) -> list[pa.RecordBatch]:
    """A batch for each group that is not empty; what one introduces, the next ones know.

    A metric of another type than before is left out.
    """
    batches = []
    for group in reports:
        if len(group):
            batches.append(_to_batch(group, known))
            known = part_of(batches[-1].schema, METRICS)
    return batches


def _to_batch(reports: Reports, known: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    metrics, columns = to_columns(conform(reports.metrics, known)[0], known, len(reports))
    rung = reports.rung
    arrays: list[pa.Array[Any]] = [
        pa.array(reports.number, pa.int64()),
        pa.array(reports.attempt.astype(np.int32)),
        pa.array(reports.step),
        *columns,
        pa.array(rung.astype(np.int32), pa.int32(), mask=rung < 0),
        pa.array(reports.time, pa.int64()).view(TIME),
        pa.array(reports.seconds),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=make_schema({}, metrics, REPORTS))


def from_batch(batch: pa.RecordBatch) -> Reports:
    """The reports of these rows, as if each trial had a task of its own."""
    return Reports(
        row=np.zeros(batch.num_rows, dtype=np.int64),
        number=batch.column("number").to_numpy(),
        attempt=batch.column("attempt").to_numpy().astype(np.int64),
        step=batch.column("step").to_numpy(),
        rung=batch.column("rung").fill_null(-1).to_numpy().astype(np.int64),
        time=batch.column("time").view(pa.int64()).to_numpy(),
        seconds=batch.column("seconds").to_numpy(),
        metrics=metrics_of(batch),
    )


def valid(number: Ints, attempt: Ints, step: Floats) -> NDArray[np.bool_]:
    """(r,) which reports still hold.

    An attempt that begins again at some step takes back what earlier ones of its trial have
    said of that step and later ones, so that every curve is one of a single training.
    """
    order = np.lexsort((step, -attempt, number))  # of each trial the last attempt first
    holds = np.ones(len(number), dtype=bool)
    if not len(number) or attempt.max() == attempt.min():
        return holds
    of, begun, reached = -1, -1, np.inf
    least = np.inf  # step at which the later attempts began
    for i in order.tolist():
        if number[i] != of:
            of, begun, least = int(number[i]), int(attempt[i]), np.inf
            reached = step[i]
        elif attempt[i] != begun:
            begun, least, reached = int(attempt[i]), min(least, reached), step[i]
        holds[i] = step[i] < least
    return holds


def curves(
    reports: Iterable[Reports], objectives: Objectives
) -> dict[int, list[tuple[int, Floats]]]:
    """Number of a trial -> (rung, losses there) of each rung that it has reported."""
    found: dict[int, list[tuple[int, Floats]]] = {}
    for part in reports:
        rows = np.flatnonzero(part.rung >= 0)
        metrics = {n: v for n, v in part.metrics.items() if n in objectives.names}
        loss = objectives.losses(np.zeros(len(part), dtype=np.uint8), metrics)
        for i in rows.tolist():
            found.setdefault(int(part.number[i]), []).append((int(part.rung[i]), loss[i]))
    return found
