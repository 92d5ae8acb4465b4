"""A rate for every parameter, from its own past gradients.

p  parameters   g  their gradient   v  sum or running mean of g^2   t  number of the step, from 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .rules_base import Elementwise
from .schedule import Rate, check
from .trace import maximum, minimum, sign, sqrt
from .tree import Array, namespace


@dataclass(frozen=True)
class Adagrad(Elementwise):
    """Steps divided by the root of the sum of all squared gradients.

    v <- v + g^2,  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps).

    lr                         first step length
    lr_decay                   further decay of the step length, >= 0
    weight_decay               lambda: adds lambda p to the gradient
    initial_accumulator_value  v before the first step
    eps                        floor of the root, in units of the gradient

    Duchi, Hazan & Singer (2011), Adaptive subgradient methods, fig. 1 (diagonal).
    """

    lr: Rate = 1e-2
    lr_decay: float = 0.0
    weight_decay: Rate = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def begin(self, slot: str, p: Array) -> Array:
        """The first v need not be zero."""
        return namespace(p).full_like(p, self.initial_accumulator_value)

    @staticmethod
    def formula(
        p: Any, g: Any, v: Any, *, t: Any, lr: Any, lr_decay: Any, weight_decay: Any, eps: Any
    ) -> tuple[Any, ...]:
        """Duchi et al., fig. 1."""
        g = g + weight_decay * p
        v = v + g * g
        return p - g / (sqrt(v) + eps) * (lr / (1 + (t - 1) * lr_decay)), v


@dataclass(frozen=True)
class RMSProp(Elementwise):
    """Steps divided by the root of the running mean square of the gradient.

    v <- alpha v + (1 - alpha) g^2; centred: v less the square of the mean gradient m.
    b <- mu b + g / (sqrt(v) + eps),  p <- p - lr b.
    Where rounding would make v - m^2 negative it counts as zero (torch gives NaN).

    lr            step length
    alpha         memory of v and m, [0, 1)
    eps           floor of the root, in units of the gradient
    weight_decay  lambda: adds lambda p to the gradient
    momentum      mu, [0, 1)
    centered      divide by the standard deviation instead of the root mean square

    Tieleman & Hinton (2012), Lecture 6.5; centred: Graves (2013), arXiv:1308.0850, (38)-(45).
    """

    lr: Rate = 1e-2
    alpha: Rate = 0.99
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    momentum: Rate = 0.0
    centered: bool = False

    def absent(self) -> set[str]:
        """The mean m is for the centred form, b for momentum."""
        return ({"m"} if not self.centered else set()) | ({"b"} if self.momentum == 0 else set())

    @staticmethod
    def formula(
        p: Any, g: Any, v: Any, m: Any, b: Any, *,
        lr: Any, alpha: Any, eps: Any, weight_decay: Any, momentum: Any, centered: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Graves (38)-(45), with eps outside the root as torch has it."""
        g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        if centered:
            m = alpha * m + (1 - alpha) * g
        variance = maximum(v - m * m, 0.0) if centered else v
        b = momentum * b + g / (sqrt(variance) + eps)
        return p - lr * b, v, m, b


@dataclass(frozen=True)
class Adadelta(Elementwise):
    """Steps in units of the parameters: scaled by the ratio of past steps to past gradients.

    v <- rho v + (1 - rho) g^2,  d = sqrt(u + eps) / sqrt(v + eps) g,
    u <- rho u + (1 - rho) d^2,  p <- p - lr d.

    lr            factor of the step, usually 1
    rho           memory of v and u, [0, 1)
    eps           inside the roots; starts the motion
    weight_decay  lambda: adds lambda p to the gradient

    Zeiler (2012), ADADELTA: an adaptive learning rate method, Alg. 1.
    """

    lr: Rate = 1.0
    rho: Rate = 0.9
    eps: float = 1e-6
    weight_decay: Rate = 0.0

    @staticmethod
    def formula(
        p: Any, g: Any, v: Any, u: Any, *, lr: Any, rho: Any, eps: Any, weight_decay: Any
    ) -> tuple[Any, ...]:
        """Zeiler, Alg. 1, lines 4-7."""
        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g * g
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        return p - lr * d, v, u


@dataclass(frozen=True)
class Rprop(Elementwise):
    """Steps of the gradient's sign; each grows while the sign lasts and shrinks when it turns.

    s <- clip(s eta, step_sizes), eta = etas[1] where g keeps its sign, etas[0] where it
    turns (and there the step is left out), else 1;  p <- p - s sign(g).

    lr          the first step length of every parameter
    etas        factors on turning, in (0, 1), and on keeping the sign, > 1
    step_sizes  smallest and largest step length

    For full batches: the sign of a noisy gradient turns for no reason.

    Riedmiller & Braun (1993), A direct adaptive method for faster backpropagation learning.
    """

    lr: float = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.etas[0] < 1 < self.etas[1], self, "etas", "0 < etas[0] < 1 < etas[1]")
        low, high = self.step_sizes
        check(0 <= low <= high, self, "step_sizes", "0 <= smallest <= largest")

    def begin(self, slot: str, p: Array) -> Array:
        """Every step length is lr; there was no gradient before."""
        return namespace(p).full_like(p, self.lr if slot == "s" else 0.0)

    @staticmethod
    def formula(
        p: Any, g: Any, s: Any, before: Any, *,
        eta1: Any, eta2: Any, step_size1: Any, step_size2: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Riedmiller & Braun (4)-(6); the gradient counts as zero after a turn."""
        agreement = sign(g) * sign(before)
        kept, turned = maximum(agreement, 0.0), maximum(-agreement, 0.0)
        s = s * (kept * eta2 + turned * eta1 + (1 - kept - turned))
        s = minimum(maximum(s, step_size1), step_size2)
        g = g * (1 - turned)
        return p - s * sign(g), s, g
