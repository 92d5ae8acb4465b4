"""Rules that do without: Schedule-Free without a schedule, Prodigy without a learning rate.

p  parameters   g  their gradient   t  number of the step, from 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from .rules_base import Rule, State
from .rules_momentum import SGD
from .schedule import Rate, check, number
from .trace import absolute
from .tree import Array, Tree, copies, namespace, rebuilt


@dataclass(frozen=True)
class ScheduleFree(Rule):
    """Averaging in place of a schedule: the end of the training need not be known.

    A rule without momentum (SGD, or Adam with beta1 = 0) moves z by gradients taken at y,
    which are the parameters:
    z <- rule's step,  x <- (1 - c) x + c z,  y <- (1 - beta) z + beta x,
    c = w_t / (w_1 + ... + w_t),  w_t = (largest lr so far)^weight_lr_power.
    Evaluate the model at the average x: `averaged`. The rule's weight decay acts on z.

    rule             moves z; give it a warm-up if it needs one, and no decay
    beta             where between z and x gradients are taken, [0, 1]
    weight_lr_power  exponent of the weights; matters while lr warms up

    Options given to `step` are the inner rule's.

    Defazio et al. (2024), The road less scheduled, (1)-(3).
    """

    rule: Rule = field(default_factory=SGD)
    beta: float = 0.9
    weight_lr_power: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(isinstance(self.rule, Rule), self, "rule", "a rule")

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """Both x and z start at the parameters."""
        return State(
            slots={"z": copies(p), "average": copies(p)},
            numbers={"weights": 0.0, "lr": 0.0},
            inner=[self.rule.init_leaves(names, p)],
        )

    def step_leaves(
        self, names: list[str], p: list[Array], g: list[Array], state: State, **options: Any
    ) -> None:
        """Defazio et al., (1)-(3)."""
        rule, numbers = self.rule.at(state.steps, **options), state.numbers
        z, x = state.slots["z"], state.slots["average"]
        rule.step_leaves(names, z, g, state.inner[0])
        numbers["lr"] = max(numbers["lr"], getattr(rule, "lr", 1.0))
        weight = numbers["lr"] ** self.weight_lr_power
        numbers["weights"] += weight
        c = weight / numbers["weights"] if weight else 0.0
        for y_i, z_i, x_i in zip(p, z, x, strict=True):
            x_i += c * (z_i - x_i)
            y_i[...] = (1 - self.beta) * z_i + self.beta * x_i
        state.steps += 1


def averaged(params: Tree, state: State) -> Tree:
    """The parameters to evaluate with: copies of the average that the chain's state keeps.

    params  as given to `init`, for their structure
    state   of `ScheduleFree`, or of a chain with `Average`

    >>> import numpy as np
    >>> from raysearch.optim import SGD, Average, chain
    >>> x = np.array([0.0])
    >>> rule = chain(Average(), SGD(lr=1.0))
    >>> state = rule.init(x)
    >>> for _ in range(3):
    ...     rule.step(x, np.array([-1.0]), state)
    >>> x.tolist(), averaged(x, state).tolist()
    ([3.0], [2.0])
    """
    kept = [part.slots["average"] for part in [state, *state.inner] if "average" in part.slots]
    if not kept:
        raise UsageError("state: expected that of ScheduleFree, or of a chain with Average")
    return rebuilt(params, copies(kept[0]))


@dataclass(frozen=True)
class Prodigy(Rule):
    """AdamW that estimates its own step length d, a growing bound on the way to the solution.

    With gamma = d lr sqrt(1 - beta2^t) / (1 - beta1^t) and beta3 = sqrt(beta2), unless given:
    r <- beta3 r + gamma d / d0 <g, p0 - p>,    s <- beta3 s + gamma d / d0 g,
    m <- beta1 m + (1 - beta1) d g,             v <- beta2 v + (1 - beta2) d^2 g^2,
    d <- max(d, d_coef r / |s|_1),
    p <- (1 - gamma lambda) p - gamma m / (sqrt(v) + d eps).
    Sums over all parameters: one step length for the whole model.

    lr            factor of the estimated step length; anneal it from 1
    betas         memory of m and v, [0, 1)
    beta3         memory of r and s; None: sqrt(beta2)
    eps           floor of the root, relative to d
    weight_decay  lambda, decoupled
    d0            first estimate, well below the solution's distance
    d_coef        factor of the estimate

    Mishchenko & Defazio (2024), Prodigy: an expeditiously adaptive parameter-free learner,
    Alg. 4; bias corrections as optax.
    """

    lr: Rate = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    beta3: float | None = None
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    d0: float = 1e-6
    d_coef: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.d0 > 0, self, "d0", "> 0")

    def init_leaves(self, names: list[str], p: list[Array]) -> State:
        """Zeros for m, v and s; a copy of the parameters; d = d0."""
        zeros = {slot: [namespace(x).zeros_like(x) for x in p] for slot in ("m", "v", "s")}
        return State(slots=zeros | {"p0": copies(p)}, numbers={"d": self.d0, "r": 0.0})

    def step_leaves(
        self, names: list[str], p: list[Array], g: list[Array], state: State, **options: Any
    ) -> None:
        """Mishchenko & Defazio, Alg. 4."""
        rule = self.at(state.steps, **options)
        state.steps += 1
        t, d, slots = state.steps, state.numbers["d"], state.slots
        (beta1, beta2), lr = rule.betas, number(rule.lr)
        beta3 = math.sqrt(beta2) if rule.beta3 is None else rule.beta3
        gamma = d * lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)

        way = sum(_dot(x, start - y) for x, start, y in zip(g, slots["p0"], p, strict=True))
        r = beta3 * state.numbers["r"] + gamma * d / self.d0 * way
        size = 0.0
        for x, m, v, s in zip(g, slots["m"], slots["v"], slots["s"], strict=True):
            m[...] = beta1 * m + (1 - beta1) * d * x
            v[...] = beta2 * v + (1 - beta2) * (d * x) ** 2
            s[...] = beta3 * s + gamma * d / self.d0 * x
            size += float(namespace(s).sum(absolute(s)))
        found = max(d, rule.d_coef * r / size) if size > 0 else d
        state.numbers.update(d=found, r=r)

        decay = 1 - gamma * number(rule.weight_decay)
        for y, m, v in zip(p, slots["m"], slots["v"], strict=True):
            y[...] = decay * y - gamma * m / (v**0.5 + found * rule.eps)


def _dot(x: Array, y: Array) -> float:
    return float(namespace(x).sum(x * y))
