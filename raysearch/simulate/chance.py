"""What chance does to trials and workers: how long, and what goes wrong.

Every draw depends on the seed and the number of the trial (or task) alone, so that a trial
takes the same time whoever runs it, whenever, and however many workers there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from scipy.special import ndtri

from .. import rng
from ..engine.records import Task, Trials
from ..errors import UsageError
from ..trial import Floats, Ints
from .executor import Death

_BLOCK = 4096  # draws made at once
_DURATIONS, _CRASHES, _PREEMPTIONS = (2**63 + i for i in range(3))  # streams of draws


class Durations(Protocol):
    """How long trials take."""

    def __call__(self, trials: Trials, seed: int) -> Floats:
        """(k,) seconds."""


@dataclass(frozen=True)
class LogNormal:
    """Durations whose logarithm is normally distributed, as those of most jobs are, nearly.

    median  seconds
    spread  standard deviation of the logarithm; 0.5: two of three within a factor of 1.65

    >>> LogNormal(median=60, spread=0.5)
    LogNormal(median=60, spread=0.5)
    """

    median: float
    spread: float

    def __post_init__(self) -> None:
        if not 0 < self.median < math.inf:
            raise UsageError(f"median: expected seconds > 0, found {self.median!r}")
        if not 0 <= self.spread < math.inf:
            raise UsageError(f"spread: expected a number >= 0, found {self.spread!r}")

    def __call__(self, trials: Trials, seed: int) -> Floats:
        """exp(ln(median) + spread z), z ~ N(0, 1)."""
        z = ndtri(np.maximum(_uniform(seed, trials.number, _DURATIONS), 2.0**-54))
        return np.asarray(self.median * np.exp(self.spread * z))


class Measured:
    """Durations drawn, each as likely as the others, from some that were measured.

    seconds  measured, such as ``study.trials["seconds"]``; those unknown are left out
    """

    def __init__(self, seconds: Sequence[float] | Floats) -> None:
        measured = np.asarray(seconds, dtype=np.float64)
        self.seconds = np.sort(measured[np.isfinite(measured)])
        if not len(self.seconds) or self.seconds[0] < 0:
            raise UsageError("seconds: expected durations >= 0, at least one of them known")

    def __call__(self, trials: Trials, seed: int) -> Floats:
        """Quantiles of what was measured."""
        u = _uniform(seed, trials.number, _DURATIONS)
        drawn: Floats = self.seconds[(u * len(self.seconds)).astype(np.int64)]
        return drawn


Duration = float | Callable[[Mapping[str, Any]], float] | LogNormal | Measured


def durations_of(duration: Duration) -> Durations:
    """Durations from seconds, a function of the configuration, or a distribution."""
    if isinstance(duration, (LogNormal, Measured)):
        return duration
    if callable(duration):
        return _OfConfig(duration)
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise UsageError(
            "duration: expected seconds, a function of the configuration, LogNormal or "
            f"Measured, found {duration!r:.80}"
        )
    if not 0 < duration < math.inf:
        raise UsageError(f"duration: expected seconds > 0, found {duration!r}")
    return LogNormal(float(duration), 0.0)


@dataclass(frozen=True)
class _OfConfig:
    function: Callable[[Mapping[str, Any]], float]

    def __call__(self, trials: Trials, seed: int) -> Floats:
        seconds = np.array([float(self.function(c)) for c in trials.columns.configs()])
        wrong = ~((seconds >= 0) & (seconds < np.inf))
        if wrong.any():
            raise UsageError(
                f"duration: expected seconds >= 0, found {seconds[np.argmax(wrong)]} "
                f"for trial {trials.number[np.argmax(wrong)]}"
            )
        return seconds


# --- what goes wrong ------------------------------------------------------------------------


@dataclass(frozen=True)
class Crashes:
    """Some tasks kill their worker, at any moment of theirs.

    share  of all tasks, in [0, 1)
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UsageError(f"share: expected a share of all tasks in [0, 1), found {self.share}")

    def __call__(self, task: Task, seconds: float, seed: int) -> Death | None:
        """The end of this task's worker."""
        u = _drawn(seed, task.id, _CRASHES)
        if u >= self.share:
            return None
        return Death(seconds * u / self.share, "crashed", "a simulated crash")


@dataclass(frozen=True)
class Preemptions:
    """Workers are taken away after times without memory, and replaced, as on a spot market.

    every  mean seconds of work that a worker lives
    away   seconds until its place is filled again
    """

    every: float
    away: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.every < math.inf:
            raise UsageError(f"every: expected seconds > 0, found {self.every!r}")
        if not 0 <= self.away < math.inf:
            raise UsageError(f"away: expected seconds >= 0, found {self.away!r}")

    def __call__(self, task: Task, seconds: float, seed: int) -> Death | None:
        """The end of this task's worker: t ~ Exp(every), if that is within its time."""
        after = -self.every * math.log1p(-_drawn(seed, task.id, _PREEMPTIONS))
        if after >= seconds:
            return None
        return Death(after, "node", "a simulated pre-emption", self.away)


Mishap = Crashes | Preemptions


@dataclass(frozen=True)
class Fates:
    """Of all that can happen to a task's worker, what comes first."""

    mishaps: Sequence[Mishap]
    seed: int

    def __call__(self, task: Task, seconds: float) -> Death | None:
        """How the worker dies before the task is done, if it does."""
        deaths = [d for m in self.mishaps if (d := m(task, seconds, self.seed)) is not None]
        return min(deaths, key=lambda death: death.after, default=None)


# --- draws ----------------------------------------------------------------------------------


def _uniform(seed: int, numbers: Ints, stream: int) -> Floats:
    """(k,) draws of these numbers, uniform in [0, 1)."""
    if len(numbers) == 1:
        return np.array([_drawn(seed, int(numbers[0]), stream)])
    blocks = numbers // _BLOCK
    u = np.empty(len(numbers))
    for block in np.unique(blocks).tolist():
        rows = blocks == block
        u[rows] = _block(seed, block, stream)[numbers[rows] - block * _BLOCK]
    return u


def _drawn(seed: int, number: int, stream: int) -> float:
    """One of them."""
    return float(_block(seed, number // _BLOCK, stream)[number % _BLOCK])


@lru_cache(maxsize=64)
def _block(seed: int, block: int, stream: int) -> Floats:
    return rng.uniform(seed, block * _BLOCK, _BLOCK, 1, stream)[:, 0]
