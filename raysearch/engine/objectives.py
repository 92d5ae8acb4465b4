"""What metrics mean: which are optimised, which have bounds, which tells the cost.

A bound says which results are wanted at all, however good their objectives: `metric <= limit`
becomes a constraint of the numerical world, at most 0 if it is met, in units of the limit, so
that several of them can be compared:

    c = (value - limit) / |limit|        its negative for >=;  |limit| = 1 if the limit is 0
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..scalars import real
from ..trial import Floats, has_result

#: Objectives.cost where trials cost the time that they run
SECONDS = "seconds"

#: metric name -> (k,) float64; or objects (float, bool, str; None where missing)
Metrics = Mapping[str, NDArray[Any]]

_TEXT = re.compile(r"\s*(<=|>=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Bound:
    """What a metric is to be.

    name   of the metric
    sign   "<=" or ">="
    limit  that it is compared with
    """

    name: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.limit:g}"

    def constraint(self, values: NDArray[Any]) -> Floats:
        """(k,) at most 0 where it is met, of values (k,) of the metric; NaN where there is none."""
        over = (as_numbers(values) - self.limit) / (abs(self.limit) or 1.0)
        return over if self.sign == "<=" else -over


def bounds_of(require: Any) -> tuple[Bound, ...]:
    """The bounds in a mapping from metrics to texts; UsageError says what is wrong.

    >>> [str(bound) for bound in bounds_of({"gb": "<= 8", "accuracy": ">=0.9"})]
    ['gb <= 8', 'accuracy >= 0.9']
    """
    if not isinstance(require, Mapping):
        raise UsageError(
            'require: expected a mapping from names of metrics to bounds, as in {"gb": "<= 8"}, '
            f"found {require!r:.80}"
        )
    return tuple(_bound(name, text) for name, text in require.items())


def _bound(name: Any, text: Any) -> Bound:
    if not isinstance(name, str) or not name:
        raise UsageError(f"require: expected the name of a metric, found {name!r:.80}")
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    try:
        limit = float(found[2]) if found else np.nan
    except ValueError:
        limit = np.nan
    if found is None or not np.isfinite(limit):
        raise UsageError(f"require[{name!r}]: expected '<= 8' or '>= 8', say, found {text!r:.80}")
    return Bound(name, found[1], limit)


def as_numbers(values: NDArray[Any]) -> Floats:
    """Values of a metric (k,) as floats; NaN for what is neither a number nor a truth value.

    >>> as_numbers(np.array([1.5, True, None, "off"], dtype=object))
    array([1.5, 1. , nan, nan])
    """
    if values.dtype == np.float64:
        return values
    numbers = (float(v) if isinstance(v, (float, bool)) else np.nan for v in values.tolist())
    return np.fromiter(numbers, np.float64, len(values))


def to_json(bounds: Sequence[Bound]) -> dict[str, str]:
    """Inverse to `bounds_of`."""
    return {bound.name: f"{bound.sign} {bound.limit!r}" for bound in bounds}


def constraints(bounds: Sequence[Bound], metrics: Mapping[str, NDArray[Any]], k: int) -> Floats:
    """(k, c) one column for each bound, of the metrics of k trials; NaN: unknown."""
    unknown = np.full(k, np.nan)
    columns = [bound.constraint(metrics.get(bound.name, unknown)) for bound in bounds]
    return np.stack(columns, axis=1) if columns else np.empty((k, 0))


@dataclass(frozen=True)
class Objectives:
    """What is optimised: the metrics' names, and for each whether large is good.

    names     of the metrics that are objectives, in order
    maximize  for each, whether it is to be maximised
    bounds    that results have to meet
    cost      metric that tells what a trial has cost, or "seconds"; None: it does not matter
    """

    names: tuple[str, ...]
    maximize: tuple[bool, ...]
    bounds: tuple[Bound, ...] = ()
    cost: str | None = None

    @classmethod
    def from_json(cls, modes: Mapping[str, str], require: Mapping[str, str]) -> Objectives:
        """Of a name's mode, "min" or "max", as `to_json` gives it; and of bounds as texts."""
        maximize = tuple(mode == "max" for mode in modes.values())
        return cls(tuple(modes), maximize, bounds_of(require))

    @property
    def needed(self) -> tuple[str, ...]:
        """Metrics that every result must have."""
        cost = () if self.cost in (None, SECONDS) else (self.cost,)
        return tuple(dict.fromkeys([*self.names, *(bound.name for bound in self.bounds), *cost]))

    def constraint(self, k: int, metrics: Metrics) -> Floats:
        """(k, c) what the trials break of the bounds: at most 0 if met; NaN: unknown."""
        return constraints(self.bounds, metrics, k)

    def met(self, k: int, metrics: Metrics) -> NDArray[np.bool_]:
        """(k,) which trials meet all bounds."""
        return np.asarray((self.constraint(k, metrics) <= 0).all(axis=1))

    def reference(self, values: Mapping[str, float]) -> Floats:
        """(m,) losses of one value for each objective; UsageError if there are others."""
        given = values if isinstance(values, Mapping) else {}
        numbers = {name: real(value) for name, value in given.items()}
        if set(numbers) != set(self.names) or None in numbers.values():
            raise UsageError(
                f"reference: expected a mapping from each of {list(self.names)} to a number that "
                f"is bad, found {values!r:.80}"
            )
        loss = np.array([numbers[name] for name in self.names], dtype=np.float64)
        return np.where(self.maximize, -loss, loss)

    def to_json(self) -> dict[str, str]:
        """For each name, "min" or "max"."""
        modes = ("max" if maximize else "min" for maximize in self.maximize)
        return dict(zip(self.names, modes, strict=True))

    def losses(self, state: NDArray[np.uint8], metrics: Metrics) -> Floats:
        """(k, m) losses to be minimised, NaN in the rows of trials that failed."""
        columns = []
        for name, maximize in zip(self.names, self.maximize, strict=True):
            if name in metrics:
                column = np.array(metrics[name], dtype=np.float64)  # None becomes NaN
            else:
                column = np.full(len(state), np.nan)
            columns.append(-column if maximize else column)
        loss = np.stack(columns, axis=1)
        loss[~has_result(state)] = np.nan
        return loss
