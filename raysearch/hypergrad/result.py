"""What comes out: a hypergradient, what it cost, and how far it may be off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .problem import Cost, Floats


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """The validation loss and its gradient with respect to the hyperparameters.

    value     V at the trained parameters
    gradient  dV/dh, like h; None if there is no h
    options   option of the update rule -> dV/doption, a number, or (steps,) for a schedule
    w         the trained parameters
    cost      what was evaluated (`Cost`)
    inner     largest entry of dL/dw at w: how far training is from its optimum
    residual  norm of what the adjoint system leaves, relative to dV/dw; 0 for unrolled ones
    growth    of the adjoint on its way back through training, largest / at the end; else 1
    stored    states of training that were held at once, at most
    adjoint   (n,) solution of the adjoint system, to begin the next one with
    """

    value: float
    gradient: Any
    w: Any
    cost: Cost
    estimate: Callable[[], float] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    inner: float = 0.0
    residual: float = 0.0
    growth: float = 1.0
    stored: int = 0
    adjoint: Floats | None = field(default=None, repr=False)

    @cached_property
    def error(self) -> float:
        """An estimate of the gradient's error, relative to its norm; evaluated when asked for.

        Implicit: how far one Newton step for the parameters and what is left of the adjoint
        system would move it. Reverse mode: how far the slope along the gradient, by forward
        mode, is off the gradient's norm. Forward mode: the same, by differences of V.
        """
        return self.estimate()
