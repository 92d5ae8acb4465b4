"""One trial from several runs of an objective, each with a seed of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev
from typing import Any

from .engine.objective import examine
from .errors import ObjectiveError, UsageError
from .rng import derived
from .scalars import real, whole
from .trial import Trial

_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "mean": fmean,
    "median": median,
    "min": min,
    "max": max,
}


def repeated(
    objective: Callable[..., Any], times: int, aggregate: str = "mean"
) -> Callable[..., Any]:
    """An objective that runs another one several times, with fresh seeds, and puts it together.

    objective  of (config, trial), or a generator of it; a noisy one, or one that depends on
               ``trial.seed``
    times      how often, >= 2
    aggregate  "mean", "median", "min" or "max", of each metric that is a number

    Metrics keep their names; ``<name>.std`` is the standard deviation over the runs, if the
    objective gives a mapping.
    Generators run side by side, step by step. Their steps, and the states that they save,
    are kept together, so that early stopping and promotion see the aggregate.

    Raises ObjectiveError or UsageError if an argument is wrong.

    >>> import raysearch as rs
    >>> noisy = rs.repeated(
    ...     lambda config, trial: {"loss": config["x"] + trial.rng.normal()}, times=16
    ... )
    >>> study = rs.search(
    ...     noisy, {"x": rs.Float(0, 1)}, trials=8, address="inline", progress=False
    ... )
    >>> sorted(study.best.metrics)
    ['loss', 'loss.std']
    """
    count = whole(times)
    if count is None or count < 2:
        raise UsageError(f"times: expected an integer >= 2, found {times!r}")
    if aggregate not in _AGGREGATES:
        raise UsageError(f"aggregate: expected one of {list(_AGGREGATES)}, found {aggregate!r}")
    signature = examine(objective)
    if signature.is_class or signature.vectorized or not signature.takes_trial:
        raise ObjectiveError(
            "objective: expected a function of (config, trial), as only the trial's seed makes "
            "one run differ from another; take it as second argument"
        )
    kind = _RepeatedGenerator if signature.reports else _Repeated
    return kind(objective, count, aggregate)


@dataclass(frozen=True)
class _Base:
    objective: Callable[..., Any]
    times: int
    aggregate: str

    def trials(self, trial: Trial) -> list[Trial]:
        """The trial as each run sees it."""
        states = trial.checkpoint["runs"] if trial.checkpoint else [None] * self.times
        return [
            replace(trial, seed=derived(trial.seed, i) >> 32, checkpoint=states[i])
            for i in range(self.times)
        ]

    def together(self, rows: list[Any]) -> Any:
        """The metrics of all runs in one."""
        if not all(isinstance(row, Mapping) for row in rows):
            return self.together([{"value": row} for row in rows])["value"]
        metrics: dict[str, Any] = {}
        for name in rows[0]:
            values = [real(row.get(name)) for row in rows]
            numbers = [value for value in values if value is not None]
            if all(isinstance(row.get(name), Mapping) for row in rows):  # a gradient
                metrics[name] = {
                    key: value
                    for key, value in self.together([row[name] for row in rows]).items()
                    if not key.endswith(".std")
                }
            elif not numbers:
                metrics[name] = rows[0][name]  # a text or the like
            elif len(numbers) < self.times:  # one that is no number spoils the trial
                metrics[name] = next(
                    row.get(name) for row, v in zip(rows, values, strict=True) if v is None
                )
            elif any(map(math.isnan, numbers)):
                metrics[name] = math.nan
            else:
                metrics[name] = _AGGREGATES[self.aggregate](numbers)
                if name != "step":
                    metrics[f"{name}.std"] = stdev(numbers)
        return metrics


class _Repeated(_Base):
    def __call__(self, config: Mapping[str, Any], trial: Trial) -> Any:
        return self.together([self.objective(dict(config), t) for t in self.trials(trial)])


class _RepeatedGenerator(_Base):
    def __call__(self, config: Mapping[str, Any], trial: Trial) -> Iterator[Any]:
        runs = [self.objective(dict(config), one) for one in self.trials(trial)]
        try:
            for step in zip(*runs, strict=False):
                pairs = [item if isinstance(item, tuple) else (item, None) for item in step]
                metrics = self.together([row for row, _ in pairs])
                states = [state for _, state in pairs]
                yield metrics if None in states else (metrics, {"runs": states})
        finally:
            for run in runs:
                run.close()
