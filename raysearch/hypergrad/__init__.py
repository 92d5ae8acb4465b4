"""Gradients of a validation loss with respect to hyperparameters, inside a trial."""

from .autodiff import differentiated
from .check import Check, check
from .implicit import implicit
from .online import Online
from .problem import Cost, Problem
from .result import Hypergradient
from .tune import LADDER, Tuned, tune
from .unrolled import forward, reverse

__all__ = [
    "LADDER",
    "Check",
    "Cost",
    "Hypergradient",
    "Online",
    "Problem",
    "Tuned",
    "check",
    "differentiated",
    "forward",
    "implicit",
    "reverse",
    "tune",
]
