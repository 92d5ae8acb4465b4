"""Gradient descent with one memory: momentum.

p  parameters       v  velocity, a decaying sum of gradients
g  their gradient   t  number of the step, from 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .rules_base import Elementwise, State
from .schedule import Rate
from .trace import sign


@dataclass(frozen=True)
class SGD(Elementwise):
    """Gradient descent, with momentum if wanted.

    v <- mu v + (1 - d) g,  p <- p - lr v,  or with Nesterov's look-ahead p <- p - lr (g + mu v).
    The first step takes v = g, as torch does. Weight decay adds lambda p to the gradient.

    lr            step length
    momentum      mu, share of the velocity kept per step, [0, 1)
    dampening     d, share of the gradient left out of the velocity
    weight_decay  lambda, >= 0
    nesterov      look ahead; needs momentum and no dampening

    >>> import numpy as np
    >>> rule, x = SGD(lr=0.25), np.array([1.0, 2.0])
    >>> rule.step(x, 2 * x, rule.init(x))
    >>> x.tolist()
    [0.5, 1.0]

    Polyak (1964), Some methods of speeding up the convergence of iteration methods;
    Sutskever et al. (2013), On the importance of initialization and momentum.
    """

    lr: Rate = 1e-3
    momentum: Rate = 0.0
    dampening: Rate = 0.0
    weight_decay: Rate = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise UsageError(
                "SGD(nesterov=True): expected momentum > 0 and dampening=0, found "
                f"momentum={self.momentum}, dampening={self.dampening}"
            )

    def absent(self) -> set[str]:
        """Without momentum there is no velocity."""
        return {"v"} if self.momentum == 0 else set()

    def derived(self, state: State, options: dict[str, Any]) -> dict[str, Any]:
        """The first velocity is the gradient, not dampened."""
        return {"dampening": 0.0 if state.steps == 0 else options["dampening"]}

    @staticmethod
    def formula(
        p: Any, g: Any, v: Any, *,
        lr: Any, momentum: Any, dampening: Any, weight_decay: Any, nesterov: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Polyak (9); Sutskever et al. (3)-(4)."""
        g = g + weight_decay * p
        v = momentum * v + (1 - dampening) * g
        return p - lr * (g + momentum * v if nesterov else v), v


@dataclass(frozen=True)
class Lion(Elementwise):
    """The sign of an interpolated momentum: every parameter moves by exactly lr.

    p <- p - lr (sign(beta1 m + (1 - beta1) g) + lambda p),  m <- beta2 m + (1 - beta2) g.

    lr            step length of every parameter
    betas         memory of the step and of m, [0, 1)
    weight_decay  lambda, decoupled

    Chen et al. (2023), Symbolic discovery of optimization algorithms, program 1.
    """

    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: Rate = 1e-3

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, *, lr: Any, beta1: Any, beta2: Any, weight_decay: Any
    ) -> tuple[Any, ...]:
        """Chen et al., program 1."""
        step = sign(beta1 * m + (1 - beta1) * g)
        return p - lr * (step + weight_decay * p), beta2 * m + (1 - beta2) * g
