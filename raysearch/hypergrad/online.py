"""Hypergradient descent: the learning rate follows its own gradient while training runs.

The step before was p <- p - lr u, so the loss now depends on that rate by dL/dlr = -g . u. With
the same rate in use, one step down that slope, relative to the sizes, is

    lr <- lr (1 + beta  g . u / (norm(g) norm(u)))

u is what the rule moved per unit of its rate, so that any rule will do whose steps are
proportional to it.

Baydin et al. (2018), "Online learning rate adaptation with hypergradient descent", eq. (8).

g  gradient now    u  (p_before - p) / lr of the step before    beta  rate of the rate
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import HypergradientError, UsageError
from ..optim import Rule
from ..optim.rules_base import State
from .problem import Floats, Shape

#: a rate that has grown so far from where it began has run away
_RUNAWAY = 1e6


@dataclass
class Online:
    """A rule with a learning rate that adapts, for a training loop in numpy.

    rule  of the optimizer core, with an option lr; its steps need be proportional to it
    lr    to begin with, > 0
    beta  share by which the rate changes at most from step to step, in (0, 1)

    Raises UsageError if an argument is out of range.

    >>> from raysearch.optim import SGD
    >>> x, rate = np.array([1.0, 2.0]), Online(SGD(), lr=1e-3, beta=0.1)
    >>> for _ in range(100):
    ...     rate.step(x, 2 * x)
    >>> bool(rate.lr > 1e-2), bool(abs(x).max() < 1e-3)
    (True, True)

    Reference: Baydin et al. (2018).
    """

    rule: Rule
    lr: float
    beta: float = 0.02
    _state: State | None = field(default=None, repr=False)
    _moved: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not hasattr(self.rule, "lr"):
            raise UsageError(f"rule: expected one with an option lr, found {self.rule!r}")
        if not (self.lr > 0 and 0 < self.beta < 1):
            raise UsageError(
                f"lr, beta: expected lr > 0 and 0 < beta < 1, found {self.lr!r}, {self.beta!r}"
            )
        self._first = self.lr

    def step(self, params: Any, grads: Any) -> None:
        """Adapt the rate to the gradient, then move the parameters, in place.

        HypergradientError if the rate has run away.
        """
        if self._state is None:
            self._state = self.rule.init(params)
        g, before = Shape("grads", grads).vector, Shape("params", params).vector
        if self._moved is not None:
            norms = float(np.linalg.norm(g) * np.linalg.norm(self._moved))
            cosine = float(g @ self._moved) / norms if norms else 0.0
            self.lr *= 1 + self.beta * cosine
        if not self.lr < _RUNAWAY * self._first:
            raise HypergradientError(
                f"lr: expected it to settle, found it grown from {self._first:g} to {self.lr:g}: "
                "the loss seems to be unbounded below, or beta is too large"
            )
        self.rule.step(params, grads, self._state, lr=self.lr)
        self._moved = (before - Shape("params", params).vector) / self.lr
