"""Synthetic tasks of quality.py: spaces and functions whose least loss is 0, at a random place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from quality_tables import Table

import raysearch as rs

Floats = np.ndarray[Any, np.dtype[np.float64]]
Function = Callable[[Floats], float]  # of distances from the optimum, about [-1, 1]; least: 0 at 0


def sphere(z: Floats) -> float:
    return float((z**2).sum())


def ellipsoid(z: Floats) -> float:
    return float((z**2 * 10 ** (2 * np.linspace(0, 1, len(z)))).sum())


def rosenbrock(z: Floats) -> float:
    y = 1 + 2 * z
    return float((100 * (y[1:] - y[:-1] ** 2) ** 2 + (1 - y[:-1]) ** 2).sum())


def rastrigin(z: Floats) -> float:
    y = 2 * z
    return float((10 + y**2 - 10 * np.cos(2 * np.pi * y)).sum())


def ackley(z: Floats) -> float:
    y = 10 * z
    far = 20 - 20 * np.exp(-0.2 * np.sqrt((y**2).mean()))
    return float(far + np.e - np.exp(np.cos(2 * np.pi * y).mean()))


def griewank(z: Floats) -> float:
    y = 20 * z
    waves = np.cos(y / np.sqrt(np.arange(1, len(y) + 1))).prod()
    return float((y**2).sum() / 400 + 1 - waves)


def rough(z: Floats) -> float:
    return float((np.abs(z) ** 0.5).sum())


def rotated(z: Floats) -> float:
    return float(((np.cumsum(z)) ** 2).sum())


def zakharov(z: Floats) -> float:
    along = float((0.5 * np.arange(1, len(z) + 1) * z).sum())
    return float((z**2).sum()) + along**2 + along**4


def levy(z: Floats) -> float:
    w = 1 + 2.5 * z
    waves = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    end = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + waves.sum() + end)


def alpine(z: Floats) -> float:
    y = 10 * z
    return float(np.abs(y * np.sin(y) + 0.1 * y).sum())


def funnel(z: Floats) -> float:
    ripples = (1 - np.cos(6 * np.pi * z)).mean()
    return float(1 - np.exp(-4 * np.sqrt((z**2).mean())) + 0.1 * ripples)


def ripples(z: Floats) -> float:
    y = 10 * z
    return float((10 + y**2 - 10 * np.cos(2 * np.pi * y)).mean())


def plateau(z: Floats) -> float:
    waves = (1 - np.cos(20 * np.pi * z)).mean()
    return float(1 - np.exp(-4 * np.sqrt((z**2).mean())) + 0.1 * waves)


def cube(d: int) -> rs.Space:
    return rs.Space({f"x{i}": rs.Float(0, 1) for i in range(d)})


def mixed(d: int) -> rs.Space:
    """A quarter each of Float, Int with log, ordered and unordered Choice."""
    kinds = [
        rs.Float(1e-4, 1.0, log=True),
        rs.Int(4, 256, log=True),
        rs.Choice(list(range(6)), ordered=True),
        rs.Choice(list("abcde")),
    ]
    return rs.Space({f"x{i}": kinds[i % 4] for i in range(d)})


def conditional(d: int) -> rs.Space:
    """A choice of three branches, each with parameters of its own, beside shared ones."""
    parameters: dict[str, Any] = {"branch": rs.Choice(["a", "b", "c"])}
    for i in range(d):
        kind = rs.Float(0, 1) if i % 2 else rs.Int(1, 40)
        parameters[f"x{i}"] = kind if i % 4 == 3 else kind.when(branch="abc"[i % 3])
    return rs.Space(parameters)


def skewed(d: int, k: int, log: bool = False) -> rs.Space:
    """k of d parameters go over three decades; a linear scale shows little but the last."""
    kinds = [rs.Float(1e-3, 1, log=log)] * k + [rs.Float(0, 1)] * (d - k)
    return rs.Space({f"x{i}": kind for i, kind in enumerate(kinds)})


@dataclass(frozen=True)
class Problem:
    """One task with its optimum at one place.

    truth    the space with the scales that the function goes by
    optimum  (d,) place in its unit cube; order  for each unordered choice, a shuffled order
    scale    median loss of random points that meet the constraint
    """

    space: rs.Space
    truth: rs.Space
    function: Function
    optimum: Floats
    order: dict[int, Any]
    constrained: bool
    scale: float = 1.0

    def __call__(self, config: dict[str, Any]) -> tuple[float, float]:
        """The loss, and by how much the constraint is broken (<= 0: it is not)."""
        columns = self.truth.columns([config])
        x = self.truth.encode(columns)[0]
        z = x - self.optimum
        for i, order in self.order.items():
            k = int(x[i] * len(order))
            z[i] = order[k] / len(order)  # the value of order 0 is the best, others are worse
        active = [columns.active.get(name, [True])[0] for name in self.space.parameters]
        broken = float(z.sum()) if self.constrained else 0.0  # the optimum is at its border
        return self.function(np.where(active, z, 0.0)), broken


@dataclass(frozen=True)
class Task:
    """A function on a space; noise is in medians of random losses.

    truth  the space with other scales, which the function goes by; None: there are no others
    """

    name: str
    family: str
    space: rs.Space
    function: Function
    noise: float = 0.0
    constrained: bool = False
    truth: rs.Space | None = None

    def build(self, seed: int) -> Problem:
        """The task with the optimum of this seed."""
        rng = np.random.default_rng([seed, sum(map(ord, self.name))])
        x = rng.uniform(0.1, 0.9, (1, self.space.dim))
        parameters = list(self.space.parameters.values())
        order = {
            i: rng.permutation(len(p.values))
            for i, p in enumerate(parameters)
            if isinstance(p, rs.Choice) and not p.ordered
        }
        for i, ranks in order.items():
            x[0, i] = (int(np.argmin(ranks)) + 0.5) / len(ranks)
        truth = self.truth or self.space
        optimum = truth.snap(x)[0]
        raw = Problem(self.space, truth, self.function, optimum, order, self.constrained)
        points = rng.random((1001, self.space.dim))
        found = [raw(config) for config in self.space.decode(points).configs()]
        scale = float(np.median([loss for loss, broken in found if broken <= 0]))
        return replace(raw, scale=scale)


_WIDE: tuple[Function, ...] = (sphere, rosenbrock, levy)

#: Defaults are chosen on "tuning" alone, and those for many parameters on "wide"; "report" has
#: other functions (or, of the tables, other data), and quality.py gives it other seeds.
TASKS: dict[str, tuple[Task | Table, ...]] = {
    "tuning": (
        Task("sphere 4", "smooth", cube(4), sphere),
        Task("rosenbrock 6", "smooth", cube(6), rosenbrock),
        Task("zakharov 15", "smooth", cube(15), zakharov),
        Task("rastrigin 3", "multimodal", cube(3), rastrigin),
        Task("levy 8", "multimodal", cube(8), levy),
        Task("funnel 5", "multimodal", cube(5), funnel),
        Task("sphere 5 noisy", "noisy", cube(5), sphere, noise=0.1),
        Task("zakharov 6 noisy", "noisy", cube(6), zakharov, noise=0.1),
        Task("mixed sphere 8", "mixed", mixed(8), sphere),
        Task("mixed rastrigin 4", "mixed", mixed(4), rastrigin),
        Task("mixed funnel 6", "mixed", mixed(6), funnel),
        Task("mixed alpine 8", "mixed", mixed(8), alpine),
        Task("mixed zakharov 12", "mixed", mixed(12), zakharov),
        Task("tree sphere 8", "conditional", conditional(8), sphere),
        Task("tree funnel 10", "conditional", conditional(10), funnel),
        Task("tree rastrigin 12", "conditional", conditional(12), rastrigin),
        Task("tree alpine 12", "conditional", conditional(12), alpine),
        Task("tree ripples 12", "conditional", conditional(12), ripples),
        Task("tree plateau 12", "conditional", conditional(12), plateau),
        Task("skewed sphere 3", "skewed", skewed(3, 1), sphere, truth=skewed(3, 1, log=True)),
        Task(
            "skewed rosenbrock 5", "skewed", skewed(5, 2), rosenbrock, truth=skewed(5, 2, log=True)
        ),
        Task("skewed levy 8", "skewed", skewed(8, 3), levy, truth=skewed(8, 3, log=True)),
        Task("sphere 4 bounded", "constrained", cube(4), sphere, constrained=True),
        Task("zakharov 6 bounded", "constrained", cube(6), zakharov, constrained=True),
        Table("svm wine"),
        Table("neighbours wine"),
        Table("forest wine"),
    ),
    "wide": tuple(Task(f"{f.__name__} {d}", str(d), cube(d), f) for d in (60, 250) for f in _WIDE),
    "report": (
        Task("ellipsoid 5", "smooth", cube(5), ellipsoid),
        Task("rotated 10", "smooth", cube(10), rotated),
        Task("rough 20", "smooth", cube(20), rough),
        Task("ackley 2", "multimodal", cube(2), ackley),
        Task("griewank 8", "multimodal", cube(8), griewank),
        Task("rotated 6 noisy", "noisy", cube(6), rotated, noise=0.1),
        Task("mixed ellipsoid 12", "mixed", mixed(12), ellipsoid),
        Task("mixed ackley 6", "mixed", mixed(6), ackley),
        Task("mixed rough 8", "mixed", mixed(8), rough),
        Task("tree ellipsoid 6", "conditional", conditional(6), ellipsoid),
        Task("tree ackley 12", "conditional", conditional(12), ackley),
        Task("rotated 5 bounded", "constrained", cube(5), rotated, constrained=True),
        Table("svm cancer"),
        Table("neighbours cancer"),
        Table("perceptron cancer"),
        Table("boosting cancer"),
        Table("boosting diabetes"),
    ),
}
