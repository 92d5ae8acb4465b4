"""A learning rate that follows the loss instead of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .schedule import check, check_options


@dataclass
class Plateau:
    """What `ReduceOnPlateau` remembers.

    value     the present value
    best      the best loss so far
    bad       steps without a better one
    cooldown  steps to wait before counting again
    """

    value: float
    best: float = math.inf
    bad: int = 0
    cooldown: int = 0


@dataclass(frozen=True)
class ReduceOnPlateau:
    """A factor whenever the loss has not improved for a while. Not a function of the step:

        plateau = ReduceOnPlateau(0.1)
        memory = plateau.init()
        lr = plateau.step(loss, memory)             # once an epoch
        rule.step(params, grads, state, lr=lr)

    initial    first value
    factor     of every reduction, in (0, 1)
    patience   losses without improvement that are borne
    threshold  a loss below best (1 - threshold) is an improvement
    cooldown   losses that are not counted after a reduction
    final      smallest value

    >>> plateau = ReduceOnPlateau(1.0, patience=1)
    >>> memory = plateau.init()
    >>> [round(plateau.step(loss, memory), 6) for loss in (3.0, 2.0, 2.0, 2.0, 1.0)]
    [1.0, 1.0, 1.0, 0.1, 0.1]

    Losses are minimised and meant to be positive, as torch's mode="min" with relative
    threshold.
    """

    initial: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        check_options(self)
        check(self.initial > 0, self, "initial", "> 0")
        check(0 < self.factor < 1, self, "factor", "in (0, 1)")
        check(self.patience >= 0, self, "patience", ">= 0")
        check(0 <= self.threshold < 1, self, "threshold", "in [0, 1)")
        check(self.cooldown >= 0, self, "cooldown", ">= 0")
        check(0 <= self.final <= self.initial, self, "final", "in [0, initial]")

    def init(self) -> Plateau:
        """The memory before the first loss."""
        return Plateau(self.initial)

    def step(self, loss: float, memory: Plateau) -> float:
        """The value after this loss, which `memory` takes in. NaN is no improvement."""
        if loss < memory.best * (1 - self.threshold):
            memory.best, memory.bad = loss, 0
        else:
            memory.bad += 1
        if memory.cooldown > 0:
            memory.cooldown -= 1
            memory.bad = 0
        if memory.bad > self.patience:
            memory.value = max(memory.value * self.factor, self.final)
            memory.cooldown, memory.bad = self.cooldown, 0
        return memory.value
