"""Tasks of quality.py that are real training: every configuration's loss, looked up.

The spaces are finite, and data/training.npz holds the loss of each configuration, in the order
of the space's lattice. quality_training.py trains them all and writes that file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import raysearch as rs
from raysearch.space.lattice import Lattice

LOSSES = Path(__file__).parent / "data" / "training.npz"

Config = dict[str, Any]


def _ordered(*values: float) -> rs.Choice:
    return rs.Choice(list(values), ordered=True)


_SVM = rs.Space(
    {
        "kernel": rs.Choice(["linear", "rbf", "poly", "sigmoid"]),
        "c": _ordered(*(2.0**k for k in range(-5, 11))),
        "gamma": _ordered(*(2.0**k for k in range(-12, 4))).when(kernel=["rbf", "poly", "sigmoid"]),
        "degree": _ordered(2, 3, 4).when(kernel="poly"),
        "shift": _ordered(0.0, 0.5, 1.0).when(kernel=["poly", "sigmoid"]),
    }
)
_NEIGHBOURS = rs.Space(
    {
        "scaler": rs.Choice(["none", "standard", "range", "robust"]),
        "reduction": rs.Choice(["none", "components", "best"]),
        "features": _ordered(1, 2, 3, 5, 8, 12).when(reduction=["components", "best"]),
        "neighbours": _ordered(1, 2, 3, 4, 5, 7, 9, 12, 16, 24, 32, 48),
        "weights": rs.Choice(["uniform", "distance"]),
        "power": _ordered(1, 2, 4),
    }
)
_FOREST = rs.Space(
    {
        "kind": rs.Choice(["random", "extra"]),
        "criterion": rs.Choice(["gini", "entropy"]),
        "features": _ordered(0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
        "depth": _ordered(1, 2, 3, 4, 6, 9),
        "leaf": _ordered(1, 2, 4, 8, 16),
    }
)
_BOOSTING = rs.Space(
    {
        "kind": rs.Choice(["plain", "one-sided", "random-splits"]),
        "rate": _ordered(0.02, 0.05, 0.1, 0.2, 0.35, 0.6),
        "rounds": _ordered(5, 10, 20, 40, 80),
        "leaves": _ordered(3, 6, 16),
        "least": _ordered(2, 5, 15, 40),
        "features": _ordered(0.3, 1.0),
    }
)
_PERCEPTRON = rs.Space(
    {
        "activation": rs.Choice(["relu", "tanh", "logistic"]),
        "hidden": _ordered(2, 4, 8, 16),
        "rate": _ordered(1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3),
        "decay": _ordered(1e-4, 1e-2, 1.0),
        "batch": _ordered(16, 32, 64),
    }
)

#: name -> data set and space; the part before the space in its name is the model's
TRAINING: dict[str, tuple[str, rs.Space]] = {
    "svm wine": ("wine", _SVM),
    "neighbours wine": ("wine", _NEIGHBOURS),
    "forest wine": ("wine", _FOREST),
    "svm cancer": ("cancer", _SVM),
    "neighbours cancer": ("cancer", _NEIGHBOURS),
    "perceptron cancer": ("cancer", _PERCEPTRON),
    "boosting cancer": ("cancer", _BOOSTING),
    "boosting diabetes": ("diabetes", _BOOSTING),
}


def configurations(space: rs.Space) -> list[Config]:
    """All configurations of a finite space, in the order of the tables."""
    lattice = Lattice(space.parameters)
    return space.decode(lattice.points(np.arange(lattice.size))).configs()


@dataclass(frozen=True)
class TableProblem:
    """One table: the loss above the least of all, and the median of what random points have."""

    space: rs.Space
    losses: dict[tuple[tuple[str, Any], ...], float]
    scale: float

    def __call__(self, config: Config) -> tuple[float, float]:
        return self.losses[tuple(sorted(config.items()))], 0.0


@dataclass(frozen=True)
class Table:
    """A task of quality.py; it is the same for every seed, only the search's seed differs."""

    name: str
    family: str = "training"
    noise: float = 0.0
    constrained: bool = False

    def build(self, seed: int) -> TableProblem:
        return _problem(self.name)


@cache
def _problem(name: str) -> TableProblem:
    _, space = TRAINING[name]
    with np.load(LOSSES) as tables:
        regret = tables[name].astype(float)
    regret -= regret.min()
    keys = (tuple(sorted(config.items())) for config in configurations(space))
    losses = dict(zip(keys, regret.tolist(), strict=True))
    points = space.decode(np.random.default_rng(0).random((1001, space.dim))).configs()
    scale = float(np.median([losses[tuple(sorted(config.items()))] for config in points]))
    return TableProblem(space, losses, scale)
