"""Gradients of a validation loss with respect to hyperparameters, inside a trial."""

from .check import Check, check
from .implicit import implicit
from .problem import Cost, Problem
from .result import Hypergradient
from .unrolled import forward, reverse

__all__ = [
    "Check",
    "Cost",
    "Hypergradient",
    "Problem",
    "check",
    "forward",
    "implicit",
    "reverse",
]
