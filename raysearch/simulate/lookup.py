"""What if: another strategy, or other workers, on trials that somebody has run already.

Any configuration is answered for by the nearest of those that were run,

    i(x) = argmin_i |x - x_i|,    x, x_i (d,) in the unit cube,

of equally near ones the one that got furthest, then the first. That is a guess, and as coarse
as the trials lie apart: it says how strategies and workers compare, not what would be found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..arguments import objectives_of
from ..errors import UsageError
from ..log.rows import Rows
from ..log.schema import METRICS
from ..space import Space
from ..space.names import nearest
from ..strategies.base import AnyStrategy
from ..strategies.fidelity import Fidelity
from ..study import Study
from ..trial import Floats, Trial, has_result
from .result import Simulation
from .run import run

Row = Mapping[str, Any]  # metrics, and in a curve the step


@dataclass(frozen=True)
class _Past:
    """A trial that was run: its point (d,), its curve (or its only row), seconds for each."""

    x: Floats
    rows: Sequence[Row]
    seconds: float


class Lookup:
    """An objective, and how long it takes, looked up in trials that were run.

    It is made by `of_study` or `of_table`.

    space     of the trials
    metric    name -> "min" or "max"
    curves    whether trials have steps; then the objective is a generator
    """

    def __init__(
        self, space: Space, metric: Mapping[str, str], past: Sequence[_Past], curves: bool
    ) -> None:
        self.space, self.metric, self.curves = space, dict(metric), curves
        self._past = sorted(past, key=_reach, reverse=True)  # stable: of equals the first
        self._x = np.array([each.x for each in self._past])

    @classmethod
    def of_study(cls, study: Study) -> Lookup:
        """From the trials of a study that have a result; failed ones are left out.

        If they have reported, their curves are what they said: that of a trial that went on
        from another one begins with the other's. All its steps take equally long.

        Raises UsageError if there are no such trials, or they had budgets but no reports.

        >>> import raysearch as rs
        >>> from raysearch import simulate
        >>> def train(config):
        ...     for step in range(1, 10):
        ...         yield {"loss": config["x"] ** 2 + 1 / step}
        >>> space = rs.Space({"x": rs.Float(-1, 1)})
        >>> study = simulate.run(train, space, workers=4, trials=100, duration=60).study
        >>> past = simulate.Lookup.of_study(study)
        >>> found = past.run(rs.ASHA(max_budget=9), workers=64, trials=100)
        >>> found.makespan < simulate.replay(study, workers=64).makespan
        True
        """
        table = study.trials.sort_by("number").combine_chunks()
        parts = [Rows(study.space).from_batch(batch) for batch in table.to_batches()]
        useful = [part.take(np.flatnonzero(has_result(part.state))) for part in parts]
        if not any(map(len, useful)):
            raise UsageError(f"study: expected one with results, {study.place} has none")
        (told,) = useful  # of one batch, being combined
        reports = _curves(study.reports)
        if not reports and not np.isnan(told.budget).all():
            raise UsageError(
                "study: its trials had budgets but have not reported, so that nothing is known "
                "of how they went on; expected a study of a generator, or without budgets"
            )
        x = study.space.encode(told.columns)
        past, rows = [], dict(reports)
        for i, (number, parent) in enumerate(
            zip(told.number.tolist(), told.trials.parents.tolist(), strict=True)
        ):
            if reports and number not in reports:
                continue
            own = reports.get(number) or [{n: v[i] for n, v in told.metrics.items()}]
            before = [row for row in rows.get(parent, ()) if row["step"] < own[0]["step"]]
            rows[number] = [*before, *own]
            past.append(_Past(x[i], rows[number], float(told.seconds[i]) / len(own)))
        return cls(study.space, study.objectives.to_json(), past, bool(reports))

    @classmethod
    def of_table(
        cls,
        table: pa.Table | Mapping[str, Sequence[Any]],
        space: Space,
        *,
        metric: str | Mapping[str, str] = "loss",
        mode: str = "min",
    ) -> Lookup:
        """From a table, one row for each step of each configuration, or for each trial.

        table   columns with the names of the parameters (empty where not active), "step" if
                there are curves, "seconds" that a step or trial takes (left out: 1), and
                metrics; a `pyarrow.Table` or a mapping from names to columns
        space   of the configurations; rows of the same one are one curve
        metric, mode  as of `raysearch.search`

        Raises UsageError if a column is missing or the table is empty, and SpaceError if a
        configuration is not of the space.

        >>> import raysearch as rs
        >>> from raysearch import simulate
        >>> columns = {"x": [0, 0, 1, 1], "step": [1, 2, 1, 2], "loss": [0.9, 0.8, 0.5, 0.1]}
        >>> past = simulate.Lookup.of_table(columns, rs.Space({"x": rs.Int(0, 1)}))
        >>> past.run(rs.GridSearch(), workers=1).study.best.metrics
        {'loss': 0.1}
        """
        modes = objectives_of(metric, mode).to_json()
        table = table if isinstance(table, pa.Table) else pa.table(dict(table))
        for name in (*modes, *(n for n, p in space.parameters.items() if not p.conditions)):
            if name not in table.column_names:
                raise UsageError(
                    f"table: expected a column {name!r}; {nearest(name, table.column_names)}"
                )
        rows = [{n: v for n, v in row.items() if v is not None} for row in table.to_pylist()]
        if not rows:
            raise UsageError("table: expected rows, found none")
        configs = [{n: row.pop(n) for n in space.parameters if n in row} for row in rows]
        points, which = np.unique(space.encode(space.columns(configs)), axis=0, return_inverse=True)
        groups: list[list[dict[str, Any]]] = [[] for _ in points]
        for i, row in zip(which.ravel().tolist(), rows, strict=True):
            groups[i].append(row)
        curves = "step" in table.column_names
        past = []
        for point, group in zip(points, groups, strict=True):
            spent = [float(row.pop("seconds", 1.0)) for row in group]
            curve = sorted(group, key=lambda row: float(row["step"])) if curves else group[:1]
            past.append(_Past(point, curve, sum(spent) / len(spent)))
        return cls(space, modes, past, curves)

    # --- the pieces for `simulate.run` ----------------------------------------------------

    @property
    def objective(self) -> Any:
        """What the nearest trial has returned, or its curve, step by step.

        A trial that was promoted goes on where the one before has ended. One that should go
        further than the curve does fails, since nothing is known of that.
        """
        return self._steps if self.curves else self._returned

    def duration(self, config: Mapping[str, Any]) -> float:
        """Seconds that the nearest trial took, or each of its steps."""
        return self._nearest(config).seconds

    def run(self, strategy: AnyStrategy | None = None, **options: Any) -> Simulation:
        """`simulate.run` with this objective, its space, duration and metric.

        strategy  any; one with budgets needs curves, whose steps are their unit
        options   the others of `simulate.run`: workers, trials, seed, mishaps, ...
        """
        if isinstance(strategy, Fidelity) and not self.curves:
            raise UsageError(
                f"strategy: {type(strategy).__name__} compares trials on their way, and these "
                "have not reported; expected a study of a generator, or a table with steps"
            )
        options = {"duration": self.duration, "metric": self.metric, **options}
        return run(self.objective, self.space, strategy, **options)

    def _nearest(self, config: Mapping[str, Any]) -> _Past:
        x = self.space.encode(self.space.columns([config]))
        return self._past[int(np.argmin(((self._x - x) ** 2).sum(axis=1)))]

    def _returned(self, config: Mapping[str, Any]) -> Row:
        return self._nearest(config).rows[0]

    def _steps(
        self, config: Mapping[str, Any], trial: Trial
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        rows = self._nearest(config).rows
        begin = trial.checkpoint["step"] if trial.checkpoint else -math.inf
        if rows[-1]["step"] <= begin:
            raise LookupError(f"of the nearest trial nothing is known after step {begin:g}")
        for row in rows:
            if row["step"] > begin:
                yield dict(row), {"step": row["step"]}


def _reach(past: _Past) -> float:
    return float(past.rows[-1].get("step", 0))


def _curves(reports: pa.Table) -> dict[int, list[Row]]:
    """number -> what the trial has said, in order."""
    curves: dict[int, list[Row]] = {}
    names = {n: n.removeprefix(METRICS) for n in reports.column_names if n.startswith(METRICS)}
    for report in reports.to_pylist():
        row = {names[n]: v for n, v in report.items() if n in names and v is not None}
        curves.setdefault(report["number"], []).append({**row, "step": report["step"]})
    return {number: sorted(rows, key=lambda row: row["step"]) for number, rows in curves.items()}
