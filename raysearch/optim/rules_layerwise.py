"""Rules that look at a whole layer: at the norm of its weights, or at its rows and columns.

p  a leaf of the parameters   g  its gradient   t  number of the step, from 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .rules_adam import moments
from .rules_base import Leafwise
from .schedule import Rate, check
from .tree import Array, namespace


def norm(x: Array) -> float:
    """The Euclidean norm of all elements."""
    return float(namespace(x).linalg.vector_norm(x))


def rms(x: Array) -> float:
    """The root of the mean square of all elements."""
    return norm(x) / math.sqrt(max(1, math.prod(x.shape)))


def trust_ratio(p: Array, step: Array, coefficient: float = 1.0, eps: float = 0.0) -> float:
    """The ratio coefficient |p| / (|step| + eps), and 1 where either norm is zero (You et al.)."""
    weight, length = norm(p), norm(step)
    return coefficient * weight / (length + eps) if weight and length else 1.0


@dataclass(frozen=True)
class LARS(Leafwise):
    """Momentum with a step length for each layer, in proportion to the norm of its weights.

    g <- g + lambda p,  v <- mu v + lr c |p| / (|g| + eps) g,  p <- p - v.

    lr                 global step length
    momentum           mu, [0, 1]
    weight_decay       lambda: adds lambda p to the gradient
    trust_coefficient  c
    eps                added to the gradient's norm
    nesterov           p <- p - (mu v + the new step) instead

    You, Gitman & Ginsburg (2017), Large batch training of convolutional networks, Alg. 1.
    """

    lr: Rate = 1e-3
    momentum: Rate = 0.9
    weight_decay: Rate = 0.0
    trust_coefficient: float = 1e-3
    eps: float = 0.0
    nesterov: bool = False

    @staticmethod
    def formula(
        p: Any, g: Any, v: Any, *,
        lr: Any, momentum: Any, weight_decay: Any,
        trust_coefficient: Any, eps: Any, nesterov: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """You et al., Alg. 1."""
        g = g + weight_decay * p
        step = lr * trust_ratio(p, g, trust_coefficient, eps) * g
        v = momentum * v + step
        return p - (momentum * v + step if nesterov else v), v


@dataclass(frozen=True)
class LAMB(Leafwise):
    """AdamW with a step length for each layer, in proportion to the norm of its weights.

    u = m_hat / (sqrt(v_hat) + eps) + lambda p,  p <- p - lr |p| / |u| u.

    Options as of `AdamW`.

    You et al. (2020), Large batch optimization for deep learning, Alg. 2 with phi(z) = z.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: Rate = 0.0

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, v: Any, *,
        t: int, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """You et al., Alg. 2."""
        m, v = moments(g, m, v, beta1, beta2)
        root = (v / (1 - beta2**t)) ** 0.5
        u = m / (1 - beta1**t) / (root + eps) + weight_decay * p
        return p - lr * trust_ratio(p, u) * u, m, v


@dataclass(frozen=True)
class Adafactor(Leafwise):
    """A mean square for each row and column only, and steps relative to the weights' size.

    With two or more axes, r and c are running means of g^2 over the last axis and the one
    before, and v = r c / mean(r); else v is the running mean itself. The memory of the
    means grows: their new share is t^beta2_decay.
    u = g / sqrt(v),  alpha = max(eps2, RMS(p)) min(lr, 1 / sqrt(t)),
    p <- (1 - lr lambda) p - alpha u / max(1, RMS(u) / d).

    lr            largest relative step
    beta2_decay   exponent, < 0
    eps           eps1, floor of sqrt(v) (None: the dtype's rounding unit), and eps2
    d             largest RMS of u, >= 1
    weight_decay  lambda, decoupled

    Shazeer & Stern (2018), Adafactor, Alg. 4 to 6; defaults and details as torch.
    """

    lr: Rate = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: Rate = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.beta2_decay < 0, self, "beta2_decay", "< 0")
        check(self.d >= 1, self, "d", ">= 1")

    def begin(self, slot: str, p: Array) -> Array:
        """Zeros of the shape of rows, columns or the leaf; without elements if not needed."""
        xp = namespace(p)
        shape = tuple(p.shape)
        if p.ndim > 1:
            needed = {"row": (*shape[:-1], 1), "col": (*shape[:-2], 1, shape[-1])}
        else:
            needed = {"v": shape}
        return xp.zeros_like(xp.broadcast_to(xp.sum(p), needed.get(slot, (0,))))

    @staticmethod
    def formula(
        p: Any, g: Any, row: Any, col: Any, v: Any, *,
        t: int, lr: Any, beta2_decay: Any, eps1: Any, eps2: Any, d: Any, weight_decay: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Shazeer & Stern, Alg. 4 (matrices), 5 (vectors) and 6."""
        xp = namespace(p)
        share = t**beta2_decay
        floor = float(xp.finfo(p.dtype).eps) if eps1 is None else eps1
        if p.ndim > 1:
            row = row + share * (xp.mean(g * g, axis=-1, keepdims=True) - row)
            col = col + share * (xp.mean(g * g, axis=-2, keepdims=True) - col)
            square = row * col / xp.clip(xp.mean(row, axis=-2, keepdims=True), min=floor)
        else:
            v = square = v + share * (g * g - v)
        u = g / xp.clip(square, min=floor**2) ** 0.5
        alpha = max(eps2, rms(p)) * min(lr, 1 / math.sqrt(t))
        u = u * (alpha / max(1.0, rms(u) / d))
        return p * (1 - lr * weight_decay) - u, row, col, v
