"""The shapes of schedules: level, falling, cyclic, and joined together.

In every formula k is the step, from 0, and the value is f(k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from .schedule import Schedule, check


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step: f(k) = initial.

    >>> Constant(0.1)(1000)
    0.1
    """

    initial: float

    def value(self, k: int) -> float:
        return self.initial


@dataclass(frozen=True)
class Step(Schedule):
    """A factor every so many steps: f(k) = initial gamma^floor(k / every).

    >>> Step(1.0, every=10, gamma=0.5)(25)
    0.25
    """

    initial: float
    every: int
    gamma: float = 0.1

    def value(self, k: int) -> float:
        return self.initial * math.pow(self.gamma, k // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """A factor at every milestone: f(k) = initial gamma^(number of milestones <= k).

    >>> MultiStep(1.0, milestones=(10, 15), gamma=0.5).values([9, 10, 15]).tolist()
    [1.0, 0.5, 0.25]
    """

    initial: float
    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(all(m >= 0 for m in self.milestones), self, "milestones", "steps >= 0")

    def value(self, k: int) -> float:
        return self.initial * math.pow(self.gamma, sum(k >= m for m in self.milestones))


@dataclass(frozen=True)
class Exponential(Schedule):
    """Geometric decay: f(k) = initial gamma^k.

    >>> Exponential(0.5, gamma=0.5)(2)
    0.125
    """

    initial: float
    gamma: float

    def value(self, k: int) -> float:
        return self.initial * math.pow(self.gamma, k)


@dataclass(frozen=True)
class InverseTime(Schedule):
    """The classical 1/t of stochastic approximation: f(k) = initial / (1 + decay k).

    >>> InverseTime(1.0, decay=0.5)(2)
    0.5

    Robbins & Monro (1951), A stochastic approximation method.
    """

    initial: float
    decay: float

    def value(self, k: int) -> float:
        return self.initial / (1 + self.decay * k)


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """1/sqrt(t) after a level start: f(k) = initial sqrt(level / max(k, level)).

    Put `Warmup` before it for the schedule of Vaswani et al. (2017), sec. 5.3.

    >>> InverseSqrt(1.0, level=100)(400)
    0.5
    """

    initial: float
    level: int = 1

    def value(self, k: int) -> float:
        return self.initial * math.sqrt(self.level / max(k, self.level))


@dataclass(frozen=True)
class Polynomial(Schedule):
    """f(k) = final + (initial - final) (1 - k / steps)^power, and final afterwards.

    >>> Polynomial(1.0, 0.0, steps=10, power=2.0)(5)
    0.25
    """

    initial: float
    final: float
    steps: int
    power: float = 1.0

    def value(self, k: int) -> float:
        left = 1 - min(k / self.steps, 1.0)
        return self.final + (self.initial - self.final) * math.pow(left, self.power)


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line, then level: f(k) = initial + (final - initial) min(k / steps, 1).

    >>> Linear(0.1, 0.0, steps=10)(5)
    0.05
    """

    initial: float
    final: float
    steps: int

    def value(self, k: int) -> float:
        return self.initial + (self.final - self.initial) * min(k / self.steps, 1.0)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from initial to final, then level.

    f(k) = final + (initial - final) (1 + cos(pi k / steps)) / 2.

    >>> Cosine(1.0, steps=10)(5)
    0.5

    Loshchilov & Hutter (2017), SGDR, (5), without restarts.
    """

    initial: float
    steps: int
    final: float = 0.0

    def value(self, k: int) -> float:
        return _cosine(self.initial, self.final, min(k / self.steps, 1.0))


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """`Cosine` again and again, each cycle `factor` times as long as the one before.

    >>> CosineRestarts(1.0, steps=10, factor=2).values([0, 5, 10, 20, 30]).tolist()
    [1.0, 0.5, 1.0, 0.5, 1.0]

    Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts.
    """

    initial: float
    steps: int
    factor: int = 1
    final: float = 0.0

    def value(self, k: int) -> float:
        length = self.steps
        while k >= length:
            if self.factor == 1:
                k %= length
                break
            k, length = k - length, length * self.factor
        return _cosine(self.initial, self.final, k / length)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `peak` and down again along cosines, ending far below the start.

    From peak / div_factor over pct_start of the steps to peak, then down to
    peak / div_factor / final_div_factor at step steps - 1, and level.

    Smith & Topin (2018), Super-convergence; defaults as torch.
    """

    peak: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.pct_start <= 1, self, "pct_start", "in [0, 1]")

    def value(self, k: int) -> float:
        low = self.peak / self.div_factor
        top, end = self.pct_start * self.steps - 1, self.steps - 1
        if k <= top:
            return _cosine(low, self.peak, k / top if top > 0 else 1.0)
        share = min((k - top) / (end - top), 1.0) if end > top else 1.0
        return _cosine(self.peak, low / self.final_div_factor, share)


@dataclass(frozen=True)
class Cyclic(Schedule):
    """Triangles between base and peak; their height is multiplied by gamma every cycle.

    up, down  steps of the two sides

    >>> Cyclic(0.0, 1.0, up=2, down=2).values(6).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]

    Smith (2017), Cyclical learning rates; gamma = 0.5 is his `triangular2`.
    """

    base: float
    peak: float
    up: int
    down: int
    gamma: float = 1.0

    def value(self, k: int) -> float:
        cycle, place = divmod(k, self.up + self.down)
        height = place / self.up if place <= self.up else (self.up + self.down - place) / self.down
        return self.base + (self.peak - self.base) * height * math.pow(self.gamma, cycle)


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight rise to the first value of `after`, which follows from there.

    f(k) = initial + (after(0) - initial) k / steps for k < steps, then after(k - steps).

    >>> Warmup(Constant(1.0), steps=4).values(6).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    after: Schedule
    steps: int
    initial: float = 0.0

    def value(self, k: int) -> float:
        if k >= self.steps:
            return self.after(k - self.steps)
        return self.initial + (self.after(0) - self.initial) * (k / self.steps)


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """Up, level, and down: three straight pieces.

    peak                   the level
    warmup, stable, decay  steps of the pieces, > 0 (the level may be 0)
    final                  where it ends

    >>> WarmupStableDecay(1.0, warmup=2, stable=2, decay=2).values(7).tolist()
    [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]

    Hu et al. (2024), MiniCPM, sec. 4.
    """

    peak: float
    warmup: int
    stable: int
    decay: int
    final: float = 0.0

    def value(self, k: int) -> float:
        if k < self.warmup:
            return self.peak * k / self.warmup
        left = 1 - min(max(k - self.warmup - self.stable, 0) / self.decay, 1.0)
        return self.final + (self.peak - self.final) * left


@dataclass(frozen=True)
class Chained(Schedule):
    """The product of a schedule and further ones that serve as factors.

    >>> Chained((Constant(0.5), Linear(1.0, 0.0, steps=4), Exponential(1.0, 0.5))).values(3)
    array([0.5   , 0.1875, 0.0625])

    schedules  the first gives the value, the others factors
    """

    schedules: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check(len(self.schedules) > 0, self, "schedules", "one schedule at least")

    def value(self, k: int) -> float:
        return math.prod(schedule(k) for schedule in self.schedules)


@dataclass(frozen=True)
class Joined(Schedule):
    """One schedule after another, each counting its own steps from its start.

    schedules   one more than there are boundaries
    boundaries  the steps at which the next one starts, ascending

    >>> Joined((Constant(1.0), Linear(0.5, 0.0, steps=2)), boundaries=(2,)).values(5).tolist()
    [1.0, 1.0, 0.5, 0.25, 0.0]
    """

    schedules: tuple[Schedule, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        good = len(self.schedules) == len(self.boundaries) + 1
        check(good, self, "boundaries", f"{len(self.schedules) - 1} steps between the schedules")
        good = all(a < b for a, b in pairwise((0, *self.boundaries)))
        check(good, self, "boundaries", "ascending steps > 0")

    def value(self, k: int) -> float:
        i = sum(k >= b for b in self.boundaries)
        return self.schedules[i](k - self.boundaries[i - 1] if i else k)


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start (share 0) to end (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


#: every schedule that is a function of the step
SCHEDULES: dict[str, type[Schedule]] = {cls.__name__: cls for cls in Schedule.__subclasses__()}
