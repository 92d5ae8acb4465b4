"""When to end a search early: conditions on what was found so far, for ``stop_when``.

Each is told the losses of the trials that were trained in full, to be minimised, and says
whether it is met. It is asked after every round of results, so that short trials, which come
in batches, may go a little beyond it. To write one: a class with `met`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .errors import UsageError
from .scalars import real, whole
from .trial import Floats

_KEPT = 100  # of the lowest losses


@dataclass
class Seen:
    """What a search has found so far.

    sign    -1 if the metric is maximised, so that sign * value is a loss
    count   trials with a loss
    since   trials, failed ones included, after the best of them
    lowest  up to 100 of the lowest losses, ascending
    """

    sign: float = 1.0
    count: int = 0
    since: int = 0
    lowest: Floats = field(default_factory=lambda: np.empty(0))

    def take(self, loss: Floats) -> None:
        """Some more trials, in the order told; NaN: failed."""
        best = self.lowest[0] if len(self.lowest) else math.inf
        better = np.flatnonzero(loss < np.minimum.accumulate(np.fmin(np.r_[best, loss[:-1]], best)))
        self.since = len(loss) - 1 - int(better[-1]) if len(better) else self.since + len(loss)
        valid = loss[~np.isnan(loss)]
        self.count += len(valid)
        self.lowest = np.sort(np.concatenate([self.lowest, valid]))[:_KEPT]


class Condition(Protocol):
    """When a search has gone on for long enough."""

    def met(self, seen: Seen) -> bool:
        """Whether that is now."""


@dataclass(frozen=True)
class Target:
    """Ends a search once a value has been reached.

    value  of the metric, as the objective returns it

    >>> import raysearch as rs
    >>> study = rs.search(
    ...     lambda c: c["x"], {"x": rs.Float(0, 1)}, trials=1000, stop_when=Target(0.1),
    ...     address="inline", progress=False,
    ... )
    >>> study.best.metrics["loss"] <= 0.1, len(study) < 1000
    (True, True)
    """

    value: float

    def __post_init__(self) -> None:
        number = real(self.value)
        if number is None or not math.isfinite(number):
            raise UsageError(f"value: expected a number, found {self.value!r}")

    def met(self, seen: Seen) -> bool:
        """The best is at least as good."""
        return len(seen.lowest) > 0 and bool(seen.lowest[0] <= seen.sign * self.value)


@dataclass(frozen=True)
class NoImprovement:
    """Ends a search in which the best trial has stayed the best for long.

    trials  told after it, failed ones included, >= 1
    """

    trials: int

    def __post_init__(self) -> None:
        number = whole(self.trials)
        if number is None or number < 1:
            raise UsageError(f"trials: expected an integer >= 1, found {self.trials!r}")

    def met(self, seen: Seen) -> bool:
        """So many trials have not been better."""
        return seen.count > 0 and seen.since >= self.trials


@dataclass(frozen=True)
class RegretBelow:
    """Ends a search once its best loss is probably close to the least possible one.

    With X1 <= X2 <= ... <= Xn the losses of independent trials, the least loss m lies above

        X1 - (X2 - X1) / (confidence^(-1/a) - 1),    a = log k / log((Xk - X3) / (X3 - X2))

    with about this confidence, k being sqrt(n). Trials that a strategy has proposed are not
    independent: they crowd where it is good, so that the bound is too narrow if it has
    settled in one valley, and too wide as long as it explores. Losses that are equal, as rounded
    ones are, say nothing: there is no bound then.

    value       bound on X1 - m, in units of the metric, > 0
    confidence  in (0, 1)

    de Haan (1981), "Estimation of the minimum of a function using order statistics", JASA
    76(374), 467-469.
    """

    value: float
    confidence: float = 0.9

    def __post_init__(self) -> None:
        number, confidence = real(self.value), real(self.confidence)
        if number is None or not 0 < number < math.inf:
            raise UsageError(f"value: expected a number > 0, found {self.value!r}")
        if confidence is None or not 0 < confidence < 1:
            raise UsageError(f"confidence: expected a number in (0, 1), found {self.confidence!r}")

    def met(self, seen: Seen) -> bool:
        """The bound is small enough."""
        return self.bound(seen) <= self.value

    def bound(self, seen: Seen) -> float:
        """The bound on the regret; infinite as long as too little is known."""
        k = min(math.isqrt(seen.count), len(seen.lowest))
        if k < 5:
            return math.inf
        x = seen.lowest
        near, far = x[2] - x[1], x[k - 1] - x[2]
        if not (x[0] < x[1] < x[2] and near < far < math.inf):  # ties, or no tail to speak of
            return math.inf
        a = math.log(k) / math.log(far / near)
        share = math.log(self.confidence) / a  # of log((X1 - m) / (X2 - m))
        return float((x[1] - x[0]) / math.expm1(min(-share, 700.0)))


def conditions_of(stop_when: Any) -> tuple[Condition, ...]:
    """The conditions, any of which ends the search; UsageError if it is something else."""
    if stop_when is None:
        return ()
    found = tuple(stop_when) if isinstance(stop_when, Sequence) else (stop_when,)
    for one in found:
        if not callable(getattr(one, "met", None)) or isinstance(one, type):
            raise UsageError(
                f"stop_when: expected conditions such as Target(0.1) or NoImprovement(50), "
                f"found {one!r:.80}"
            )
    return found
