"""Adam and its family: steps divided by the root of a running mean square.

p  parameters       m  running mean of the gradients         beta1  its memory
g  their gradient   v  running mean of their squares         beta2  its memory
t  number of the step, from 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .rules_base import Elementwise, State
from .schedule import Rate
from .trace import absolute, maximum, sqrt


def moments(g: Any, m: Any, v: Any, beta1: Any, beta2: Any) -> tuple[Any, Any]:
    """Running means of g and g^2 (Kingma & Ba, Alg. 1)."""
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g


def adam_step(m: Any, v: Any, t: Any, lr: Any, beta1: Any, beta2: Any, eps: Any) -> Any:
    """Adam's step, lr m_hat / (sqrt(v_hat) + eps).

    m_hat = m / (1 - beta1^t) and v_hat = v / (1 - beta2^t) correct the zero start; as in
    Kingma & Ba, sec. 2, both corrections are gathered in two numbers.
    """
    root = sqrt(1 - beta2**t)
    return m / (sqrt(v) + eps * root) * (lr * root / (1 - beta1**t))


@dataclass(frozen=True)
class Adam(Elementwise):
    """Adam; with amsgrad, v never shrinks; weight decay is part of the gradient.

    m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,
    p <- p - lr m_hat / (sqrt(v_hat) + eps).

    lr            step length, in units of the parameters
    betas         memory of m and v, [0, 1)
    eps           floor of the root, in units of the gradient
    weight_decay  lambda: adds lambda p to the gradient, >= 0
    amsgrad       divide by the largest v so far (the maximum of uncorrected v, as torch)

    >>> import numpy as np
    >>> rule, x = Adam(lr=0.1), np.array([1.0, -2.0])
    >>> rule.step(x, 2 * x, rule.init(x))
    >>> x.round(6).tolist()
    [0.9, -1.9]

    Kingma & Ba (2015), Adam: a method for stochastic optimization, Alg. 1;
    Reddi, Kale & Kumar (2018), On the convergence of Adam and beyond, Alg. 2.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    amsgrad: bool = False

    def absent(self) -> set[str]:
        """The largest v is only kept for AMSGrad."""
        return set() if self.amsgrad else {"v_max"}

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, v: Any, v_max: Any, *,
        t: Any, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any, amsgrad: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Kingma & Ba, Alg. 1; Reddi et al., Alg. 2."""
        g = g + weight_decay * p
        m, v = moments(g, m, v, beta1, beta2)
        v_max = maximum(v_max, v) if amsgrad else 0.0
        p = p - adam_step(m, v_max if amsgrad else v, t, lr, beta1, beta2, eps)
        return p, m, v, v_max


@dataclass(frozen=True)
class AdamW(Elementwise):
    """Adam with decoupled weight decay: p <- (1 - lr lambda) p, and then Adam's step.

    Options as of `Adam`; weight_decay is lambda, multiplied by the (scheduled) lr.

    Loshchilov & Hutter (2019), Decoupled weight decay regularization, Alg. 2.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 1e-2
    amsgrad: bool = False

    absent = Adam.absent

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, v: Any, v_max: Any, *,
        t: Any, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any, amsgrad: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Loshchilov & Hutter, Alg. 2, line 12, in torch's parametrisation."""
        p = p * (1 - lr * weight_decay)
        return Adam.formula(
            p, g, m, v, v_max,
            t=t, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=0.0, amsgrad=amsgrad,
        )  # fmt: skip


@dataclass(frozen=True)
class Adamax(Elementwise):
    """Adam with the infinity norm: u <- max(beta2 u, |g| + eps), p <- p - lr m_hat / u.

    Options as of `Adam`.

    Kingma & Ba (2015), Alg. 2.
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, u: Any, *,
        t: Any, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Kingma & Ba, Alg. 2, with torch's eps."""
        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        u = maximum(beta2 * u, absolute(g) + eps)
        return p - m / u * (lr / (1 - beta1**t)), m, u


@dataclass(frozen=True)
class NAdam(Elementwise):
    """Adam with Nesterov's look-ahead: m_hat also contains the next step's share of g.

    mu_t = beta1 (1 - 0.96^(t psi) / 2) warms the momentum up; M_t is their product so far.
    m_hat = mu_{t+1} m / (1 - M_{t+1}) + (1 - mu_t) g / (1 - M_t).

    momentum_decay  psi
    other options   as of `Adam`

    Dozat (2016), Incorporating Nesterov momentum into Adam, Alg. 2.
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    def derived(self, state: State, options: dict[str, Any]) -> dict[str, Any]:
        """mu_t, mu_{t+1} and the product M_t, which the state remembers."""
        t, beta1 = options["t"], options["beta1"]
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (k * self.momentum_decay)) for k in (t, t + 1))
        product = state.numbers["mu_product"] * mu
        state.numbers["mu_product"] = product
        return {"mu": mu, "mu_next": mu_next, "mu_product": product}

    def numbers(self) -> dict[str, float]:
        """The empty product."""
        return {"mu_product": 1.0}

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, v: Any, *,
        t: Any, lr: Any, beta1: Any, beta2: Any, eps: Any,
        mu: Any, mu_next: Any, mu_product: Any, weight_decay: Any, decoupled_weight_decay: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Dozat, Alg. 2."""
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m, v = moments(g, m, v, beta1, beta2)
        m_hat = m * (lr * mu_next / (1 - mu_product * mu_next)) + g * (
            lr * (1 - mu) / (1 - mu_product)
        )
        root = sqrt(1 - beta2**t)
        return p - m_hat * root / (sqrt(v) + eps * root), m, v


@dataclass(frozen=True)
class RAdam(Elementwise):
    """Adam that waits for v: unadapted steps until v's variance is bounded, then rectified.

    rho_t = rho_inf - 2 t beta2^t / (1 - beta2^t), rho_inf = 2 / (1 - beta2) - 1. While
    rho_t <= 5 the step is lr m_hat; afterwards Adam's step with eps as torch has it
    (beside the uncorrected root), times r_t.

    Options as of `Adam`.

    Liu et al. (2020), On the variance of the adaptive learning rate and beyond, Alg. 2.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    decoupled_weight_decay: bool = False

    def derived(self, state: State, options: dict[str, Any]) -> dict[str, Any]:
        """The step is lr m_hat rate / (adapt sqrt(v) + floor)."""
        t, beta2 = options["t"], options["beta2"]
        rest = 1 - beta2**t
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / rest
        if rho <= 5:
            return {"rate": 1.0, "adapt": 0.0, "floor": 1.0}
        r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        return {"rate": r * math.sqrt(rest), "adapt": 1.0, "floor": options["eps"]}

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, v: Any, *,
        t: Any, lr: Any, beta1: Any, beta2: Any,
        rate: Any, adapt: Any, floor: Any, weight_decay: Any, decoupled_weight_decay: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Liu et al., Alg. 2."""
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m, v = moments(g, m, v, beta1, beta2)
        p = p - m / (adapt * sqrt(v) + floor) * (lr * rate / (1 - beta1**t))
        return p, m, v


@dataclass(frozen=True)
class AdaBelief(Elementwise):
    """Adam that divides by the deviation of g from its running mean m, not by its size.

    s <- beta2 s + (1 - beta2) (g - m)^2 + eps_root,  p <- p - lr m_hat / (sqrt(s_hat) + eps).

    eps_root       floor of s itself
    weight_decay   decoupled, as in `AdamW`
    other options  as of `Adam`

    Zhuang et al. (2020), AdaBelief optimizer, Alg. 2; defaults as optax.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-16
    eps_root: float = 1e-16
    weight_decay: Rate = 0.0

    @staticmethod
    def formula(
        p: Any, g: Any, m: Any, s: Any, *,
        t: Any, lr: Any, beta1: Any, beta2: Any, eps: Any, eps_root: Any, weight_decay: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Zhuang et al., Alg. 2."""
        m = beta1 * m + (1 - beta1) * g
        surprise = g - m
        s = beta2 * s + (1 - beta2) * surprise * surprise + eps_root
        step = adam_step(m, s, t, lr, beta1, beta2, eps)
        return p * (1 - lr * weight_decay) - step, m, s
